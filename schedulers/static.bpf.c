/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * static: trusts what drivers publish. A request costs its base time and its bytes; beyond the
 * device's parallelism it waits in turn. It never learns: for tests, for comparison, and where
 * repeatable choices matter more than fast ones.
 */
#include "policy.bpf.h"

static u64 static_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(static, "published speeds and parallelism, never learns", .price = static_price)
