/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_net_engine.c: requests over the network through the public calls, with the peers in this
 * process: exactly one event each, and not a descriptor or a path left behind, whether they end,
 * fail, time out or are cancelled.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

#define MS 1000000LL

static struct taio *engine;
static int fds_before;
static char directory[64];

static int fds_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	cr_assert(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void begin(void)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE };
	const char *tmp = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/taio-net-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(directory));
	fds_before = fds_open();
	cr_assert_eq(taio_open(&engine, &options), 0);
}

/* Nothing stays open, and nothing stays in the directory: rmdir() would refuse. */
static void end(void)
{
	cr_assert_eq(taio_pending(engine), 0u);
	taio_close(engine);
	cr_assert_eq(fds_open(), fds_before, "a descriptor was left open");
	cr_assert_eq(rmdir(directory), 0, "something is left in %s", directory);
}

TestSuite(net_engine, .init = begin, .fini = end, .timeout = 60);

/* ---- words ----------------------------------------------------------------------------------- */

static const char *path_of(const char *prefix, const char *name)
{
	static char text[4][160];
	static unsigned int at;
	char *room = text[at++ % 4];

	snprintf(room, sizeof(text[0]), "%s%s/%s", prefix, directory, name);
	return room;
}

static const char *address_of(const char *prefix, int port, const char *protocol)
{
	static char text[4][64];
	static unsigned int at;
	char *room = text[at++ % 4];

	snprintf(room, sizeof(text[0]), "%s127.0.0.1:%d:%s", prefix, port, protocol);
	return room;
}

/* The one event that is due. */
static struct taio_event take_event(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, 20000 * MS), 1, "no event came");
	return event;
}

static void no_more_events(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 0, 1, 0), 0, "an event too many");
	cr_assert_eq(taio_pending(engine), 0u);
}

/* Lets the engine work until what it can do now is done. */
static void turn(int64_t ms)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, ms * MS), 0, "it has ended already");
}

static int bound_socket(int type, int *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	const int bytes = 32 << 20;
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	if (type == SOCK_DGRAM &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

/* A port that nobody has now. */
static int free_port(int type)
{
	int port;

	close(bound_socket(type, &port));
	return port;
}

static int connect_to(int type, int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0, "%s", strerror(errno));
	return fd;
}

static uint8_t *random_bytes(size_t count)
{
	uint8_t *bytes = malloc(count);
	uint64_t state = 88172645463325252ULL;

	cr_assert(bytes);
	for (size_t i = 0; i < count; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		bytes[i] = (uint8_t)state;
	}
	return bytes;
}

static void file_is(const char *path, const uint8_t *bytes, size_t count)
{
	uint8_t *room = malloc(count + 1);
	int fd = open(path, O_RDONLY);
	size_t got = 0;
	ssize_t n;

	cr_assert_geq(fd, 0);
	while ((n = read(fd, room + got, count + 1 - got)) > 0)
		got += (size_t)n;
	cr_assert_eq(got, count, "%zu of %zu bytes", got, count);
	cr_assert(memcmp(room, bytes, count) == 0);
	close(fd);
	free(room);
}

/* ---- streams ----------------------------------------------------------------------------------- */

Test(net_engine, refused_connections_give_one_event_each)
{
	int port, deaf = bound_socket(SOCK_STREAM, &port);
	struct taio_endpoint from = taio_memory("bytes", 5),
			     to = taio_address(address_of("", port, "tcp"));

	for (uint64_t i = 0; i < 100; i++)
		cr_assert_eq(taio_copy(engine, &from, &to, NULL, i), 0);
	for (int i = 0; i < 100; i++) {
		struct taio_event event = take_event();

		cr_assert_eq(event.result, -ECONNREFUSED);
		cr_assert_eq(event.step, TAIO_STEP_CONNECT);
		cr_assert_eq(event.bytes, 0u);
	}
	no_more_events();
	close(deaf);
}

Test(net_engine, name_that_does_not_resolve_does_not_stop_others)
{
	struct taio_endpoint from = taio_memory("bytes", 5), to = taio_address("no.invalid:9:tcp");
	struct taio_event event;
	char room[5];

	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 1), 0);
	to = taio_memory(room, 5);
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 2), 0);
	for (int i = 0; i < 2; i++) {
		event = take_event();
		if (event.cookie == 2) {
			cr_assert_eq(event.result, 5);
			continue;
		}
		cr_assert(event.result == -ENOENT || event.result == -EHOSTUNREACH);
		cr_assert_eq(event.step, TAIO_STEP_RESOLVE);
	}
	no_more_events();
}

