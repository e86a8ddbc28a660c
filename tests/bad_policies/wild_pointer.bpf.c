/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* wild_pointer: reads where a number points to. The verifier refuses it. */
#include "policy.bpf.h"

static u64 wild_pointer_price(struct taio_route *route, u32 bucket)
{
	return *(const u32 *)(unsigned long)(route->now_ns + bucket);
}

TAIO_POLICY(wild_pointer, "reads where a number points to", .price = wild_pointer_price)
