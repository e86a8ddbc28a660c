/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * core.bpf.h: what runs around every policy, in the kernel and natively: maps, the tick that drains
 * the engines' samples, learns what all policies share (taio_lat, taio_dev), asks the policy's
 * hooks and writes prices, and the take-over at a swap. A policy does not call it; it ends in
 * TAIO_POLICY(), which makes the programs. The kernel side (timer, entry programs) is at the end.
 *
 * Two rules: samples and contexts come from untrusted writers, so each index is checked or masked
 * and each figure clamped; and a tick does a bounded amount of work.
 */
#ifndef TAIO_CORE_BPF_H
#define TAIO_CORE_BPF_H

#define CORE_TICK_NS       1000000
#define CORE_TICK_MIN_NS   100000
#define CORE_TICK_MAX_NS   100000000
#define CORE_IDLE_TICKS    64   /* without a sample: then the timer stops */
#define CORE_TICK_SAMPLES  4096 /* of all engines in one tick */
#define CORE_TICK_CELLS    128  /* priced in one tick */
#define CORE_RECOUNT_TICKS 64   /* between looks for new engines */
#define CORE_REVIEW        16   /* re-pricings of a cell, then also its quiet slots */
#define CORE_WEIGHT_MAX    1024
#define CORE_FUTURE_NS     1000000    /* clocks of two CPUs never differ by that */
#define CORE_ALIVE_NS      2000000000 /* an engine silent for longer has no load that counts */
#define CORE_STALL         4          /* times the usual latency without any completion: a stall */

#define CORE_VOLATILE(TYPE, LVALUE) (*(volatile TYPE *)&(LVALUE))

static const struct taio_hooks taio_hooks; /* by TAIO_POLICY() */
#ifdef __bpf__
static const volatile u32 *const taio_tune_at[TAIO_TUNABLES_MAX]; /* by TAIO_TUNABLES(), or none */
#else
static const struct taio_tunable taio_tunables[TAIO_TUNABLES_MAX]; /* by TAIO_TUNABLES(), or none */
#endif

/* ---- maps ----------------------------------------------------------------------------------- */

#ifdef __bpf__

#define CORE_MAP(NAME, COUNT, FLAGS)                                  \
	struct {                                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);                     \
		__uint(max_entries, COUNT);                           \
		__uint(map_flags, FLAGS);                             \
		__type(key, __u32);                                   \
		__type(value, struct NAME);                           \
	} NAME SEC(".maps");                                          \
	static __always_inline struct NAME *core_at_##NAME(u32 index) \
	{                                                             \
		return bpf_map_lookup_elem(&NAME, &index);            \
	}

CORE_MAP(taio_ctl, 1, BPF_F_MMAPABLE)
CORE_MAP(taio_ctx, TAIO_CONTEXTS, BPF_F_MMAPABLE)
CORE_MAP(taio_caps, TAIO_CONTEXTS *TAIO_SLOTS, BPF_F_MMAPABLE)
CORE_MAP(taio_dev, TAIO_DEVICES, BPF_F_MMAPABLE)
CORE_MAP(taio_lat, TAIO_ROUTES, BPF_F_MMAPABLE)
CORE_MAP(taio_state, TAIO_ROUTES, BPF_F_MMAPABLE)
CORE_MAP(taio_price, TAIO_CELLS, BPF_F_MMAPABLE)
CORE_MAP(taio_engine, TAIO_ENGINES, BPF_F_MMAPABLE)
CORE_MAP(taio_work, 1, BPF_F_MMAPABLE)
CORE_MAP(taio_batch, 1, BPF_F_MMAPABLE)

#define core_loop(N, CALLBACK, ARG) bpf_loop(N, CALLBACK, ARG, 0)
#define core_name()                 ((const volatile char *)taio_policy_name)

const volatile char taio_policy_name[16]; /* by TAIO_POLICY() */
u32 taio_generation;                      /* of this object's take-over */

static __always_inline u32 *core_generation(void)
{
	return &taio_generation;
}

static __always_inline u32 core_tune(u32 index)
{
	return taio_tune_at[index] ? *taio_tune_at[index] : 0;
}

/* A global function is verified by itself, once, whatever it is called with. */
#define CORE_GLOBAL __noinline

#else /* native */

#include <errno.h>

static _Thread_local struct taio_native_maps *taio_native; /* set by the two entries below */

