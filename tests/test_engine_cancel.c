/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_cancel.c: a request is cancelled at every moment of its life, in every state of
 * waiting, and by closing the engine: it always gives exactly one event, the old destination stays
 * or the new one is whole, and nothing is left behind (the fixture looks).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

#define MS    1000000ULL
#define LARGE (3 << 20)

TestSuite(engine_cancel, .init = kit_open, .fini = kit_close, .timeout = 120);

/* No second event, now or a little later. */
static void no_more(void)
{
	struct taio_event event;

	cr_assert_eq(taio_pending(kit), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
}

/* ---- at every step ---- */

struct life {
	enum kit_kind from, to;
	size_t size;
	uint32_t flags; /* enum taio_flag */
	const char *pin;
};

/* Turns the engine @turns times and then cancels. Return: whether it was over before. */
static bool cancel_after(const struct life *life, unsigned int turns, const uint8_t *data)
{
	struct taio_options options = kit_options();
	struct kit_end source, sink;
	struct taio_event event;
	bool over = false;
	char what[128];

	snprintf(what, sizeof(what), "%s to %s after %u turns", kit_kind_name(life->from),
		 kit_kind_name(life->to), turns);
	kit_what = what;
	options.flags = life->flags;
	if (life->pin)
		cr_assert_eq(taio_device_mask(kit, life->pin, &options.pin), 0);
	kit_source(&source, life->from, data, life->size);
	kit_sink(&sink, life->to, life->size);
	cr_assert_eq(taio_copy(kit, &source.ep, &sink.ep, &options, 7), 0);
	for (unsigned int i = 0; i < turns && !over; i++)
		over = taio_get_events(kit, &event, 0, 1, 0) == 1;
	if (!over) {
		cr_assert_eq(taio_cancel(kit, 7), 1, "%s", what);
		cr_assert_eq(taio_cancel(kit, 7), 0, "%s: a second time", what);
		event = kit_wait_one();
	}
	cr_assert_eq(event.cookie, 7);
	no_more();
	if (event.result >= 0) {
		cr_assert_eq(event.result, (int64_t)life->size, "%s", what);
		kit_source_done(&source);
		kit_sink_done(&sink, data, life->size, what);
		return over;
	}
	cr_assert_eq(event.result, -ECANCELED, "%s: %s", what, strerror((int)-event.result));
	cr_assert_neq(event.step, 0);
	if (life->to == KIT_PATH_NEW)
		cr_assert_not(kit_exists(sink.path), "%s", what);
	if (life->to == KIT_PATH_OLD) {
		struct stat st;

		cr_assert_eq(stat(sink.path, &st), 0);
		cr_assert_gt((size_t)st.st_size, life->size, "%s: the old file is gone", what);
	}
	kit_drop(&source);
	kit_drop(&sink);
	if (sink.got)
		cr_assert(sink.got_size <= life->size && memcmp(sink.got, data, sink.got_size) == 0,
			  "%s: wrong bytes", what);
	kit_free(&source);
	kit_free(&sink);
	return false;
}

static void cancel_at_every_step(struct life life)
{
	uint8_t *data = kit_pattern(life.size, 3);
	unsigned int done = 0, turns = 0, cancelled = 0;

	/* three lives in a row that were over before: it gets no later than this */
	for (; done < 3 && turns < 2000000; turns += 1 + turns / 6) {
		bool over = cancel_after(&life, turns, data);

		done = over ? done + 1 : 0;
		cancelled += !over;
	}
	cr_assert_eq(done, 3);
	cr_assert_gt(cancelled, 0);
	free(data);
}

Test(engine_cancel, a_small_file)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_PATH_OLD, 5000, 0, NULL });
}

Test(engine_cancel, a_large_file)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_PATH_NEW, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_PATH_OLD, LARGE, 0, NULL });
}

Test(engine_cancel, a_large_file_by_io_uring)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_PATH_OLD, LARGE, 0, "uring,rw" });
}

Test(engine_cancel, a_large_file_by_threads)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_PATH_OLD, LARGE, 0, "rw@worker" });
}

