/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netsend.c: a sending step of the datagram drivers: cuts the source into pieces and sees to the
 * end. How a piece becomes datagrams is theirs (dgram.c, gso.c).
 *
 * A byte leaves its source only after the kernel took its datagram: memory, zeros and files are read
 * by offset, a stream socket is peeked, a pipe is teed, and both are then read of just what was
 * sent. A terminal can be neither; there the socket is asked first and one datagram read at a time.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "drivers/netops.h"
#include "drivers/syncops.h"

#define BLIND_TRIES 100 /* times 10 ms */

/* The source of a step under way. */
struct source {
	struct taio_device *dev;
	struct taio_step *step;
	struct syncops_room *room;
	uint64_t offset; /* in a file, of the first byte of the step */
	bool consumed;   /* a terminal: what was read is nowhere else */
};

static int source_init(struct source *source)
{
	const struct taio_end *from = &source->step->from;
	off_t at;

	source->offset = from->offset;
	source->consumed = false;
	if (from->kind == TAIO_KIND_FILE && (from->flags & TAIO_END_STREAMED)) {
		/* read by offset and move the position at the end: what a full socket did not
		 * take is then still ahead of the position */
		at = lseek(from->fd, 0, SEEK_CUR);
		if (at < 0)
			return -errno;
		source->offset = (uint64_t)at;
	}
	return from->kind == TAIO_KIND_MEM || syncops_buffer(source->room) ? 0 : -ENOMEM;
}

static int64_t source_pread(struct source *source, uint64_t done, size_t want)
{
	size_t got = 0;

	while (got < want) {
		ssize_t n = pread(source->step->from.fd, source->room->buffer + got, want - got,
				  (off_t)(source->offset + done + got));

		if (n > 0)
			got += (size_t)n;
		else if (n == 0)
			break;
		else if (errno != EINTR)
			return got ? (int64_t)got : -errno;
	}
	return (int64_t)got;
}

