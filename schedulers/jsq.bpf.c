/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * jsq: join the shortest queue. The candidate with the fewest requests in flight is taken, however
 * fast it is; the engine takes turns among equals. The known baseline (NVMe multipath calls it
 * queue-depth): hard to beat when all devices are alike or saturated, poor when they differ.
 */
#include "policy.bpf.h"

static u64 jsq_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	return (u64)(taio_bucket_load(bucket) + 1) * TAIO_RANK;
}

TAIO_POLICY(jsq, "fewest requests in flight", .price = jsq_price,
	    .flags = TAIO_POLICY_RANKS | TAIO_POLICY_TURNS)