Test(net_engine, cancelled_while_waiting_for_a_peer)
{
	struct taio_endpoint from = taio_address(address_of("listen:", 0, "tcp")),
			     to = taio_path(path_of("", "never"));
	struct taio_event event;

	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 7), 0);
	from = taio_address(path_of("listen:unix:", "socket"));
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 7), 0);
	from = taio_address(address_of("listen:", 0, "udp"));
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 7), 0);
	for (int i = 0; i < 100 && access(path_of("", "socket"), F_OK); i++)
		turn(20);
	cr_assert_eq(access(path_of("", "socket"), F_OK), 0);
	cr_assert_eq(taio_cancel(engine, 7), 3);
	for (int i = 0; i < 3; i++) {
		event = take_event();
		cr_assert_eq(event.result, -ECANCELED);
	}
	no_more_events();
}

Test(net_engine, handshake_that_hangs_times_out_or_is_cancelled)
{
	struct taio_options options = { .size = sizeof(options), .timeout_ns = 100 * MS };
	int port, full = bound_socket(SOCK_STREAM, &port), first;
	struct taio_endpoint from = taio_memory("bytes", 5),
			     to = taio_address(address_of("", port, "tcp"));
	struct taio_event event;

	cr_assert_eq(listen(full, 0), 0);
	first = connect_to(SOCK_STREAM, port);
	cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
	event = take_event();
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_CONNECT);
	cr_assert_geq(event.ns, (uint64_t)(100 * MS));
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 2), 0);
	turn(10);
	cr_assert_eq(taio_cancel(engine, 2), 1);
	event = take_event();
	cr_assert_eq(event.result, -ECANCELED);
	no_more_events();
	close(first);
	close(full);
}

/* A receiver of its own: reads a stream to its end. */
struct reader {
	pthread_t thread;
	int fd;
	uint8_t *bytes;
	size_t got, room;
	int error;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	ssize_t n;

	while ((n = read(reader->fd, reader->bytes + reader->got, reader->room - reader->got)) > 0)
		reader->got += (size_t)n;
	reader->error = n < 0 ? errno : 0;
	return NULL;
}

static void reader_start(struct reader *reader, int fd, size_t room)
{
	memset(reader, 0, sizeof(*reader));
	reader->fd = fd;
	reader->room = room + 1;
	reader->bytes = malloc(room + 1);
	cr_assert_eq(pthread_create(&reader->thread, NULL, reader_main, reader), 0);
}

static void reader_end(struct reader *reader, const uint8_t *bytes, size_t count)
{
	pthread_join(reader->thread, NULL);
	cr_assert_eq(reader->error, 0, "%s", strerror(reader->error));
	cr_assert_eq(reader->got, count, "%zu of %zu bytes", reader->got, count);
	cr_assert(memcmp(reader->bytes, bytes, count) == 0, "other bytes");
	close(reader->fd);
	free(reader->bytes);
}

Test(net_engine, requests_on_one_socket_keep_their_order)
{
	const size_t count = 3000000, piece = 100000;
	uint8_t *bytes = random_bytes(count);
	struct reader reader;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	reader_start(&reader, pair[1], count);
	for (size_t at = 0; at < count; at += piece) {
		struct taio_endpoint from = taio_memory(bytes + at, piece),
				     to = taio_descriptor(pair[0]);

		cr_assert_eq(taio_copy(engine, &from, &to, NULL, at), 0);
	}
	for (size_t at = 0; at < count; at += piece)
		cr_assert_eq(take_event().result, (int64_t)piece);
	no_more_events();
	cr_assert_eq(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0, "its flags were not put back");
	close(pair[0]);
	reader_end(&reader, bytes, count);
	free(bytes);
}

Test(net_engine, sixty_four_connections_at_a_time)
{
	const size_t count = 1 << 20;
	uint8_t *bytes = random_bytes(count);
	const char *path = path_of("", "file");
	struct taio_endpoint from = taio_memory(bytes, count), to = taio_path(path);
	struct reader reader[64];
	int port, listener = bound_socket(SOCK_STREAM, &port), fd[64];

	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 0), 0);
	cr_assert_eq(take_event().result, (int64_t)count);
	cr_assert_eq(listen(listener, 64), 0);
	for (int i = 0; i < 64; i++) {
		fd[i] = connect_to(SOCK_STREAM, port);
		reader_start(&reader[i], accept(listener, NULL, NULL), count);
		cr_assert_eq(taio_schedule_file_socket(engine, path, fd[i], (uint64_t)i), 0);
	}
	for (int i = 0; i < 64; i++) {
		struct taio_event event = take_event();

		cr_assert_eq(event.result, (int64_t)count);
		close(fd[event.cookie]);
	}
	no_more_events();
	for (int i = 0; i < 64; i++)
		reader_end(&reader[i], bytes, count);
	close(listener);
	unlink(path);
	free(bytes);
}

