/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* pick.c: the decision; what becomes of it is outcome.c; see pick.h. Sources of the rules: docs/architecture.md,
 * section "One decision". */
#include "pick/pick.h"
#include "pick/price.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "taio.h"

#define PICK_PROBE_SPARE    16 /* a probe may cost 1/16 of the time up to a deadline */
#define PICK_RUMOUR         4  /* completions: a price of fewer is not believed for ever */
#define PICK_PIECE          16 /* a part that a large step is tried with, ... */
#define PICK_PIECE_BYTES    (64ULL << 10)         /* ... in whole pieces of so many bytes, ... */
#define PICK_CUT_BYTES      (256ULL << 10)        /* ... if it is that large */
#define PICK_QUIET          64                    /* times its own cost, but not longer than ... */
#define PICK_QUIET_MAX_NS   (16ULL * 1000 * 1000) /* ... a candidate is left alone */
#define PICK_MEMORY_NS      (200 * 1000)          /* a remembered decision holds so long, ... */
#define PICK_MEMORY_USES    31                    /* ... so often, ... */
#define PICK_MEMORY_STREAK  8
#define PICK_MEMORY_COST_NS 20000  /* ... for steps so short */
#define PICK_OPEN_NS        300000 /* a ring: made, used for the first time, torn down */

static inline uint32_t pick_load(const struct picker *picker, const struct pick_device *device)
{
	uint32_t load = device->in_flight;

	if (picker->maps->shared && device->map_index != PICK_NONE) {
		uint32_t all = __atomic_load_n(&picker->maps->dev[device->map_index].in_flight,
					       __ATOMIC_RELAXED);

		/* Below zero for a moment, when a recount and a completion cross. */
		if (all > load && all <= INT32_MAX)
			load = all;
	}
	return load;
}

/* The policy's price at this load; 0: it has none. */
static uint64_t pick_price(const struct picker *picker, const struct pick_query *query,
			   const struct pick_candidate *c, uint32_t class, uint8_t bucket)
{
	uint8_t context = query->context->index;
	uint64_t cost;

	if (c->slot == PICK_NONE)
		return 0;
	cost = picker->maps->price[context * TAIO_CLASSES + class]
		       .cost[query->goal][c->slot][bucket];
	if (cost && query->goal != TAIO_GOAL_CPU) {
		uint32_t scale = picker->maps->ctx[context].scale[c->slot];

		cost = cost * (scale ? scale : TAIO_SCALE_ONE) / TAIO_SCALE_ONE;
	}
	return cost;
}

/* Where prices are ranks there is no time that opening could be added to. */
static bool pick_is_closed(const struct picker *picker, const struct pick_query *query,
			   const struct pick_candidate *c)
{
	return (query->closed >> c->device & 1) && !(picker->maps->ctl->flags & TAIO_POLICY_RANKS);
}

/* To open a device costs as much as many steps, and how many will follow nobody knows. It is opened
 * when it saves that much at once, or would have by now: so at most twice is paid. */
static uint64_t pick_open_cost(const struct picker *picker)
{
	return picker->regret_ns < PICK_OPEN_NS ? PICK_OPEN_NS - picker->regret_ns : 0;
}

/* For how long a device that owes something has been silent. */
static uint64_t pick_age(const struct pick_device *device, const struct pick_query *query)
{
	uint64_t from_ns = device->progress_ns + query->unseen_ns;

	return device->in_flight && query->now_ns > from_ns ? query->now_ns - from_ns : 0;
}

/* What one more request on this candidate costs now. */
static uint64_t pick_cost(const struct picker *picker, const struct pick_query *query,
			  const struct pick_candidate *c, uint32_t class, uint8_t *ret_bucket)
{
	const struct pick_device *device = &picker->device[c->device];
	uint32_t load = pick_load(picker, device);
	uint8_t bucket = (uint8_t)taio_bucket_of(load);
	uint64_t cost = pick_price(picker, query, c, class, bucket);

	*ret_bucket = bucket;
	if (!cost)
		cost = pick_estimate(&c->caps, query->bytes, load);
	if (pick_is_closed(picker, query, c))
		cost += pick_open_cost(picker);
	cost = taio_aged(cost, pick_age(device, query));
	return cost ? cost : 1;
}

