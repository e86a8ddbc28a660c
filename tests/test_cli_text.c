/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_cli_text.c: quantities and names as the command reads and writes them, JSON strings, and
 * tables. Nothing is opened but pipes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

/* the command is no library: its units are compiled in here */
#include "cli/json.c"
#include "cli/out.c"
#include "cli/table.c"
#include "cli/term.c"
#include "cli/text.c"

/* ---- sizes, rates, times -------------------------------------------------------------------- */

static void size_is(const char *text, uint64_t want)
{
	uint64_t got = 0xa5a5;

	cr_assert_eq(cli_parse_size(text, &got), 0, "'%s' was refused", text);
	cr_assert_eq(got, want, "'%s' gave %llu", text, (unsigned long long)got);
}

static void size_fails(const char *text, int want)
{
	uint64_t got = 0xa5a5;

	cr_assert_eq(cli_parse_size(text, &got), want, "'%s'", text);
	cr_assert_eq(got, 0xa5a5, "'%s' wrote a result", text);
}

Test(cli_text, sizes_have_powers_of_1024)
{
	size_is("0", 0);
	size_is("1", 1);
	size_is("10B", 10);
	size_is("1k", 1024);
	size_is("64K", 65536);
	size_is("3M", 3u << 20);
	size_is("2G", 2ull << 30);
	size_is("1T", 1ull << 40);
	size_is("4KiB", 4096);
	size_is("1GiB", 1ull << 30);
	size_is("1.5K", 1536);
	size_is(".5M", 524288);
	size_is("0.0001K", 0);
	size_is("18446744073709551615", UINT64_MAX);
	size_is("16777215T", 16777215ull << 40);
}

Test(cli_text, wrong_sizes_are_refused_and_leave_the_result_alone)
{
	size_fails("", -EINVAL);
	size_fails("K", -EINVAL);
	size_fails(".", -EINVAL);
	size_fails("-1", -EINVAL);
	size_fails("+1", -EINVAL);
	size_fails(" 1", -EINVAL);
	size_fails("1 ", -EINVAL);
	size_fails("1X", -EINVAL);
	size_fails("1KB", -EINVAL);
	size_fails("1Ki", -EINVAL);
	size_fails("1K1", -EINVAL);
	size_fails("1e3", -EINVAL);
	size_fails("1,5", -EINVAL);
	size_fails("0x10", -EINVAL);
	size_fails("18446744073709551616", -ERANGE);
	size_fails("16777216T", -ERANGE);
	size_fails("99999999999999999999999K", -ERANGE);
}

Test(cli_text, rates_may_say_per_second_and_are_never_zero)
{
	uint64_t rate;

	cr_assert_eq(cli_parse_rate("500K", &rate), 0);
	cr_assert_eq(rate, 512000);
	cr_assert_eq(cli_parse_rate("10M/s", &rate), 0);
	cr_assert_eq(rate, 10u << 20);
	cr_assert_eq(cli_parse_rate("1.5GiB/s", &rate), 0);
	cr_assert_eq(rate, 1610612736);
	cr_assert_eq(cli_parse_rate("0", &rate), -EINVAL);
	cr_assert_eq(cli_parse_rate("0.0001", &rate), -EINVAL);
	cr_assert_eq(cli_parse_rate("10M/h", &rate), -EINVAL);
	cr_assert_eq(cli_parse_rate("/s", &rate), -EINVAL);
}

Test(cli_text, durations_are_seconds_unless_they_have_a_unit)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {
		{ "30", 30000000000u },
		{ "0.5", 500000000 },
		{ "1.000000001", 1000000001 },
		{ "5s", 5000000000u },
		{ "200ms", 200000000 },
		{ "1.5ms", 1500000 },
		{ "7us", 7000 },
		{ "2m", 120000000000u },
		{ "1h", 3600000000000u },
		{ "0", 0 },
	};
	uint64_t ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(cli_parse_duration(good[i].text, &ns), 0, "%s", good[i].text);
		cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
	}
	cr_assert_eq(cli_parse_duration("", &ns), -EINVAL);
	cr_assert_eq(cli_parse_duration("s", &ns), -EINVAL);
	cr_assert_eq(cli_parse_duration("1d", &ns), -EINVAL);
	cr_assert_eq(cli_parse_duration("1 s", &ns), -EINVAL);
	cr_assert_eq(cli_parse_duration("18446744074", &ns), -ERANGE);
}

