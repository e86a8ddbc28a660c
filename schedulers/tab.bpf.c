/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * tab: a table of latencies by size class and load, learnt for each candidate. The table follows
 * slowly; a fast factor (taio_ctx.scale) says how the candidate runs just now against its table,
 * so a device that turns slow or fast changes all its prices within some completions and the table
 * keeps what is normal. Needs no hint about parallelism: load is part of the table. The default.
 */
#include "policy.bpf.h"

#define TAB_TUNABLES(T)                                                                        \
	T(memory, 32, 1, 255, "completions", "weight of the past in a table entry")            \
	T(tail_percent, 10, 0, 1000, "%", "share of the slowest 1 % in a latency price")       \
	T(probe_every, 64, 1, 65535, "own cost", "an idle candidate may be tried this seldom") \
	T(probe_small, 64, 1, 65535, "best cost", "... if it is not dearer, up to 64 KiB")     \
	T(probe_large, 8, 1, 65535, "best cost", "... if it is not dearer, above 64 KiB")
TAIO_TUNABLES(TAB_TUNABLES)

/* State of a route. A value is the latency in ns at that load, at scale 1. */
enum {
	TAB_VALUE = 0, /* 16 words */
	TAB_SEEN = 16, /* 16 counts of 8 bits in 4 words */
	TAB_EXCESS =
		20, /* 8 words: how often a request took 1, 2, 3, 4, 6, 8, 16, 32 times its value */
	TAB_TOTAL = 28, /* sum of those */
	TAB_CPU = 29    /* processor time of a request, ns; 0: never measured */
};
#define TAB_NONE      TAIO_BUCKETS
#define TAB_SCALE_MIN 256
#define TAB_SCALE_MAX 65536

static __always_inline u32 tab_seen(const u32 *word, u32 b)
{
	return word[TAB_SEEN + (b >> 2 & 3)] >> (b & 3) * 8 & 255;
}

static __always_inline void tab_set_seen(u32 *word, u32 b, u32 seen)
{
	u32 shift = (b & 3) * 8, *at = &word[TAB_SEEN + (b >> 2 & 3)];

	*at = (*at & ~(255U << shift)) | seen << shift;
}

/* The lowest load that something is known about; TAB_NONE. */
static __always_inline u32 tab_lowest(const u32 *word)
{
	for (u32 b = 0; b < TAIO_BUCKETS; b++)
		if (tab_seen(word, b))
			return b;
	return TAB_NONE;
}

static __always_inline u64 tab_published(const struct taio_route *route, u32 class)
{
	u64 bytes = class ? 768ULL << (class & 15) : 512;

	return route->caps->base_ns + bytes * route->caps->ps_per_byte / 1000;
}

/* What another class of the candidate says about this one: its value, grown or shrunk as the
 * published figures of the two classes do, or a little by distance when nothing is published. */
static __always_inline u32 tab_convert(const struct taio_route *route, u32 class, u32 value)
{
	u64 here = tab_published(route, route->class), there = tab_published(route, class);

	if (there && here <= TAIO_COST_MAX)
		return taio_limit(value * here / there);
	if (class < route->class)
		return taio_limit(value + (u64)value * (route->class - class) / 4);
	return taio_limit(value - (u64)value * (class - route->class) / (class - route->class + 8));
}

struct tab_guess {
	u32 value, load; /* value 0: nothing is known about any class */
};

static __noinline int tab_ask(const struct taio_route *route, u32 class, struct tab_guess *guess)
{
	const u32 *word = taio_words(route, class);
	u32 b;

	if (!word)
		return 0;
	b = tab_lowest(word);
	if (b >= TAIO_BUCKETS)
		return 0;
	guess->value = tab_convert(route, class & 15, word[TAB_VALUE + (b & 15)]);
	guess->load = taio_bucket_load(b);
	return 1;
}

/* The nearest class that knows something, the smaller one first. */
static __always_inline void tab_guess(const struct taio_route *route, struct tab_guess *guess)
{
	for (u32 n = 1; n < TAIO_CLASSES; n++) {
		if (route->class >= n && tab_ask(route, route->class - n, guess))
			return;
		if (route->class + n < TAIO_CLASSES && tab_ask(route, route->class + n, guess))
			return;
	}
}

/* Excess of the slowest 1 % over the value, in quarters of the value. */
static __always_inline u32 tab_tail(const u32 *word)
{
	u32 above = 0, total = word[TAB_TOTAL];

	for (u32 i = 7; i > 0; i--) {
		above += word[TAB_EXCESS + i];
		if (above * 100 > total)
			return i < 4 ? i * 4 : i == 4 ? 20 : i == 5 ? 28 : i == 6 ? 60 : 124;
	}
	return 0;
}

