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
#include "drivers/ring_flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- going on -------------------------------------------------------------------------------- */

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
		ring_chunk_read(ring, flow, chunk);
	}
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
		ring_chunk_write(ring, flow, chunk);
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
void ring_flow_advance(struct ring *ring, struct ring_flow *flow)
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
