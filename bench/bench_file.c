/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_file.c: is a file copied at least as fast as by the best hand-written route? One process;
 * contenders take turns, each with a block of copies back to back into names that are free, so that
 * nobody is measured with the caches that another one left; the figure is the median over rounds.
 *
 * Like is compared with like, in two rows: taio as it is, whose destination appears whole or not at
 * all, against loops that promise the same (O_TMPFILE and linkat(2), or a dot-file and rename(2));
 * and taio with TAIO_IN_PLACE against loops that write into the name itself. "plain" is the first
 * against the second: what the promise costs.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"

static char *file_buffer;
#define FILE_BUFFER (256u << 10)

static bool file_read_write(int from, int to, uint64_t size)
{
	ssize_t n;

	(void)size;
	while ((n = read(from, file_buffer, FILE_BUFFER)) > 0)
		if (write(to, file_buffer, (size_t)n) != n)
			return false;
	return n == 0;
}

static bool file_copy_range(int from, int to, uint64_t size)
{
	ssize_t n;

	(void)size;
	while ((n = copy_file_range(from, NULL, to, NULL, SSIZE_MAX & ~4095ULL, 0)) > 0)
		;
	return n == 0;
}

static bool file_sendfile(int from, int to, uint64_t size)
{
	ssize_t n;

	(void)size;
	while ((n = sendfile(to, from, NULL, 16 << 20)) > 0)
		;
	return n == 0;
}

static bool file_mmap_write(int from, int to, uint64_t size)
{
	for (uint64_t at = 0; at < size;) {
		uint64_t n = size - at < 4 << 20 ? size - at : 4 << 20;
		void *p = mmap(NULL, n, PROT_READ, MAP_SHARED | MAP_POPULATE, from, (off_t)at);

		if (p == MAP_FAILED || write(to, p, n) != (ssize_t)n)
			return false;
		munmap(p, n);
		at += n;
	}
	return true;
}

struct file_route {
	const char *name;
	bool (*copy)(int from, int to, uint64_t size);
};

static const struct file_route file_routes[] = {
	{ "read+write", file_read_write },
	{ "copy_file_range", file_copy_range },
	{ "sendfile", file_sendfile },
	{ "mmap+write", file_mmap_write },
};
#define FILE_ROUTES (sizeof(file_routes) / sizeof(file_routes[0]))

/* How the name comes to its file. */
enum file_way {
	FILE_IN_PLACE,
	FILE_UNNAMED,
	FILE_RENAMED,
	FILE_WAYS
};

static const char *const file_ways[] = { "in place", "O_TMPFILE+link", "dot-file+rename" };

struct file_place {
	char directory[128], from[160], dot[160];
	uint64_t size;
	bool cold;
	unsigned int block; /* copies back to back */
};

static void file_name(const struct file_place *place, unsigned int i, char room[192])
{
	snprintf(room, 192, "%s/to-%u", place->directory, i);
}

static void file_by_hand(const struct file_place *place, const struct file_route *route,
			 enum file_way way, const char *to)
{
	int in = open(place->from, O_RDONLY | O_CLOEXEC), out;

	if (way == FILE_UNNAMED)
		out = open(place->directory, O_WRONLY | O_TMPFILE | O_CLOEXEC, 0644);
	else if (way == FILE_RENAMED)
		out = open(place->dot, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	else
		out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (in < 0 || out < 0 || !route->copy(in, out, place->size))
		bench_die(route->name);
	if (way == FILE_UNNAMED && linkat(out, "", AT_FDCWD, to, AT_EMPTY_PATH))
		bench_die("linkat");
	if (way == FILE_RENAMED && rename(place->dot, to))
		bench_die("rename");
	close(out);
	close(in);
}

static void file_by_taio(const struct file_place *place, struct taio *engine, uint32_t flags,
			 const char *to, uint8_t *ret_device)
{
	const struct taio_options options = { .size = sizeof(options), .flags = flags };
	struct taio_endpoint source = taio_path(place->from), sink = taio_path(to);
	struct taio_event event;

	if (taio_copy(engine, &source, &sink, &options, 1) ||
	    taio_get_events(engine, &event, 1, 1, -1) != 1 || event.result < 0)
		bench_die("taio_copy");
	*ret_device = event.device;
}

struct file_contender {
	const struct file_route *route; /* NULL: taio */
	enum file_way way;
	struct bench_series series;
	uint8_t device; /* the last that taio took */
};

static double file_block(const struct file_place *place, struct taio *engine,
			 struct file_contender *c)
{
	uint64_t start;
	double ns;

