/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_fault_engine.c: an engine whose devices misbehave by $TAIO_FAULT: requests end well all the
 * same, and who did not ask for faults has none. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine_kit.h"

#define LARGE 700001

static char said[1024];

static void hear(void *arg, const char *line)
{
	(void)arg;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s\n", line);
}

/* An engine with faults, in the directory of the case. */
static void open_faulty(const char *faults, uint32_t flags, const char *pin)
{
	struct taio_engine_options options = kit_engine_options(flags);

	options.pin = pin;
	options.log = hear;
	said[0] = '\0';
	cr_assert_eq(setenv("TAIO_FAULT", faults, 1), 0);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
}

TestSuite(fault_engine, .init = kit_open, .fini = kit_close, .timeout = 120);

static void every_pair(void)
{
	static const uint8_t zeros[LARGE];
	uint8_t *data = kit_pattern(LARGE, 7);

	for (enum kit_kind from = 0; from < KIT_KINDS; from++)
		for (enum kit_kind to = 0; to < KIT_KINDS; to++) {
			const uint8_t *bytes = from == KIT_ZERO ? zeros : data;
			struct kit_end source, sink;
			char what[80];

			if (!kit_is_pair(from, to) || from == KIT_DGRAM || to == KIT_DGRAM)
				continue;
			snprintf(what, sizeof(what), "%s to %s", kit_kind_name(from),
				 kit_kind_name(to));
			kit_what = what;
			kit_source(&source, from, bytes, LARGE);
			kit_sink(&sink, to, LARGE);
			kit_moves(source.ep, sink.ep, LARGE, NULL);
			kit_source_done(&source);
			kit_sink_done(&sink, bytes, LARGE, what);
		}
	free(data);
}

Test(fault_engine, every_pair_works_when_every_device_is_short)
{
	open_faulty("*:short=1/3", 0, NULL);
	every_pair();
}

Test(fault_engine, every_pair_works_when_every_device_fails_and_is_late_now_and_then)
{
	/* Not too often: a step that all its devices fail ends the request. */
	open_faulty("*:errno=EIO/1000,delay=100us/5", 0, NULL);
	every_pair();
}

Test(fault_engine, a_failing_device_fails_a_request_only_where_nothing_else_can_do_it)
{
	uint8_t *data = kit_pattern(4096, 1);
	static uint8_t memory[4096];
	struct taio_event event;
	int fd;

	kit_write(kit_path("a"), data, 4096);
	open_faulty("rw:errno=EIO", 0, "rw");
	fd = open(kit_path("a"), O_RDONLY);
	event = kit_copy(taio_file(fd, 0, 4096), taio_memory(memory, 4096), NULL);
	cr_assert_eq(event.result, -EIO);
	open_faulty("rw:errno=EIO", 0, "rw,uring");
	event = kit_copy(taio_file(fd, 0, 4096), taio_memory(memory, 4096), NULL);
	if (event.result == 4096) /* io_uring may be forbidden here */
		cr_assert(memcmp(memory, data, 4096) == 0);
	close(fd);
	free(data);
}

/* Once six of them did, however many steps went well in between. */
Test(fault_engine, rare_errors_of_every_device_do_not_end_a_long_request)
{
	enum {
		PIECE = 64,
		PIECES = 1000
	};
	static struct iovec piece[PIECES];
	uint8_t *data = kit_pattern(PIECE * PIECES, 1);
	struct taio_event event;
	int fd;

	for (unsigned int i = 0; i < PIECES; i++)
		piece[i] = (struct iovec){ data + i * PIECE, PIECE };
	open_faulty("*:errno=EIO/20", 0, NULL);
	fd = open(kit_path("a"), O_RDWR | O_CREAT, 0600);
	event = kit_copy(taio_vector(piece, PIECES), taio_file(fd, 0, PIECE * PIECES), NULL);
	close(fd);
	cr_assert_eq(event.result, PIECE * PIECES, "%s",
		     event.result < 0 ? strerror((int)-event.result) : "short");
	cr_assert_geq(event.retries, PIECES / 50);
	kit_check(kit_path("a"), data, PIECE * PIECES);
	free(data);
}

