/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* serve.c: what other processes ask an engine through its control socket, one line each. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/bpf_source.h"
#include "policy/control.h"
#include "policy/state.h"

void policy_drop_loading(struct taio_policy *policy)
{
	if (!policy->loading)
		return;
	loading_join(policy->loading);
	if (policy->control_fd >= 0)
		control_reply(policy->control_fd, &policy->loading->peer,
			      "error overtaken by another change");
	loading_free(policy->loading);
	policy->loading = NULL;
}

/* ---- show ---- */

static void policy_answer_show(struct taio_policy *policy, const struct control_peer *peer)
{
	struct taio_policy_info info;
	char line[768];

	policy_info(policy, &info);
	snprintf(line, sizeof(line),
		 "ok name=%s where=%u abi=%u swaps=%llu ticks=%llu samples=%llu fallbacks=%llu "
		 "watched=%u strikes=%u regret=%u share=%u canary=%s reason=%s",
		 info.name, info.where, info.abi, (unsigned long long)info.swaps,
		 (unsigned long long)info.ticks, (unsigned long long)info.samples,
		 (unsigned long long)info.fallbacks, info.watched, info.strikes,
		 info.regret_percent, info.canary_permille, info.canary[0] ? info.canary : "-",
		 info.reason);
	control_reply(policy->control_fd, peer, line);
}

/* First line: ok, canary runs, share in thousandths, ms left, failures of both sides, names; last
 * line: how it ended; between them a row for each size class. */
static void policy_answer_compare(struct taio_policy *policy, const struct control_peer *peer)
{
	struct taio_policy_comparison row[TAIO_CLASSES];
	struct policy_comparison whole;
	unsigned int rows = policy_compare(policy, &whole, row, TAIO_CLASSES);
	char text[CONTROL_LINE];
	size_t used;

	if (!whole.permille) {
		control_reply(policy->control_fd, peer, "error no canary has been tried here");
		return;
	}
	used = (size_t)snprintf(text, sizeof(text), "ok %d %u %llu %llu %llu %s %s\n", whole.runs,
				whole.permille, (unsigned long long)whole.left_ns / 1000000,
				(unsigned long long)whole.failed[0],
				(unsigned long long)whole.failed[1], whole.name[0], whole.name[1]);
	for (unsigned int i = 0; i < rows && used < sizeof(text); i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%llu %llu %llu %llu %llu %llu %llu\n",
			(unsigned long long)row[i].bytes, (unsigned long long)row[i].requests[0],
			(unsigned long long)row[i].mean_ns[0], (unsigned long long)row[i].p99_ns[0],
			(unsigned long long)row[i].requests[1],
			(unsigned long long)row[i].mean_ns[1],
			(unsigned long long)row[i].p99_ns[1]);
	if (used < sizeof(text))
		snprintf(text + used, sizeof(text) - used, "= %s", whole.verdict);
	control_reply(policy->control_fd, peer, text);
}

/* ---- changes ---- */

static void policy_answer(struct taio_policy *policy, const struct control_peer *peer, int err,
			  const char *why)
{
	char line[600];

	if (err)
		snprintf(line, sizeof(line), "error %.500s", why);
	else
		snprintf(line, sizeof(line), "ok %s runs %s%s%s", policy->source->name,
			 policy_where_text(policy->source), policy->reason[0] ? ": " : "",
			 policy->reason);
	control_reply(policy->control_fd, peer, line);
}

static void policy_answer_share(struct taio_policy *policy, const struct control_peer *peer,
				int err, const char *why)
{
	char line[600];

	if (err)
		snprintf(line, sizeof(line), "error %.500s", why);
	else
		snprintf(line, sizeof(line), "ok %s gets %u.%u %% of the requests for %llu s",
			 policy->canary->trial.source->name, policy->canary->permille / 10,
			 policy->canary->permille % 10,
			 (unsigned long long)((policy->canary->end_ns - policy->canary->begin_ns) /
					      1000000000));
	control_reply(policy->control_fd, peer, line);
}

/* Begins to load an object on a thread; policy_finish_loading() does the rest. Return: 1: on its
 * way; 0: no thread is to be had or wanted, do it here and now. */
static int policy_begin(struct taio_policy *policy, const char *text, int force_bpf,
			const struct policy_share *share, const struct control_peer *peer)
{
	struct policy_plan *plan;
	char why[512];
	int on_its_way = 0;

	if (policy->options.engine_flags & TAIO_NO_WORKERS)
		return 0;
	plan = malloc(sizeof(*plan));
	if (!plan)
		return 0;
	if (policy_plan(policy, text, force_bpf, plan, why, sizeof(why)) == 0 && plan->in_kernel)
		on_its_way =
			loading_start(&policy->loading, plan->path, &plan->request,
				      share->permille ? NULL : bpf_source_reuse(policy->source),
				      peer, policy->control_fd) == 0;
	if (on_its_way) {
		policy->loading->must_bpf = force_bpf;
		policy->loading->share = *share;
	}
	free(plan);
	return on_its_way;
}