#define CORE_MAP(NAME, MEMBER, COUNT)                                                    \
	static __always_inline struct NAME *core_at_##NAME(u32 index)                    \
	{                                                                                \
		return index < (COUNT) ? &taio_native->MEMBER[index] : (struct NAME *)0; \
	}

CORE_MAP(taio_ctl, ctl, 1)
CORE_MAP(taio_ctx, ctx, TAIO_CONTEXTS)
CORE_MAP(taio_caps, caps, TAIO_CONTEXTS *TAIO_SLOTS)
CORE_MAP(taio_dev, dev, TAIO_DEVICES)
CORE_MAP(taio_lat, lat, TAIO_ROUTES)
CORE_MAP(taio_state, state, TAIO_ROUTES)
CORE_MAP(taio_price, price, TAIO_CELLS)
CORE_MAP(taio_engine, engine, taio_native->engines)
CORE_MAP(taio_work, work, 1)
CORE_MAP(taio_batch, batch, 1)

static const char core_policy_name[16]; /* by TAIO_POLICY() */
#define core_name() (core_policy_name)

static __always_inline void core_loop(u32 n, long (*callback)(u32 index, void *arg), void *arg)
{
	for (u32 i = 0; i < n; i++)
		if (callback(i, arg))
			return;
}

static __always_inline u32 *core_generation(void)
{
	return &taio_native->generation;
}

static __always_inline u32 core_tune(u32 index)
{
	return taio_native->tune[index];
}

#define CORE_GLOBAL static

#endif

/* ---- routes --------------------------------------------------------------------------------- */

static __always_inline u32 core_log2(u32 value)
{
	u32 log = 0;

	for (u32 step = 16; step; step >>= 1) {
		if (value >> step) {
			value >>= step;
			log += step;
		}
	}
	return log;
}

/* taio_bucket_of(), for a compiler that cannot count leading zeros. */
static __always_inline u32 taio_bucket(u32 load)
{
	u32 log, bucket;

	if (load < 4)
		return load;
	log = core_log2(load);
	bucket = 2 * log + (load >> (log - 1) & 1);
	return bucket > TAIO_BUCKETS - 1 ? TAIO_BUCKETS - 1 : bucket;
}

static __always_inline const u32 *core_words(u32 cell, u32 slot)
{
	struct taio_state *state;

	state = core_at_taio_state((cell & (TAIO_CELLS - 1)) * TAIO_SLOTS +
				   (slot & (TAIO_SLOTS - 1)));
	if (!state || state->owner != *core_generation())
		return 0;
	return state->word;
}

static long core_seed_bucket(u32 bucket, void *arg)
{
	struct taio_route *route = arg;

	bucket = taio_index(bucket, TAIO_BUCKETS);
	if (route->lat->seen[bucket])
		taio_hooks.seed(route, bucket);
	return 0;
}

static __always_inline void core_adopt(struct taio_route *route, struct taio_state *state,
				       u32 generation)
{
	if (route->dev->owner != generation) {
		for (u32 i = 0; i < 8; i++)
			route->dev->state[i] = 0;
		route->dev->owner = generation;
	}
	if (state->owner == generation)
		return;
	for (u32 i = 0; i < TAIO_STATE_WORDS; i++)
		state->word[i] = 0;
	state->owner = generation;
	state->cell = route->cell;
	if (taio_hooks.seed)
		core_loop(TAIO_BUCKETS, core_seed_bucket, route);
}

/* Return: 0, or 1 when that slot is free or makes no sense. */
static __always_inline u32 core_route(struct taio_route *route, u32 cell, u32 slot, u64 now_ns)
{
	struct taio_work *work = core_at_taio_work(0);
	struct taio_state *state;
	struct taio_ctx *ctx;
	u32 context, number, dev;

	cell = taio_index(cell, TAIO_CELLS);
	slot = taio_index(slot, TAIO_SLOTS);
	context = cell / TAIO_CLASSES;
	number = cell * TAIO_SLOTS + slot;
	ctx = core_at_taio_ctx(context);
	if (!ctx || !ctx->key)
		return 1;
	dev = CORE_VOLATILE(u8, ctx->dev[slot]);
	if (!dev || dev > TAIO_DEVICES)
		return 1;
	route->dev = core_at_taio_dev(dev - 1);
	route->lat = core_at_taio_lat(number);
	route->caps = core_at_taio_caps(context * TAIO_SLOTS + slot);
	state = core_at_taio_state(number);
	if (!route->dev || !route->lat || !route->caps || !state || !work)
		return 1;
	route->word = state->word;
	route->scale = &ctx->scale[slot];
	route->common = ctx->common[slot];
	route->memo = work->memo;
	route->cell = cell;
	route->class = cell & (TAIO_CLASSES - 1);
	route->slot = slot;
	route->bytes = taio_class_bytes(route->class);
	route->now_ns = now_ns;
	core_adopt(route, state, *core_generation());
	return 0;
}

