/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_mirror.c: sources with several equal copies: what one of them cannot give comes from another,
 * each disk has a price of its own, and the bytes are those of the file, always. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_kit.h"

#define SIZE (9U * 1024 * 1024 + 77)

static char said[4096];
static uint8_t *data;
static char names[KIT_PATH * 3];

static void hear(void *arg, const char *line)
{
	size_t used = strlen(said);

	(void)arg;
	snprintf(said + used, sizeof(said) - used, "%s\n", line);
}

/* An engine whose replicas misbehave by @faults (NULL: none), and two equal files. */
static void open_mirror(const char *faults, uint32_t flags)
{
	struct taio_engine_options options = kit_engine_options(flags);

	options.log = hear;
	said[0] = '\0';
	if (faults)
		cr_assert_eq(setenv("TAIO_FAULT", faults, 1), 0);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	kit_write(kit_path("a"), data, SIZE);
	kit_write(kit_path("b"), data, SIZE);
	snprintf(names, sizeof(names), "%s,%s", kit_path("a"), kit_path("b"));
}

static void setup(void)
{
	kit_open();
	data = kit_pattern(SIZE, 3);
}

static void teardown(void)
{
	free(data);
	kit_close();
}

TestSuite(mirror, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t mask(const char *devices)
{
	uint64_t ret;

	cr_assert_eq(taio_device_mask(kit, devices, &ret), 0);
	return ret;
}

static struct taio_event copy_whole(const struct taio_options *options)
{
	struct taio_event event = kit_copy(taio_mirror(names), taio_path(kit_path("to")), options);

	cr_expect_eq(event.result, (int64_t)SIZE, "%s: %lld at %s", said, (long long)event.result,
		     taio_step_name(event.step));
	kit_check(kit_path("to"), data, SIZE);
	return event;
}

static void every_sink(void)
{
	for (enum kit_kind to = 0; to < KIT_KINDS; to++) {
		struct kit_end sink;

		if (to == KIT_ZERO || to == KIT_DGRAM)
			continue;
		kit_what = kit_kind_name(to);
		kit_sink(&sink, to, SIZE);
		kit_moves(taio_mirror(names), sink.ep, SIZE, NULL);
		kit_sink_done(&sink, data, SIZE, kit_what);
	}
}

Test(mirror, every_kind_of_destination_gets_the_same_bytes)
{
	open_mirror(NULL, 0);
	every_sink();
}

Test(mirror, what_the_ring_cannot_do_is_done_by_workers_before_it_was_ever_opened)
{
	open_mirror(NULL, 0);
	kit_moves(taio_mirror(names), taio_null(), SIZE, NULL);
}

Test(mirror, without_a_ring_workers_read)
{
	open_mirror(NULL, TAIO_NO_URING);
	every_sink();
}

Test(mirror, without_a_ring_and_workers_it_is_refused)
{
	open_mirror(NULL, TAIO_NO_URING | TAIO_NO_WORKERS);
	kit_fails(taio_mirror(names), taio_path(kit_path("to")), EOPNOTSUPP, TAIO_STEP_TRANSFER);
	cr_assert_not(kit_exists(kit_path("to")));
}

Test(mirror, only_devices_of_replicas_carry_its_bytes)
{
	struct taio_event event;

	open_mirror(NULL, 0);
	event = copy_whole(NULL);
	cr_assert_eq(event.devices & ~mask("replica1,replica2"), 0);
	cr_assert_neq(event.devices, 0);
}

Test(mirror, a_part_of_it_can_be_read)
{
	static uint8_t part[100000];
	struct taio_endpoint from;

	open_mirror(NULL, 0);
	from = taio_mirror(names);
	from.offset = 12345;
	kit_moves(from, taio_memory(part, sizeof(part)), sizeof(part), NULL);
	cr_assert_arr_eq(part, data + 12345, sizeof(part));
}

Test(mirror, a_replica_that_is_not_there_is_left_out_and_named)
{
	open_mirror(NULL, 0);
	unlink(kit_path("a"));
	copy_whole(NULL);
	cr_assert(strstr(said, "/a is left out: No such file"), "%s", said);
}

Test(mirror, without_any_replica_opening_fails)
{
	open_mirror(NULL, 0);
	unlink(kit_path("a"));
	unlink(kit_path("b"));
	kit_fails(taio_mirror(names), taio_path(kit_path("to")), ENOENT, TAIO_STEP_OPEN_FROM);
	cr_assert_not(kit_exists(kit_path("to")));
}

Test(mirror, replicas_of_different_size_are_refused)
{
	open_mirror(NULL, 0);
	kit_write(kit_path("b"), data, SIZE - 1);
	kit_fails(taio_mirror(names), taio_path(kit_path("to")), EINVAL, TAIO_STEP_OPEN_FROM);
	cr_assert_not(kit_exists(kit_path("to")));
	cr_assert(strstr(said, "bytes, another one"), "%s", said);
}

Test(mirror, the_same_file_twice_is_one_replica)
{
	open_mirror(NULL, 0);
	unlink(kit_path("b"));
	cr_assert_eq(link(kit_path("a"), kit_path("b")), 0);
	copy_whole(NULL);
	cr_assert(strstr(said, "/b is left out: it is the same file"), "%s", said);
}

Test(mirror, an_empty_one_is_copied_as_an_empty_file)
{
	open_mirror(NULL, 0);
	kit_write(kit_path("a"), data, 0);
	kit_write(kit_path("b"), data, 0);
	kit_moves(taio_mirror(names), taio_path(kit_path("to")), 0, NULL);
	kit_check(kit_path("to"), data, 0);
}

Test(mirror, a_replica_cannot_be_its_destination)
{
	open_mirror(NULL, 0);
	kit_fails(taio_mirror(names), taio_path(kit_path("b")), EINVAL, TAIO_STEP_OPEN_TO);
	kit_check(kit_path("b"), data, SIZE);
}

Test(mirror, wrong_lists_are_refused_at_once)
{
	static const char *const wrong[] = { "one", "a,", ",a", "a,,b", "a,b,c,d,e" };

	open_mirror(NULL, 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct taio_endpoint from = taio_mirror(wrong[i]), to = taio_path(kit_path("to"));

		cr_expect_eq(taio_copy(kit, &from, &to, NULL, 1), -EINVAL, "%s", wrong[i]);
	}
	cr_expect_eq(taio_copy(kit, &(struct taio_endpoint){ .type = TAIO_EP_NULL },
			       &(struct taio_endpoint){ .type = TAIO_EP_MIRROR, .ptr = names },
			       NULL, 1),
		     -EOPNOTSUPP);
}

/* ---- replicas that fail ---- */

Test(mirror, what_a_bad_replica_cannot_give_is_read_from_the_other)
{
	struct taio_event event;

	open_mirror("replica1:errno=EIO", 0);
	event = copy_whole(NULL);
	cr_assert_gt(event.retries, 0);
	cr_assert_eq(event.devices & mask("replica1"), 0);
	cr_assert(strstr(said, "Input/output error; read from another one"), "%s", said);
}

Test(mirror, each_replica_may_be_bad_somewhere)
{
	unsigned int whole = 0;

	/* a device that failed a segment is asked again for the next one; both may fail the same
	 * segment, and only then the copy does */
	open_mirror("replica1:errno=EIO/3;replica2:errno=EIO/5", 0);
	for (unsigned int i = 0; i < 60 && whole < 3; i++) {
		struct taio_event event =
			kit_copy(taio_mirror(names), taio_path(kit_path("to")), NULL);

		if (event.result == -EIO)
			continue;
		cr_assert_eq(event.result, (int64_t)SIZE, "%lld at %s\n%s", (long long)event.result,
			     taio_step_name(event.step), said);
		kit_check(kit_path("to"), data, SIZE);
		whole += event.retries > 0;
	}
	cr_assert_eq(whole, 3, "copies in which another replica stood in");
}

Test(mirror, when_all_replicas_fail_the_error_is_that_of_the_source_and_nothing_is_torn)
{
	open_mirror("replica1:errno=EIO;replica2:errno=EIO", 0);
	kit_write(kit_path("to"), "old", 3);
	kit_fails(taio_mirror(names), taio_path(kit_path("to")), EIO, TAIO_STEP_TRANSFER);
	kit_check(kit_path("to"), "old", 3);
}

Test(mirror, a_replica_that_is_cut_short_meanwhile_is_not_the_end_of_the_source)
{
	struct taio_options options = kit_options();
	struct taio_endpoint from, to;
	struct taio_event event;

	open_mirror(NULL, 0);
	from = taio_mirror(names);
	to = taio_path(kit_path("to"));
	options.limit_rate = 16U << 20; /* so that there is a middle */
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 50000000), 0);
	cr_assert_eq(truncate(kit_path("a"), 4096), 0);
	event = kit_wait_one();
	cr_assert_eq(event.result, (int64_t)SIZE, "%s", said);
	cr_assert_eq(event.flags & TAIO_EVENT_SHRANK, 0);
	kit_check(kit_path("to"), data, SIZE);
}