Test(cli_text, numbers_keep_to_their_limit)
{
	uint64_t number;

	cr_assert_eq(cli_parse_number("7", 7, &number), 0);
	cr_assert_eq(number, 7);
	cr_assert_eq(cli_parse_number("8", 7, &number), -ERANGE);
	cr_assert_eq(cli_parse_number("1.5", 7, &number), -EINVAL);
	cr_assert_eq(cli_parse_number("1K", 7, &number), -EINVAL);
	cr_assert_eq(cli_parse_number("", 7, &number), -EINVAL);
}

Test(cli_text, quantities_are_written_with_three_digits)
{
	char text[CLI_TEXT];

	cr_assert_str_eq(cli_bytes_text(text, 0), "0 B");
	cr_assert_str_eq(cli_bytes_text(text, 999), "999 B");
	cr_assert_str_eq(cli_bytes_text(text, 1000), "0.97 KiB");
	cr_assert_str_eq(cli_bytes_text(text, 1024), "1.00 KiB");
	cr_assert_str_eq(cli_bytes_text(text, 10 * 1024 + 512), "10.5 KiB");
	cr_assert_str_eq(cli_bytes_text(text, 123u << 20), "123 MiB");
	cr_assert_str_eq(cli_bytes_text(text, (1u << 20) - 1), "0.99 MiB");
	cr_assert_str_eq(cli_bytes_text(text, UINT64_MAX), "15.9 EiB");
	cr_assert_str_eq(cli_rate_text(text, 3u << 30), "3.00 GiB/s");
	cr_assert_str_eq(cli_size_text(text, 65536), "64 KiB");
	cr_assert_str_eq(cli_size_text(text, 65507), "65507 B");
	cr_assert_str_eq(cli_size_text(text, 0), "0 B");
	cr_assert_str_eq(cli_size_text(text, 1ull << 60), "1 EiB");
	cr_assert_str_eq(cli_duration_text(text, 0), "0 ns");
	cr_assert_str_eq(cli_duration_text(text, 999), "999 ns");
	cr_assert_str_eq(cli_duration_text(text, 1000), "1.00 us");
	cr_assert_str_eq(cli_duration_text(text, 12345678), "12.3 ms");
	cr_assert_str_eq(cli_duration_text(text, 1500000000), "1.50 s");
	cr_assert_str_eq(cli_duration_text(text, 125000000000), "2:05");
	cr_assert_str_eq(cli_duration_text(text, UINT64_MAX), "5124095:34:33");
	cr_assert_str_eq(cli_clock_text(text, 59), "0:59");
	cr_assert_str_eq(cli_clock_text(text, 3661), "1:01:01");
	cr_assert_str_eq(cli_count_text(text, 7), "7");
	cr_assert_str_eq(cli_count_text(text, 1234567), "1,234,567");
	cr_assert_str_eq(cli_count_text(text, UINT64_MAX), "18,446,744,073,709,551,615");
	cr_assert_eq(cli_rate(1000, 1000000000), 1000);
	cr_assert_eq(cli_rate(1000, 0), 1000000000000);
	cr_assert_eq(cli_rate(UINT64_MAX, 1), UINT64_MAX);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void quote_is(const char *name, const char *want)
{
	char text[64];

	cr_assert_str_eq(cli_quote(text, sizeof(text), name), want);
}

Test(cli_text, names_are_quoted_as_a_shell_reads_them)
{
	quote_is("plain-name_1.txt", "plain-name_1.txt");
	quote_is("/a/b+c,d@e%f=g:h", "/a/b+c,d@e%f=g:h");
	quote_is("", "''");
	quote_is("a b", "'a b'");
	quote_is("it's", "'it'\\''s'");
	quote_is("$HOME", "'$HOME'");
	quote_is("b\xc3\xa4r", "b\xc3\xa4r");
	quote_is("a\nb", "$'a\\nb'");
	quote_is("\033[31mred", "$'\\033[31mred'");
	quote_is("a'\tb\\", "$'a\\'\\tb\\\\'");
	quote_is("\x7f", "$'\\177'");
}

/* What a shell makes of it must be the name again: sh is the judge. */
Test(cli_text, a_shell_reads_the_quoted_name_back)
{
	unsigned int seed = (unsigned int)time(NULL);
	char name[24], quoted[256], command[512], got[64];

	fprintf(stderr, "seed %u\n", seed);
	srand(seed);
	for (int i = 0; i < 40; i++) {
		size_t length = (size_t)rand() % (sizeof(name) - 1);
		size_t used;
		FILE *shell;

		for (size_t c = 0; c < length; c++)
			name[c] = (char)(1 + rand() % 126);
		name[length] = '\0';
		cli_quote(quoted, sizeof(quoted), name);
		snprintf(command, sizeof(command), "exec bash -c \"$TAIO_COMMAND\"");
		char script[300];
		snprintf(script, sizeof(script), "printf %%s %s", quoted);
		setenv("TAIO_COMMAND", script, 1);
		shell = popen(command, "r");
		cr_assert_not_null(shell);
		used = fread(got, 1, sizeof(got) - 1, shell);
		got[used] = '\0';
		pclose(shell);
		cr_assert_str_eq(got, name, "%s", quoted);
	}
}

Test(cli_text, a_long_name_is_cut_inside_its_room)
{
	char name[300], text[40];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t size = 16; size <= sizeof(text); size++) {
		memset(text, '#', sizeof(text));
		cli_quote(text, size, name);
		cr_assert_leq(strlen(text), size - 1);
		cr_assert_not_null(strstr(text, "..."));
		name[5] = '\n';
		cli_quote(text, size, name);
		cr_assert_leq(strlen(text), size - 1);
		cr_assert_eq(text[strlen(text) - 1], '\'');
		name[5] = 'x';
	}
	text[0] = '#';
	cli_quote(text, 1, name);
	cr_assert_eq(text[0], '\0');
}

