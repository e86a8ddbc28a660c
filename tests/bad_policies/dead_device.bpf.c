/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* dead_device: the more it fails and the longer it takes, the cheaper. Runs; the breaker keeps
 * requests off what is dead, the watchdog replaces it. */
#include "policy.bpf.h"

static u64 dead_device_price(struct taio_route *route, u32 bucket)
{
	u32 ns = route->lat->ewma_ns[0];

	(void)bucket;
	if (route->lat->errors)
		return 1;
	return 1 + 1024 / (ns + 1); /* far from the truth on machines of every speed */
}

static u32 dead_device_probe(struct taio_route *route, u64 own_ns, u64 best_ns)
{
	(void)route;
	(void)own_ns;
	(void)best_ns;
	return 1;
}

TAIO_POLICY(dead_device, "the worst is the best", .price = dead_device_price,
	    .probe = dead_device_probe)
