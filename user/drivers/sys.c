/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * sys.c: the control steps on files as plain system calls: open, mode and times, fsync, publish,
 * close. What each of them means is in fileops.h.
 */
#include <assert.h>
#include <errno.h>

#include "drivers/drivers.h"
#include "drivers/fileops.h"
#include "taio.h"

static int sys_open(struct taio_step *step)
{
	return step->file->side ? fileops_open_to(step->file, step->to.offset)
				: fileops_open_from(step->file);
}

/* Of a destination by name, or of a descriptor of the caller's. */
static int sys_sync(struct taio_step *step)
{
	int fd = step->file && step->file->to_fd >= 0 ? step->file->to_fd : step->to.fd;
	int rc = fileops_sync(fd);

	return rc && step->file ? fileops_fail(step->file, TAIO_STEP_SYNC, rc) : rc;
}

static int64_t sys_run(struct taio_device *dev, struct taio_step *step)
{
	(void)dev;
	assert(step->file || step->op == TAIO_OP_SYNC || step->op == TAIO_OP_CLOSE);
	switch (step->op) {
	case TAIO_OP_OPEN:
		step->result = sys_open(step);
		break;
	case TAIO_OP_META:
		step->result = fileops_meta(step->file);
		break;
	case TAIO_OP_SYNC:
		step->result = sys_sync(step);
		break;
	case TAIO_OP_PUBLISH:
		step->result = fileops_publish(step->file);
		break;
	case TAIO_OP_SYNC_DIR:
		step->result = fileops_sync_dir(step->file);
		break;
	case TAIO_OP_CLOSE:
		step->result = fileops_close(step->from.fd);
		break;
	default:
		step->result = -EOPNOTSUPP;
		break;
	}
	return step->result;
}

static const struct taio_capability sys_caps[] = {
	{ .op = TAIO_OP_OPEN, .flags = TAIO_CAP_BLOCKING, .base_ns = 3000 },
	{ .op = TAIO_OP_META, .flags = TAIO_CAP_BLOCKING, .base_ns = 1000 },
	{ .op = TAIO_OP_SYNC, .flags = TAIO_CAP_BLOCKING, .cpu_permille = 50, .base_ns = 1000000 },
	{ .op = TAIO_OP_PUBLISH, .flags = TAIO_CAP_BLOCKING, .base_ns = 6000 },
	{ .op = TAIO_OP_SYNC_DIR,
	  .flags = TAIO_CAP_BLOCKING,
	  .cpu_permille = 50,
	  .base_ns = 500000 },
	{ .op = TAIO_OP_CLOSE, .flags = TAIO_CAP_BLOCKING, .base_ns = 1000 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_sys = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER | TAIO_DRIVER_CONTROL,
	.name = "sys",
	.text = "open, fsync, rename, close as plain system calls",
	.caps = sys_caps,
	.run = sys_run,
};
