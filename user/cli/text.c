/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * text.c: quantities and file names as people write and read them. Pure functions; no locale: a
 * script must be able to read what it reads everywhere.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- reading -------------------------------------------------------------------------------- */

/*
 * A decimal with up to nine digits after the point, as whole and billionths.
 * Return: the first character behind it, NULL: no number or out of range (errno is set).
 */
static const char *text_decimal(const char *text, uint64_t *ret_whole, uint32_t *ret_billionths)
{
	uint64_t whole = 0;
	uint32_t billionths = 0;
	uint32_t unit = 100000000;
	int digits = 0;

	for (; *text >= '0' && *text <= '9'; text++, digits++) {
		if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*text - '0'), &whole)) {
			errno = ERANGE;
			return NULL;
		}
	}
	if (*text == '.') {
		for (text++; *text >= '0' && *text <= '9'; text++, digits++, unit /= 10)
			billionths += (uint32_t)(*text - '0') * unit;
	}
	if (digits == 0) {
		errno = EINVAL;
		return NULL;
	}
	*ret_whole = whole;
	*ret_billionths = billionths;
	return text;
}

/* whole.billionths times @unit, rounded down */
static int text_scale(uint64_t whole, uint32_t billionths, uint64_t unit, uint64_t *ret_value)
{
	unsigned __int128 value = (unsigned __int128)whole * unit;

	value += (unsigned __int128)billionths * unit / 1000000000u;
	if (value > UINT64_MAX)
		return -ERANGE;
	*ret_value = (uint64_t)value;
	return 0;
}

/* Reads a size and leaves *ret_end behind it. */
static int text_size(const char *text, uint64_t *ret_bytes, const char **ret_end)
{
	static const char letters[] = "KkMmGgTt";
	uint64_t whole, unit = 1;
	uint32_t billionths;
	const char *suffix;
	const char *end = text_decimal(text, &whole, &billionths);

	if (end == NULL)
		return -errno;
	suffix = *end ? strchr(letters, *end) : NULL;
	if (suffix) {
		/* "KkMm...": two letters for each step of 1024 */
		unit <<= 10 * ((suffix - letters) / 2 + 1);
		end += strncmp(end + 1, "iB", 2) == 0 ? 3 : 1;
	} else if (*end == 'B') {
		end++;
	}
	*ret_end = end;
	return text_scale(whole, billionths, unit, ret_bytes);
}

int cli_parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t bytes;
	const char *end;
	int error = text_size(text, &bytes, &end);

	if (error)
		return error;
	if (*end != '\0')
		return -EINVAL;
	*ret_bytes = bytes;
	return 0;
}

int cli_parse_rate(const char *text, uint64_t *ret_bytes_per_s)
{
	uint64_t bytes;
	const char *end;
	int error = text_size(text, &bytes, &end);

	if (error)
		return error;
	if (strcmp(end, "/s") != 0 && *end != '\0')
		return -EINVAL;
	if (bytes == 0)
		return -EINVAL;
	*ret_bytes_per_s = bytes;
	return 0;
}

int cli_parse_duration(const char *text, uint64_t *ret_ns)
{
	static const struct {
		char name[3];
		uint64_t ns;
	} unit[] = {
		{ "", 1000000000u }, { "s", 1000000000u },  { "ms", 1000000u },
		{ "us", 1000u },     { "m", 60000000000u }, { "h", 3600000000000u },
	};
	uint64_t whole;
	uint32_t billionths;
	const char *end = text_decimal(text, &whole, &billionths);

	if (end == NULL)
		return -errno;
	for (size_t i = 0; i < sizeof(unit) / sizeof(unit[0]); i++) {
		if (strcmp(end, unit[i].name) == 0)
			return text_scale(whole, billionths, unit[i].ns, ret_ns);
	}
	return -EINVAL;
}

