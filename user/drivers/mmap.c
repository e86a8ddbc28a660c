/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * mmap.c: maps a window of the source with MAP_POPULATE and hands it to send(2) or pwrite(2): one
 * copy, many pages per fault. Wins from about a megabyte. Not for pipes: they take so little at a
 * time that mapping costs more than it saves.
 *
 * A source that is truncated by somebody else while it is mapped is no danger: the pages are only
 * touched by the kernel, inside the system call, which then says EFAULT; a process that read them
 * itself would get SIGBUS. EFAULT is translated by asking the file again: its end is 0, its error
 * is that error. What cannot be told is a cut within a page: the part of that page behind the
 * new end reads as zeros. The size is taken before each window, so only a cut between that and the
 * system call shows, as with any file that is changed while it is copied.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

/* A socket may take far less than the window: the first one is small. */
#define MMAP_WINDOW_FIRST (1024 * 1024)
#define MMAP_WINDOW       (4 * 1024 * 1024)
#define MMAP_MIN          (64 * 1024)
#define MMAP_ALIGN        65536 /* the largest page that Linux has anywhere */

static ssize_t mmap_put(const struct taio_step *step, const uint8_t *data, size_t len,
			uint64_t done)
{
	bool more = done + len < step->len || (step->flags & TAIO_SF_MORE);
	ssize_t n;

	do {
		if (step->to.kind == TAIO_KIND_STREAM)
			n = send(step->to.fd, data, len,
				 MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
		else if (step->to.flags & TAIO_END_STREAMED)
			n = write(step->to.fd, data, len);
		else
			n = pwrite(step->to.fd, data, len, (off_t)(step->to.offset + done));
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The pages were gone when the kernel wanted them. Return: 0: the source has become shorter;
 * negative errno. */
static int mmap_fault(const struct taio_step *step, uint64_t done)
{
	char byte;
	ssize_t n = pread(step->from.fd, &byte, 1, (off_t)(step->from.offset + done));

	if (n < 0)
		return -errno;
	return n ? -EFAULT : 0;
}

/* One window. Return: bytes moved, 0: end of the source, negative errno. */
static ssize_t mmap_window(struct taio_step *step, uint64_t done, size_t window)
{
	uint64_t at = step->from.offset + done, start = at & ~(uint64_t)(MMAP_ALIGN - 1);
	uint64_t left = step->len - done;
	struct stat st;
	uint8_t *map;
	size_t len, skip = (size_t)(at - start);
	ssize_t n;

	step->failed_side = 1;
	if (fstat(step->from.fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size == 0) /* size 0: perhaps a file that lies */
		return -EOPNOTSUPP;
	if (at >= (uint64_t)st.st_size)
		return 0;
	if (left > (uint64_t)st.st_size - at)
		left = (uint64_t)st.st_size - at;
	len = left < window - skip ? left : window - skip;
	map = mmap(NULL, skip + len, PROT_READ, MAP_SHARED | MAP_POPULATE, step->from.fd,
		   (off_t)start);
	if (map == MAP_FAILED)
		return errno == EAGAIN ? -EOPNOTSUPP : -errno;
	n = mmap_put(step, map + skip, len, done);
	munmap(map, skip + len);
	if (n == -EFAULT)
		return mmap_fault(step, done);
	step->failed_side = 2;
	return n == 0 ? -EIO : n;
}

static int64_t mmap_run(struct taio_device *dev, struct taio_step *step)
{
	size_t window = step->to.kind == TAIO_KIND_FILE ? MMAP_WINDOW : MMAP_WINDOW_FIRST;
	uint64_t moved = 0;

	(void)dev;
	assert(step->op == TAIO_OP_COPY && step->from.kind == TAIO_KIND_FILE && step->len > 0);
	while (moved < step->len) {
		ssize_t n = mmap_window(step, moved, window);

		if (n < 0 && !moved) {
			if (n != -EAGAIN)
				return syncops_fail(step, (int)n, step->failed_side);
			if (step->to.kind == TAIO_KIND_FILE)
				return syncops_fail(step, -EIO, 2);
			return syncops_again(step, step->to.fd, POLLOUT);
		}
		if (n <= 0)
			break;
		moved += (uint64_t)n;
		window = MMAP_WINDOW;
	}
	step->failed_side = 0;
	return syncops_done(step, moved);
}

static int mmap_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	return !(step->from.flags & TAIO_END_STREAMED);
}

static const struct taio_capability mmap_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING,
	  .min = MMAP_MIN,
	  .base_ns = 14000,
	  .ps_per_byte = 210 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM),
	  .flags = TAIO_CAP_BLOCKING,
	  .min = MMAP_MIN,
	  .base_ns = 14000,
	  .ps_per_byte = 210 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_mmap = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "mmap",
	.text = "mmap with MAP_POPULATE, then write or send",
	.caps = mmap_caps,
	.fits = mmap_fits,
	.run = mmap_run,
};
