/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* garbage_price: the bits of not-a-number, infinity and minus one, in prices and factors. Runs; the
 * watchdog replaces it. */
#include "policy.bpf.h"

static u64 garbage_price_price(struct taio_route *route, u32 bucket)
{
	u32 dice = bpf_get_prandom_u32() & 3;

	*route->scale = dice == 0   ? 0xffffffff
			: dice == 1 ? 0x7fc00000
			: dice == 2 ? 1
				    : 0x80000000;
	return bucket & 1 ? 0x7ff8000000000000ULL : dice == 1 ? 0x7f800000 : ~0ULL;
}

TAIO_POLICY(garbage_price, "not a number", .price = garbage_price_price)