static bool pick_takes_turns(const struct picker *picker)
{
	return picker->maps->ctl->flags & TAIO_POLICY_TURNS;
}

static bool pick_is_full(const struct pick_device *device, const struct pick_query *query)
{
	return device->in_flight >= device->limit ||
	       (query->bounded && admit_is_full(&device->admit));
}

static enum taio_why pick_bar(const struct picker *picker, const struct pick_query *query,
			      const struct pick_candidate *c)
{
	const struct pick_device *device = &picker->device[c->device];

	if (device->quarantine_ns &&
	    (device->quarantine_ns > query->now_ns || (device->on_trial && device->in_flight)))
		return TAIO_WHY_QUARANTINE;
	if (pick_is_full(device, query))
		return TAIO_WHY_FULL;
	return TAIO_WHY_PRICE;
}

/* Its price was made of so few completions that one stall can be all that it tells. */
static bool pick_is_rumour(const struct picker *picker, uint32_t route)
{
	uint64_t count = picker->maps->lat[route].count;

	return count && count < PICK_RUMOUR;
}

/* A candidate that nobody has heard of for long may be tried, as long as probes together cost no
 * more than their share. */
static bool pick_probe_due(const struct picker *picker, const struct pick_query *query,
			   const struct pick_candidate *c, uint32_t class, uint64_t cost,
			   uint64_t best)
{
	const struct pick_device *device = &picker->device[c->device];
	uint32_t cell = query->context->index * TAIO_CLASSES + class;
	uint64_t last, quiet_ns = PICK_QUIET * cost;

	if (c->slot == PICK_NONE || device->in_flight || cost <= best)
		return false;
	if (!device->eager && !(picker->maps->price[cell].probe & (1u << c->slot)))
		return false;
	if (pick_is_rumour(picker, cell * TAIO_SLOTS + c->slot)) {
		if (picker->probe_credit_ns < PICK_PROBE_CREDIT_MAX_NS &&
		    (int64_t)(cost - best) > picker->probe_credit_ns)
			return false; /* not even all that may be saved up is there */
	} else if (cost > 64 * best || (int64_t)(cost - best) > picker->probe_credit_ns) {
		return false;
	}
	if (query->spare_ns && cost > query->spare_ns / PICK_PROBE_SPARE)
		return false;
	if (device->eager)
		return true;
	last = picker->maps->lat[cell * TAIO_SLOTS + c->slot].last_ns;
	if (device->probed_ns > last)
		last = device->probed_ns;
	/* The kernel's clock may be ahead of ours by a little. */
	if (quiet_ns > PICK_QUIET_MAX_NS)
		quiet_ns = PICK_QUIET_MAX_NS;
	return query->now_ns > last && query->now_ns - last > quiet_ns;
}

/*
 * To try a large step on a device that may be ten times slower takes the budget of a second. A
 * piece of it tells as much: where the rest can follow on another device, it is tried with that.
 * Return: bytes of the piece; 0: it is tried as a whole.
 */
static uint64_t pick_piece(const struct pick_query *query, const struct pick_candidate *c)
{
	if (!(query->cuttable >> c->device & 1) || query->bytes < PICK_CUT_BYTES)
		return 0;
	return (query->bytes / PICK_PIECE + PICK_PIECE_BYTES - 1) & ~(PICK_PIECE_BYTES - 1);
}

static uint64_t pick_share(uint64_t cost, uint64_t piece, uint64_t bytes)
{
	return piece ? cost * piece / bytes : cost;
}

