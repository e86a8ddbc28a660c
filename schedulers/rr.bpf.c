/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * rr: round-robin. All candidates cost the same at every load, so the engine takes turns among
 * them; who is full or in quarantine misses its turn. For devices that are alike.
 */
#include "policy.bpf.h"

static u64 rr_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return TAIO_RANK;
}

TAIO_POLICY(rr, "each candidate in turn", .price = rr_price,
	    .flags = TAIO_POLICY_RANKS | TAIO_POLICY_TURNS)
