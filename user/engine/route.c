/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * route.c: a step meets its device. Makes route contexts with their candidates, says which of them
 * may run a step, asks the picker, starts the step and accounts for it.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "request/operation.h"
#include "util/clear.h"
#include "util/clock.h"

#define ROUTE_UNFIT_NS (1000ULL * 1000 * 1000) /* then it may show again that it works */

/* A blocking device may run on the engine's thread beside other requests if it is this quick. */
#define ROUTE_QUICK_NS 1000000

/* No piece that is tried of a step is smaller than that, and no step that is cut. */
#define ROUTE_PIECE_MIN (64U << 10)
#define ROUTE_CUT_MIN   (256U << 10)

/* Processor time is asked of the kernel twice: for each so manieth inline step, and for all that are
 * so long that it does not matter. */
#define ROUTE_CPU_EACH    64
#define ROUTE_CPU_LONG_NS 200000

struct taio_step *route_step_get(struct taio *e, struct request *r)
{
	struct taio_step *step = e->free_steps;

	if (step) {
		e->free_steps = step->next;
		clear(step, sizeof(*step));
	} else if (e->steps_used < ENGINE_STEPS_MAX) {
		step = &e->steps[e->steps_used++];
	} else {
		return NULL;
	}
	e->steps_busy++;
	step->request = request_index(&e->pool, r);
	step->goal = r->goal;
	step->device = PICK_NONE;
	step->from.fd = step->to.fd = step->from.fixed = step->to.fixed = -1;
	step->wait_fd = -1;
	return step;
}

void route_step_put(struct taio *e, struct taio_step *step)
{
	assert(e->steps_busy > 0);
	step->next = e->free_steps;
	e->free_steps = step;
	e->steps_busy--;
}

/* ---- contexts ---- */

/* Datagrams that do not fit into a usual frame are another matter: fragments. */
#define ROUTE_FRAME 1472

static bool route_is_large(const struct taio_step *step)
{
	return step->from.kind == TAIO_KIND_MESSAGES && step->to.unit > ROUTE_FRAME;
}

static uint64_t route_key(const struct taio_step *step)
{
	uint64_t large = route_is_large(step);
	uint64_t flags = (step->from.flags | step->to.flags) &
			 (TAIO_END_COLD | TAIO_END_LOCAL | TAIO_END_MIRROR);

	return 1ULL << 40 | large << 39 | (uint64_t)step->op | (uint64_t)step->from.kind << 8 |
	       (uint64_t)step->to.kind << 12 | (uint64_t)step->from.fs << 16 |
	       (uint64_t)step->to.fs << 20 | flags << 24;
}

static void route_name(const struct taio_step *step, char *name, size_t size)
{
	bool cold = ((step->from.flags | step->to.flags) & TAIO_END_COLD) != 0;

	if (step->op != TAIO_OP_COPY)
		snprintf(name, size, "%s%s%s %s", operation_name(step->op),
			 step->to.kind ? ">" : "",
			 step->to.kind ? operation_kind_name(step->to.kind) : "",
			 operation_fs_name(step->to.fs));
	else
		snprintf(name, size, "copy %s>%s %s%s%s%s%s",
			 mirror_is(&step->from) ? "mirror" : operation_kind_name(step->from.kind),
			 operation_kind_name(step->to.kind), operation_fs_name(step->from.fs),
			 step->from.fs && step->to.fs ? ">" : "", operation_fs_name(step->to.fs),
			 cold ? " cold" : "", route_is_large(step) ? "large" : "");
}

static void route_caps(const struct taio_device *device, const struct taio_capability *cap,
		       struct taio_caps *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->base_ns = cap->base_ns;
	ret->ps_per_byte = cap->ps_per_byte;
	ret->parallel = cap->parallel ? cap->parallel : 1;
	ret->cpu_permille = cap->cpu_permille ? cap->cpu_permille : 1000;
	if (device->worker) {
		ret->base_ns += 15000; /* hand-off to a sleeping thread and back */
		ret->parallel = device->host->cores;
		ret->flags |= TAIO_CAPS_SHARES;
	} else if (!device_is_async(device)) {
		ret->flags |= TAIO_CAPS_SYNC;
	}
}

