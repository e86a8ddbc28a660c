/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * syncops.h: what the drivers that move bytes by plain system calls share: a pool of scratch rooms
 * (a buffer and a pipe for the time of one step), the guard against SIGPIPE, and small answers. It
 * moves no bytes itself.
 */
#ifndef TAIO_DRIVERS_SYNCOPS_H
#define TAIO_DRIVERS_SYNCOPS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "taio_driver.h"

#define SYNCOPS_BUFFER_BYTES (256 * 1024)
#define SYNCOPS_CALL_BYTES   (1UL << 30) /* one system call moves less than 2 GiB anyhow */

/* What a step needs for itself. The pipe is empty whenever nobody has the room. */
struct syncops_room {
	uint8_t *buffer;     /* SYNCOPS_BUFFER_BYTES; use syncops_buffer() */
	int pipe[2];         /* -1: not made yet; use syncops_pipe() */
	uint32_t pipe_bytes; /* what the kernel granted */
	int null_fd;         /* /dev/null, -1 */
};

/* open() and close() of a device that needs rooms or the guard; the pool is dev->priv. */
int syncops_open(struct taio_device *dev);
void syncops_close(struct taio_device *dev);

/* A word of the device in which its driver may note something for later steps, from any thread. */
_Atomic uint32_t *syncops_note(struct taio_device *dev);

/* A room for the time of a step, from any thread. Rooms are kept until the device closes, so that
 * nothing is allocated once each thread has had one. NULL: no memory. */
struct syncops_room *syncops_get(struct taio_device *dev);
void syncops_put(struct taio_device *dev, struct syncops_room *room);

/* The buffer of a room, made at first use; NULL: no memory. */
uint8_t *syncops_buffer(struct syncops_room *room);

/* The pipe of a room, made at first use: as large as the kernel lets it be, 1 MiB at most.
 * Return: 0, -EMFILE, -ENFILE. */
int syncops_pipe(struct syncops_room *room);

/* Empties the pipe of a room without looking at what is in it. */
void syncops_pipe_drop(struct syncops_room *room);

/* SYNCOPS_BUFFER_BYTES zeros that belong to the device; NULL: no memory. */
const uint8_t *syncops_zeros(struct taio_device *dev);

/*
 * write(2), splice(2) and sendfile(2) raise SIGPIPE when nobody reads any more, and have no flag
 * against it. A guard blocks it around the call and takes away the one that the call has raised; a
 * SIGPIPE that was pending before stays. Where the signal could do no harm the guard is free: on
 * a worker (all signals are blocked there) and in a program that ignored SIGPIPE when the device
 * was opened (it must then go on doing so while the engine is open).
 */
struct syncops_guard {
	sigset_t old;
	uint8_t active;
	uint8_t pending; /* one was pending before */
};
void syncops_guard_start(struct taio_device *dev, struct syncops_guard *guard);
/* @maybe: false only if the call moved all that it was asked to. */
void syncops_guard_end(struct syncops_guard *guard, bool maybe);

/* step->result = -EAGAIN, to be tried again when @fd is ready for @events. */
int64_t syncops_again(struct taio_step *step, int fd, uint32_t events);

/* An error of one side: 0 unknown, 1 source, 2 destination. */
static inline int64_t syncops_fail(struct taio_step *step, int error, uint8_t side)
{
	step->failed_side = side;
	step->result = error;
	return error;
}

static inline int64_t syncops_done(struct taio_step *step, uint64_t moved)
{
	step->result = (int64_t)moved;
	return (int64_t)moved;
}

/* A call between two streams said EAGAIN: which of them is not ready? Return: 1 the source, 2 the
 * destination, 0 both are ready by now. */
int syncops_who_waits(const struct taio_step *step);

/* Offset of the byte that is @done bytes into the step; for system calls that take a pointer,
 * which must be NULL for an end that uses its own position. */
static inline off_t *syncops_offset(const struct taio_end *end, uint64_t done, off_t *room)
{
	if (end->kind != TAIO_KIND_FILE || (end->flags & TAIO_END_STREAMED))
		return NULL;
	*room = (off_t)(end->offset + done);
	return room;
}

#endif /* TAIO_DRIVERS_SYNCOPS_H */
