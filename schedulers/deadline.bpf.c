/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * deadline: learns and prices as tab does, and looks at the deadline of each request. Among the
 * devices that will meet it the one that is cheapest for the goal of the request is taken; a
 * request that will be late anyway takes the one that costs the least processor time, so that it
 * does not make others late, too. A request without a deadline goes by price.
 */
#define TABLE_MORE_TUNABLES(T) \
	T(margin_percent, 10, 0, 90, "%", "share of the time left that is kept in reserve")
#include "table.bpf.h"

/* The time until the deadline that may be used. */
static __always_inline u64 deadline_left(const struct taio_choice *choice)
{
	u64 deadline_ns = choice->ask->deadline_ns, now_ns = choice->batch->now_ns, left;

	left = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
	return left - (left >> 10) * (tune(margin_percent) * 10); /* 1 % is some 10/1024 */
}

enum {
	DEADLINE_LEFT, /* memo: ns that may be used */
	DEADLINE_STEPS /* memo: this step and those of the request that will come after it */
};
#define DEADLINE_LATE_NS (1ULL << 57) /* more than any cost */

static u32 deadline_pick(struct taio_choice *choice)
{
	u64 bytes = choice->ask->bytes, rest = choice->ask->rest, steps;

	if (!choice->ask->deadline_ns)
		return TAIO_PICK_PRICE;
	steps = rest && bytes ? rest / bytes + 1 : 1;
	choice->memo[DEADLINE_LEFT] = deadline_left(choice);
	choice->memo[DEADLINE_STEPS] = steps < 65536 ? steps : 65536;
	return TAIO_PICK_BID;
}

/* Who is in time bids what it costs for the goal; who is late its processor time, but more. */
static u64 deadline_bid(struct taio_choice *choice, u32 slot)
{
	u64 ns = taio_offer(choice, slot, TAIO_LATENCY);

	if (ns <= TAIO_COST_MAX && ns * choice->memo[DEADLINE_STEPS] <= choice->memo[DEADLINE_LEFT])
		return taio_offer(choice, slot, choice->ask->goal);
	return DEADLINE_LATE_NS + taio_offer(choice, slot, TAIO_CPU);
}

TAIO_POLICY(deadline, "as tab, but a request with a deadline takes a device that meets it",
	    .seed = table_seed, .completed = table_completed, .price = table_price,
	    .tail = table_tail, .probe = table_probe, .pick = deadline_pick, .bid = deadline_bid)
