/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_cli_progress.c: the progress line at every width, and how it is drawn on a pseudo terminal.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/progress.h"

/* the command is no library: its units are compiled in here */
#include "cli/progress.c"
#include "cli/term.c"
#include "cli/text.c"

static struct progress_view view_make(unsigned int width)
{
	struct progress_view view = {
		.bytes = 512u << 20,
		.bytes_total = 1u << 30,
		.files = 3,
		.files_total = 12,
		.bytes_per_s = 64u << 20,
		.elapsed_ns = 8000000000,
		.width = width,
	};

	return view;
}

static const char *line_of(const struct progress_view *view)
{
	static char line[PROGRESS_LINE_BYTES];
	size_t columns = progress_format(view, line, sizeof(line));

	if (!view->color)
		cr_assert_eq(columns, term_columns(line, strlen(line)));
	return line;
}

Test(cli_progress, a_wide_line_says_everything)
{
	struct progress_view view = view_make(110);

	cr_assert_str_eq(line_of(&view),
			 " 50%  [====================>                    ]   512 MiB of 1.00 GiB"
			 "  64.0 MiB/s   0:08 left  3 of 12 files");
}

Test(cli_progress, an_80_column_line_keeps_bar_rate_and_time)
{
	struct progress_view view = view_make(79);
	const char *line = line_of(&view);

	cr_assert_not_null(strstr(line, "50%"));
	cr_assert_not_null(strstr(line, "["));
	cr_assert_not_null(strstr(line, "512 MiB"));
	cr_assert_not_null(strstr(line, "64.0 MiB/s"));
	cr_assert_not_null(strstr(line, "0:08 left"));
}

Test(cli_progress, no_line_is_wider_than_its_terminal)
{
	for (unsigned int width = 1; width < 200; width++) {
		for (int total = 0; total < 2; total++) {
			for (int utf8 = 0; utf8 < 2; utf8++) {
				struct progress_view view = view_make(width);

				view.bytes_total *= (unsigned int)total;
				view.utf8 = utf8;
				cr_assert_leq(term_columns(line_of(&view), strlen(line_of(&view))),
					      width, "width %u: '%s'", width, line_of(&view));
			}
		}
	}
}

Test(cli_progress, the_bar_grows_from_empty_to_full)
{
	unsigned int last = 0;

	for (unsigned int percent = 0; percent <= 100; percent++) {
		struct progress_view view = view_make(100);
		const char *line;
		unsigned int filled = 0;

		view.bytes = (uint64_t)percent * (1u << 30) / 100;
		line = line_of(&view);
		for (const char *c = line; *c; c++)
			filled += *c == '=';
		cr_assert_geq(filled, last);
		last = filled;
		cr_assert(percent < 100 || strchr(strchr(line, '['), ' ') > strchr(line, ']'));
	}
	cr_assert_gt(last, 10);
}

Test(cli_progress, more_bytes_than_expected_stay_at_100_percent)
{
	struct progress_view view = view_make(100);

	view.bytes = 3u << 30;
	cr_assert_not_null(strstr(line_of(&view), "100%"));
	cr_assert_not_null(strstr(line_of(&view), "0:00 left"));
	view.bytes = UINT64_MAX;
	view.bytes_total = UINT64_MAX;
	cr_assert_not_null(strstr(line_of(&view), "100%"));
}

Test(cli_progress, without_a_total_the_time_that_passed_is_shown)
{
	struct progress_view view = view_make(79);

	view.bytes_total = 0;
	view.files_total = 0;
	cr_assert_str_eq(line_of(&view), " 512 MiB  64.0 MiB/s   0:08  3 files");
}

Test(cli_progress, nothing_moved_yet_gives_no_guess_of_the_time_left)
{
	struct progress_view view = view_make(100);

	view.bytes = 0;
	view.bytes_per_s = 0;
	cr_assert_not_null(strstr(line_of(&view), "-:-- left"));
	cr_assert_not_null(strstr(line_of(&view), "  0%"));
}

Test(cli_progress, an_empty_total_is_no_division_by_zero)
{
	struct progress_view view = { .width = 79 };

	cr_assert_not_null(strstr(line_of(&view), "0 B"));
}

Test(cli_progress, unicode_and_color_only_when_wanted)
{
	struct progress_view view = view_make(79);

	for (const char *c = line_of(&view); *c; c++)
		cr_assert(*c >= ' ' && *c < 0x7f);
	view.utf8 = 1;
	cr_assert_not_null(strstr(line_of(&view), "━"));
	cr_assert_null(strchr(line_of(&view), '\033'));
	view.color = 1;
	cr_assert_not_null(strstr(line_of(&view), "\033[32m"));
	cr_assert_not_null(strstr(line_of(&view), "\033[0m"));
}

/* ---- on a terminal -------------------------------------------------------------------------- */

struct screen {
	int master, terminal, stderr_fd;
	char text[4096];
};

static void screen_open(struct screen *screen, unsigned short columns)
{
	struct winsize size = { .ws_col = columns, .ws_row = 24 };

	screen->master = posix_openpt(O_RDWR | O_NOCTTY);
	if (screen->master < 0)
		cr_skip_test("no pseudo terminal: %s", strerror(errno));
	cr_assert_eq(grantpt(screen->master) | unlockpt(screen->master), 0);
	screen->terminal = open(ptsname(screen->master), O_RDWR | O_NOCTTY);
	cr_assert_geq(screen->terminal, 0);
	cr_assert_eq(ioctl(screen->terminal, TIOCSWINSZ, &size), 0);
	screen->stderr_fd = dup(STDERR_FILENO);
	cr_assert_geq(dup2(screen->terminal, STDERR_FILENO), 0);
	fcntl(screen->master, F_SETFL, O_NONBLOCK);
}

