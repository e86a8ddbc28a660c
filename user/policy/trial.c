/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* trial.c: a canary from its begin to its end. What it measures is in canary.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/state.h"

int policy_canary_check(const struct taio_policy *policy, const struct policy_share *share,
			char *why, size_t why_size)
{
	if (!share->permille || share->permille > 500)
		return policy_why(-EINVAL, why, why_size,
				  "a canary gets 0.1 to 50 %% of the requests, not %u.%u",
				  share->permille / 10, share->permille % 10);
	if (policy_on_trial(policy))
		return policy_why(-EBUSY, why, why_size,
				  "'%s' is on trial already: promote or abandon it first",
				  policy->canary->name[1]);
	if (policy->loading)
		return policy_why(-EBUSY, why, why_size, "another change is on its way");
	return 0;
}

static void policy_trial_begin(struct taio_policy *policy, struct policy_canary *canary,
			       const struct policy_share *share)
{
	memcpy(canary->name[0], policy->source->name, sizeof(canary->name[0]));
	memcpy(canary->name[1], canary->trial.source->name, sizeof(canary->name[1]));
	canary->permille = share->permille;
	canary->begin_ns = policy_now_ns();
	canary->end_ns = canary->begin_ns + (share->ns ? share->ns : POLICY_CANARY_NS);
	free(policy->canary);
	policy->canary = canary;
	policy->verdict[0] = '\0';
	policy_say(policy, "canary: policy '%s' gets %u.%u %% of the requests, '%s' the others",
		   canary->name[1], canary->permille / 10, canary->permille % 10, canary->name[0]);
}

int policy_trial_start(struct taio_policy *policy, const struct taio_native_policy *twin,
		       struct policy_object *object, const struct policy_request *request,
		       const struct policy_share *share, char *why, size_t why_size)
{
	struct policy_canary *canary = calloc(1, sizeof(*canary));
	int err;

	if (!canary) {
		if (object)
			object_close(object);
		return policy_why(-ENOMEM, why, why_size, "no memory");
	}
	policy_drain(policy);
	if (object)
		err = mirror_open_object(&canary->trial, object, &policy->maps, why, why_size);
	else
		err = mirror_open_native(&canary->trial, twin, request, &policy->maps, why,
					 why_size);
	if (err) {
		free(canary);
		return err;
	}
	policy_trial_begin(policy, canary, share);
	return 0;
}

static int policy_trial_plan(struct taio_policy *policy, const struct policy_plan *plan,
			     const struct policy_share *share, char *why, size_t why_size)
{
	struct policy_object object;
	int err;

	if (!plan->in_kernel)
		return policy_trial_start(policy, plan->twin, NULL, &plan->request, share, why,
					  why_size);
	err = object_load(&object, plan->path, &plan->request, NULL, 1, why, why_size);
	if (!err)
		return policy_trial_start(policy, NULL, &object, &plan->request, share, why,
					  why_size);
	if (!policy_may_stand_in(plan->twin, err))
		return err;
	return policy_trial_start(policy, plan->twin, NULL, &plan->request, share, why, why_size);
}

int policy_canary(struct taio_policy *policy, const char *text, const struct policy_share *share,
		  char *why, size_t why_size)
{
	struct policy_plan *plan;
	int err = policy_canary_check(policy, share, why, why_size);

	if (err)
		return err;
	plan = malloc(sizeof(*plan));
	if (!plan)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	err = policy_plan(policy, text, 0, plan, why, why_size);
	if (!err)
		err = policy_trial_plan(policy, plan, share, why, why_size);
	free(plan);
	return err;
}

/* ---- while it runs ---- */

int policy_next_is_canary(struct taio_policy *policy)
{
	return policy_on_trial(policy) && canary_turn(policy->canary);
}

const struct taio_maps *policy_canary_maps(const struct taio_policy *policy)
{
	return policy_on_trial(policy) ? &policy->canary->trial.source->maps : NULL;
}

void policy_canary_count(struct taio_policy *policy, int on_trial, int failed, uint64_t bytes,
			 uint64_t accepted_ns, uint64_t ns)
{
	/* A request of the time before was decided by another policy. */
	if (policy_on_trial(policy) && accepted_ns >= policy->canary->begin_ns)
		canary_count(policy->canary, on_trial, failed, bytes, ns);
}

unsigned int policy_compare(const struct taio_policy *policy, struct policy_comparison *ret_whole,
			    struct taio_policy_comparison *rows, unsigned int max)
{
	const struct policy_canary *canary = policy->canary;
	uint64_t now_ns = policy_now_ns();
	unsigned int count = 0;

	memset(ret_whole, 0, sizeof(*ret_whole));
	if (!canary)
		return 0;
	ret_whole->runs = policy_on_trial(policy);
	ret_whole->permille = canary->permille;
	if (ret_whole->runs && canary->end_ns > now_ns)
		ret_whole->left_ns = canary->end_ns - now_ns;
	memcpy(ret_whole->name, canary->name, sizeof(ret_whole->name));
	memcpy(ret_whole->verdict, policy->verdict, sizeof(ret_whole->verdict));
	if (ret_whole->runs)
		(void)canary_is_good(canary, ret_whole->verdict, sizeof(ret_whole->verdict));
	for (uint32_t c = 0; c < TAIO_CLASSES; c++) {
		if (!canary->side[0].class[c].count && !canary->side[1].class[c].count)
			continue;
		for (unsigned int s = 0; s < 2 && count < max; s++) {
			const struct canary_class *class = &canary->side[s].class[c];

			rows[count].bytes = c ? 512ULL << c : 0;
			rows[count].requests[s] = class->count;
			rows[count].mean_ns[s] = canary_mean_ns(class);
			rows[count].p99_ns[s] = canary_p99_ns(class);
		}
		count++;
	}
	ret_whole->failed[0] = canary->side[0].failed;
	ret_whole->failed[1] = canary->side[1].failed;
	return count < max ? count : max;
}

/* ---- its end ---- */

static void policy_trial_end(struct taio_policy *policy, int promote, const char *why)
{
	struct policy_canary *canary = policy->canary;

	snprintf(policy->verdict, sizeof(policy->verdict), "%s: %.140s",
		 promote ? "promoted" : "abandoned", why);
	policy_say(policy, "canary: policy '%s' is %s", canary->name[1], policy->verdict);
	if (!promote) {
		mirror_close(&canary->trial);
		return;
	}
	policy_drain(policy);
	mirror_feed(&canary->trial, &policy->maps, policy_now_ns(), TAIO_RING, NULL, NULL);
	policy_take(policy, mirror_promote(&canary->trial, &policy->maps));
	policy_set_reason(policy, "");
	policy_changed(policy);
}

int policy_decide(struct taio_policy *policy, int promote, char *why, size_t why_size)
{
	if (!policy_on_trial(policy))
		return policy_why(-ENOENT, why, why_size, "no policy is on trial here");
	policy_drop_loading(policy);
	policy_trial_end(policy, promote, "as was asked for");
	return 0;
}

void policy_trial_drop(struct taio_policy *policy, const char *why)
{
	if (policy_on_trial(policy))
		policy_trial_end(policy, 0, why);
}

int policy_trial_poll(struct taio_policy *policy, uint64_t now_ns)
{
	char sentence[160];
	int good;

	if (now_ns < policy->canary->end_ns)
		return 0;
	good = canary_is_good(policy->canary, sentence, sizeof(sentence));
	policy_drop_loading(policy);
	policy_trial_end(policy, good, sentence);
	return good;
}
