/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * gather.c: a pick hook in the kernel costs a system call, so it is asked for many steps at a time.
 * A step that the hook shall decide is gathered instead of started, and counts as outstanding; at
 * the end of the turn's work the hook answers for all of them and they start. A request has at most
 * one such step, and none stays gathered from one turn to the next.
 */
#include "engine/engine.h"

#include <assert.h>

/* Return: true: it will be started by gather_flush(). */
bool gather_step(struct taio *e, struct request *r, struct taio_step *step)
{
	struct pick_query query;
	int at;

	if (!pick_gathers(e->picker) || step->picked || route_is_retry(r, step) ||
	    r->traits & REQUEST_CANARY) /* another policy's */
		return false;
	/* What a flush starts may ask again, but not for ever. */
	if (e->gathering && engine_turn_is_long(e))
		return false;
	query = route_query(e, r, step);
	at = pick_gather(e->picker, &query);
	if (at < 0)
		return false;
	assert((uint32_t)at == e->gathered_count);
	e->gathered[e->gathered_count++] = step;
	r->outstanding++;
	r->gathered = 1;
	return true;
}

void gather_flush(struct taio *e)
{
	struct taio_step *steps[TAIO_ASKS];
	uint8_t picked[TAIO_ASKS];

	e->gathering = true;
	while (e->gathered_count) {
		uint32_t count = e->gathered_count;

		for (uint32_t i = 0; i < count; i++)
			steps[i] = e->gathered[i];
		e->gathered_count = 0;
		pick_answer(e->picker, e->now_ns, picked);
		for (uint32_t i = 0; i < count; i++) {
			steps[i]->picked = picked[i];
			engine_step_picked(e, steps[i]);
		}
	}
	e->gathering = false;
}