/* Marks slots of a cell (a mask) as priced out of date. */
static __always_inline void core_mark(struct taio_work *work, u32 cell, u32 slots)
{
	cell = taio_index(cell, TAIO_CELLS);
	if (!work->slots[cell]) {
		work->list[taio_index(work->first + work->dirty, TAIO_CELLS)] = (u16)cell;
		work->dirty++;
	}
	work->slots[cell] |= (u16)slots;
}

/* What all classes have in common has changed: those that are in use have other prices now. */
static __always_inline void core_mark_classes(struct taio_work *work, u32 cell, u32 slots)
{
	for (u32 class = 0; class < TAIO_CLASSES; class ++) {
		u32 other = taio_index((cell & ~(TAIO_CLASSES - 1U)) + class, TAIO_CELLS);
		struct taio_price *price = core_at_taio_price(other);

		if (price && price->version)
			core_mark(work, other, slots);
	}
}

/* ---- learning ------------------------------------------------------------------------------- */

struct core_drain {
	u64 now_ns;
	u32 first;  /* engine to begin with */
	u32 count;  /* engines */
	u32 engine; /* at hand */
	u32 tail;
	u32 left; /* samples that may still be taken in this tick */
	u32 taken;
};

/* The writer may change a sample while we look at it: look once. */
static __always_inline void core_read(struct taio_sample *s, struct taio_engine *engine, u32 at)
{
	volatile u64 *from = (volatile u64 *)&engine->ring[at & (TAIO_RING - 1)];
	u64 *to = (u64 *)s;

	for (u32 i = 0; i < sizeof(*s) / sizeof(u64); i++)
		to[i] = from[i];
}

static __always_inline u32 core_is_sane(struct taio_sample *s, u64 now_ns)
{
	struct taio_ctx *ctx;

	if (s->cell >= TAIO_CELLS || s->slot >= TAIO_SLOTS || s->bucket >= TAIO_BUCKETS)
		return 0;
	ctx = core_at_taio_ctx(s->cell / TAIO_CLASSES);
	if (!ctx || !ctx->key || s->dev >= TAIO_DEVICES ||
	    ctx->dev[taio_index(s->slot, TAIO_SLOTS)] != s->dev + 1)
		return 0;
	/* also one that began and ended since this tick did */
	if (s->submit_ns > now_ns + CORE_FUTURE_NS ||
	    s->submit_ns + s->ns > now_ns + CORE_FUTURE_NS)
		return 0;
	if (!s->ns)
		s->ns = 1;
	if (s->cpu_ns / TAIO_DEVICES > s->ns) /* more cores than can be */
		s->cpu_ns = 0;
	if (!s->weight)
		s->weight = 1;
	else if (s->weight > CORE_WEIGHT_MAX)
		s->weight = CORE_WEIGHT_MAX;
	return 1;
}

/* After a stall many requests complete late for one reason: only the first may be learnt from.
 * Return: 1: learn from it. */
static __always_inline u32 core_is_news(struct taio_dev *dev, const struct taio_lat *lat,
					const struct taio_sample *s)
{
	u64 end_ns = s->submit_ns + s->ns, since_ns = dev->progress_ns, expected;
	u32 bucket = taio_index(s->bucket, TAIO_BUCKETS);

	if (end_ns > dev->progress_ns)
		dev->progress_ns = end_ns;
	if (!lat->seen[bucket])
		return s->submit_ns >= dev->stall_end_ns;
	if (!s->bucket && s->submit_ns > since_ns) /* it was idle before */
		since_ns = s->submit_ns;
	expected = (u64)lat->ewma_ns[bucket] * s->weight;
	if (end_ns > since_ns && end_ns - since_ns > CORE_STALL * expected) {
		if (end_ns > dev->stall_end_ns)
			dev->stall_end_ns = end_ns;
		return 1;
	}
	return s->submit_ns >= dev->stall_end_ns;
}

