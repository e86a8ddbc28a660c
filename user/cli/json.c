/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * json.c: writing JSON. File names are any bytes; what comes out is always valid JSON in UTF-8.
 */
#include "cli/cli.h"

#include <stdio.h>

/* Length of the well-formed UTF-8 character at @c (no surrogates, no overlong forms); 0: none. */
static unsigned int json_utf8(const unsigned char *c)
{
	unsigned int length, low = 0x80, high = 0xbf;

	if (c[0] < 0x80)
		return 1;
	if (c[0] >= 0xc2 && c[0] <= 0xdf)
		length = 2;
	else if (c[0] >= 0xe0 && c[0] <= 0xef)
		length = 3;
	else if (c[0] >= 0xf0 && c[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (c[0] == 0xe0)
		low = 0xa0;
	else if (c[0] == 0xed)
		high = 0x9f;
	else if (c[0] == 0xf0)
		low = 0x90;
	else if (c[0] == 0xf4)
		high = 0x8f;
	if (c[1] < low || c[1] > high)
		return 0;
	/* an end mark fails each test, so nothing behind it is read */
	for (unsigned int i = 2; i < length; i++) {
		if (c[i] < 0x80 || c[i] > 0xbf)
			return 0;
	}
	return length;
}

void json_string(struct cli_out *out, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	out_bytes(out, "\"", 1);
	while (*c) {
		unsigned int length = json_utf8(c);

		if (length == 0) {
			out_format(out, "\\udc%02x", *c++);
			continue;
		}
		if (*c == '"' || *c == '\\')
			out_format(out, "\\%c", *c);
		else if (*c == '\n')
			out_text(out, "\\n");
		else if (*c < 0x20 || *c == 0x7f)
			out_format(out, "\\u%04x", *c);
		else
			out_bytes(out, (const char *)c, length);
		c += length;
	}
	out_bytes(out, "\"", 1);
}

void json_key(struct cli_out *out, unsigned int *count, const char *key)
{
	if ((*count)++ > 0)
		out_bytes(out, ",", 1);
	json_string(out, key);
	out_bytes(out, ":", 1);
}

void json_text(struct cli_out *out, unsigned int *count, const char *key, const char *text)
{
	json_key(out, count, key);
	json_string(out, text);
}

void json_u64(struct cli_out *out, unsigned int *count, const char *key, uint64_t value)
{
	json_key(out, count, key);
	out_format(out, "%llu", (unsigned long long)value);
}

void json_i64(struct cli_out *out, unsigned int *count, const char *key, int64_t value)
{
	json_key(out, count, key);
	out_format(out, "%lld", (long long)value);
}

void json_bool(struct cli_out *out, unsigned int *count, const char *key, int value)
{
	json_key(out, count, key);
	out_text(out, value ? "true" : "false");
}
