/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * zc.c: the device "zc": sends whose bytes the network card fetches from memory (SEND_ZC), through
 * the engine's io_uring; files by way of registered bounce buffers. Towards a peer on this machine
 * the kernel copies after all and step->copied says so. The work is done in ring_zc.c and
 * ring_flow.c.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <stdio.h>

#define ZC_MIN_BYTES 16384
#define ZC_DEPTH     4

static int zc_open(struct taio_device *dev)
{
	int rc = ring_open(dev, RING_ZC);

	if (rc == 0 && !((struct ring *)dev->priv)->has_zc) {
		ring_close(dev, RING_ZC);
		snprintf(dev->reason, sizeof(dev->reason),
			 "this kernel has no zero-copy send in io_uring (6.0)");
		rc = -EOPNOTSUPP;
	}
	return rc;
}

static int zc_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	if (step->to.kind != TAIO_KIND_DGRAM)
		return 1;
	return !(step->flags & TAIO_SF_LAST) || step->len > ring_zc_unit(&step->to);
}

static enum taio_submit zc_submit(struct taio_device *dev, struct taio_step *step)
{
	const struct ring_flow_how how = {
		.device = RING_ZC, .depth = ZC_DEPTH, .fixed = true, .zero_copy = true
	};

	assert(step->op == TAIO_OP_COPY);
	assert(step->len > 0);
	if (step->from.kind == TAIO_KIND_FILE)
		return ring_flow_submit(dev->priv, step, &how);
	return ring_zc_submit(dev->priv, step);
}

RING_HOOKS(zc, RING_ZC)

static const struct taio_capability zc_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM),
	  .to = TAIO_K(STREAM) | TAIO_K(DGRAM),
	  .flags = TAIO_CAP_ZERO_COPY,
	  .parallel = 4,
	  .min = ZC_MIN_BYTES,
	  .base_ns = 8000,
	  .ps_per_byte = 330 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM),
	  .parallel = 4,
	  .min = ZC_MIN_BYTES,
	  .base_ns = 12000,
	  .ps_per_byte = 450 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_zc = {
	.abi = TAIO_DRIVER_ABI,
	.name = "zc",
	.text = "io_uring, zero-copy send",
	.caps = zc_caps,
	.probe = ring_probe,
	.open = zc_open,
	.close = zc_close,
	.fits = zc_fits,
	.submit = zc_submit,
	.reap = zc_reap,
	.cancel = zc_cancel,
	.fd = zc_fd,
	.wait = zc_wait,
};
