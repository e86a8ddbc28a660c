/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* missing_map: has no map taio_work. Must be refused. */
#define taio_work taio_else
#include "policy.bpf.h"

static u64 missing_map_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(missing_map, "lacks a map", .price = missing_map_price)
