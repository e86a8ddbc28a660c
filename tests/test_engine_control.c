/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_control.c: control steps on files run on the engine's thread as long as they are quick.
 * One that was slow is the last that many other requests had to wait for. The ring can do many of them.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine_kit.h"

#define FILES 40
#define EACH  5000

static struct taio_trace_step rows[FILES][12];
static struct taio_trace trace[FILES];
static uint8_t got[FILES][EACH];

/* Reads a file FILES times at once while opening one takes 2 ms. Return: opens that did not run on
 * the thread; *inlined: those that did. */
static unsigned int slow_opens(uint32_t flags, unsigned int *inlined)
{
	struct taio_engine_options options = kit_engine_options(flags);
	uint8_t *data = kit_pattern(EACH, 4);
	unsigned int aside = 0;

	cr_assert_eq(setenv("TAIO_FAULT", "sys:delay=2ms", 1), 0);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	kit_write(kit_path("from"), data, EACH);
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_endpoint from = taio_path(kit_path("from"));
		struct taio_endpoint to = taio_memory(got[i], EACH);
		struct taio_options o = kit_options();

		trace[i].capacity = 12;
		trace[i].step = rows[i];
		o.trace = &trace[i];
		cr_assert_eq(taio_copy(kit, &from, &to, &o, i), 0);
	}
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_event event;

		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.result, EACH);
		cr_assert_arr_eq(got[event.cookie], data, EACH);
	}
	*inlined = 0;
	for (unsigned int i = 0; i < FILES; i++)
		for (uint32_t row = 0; row < trace[i].used; row++) {
			const struct taio_trace_step *step = &rows[i][row];

			if (step->step != TAIO_STEP_OPEN_FROM)
				continue;
			if (strcmp(taio_device_name(kit, step->device), "sys"))
				aside += step->count;
			else
				*inlined += step->count;
		}
	free(data);
	return aside;
}

Test(engine_control, opens_that_take_long_do_not_stop_the_other_requests)
{
	unsigned int inlined;

	kit_open();
	cr_assert_gt(slow_opens(0, &inlined), FILES / 2, "%u ran on the thread", inlined);
	kit_close();
}

Test(engine_control, opens_run_on_the_thread_where_only_the_time_of_all_requests_counts)
{
	unsigned int inlined;

	kit_open();
	cr_assert_eq(slow_opens(TAIO_MAY_BLOCK, &inlined), 0);
	cr_assert_eq(inlined, FILES);
	kit_close();
}

/* ---- through the ring ---- */

static struct taio_trace_step story_rows[24];
static struct taio_trace story = { .step = story_rows };

static const char *ran(enum taio_step_type step)
{
	for (uint32_t i = 0; i < story.used; i++)
		if (story_rows[i].step == step && story_rows[i].count)
			return taio_device_name(kit, story_rows[i].device);
	return "nobody";
}

static struct taio_event told(struct taio_endpoint from, struct taio_endpoint to, uint32_t flags)
{
	struct taio_options options = kit_options();

	story.capacity = 24;
	story.used = 0;
	options.trace = &story;
	options.flags = flags;
	return kit_copy(from, to, &options);
}

/* An engine without @forbid; the case is skipped where the ring cannot be had. */
static void open_without(const char *forbid, const char *faults)
{
	struct taio_engine_options options = kit_engine_options(0);
	struct taio_device_info info[64];
	int n;

	kit_directory();
	options.forbid = forbid;
	setenv("TAIO_FAULT", faults, 1);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	n = taio_devices(kit, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++)
		if (!strcmp(info[i].name, "uring") && !(info[i].flags & TAIO_DEVICE_AVAILABLE))
			kit_skip("no io_uring here: %s", info[i].reason);
}

Test(engine_control, the_ring_opens_and_closes_where_the_system_calls_are_forbidden)
{
	uint8_t *data = kit_pattern(EACH, 4);
	struct taio_event event;

	open_without("sys", "");
	kit_write(kit_path("from"), data, EACH);
	event = told(taio_path(kit_path("from")), taio_memory(got[0], EACH), 0);
	cr_assert_eq(event.result, EACH);
	cr_assert_arr_eq(got[0], data, EACH);
	cr_assert_str_eq(ran(TAIO_STEP_OPEN_FROM), "uring");
	cr_assert_str_eq(ran(TAIO_STEP_CLOSE), "uring");
	event = told(taio_path(kit_path("nothing")), taio_memory(got[0], EACH), 0);
	cr_assert_eq(event.result, -ENOENT);
	cr_assert_eq(event.step, TAIO_STEP_OPEN_FROM);
	for (unsigned int old = 0; old < 2; old++) { /* a new one, and over an old one */
		event = told(taio_memory(data, EACH), taio_path(kit_path("to")), 0);
		cr_assert_eq(event.result, EACH);
		kit_check(kit_path("to"), data, EACH);
		cr_assert_str_eq(ran(TAIO_STEP_OPEN_TO), "uring");
	}
	event = told(taio_memory(data, EACH), taio_path(kit_dir), 0);
	cr_assert_eq(event.result, -EISDIR);
	cr_assert_eq(event.step, TAIO_STEP_OPEN_TO);
	event = told(taio_memory(data, EACH), taio_path(kit_path("to")), TAIO_NO_CLOBBER);
	cr_assert_eq(event.result, -EEXIST);
	free(data);
	kit_close();
}

