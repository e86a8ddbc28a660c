/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* vandal: writes noise over devices, latencies and states, its own and those that the core keeps. Runs;
 * the watchdog replaces it. */
#include "policy.bpf.h"

static void vandal_completed(struct taio_route *route, const struct taio_sample *s)
{
	struct taio_lat *lat = core_at_taio_lat(taio_index(s->ns, TAIO_ROUTES));
	struct taio_dev *dev = core_at_taio_dev(taio_index(s->ns, TAIO_DEVICES));
	u32 noise = bpf_get_prandom_u32();

	route->dev->health = noise;
	route->dev->progress_ns = ~0ULL - noise;
	route->dev->in_flight = noise;
	if (lat) {
		lat->count = ~0ULL;
		lat->ewma_ns[taio_index(noise, TAIO_BUCKETS)] = noise;
		lat->last_ns = ~0ULL;
	}
	if (dev) {
		dev->hash = noise;
		for (u32 i = 0; i < sizeof(dev->name); i++)
			dev->name[i] = (char)(noise >> (i & 3) * 8);
	}
}

static u64 vandal_price(struct taio_route *route, u32 bucket)
{
	return (u64)route->dev->health * (bucket + 1);
}

TAIO_POLICY(vandal, "noise everywhere", .completed = vandal_completed, .price = vandal_price)
