/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * scan.c: counts the files and bytes that there are to copy, a little at a time beside the copy
 * itself, so that the progress line can say how much is left. Only run when such a line is shown.
 */
#include "cli/copy.h"

static void scan_file(struct scan *scan, const struct copy_args *args, const struct stat *st)
{
	uint64_t size = (uint64_t)st->st_size;

	size = size > args->from_offset ? size - args->from_offset : 0;
	scan->files++;
	scan->bytes += size < args->length ? size : args->length;
}

/* A descriptor or a peer: only a file at its start, or --length, tells how much comes. */
static void scan_stream(struct scan *scan, const struct copy_args *args,
			const struct taio_endpoint *from)
{
	struct stat st;

	if (from->type == TAIO_EP_FD && fstat(from->fd, &st) == 0 && S_ISREG(st.st_mode)) {
		scan_file(scan, args, &st);
	} else if (args->length != TAIO_TO_END) {
		scan->files++;
		scan->bytes += args->length;
	} else {
		scan->unknown = 1;
	}
}

/* One source of the command line. */
static void scan_source(struct scan *scan, const struct copy_args *args, const char *source)
{
	struct taio_endpoint from;
	struct stat st;

	if (taio_endpoint_parse(source, 0, &from) < 0)
		return;
	switch (from.type) {
	case TAIO_EP_PATH:
		if (stat(source, &st) < 0)
			return;
		if (S_ISDIR(st.st_mode) && args->recursive)
			scan->walking = walk_open(&scan->walk, source) == 0;
		else if (S_ISREG(st.st_mode))
			scan_file(scan, args, &st);
		else
			scan->unknown = 1;
		return;
	case TAIO_EP_ZERO:
		scan->files++;
		scan->bytes += from.length < args->length ? from.length : args->length;
		return;
	default:
		scan_stream(scan, args, &from);
		return;
	}
}

/* Some entries of a tree. */
static void scan_walk(struct scan *scan, const struct copy_args *args)
{
	struct stat st;

	for (int i = 0; i < 64; i++) {
		enum walk_kind kind = walk_next(&scan->walk);

		if (kind == WALK_END) {
			walk_close(&scan->walk);
			scan->walking = 0;
			return;
		}
		if (kind == WALK_FILE && lstat(scan->walk.path, &st) == 0)
			scan_file(scan, args, &st);
	}
}

void scan_run(struct scan *scan, const struct copy_args *args, uint64_t budget_ns)
{
	uint64_t end_ns = copy_now_ns() + budget_ns;

	do {
		if (scan->walking)
			scan_walk(scan, args);
		else if (scan->source < args->sources)
			scan_source(scan, args, args->source[scan->source++]);
		else
			scan->done = 1;
		if (scan->unknown)
			scan->done = 1;
	} while (!scan->done && copy_now_ns() < end_ns);
}

void scan_close(struct scan *scan)
{
	if (scan->walking)
		walk_close(&scan->walk);
	scan->walking = 0;
}
