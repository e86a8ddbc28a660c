/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_memroute.c: the probes on memory that is put into the cache or flushed out of it on
 * purpose, the memory of recent destinations, and the rule. A probe can be hit by an interrupt, so
 * the probes are judged by most of many answers.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/memroute.h"

#define BLOCK (64u << 10)
#define TRIES 200
#define MOST  (TRIES * 9 / 10)

static char *block_new(size_t size)
{
	char *block = aligned_alloc(4096, size);

	cr_assert_not_null(block);
	memset(block, 0x5a, size);
	return block;
}

static void block_touch(const char *block, size_t size)
{
	for (size_t i = 0; i < size; i += 64)
		(void)((const volatile char *)block)[i];
}

#if defined(__x86_64__)
#include <emmintrin.h>

static void block_flush(const char *block, size_t size)
{
	for (size_t i = 0; i < size; i += 64)
		_mm_clflush(block + i);
	_mm_mfence();
}

static int is_cold_as_destination(char *block, size_t size)
{
	return mem_dest_is_cold(block, size);
}

static int is_cold_as_source(char *block, size_t size)
{
	return mem_is_cold(block, size);
}

static void check_probe(int (*is_cold)(char *block, size_t size), size_t size)
{
	char *block = block_new(size);
	int hot_called_cold = 0, cold_called_cold = 0;

	for (int i = 0; i < TRIES; i++) {
		block_touch(block, size);
		hot_called_cold += is_cold(block, size);
		block_flush(block, size);
		cold_called_cold += is_cold(block, size);
	}
	fprintf(stderr, "# %zu bytes: hot called cold %d, cold called cold %d of %d\n", size,
		hot_called_cold, cold_called_cold, TRIES);
	cr_assert_leq(hot_called_cold, TRIES - MOST);
	cr_assert_geq(cold_called_cold, MOST);
	free(block);
}

Test(memroute, a_source_is_told_hot_from_cold)
{
	check_probe(is_cold_as_source, BLOCK);
	check_probe(is_cold_as_source, 4 * BLOCK);
}

Test(memroute, a_destination_is_told_hot_from_cold)
{
	check_probe(is_cold_as_destination, BLOCK);
	check_probe(is_cold_as_destination, 4 * BLOCK);
}

Test(memroute, a_destination_used_again_stays_hot_even_if_it_was_streamed)
{
	char *block = block_new(BLOCK);
	struct mem_route route = { 0 };
	int cold = 0;

	mem_route_is_cold(&route, block, BLOCK);
	for (int i = 0; i < TRIES; i++) {
		block_flush(block, BLOCK); /* what streaming stores leave behind */
		cold += mem_route_is_cold(&route, block, BLOCK);
	}
	cr_assert_eq(cold, 0);
	free(block);
}

Test(memroute, a_hot_destination_among_cold_ones_is_noticed_after_a_few_questions)
{
	enum {
		BLOCKS = 100
	};
	char *block = block_new(BLOCKS * BLOCK), *hot = block_new(BLOCK * (MEM_SPARE_MAX + 2));
	int noticed = 0;

	for (int i = 0; i < TRIES / 10; i++) {
		struct mem_route route = { 0 };
		int cold = 0;

		block_flush(block, BLOCKS * BLOCK);
		for (size_t k = 0; k < BLOCKS; k++)
			cold += mem_route_is_cold(&route, block + k * BLOCK, BLOCK);
		cr_assert_geq(cold, BLOCKS * 9 / 10);
		block_touch(hot, BLOCK * (MEM_SPARE_MAX + 2));
		for (size_t k = 0; k < MEM_SPARE_MAX + 2; k++) {
			if (!mem_route_is_cold(&route, hot + k * BLOCK, BLOCK)) {
				noticed++;
				break;
			}
		}
	}
	cr_assert_geq(noticed, TRIES / 10 * 9 / 10);
	free(block);
	free(hot);
}

Test(memroute, a_destination_is_forgotten_when_much_was_copied_since)
{
	char *block = block_new(2 * BLOCK), *other = block + BLOCK;
	int cold = 0;

	for (int i = 0; i < TRIES; i++) {
		struct mem_route route = { 0 };

		mem_route_is_cold(&route, block, BLOCK);
		for (int k = 0; k < 140; k++)
			mem_route_is_cold(&route, other, BLOCK);
		block_flush(block, BLOCK);
		cold += mem_route_is_cold(&route, block, BLOCK);
	}
	cr_assert_geq(cold, MOST);
	free(block);
}
#endif

Test(memroute, probing_a_destination_changes_nothing)
{
	size_t size = 4 * BLOCK;
	char *block = block_new(size);

	for (size_t i = 0; i < size; i++)
		block[i] = (char)(i * 7);
	for (size_t len = 0; len <= size; len += 4097)
		mem_dest_is_cold(block, len);
	for (size_t i = 0; i < size; i++)
		cr_assert_eq(block[i], (char)(i * 7), "at %zu", i);
	free(block);
}

Test(memroute, a_length_of_zero_touches_no_memory)
{
	cr_assert_eq(mem_is_cold(NULL, 0), 0);
	cr_assert_eq(mem_dest_is_cold(NULL, 0), 0);
}

/* Processor time of the first question, in a process of its own. */
static int first_question_us(const char *block)
{
	struct timespec before, after;
	int status;
	pid_t pid = fork();

	if (!pid) {
		int64_t ns;

		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
		mem_is_cold(block, BLOCK);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
		ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
		_exit(ns < 255000 ? (int)(ns / 1000) : 255);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

Test(memroute, the_first_question_in_a_process_takes_less_than_fifty_microseconds)
{
	char *block = block_new(BLOCK);
	int best = 255;

	for (int i = 0; i < 9; i++) { /* an interrupt may hit one, not all */
		int us = first_question_us(block);

		if (us < best)
			best = us;
	}
	fprintf(stderr, "# %d us\n", best);
	cr_assert_lt(best, 50);
	free(block);
}

Test(memroute, hot_memory_is_copied_plainly_until_it_is_larger_than_the_cache)
{
	cr_assert_eq(mem_choose(0, 0, 1), MEM_MEMCPY);
	cr_assert_eq(mem_choose(BLOCK, 0, 1), MEM_MEMCPY);
	cr_assert_eq(mem_choose(MEM_LARGE - 1, 0, 1), MEM_MEMCPY);
	cr_assert_eq(mem_choose(MEM_LARGE, 0, 0), MEM_NT);
	cr_assert_eq(mem_choose(MEM_LARGE, 0, 1), MEM_SPLIT);
}

Test(memroute, cold_memory_is_streamed_and_split_only_when_somebody_is_ready)
{
	cr_assert_eq(mem_choose(MEM_NT_MIN - 1, 1, 1), MEM_MEMCPY);
	cr_assert_eq(mem_choose(MEM_NT_MIN, 1, 1), MEM_NT);
	cr_assert_eq(mem_choose(MEM_SPLIT_MIN - 1, 1, 1), MEM_NT);
	cr_assert_eq(mem_choose(MEM_SPLIT_MIN, 1, 1), MEM_SPLIT);
	cr_assert_eq(mem_choose(MEM_SPLIT_MIN, 1, 0), MEM_NT);
}
