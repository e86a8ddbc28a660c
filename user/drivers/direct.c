/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * direct.c: the device "direct": files past the page cache (O_DIRECT), through the engine's
 * io_uring. Between memory and a file everything must be aligned. From file to file the
 * destination is written directly, and the source read directly if it is said to be cold: what is
 * in the cache is many times quicker from there. The part of the last block is written through the
 * cache; the kernel keeps the two coherent.
 */
#include "drivers/ring.h"

#include <errno.h>

#define DIRECT_DEPTH 8
#define ALIGN_LEAST  512U
#define ALIGN_PAGE   4096U
#define ALIGN_MOST   RING_SMALL_BYTES

/* Is it a place where O_DIRECT means what it says? tmpfs ignores it or refuses it; on overlayfs the
 * file that is opened anew may be another one than the step's; a network file system may sleep in
 * open(2). */
static bool end_fits(const struct taio_end *end)
{
	switch (end->fs) {
	case TAIO_FS_TMPFS:
	case TAIO_FS_OVERLAY:
	case TAIO_FS_NET:
		return false;
	default:
		return !(end->flags & (TAIO_END_STREAMED | TAIO_END_APPEND));
	}
}

static int direct_fits(struct taio_device *dev, const struct taio_step *step)
{
	const struct ring *ring = dev->priv;
	const uint64_t align = ring && ring->direct_align ? ring->direct_align : ALIGN_LEAST;
	uint64_t mixed;

	if (step->from.kind == TAIO_KIND_FILE && step->to.kind == TAIO_KIND_FILE) {
		mixed = step->from.offset | step->to.offset;
		return end_fits(&step->from) && end_fits(&step->to) && !(mixed & (ALIGN_PAGE - 1));
	}
	if (step->from.kind == TAIO_KIND_MEM)
		mixed = (uint64_t)(uintptr_t)step->from.ptr | step->to.offset;
	else
		mixed = (uint64_t)(uintptr_t)step->to.ptr | step->from.offset;
	mixed |= step->len;
	return !(mixed & (align - 1)) && end_fits(&step->from) && end_fits(&step->to);
}

static enum taio_submit direct_error(struct taio_step *step, int error, uint8_t side)
{
	if (error == -EBUSY)
		return TAIO_BUSY;
	step->result = error;
	step->failed_side = side;
	return TAIO_DONE;
}

static void direct_plain_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_step *step = op->step;
	struct ring_file *file = (struct ring_file *)(uintptr_t)step->priv[RING_PRIV_FILE];

	(void)flags;
	if (res < 0) {
		if (ring_plain_retry(ring, op, &res))
			return;
		step->failed_side = ring_plain_side(step);
	}
	step->result = res;
	ring_file_put(ring, file);
	ring_finish(ring, op->device, step);
	ring_op_put(ring, op);
	ring->room++;
}

static enum taio_submit direct_plain(struct ring *ring, struct taio_step *step)
{
	const bool writes = step->from.kind == TAIO_KIND_MEM;
	const struct taio_end *end = writes ? &step->to : &step->from;
	const uintptr_t memory = (uintptr_t)(writes ? step->from.ptr : step->to.ptr);
	struct ring_file *file;
	enum taio_submit submitted;
	int rc = ring_file_get(ring, end, writes, &file);

	if (rc)
		return direct_error(step, rc, writes ? 2 : 1);
	if (((end->offset | step->len) & (file->align - 1)) || (memory & (file->mem_align - 1))) {
		ring_file_put(ring, file);
		return direct_error(step, -EINVAL, writes ? 2 : 1);
	}
	step->priv[RING_PRIV_FILE] = (uint64_t)(uintptr_t)file;
	submitted = ring_plain_submit(ring, RING_DIRECT, step, file->fd, direct_plain_done);
	if (submitted != TAIO_QUEUED)
		ring_file_put(ring, file);
	return submitted;
}

static enum taio_submit direct_flow(struct ring *ring, struct taio_step *step)
{
	struct ring_flow_how how = { .device = RING_DIRECT, .depth = DIRECT_DEPTH, .fixed = true };
	enum taio_submit submitted;
	int rc = ring_file_get(ring, &step->to, true, &how.to);
	uint8_t side = 2;

	if (rc)
		return direct_error(step, rc, side);
	if (step->from.flags & TAIO_END_COLD) {
		side = 1;
		rc = ring_file_get(ring, &step->from, false, &how.from);
	}
	if (rc == 0 && (((step->to.offset & (how.to->align - 1)) || how.to->align > ALIGN_MOST) ||
			(how.from && ((step->from.offset & (how.from->align - 1)) ||
				      how.from->align > ALIGN_MOST))))
		rc = -EINVAL;
	submitted = rc ? direct_error(step, rc, side) : ring_flow_submit(ring, step, &how);
	if (submitted != TAIO_QUEUED) {
		ring_file_put(ring, how.from);
		ring_file_put(ring, how.to);
	}
	return submitted;
}

static enum taio_submit direct_submit(struct taio_device *dev, struct taio_step *step)
{
	struct ring *ring = dev->priv;

	assert(step->op == TAIO_OP_COPY);
	assert(step->len > 0);
	if (!ring_has_room(ring, 1))
		return ring_full(ring, step);
	if (step->from.kind == TAIO_KIND_FILE && step->to.kind == TAIO_KIND_FILE)
		return direct_flow(ring, step);
	return direct_plain(ring, step);
}

static int direct_open(struct taio_device *dev)
{
	return ring_open(dev, RING_DIRECT);
}

RING_HOOKS(direct, RING_DIRECT)

/* The figures are of a virtual disk: 60 us for a block, six of them at a time at best. */
static const struct taio_capability direct_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(MEM),
	  .flags = TAIO_CAP_ZERO_COPY,
	  .parallel = 6,
	  .min = ALIGN_LEAST,
	  .align = ALIGN_LEAST,
	  .cpu_permille = 250,
	  .base_ns = 60000,
	  .ps_per_byte = 1000 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_ZERO_COPY,
	  .parallel = 6,
	  .min = ALIGN_LEAST,
	  .align = ALIGN_LEAST,
	  .cpu_permille = 250,
	  .base_ns = 60000,
	  .ps_per_byte = 400 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .parallel = 2,
	  .min = 65536,
	  .align = ALIGN_PAGE,
	  .cpu_permille = 400,
	  .base_ns = 100000,
	  .ps_per_byte = 720 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_direct = {
	.abi = TAIO_DRIVER_ABI,
	.name = "direct",
	.text = "io_uring past the page cache (O_DIRECT)",
	.caps = direct_caps,
	.probe = ring_probe,
	.open = direct_open,
	.close = direct_close,
	.fits = direct_fits,
	.submit = direct_submit,
	.reap = direct_reap,
	.cancel = direct_cancel,
	.fd = direct_fd,
	.wait = direct_wait,
};
