/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * hook.c: the policy's pick hook is asked. What may run a step stays ours: the hook sees a mask of
 * it, and its answer is looked at again when the step starts.
 */
#include "pick/pick.h"

#include <string.h>

#include "taio.h"

/* A step that takes less is not asked for: that would cost a good part of what it takes. */
#define HOOK_STEP_NS 4000
/* What the steps of a batch must be worth together, for a system call of some 300 ns. */
#define HOOK_CROSSING_NS 20000

/* What a step takes on a candidate at best; a rank is no time. */
static uint64_t hook_worth(const struct picker *picker, const struct pick_query *query,
			   const struct pick_candidate *c, uint32_t cost_ns)
{
	if (!(picker->maps->ctl->flags & TAIO_POLICY_RANKS))
		return cost_ns;
	return c->caps.base_ns + query->bytes * c->caps.ps_per_byte / 1000;
}

static void hook_tell_load(const struct picker *picker, struct taio_batch *batch,
			   const struct pick_query *query, uint8_t number)
{
	const struct pick_device *device = &picker->device[number];
	uint32_t at = device->map_index, load = device->in_flight;
	uint64_t age_ns = 0;

	if (picker->maps->shared) {
		uint32_t all = __atomic_load_n(&picker->maps->dev[at].in_flight, __ATOMIC_RELAXED);

		if (all > load && all <= INT32_MAX) /* as pick_load() */
			load = all;
	}
	if (device->in_flight && query->now_ns > device->progress_ns + query->unseen_ns)
		age_ns = query->now_ns - device->progress_ns - query->unseen_ns;
	batch->load[at] = load;
	batch->bucket[at] = (uint8_t)taio_bucket_of(load);
	batch->age_ns[at] = age_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)age_ns;
}

int pick_gather(struct picker *picker, const struct pick_query *query)
{
	struct pick_reason reasons[TAIO_SLOTS];
	struct taio_batch *batch = picker->maps->batch;
	const struct pick_context *context = query->context;
	struct pick_query time = *query; /* how long it takes, whatever it is to be cheap in */
	uint64_t worth_ns = UINT64_MAX, closed = 0, ns;
	uint32_t at = picker->asked;
	struct taio_ask *ask;
	uint16_t may = 0;
	unsigned int n;

	if (context->index == PICK_NONE || at >= TAIO_ASKS)
		return -1;
	/* What it costs to open a device is in no price that the hook sees. */
	if (!(picker->maps->ctl->flags & TAIO_POLICY_RANKS))
		closed = query->closed;
	time.goal = TAIO_GOAL_LATENCY;
	n = pick_explain(picker, &time, reasons, TAIO_SLOTS);
	for (unsigned int i = 0; i < n; i++) {
		const struct pick_candidate *c = &context->candidate[i];

		if (reasons[i].why_not != TAIO_WHY_PRICE || c->slot == PICK_NONE ||
		    closed >> c->device & 1)
			continue;
		may |= (uint16_t)(1U << c->slot);
		ns = hook_worth(picker, query, c, reasons[i].cost_ns);
		if (ns < worth_ns)
			worth_ns = ns;
		hook_tell_load(picker, batch, query, c->device);
	}
	if (!(may & (may - 1)) || worth_ns < HOOK_STEP_NS)
		return -1; /* none or one, or soon done */
	ask = &batch->ask[at];
	memset(ask, 0, sizeof(*ask));
	ask->deadline_ns = query->deadline_ns;
	ask->bytes = query->bytes;
	ask->rest = query->rest;
	ask->cell = (uint16_t)(context->index * TAIO_CLASSES + taio_class_of(query->bytes));
	ask->may = may;
	ask->tag = query->tag;
	ask->goal = (uint8_t)query->goal;
	ask->priority = query->priority;
	ask->slot = TAIO_PICK_PRICE;
	picker->asked = at + 1;
	picker->asked_ns += worth_ns;
	return (int)at;
}

/* Any answer but a slot leaves it to the prices. */
static uint8_t hook_answer(const struct taio_ask *ask)
{
	return ask->slot < TAIO_SLOTS ? (uint8_t)(ask->slot + 1) : PICK_BY_PRICE;
}

unsigned int pick_answer(struct picker *picker, uint64_t now_ns, uint8_t ret_picked[TAIO_ASKS])
{
	const struct taio_maps *maps = picker->maps;
	struct taio_batch *batch = maps->batch;
	uint64_t worth_ns = picker->asked_ns;
	uint32_t count = picker->asked;

	picker->asked = 0;
	picker->asked_ns = 0;
	memset(ret_picked, PICK_BY_PRICE, count);
	if (!maps->pick_crosses || worth_ns >= HOOK_CROSSING_NS) {
		batch->count = count;
		batch->now_ns = now_ns;
		if (!batch->random)
			batch->random = (uint32_t)now_ns | 1;
		batch->batches++;
		batch->asked += count;
		if (maps->pick(maps->pick_arg) >= 0)
			for (uint32_t i = 0; i < count; i++)
				ret_picked[i] = hook_answer(&batch->ask[i]);
	}
	return count;
}

/* A hook in this process: asked for one step, a call of some ns. */
static uint8_t hook_ask(struct picker *picker, const struct pick_query *query)
{
	uint8_t picked[TAIO_ASKS];

	if (pick_gather(picker, query) < 0)
		return PICK_BY_PRICE;
	pick_answer(picker, query->now_ns, picked);
	return picked[0];
}

bool pick_by_hook(struct picker *picker, const struct pick_query *query,
		  struct pick_choice *ret_choice)
{
	struct taio_batch *batch = picker->maps->batch;
	uint8_t picked = query->picked;

	if (!(picker->maps->ctl->flags & TAIO_POLICY_PICKS) || picked == PICK_BY_PRICE)
		return false;
	if (picked == PICK_ASK)
		picked = picker->maps->pick_crosses ? PICK_BY_PRICE : hook_ask(picker, query);
	if (picked == PICK_BY_PRICE) {
		batch->by_price++;
		return false;
	}
	if (!pick_take_slot(picker, query, (uint8_t)(picked - 1), ret_choice)) {
		batch->refused++;
		return false;
	}
	batch->picked++;
	return true;
}
