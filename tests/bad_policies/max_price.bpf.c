/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* max_price: everything costs as much as a number can say. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 max_price_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return ~0ULL;
}

TAIO_POLICY(max_price, "everything costs four seconds", .price = max_price_price)
