/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bad_name: its name would break every line that it is printed in. Must be refused. */
#include "policy.bpf.h"

static u64 bad_name_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

static const struct taio_hooks taio_hooks = { .price = bad_name_price };
const volatile char taio_policy_name[16] = "ok reason=fine\n";
const volatile u32 taio_policy_abi = TAIO_POLICY_ABI;
char taio_license[] SEC("license") = "Dual MIT/GPL";
