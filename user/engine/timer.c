/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* timer.c: a binary heap of requests by their next moment: timeout or rate limit. */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>

static void timer_place(struct taio *e, uint32_t place, uint32_t index)
{
	e->timers[place] = index;
	engine_request(e, index)->timer = place;
}

static uint64_t timer_key(const struct taio *e, uint32_t place)
{
	return e->pool.slots[e->timers[place]].wake_ns;
}

static void timer_up(struct taio *e, uint32_t place)
{
	while (place > 0) {
		uint32_t parent = (place - 1) / 2, index = e->timers[place];

		if (timer_key(e, parent) <= timer_key(e, place))
			break;
		timer_place(e, place, e->timers[parent]);
		timer_place(e, parent, index);
		place = parent;
	}
}

static void timer_down(struct taio *e, uint32_t place)
{
	for (;;) {
		uint32_t child = 2 * place + 1, index = e->timers[place];

		if (child >= e->timer_count)
			break;
		if (child + 1 < e->timer_count && timer_key(e, child + 1) < timer_key(e, child))
			child++;
		if (timer_key(e, place) <= timer_key(e, child))
			break;
		timer_place(e, place, e->timers[child]);
		timer_place(e, child, index);
		place = child;
	}
}

void timer_clear(struct taio *e, struct request *r)
{
	uint32_t place = r->timer, last;

	if (place == REQUEST_NONE)
		return;
	assert(place < e->timer_count);
	r->timer = REQUEST_NONE;
	last = e->timers[--e->timer_count];
	if (place == e->timer_count)
		return;
	timer_place(e, place, last);
	timer_up(e, place);
	timer_down(e, engine_request(e, last)->timer);
}

/* One timer per request: the earlier of its timeout and @when_ns. */
void timer_set(struct taio *e, struct request *r, uint64_t when_ns)
{
	timer_clear(e, r);
	if (r->expires_ns && r->expires_ns < when_ns)
		when_ns = r->expires_ns;
	if (when_ns == UINT64_MAX)
		return;
	assert(e->timer_count < e->pool.capacity);
	r->wake_ns = when_ns;
	e->timer_count++;
	timer_place(e, e->timer_count - 1, request_index(&e->pool, r));
	timer_up(e, e->timer_count - 1);
}

uint64_t timer_next(const struct taio *e)
{
	uint64_t next = e->timer_count ? timer_key(e, 0) : UINT64_MAX;

	return (e->flags & TAIO_HEDGE) && e->hedge.due_ns < next ? e->hedge.due_ns : next;
}

void timer_run(struct taio *e)
{
	while (e->timer_count && timer_key(e, 0) <= e->now_ns) {
		struct request *r = engine_request(e, e->timers[0]);

		timer_clear(e, r);
		if (r->expires_ns && r->expires_ns <= e->now_ns) {
			engine_cancel(e, r, -ETIMEDOUT);
		} else if (r->state == REQUEST_WAIT_TIME) {
			timer_set(e, r, UINT64_MAX);
			engine_make_ready(e, r);
		} else if (messages_idle_is_over(e, r)) {
			timer_set(e, r, UINT64_MAX);
			engine_end_idle(e, r);
		} else {
			timer_set(e, r, UINT64_MAX); /* the timeout stays */
		}
	}
}