Test(engine_cancel, a_durable_file)
{
	cancel_at_every_step(
		(struct life){ KIT_PATH_NEW, KIT_PATH_OLD, 100000, TAIO_DURABLE, NULL });
	cancel_at_every_step((struct life){ KIT_MEMORY, KIT_PATH_NEW, 5000, TAIO_DURABLE, NULL });
}

Test(engine_cancel, a_file_to_a_peer)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_CONNECT_TCP, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_CONNECT_UNIX, LARGE, 0, NULL });
}

Test(engine_cancel, a_file_to_a_peer_by_io_uring)
{
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_CONNECT_TCP, LARGE, 0, "uring" });
}

Test(engine_cancel, a_client_to_a_file)
{
	cancel_at_every_step((struct life){ KIT_LISTEN_TCP, KIT_PATH_OLD, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_LISTEN_UNIX, KIT_PATH_NEW, LARGE, 0, NULL });
}

Test(engine_cancel, a_client_to_a_file_by_io_uring)
{
	cancel_at_every_step((struct life){ KIT_LISTEN_TCP, KIT_PATH_OLD, LARGE, 0, "uring" });
}

Test(engine_cancel, a_pipe_to_a_peer_that_connects)
{
	cancel_at_every_step((struct life){ KIT_PIPE, KIT_LISTEN_TCP, 500000, 0, NULL });
}

Test(engine_cancel, streams)
{
	cancel_at_every_step((struct life){ KIT_STREAM, KIT_STREAM, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_PIPE, KIT_STREAM, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_STREAM, KIT_PIPE, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_STREAM, KIT_PATH_NEW, LARGE, 0, "uring" });
}

Test(engine_cancel, memory_and_vectors)
{
	cancel_at_every_step((struct life){ KIT_VECTOR, KIT_PATH_OLD, LARGE, 0, NULL });
	cancel_at_every_step((struct life){ KIT_PATH_NEW, KIT_VECTOR, LARGE, 0, NULL });
}

/* ---- in every state of waiting ---- */

static void takes_cancelled(uint64_t cookie, enum taio_step_type step)
{
	struct taio_event event = kit_wait_one();

	cr_assert_eq(event.cookie, cookie);
	cr_assert_eq(event.result, -ECANCELED);
	cr_assert_eq(event.step, (unsigned int)step, "%s", taio_step_name(event.step));
}

static void turn(unsigned int times)
{
	struct taio_event event;

	while (times--)
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
}

Test(engine_cancel, before_its_first_turn)
{
	struct taio_endpoint from = taio_zero(100), to = taio_path(kit_path("new"));

	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 5), 0);
	cr_assert_eq(taio_cancel(kit, 4), 0);
	cr_assert_eq(taio_cancel(kit, 5), 1);
	takes_cancelled(5, TAIO_STEP_OPEN_TO);
	no_more();
	cr_assert_not(kit_exists(kit_path("new")));
}

