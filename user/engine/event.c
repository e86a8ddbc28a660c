/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* event.c: the ring of finished requests. It has a place for each request of the pool, and a
 * request counts against the pool until its event was taken, so it cannot overflow. */
#include "engine/engine.h"

#include <assert.h>
#include <string.h>

static struct taio_event *event_slot(struct taio *e)
{
	uint32_t at;

	assert(e->event_count < e->event_capacity);
	if (e->event_count == 0)
		e->event_head = 0; /* the place that is in the cache */
	at = e->event_head + e->event_count;
	if (at >= e->event_capacity)
		at -= e->event_capacity;
	e->event_count++;
	return &e->events[at];
}

void event_publish(struct taio *e, struct request *r)
{
	struct taio_event *event = event_slot(e);

	assert(r->state != REQUEST_DONE);
	event->cookie = r->cookie;
	event->bytes = request_is_messages(r) ? r->dgram->bytes : r->moved;
	event->result = r->error ? r->error : (int64_t)event->bytes;
	event->ns = e->now_ns - r->accepted_ns;
	event->devices = r->devices;
	event->step = r->error ? r->failed_step : 0;
	event->device = r->error && r->failed_device != PICK_NONE ? r->failed_device
								  : r->main_device;
	event->retries = r->retries;
	event->flags = r->event_flags;
	event->messages = (uint32_t)messages_total(r);
	request_set_state(r, REQUEST_DONE);
}

void event_push_inline(struct taio *e, uint64_t cookie, uint64_t bytes, uint64_t ns, uint8_t device,
		       uint8_t flags)
{
	struct taio_event *event = event_slot(e);

	event->cookie = cookie;
	event->result = (int64_t)bytes;
	event->bytes = bytes;
	event->ns = ns;
	event->devices = device < 64 ? 1ULL << device : 0;
	event->step = 0;
	event->device = device;
	event->retries = 0;
	event->flags = flags;
	event->messages = 0;
}

unsigned int event_take(struct taio *e, struct taio_event *events, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && e->event_count) {
		events[n++] = e->events[e->event_head];
		if (++e->event_head == e->event_capacity)
			e->event_head = 0;
		e->event_count--;
	}
	return n;
}
