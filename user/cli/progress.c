/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * progress.c: see progress.h. The line never reaches the last column, so that no terminal wraps
 * it, and the cursor is never hidden: whatever ends the process leaves a usable terminal.
 */
#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define PROGRESS_BAR_MIN 10u
#define PROGRESS_BAR_MAX 60u
/* the rate is that of about the last seconds */
#define PROGRESS_RATE_NS 3000000000ull

static const char progress_green[] = "\033[32m";
static const char progress_dim[] = "\033[2m";
static const char progress_off[] = "\033[0m";
static const char progress_erase[] = "\r\033[K";

/* ---- one line ------------------------------------------------------------------------------- */

/* The texts of a line; an empty one is left out. */
struct progress_parts {
	char percent[8];
	char bytes[2 * CLI_TEXT];
	char rate[CLI_TEXT];
	char time[CLI_TEXT + 8];
	char files[2 * CLI_TEXT + 8];
};

static unsigned int progress_percent(const struct progress_view *view)
{
	uint64_t bytes = view->bytes < view->bytes_total ? view->bytes : view->bytes_total;

	return (unsigned int)((unsigned __int128)bytes * 100 / view->bytes_total);
}

static void progress_parts(const struct progress_view *view, struct progress_parts *parts)
{
	char one[CLI_TEXT], two[CLI_TEXT];

	memset(parts, 0, sizeof(*parts));
	cli_bytes_text(one, view->bytes);
	if (view->bytes_total) {
		snprintf(parts->percent, sizeof(parts->percent), "%3u%%", progress_percent(view));
		snprintf(parts->bytes, sizeof(parts->bytes), "%8s of %s", one,
			 cli_bytes_text(two, view->bytes_total));
	} else {
		snprintf(parts->bytes, sizeof(parts->bytes), "%8s", one);
	}
	snprintf(parts->rate, sizeof(parts->rate), "%10s", cli_rate_text(one, view->bytes_per_s));
	if (!view->bytes_total) {
		snprintf(parts->time, sizeof(parts->time), "%5s",
			 cli_clock_text(one, view->elapsed_ns / 1000000000));
	} else if (view->bytes_per_s == 0) {
		snprintf(parts->time, sizeof(parts->time), " -:-- left");
	} else {
		uint64_t rest = view->bytes < view->bytes_total ? view->bytes_total - view->bytes
								: 0;

		/* rounded up: it is 0:00 only at the end */
		rest = rest / view->bytes_per_s + (rest % view->bytes_per_s != 0);
		snprintf(parts->time, sizeof(parts->time), "%5s left", cli_clock_text(one, rest));
	}
	if (view->files_total > 1)
		snprintf(parts->files, sizeof(parts->files), "%s of %s files",
			 cli_count_text(one, view->files), cli_count_text(two, view->files_total));
	else if (view->files_total == 0 && view->files > 0)
		snprintf(parts->files, sizeof(parts->files), "%s files",
			 cli_count_text(one, view->files));
}

/* Columns of the parts that are left, each with two blanks behind it. */
static unsigned int progress_used(const struct progress_parts *parts)
{
	const char *text[] = { parts->percent, parts->bytes, parts->rate, parts->time,
			       parts->files };
	unsigned int used = 0;

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		if (text[i][0])
			used += (unsigned int)strlen(text[i]) + 2;
	}
	return used;
}

/* Leaves out what matters least until the line fits. Return: columns for the bar, may be 0. */
static unsigned int progress_fit(const struct progress_view *view, struct progress_parts *parts)
{
	unsigned int width = view->width;
	unsigned int bar = view->bytes_total ? PROGRESS_BAR_MIN + 2 : 0;
	char *of = strstr(parts->bytes, " of ");
	char *drop[] = { parts->files, of ? of : parts->bytes, parts->time,
			 parts->rate,  parts->bytes,           parts->percent };
	size_t i = 0;

	while (i < 2 && progress_used(parts) + bar > width + 2)
		*drop[i++] = '\0';
	if (progress_used(parts) + bar > width + 2)
		bar = 0;
	while (i < sizeof(drop) / sizeof(drop[0]) && progress_used(parts) > width + 2)
		*drop[i++] = '\0';
	if (bar) {
		bar = width + 2 - progress_used(parts) - 2;
		if (bar > PROGRESS_BAR_MAX)
			bar = PROGRESS_BAR_MAX;
	}
	return bar;
}

struct progress_line {
	char *text;
	size_t used, size;
	size_t columns;
};

/* @columns: that the text takes */
static void progress_put(struct progress_line *line, const char *text, size_t columns)
{
	size_t length = strlen(text);

	if (line->used + length + 1 > line->size)
		return;
	memcpy(line->text + line->used, text, length + 1);
	line->used += length;
	line->columns += columns;
}

static void progress_bar(struct progress_line *line, const struct progress_view *view,
			 unsigned int columns)
{
	uint64_t total = view->bytes_total;
	uint64_t bytes = view->bytes < total ? view->bytes : total;
	/* in half columns */
	unsigned int inner = view->utf8 ? columns : columns - 2;
	unsigned int halves = (unsigned int)((unsigned __int128)bytes * inner * 2 / total);

	progress_put(line, view->color ? progress_green : "", 0);
	progress_put(line, view->utf8 ? "" : "[", view->utf8 ? 0 : 1);
	for (unsigned int i = 0; i < inner; i++) {
		if (i == halves / 2)
			progress_put(line,
				     view->color && view->utf8 && halves % 2 == 0 ? progress_dim
										  : "",
				     0);
		if (i < halves / 2)
			progress_put(line, view->utf8 ? "━" : "=", 1);
		else if (i == halves / 2 && (halves % 2 || !view->utf8))
			progress_put(line, view->utf8 ? "╸" : halves ? ">" : " ", 1);
		else
			progress_put(line, view->utf8 ? "─" : " ", 1);
		if (i == halves / 2 && halves % 2 && view->color && view->utf8)
			progress_put(line, progress_dim, 0);
	}
	progress_put(line, view->utf8 ? "" : "]", view->utf8 ? 0 : 1);
	progress_put(line, view->color ? progress_off : "", 0);
}