/* ---- prices ---- */

struct counts {
	uint64_t first, second;
};

/* Bytes that each of the first two places has carried. */
static struct counts carried(void)
{
	struct taio_device_info info[64];
	struct counts c = { 0, 0 };
	int n = taio_devices(kit, info, sizeof(info[0]), 64);

	for (int i = 0; i < n; i++) {
		if (strncmp(info[i].name, "replica1", 8) == 0)
			c.first += info[i].bytes;
		if (strncmp(info[i].name, "replica2", 8) == 0)
			c.second += info[i].bytes;
	}
	return c;
}

Test(mirror, the_policy_leaves_a_slow_disk_and_comes_back)
{
	struct counts before, slow, after;

	/* first the one disk takes 40 ms more, then the other */
	open_mirror("replica1:delay=40ms@-5s;replica2:delay=40ms@5s-", 0);
	for (unsigned int i = 0; i < 4; i++)
		copy_whole(NULL);
	before = carried();
	for (unsigned int i = 0; i < 12; i++)
		copy_whole(NULL);
	slow = carried();
	cr_assert_gt(slow.second - before.second, slow.first - before.first,
		     "slow: %llu and %llu bytes", (unsigned long long)(slow.first - before.first),
		     (unsigned long long)(slow.second - before.second));
	usleep(5000000);
	for (unsigned int i = 0; i < 60; i++) {
		copy_whole(NULL);
		after = carried();
		if (after.first - slow.first > 6 * (uint64_t)SIZE)
			return;
	}
	cr_assert_fail("it never comes back: %llu bytes",
		       (unsigned long long)(after.first - slow.first));
}
