/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * table.bpf.h: the table of latencies by size class and load that `tab` is made of, for policies
 * that add a hook to it. Such a policy may define TABLE_MORE_TUNABLES(T) before it includes this
 * file, and names the hooks table_seed, table_completed, table_price, table_tail and table_probe.
 */
#ifndef TAIO_TABLE_BPF_H
#define TAIO_TABLE_BPF_H

#include "policy.bpf.h"

#ifndef TABLE_MORE_TUNABLES
#define TABLE_MORE_TUNABLES(T)
#endif

#define TABLE_TUNABLES(T)                                                                        \
	T(memory, 32, 1, 255, "completions", "weight of the past in a table entry")              \
	T(tail_percent, 25, 0, 1000, "%", "share of the excess of the slowest 1 % in the price") \
	T(probe_every, 64, 1, 65535, "own costs", "how long a quiet candidate is left alone")    \
	T(probe_small, 64, 1, 65535, "best costs", "how dear a probe may be, up to 128 KiB")     \
	T(probe_large, 8, 1, 65535, "best costs", "how dear a probe may be, above 128 KiB")      \
	TABLE_MORE_TUNABLES(T)
TAIO_TUNABLES(TABLE_TUNABLES)

#define TABLE_SCALE_MIN 256
#define TABLE_OUTLIER   8 /* times a value: what a completion beyond that says is left to the tail */
#define TABLE_CORRECT   8        /* weight of a value that is above that of a higher load */
#define TABLE_QUIET_NS  16000000 /* a candidate that turned slow is left alone for that at most */

/* State of a route. A value is the latency in ns at that load, at scale 1. */
enum {
	TABLE_VALUE = 0, /* 16 words, by bucket */
	TABLE_SEEN = 16, /* 16 counts of 8 bits in 4 words, by bucket */
	TABLE_EXCESS =
		20, /* 8 counts: requests that took 1, 2, 3, 4, 6, 8, 16, 32 times the value */
	TABLE_TOTAL = 28, /* sum of those */
	TABLE_LOWEST = 29 /* the lowest bucket that something is known about, plus 1; 0: none */
};

static __always_inline u32 table_seen(const u32 *word, u32 bucket)
{
	return word[TABLE_SEEN + taio_index(bucket >> 2, 4)] >> (bucket & 3) * 8 & 255;
}

static __always_inline void table_count_seen(u32 *word, u32 bucket, u32 more)
{
	u32 seen = table_seen(word, bucket);

	if (seen + more <= 255)
		word[TABLE_SEEN + taio_index(bucket >> 2, 4)] += more << (bucket & 3) * 8;
	if (!word[TABLE_LOWEST] || bucket < word[TABLE_LOWEST] - 1)
		word[TABLE_LOWEST] = bucket + 1;
}

static __always_inline u32 *table_value(u32 *word, u32 bucket)
{
	return &word[TABLE_VALUE + taio_index(bucket, TAIO_BUCKETS)];
}

/* What route->memo keeps: a value of this class, or guessed from another, and the load where it was
 * learnt. */
enum {
	TABLE_KNOWN,
	TABLE_LOAD
};

static __always_inline u32 table_ask(struct taio_route *route, u32 class)
{
	const u32 *word = taio_words(route, class);
	u32 lowest;

	if (!word || !word[TABLE_LOWEST])
		return 0;
	lowest = taio_index(word[TABLE_LOWEST] - 1, TAIO_BUCKETS);
	route->memo[TABLE_KNOWN] = taio_convert(route, class, word[TABLE_VALUE + lowest]);
	route->memo[TABLE_LOAD] = taio_bucket_load(lowest);
	return 1;
}

static __always_inline void table_begin(struct taio_route *route)
{
	if (table_ask(route, route->class))
		return;
	for (u32 n = 1; n < TAIO_CLASSES; n++) { /* the nearest class, the smaller one first */
		if (route->class >= n && table_ask(route, route->class - n))
			return;
		if (route->class + n < TAIO_CLASSES && table_ask(route, route->class + n))
			return;
	}
}

