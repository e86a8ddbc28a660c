/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * sendfile.c: file to socket, pipe or file by sendfile(2). The source is read by offset and not
 * consumed: what the destination does not take is simply not counted. A source at its own position
 * is moved by the kernel by just what was sent.
 *
 * sendfile(2) writes at the file position of the destination. Segments of one file may run at the
 * same time on several threads, so a file of the engine's gets a second file description of its
 * own for each step (through /proc/self/fd; opening and closing that costs more than ten
 * microseconds, hence the lower limit); a file that is written at its own position in any case
 * needs none. splice does the same work with offsets; this is for where splice is not to be had.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

#define SENDFILE_FILE_MIN (1024 * 1024) /* file to file: below, a description costs too much */

/* Moves what can be moved now. Return: bytes; *ret_error: 0, or why it is not all. */
static uint64_t sendfile_loop(int to, const struct taio_step *step, int *ret_error)
{
	uint64_t moved = 0;

	*ret_error = 0;
	while (moved < step->len) {
		uint64_t left = step->len - moved;
		off_t at_room;
		ssize_t n = sendfile(to, step->from.fd,
				     syncops_offset(&step->from, moved, &at_room),
				     left < SYNCOPS_CALL_BYTES ? left : SYNCOPS_CALL_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			*ret_error = -errno;
		if (n <= 0)
			break;
		moved += (uint64_t)n;
	}
	return moved;
}

static int64_t sendfile_stream(struct taio_device *dev, struct taio_step *step)
{
	struct syncops_guard guard;
	uint64_t moved;
	int error;

	syncops_guard_start(dev, &guard);
	moved = sendfile_loop(step->to.fd, step, &error);
	syncops_guard_end(&guard, moved < step->len);
	if (moved || !error)
		return syncops_done(step, moved);
	if (error == -EAGAIN) {
		step->failed_side = 2;
		return syncops_again(step, step->to.fd, POLLOUT);
	}
	return syncops_fail(step, error, error == -EPIPE || error == -ECONNRESET ? 2 : 0);
}

static int64_t sendfile_file(struct taio_step *step)
{
	int to = step->to.fd, error;
	char name[32];
	uint64_t moved;

	if (!(step->to.flags & TAIO_END_STREAMED)) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", step->to.fd);
		to = open(name, O_WRONLY | O_CLOEXEC);
		if (to < 0) /* no /proc, or an owner who may not open it again */
			return syncops_fail(step, -EOPNOTSUPP, 2);
		if (lseek(to, (off_t)step->to.offset, SEEK_SET) < 0) {
			close(to);
			return syncops_fail(step, -EOPNOTSUPP, 2);
		}
	}
	moved = sendfile_loop(to, step, &error);
	if (to != step->to.fd)
		close(to);
	if (moved || !error)
		return syncops_done(step, moved);
	return syncops_fail(step, error == -EAGAIN ? -EOPNOTSUPP : error, 0);
}

static int64_t sendfile_run(struct taio_device *dev, struct taio_step *step)
{
	assert(step->op == TAIO_OP_COPY && step->from.kind == TAIO_KIND_FILE && step->len > 0);
	if (step->to.kind == TAIO_KIND_FILE)
		return sendfile_file(step);
	return sendfile_stream(dev, step);
}

/* An O_APPEND file cannot be a destination; somebody else's position must not be moved. */
static int sendfile_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	if (step->to.kind != TAIO_KIND_FILE)
		return 1;
	return !(step->to.flags & TAIO_END_APPEND) &&
	       (step->to.flags & (TAIO_END_OWNED | TAIO_END_STREAMED));
}

static const struct taio_capability sendfile_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ZERO_COPY,
	  .base_ns = 7000,
	  .ps_per_byte = 200 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(PIPE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ZERO_COPY,
	  .base_ns = 3000,
	  .ps_per_byte = 60 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING,
	  .min = SENDFILE_FILE_MIN,
	  .base_ns = 7000,
	  .ps_per_byte = 230 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_sendfile = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER | TAIO_DRIVER_NONBLOCK,
	.name = "sendfile",
	.text = "sendfile: a file's pages to a socket, pipe or file",
	.caps = sendfile_caps,
	.open = syncops_open,
	.close = syncops_close,
	.fits = sendfile_fits,
	.run = sendfile_run,
};
