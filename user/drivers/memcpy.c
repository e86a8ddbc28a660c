/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * memcpy.c: memory to memory by the C library. Best for what is in the cache or wanted there; its
 * worker twin does not exist because a copy that it does best is shorter than a hand-over.
 */
#include <string.h>

#include "drivers/drivers.h"

static int64_t memcpy_run(struct taio_device *dev, struct taio_step *step)
{
	(void)dev;
	memcpy(step->to.ptr, step->from.ptr, step->len);
	return (int64_t)step->len;
}

static const struct taio_capability memcpy_caps[] = {
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(MEM),
		.to = TAIO_K(MEM),
		.flags = TAIO_CAP_ANY_FIT,
		.base_ns = 15,
		.ps_per_byte = 60,
	},
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_memcpy = {
	.abi = TAIO_DRIVER_ABI,
	.name = "memcpy",
	.text = "memory to memory: memcpy of the C library",
	.caps = memcpy_caps,
	.run = memcpy_run,
};