struct pick_best {
	const struct pick_candidate *candidate, *soonest, *probe, *kept;
	uint64_t cost, probe_cost, kept_cost;
	uint64_t probe_extra; /* what the probe costs more than the cheapest would */
	uint64_t probe_piece;
	uint8_t bucket, probe_bucket, kept_bucket;
	uint64_t closed_cost; /* of the cheapest that is not open, were it open */
	unsigned int open;    /* candidates that could run it */
	bool full;
};

static uint8_t pick_last(const struct pick_query *query, uint32_t class)
{
	const struct pick_context *context = query->context;

	return query->trial ? context->trial_last[class] : context->last[class];
}

static void pick_set_last(const struct pick_query *query, uint32_t class, uint8_t device)
{
	if (query->trial)
		query->context->trial_last[class] = device;
	else
		query->context->last[class] = device;
}

/* Where to begin: a policy that wants turns gets the candidate behind the one taken last, since
 * of equals the first wins. */
static unsigned int pick_start(const struct picker *picker, const struct pick_query *query,
			       uint32_t class)
{
	const struct pick_context *context = query->context;
	uint8_t last = pick_last(query, class);

	if (!pick_takes_turns(picker))
		return 0;
	for (unsigned int i = 0; i < context->count; i++)
		if (context->candidate[i].device == last)
			return i + 1;
	return 0;
}

static void pick_scan(const struct picker *picker, const struct pick_query *query, uint32_t class,
		      struct pick_best *best)
{
	const struct pick_context *context = query->context;
	uint64_t skip = query->skip | context->unfit;

	best->cost = best->closed_cost = UINT64_MAX;
	for (unsigned int i = 0, at = pick_start(picker, query, class); i < context->count;
	     i++, at++) {
		const struct pick_candidate *c =
			&context->candidate[at < context->count ? at : at - context->count];
		enum taio_why bar;
		uint64_t cost;
		uint8_t bucket;

		if (skip & (1ULL << c->device))
			continue;
		bar = pick_bar(picker, query, c);
		if (bar == TAIO_WHY_QUARANTINE) {
			if (!best->soonest ||
			    picker->device[c->device].quarantine_ns <
				    picker->device[best->soonest->device].quarantine_ns)
				best->soonest = c;
			continue;
		}
		if (bar == TAIO_WHY_FULL) {
			best->full = true;
			continue;
		}
		best->open++;
		cost = pick_cost(picker, query, c, class, &bucket);
		if (pick_is_closed(picker, query, c) &&
		    cost - pick_open_cost(picker) < best->closed_cost)
			best->closed_cost = cost - pick_open_cost(picker);
		if (cost < best->cost) {
			best->cost = cost;
			best->candidate = c;
			best->bucket = bucket;
		}
		if (c->device == pick_last(query, class)) {
			best->kept = c;
			best->kept_cost = cost;
			best->kept_bucket = bucket;
		}
	}
}

static void pick_find_probe(const struct picker *picker, const struct pick_query *query,
			    uint32_t class, struct pick_best *best)
{
	const struct pick_context *context = query->context;
	uint64_t skip = query->skip | context->unfit;

	for (unsigned int i = 0; i < context->count; i++) {
		const struct pick_candidate *c = &context->candidate[i];
		uint64_t cost, usual, piece = pick_piece(query, c);
		uint8_t bucket;

		if (skip & (1ULL << c->device) || c == best->candidate ||
		    pick_bar(picker, query, c) != TAIO_WHY_PRICE)
			continue;
		cost = pick_share(pick_cost(picker, query, c, class, &bucket), piece, query->bytes);
		usual = pick_share(best->cost, piece, query->bytes);
		if (pick_probe_due(picker, query, c, class, cost, usual)) {
			best->probe = c;
			best->probe_cost = cost;
			best->probe_extra = cost - usual;
			best->probe_piece = piece;
			best->probe_bucket = bucket;
			return;
		}
	}
}

