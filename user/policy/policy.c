/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy.c: which policy an engine runs, and its change while the engine runs. It decides where
 * prices come from and keeps the story of it (name, reason, swaps); how they are made is the
 * business of the sources: native.c, bpf_source.c, machine.c. See policy.h.
 */
#include "policy/policy.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/bpf_source.h"
#include "policy/control.h"
#include "policy/machine.h"
#include "policy/native.h"
#include "policy/state.h"

#define POLICY_CONTROL_POLLS 50 /* an engine that never sleeps can be reached after so many ms */

void policy_say(struct taio_policy *policy, const char *format, ...)
{
	char line[600];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	policy->options.log(policy->options.arg, line);
}

void policy_set_reason(struct taio_policy *policy, const char *reason)
{
	snprintf(policy->reason, sizeof(policy->reason), "%.127s", reason);
}

const char *policy_where_text(const struct policy_source *source)
{
	static const char *const where[] = { "natively", "in the kernel", "machine-wide" };

	return where[source->ops->where];
}

/* Twins of this library are known; what came from outside is not. */
static int policy_is_watched(const struct taio_policy *policy)
{
	if (policy->options.engine_flags & TAIO_NO_WATCHDOG)
		return 0;
	return policy->options.watch_all || policy->source->ops->where != TAIO_POLICY_NATIVE;
}

static void policy_use(struct taio_policy *policy, struct policy_source *source)
{
	policy->source = source;
	policy->maps = source->maps;
	policy->generation = source->maps.ctl->generation;
	policy->ended = policy->bitten = 0;
	if (policy_is_watched(policy))
		watchdog_forgive(&policy->dog);
	else
		watchdog_close(&policy->dog);
}

/* Under a machine-wide policy its pick hook runs in this process, from the native twin. */
static void policy_tell_pick(struct taio_policy *policy)
{
	const struct taio_maps *maps = &policy->maps;

	if (maps->shared && (maps->ctl->flags & TAIO_POLICY_PICKS) &&
	    !native_find(policy->source->name))
		policy_say(policy,
			   "policy '%s' picks request by request, but this library has no twin of "
			   "it: prices decide",
			   policy->source->name);
}

/* The new source runs; the old one may live on in it. */
void policy_take(struct taio_policy *policy, struct policy_source *source)
{
	struct policy_source *old = policy->source;

	if (old && old != source)
		old->ops->close(old);
	policy_use(policy, source);
	policy_tell_pick(policy);
}

/* ---- what is asked for ---- */

/* A name means the same kind of policy as runs now: native beside native, kernel beside kernel. */
int policy_plan(const struct taio_policy *policy, const char *text, int force_bpf,
		struct policy_plan *ret_plan, char *why, size_t why_size)
{
	const struct policy_source *source = policy->source;
	struct policy_request *request = &ret_plan->request;
	int err = policy_request_parse(request, text, why, why_size);

	if (err)
		return err;
	ret_plan->twin = native_find(request->name);
	ret_plan->in_kernel = force_bpf || !ret_plan->twin ||
			      (source && source->ops->where == TAIO_POLICY_BPF);
	if (!ret_plan->in_kernel)
		return 0;
	if (!(policy->options.engine_flags & TAIO_NO_BPF))
		err = object_find(request->name, ret_plan->path, sizeof(ret_plan->path), why,
				  why_size);
	else if (force_bpf || strchr(request->name, '/'))
		err = policy_why(-EPERM, why, why_size, "%s: this engine may not use BPF",
				 request->name);
	else
		err = policy_why(-ENOENT, why, why_size,
				 "%s: no such policy among the native ones, and this engine may "
				 "not use BPF",
				 request->name);
	if (err && ret_plan->twin && !force_bpf) {
		ret_plan->in_kernel = 0;
		err = 0;
	}
	return err;
}

