/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* slow_price: takes its time for each price, as much as the verifier lets it. Runs. */
#include "policy.bpf.h"

static u64 slow_price_price(struct taio_route *route, u32 bucket)
{
	u64 cost = taio_published_ns(route, taio_bucket_load(bucket)), waste = cost;

	for (u32 i = 0; i < 500; i++)
		__asm__ volatile("%0 += 1" : "+r"(waste));
	return cost + (waste == 0);
}

TAIO_POLICY(slow_price, "published figures, slowly", .price = slow_price_price)