static struct pick_context *route_context_make(struct taio *e, const struct taio_step *step,
					       uint64_t key)
{
	struct pick_candidate candidates[TAIO_SLOTS];
	const struct taio_capability *caps[TAIO_SLOTS];
	struct pick_context *context;
	unsigned int n = 0;
	char name[40];

	memset(candidates, 0, sizeof(candidates));
	route_name(step, name, sizeof(name));
	for (uint8_t i = 0; i < e->device_count && n < TAIO_SLOTS; i++) {
		const struct taio_capability *cap =
			device_capability(&e->device[i], step->op, step->from.kind, step->to.kind);

		/* A worker gains nothing where the call cannot sleep and there is no work. */
		bool replica = e->device[i].driver->replica > 0;

		if (!cap || replica != mirror_is(&step->from) ||
		    (!e->device[i].worker && (cap->flags & TAIO_CAP_ON_WORKER)) ||
		    (e->device[i].worker && !(cap->flags & TAIO_CAP_BLOCKING)) ||
		    !device_available(e, i))
			continue;
		candidates[n].device = i;
		route_caps(&e->device[i], cap, &candidates[n].caps);
		/* Of which disk they would be nobody knows. */
		if (!(e->flags & TAIO_NO_CACHE) && !replica)
			speeds_apply(&e->speeds, name, e->device[i].name, &candidates[n].caps);
		caps[n++] = cap;
	}
	context = pick_add_context(e->picker, key, name, candidates, n);
	memcpy(e->route_cap[context - e->picker->context], caps, n * sizeof(caps[0]));
	return context;
}

static struct pick_context *route_context(struct taio *e, const struct taio_step *step)
{
	uint64_t key = route_key(step);
	struct pick_context *context = pick_find_context(e->picker, key);

	return context ? context : route_context_make(e, step, key);
}

/* ---- who may run a step ---- */

static bool route_may_block(const struct taio *e)
{
	/* What the ring has in flight goes on only when the thread looks after it. */
	if (e->in_flight > e->workers.in_flight)
		return false;
	return (e->flags & TAIO_MAY_BLOCK) || (e->blocking_call && !engine_others(e));
}

/* A device that is not open yet is asked again once it is. */
static bool route_driver_fits(struct taio_device *device, const struct taio_step *step)
{
	if (!device->driver->fits || (device->driver->open && !device->opened))
		return true;
	return device->driver->fits(device, step);
}

static bool route_fits(struct taio_device *device, const struct taio_capability *cap,
		       const struct taio_step *step, bool pinned)
{
	if (step->op != TAIO_OP_COPY)
		return route_driver_fits(device, step);
	if (mirror_is(&step->from) && !mirror_reads(step, device->driver->replica))
		return false;
	/* The least size says where a device begins to pay. Who pinned it wants it for the rest
	 * of a transfer, too, however small. */
	if ((step->len < cap->min && !pinned) || (cap->max && step->len > cap->max))
		return false;
	if (cap->align > 1) {
		uint64_t mixed = step->from.offset | step->to.offset;

		if (mixed & (cap->align - 1))
			return false;
	}
	return route_driver_fits(device, step);
}

