/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* never_updates: says that its timer runs, and neither timer nor tick ever does anything. Runs; the
 * watchdog replaces it. */
#define taio_start honest_start
#define taio_tick  honest_tick
#include "policy.bpf.h"
#undef taio_start
#undef taio_tick

static u64 never_updates_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

SEC("syscall")
int taio_start(void *context)
{
	struct taio_ctl *ctl = core_at_taio_ctl(0);

	(void)context;
	if (!ctl)
		return -CORE_EINVAL;
	core_take_over(ctl, bpf_ktime_get_ns());
	ctl->armed = 1;
	return 0;
}

SEC("syscall")
int taio_tick(void *context)
{
	(void)context;
	return 0;
}

TAIO_POLICY(never_updates, "what it said once", .price = never_updates_price)
