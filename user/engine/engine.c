/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * engine.c: turns. A turn runs ready requests, collects completions, runs timers and lets the
 * policy make prices; it never waits. All control flow of a request is the switch in
 * engine_advance(): the completion of one step starts the next.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/clock.h"

#define ENGINE_BATCH     256              /* requests run between two looks at completions */
#define ENGINE_TICK_NS   (1000ULL * 1000) /* how often prices are made */
#define ENGINE_URGENT_NS (100ULL * 1000)  /* ... at most, when something surprises */
#define ENGINE_UNSEEN_NS \
	(20ULL * 1000) /* then completions are looked for before anything is picked */
#define ENGINE_LOOK_NS (200ULL * 1000) /* how often a busy engine looks at its streams */

void engine_log(struct taio *e, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!e->log)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	e->log(e->arg, line);
}

void engine_make_ready(struct taio *e, struct request *r)
{
	if (r->traits & REQUEST_QUEUED)
		return;
	request_set_state(r, REQUEST_READY);
	r->traits |= REQUEST_QUEUED;
	request_queue_push(&e->ready[r->priority], &e->pool, r);
	e->ready_mask |= 1u << r->priority;
}

static struct request *engine_pop_ready(struct taio *e)
{
	struct request_queue *queue;
	struct request *r;

	if (!e->ready_mask)
		return NULL;
	queue = &e->ready[31 - __builtin_clz(e->ready_mask)];
	r = request_queue_pop(queue, &e->pool);
	assert(r);
	r->traits &= (uint8_t)~REQUEST_QUEUED;
	if (queue->count == 0)
		e->ready_mask &= ~(1u << (queue - e->ready));
	return r;
}

/* ---- the end of a request ---- */

static void engine_finish(struct taio *e, struct request *r)
{
	assert(r->outstanding == 0);
	claim_end(e, r);
	while (r->parked) {
		struct taio_step *step = r->parked;

		r->parked = step->next;
		route_step_put(e, step);
	}
	if (r->error) {
		transfer_end_position(r);
		control_abort(e, r);
	} else {
		lane_leave(e, r);
	}
	timer_clear(e, r);
	if (request_is_messages(r))
		messages_finish(e, r);
	policy_canary_count(e->policy, r->traits & REQUEST_CANARY, r->error != 0,
			    request_is_messages(r) ? r->moved << ROUTE_MESSAGE_SHIFT : r->moved,
			    r->accepted_ns, e->now_ns - r->accepted_ns);
	event_publish(e, r);
	framed_close(r);
	accept_release(e, r);
	request_put(&e->pool, r);
}

/* Asks for the early return of every step that devices still have. */
static void engine_cancel_steps(struct taio *e, struct request *r)
{
	uint32_t index = request_index(&e->pool, r);

	for (uint32_t i = 0; i < e->steps_used && r->outstanding; i++) {
		struct taio_step *step = &e->steps[i];
		struct taio_device *device;

		if (step->request != index || !step->in_flight)
			continue;
		device = &e->device[step->device];
		/* the flags are a thread's then, and it does not stop half way */
		if (device->worker || step->flags & TAIO_SF_CANCELLED)
			continue;
		step->flags |= TAIO_SF_CANCELLED;
		if (device->driver->cancel)
			device->driver->cancel(device, step);
	}
}

void engine_fail(struct taio *e, struct request *r, int error, enum taio_step_type step,
		 uint8_t device)
{
	assert(error < 0);
	if (r->error)
		return; /* the first error is the one that counts */
	r->error = error;
	r->failed_step = (uint8_t)step;
	r->failed_device = device;
	if (r->outstanding)
		engine_cancel_steps(e, r);
}

void engine_end_idle(struct taio *e, struct request *r)
{
	r->traits |= REQUEST_ENDED;
	if (r->state == REQUEST_WAIT_FD) {
		lane_unwait(e, r);
		engine_make_ready(e, r);
	} else {
		engine_cancel_steps(e, r);
	}
}

/* A step that changes the record of the files may be a thread's just now. */
static bool engine_file_is_lent(const struct request *r, enum taio_step_type step)
{
	return r->outstanding && (step == TAIO_STEP_FILE || step == TAIO_STEP_OPEN_FROM ||
				  step == TAIO_STEP_OPEN_TO || step == TAIO_STEP_PUBLISH);
}