/* Would it stop the thread for long while others wait? */
static bool route_stops(struct taio *e, const struct pick_context *context, unsigned int at,
			const struct taio_step *step)
{
	const struct taio_capability *cap = e->route_cap[context - e->picker->context][at];
	const struct pick_candidate *c = &context->candidate[at];
	const struct taio_device *device = &e->device[c->device];
	uint32_t price;

	if (!(cap->flags & TAIO_CAP_BLOCKING) || device->worker || device_is_async(device))
		return false;
	if (step->from.flags & TAIO_END_COLD || step->op == TAIO_OP_SYNC ||
	    step->op == TAIO_OP_SYNC_DIR || step->from.fs == TAIO_FS_NET ||
	    step->to.fs == TAIO_FS_NET)
		return true;
	/* A price of the past says little about the next file: see control.c. */
	if (step->op == TAIO_OP_OPEN || step->op == TAIO_OP_CLOSE)
		return e->now_ns < e->control_slow_ns;
	if (c->slot == PICK_NONE)
		return false;
	price = e->picker->maps
			->price[context->index * TAIO_CLASSES + taio_class_of(route_size(step))]
			.cost[TAIO_GOAL_LATENCY][c->slot][0];
	return price > ROUTE_QUICK_NS;
}

static uint64_t route_skip(struct taio *e, const struct request *r,
			   const struct pick_context *context, struct taio_step *step)
{
	const struct taio_capability **caps = e->route_cap[context - e->picker->context];
	uint64_t skip = e->forbid | r->forbidden | r->excluded | step->excluded;
	uint64_t stops = 0, alone = 0, open = 0;
	bool may_block = route_may_block(e);

	if (step->op == TAIO_OP_COPY)
		skip |= ~r->allowed;
	for (unsigned int i = 0; i < context->count; i++) {
		uint8_t number = context->candidate[i].device;
		uint64_t bit = 1ULL << number;

		if (skip & bit)
			continue;
		if (e->device[number].error ||
		    !route_fits(&e->device[number], caps[i], step, r->allowed != UINT64_MAX)) {
			skip |= bit;
			continue;
		}
		if (!may_block && route_stops(e, context, i, step))
			stops |= bit;
		else if (may_block && !engine_others(e) && e->device[number].worker)
			alone |= bit; /* the only request would wait for it: a detour */
		else
			open |= bit;
	}
	/* Better a stop than no progress at all (no workers, no ring). */
	e->route_alone = open ? alone : 0;
	if (!open && alone)
		return skip; /* pinned to a worker */
	skip |= alone;
	e->route_stops = open ? stops : 0;
	return skip | e->route_stops;
}

/* ---- starting ---- */

static void route_account(struct taio *e, struct request *r, struct taio_step *step,
			  uint64_t done_ns);

static void route_cut(struct taio_step *step, uint64_t piece)
{
	if (piece && piece < step->len) {
		step->whole = step->len;
		step->len = piece;
	}
}

/* Whoever asked for the step sees a short result, and goes on with the rest. */
static void route_mend(struct taio_step *step)
{
	if (step->whole)
		step->len = step->whole;
	step->whole = 0;
}

/*
 * A completion is seen when the thread looks, and inline devices may have held the thread since it
 * looked before: then the step was done somewhere in between. Where its price lies in that interval,
 * nothing speaks against the price. Without this, an inline device that turns slow makes those look
 * slow that work beside it, and keeps its traffic.
 */
uint64_t route_done_ns(const struct taio *e, const struct taio_step *step)
{
	uint64_t done_ns = step->start_ns + step->predicted_ns;
	uint64_t first_ns = e->taken_ns - e->late_ns;

	return done_ns > e->taken_ns || !step->predicted_ns ? e->taken_ns
	       : done_ns < first_ns                         ? first_ns
							    : done_ns;
}

static void route_count(struct taio *e, struct request *r, struct taio_step *step)
{
	e->now_ns = clock_ns();
	if (step->result < 0 && step->result != -EAGAIN)
		e->count[step->device].errors++;
	else
		e->count[step->device].steps++;
	step->payload = step->result > 0 ? (uint64_t)step->result : 0;
	if (route_is_messages(step))
		messages_took(e, r, step);
	else if (step->to.kind == TAIO_KIND_DGRAM || step->from.kind == TAIO_KIND_DGRAM)
		messages_took_bytes(e, r, step);
	if (step->result > 0 && step->op == TAIO_OP_COPY) {
		e->count[step->device].bytes += step->payload;
		r->devices |= 1ULL << step->device;
		r->main_device = step->device;
	}
}