static int policy_serve_swap(struct taio_policy *policy, const char *text, int force_bpf,
			     const struct control_peer *peer)
{
	static const struct policy_share all;
	char why[512];
	int err;

	if (policy->loading) {
		control_reply(policy->control_fd, peer, "error another change is on its way");
		return 0;
	}
	if (policy_begin(policy, text, force_bpf, &all, peer))
		return 0;
	err = policy_swap(policy, text, force_bpf, why, sizeof(why));
	policy_answer(policy, peer, err, why);
	return err == 0;
}

/* "PERMILLE MS NAME KEY=VALUE ..." */
static void policy_serve_canary(struct taio_policy *policy, const char *text,
				const struct control_peer *peer)
{
	unsigned long permille;
	unsigned long long ms;
	struct policy_share share;
	char why[512], *next, *name;
	int err;

	permille = strtoul(text, &next, 10);
	ms = strtoull(next, &name, 10);
	if (next == text || name == next || *name != ' ' || permille > UINT32_MAX ||
	    ms > UINT64_MAX / 1000000) {
		control_reply(policy->control_fd, peer, "error no such share");
		return;
	}
	name += strspn(name, " ");
	share.permille = (uint32_t)permille;
	share.ns = ms * 1000000;
	err = policy_canary_check(policy, &share, why, sizeof(why));
	if (!err && policy_begin(policy, name, 0, &share, peer))
		return;
	if (!err)
		err = policy_canary(policy, name, &share, why, sizeof(why));
	policy_answer_share(policy, peer, err, why);
}

static int policy_serve_decide(struct taio_policy *policy, int promote,
			       const struct control_peer *peer)
{
	char why[512];
	int err = policy_decide(policy, promote, why, sizeof(why));

	policy_answer(policy, peer, err, why);
	return !err && promote;
}

int policy_serve(struct taio_policy *policy)
{
	struct control_peer peer;
	char line[CONTROL_LINE];
	int changed = 0;

	while (control_receive(policy->control_fd, line, sizeof(line), &peer)) {
		if (!line[0])
			continue; /* only a wake-up */
		if (!strcmp(line, "show"))
			policy_answer_show(policy, &peer);
		else if (!strcmp(line, "compare"))
			policy_answer_compare(policy, &peer);
		else if (!strcmp(line, "promote") || !strcmp(line, "abandon"))
			changed |= policy_serve_decide(policy, line[0] == 'p', &peer);
		else if (!strncmp(line, "swap ", 5))
			changed |= policy_serve_swap(policy, line + 5, 0, &peer);
		else if (!strncmp(line, "load ", 5))
			changed |= policy_serve_swap(policy, line + 5, 1, &peer);
		else if (!strncmp(line, "canary ", 7))
			policy_serve_canary(policy, line + 7, &peer);
		else
			control_reply(policy->control_fd, &peer, "error no such request");
	}
	return changed;
}

/* ---- objects that were loaded on a thread ---- */

static int policy_finish_swap(struct taio_policy *policy, struct policy_loading *job)
{
	char before[sizeof(policy->reason)];
	int err = job->err;

	policy_drain(policy);
	memcpy(before, policy->reason, sizeof(before));
	policy_set_reason(policy, "");
	if (!err) {
		err = policy_run_object(policy, &job->object, job->why, sizeof(job->why));
		object_init(&job->object); /* given away, whatever came of it */
	} else {
		err = policy_stand_in(policy, job->must_bpf ? NULL : native_find(job->request.name),
				      &job->request, err, job->why, sizeof(job->why));
	}
	if (err) {
		memcpy(policy->reason, before, sizeof(before));
	} else {
		policy_trial_drop(policy, "another policy was put in the place of the running one");
		policy_changed(policy);
	}
	policy_answer(policy, &job->peer, err, job->why);
	return err == 0;
}

static void policy_finish_canary(struct taio_policy *policy, struct policy_loading *job)
{
	const struct taio_native_policy *twin = native_find(job->request.name);
	int err = job->err;

	if (!err) {
		err = policy_trial_start(policy, NULL, &job->object, &job->request, &job->share,
					 job->why, sizeof(job->why));
		object_init(&job->object); /* given away, whatever came of it */
	} else if (policy_may_stand_in(twin, err)) {
		err = policy_trial_start(policy, twin, NULL, &job->request, &job->share, job->why,
					 sizeof(job->why));
	}
	policy_answer_share(policy, &job->peer, err, job->why);
}

/* The object is in the kernel, or was refused. */
int policy_finish_loading(struct taio_policy *policy)
{
	struct policy_loading *job = policy->loading;
	int changed = 0;

	policy->loading = NULL;
	loading_join(job);
	if (job->share.permille)
		policy_finish_canary(policy, job);
	else
		changed = policy_finish_swap(policy, job);
	loading_free(job);
	return changed;
}
