/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * class: the policy to read first. For each candidate and size class it learns one number, what a
 * request takes for each one in the queue, and charges that number times the queue. What makes it
 * good nevertheless it shares with all others: the engine counts requests in flight, sees stalls
 * and keeps failing devices away.
 */
#include "policy.bpf.h"

/* Knobs: name, default, least, most, unit, text. `taio policy swap class memory=8` turns one. */
#define CLASS_TUNABLES(T)                                           \
	T(memory, 16, 1, 1024, "completions", "weight of the past") \
	T(probe_every, 64, 1, 65535, "own costs", "how long a quiet candidate is left alone")
TAIO_TUNABLES(CLASS_TUNABLES)

/* A route is a candidate device for one size class; word[] is ours, and all zero at first. */
enum {
	CLASS_EACH, /* ns for each request in the queue; 0: never seen */
	CLASS_SCALE_MIN = 256
};

/* A request completed. s->bucket is the load that it met. */
static void class_completed(struct taio_route *route, const struct taio_sample *s)
{
	u32 *each = &route->word[CLASS_EACH], queue = taio_bucket_load(s->bucket) + 1, ns;

	/* A device that is slow just now changes its scale, at once and for all sizes, and what is
	 * learnt is what it would have taken at its usual speed. */
	ns = taio_rescale(route, s->ns, (u64)*each * queue, CLASS_SCALE_MIN) / queue;
	if (*each)
		taio_follow(each, ns, tune(memory)); /* by 1/memory of the distance */
	else
		*each = ns;
}

/* What would one more request take with that many in flight? The core asks for all loads after
 * completed(), and makes the prices of all goals from the answers. */
static u64 class_price(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket);

	if (!route->word[CLASS_EACH])
		return taio_published_ns(route, load); /* what the driver says of itself */
	return (u64)route->word[CLASS_EACH] * (load + 1);
}

/* Another policy ran before and measured this at that load: a better start than nothing. */
static void class_seed(struct taio_route *route, u32 bucket)
{
	if (!route->word[CLASS_EACH])
		route->word[CLASS_EACH] =
			route->lat->ewma_ns[bucket] / (taio_bucket_load(bucket) + 1);
}

/* An idle candidate that looks dearer than the best: may it be tried, to see whether it still is? */
static u32 class_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	return taio_is_quiet(route, own_ns, best_ns, 64, tune(probe_every));
}

TAIO_POLICY(class, "one learnt time for each size class, times the queue", .seed = class_seed,
	    .completed = class_completed, .price = class_price, .probe = class_probe)