/* Return: 1: good news for the policy. */
static __always_inline u32 core_account(struct taio_lat *lat, struct taio_dev *dev,
					const struct taio_sample *s)
{
	u32 bucket = taio_index(s->bucket, TAIO_BUCKETS), *ewma = &lat->ewma_ns[bucket], news;

	lat->dev = s->dev;
	lat->cell = s->cell;
	if (s->flags & TAIO_SAMPLE_ERROR) {
		lat->errors += s->weight;
		dev->errors += s->weight;
		dev->health -= dev->health >> 3;
		return 0;
	}
	dev->steps += s->weight;
	dev->bytes += (u64)s->bytes * s->weight;
	dev->health = dev->health > TAIO_SCALE_ONE
			      ? TAIO_SCALE_ONE
			      : dev->health + ((TAIO_SCALE_ONE - dev->health + 31) >> 5);
	lat->count += s->weight;
	lat->bytes += (u64)s->bytes * s->weight;
	lat->last_ns = s->submit_ns + s->ns;
	lat->hist[taio_index(core_log2(s->ns), TAIO_HIST)] += s->weight;
	if (s->cpu_ns) {
		if (!lat->cpu_ewma_ns)
			lat->cpu_ewma_ns = s->cpu_ns;
		else if (s->cpu_ns > lat->cpu_ewma_ns)
			lat->cpu_ewma_ns += (s->cpu_ns - lat->cpu_ewma_ns) >> 4;
		else
			lat->cpu_ewma_ns -= (lat->cpu_ewma_ns - s->cpu_ns) >> 4;
		lat->cpu_ns += (u64)s->cpu_ns * s->weight;
		lat->count_cpu += s->weight;
		dev->cpu_ns += (u64)s->cpu_ns * s->weight;
	}
	news = core_is_news(dev, lat, s);
	if (news) {
		if (!lat->seen[bucket])
			*ewma = s->ns;
		else if (s->ns > *ewma)
			*ewma += (s->ns - *ewma) >> 3;
		else
			*ewma -= (*ewma - s->ns) >> 3;
		if (lat->seen[bucket] < TAIO_COST_MAX - CORE_WEIGHT_MAX)
			lat->seen[bucket] += s->weight;
	}
	return news;
}

/* The sample at position @at of an engine's ring. Return: 0. */
CORE_GLOBAL int core_learn(u32 number, u32 at, u64 now_ns)
{
	struct taio_engine *engine = core_at_taio_engine(number);
	struct taio_work *work = core_at_taio_work(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);
	struct taio_route route;
	struct taio_sample s;
	struct taio_lat *lat;

	if (!engine || !work || !ctl)
		return 0;
	core_read(&s, engine, at);
	lat = core_at_taio_lat((u32)s.cell * TAIO_SLOTS + s.slot);
	if (!lat || !core_is_sane(&s, now_ns) || core_route(&route, s.cell, s.slot, now_ns)) {
		ctl->refused++;
		return 0;
	}
	ctl->samples += s.weight;
	if (core_account(lat, route.dev, &s) && taio_hooks.completed)
		taio_hooks.completed(&route, &s);
	core_mark(work, s.cell, 1U << taio_index(s.slot, TAIO_SLOTS));
	if (taio_hooks.flags & TAIO_POLICY_COMMON)
		core_mark_classes(work, s.cell, 1U << taio_index(s.slot, TAIO_SLOTS));
	return 0;
}

static long core_drain_sample(u32 index, void *arg)
{
	struct core_drain *drain = arg;

	return core_learn(drain->engine, drain->tail + index, drain->now_ns);
}

static __always_inline void core_add_load(struct taio_work *work, const struct taio_engine *engine,
					  u64 now_ns)
{
	u64 alive_ns = engine->alive_ns;

	if (alive_ns < now_ns && now_ns - alive_ns > CORE_ALIVE_NS)
		return;
	for (u32 i = 0; i < TAIO_DEVICES; i++)
		work->in_flight[i] += engine->in_flight[i];
}