static void pick_take(const struct pick_query *query, const struct pick_candidate *c,
		      uint32_t class, uint64_t cost, uint8_t bucket, enum taio_why why,
		      struct pick_choice *ret)
{
	ret->device = c->device;
	ret->slot = c->slot;
	ret->bucket = bucket;
	ret->why = (uint8_t)why;
	ret->piece = 0;
	ret->cell = c->slot == PICK_NONE ? UINT16_MAX
					 : (uint16_t)(query->context->index * TAIO_CLASSES + class);
	ret->predicted_ns = cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
	pick_set_last(query, class, c->device);
}

static const uint32_t *pick_version(const struct picker *picker, const struct pick_query *query,
				    uint32_t class)
{
	static const uint32_t unpriced;
	const struct pick_context *context = query->context;

	return context->index == PICK_NONE
		       ? &unpriced
		       : &picker->maps->price[context->index * TAIO_CLASSES + class].version;
}

/*
 * Most decisions are the one before over again. One that came out the same several times in a row
 * holds for a short time and a few uses, as long as prices and the load of its device stay, nothing
 * is overdue and the same devices may run it; a rival whose load has fallen meanwhile is seen a few
 * decisions later.
 */
static bool pick_remembered(const struct picker *picker, const struct pick_query *query,
			    uint32_t class, struct pick_choice *ret_choice)
{
	struct pick_memory *memory = &query->context->memory[class];
	const struct pick_device *device = &picker->device[memory->choice.device];

	if (!memory->left || query->now_ns >= memory->until_ns || memory->goal != query->goal ||
	    memory->skip != (query->skip | query->context->unfit) || device->quarantine_ns ||
	    *memory->version_at != memory->version || pick_is_full(device, query) ||
	    taio_bucket_of(pick_load(picker, device)) != memory->choice.bucket ||
	    pick_age(device, query) > 2ULL * memory->choice.predicted_ns)
		return false;
	memory->left--;
	*ret_choice = memory->choice;
	query->context->last[class] = memory->choice.device;
	return true;
}

static void pick_remember(const struct picker *picker, const struct pick_query *query,
			  uint32_t class, uint64_t cost, const struct pick_choice *choice)
{
	struct pick_memory *memory = &query->context->memory[class];

	if (query->trial)
		return;
	if (memory->choice.device != choice->device || memory->choice.bucket != choice->bucket ||
	    memory->goal != query->goal)
		memory->streak = 0;
	else if (memory->streak < PICK_MEMORY_STREAK)
		memory->streak++;
	memory->choice = *choice;
	memory->choice.why = TAIO_WHY_PRICE;
	memory->goal = (uint8_t)query->goal;
	memory->left = 0;
	if (memory->streak < PICK_MEMORY_STREAK || cost > PICK_MEMORY_COST_NS)
		return;
	memory->until_ns = query->now_ns + PICK_MEMORY_NS;
	memory->skip = query->skip | query->context->unfit;
	memory->version_at = pick_version(picker, query, class);
	memory->version = *memory->version_at;
	memory->left = PICK_MEMORY_USES;
}

bool pick_take_slot(const struct picker *picker, const struct pick_query *query, uint8_t slot,
		    struct pick_choice *ret_choice)
{
	const struct pick_context *context = query->context;
	uint64_t skip = query->skip | context->unfit;
	uint32_t class = taio_class_of(query->bytes);

	for (unsigned int i = 0; i < context->count; i++) {
		const struct pick_candidate *c = &context->candidate[i];
		uint64_t cost;
		uint8_t bucket;

		if (c->slot != slot)
			continue;
		if (skip & (1ULL << c->device) || pick_bar(picker, query, c) != TAIO_WHY_PRICE)
			return false;
		cost = pick_cost(picker, query, c, class, &bucket);
		pick_take(query, c, class, cost, bucket, TAIO_WHY_POLICY, ret_choice);
		return true;
	}
	return false;
}

