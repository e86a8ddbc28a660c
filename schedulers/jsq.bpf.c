/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * jsq: join the shortest queue. The candidate with the fewest requests in flight is taken, however
 * fast it is; the engine takes turns among equals. The known baseline (NVMe multipath calls it
 * queue-depth): hard to beat when all devices are alike or saturated, poor when they differ.
 */
#include "policy.bpf.h"

static void jsq_price(struct taio_route *route, struct taio_cost *cost)
{
	(void)route;
	for (u32 b = 0; b < TAIO_BUCKETS; b++) {
		/* Ranks, not times; so large that the engine's noise terms do not reorder them. */
		u32 rank = (taio_bucket_load(b) + 1) << 20;

		cost->latency[b] = rank;
		cost->throughput[b] = rank;
		cost->cpu[b] = rank;
	}
}

TAIO_POLICY(jsq, "fewest requests in flight", .price = jsq_price, .flags = TAIO_POLICY_RANKS)
