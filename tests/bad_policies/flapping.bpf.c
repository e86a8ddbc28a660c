/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* flapping: with each tick the opposite. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 flapping_price(struct taio_route *route, u32 bucket)
{
	u32 phase = (u32)(route->now_ns >> 20) & 1;

	(void)bucket;
	return (route->slot & 1) == phase ? 1 : TAIO_COST_MAX;
}

TAIO_POLICY(flapping, "with each tick the opposite", .price = flapping_price)
