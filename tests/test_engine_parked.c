/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_parked.c: segments that find every device full wait for room, those that come back
 * short meanwhile, too, however many of one request do. Once the engine asked for room without end
 * while other segments of the request were in flight, and a second segment that had to wait took the
 * place of the first.
 */
#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"

#define FILES 12
#define SIZE  (5u << 20)

Test(engine_parked, several_segments_of_a_request_wait_for_room, .timeout = 120)
{
	struct taio_engine_options options = kit_engine_options(0);
	uint8_t *data = kit_pattern(SIZE, 8);
	unsigned int seen[FILES] = { 0 };
	char name[16];

	kit_open();
	options.requests = FILES;
	options.pin = "uring";
	cr_assert_eq(setenv("TAIO_FAULT", "uring:short=7/8", 1), 0);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	kit_write(kit_path("from"), data, SIZE);
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_endpoint from = taio_path(kit_path("from")), to;

		snprintf(name, sizeof(name), "to%u", i);
		to = taio_path(kit_path(name));
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	}
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_event event;

		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1, "%u came", i);
		cr_assert_eq(event.result, SIZE, "%s", strerror((int)-event.result));
		cr_assert_eq(seen[event.cookie]++, 0);
	}
	for (unsigned int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "to%u", i);
		kit_check(kit_path(name), data, SIZE);
	}
	free(data);
	kit_close();
}
