/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * transfer.c: the transfer step, cut into segments. Each segment is a step of its own whose device
 * is chosen anew. Files and memory may have several segments in flight; a stream has one at a time,
 * and what a device says it moved is all that ever counts: the rest is sent again from there.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/memroute.h"

#define TRANSFER_SEGMENT       (16ULL << 20) /* when nobody else wants the thread */
#define TRANSFER_SEGMENT_SHARE (1ULL << 20)  /* beside others */
#define TRANSFER_STREAM        (4ULL << 20)
#define TRANSFER_DEPTH         4     /* segments in flight of files and memory */
#define TRANSFER_COLD_MIN      16384 /* below, asking the page cache costs more than it tells */
#define TRANSFER_RATE_SLICE_NS (50ULL * 1000 * 1000)
#define TRANSFER_GROW_NS       (1000ULL * 1000)
#define TRANSFER_ATTEMPTS      6

static bool transfer_in_order(const struct request *r)
{
	return r->from.kind == TAIO_KIND_STREAM || r->to.kind == TAIO_KIND_STREAM ||
	       r->from.kind == TAIO_KIND_DGRAM || r->to.kind == TAIO_KIND_DGRAM ||
	       r->from.kind == TAIO_KIND_PIPE || r->to.kind == TAIO_KIND_PIPE ||
	       r->length == TAIO_TO_END || r->limit_rate || (r->traits & REQUEST_ONLY_RW) ||
	       (r->to.flags & TAIO_END_APPEND);
}

/* Before the first segment: a descriptor's own position is read now, not at acceptance, because
 * earlier requests of its lane move it. */
void transfer_start_position(struct taio *e, struct request *r)
{
	for (unsigned int side = 0; side < 2; side++) {
		struct taio_end *end = side ? &r->to : &r->from;
		off_t at;

		if (!(end->flags & TAIO_END_STREAMED) || end->kind != TAIO_KIND_FILE)
			continue;
		at = lseek(end->fd, 0, SEEK_CUR);
		end->offset = at < 0 ? 0 : (uint64_t)at;
		if (side && (fcntl(end->fd, F_GETFL) & O_APPEND)) {
			end->flags |= TAIO_END_APPEND;
			r->traits |= REQUEST_ONLY_RW;
		}
	}
	if (r->from.kind == TAIO_KIND_FILE && !(r->traits & REQUEST_ONLY_RW) &&
	    (r->from.flags & TAIO_END_STREAMED)) {
		struct stat st;

		if (fstat(r->from.fd, &st) == 0 && S_ISREG(st.st_mode)) {
			uint64_t size = (uint64_t)st.st_size;
			uint64_t rest = size > r->from.offset ? size - r->from.offset : 0;

			if (rest < r->length)
				r->length = rest;
		}
	}
	(void)e;
}

void transfer_end_position(struct request *r)
{
	/* After an error, segments out of order leave no end to speak of. */
	if (r->moved == 0 || (r->error && !transfer_in_order(r)))
		return;
	for (unsigned int side = 0; side < 2; side++) {
		const struct taio_end *end = side ? &r->to : &r->from;

		if ((end->flags & TAIO_END_STREAMED) && end->kind == TAIO_KIND_FILE)
			(void)lseek(end->fd, (off_t)(end->offset + r->moved), SEEK_SET);
	}
}

/* ---- cutting ---- */

/* The piece of a vector that holds byte @at; returns the bytes from there to its end. */
static uint64_t transfer_piece(struct request_vector *vector, uint64_t at, void **ret_ptr)
{
	while (at - vector->before >= vector->iov[vector->index].iov_len) {
		vector->before += vector->iov[vector->index].iov_len;
		vector->index++;
		assert(vector->index < vector->count);
	}
	*ret_ptr = (char *)vector->iov[vector->index].iov_base + (at - vector->before);
	return vector->iov[vector->index].iov_len - (at - vector->before);
}