void route_finish(struct taio *e, struct request *r, struct taio_step *step, uint64_t done_ns)
{
	route_count(e, r, step);
	route_account(e, r, step, done_ns ? done_ns : e->now_ns);
	route_mend(step);
}

/* What a device may count on of the descriptors that it gets. */
static void route_prepare(struct taio *e, struct request *r, struct taio_step *step,
			  const struct taio_device *device)
{
	if (step->op != TAIO_OP_COPY)
		return;
	if (mirror_is(&step->from))
		mirror_aim(step, device->driver->replica);
	if (device->driver->flags & TAIO_DRIVER_NONBLOCK) {
		lane_nonblock(e, &step->from);
		lane_nonblock(e, &step->to);
	}
	if ((step->from.flags & TAIO_END_NONBLOCK) && device_is_async(device)) {
		(void)fcntl(step->from.fd, F_SETFL, 0); /* opened by us, for reading */
		r->from.flags &= (uint16_t)~TAIO_END_NONBLOCK;
		step->from.flags &= (uint16_t)~TAIO_END_NONBLOCK;
	}
}

static void route_run(struct taio *e, struct taio_device *device, struct taio_step *step)
{
	bool measured = e->count[device->number].runs++ % ROUTE_CPU_EACH == 0 ||
			step->predicted_ns > ROUTE_CPU_LONG_NS;
	uint64_t before_ns = measured ? clock_thread_ns() : 0;

	step->result = device->driver->run(device, step);
	if (measured && !step->cpu_ns)
		step->cpu_ns = clock_thread_ns() - before_ns;
}

/* How long that takes says nothing about the device, which is not busy with it either. */
static bool route_waits_for_peer(const struct taio_step *step)
{
	return step->op == TAIO_OP_CONNECT || step->op == TAIO_OP_ACCEPT;
}

/* It waits for the device and for nobody else. */
static bool route_is_bounded(const struct taio_step *step)
{
	const unsigned int peerless = TAIO_K(MEM) | TAIO_K(FILE) | TAIO_K(NULL) | TAIO_K(ZERO);

	return step->op == TAIO_OP_COPY && (peerless >> step->from.kind & 1) &&
	       (peerless >> step->to.kind & 1);
}

enum route_started route_start_on(struct taio *e, struct request *r, struct taio_step *step,
				  uint8_t number)
{
	struct taio_device *device = &e->device[number];
	enum taio_submit submitted;

	if (device_open(e, number))
		return ROUTE_NONE;
	step->device = number;
	step->result = 0;
	step->wait_fd = -1;
	step->failed_side = 0;
	step->cpu_ns = 0;
	step->packets = step->strangers = step->reports = 0;
	step->claim = r->claim ? r->claim_state : (uint8_t)TAIO_CLAIM_NONE;
	step->flags &= ~(uint32_t)TAIO_SF_WAITED;
	route_prepare(e, r, step, device);
	step->start_ns = e->now_ns = clock_ns();
	if (!device->worker && !device_is_async(device)) {
		route_run(e, device, step);
		route_finish(e, r, step, 0);
		if (e->in_flight)
			e->held_ns += e->now_ns - step->start_ns;
		return ROUTE_DONE;
	}
	if (device->worker) {
		if (workers_submit(&e->workers, step, spread_threads(e, step))) {
			device->error = -EAGAIN;
			snprintf(device->reason, sizeof(device->reason),
				 "no thread could be started");
			engine_log(e, "device %s is not available: %s", device->name,
				   device->reason);
			return ROUTE_NONE;
		}
		submitted = TAIO_QUEUED;
	} else {
		submitted = device->driver->submit(device, step);
	}
	if (submitted == TAIO_BUSY)
		return ROUTE_FULL;
	if (!route_waits_for_peer(step))
		pick_submitted(e->picker, number, step->start_ns);
	step->bounded = route_is_bounded(step);
	if (step->bounded)
		pick_admitted(e->picker, number);
	if (submitted == TAIO_DONE) {
		route_finish(e, r, step, 0);
		return ROUTE_DONE;
	}
	step->in_flight = 1;
	e->in_flight++;
	r->outstanding++;
	if (e->flags & TAIO_HEDGE && !step->whole)
		hedge_watch(e, r, step);
	return ROUTE_QUEUED;
}

