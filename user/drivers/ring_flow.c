/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_flow.c: steps from descriptor to descriptor. The bytes go through bounce buffers, a few
 * chunks at a time: while one chunk is written the next is read. Chunks form a queue in the order
 * of their bytes,
 *
 *     first <= ready <= last:   [ being written ) [ read or being read )
 *
 * and a chunk is written only when all before it were read in full. So whatever goes wrong, the
 * bytes moved are a prefix. A source or destination without positions (stream, pipe, file opened
 * for appending) is served one operation at a time, in order.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

enum chunk_state {
	CHUNK_EMPTY = 0,
	CHUNK_READING,
	CHUNK_READ_POLL, /* the source is a pipe that has nothing yet */
	CHUNK_FULL,
	CHUNK_WRITING,
	CHUNK_WRITE_POLL, /* the destination is a pipe that has no room */
	CHUNK_NOTIFY,     /* sent, the kernel still uses the memory */
	CHUNK_DONE,
	CHUNK_FAILED /* put bytes of it were written, the rest was not */
};

struct flow_chunk {
	struct ring_buffer buffer;
	uint64_t at; /* of its first byte in the step */
	uint32_t want, got, put;
	uint32_t op;
	uint8_t state; /* enum chunk_state */
};

struct ring_flow {
	struct taio_step *step; /* NULL: given back, only notifications are awaited */
	struct ring_flow *next_free;
	struct ring_file *from_direct, *to_direct;
	uint64_t end;        /* no byte from here on will be moved */
	uint64_t next_read;  /* where the next read starts */
	uint64_t moved;      /* bytes of chunks before first */
	uint64_t from_start; /* position of the source at the start of the step */
	uint64_t to_start;
	uint32_t first, ready, last; /* numbers of chunks, free running */
	int32_t error;
	uint8_t error_side;
	uint8_t device, depth;
	uint8_t ops;     /* slots in use */
	uint8_t reading; /* chunks */
	uint8_t writing; /* chunks, without those in CHUNK_NOTIFY */
	bool from_serial, to_serial, to_append, zero_copy, stop, cancelled;
	struct flow_chunk chunk[RING_CHUNKS];
};

int ring_flows_open(struct ring *ring)
{
	ring->flows = calloc(RING_FLOWS, sizeof(*ring->flows));
	if (!ring->flows)
		return -ENOMEM;
	for (int i = 0; i < RING_FLOWS - 1; i++)
		ring->flows[i].next_free = &ring->flows[i + 1];
	ring->free_flow = ring->flows;
	return 0;
}

void ring_flows_close(struct ring *ring)
{
	free(ring->flows);
	ring->flows = ring->free_flow = NULL;
}

static struct flow_chunk *flow_chunk(struct ring_flow *flow, uint32_t number)
{
	assert(flow->depth > 0);
	return &flow->chunk[number % flow->depth];
}

static bool flow_is_serial(const struct taio_end *end)
{
	return end->kind != TAIO_KIND_FILE;
}

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

static void flow_read_start(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk)
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
	ring_sqe_done(ring, sqe, op);
	chunk->state = CHUNK_READING;
}

static void flow_read_more(struct ring *ring, struct ring_flow *flow)
{
	while (flow->last - flow->first < flow->depth && !flow->stop &&
	       flow->next_read < flow->end) {
		struct flow_chunk *chunk = flow_chunk(flow, flow->last);
		const uint64_t left = flow->end - flow->next_read;

		if (flow->from_serial && flow->reading)
			break;
		chunk->at = flow->next_read;
		chunk->want = left < chunk->buffer.size ? (uint32_t)left : chunk->buffer.size;
		chunk->got = chunk->put = 0;
		flow->reading++;
		flow->last++;
		if (!flow->from_serial)
			flow->next_read += chunk->want;
		flow_read_start(ring, flow, chunk);
	}
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

static void flow_write_start(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk)
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
	ring_sqe_done(ring, sqe, op);
}

/* Bytes that came from a stream or pipe are gone from there: they are written even when the step
 * is to end, unless the destination itself could stall. */
static bool flow_may_write(const struct ring_flow *flow)
{
	if (flow->error_side == 2)
		return false;
	return !flow->cancelled || (flow->from_serial && flow->step->to.kind == TAIO_KIND_FILE);
}

