/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* fault_text.c: reads a schedule of faults; the grammar is in fault.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fault.h"
#include "drivers/fault_plan.h"

#define TEXT_NUMBER_MAX 1000000000ULL /* of what is written */

struct text {
	const char *at;
	char *why;
	size_t size;
	bool failed;
};

/* The first mistake is the one that is told. Return: false. */
__attribute__((format(printf, 2, 3))) static bool text_wrong(struct text *t, const char *format,
							     ...)
{
	va_list args;

	if (t->failed)
		return false;
	t->failed = true;
	va_start(args, format);
	vsnprintf(t->why, t->size, format, args);
	va_end(args);
	return false;
}

static bool text_take(struct text *t, const char *word)
{
	size_t length = strlen(word);

	if (strncmp(t->at, word, length))
		return false;
	t->at += length;
	return true;
}

static bool text_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A number with up to three decimals, in thousandths. */
static bool text_milli(struct text *t, const char *what, uint64_t *ret)
{
	const char *start = t->at;
	uint64_t value = 0, part = 0, scale = 1;

	for (; text_is_digit(*t->at) && value < TEXT_NUMBER_MAX; t->at++)
		value = value * 10 + (uint64_t)(*t->at - '0');
	if (t->at == start || value >= TEXT_NUMBER_MAX)
		return text_wrong(t, "%s: '%.12s' is no number below 10^9", what, start);
	if (*t->at == '.')
		for (t->at++; text_is_digit(*t->at) && scale < 1000; t->at++, scale *= 10)
			part = part * 10 + (uint64_t)(*t->at - '0');
	*ret = value * 1000 + part * (1000 / scale);
	return true;
}

static bool text_count(struct text *t, const char *what, uint32_t *ret)
{
	const char *start = t->at;
	uint64_t value = 0;

	for (; text_is_digit(*t->at) && value < TEXT_NUMBER_MAX; t->at++)
		value = value * 10 + (uint64_t)(*t->at - '0');
	if (value == 0 || value >= TEXT_NUMBER_MAX)
		return text_wrong(t, "%s: '%.12s' is no whole number from 1 on", what, start);
	*ret = (uint32_t)value;
	return true;
}

static bool text_unit(struct text *t, uint64_t milli, uint64_t *ret_ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };

	for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (text_take(t, units[i].name)) {
			if (milli > UINT64_MAX / 4 / units[i].ns)
				return text_wrong(t, "a time is too long");
			*ret_ns = milli * units[i].ns / 1000;
			return true;
		}
	return text_wrong(t, "a time needs a unit: ns, us, ms or s");
}

static bool text_time(struct text *t, const char *what, uint64_t *ret_ns)
{
	uint64_t milli;

	return text_milli(t, what, &milli) && text_unit(t, milli, ret_ns);
}

static bool text_delay(struct text *t, struct fault_rule *rule)
{
	uint64_t milli;

	rule->kind = FAULT_DELAY;
	rule->factor_milli = 1000;
	if (!text_milli(t, "delay", &milli))
		return false;
	if (!text_take(t, "x"))
		return text_unit(t, milli, &rule->ns);
	if (milli < 1000 || milli > 1000000000)
		return text_wrong(t, "delay: a factor is 1x to 1000000x");
	rule->factor_milli = milli;
	return true;
}

static bool text_stall(struct text *t, struct fault_rule *rule)
{
	rule->kind = FAULT_STALL;
	if (!text_time(t, "stall", &rule->ns))
		return false;
	if (!text_take(t, "/"))
		return text_wrong(t, "stall: TIME/PERIOD is wanted, as in 5ms/100ms");
	if (!text_time(t, "stall", &rule->period_ns))
		return false;
	if (rule->ns == 0 || rule->ns >= rule->period_ns)
		return text_wrong(t, "stall: the time must be shorter than its period");
	return true;
}

