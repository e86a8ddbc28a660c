/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * watchdog.h: is a policy that is not of this library (an object, the machine-wide one) doing its
 * work? In its shadow the built-in policy learns from the same completions; some of the decisions
 * are judged by what it would charge, and completions by what was foretold. A policy that is bad in
 * several windows in a row is to be replaced; a moment of noise, or nothing to do, is no reason.
 * Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_WATCHDOG_H
#define TAIO_USER_POLICY_WATCHDOG_H

#include "policy/mirror.h"

/* All the thresholds. */
#define WATCHDOG_GRACE_TICKS  20            /* an engine that lives for less pays nothing */
#define WATCHDOG_FEED_NS      4000000       /* how often the shadow learns and prices ... */
#define WATCHDOG_FEED_SAMPLES 64            /* ... from at most so many completions */
#define WATCHDOG_WINDOW_NS    250000000ULL  /* how long evidence is gathered at least ... */
#define WATCHDOG_PATIENCE_NS  5000000000ULL /* ... and at most, where little happens */
#define WATCHDOG_STRIKES      4             /* bad windows in a row: out */
#define WATCHDOG_MIN_JUDGED   16 /* less than this is no evidence: the window stays open */
#define WATCHDOG_MIN_SAMPLES  32
#define WATCHDOG_REGRET       8  /* times the cost of the built-in policy's choices */
#define WATCHDOG_REGRET_RANKS 32 /* ... for one that says it only ranks */
#define WATCHDOG_ABSURD       64 /* times more or less than foretold; half of them are too many */
#define WATCHDOG_UNPRICED     8  /* all but one of so many decisions without a price */

struct watchdog_window {
	uint64_t begin_ns; /* 0: has not begun */
	uint64_t own_ns, best_ns;
	uint32_t judged, unpriced;
	uint32_t samples, absurd;
	uint32_t tail;    /* of the engine's ring when it began ... */
	uint32_t waiting; /* ... and whether samples were waiting then */
};

struct watchdog {
	struct policy_mirror shadow; /* of the built-in policy; not there during the grace */
	struct watchdog_window window;
	uint64_t fed_ns;
	uint32_t ticks;
	uint32_t strikes;        /* bad windows in a row */
	uint32_t regret_percent; /* of the last window that told; 100: as good as the built-in */
	uint64_t windows, bad;   /* all that told something; those that were bad */
	char fault[128];         /* of the last bad window; empty: there was none */
};

/* To be called with each tick while a policy is watched. Return: 0: nothing is wrong; 1: the policy
 * must be replaced, watchdog->fault says why in one sentence. */
int watchdog_tick(struct watchdog *dog, const struct taio_native_policy *builtin,
		  const struct taio_maps *maps, uint64_t now_ns);

/* A decision costs @own_ns in the eyes of the built-in policy, where @best_ns was to be had.
 * @priced: the policy had a price for it. */
void watchdog_judged(struct watchdog *dog, uint64_t own_ns, uint64_t best_ns, int priced);

/* Another policy runs now: it begins with a clean record. */
void watchdog_forgive(struct watchdog *dog);

void watchdog_close(struct watchdog *dog);

#endif /* TAIO_USER_POLICY_WATCHDOG_H */
