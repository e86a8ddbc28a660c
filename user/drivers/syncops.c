/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* syncops.c: rooms, SIGPIPE and readiness for the synchronous drivers; see syncops.h. */
#include "drivers/syncops.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SYNCOPS_ROOMS      65 /* 64 workers and the engine's thread */
#define SYNCOPS_PIPE_BYTES (1024 * 1024)

struct syncops_pool {
	_Atomic(struct syncops_room *) idle[SYNCOPS_ROOMS];
	_Atomic(uint8_t *) zeros;
	_Atomic uint32_t note;
	bool sigpipe_harmless;
};

int syncops_open(struct taio_device *dev)
{
	struct syncops_pool *pool = calloc(1, sizeof(*pool));
	struct sigaction action;

	if (!pool) {
		snprintf(dev->reason, sizeof(dev->reason), "out of memory");
		return -ENOMEM;
	}
	pool->sigpipe_harmless = dev->worker ||
				 (sigaction(SIGPIPE, NULL, &action) == 0 &&
				  !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN);
	dev->priv = pool;
	return 0;
}

static void syncops_pipe_close(struct syncops_room *room)
{
	for (int i = 0; i < 2; i++) {
		if (room->pipe[i] >= 0)
			close(room->pipe[i]);
		room->pipe[i] = -1;
	}
}

static void syncops_free(struct syncops_room *room)
{
	if (!room)
		return;
	syncops_pipe_close(room);
	if (room->null_fd >= 0)
		close(room->null_fd);
	if (room->buffer)
		munmap(room->buffer, SYNCOPS_BUFFER_BYTES);
	free(room);
}

void syncops_close(struct taio_device *dev)
{
	struct syncops_pool *pool = dev->priv;
	uint8_t *zeros;

	if (!pool)
		return;
	for (unsigned int i = 0; i < SYNCOPS_ROOMS; i++)
		syncops_free(atomic_load(&pool->idle[i]));
	zeros = atomic_load(&pool->zeros);
	if (zeros)
		munmap(zeros, SYNCOPS_BUFFER_BYTES);
	free(pool);
	dev->priv = NULL;
}

_Atomic uint32_t *syncops_note(struct taio_device *dev)
{
	struct syncops_pool *pool = dev->priv;

	return &pool->note;
}

struct syncops_room *syncops_get(struct taio_device *dev)
{
	struct syncops_pool *pool = dev->priv;
	struct syncops_room *room;

	assert(pool);
	for (unsigned int i = 0; i < SYNCOPS_ROOMS; i++) {
		if (!atomic_load_explicit(&pool->idle[i], memory_order_relaxed))
			continue;
		room = atomic_exchange_explicit(&pool->idle[i], NULL, memory_order_acquire);
		if (room)
			return room;
	}
	room = calloc(1, sizeof(*room));
	if (room)
		room->pipe[0] = room->pipe[1] = room->null_fd = -1;
	return room;
}

void syncops_put(struct taio_device *dev, struct syncops_room *room)
{
	struct syncops_pool *pool = dev->priv;

	if (!room)
		return;
	for (unsigned int i = 0; i < SYNCOPS_ROOMS; i++) {
		struct syncops_room *none = NULL;

		if (atomic_compare_exchange_strong_explicit(&pool->idle[i], &none, room,
							    memory_order_release,
							    memory_order_relaxed))
			return;
	}
	syncops_free(room); /* more threads than any engine has */
}

static uint8_t *syncops_map(int protection)
{
	void *at = mmap(NULL, SYNCOPS_BUFFER_BYTES, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at == MAP_FAILED ? NULL : at;
}

uint8_t *syncops_buffer(struct syncops_room *room)
{
	if (!room->buffer)
		room->buffer = syncops_map(PROT_READ | PROT_WRITE);
	return room->buffer;
}

const uint8_t *syncops_zeros(struct taio_device *dev)
{
	struct syncops_pool *pool = dev->priv;
	uint8_t *zeros = atomic_load(&pool->zeros), *none = NULL;

	if (zeros)
		return zeros;
	zeros = syncops_map(PROT_READ); /* reads of untouched memory share the zero page */
	if (zeros && !atomic_compare_exchange_strong(&pool->zeros, &none, zeros)) {
		munmap(zeros, SYNCOPS_BUFFER_BYTES);
		zeros = none;
	}
	return zeros;
}

int syncops_pipe(struct syncops_room *room)
{
	int size;

	if (room->pipe[0] >= 0)
		return 0;
	if (pipe2(room->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		room->pipe[0] = room->pipe[1] = -1;
		return -errno;
	}
	/* Refused beyond /proc/sys/fs/pipe-max-size or when this user has many pipes already. */
	for (size = SYNCOPS_PIPE_BYTES; size > 64 * 1024; size /= 2)
		if (fcntl(room->pipe[1], F_SETPIPE_SZ, size) > 0)
			break;
	size = fcntl(room->pipe[1], F_GETPIPE_SZ);
	room->pipe_bytes = size > 0 ? (uint32_t)size : 4096;
	return 0;
}

void syncops_pipe_drop(struct syncops_room *room)
{
	ssize_t n = -1;

	if (room->null_fd < 0)
		room->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (room->null_fd >= 0) {
		do
			n = splice(room->pipe[0], NULL, room->null_fd, NULL, SYNCOPS_CALL_BYTES,
				   SPLICE_F_NONBLOCK);
		while (n > 0 || (n < 0 && errno == EINTR));
	}
	if (n < 0 && errno == EAGAIN && room->null_fd >= 0)
		return;
	syncops_pipe_close(room); /* no /dev/null here: the next user makes a new pipe */
}

void syncops_guard_start(struct taio_device *dev, struct syncops_guard *guard)
{
	const struct syncops_pool *pool = dev->priv;
	sigset_t sigpipe, pending;

	guard->active = guard->pending = 0;
	if (pool->sigpipe_harmless)
		return;
	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &sigpipe, &guard->old))
		return;
	guard->active = 1;
	/* Only a signal that was blocked already can have been pending already. */
	if (sigismember(&guard->old, SIGPIPE) && sigpending(&pending) == 0)
		guard->pending = sigismember(&pending, SIGPIPE) == 1;
}

void syncops_guard_end(struct syncops_guard *guard, bool maybe)
{
	const struct timespec now = { 0 };
	int saved = errno;
	sigset_t sigpipe;

	if (!guard->active)
		return;
	sigemptyset(&sigpipe);
	sigaddset(&sigpipe, SIGPIPE);
	if (maybe && !guard->pending)
		while (sigtimedwait(&sigpipe, NULL, &now) < 0 && errno == EINTR)
			;
	if (!sigismember(&guard->old, SIGPIPE))
		pthread_sigmask(SIG_SETMASK, &guard->old, NULL);
	guard->active = 0;
	errno = saved;
}

int64_t syncops_again(struct taio_step *step, int fd, uint32_t events)
{
	step->wait_fd = fd;
	step->wait_events = events;
	step->result = -EAGAIN;
	return -EAGAIN;
}

int syncops_who_waits(const struct taio_step *step)
{
	struct pollfd ends[2] = { { .fd = step->from.fd, .events = POLLIN },
				  { .fd = step->to.fd, .events = POLLOUT } };

	if (poll(ends, 2, 0) < 0)
		return 0;
	if (!ends[0].revents)
		return 1;
	return ends[1].revents ? 0 : 2;
}
