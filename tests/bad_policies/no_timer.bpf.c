/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* no_timer: its timer is never armed. Runs, and well: the engine then ticks it itself. */
#define taio_start honest_start
#include "policy.bpf.h"
#undef taio_start

static u64 no_timer_price(struct taio_route *route, u32 bucket)
{
	u32 ns = route->lat->ewma_ns[0];

	return ns ? (u64)ns * (taio_bucket_load(bucket) + 1)
		  : taio_published_ns(route, taio_bucket_load(bucket));
}

SEC("syscall")
int taio_start(void *context)
{
	struct taio_ctl *ctl = core_at_taio_ctl(0);

	(void)context;
	if (!ctl)
		return -CORE_EINVAL;
	core_take_over(ctl, bpf_ktime_get_ns());
	return 0;
}

TAIO_POLICY(no_timer, "mean latency, without a timer", .price = no_timer_price)
