/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_memroute.c: the probes on memory that is put into the cache or flushed out of it on
 * purpose, the memory of recent destinations, and the rule. A probe can be hit by an interrupt, so
 * the probes are judged by most of many answers; the memory is tested with a probe of its own.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/memroute.h"

#define BLOCK  (64u << 10)
#define TRIES  200
#define MOST   (TRIES * 9 / 10)
#define ROUNDS 50

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

/* One round of answers can be spoilt by whoever shares the core and its cache, and all rounds cannot;
 * a probe that does not tell one from the other spoils each. */
static void check_probe(int (*is_cold)(char *block, size_t size), size_t size)
{
	char *block = block_new(size);
	int hot_called_cold, cold_called_cold, rounds = 0;

	do {
		hot_called_cold = cold_called_cold = 0;
		for (int i = 0; i < TRIES; i++) {
			block_touch(block, size);
			hot_called_cold += is_cold(block, size);
			block_flush(block, size);
			cold_called_cold += is_cold(block, size);
		}
		fprintf(stderr, "# %zu bytes: hot called cold %d, cold called cold %d of %d\n",
			size, hot_called_cold, cold_called_cold, TRIES);
	} while ((hot_called_cold > TRIES - MOST || cold_called_cold < MOST) && ++rounds < ROUNDS);
	cr_assert_lt(rounds, ROUNDS);
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

#endif

/* ---- the memory of recent destinations, with a probe that knows --------------------------------- */

static int probes, probe_says;

static int probe(void *to, size_t len)
{
	cr_assert_not_null(to);
	cr_assert_eq(len, BLOCK);
	probes++;
	return probe_says;
}

/* A destination that nothing is stored in: only its address is looked at. */
static void *block_at(size_t number)
{
	return (void *)(uintptr_t)(0x10000000 + number * BLOCK);
}

static int asked(struct mem_route *route, size_t number, int really)
{
	probe_says = really;
	return mem_route_ask(route, block_at(number), BLOCK, probe);
}

Test(memroute, a_destination_used_again_stays_hot_even_if_it_was_streamed)
{
	struct mem_route route = { 0 };

	asked(&route, 0, 1);
	for (int i = 0; i < TRIES; i++)
		cr_assert_eq(asked(&route, 0, 1), 0);
	cr_assert_eq(probes, 1, "and costs no probe");
}

Test(memroute, a_hot_destination_among_cold_ones_is_noticed_after_a_few_questions)
{
	for (size_t before = 0; before < 100; before++) {
		struct mem_route route = { 0 };
		size_t k;

		for (k = 0; k < before; k++)
			cr_assert_eq(asked(&route, k, 1), 1);
		for (k = 0; k < MEM_SPARE_MAX + 1; k++)
			if (!asked(&route, before + k, 0))
				break;
		cr_assert_leq(k, MEM_SPARE_MAX, "after %zu cold ones", before);
		/* and the next ones are not taken for cold again without a look */
		cr_assert_eq(asked(&route, 1000, 0), 0);
	}
}

Test(memroute, cold_memory_without_end_is_probed_now_and_then_only)
{
	struct mem_route route = { 0 };

	for (size_t k = 0; k < 1000; k++)
		cr_assert_eq(asked(&route, k, 1), 1);
	cr_assert_leq(probes, 1000 / (MEM_SPARE_MAX + 1) + 16);
	cr_assert_geq(probes, 1000 / (MEM_SPARE_MAX + 1));
}

Test(memroute, a_destination_is_forgotten_when_much_was_copied_since)
{
	struct mem_route route = { 0 };

	asked(&route, 0, 0);
	for (int k = 0; k < 100; k++)
		asked(&route, 1, 0);
	cr_assert_eq(asked(&route, 0, 1), 0, "6 MiB were copied since: remembered");
	for (int k = 0; k < 140; k++)
		asked(&route, 1, 0);
	cr_assert_eq(asked(&route, 0, 1), 1, "9 MiB were copied since");
}

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
