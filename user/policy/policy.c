/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy.c: which policy an engine runs, and its change while the engine runs. It decides where
 * prices come from and keeps the story of it (name, reason, swaps); how they are made is the
 * business of the sources (native.c). See policy.h.
 */
#include "policy/policy.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/native.h"
#include "policy/source.h"

#define POLICY_DEFAULT "tab"

struct taio_policy {
	struct taio_maps maps; /* of source; its address never changes */
	struct policy_source *source;
	struct policy_options options;
	uint64_t swaps, fallbacks;
	int ended; /* the source cannot go on: policy_poll() replaces it */
	char reason[128];
};

__attribute__((format(printf, 2, 3))) static void policy_say(struct taio_policy *policy,
							     const char *format, ...)
{
	char line[400];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	policy->options.log(policy->options.arg, line);
}

static void policy_set_reason(struct taio_policy *policy, const char *reason)
{
	snprintf(policy->reason, sizeof(policy->reason), "%.127s", reason);
}

static void policy_use(struct taio_policy *policy, struct policy_source *source)
{
	policy->source = source;
	policy->maps = source->maps;
	policy->ended = 0;
}

/* Opens what is asked for. @from: the running source or NULL; when it is taken over by the new one
 * it must not be closed, which the caller sees by the maps being the same. */
static int policy_open_source(struct policy_source **ret_source, const char *text,
			      struct policy_source *from, char *why, size_t why_size)
{
	const struct taio_native_policy *twin;
	struct policy_request request;
	int err;

	err = policy_request_parse(&request, text, why, why_size);
	if (err)
		return err;
	twin = native_find(request.name);
	if (!twin)
		return policy_why(-ENOENT, why, why_size, "%s: no such policy", request.name);
	return native_open(ret_source, twin, &request, from, why, why_size);
}

int policy_open(struct taio_policy **ret_policy, const struct policy_options *options, char *why,
		size_t why_size)
{
	const char *wanted = options->name;
	struct policy_source *source;
	struct taio_policy *policy;
	char reason[256];
	int err;

	assert(options->log);
	policy = calloc(1, sizeof(*policy));
	if (!policy)
		return policy_why(-ENOMEM, why, why_size, "no memory");
	policy->options = *options;
	if (!wanted)
		wanted = secure_getenv("TAIO_POLICY");
	if (!wanted || !*wanted)
		wanted = POLICY_DEFAULT;
	err = policy_open_source(&source, wanted, NULL, reason, sizeof(reason));
	if (err && !options->name) {
		/* Asked for by the environment only: say so and go on. */
		policy_set_reason(policy, reason);
		policy_say(policy, "policy '%s' of $TAIO_POLICY is not used: %s", wanted, reason);
		err = policy_open_source(&source, POLICY_DEFAULT, NULL, reason, sizeof(reason));
	}
	if (err) {
		free(policy);
		return policy_why(err, why, why_size, "%s", reason);
	}
	policy_use(policy, source);
	*ret_policy = policy;
	return 0;
}

void policy_close(struct taio_policy *policy)
{
	if (!policy)
		return;
	if (policy->source)
		policy->source->ops->close(policy->source);
	free(policy);
}

const struct taio_maps *policy_maps(const struct taio_policy *policy)
{
	return &policy->maps;
}

void policy_tick(struct taio_policy *policy, uint64_t now_ns, int urgent)
{
	struct taio_maps *maps = &policy->maps;

	if (maps->engine)
		maps->engine->alive_ns = now_ns;
	if (urgent && maps->ctl->flags & TAIO_POLICY_RANKS)
		urgent = 0; /* its prices are no predictions: everything would be a surprise */
	if (policy->source->ops->tick(policy->source, now_ns, urgent))
		policy->ended = 1;
}

int policy_poll(struct taio_policy *policy)
{
	(void)policy;
	return 0;
}

int policy_fd(struct taio_policy *policy)
{
	(void)policy;
	return -1;
}

int policy_swap(struct taio_policy *policy, const char *name, int force_bpf, char *why,
		size_t why_size)
{
	struct policy_source *old = policy->source, *source;
	int err;

	(void)force_bpf;
	old->ops->tick(old, policy_now_ns(), 1); /* nothing that it measured is lost */
	err = policy_open_source(&source, name, old, why, why_size);
	if (err)
		return err;
	if (source != old)
		old->ops->close(old);
	policy_use(policy, source);
	policy_set_reason(policy, "");
	policy->swaps++;
	policy_say(policy, "policy '%s' runs now", source->name);
	return 0;
}

void policy_info(const struct taio_policy *policy, struct taio_policy_info *ret_info)
{
	const struct policy_source *source = policy->source;

	memset(ret_info, 0, sizeof(*ret_info));
	snprintf(ret_info->name, sizeof(ret_info->name), "%s", source->name);
	snprintf(ret_info->text, sizeof(ret_info->text), "%s", source->text);
	snprintf(ret_info->reason, sizeof(ret_info->reason), "%s", policy->reason);
	ret_info->abi = TAIO_POLICY_ABI;
	ret_info->where = source->ops->where;
	ret_info->swaps = policy->swaps;
	ret_info->ticks = policy->maps.ctl->ticks;
	ret_info->samples = policy->maps.ctl->samples;
	ret_info->fallbacks = policy->fallbacks;
}
