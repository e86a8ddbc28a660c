/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* no_start: one of the three programs has another name. Must be refused. */
#define taio_start taio_begin
#include "policy.bpf.h"

static u64 no_start_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(no_start, "cannot be started", .price = no_start_price)
