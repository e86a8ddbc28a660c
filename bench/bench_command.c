/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_command.c: whole processes: `taio copy` against `cp`, from an empty file up, and a tree of
 * small files; on the disk and on tmpfs. What a newcomer would try first.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"

extern char **environ;

static double command_run(const char *const argv[])
{
	uint64_t start = bench_now_ns();
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ) ||
	    waitpid(pid, &status, 0) != pid || status)
		bench_die(argv[0]);
	return (double)(bench_now_ns() - start);
}

static void command_row(const char *what, const char *fs, const char *cache, uint64_t bytes,
			const struct bench_series *mine, const struct bench_series *peer)
{
	char label[24];

	printf("{\"bench\":\"command\",\"what\":\"%s\",\"fs\":\"%s\",\"cache\":\"%s\",\"bytes\":%llu,"
	       "\"size\":\"%s\",\"taio_us\":%.1f,\"cp_us\":%.1f,\"ratio\":%.3f}\n",
	       what, fs, cache, (unsigned long long)bytes, bench_size(bytes, label),
	       bench_median(mine) / 1e3, bench_median(peer) / 1e3,
	       bench_median(peer) / bench_median(mine));
	fflush(stdout);
}

static void command_file(const char *taio, const char *fs, const char *directory, uint64_t bytes,
			 bool cold, unsigned int rounds)
{
	struct bench_series mine = { 0 }, peer = { 0 };
	char from[256], to[256];
	const char *const ours[] = { taio, "copy", from, to, NULL };
	const char *const theirs[] = { "cp", from, to, NULL };

	snprintf(from, sizeof(from), "%s/from", directory);
	snprintf(to, sizeof(to), "%s/to", directory);
	bench_make_file(from, bytes);
	for (unsigned int round = 0; round < rounds + 1; round++)
		for (unsigned int who = 0; who < 2; who++) {
			double ns;

			unlink(to);
			if (cold)
				bench_drop_cache(from);
			ns = command_run(who ? ours : theirs);
			if (round)
				bench_add(who ? &mine : &peer, ns);
			if (who && !bench_same_files(from, to))
				bench_die("the copy differs");
		}
	command_row("file", fs, cold ? "cold" : "warm", bytes, &mine, &peer);
	unlink(from);
	unlink(to);
}

static void command_tree(const char *taio, const char *fs, const char *directory,
			 unsigned int files, unsigned int rounds)
{
	struct bench_series mine = { 0 }, peer = { 0 };
	char from[256], to[256], path[512];
	const char *const ours[] = { taio, "copy", "-r", from, to, NULL };
	const char *const theirs[] = { "cp", "-r", from, to, NULL };
	const char *const clean[] = { "rm", "-rf", to, NULL };
	const char *const compare[] = { "diff", "-r", from, to, NULL };

	snprintf(from, sizeof(from), "%s/tree", directory);
	snprintf(to, sizeof(to), "%s/copy", directory);
	mkdir(from, 0755);
	for (unsigned int i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "%s/%02u", from, i / 500);
		if (i % 500 == 0)
			mkdir(path, 0755);
		snprintf(path, sizeof(path), "%s/%02u/%05u", from, i / 500, i);
		bench_make_file(path, 4096);
	}
	sync();
	for (unsigned int round = 0; round < rounds + 1; round++)
		for (unsigned int who = 0; who < 2; who++) {
			double ns = command_run(who ? ours : theirs);

			if (round)
				bench_add(who ? &mine : &peer, ns);
			else if (who)
				command_run(compare);
			command_run(clean);
			if (strcmp(fs, "disk") == 0)
				sync(); /* the journal of one is not paid by the other */
		}
	command_row("tree of 4K files", fs, "warm", (uint64_t)files * 4096, &mine, &peer);
	command_run((const char *const[]){ "rm", "-rf", from, NULL });
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[] = {
		0, 4096, 65536, 1 << 20, 16 << 20, 128 << 20, 1ULL << 30
	};
	const char *base[2] = { getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", "/dev/shm" };
	const char *fs[2] = { "disk", "tmpfs" };
	const char *taio = getenv("TAIO") ? getenv("TAIO") : "build/taio";
	bool quick = bench_is_quick(argc, argv);

	for (unsigned int f = 0; f < 2; f++) {
		const char *directory = bench_directory(base[f]);

		if (!directory)
			continue;
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) - (quick ? 2 : 0); i++) {
			unsigned int rounds = sizes[i] >= 1 << 30    ? 3
					      : sizes[i] >= 16 << 20 ? 5
								     : (quick ? 15 : 41);

			command_file(taio, fs[f], directory, sizes[i], false, rounds);
			if (f == 0 && sizes[i] >= 1 << 20)
				command_file(taio, fs[f], directory, sizes[i], true,
					     rounds > 5 ? 5 : rounds);
		}
		command_tree(taio, fs[f], directory, quick ? 2000 : 10000, quick ? 3 : 5);
	}
	return 0;
}
