/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_verdict.c: see bpf_verdict.h. */
#include "policy/bpf_verdict.h"

#include <stdio.h>
#include <string.h>

/* Is this line of a verifier log the state of the machine, a source line or a statistic? */
static int verdict_is_noise(const char *line, size_t length)
{
	static const char *const noise[] = { "processed ",   "stack depth", "verification time",
					     "mark_precise", "max_states",  "peak_states",
					     "from ",        "last_idx",    "regs=",
					     "parent ",      "-- ",         "; ",
					     "func#",        "cur state:",  "old state:",
					     "caller:",      "to caller",   "returning from",
					     "callee:",      "frame",       "(0)",
					     " frame",       "Suggestion:", "Validating ",
					     "Func#" };
	size_t digits = 0;

	if (!length || line[0] == ' ')
		return 1;
	for (unsigned int i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
		if (length >= strlen(noise[i]) && !memcmp(line, noise[i], strlen(noise[i])))
			return 1;
	while (digits < length && line[digits] >= '0' && line[digits] <= '9')
		digits++;
	if (digits && digits < length && line[digits] == ':')
		return 1;                   /* an instruction */
	if (line[0] == 'R' && length > 3) { /* registers: "R1=", "R10=", "R1_w=" */
		size_t at = 1;

		while (at < length && line[at] >= '0' && line[at] <= '9')
			at++;
		return at > 1 && at < length && (line[at] == '=' || line[at] == '_');
	}
	return 0;
}

/* Newer kernels name the source of what they look at: "; text @ file.c:12". */
static void verdict_add_place(const char *log, const char *before, char *line, size_t size)
{
	const char *end = before, *at = NULL;

	while (end > log && !at) {
		const char *start = end - 1;

		while (start > log && start[-1] != '\n')
			start--;
		if (start[0] == ';')
			at = memmem(start, (size_t)(end - start), " @ ", 3);
		end = start;
	}
	if (at)
		snprintf(line + strlen(line), size - strlen(line), " (%.*s)",
			 (int)strcspn(at + 3, "\n"), at + 3);
}

/* The verdict in a line of the log. Return: NULL: none. Some stand behind the instruction. */
static const char *verdict_in_line(const char *line, size_t length)
{
	static const char loop[] = "infinite loop detected";

	if (!verdict_is_noise(line, length))
		return line;
	return memmem(line, length, loop, sizeof(loop) - 1);
}

void bpf_verdict(const char *log, char *ret_line, size_t size)
{
	const char *end = log + strlen(log);

	ret_line[0] = '\0';
	while (end > log) {
		const char *start = end, *verdict;

		while (start > log && start[-1] != '\n')
			start--;
		verdict = verdict_in_line(start, (size_t)(end - start));
		if (verdict) {
			snprintf(ret_line, size, "%.*s", (int)(end - verdict), verdict);
			verdict_add_place(log, start, ret_line, size);
			return;
		}
		end = start > log ? start - 1 : log;
	}
}