static __attribute__((noinline)) int pick_anew(struct picker *picker,
					       const struct pick_query *query, uint32_t class,
					       struct pick_choice *ret_choice)
{
	struct pick_best best = { 0 };

	pick_scan(picker, query, class, &best);
	if (!best.candidate) {
		if (best.full)
			return -EBUSY;
		if (!best.soonest)
			return -ENODEV;
		pick_take(query, best.soonest, class, best.soonest->caps.base_ns, 0,
			  TAIO_WHY_QUARANTINE, ret_choice);
		return 0;
	}
	/* Less than twice as cheap is no reason to open a device: published figures are not exact. */
	if (best.closed_cost < best.cost / 2)
		picker->regret_ns += best.cost - best.closed_cost;
	if (query->may_probe && picker->probe_credit_ns > 0) {
		pick_find_probe(picker, query, class, &best);
		if (best.probe) {
			uint8_t last = pick_last(query, class);

			picker->probe_credit_ns -= (int64_t)best.probe_extra;
			picker->device[best.probe->device].probed_ns = query->now_ns;
			if (picker->device[best.probe->device].eager)
				picker->device[best.probe->device].eager--;
			pick_take(query, best.probe, class, best.probe_cost, best.probe_bucket,
				  TAIO_WHY_PROBE, ret_choice);
			ret_choice->piece = best.probe_piece;
			pick_set_last(query, class, last);
			return 0;
		}
	}
	if (pick_takes_turns(picker)) {
		pick_take(query, best.candidate, class, best.cost, best.bucket,
			  best.open == 1 ? TAIO_WHY_ONLY : TAIO_WHY_PRICE, ret_choice);
		return 0;
	}
	/* Hysteresis: 1/16 is within the noise of what is learnt. */
	if (best.kept && best.kept != best.candidate &&
	    best.kept_cost <= best.cost + (best.cost >> 4)) {
		pick_take(query, best.kept, class, best.kept_cost, best.kept_bucket, TAIO_WHY_PRICE,
			  ret_choice);
		pick_remember(picker, query, class, best.kept_cost, ret_choice);
		return 0;
	}
	pick_take(query, best.candidate, class, best.cost, best.bucket,
		  best.open == 1 ? TAIO_WHY_ONLY : TAIO_WHY_PRICE, ret_choice);
	pick_remember(picker, query, class, best.cost, ret_choice);
	return 0;
}

static inline int pick_decide(struct picker *picker, const struct pick_query *query,
			      struct pick_choice *ret_choice)
{
	uint32_t class = taio_class_of(query->bytes);

	assert(query->goal < TAIO_GOALS);
	if (picker->maps->ctl->flags & TAIO_POLICY_PICKS && picker->maps->batch &&
	    pick_by_hook(picker, query, ret_choice))
		return 0;
	if (!query->trial && pick_remembered(picker, query, class, ret_choice))
		return 0;
	return pick_anew(picker, query, class, ret_choice);
}

int pick_choose(struct picker *picker, const struct pick_query *query,
		struct pick_choice *ret_choice)
{
	const struct taio_maps *own = picker->maps;
	int rc;

	if (__builtin_expect(!query->trial, 1))
		return pick_decide(picker, query, ret_choice);
	picker->maps = query->trial;
	rc = pick_decide(picker, query, ret_choice);
	picker->maps = own;
	return rc;
}

/* ---- judging ---- */

#define PICK_JUDGE_COUNT 8 /* completions of a candidate: then it counts as measured */

struct pick_look {
	const struct pick_candidate *chosen, *unknown;
	uint64_t own_ns, best_ns, unknown_ns;
	uint8_t bucket; /* of unknown */
};

