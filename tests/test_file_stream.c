/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_file_stream.c: small files by name to an open stream: one step of the device "file", and
 * whatever is not as simple as that goes on in segments without a byte lost, doubled or moved.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_kit.h"

#define SMALL 16384 /* the largest that is one step */

struct reader {
	pthread_t thread;
	int fd;
	uint8_t got[4 * SMALL];
	size_t bytes, each;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	ssize_t n;

	while (reader->bytes < sizeof(reader->got) &&
	       (n = read(reader->fd, reader->got + reader->bytes, reader->each)) > 0) {
		reader->bytes += (size_t)n;
		usleep(200);
	}
	return NULL;
}

static struct reader reader;
static int stream; /* the engine's side */

static void stream_open(size_t each, int room)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	if (room)
		cr_assert_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	stream = pair[0];
	reader.fd = pair[1];
	reader.each = each;
	reader.bytes = 0;
	cr_assert_eq(pthread_create(&reader.thread, NULL, reader_main, &reader), 0);
}

static void stream_end(void)
{
	close(stream);
	pthread_join(reader.thread, NULL);
	close(reader.fd);
}

static struct taio_event send_traced(const struct taio_options *options, struct taio_trace *trace)
{
	struct taio_options o = options ? *options : kit_options();

	memset(trace->step, 0, trace->capacity * sizeof(*trace->step));
	trace->used = trace->lost = 0;
	o.trace = trace;
	return kit_copy(taio_path(kit_path("from")), taio_descriptor(stream), &o);
}

static struct taio_trace_step rows[16];
static struct taio_trace trace = { .capacity = 16, .step = rows };

Test(file_stream, a_small_file_is_one_step)
{
	uint8_t *data = kit_pattern(SMALL, 5);

	kit_open();
	stream_open(SMALL, 0);
	kit_write(kit_path("from"), data, SMALL);
	cr_assert_eq(send_traced(NULL, &trace).result, SMALL);
	cr_assert_eq(trace.used, 1);
	cr_assert_eq(rows[0].step, TAIO_STEP_FILE);
	cr_assert_str_eq(taio_device_name(kit, rows[0].device), "file");
	stream_end();
	cr_assert_eq(reader.bytes, SMALL);
	cr_assert_arr_eq(reader.got, data, SMALL);
	free(data);
	kit_close();
}

Test(file_stream, what_a_full_stream_did_not_take_goes_on_in_segments)
{
	uint8_t *data = kit_pattern(SMALL, 6);

	kit_open();
	stream_open(700, 4096);
	kit_write(kit_path("from"), data, SMALL);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(send_traced(NULL, &trace).result, SMALL);
	cr_assert_gt(trace.used, 1, "it did not fit at once");
	stream_end();
	cr_assert_eq(reader.bytes, 3 * SMALL);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_arr_eq(reader.got + (size_t)i * SMALL, data, SMALL);
	free(data);
	kit_close();
}

Test(file_stream, files_of_one_stream_keep_their_order)
{
	enum {
		FILES = 40,
		EACH = 1000
	};
	uint8_t *data = kit_pattern(EACH * 2, 9);

	kit_open();
	stream_open(333, 4096);
	kit_write(kit_path("a"), data, EACH);
	kit_write(kit_path("b"), data + EACH, EACH);
	for (unsigned int i = 0; i < FILES; i++)
		cr_assert_eq(taio_schedule_file_socket(kit, kit_path(i % 2 ? "b" : "a"), stream, i),
			     0);
	for (unsigned int i = 0; i < FILES; i++) {
		struct taio_event event;

		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.result, EACH);
		cr_assert_eq(event.cookie, i);
	}
	stream_end();
	cr_assert_eq(reader.bytes, FILES * EACH);
	for (unsigned int i = 0; i < FILES; i++)
		cr_assert_arr_eq(reader.got + (size_t)i * EACH, data + (i % 2 ? EACH : 0), EACH);
	free(data);
	kit_close();
}

Test(file_stream, what_may_not_be_called_is_not_called)
{
	uint8_t *data = kit_pattern(SMALL, 5);
	struct taio_options o = kit_options();

	kit_open();
	stream_open(SMALL, 0);
	kit_write(kit_path("from"), data, SMALL);
	cr_assert_eq(taio_device_mask(kit, "rw", &o.forbid), 0);
	cr_assert_eq(send_traced(&o, &trace).result, SMALL);
	for (uint32_t i = 0; i < trace.used; i++) {
		cr_assert_neq(rows[i].step, TAIO_STEP_FILE);
		cr_assert_neq(rows[i].device, 255);
		cr_assert_str_neq(taio_device_name(kit, rows[i].device), "rw");
	}
	stream_end();
	cr_assert_eq(reader.bytes, SMALL);
	cr_assert_arr_eq(reader.got, data, SMALL);
	free(data);
	kit_close();
}

Test(file_stream, lengths_and_empty_files_are_kept)
{
	uint8_t *data = kit_pattern(SMALL, 5);
	struct taio_options o = kit_options();

	kit_open();
	stream_open(SMALL, 0);
	kit_write(kit_path("from"), data, SMALL);
	o.length = 1234;
	cr_assert_eq(send_traced(&o, &trace).result, 1234);
	kit_write(kit_path("from"), data, 0);
	cr_assert_eq(send_traced(NULL, &trace).result, 0);
	stream_end();
	cr_assert_eq(reader.bytes, 1234);
	cr_assert_arr_eq(reader.got, data, 1234);
	free(data);
	kit_close();
}

Test(file_stream, a_peer_that_left_is_an_error_of_the_write)
{
	uint8_t *data = kit_pattern(SMALL, 5);
	int pair[2];

	kit_open();
	kit_write(kit_path("from"), data, SMALL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	kit_fails(taio_path(kit_path("from")), taio_descriptor(pair[0]), EPIPE, TAIO_STEP_WRITE);
	kit_fails(taio_path(kit_path("none")), taio_descriptor(pair[0]), ENOENT,
		  TAIO_STEP_OPEN_FROM);
	close(pair[0]);
	free(data);
	kit_close();
}