static long core_drain_engine(u32 index, void *arg)
{
	struct core_drain *drain = arg;
	struct taio_work *work = core_at_taio_work(0);
	struct taio_ctl *ctl = core_at_taio_ctl(0);
	struct taio_engine *engine;
	u32 waiting, tail, number = drain->first + index;

	if (number >= drain->count)
		number -= drain->count;
	engine = core_at_taio_engine(number);
	if (!engine || !work || !ctl)
		return 0;
	if (!CORE_VOLATILE(u32, engine->pid))
		return 0;
	core_add_load(work, engine, drain->now_ns);
	tail = engine->tail;
	waiting = CORE_VOLATILE(u32, engine->head) - tail;
	if (!waiting)
		return 0;
	if (waiting > TAIO_RING) { /* not a ring any more: begin anew */
		ctl->refused++;
		engine->tail = tail + waiting;
		return 0;
	}
	if (waiting > drain->left)
		waiting = drain->left;
	/* The samples must not be read before head was: BPF has no load-acquire, but an atomic
	 * operation that returns a value is a full barrier. */
	__sync_fetch_and_add(&engine->tail, 0);
	drain->engine = number;
	drain->tail = tail;
	core_loop(waiting, core_drain_sample, drain);
	drain->left -= waiting;
	drain->taken += waiting;
	__sync_fetch_and_add(&engine->tail, waiting);
	return 0;
}

static __always_inline void core_publish_load(struct taio_work *work)
{
	for (u32 i = 0; i < TAIO_DEVICES; i++) {
		struct taio_dev *dev = core_at_taio_dev(i);

		if (!dev || !dev->hash)
			break; /* places are taken from the front */
		if (dev->in_flight != work->in_flight[i])
			dev->in_flight = work->in_flight[i];
		work->in_flight[i] = 0;
	}
}

#include "core_price.bpf.h"

/* ---- tick and take-over --------------------------------------------------------------------- */

struct core_count {
	u32 engines;
};

static long core_count_engine(u32 index, void *arg)
{
	struct core_count *count = arg;
	struct taio_engine *engine = core_at_taio_engine(index);

	if (!engine)
		return 1;
	if (CORE_VOLATILE(u32, engine->pid))
		count->engines = index + 1;
	return 0;
}

static __always_inline void core_recount(struct taio_ctl *ctl)
{
	struct core_count count = { 0 };

	core_loop(TAIO_ENGINES, core_count_engine, &count);
	ctl->engines = count.engines;
}

/* Return: samples taken. */
static __always_inline u32 core_tick(struct taio_work *work, struct taio_ctl *ctl, u64 now_ns)
{
	struct core_drain drain = { .now_ns = now_ns, .left = CORE_TICK_SAMPLES };
	struct core_pricing pricing = { .now_ns = now_ns };

	if (ctl->ticks % CORE_RECOUNT_TICKS == 0)
		core_recount(ctl);
	drain.count = ctl->engines;
	if (drain.count > TAIO_ENGINES)
		drain.count = TAIO_ENGINES;
	drain.first = work->engine < drain.count ? work->engine : 0;
	core_loop(drain.count, core_drain_engine, &drain);
	work->engine = drain.first + 1;
	core_publish_load(work);
	if (work->dirty)
		core_loop(CORE_TICK_CELLS, core_price_cell, &pricing);
	ctl->repriced += pricing.priced;
	ctl->ticks++;
	ctl->last_tick_ns = now_ns;
	return drain.taken;
}

static long core_reset_context(u32 index, void *arg)
{
	struct taio_ctx *ctx = core_at_taio_ctx(index);
	struct taio_work *work = core_at_taio_work(0);

	(void)arg;
	if (!ctx || !work)
		return 1;
	for (u32 s = 0; s < TAIO_SLOTS; s++)
		ctx->scale[s] = TAIO_SCALE_ONE;
	for (u32 s = 0; s < TAIO_SLOTS; s++)
		ctx->common[s][0] = ctx->common[s][1] = 0;
	if (ctx->key) {
		for (u32 c = 0; c < TAIO_CLASSES; c++)
			core_mark(work, index * TAIO_CLASSES + c, ~0U);
	}
	return 0;
}

/* The policy becomes the one that prices: it starts from taio_lat, and whatever prices are there
 * are made anew before this returns. */
static __always_inline void core_take_over(struct taio_ctl *ctl, u64 now_ns)
{
	struct core_pricing pricing = { .now_ns = now_ns };

	for (u32 i = 0; i < sizeof(ctl->policy); i++)
		ctl->policy[i] = core_name()[i];
	ctl->flags = taio_hooks.flags | (taio_hooks.pick ? TAIO_POLICY_PICKS : 0);
	for (u32 i = 0; i < TAIO_TUNABLES_MAX; i++)
		ctl->tune[i] = core_tune(i);
	ctl->abi = TAIO_POLICY_ABI;
	if (ctl->magic)
		ctl->swaps++;
	ctl->generation++;
	*core_generation() = ctl->generation;
	ctl->magic = TAIO_CTL_MAGIC;
	if (ctl->generation > 1) { /* fresh maps need nothing, and are not even touched */
		core_loop(TAIO_CONTEXTS, core_reset_context, 0);
		core_loop(TAIO_CELLS, core_price_cell, &pricing);
		core_recount(ctl);
	}
	ctl->repriced += pricing.priced;
	ctl->last_tick_ns = now_ns;
}

