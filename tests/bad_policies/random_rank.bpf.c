/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* random_rank: dice, and says that its prices only rank, so that nobody takes them at their word.
 * Runs; the watchdog replaces it only where that costs much. */
#include "policy.bpf.h"

static u64 random_rank_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return bpf_get_prandom_u32();
}

TAIO_POLICY(random_rank, "dice that only rank", .flags = TAIO_POLICY_RANKS,
	    .price = random_rank_price)
