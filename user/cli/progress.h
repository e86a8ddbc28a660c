/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * progress.h: the progress line on the terminal. It is drawn on stderr at most ten times a second,
 * only when the copy lasts longer than PROGRESS_DELAY_NS.
 */
#ifndef TAIO_CLI_PROGRESS_H
#define TAIO_CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#define PROGRESS_DELAY_NS   300000000ull
#define PROGRESS_REDRAW_NS  100000000ull
#define PROGRESS_LINE_NS    1000000000ull /* where lines follow each other: not on a terminal */
#define PROGRESS_LINE_BYTES 1024

/* What one line says. */
struct progress_view {
	uint64_t bytes;
	uint64_t bytes_total; /* 0: unknown */
	uint64_t files;
	uint64_t files_total; /* 0: unknown */
	uint64_t bytes_per_s;
	uint64_t elapsed_ns;
	unsigned int width; /* columns that may be used */
	int utf8;
	int color;
};

/* Writes the line, without line end or cursor control. Pure. Return: its columns. */
size_t progress_format(const struct progress_view *view, char *line, size_t size);

struct progress {
	int8_t wanted; /* 1: yes, 0: no, -1: if stderr is a terminal */
	uint8_t smart; /* the terminal knows escape sequences */
	uint8_t terminal;
	uint8_t shown; /* something stands on the line now */
	uint8_t drawn; /* it was shown at least once */
	uint8_t ready; /* the terminal was asked */
	uint64_t start_ns, next_ns;
	uint64_t rate_ns, rate_bytes; /* where the present rate began */
	size_t columns;               /* of the line that stands there */
	struct progress_view view;
};

/* @wanted: as copy_args.progress. Looks at nothing before it is needed. */
void progress_init(struct progress *progress, int wanted, uint64_t now_ns);
/* When it wants to be called next; UINT64_MAX: never. */
uint64_t progress_next_ns(const struct progress *progress);
/* Is it time to draw? */
int progress_due(struct progress *progress, uint64_t now_ns);
/* Draws; the caller has filled in the figures of progress->view. */
void progress_draw(struct progress *progress, uint64_t now_ns);
/* Takes the line away, so that a message can be printed; the next draw brings it back. */
void progress_hide(struct progress *progress);
void progress_resized(struct progress *progress);

#endif /* TAIO_CLI_PROGRESS_H */
