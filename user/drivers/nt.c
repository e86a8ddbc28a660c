/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * nt.c: memory to memory by streaming stores, on one core. Best when the destination is not in the
 * cache, where an ordinary copy reads it first, and for what is larger than the cache.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "drivers/drivers.h"
#include "drivers/mem_copy.h"

static int nt_probe(struct taio_device *dev)
{
	if (strcmp(mem_copy_best()->name, "libc"))
		return 0;
	snprintf(dev->reason, sizeof(dev->reason), "no streaming stores on this processor");
	return -EOPNOTSUPP;
}

static int nt_open(struct taio_device *dev)
{
	dev->priv = (void *)(uintptr_t)mem_copy_best(); /* constant data, nothing to close */
	return 0;
}

static int64_t nt_run(struct taio_device *dev, struct taio_step *step)
{
	const struct mem_copy *mem = dev->priv;

	mem->copy(step->to.ptr, step->from.ptr, step->len);
	return (int64_t)step->len;
}

static const struct taio_capability nt_caps[] = {
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(MEM),
		.to = TAIO_K(MEM),
		.flags = TAIO_CAP_ANY_FIT,
		.min = 1024,
		.base_ns = 80,
		.ps_per_byte = 50,
	},
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_nt = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "nt",
	.text = "memory to memory: streaming stores past the cache",
	.caps = nt_caps,
	.probe = nt_probe,
	.open = nt_open,
	.run = nt_run,
};
