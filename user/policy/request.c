/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * request.c: a policy as it is asked for in one line of text, and small things that all sources of
 * prices share. Pure functions but for the clock.
 */
#include "policy/source.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int policy_why(int err, char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	assert(err < 0);
	if (why_size) {
		va_start(args, format);
		vsnprintf(why, why_size, format, args);
		va_end(args);
	}
	return err;
}

uint64_t policy_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Where the last word of @text begins, if it has the form key=number; else NULL. */
static const char *request_last_tune(const char *text, size_t length)
{
	const char *word = text + length, *equal;

	while (word > text && word[-1] != ' ')
		word--;
	equal = memchr(word, '=', (size_t)(text + length - word));
	if (word == text || !equal || equal == word)
		return NULL;
	for (const char *p = word; p < equal; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return NULL;
	return word;
}

static int request_add_tune(struct policy_request *request, const char *word, size_t length,
			    char *why, size_t why_size)
{
	const char *equal = memchr(word, '=', length);
	size_t key = (size_t)(equal - word);
	unsigned long long value;
	char *end;

	if (request->tunes == TAIO_TUNABLES_MAX)
		return policy_why(-E2BIG, why, why_size, "more than %d tunables",
				  TAIO_TUNABLES_MAX);
	if (key >= sizeof(request->tune[0].key))
		return policy_why(-EINVAL, why, why_size, "%.*s: no such tunable", (int)key, word);
	errno = 0;
	value = strtoull(equal + 1, &end, 10);
	if (!isdigit((unsigned char)equal[1]) || end != word + length || errno ||
	    value > UINT32_MAX)
		return policy_why(-EINVAL, why, why_size, "%.*s: not a whole number", (int)length,
				  word);
	memcpy(request->tune[request->tunes].key, word, key);
	request->tune[request->tunes].key[key] = '\0';
	request->tune[request->tunes].value = (uint32_t)value;
	request->tunes++;
	return 0;
}

int policy_request_parse(struct policy_request *ret_request, const char *text, char *why,
			 size_t why_size)
{
	size_t length = strlen(text);
	const char *word;
	int err;

	ret_request->tunes = 0;
	while (length && text[length - 1] == ' ')
		length--;
	while ((word = request_last_tune(text, length))) {
		err = request_add_tune(ret_request, word, (size_t)(text + length - word), why,
				       why_size);
		if (err)
			return err;
		length = (size_t)(word - text);
		while (length && text[length - 1] == ' ')
			length--;
	}
	if (!length)
		return policy_why(-EINVAL, why, why_size, "the name of a policy is missing");
	if (length >= sizeof(ret_request->name))
		return policy_why(-ENAMETOOLONG, why, why_size, "the name is too long");
	memcpy(ret_request->name, text, length);
	ret_request->name[length] = '\0';
	return 0;
}

int policy_request_tune(const struct policy_request *request, const char *policy,
			const struct taio_tunable *table, uint32_t *values, char *why,
			size_t why_size)
{
	for (uint32_t t = 0; request && t < request->tunes; t++) {
		uint32_t value = request->tune[t].value, i = 0;

		while (i < TAIO_TUNABLES_MAX && table[i].name[0] &&
		       strncmp(table[i].name, request->tune[t].key, sizeof(table[i].name)))
			i++;
		if (i == TAIO_TUNABLES_MAX || !table[i].name[0])
			return policy_why(-EINVAL, why, why_size, "policy '%s' has no tunable '%s'",
					  policy, request->tune[t].key);
		if (value < table[i].min || value > table[i].max)
			return policy_why(-EINVAL, why, why_size,
					  "policy '%s': %s must be %u..%u %.*s, not %u", policy,
					  request->tune[t].key, table[i].min, table[i].max,
					  (int)sizeof(table[i].unit), table[i].unit, value);
		values[i] = value;
	}
	return 0;
}

int policy_ctl_is_sane(const struct taio_ctl *ctl)
{
	size_t length = strnlen(ctl->policy, sizeof(ctl->policy));

	if (ctl->magic != TAIO_CTL_MAGIC || ctl->abi != TAIO_POLICY_ABI || !length ||
	    length == sizeof(ctl->policy))
		return 0;
	for (size_t i = 0; i < length; i++)
		if (!isgraph((unsigned char)ctl->policy[i]))
			return 0;
	return 1;
}

void policy_copy_maps(const struct taio_maps *to, struct taio_lat *lat,
		      const struct taio_maps *from)
{
	struct taio_engine *engine = to->engine;

	to->ctl->generation = from->ctl->generation; /* says that there is something in the maps */
	memcpy(to->ctx, from->ctx, TAIO_CONTEXTS * sizeof(*to->ctx));
	memcpy(to->caps, from->caps, TAIO_CONTEXTS * TAIO_SLOTS * sizeof(*to->caps));
	memcpy(to->dev, from->dev, TAIO_DEVICES * sizeof(*to->dev));
	/* Only what is in use, so that memory nobody needs stays untouched. */
	for (uint32_t c = 0; c < TAIO_CONTEXTS; c++) {
		uint32_t first = c * TAIO_CLASSES * TAIO_SLOTS;

		if (!to->ctx[c].key)
			continue;
		for (uint32_t r = first; r < first + TAIO_CLASSES * TAIO_SLOTS; r++)
			if (from->lat[r].count || from->lat[r].errors)
				lat[r] = from->lat[r];
	}
	if (engine && from->engine) {
		engine->decisions = from->engine->decisions;
		engine->probes = from->engine->probes;
		engine->retries = from->engine->retries;
		engine->hedges = from->engine->hedges;
		engine->dropped = from->engine->dropped;
		memcpy(engine->in_flight, from->engine->in_flight, sizeof(engine->in_flight));
	}
}
