/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * admit.h: how many steps a device may have at a time. What waits inside a device can be neither
 * re-decided nor overtaken, so a device gets as many steps as keep it busy and some more, and the
 * rest stays with the engine: for other devices, for what is more urgent, for a cancellation.
 *
 * After TCP Vegas: from the times of steps, each against its published figure so that sizes can be
 * compared, follows how many of those inside must be waiting: inside * (1 - fastest / now). More
 * than ADMIT_WAITING of them lower the limit, fewer raise it. It never falls below the parallelism
 * that the driver publishes. Only steps that wait for nobody but the device are counted: one that
 * waits for a peer says nothing about it.
 */
#ifndef TAIO_ADMIT_H
#define TAIO_ADMIT_H

#include <stdbool.h>
#include <stdint.h>

#define ADMIT_WAITING 32 /* steps that may wait inside a device */

/* All zero: no limit. */
struct admit {
	uint32_t inside;  /* steps that count */
	uint32_t limit;   /* 0: none yet */
	uint32_t fastest; /* least time of a step for 1024 ns of its published figure; 0: unknown */
	uint32_t reserved;
	uint64_t forgot_ns; /* when fastest was last raised a little, or was seen */
};

static inline bool admit_is_full(const struct admit *admit)
{
	return admit->limit && admit->inside >= admit->limit;
}

/* A step that took @ns was done well; published are @published_ns and @parallel. Call it before
 * inside is lowered. */
void admit_learn(struct admit *admit, uint64_t ns, uint64_t published_ns, uint32_t parallel,
		 uint64_t now_ns);

#endif /* TAIO_ADMIT_H */
