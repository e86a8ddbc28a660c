/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * canary.h: a policy on trial gets a share of the requests, and both sides are measured by size
 * class. At the end of its time the better one stays. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_CANARY_H
#define TAIO_USER_POLICY_CANARY_H

#include "policy/mirror.h"

/* When the time is over the trial stays if it got this many requests ... */
#define CANARY_MIN_REQUESTS 100
/* ... and their mean and their slowest 1 % are no worse than this, in percent of the other side's. */
#define CANARY_MEAN_PERCENT 103
#define CANARY_TAIL_PERCENT 125
#define CANARY_MIN_CLASS    8 /* requests of a size class on either side: less is not compared */

#define CANARY_HIST 128 /* latencies of a class: four buckets for each power of two */

struct canary_class {
	uint64_t count, ns;
	uint32_t hist[CANARY_HIST];
};

struct canary_side {
	struct canary_class class[TAIO_CLASSES];
	uint64_t failed;
};

struct policy_canary {
	struct policy_mirror trial;
	struct canary_side side[2]; /* 0: the running policy, 1: the trial */
	char name[2][16];
	uint64_t begin_ns, end_ns;
	uint32_t permille;
	uint32_t turn; /* of the next request, in thousandths */
};

/* Decides for the next request. Return: 1: it is the trial's. */
static inline int canary_turn(struct policy_canary *canary)
{
	canary->turn += canary->permille;
	if (canary->turn < 1000)
		return 0;
	canary->turn -= 1000;
	return 1;
}

/* A request has ended. */
void canary_count(struct policy_canary *canary, int on_trial, int failed, uint64_t bytes,
		  uint64_t ns);

uint64_t canary_requests(const struct canary_side *side);
/* Of one class. Return: 0: there were none. */
uint64_t canary_mean_ns(const struct canary_class *class);
uint64_t canary_p99_ns(const struct canary_class *class);

/* May the trial stay? @ret_sentence: why, or why not. */
int canary_is_good(const struct policy_canary *canary, char *ret_sentence, size_t size);

#endif /* TAIO_USER_POLICY_CANARY_H */