static int policy_run_native(struct taio_policy *policy, const struct taio_native_policy *twin,
			     const struct policy_request *request, char *why, size_t why_size)
{
	struct policy_source *source;
	int err = native_open(&source, twin, request, policy->source, why, why_size);

	if (!err)
		policy_take(policy, source);
	return err;
}

int policy_run_object(struct taio_policy *policy, struct policy_object *object, char *why,
		      size_t why_size)
{
	struct policy_source *source;
	int err = bpf_source_open(&source, object, policy->source, why, why_size);

	if (!err)
		policy_take(policy, source);
	return err;
}

int policy_may_stand_in(const struct taio_native_policy *twin, int err)
{
	return twin && (err == -EPERM || err == -ENOSYS || err == -ENOMEM || err == -EMFILE);
}

/* The native twin stands in when its object cannot be loaded here. @err, @why: what came of it. */
int policy_stand_in(struct taio_policy *policy, const struct taio_native_policy *twin,
		    const struct policy_request *request, int err, char *why, size_t why_size)
{
	if (!policy_may_stand_in(twin, err))
		return err;
	policy_set_reason(policy, why);
	policy_say(policy, "policy '%s' runs natively: %s", request->name, why);
	return policy_run_native(policy, twin, request, why, why_size);
}

static int policy_run(struct taio_policy *policy, const struct policy_plan *plan, int force_bpf,
		      char *why, size_t why_size)
{
	struct policy_object object;
	int err;

	if (!plan->in_kernel)
		return policy_run_native(policy, plan->twin, &plan->request, why, why_size);
	err = object_load(&object, plan->path, &plan->request, bpf_source_reuse(policy->source), 1,
			  why, why_size);
	if (!err)
		return policy_run_object(policy, &object, why, why_size);
	return policy_stand_in(policy, force_bpf ? NULL : plan->twin, &plan->request, err, why,
			       why_size);
}

static int policy_run_text(struct taio_policy *policy, const char *text, int force_bpf, char *why,
			   size_t why_size)
{
	struct policy_plan *plan = malloc(sizeof(*plan));
	int err;

	if (!plan)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	err = policy_plan(policy, text, force_bpf, plan, why, why_size);
	if (!err)
		err = policy_run(policy, plan, force_bpf, why, why_size);
	free(plan);
	return err;
}

/* ---- open and close ---- */

static int policy_run_default(struct taio_policy *policy, char *why, size_t why_size)
{
	return policy_run_native(policy, native_find(POLICY_DEFAULT), NULL, why, why_size);
}

/* Nobody asked for a policy here: what the environment says, what the machine has, the default. */
static int policy_run_usual(struct taio_policy *policy, char *why, size_t why_size)
{
	const char *wanted = secure_getenv("TAIO_POLICY");
	struct policy_source *source;
	int err;

	if (wanted && *wanted) {
		err = policy_run_text(policy, wanted, 0, why, why_size);
		if (!err)
			return 0;
		policy_set_reason(policy, why);
		policy_say(policy, "policy '%s' of $TAIO_POLICY is not used: %s", wanted, why);
		return policy_run_default(policy, why, why_size);
	}
	if (!(policy->options.engine_flags & TAIO_NO_BPF)) {
		err = machine_open(&source, why, why_size);
		if (!err) {
			policy_take(policy, source);
			return 0;
		}
		if (err != -ENOENT) {
			policy_set_reason(policy, why);
			policy_say(policy, "the machine-wide policy is not used: %s", why);
		}
	}
	return policy_run_default(policy, why, why_size);
}

int policy_open(struct taio_policy **ret_policy, const struct policy_options *options, char *why,
		size_t why_size)
{
	struct taio_policy *policy;
	char sentence[512];
	int err;

	assert(options->log);
	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	policy->options = *options;
	policy->control_fd = options->engine_flags & TAIO_NO_CONTROL ? -2 : -1;
	if (options->name)
		err = policy_run_text(policy, options->name, options->force_bpf, sentence,
				      sizeof(sentence));
	else
		err = policy_run_usual(policy, sentence, sizeof(sentence));
	if (err) {
		free(policy);
		return policy_why(err, why, why_size, "%s", sentence);
	}
	*ret_policy = policy;
	return 0;
}