static bool pick_is_measured(const struct picker *picker, const struct pick_context *context,
			     const struct pick_candidate *c, uint32_t class)
{
	uint32_t cell = context->index * TAIO_CLASSES + class;

	return picker->maps->lat[cell * TAIO_SLOTS + c->slot].count >= PICK_JUDGE_COUNT;
}

static void pick_look(const struct picker *picker, const struct pick_query *query, uint32_t class,
		      uint8_t chosen, struct pick_look *look)
{
	const struct pick_context *context = query->context;
	uint64_t skip = query->skip | context->unfit;

	look->best_ns = look->unknown_ns = UINT64_MAX;
	for (unsigned int i = 0; i < context->count; i++) {
		const struct pick_candidate *c = &context->candidate[i];
		uint8_t bucket;
		uint64_t cost;

		if (c->slot == PICK_NONE)
			continue;
		cost = pick_cost(picker, query, c, class, &bucket);
		if (c->device == chosen) {
			look->chosen = c;
			look->own_ns = cost;
		} else if (skip & (1ULL << c->device) ||
			   pick_bar(picker, query, c) != TAIO_WHY_PRICE) {
			continue;
		}
		if (pick_is_measured(picker, context, c, class)) {
			if (cost < look->best_ns)
				look->best_ns = cost;
		} else if (cost < look->unknown_ns && c->device != chosen) {
			look->unknown = c;
			look->unknown_ns = cost;
			look->bucket = bucket;
		}
	}
}

bool pick_judge(struct picker *picker, const struct pick_query *query, const struct taio_maps *maps,
		struct pick_choice *choice, struct pick_verdict *ret_verdict)
{
	const struct taio_maps *own = picker->maps;
	uint32_t class = taio_class_of(query->bytes);
	struct pick_look look = { 0 };
	bool measured;

	if (choice->why != TAIO_WHY_PRICE || choice->slot == PICK_NONE)
		return false;
	picker->maps = maps;
	pick_look(picker, query, class, choice->device, &look);
	if (look.unknown && look.unknown_ns <= look.own_ns && query->may_probe &&
	    picker->probe_credit_ns > 0) {
		uint8_t last = pick_last(query, class);

		picker->probe_credit_ns -= (int64_t)look.unknown_ns;
		pick_take(query, look.unknown, class, look.unknown_ns, look.bucket, TAIO_WHY_PROBE,
			  choice);
		pick_set_last(query, class, last);
		picker->maps = own;
		return false;
	}
	measured = look.chosen && pick_is_measured(picker, query->context, look.chosen, class);
	picker->maps = own;
	if (!measured)
		return false;
	ret_verdict->own_ns = look.own_ns;
	ret_verdict->best_ns = look.best_ns;
	ret_verdict->priced = pick_price(picker, query, look.chosen, class, choice->bucket) != 0;
	return true;
}

unsigned int pick_explain(const struct picker *picker, const struct pick_query *query,
			  struct pick_reason *reasons, unsigned int max)
{
	const struct pick_context *context = query->context;
	uint32_t class = taio_class_of(query->bytes);
	unsigned int n = 0;

	for (unsigned int i = 0; i < context->count && n < max; i++) {
		const struct pick_candidate *c = &context->candidate[i];
		uint64_t bit = 1ULL << c->device;
		uint64_t cost;
		uint8_t bucket;

		cost = pick_cost(picker, query, c, class, &bucket);
		reasons[n].device = c->device;
		reasons[n].in_flight = (uint16_t)picker->device[c->device].in_flight;
		reasons[n].cost_ns = cost > UINT32_MAX ? UINT32_MAX : (uint32_t)cost;
		reasons[n].measured = c->slot != PICK_NONE &&
				      pick_is_measured(picker, context, c, class);
		reasons[n].why_not = context->unfit & bit ? TAIO_WHY_UNFIT
				     : query->skip & bit  ? TAIO_WHY_FORBIDDEN
							  : (uint8_t)pick_bar(picker, query, c);
		n++;
	}
	return n;
}
