/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * spread.c: more cores than the engine's thread. A call that runs inline holds the thread until it
 * is over, so inline devices are always idle when one is picked, and a picker that looks for the
 * cheapest never sees that a second core has nothing to do. Where only the time of all requests
 * together counts (TAIO_MAY_BLOCK) and more of them are ready, the worker twin of the device that
 * was picked is kept busy beside the thread: it gets a step whenever its queue would run dry, the
 * thread runs the others.
 */
#include "engine/engine.h"

#define SPREAD_MIN_NS     4000   /* less work than this costs as much to hand over */
#define SPREAD_BACKLOG_NS 500000 /* that much is waiting for the worker: it is busy enough */
#define SPREAD_STEPS      32

static const struct pick_candidate *spread_twin(const struct taio *e,
						const struct pick_query *query, uint8_t device)
{
	const struct pick_context *context = query->context;
	uint64_t skip = query->skip | context->unfit;
	uint8_t twin = e->twin[device];

	if (twin == PICK_NONE || (skip >> twin & 1) || e->device[twin].error ||
	    e->picker->device[twin].quarantine_ns)
		return NULL;
	for (unsigned int i = 0; i < context->count; i++)
		if (context->candidate[i].device == twin)
			return &context->candidate[i];
	return NULL;
}

static bool spread_has_room(const struct taio *e, uint64_t predicted_ns)
{
	uint32_t waiting = e->workers.in_flight;

	return waiting == 0 ||
	       (waiting < SPREAD_STEPS && waiting * predicted_ns < SPREAD_BACKLOG_NS);
}

void spread_choice(struct taio *e, const struct pick_query *query, struct pick_choice *choice)
{
	const struct taio_device *device = &e->device[choice->device];
	const struct pick_candidate *twin;

	if (!(e->flags & TAIO_MAY_BLOCK) || !e->ready_mask || e->host.cores < 2 || device->worker ||
	    device_is_async(device) || choice->predicted_ns < SPREAD_MIN_NS ||
	    !spread_has_room(e, choice->predicted_ns))
		return;
	twin = spread_twin(e, query, choice->device);
	if (!twin)
		return;
	choice->device = twin->device;
	choice->slot = twin->slot;
	choice->bucket = (uint8_t)taio_bucket_of(e->picker->device[twin->device].in_flight);
	choice->why = TAIO_WHY_SPREAD;
	if (twin->slot == PICK_NONE)
		choice->cell = UINT16_MAX;
}

uint32_t spread_threads(const struct taio *e, const struct taio_step *step)
{
	if (step->why == TAIO_WHY_SPREAD && e->host.cores - 1 < e->worker_limit)
		return e->host.cores - 1;
	return e->worker_limit;
}
