/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* writes_beyond: writes behind the end of its state. The verifier refuses it. */
#include "policy.bpf.h"

static void writes_beyond_completed(struct taio_route *route, const struct taio_sample *s)
{
	route->word[TAIO_STATE_WORDS + 8 + taio_index(s->ns, 4096)] = s->ns;
}

static u64 writes_beyond_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket));
}

TAIO_POLICY(writes_beyond, "writes behind its state", .completed = writes_beyond_completed,
	    .price = writes_beyond_price)
