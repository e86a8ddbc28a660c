/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* admit.c: see admit.h. */
#include "pick/admit.h"

#define ADMIT_FORGET_NS (100ULL * 1000 * 1000) /* the fastest is raised by 1/256 so often */
#define ADMIT_RATIO_MAX (1U << 30)

static uint32_t admit_ratio(uint64_t ns, uint64_t published_ns)
{
	uint64_t ratio;

	if (ns > UINT64_MAX >> 10)
		return ADMIT_RATIO_MAX;
	ratio = (ns << 10) / (published_ns ? published_ns : 1);
	return ratio > ADMIT_RATIO_MAX ? ADMIT_RATIO_MAX : ratio ? (uint32_t)ratio : 1;
}

/* The least that was seen; given up slowly, or a device that turned slow for good would look full
 * for ever. */
static void admit_follow(struct admit *admit, uint32_t ratio, uint64_t now_ns)
{
	if (!admit->fastest || ratio <= admit->fastest) {
		admit->fastest = ratio;
		admit->forgot_ns = now_ns;
	} else if (now_ns - admit->forgot_ns > ADMIT_FORGET_NS) {
		admit->fastest += (admit->fastest >> 8) + 1;
		admit->forgot_ns = now_ns;
	}
}

void admit_learn(struct admit *admit, uint64_t ns, uint64_t published_ns, uint32_t parallel,
		 uint64_t now_ns)
{
	uint32_t ratio = admit_ratio(ns, published_ns), waiting, target;

	admit_follow(admit, ratio, now_ns);
	waiting = (uint32_t)((uint64_t)admit->inside * (ratio - admit->fastest) / ratio);
	if (waiting > ADMIT_WAITING) {
		target = admit->inside - waiting + ADMIT_WAITING;
		if (target < parallel)
			target = parallel;
		if (!admit->limit || admit->limit > admit->inside)
			admit->limit = admit->inside;
		if (admit->limit > target)
			admit->limit -= (admit->limit - target + 7) / 8;
	} else if (admit->limit && admit->limit < UINT32_MAX / 2 &&
		   2 * admit->inside > admit->limit) {
		admit->limit++;
	}
}