static int64_t source_read(int fd, uint8_t *to, size_t want)
{
	ssize_t n;

	do {
		n = read(fd, to, want);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int64_t source_peek_stream(struct source *source, size_t want)
{
	ssize_t n;

	do {
		n = recv(source->step->from.fd, source->room->buffer, want,
			 MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/*
 * No datagram is read from a terminal before the socket has room for it. A terminal is left
 * blocking, as it is shared with the shell: it is only read when it has something.
 */
static int64_t source_read_terminal(struct source *source, size_t unit)
{
	struct pollfd ends[2] = { { .fd = source->step->from.fd, .events = POLLIN },
				  { .fd = source->step->to.fd, .events = POLLOUT } };

	if (poll(ends, 2, 0) < 0 || !ends[0].revents)
		return -EAGAIN;
	if (!ends[1].revents) {
		source->step->failed_side = 2;
		return -EAGAIN;
	}
	source->consumed = true;
	return source_read(source->step->from.fd, source->room->buffer, unit);
}

static int64_t source_peek_pipe(struct source *source, size_t want, size_t unit)
{
	struct syncops_room *room = source->room;
	size_t got = 0;
	ssize_t n = syncops_pipe(room);

	if (n == 0) {
		do {
			n = tee(source->step->from.fd, room->pipe[1], want, SPLICE_F_NONBLOCK);
		} while (n < 0 && errno == EINTR);
		n = n < 0 ? -errno : n;
	}
	if (n == -EAGAIN)
		return n;
	if (n < 0)
		return source_read_terminal(source, unit);
	while (got < (size_t)n) {
		int64_t part = source_read(room->pipe[0], room->buffer + got, (size_t)n - got);

		if (part <= 0) {
			syncops_pipe_drop(room);
			return -EIO;
		}
		got += (size_t)part;
	}
	return (int64_t)got;
}

/*
 * Up to @want bytes behind the first @done; at most a buffer unless the source is memory.
 * Return: how many; 0: the source ended; negative errno.
 */
static int64_t source_get(struct source *source, uint64_t done, size_t want,
			  const uint8_t **ret_piece)
{
	const struct taio_end *from = &source->step->from;

	assert(want > 0);
	*ret_piece = source->room->buffer;
	switch (from->kind) {
	case TAIO_KIND_MEM:
		*ret_piece = (const uint8_t *)from->ptr + done;
		return (int64_t)want;
	case TAIO_KIND_ZERO:
		*ret_piece = syncops_zeros(source->dev);
		return *ret_piece ? (int64_t)want : -ENOMEM;
	case TAIO_KIND_FILE:
		return source_pread(source, done, want);
	case TAIO_KIND_STREAM:
		return source_peek_stream(source, want);
	case TAIO_KIND_PIPE:
		return source_peek_pipe(source, want, netops_unit(&source->step->to));
	default:
		return -EOPNOTSUPP;
	}
}

/* @done bytes were sent: the source stands behind them. Return: 0 or -ENOTRECOVERABLE. */
static int source_done(struct source *source, uint64_t done)
{
	const struct taio_end *from = &source->step->from;
	const bool stream = from->kind == TAIO_KIND_STREAM;

	if (from->kind == TAIO_KIND_FILE && (from->flags & TAIO_END_STREAMED) && done > 0)
		return lseek(from->fd, (off_t)(source->offset + done), SEEK_SET) < 0
			       ? -ENOTRECOVERABLE
			       : 0;
	if ((!stream && from->kind != TAIO_KIND_PIPE) || source->consumed)
		return 0;
	while (done > 0) {
		int64_t n;

		if (stream)
			n = recv(from->fd, source->room->buffer, done, MSG_TRUNC | MSG_DONTWAIT);
		else
			n = source_read(from->fd, source->room->buffer, done);
		if (n < 0 && errno == EINTR && stream)
			continue;
		if (n <= 0)
			return -ENOTRECOVERABLE; /* somebody else has taken them */
		done -= (uint64_t)n;
	}
	return 0;
}

/* ---- a step ------------------------------------------------------------------------------------ */

/* How much of a step to send now: no short datagram only because a segment ends there. */
static uint64_t send_length(const struct taio_step *step)
{
	const size_t unit = netops_unit(&step->to);

	if ((step->flags & TAIO_SF_MORE) && !(step->flags & TAIO_SF_LAST) && step->len > unit)
		return step->len - step->len % unit;
	return step->len;
}

/* All bytes of a step are gone. Return: 0 or negative errno. */
static int send_end(const struct taio_step *step)
{
	int error = netops_error(step->to.fd);

	if (!error && (step->flags & TAIO_SF_LAST))
		error = netops_end_mark(step->to.fd);
	return netops_for_good(error);
}

static int64_t send_failed(struct taio_step *step, int error, uint64_t moved)
{
	if (moved > 0 && !netops_is_report(error))
		return (int64_t)moved;
	if (!netops_is_full(error))
		return error;
	if (step->failed_side == 1)
		return netops_again(step, step->from.fd, POLLIN);
	return netops_again(step, step->to.fd, POLLOUT);
}

/* A datagram of a terminal that the socket did not take, against its word. */
static int send_stubbornly(struct source *source, const uint8_t *piece, size_t bytes,
			   netops_send_fn *send, uint64_t *moved)
{
	int error = -EAGAIN;

	for (int tries = 0; netops_is_full(error) && tries < BLIND_TRIES; tries++) {
		(void)poll(NULL, 0, 10);
		error = send(source->step, piece, bytes, moved);
	}
	return netops_is_full(error) ? -ETIMEDOUT : error;
}

static int64_t send_source(struct source *source, size_t whole, netops_send_fn *send)
{
	struct taio_step *step = source->step;
	const uint64_t len = send_length(step);
	const size_t piece_max = SYNCOPS_BUFFER_BYTES - SYNCOPS_BUFFER_BYTES % whole;
	const bool flows = step->from.kind == TAIO_KIND_STREAM || step->from.kind == TAIO_KIND_PIPE;
	const size_t unit = netops_unit(&step->to);
	uint64_t moved = 0;
	int error = 0, lost;

	while (moved < len && !error) {
		const uint8_t *piece;
		size_t want = len - moved < piece_max ? len - moved : piece_max;
		int64_t got;

		step->failed_side = 1;
		got = source_get(source, moved, want, &piece);
		if (got <= 0) {
			/* the bytes of a file that shrank end here: the receiver must learn it */
			if (got == 0 && moved == 0 && !flows)
				got = send_end(step);
			error = (int)got;
			break;
		}
		/* a tail waits for what the flow brings, unless it is all there is */
		if (flows && (size_t)got > unit && (size_t)got < len - moved)
			got -= (int64_t)((size_t)got % unit);
		step->failed_side = 2;
		error = send(step, piece, (size_t)got, &moved);
		if (source->consumed && netops_is_full(error))
			error = send_stubbornly(source, piece, (size_t)got, send, &moved);
		if (source->consumed)
			error = netops_for_good(error);
		if (flows)
			break;
	}
	lost = source_done(source, moved);
	step->packets = (uint32_t)((moved + unit - 1) / unit);
	if (lost)
		return lost;
	if (error)
		return send_failed(step, error, moved);
	if (moved > 0 && (moved == len || flows)) {
		step->failed_side = 2;
		error = send_end(step);
	}
	return error ? error : (int64_t)moved;
}

int64_t netops_send(struct taio_device *dev, struct taio_step *step, size_t whole,
		    netops_send_fn *send)
{
	struct source source = { .dev = dev, .step = step, .room = syncops_get(dev) };
	int64_t result;

	assert(whole > 0);
	assert(whole <= SYNCOPS_BUFFER_BYTES);
	if (!source.room)
		return -ENOMEM;
	step->failed_side = 1;
	result = source_init(&source);
	if (result == 0)
		result = send_source(&source, whole, send);
	syncops_put(dev, source.room);
	return result;
}
