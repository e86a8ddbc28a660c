/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * p2c: the power of two choices. Of two candidates drawn by chance the one with fewer requests in
 * flight is taken. It looks at two queues however many there are, and engines that see the same
 * stale loads do not all run to the same device. Where the hook is not asked (steps of few
 * microseconds) all candidates are compared by the same measure, as jsq does.
 */
#include "policy.bpf.h"

static u64 p2c_price(struct taio_route *route, u32 bucket)
{
	(void)route;
	return (u64)(taio_bucket_load(bucket) + 1) * TAIO_RANK;
}

enum {
	P2C_FIRST, /* memo: the two that were drawn, as numbers among the candidates ... */
	P2C_SECOND,
	P2C_NEXT /* memo: ... and the number of the next that bids */
};

static u32 p2c_pick(struct taio_choice *choice)
{
	u32 random = taio_random(choice), count = 0;

	for (u32 slot = 0; slot < TAIO_SLOTS; slot++)
		count += choice->may >> slot & 1;
	if (count < 2)
		return TAIO_PICK_PRICE;
	choice->memo[P2C_FIRST] = (random & 0xffff) % count;
	choice->memo[P2C_SECOND] = (random >> 16) % (count - 1);
	if (choice->memo[P2C_SECOND] >= choice->memo[P2C_FIRST])
		choice->memo[P2C_SECOND]++; /* another one than the first */
	return TAIO_PICK_BID;
}

/* Their order is by chance, so a tie needs no other coin. */
static u64 p2c_bid(struct taio_choice *choice, u32 slot)
{
	u64 number = choice->memo[P2C_NEXT]++;

	if (number == choice->memo[P2C_FIRST])
		return (u64)taio_load(choice, slot) << 1;
	if (number == choice->memo[P2C_SECOND])
		return (u64)taio_load(choice, slot) << 1 | 1;
	return TAIO_NO_BID;
}

TAIO_POLICY(p2c, "the shorter queue of two drawn by chance", .price = p2c_price, .pick = p2c_pick,
	    .bid = p2c_bid, .flags = TAIO_POLICY_RANKS | TAIO_POLICY_TURNS)