uint64_t transfer_end_at(const struct taio_end *base, struct request_vector *vector, uint64_t at,
			 struct taio_end *ret_end)
{
	*ret_end = *base;
	ret_end->flags &= (uint16_t)~TAIO_END_STREAMED;
	if (vector->iov)
		return transfer_piece(vector, at, &ret_end->ptr);
	if (base->kind == TAIO_KIND_MEM)
		ret_end->ptr = (char *)base->ptr + at;
	else if (base->kind == TAIO_KIND_MESSAGES)
		ret_end->ptr = (struct taio_message *)base->ptr + at;
	else if (base->kind == TAIO_KIND_FILE)
		ret_end->offset = base->offset + at;
	return UINT64_MAX;
}

static uint64_t transfer_segment_size(const struct taio *e, const struct request *r)
{
	if (r->from.kind == TAIO_KIND_STREAM || r->to.kind == TAIO_KIND_STREAM)
		return engine_others(e) ? TRANSFER_SEGMENT_SHARE : TRANSFER_STREAM;
	/* small enough that one which was begun on a slow disk does not make up for the rest */
	if (mirror_is(&r->from))
		return TRANSFER_SEGMENT_SHARE;
	if (engine_others(e) && !(e->flags & TAIO_MAY_BLOCK))
		return TRANSFER_SEGMENT_SHARE;
	return TRANSFER_SEGMENT;
}

/* Is the source in the cache? One byte at each end, without sleeping for it. */
void transfer_look(struct taio *e, struct taio_step *step)
{
	if (mirror_is(&step->from)) {
		mirror_look(e, step);
	} else if (step->from.kind == TAIO_KIND_FILE && step->len >= TRANSFER_COLD_MIN &&
		   step->from.fs != TAIO_FS_TMPFS) {
		uint64_t ends[2] = { step->from.offset, step->from.offset + step->len - 1 };

		for (unsigned int i = 0; i < 2; i++) {
			char byte;
			struct iovec iov = { &byte, 1 };

			if (preadv2(step->from.fd, &iov, 1, (off_t)ends[i], RWF_NOWAIT) < 0 &&
			    errno == EAGAIN)
				step->from.flags |= TAIO_END_COLD;
		}
	} else if (step->from.kind == TAIO_KIND_MEM && step->to.kind == TAIO_KIND_MEM &&
		   step->len >= MEM_COLD_MIN) {
		if (mem_route_is_cold(&e->memory, step->to.ptr, step->len))
			step->to.flags |= TAIO_END_COLD;
	}
}

static void transfer_credit(struct request *r, uint64_t bytes)
{
	r->moved += bytes;
	if (r->progress && !request_is_messages(r)) /* messages.c knows their bytes */
		__atomic_fetch_add(r->progress, bytes, __ATOMIC_RELAXED);
}

