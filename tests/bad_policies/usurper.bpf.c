/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* usurper: damages the map that says who decides. Runs; the watchdog replaces it. */
#include "policy.bpf.h"

static u64 usurper_price(struct taio_route *route, u32 bucket)
{
	struct taio_ctl *ctl = core_at_taio_ctl(0);

	if (ctl) {
		ctl->policy[0] = '\n';
		ctl->flags = ~0U;
		ctl->engines = ~0U;
	}
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(usurper, "calls itself what it likes", .price = usurper_price)
