/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * state.h: the inside of struct taio_policy, and what its files offer each other: policy.c decides
 * which policy runs, trial.c knows of canaries, serve.c answers the control socket. Private to
 * user/policy.
 */
#ifndef TAIO_USER_POLICY_STATE_H
#define TAIO_USER_POLICY_STATE_H

#include "policy/canary.h"
#include "policy/loading.h"
#include "policy/source.h"
#include "policy/watchdog.h"

#define POLICY_DEFAULT "tab"

struct taio_policy {
	struct taio_maps maps; /* of source; its address never changes */
	struct policy_source *source;
	struct policy_options options;
	struct policy_loading *loading; /* an object on its way, or NULL */
	struct policy_canary *canary;   /* the last one; it runs while it has a source */
	struct watchdog dog;
	uint64_t swaps, fallbacks;
	uint32_t generation; /* of the policy that is known to run */
	uint32_t polls;
	int control_fd; /* -1: not yet; -2: cannot be had */
	int ended;      /* the source cannot go on: policy_poll() replaces it */
	int bitten;     /* the watchdog says so */
	char reason[128];
	char verdict[160]; /* how the last canary ended; empty: none did */
};

/* What a text asks for, found out. */
struct policy_plan {
	const struct taio_native_policy *twin; /* of that name, or NULL */
	int in_kernel;
	char path[PATH_MAX]; /* of the object, if in_kernel */
	struct policy_request request;
};

/* policy.c */
__attribute__((format(printf, 2, 3))) void policy_say(struct taio_policy *policy,
						      const char *format, ...);
void policy_set_reason(struct taio_policy *policy, const char *reason);
const char *policy_where_text(const struct policy_source *source);
int policy_plan(const struct taio_policy *policy, const char *text, int force_bpf,
		struct policy_plan *ret_plan, char *why, size_t why_size);
/* May the native twin stand in for an object of which loading came to @err? Not for one that was
 * refused: its author wants to know. */
int policy_may_stand_in(const struct taio_native_policy *twin, int err);
int policy_stand_in(struct taio_policy *policy, const struct taio_native_policy *twin,
		    const struct policy_request *request, int err, char *why, size_t why_size);
int policy_run_object(struct taio_policy *policy, struct policy_object *object, char *why,
		      size_t why_size);
/* The new source runs; the old one may live on in it. */
void policy_take(struct taio_policy *policy, struct policy_source *source);
void policy_changed(struct taio_policy *policy);
/* Nothing that was measured under the old policy is lost with it. */
void policy_drain(struct taio_policy *policy);

/* trial.c. */
/* Does a canary run? */
static inline int policy_on_trial(const struct taio_policy *policy)
{
	return policy->canary && policy->canary->trial.source;
}
/* @object: loaded on maps of its own, and taken over; NULL: @twin runs natively. */
int policy_trial_start(struct taio_policy *policy, const struct taio_native_policy *twin,
		       struct policy_object *object, const struct policy_request *request,
		       const struct policy_share *share, char *why, size_t why_size);
/* Ends a canary that runs, if one does, without a change. */
void policy_trial_drop(struct taio_policy *policy, const char *why);
/* Its time may be over. Return: 1: it runs alone now. */
int policy_trial_poll(struct taio_policy *policy, uint64_t now_ns);

/* serve.c */
/* Return: 1: the policy changed. */
int policy_serve(struct taio_policy *policy);
int policy_finish_loading(struct taio_policy *policy);
void policy_drop_loading(struct taio_policy *policy);

#endif /* TAIO_USER_POLICY_STATE_H */
