/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * wild_pick: answers anything, may it run or not, and writes into the questions and the counters of
 * the engine's batch. Loads; what may not run must never be taken, and no request may be lost.
 */
#include "policy.bpf.h"

static u64 wild_price(struct taio_route *route, u32 bucket)
{
	return taio_published_ns(route, taio_bucket_load(bucket)) + 10000;
}

static u32 wild_pick(struct taio_choice *choice)
{
	u32 random = taio_random(choice);

	choice->batch->count = random;
	choice->batch->load[taio_index(random >> 3, TAIO_DEVICES)] = random;
	choice->batch->bucket[taio_index(random >> 9, TAIO_DEVICES)] = (u8)random;
	choice->ask->may = (u16)random;
	choice->ask->cell = (u16)(random >> 5);
	return random >> 12 & 255;
}

TAIO_POLICY(wild_pick, "anything", .price = wild_price, .pick = wild_pick)
