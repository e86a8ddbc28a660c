/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * lib.h: what the benchmarks share: a clock, medians, rows. A benchmark runs its contenders
 * alternately in one sitting, checks what they did, and prints one JSON object per row on stdout;
 * bench/table.sh turns rows into a table.
 */
#ifndef TAIO_BENCH_LIB_H
#define TAIO_BENCH_LIB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_ROUNDS_MAX 101

struct bench_series {
	double ns[BENCH_ROUNDS_MAX];
	unsigned int count;
};

uint64_t bench_now_ns(void);
void bench_add(struct bench_series *series, double ns);
double bench_median(const struct bench_series *series);
double bench_percentile(const struct bench_series *series, double p); /* 0..100 */

/* --quick on the command line: fewer sizes and rounds. */
bool bench_is_quick(int argc, char **argv);

/* A fresh directory on the file system of @base, removed at exit with all that is in it. */
const char *bench_directory(const char *base);

/* Writes a file of @bytes pseudo-random bytes. Exits with a message when it cannot. */
void bench_make_file(const char *path, uint64_t bytes);
bool bench_same_files(const char *a, const char *b);
void bench_drop_cache(const char *path); /* of one file, after writing it back */

/* Prints "12345" -> "12K", for labels. */
const char *bench_size(uint64_t bytes, char text[24]);

/* Exits with a message: a benchmark that could not do its work has no result. */
void bench_die(const char *what) __attribute__((noreturn));

#endif /* TAIO_BENCH_LIB_H */
