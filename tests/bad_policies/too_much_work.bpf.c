/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* too_much_work: a loop that ends, but not before the verifier has lost patience. It refuses it. */
#include "policy.bpf.h"

static u64 too_much_work_price(struct taio_route *route, u32 bucket)
{
	u64 cost = bucket;

	for (u32 i = 0; i < 2000000; i++) {
		if (cost & 1)
			cost += route->bytes;
		cost = cost >> 1 ^ i;
		__asm__ volatile("" : "+r"(cost));
	}
	return cost;
}

TAIO_POLICY(too_much_work, "counts to two million for each price", .price = too_much_work_price)