void engine_cancel(struct taio *e, struct request *r, int error)
{
	enum taio_step_type step = request_fifo_head(r);

	if (r->error || r->traits & REQUEST_CANCELLED)
		return;
	/* The file has its name already: it is too late, and the true result will come soon. (Where
	 * that is not to be seen yet, control_result() looks.) */
	if (r->file && !engine_file_is_lent(r, step) && (r->file->state & TAIO_FILE_PUBLISHED)) {
		r->cancelled_late = 1;
		return;
	}
	r->traits |= REQUEST_CANCELLED;
	engine_fail(e, r, error, step, PICK_NONE);
	switch ((enum request_state)r->state) {
	case REQUEST_WAIT_FD:
		lane_unwait(e, r);
		break;
	case REQUEST_WAIT_ROOM:
		request_queue_remove(&e->room, &e->pool, r);
		break;
	case REQUEST_READY:
		if (r->traits & REQUEST_QUEUED)
			return; /* its turn will come, and end it */
		break;
	case REQUEST_WAIT_LANE:
	case REQUEST_WAIT_TIME:
	case REQUEST_RUNNING:
		break;
	case REQUEST_FREE:
	case REQUEST_DONE:
	case REQUEST_STATE_COUNT:
		assert(!"a request that is over cannot be cancelled");
	}
	if (r->outstanding == 0)
		engine_finish(e, r);
}

/* ---- the switch ---- */

static enum engine_next engine_run_step(struct taio *e, struct request *r)
{
	enum taio_step_type type = request_fifo_head(r);

	if ((type == TAIO_STEP_TRANSFER || type == TAIO_STEP_FILE) && !lane_is_first(e, r)) {
		request_set_state(r, REQUEST_WAIT_LANE);
		return ENGINE_PARKED;
	}
	switch (type) {
	case TAIO_STEP_TRANSFER:
		if (r->issued == 0 && r->outstanding == 0 && !r->parked)
			transfer_start_position(e, r);
		if (r->dgram && r->dgram->counted)
			return framed_advance(e, r);
		return transfer_advance(e, r);
	case TAIO_STEP_RESOLVE:
	case TAIO_STEP_CONNECT:
	case TAIO_STEP_ACCEPT:
	case TAIO_STEP_OPEN_FROM:
	case TAIO_STEP_OPEN_TO:
	case TAIO_STEP_META:
	case TAIO_STEP_SYNC:
	case TAIO_STEP_PUBLISH:
	case TAIO_STEP_SYNC_DIR:
	case TAIO_STEP_SHUTDOWN:
	case TAIO_STEP_CLOSE:
	case TAIO_STEP_FILE:
		return control_start(e, r, type);
	case TAIO_STEP_NONE:
	case TAIO_STEP_READ:
	case TAIO_STEP_WRITE:
	case TAIO_STEP_COUNT:
		break;
	}
	assert(!"a plan holds only steps that can run");
	return ENGINE_FAILED;
}

/* Runs a request from @next on until it must wait or is over. */
static void engine_advance(struct taio *e, struct request *r, enum engine_next next)
{
	for (;;) {
		switch (next) {
		case ENGINE_NEXT:
			request_fifo_pop(r);
			break;
		case ENGINE_AGAIN:
			break;
		case ENGINE_PARKED:
			if (r->outstanding && r->state == REQUEST_READY &&
			    !(r->traits & REQUEST_QUEUED))
				request_set_state(r, REQUEST_RUNNING);
			return;
		case ENGINE_FAILED:
			if (!r->outstanding)
				engine_finish(e, r);
			else if (r->state == REQUEST_READY)
				request_set_state(r, REQUEST_RUNNING);
			return;
		}
		if (r->fifo_count == 0) {
			engine_finish(e, r);
			return;
		}
		if (r->error) {
			next = ENGINE_FAILED;
			continue;
		}
		next = engine_run_step(e, r);
	}
}

void engine_start(struct taio *e, struct request *r)
{
	e->turn_ns = e->now_ns;
	engine_advance(e, r, ENGINE_AGAIN);
	engine_tick(e);
}

void engine_wake_room(struct taio *e)
{
	struct request *r = request_queue_pop(&e->room, &e->pool);

	if (r)
		engine_make_ready(e, r);
}