/* ---- picking -------------------------------------------------------------------------------- */

/* What the engine reckons with where the policy has no price. */
static __always_inline u64 core_published(const struct taio_choice *choice, u32 slot, u32 load)
{
	struct taio_caps *caps = core_at_taio_caps(choice->cell / TAIO_CLASSES * TAIO_SLOTS + slot);
	u32 parallel;
	u64 ns;

	if (!caps)
		return 1;
	ns = caps->base_ns + choice->ask->bytes * caps->ps_per_byte / 1000;
	parallel = caps->parallel ? caps->parallel : 1;
	if (load >= parallel)
		ns += ns * (load - parallel + 1) / parallel;
	return core_limit(ns);
}

/* The least bid wins, the lower slot of equals. The two are one number, of which the verifier knows
 * nothing, while it would follow each slot that a variable can hold by itself. */
static long core_bid_slot(u32 slot, void *arg)
{
	struct taio_choice *choice = arg;
	u64 bid;

	slot = taio_index(slot, TAIO_SLOTS);
	if (!(choice->may >> slot & 1))
		return 0;
	bid = taio_hooks.bid(choice, slot);
	if (bid >= TAIO_BID_MAX)
		return 0;
	bid = bid << 4 | slot;
	if (bid < choice->best)
		choice->best = bid;
	return 0;
}

static __always_inline u32 core_ask(struct taio_choice *choice)
{
	u32 answer = taio_hooks.pick(choice);

	if (answer != TAIO_PICK_BID || !taio_hooks.bid)
		return answer;
	choice->best = TAIO_NO_BID;
	core_loop(core_log2(choice->may | 1) + 1, core_bid_slot, choice);
	return choice->best == TAIO_NO_BID ? TAIO_PICK_PRICE : (u32)choice->best & 15;
}

/* Decides one request of the batch, and counts it as in flight on its device for those that follow.
 * Return: 0. */
CORE_GLOBAL int core_pick(u32 at)
{
	struct taio_batch *batch = core_at_taio_batch(0);
	struct taio_choice choice;
	struct taio_ctx *ctx;
	u32 slot, dev;

	if (!batch || !taio_hooks.pick)
		return 0;
	choice.batch = batch;
	choice.ask = &batch->ask[taio_index(at, TAIO_ASKS)];
	choice.cell = taio_index(CORE_VOLATILE(u16, choice.ask->cell), TAIO_CELLS);
	choice.may = CORE_VOLATILE(u16, choice.ask->may);
	for (u32 i = 0; i < 4; i++)
		choice.memo[i] = 0;
	choice.best = TAIO_NO_BID;
	choice.price = core_at_taio_price(choice.cell);
	choice.ctx = ctx = core_at_taio_ctx(choice.cell / TAIO_CLASSES);
	if (!choice.price || !ctx)
		return 0;
	choice.ask->slot = (u8)core_ask(&choice);
	/* Through memory, so that the verifier does not look at each slot by itself. */
	slot = CORE_VOLATILE(u8, choice.ask->slot);
	if (slot >= TAIO_SLOTS || !(choice.may >> slot & 1))
		return 0;
	dev = CORE_VOLATILE(u8, ctx->dev[taio_index(slot, TAIO_SLOTS)]);
	if (dev && dev <= TAIO_DEVICES) {
		dev = taio_index(dev - 1, TAIO_DEVICES);
		batch->bucket[dev] = (u8)taio_bucket(++batch->load[dev]);
	}
	return 0;
}

static long core_pick_next(u32 index, void *arg)
{
	(void)arg;
	return core_pick(index);
}

static __always_inline void core_pick_batch(struct taio_batch *batch)
{
	u32 count = CORE_VOLATILE(u32, batch->count);

	if (batch->owner != *core_generation()) {
		for (u32 i = 0; i < 16; i++)
			batch->own[i] = 0;
		batch->owner = *core_generation();
	}
	core_loop(count < TAIO_ASKS ? count : TAIO_ASKS, core_pick_next, 0);
}

#ifdef __bpf__
#include "core_kernel.bpf.h"
#else
#include "core_native.h"
#endif

#endif /* TAIO_CORE_BPF_H */
