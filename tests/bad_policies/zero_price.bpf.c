/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* zero_price: has no opinion on anything, ever. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 zero_price_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return 0;
}

TAIO_POLICY(zero_price, "no prices at all", .price = zero_price_price)
