/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split.c: memory to memory over this core and others, by streaming stores. The work is in
 * split_team.c; here is what the engine sees of it: is it there at all, is it worth it now, copy.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/drivers.h"
#include "drivers/split_guard.h"
#include "drivers/split_team.h"
#include "taio.h"

static int split_probe(struct taio_device *dev)
{
	const char *why = NULL;
	int error = 0;

	if (dev->host->engine_flags & TAIO_NO_WORKERS) {
		why = "the engine was opened without threads";
		error = -EPERM;
	} else if (dev->host->cores < 2) {
		why = "this process may use one core only";
		error = -ENODEV;
	} else {
		error = split_guard_probe(&why);
	}
	if (error)
		snprintf(dev->reason, sizeof(dev->reason), "%s", why);
	return error;
}

static int split_open(struct taio_device *dev)
{
	struct split_team *team;
	int error;

	error = split_probe(dev);
	if (error)
		return error;
	error = split_team_open(&team, dev->host->cores - 1);
	if (error) {
		snprintf(dev->reason, sizeof(dev->reason), "no memory");
		return error;
	}
	dev->priv = team;
	return 0;
}

static void split_close(struct taio_device *dev)
{
	split_team_close(dev->priv);
	dev->priv = NULL;
}

static int split_fits(struct taio_device *dev, const struct taio_step *step)
{
	return split_team_ready(dev->priv, step->len);
}

static int64_t split_run(struct taio_device *dev, struct taio_step *step)
{
	struct split_done done;

	split_team_copy(dev->priv, step->to.ptr, step->from.ptr, step->len, &done);
	step->cpu_ns = done.own_ns + done.helper_ns;
	return (int64_t)step->len;
}

static const struct taio_capability split_caps[] = {
	{
		.op = TAIO_OP_COPY,
		.from = TAIO_K(MEM),
		.to = TAIO_K(MEM),
		.cpu_permille = 2000,
		.min = SPLIT_MIN,
		.base_ns = 600,
		.ps_per_byte = 32,
	},
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_split = {
	.abi = TAIO_DRIVER_ABI,
	.name = "split",
	.text = "memory to memory: streaming stores on several cores",
	.caps = split_caps,
	.probe = split_probe,
	.open = split_open,
	.close = split_close,
	.fits = split_fits,
	.run = split_run,
};
