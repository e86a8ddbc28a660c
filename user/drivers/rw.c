/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * rw.c: the driver that can always: pread and pwrite, recv and send, read and write, through a
 * bounce buffer where neither end is memory. It is slower than the others nearly everywhere; it is
 * there for what they refuse.
 *
 * Why no byte is lost or sent twice. A byte leaves its source only after the destination has it:
 *   memory, zeros, files by offset   nothing is consumed by reading
 *   file at its own position         read(2), then lseek(2) back by what was not written
 *   stream socket                    recv(MSG_PEEK), write, then recv(MSG_TRUNC) of just what was
 *                                    written (TCP throws that away without another copy)
 *   pipe                             tee(2) into a pipe of our own, write, then read(2) of just
 *                                    what was written
 * Towards memory and the null sink nothing can be refused: these are read directly. So whatever a
 * write says (EAGAIN, ENOSPC, a reset), the source stands behind the last byte that arrived, and
 * the next device goes on from there. It needs what every order on a stream needs: nobody else
 * reads the same stream meanwhile.
 *
 * A character device (terminal) can be neither peeked nor teed. There the destination is asked
 * first (poll) and no more is read than it then takes at once: PIPE_BUF bytes for a pipe, one small
 * buffer for a socket, anything for a file. If the kernel breaks even that word the rest is offered
 * for a second, and then the step fails with -ENOTRECOVERABLE, which nobody retries.
 *
 * One read per step from sockets, pipes and terminals: the next one could meet an error or an end
 * of input that the kernel reports only once, and a step that has moved bytes cannot report it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/syncops.h"

#define RW_PIPE_BYTES   (64 * 1024) /* what a pipe usually takes */
#define RW_BLIND_PIPE   4096        /* PIPE_BUF: whole or not at all */
#define RW_BLIND_STREAM 2048        /* one buffer of a socket that poll(2) called writable */
#define RW_BLIND_TRIES  10          /* times 100 ms */

/* One step under way. */
struct rw {
	struct taio_device *dev;
	struct taio_step *step;
	struct syncops_room *room; /* NULL: no bounce needed */
	uint64_t moved;
};

/* ---- destination ------------------------------------------------------------------------------ */