/* ---- output that ends in a pipe ------------------------------------------------------------- */

struct pipe_out {
	int fd[2];
	struct cli_out out;
	char got[8192];
};

static void pipe_open(struct pipe_out *p)
{
	memset(p, 0, sizeof(*p));
	cr_assert_eq(pipe(p->fd), 0);
	p->out.fd = p->fd[1];
}

static const char *pipe_text(struct pipe_out *p)
{
	ssize_t length;

	cr_assert_eq(out_flush(&p->out), 0);
	close(p->fd[1]);
	length = read(p->fd[0], p->got, sizeof(p->got) - 1);
	cr_assert_geq(length, 0);
	p->got[length] = '\0';
	close(p->fd[0]);
	return p->got;
}

static void json_is(const char *text, const char *want)
{
	struct pipe_out p;

	pipe_open(&p);
	json_string(&p.out, text);
	cr_assert_str_eq(pipe_text(&p), want);
}

Test(cli_text, json_strings_hold_any_file_name)
{
	json_is("", "\"\"");
	json_is("plain", "\"plain\"");
	json_is("a\"b\\c", "\"a\\\"b\\\\c\"");
	json_is("a\nb\tc\x01\x7f", "\"a\\nb\\u0009c\\u0001\\u007f\"");
	json_is("b\xc3\xa4r \xe2\x82\xac \xf0\x9f\x98\x80",
		"\"b\xc3\xa4r \xe2\x82\xac \xf0\x9f\x98\x80\"");
	/* no UTF-8: a lone start, a lone continuation, overlong, surrogate, above U+10FFFF */
	json_is("\xc3", "\"\\udcc3\"");
	json_is("\xa4z", "\"\\udca4z\"");
	json_is("\xc0\xaf", "\"\\udcc0\\udcaf\"");
	json_is("\xe0\x80\xaf", "\"\\udce0\\udc80\\udcaf\"");
	json_is("\xed\xa0\x80", "\"\\udced\\udca0\\udc80\"");
	json_is("\xf4\x90\x80\x80", "\"\\udcf4\\udc90\\udc80\\udc80\"");
	json_is("\xe2\x82", "\"\\udce2\\udc82\"");
}

Test(cli_text, json_members_are_separated_by_commas)
{
	struct pipe_out p;
	unsigned int count = 0;

	pipe_open(&p);
	json_text(&p.out, &count, "a", "x");
	json_u64(&p.out, &count, "b", UINT64_MAX);
	json_i64(&p.out, &count, "c", INT64_MIN);
	json_bool(&p.out, &count, "d", 1);
	cr_assert_str_eq(pipe_text(&p), "\"a\":\"x\",\"b\":18446744073709551615,"
					"\"c\":-9223372036854775808,\"d\":true");
}

Test(cli_text, a_failed_write_is_remembered)
{
	struct cli_out out = { .fd = -1 };

	out_text(&out, "x");
	cr_assert_eq(out_flush(&out), -EBADF);
	out_text(&out, "y");
	cr_assert_eq(out_flush(&out), -EBADF);
}

