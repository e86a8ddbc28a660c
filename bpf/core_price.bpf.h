/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * core_price.bpf.h: the part of the core that turns what a policy says into prices: of one candidate,
 * of one cell, of what is out of date. Included by core.bpf.h only.
 */
#ifndef TAIO_CORE_PRICE_BPF_H
#define TAIO_CORE_PRICE_BPF_H

struct core_pricing {
	u64 now_ns;
	u64 best_ns; /* of the cell, latency of an idle candidate */
	u32 cell;
	u32 slots; /* out of date */
	u32 probe;
	u32 priced;
};

/* One candidate. Loops over buckets are callbacks, since the verifier looks at a callback once and
 * at the body of a loop in every state that it can be entered with. */
struct core_offer {
	struct taio_route route;
	u32 each_ns;   /* about the least time per request that it can reach ... */
	u32 filled;    /* ... at this load */
	u32 filled_ns; /* ... where one request takes that long */
	u32 tail;
	u32 cpu_ns;
};

static __always_inline u32 core_limit(u64 cost)
{
	return cost > TAIO_COST_MAX ? TAIO_COST_MAX : (u32)cost;
}

static long core_ask_bucket(u32 bucket, void *arg)
{
	struct core_offer *offer = arg;
	struct taio_work *work = core_at_taio_work(0);
	u32 ns, each, load;

	if (!work)
		return 1;
	bucket = taio_index(bucket, TAIO_BUCKETS);
	ns = core_limit(taio_hooks.price(&offer->route, bucket));
	work->latency[bucket] = ns;
	/* Only as far as the device serves requests side by side; one that occupies its caller has
	 * never more than one. */
	load = taio_bucket_load(bucket);
	if (load &&
	    (load >= offer->route.caps->parallel || offer->route.caps->flags & TAIO_CAPS_SYNC))
		return 0;
	each = ns / (load + 1);
	/* More load is only worth what it gains: a saturated device has the same time per request
	 * at all loads, and noise must not fill it to the brim. */
	if (!load || each < offer->each_ns - (offer->each_ns >> 3)) {
		offer->each_ns = each;
		offer->filled = bucket;
		offer->filled_ns = ns;
	}
	return 0;
}

/* Latency: the time and its bad moments. Throughput: the best time per request that the device can
 * reach, as long as it is not filled; then the waiting comes on top. CPU: processor time as
 * measured or published, and a little of the time, or everything would queue at one device. A rank
 * is no time: for throughput it is as good as for latency, and for CPU it makes the processor time
 * dearer by an eighth of itself. */
static long core_write_bucket(u32 bucket, void *arg)
{
	struct core_offer *offer = arg;
	struct taio_price *price = core_at_taio_price(offer->route.cell);
	struct taio_work *work = core_at_taio_work(0);
	u32 slot = taio_index(offer->route.slot, TAIO_SLOTS);
	u64 ns, wait_ns = 0;

	if (!price || !work)
		return 1;
	bucket = taio_index(bucket, TAIO_BUCKETS);
	ns = work->latency[bucket];
	if (!ns) {
		price->cost[0][slot][bucket] = TAIO_COST_NONE;
		price->cost[1][slot][bucket] = TAIO_COST_NONE;
		price->cost[2][slot][bucket] = TAIO_COST_NONE;
		return 0;
	}
	if (bucket > offer->filled && ns > offer->filled_ns)
		wait_ns = ns - offer->filled_ns;
	price->cost[0][slot][bucket] = core_limit(ns + ns * offer->tail / 1024);
	if (taio_hooks.flags & TAIO_POLICY_RANKS) {
		price->cost[1][slot][bucket] = (u32)ns;
		price->cost[2][slot][bucket] =
			core_limit(offer->cpu_ns + offer->cpu_ns * (ns / TAIO_RANK) / 8 + 1);
		return 0;
	}
	price->cost[1][slot][bucket] = core_limit(offer->each_ns + wait_ns + 1);
	price->cost[2][slot][bucket] = core_limit(offer->cpu_ns + (ns >> 3) + 1);
	return 0;
}

/* Processor time: as measured, else the published share of the time. */
static __always_inline u32 core_cpu_ns(const struct taio_route *route, u32 ns)
{
	u32 permille = route->caps->cpu_permille;

	if (route->lat->cpu_ewma_ns)
		return route->lat->cpu_ewma_ns;
	if (taio_hooks.flags & TAIO_POLICY_RANKS)
		ns = taio_published_ns(route, 0);
	return core_limit((u64)ns * (permille ? permille : 1000) / 1000);
}

