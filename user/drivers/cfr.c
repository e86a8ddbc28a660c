/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * cfr.c: file to file by copy_file_range(2): the file system may share blocks (XFS, Btrfs), let the
 * server copy (NFS, CIFS), or else the kernel moves the pages. Refusals (EXDEV, EOPNOTSUPP, ENOSYS,
 * EINVAL) are reported as they are, with nothing moved: the engine goes another way.
 *
 * 0 bytes can be a lie: files of procfs and sysfs claim a size that is not theirs, and the kernel
 * then copies nothing without an error. So 0 only stands for the end of the source when its size
 * says so, too; otherwise it is reported as -EINVAL.
 */
#include <assert.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

static int64_t cfr_end(struct taio_step *step)
{
	struct stat st;
	off_t at = (off_t)step->from.offset;

	if (step->from.flags & TAIO_END_STREAMED)
		at = lseek(step->from.fd, 0, SEEK_CUR);
	if (fstat(step->from.fd, &st) == 0 && st.st_size > 0 && at >= st.st_size)
		return syncops_done(step, 0);
	return syncops_fail(step, -EINVAL, 1);
}

static int64_t cfr_run(struct taio_device *dev, struct taio_step *step)
{
	uint64_t moved = 0;

	(void)dev;
	assert(step->op == TAIO_OP_COPY && step->len > 0);
	while (moved < step->len) {
		uint64_t left = step->len - moved;
		off_t from_room, to_room;
		ssize_t n = copy_file_range(
			step->from.fd, syncops_offset(&step->from, moved, &from_room), step->to.fd,
			syncops_offset(&step->to, moved, &to_room),
			left < SYNCOPS_CALL_BYTES ? left : SYNCOPS_CALL_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && !moved)
			return syncops_fail(step, errno == EAGAIN ? -EOPNOTSUPP : -errno, 0);
		if (n <= 0)
			break;
		moved += (uint64_t)n;
	}
	return moved ? syncops_done(step, moved) : cfr_end(step);
}

/* The kernel refuses a destination opened with O_APPEND. */
static int cfr_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	return !(step->to.flags & TAIO_END_APPEND);
}

static const struct taio_capability cfr_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_SAME_FS,
	  .base_ns = 5000,
	  .ps_per_byte = 245 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_cfr = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "cfr",
	.text = "copy_file_range: within one file system",
	.caps = cfr_caps,
	.fits = cfr_fits,
	.run = cfr_run,
};