static void tab_price(struct taio_route *route, struct taio_cost *cost)
{
	const u32 *word = route->word;
	struct tab_guess known = { 0, 0 };
	u32 lowest = tab_lowest(word), tail;

	if (lowest < TAIO_BUCKETS) /* below the first known load it is no slower than there */
		known.value = word[TAB_VALUE + (lowest & 15)],
		known.load = taio_bucket_load(lowest);
	else
		tab_guess(route, &known);
	for (u32 b = 0; b < TAIO_BUCKETS; b++) {
		u32 load = taio_bucket_load(b);
		u64 value = known.value;

		if (!known.value) {
			value = taio_published_ns(route, load);
		} else if (tab_seen(word, b)) {
			value = known.value = word[TAB_VALUE + b];
			known.load = load;
		} else if (load > known.load) {
			value += (u64)(known.value / (2 * (known.load + 1))) * (load - known.load);
		}
		cost->latency[b] = taio_limit(value);
	}
	taio_price_goals(route, cost, word[TAB_CPU]);
	tail = tab_tail(word) * tune(tail_percent);
	if (tail) {
		for (u32 b = 0; b < TAIO_BUCKETS; b++)
			cost->latency[b] =
				taio_limit(cost->latency[b] + (u64)cost->latency[b] * tail / 400);
	}
}

/* The scale follows what was measured against the table: fast when they differ by two. */
static __always_inline u32 tab_rescale(u32 scale, u32 ns, u32 value)
{
	u64 ratio = (u64)ns * TAIO_SCALE_ONE / (value ? value : 1);
	u32 r = ratio > 4 * scale ? 4 * scale : ratio < scale / 4 ? scale / 4 : (u32)ratio;

	taio_follow(&scale, r, r > 2 * scale || r < scale / 2 ? 4 : 16);
	return scale < TAB_SCALE_MIN   ? TAB_SCALE_MIN
	       : scale > TAB_SCALE_MAX ? TAB_SCALE_MAX
				       : scale;
}

static __always_inline void tab_count_excess(u32 *word, u32 ns, u32 value)
{
	u32 times = value ? ns / value : 1, i;

	i = times < 2    ? 0
	    : times < 5  ? times - 1
	    : times < 6  ? 3
	    : times < 8  ? 4
	    : times < 16 ? 5
	    : times < 32 ? 6
			 : 7;
	word[TAB_EXCESS + (i & 7)]++;
	if (++word[TAB_TOTAL] < 512)
		return;
	word[TAB_TOTAL] = 0;
	for (u32 k = 0; k < 8; k++) {
		word[TAB_EXCESS + k] >>= 1;
		word[TAB_TOTAL] += word[TAB_EXCESS + k];
	}
}

static void tab_completed(struct taio_route *route, const struct taio_sample *s)
{
	u32 b = s->bucket & (TAIO_BUCKETS - 1), *word = route->word, *value = &word[TAB_VALUE + b];
	u32 scale = *route->scale, seen = tab_seen(word, b), normal;
	u64 y;

	if (scale < TAB_SCALE_MIN || scale > TAB_SCALE_MAX)
		scale = TAIO_SCALE_ONE;
	if (seen)
		scale = tab_rescale(scale, s->ns, *value);
	*route->scale = scale;
	y = (u64)s->ns * TAIO_SCALE_ONE / scale;
	normal = taio_limit(y);
	if (seen) {
		tab_count_excess(word, normal, *value);
		taio_follow(value, normal, seen < tune(memory) ? seen + 1 : tune(memory));
	} else {
		*value = normal;
	}
	if (seen < 255)
		tab_set_seen(word, b, seen + 1);
	if (s->cpu_ns) {
		if (word[TAB_CPU])
			taio_follow(&word[TAB_CPU], s->cpu_ns, 16);
		else
			word[TAB_CPU] = s->cpu_ns;
	}
}

/* After a swap: begin with what the core measured. */
static void tab_init(struct taio_route *route)
{
	for (u32 b = 0; b < TAIO_BUCKETS; b++) {
		if (!route->lat->seen[b])
			continue;
		route->word[TAB_VALUE + b] = route->lat->ewma_ns[b];
		tab_set_seen(route->word, b, route->lat->seen[b] < 8 ? route->lat->seen[b] : 8);
	}
	if (route->lat->count_cpu)
		route->word[TAB_CPU] = taio_limit(route->lat->cpu_ns / route->lat->count_cpu);
}

static u32 tab_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	u32 times = route->class <= 7 ? tune(probe_small) : tune(probe_large);
	u64 last_ns = route->lat->last_ns;

	return own_ns <= times * best_ns &&
	       (last_ns > route->now_ns || route->now_ns - last_ns > tune(probe_every) * own_ns);
}

TAIO_POLICY(tab, "latency by size class and load, learnt", .init = tab_init,
	    .completed = tab_completed, .price = tab_price, .probe = tab_probe)
