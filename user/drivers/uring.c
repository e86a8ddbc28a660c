/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * uring.c: the device "uring": reads, writes, sends and receives through the engine's io_uring and
 * the page cache, and control steps that would else block. The work is done in ring*.c.
 *
 * There is no splice here: the ring hands every splice to a worker thread (IORING_OP_SPLICE never
 * runs inline), which costs several times what splice(2) or read and write through the ring cost;
 * the device "splice" does it. Only descriptors that the engine keeps are registered: others could be
 * closed and their numbers used again, and to register one for a single step costs more than it saves.
 */
#include "drivers/ring.h"

#include <errno.h>

static enum taio_submit uring_submit(struct taio_device *dev, struct taio_step *step)
{
	const struct ring_flow_how how = { .device = RING_URING, .depth = 4 };
	struct ring *ring = dev->priv;

	if (step->op != TAIO_OP_COPY)
		return ring_control_submit(ring, step);
	assert(step->len > 0);
	if (step->from.kind == TAIO_KIND_MEM)
		return ring_plain_submit(ring, RING_URING, step, step->to.fd, NULL);
	if (step->to.kind == TAIO_KIND_MEM)
		return ring_plain_submit(ring, RING_URING, step, step->from.fd, NULL);
	return ring_flow_submit(ring, step, &how);
}

/* A pipe without a reader sends SIGPIPE to whoever enters the ring, and nothing can be said to the
 * kernel against it: only for programs that ignore the signal. */
static int uring_fits(struct taio_device *dev, const struct taio_step *step)
{
	if (step->op != TAIO_OP_COPY)
		return ring_control_fits(step);
	return step->to.kind != TAIO_KIND_PIPE || ((const struct ring *)dev->priv)->sigpipe_ignored;
}

static int uring_open(struct taio_device *dev)
{
	return ring_open(dev, RING_URING);
}

RING_HOOKS(uring, RING_URING)

/* The figures are of a 2-core virtual machine. Reads of cached files on a disk file system run
 * inside the call that starts them; writes, and all of tmpfs, go to a worker thread of the kernel. */
static const struct taio_capability uring_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(MEM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 1000,
	  .ps_per_byte = 60 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 4500,
	  .ps_per_byte = 120 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM),
	  .to = TAIO_K(STREAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 1800,
	  .ps_per_byte = 250 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(MEM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 1500,
	  .ps_per_byte = 150 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 30000,
	  .ps_per_byte = 290 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 5000,
	  .ps_per_byte = 380 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(FILE) | TAIO_K(STREAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .parallel = 2,
	  .base_ns = 6000,
	  .ps_per_byte = 350 },
	/* pipes as destinations: not in every program, see uring_fits() */
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM),
	  .to = TAIO_K(PIPE),
	  .parallel = 2,
	  .base_ns = 1800,
	  .ps_per_byte = 250 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE) | TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(PIPE),
	  .parallel = 2,
	  .base_ns = 6000,
	  .ps_per_byte = 380 },
	{ .op = TAIO_OP_SYNC, .parallel = 4, .cpu_permille = 50, .base_ns = 60000 },
	{ .op = TAIO_OP_SYNC_DIR, .parallel = 4, .cpu_permille = 50, .base_ns = 60000 },
	{ .op = TAIO_OP_OPEN, .parallel = 2, .base_ns = 6000 },
	{ .op = TAIO_OP_CLOSE, .parallel = 2, .base_ns = 1500 },
	{ .op = TAIO_OP_CONNECT, .parallel = 64, .base_ns = 22000 },
	{ .op = TAIO_OP_ACCEPT, .parallel = 64, .base_ns = 12000 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_uring = {
	.abi = TAIO_DRIVER_ABI,
	.name = "uring",
	.text = "io_uring through the page cache",
	.caps = uring_caps,
	.probe = ring_probe,
	.open = uring_open,
	.fits = uring_fits,
	.close = uring_close,
	.submit = uring_submit,
	.reap = uring_reap,
	.cancel = uring_cancel,
	.fd = uring_fd,
	.wait = uring_wait,
};
