/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_engine_bugs.c: what broke once. Each case is named after it and fails without its remedy. */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#define BYTES (4u << 20)

struct reader {
	int fd;
	unsigned int start_ms;
	size_t bytes;
	unsigned int wrong;
};

static unsigned char bug_byte(size_t at)
{
	return (unsigned char)(at * 31 + (at >> 11));
}

static void bug_sleep_ms(unsigned int ms)
{
	struct timespec t = { .tv_sec = 0, .tv_nsec = (long)ms * 1000000 };

	nanosleep(&t, NULL);
}

static void *bug_read(void *arg)
{
	struct reader *reader = arg;
	static unsigned char room[65536];
	ssize_t n;

	bug_sleep_ms(reader->start_ms);
	while ((n = read(reader->fd, room, sizeof(room))) > 0) {
		for (ssize_t i = 0; i < n; i += 997)
			reader->wrong += room[i] != bug_byte(reader->bytes + (size_t)i);
		reader->bytes += (size_t)n;
	}
	return NULL;
}

static void bug_tcp_pair(int fd[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(listener, 0);
	cr_assert_eq(bind(listener, (void *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (void *)&address, &length), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd[0], (void *)&address, sizeof(address)), 0);
	fd[1] = accept(listener, NULL, NULL);
	cr_assert_geq(fd[1], 0);
	close(listener);
}

/* No test writes to the user's cache. */
static const struct taio_engine_options bug_options = { .size = sizeof(bug_options),
							.flags = TAIO_NO_CACHE | TAIO_NO_CONTROL };

static FILE *bug_file(void)
{
	FILE *f = tmpfile();

	cr_assert_not_null(f);
	for (size_t i = 0; i < BYTES; i++)
		putc(bug_byte(i), f);
	cr_assert_eq(fflush(f), 0);
	return f;
}

/* Runs one request as a program does that sleeps in poll(2) of its own. A poll that times out is
 * a lost wake-up: something was ready and nobody said so. */
static struct taio_event bug_embedded(struct taio *engine)
{
	struct pollfd p = { .fd = taio_fd(engine), .events = POLLIN };
	struct taio_event event = { 0 };

	cr_assert_geq(p.fd, 0);
	for (;;) {
		int n = taio_get_events(engine, &event, 0, 1, 0);

		cr_assert_geq(n, 0);
		if (n)
			return event;
		cr_assert_eq(poll(&p, 1, 20000), 1, "nobody woke the program");
	}
}

static void bug_send(const char *device)
{
	struct taio_options options = { .size = sizeof(options) };
	struct reader reader = { .start_ms = 60 };
	struct taio_endpoint from, to;
	struct taio_event event;
	struct taio *engine;
	FILE *f = bug_file();
	pthread_t thread;
	int fd[2];

	bug_tcp_pair(fd);
	cr_assert_eq(taio_open(&engine, &bug_options), 0);
	if (taio_device_mask(engine, device, &options.pin)) {
		cr_skip_test("no such device");
		return;
	}
	reader.fd = fd[1];
	cr_assert_eq(pthread_create(&thread, NULL, bug_read, &reader), 0);
	from = taio_file(fileno(f), 0, BYTES);
	to = taio_descriptor(fd[0]);
	cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
	event = bug_embedded(engine);
	if (event.result == -EOPNOTSUPP) /* no io_uring here: nothing was to be seen */
		reader.bytes = BYTES;
	else
		cr_assert_eq(event.result, BYTES);
	taio_close(engine);
	close(fd[0]);
	pthread_join(thread, NULL);
	cr_assert_eq(reader.bytes, BYTES);
	cr_assert_eq(reader.wrong, 0);
	close(fd[1]);
	fclose(f);
}

/* The ring does not wake those who poll it when deferred work comes in. */
Test(engine_bugs, ring_that_waits_for_a_socket_wakes_a_program_that_polls, .timeout = 60)
{
	for (unsigned int i = 0; i < 5; i++) {
		bug_send("uring");
		bug_send("zc");
	}
}

/* taio_get_events() with timeout 0 never looked at what had become ready. */
Test(engine_bugs, call_that_does_not_wait_sees_streams_that_became_ready, .timeout = 60)
{
	for (unsigned int i = 0; i < 5; i++) {
		bug_send("sendfile");
		bug_send("mmap");
	}
}

/* A descriptor that was ready again at once put the request into the ready queue, and it was run
 * on besides: two steps of one stream at a time. */
Test(engine_bugs, descriptor_that_is_ready_at_once_does_not_run_a_request_twice, .timeout = 60)
{
	for (unsigned int i = 0; i < 40; i++) {
		struct taio_options options = { .size = sizeof(options) };
		struct reader reader = { 0 };
		struct taio_endpoint from, to;
		struct taio_event event;
		struct taio *engine;
		FILE *f = bug_file();
		pthread_t thread;
		int fd[2];

		cr_assert_eq(pipe(fd), 0);
		cr_assert_eq(taio_open(&engine, &bug_options), 0);
		cr_assert_eq(taio_device_mask(engine, "sendfile@worker", &options.pin), 0);
		reader.fd = fd[0];
		cr_assert_eq(pthread_create(&thread, NULL, bug_read, &reader), 0);
		from = taio_file(fileno(f), 0, BYTES);
		to = taio_descriptor(fd[1]);
		cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
		cr_assert_eq(taio_get_events(engine, &event, 1, 1, -1), 1);
		cr_assert_eq(event.result, BYTES);
		taio_close(engine);
		close(fd[1]);
		pthread_join(thread, NULL);
		cr_assert_eq(reader.bytes, BYTES);
		cr_assert_eq(reader.wrong, 0);
		close(fd[0]);
		fclose(f);
	}
}
