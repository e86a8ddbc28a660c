/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_whole.c: small files that are copied within the call that asks for it, because the
 * thread may block: the same results, the same order on streams, the same one event.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_kit.h"

static void may_block(void)
{
	kit_open_flags(TAIO_MAY_BLOCK);
}

TestSuite(engine_whole, .init = may_block, .fini = kit_close, .timeout = 60);

/* What there is without waiting and without a turn of the engine. */
static struct taio_event at_once(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 0), 1);
	return event;
}

static struct taio_event whole(const char *from, struct taio_endpoint to,
			       const struct taio_options *options)
{
	struct taio_endpoint source = taio_path(from);

	cr_assert_eq(taio_copy(kit, &source, &to, options, 7), 0);
	return at_once();
}

Test(engine_whole, a_small_file_is_there_when_the_call_returns)
{
	static const size_t sizes[] = { 0, 1, 4096, 4097, 65536, 500000 };

	for (unsigned int place = 0; place < 2; place++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			for (unsigned int old = 0; old < 2; old++) {
				struct taio_options options = kit_options();
				uint8_t *data = kit_pattern(sizes[i], (unsigned int)i);
				struct taio_endpoint from = taio_path(kit_path("from"));
				struct taio_endpoint to = taio_path(kit_path("to"));
				struct taio_event event;

				options.flags = place ? TAIO_IN_PLACE : 0;
				kit_write(kit_path("from"), data, sizes[i]);
				if (old)
					kit_write(kit_path("to"), "something that was there", 24);
				else
					unlink(kit_path("to"));
				cr_assert_eq(taio_copy(kit, &from, &to, &options, 7), 0);
				kit_check(kit_path("to"), data, sizes[i]);
				event = at_once();
				cr_assert_eq(event.cookie, 7);
				cr_assert_eq(event.result, (int64_t)sizes[i]);
				cr_assert_eq(taio_pending(kit), 0);
				free(data);
			}
}

Test(engine_whole, many_in_a_row_are_each_learnt_of_or_counted_and_none_is_lost)
{
	struct taio_device_info info[64];
	uint64_t steps = 0;
	int n;

	kit_write(kit_path("from"), "abc", 3);
	for (unsigned int i = 0; i < 300; i++) {
		struct taio_event event;

		event = whole(kit_path("from"), taio_path(kit_path("to")), NULL);
		cr_assert_eq(event.result, 3);
		kit_check(kit_path("to"), "abc", 3);
		unlink(kit_path("to"));
	}
	n = taio_devices(kit, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++)
		steps += strcmp(info[i].name, "file") ? 0 : info[i].steps;
	cr_assert_eq(steps, 300);
}

Test(engine_whole, mistakes_give_the_event_that_they_give_otherwise)
{
	struct taio_options options = kit_options();
	struct taio_event event;

	event = whole(kit_path("none"), taio_path(kit_path("to")), NULL);
	cr_assert_eq(event.result, -ENOENT);
	cr_assert_eq(event.step, TAIO_STEP_OPEN_FROM);
	kit_write(kit_path("from"), "abc", 3);
	event = whole(kit_path("from"), taio_path(kit_dir), NULL);
	cr_assert_eq(event.result, -EISDIR);
	cr_assert_eq(event.step, TAIO_STEP_OPEN_TO);
	event = whole(kit_path("from"), taio_path(kit_path("from")), NULL);
	cr_assert_eq(event.result, -EINVAL);
	options.flags = TAIO_IN_PLACE;
	event = whole(kit_path("from"), taio_path(kit_path("from")), &options);
	cr_assert_eq(event.result, -EINVAL);
	kit_check(kit_path("from"), "abc", 3);
	kit_write(kit_path("to"), "old", 3);
	options.flags = TAIO_NO_CLOBBER;
	event = whole(kit_path("from"), taio_path(kit_path("to")), &options);
	cr_assert_eq(event.result, -EEXIST);
	options.flags = TAIO_NO_CLOBBER | TAIO_IN_PLACE;
	event = whole(kit_path("from"), taio_path(kit_path("to")), &options);
	cr_assert_eq(event.result, -EEXIST);
	kit_check(kit_path("to"), "old", 3);
}

Test(engine_whole, in_place_follows_links_and_writes_to_devices)
{
	struct taio_options options = kit_options();
	struct taio_event event;

	options.flags = TAIO_IN_PLACE;
	kit_write(kit_path("from"), "abc", 3);
	cr_assert_eq(symlink("real", kit_path("link")), 0);
	event = whole(kit_path("from"), taio_path(kit_path("link")), &options);
	cr_assert_eq(event.result, 3);
	kit_check(kit_path("real"), "abc", 3);
	kit_moves(taio_path(kit_path("from")), taio_path("/dev/null"), 3, &options);
}

Test(engine_whole, a_file_that_is_not_small_goes_on_as_a_request)
{
	uint8_t *data = kit_pattern(3 << 20, 5);

	kit_write(kit_path("from"), data, 3 << 20);
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), 3 << 20, NULL);
	kit_check(kit_path("to"), data, 3 << 20);
	free(data);
}

