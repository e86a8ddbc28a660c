/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* plain_map: its maps cannot be mmapped, so no engine could read a price. Must be refused: the
 * kernel itself would take it. */
#include "taio_policy.h"

#define BPF_F_MMAPABLE 0

#include "policy.bpf.h"

static u64 plain_map_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(plain_map, "with maps that cannot be mapped", .price = plain_map_price)
