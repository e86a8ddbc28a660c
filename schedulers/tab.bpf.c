/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * tab: a table of latencies by size class and load, learnt for each candidate. The table follows
 * slowly; a fast factor (taio_ctx.scale) says how the candidate runs just now against its table,
 * so a device that turns slow or fast changes all its prices within some completions and the table
 * keeps what is normal. Needs no hint about parallelism: load is part of the table. The default.
 */
#include "policy.bpf.h"

#define TAB_TUNABLES(T)                                                                         \
	T(memory, 32, 1, 255, "completions", "weight of the past in a table entry")             \
	T(tail_percent, 5, 0, 1000, "%", "share of the excess of the slowest 1 % in the price") \
	T(probe_every, 64, 1, 65535, "own costs", "how long a quiet candidate is left alone")   \
	T(probe_small, 64, 1, 65535, "best costs", "how dear a probe may be, up to 128 KiB")    \
	T(probe_large, 8, 1, 65535, "best costs", "how dear a probe may be, above 128 KiB")
TAIO_TUNABLES(TAB_TUNABLES)

/* State of a route. A value is the latency in ns at that load, at scale 1. */
enum {
	TAB_VALUE = 0,   /* 16 words, by bucket */
	TAB_SEEN = 16,   /* 16 counts of 8 bits in 4 words, by bucket */
	TAB_EXCESS = 20, /* 8 counts: requests that took 1, 2, 3, 4, 6, 8, 16, 32 times the value */
	TAB_TOTAL = 28,  /* sum of those */
	TAB_LOWEST = 29  /* the lowest bucket that something is known about, plus 1; 0: none */
};
#define TAB_SCALE_MIN 256
#define TAB_OUTLIER   8 /* times a value: what a completion beyond that says is left to the tail */
#define TAB_SCALE_MAX 65536

static __always_inline u32 tab_seen(const u32 *word, u32 bucket)
{
	return word[TAB_SEEN + taio_index(bucket >> 2, 4)] >> (bucket & 3) * 8 & 255;
}

static __always_inline void tab_count_seen(u32 *word, u32 bucket, u32 more)
{
	u32 seen = tab_seen(word, bucket);

	if (seen + more <= 255)
		word[TAB_SEEN + taio_index(bucket >> 2, 4)] += more << (bucket & 3) * 8;
	if (!word[TAB_LOWEST] || bucket < word[TAB_LOWEST] - 1)
		word[TAB_LOWEST] = bucket + 1;
}

static __always_inline u32 *tab_value(u32 *word, u32 bucket)
{
	return &word[TAB_VALUE + taio_index(bucket, TAIO_BUCKETS)];
}

static __always_inline u64 tab_published(const struct taio_route *route, u32 class)
{
	return route->caps->base_ns + taio_class_bytes(class) * route->caps->ps_per_byte / 1000;
}

/* What another class of the candidate says about this one: its value, grown or shrunk as the
 * published figures of the two classes do, or a little by distance when nothing is published. */
static __always_inline u32 tab_convert(const struct taio_route *route, u32 class, u64 value)
{
	u64 here = tab_published(route, route->class), there = tab_published(route, class);
	u32 up = route->class - class, down = class - route->class;

	if (there && here <= TAIO_COST_MAX)
		return taio_limit(value * here / there);
	return taio_limit(class < route->class ? value + value * up / 4
					       : value - value * down / (down + 8));
}

/* What route->memo keeps: a value of this class, or guessed from another, and the load where it was
 * learnt. */
enum {
	TAB_KNOWN,
	TAB_LOAD
};

static __always_inline u32 tab_ask(struct taio_route *route, u32 class)
{
	const u32 *word = taio_words(route, class);
	u32 lowest;

	if (!word || !word[TAB_LOWEST])
		return 0;
	lowest = taio_index(word[TAB_LOWEST] - 1, TAIO_BUCKETS);
	route->memo[TAB_KNOWN] = tab_convert(route, class, word[TAB_VALUE + lowest]);
	route->memo[TAB_LOAD] = taio_bucket_load(lowest);
	return 1;
}

static __always_inline void tab_begin(struct taio_route *route)
{
	if (tab_ask(route, route->class))
		return;
	for (u32 n = 1; n < TAIO_CLASSES; n++) { /* the nearest class, the smaller one first */
		if (route->class >= n && tab_ask(route, route->class - n))
			return;
		if (route->class + n < TAIO_CLASSES && tab_ask(route, route->class + n))
			return;
	}
}