static void progress_part(struct progress_line *line, const char *text)
{
	if (text[0] == '\0')
		return;
	if (line->columns > 0)
		progress_put(line, "  ", 2);
	progress_put(line, text, strlen(text));
}

size_t progress_format(const struct progress_view *view, char *text, size_t size)
{
	struct progress_parts parts;
	struct progress_line line = { .text = text, .size = size };
	unsigned int bar;

	text[0] = '\0';
	progress_parts(view, &parts);
	bar = progress_fit(view, &parts);
	progress_part(&line, parts.percent);
	if (bar) {
		progress_put(&line, "  ", 2);
		progress_bar(&line, view, bar);
	}
	progress_part(&line, parts.bytes);
	progress_part(&line, parts.rate);
	progress_part(&line, parts.time);
	progress_part(&line, parts.files);
	return line.columns;
}

/* ---- on the terminal ------------------------------------------------------------------------ */

/* A terminal that went away is no reason to stop copying. */
static void progress_write(const char *text, size_t size)
{
	ssize_t done = write(STDERR_FILENO, text, size);

	(void)done;
}

void progress_init(struct progress *progress, int wanted, uint64_t now_ns)
{
	memset(progress, 0, sizeof(*progress));
	progress->wanted = (int8_t)wanted;
	progress->start_ns = now_ns;
	progress->rate_ns = now_ns;
	progress->next_ns = now_ns + PROGRESS_DELAY_NS;
}

uint64_t progress_next_ns(const struct progress *progress)
{
	return progress->wanted == 0 ? UINT64_MAX : progress->next_ns;
}

static unsigned int progress_width(const struct progress *progress)
{
	if (!progress->terminal)
		return PROGRESS_BAR_MAX + 60;
	/* not the last column */
	return term_width(STDERR_FILENO, 80) - 1;
}

int progress_due(struct progress *progress, uint64_t now_ns)
{
	pid_t group;

	if (progress->wanted == 0 || now_ns < progress->next_ns)
		return 0;
	if (!progress->ready) {
		progress->ready = 1;
		progress->terminal = isatty(STDERR_FILENO) == 1;
		progress->smart = term_is_smart(STDERR_FILENO) != 0;
		progress->view.utf8 = progress->smart && term_is_utf8();
		progress->view.color = term_has_color(STDERR_FILENO);
		progress->view.width = progress_width(progress);
		if (progress->wanted < 0 && !progress->terminal) {
			progress->wanted = 0;
			return 0;
		}
	}
	progress->next_ns = now_ns + (progress->terminal ? PROGRESS_REDRAW_NS : PROGRESS_LINE_NS);
	/* in the background it would write over what the user does; -1: not our terminal */
	group = progress->terminal ? tcgetpgrp(STDERR_FILENO) : -1;
	return group < 0 || group == getpgrp();
}

static void progress_rate(struct progress *progress, uint64_t now_ns)
{
	struct progress_view *view = &progress->view;
	uint64_t took = now_ns - progress->rate_ns;

	view->elapsed_ns = now_ns - progress->start_ns;
	view->bytes_per_s = cli_rate(view->bytes - progress->rate_bytes, took);
	if (took < PROGRESS_RATE_NS)
		return;
	/* forget a half, so that the rate follows without jumping */
	progress->rate_bytes += (view->bytes - progress->rate_bytes) / 2;
	progress->rate_ns += took / 2;
}

void progress_draw(struct progress *progress, uint64_t now_ns)
{
	char line[PROGRESS_LINE_BYTES];
	size_t columns, used = 0;

	progress_rate(progress, now_ns);
	line[used++] = '\r';
	columns = progress_format(&progress->view, line + used, sizeof(line) - 256);
	used += strlen(line + used);
	if (!progress->terminal) {
		line[used++] = '\n';
		progress_write(line + 1, used - 1);
		return;
	}
	if (progress->smart) {
		memcpy(line + used, "\033[K", 3);
		used += 3;
	} else {
		for (size_t i = columns; i < progress->columns && used < sizeof(line); i++)
			line[used++] = ' ';
	}
	progress_write(line, used);
	progress->columns = columns;
	progress->shown = 1;
	progress->drawn = 1;
}

void progress_hide(struct progress *progress)
{
	char line[PROGRESS_LINE_BYTES];
	size_t used = 0;

	if (!progress->shown)
		return;
	progress->shown = 0;
	if (progress->smart) {
		progress_write(progress_erase, sizeof(progress_erase) - 1);
		return;
	}
	line[used++] = '\r';
	while (used <= progress->columns && used < sizeof(line) - 1)
		line[used++] = ' ';
	line[used++] = '\r';
	progress_write(line, used);
	progress->columns = 0;
}

void progress_resized(struct progress *progress)
{
	if (progress->ready)
		progress->view.width = progress_width(progress);
}
