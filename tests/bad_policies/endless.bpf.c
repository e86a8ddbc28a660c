/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* endless: a loop whose end depends on what is in a map. The verifier refuses it. */
#include "policy.bpf.h"

static u64 endless_price(struct taio_route *route, u32 bucket)
{
	u64 cost = bucket;

	for (u64 i = 0; i < route->lat->count; i++)
		cost += cost >> (i & 7);
	return cost;
}

TAIO_POLICY(endless, "loops for as long as it likes", .price = endless_price)