Test(cli_text, output_larger_than_its_buffer_arrives_whole)
{
	struct pipe_out p;
	static char big[40000], got[40000];
	size_t used = 0;
	ssize_t part;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 26);
	pipe_open(&p);
	out_bytes(&p.out, big, sizeof(big));
	cr_assert_eq(out_flush(&p.out), 0);
	close(p.fd[1]);
	while ((part = read(p.fd[0], got + used, sizeof(got) - used)) > 0)
		used += (size_t)part;
	cr_assert_eq(used, sizeof(big));
	cr_assert(memcmp(big, got, sizeof(big)) == 0);
	close(p.fd[0]);
}

/* ---- tables --------------------------------------------------------------------------------- */

Test(cli_text, columns_of_a_table_are_aligned_and_end_without_blanks)
{
	struct pipe_out p;
	struct table table;

	pipe_open(&p);
	table_init(&table, 3, 2, 80);
	table.flags[1] = TABLE_RIGHT;
	table_cell(&table, "NAME");
	table_cell(&table, "SIZE");
	table_cell(&table, "WHY");
	table_cell(&table, "b\xc3\xa4r");
	table_cellf(&table, "%d", 12345);
	table_cell(&table, "yes");
	table_cell(&table, "x");
	table_cell(&table, "1");
	table_cell(&table, "");
	table_print(&table, &p.out, 0);
	cr_assert_str_eq(pipe_text(&p), "  NAME   SIZE  WHY\n"
					"  b\xc3\xa4r   12345  yes\n"
					"  x         1\n");
}

Test(cli_text, the_last_column_is_wrapped_inside_the_width)
{
	struct pipe_out p;
	struct table table;

	pipe_open(&p);
	table_init(&table, 2, 0, 24);
	table.flags[1] = TABLE_WRAP;
	table_cell(&table, "A");
	table_cell(&table, "B");
	table_cell(&table, "first");
	table_cell(&table, "one two three four five,six seven");
	table_print(&table, &p.out, 0);
	cr_assert_str_eq(pipe_text(&p), "A      B\n"
					"first  one two three\n"
					"       four five,six\n"
					"       seven\n");
}

Test(cli_text, a_word_longer_than_the_line_is_cut)
{
	struct pipe_out p;
	struct table table;

	pipe_open(&p);
	table_init(&table, 1, 0, 16);
	table.flags[0] = TABLE_WRAP;
	table_cell(&table, "H");
	table_cell(&table, "0123456789abcdef0123");
	table_print(&table, &p.out, 0);
	cr_assert_str_eq(pipe_text(&p), "H\n0123456789abcdef\n0123\n");
}

/* ---- terminal ------------------------------------------------------------------------------- */

Test(cli_text, the_first_locale_variable_that_is_set_decides)
{
	unsetenv("LC_ALL");
	unsetenv("LC_CTYPE");
	unsetenv("LANG");
	cr_assert(!term_is_utf8());
	setenv("LANG", "de_DE.UTF-8", 1);
	cr_assert(term_is_utf8());
	setenv("LC_CTYPE", "C", 1);
	cr_assert(!term_is_utf8());
	setenv("LC_ALL", "en_US.utf8", 1);
	cr_assert(term_is_utf8());
	setenv("LC_ALL", "", 1);
	cr_assert(!term_is_utf8());
}

Test(cli_text, a_pipe_is_no_terminal_and_gets_no_color)
{
	int fd[2];

	cr_assert_eq(pipe(fd), 0);
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	cr_assert(!term_is_smart(fd[1]));
	cr_assert(!term_has_color(fd[1]));
	cr_assert_eq(term_width(fd[1], 77), 77);
	close(fd[0]);
	close(fd[1]);
}

Test(cli_text, a_terminal_gets_color_unless_it_is_dumb_or_told_not_to)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	struct winsize size = { .ws_col = 123, .ws_row = 24 };
	int terminal;

	if (master < 0)
		cr_skip_test("no pseudo terminal: %s", strerror(errno));
	cr_assert_eq(grantpt(master) | unlockpt(master), 0);
	terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
	cr_assert_geq(terminal, 0);
	cr_assert_eq(ioctl(terminal, TIOCSWINSZ, &size), 0);
	cr_assert_eq(term_width(terminal, 80), 123);
	setenv("TERM", "xterm", 1);
	unsetenv("NO_COLOR");
	cr_assert(term_has_color(terminal));
	setenv("NO_COLOR", "1", 1);
	cr_assert(!term_has_color(terminal));
	cr_assert(term_is_smart(terminal));
	unsetenv("NO_COLOR");
	setenv("TERM", "dumb", 1);
	cr_assert(!term_is_smart(terminal));
	unsetenv("TERM");
	cr_assert(!term_is_smart(terminal));
	close(terminal);
	close(master);
}
