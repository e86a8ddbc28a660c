/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_slab.c: the bounded store for small objects: alignment, reuse, the limits, and that what was
 * given out never overlaps.
 */
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util/slab.h"

#define LARGEST 8192

static struct slab slab;

static void open_slab(size_t size)
{
	cr_assert_eq(slab_open(&slab, size), 0);
}

Test(slab, gives_memory_aligned_to_64_bytes_for_every_size)
{
	open_slab(1 << 20);
	for (size_t size = 0; size <= LARGEST; size += 61) {
		char *object = slab_get(&slab, size);

		cr_assert_not_null(object, "%zu bytes", size);
		cr_assert_eq((uintptr_t)object % 64, 0, "%zu bytes", size);
		memset(object, 0x5a, size);
		slab_put(&slab, object, size);
	}
	slab_close(&slab);
}

Test(slab, refuses_what_is_above_the_largest_class)
{
	open_slab(1 << 20);
	cr_assert_not_null(slab_get(&slab, LARGEST));
	cr_assert_null(slab_get(&slab, LARGEST + 1));
	cr_assert_null(slab_get(&slab, SIZE_MAX / 2));
	cr_assert_null(slab_get(&slab, SIZE_MAX));
	slab_close(&slab);
}

Test(slab, put_of_nothing_is_allowed)
{
	open_slab(65536);
	slab_put(&slab, NULL, 100);
	slab_close(&slab);
}

Test(slab, a_returned_object_is_given_out_again)
{
	void *object;

	open_slab(65536);
	object = slab_get(&slab, 100);
	slab_put(&slab, object, 100);
	cr_assert_eq(slab_get(&slab, 128), object, "the same class");
	slab_close(&slab);
}

Test(slab, says_full_and_has_room_again_after_a_put)
{
	void *object[16];

	open_slab(16 * 64);
	for (int i = 0; i < 16; i++) {
		object[i] = slab_get(&slab, 64);
		cr_assert_not_null(object[i]);
	}
	cr_assert_null(slab_get(&slab, 1));
	slab_put(&slab, object[7], 64);
	cr_assert_eq(slab_get(&slab, 1), object[7]);
	cr_assert_null(slab_get(&slab, 1));
	slab_close(&slab);
}

/* Small objects first, then only large ones: what is free must not stay bound to its old class. */
Test(slab, an_empty_slab_has_all_its_room_for_every_size)
{
	open_slab(65536);
	for (size_t size = 64; size <= LARGEST; size *= 2) {
		void *object[65536 / 64];
		size_t n = 65536 / size;

		for (size_t i = 0; i < n; i++) {
			object[i] = slab_get(&slab, size);
			cr_assert_not_null(object[i], "object %zu of %zu bytes", i, size);
		}
		cr_assert_null(slab_get(&slab, size));
		for (size_t i = 0; i < n; i++)
			slab_put(&slab, object[i], size);
	}
	slab_close(&slab);
}

Test(slab, objects_never_overlap)
{
	enum {
		COUNT = 512,
		ROUNDS = 20000
	};
	static struct {
		uint8_t *at;
		size_t size;
		uint8_t fill;
	} live[COUNT];
	unsigned int seed = (unsigned int)time(NULL);

	cr_log_info("seed %u", seed);
	open_slab(2 << 20);
	for (int round = 0; round < ROUNDS; round++) {
		int i = rand_r(&seed) % COUNT;

		if (live[i].at) {
			for (size_t k = 0; k < live[i].size; k++)
				cr_assert_eq(live[i].at[k], live[i].fill);
			slab_put(&slab, live[i].at, live[i].size);
			live[i].at = NULL;
			continue;
		}
		live[i].size = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 8 ? 300 : LARGEST);
		live[i].fill = (uint8_t)rand_r(&seed);
		live[i].at = slab_get(&slab, live[i].size);
		if (live[i].at)
			memset(live[i].at, live[i].fill, live[i].size);
	}
	slab_close(&slab);
}

Test(slab, close_may_be_called_on_a_slab_that_was_never_opened)
{
	struct slab none;

	memset(&none, 0, sizeof(none));
	slab_close(&none);
	slab_close(&none);
}
