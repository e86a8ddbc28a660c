/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_chunk.c: one chunk of a flow: the entries that read and write it, the tries that nobody
 * else sees (a pipe that is not ready, a signal, memory that may not be pinned), and what its
 * completions mean. When the next one is started is said in ring_flow.c.
 */
#include "drivers/ring_flow.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "taio.h"

static void flow_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags);

static struct io_uring_sqe *flow_sqe(struct ring *ring, struct ring_flow *flow,
				     struct flow_chunk *chunk, struct ring_op **ret_op)
{
	struct ring_op *op = ring_op_get(ring, flow->device, NULL, flow_done);

	op->owner = flow;
	op->chunk = (uint16_t)(chunk - flow->chunk);
	chunk->op = (uint32_t)(op - ring->ops);
	flow->ops++;
	assert(flow->ops <= flow->depth);
	*ret_op = op;
	return ring_sqe(ring);
}

/* ---- reading --------------------------------------------------------------------------------- */

void ring_chunk_read(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk)
{
	const struct taio_end *from = &flow->step->from;
	struct ring_op *op;
	struct io_uring_sqe *sqe = flow_sqe(ring, flow, chunk, &op);
	const uint64_t offset = flow->from_start + chunk->at;
	uint32_t want = chunk->want;

	if (from->kind == TAIO_KIND_STREAM) {
		/* Wait for the first bytes only: then take what is there and give it back. */
		io_uring_prep_recv(sqe, from->fd, chunk->buffer.data, want,
				   flow->next_read > 0 ? MSG_DONTWAIT : 0);
	} else if (from->kind == TAIO_KIND_PIPE) {
		io_uring_prep_read(sqe, from->fd, chunk->buffer.data, want, UINT64_MAX);
	} else if (flow->from_direct) {
		/* whole blocks; what is too much is not looked at */
		want += (uint32_t)-want & (flow->from_direct->align - 1);
		io_uring_prep_read(sqe, flow->from_direct->fd, chunk->buffer.data, want, offset);
	} else {
		io_uring_prep_read(sqe, from->fd, chunk->buffer.data, want, offset);
	}
	if (chunk->buffer.fixed >= 0 && from->kind == TAIO_KIND_FILE) {
		sqe->opcode = IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)chunk->buffer.fixed;
	}
	ring_sqe_seat(ring, sqe);
	ring_sqe_done(ring, sqe, op);
	chunk->state = CHUNK_READING;
}

/* There is nothing more to be had from @at on. */
static void flow_end_at(struct ring_flow *flow, uint64_t at)
{
	flow->stop = true;
	if (at < flow->end)
		flow->end = at;
}

static void flow_read_done(struct ring_flow *flow, struct flow_chunk *chunk, int32_t res)
{
	assert(flow->reading > 0);
	flow->reading--;
	chunk->state = CHUNK_FULL;
	if (res < 0) {
		const bool calm = (res == -EAGAIN && flow->from_serial && flow->next_read > 0) ||
				  (res == -ECANCELED && flow->cancelled);

		if (res == -EAGAIN)
			res = -EOPNOTSUPP; /* see flow_again() */
		if (!calm && chunk->at < flow->end && flow->error_side != 2) {
			flow->error = res;
			flow->error_side = 1;
		}
		flow_end_at(flow, chunk->at);
		return;
	}
	/* a direct read may bring more than was asked for: whole blocks */
	chunk->got = (uint32_t)res < chunk->want ? (uint32_t)res : chunk->want;
	if (flow->from_serial) {
		flow->next_read += chunk->got;
		if (chunk->got == 0)
			flow_end_at(flow, chunk->at);
	} else if (chunk->got < chunk->want) {
		flow_end_at(flow, chunk->at + chunk->got);
	}
}

/* ---- writing --------------------------------------------------------------------------------- */

void ring_chunk_write(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk)
{
	const struct taio_end *to = &flow->step->to;
	struct ring_op *op;
	struct io_uring_sqe *sqe = flow_sqe(ring, flow, chunk, &op);
	const uint8_t *data = chunk->buffer.data + chunk->put;
	const int more = flow->step->flags & TAIO_SF_MORE ? MSG_MORE : 0;
	uint64_t offset = flow->to_start + chunk->at + chunk->put;
	uint32_t len = chunk->got - chunk->put;
	int fd = to->fd;

	assert(len > 0);
	chunk->state = CHUNK_WRITING;
	if (to->kind == TAIO_KIND_STREAM && flow->zero_copy) {
		ring_prep_send_zc(ring, sqe, fd, data, len, MSG_WAITALL | more,
				  chunk->buffer.fixed);
		ring_sqe_done(ring, sqe, op);
		return;
	}
	if (to->kind == TAIO_KIND_STREAM) {
		io_uring_prep_send(sqe, fd, data, len, MSG_NOSIGNAL | MSG_WAITALL | more);
		ring_sqe_done(ring, sqe, op);
		return;
	}
	if (to->kind == TAIO_KIND_PIPE)
		offset = UINT64_MAX;
	if (flow->to_direct && len >= flow->to_direct->align &&
	    !(offset & (flow->to_direct->align - 1))) {
		/* whole blocks directly, what is left of the last one through the cache */
		fd = flow->to_direct->fd;
		len &= ~(flow->to_direct->align - 1);
	}
	io_uring_prep_write(sqe, fd, data, len, offset);
	if (chunk->buffer.fixed >= 0 && to->kind == TAIO_KIND_FILE) {
		sqe->opcode = IORING_OP_WRITE_FIXED;
		sqe->buf_index = (uint16_t)chunk->buffer.fixed;
	}
	ring_sqe_seat(ring, sqe);
	ring_sqe_done(ring, sqe, op);
}

