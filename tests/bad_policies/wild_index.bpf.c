/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* wild_index: writes to a place that a sample names, unmasked. The verifier refuses it. */
#include "policy.bpf.h"

static void wild_index_completed(struct taio_route *route, const struct taio_sample *s)
{
	route->word[s->ns]++;
}

static u64 wild_index_price(struct taio_route *route, u32 bucket)
{
	return route->word[taio_index(bucket, TAIO_BUCKETS)];
}

TAIO_POLICY(wild_index, "writes where it is told to", .completed = wild_index_completed,
	    .price = wild_index_price)