static bool text_error(struct text *t, struct fault_rule *rule)
{
	size_t length = strcspn(t->at, "/@,;");
	uint32_t number = 0;

	rule->kind = FAULT_ERROR;
	if (text_is_digit(*t->at)) {
		if (!text_count(t, "errno", &number))
			return false;
	} else {
		for (int i = 1; i < 134 && !number; i++) {
			const char *name = strerrorname_np(i);

			if (name && strlen(name) == length && !strncmp(name, t->at, length))
				number = (uint32_t)i;
		}
		if (!number)
			return text_wrong(t, "errno: '%.*s' is no error that is known here",
					  (int)(length < 20 ? length : 20), t->at);
		t->at += length;
	}
	if (number > 4095)
		return text_wrong(t, "errno: %u is no error", number);
	if (number == EAGAIN || number == EINTR || number == ECANCELED)
		return text_wrong(t, "errno: %s means 'ask again', it is no failure of a device",
				  strerrorname_np((int)number));
	rule->error = (int)number;
	return true;
}

static bool text_short(struct text *t, struct fault_rule *rule)
{
	rule->kind = FAULT_SHORT;
	if (!text_count(t, "short", &rule->part))
		return false;
	if (!text_take(t, "/"))
		return text_wrong(t, "short: A/B is wanted, as in 1/3");
	if (!text_count(t, "short", &rule->whole))
		return false;
	if (rule->part >= rule->whole)
		return text_wrong(t, "short: %u/%u is not less than everything", rule->part,
				  rule->whole);
	return true;
}

/* "/N" and "@FROM-UNTIL" */
static bool text_when(struct text *t, struct fault_rule *rule)
{
	rule->every = 1;
	rule->until_ns = UINT64_MAX;
	if (rule->kind != FAULT_STALL && text_take(t, "/") &&
	    !text_count(t, "each Nth step", &rule->every))
		return false;
	if (!text_take(t, "@"))
		return true;
	if (*t->at != '-' && !text_time(t, "window", &rule->from_ns))
		return false;
	if (!text_take(t, "-"))
		return text_wrong(t, "window: @FROM-UNTIL is wanted, as in @1s-2s");
	if (*t->at && *t->at != ',' && *t->at != ';' && !text_time(t, "window", &rule->until_ns))
		return false;
	if (rule->from_ns >= rule->until_ns)
		return text_wrong(t, "window: it ends before it begins");
	return true;
}

static bool text_fault(struct text *t, struct fault_rule *rule)
{
	bool right;

	if (text_take(t, "delay="))
		right = text_delay(t, rule);
	else if (text_take(t, "stall="))
		right = text_stall(t, rule);
	else if (text_take(t, "errno="))
		right = text_error(t, rule);
	else if (text_take(t, "short="))
		right = text_short(t, rule);
	else
		return text_wrong(t,
				  "'%.16s' is no fault: delay=, stall=, errno= or short=", t->at);
	return right && text_when(t, rule);
}

static bool text_device(struct text *t, struct fault_plan *plan)
{
	size_t length = strcspn(t->at, ":;,");
	const char *name = t->at;

	if (length == 0 || t->at[length] != ':')
		return text_wrong(t, "'%.20s': DEVICE:FAULT is wanted, as in rw:delay=10x", name);
	if (length >= sizeof(plan->rule[0].device))
		return text_wrong(t, "'%.20s' is too long for the name of a device", name);
	t->at += length + 1;
	do {
		struct fault_rule *rule = &plan->rule[plan->count];

		if (plan->count == FAULT_RULES)
			return text_wrong(t, "more than %d faults", FAULT_RULES);
		memcpy(rule->device, name, length);
		if (!text_fault(t, rule))
			return false;
		plan->count++;
	} while (text_take(t, ","));
	if (*t->at && *t->at != ';')
		return text_wrong(t, "'%.16s' behind the fault of '%.*s'", t->at, (int)length,
				  name);
	return true;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): text_wrong() writes to @why */
int fault_parse(struct fault_plan **ret_plan, const char *text, uint64_t start_ns, char *why,
		size_t size)
{
	struct fault_plan *plan = calloc(1, sizeof(*plan));
	struct text t = { .at = text, .why = why, .size = size };

	if (!plan)
		return -ENOMEM;
	plan->start_ns = start_ns;
	do {
		if (!text_device(&t, plan)) {
			free(plan);
			return -EINVAL;
		}
	} while (text_take(&t, ";") && *t.at);
	*ret_plan = plan;
	return 0;
}

const char *fault_unknown(const struct fault_plan *plan)
{
	for (unsigned int i = 0; i < plan->count; i++)
		if (!plan->rule[i].known)
			return plan->rule[i].device;
	return NULL;
}