static const char *screen_read(struct screen *screen)
{
	ssize_t length = read(screen->master, screen->text, sizeof(screen->text) - 1);

	screen->text[length > 0 ? length : 0] = '\0';
	return screen->text;
}

static void screen_close(struct screen *screen)
{
	dup2(screen->stderr_fd, STDERR_FILENO);
	close(screen->stderr_fd);
	close(screen->terminal);
	close(screen->master);
}

Test(cli_progress, a_short_copy_draws_nothing_and_a_long_one_at_most_ten_times_a_second)
{
	struct screen screen;
	struct progress progress;
	unsigned int drawn = 0;

	screen_open(&screen, 80);
	progress_init(&progress, -1, 1000);
	for (uint64_t ms = 0; ms < 2300; ms++) {
		int due = progress_due(&progress, 1000 + ms * 1000000);

		cr_assert(ms >= 300 || !due);
		drawn += due != 0;
		if (due)
			progress_draw(&progress, 1000 + ms * 1000000);
	}
	cr_assert_geq(drawn, 15);
	cr_assert_leq(drawn, 21);
	screen_close(&screen);
}

Test(cli_progress, the_line_is_taken_away_for_a_message)
{
	struct screen screen;
	struct progress progress;

	setenv("TERM", "xterm", 1);
	screen_open(&screen, 80);
	progress_init(&progress, -1, 0);
	cr_assert(progress_due(&progress, 400000000));
	progress.view.bytes = 1;
	progress_draw(&progress, 400000000);
	cr_assert_eq(screen_read(&screen)[0], '\r');
	cr_assert_null(strchr(screen.text, '\n'));
	progress_hide(&progress);
	cr_assert_str_eq(screen_read(&screen), "\r\033[K");
	progress_hide(&progress);
	cr_assert_str_eq(screen_read(&screen), "");
	screen_close(&screen);
}

Test(cli_progress, a_dumb_terminal_sees_no_escape_sequence)
{
	struct screen screen;
	struct progress progress;

	setenv("TERM", "dumb", 1);
	setenv("LANG", "C.UTF-8", 1);
	screen_open(&screen, 80);
	progress_init(&progress, -1, 0);
	cr_assert(progress_due(&progress, 400000000));
	progress.view.bytes_total = 1000;
	progress_draw(&progress, 400000000);
	progress.view.bytes_total = 0;
	progress_draw(&progress, 400000000);
	progress_hide(&progress);
	screen_read(&screen);
	cr_assert_gt(strlen(screen.text), 20);
	cr_assert_null(strchr(screen.text, '\033'));
	screen_close(&screen);
}

Test(cli_progress, a_new_width_is_taken_over)
{
	struct screen screen;
	struct progress progress;
	struct winsize size = { .ws_col = 40, .ws_row = 24 };

	setenv("TERM", "dumb", 1);
	screen_open(&screen, 120);
	progress_init(&progress, -1, 0);
	cr_assert(progress_due(&progress, 400000000));
	cr_assert_eq(progress.view.width, 119);
	cr_assert_eq(ioctl(screen.terminal, TIOCSWINSZ, &size), 0);
	progress_resized(&progress);
	cr_assert_eq(progress.view.width, 39);
	screen_close(&screen);
}

Test(cli_progress, a_pipe_gets_lines_only_on_request)
{
	struct progress progress;
	char text[512];
	int fd[2], saved = dup(STDERR_FILENO);
	ssize_t length;

	cr_assert_eq(pipe2(fd, O_NONBLOCK), 0);
	cr_assert_geq(dup2(fd[1], STDERR_FILENO), 0);
	progress_init(&progress, -1, 0);
	cr_assert(!progress_due(&progress, 400000000));
	cr_assert_eq(progress_next_ns(&progress), UINT64_MAX);
	progress_init(&progress, 1, 0);
	cr_assert(progress_due(&progress, 400000000));
	progress.view.bytes = 1;
	progress_draw(&progress, 400000000);
	cr_assert(!progress_due(&progress, 600000000));
	cr_assert(progress_due(&progress, 1500000000));
	length = read(fd[0], text, sizeof(text) - 1);
	cr_assert_gt(length, 5);
	text[length] = '\0';
	cr_assert_null(strchr(text, '\r'));
	cr_assert_eq(text[length - 1], '\n');
	progress_hide(&progress);
	cr_assert_eq(read(fd[0], text, sizeof(text)), -1);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(fd[0]);
	close(fd[1]);
}

Test(cli_progress, the_rate_follows_the_last_seconds)
{
	struct progress progress;

	progress_init(&progress, 0, 0);
	/* ten seconds at 1000 bytes a second, then at 9000 */
	for (uint64_t ms = 100; ms <= 20000; ms += 100) {
		progress.view.bytes += ms <= 10000 ? 100 : 900;
		progress_rate(&progress, ms * 1000000);
		if (ms == 10000)
			cr_assert(progress.view.bytes_per_s > 990 &&
				  progress.view.bytes_per_s < 1010);
	}
	cr_assert(progress.view.bytes_per_s > 8900 && progress.view.bytes_per_s < 9100, "%llu",
		  (unsigned long long)progress.view.bytes_per_s);
}
