/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * peak: Peak-EWMA, as Finagle has it. One figure for each candidate, the time of a request whatever
 * its size: it jumps to each new peak and decays towards what comes after with a time constant,
 * also while nothing comes. The price is that figure times the requests that would be there.
 */
#include "policy.bpf.h"

#define PEAK_TUNABLES(T) T(decay_us, 10000, 10, 10000000, "us", "time constant of the decay")
TAIO_TUNABLES(PEAK_TUNABLES)

enum {
	PEAK_COST,
	PEAK_STAMP /* when it was that, ns */
};
#define PEAK_UNKNOWN_NS 1000000000 /* of a candidate whose first request is still on its way */
#define PEAK_LOG2_E     94548      /* log2(e) * 65536 */

/* @cost after @ns of decay: cost * exp(-ns / tau), the exponential in straight pieces between
 * powers of two. */
static __always_inline u64 peak_decay(u64 cost, u64 ns)
{
	u64 tau_ns = (u64)tune(decay_us) * 1000, steps;

	if (!tau_ns || ns >= 32 * tau_ns)
		return 0;
	steps = ns * PEAK_LOG2_E / tau_ns; /* halvings * 65536 */
	return (cost * (65536 - (steps & 65535) / 2) >> 16) >> (steps >> 16 & 63);
}

/* The cost as it is at @now_ns; taio_ctx may hold anything, so it is limited. */
static __always_inline u64 peak_cost(const u64 *common, u64 now_ns)
{
	u64 cost = common[PEAK_COST], stamp_ns = common[PEAK_STAMP];

	if (cost > TAIO_COST_MAX)
		cost = TAIO_COST_MAX;
	return now_ns > stamp_ns ? peak_decay(cost, now_ns - stamp_ns) : cost;
}

static void peak_completed(struct taio_route *route, const struct taio_sample *s)
{
	u64 end_ns = s->submit_ns + s->ns, cost = peak_cost(route->common, end_ns);
	u64 before = route->common[PEAK_COST];

	if (before > TAIO_COST_MAX)
		before = TAIO_COST_MAX;
	if (s->ns >= cost)
		cost = s->ns;
	else /* it takes the room of what decayed */
		cost += (before - cost) * s->ns / before;
	route->common[PEAK_COST] = cost;
	if (end_ns > route->common[PEAK_STAMP] || route->common[PEAK_STAMP] > route->now_ns)
		route->common[PEAK_STAMP] = end_ns;
}

static u64 peak_price(struct taio_route *route, u32 bucket)
{
	u32 load = taio_bucket_load(bucket);

	if (bucket == 0)
		route->memo[0] = (u32)peak_cost(route->common, route->now_ns);
	if (route->memo[0])
		return (u64)route->memo[0] * (load + 1);
	return load ? PEAK_UNKNOWN_NS + load : 1;
}

static void peak_seed(struct taio_route *route, u32 bucket)
{
	if (route->common[PEAK_COST])
		return;
	route->common[PEAK_COST] = route->lat->ewma_ns[bucket];
	route->common[PEAK_STAMP] = route->lat->last_ns;
}

TAIO_POLICY(peak, "Peak-EWMA: latest peak of the time, decaying, times the queue",
	    .seed = peak_seed, .completed = peak_completed, .price = peak_price,
	    .flags = TAIO_POLICY_COMMON)
