/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* wrong_map: half of the cells are missing in its price table. Must be refused before load: the
 * kernel itself would take it. */
#include "taio_policy.h"

#undef TAIO_CELLS
#define TAIO_CELLS 256

#include "policy.bpf.h"

static u64 wrong_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(wrong_map, "with a price table that is too small", .price = wrong_price)