/* ---- streams ---- */

static size_t drain(int fd, uint8_t *to, size_t room)
{
	size_t got = 0;
	ssize_t n;

	while ((n = recv(fd, to + got, room - got, MSG_DONTWAIT)) > 0)
		got += (size_t)n;
	return got;
}

/* The files of @sizes one behind the other into one stream that takes little at a time. */
static void send_files(const size_t *sizes, unsigned int count, const int pair[2])
{
	uint8_t *got = calloc(1, 16 << 20), *want = calloc(1, 16 << 20);
	size_t have = 0, total = 0;
	unsigned int ended = 0;

	for (unsigned int i = 0; i < count; i++) {
		uint8_t *data = kit_pattern(sizes[i], i);
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		kit_write(kit_path(name), data, sizes[i]);
		memcpy(want + total, data, sizes[i]);
		total += sizes[i];
		free(data);
		cr_assert_eq(taio_schedule_file_socket(kit, kit_path(name), pair[0], i), 0);
	}
	while (have < total || ended < count) {
		struct taio_event event;
		size_t n = drain(pair[1], got + have, (16 << 20) - have);

		have += n;
		if (taio_get_events(kit, &event, 0, 1, 0) != 1)
			continue;
		cr_assert_eq(event.cookie, ended, "in the order in which they were asked for");
		cr_assert_eq(event.result, (int64_t)sizes[ended++]);
	}
	cr_assert_eq(have, total);
	cr_assert_eq(memcmp(got, want, total), 0);
	free(got);
	free(want);
}

Test(engine_whole, files_to_one_stream_stay_in_order_whatever_their_size)
{
	static const size_t sizes[] = { 100,  200000, 5,  250000, 16384, 16385, 1 << 20,
					4096, 262144, 30, 262145, 70000, 1 };
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	send_files(sizes, sizeof(sizes) / sizeof(sizes[0]), pair);
	send_files(sizes + 1, 4, pair);
	cr_assert_eq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "as blocking as it was");
	close(pair[0]);
	close(pair[1]);
}

Test(engine_whole, a_socket_that_does_not_block_stays_so)
{
	static const size_t sizes[] = { 100, 200000, 5, 250000 };
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	send_files(sizes, 4, pair);
	cr_assert_neq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	close(pair[0]);
	close(pair[1]);
}

Test(engine_whole, a_peer_that_went_away_is_an_error_and_no_signal)
{
	static const size_t sizes[] = { 100, 200000 };

	for (unsigned int i = 0; i < 2; i++) {
		uint8_t *data = kit_pattern(sizes[i], i);
		struct taio_event event;
		int pair[2];

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		/* once, so that it is known for a socket */
		kit_write(kit_path("from"), data, sizes[i]);
		cr_assert_eq(taio_schedule_file_socket(kit, kit_path("from"), pair[0], 1), 0);
		close(pair[1]);
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(taio_schedule_file_socket(kit, kit_path("from"), pair[0], 2), 0);
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.cookie, 2);
		cr_assert_eq(event.result, -EPIPE, "%s", strerror((int)-event.result));
		close(pair[0]);
		free(data);
	}
}

/* The number belonged to a stream socket the time before. */
Test(engine_whole, a_number_that_names_something_else_by_now_is_looked_at_again)
{
	uint8_t room[64];
	int pair[2], number;

	kit_write(kit_path("from"), "abc", 3);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	number = pair[0];
	kit_moves(taio_path(kit_path("from")), taio_descriptor(number), 3, NULL);
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(pair[0], number);
	kit_moves(taio_path(kit_path("from")), taio_descriptor(number), 3, NULL);
	cr_assert_eq(recv(pair[1], room, sizeof(room), MSG_DONTWAIT), 3);
	close(pair[0]);
	close(pair[1]);
	number = open(kit_path("to"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	kit_moves(taio_path(kit_path("from")), taio_descriptor(number), 3, NULL);
	close(number);
	kit_check(kit_path("to"), "abc", 3);
}

Test(engine_whole, a_canary_gets_its_share_of_files_within_the_call)
{
	struct taio_policy_comparison rows[16];
	uint64_t requests[2] = { 0, 0 };
	int n;

	cr_assert_eq(taio_policy_canary(kit, "jsq", 250, 3600000000000ULL), 0);
	kit_write(kit_path("from"), "abc", 3);
	for (unsigned int i = 0; i < 400; i++) {
		(void)whole(kit_path("from"), taio_path(kit_path("to")), NULL);
		unlink(kit_path("to"));
	}
	n = taio_policy_compare(kit, rows, sizeof(rows[0]), 16);
	cr_assert_gt(n, 0);
	for (int i = 0; i < n; i++)
		for (unsigned int k = 0; k < 2; k++)
			requests[k] += rows[i].requests[k];
	cr_assert_eq(requests[0] + requests[1], 400);
	cr_assert_gt(requests[1], 50);
	cr_assert_lt(requests[1], 150);
}