Test(engine_cancel, while_it_waits_for_a_descriptor)
{
	struct kit_end stream;
	struct taio_endpoint to = taio_null();
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	stream.ep = taio_descriptor(pair[0]);
	cr_assert_eq(taio_copy(kit, &stream.ep, &to, NULL, 1), 0);
	turn(50);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	takes_cancelled(1, TAIO_STEP_TRANSFER);
	no_more();
	cr_assert_not(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	/* the pipe is as good as new */
	cr_assert_eq(write(pair[1], "abc", 3), 3);
	{
		struct taio_options options = kit_options();

		options.length = 3;
		kit_moves(taio_descriptor(pair[0]), taio_null(), 3, &options);
	}
	close(pair[0]);
	close(pair[1]);
}

/* Three requests on one stream; the one in the middle is cancelled while it waits its turn. */
Test(engine_cancel, while_it_waits_for_its_turn_on_a_stream)
{
	struct taio_endpoint from, to;
	struct taio_event event[3];
	struct taio_options options = kit_options();
	uint8_t out[3][4] = { { 0 } };
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	for (uint64_t i = 0; i < 3; i++) {
		to = taio_memory(out[i], 4);
		cr_assert_eq(taio_copy(kit, &from, &to, &options, i), 0);
	}
	turn(20);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	takes_cancelled(1, TAIO_STEP_TRANSFER);
	cr_assert_eq(write(pair[1], "abcdefgh", 8), 8);
	cr_assert_eq(taio_get_events(kit, event, 2, 3, KIT_TIMEOUT_NS), 2);
	cr_assert_eq(event[0].cookie, 0);
	cr_assert_eq(event[1].cookie, 2);
	cr_assert(memcmp(out[0], "abcd", 4) == 0);
	cr_assert(memcmp(out[1], "\0\0\0", 4) == 0);
	cr_assert(memcmp(out[2], "efgh", 4) == 0);
	no_more();
	close(pair[0]);
	close(pair[1]);
}

/* The first of them is cancelled in the middle of its bytes: those of the next come after it. */
Test(engine_cancel, the_next_on_a_stream_begins_where_the_cancelled_one_ended)
{
	uint8_t *a = kit_pattern(LARGE, 1), *b = kit_pattern(LARGE, 2);

	for (unsigned int turns = 0; turns < 400; turns += 1 + turns / 4) {
		struct taio_endpoint from;
		struct taio_event event[2];
		struct kit_end sink;
		unsigned int first, n;

		kit_sink(&sink, KIT_STREAM, 2 * LARGE);
		from = taio_memory(a, LARGE);
		cr_assert_eq(taio_copy(kit, &from, &sink.ep, NULL, 1), 0);
		from = taio_memory(b, LARGE);
		cr_assert_eq(taio_copy(kit, &from, &sink.ep, NULL, 2), 0);
		n = 0;
		for (unsigned int i = 0; i < turns && n == 0; i++)
			n = (unsigned int)taio_get_events(kit, event, 0, 2, 0);
		(void)taio_cancel(kit, 1);
		while (n < 2)
			n += (unsigned int)taio_get_events(kit, event + n, 1, 2 - n,
							   KIT_TIMEOUT_NS);
		first = event[0].cookie == 1 ? 0 : 1;
		cr_assert_eq(event[!first].result, LARGE);
		cr_assert(event[first].result == -ECANCELED || event[first].result == LARGE);
		kit_drop(&sink);
		cr_assert_eq(sink.got_size, event[first].bytes + LARGE, "%u turns", turns);
		cr_assert(memcmp(sink.got, a, event[first].bytes) == 0);
		cr_assert(memcmp(sink.got + event[first].bytes, b, LARGE) == 0, "%u turns", turns);
		kit_free(&sink);
	}
	free(a);
	free(b);
}

Test(engine_cancel, while_its_rate_limit_makes_it_wait)
{
	struct taio_endpoint from = taio_zero(1 << 20), to = taio_path(kit_path("new"));
	struct taio_options options = kit_options();
	struct taio_event event;

	options.limit_rate = 1000; /* for a quarter of an hour */
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 50 * MS), 0);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	takes_cancelled(1, TAIO_STEP_TRANSFER);
	no_more();
	cr_assert_not(kit_exists(kit_path("new")));
}

