/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* wrong_abi: a policy that was built against another taio_policy.h. Must be refused. */
#include "policy.bpf.h"

#undef TAIO_POLICY_ABI
#define TAIO_POLICY_ABI 999

static u64 wrong_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(wrong_abi, "of another version", .price = wrong_price)