static void flow_write_failed(struct ring_flow *flow, struct flow_chunk *chunk, int32_t error)
{
	flow->writing--;
	flow->stop = true;
	chunk->state = CHUNK_FAILED;
	if (error == -ECANCELED && flow->cancelled)
		return;
	flow->error = error;
	flow->error_side = 2;
}

static void flow_write_done(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk,
			    int32_t res)
{
	assert(flow->writing > 0);
	if (res <= 0) {
		/* a write that takes nothing and says nothing would be tried for ever */
		res = res == 0 ? -EIO : res == -EAGAIN ? -EOPNOTSUPP : res;
		flow_write_failed(flow, chunk, res);
		return;
	}
	chunk->put += (uint32_t)res;
	assert(chunk->put <= chunk->got);
	if (chunk->put == chunk->got) {
		flow->writing--;
		chunk->state = CHUNK_DONE;
	} else if (!flow_may_write(flow)) {
		flow_write_failed(flow, chunk, -ECANCELED);
	} else {
		ring_chunk_write(ring, flow, chunk);
	}
}

/* ---- completions ----------------------------------------------------------------------------- */

static void flow_poll_start(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk)
{
	const bool reading = chunk->state == CHUNK_READING;
	struct ring_op *op;
	struct io_uring_sqe *sqe = flow_sqe(ring, flow, chunk, &op);

	io_uring_prep_poll_add(sqe, reading ? flow->step->from.fd : flow->step->to.fd,
			       reading ? POLLIN : POLLOUT);
	ring_sqe_done(ring, sqe, op);
	chunk->state = reading ? CHUNK_READ_POLL : CHUNK_WRITE_POLL;
}

/* The memory may not be pinned (RLIMIT_MEMLOCK): what is left is sent by copying.
 * Return: whether that is the new state of things. */
static bool flow_copies_now(struct ring_flow *flow, int32_t res)
{
	if (!flow->zero_copy || (res != -ENOMEM && res != -ENOBUFS) || !flow_may_write(flow))
		return false;
	flow->zero_copy = false;
	flow->step->copied = 1;
	return true;
}

/* The tries that nobody else sees: a signal, a pipe that is not ready. Return: whether it is one. */
static bool flow_again(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk,
		       int32_t res)
{
	const bool reading = chunk->state == CHUNK_READING || chunk->state == CHUNK_READ_POLL;
	const bool polled = chunk->state == CHUNK_READ_POLL || chunk->state == CHUNK_WRITE_POLL;

	if (flow->cancelled)
		return false;
	if (chunk->state == CHUNK_WRITING && flow_copies_now(flow, res)) {
		ring_chunk_write(ring, flow, chunk);
		return true;
	}
	if (res == -EINTR || (polled && res >= 0)) {
		if (reading)
			ring_chunk_read(ring, flow, chunk);
		else
			ring_chunk_write(ring, flow, chunk);
		return true;
	}
	/* a file that is not ready was opened with O_NONBLOCK and would say so for ever */
	if (res != -EAGAIN || polled ||
	    !flow_is_serial(reading ? &flow->step->from : &flow->step->to) ||
	    (reading && flow->next_read > 0))
		return false;
	flow_poll_start(ring, flow, chunk);
	return true;
}

/* Of the two completions of SEND_ZC: @flags tell which, and whether there is a second. */
static bool flow_notified(struct ring *ring, struct ring_flow *flow, struct ring_op *op,
			  int32_t res, uint32_t flags)
{
	struct flow_chunk *chunk = &flow->chunk[op->chunk];

	if (flags & IORING_CQE_F_NOTIF) {
		if (flow->step && ((uint32_t)res & IORING_NOTIF_USAGE_ZC_COPIED))
			flow->step->copied = 1;
		ring_op_put(ring, op);
		flow->ops--;
		if (chunk->state == CHUNK_WRITING) {
			if (flow_may_write(flow))
				ring_chunk_write(ring, flow, chunk); /* the rest of it */
			else
				flow_write_failed(flow, chunk, -ECANCELED);
		} else if (chunk->state == CHUNK_NOTIFY) {
			chunk->state = CHUNK_DONE;
		}
		return true;
	}
	if (!(flags & IORING_CQE_F_MORE))
		return false; /* failed at once: no second completion */
	if (res > 0)
		chunk->put += (uint32_t)res;
	assert(chunk->put <= chunk->got);
	if (flow_copies_now(flow, res)) {
		return true; /* with the notification, as the rest of a short send */
	} else if (res <= 0) {
		flow_write_failed(flow, chunk, res < 0 ? res : -EIO);
	} else if (chunk->put == chunk->got) {
		flow->writing--;
		chunk->state = CHUNK_NOTIFY;
	} else if (!flow_may_write(flow)) {
		flow_write_failed(flow, chunk, -ECANCELED);
	}
	return true;
}

static void flow_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct ring_flow *flow = op->owner;
	struct flow_chunk *chunk = &flow->chunk[op->chunk];

	ring->continued = 1;
	if ((flags & (IORING_CQE_F_MORE | IORING_CQE_F_NOTIF)) &&
	    flow_notified(ring, flow, op, res, flags)) {
		ring_flow_advance(ring, flow);
		return;
	}
	ring_op_put(ring, op);
	flow->ops--;
	if (!flow_again(ring, flow, chunk, res)) {
		/* a poll that was cancelled, or that is not needed any more */
		if (res >= 0 &&
		    (chunk->state == CHUNK_READ_POLL || chunk->state == CHUNK_WRITE_POLL))
			res = -ECANCELED;
		if (chunk->state == CHUNK_READING || chunk->state == CHUNK_READ_POLL)
			flow_read_done(flow, chunk, res);
		else
			flow_write_done(ring, flow, chunk, res);
	}
	ring_flow_advance(ring, flow);
}
