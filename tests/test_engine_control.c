/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_control.c: control steps on files run on the engine's thread as long as they are quick.
 * One that was slow is the last that many other requests had to wait for.
 */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

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
