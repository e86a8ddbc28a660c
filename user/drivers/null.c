/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * null.c: everything to the null sink. Bytes that somebody sends are taken and thrown away where
 * the kernel can do that without a copy: TCP by MSG_TRUNC, a pipe by splice to /dev/null. A file
 * is really read, because who reads a file wants to know whether it can be read.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/drivers.h"

#define NULL_ROOM   (256u << 10) /* bytes of a buffer */
#define NULL_ROOMS  16           /* buffers: threads that read at the same time */
#define NULL_LITTLE (8u << 10)   /* a buffer on the stack for the thread that finds none */

struct null {
	int sink;                    /* /dev/null; -1: cannot be opened here */
	_Atomic uint32_t rooms_used; /* bit i: room i */
	char *rooms;
};

/* A buffer for one call; on any thread. */
struct null_room {
	char *data;
	size_t size;
	int index; /* -1: the caller's own */
};

static struct null_room null_room_get(struct null *null, char little[NULL_LITTLE])
{
	struct null_room room = { .size = NULL_LITTLE, .index = -1 };
	uint32_t used = atomic_load_explicit(&null->rooms_used, memory_order_relaxed);

	room.data = little;
	while (~used & ((1u << NULL_ROOMS) - 1)) {
		int i = __builtin_ctz(~used);

		if (atomic_compare_exchange_weak_explicit(&null->rooms_used, &used, used | 1u << i,
							  memory_order_acquire,
							  memory_order_relaxed)) {
			room.data = null->rooms + (size_t)i * NULL_ROOM;
			room.size = NULL_ROOM;
			room.index = i;
			break;
		}
	}
	return room;
}

static void null_room_put(struct null *null, const struct null_room *room)
{
	if (room->index >= 0)
		atomic_fetch_and_explicit(&null->rooms_used, ~(1u << room->index),
					  memory_order_release);
}

static int null_open(struct taio_device *dev)
{
	struct null *null = calloc(1, sizeof(*null));

	if (!null)
		goto no_memory;
	null->rooms = mmap(NULL, (size_t)NULL_ROOMS * NULL_ROOM, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (null->rooms == MAP_FAILED)
		goto no_memory;
	null->sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dev->priv = null;
	return 0;
no_memory:
	free(null);
	snprintf(dev->reason, sizeof(dev->reason), "no memory");
	return -ENOMEM;
}

static void null_close(struct taio_device *dev)
{
	struct null *null = dev->priv;

	if (!null)
		return;
	if (null->sink >= 0)
		close(null->sink);
	munmap(null->rooms, (size_t)NULL_ROOMS * NULL_ROOM);
	free(null);
	dev->priv = NULL;
}

/* What a read from a peer returned; -EAGAIN says what to wait for. */
static int64_t null_result(struct taio_step *step, ssize_t n)
{
	if (n >= 0)
		return (uint64_t)n < step->len ? n : (int64_t)step->len;
	step->failed_side = 1;
	if (errno != EAGAIN)
		return -errno;
	step->wait_fd = step->from.fd;
	step->wait_events = POLLIN;
	return -EAGAIN;
}

/* TCP skips the bytes and does not write the buffer; Unix and other sockets ignore the flag and
 * do. One call: an error after bytes would be reported by the kernel once, and lost here. */
static ssize_t null_from_stream(const struct taio_step *step, const struct null_room *room)
{
	size_t want = step->len < room->size ? step->len : room->size;
	ssize_t n;

	do
		n = recv(step->from.fd, room->data, want, MSG_TRUNC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n;
}

static ssize_t null_from_pipe(const struct null *null, const struct taio_step *step,
			      const struct null_room *room)
{
	size_t want = step->len < (1u << 30) ? step->len : (1u << 30);
	ssize_t n = -1;

	errno = EINVAL;
	if (null->sink >= 0)
		do
			n = splice(step->from.fd, NULL, null->sink, NULL, want,
				   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		while (n < 0 && errno == EINTR);
	if (n >= 0 || errno != EINVAL)
		return n;
	/* A terminal or another character device. */
	if (want > room->size)
		want = room->size;
	do
		n = read(step->from.fd, room->data, want);
	while (n < 0 && errno == EINTR);
	return n;
}

static int64_t null_from_file(struct taio_step *step, const struct null_room *room)
{
	uint64_t done = 0;

	while (done < step->len) {
		size_t left = step->len - done, want = left < room->size ? left : room->size;
		ssize_t n;

		if (step->from.flags & TAIO_END_STREAMED)
			n = read(step->from.fd, room->data, want);
		else
			n = pread(step->from.fd, room->data, want,
				  (off_t)(step->from.offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !done) {
			step->failed_side = 1;
			return -errno;
		}
		if (n <= 0)
			break; /* the end, or an error that the next step meets again */
		done += (uint64_t)n;
	}
	return (int64_t)done;
}

static int64_t null_run(struct taio_device *dev, struct taio_step *step)
{
	struct null *null = dev->priv;
	char little[NULL_LITTLE];
	struct null_room room;
	int64_t result;

	if (step->from.kind == TAIO_KIND_MEM || step->from.kind == TAIO_KIND_ZERO)
		return (int64_t)step->len;
	room = null_room_get(null, little);
	if (step->from.kind == TAIO_KIND_STREAM)
		result = null_result(step, null_from_stream(step, &room));
	else if (step->from.kind == TAIO_KIND_PIPE)
		result = null_result(step, null_from_pipe(null, step, &room));
	else
		result = null_from_file(step, &room);
	null_room_put(null, &room);
	return result;
}

static const struct taio_capability null_caps[] = {
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(MEM) | TAIO_K(ZERO),
		.to = TAIO_K(NULL),
		.flags = TAIO_CAP_ZERO_COPY | TAIO_CAP_ANY_FIT,
		.base_ns = 5,
	},
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(STREAM),
		.to = TAIO_K(NULL),
		.flags = TAIO_CAP_ZERO_COPY | TAIO_CAP_ANY_FIT,
		.base_ns = 600,
		.ps_per_byte = 20,
	},
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(PIPE),
		.to = TAIO_K(NULL),
		.flags = TAIO_CAP_ZERO_COPY | TAIO_CAP_ANY_FIT,
		.base_ns = 500,
		.ps_per_byte = 20,
	},
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(FILE),
		.to = TAIO_K(NULL),
		.flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
		.base_ns = 400,
		.ps_per_byte = 80,
	},
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_null = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "null",
	.text = "throws away, without a copy where the kernel can",
	.caps = null_caps,
	.open = null_open,
	.close = null_close,
	.run = null_run,
};