int cli_parse_number(const char *text, uint64_t max, uint64_t *ret_number)
{
	uint64_t whole;
	uint32_t billionths;
	const char *end = text_decimal(text, &whole, &billionths);

	if (end == NULL)
		return -errno;
	if (*end != '\0' || strchr(text, '.') != NULL)
		return -EINVAL;
	if (whole > max)
		return -ERANGE;
	*ret_number = whole;
	return 0;
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Three significant digits of value/unit, cut, never rounded up into the next unit. */
static void text_digits(char text[CLI_TEXT], uint64_t value, uint64_t unit, const char *name)
{
	uint64_t whole = value / unit;
	uint64_t rest = value % unit;

	/* hundredths of a unit without overflow: unit is at most 2^60 */
	unsigned int hundredths = (unsigned int)((unsigned __int128)rest * 100 / unit);

	if (whole >= 100)
		snprintf(text, CLI_TEXT, "%llu %s", (unsigned long long)whole, name);
	else if (whole >= 10)
		snprintf(text, CLI_TEXT, "%llu.%u %s", (unsigned long long)whole, hundredths / 10,
			 name);
	else
		snprintf(text, CLI_TEXT, "%llu.%02u %s", (unsigned long long)whole, hundredths,
			 name);
}

const char *cli_bytes_text(char text[CLI_TEXT], uint64_t bytes)
{
	static const char name[][4] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int scale = 0;

	while (scale < 6 && bytes >> (10 * scale) >= 1000)
		scale++;
	if (scale == 0)
		snprintf(text, CLI_TEXT, "%llu B", (unsigned long long)bytes);
	else
		text_digits(text, bytes, 1ull << (10 * scale), name[scale]);
	return text;
}

const char *cli_size_text(char text[CLI_TEXT], uint64_t bytes)
{
	static const char name[][4] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned int scale = 0;

	while (scale < 6 && bytes != 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		scale++;
	}
	snprintf(text, CLI_TEXT, "%llu %s", (unsigned long long)bytes, name[scale]);
	return text;
}

const char *cli_rate_text(char text[CLI_TEXT], uint64_t bytes_per_s)
{
	cli_bytes_text(text, bytes_per_s);
	strcat(text, "/s");
	return text;
}

const char *cli_clock_text(char text[CLI_TEXT], uint64_t seconds)
{
	unsigned long long hours = seconds / 3600;
	unsigned int minutes = (unsigned int)(seconds / 60 % 60);
	unsigned int rest = (unsigned int)(seconds % 60);

	if (hours > 0)
		snprintf(text, CLI_TEXT, "%llu:%02u:%02u", hours, minutes, rest);
	else
		snprintf(text, CLI_TEXT, "%u:%02u", minutes, rest);
	return text;
}

const char *cli_duration_text(char text[CLI_TEXT], uint64_t ns)
{
	if (ns < 1000)
		snprintf(text, CLI_TEXT, "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		text_digits(text, ns, 1000, "us");
	else if (ns < 1000000000)
		text_digits(text, ns, 1000000, "ms");
	else if (ns < 100000000000)
		text_digits(text, ns, 1000000000, "s");
	else
		cli_clock_text(text, ns / 1000000000);
	return text;
}

const char *cli_count_text(char text[CLI_TEXT], uint64_t count)
{
	char digits[CLI_TEXT];
	int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
	char *to = text;

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

uint64_t cli_rate(uint64_t bytes, uint64_t ns)
{
	unsigned __int128 rate = (unsigned __int128)bytes * 1000000000u / (ns ? ns : 1);

	return rate > UINT64_MAX ? UINT64_MAX : (uint64_t)rate;
}

/* ---- names ---------------------------------------------------------------------------------- */

enum quote_class {
	QUOTE_PLAIN,
	QUOTE_BLANK,  /* needs '...' */
	QUOTE_CONTROL /* needs $'...' */
};

static enum quote_class quote_class(unsigned char c)
{
	static const char blank[] = " \"#$&()*;<>?[]\\^`{|}~!'";

	if (c < 0x20 || c == 0x7f)
		return QUOTE_CONTROL;
	return strchr(blank, c) ? QUOTE_BLANK : QUOTE_PLAIN;
}

/* One character of a quoted name. Return: its length. */
static size_t quote_one(char piece[8], unsigned char c, enum quote_class mode)
{
	static const char letters[] = "\aa\bb\tt\nn\vv\ff\rr";

	if (mode == QUOTE_PLAIN || (c != '\'' && mode == QUOTE_BLANK)) {
		piece[0] = (char)c;
		return 1;
	}
	if (mode == QUOTE_BLANK) {
		memcpy(piece, "'\\''", 4);
		return 4;
	}
	if (c == '\'' || c == '\\') {
		piece[0] = '\\';
		piece[1] = (char)c;
		return 2;
	}
	for (size_t i = 0; letters[i] && i < sizeof(letters) - 1; i += 2) {
		if ((unsigned char)letters[i] == c) {
			piece[0] = '\\';
			piece[1] = letters[i + 1];
			return 2;
		}
	}
	if (c < 0x20 || c == 0x7f)
		return (size_t)snprintf(piece, 8, "\\%03o", c);
	piece[0] = (char)c;
	return 1;
}

const char *cli_quote(char *buffer, size_t size, const char *name)
{
	enum quote_class mode = *name ? QUOTE_PLAIN : QUOTE_BLANK;
	size_t used = 0;

	for (const char *c = name; *c; c++) {
		if (quote_class((unsigned char)*c) > mode)
			mode = quote_class((unsigned char)*c);
	}
	if (size < 16) {
		if (size > 0)
			buffer[0] = '\0';
		return buffer;
	}
	if (mode == QUOTE_CONTROL)
		buffer[used++] = '$';
	if (mode != QUOTE_PLAIN)
		buffer[used++] = '\'';
	for (; *name; name++) {
		char piece[8];
		size_t length = quote_one(piece, (unsigned char)*name, mode);

		/* room for the closing quote, "..." and the end mark */
		if (used + length + 5 > size) {
			memcpy(buffer + used, "...", 3);
			used += 3;
			break;
		}
		memcpy(buffer + used, piece, length);
		used += length;
	}
	if (mode != QUOTE_PLAIN)
		buffer[used++] = '\'';
	buffer[used] = '\0';
	return buffer;
}
