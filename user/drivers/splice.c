/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * splice.c: moves pages by splice(2). Where one end is a pipe that is one call; between a file and
 * a socket or a file the bytes go through a pipe of our own that is empty between steps.
 *
 * Why no byte is lost or sent twice:
 *   pipe to anything, anything to a pipe   one splice(2): what leaves one end is in the other
 *   file to socket, file to file           what the destination did not take is dropped from our
 *                                          pipe and read again; a file is not consumed by reading
 *                                          (one read at its own position is wound back)
 *   socket to file                         what was taken from the socket is written to the end,
 *                                          at last by pwrite(2) where the file system cannot
 *                                          splice. If that fails too (a full disk), bytes are
 *                                          gone: the step then fails for good, with the errno of
 *                                          the file or -ENOTRECOVERABLE, so that nobody goes on
 *                                          behind a gap. rw takes no byte too many even then.
 *   socket to socket                       not offered: our pipe would hold bytes that the
 *                                          destination does not want yet. rw does it.
 * As with sendfile(2), what waits in a pipe or socket are the pages of the file themselves: whoever
 * writes to the file before the peer has read them changes what the peer reads.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

#define SPLICE_TRIES 3 /* both ends became ready between the call and the look at them */

static ssize_t splice_call(int from, off_t *from_at, int to, off_t *to_at, uint64_t len, bool more)
{
	size_t want = len < SYNCOPS_CALL_BYTES ? len : SYNCOPS_CALL_BYTES;
	ssize_t n;

	do
		n = splice(from, from_at, to, to_at, want,
			   SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static bool splice_signals(const struct taio_step *step)
{
	return step->to.kind == TAIO_KIND_PIPE || step->to.kind == TAIO_KIND_STREAM;
}

/* ---- one end is a pipe -------------------------------------------------------------------------- */

static int64_t splice_wait(struct taio_step *step, int who)
{
	step->failed_side = (uint8_t)who;
	if (who == 1)
		return syncops_again(step, step->from.fd, POLLIN);
	return syncops_again(step, step->to.fd, POLLOUT);
}

static int64_t splice_direct(struct taio_device *dev, struct taio_step *step)
{
	bool more = step->flags & TAIO_SF_MORE;
	struct syncops_guard guard = { .active = 0 };
	off_t from_room, to_room;
	int who = 0;
	ssize_t n;

	if (splice_signals(step))
		syncops_guard_start(dev, &guard);
	for (int tries = 0; tries < SPLICE_TRIES; tries++) {
		n = splice_call(step->from.fd, syncops_offset(&step->from, 0, &from_room),
				step->to.fd, syncops_offset(&step->to, 0, &to_room), step->len,
				more);
		if (n != -EAGAIN)
			break;
		/* A file is never what we wait for. */
		who = step->from.kind == TAIO_KIND_FILE ? 2
		      : step->to.kind == TAIO_KIND_FILE ? 1
							: syncops_who_waits(step);
		if (who)
			break;
	}
	syncops_guard_end(&guard, n < 0 || (uint64_t)n < step->len);
	if (n >= 0)
		return syncops_done(step, (uint64_t)n);
	if (n == -EAGAIN)
		return splice_wait(step, who ? who : 2);
	return syncops_fail(step, (int)n, n == -EPIPE ? 2 : 0);
}

/* ---- through our own pipe ------------------------------------------------------------------------ */

/* Empties our pipe into the file by hand. Return: bytes written, or negative errno with some of
 * them (*ret_written) written. */
static int splice_by_hand(struct syncops_room *room, const struct taio_step *step, uint64_t done,
			  uint64_t len)
{
	uint8_t *buffer = syncops_buffer(room);

	if (!buffer)
		return -ENOMEM;
	while (len) {
		ssize_t got = read(room->pipe[0], buffer,
				   len < SYNCOPS_BUFFER_BYTES ? len : SYNCOPS_BUFFER_BYTES);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return -EIO;
		for (ssize_t put = 0; put < got;) {
			ssize_t n = step->to.flags & TAIO_END_STREAMED
					    ? write(step->to.fd, buffer + put, (size_t)(got - put))
					    : pwrite(step->to.fd, buffer + put, (size_t)(got - put),
						     (off_t)(step->to.offset + done) + put);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
			put += n;
		}
		done += (uint64_t)got;
		len -= (uint64_t)got;
	}
	return 0;
}

/* Empties our pipe, which holds @len bytes that begin @done bytes into the step, into the
 * destination. Return: how many went, with *ret_error the reason if it is not all. */
static uint64_t splice_out(struct syncops_room *room, const struct taio_step *step, uint64_t done,
			   uint64_t len, bool more, int *ret_error)
{
	uint64_t out = 0;

	*ret_error = 0;
	while (out < len) {
		off_t at_room;
		ssize_t n = splice_call(room->pipe[0], NULL, step->to.fd,
					syncops_offset(&step->to, done + out, &at_room), len - out,
					more);

		if (n <= 0) {
			*ret_error = n ? (int)n : -EIO;
			break;
		}
		out += (uint64_t)n;
	}
	return out;
}

static int64_t splice_from_file(struct taio_device *dev, struct taio_step *step,
				struct syncops_room *room)
{
	bool streamed = step->from.flags & TAIO_END_STREAMED;
	struct syncops_guard guard = { .active = 0 };
	uint64_t moved = 0, out = 0;
	ssize_t in = 0;
	int error = 0;
	uint8_t side = 1;

	if (splice_signals(step))
		syncops_guard_start(dev, &guard);
	while (moved < step->len) {
		uint64_t left = step->len - moved;
		off_t at_room;

		in = splice_call(step->from.fd, syncops_offset(&step->from, moved, &at_room),
				 room->pipe[1], NULL,
				 left < room->pipe_bytes ? left : room->pipe_bytes, false);
		if (in <= 0) {
			error = in == -EAGAIN ? -EOPNOTSUPP : (int)in;
			break;
		}
		out = splice_out(room, step, moved, (uint64_t)in,
				 (uint64_t)in < left || (step->flags & TAIO_SF_MORE), &error);
		moved += out;
		if (out < (uint64_t)in) {
			side = 2;
			syncops_pipe_drop(room);
			if (streamed && lseek(step->from.fd, (off_t)out - (off_t)in, SEEK_CUR) < 0)
				error = -ENOTRECOVERABLE;
			break;
		}
	}
	syncops_guard_end(&guard, moved < step->len);
	if (error == -ENOTRECOVERABLE)
		return syncops_fail(step, error, 1);
	if (moved || !error)
		return syncops_done(step, moved);
	if (error == -EAGAIN)
		return splice_wait(step, 2);
	return syncops_fail(step, error, side);
}

/* What another device would try again must not stand for bytes that are gone. */
static int splice_final(int error)
{
	return error == -ENOSPC || error == -EDQUOT || error == -EFBIG ? error : -ENOTRECOVERABLE;
}

static int64_t splice_stream_to_file(struct taio_step *step, struct syncops_room *room)
{
	uint64_t want = step->len < room->pipe_bytes ? step->len : room->pipe_bytes, out;
	ssize_t in;
	int error;

	in = splice_call(step->from.fd, NULL, room->pipe[1], NULL, want, false);
	if (in == -EAGAIN)
		return splice_wait(step, 1);
	if (in < 0)
		return syncops_fail(step, (int)in, 1);
	out = splice_out(room, step, 0, (uint64_t)in, false, &error);
	if (out < (uint64_t)in) {
		error = splice_by_hand(room, step, out, (uint64_t)in - out);
		if (error) {
			syncops_pipe_drop(room);
			return syncops_fail(step, splice_final(error), 2);
		}
	}
	return syncops_done(step, (uint64_t)in);
}

/* ---- the driver --------------------------------------------------------------------------------- */

static int64_t splice_run(struct taio_device *dev, struct taio_step *step)
{
	struct syncops_room *room;
	int64_t result;
	int rc;

	assert(step->op == TAIO_OP_COPY && step->len > 0);
	if (step->from.kind == TAIO_KIND_PIPE || step->to.kind == TAIO_KIND_PIPE)
		return splice_direct(dev, step);
	room = syncops_get(dev);
	if (!room)
		return syncops_fail(step, -ENOMEM, 0);
	rc = syncops_pipe(room);
	if (rc)
		result = syncops_fail(step, rc, 0);
	else if (step->from.kind == TAIO_KIND_FILE)
		result = splice_from_file(dev, step, room);
	else
		result = splice_stream_to_file(step, room);
	syncops_put(dev, room);
	return result;
}

/* splice(2) refuses files opened with O_APPEND. */
static int splice_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	return !(step->to.flags & TAIO_END_APPEND);
}

static const struct taio_capability splice_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ZERO_COPY,
	  .base_ns = 7500,
	  .ps_per_byte = 220 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING,
	  .base_ns = 6000,
	  .ps_per_byte = 205 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(PIPE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ZERO_COPY,
	  .base_ns = 3000,
	  .ps_per_byte = 60 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING,
	  .base_ns = 3500,
	  .ps_per_byte = 250 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM),
	  .to = TAIO_K(PIPE),
	  .flags = TAIO_CAP_ZERO_COPY,
	  .base_ns = 2000,
	  .ps_per_byte = 30 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(PIPE),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .flags = TAIO_CAP_ZERO_COPY,
	  .base_ns = 4000,
	  .ps_per_byte = 60 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_splice = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER | TAIO_DRIVER_NONBLOCK,
	.name = "splice",
	.text = "splice: pages through a pipe",
	.caps = splice_caps,
	.open = syncops_open,
	.close = syncops_close,
	.fits = splice_fits,
	.run = splice_run,
};