Test(fault_engine, a_late_completion_wakes_a_sleeping_engine)
{
	uint8_t *data = kit_pattern(65536, 1);
	static uint8_t memory[65536];
	struct taio_event event;
	int fd;

	kit_write(kit_path("a"), data, 65536);
	open_faulty("uring:delay=30ms", 0, "uring");
	fd = open(kit_path("a"), O_RDONLY);
	event = kit_copy(taio_file(fd, 0, 65536), taio_memory(memory, 65536), NULL);
	close(fd);
	if (event.result >= 0) {
		cr_assert_eq(event.result, 65536);
		cr_assert_geq(event.ns, 30000000);
		cr_assert(memcmp(memory, data, 65536) == 0);
	}
	free(data);
	if (event.result < 0)
		kit_skip("no io_uring here: %s", strerror((int)-event.result));
}

Test(fault_engine, a_late_step_is_cancelled_in_time)
{
	struct taio_options options = kit_options();
	uint8_t *data = kit_pattern(65536, 1);
	static uint8_t memory[65536];
	struct taio_event event;
	int fd;

	kit_write(kit_path("a"), data, 65536);
	open_faulty("uring:delay=15s", 0, "uring");
	options.timeout_ns = 20000000;
	fd = open(kit_path("a"), O_RDONLY);
	event = kit_copy(taio_file(fd, 0, 65536), taio_memory(memory, 65536), &options);
	close(fd);
	free(data);
	if (event.result != -ETIMEDOUT)
		kit_skip("no io_uring here: %s", strerror((int)-event.result));
	cr_assert_lt(event.ns, 10000000000ULL);
}

/* Once the segment of a lone request was 16 MiB, and a disk that answered after seconds held it for half a minute. */
Test(fault_engine, a_timeout_is_late_by_a_small_segment_on_a_device_that_nobody_can_call_back)
{
	struct taio_options options = kit_options();
	const size_t size = 16 << 20;
	uint8_t *data = kit_pattern(size, 1);
	struct taio_event event;

	kit_write(kit_path("a"), data, size);
	free(data);
	open_faulty("rw:delay=200ms", 0, "rw");
	options.timeout_ns = 100000000;
	event = kit_copy(taio_path(kit_path("a")), taio_path(kit_path("b")), &options);
	cr_assert_eq(event.result, -ETIMEDOUT, "%lld", (long long)event.result);
	cr_assert_lt(event.bytes, size / 2);
	cr_assert_eq(access(kit_path("b"), F_OK), -1);
}

Test(fault_engine, faults_are_announced_and_shown)
{
	struct taio_device_info info[64];
	int n;

	open_faulty("sendfile:delay=2x", 0, NULL);
	cr_assert(strstr(said, "faults are injected: sendfile:delay=2x"), "%s", said);
	n = taio_devices(kit, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++)
		cr_assert_eq(!strncmp(info[i].text, "with faults: ", 13),
			     !strncmp(info[i].name, "sendfile", 8), "%s: %s", info[i].name,
			     info[i].text);
}

Test(fault_engine, without_a_schedule_no_device_is_faulty)
{
	struct taio_device_info info[64];
	int n = taio_devices(kit, info, sizeof(info[0]), 64);

	for (int i = 0; i < n; i++) {
		cr_assert_null(strstr(info[i].text, "fault"), "%s", info[i].text);
		cr_assert_neq(strcmp(info[i].name, "fault"), 0);
	}
}

Test(fault_engine, a_schedule_with_a_mistake_opens_no_engine)
{
	static const char *const wrong[] = { "rw:delay=10", "nobody:delay=10x" };
	struct taio_engine_options options = kit_engine_options(0);

	options.log = hear;
	for (unsigned int i = 0; i < 2; i++) {
		struct taio *engine = NULL;

		said[0] = '\0';
		setenv("TAIO_FAULT", wrong[i], 1);
		cr_assert_eq(taio_open(&engine, &options), -EINVAL);
		unsetenv("TAIO_FAULT");
		cr_assert_null(engine);
		cr_assert(strstr(said, "TAIO_FAULT: "), "%s", said);
	}
}