Test(engine_control, a_file_that_the_ring_opened_has_the_mode_of_one_that_a_call_did)
{
	static const char *const forbid[] = { NULL, "sys" };
	uint8_t *data = kit_pattern(EACH, 4);
	struct stat st[2][2];

	for (unsigned int i = 0; i < 2; i++) {
		open_without(forbid[i], "");
		umask(027);
		kit_write(kit_path("from"), data, EACH);
		cr_assert_eq(chmod(kit_path("from"), 0751), 0);
		for (unsigned int old = 0; old < 2; old++) {
			struct taio_event event = told(taio_path_at(kit_path("from"), 0, EACH),
						       taio_path(kit_path("to")), 0);

			cr_assert_eq(event.result, EACH);
			cr_assert_eq(stat(kit_path("to"), &st[i][old]), 0);
			cr_assert_eq(chmod(kit_path("to"), 0604), 0);
		}
		kit_close();
	}
	for (unsigned int old = 0; old < 2; old++)
		cr_assert_eq(st[0][old].st_mode, st[1][old].st_mode, "%o, by the ring %o",
			     st[0][old].st_mode, st[1][old].st_mode);
	cr_assert_eq(st[1][1].st_mode & 0777, 0604, "the old file's");
	free(data);
}

Test(engine_control, the_ring_connects_and_accepts_where_net_is_forbidden)
{
	uint8_t *data = kit_pattern(EACH, 4);
	struct kit_end end;
	struct taio_event event;

	open_without("net", "");
	kit_sink(&end, KIT_CONNECT_TCP, EACH);
	event = told(taio_memory(data, EACH), end.ep, 0);
	cr_assert_eq(event.result, EACH);
	cr_assert_str_eq(ran(TAIO_STEP_CONNECT), "uring");
	kit_sink_done(&end, data, EACH, "connect");
	kit_source(&end, KIT_LISTEN_TCP, data, EACH);
	event = told(end.ep, taio_memory(got[0], EACH), 0);
	cr_assert_eq(event.result, EACH);
	cr_assert_arr_eq(got[0], data, EACH);
	cr_assert_str_eq(ran(TAIO_STEP_ACCEPT), "uring");
	kit_source_done(&end);
	/* what it cannot do is an error, and no silent other way */
	kit_sink(&end, KIT_CONNECT_UNIX, EACH);
	event = told(taio_memory(data, EACH), end.ep, 0);
	cr_assert_eq(event.result, -EOPNOTSUPP);
	cr_assert_eq(event.step, TAIO_STEP_CONNECT);
	kit_drop(&end);
	kit_free(&end);
	free(data);
	kit_close();
}

/* It was asked again, by another device, and said 0: the bytes may be lost all the same. */
Test(engine_control, an_fsync_that_failed_is_not_tried_another_way)
{
	uint8_t *data = kit_pattern(EACH, 4);
	struct taio_options options = kit_options();
	struct taio_event event;

	open_without(NULL, "uring:errno=EIO");
	cr_assert_eq(taio_device_mask(kit, "rw", &options.pin), 0);
	story.capacity = 24;
	story.used = 0;
	options.trace = &story;
	options.flags = TAIO_DURABLE;
	event = kit_copy(taio_memory(data, EACH), taio_path(kit_path("to")), &options);
	cr_log_info("fsync by %s", ran(TAIO_STEP_SYNC));
	if (!strcmp(ran(TAIO_STEP_SYNC), "uring")) {
		cr_assert_eq(event.result, -EIO);
		cr_assert_eq(event.step, TAIO_STEP_SYNC);
		cr_assert_not(kit_exists(kit_path("to")));
	} else {
		cr_assert_eq(event.result, EACH);
	}
	free(data);
	kit_close();
}