Test(net_engine, engine_to_itself_over_tcp_and_unix)
{
	static const size_t counts[] = { 0, 1, 100000, 20000000 };
	uint8_t *bytes = random_bytes(20000000);

	for (int i = 0; i < 8; i++) {
		const size_t count = counts[i / 2];
		const int port = free_port(SOCK_STREAM);
		const char *target = path_of("", "target");
		struct taio_endpoint in = taio_address(i & 1 ? path_of("listen:unix:", "s")
							     : address_of("listen:", port, "tcp"));
		struct taio_endpoint out =
			taio_address(i & 1 ? path_of("unix:", "s") : address_of("", port, "tcp"));
		struct taio_endpoint from = taio_memory(bytes, count), to = taio_path(target);

		cr_assert_eq(taio_copy(engine, &in, &to, NULL, 1), 0);
		turn(5); /* it listens */
		cr_assert_eq(taio_copy(engine, &from, &out, NULL, 2), 0);
		for (int n = 0; n < 2; n++) {
			struct taio_event event = take_event();

			cr_assert_eq(event.result, (int64_t)count, "cookie %d of %zu bytes: %s",
				     (int)event.cookie, count, strerror((int)-event.result));
		}
		no_more_events();
		file_is(target, bytes, count);
		unlink(target);
	}
	free(bytes);
}

/* ---- datagrams --------------------------------------------------------------------------------- */

Test(net_engine, datagrams_arrive_whole_beyond_the_size_of_a_segment)
{
	/* more than one segment, and no multiple of anything; a queue of a few megabytes holds it
	 * because the two requests take turns on one thread */
	static const uint32_t units[] = { 1472, 999, 30000 };
	const size_t count = 17000001;
	uint8_t *bytes = random_bytes(count);
	struct taio_options options = { .size = sizeof(options), .limit_rate = 60000000 };

	for (int i = 0; i < 3; i++) {
		const int port = free_port(SOCK_DGRAM);
		const char *target = path_of("", "target");
		struct taio_endpoint in = taio_address(address_of("listen:", port, "udp"));
		struct taio_endpoint out = taio_address(address_of("", port, "udp"));
		struct taio_endpoint from = taio_memory(bytes, count), to = taio_path(target);

		cr_assert_eq(taio_copy(engine, &in, &to, NULL, 1), 0);
		turn(5);
		options.datagram = units[i];
		cr_assert_eq(taio_copy(engine, &from, &out, &options, 2), 0);
		for (int n = 0; n < 2; n++) {
			struct taio_event event = take_event();

			cr_assert_eq(event.result, (int64_t)count, "cookie %d: %d",
				     (int)event.cookie, (int)event.result);
		}
		no_more_events();
		file_is(target, bytes, count);
		unlink(target);
	}
	free(bytes);
}

Test(net_engine, datagrams_of_the_callers_own_socket_into_memory)
{
	uint8_t *bytes = random_bytes(14720), room[14720];
	int port, fd = bound_socket(SOCK_DGRAM, &port), out = connect_to(SOCK_DGRAM, port);
	struct taio_endpoint from = taio_memory(bytes, 14720), to = taio_descriptor(out);
	struct taio_event event;

	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 1), 0);
	cr_assert_eq(take_event().result, 14720);
	from = taio_descriptor(fd);
	to = taio_memory(room, 14720);
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 2), 0);
	cr_assert_eq(take_event().result, 14720);
	cr_assert(memcmp(bytes, room, 14720) == 0);
	cr_assert_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	/* too small for the next one: said, and the datagram is still there */
	cr_assert_eq(send(out, bytes, 1000, 0), 1000);
	to = taio_memory(room, 999);
	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 3), 0);
	event = take_event();
	cr_assert_eq(event.result, -EMSGSIZE);
	cr_assert_eq(event.step, TAIO_STEP_READ);
	cr_assert_eq(recv(fd, room, sizeof(room), MSG_DONTWAIT), 1000);
	no_more_events();
	close(fd);
	close(out);
	free(bytes);
}

Test(net_engine, datagrams_that_nobody_takes_are_refused)
{
	uint8_t *bytes = random_bytes(100000);
	struct taio_endpoint from = taio_memory(bytes, 100000),
			     to = taio_address(address_of("", free_port(SOCK_DGRAM), "udp"));
	struct taio_event event;

	cr_assert_eq(taio_copy(engine, &from, &to, NULL, 1), 0);
	event = take_event();
	cr_assert_eq(event.result, -ECONNREFUSED);
	cr_assert_eq(event.step, TAIO_STEP_WRITE);
	no_more_events();
	free(bytes);
}