static __always_inline void core_make_prices(struct core_offer *offer)
{
	struct taio_work *work = core_at_taio_work(0);

	if (!work)
		return;
	offer->each_ns = offer->filled = offer->filled_ns = 0;
	core_loop(TAIO_BUCKETS, core_ask_bucket, offer);
	offer->tail = taio_hooks.tail ? taio_hooks.tail(&offer->route) : 0;
	offer->cpu_ns = core_cpu_ns(&offer->route, work->latency[0]);
	core_loop(TAIO_BUCKETS, core_write_bucket, offer);
}

/* What an idle candidate costs now. */
static __always_inline u64 core_idle_ns(const struct taio_price *price,
					const struct taio_route *route)
{
	u32 scale = *route->scale, slot = taio_index(route->slot, TAIO_SLOTS);

	return (u64)price->cost[0][slot][0] * (scale ? scale : TAIO_SCALE_ONE) / TAIO_SCALE_ONE;
}

/* Makes the prices of a candidate, if it has none or if @renew is set.
 * Return: what it costs now when idle, ns; 0: it has no price. */
CORE_GLOBAL u64 core_price_route(u32 cell, u32 slot, u32 renew, u64 now_ns)
{
	struct taio_price *price = core_at_taio_price(cell);
	struct core_offer offer;

	slot = taio_index(slot, TAIO_SLOTS);
	if (!price || core_route(&offer.route, cell, slot, now_ns))
		return 0;
	if (renew || !price->cost[0][slot][0])
		core_make_prices(&offer);
	return core_idle_ns(price, &offer.route);
}

static long core_price_slot(u32 slot, void *arg)
{
	struct core_pricing *pricing = arg;
	u64 own_ns;

	own_ns = core_price_route(pricing->cell, slot, pricing->slots >> slot & 1, pricing->now_ns);
	if (own_ns && own_ns < pricing->best_ns)
		pricing->best_ns = own_ns;
	return 0;
}

CORE_GLOBAL u32 core_may_probe(u32 cell, u32 slot, u64 best_ns, u64 now_ns)
{
	struct taio_price *price = core_at_taio_price(cell);
	struct taio_route route;

	/* A hook that looks at neither would have the compiler leave them out, and the verifier of a
	 * global function wants all arguments. */
	__asm__ volatile("" : : "r"(best_ns), "r"(now_ns));
	if (!price || !taio_hooks.probe || core_route(&route, cell, slot, now_ns))
		return 0;
	return taio_hooks.probe(&route, core_idle_ns(price, &route), best_ns) ? 1 : 0;
}

static long core_probe_slot(u32 slot, void *arg)
{
	struct core_pricing *pricing = arg;

	pricing->probe |= core_may_probe(pricing->cell, slot, pricing->best_ns, pricing->now_ns)
			  << (slot & (TAIO_SLOTS - 1));
	return 0;
}

static long core_price_cell(u32 index, void *arg)
{
	struct core_pricing *pricing = arg;
	struct taio_work *work = core_at_taio_work(0);
	struct taio_price *price;
	u32 cell;

	(void)index;
	if (!work || !work->dirty)
		return 1;
	cell = taio_index(work->list[taio_index(work->first, TAIO_CELLS)], TAIO_CELLS);
	work->first++;
	work->dirty--;
	pricing->cell = cell;
	pricing->slots = work->slots[cell];
	pricing->probe = 0;
	pricing->best_ns = ~0ULL;
	work->slots[cell] = 0;
	price = core_at_taio_price(cell);
	if (!price)
		return 0;
	/* A guess at a quiet slot leans on what its neighbours learnt meanwhile. */
	if (price->version % CORE_REVIEW == 0)
		pricing->slots = ~0U;
	core_loop(TAIO_SLOTS, core_price_slot, pricing);
	if (taio_hooks.probe)
		core_loop(TAIO_SLOTS, core_probe_slot, pricing);
	price->probe = pricing->probe;
	price->when_ns = pricing->now_ns;
	price->version++;
	pricing->priced++;
	return 0;
}

#endif /* TAIO_CORE_PRICE_BPF_H */
