/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * framed.c: the transfer step of copies between datagrams and bytes that keep boundaries (TAIO_FRAMING_LENGTH),
 * or count datagrams. Two kinds of step take turns on an area of memory: a batch of
 * messages, and a plain copy of the bytes in it; so every device that can do either serves here.
 *
 *   receiving   messages -> compacted in place, with their lengths in front -> destination
 *   sending     source -> read into the area, cut at the lengths -> messages
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "drivers/netops.h"

#define FRAMED_BATCH 256
#define FRAMED_MAX   65507 /* bytes of a datagram, at most */
#define FRAMED_HEAD  4     /* bytes of its length before it */
/* No datagram is larger than a slot. The lines on top spread the slots over the cache. */
#define FRAMED_SLOT  (65536 + 33 * 64)
#define FRAMED_READ  (512 * 1024) /* bytes of a source in the area at a time */
#define FRAMED_TRIES 6

_Static_assert(FRAMED_READ > 4 * (FRAMED_HEAD + FRAMED_MAX), "whole frames must fit");

struct framed {
	struct taio_message message[FRAMED_BATCH];
	struct sockaddr_storage name[FRAMED_BATCH];
	struct sockaddr_storage peer;
	uint64_t held;   /* bytes in the area: of frames to be written, or of the source */
	uint64_t used;   /* ... of which so many are written, or cut into messages */
	uint32_t count;  /* messages to be sent */
	uint32_t done;   /* ... of which so many are */
	bool filter;     /* only the peer's datagrams count */
	bool source_end; /* the source has no more */
	int32_t error;   /* after what is held */
	uint8_t area[];
};

static size_t framed_bytes(void)
{
	return sizeof(struct framed) + (size_t)FRAMED_BATCH * FRAMED_SLOT;
}

static bool framed_receives(const struct request *r)
{
	return r->from.kind == TAIO_KIND_DGRAM;
}

static unsigned int framed_head(const struct request *r)
{
	return r->dgram->framing == TAIO_FRAMING_LENGTH ? FRAMED_HEAD : 0;
}

