/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * hedge.h: second copies of steps that are late (TAIO_HEDGE). A step of files or memory that its
 * device owes for three times its price runs a second time, on another device that is idle. The
 * first copy that comes back whole counts and the other is called back; the request goes on when
 * BOTH are over, so nobody writes to its destination any more. Both write the same bytes to the
 * same place, so which of them wrote last does not matter.
 */
#ifndef TAIO_HEDGE_H
#define TAIO_HEDGE_H

#include <stdbool.h>
#include <stdint.h>

#define HEDGE_PAIRS 16 /* at a time */

struct taio;
struct request;
struct taio_step;

/* taio_step.hedge: one of these, or place in pair[] plus 1. */
enum hedge_mark {
	HEDGE_NONE = 0,
	HEDGE_WATCHED = 255 /* it may get a second copy when it is late */
};

struct hedge_pair {
	struct taio_step *step[2]; /* first and second copy; NULL: free */
	uint64_t took_ns[2];       /* of those that are back; 0: still out */
};

struct hedge {
	uint64_t due_ns; /* no step is late before */
	uint32_t tokens; /* a hedge costs HEDGE_COST, each step that could have one brings 1 */
	uint32_t pairs;  /* in use */
	struct hedge_pair pair[HEDGE_PAIRS];
};

/* A step went to a device. */
void hedge_watch(struct taio *e, const struct request *r, struct taio_step *step);
/* Looks for steps that are late. */
void hedge_run(struct taio *e);
/* One of two copies is back. Return: the one that counts; NULL: the other is still out. */
struct taio_step *hedge_done(struct taio *e, struct request *r, struct taio_step *step);

#endif /* TAIO_HEDGE_H */