static void flow_write_more(struct ring *ring, struct ring_flow *flow)
{
	while (flow->ready != flow->last) {
		struct flow_chunk *chunk = flow_chunk(flow, flow->ready);

		if (chunk->state != CHUNK_FULL)
			break;
		if (chunk->at >= flow->end)
			chunk->got = 0;
		else if (chunk->got > flow->end - chunk->at)
			chunk->got = (uint32_t)(flow->end - chunk->at);
		if (chunk->got == 0) {
			chunk->state = CHUNK_DONE;
			flow->ready++;
			continue;
		}
		if (!flow_may_write(flow) || (flow->to_serial && flow->writing))
			break;
		flow->ready++;
		flow->writing++;
		flow_write_start(ring, flow, chunk);
	}
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
		flow_write_start(ring, flow, chunk);
	}
}

/* ---- the end --------------------------------------------------------------------------------- */

static void flow_retire(struct ring_flow *flow)
{
	while (flow->first != flow->ready && flow_chunk(flow, flow->first)->state == CHUNK_DONE) {
		flow->moved += flow_chunk(flow, flow->first)->put;
		flow->first++;
	}
}

/*
 * An error of a step after which bytes are missing must end the request: with one of the errors
 * that say "try another device" the next device would go on behind the gap.
 */
static int64_t flow_final(int32_t error)
{
	switch (-error) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EPIPE:
	case ECONNRESET:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return error;
	default:
		return -ENOTRECOVERABLE;
	}
}

static int64_t flow_result(const struct ring_flow *flow)
{
	const bool lost = flow->from_serial && flow->next_read > flow->moved;

	if (flow->error && flow->error_side == 2 && lost)
		return flow_final(flow->error);
	/* a socket reports its error once: a short success now would become a clean end next time */
	if (flow->error && flow->error_side == 1 && flow->from_serial)
		return flow->moved ? flow_final(flow->error) : flow->error;
	if (flow->moved > 0)
		return (int64_t)flow->moved;
	if (flow->error)
		return flow->error;
	return flow->cancelled ? -ECANCELED : 0;
}

/* Ends at their own position have moved, as read(2) and write(2) would have done. */
static void flow_positions(const struct ring_flow *flow)
{
	const struct taio_step *step = flow->step;

	if (step->from.kind == TAIO_KIND_FILE && (step->from.flags & TAIO_END_STREAMED))
		(void)lseek(step->from.fd, (off_t)(flow->from_start + flow->moved), SEEK_SET);
	if (step->to.kind == TAIO_KIND_FILE && (step->to.flags & TAIO_END_STREAMED)) {
		if (flow->to_append)
			(void)lseek(step->to.fd, 0, SEEK_END);
		else
			(void)lseek(step->to.fd, (off_t)(flow->to_start + flow->moved), SEEK_SET);
	}
}

static void flow_give_back(struct ring *ring, struct ring_flow *flow)
{
	struct taio_step *step = flow->step;

	/* up to the first chunk that is not there as a whole */
	for (uint32_t n = flow->first; n != flow->ready; n++) {
		const struct flow_chunk *chunk = flow_chunk(flow, n);

		flow->moved += chunk->put;
		if (chunk->put < chunk->got)
			break;
	}
	flow_positions(flow);
	step->result = flow_result(flow);
	if (step->result < 0)
		step->failed_side = flow->error_side;
	flow->step = NULL;
	ring_finish(ring, flow->device, step);
}

static void flow_release(struct ring *ring, struct ring_flow *flow)
{
	assert(flow->ops == 0);
	for (unsigned int i = 0; i < flow->depth; i++)
		ring_buffer_put(ring, &flow->chunk[i].buffer);
	ring_file_put(ring, flow->from_direct);
	ring_file_put(ring, flow->to_direct);
	ring->room += flow->depth;
	flow->next_free = ring->free_flow;
	ring->free_flow = flow;
}

