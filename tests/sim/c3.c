/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * c3.c: a reduced form of C3 (NSDI 2015), for comparison only: cubic in the queue, no size classes.
 * There is no feedback from servers and no rate control, so the service time is what a completion
 * took, shared among those that were in front of it.
 */
#include "policy.bpf.h"

enum {
	C3_LATENCY,
	C3_SERVICE
};

static void c3_completed(struct taio_route *route, const struct taio_sample *s)
{
	u32 *state = route->dev->state, service = s->ns / (taio_bucket_load(s->bucket) + 1);

	if (!state[C3_LATENCY])
		state[C3_LATENCY] = s->ns;
	taio_follow(&state[C3_LATENCY], s->ns, 8);
	if (!state[C3_SERVICE])
		state[C3_SERVICE] = service ? service : 1;
	taio_follow(&state[C3_SERVICE], service, 8);
}

static u64 c3_price(struct taio_route *route, u32 bucket)
{
	const u32 *state = route->dev->state;
	u64 q = taio_bucket_load(bucket) + 1, rest;

	if (!state[C3_LATENCY])
		return taio_published_ns(route, taio_bucket_load(bucket));
	rest = state[C3_LATENCY] > state[C3_SERVICE] ? state[C3_LATENCY] - state[C3_SERVICE] : 0;
	return taio_limit(rest + q * q * q * state[C3_SERVICE]);
}

TAIO_POLICY(c3, "cubic in the queue", .completed = c3_completed, .price = c3_price)