static u64 tab_price(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket), *memo = route->memo;

	if (bucket == 0) {
		memo[TAB_KNOWN] = 0;
		tab_begin(route);
	}
	if (!memo[TAB_KNOWN])
		return taio_published_ns(route, load);
	if (tab_seen(route->word, bucket)) {
		memo[TAB_KNOWN] = *tab_value(route->word, bucket);
		memo[TAB_LOAD] = load;
	}
	if (load <= memo[TAB_LOAD])
		return memo[TAB_KNOWN];
	/* Half of what a device without any parallelism would need. */
	return memo[TAB_KNOWN] +
	       (u64)(memo[TAB_KNOWN] / (2 * (memo[TAB_LOAD] + 1))) * (load - memo[TAB_LOAD]);
}

/* Excess of the slowest 1 % over the value. */
static u32 tab_tail(struct taio_route *route)
{
	u32 above = 0, at = 0, times;

	for (u32 i = 7; i > 0; i--) {
		above += route->word[TAB_EXCESS + i];
		if (!at && above * 100 > route->word[TAB_TOTAL])
			at = i;
	}
	times = at < 4 ? at + 1 : at == 4 ? 6 : 1U << taio_index(at - 2, 8);
	return (times - 1) * TAIO_SCALE_ONE * tune(tail_percent) / 100;
}

/* The scale follows what was measured against the table, fast when they differ by two. */
static __always_inline u32 tab_rescale(u32 scale, u64 ns, u32 value)
{
	u64 ratio = ns * TAIO_SCALE_ONE / (value ? value : 1);
	u32 r = ratio > 4 * scale ? 4 * scale : ratio < scale / 4 ? scale / 4 : (u32)ratio;

	taio_follow(&scale, r, r > 2 * scale || r < scale / 2 ? 4 : 16);
	return scale < TAB_SCALE_MIN   ? TAB_SCALE_MIN
	       : scale > TAB_SCALE_MAX ? TAB_SCALE_MAX
				       : scale;
}

static __always_inline void tab_count_excess(u32 *word, u32 ns, u32 value)
{
	u32 times = ns / (value ? value : 1), i;

	i = times < 2    ? 0
	    : times < 5  ? times - 1
	    : times < 6  ? 3
	    : times < 8  ? 4
	    : times < 16 ? 5
	    : times < 32 ? 6
			 : 7;
	word[TAB_EXCESS + taio_index(i, 8)]++;
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
	u32 *value = tab_value(route->word, s->bucket), seen = tab_seen(route->word, s->bucket);
	u32 scale = *route->scale, normal;

	if (scale < TAB_SCALE_MIN || scale > TAB_SCALE_MAX)
		scale = TAIO_SCALE_ONE;
	if (seen)
		scale = tab_rescale(scale, s->ns, *value);
	*route->scale = scale;
	normal = taio_limit((u64)s->ns * TAIO_SCALE_ONE / scale);
	if (seen) {
		tab_count_excess(route->word, normal, *value);
		/* One request that sat out a stall of 500 times its time would make this load of
		 * the device too dear for as long as it took to forget it, which is long where
		 * few requests go. A device that did get slower shows in its scale. */
		if (normal / TAB_OUTLIER > *value)
			normal = *value * TAB_OUTLIER;
		taio_follow(value, normal, seen < tune(memory) ? seen + 1 : tune(memory));
	} else {
		*value = normal;
	}
	tab_count_seen(route->word, s->bucket, 1);
}

/* After a swap: begin with what the core measured. */
static void tab_seed(struct taio_route *route, u32 bucket)
{
	u32 seen = route->lat->seen[bucket];

	*tab_value(route->word, bucket) = route->lat->ewma_ns[bucket];
	tab_count_seen(route->word, bucket, seen < 8 ? seen : 8);
}

static u32 tab_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	u32 times = route->class <= 7 ? tune(probe_small) : tune(probe_large);
	u64 last_ns = route->lat->last_ns;

	return own_ns <= times * best_ns &&
	       (last_ns > route->now_ns || route->now_ns - last_ns > tune(probe_every) * own_ns);
}

TAIO_POLICY(tab, "latency by size class and load, learnt", .seed = tab_seed,
	    .completed = tab_completed, .price = tab_price, .tail = tab_tail, .probe = tab_probe)
