/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_file.c: is a file copied at least as fast as by the best hand-written route? One process,
 * contenders alternate; each makes a new destination, copies, closes. taio's destination also
 * appears whole or not at all, which the hand-written loops do not give.
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

static double file_by_hand(const struct file_route *route, const char *from, const char *to,
			   uint64_t size)
{
	uint64_t start = bench_now_ns();
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (in < 0 || out < 0 || !route->copy(in, out, size))
		bench_die(route->name);
	close(out);
	close(in);
	return (double)(bench_now_ns() - start);
}

static double file_by_taio(struct taio *engine, const char *from, const char *to,
			   struct taio_event *event)
{
	struct taio_endpoint source = taio_path(from), sink = taio_path(to);
	uint64_t start = bench_now_ns();

	if (taio_copy(engine, &source, &sink, NULL, 1) ||
	    taio_get_events(engine, event, 1, 1, -1) != 1 || event->result < 0)
		bench_die("taio_copy");
	return (double)(bench_now_ns() - start);
}

static void file_prepare(const char *from, const char *to, bool cold)
{
	unlink(to);
	if (cold)
		bench_drop_cache(from);
}

static void file_cell(struct taio *engine, const char *fs, const char *directory, uint64_t size,
		      bool cold, unsigned int rounds)
{
	struct bench_series hand[FILE_ROUTES] = { 0 }, mine = { 0 };
	struct taio_event event = { 0 };
	char from[256], to[256], label[24];
	size_t best = 0;

	snprintf(from, sizeof(from), "%s/from", directory);
	snprintf(to, sizeof(to), "%s/to", directory);
	bench_make_file(from, size);
	for (unsigned int round = 0; round < rounds + 2; round++) {
		for (size_t i = 0; i < FILE_ROUTES; i++) {
			double ns;

			file_prepare(from, to, cold);
			ns = file_by_hand(&file_routes[i], from, to, size);
			if (round >= 2)
				bench_add(&hand[i], ns);
		}
		for (unsigned int again = 0; again < (round < 2 ? 6u : 1u); again++) {
			double ns;

			file_prepare(from, to, cold);
			ns = file_by_taio(engine, from, to, &event);
			if (round >= 2)
				bench_add(&mine, ns);
		}
		if (!bench_same_files(from, to))
			bench_die("the copy differs");
	}
	for (size_t i = 1; i < FILE_ROUTES; i++)
		if (bench_median(&hand[i]) < bench_median(&hand[best]))
			best = i;
	printf("{\"bench\":\"file\",\"fs\":\"%s\",\"cache\":\"%s\",\"bytes\":%llu,\"size\":\"%s\","
	       "\"taio_us\":%.1f,\"device\":\"%s\",\"best\":\"%s\",\"best_us\":%.1f,\"ratio\":%.3f}\n",
	       fs, cold ? "cold" : "warm", (unsigned long long)size, bench_size(size, label),
	       bench_median(&mine) / 1e3, taio_device_name(engine, event.device),
	       file_routes[best].name, bench_median(&hand[best]) / 1e3,
	       bench_median(&hand[best]) / bench_median(&mine));
	fflush(stdout);
	unlink(from);
	unlink(to);
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

		if (!directory)
			continue;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) - (quick ? 2 : 0); i++) {
			unsigned int rounds = sizes[i] >= 1 << 30    ? 3
					      : sizes[i] >= 16 << 20 ? 7
								     : 25;

			file_cell(engine, fs[f], directory, sizes[i], false, rounds);
			if (f == 0 && sizes[i])
				file_cell(engine, fs[f], directory, sizes[i], true,
					  rounds > 9 ? 9 : rounds);
		}
	}
	taio_close(engine);
	return 0;
}