static u64 table_price(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket), *memo = route->memo;

	if (bucket == 0) {
		memo[TABLE_KNOWN] = 0;
		table_begin(route);
	}
	if (!memo[TABLE_KNOWN])
		return taio_published_ns(route, load);
	if (table_seen(route->word, bucket)) {
		memo[TABLE_KNOWN] = *table_value(route->word, bucket);
		memo[TABLE_LOAD] = load;
	}
	if (load <= memo[TABLE_LOAD])
		return memo[TABLE_KNOWN];
	/* Half of what a device without any parallelism would need. */
	return memo[TABLE_KNOWN] +
	       (u64)(memo[TABLE_KNOWN] / (2 * (memo[TABLE_LOAD] + 1))) * (load - memo[TABLE_LOAD]);
}

/* Excess of the slowest 1 % over the value. One request alone is no share of anything: charged for
 * it, a route that is used seldom would never get the hundred requests that put it right. */
static u32 table_tail(struct taio_route *route)
{
	u32 above = 0, at = 0, times;

	for (u32 i = 7; i > 0; i--) {
		above += route->word[TABLE_EXCESS + i];
		if (!at && above > 1 && (above - 1) * 100 > route->word[TABLE_TOTAL])
			at = i;
	}
	times = at < 4 ? at + 1 : at == 4 ? 6 : 1U << taio_index(at - 2, 8);
	return (times - 1) * TAIO_SCALE_ONE * tune(tail_percent) / 100;
}

static __always_inline void table_count_excess(u32 *word, u32 ns, u32 value)
{
	u32 times = ns / (value ? value : 1), i;

	i = times < 2    ? 0
	    : times < 5  ? times - 1
	    : times < 6  ? 3
	    : times < 8  ? 4
	    : times < 16 ? 5
	    : times < 32 ? 6
			 : 7;
	word[TABLE_EXCESS + taio_index(i, 8)]++;
	if (++word[TABLE_TOTAL] < 512)
		return;
	word[TABLE_TOTAL] = 0;
	for (u32 k = 0; k < 8; k++) {
		word[TABLE_EXCESS + k] >>= 1;
		word[TABLE_TOTAL] += word[TABLE_EXCESS + k];
	}
}

/* Less load never takes longer: a value for the next lower load that says so comes from few requests,
 * and would keep away those that could put it right. */
static __always_inline void table_correct_lower(u32 *word, u32 bucket)
{
	u32 value = *table_value(word, bucket), *lower;

	if (!bucket || !table_seen(word, bucket - 1))
		return;
	lower = table_value(word, bucket - 1);
	if (*lower > value)
		taio_follow(lower, value, TABLE_CORRECT);
}

static void table_completed(struct taio_route *route, const struct taio_sample *s)
{
	u32 *value = table_value(route->word, s->bucket), seen = table_seen(route->word, s->bucket);
	u32 normal = taio_rescale(route, s->ns, seen ? *value : 0, TABLE_SCALE_MIN);

	if (seen) {
		table_count_excess(route->word, normal, *value);
		/* One request that sat out a stall of 500 times its time would make this load of
		 * the device too dear for as long as it took to forget it, which is long where
		 * few requests go. A device that did get slower shows in its scale. */
		if (normal / TABLE_OUTLIER > *value)
			normal = *value * TABLE_OUTLIER;
		taio_follow(value, normal, seen < tune(memory) ? seen + 1 : tune(memory));
	} else {
		*value = normal;
	}
	table_count_seen(route->word, s->bucket, 1);
	table_correct_lower(route->word, s->bucket);
}

/* After a swap: begin with what the core measured. */
static void table_seed(struct taio_route *route, u32 bucket)
{
	u32 seen = route->lat->seen[bucket];

	*table_value(route->word, bucket) = route->lat->ewma_ns[bucket];
	table_count_seen(route->word, bucket, seen < 8 ? seen : 8);
}

/* A candidate that runs slower just now than it used to is likely to be as good again: it may be
 * tried however dear that makes it, and before long. */
static u32 table_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	u32 small = route->class <= 7 || *route->scale > 2 * TAIO_SCALE_ONE;
	u64 last_ns = route->lat->last_ns;

	if (taio_is_quiet(route, own_ns, best_ns, small ? tune(probe_small) : tune(probe_large),
			  tune(probe_every)))
		return 1;
	return *route->scale > 2 * TAIO_SCALE_ONE && own_ns <= tune(probe_small) * best_ns &&
	       route->now_ns > last_ns && route->now_ns - last_ns > TABLE_QUIET_NS;
}

#endif /* TAIO_TABLE_BPF_H */