/* Whatever can be started is started; when nothing is in flight then, the step is over. */
static void flow_advance(struct ring *ring, struct ring_flow *flow)
{
	if (flow->step) {
		flow_retire(flow);
		flow_write_more(ring, flow);
		flow_retire(flow);
		flow_read_more(ring, flow);
		if (flow->cancelled && !flow->reading && !flow->writing)
			flow_give_back(ring, flow); /* notifications may take for ever */
	}
	if (flow->ops == 0) {
		if (flow->step)
			flow_give_back(ring, flow);
		flow_release(ring, flow);
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
		flow_write_start(ring, flow, chunk);
		return true;
	}
	if (res == -EINTR || (polled && res >= 0)) {
		if (reading)
			flow_read_start(ring, flow, chunk);
		else
			flow_write_start(ring, flow, chunk);
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
				flow_write_start(ring, flow, chunk); /* the rest of it */
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
		flow_advance(ring, flow);
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
	flow_advance(ring, flow);
}

/* ---- start ----------------------------------------------------------------------------------- */

/* Where an end stands. Return: 0, negative errno. */
static int flow_start_position(const struct taio_end *end, uint64_t *ret_start)
{
	off_t at;

	if (end->kind != TAIO_KIND_FILE || !(end->flags & TAIO_END_STREAMED)) {
		*ret_start = end->offset;
		return 0;
	}
	at = lseek(end->fd, 0, SEEK_CUR);
	if (at < 0)
		return -errno;
	*ret_start = (uint64_t)at;
	return 0;
}

/* Return: chunks that got a buffer, at most @depth. */
static uint8_t flow_buffers(struct ring *ring, struct ring_flow *flow, uint64_t len,
			    const struct ring_flow_how *how)
{
	const uint32_t size = len <= RING_SMALL_BYTES ? RING_SMALL_BYTES : RING_LARGE_BYTES;
	const uint64_t chunks = (len + size - 1) / size;
	uint8_t depth = chunks < how->depth ? (uint8_t)chunks : how->depth, n = 0;

	if (depth > ring->room)
		depth = (uint8_t)ring->room;
	while (n < depth && ring_buffer_get(ring, size, how->fixed, &flow->chunk[n].buffer))
		flow->chunk[n++].state = CHUNK_EMPTY;
	return n;
}

enum taio_submit ring_flow_submit(struct ring *ring, struct taio_step *step,
				  const struct ring_flow_how *how)
{
	struct ring_flow *flow = ring->free_flow, *next_free;
	uint64_t from_start, to_start;
	int rc;

	assert(how->depth <= RING_CHUNKS);
	if (!ring_has_room(ring, 1))
		return ring_full(ring, step);
	if (!flow)
		return TAIO_BUSY;
	rc = flow_start_position(&step->from, &from_start);
	if (rc == 0)
		rc = flow_start_position(&step->to, &to_start);
	if (rc) {
		step->result = rc;
		return TAIO_DONE;
	}
	next_free = flow->next_free;
	memset(flow, 0, offsetof(struct ring_flow, chunk));
	flow->next_free = next_free;
	flow->depth = flow_buffers(ring, flow, step->len, how);
	if (flow->depth == 0)
		return TAIO_BUSY;
	ring->free_flow = next_free;
	ring->room -= flow->depth;
	flow->step = step;
	flow->device = how->device;
	flow->from_direct = how->from;
	flow->to_direct = how->to;
	flow->zero_copy = how->zero_copy;
	flow->end = step->len;
	flow->from_start = from_start;
	flow->to_start = to_start;
	flow->from_serial = flow_is_serial(&step->from);
	flow->to_append = (step->to.flags & TAIO_END_APPEND) != 0;
	flow->to_serial = flow_is_serial(&step->to) || flow->to_append;
	step->priv[RING_PRIV_OP] = 0;
	step->priv[RING_PRIV_FLOW] = (uint64_t)(uintptr_t)flow;
	step->priv[RING_PRIV_CANCEL] = 0;
	flow_read_more(ring, flow);
	return TAIO_QUEUED;
}

void ring_flow_cancel(struct ring *ring, struct ring_flow *flow)
{
	const bool waits = flow_is_serial(&flow->step->to);

	flow->cancelled = flow->stop = true;
	for (unsigned int i = 0; i < flow->depth; i++) {
		const struct flow_chunk *chunk = &flow->chunk[i];

		switch (chunk->state) {
		case CHUNK_READING:
		case CHUNK_READ_POLL:
		case CHUNK_WRITE_POLL:
			ring_cancel_op(ring, &ring->ops[chunk->op]);
			break;
		case CHUNK_WRITING:
			if (waits)
				ring_cancel_op(ring, &ring->ops[chunk->op]);
			break;
		default:
			break;
		}
	}
	/* only notifications are awaited: that would be for as long as the peer likes */
	if (!flow->reading && !flow->writing) {
		flow_give_back(ring, flow);
		ring_show(ring);
	}
}

unsigned int ring_flows_cancel(struct ring *ring, enum ring_device device)
{
	unsigned int count = 0;

	for (int i = 0; i < RING_FLOWS; i++) {
		struct ring_flow *flow = &ring->flows[i];

		if (!flow->step || flow->device != device)
			continue;
		if (!flow->cancelled)
			ring_flow_cancel(ring, flow);
		count += flow->step != NULL;
	}
	return count;
}
