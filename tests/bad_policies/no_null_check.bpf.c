/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* no_null_check: uses what may be NULL. The verifier refuses it. */
#include "policy.bpf.h"

static u64 no_null_check_price(struct taio_route *route, u32 bucket)
{
	const u32 *word = taio_words(route, route->class + 1);

	return word[taio_index(bucket, TAIO_BUCKETS)];
}

TAIO_POLICY(no_null_check, "uses what may be NULL", .price = no_null_check_price)
