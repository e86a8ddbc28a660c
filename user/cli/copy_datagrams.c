/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy_datagrams.c: what became of the datagrams of a copy, in words and as JSON.
 */
#include "cli/copy.h"

#include <stdio.h>
#include <string.h>

void datagrams_add(struct taio_message_counters *to, const struct taio_message_counters *add)
{
	to->sent += add->sent;
	to->completed += add->completed;
	to->received += add->received;
	to->bytes += add->bytes;
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		to->dropped[i] += add->dropped[i];
}

static int datagrams_none(const struct taio_message_counters *counters)
{
	uint64_t any = counters->sent | counters->received;

	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		any |= counters->dropped[i];
	return any == 0;
}

static void datagrams_part(char *text, size_t size, uint64_t count, const char *what)
{
	size_t used = strlen(text);
	char number[CLI_TEXT];

	if (count)
		snprintf(text + used, size - used, "%s%s %s", used ? ", " : "",
			 cli_count_text(number, count), what);
}

const char *datagrams_text(char *text, size_t size, const struct taio_message_counters *counters)
{
	text[0] = '\0';
	datagrams_part(text, size, counters->sent, "sent");
	datagrams_part(text, size, counters->sent - counters->completed, "not yet completed");
	datagrams_part(text, size, counters->received, "received");
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		datagrams_part(text, size, counters->dropped[i], taio_drop_name(i));
	return text;
}

void datagrams_json(struct cli_out *out, unsigned int *count,
		    const struct taio_message_counters *counters)
{
	unsigned int members = 0, reasons = 0;

	if (datagrams_none(counters))
		return;
	json_key(out, count, "datagrams");
	out_text(out, "{");
	json_u64(out, &members, "sent", counters->sent);
	json_u64(out, &members, "completed", counters->completed);
	json_u64(out, &members, "received", counters->received);
	json_u64(out, &members, "bytes", counters->bytes);
	json_key(out, &members, "dropped");
	out_text(out, "{");
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++) {
		if (counters->dropped[i])
			json_u64(out, &reasons, taio_drop_name(i), counters->dropped[i]);
	}
	out_text(out, "}}");
}