static struct framed *framed_open(struct request *r)
{
	socklen_t length = sizeof(struct sockaddr_storage);
	struct framed *f = mmap(NULL, framed_bytes(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (f == MAP_FAILED)
		return NULL;
	r->dgram->framed = f;
	/* a socket that was bound here was open to everybody until its first sender became its peer */
	f->filter = framed_receives(r) && (r->from.flags & TAIO_END_OWNED) &&
		    getpeername(r->from.fd, (struct sockaddr *)&f->peer, &length) == 0 &&
		    f->peer.ss_family != AF_UNIX;
	for (unsigned int i = 0; framed_receives(r) && i < FRAMED_BATCH; i++) {
		struct taio_message *m = &f->message[i];

		m->data = f->area + (size_t)i * FRAMED_SLOT + FRAMED_HEAD;
		m->length = 65536;
		m->address = f->filter ? &f->name[i] : NULL;
		m->address_room = f->filter ? sizeof(f->name[i]) : 0;
	}
	return f;
}

void framed_close(struct request *r)
{
	if (r->dgram && r->dgram->framed)
		munmap(r->dgram->framed, framed_bytes());
	if (r->dgram)
		r->dgram->framed = NULL;
}

/* ---- between messages and bytes ---------------------------------------------------------------- */

static void frame_length_put(uint8_t *to, uint32_t length)
{
	to[0] = (uint8_t)(length >> 24);
	to[1] = (uint8_t)(length >> 16);
	to[2] = (uint8_t)(length >> 8);
	to[3] = (uint8_t)length;
}

static uint32_t frame_length_get(const uint8_t *from)
{
	return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static bool framed_is_stranger(const struct framed *f, const struct taio_message *m)
{
	return f->filter && !netops_is_same(m->address, &f->peer, true);
}

/* What was received moves together to the front of the area. A frame only ever moves to the front:
 * each lies in a slot of its own, and a slot is longer than a frame. */
static void framed_compact(struct taio *e, struct request *r, struct framed *f,
			   const struct taio_step *step)
{
	const uint32_t count = (uint32_t)step->result;
	const unsigned int head = framed_head(r);
	const uint64_t room = r->length == TAIO_TO_END ? UINT64_MAX : r->length - r->moved;

	assert(f->held == 0 && f->used == 0);
	for (uint32_t i = 0; i < count; i++) {
		const struct taio_message *m = &f->message[i];
		uint8_t *to = f->area + f->held;

		if (framed_is_stranger(f, m)) {
			messages_stranger(e, r);
			continue;
		}
		if (m->whole == 0 && !(r->flags & TAIO_NO_SHUTDOWN)) {
			messages_end_mark(e, r, step);
			r->traits |= REQUEST_ENDED;
			break;
		}
		if (f->held + head + m->whole > room) {
			f->error = -EMSGSIZE;
			break;
		}
		memmove(to + head, m->data, m->whole);
		if (head)
			frame_length_put(to, m->whole);
		f->held += head + m->whole;
		r->dgram->taken++;
	}
	if (r->dgram->datagrams && r->dgram->taken >= r->dgram->datagrams)
		r->traits |= REQUEST_ENDED;
}

/* Cuts what was read into messages. No frame can start with a length that no datagram has. */
static void framed_cut(struct framed *f)
{
	f->count = f->done = 0;
	while (f->count < FRAMED_BATCH && f->held - f->used >= FRAMED_HEAD) {
		const uint32_t length = frame_length_get(f->area + f->used);
		struct taio_message *m = &f->message[f->count];

		if (length > FRAMED_MAX) {
			f->error = -EBADMSG;
			return;
		}
		if (f->held - f->used < FRAMED_HEAD + length)
			break;
		m->data = f->area + f->used + FRAMED_HEAD;
		m->length = length;
		f->used += FRAMED_HEAD + length;
		f->count++;
	}
}

/* ---- the next step ----------------------------------------------------------------------------- */

static uint32_t framed_receive_most(const struct request *r)
{
	const bool owned = r->from.flags & TAIO_END_OWNED;
	uint64_t most = FRAMED_BATCH, left;

	/* what stands behind the end mark in a socket of the caller is not ours */
	if (!owned && !(r->flags & TAIO_NO_SHUTDOWN))
		most = 1;
	left = r->dgram->datagrams ? r->dgram->datagrams - r->dgram->taken : most;
	return (uint32_t)(left < most ? left : most);
}

static void framed_fill_receive(struct request *r, struct framed *f, struct taio_step *step)
{
	step->from = r->from;
	step->to = (struct taio_end){ .kind = TAIO_KIND_MESSAGES, .fd = -1, .fixed = -1 };
	step->to.ptr = f->message;
	step->len = framed_receive_most(r);
	f->held = f->used = 0;
}

static void framed_fill_write(struct request *r, struct framed *f, struct taio_step *step)
{
	uint64_t room = transfer_end_at(&r->to, &r->vector_to, r->moved, &step->to);

	step->from = (struct taio_end){ .kind = TAIO_KIND_MEM, .fd = -1, .fixed = -1 };
	step->from.ptr = f->area + f->used;
	step->len = f->held - f->used;
	step->len = room < step->len ? room : step->len;
	r->dgram->idle_at_ns = 0; /* it is not for a datagram that this waits */
}

static void framed_fill_send(struct request *r, struct framed *f, struct taio_step *step)
{
	uint64_t bytes = 0;

	for (uint32_t i = f->done; i < f->count; i++)
		bytes += f->message[i].length;
	step->from = (struct taio_end){ .kind = TAIO_KIND_MESSAGES, .fd = -1, .fixed = -1 };
	step->from.ptr = f->message + f->done;
	step->to = r->to;
	step->len = f->count - f->done;
	step->from.unit = step->to.unit = (uint32_t)(bytes / step->len);
}

static void framed_fill_read(struct taio *e, struct request *r, struct framed *f,
			     struct taio_step *step)
{
	uint64_t room;

	memmove(f->area, f->area + f->used, f->held - f->used);
	f->held -= f->used;
	f->used = 0;
	step->to = (struct taio_end){ .kind = TAIO_KIND_MEM, .fd = -1, .fixed = -1 };
	step->to.ptr = f->area + f->held;
	step->len = FRAMED_READ - f->held;
	if (r->length != TAIO_TO_END && r->length - r->issued < step->len)
		step->len = r->length - r->issued;
	room = transfer_end_at(&r->from, &r->vector_from, r->issued, &step->from);
	step->len = room < step->len ? room : step->len;
	transfer_look(e, step);
}

enum framed_what {
	FRAMED_STEP,  /* the step is filled in */
	FRAMED_LATER, /* the rate says so, a timer is set */
	FRAMED_OVER,
	FRAMED_BROKEN /* an error that was known before */
};

static enum framed_what framed_rated(struct taio *e, struct request *r, struct taio_step *step)
{
	step->len = messages_room(e, r, step->len);
	return step->len ? FRAMED_STEP : FRAMED_LATER;
}

static enum framed_what framed_fill(struct taio *e, struct request *r, struct framed *f,
				    struct taio_step *step)
{
	step->op = TAIO_OP_COPY;
	step->position = r->moved;
	if (framed_receives(r)) {
		if (f->used < f->held) {
			framed_fill_write(r, f, step);
			return FRAMED_STEP;
		}
		if (f->error)
			return FRAMED_BROKEN;
		if (r->traits & REQUEST_ENDED || r->moved >= r->length)
			return FRAMED_OVER;
		framed_fill_receive(r, f, step);
		return framed_rated(e, r, step);
	}
	if (f->done == f->count && !f->error)
		framed_cut(f);
	if (f->done < f->count) {
		framed_fill_send(r, f, step);
		return framed_rated(e, r, step);
	}
	if (f->error)
		return FRAMED_BROKEN;
	if (f->source_end || r->issued >= r->length) {
		f->error = -EBADMSG; /* where it ends within a frame */
		return f->held == f->used ? FRAMED_OVER : FRAMED_BROKEN;
	}
	framed_fill_read(e, r, f, step);
	return FRAMED_STEP;
}

/* ---- what a step has done ---------------------------------------------------------------------- */

static void framed_credit(struct request *r, uint64_t bytes)
{
	r->moved += bytes;
	if (r->progress)
		__atomic_fetch_add(r->progress, bytes, __ATOMIC_RELAXED);
}

/* A copy loses nothing in silence: what a batch would only count is an error here. */
static int framed_sent(struct request *r, struct framed *f, const struct taio_step *step)
{
	for (int64_t i = 0; i < step->result; i++) {
		const struct taio_message *m = &f->message[f->done++];

		if (m->result < 0)
			return m->result;
		framed_credit(r, FRAMED_HEAD + m->length);
	}
	return step->reports ? step->report : 0;
}

/* Return: 0 or negative errno of the destination. */
static int framed_took(struct taio *e, struct request *r, struct framed *f, struct taio_step *step)
{
	step->failed_side = 2;
	if (step->from.kind == TAIO_KIND_MESSAGES)
		return framed_sent(r, f, step);
	if (step->to.kind == TAIO_KIND_MESSAGES) {
		framed_compact(e, r, f, step);
		return 0;
	}
	if (framed_receives(r)) {
		f->used += (uint64_t)step->result;
		framed_credit(r, (uint64_t)step->result);
		return 0;
	}
	f->held += (uint64_t)step->result;
	r->issued += (uint64_t)step->result;
	return 0;
}

static enum engine_next framed_stop(struct taio *e, struct request *r, struct taio_step *step,
				    int error)
{
	enum taio_step_type type = step->failed_side == 1   ? TAIO_STEP_READ
				   : step->failed_side == 2 ? TAIO_STEP_WRITE
							    : TAIO_STEP_TRANSFER;

	engine_fail(e, r, error, type, step->device);
	route_step_put(e, step);
	return ENGINE_FAILED;
}

static enum engine_next framed_wait(struct taio *e, struct request *r, struct taio_step *step)
{
	const int fd = step->wait_fd;
	const unsigned int side = step->wait_events & POLLOUT ? 1 : 0;
	int rc;

	route_step_put(e, step);
	if (fd < 0) {
		messages_pause(e, r);
		return ENGINE_PARKED;
	}
	if (framed_receives(r) && side == 0)
		messages_watch_idle(e, r);
	rc = claim_attach(e, r, fd);
	if (rc == 0)
		rc = lane_wait(e, r, fd, side);
	if (rc == 0)
		return ENGINE_PARKED;
	engine_fail(e, r, rc, TAIO_STEP_TRANSFER, PICK_NONE);
	return ENGINE_FAILED;
}

/* The step failed as a whole. Return: ENGINE_AGAIN: it is to be started once more. */
static enum engine_next framed_failed(struct taio *e, struct request *r, struct framed *f,
				      struct taio_step *step)
{
	const int error = (int)step->result;

	if (error == 0) { /* the source of a copy into memory */
		if (step->to.kind != TAIO_KIND_MEM || framed_receives(r))
			return framed_stop(e, r, step, -EIO);
		f->source_end = true;
		route_step_put(e, step);
		return ENGINE_NEXT;
	}
	if (r->traits & REQUEST_ENDED) { /* called back: idle */
		route_step_put(e, step);
		return ENGINE_NEXT;
	}
	if (error == -EAGAIN)
		return framed_wait(e, r, step);
	if (error == -EINTR)
		return ENGINE_AGAIN;
	if (error == -EXDEV && route_is_messages(step)) {
		messages_detour(step);
		return ENGINE_AGAIN;
	}
	if ((r->claim && step->to.kind == TAIO_KIND_MESSAGES) || !route_worth_retry(error) ||
	    ++step->attempts >= FRAMED_TRIES)
		return framed_stop(e, r, step, error);
	if (route_is_passing(error))
		step->excluded |= 1ULL << step->device;
	else
		r->excluded |= 1ULL << step->device;
	r->retries += r->retries < 255;
	step->first_error = error;
	return ENGINE_AGAIN;
}

/* Return: ENGINE_NEXT: the next step; ENGINE_AGAIN: this one once more. */
static enum engine_next framed_result(struct taio *e, struct request *r, struct framed *f,
				      struct taio_step *step)
{
	int error;

	trace_step(e, r, step, TAIO_STEP_TRANSFER);
	claim_answer(e, r, step);
	if (step->result > 0) {
		error = framed_took(e, r, f, step);
		if (error && !r->error)
			return framed_stop(e, r, step, error);
		route_step_put(e, step);
		return r->error ? ENGINE_FAILED : ENGINE_NEXT;
	}
	if (r->error || (r->traits & REQUEST_CANCELLED)) {
		route_step_put(e, step);
		return ENGINE_FAILED;
	}
	return framed_failed(e, r, f, step);
}

static enum engine_next framed_issue(struct taio *e, struct request *r, struct framed *f,
				     struct taio_step *step)
{
	for (;;) {
		const int first_error = step->first_error;
		enum engine_next next;

		switch (route_start(e, r, step)) {
		case ROUTE_DONE:
			next = framed_result(e, r, f, step);
			if (next != ENGINE_AGAIN)
				return next;
			continue;
		case ROUTE_QUEUED:
			if (step->to.kind == TAIO_KIND_MESSAGES)
				messages_watch_idle(e, r);
			return ENGINE_PARKED;
		case ROUTE_FULL:
			route_step_put(e, step);
			request_set_state(r, REQUEST_WAIT_ROOM);
			request_queue_push(&e->room, &e->pool, r);
			return ENGINE_PARKED;
		case ROUTE_NONE:
			return framed_stop(e, r, step, first_error ? first_error : -EOPNOTSUPP);
		}
	}
}

/* ---- the step as a whole ----------------------------------------------------------------------- */

static enum engine_next framed_over(struct taio *e, struct request *r)
{
	claim_end(e, r);
	transfer_end_position(r);
	if (r->length == TAIO_TO_END || r->length > r->moved)
		r->length = r->moved;
	return ENGINE_NEXT;
}

enum engine_next framed_advance(struct taio *e, struct request *r)
{
	struct framed *f = r->dgram->framed ? r->dgram->framed : framed_open(r);
	unsigned int fair = 0;

	if (r->error || (r->traits & REQUEST_CANCELLED) || r->outstanding)
		return r->outstanding ? ENGINE_PARKED : ENGINE_FAILED;
	if (!f) {
		engine_fail(e, r, -ENOMEM, TAIO_STEP_TRANSFER, PICK_NONE);
		return ENGINE_FAILED;
	}
	for (;;) {
		struct taio_step *step;
		enum framed_what what;
		enum engine_next next;
		unsigned int side;
		int fd;

		if (lane_must_poll(e, r, &fd, &side)) {
			int rc = lane_wait(e, r, fd, side);

			if (rc == 0)
				return ENGINE_PARKED;
			engine_fail(e, r, rc, TAIO_STEP_TRANSFER, PICK_NONE);
			return ENGINE_FAILED;
		}
		if (fair++ && (e->ready_mask || engine_turn_is_long(e))) {
			engine_make_ready(e, r);
			return ENGINE_PARKED;
		}
		step = route_step_get(e, r);
		if (!step) {
			request_set_state(r, REQUEST_WAIT_ROOM);
			request_queue_push(&e->room, &e->pool, r);
			return ENGINE_PARKED;
		}
		what = framed_fill(e, r, f, step);
		if (what != FRAMED_STEP)
			route_step_put(e, step);
		if (what == FRAMED_OVER)
			return framed_over(e, r);
		if (what == FRAMED_BROKEN) {
			engine_fail(e, r, f->error,
				    framed_receives(r) ? TAIO_STEP_WRITE : TAIO_STEP_READ,
				    PICK_NONE);
			return ENGINE_FAILED;
		}
		if (what == FRAMED_LATER) {
			request_set_state(r, REQUEST_WAIT_TIME);
			return ENGINE_PARKED;
		}
		next = framed_issue(e, r, f, step);
		if (next != ENGINE_NEXT)
			return next;
	}
}

enum engine_next framed_done(struct taio *e, struct request *r, struct taio_step *step)
{
	struct framed *f = r->dgram->framed;
	enum engine_next next = framed_result(e, r, f, step);

	if (next == ENGINE_AGAIN)
		next = framed_issue(e, r, f, step);
	return next == ENGINE_NEXT ? framed_advance(e, r) : next;
}
