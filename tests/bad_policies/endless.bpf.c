/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* endless: waits for somebody else to end its loop. The verifier refuses it. */
#include "policy.bpf.h"

static u64 endless_price(struct taio_route *route, u32 bucket)
{
	u64 cost = taio_bucket_load(bucket);

	while (CORE_VOLATILE(const u64, route->lat->count))
		__asm__ volatile("");
	return cost;
}

TAIO_POLICY(endless, "loops for as long as it likes", .price = endless_price)
