/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * learn.c: what an engine learnt is worth more than its life: at its end, the latencies of the
 * cells that it saw often enough become two figures for each context and device in the cache file,
 * so that the next short run starts with them. Machine-wide maps outlive engines by themselves.
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#define LEARN_MIN_COUNT 8
#define LEARN_MIN_NS    (200ULL * 1000 * 1000) /* of life: a short run does not pay for a file */

static void learn_candidate(struct taio *e, const struct pick_context *context,
			    const struct pick_candidate *c, uint32_t source)
{
	const struct taio_maps *maps = policy_maps(e->policy);
	const struct taio_lat *lat[TAIO_CLASSES] = { NULL };
	uint32_t base_ns, ps_per_byte;
	char name[40];

	if (c->slot == PICK_NONE || context->index == PICK_NONE ||
	    e->device[c->device].driver->replica)
		return;
	for (uint32_t k = 0; k < TAIO_CLASSES; k++)
		lat[k] = &maps->lat[(context->index * TAIO_CLASSES + k) * TAIO_SLOTS + c->slot];
	/* Others may write to the maps: it need not end anywhere. */
	snprintf(name, sizeof(name), "%.39s", maps->ctx[context->index].name);
	if (speeds_fit(lat, LEARN_MIN_COUNT, &base_ns, &ps_per_byte))
		speeds_set(&e->speeds, name, e->device[c->device].name, base_ns, ps_per_byte,
			   source);
}

static uint64_t learn_steps(const struct taio *e)
{
	uint64_t steps = 0;

	for (uint32_t i = 0; i < e->device_count; i++)
		steps += e->count[i].steps;
	return steps;
}

uint32_t learn_source(const struct taio *e)
{
	return e->calibrated_steps && e->calibrated_steps == learn_steps(e) ? TAIO_SPEED_CALIBRATED
									    : TAIO_SPEED_LEARNT;
}

static void learn_keep(struct taio *e, uint32_t source)
{
	policy_tick(e->policy, e->now_ns, 1);
	for (uint32_t i = 0; i < e->picker->context_count; i++) {
		const struct pick_context *context = &e->picker->context[i];

		for (unsigned int k = 0; k < context->count; k++)
			learn_candidate(e, context, &context->candidate[k], source);
	}
}

void learn_calibrated(struct taio *e)
{
	e->calibrated_steps = learn_steps(e);
	learn_keep(e, TAIO_SPEED_CALIBRATED);
}

void learn_save(struct taio *e)
{
	if (e->flags & TAIO_NO_CACHE || policy_maps(e->policy)->shared ||
	    e->now_ns - e->opened_ns < LEARN_MIN_NS)
		return;
	learn_keep(e, learn_source(e));
	(void)speeds_save(&e->speeds); /* a cache: its loss costs speed only */
}
