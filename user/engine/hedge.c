/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * hedge.c: see hedge.h.
 *
 * Which steps: copies between memory and files at fixed offsets, where a second run gives the same
 * bytes and takes nothing from the source; never streams, pipes, datagrams, append-only files,
 * files without a size or copies within one file. Which devices: only those that can call a step
 * back are worth a second copy, since the request waits for both; so never steps on workers, which
 * stop nowhere. How many: one in twenty steps, in bursts of eight at most, and only onto a device
 * with a free place while the thread has nothing else to do: an engine that has no room to spare
 * would only get slower.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#define HEDGE_TIMES  3     /* the price, then a step is late ... */
#define HEDGE_MIN_NS 30000 /* ... but not before */
#define HEDGE_COST   20    /* tokens: one step in twenty */
#define HEDGE_BURST  8     /* hedges that may have been saved up */

enum hedge_answer {
	HEDGE_STARTED,
	HEDGE_LATER,
	HEDGE_NEVER
};

static bool hedge_is_fixed(const struct taio_end *end)
{
	return end->kind == TAIO_KIND_MEM || end->kind == TAIO_KIND_ZERO ||
	       (end->kind == TAIO_KIND_FILE &&
		!(end->flags & (TAIO_END_APPEND | TAIO_END_STREAMED)));
}

static bool hedge_may(const struct taio *e, const struct request *r, const struct taio_step *step)
{
	const struct taio_device *device = &e->device[step->device];

	return step->op == TAIO_OP_COPY && hedge_is_fixed(&step->from) &&
	       hedge_is_fixed(&step->to) && !device->worker && device->driver->cancel &&
	       !(r->traits & REQUEST_ONLY_RW) && r->length != TAIO_TO_END && !r->limit_rate;
}

static uint64_t hedge_patience(const struct taio_step *step)
{
	uint64_t ns = HEDGE_TIMES * step->predicted_ns;

	return ns > HEDGE_MIN_NS ? ns : HEDGE_MIN_NS;
}

void hedge_watch(struct taio *e, const struct request *r, struct taio_step *step)
{
	struct hedge *h = &e->hedge;
	uint64_t due_ns;

	if (step->hedge || !hedge_may(e, r, step))
		return;
	if (h->tokens < HEDGE_BURST * HEDGE_COST)
		h->tokens++;
	step->hedge = HEDGE_WATCHED;
	due_ns = step->start_ns + hedge_patience(step);
	if (due_ns < h->due_ns)
		h->due_ns = due_ns;
}

/* ---- the second copy ---- */

/* A copy within one file may read what it wrote: a second run would give other bytes. */
static bool hedge_is_one_file(const struct taio_step *step)
{
	struct stat from, to;

	if (step->from.kind != TAIO_KIND_FILE || step->to.kind != TAIO_KIND_FILE)
		return false;
	return fstat(step->from.fd, &from) || fstat(step->to.fd, &to) ||
	       (from.st_dev == to.st_dev && from.st_ino == to.st_ino);
}

/* Writing a file past its page cache and through it at the same time makes the kernel report an
 * error at the next fsync. Devices that want alignment there go past it. */
static bool hedge_goes_past_cache(const struct taio *e, const struct taio_step *step,
				  uint8_t device)
{
	const struct taio_capability *cap = route_capability(e, step, device);

	return step->to.kind == TAIO_KIND_FILE && (!cap || cap->align > 1);
}

/* Asks the picker for another device without leaving a trace in what it remembers. */
static int hedge_pick(struct taio *e, struct request *r, struct taio_step *twin, uint8_t first,
		      struct pick_choice *ret_choice)
{
	uint32_t class = taio_class_of(twin->len);
	struct pick_query query = route_query(e, r, twin);
	struct pick_memory memory = query.context->memory[class];
	uint8_t last = query.context->last[class];
	int rc;

	query.may_probe = false;
	query.picked = PICK_BY_PRICE; /* the policy decided about the first copy */
	query.skip |= 1ULL << first;
	for (unsigned int i = 0; i < e->device_count; i++)
		if (hedge_goes_past_cache(e, twin, (uint8_t)i))
			query.skip |= 1ULL << i;
	query.context->memory[class].left = 0;
	rc = pick_choose(e->picker, &query, ret_choice);
	query.context->memory[class] = memory;
	query.context->last[class] = last;
	return rc;
}

/* It would run at once, and for less than the first has taken already. */
static bool hedge_is_worth_it(const struct taio *e, const struct taio_step *step,
			      const struct pick_choice *choice)
{
	const struct taio_capability *cap = route_capability(e, step, choice->device);
	uint32_t parallel = cap && cap->parallel ? cap->parallel : 1;

	if (e->device[choice->device].worker)
		parallel = e->worker_limit;
	return choice->why != TAIO_WHY_QUARANTINE &&
	       choice->predicted_ns <= e->now_ns - step->start_ns &&
	       e->picker->device[choice->device].in_flight < parallel;
}

static struct taio_step *hedge_copy(struct taio *e, struct request *r, const struct taio_step *step)
{
	struct taio_step *twin = route_step_get(e, r);

	if (!twin)
		return NULL;
	twin->op = step->op;
	twin->from = step->from;
	twin->to = step->to;
	twin->len = step->len;
	twin->position = step->position;
	twin->excluded = step->excluded;
	twin->flags = step->flags & ~(uint32_t)TAIO_SF_CANCELLED;
	return twin;
}

static uint8_t hedge_place(struct hedge *h)
{
	uint8_t i = 0;

	while (h->pair[i].step[0])
		i++;
	assert(i < HEDGE_PAIRS);
	return i;
}

static void hedge_back(struct taio *e, struct hedge_pair *pair, unsigned int which);

