/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * replica.c: the devices "replica1" to "replica4": a mirrored source, read from its replica at one
 * place, that is from one disk. They do what uring and rw do; that each disk is a device of its own
 * is what lets prices say which of them is quick now.
 *
 * The device itself is the engine's ring, so that several disks work at a time and a read that hangs
 * hinders nobody; where there is no ring, and for what the ring cannot do, there is the same on
 * a worker.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/syncops.h"

#define REPLICA_DEPTH 4

static enum ring_device replica_device(const struct taio_device *dev)
{
	return (enum ring_device)(RING_REPLICA + dev->driver->replica - 1);
}

static int replica_probe(struct taio_device *dev)
{
	return dev->worker ? 0 : ring_probe(dev);
}

static int replica_open(struct taio_device *dev)
{
	return dev->worker ? syncops_open(dev) : ring_open(dev, replica_device(dev));
}

static void replica_close(struct taio_device *dev)
{
	if (dev->worker)
		syncops_close(dev);
	else
		ring_close(dev, replica_device(dev));
}

static enum taio_submit replica_submit(struct taio_device *dev, struct taio_step *step)
{
	const struct ring_flow_how how = { .device = (uint8_t)replica_device(dev),
					   .depth = REPLICA_DEPTH };

	if (step->to.kind == TAIO_KIND_MEM)
		return ring_plain_submit(dev->priv, replica_device(dev), step, step->from.fd, NULL);
	return ring_flow_submit(dev->priv, step, &how);
}

static int replica_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	return ring_reap(dev->priv, replica_device(dev), done, max);
}

static void replica_cancel(struct taio_device *dev, struct taio_step *step)
{
	ring_cancel(dev->priv, step);
}

static int replica_descriptor(struct taio_device *dev)
{
	return ring_descriptor(dev->priv);
}

static int replica_wait(struct taio_device *dev, int64_t timeout_ns)
{
	return ring_wait(dev->priv, timeout_ns);
}

/* ---- on a worker ---- */

/* Gives away what was read. Return: bytes, negative errno. */
static ssize_t replica_put(struct taio_step *step, const uint8_t *data, size_t len, uint64_t at)
{
	const struct taio_end *to = &step->to;
	ssize_t n;

	do {
		if (to->kind == TAIO_KIND_NULL)
			return (ssize_t)len;
		if (to->kind == TAIO_KIND_STREAM)
			n = send(to->fd, data, len,
				 MSG_DONTWAIT | MSG_NOSIGNAL |
					 (step->flags & TAIO_SF_MORE ? MSG_MORE : 0));
		else if (to->kind == TAIO_KIND_PIPE || (to->flags & TAIO_END_STREAMED))
			n = write(to->fd, data, len);
		else
			n = pwrite(to->fd, data, len, (off_t)(to->offset + at));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t replica_get(const struct taio_step *step, void *data, size_t len, uint64_t at)
{
	ssize_t n;

	do {
		n = pread(step->from.fd, data, len, (off_t)(step->from.offset + at));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int64_t replica_end(struct taio_step *step, uint64_t moved, int error, uint8_t side)
{
	if (moved || !error)
		return syncops_done(step, moved);
	if (error == -EAGAIN && side == 2)
		return syncops_again(step, step->to.fd, POLLOUT);
	return syncops_fail(step, error, side);
}

static int64_t replica_to_memory(struct taio_step *step)
{
	uint64_t moved = 0;
	ssize_t n = 1;

	while (moved < step->len && n > 0) {
		n = replica_get(step, (uint8_t *)step->to.ptr + moved, step->len - moved, moved);
		if (n > 0)
			moved += (uint64_t)n;
	}
	return replica_end(step, moved, n < 0 ? (int)n : 0, 1);
}

/* The source has positions: what the destination does not take is read again. */
static int64_t replica_through(struct taio_step *step, uint8_t *buffer)
{
	uint64_t moved = 0;

	while (moved < step->len) {
		uint64_t left = step->len - moved;
		ssize_t got = replica_get(step, buffer,
					  left < SYNCOPS_BUFFER_BYTES ? left : SYNCOPS_BUFFER_BYTES,
					  moved);
		ssize_t put;

		if (got <= 0)
			return replica_end(step, moved, (int)got, 1);
		put = replica_put(step, buffer, (size_t)got, moved);
		if (put < 0)
			return replica_end(step, moved, (int)put, 2);
		moved += (uint64_t)put;
		if (put < got)
			break;
	}
	return syncops_done(step, moved);
}

static int64_t replica_run(struct taio_device *dev, struct taio_step *step)
{
	struct syncops_room *room;
	uint8_t *buffer;
	int64_t result;

	if (step->to.kind == TAIO_KIND_MEM)
		return replica_to_memory(step);
	room = syncops_get(dev);
	buffer = room ? syncops_buffer(room) : NULL;
	result = buffer ? replica_through(step, buffer) : syncops_fail(step, -ENOMEM, 2);
	if (room)
		syncops_put(dev, room);
	return result;
}

/* ---- four drivers ---- */

/* The figures of a virtual disk; what counts is learnt at the first reads. */
static const struct taio_capability replica_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(MEM) | TAIO_K(FILE) | TAIO_K(STREAM),
	  .flags = TAIO_CAP_BLOCKING,
	  .parallel = 2,
	  .cpu_permille = 400,
	  .base_ns = 30000,
	  .ps_per_byte = 700 },
	/* the ring throws nothing away, and of pipes see uring.c */
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(PIPE) | TAIO_K(NULL),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ON_WORKER,
	  .parallel = 2,
	  .cpu_permille = 400,
	  .base_ns = 30000,
	  .ps_per_byte = 700 },
	{ .op = TAIO_OP_NONE },
};

#define REPLICA(number)                                                        \
	const struct taio_driver taio_driver_replica##number = {               \
		.abi = TAIO_DRIVER_ABI,                                        \
		.flags = TAIO_DRIVER_WORKER,                                   \
		.replica = (number),                                           \
		.name = "replica" #number,                                     \
		.text = "mirrored sources, from their disk at place " #number, \
		.caps = replica_caps,                                          \
		.probe = replica_probe,                                        \
		.open = replica_open,                                          \
		.close = replica_close,                                        \
		.run = replica_run,                                            \
		.submit = replica_submit,                                      \
		.reap = replica_reap,                                          \
		.cancel = replica_cancel,                                      \
		.fd = replica_descriptor,                                      \
		.wait = replica_wait,                                          \
	}

REPLICA(1);
REPLICA(2);
REPLICA(3);
REPLICA(4);
