/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy.h: where prices come from. One struct taio_policy per engine, whatever runs it: a native
 * twin inside this process, a BPF object loaded by this process, or the machine-wide one under
 * /sys/fs/bpf/taio. The picker reads the maps through policy_maps(); it knows nothing of BPF.
 */
#ifndef TAIO_USER_POLICY_H
#define TAIO_USER_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "taio_policy.h"

struct taio_policy;
struct taio_policy_info; /* taio.h */
struct taio_policy_comparison;

/* The maps of a policy, mapped into this process. Field addresses may change at a swap (never
 * between two calls of policy_swap(), policy_poll()); indices of contexts, devices and slots stay.*/
struct taio_maps {
	struct taio_ctl *ctl;
	struct taio_ctx *ctx;
	struct taio_caps *caps;
	struct taio_dev *dev;
	const struct taio_lat *lat;
	const struct taio_price *price; /* read-only for engines when machine-wide */
	struct taio_engine *engine;     /* this engine's own slot */
	uint32_t shared;                /* 1: other processes use the same maps */

	/* The policy's pick hook: it answers what stands in batch. Return: answers; negative
	 * errno: none. Only while ctl->flags say TAIO_POLICY_PICKS. */
	struct taio_batch *batch; /* this engine's own; NULL: there is no hook to ask here */
	int (*pick)(void *arg);
	void *pick_arg;
	uint32_t pick_crosses; /* 1: pick() is a system call, worth it for many or long steps */
};

struct policy_options {
	const char *name;      /* as taio_engine_options.policy; NULL: default rules */
	uint32_t engine_flags; /* enum taio_engine_flag: TAIO_NO_BPF, TAIO_NO_CONTROL, ... */
	int force_bpf;         /* load the object, never the native twin */
	int watch_all;         /* tests: the watchdog looks at native twins, too */
	void (*log)(void *arg, const char *line); /* never NULL */
	void *arg;
};

/* Opens a policy. NULL name, no $TAIO_POLICY and no machine-wide policy: native `tab`, which costs
 * one mmap. @why receives one sentence on failure. Return: 0, -ENOENT, -EPERM, -EBADMSG, -ENOMEM. */
int policy_open(struct taio_policy **ret_policy, const struct policy_options *options, char *why,
		size_t why_size);
void policy_close(struct taio_policy *policy);

const struct taio_maps *policy_maps(const struct taio_policy *policy);

/* Called by the engine at most about once a millisecond while it runs, and with urgent != 0 when a
 * completion was far from its price. Native: drains samples and makes prices. BPF: arms the timer
 * if it sleeps; urgent: BPF_PROG_RUN. A few ns when there is nothing to do. */
void policy_tick(struct taio_policy *policy, uint64_t now_ns, int urgent);

/* Serves the control socket (taio policy swap from another process) and notices what others did to
 * the policy. To be called after each policy_tick(). Return: 1 if the policy or its maps changed,
 * else 0. Never sleeps. */
int policy_poll(struct taio_policy *policy);

/* Descriptor that polls readable when policy_poll() has something to do; -1: none (yet). The
 * socket is made here at the first call (and so only by engines that live long enough to sleep). */
int policy_fd(struct taio_policy *policy);

/* Swaps; see taio_policy_swap(). The running policy stays on failure. */
int policy_swap(struct taio_policy *policy, const char *name, int force_bpf, char *why,
		size_t why_size);

/* Goes back to the built-in policy, natively, with a copy of what was learnt. @reason: one sentence.
 * Return: 0; -ENOMEM: the running policy stays. */
int policy_reject(struct taio_policy *policy, const char *reason);

/* ---- the watchdog ---- */

#define POLICY_JUDGE_EVERY 16 /* so many decisions: one is judged */

/* What the built-in policy would charge, to judge a decision by; NULL: nobody watches. */
const struct taio_maps *policy_judge(const struct taio_policy *policy);
/* One decision was judged: it costs @own_ns, @best_ns was to be had; @priced: it had a price. */
void policy_judged(struct taio_policy *policy, uint64_t own_ns, uint64_t best_ns, int priced);

/* ---- a policy on trial ---- */

#define POLICY_CANARY_NS 60000000000ULL /* of a canary of which nobody says how long */

struct policy_share {
	uint32_t permille; /* of the requests, 1..500 */
	uint64_t ns;       /* then the better policy stays; 0: POLICY_CANARY_NS */
};

/* Gives @text (as for policy_swap()) a share of the requests. When its time is over, the better of
 * both stays by itself. Return: 0; -EBUSY: a canary runs already; -EINVAL: no such share; or what
 * policy_swap() says; with a sentence. */
int policy_canary(struct taio_policy *policy, const char *text, const struct policy_share *share,
		  char *why, size_t why_size);
/* Could it be begun now? */
int policy_canary_check(const struct taio_policy *policy, const struct policy_share *share,
			char *why, size_t why_size);
/* Ends it: the one on trial becomes the policy, or goes. Return: 0; -ENOENT: none runs. */
int policy_decide(struct taio_policy *policy, int promote, char *why, size_t why_size);

/* Is the next request one of those of the policy on trial? To be asked once for each. */
int policy_next_is_canary(struct taio_policy *policy);
/* By which maps their decisions are made; NULL: no canary runs any more. */
const struct taio_maps *policy_canary_maps(const struct taio_policy *policy);
/* Tells how a request ended; nothing happens when no canary runs. */
void policy_canary_count(struct taio_policy *policy, int on_trial, int failed, uint64_t bytes,
			 uint64_t accepted_ns, uint64_t ns);

/* The canary that runs, or the last one. permille is 0 if there was none. */
struct policy_comparison {
	int runs;
	uint32_t permille;
	uint64_t left_ns;
	uint64_t failed[2];
	char name[2][16];
	char verdict[160]; /* how it ended, or how it stands */
};
/* Writes a row for each size class that has requests, @max at most. Return: how many. */
unsigned int policy_compare(const struct taio_policy *policy, struct policy_comparison *ret_whole,
			    struct taio_policy_comparison *rows, unsigned int max);

void policy_info(const struct taio_policy *policy, struct taio_policy_info *ret_info);

#endif /* TAIO_USER_POLICY_H */