bool route_opens(struct taio *e, uint8_t number, const struct taio_step *step)
{
	struct taio_device *device = &e->device[number];

	if (device_open(e, number))
		return false;
	return !device->driver->fits || device->driver->fits(device, step);
}

/* Some decisions are looked at by the watchdog of the policy. */
static void route_judge(struct taio *e, const struct pick_query *query, struct pick_choice *choice)
{
	const struct taio_maps *builtin = policy_judge(e->policy);
	struct pick_verdict verdict;

	e->judge = 0;
	if (builtin && pick_judge(e->picker, query, builtin, choice, &verdict))
		policy_judged(e->policy, verdict.own_ns, verdict.best_ns, verdict.priced);
}

/* Of bytes in datagrams a step takes those that are there: about as many as the last one found. */
static uint64_t route_expected(const struct taio *e, const struct request *r,
			       const struct taio_step *step)
{
	uint64_t burst = r->burst ? r->burst : e->burst;

	if (step->from.kind != TAIO_KIND_DGRAM || route_is_messages(step) || !burst)
		return route_size(step);
	return burst < step->len ? burst : step->len;
}

static uint32_t route_burst(uint64_t bytes)
{
	return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

/* Devices on which a piece of the step may be tried, and the rest of it follow elsewhere. */
static uint64_t route_cuttable(const struct taio *e, const struct pick_context *context,
			       const struct taio_step *step)
{
	const struct taio_capability *const *caps = e->route_cap[context - e->picker->context];
	uint64_t mask = 0;

	if (step->len < ROUTE_CUT_MIN || !route_is_bounded(step))
		return 0;
	for (unsigned int i = 0; i < context->count; i++)
		if (caps[i]->min <= ROUTE_PIECE_MIN)
			mask |= 1ULL << context->candidate[i].device;
	return mask;
}

static uint64_t route_unseen_ns(const struct taio *e)
{
	return e->in_flight && e->now_ns > e->reaped_ns ? e->now_ns - e->reaped_ns : 0;
}

struct pick_query route_query(struct taio *e, struct request *r, struct taio_step *step)
{
	struct pick_context *context = route_context(e, step);
	struct pick_query query = { .context = context,
				    .bytes = route_expected(e, r, step),
				    .now_ns = e->now_ns,
				    .goal = r->goal,
				    .picked = step->picked,
				    .priority = r->priority,
				    .tag = r->tag,
				    .deadline_ns = r->deadline_ns,
				    .unseen_ns = route_unseen_ns(e),
				    .closed = e->async & ~e->open_async,
				    .bounded = route_is_bounded(step),
				    .cuttable = route_cuttable(e, context, step),
				    .may_probe = !route_is_retry(r, step) };

	if (context->unfit && e->now_ns > context->unfit_ns)
		context->unfit = 0;
	query.skip = route_skip(e, r, context, step);
	e->route_unpaid = 0;
	if (e->claimers && step->from.kind == TAIO_KIND_DGRAM) {
		query.closed &= ~e->claimers; /* opening is part of what a claim costs */
		query.skip = claim_skip(e, r, step, &query);
	}
	/* The policy's pick hook is asked about bytes, once, and not after it failed. */
	if (step->op != TAIO_OP_COPY || route_is_retry(r, step))
		query.picked = PICK_BY_PRICE;
	else if (r->length != TAIO_TO_END && r->length > step->position + step->len)
		query.rest = (r->length - step->position - step->len)
			     << (route_is_messages(step) ? ROUTE_MESSAGE_SHIFT : 0);
	if (r->traits & REQUEST_CANARY)
		query.trial = policy_canary_maps(e->policy);
	if (r->deadline_ns)
		query.spare_ns = r->deadline_ns > e->now_ns ? r->deadline_ns - e->now_ns : 1;
	return query;
}

const struct taio_capability *route_capability(const struct taio *e, const struct taio_step *step,
					       uint8_t number)
{
	return device_capability(&e->device[number], step->op, step->from.kind, step->to.kind);
}

/* ---- messages: a decision for the next few ---- */

#define ROUTE_AGAIN 15 /* steps that follow a decision, of which the policy does not hear */

static struct engine_again *route_again_of(struct taio *e, const struct taio_step *step)
{
	unsigned int way = step->to.kind == TAIO_KIND_MESSAGES ? 2 : route_is_large(step);

	return &e->messages_again[way][taio_class_of(route_size(step))];
}

/* Is it a step about which nothing special was said? */
static bool route_is_usual(const struct request *r, const struct taio_step *step)
{
	return r->allowed == UINT64_MAX && !r->forbidden && !r->excluded && !step->excluded &&
	       !r->trace && !r->claim && !r->deadline_ns && !route_is_retry(r, step);
}

bool route_again(struct taio *e, struct request *r, struct taio_step *step)
{
	struct engine_again *again = route_again_of(e, step);
	struct taio_device *device = &e->device[again->device];

	if (!again->left || again->goal != r->goal || !route_is_usual(r, step) ||
	    (device->driver->fits && !device->driver->fits(device, step)))
		return false;
	again->left--;
	step->device = device->number;
	step->why = TAIO_WHY_PRICE;
	step->slot = PICK_NONE;
	step->start_ns = e->now_ns;
	step->result = device->driver->run(device, step);
	route_count(e, r, step);
	if (step->result < 0 && step->result != -EAGAIN)
		again->left = 0;
	return true;
}

static void route_remember(struct taio *e, const struct request *r, const struct taio_step *step)
{
	if ((step->why != TAIO_WHY_PRICE && step->why != TAIO_WHY_ONLY) || step->result <= 0 ||
	    device_is_async(&e->device[step->device]) || e->device[step->device].worker ||
	    !route_is_usual(r, step) || policy_canary_maps(e->policy) ||
	    e->picker->maps->ctl->flags & TAIO_POLICY_PICKS)
		return;
	*route_again_of(e, step) = (struct engine_again){ .device = step->device,
							  .left = ROUTE_AGAIN,
							  .goal = r->goal };
}

enum route_started route_start(struct taio *e, struct request *r, struct taio_step *step)
{
	struct pick_query query = route_query(e, r, step);
	struct pick_context *context = query.context;
	bool full = false;

	step->picked = PICK_ASK;
	for (;;) {
		struct pick_choice choice;
		enum route_started started;
		int rc = pick_choose(e->picker, &query, &choice);

		if (rc == -EBUSY || (rc && full))
			return ROUTE_FULL;
		if (rc && context->unfit) {
			/* Requests with mistakes of their own may have put all devices there. */
			context->unfit = 0;
			continue;
		}
		if (rc)
			return ROUTE_NONE;
		if (++e->judge >= POLICY_JUDGE_EVERY && !query.trial)
			route_judge(e, &query, &choice);
		if (choice.why != TAIO_WHY_PROBE && choice.why != TAIO_WHY_POLICY)
			spread_choice(e, &query, &choice);
		step->why = route_is_retry(r, step) ? TAIO_WHY_RETRY : choice.why;
		if (choice.why != TAIO_WHY_PROBE && r->allowed != UINT64_MAX &&
		    step->op == TAIO_OP_COPY)
			step->why = TAIO_WHY_PIN;
		step->cell = choice.cell;
		step->slot = choice.slot;
		step->bucket = choice.bucket;
		step->predicted_ns = choice.predicted_ns;
		if (!e->device[choice.device].opened && !route_opens(e, choice.device, step)) {
			query.skip |= 1ULL << choice.device;
			continue;
		}
		if (r->trace)
			trace_decision(e, r, step, &query, choice.device);
		route_cut(step, choice.piece);
		started = route_start_on(e, r, step, choice.device);
		if (started == ROUTE_DONE && route_is_messages(step))
			route_remember(e, r, step);
		if (started == ROUTE_DONE || started == ROUTE_QUEUED)
			return started;
		route_mend(step);
		full |= started == ROUTE_FULL;
		query.skip |= 1ULL << choice.device;
	}
}

bool route_run_now(struct taio *e, struct request *r, struct taio_step *step)
{
	struct pick_query query = route_query(e, r, step);
	struct pick_choice choice;

	query.may_probe = false;
	query.skip |= e->not_inline;
	if (pick_choose(e->picker, &query, &choice))
		return false;
	step->why = choice.why;
	step->cell = choice.cell;
	step->slot = choice.slot;
	step->bucket = choice.bucket;
	step->predicted_ns = choice.predicted_ns;
	return route_start_on(e, r, step, choice.device) == ROUTE_DONE;
}

/* ---- accounting ---- */

/* Errors that say "not this way", not "not at all". */
bool route_worth_retry(int error)
{
	switch (-error) {
	case EOPNOTSUPP:
	case ENOSYS:
	case EXDEV:
	case EINVAL:
	case EPERM:
	case EFAULT:
	case EBADF:
	case ESPIPE:
	case EIO:
	case ENOBUFS:
		return true;
	default:
		return false;
	}
}

/* Of those: it may be gone with the next step, and the breaker counts it. The others tell what the
 * device cannot do here. */
bool route_is_passing(int error)
{
	return error == -EIO || error == -ENOBUFS;
}

static void route_unfit(struct taio *e, struct taio_step *step)
{
	struct pick_context *context = route_context(e, step);
	uint64_t bit = 1ULL << step->device;

	if (!(context->unfit & bit)) {
		char name[40];

		route_name(step, name, sizeof(name));
		engine_log(e, "%s cannot do '%s' here: %s; going another way",
			   e->device[step->device].name, name, strerror((int)-step->result));
	}
	context->unfit |= bit;
	context->unfit_ns = e->now_ns + ROUTE_UNFIT_NS;
}

/* How large a file is shows only when it is open: a whole small file is picked for as if it were
 * like the last one, and learnt from as what it was. */
static void route_file_class(struct taio *e, const struct taio_step *step,
			     struct pick_choice *choice)
{
	uint32_t class = taio_class_of((uint64_t)step->result);

	e->file_bytes[step->to.kind == TAIO_KIND_STREAM] = (uint64_t)step->result;
	if (step->slot == PICK_NONE || step->cell % TAIO_CLASSES == class)
		return;
	choice->cell = (uint16_t)(step->cell / TAIO_CLASSES * TAIO_CLASSES + class);
	choice->predicted_ns = (uint32_t)(e->now_ns - step->start_ns);
}

/* Does its error say something about the device? Not where that is the one that can do a control step
 * everywhere, nor if it was about one message or one peer. */
static bool route_is_blamed(const struct taio_device *device, const struct taio_step *step)
{
	if (step->result >= 0 || step->slot == PICK_NONE || !route_worth_retry((int)step->result))
		return false;
	if (step->op != TAIO_OP_COPY)
		return step->op != TAIO_OP_FILE && device_is_async(device);
	return !(step->result == -EXDEV &&
		 (route_is_messages(step) || step->to.kind == TAIO_KIND_DGRAM ||
		  step->from.kind == TAIO_KIND_DGRAM));
}

static void route_account(struct taio *e, struct request *r, struct taio_step *step,
			  uint64_t done_ns)
{
	struct taio_device *device = &e->device[step->device];
	struct pick_choice choice = { .device = step->device,
				      .slot = step->slot,
				      .bucket = step->bucket,
				      .why = step->why,
				      .cell = step->cell,
				      .predicted_ns = (uint32_t)step->predicted_ns };
	struct pick_result result = { .choice = &choice,
				      .submit_ns = step->start_ns,
				      .now_ns = done_ns,
				      .cpu_ns = step->cpu_ns };
	bool streams = step->to.kind == TAIO_KIND_STREAM || step->from.kind == TAIO_KIND_STREAM ||
		       route_is_messages(step);
	bool queued;

	result.occupied = (!device->worker && !device_is_async(device)) ||
			  route_waits_for_peer(step);
	result.whole = step->whole;
	result.bounded = step->bounded;
	step->bounded = 0;
	result.bytes = step->result > 0 ? (uint64_t)step->result : 0;
	if (route_is_messages(step))
		result.bytes <<= ROUTE_MESSAGE_SHIFT;
	if (step->op == TAIO_OP_COPY) {
		result.learn = step->result > 0 && (uint64_t)step->result == step->len;
		queued = step->from.kind == TAIO_KIND_DGRAM && !route_is_messages(step);
		if (queued && step->result > 0)
			r->burst = e->burst = route_burst(result.bytes);
		if (!result.learn && step->result > 0 && step->slot != PICK_NONE &&
		    (queued || (streams && result.occupied))) {
			/* A stream takes what it has room for, and gives what it has; a queue gives
			 * what it holds: that much is a whole operation. */
			uint32_t class = taio_class_of(result.bytes);

			choice.cell = (uint16_t)(step->cell / TAIO_CLASSES * TAIO_CLASSES + class);
			choice.predicted_ns = (uint32_t)(e->now_ns - step->start_ns);
			result.learn = true;
		}
	} else if (step->op == TAIO_OP_FILE) {
		result.learn = step->result >= 0 && (step->file->state & TAIO_FILE_DONE);
		if (result.learn)
			route_file_class(e, step, &choice);
	} else {
		result.learn = step->result >= 0 && step->op != TAIO_OP_ACCEPT;
	}
	if (step->op == TAIO_OP_CONNECT) /* by whatever device, and in how many calls */
		result.submit_ns = step->addr->began_ns;
	if (mirror_is(&step->from)) {
		result.error = step->result < 0 && step->result != -ECANCELED &&
			       step->failed_side != 2;
	} else if (route_is_blamed(device, step)) {
		if (route_is_passing((int)step->result))
			result.error = true;
		else
			route_unfit(e, step);
	}
	if (step->flags & (TAIO_SF_CANCELLED | TAIO_SF_WAITED) || r->error ||
	    step->claim == TAIO_CLAIM_TAKING)
		result.learn = false;
	if (pick_completed(e->picker, &result))
		e->urgent = true;
}

/* Asked for each request, and always the same: counted out once. */
uint64_t route_copy_devices(struct taio *e, uint8_t from_kind, uint8_t to_kind)
{
	uint64_t *mask = &e->pairs[from_kind][to_kind];

	if (e->pairs_known[from_kind] >> to_kind & 1)
		return *mask;
	for (uint8_t i = 0; i < e->device_count; i++)
		if (device_capability(&e->device[i], TAIO_OP_COPY, from_kind, to_kind))
			*mask |= 1ULL << i;
	e->pairs_known[from_kind] |= (uint16_t)(1u << to_kind);
	return *mask;
}