static enum hedge_answer hedge_start(struct taio *e, struct request *r, struct taio_step *step,
				     struct taio_step *twin)
{
	struct hedge *h = &e->hedge;
	struct pick_choice choice;
	struct hedge_pair *pair;
	enum route_started started;
	int rc = hedge_pick(e, r, twin, step->device, &choice);

	if (rc)
		return rc == -ENODEV ? HEDGE_NEVER : HEDGE_LATER;
	if (!hedge_is_worth_it(e, step, &choice))
		return HEDGE_LATER;
	if (!e->device[choice.device].opened && !route_opens(e, choice.device, twin))
		return HEDGE_NEVER;
	twin->why = TAIO_WHY_HEDGE;
	twin->cell = choice.cell;
	twin->slot = choice.slot;
	twin->bucket = choice.bucket;
	twin->predicted_ns = choice.predicted_ns;
	twin->hedge = step->hedge = (uint8_t)(hedge_place(h) + 1);
	pair = &h->pair[step->hedge - 1];
	*pair = (struct hedge_pair){ .step = { step, twin } };
	started = route_start_on(e, r, twin, choice.device);
	if (started == ROUTE_FULL || started == ROUTE_NONE) {
		pair->step[0] = pair->step[1] = NULL;
		step->hedge = HEDGE_WATCHED;
		return HEDGE_LATER;
	}
	h->pairs++;
	h->tokens -= HEDGE_COST;
	r->event_flags |= TAIO_EVENT_HEDGED;
	if (e->picker->maps->engine)
		e->picker->maps->engine->hedges++;
	if (started == ROUTE_DONE)
		hedge_back(e, pair, 1);
	return HEDGE_STARTED;
}

static enum hedge_answer hedge_try(struct taio *e, struct taio_step *step)
{
	struct request *r = engine_request(e, step->request);
	struct taio_step *twin;
	enum hedge_answer answer;

	if (r->error || r->traits & REQUEST_CANCELLED || step->flags & TAIO_SF_CANCELLED ||
	    hedge_is_one_file(step) || hedge_goes_past_cache(e, step, step->device))
		return HEDGE_NEVER;
	if (e->hedge.tokens < HEDGE_COST || e->hedge.pairs == HEDGE_PAIRS || e->ready_mask)
		return HEDGE_LATER;
	twin = hedge_copy(e, r, step);
	if (!twin)
		return HEDGE_LATER;
	answer = hedge_start(e, r, step, twin);
	if (answer != HEDGE_STARTED)
		route_step_put(e, twin);
	return answer;
}

void hedge_run(struct taio *e)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < e->steps_used; i++) {
		struct taio_step *step = &e->steps[i];
		uint64_t due_ns;

		if (!step->in_flight || step->hedge != HEDGE_WATCHED)
			continue;
		due_ns = step->start_ns + hedge_patience(step);
		if (due_ns <= e->now_ns) {
			enum hedge_answer answer = hedge_try(e, step);

			if (answer == HEDGE_NEVER)
				step->hedge = HEDGE_NONE;
			if (answer != HEDGE_LATER)
				continue;
			due_ns = e->now_ns + (e->now_ns - step->start_ns) / 4;
		}
		if (due_ns < next)
			next = due_ns;
	}
	e->hedge.due_ns = next;
}

/* ---- the end of both ---- */

static bool hedge_is_whole(const struct taio_step *step)
{
	return step->result > 0 && (uint64_t)step->result == step->len;
}

/* A copy is back. If it is whole, the other one has nothing to add. */
static void hedge_back(struct taio *e, struct hedge_pair *pair, unsigned int which)
{
	struct taio_step *step = pair->step[which], *other = pair->step[!which];
	struct taio_device *device = &e->device[other->device];
	uint64_t took_ns = e->now_ns - step->start_ns;

	pair->took_ns[which] = took_ns ? took_ns : 1;
	if (pair->took_ns[!which] || !hedge_is_whole(step) || device->worker ||
	    other->flags & TAIO_SF_CANCELLED)
		return;
	other->flags |= TAIO_SF_CANCELLED;
	if (device->driver->cancel)
		device->driver->cancel(device, other);
}

/* The copy that counts: the one that moved more, the first to come back of equals. */
static unsigned int hedge_winner(const struct hedge_pair *pair)
{
	int64_t first = pair->step[0]->result, second = pair->step[1]->result;

	if (first != second && (first >= 0 || second >= 0))
		return second > first;
	return first == second && first > 0 &&
	       pair->step[1]->start_ns + pair->took_ns[1] <
		       pair->step[0]->start_ns + pair->took_ns[0];
}

struct taio_step *hedge_done(struct taio *e, struct request *r, struct taio_step *step)
{
	struct hedge_pair *pair;
	struct taio_step *winner, *loser;
	unsigned int which;

	if (step->hedge == HEDGE_WATCHED) {
		step->hedge = HEDGE_NONE;
		return step;
	}
	pair = &e->hedge.pair[step->hedge - 1];
	hedge_back(e, pair, step == pair->step[1]);
	if (!pair->took_ns[0] || !pair->took_ns[1])
		return NULL;
	which = hedge_winner(pair);
	winner = pair->step[which];
	loser = pair->step[!which];
	/* The trace tells how long each of them took; the loser moved nothing that counts. */
	loser->start_ns = e->now_ns - pair->took_ns[!which];
	loser->result = 0;
	trace_step(e, r, loser, TAIO_STEP_TRANSFER);
	route_step_put(e, loser);
	winner->start_ns = e->now_ns - pair->took_ns[which];
	winner->hedge = HEDGE_NONE;
	if (winner->result > 0)
		r->main_device = winner->device;
	pair->step[0] = pair->step[1] = NULL;
	e->hedge.pairs--;
	return winner;
}
