/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* filestream.c: see filestream.h. Up to a few pages a copy through a buffer is cheapest, above that
 * the pages themselves go to the socket. */
#include "drivers/filestream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "drivers/syncops.h"
#include "taio.h"

#define FILESTREAM_COPY  (4 * 1024)   /* above, sendfile(2) beats pread(2) and send(2) */
#define FILESTREAM_SMALL (16 * 1024)  /* ... but up to here not by more than a step costs */
#define FILESTREAM_PAGES (256 * 1024) /* above, other ways may be faster: the engine chooses */

/* sendfile(2) asks the descriptor whether it may wait, so its flags are changed for the time of the
 * call: only on the engine's thread, which does the same for other devices; and only where that thread
 * may wait for a disk. */
static bool filestream_may_send(const struct taio_device *dev)
{
	return !dev->worker && (dev->host->engine_flags & TAIO_MAY_BLOCK);
}

uint64_t filestream_max(const struct taio_device *dev)
{
	return filestream_may_send(dev) ? FILESTREAM_PAGES : FILESTREAM_SMALL;
}

int64_t filestream_leave(struct taio_file *file, int64_t sent)
{
	int rc = fileops_looked_at_from(file);

	return rc ? rc : sent;
}

static int64_t filestream_done(struct taio_file *file, int64_t sent)
{
	(void)fileops_close(file->from_fd);
	file->from_fd = -1;
	file->state |= TAIO_FILE_DONE;
	return sent;
}

static int64_t filestream_pages(struct taio_device *dev, struct taio_file *file, uint64_t expected,
				int to)
{
	int flags = fcntl(to, F_GETFL), on = 1, off = 0, error;
	bool waits = flags >= 0 && !(flags & O_NONBLOCK);
	off_t at = (off_t)file->offset;
	struct syncops_guard guard;
	ssize_t n;

	if (flags < 0 || (waits && ioctl(to, FIONBIO, &on)))
		return filestream_leave(file, 0);
	syncops_guard_start(dev, &guard);
	n = sendfile(to, file->from_fd, &at, expected);
	error = errno;
	syncops_guard_end(&guard, n != (ssize_t)expected);
	if (waits)
		(void)ioctl(to, FIONBIO, &off);
	if (n == (ssize_t)expected)
		return filestream_done(file, n);
	if (n < 0 && (error == EPIPE || error == ECONNRESET))
		return fileops_fail(file, TAIO_STEP_WRITE, -error);
	return filestream_leave(file, n < 0 ? 0 : n);
}

/* Reads the file, and a byte more if there is one, and sends it. Whatever is not as simple as that
 * goes on in segments from what the stream took. */
static int64_t filestream_copy(struct taio_file *file, uint8_t *buffer, uint64_t expected, int to)
{
	size_t ask = expected < file->length ? expected + 1 : expected;
	ssize_t n = pread(file->from_fd, buffer, ask, (off_t)file->offset), sent;

	if (n <= 0 || (uint64_t)n != expected) { /* it changes: how long is it now? */
		int fd = file->from_fd;

		file->from_fd = -1;
		return fileops_opened_from(file, fd);
	}
	sent = send(to, buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return fileops_fail(file, TAIO_STEP_WRITE, -errno);
	return sent < n ? filestream_leave(file, sent < 0 ? 0 : sent) : filestream_done(file, sent);
}

int64_t filestream_send(struct taio_device *dev, struct taio_file *file, uint8_t *buffer,
			uint64_t expected, int to)
{
	if (expected > FILESTREAM_COPY && filestream_may_send(dev))
		return filestream_pages(dev, file, expected, to);
	return filestream_copy(file, buffer, expected, to);
}
