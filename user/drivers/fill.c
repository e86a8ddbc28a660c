/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fill.c: zeros to memory. What fits in the cache is written there, unless the engine knows that
 * the memory is not in the cache now: then, and for what is larger, zeros are streamed past it.
 */
#include <string.h>

#include "drivers/drivers.h"
#include "drivers/mem_copy.h"

#define FILL_STREAM_COLD (4u << 10) /* of memory that is not in the cache */
#define FILL_STREAM      (8u << 20) /* of any memory */

static int fill_open(struct taio_device *dev)
{
	dev->priv = (void *)(uintptr_t)mem_copy_best(); /* constant data, nothing to close */
	return 0;
}

static int64_t fill_run(struct taio_device *dev, struct taio_step *step)
{
	const struct mem_copy *mem = dev->priv;
	int cold = step->to.flags & TAIO_END_COLD;

	if (step->len >= (cold ? FILL_STREAM_COLD : FILL_STREAM))
		mem->zero(step->to.ptr, step->len);
	else
		memset(step->to.ptr, 0, step->len);
	return (int64_t)step->len;
}

static const struct taio_capability fill_caps[] = {
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(ZERO),
		.to = TAIO_K(MEM),
		.flags = TAIO_CAP_ANY_FIT,
		.base_ns = 15,
		.ps_per_byte = 30,
	},
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_fill = {
	.abi = TAIO_DRIVER_ABI,
	.name = "fill",
	.text = "zeros to memory: memset, streaming stores for much",
	.caps = fill_caps,
	.open = fill_open,
	.run = fill_run,
};
