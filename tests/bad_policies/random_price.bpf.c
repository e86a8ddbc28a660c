/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* random_price: dice. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 random_price_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return bpf_get_prandom_u32();
}

TAIO_POLICY(random_price, "dice", .price = random_price_price)