	if (place->cold)
		bench_drop_cache(place->from);
	start = bench_now_ns();
	for (unsigned int i = 0; i < place->block; i++) {
		char to[192];

		file_name(place, i, to);
		if (c->route)
			file_by_hand(place, c->route, c->way, to);
		else
			file_by_taio(place, engine, c->way == FILE_IN_PLACE ? TAIO_IN_PLACE : 0, to,
				     &c->device);
	}
	ns = (double)(bench_now_ns() - start) / place->block;
	for (unsigned int i = 0; i < place->block; i++) {
		char to[192];

		file_name(place, i, to);
		if (i == 0 && !bench_same_files(place->from, to))
			bench_die("the copy differs");
		unlink(to);
	}
	return ns;
}

/* The fastest hand-written loop of one kind. */
static struct file_contender *file_best(struct file_contender *c, size_t count, bool in_place)
{
	struct file_contender *best = NULL;

	for (size_t i = 0; i < count; i++)
		if (c[i].route && (c[i].way == FILE_IN_PLACE) == in_place &&
		    (!best || bench_median(&c[i].series) < bench_median(&best->series)))
			best = &c[i];
	return best;
}

static void file_row(struct taio *engine, const char *fs, const struct file_place *place,
		     const char *promise, const struct file_contender *mine,
		     const struct file_contender *best)
{
	struct bench_series ratio = { 0 };
	char label[24];

	for (unsigned int i = 0; i < mine->series.count; i++)
		bench_add(&ratio, best->series.ns[i] / mine->series.ns[i]);
	printf("{\"bench\":\"file\",\"fs\":\"%s\",\"cache\":\"%s\",\"bytes\":%llu,\"size\":\"%s\","
	       "\"promise\":\"%s\",\"taio_us\":%.2f,\"device\":\"%s\",\"best\":\"%s, %s\","
	       "\"best_us\":%.2f,\"ratio\":%.3f}\n",
	       fs, place->cold ? "cold" : "warm", (unsigned long long)place->size,
	       bench_size(place->size, label), promise, bench_median(&mine->series) / 1e3,
	       taio_device_name(engine, mine->device), best->route->name, file_ways[best->way],
	       bench_median(&best->series) / 1e3, bench_median(&ratio));
	fflush(stdout);
}

static void file_cell(struct taio *engine, const char *fs, struct file_place *place,
		      unsigned int rounds)
{
	struct file_contender c[2 + FILE_WAYS * FILE_ROUTES] = { { .way = FILE_UNNAMED },
								 { .way = FILE_IN_PLACE } };
	size_t count = 2;

	/* A rename costs the same for all sizes; where it is nothing the route is all that counts. */
	for (unsigned int way = 0; way < (place->size > 1 << 20 ? FILE_RENAMED : FILE_WAYS); way++)
		for (size_t i = 0; i < FILE_ROUTES; i++)
			c[count++] =
				(struct file_contender){ .route = &file_routes[i], .way = way };
	bench_make_file(place->from, place->size);
	/* Two rounds to warm up; taio has to learn this cell, too. */
	for (unsigned int round = 0; round < rounds + 2; round++)
		for (size_t i = 0; i < count; i++) {
			bool learns = round < 2 && !c[i].route && place->block < 8;
			double ns = 0;

			for (unsigned int again = 0; again < (learns ? 6u : 1u); again++)
				ns = file_block(place, engine, &c[i]);
			if (round >= 2)
				bench_add(&c[i].series, ns);
		}
	file_row(engine, fs, place, "whole or not at all", &c[0], file_best(c, count, false));
	file_row(engine, fs, place, "in place", &c[1], file_best(c, count, true));
	file_row(engine, fs, place, "plain", &c[0], file_best(c, count, true));
	unlink(place->from);
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = {
		0, 4096, 65536, 1 << 20, 16 << 20, 128 << 20, 1ULL << 30
	};
	const char *base[2] = { getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", "/dev/shm" };
	const char *fs[2] = { "disk", "tmpfs" };
	bool quick = bench_is_quick(argc, argv);
	struct taio_engine_options options = { .size = sizeof(options), .flags = TAIO_MAY_BLOCK };
	struct taio *engine;

	file_buffer = malloc(FILE_BUFFER);
	if (!file_buffer || taio_open(&engine, &options))
		bench_die("taio_open");
	for (unsigned int f = 0; f < 2; f++) {
		const char *directory = bench_directory(base[f]);
		struct file_place place = { 0 };

		if (!directory)
			continue;
		snprintf(place.directory, sizeof(place.directory), "%s", directory);
		snprintf(place.from, sizeof(place.from), "%s/from", directory);
		snprintf(place.dot, sizeof(place.dot), "%s/.to.tmp", directory);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) - (quick ? 2 : 0); i++) {
			unsigned int rounds = sizes[i] >= 1 << 30    ? 3
					      : sizes[i] >= 16 << 20 ? 7
								     : 25;

			place.size = sizes[i];
			place.cold = false;
			place.block = sizes[i] < 1 << 20 ? 64 : sizes[i] < 16 << 20 ? 8 : 1;
			file_cell(engine, fs[f], &place, rounds);
			place.cold = f == 0 && sizes[i];
			place.block = 1;
			if (place.cold)
				file_cell(engine, fs[f], &place, rounds > 9 ? 9 : rounds);
		}
	}
	taio_close(engine);
	return 0;
}
