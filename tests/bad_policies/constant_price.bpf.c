/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* constant_price: the same for everything. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 constant_price_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	(void)bucket;
	return 1;
}

TAIO_POLICY(constant_price, "everything costs a nanosecond", .price = constant_price_price)
