/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * reflink.c: file to file by FICLONERANGE: both files share the blocks until one of them is
 * written. No byte is read, so it costs the same for a gigabyte. Needs a file system that can (XFS,
 * Btrfs, OCFS2, NFS 4.2, CIFS) on both sides; says EOPNOTSUPP where it cannot, which is the only
 * way to find out.
 *
 * Whole blocks only, but for the end of the source, which may be cloned up to its last byte if that
 * is the end of the destination too. A step that is not so is cut down to its whole blocks, and the
 * engine has the rest done by another device.
 */
#include <assert.h>
#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

#define REFLINK_BLOCK 4096

static int64_t reflink_run(struct taio_device *dev, struct taio_step *step)
{
	struct file_clone_range range = { .src_fd = step->from.fd,
					  .src_offset = step->from.offset,
					  .src_length = step->len,
					  .dest_offset = step->to.offset };
	struct stat st;
	uint64_t rest;

	(void)dev;
	assert(step->op == TAIO_OP_COPY && step->len > 0);
	if (fstat(step->from.fd, &st) < 0)
		return syncops_fail(step, -errno, 1);
	if (!S_ISREG(st.st_mode) || st.st_size == 0) /* size 0: perhaps a file that lies */
		return syncops_fail(step, -EOPNOTSUPP, 1);
	rest = (uint64_t)st.st_size > range.src_offset ? (uint64_t)st.st_size - range.src_offset
						       : 0;
	if (!rest)
		return syncops_done(step, 0);
	if (range.src_length >= rest)
		range.src_length = rest;
	else
		range.src_length &= ~(uint64_t)(REFLINK_BLOCK - 1);
	if (!range.src_length)
		return syncops_fail(step, -EOPNOTSUPP, 0);
	while (ioctl(step->to.fd, FICLONERANGE, &range) < 0)
		if (errno != EINTR)
			return syncops_fail(step, errno == EAGAIN ? -EOPNOTSUPP : -errno, 0);
	return syncops_done(step, range.src_length);
}

/* Never where it is known that it cannot be. */
static int reflink_fits(struct taio_device *dev, const struct taio_step *step)
{
	uint64_t mixed = step->from.offset | step->to.offset;

	(void)dev;
	if ((step->from.flags | step->to.flags) & (TAIO_END_STREAMED | TAIO_END_APPEND))
		return 0;
	if (step->from.fs == TAIO_FS_EXT || step->from.fs == TAIO_FS_TMPFS ||
	    step->from.fs != step->to.fs)
		return 0;
	return !(mixed & (REFLINK_BLOCK - 1));
}

static const struct taio_capability reflink_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ZERO_COPY | TAIO_CAP_SAME_FS | TAIO_CAP_KEEPS_HOLES,
	  .min = REFLINK_BLOCK,
	  .align = REFLINK_BLOCK,
	  .base_ns = 15000,
	  .ps_per_byte = 1 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_reflink = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "reflink",
	.text = "FICLONERANGE: share blocks instead of copying",
	.caps = reflink_caps,
	.fits = reflink_fits,
	.run = reflink_run,
};