void policy_close(struct taio_policy *policy)
{
	if (!policy)
		return;
	policy_drop_loading(policy);
	if (policy->control_fd >= 0)
		close(policy->control_fd);
	if (policy->canary)
		mirror_close(&policy->canary->trial);
	free(policy->canary);
	watchdog_close(&policy->dog);
	if (policy->source)
		policy->source->ops->close(policy->source);
	free(policy);
}

/* ---- while it runs ---- */

static void policy_watch(struct taio_policy *policy, uint64_t now_ns)
{
	struct watchdog *dog = &policy->dog;

	if (watchdog_tick(dog, native_find(POLICY_DEFAULT), &policy->maps, now_ns))
		policy->bitten = 1;
	policy->maps.engine->watch_strikes = dog->strikes; /* for readers of a dump */
	policy->maps.engine->watch_regret = dog->regret_percent;
}

const struct taio_maps *policy_judge(const struct taio_policy *policy)
{
	return policy->dog.shadow.source ? &policy->dog.shadow.source->maps : NULL;
}

void policy_judged(struct taio_policy *policy, uint64_t own_ns, uint64_t best_ns, int priced)
{
	watchdog_judged(&policy->dog, own_ns, best_ns, priced);
}

const struct taio_maps *policy_maps(const struct taio_policy *policy)
{
	return &policy->maps;
}

void policy_tick(struct taio_policy *policy, uint64_t now_ns, int urgent)
{
	struct policy_source *source = policy->source;

	policy->maps.engine->alive_ns = now_ns;
	if (policy->maps.ctl->flags & TAIO_POLICY_RANKS)
		urgent = 0; /* its prices are no predictions: everything would be a surprise */
	if (source->ops->tick(source, now_ns, urgent))
		policy->ended = 1;
	policy->maps.engine = source->maps.engine; /* a lost slot is replaced by another */
	if (policy_is_watched(policy))
		policy_watch(policy, now_ns);
	if (policy_on_trial(policy))
		mirror_feed(&policy->canary->trial, &policy->maps, now_ns, TAIO_RING, NULL, NULL);
}

void policy_drain(struct taio_policy *policy)
{
	policy->source->ops->tick(policy->source, policy_now_ns(), 1);
}

void policy_changed(struct taio_policy *policy)
{
	policy->swaps++;
	policy_say(policy, "policy '%s' runs %s now", policy->source->name,
		   policy_where_text(policy->source));
}

int policy_swap(struct taio_policy *policy, const char *name, int force_bpf, char *why,
		size_t why_size)
{
	char before[sizeof(policy->reason)];
	int err;

	policy_drop_loading(policy);
	policy_drain(policy);
	memcpy(before, policy->reason, sizeof(before));
	policy_set_reason(policy, "");
	err = policy_run_text(policy, name, force_bpf, why, why_size);
	if (err) {
		memcpy(policy->reason, before, sizeof(before));
		return err;
	}
	policy_trial_drop(policy, "another policy was put in the place of the running one");
	policy_changed(policy);
	return 0;
}

/* @shadow: goes on with what the watchdog's own copy of the built-in policy learnt, not with what
 * the maps of a bad policy say. */
static int policy_go_back(struct taio_policy *policy, const char *reason, int shadow)
{
	char why[128];
	int err = 0;

	policy_drop_loading(policy);
	policy_trial_drop(policy, "the running policy was replaced by the built-in one");
	policy_say(policy, "policy '%s' is replaced by the built-in '%s': %s", policy->source->name,
		   POLICY_DEFAULT, reason);
	if (shadow && policy->dog.shadow.source)
		policy_take(policy, mirror_promote(&policy->dog.shadow, &policy->maps));
	else
		err = policy_run_default(policy, why, sizeof(why));
	if (err)
		return err;
	policy_set_reason(policy, reason);
	policy->fallbacks++;
	policy->swaps++;
	return 0;
}