/* More requests than there are steps, all in the hands of a device. */
Test(engine_cancel, while_it_waits_for_room)
{
	enum {
		STREAMS = 1500
	};
	static int pair[STREAMS][2];
	static uint8_t byte[STREAMS], seen[STREAMS];
	struct taio_options options = kit_options();
	struct taio_event event[64];
	uint64_t uring;
	unsigned int cancelled = 0, got = 0;

	cr_assert_eq(taio_device_mask(kit, "uring", &uring), 0);
	options.pin = uring;
	for (uint64_t i = 0; i < STREAMS; i++) {
		struct taio_endpoint from, to = taio_memory(&byte[i], 1);

		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair[i]), 0);
		from = taio_descriptor(pair[i][0]);
		cr_assert_eq(taio_copy(kit, &from, &to, &options, i), 0);
	}
	turn(30);
	for (uint64_t i = 0; i < STREAMS; i += 3)
		cancelled += (unsigned int)taio_cancel(kit, i);
	cr_assert_eq(cancelled, STREAMS / 3);
	for (uint64_t i = 0; i < STREAMS; i++)
		cr_assert_eq(write(pair[i][1], "x", 1), 1);
	while (got < STREAMS) {
		int n = taio_get_events(kit, event, 1, 64, KIT_TIMEOUT_NS);

		cr_assert_gt(n, 0, "%u events came", got);
		for (int i = 0; i < n; i++) {
			uint64_t c = event[i].cookie;

			cr_assert(c < STREAMS && !seen[c]++);
			if (c % 3 == 0)
				cr_assert(event[i].result == -ECANCELED || event[i].result == 1,
					  "%lld", (long long)event[i].result);
			else
				cr_assert_eq(event[i].result, 1, "%lld",
					     (long long)event[i].result);
		}
		got += (unsigned int)n;
	}
	no_more();
	for (uint64_t i = 0; i < STREAMS; i++) {
		close(pair[i][0]);
		close(pair[i][1]);
	}
}

/* A name server, for this process alone, that does not answer before it is told to: "no such name". */
struct name_server {
	int fd;
	bool answers; /* atomic */
	pthread_t thread;
};

static void *name_server_run(void *arg)
{
	struct name_server *server = arg;

	for (;;) {
		uint8_t packet[512];
		struct sockaddr_storage peer;
		socklen_t length = sizeof(peer);
		ssize_t n = recvfrom(server->fd, packet, sizeof(packet), 0,
				     (struct sockaddr *)&peer, &length);

		if (n < 12) /* shut down */
			return NULL;
		while (!__atomic_load_n(&server->answers, __ATOMIC_ACQUIRE))
			usleep(1000);
		packet[2] |= 0x80; /* this is an answer: */
		packet[3] = 3;     /* NXDOMAIN */
		(void)sendto(server->fd, packet, (size_t)n, 0, (struct sockaddr *)&peer, length);
	}
}

static void name_server_says(struct name_server *server, bool answers)
{
	__atomic_store_n(&server->answers, answers, __ATOMIC_RELEASE);
}

static int name_server_open(struct name_server *server)
{
	static const char text[] = "nameserver 127.0.0.77\noptions timeout:30 attempts:1\n";
	struct taio_engine_options options = kit_engine_options(0);
	const struct sockaddr_in name = { .sin_family = AF_INET,
					  .sin_port = htons(53),
					  .sin_addr.s_addr = htonl(0x7f00004d) }; /* 127.0.0.77 */

	kit_write(kit_path("resolv.conf"), text, sizeof(text) - 1);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount(kit_path("resolv.conf"), "/etc/resolv.conf", NULL, MS_BIND, NULL))
		return -errno;
	server->answers = false;
	server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (bind(server->fd, (const struct sockaddr *)&name, sizeof(name))) {
		int rc = -errno;

		close(server->fd);
		return rc;
	}
	cr_assert_eq(pthread_create(&server->thread, NULL, name_server_run, server), 0);
	kit_reopen(&options);
	return 0;
}

static void name_server_close(struct name_server *server)
{
	name_server_says(server, true);
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
}

Test(engine_cancel, while_a_name_server_does_not_answer)
{
	struct taio_endpoint from = taio_zero(10), to = taio_address("a.name.test:80:tcp");
	struct taio_options options = kit_options();
	struct name_server server;
	struct taio_event event;
	int rc = name_server_open(&server);

	if (rc)
		kit_skip("no name server can be put here: %s", strerror(-rc));
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	turn(20);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	/* it stops nobody else meanwhile */
	for (uint64_t i = 0; i < 20; i++) {
		struct taio_endpoint here = taio_path(kit_path("new"));

		cr_assert_eq(taio_copy(kit, &from, &here, NULL, 100 + i), 0);
		event = kit_wait_one();
		cr_assert_eq(event.cookie, 100 + i);
		cr_assert_eq(event.result, 10);
	}
	name_server_says(&server, true);
	takes_cancelled(1, TAIO_STEP_RESOLVE);
	name_server_says(&server, false);
	options.timeout_ns = 30 * MS;
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 2), 0);
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 100 * MS), 0, "a thread is still asking");
	name_server_says(&server, true);
	event = kit_wait_one();
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_RESOLVE);
	name_server_close(&server);
}

