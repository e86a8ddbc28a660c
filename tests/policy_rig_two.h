/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy_rig_two.h: the usual stage for a policy: two devices in context 2, of which the first
 * serves one request at a time and is quick to begin with, and the second eight. A test file has a
 * `static struct rig rig;` and its tests begin with POLICY_TEST().
 */
#ifndef TAIO_TESTS_POLICY_RIG_TWO_H
#define TAIO_TESTS_POLICY_RIG_TWO_H

#include "policy_rig.h"
#include "taio.h"

#define CELL     (2 * TAIO_CLASSES + 3) /* context 2, class of 4 to 8 KiB: 6144 bytes */
#define LATENCY  TAIO_GOAL_LATENCY
#define RATE     TAIO_GOAL_THROUGHPUT
#define CPU_TIME TAIO_GOAL_CPU

static inline void rig_open_two(struct rig *rig, const char *policy, uint32_t engines)
{
	rig_open(rig, policy, engines);
	rig_offer(rig, 2, 0, 0, rig_caps(5000, 1000, 1));
	rig_offer(rig, 2, 1, 1, rig_caps(20000, 500, 8));
}

#define POLICY_TEST(SUITE, NAME, POLICY)       \
	static void SUITE##_##NAME(void);      \
	Test(SUITE, NAME)                      \
	{                                      \
		rig_open_two(&rig, POLICY, 4); \
		SUITE##_##NAME();              \
		rig_close(&rig);               \
	}                                      \
	static void SUITE##_##NAME(void)

static inline void assert_near(uint32_t value, uint32_t wanted, uint32_t tolerance)
{
	cr_assert(value + tolerance >= wanted && value <= wanted + tolerance,
		  "%u is not within %u of %u", value, tolerance, wanted);
}

/* As the engine reckons it: at the present speed of the candidate. */
static inline uint32_t price_now(const struct rig *rig, uint32_t slot, uint32_t bucket)
{
	uint64_t cost = rig_price(rig, CELL, LATENCY, slot, bucket);
	uint32_t scale = rig->maps.ctx[2].scale[slot];

	return (uint32_t)(cost * (scale ? scale : TAIO_SCALE_ONE) / TAIO_SCALE_ONE);
}

#endif /* TAIO_TESTS_POLICY_RIG_TWO_H */
