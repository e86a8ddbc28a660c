/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* lib.c: see lib.h. */
#include "lib.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

void bench_add(struct bench_series *series, double ns)
{
	if (series->count < BENCH_ROUNDS_MAX)
		series->ns[series->count++] = ns;
}

static int bench_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(const struct bench_series *series, double p)
{
	double sorted[BENCH_ROUNDS_MAX];

	if (series->count == 0)
		return 0;
	memcpy(sorted, series->ns, series->count * sizeof(double));
	qsort(sorted, series->count, sizeof(double), bench_compare);
	return sorted[(unsigned int)(p / 100 * (series->count - 1) + 0.5)];
}

double bench_median(const struct bench_series *series)
{
	return bench_percentile(series, 50);
}

bool bench_is_quick(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--quick") == 0)
			return true;
	return false;
}

void bench_die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char bench_directories[8][128];
static unsigned int bench_directory_count;

static int bench_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void bench_clean(void)
{
	for (unsigned int i = 0; i < bench_directory_count; i++)
		nftw(bench_directories[i], bench_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

const char *bench_directory(const char *base)
{
	char *path = bench_directories[bench_directory_count];

	snprintf(path, sizeof(bench_directories[0]), "%s/taio-bench-XXXXXX", base);
	if (!mkdtemp(path))
		return NULL;
	if (bench_directory_count++ == 0)
		atexit(bench_clean);
	return path;
}

void bench_make_file(const char *path, uint64_t bytes)
{
	static uint64_t block[1 << 17];
	uint64_t x = 88172645463325252ULL;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0)
		bench_die(path);
	for (uint64_t done = 0; done < bytes;) {
		uint64_t n = bytes - done < sizeof(block) ? bytes - done : sizeof(block);

		for (size_t i = 0; i < sizeof(block) / 8; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			block[i] = x;
		}
		if (write(fd, block, n) != (ssize_t)n)
			bench_die(path);
		done += n;
	}
	close(fd);
}

bool bench_same_files(const char *a, const char *b)
{
	static char x[1 << 20], y[1 << 20];
	int fa = open(a, O_RDONLY), fb = open(b, O_RDONLY);
	ssize_t n = -1, m = -2;

	while (fa >= 0 && fb >= 0) {
		n = read(fa, x, sizeof(x));
		m = read(fb, y, sizeof(y));
		if (n != m || n <= 0 || memcmp(x, y, (size_t)n))
			break;
	}
	close(fa);
	close(fb);
	return n == 0 && m == 0;
}

void bench_drop_cache(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0)
		return;
	fsync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

const char *bench_size(uint64_t bytes, char text[24])
{
	if (bytes >= 1 << 30 && bytes % (1 << 30) == 0)
		snprintf(text, 24, "%lluG", (unsigned long long)(bytes >> 30));
	else if (bytes >= 1 << 20 && bytes % (1 << 20) == 0)
		snprintf(text, 24, "%lluM", (unsigned long long)(bytes >> 20));
	else if (bytes >= 1024 && bytes % 1024 == 0)
		snprintf(text, 24, "%lluK", (unsigned long long)(bytes >> 10));
	else
		snprintf(text, 24, "%llu", (unsigned long long)bytes);
	return text;
}