void engine_step_done(struct taio *e, struct taio_step *step)
{
	struct request *r = engine_request(e, step->request);
	enum engine_next next;

	assert(e->in_flight > 0 && r->outstanding > 0 && r->state == REQUEST_RUNNING);
	step->in_flight = 0;
	e->steps_done++;
	e->in_flight--;
	r->outstanding--;
	route_finish(e, r, step, route_done_ns(e, step));
	if (step->hedge) {
		step = hedge_done(e, r, step);
		if (!step)
			return; /* its other copy is still out */
	}
	request_set_state(r, REQUEST_READY);
	if (request_fifo_head(r) == TAIO_STEP_TRANSFER && r->dgram && r->dgram->counted)
		next = framed_done(e, r, step);
	else if (request_fifo_head(r) == TAIO_STEP_TRANSFER)
		next = transfer_done(e, r, step);
	else
		next = control_done(e, r, step);
	engine_advance(e, r, next);
	if (e->room.count)
		engine_wake_room(e);
}

void engine_step_picked(struct taio *e, struct taio_step *step)
{
	struct request *r = engine_request(e, step->request);

	assert(r->outstanding > 0 && r->state == REQUEST_RUNNING);
	r->outstanding--;
	r->gathered = 0;
	request_set_state(r, REQUEST_READY);
	engine_advance(e, r, transfer_picked(e, r, step));
}

/* ---- a turn ---- */

static void engine_reap(struct taio *e)
{
	struct taio_step *done[64], *step;
	uint64_t begin_ns;

	/* Also without a step in flight: a descriptor that nobody reads would end each sleep at once. */
	if (!e->in_flight && !e->told)
		return;
	begin_ns = clock_ns();
	e->late_ns = e->held_ns;
	e->held_ns = 0;
	for (uint64_t left = e->open_async; left; left &= left - 1) {
		struct taio_device *device = &e->device[__builtin_ctzll(left)];
		int n;

		do {
			n = device->driver->reap(device, done, 64);
			if (n)
				e->taken_ns = clock_ns();
			for (int i = 0; i < n; i++) {
				engine_step_done(e, done[i]);
				gather_make_room(e);
			}
		} while (n == 64);
	}
	e->told = false;
	step = workers_reap(&e->workers);
	if (step)
		e->taken_ns = clock_ns();
	while (step) {
		struct taio_step *next = step->next;

		engine_step_done(e, step);
		gather_make_room(e);
		step = next;
	}
	e->reaped_ns = begin_ns;
}

/* From the next decision on the new prices count. */
void engine_policy_changed(struct taio *e)
{
	pick_rebind(e->picker);
	memset(e->pointer_left, 0, sizeof(e->pointer_left));
	memset(e->messages_again, 0, sizeof(e->messages_again));
	memset(e->whole_left, 0, sizeof(e->whole_left));
}

void engine_tick(struct taio *e)
{
	uint64_t since = e->now_ns - e->tick_ns;

	if (since < ENGINE_URGENT_NS || (since < ENGINE_TICK_NS && !e->urgent))
		return;
	policy_tick(e->policy, e->now_ns, e->urgent);
	if (policy_poll(e->policy))
		engine_policy_changed(e);
	e->tick_ns = e->now_ns;
	e->urgent = false;
}

void engine_turn(struct taio *e)
{
	unsigned int budget = ENGINE_BATCH;
	struct request *r;

	e->now_ns = e->turn_ns = clock_ns();
	if (e->lane_waits && e->now_ns - e->looked_ns > ENGINE_LOOK_NS)
		wait_poll(e);
	/* Whether a device is silent must be known before the next one is picked. */
	if (e->in_flight && e->now_ns - e->reaped_ns > ENGINE_UNSEEN_NS)
		engine_reap(e);
	timer_run(e);
	while (budget-- && !engine_turn_is_long(e) && (r = engine_pop_ready(e)) != NULL) {
		uint32_t waiting = e->room.count;

		engine_advance(e, r, r->error ? ENGINE_FAILED : ENGINE_AGAIN);
		/* It found room, or needed none: so may the next that waits for some. */
		if (waiting && e->room.count <= waiting)
			engine_wake_room(e);
		gather_make_room(e);
	}
	gather_flush(e);
	engine_reap(e);
	gather_flush(e);
	if ((e->flags & TAIO_HEDGE) && e->now_ns >= e->hedge.due_ns)
		hedge_run(e);
	engine_tick(e);
}