int policy_reject(struct taio_policy *policy, const char *reason)
{
	return policy_go_back(policy, reason, 0);
}

/* ---- the control socket ---- */

int policy_fd(struct taio_policy *policy)
{
	if (policy->control_fd == -1) {
		policy->control_fd = control_open();
		if (policy->control_fd < 0)
			policy->control_fd = -2; /* tried once; the engine works without it */
	}
	return policy->control_fd >= 0 ? policy->control_fd : -1;
}

/* ---- what changes by itself ---- */

/* The machine-wide policy is gone: go on with a copy of what it knew. */
static int policy_leave(struct taio_policy *policy)
{
	policy->ended = 0;
	return policy_reject(policy, policy->maps.ctl->magic == TAIO_CTL_MAGIC
					     ? "another process took its engine slot"
					     : "the machine-wide policy was uninstalled") == 0;
}

static int policy_bite(struct taio_policy *policy)
{
	char reason[sizeof(policy->dog.fault)];

	policy->bitten = 0;
	memcpy(reason, policy->dog.fault, sizeof(reason));
	return policy_go_back(policy, reason, 1) == 0;
}

/* Somebody put another object onto our maps, with bpftool or `taio policy install`. */
static int policy_notice(struct taio_policy *policy)
{
	struct policy_source *source = policy->source;

	if (!policy_ctl_is_sane(policy->maps.ctl))
		return 0; /* the next tick or the watchdog will tell */
	memset(source->name, 0, sizeof(source->name));
	memcpy(source->name, policy->maps.ctl->policy, sizeof(source->name) - 1);
	source->text[0] = '\0';
	policy->generation = policy->maps.ctl->generation;
	policy_set_reason(policy, "");
	watchdog_forgive(&policy->dog);
	policy_changed(policy);
	policy_tell_pick(policy);
	return 1;
}

int policy_poll(struct taio_policy *policy)
{
	int changed = 0;

	if (policy->ended)
		changed |= policy_leave(policy);
	if (policy->bitten)
		changed |= policy_bite(policy);
	if (policy->maps.ctl->generation != policy->generation)
		changed |= policy_notice(policy);
	if (policy->control_fd == -1 && ++policy->polls >= POLICY_CONTROL_POLLS)
		(void)policy_fd(policy);
	if (policy->control_fd >= 0)
		changed |= policy_serve(policy);
	if (policy->loading && loading_is_done(policy->loading))
		changed |= policy_finish_loading(policy);
	if (policy_on_trial(policy))
		changed |= policy_trial_poll(policy, policy_now_ns());
	return changed;
}

void policy_info(const struct taio_policy *policy, struct taio_policy_info *ret_info)
{
	const struct policy_source *source = policy->source;

	memset(ret_info, 0, sizeof(*ret_info));
	memcpy(ret_info->name, source->name, sizeof(ret_info->name) - 1);
	memcpy(ret_info->text, source->text, sizeof(ret_info->text) - 1);
	memcpy(ret_info->reason, policy->reason, sizeof(ret_info->reason) - 1);
	ret_info->abi = TAIO_POLICY_ABI;
	ret_info->where = source->ops->where;
	ret_info->swaps = policy->swaps;
	ret_info->ticks = policy->maps.ctl->ticks;
	ret_info->samples = policy->maps.ctl->samples;
	ret_info->fallbacks = policy->fallbacks;
	ret_info->watched = (uint32_t)policy_is_watched(policy);
	ret_info->strikes = policy->dog.strikes;
	ret_info->regret_percent = policy->dog.regret_percent;
	if (policy_on_trial(policy)) {
		memcpy(ret_info->canary, policy->canary->trial.source->name,
		       sizeof(ret_info->canary) - 1);
		ret_info->canary_permille = policy->canary->permille;
	}
}