/* Steps over a hole of a sparse source. Return: bytes of data from @at on; 0: none left. */
static uint64_t transfer_skip_hole(struct request *r)
{
	uint64_t at = r->from.offset + r->issued, end = r->from.offset + r->length;
	off_t data, hole;

	if (r->issued < r->data_end)
		return r->data_end - r->issued;
	data = lseek(r->from.fd, (off_t)at, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		data = (off_t)end; /* nothing but a hole up to the end */
	else if (data < 0)
		data = (off_t)at; /* a file system that cannot tell: all data */
	if ((uint64_t)data > end)
		data = (off_t)end;
	transfer_credit(r, (uint64_t)data - at);
	r->issued = (uint64_t)data - r->from.offset;
	if ((uint64_t)data == end)
		return 0;
	hole = lseek(r->from.fd, data, SEEK_HOLE);
	if (hole < 0 || (uint64_t)hole > end)
		hole = (off_t)end;
	r->data_end = (uint64_t)hole - r->from.offset;
	return r->data_end - r->issued;
}

/* Bytes that the rate limit lets pass now; 0: the request sleeps. It does not run for less than half
 * a slice, unless that is all there is: between two looks at the clock hardly a byte falls due. */
static uint64_t transfer_rate(struct taio *e, struct request *r, uint64_t left)
{
	uint64_t elapsed_us = (e->now_ns - r->accepted_ns) / 1000;
	uint64_t slice = r->limit_rate * (TRANSFER_RATE_SLICE_NS / 1000) / 1000000;
	uint64_t allowed, room, least;

	if (slice == 0)
		slice = 1;
	allowed = (uint64_t)((unsigned __int128)r->limit_rate * elapsed_us / 1000000) + slice;
	room = allowed > r->moved ? allowed - r->moved : 0;
	least = left < slice / 2 + 1 ? left : slice / 2 + 1;
	if (room >= least)
		return room > slice ? slice : room;
	/* the microsecond that a division cut off is given, not missed */
	timer_set(e, r,
		  e->now_ns + 1000 +
			  (uint64_t)((unsigned __int128)(r->moved + least - allowed) * 1000000000 /
				     r->limit_rate));
	return 0;
}

static bool transfer_fill(struct taio *e, struct request *r, struct taio_step *step)
{
	uint64_t len = transfer_segment_size(e, r), room;

	if (r->length - r->issued < len)
		len = r->length - r->issued;
	if (r->traits & REQUEST_SPARSE) {
		room = transfer_skip_hole(r);
		if (room < len)
			len = room;
	}
	if (request_is_messages(r))
		len = messages_room(e, r, len);
	else if (r->to.kind == TAIO_KIND_DGRAM)
		len = messages_room_bytes(e, r, len);
	else if (r->limit_rate) {
		room = transfer_rate(e, r, len);
		if (room < len)
			len = room;
	}
	if (len == 0)
		return false;
	step->op = TAIO_OP_COPY;
	room = transfer_end_at(&r->from, &r->vector_from, r->issued, &step->from);
	if (room < len)
		len = room;
	room = transfer_end_at(&r->to, &r->vector_to, r->issued, &step->to);
	if (room < len)
		len = room;
	step->len = len;
	step->position = r->issued;
	transfer_look(e, step);
	if (r->length != TAIO_TO_END && r->issued + step->len < r->length)
		step->flags |= TAIO_SF_MORE;
	return true;
}

/* ---- results ---- */

static enum taio_step_type transfer_side(const struct taio_step *step)
{
	return step->failed_side == 1   ? TAIO_STEP_READ
	       : step->failed_side == 2 ? TAIO_STEP_WRITE
					: TAIO_STEP_TRANSFER;
}

/* Goes on with what is left of a segment. */
static void transfer_shift(struct taio_step *step, uint64_t bytes)
{
	step->len -= bytes;
	step->position += bytes;
	if (step->from.kind == TAIO_KIND_MESSAGES)
		step->from.ptr = (struct taio_message *)step->from.ptr + bytes;
	else if (step->to.kind == TAIO_KIND_MESSAGES)
		step->to.ptr = (struct taio_message *)step->to.ptr + bytes;
	if (step->from.kind == TAIO_KIND_MEM)
		step->from.ptr = (char *)step->from.ptr + bytes;
	else if (step->from.kind == TAIO_KIND_FILE)
		step->from.offset += bytes;
	if (step->to.kind == TAIO_KIND_MEM)
		step->to.ptr = (char *)step->to.ptr + bytes;
	else if (step->to.kind == TAIO_KIND_FILE)
		step->to.offset += bytes;
}

static enum engine_next transfer_stop(struct taio *e, struct request *r, struct taio_step *step)
{
	int error = (int)step->result;

	engine_fail(e, r, error, transfer_side(step), step->device);
	route_step_put(e, step);
	return ENGINE_FAILED;
}

static enum engine_next transfer_wait(struct taio *e, struct request *r, struct taio_step *step)
{
	int fd = step->wait_fd;
	unsigned int side = step->wait_events & POLLOUT ? 1 : 0;
	int rc;

	assert(r->outstanding == 0);
	r->issued = step->position;
	route_step_put(e, step);
	if (r->traits & REQUEST_CANCELLED)
		return ENGINE_PARKED;
	if (request_is_messages(r) && messages_are_enough(r)) {
		r->traits |= REQUEST_ENDED;
		return ENGINE_NEXT;
	}
	if (fd < 0) { /* full, and the kernel has no event for it */
		messages_pause(e, r);
		return ENGINE_PARKED;
	}
	messages_watch_idle(e, r);
	rc = claim_attach(e, r, fd);
	if (rc == 0)
		rc = lane_wait(e, r, fd, side);
	if (rc) {
		engine_fail(e, r, rc, TAIO_STEP_TRANSFER, PICK_NONE);
		return ENGINE_FAILED;
	}
	return ENGINE_PARKED;
}

/* What one answer of a device means for its segment. */
static enum engine_next transfer_result(struct taio *e, struct request *r, struct taio_step *step)
{
	trace_step(e, r, step, TAIO_STEP_TRANSFER);
	if (mirror_is(&step->from))
		mirror_heard(e, step);
	claim_answer(e, r, step);
	if (step->result > 0) {
		uint64_t bytes = (uint64_t)step->result;

		assert(bytes <= step->len);
		transfer_credit(r, bytes);
		if (bytes < step->len && request_is_messages(r) && messages_are_enough(r))
			r->traits |= REQUEST_ENDED;
		if (bytes < step->len && !r->error &&
		    !(r->traits & (REQUEST_CANCELLED | REQUEST_ENDED))) {
			transfer_shift(step, bytes);
			step->attempts = 0;
			step->excluded = 0;
			return ENGINE_AGAIN;
		}
		if (bytes < step->len && transfer_in_order(r))
			r->issued = step->position + bytes;
		route_step_put(e, step);
		return ENGINE_NEXT;
	}
	if (step->result == 0 && mirror_is(&step->from) && mirror_retry(e, r, step))
		return ENGINE_AGAIN;
	if (step->result == 0) {
		/* The source has no more: bytes behind this point do not count. */
		r->traits |= REQUEST_ENDED;
		if (r->length != TAIO_TO_END && r->from.kind == TAIO_KIND_FILE)
			r->event_flags |= TAIO_EVENT_SHRANK;
		if (step->position < r->length)
			r->length = step->position;
		route_step_put(e, step);
		return ENGINE_NEXT;
	}
	if (r->error || (r->traits & REQUEST_CANCELLED)) {
		route_step_put(e, step);
		return r->error ? ENGINE_FAILED : ENGINE_NEXT;
	}
	if (request_is_messages(r) && r->traits & REQUEST_ENDED) { /* called back: idle */
		r->issued = step->position;
		route_step_put(e, step);
		return ENGINE_NEXT;
	}
	if (step->result == -EAGAIN && (step->wait_fd >= 0 || request_is_messages(r)))
		return transfer_wait(e, r, step);
	if (step->result == -EXDEV && request_is_messages(r)) {
		r->issued = step->position + 1;
		messages_detour(step);
		return ENGINE_AGAIN;
	}
	if (step->result == -EAGAIN || step->result == -EINTR)
		return ENGINE_AGAIN;
	if (mirror_is(&step->from)) {
		if (!mirror_retry(e, r, step))
			return transfer_stop(e, r, step);
	} else if (r->claim || !route_worth_retry((int)step->result) ||
		   ++step->attempts >= TRANSFER_ATTEMPTS) {
		return transfer_stop(e, r, step);
	} else if (route_is_passing((int)step->result) ||
		   (step->result == -EXDEV && step->to.kind == TAIO_KIND_DGRAM)) {
		step->excluded |= 1ULL << step->device;
	} else {
		r->excluded |= 1ULL << step->device;
	}
	if (r->retries < 255)
		r->retries++;
	step->first_error = (int)step->result;
	return ENGINE_AGAIN;
}

/* No device has room: the segment is given back and asked for again when one has. */
static enum engine_next transfer_park(struct taio *e, struct request *r, struct taio_step *step)
{
	if (r->outstanding == 0 || transfer_in_order(r)) {
		r->issued = step->position;
		route_step_put(e, step);
		if (r->outstanding == 0) {
			request_set_state(r, REQUEST_WAIT_ROOM);
			request_queue_push(&e->room, &e->pool, r);
		}
		return ENGINE_PARKED;
	}
	/* Others of its segments are in flight; this one waits for one of them to come back. */
	if (step->position + step->len == r->issued) {
		r->issued = step->position;
		route_step_put(e, step);
		return ENGINE_PARKED;
	}
	step->next = r->parked;
	step->picked = PICK_BY_PRICE; /* it was asked for, and its answer is old by then */
	r->parked = step;
	return ENGINE_PARKED;
}

/* A file without a size that is empty indeed: where devices are pinned that cannot know, no byte
 * is carried by another. */
static bool transfer_is_empty(const struct request *r, const struct taio_step *step)
{
	char byte;

	return (r->traits & REQUEST_ONLY_RW) && step->from.kind == TAIO_KIND_FILE &&
	       pread(step->from.fd, &byte, 1, (off_t)step->from.offset) == 0;
}

/* Starts a segment, and again what is left of it, until a device keeps it or it is over. */
static enum engine_next transfer_issue(struct taio *e, struct request *r, struct taio_step *step)
{
	for (;;) {
		int first_error = step->first_error;
		enum engine_next next;

		if (gather_step(e, r, step))
			return ENGINE_PARKED;
		if (request_is_messages(r) && route_again(e, r, step)) {
			next = transfer_result(e, r, step);
			if (next != ENGINE_AGAIN)
				return next;
			continue;
		}
		switch (route_start(e, r, step)) {
		case ROUTE_DONE:
			next = transfer_result(e, r, step);
			if (next != ENGINE_AGAIN)
				return next;
			continue;
		case ROUTE_QUEUED:
			messages_watch_idle(e, r);
			return ENGINE_PARKED;
		case ROUTE_FULL:
			return transfer_park(e, r, step);
		case ROUTE_NONE:
			if (transfer_is_empty(r, step)) {
				step->result = 0;
				return transfer_result(e, r, step);
			}
			if (request_is_messages(r) && first_error == -EXDEV) {
				messages_give_up(e, r, step);
				return transfer_result(e, r, step);
			}
			break;
		}
		step->result = first_error ? first_error : -EOPNOTSUPP;
		return transfer_stop(e, r, step);
	}
}

/* ---- the step as a whole ---- */

/* A file that grew while it was read is read on, as cp does. Not where there was hardly time to
 * grow: it might as well have done it a moment later. */
static bool transfer_grew(const struct taio *e, struct request *r)
{
	struct stat st;
	uint64_t end;

	if (!r->file || r->from.kind != TAIO_KIND_FILE || r->traits & REQUEST_ENDED ||
	    r->file->length != TAIO_TO_END || r->user_length ||
	    e->now_ns - r->accepted_ns < TRANSFER_GROW_NS)
		return false;
	if (fstat(r->from.fd, &st) || !S_ISREG(st.st_mode))
		return false;
	end = r->from.offset + r->length;
	if ((uint64_t)st.st_size <= end)
		return false;
	r->length = (uint64_t)st.st_size - r->from.offset;
	r->event_flags |= TAIO_EVENT_GREW;
	return true;
}

static enum engine_next transfer_finish(struct taio *e, struct request *r)
{
	uint64_t reached = r->length == TAIO_TO_END ? r->issued : r->length;

	claim_end(e, r);
	if (request_is_messages(r) && messages_outcome(r)) {
		engine_fail(e, r, messages_outcome(r), TAIO_STEP_WRITE, r->dgram->first_device);
		return ENGINE_FAILED;
	}
	transfer_end_position(r);
	if (r->file && (r->file->state & TAIO_FILE_TEMP) &&
	    ((r->traits & REQUEST_SPARSE) || (r->event_flags & TAIO_EVENT_SHRANK))) {
		/* A hole at the end, or segments written beyond a source that shrank. */
		if (ftruncate(r->to.fd, (off_t)(r->to.offset + reached))) {
			engine_fail(e, r, -errno, TAIO_STEP_WRITE, PICK_NONE);
			return ENGINE_FAILED;
		}
	}
	if (r->moved > reached)
		r->moved = reached;
	return ENGINE_NEXT;
}

static bool transfer_is_over(const struct request *r)
{
	return (r->traits & REQUEST_ENDED) || r->issued >= r->length;
}

enum engine_next transfer_advance(struct taio *e, struct request *r)
{
	unsigned int depth = transfer_in_order(r) ? 1 : TRANSFER_DEPTH;
	unsigned int fair = 0;

	if (r->error || (r->traits & REQUEST_CANCELLED))
		return r->outstanding ? ENGINE_PARKED : ENGINE_FAILED;
	if (r->gathered)
		return ENGINE_PARKED;
	while (r->parked) {
		struct taio_step *step = r->parked;

		r->parked = step->next;
		if (transfer_issue(e, r, step) == ENGINE_FAILED)
			return ENGINE_FAILED;
		if (r->state != REQUEST_READY || (r->traits & REQUEST_QUEUED) || r->gathered)
			return ENGINE_PARKED;
		if (r->parked == step)
			break; /* still no room */
	}
	while (!r->parked && !r->gathered && r->outstanding < depth) {
		struct taio_step *step;
		enum engine_next next;
		unsigned int side;
		uint64_t issued;
		int fd;

		if (transfer_is_over(r)) {
			if (r->outstanding)
				return ENGINE_PARKED;
			if (transfer_grew(e, r))
				continue;
			return transfer_finish(e, r);
		}
		if (lane_must_poll(e, r, &fd, &side)) {
			int rc = lane_wait(e, r, fd, side);

			if (rc == 0)
				return ENGINE_PARKED;
			engine_fail(e, r, rc, TAIO_STEP_TRANSFER, PICK_NONE);
			return ENGINE_FAILED;
		}
		/* Others want the thread, too. */
		if ((fair++ || e->gathering) && r->outstanding == 0 &&
		    (e->ready_mask || engine_turn_is_long(e))) {
			engine_make_ready(e, r);
			return ENGINE_PARKED;
		}
		step = route_step_get(e, r);
		if (!step) {
			if (r->outstanding == 0) {
				request_set_state(r, REQUEST_WAIT_ROOM);
				request_queue_push(&e->room, &e->pool, r);
			}
			return ENGINE_PARKED;
		}
		if (!transfer_fill(e, r, step)) {
			route_step_put(e, step);
			if ((r->limit_rate || r->dgram) && !transfer_is_over(r)) {
				request_set_state(r, REQUEST_WAIT_TIME);
				return ENGINE_PARKED;
			}
			continue; /* a hole up to the end */
		}
		r->issued += step->len;
		issued = r->issued;
		next = transfer_issue(e, r, step);
		if (next == ENGINE_FAILED)
			return next;
		if (next == ENGINE_PARKED && r->issued < issued)
			return next; /* given back: no device had room */
		if (r->state == REQUEST_WAIT_FD || r->state == REQUEST_WAIT_ROOM ||
		    (next == ENGINE_PARKED && r->outstanding == 0))
			return ENGINE_PARKED;
	}
	return ENGINE_PARKED;
}

/* After what became of one segment: the next. */
static enum engine_next transfer_go_on(struct taio *e, struct request *r, enum engine_next next)
{
	/* Parked for its descriptor, which may have become ready at once: its turn will come. */
	if (next == ENGINE_FAILED || r->state != REQUEST_READY || (r->traits & REQUEST_QUEUED))
		return next;
	return transfer_advance(e, r);
}

enum engine_next transfer_done(struct taio *e, struct request *r, struct taio_step *step)
{
	enum engine_next next = transfer_result(e, r, step);

	if (next == ENGINE_AGAIN)
		next = transfer_issue(e, r, step);
	return transfer_go_on(e, r, next);
}

/* The policy has decided about a segment that was gathered. */
enum engine_next transfer_picked(struct taio *e, struct request *r, struct taio_step *step)
{
	if (r->error) { /* cancelled, or another segment failed */
		route_step_put(e, step);
		return ENGINE_FAILED;
	}
	return transfer_go_on(e, r, transfer_issue(e, r, step));
}
