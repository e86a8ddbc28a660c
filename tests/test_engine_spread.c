/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_spread.c: what the engine does and leaves alone so that it is not slower than plain
 * calls: a second core takes part only where the time of all requests counts, no ring is made for
 * a lone copy, and the flags of a socket are only touched for devices that need it.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_kit.h"

#define FILES 64
#define SMALL 4096

static unsigned int cores(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned int)CPU_COUNT(&set);
}

/* Copies a small file FILES times, all scheduled at once. Return: how many were given to another
 * core. */
static unsigned int copy_many(void)
{
	uint8_t *data = kit_pattern(SMALL, 7);
	struct taio_trace_step *rows = calloc((size_t)FILES * 4, sizeof(*rows));
	struct taio_trace *trace = calloc(FILES, sizeof(*trace));
	unsigned int spread = 0, left = FILES, seen[FILES] = { 0 };
	char name[32];

	cr_assert(rows && trace);
	kit_write(kit_path("from"), data, SMALL);
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_options o = kit_options();
		struct taio_endpoint from = taio_path(kit_path("from")), to;

		snprintf(name, sizeof(name), "to%u", i);
		to = taio_path(kit_path(name));
		trace[i].capacity = 4;
		trace[i].step = &rows[(size_t)i * 4];
		o.trace = &trace[i];
		cr_assert_eq(taio_copy(kit, &from, &to, &o, i), 0);
	}
	while (left--) {
		struct taio_event event;

		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.result, SMALL);
		cr_assert_eq(seen[event.cookie]++, 0, "one event for each");
	}
	for (unsigned int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "to%u", i);
		kit_check(kit_path(name), data, SMALL);
		for (uint32_t row = 0; row < trace[i].used; row++)
			spread += rows[(size_t)i * 4 + row].why == TAIO_WHY_SPREAD;
	}
	free(trace);
	free(rows);
	free(data);
	return spread;
}

Test(engine_spread, a_second_core_takes_part_where_only_the_time_of_all_requests_counts)
{
	unsigned int spread;

	kit_open_flags(TAIO_MAY_BLOCK);
	if (cores() < 2)
		kit_skip("one core");
	spread = copy_many();
	cr_assert_gt(spread, 0, "the worker got something");
	cr_assert_lt(spread, FILES, "the thread did not stand by");
	kit_close();
}

Test(engine_spread, requests_that_somebody_waits_for_are_not_spread)
{
	kit_open_flags(0);
	cr_assert_eq(copy_many(), 0);
	kit_close();
}

Test(engine_spread, without_threads_nothing_is_spread)
{
	kit_open_flags(TAIO_MAY_BLOCK | TAIO_NO_WORKERS);
	cr_assert_eq(copy_many(), 0);
	kit_close();
}

static unsigned int rings(void)
{
	unsigned int count = 0;

	for (int fd = 0; fd < 256; fd++) {
		char name[32], target[64];
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, target, sizeof(target) - 1);
		if (n > 0) {
			target[n] = '\0';
			count += strstr(target, "io_uring") != NULL;
		}
	}
	return count;
}

Test(engine_spread, a_lone_copy_makes_no_ring)
{
	size_t size = 3 << 20;
	uint8_t *data = kit_pattern(size, 3);

	kit_open_flags(TAIO_MAY_BLOCK);
	kit_write(kit_path("from"), data, size);
	for (unsigned int i = 0; i < 3; i++) {
		kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), size, NULL);
		kit_check(kit_path("to"), data, size);
	}
	cr_assert_eq(rings(), 0);
	free(data);
	kit_close();
}

/* A request that waits for its peer, on a device; O_NONBLOCK of the socket meanwhile. */
static int flags_while(const char *device)
{
	static uint8_t data[4 << 20];
	struct taio_options o = kit_options();
	struct taio_endpoint from, to;
	struct taio_event event;
	int pair[2], flags;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	kit_write(kit_path("from"), data, sizeof(data));
	from = taio_path(kit_path("from"));
	to = taio_descriptor(pair[0]);
	cr_assert_eq(taio_device_mask(kit, device, &o.pin), 0);
	cr_assert_eq(taio_copy(kit, &from, &to, &o, 1), 0);
	for (unsigned int i = 0; i < 100; i++)
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0, "nobody reads");
	flags = fcntl(pair[0], F_GETFL) & O_NONBLOCK;
	cr_assert_eq(taio_cancel(kit, 1), 1);
	event = kit_wait_one();
	cr_assert_lt(event.result, 0);
	cr_assert_eq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "%s: put back", device);
	close(pair[0]);
	close(pair[1]);
	return flags;
}

Test(engine_spread, a_socket_becomes_nonblocking_only_for_devices_that_need_it)
{
	kit_open_flags(0);
	cr_assert_eq(flags_while("rw"), 0);
	cr_assert_neq(flags_while("sendfile"), 0);
	cr_assert_neq(flags_while("splice"), 0);
	kit_close();
}