/* ---- several, none, late ---- */

Test(engine_cancel, all_with_the_same_cookie)
{
	struct taio_endpoint from, to = taio_null();
	struct taio_event event[20];
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	for (uint64_t i = 0; i < 20; i++)
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i % 2), 0);
	turn(3);
	cr_assert_eq(taio_cancel(kit, 1), 10);
	cr_assert_eq(taio_cancel(kit, 1), 0);
	cr_assert_eq(taio_get_events(kit, event, 10, 20, KIT_TIMEOUT_NS), 10);
	for (int i = 0; i < 10; i++)
		cr_assert(event[i].cookie == 1 && event[i].result == -ECANCELED);
	close(pair[1]);
	cr_assert_eq(taio_get_events(kit, event, 10, 20, KIT_TIMEOUT_NS), 10);
	for (int i = 0; i < 10; i++)
		cr_assert(event[i].cookie == 0 && event[i].result == 0);
	close(pair[0]);
}

Test(engine_cancel, what_is_over_is_not_found_and_keeps_its_result)
{
	char a[10], b[10] = "123456789";

	cr_assert_eq(taio_schedule_pointer(kit, b, a, 10, 9), 0);
	cr_assert_eq(taio_cancel(kit, 9), 0);
	cr_assert_eq(kit_wait_one().result, 10);
	cr_assert_eq(taio_cancel(kit, 9), 0);
	no_more();
}

Test(engine_cancel, timeouts_at_any_moment_give_one_event)
{
	uint8_t *data = kit_pattern(LARGE, 1);
	unsigned int late = 0, done = 0;

	for (uint64_t timeout = 1; timeout < 40 * MS; timeout += 1 + timeout / 3) {
		struct taio_options options = kit_options();
		struct kit_end source, sink;
		struct taio_event event;

		options.timeout_ns = timeout;
		options.flags = TAIO_DURABLE;
		kit_source(&source, KIT_LISTEN_UNIX, data, LARGE);
		kit_sink(&sink, KIT_PATH_OLD, LARGE);
		event = kit_copy(source.ep, sink.ep, &options);
		if (event.result == LARGE) {
			done++;
			kit_source_done(&source);
			kit_sink_done(&sink, data, LARGE, "in time");
			continue;
		}
		cr_assert_eq(event.result, -ETIMEDOUT);
		late++;
		no_more();
		kit_drop(&source);
		kit_drop(&sink);
		kit_free(&source);
		kit_free(&sink);
	}
	cr_assert_gt(late, 0);
	free(data);
	cr_log_info("%u too late, %u in time", late, done);
}

/* ---- closing the engine ---- */

#define IN_FLIGHT 200
static uint8_t undelivered[IN_FLIGHT];

static void on_undelivered(void *arg, const struct taio_event *event)
{
	unsigned int *count = arg;

	cr_assert_lt(event->cookie, IN_FLIGHT);
	cr_assert_eq(undelivered[event->cookie]++, 0, "%u twice", (unsigned int)event->cookie);
	cr_assert(event->result == -ECANCELED || event->result >= 0, "%u: %lld",
		  (unsigned int)event->cookie, (long long)event->result);
	++*count;
}

struct crowd {
	int pair[2], pipe[2];
	char listen[64];
	uint8_t *memory;
};