static ssize_t rw_write_file(struct rw *rw, const uint8_t *data, size_t len)
{
	const struct taio_end *to = &rw->step->to;
	size_t done = 0;

	while (done < len) {
		ssize_t n;

		if (to->flags & TAIO_END_STREAMED)
			n = write(to->fd, data + done, len - done);
		else
			n = pwrite(to->fd, data + done, len - done,
				   (off_t)(to->offset + rw->moved + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int error = n < 0 && errno != EAGAIN ? -errno : -EIO;

			return done ? (ssize_t)done : error;
		}
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static ssize_t rw_write_pipe(struct rw *rw, const uint8_t *data, size_t len)
{
	struct syncops_guard guard;
	ssize_t n;

	syncops_guard_start(rw->dev, &guard);
	do
		n = write(rw->step->to.fd, data, len);
	while (n < 0 && errno == EINTR);
	syncops_guard_end(&guard, n != (ssize_t)len);
	return n < 0 ? -errno : n;
}

static ssize_t rw_write_stream(struct rw *rw, const uint8_t *data, size_t len, bool more)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t n;

	if (more || (rw->step->flags & TAIO_SF_MORE))
		flags |= MSG_MORE;
	do
		n = send(rw->step->to.fd, data, len, flags);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Offers @len bytes that follow those moved so far. @more: the step has more after them.
 * Return: how many were taken, or negative errno with none taken. */
static ssize_t rw_write(struct rw *rw, const uint8_t *data, size_t len, bool more)
{
	switch (rw->step->to.kind) {
	case TAIO_KIND_FILE:
		return rw_write_file(rw, data, len);
	case TAIO_KIND_STREAM:
		return rw_write_stream(rw, data, len, more);
	case TAIO_KIND_PIPE:
		return rw_write_pipe(rw, data, len);
	default:
		assert(rw->step->to.kind == TAIO_KIND_NULL);
		return (ssize_t)len;
	}
}

/* ---- how a step ends --------------------------------------------------------------------------- */

static int64_t rw_refused(struct rw *rw, ssize_t error)
{
	struct taio_step *step = rw->step;

	if (rw->moved)
		return syncops_done(step, rw->moved);
	if (error == -EAGAIN) {
		step->failed_side = 2;
		return syncops_again(step, step->to.fd, POLLOUT);
	}
	return syncops_fail(step, (int)error, 2);
}

static int64_t rw_unread(struct rw *rw, int error)
{
	struct taio_step *step = rw->step;

	if (rw->moved)
		return syncops_done(step, rw->moved);
	if (error == -EAGAIN && step->from.kind == TAIO_KIND_FILE)
		return syncops_fail(step, -EOPNOTSUPP, 1); /* trace_pipe and its like */
	if (error == -EAGAIN) {
		step->failed_side = 1;
		return syncops_again(step, step->from.fd, POLLIN);
	}
	return syncops_fail(step, error, 1);
}

/* ---- sources that reading does not consume ----------------------------------------------------- */

static int64_t rw_from_memory(struct rw *rw)
{
	struct taio_step *step = rw->step;
	const uint8_t *data = step->from.ptr;
	bool to_file = step->to.kind == TAIO_KIND_FILE;

	do {
		uint64_t left = step->len - rw->moved;
		size_t want = left < SYNCOPS_CALL_BYTES ? left : SYNCOPS_CALL_BYTES;
		ssize_t n;

		if (step->to.kind == TAIO_KIND_PIPE && want > RW_PIPE_BYTES)
			want = RW_PIPE_BYTES;
		n = rw_write(rw, data + rw->moved, want, want < left);
		if (n < 0)
			return rw_refused(rw, n);
		rw->moved += (uint64_t)n;
		if ((size_t)n < want)
			break;
	} while (rw->moved < step->len && to_file);
	return syncops_done(step, rw->moved);
}

static int64_t rw_from_zero(struct rw *rw)
{
	struct taio_step *step = rw->step;
	const uint8_t *zeros = syncops_zeros(rw->dev);

	if (!zeros)
		return syncops_fail(step, -ENOMEM, 0);
	while (rw->moved < step->len) {
		uint64_t left = step->len - rw->moved;
		size_t want = left < SYNCOPS_BUFFER_BYTES ? left : SYNCOPS_BUFFER_BYTES;
		ssize_t n = rw_write(rw, zeros, want, want < left);

		if (n < 0)
			return rw_refused(rw, n);
		rw->moved += (uint64_t)n;
		if ((size_t)n < want)
			break;
	}
	return syncops_done(step, rw->moved);
}

static ssize_t rw_read_file(struct rw *rw, void *data, size_t len)
{
	const struct taio_end *from = &rw->step->from;
	ssize_t n;

	do
		n = from->flags & TAIO_END_STREAMED
			    ? read(from->fd, data, len)
			    : pread(from->fd, data, len, (off_t)(from->offset + rw->moved));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int64_t rw_file_to_memory(struct rw *rw)
{
	struct taio_step *step = rw->step;
	uint8_t *data = step->to.ptr;

	while (rw->moved < step->len) {
		uint64_t left = step->len - rw->moved;
		size_t want = left < SYNCOPS_CALL_BYTES ? left : SYNCOPS_CALL_BYTES;
		ssize_t n = rw_read_file(rw, data + rw->moved, want);

		if (n < 0)
			return rw_unread(rw, (int)n);
		if (n == 0)
			break;
		rw->moved += (uint64_t)n;
	}
	return syncops_done(step, rw->moved);
}

static int64_t rw_from_file(struct rw *rw)
{
	struct taio_step *step = rw->step;
	bool streamed = step->from.flags & TAIO_END_STREAMED;
	size_t room = step->to.kind == TAIO_KIND_PIPE ? RW_PIPE_BYTES : SYNCOPS_BUFFER_BYTES;
	uint8_t *buffer = rw->room->buffer;

	while (rw->moved < step->len) {
		uint64_t left = step->len - rw->moved;
		ssize_t got = rw_read_file(rw, buffer, left < room ? left : room), put;

		if (got < 0)
			return rw_unread(rw, (int)got);
		if (got == 0)
			break;
		put = rw_write(rw, buffer, (size_t)got, (uint64_t)got < left);
		if (put < got && streamed &&
		    lseek(step->from.fd, (put < 0 ? 0 : put) - got, SEEK_CUR) < 0)
			return syncops_fail(step, -ENOTRECOVERABLE, 1);
		if (put < 0)
			return rw_refused(rw, put);
		rw->moved += (uint64_t)put;
		if (put < got)
			break;
	}
	return syncops_done(step, rw->moved);
}

/* ---- stream sockets ----------------------------------------------------------------------------- */

static ssize_t rw_receive(int fd, void *data, size_t len, int flags)
{
	ssize_t n;

	do
		n = recv(fd, data, len, flags | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Takes @len bytes that were peeked at out of the socket. */
static int rw_stream_consume(int fd, uint8_t *buffer, size_t len)
{
	while (len) {
		ssize_t n = rw_receive(fd, buffer, len, MSG_TRUNC);

		if (n <= 0)
			return -ENOTRECOVERABLE; /* somebody else has taken them */
		len -= (size_t)n;
	}
	return 0;
}

static int64_t rw_from_stream(struct rw *rw)
{
	struct taio_step *step = rw->step;
	size_t want = step->len < SYNCOPS_BUFFER_BYTES ? step->len : SYNCOPS_BUFFER_BYTES;
	uint8_t *buffer = rw->room ? rw->room->buffer : NULL;
	ssize_t got, put;
	int rc;

	if (step->to.kind == TAIO_KIND_MEM)
		got = rw_receive(step->from.fd, step->to.ptr,
				 step->len < SYNCOPS_CALL_BYTES ? step->len : SYNCOPS_CALL_BYTES,
				 0);
	else if (step->to.kind == TAIO_KIND_NULL)
		got = rw_receive(step->from.fd, buffer, want, MSG_TRUNC);
	else
		got = rw_receive(step->from.fd, buffer,
				 step->to.kind == TAIO_KIND_PIPE && want > RW_PIPE_BYTES
					 ? RW_PIPE_BYTES
					 : want,
				 MSG_PEEK);
	if (got < 0)
		return rw_unread(rw, (int)got);
	if (got == 0 || step->to.kind == TAIO_KIND_MEM || step->to.kind == TAIO_KIND_NULL)
		return syncops_done(step, (uint64_t)got);
	put = rw_write(rw, buffer, (size_t)got, false);
	if (put < 0)
		return rw_refused(rw, put);
	rc = rw_stream_consume(step->from.fd, buffer, (size_t)put);
	return rc ? syncops_fail(step, rc, 1) : syncops_done(step, (uint64_t)put);
}

/* ---- pipes and terminals ------------------------------------------------------------------------ */

static ssize_t rw_read_pipe(int fd, void *data, size_t len)
{
	ssize_t n;

	do
		n = read(fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Looks at up to @len bytes of a pipe. Return: how many, 0: end, -EAGAIN; -EINVAL: no pipe. */
static ssize_t rw_pipe_peek(struct rw *rw, uint8_t *buffer, size_t len)
{
	struct syncops_room *room = rw->room;
	ssize_t n, got = 0;
	int rc = syncops_pipe(room);

	if (rc)
		return rc;
	do
		n = tee(rw->step->from.fd, room->pipe[1], len, SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	while (got < n) {
		ssize_t part = rw_read_pipe(room->pipe[0], buffer + got, (size_t)(n - got));

		if (part <= 0) {
			syncops_pipe_drop(room);
			return -EIO;
		}
		got += part;
	}
	return n;
}

static int64_t rw_pipe_blind(struct rw *rw);

static int64_t rw_from_pipe(struct rw *rw)
{
	struct taio_step *step = rw->step;
	size_t want = step->len < SYNCOPS_BUFFER_BYTES ? step->len : SYNCOPS_BUFFER_BYTES;
	bool takes_all = step->to.kind == TAIO_KIND_MEM || step->to.kind == TAIO_KIND_NULL;
	bool to_pipe = step->to.kind == TAIO_KIND_PIPE;
	uint8_t *buffer = rw->room ? rw->room->buffer : NULL;
	ssize_t got, put, gone = 0;

	if (takes_all)
		got = rw_read_pipe(step->from.fd,
				   step->to.kind == TAIO_KIND_MEM ? step->to.ptr : buffer,
				   step->to.kind == TAIO_KIND_MEM ? step->len : want);
	else
		got = rw_pipe_peek(rw, buffer,
				   to_pipe && want > RW_PIPE_BYTES ? RW_PIPE_BYTES : want);
	if (!takes_all &&
	    (got == -EINVAL || got == -ENOSYS || got == -EPERM || got == -EMFILE || got == -ENFILE))
		return rw_pipe_blind(rw);
	if (got < 0)
		return rw_unread(rw, (int)got);
	if (got == 0 || takes_all)
		return syncops_done(step, (uint64_t)got);
	put = rw_write(rw, buffer, (size_t)got, false);
	if (put < 0)
		return rw_refused(rw, put);
	while (gone < put) {
		ssize_t n = rw_read_pipe(step->from.fd, buffer, (size_t)(put - gone));

		if (n <= 0)
			return syncops_fail(step, -ENOTRECOVERABLE, 1);
		gone += n;
	}
	return syncops_done(step, (uint64_t)put);
}

/* Errors that send a step to another device must not stand for bytes that are gone. */
static int rw_final(ssize_t error)
{
	switch (error) {
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
	case -EPIPE:
	case -ECONNRESET:
	case -ETIMEDOUT:
		return (int)error;
	default:
		return -ENOTRECOVERABLE;
	}
}

/* A source that shows its bytes only by giving them away; see the top of this file. */
static int64_t rw_pipe_blind(struct rw *rw)
{
	struct taio_step *step = rw->step;
	struct pollfd to = { .fd = step->to.fd, .events = POLLOUT };
	uint8_t *buffer = rw->room->buffer;
	size_t want = step->len < SYNCOPS_BUFFER_BYTES ? step->len : SYNCOPS_BUFFER_BYTES;
	ssize_t got, put;

	if (step->to.kind != TAIO_KIND_FILE) {
		size_t most = step->to.kind == TAIO_KIND_PIPE ? RW_BLIND_PIPE : RW_BLIND_STREAM;

		if (poll(&to, 1, 0) == 0)
			return rw_refused(rw, -EAGAIN);
		want = want < most ? want : most;
	}
	got = rw_read_pipe(step->from.fd, buffer, want);
	if (got < 0)
		return rw_unread(rw, (int)got);
	for (int tries = 0; rw->moved < (uint64_t)got;) {
		put = rw_write(rw, buffer + rw->moved, (size_t)got - rw->moved, false);
		if (put < 0 && (put != -EAGAIN || tries++ == RW_BLIND_TRIES))
			return syncops_fail(step, rw_final(put), 2);
		if (put < 0)
			(void)poll(&to, 1, 100);
		else
			rw->moved += (uint64_t)put;
	}
	return syncops_done(step, rw->moved);
}

/* ---- the driver --------------------------------------------------------------------------------- */

static int64_t rw_move(struct rw *rw)
{
	switch (rw->step->from.kind) {
	case TAIO_KIND_MEM:
		return rw_from_memory(rw);
	case TAIO_KIND_ZERO:
		return rw_from_zero(rw);
	case TAIO_KIND_FILE:
		return rw->room ? rw_from_file(rw) : rw_file_to_memory(rw);
	case TAIO_KIND_STREAM:
		return rw_from_stream(rw);
	case TAIO_KIND_PIPE:
		return rw_from_pipe(rw);
	default:
		return syncops_fail(rw->step, -EOPNOTSUPP, 0);
	}
}

static int64_t rw_run(struct taio_device *dev, struct taio_step *step)
{
	struct rw rw = { .dev = dev, .step = step };
	int64_t result;

	assert(step->op == TAIO_OP_COPY && step->len > 0);
	if (step->from.kind == TAIO_KIND_MEM || step->from.kind == TAIO_KIND_ZERO ||
	    step->to.kind == TAIO_KIND_MEM)
		return rw_move(&rw);
	rw.room = syncops_get(dev);
	if (!rw.room || !syncops_buffer(rw.room)) {
		syncops_put(dev, rw.room);
		return syncops_fail(step, -ENOMEM, 0);
	}
	result = rw_move(&rw);
	syncops_put(dev, rw.room);
	return result;
}

static const struct taio_capability rw_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
	  .base_ns = 3500,
	  .ps_per_byte = 310 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
	  .base_ns = 900,
	  .ps_per_byte = 100 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
	  .base_ns = 7000,
	  .ps_per_byte = 350 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(ZERO),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
	  .base_ns = 1500,
	  .ps_per_byte = 200 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(ZERO),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 5000,
	  .ps_per_byte = 200 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING | TAIO_CAP_ANY_FIT,
	  .base_ns = 4000,
	  .ps_per_byte = 400 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 1000,
	  .ps_per_byte = 150 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 7000,
	  .ps_per_byte = 400 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_rw = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "rw",
	.text = "pread/pwrite, recv/send, read/write through a buffer; does every pair",
	.caps = rw_caps,
	.open = syncops_open,
	.close = syncops_close,
	.run = rw_run,
};
