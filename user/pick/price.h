/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* price.h: what pick.c and outcome.c share. Nobody else includes it. */
#ifndef TAIO_PICK_PRICE_H
#define TAIO_PICK_PRICE_H

#include "pick/pick.h"

#define PICK_PROBE_CREDIT_MAX_NS (20 * 1000 * 1000)

/* The published figures as a price, when the policy has none: service time, waited for in turn by
 * those in flight. */
static inline uint32_t pick_estimate(const struct taio_caps *caps, uint64_t bytes, uint32_t load)
{
	uint64_t ns = caps->base_ns + bytes * caps->ps_per_byte / 1000;
	uint32_t parallel = caps->parallel ? caps->parallel : 1;

	if (load >= parallel)
		/* cppcheck-suppress zerodivcond ; it is 1 at least */
		ns += ns * (load - parallel + 1) / parallel;
	return ns == 0 ? 1 : ns > TAIO_COST_MAX ? TAIO_COST_MAX : (uint32_t)ns;
}

#endif /* TAIO_PICK_PRICE_H */
