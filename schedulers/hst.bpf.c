/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * hst: historical service time, the idea of the path selector of dm-multipath with that name. One
 * service time for each candidate, whatever the size: from the later of submission and previous
 * completion to the completion, so that waiting in the queue is not counted. A long one replaces
 * more of the past than a short one. The price is that time for each request in the queue.
 */
#include "policy.bpf.h"

#define HST_TUNABLES(T)                                                                         \
	T(base_weight, 972, 1, 1023, "1/1024", "weight of the past; once more for every 17 ms") \
	T(stale_after, 64, 1, 65535, "own costs", "how long a quiet candidate is left alone")
TAIO_TUNABLES(HST_TUNABLES)

enum {
	HST_TIME,  /* service time, 1/1024 ns */
	HST_FINISH /* of the last request, ns */
};
#define HST_SHIFT   24 /* 2^24 ns are some 17 ms */
#define HST_WEIGHTS 64

/* Weight of the past against a service time: base_weight to the power of 1 + its steps of 17 ms. */
static __always_inline u32 hst_weight(u64 ns)
{
	u32 steps = (u32)(ns >> HST_SHIFT), weight = tune(base_weight);

	for (u32 i = 0; i < HST_WEIGHTS; i++) {
		if (i >= steps)
			break;
		weight = weight * tune(base_weight) >> 10;
	}
	return weight;
}

static __always_inline u64 hst_limit(u64 time)
{
	return time > (u64)TAIO_COST_MAX << 10 ? (u64)TAIO_COST_MAX << 10 : time;
}

static void hst_completed(struct taio_route *route, const struct taio_sample *s)
{
	u64 end_ns = s->submit_ns + s->ns, start_ns = s->submit_ns, ns, weight;
	u64 *time = &route->common[HST_TIME], *finish = &route->common[HST_FINISH];

	if (*finish > route->now_ns) /* taio_ctx may hold anything */
		*finish = 0;
	if (*finish > start_ns)
		start_ns = *finish < end_ns ? *finish : end_ns;
	if (end_ns > *finish)
		*finish = end_ns;
	ns = end_ns - start_ns;
	weight = *time ? hst_weight(ns) : 0;
	*time = hst_limit((hst_limit(*time) * weight + (ns << 10) * (1024 - weight)) >> 10);
	if (!*time)
		*time = 1;
}

static u64 hst_price(struct taio_route *route, u32 bucket)
{
	u64 ns = hst_limit(route->common[HST_TIME]) >> 10;

	return (ns ? ns : 1) * (taio_bucket_load(bucket) + 1);
}

static void hst_seed(struct taio_route *route, u32 bucket)
{
	if (!route->common[HST_TIME])
		route->common[HST_TIME] = (u64)route->lat->ewma_ns[bucket] << 10;
}

/* A stale and idle candidate is tried once, whatever it cost when last seen. */
static u32 hst_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	return taio_is_quiet(route, own_ns, best_ns, 65535, tune(stale_after));
}

TAIO_POLICY(hst, "historical service time, times the queue", .seed = hst_seed,
	    .completed = hst_completed, .price = hst_price, .probe = hst_probe,
	    .flags = TAIO_POLICY_COMMON)
