/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * static: trusts what drivers publish. A request costs its base time and its bytes; beyond the
 * device's parallelism it waits in turn. It never learns: for tests, for comparison, and where
 * repeatable choices matter more than fast ones.
 */
#include "policy.bpf.h"

static void static_price(struct taio_route *route, struct taio_cost *cost)
{
	for (u32 b = 0; b < TAIO_BUCKETS; b++)
		cost->latency[b] = taio_published_ns(route, taio_bucket_load(b));
	taio_price_goals(route, cost, 0);
}

TAIO_POLICY(static, "published speeds and parallelism, never learns", .price = static_price)