/* A request of one of many kinds that do not end soon, or do. */
static void add_request(struct crowd *crowd, uint64_t i)
{
	struct taio_options options = kit_options();
	struct taio_endpoint from = taio_zero(100000), to = taio_null();
	char name[32], address[80];

	snprintf(name, sizeof(name), "f%u", (unsigned int)i);
	switch (i % 10) {
	case 0:
		from = taio_path(kit_path("big"));
		to = taio_path(kit_path(name));
		break;
	case 1:
		from = taio_descriptor(crowd->pair[0]);
		break;
	case 2:
		from = taio_memory(crowd->memory, LARGE);
		to = taio_descriptor(crowd->pair[0]);
		break;
	case 3:
		to = taio_path(kit_path(name));
		options.limit_rate = 1000;
		break;
	case 4:
		snprintf(address, sizeof(address), "listen:unix:%s", kit_path(name));
		from = taio_address(address);
		to = taio_path(kit_path("never"));
		break;
	case 5:
		from = taio_descriptor(crowd->pipe[0]);
		to = taio_path(kit_path(name));
		break;
	case 6:
		to = taio_path(kit_path(name));
		options.flags = TAIO_DURABLE;
		break;
	case 7:
		cr_assert_eq(
			taio_schedule_pointer(kit, crowd->memory, crowd->memory + 5000, 5000, i),
			0);
		return;
	case 8:
		options.timeout_ns = 3600 * 1000 * MS;
		from = taio_descriptor(crowd->pipe[0]);
		break;
	default:
		break;
	}
	cr_assert_eq(taio_copy(kit, &from, &to, &options, i), 0);
}

static void close_with_everything_in_flight(unsigned int turns, uint32_t flags)
{
	struct taio_engine_options options = kit_engine_options(flags);
	struct taio_event event[8];
	unsigned int count = 0;
	struct crowd crowd;
	int taken = 0;

	memset(undelivered, 0, sizeof(undelivered));
	options.undelivered = on_undelivered;
	options.arg = &count;
	kit_reopen(&options);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, crowd.pair), 0);
	cr_assert_eq(pipe2(crowd.pipe, O_CLOEXEC), 0);
	crowd.memory = kit_pattern(LARGE, 4);
	kit_write(kit_path("big"), crowd.memory, LARGE);
	for (uint64_t i = 0; i < IN_FLIGHT; i++)
		add_request(&crowd, i);
	for (unsigned int i = 0; i < turns; i++) {
		int n = taio_get_events(kit, event, 0, 8, 0);

		for (int k = 0; k < n; k++)
			cr_assert_eq(undelivered[event[k].cookie]++, 0);
		taken += n;
	}
	options.undelivered = NULL;
	kit_reopen(&options); /* closes the crowded one */
	cr_assert_eq(count + (unsigned int)taken, IN_FLIGHT, "%u undelivered, %d taken", count,
		     taken);
	for (uint64_t i = 4; i < IN_FLIGHT; i += 10) {
		char name[32];

		snprintf(name, sizeof(name), "f%u", (unsigned int)i);
		cr_assert_not(kit_exists(kit_path(name)), "the name of a socket was left behind");
	}
	cr_assert_not(kit_exists(kit_path("never")));
	close(crowd.pair[0]);
	close(crowd.pair[1]);
	close(crowd.pipe[0]);
	close(crowd.pipe[1]);
	free(crowd.memory);
}

Test(engine_cancel, closing_gives_one_event_for_everything_in_flight)
{
	static const unsigned int turns[] = { 0, 1, 2, 3, 5, 10, 30, 100 };

	for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++) {
		close_with_everything_in_flight(turns[i], 0);
		close_with_everything_in_flight(turns[i], TAIO_NO_URING);
		close_with_everything_in_flight(turns[i], TAIO_NO_WORKERS);
	}
}

Test(engine_cancel, closing_without_anybody_to_tell_is_allowed)
{
	struct taio_endpoint from, to = taio_null();
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	for (uint64_t i = 0; i < 100; i++)
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	turn(5);
	{
		struct taio_engine_options options = kit_engine_options(0);

		kit_reopen(&options);
	}
	cr_assert_not(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	close(pair[0]);
	close(pair[1]);
}
