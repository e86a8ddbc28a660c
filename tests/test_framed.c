/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_framed.c: copies between datagrams and bytes that keep boundaries (TAIO_FRAMING_LENGTH), and
 * the ends of copies from datagrams: number, idle time, end mark. Round trips over UDP and Unix
 * sockets, files that are no frames, destinations that are too small.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

#define MS 1000000ULL

static struct taio *engine;
static struct taio_message_counters counters;
static char directory[64];

static void begin(void)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE };
	const char *tmp = getenv("TMPDIR");

	snprintf(directory, sizeof(directory), "%s/taio-framed-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert(mkdtemp(directory));
	cr_assert_eq(taio_open(&engine, &options), 0);
	memset(&counters, 0, sizeof(counters));
}

static void end(void)
{
	cr_assert_eq(taio_pending(engine), 0u);
	taio_close(engine);
	cr_assert_eq(rmdir(directory), 0, "something is left in %s", directory);
}

TestSuite(framed, .init = begin, .fini = end, .timeout = 60);

/* ---- words ------------------------------------------------------------------------------------- */

static const char *path_of(const char *name)
{
	static char text[4][128];
	static unsigned int at;
	char *room = text[at++ % 4];

	snprintf(room, sizeof(text[0]), "%s/%s", directory, name);
	return room;
}

static struct taio_options options(uint32_t framing)
{
	struct taio_options o = { .size = sizeof(o),
				  .timeout_ns = 20000 * MS,
				  .framing = framing,
				  .counters = &counters };

	return o;
}

static void copy(struct taio_endpoint from, struct taio_endpoint to, const struct taio_options *o,
		 uint64_t cookie)
{
	cr_assert_eq(taio_copy(engine, &from, &to, o, cookie), 0, "%s", taio_refusal(engine));
}

static struct taio_event take_event(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, (int64_t)(30000 * MS)), 1, "no event");
	return event;
}

static struct taio_event copied(struct taio_endpoint from, struct taio_endpoint to,
				const struct taio_options *o)
{
	struct taio_event event, more;

	copy(from, to, o, 1);
	event = take_event();
	cr_assert_eq(taio_get_events(engine, &more, 0, 1, 0), 0, "an event too many");
	return event;
}

/* A file in memory. */
struct bytes {
	uint8_t *at;
	size_t length;
};

static void put(struct bytes *b, const void *at, size_t length)
{
	b->at = realloc(b->at, b->length + length + 1);
	memcpy(b->at + b->length, at, length);
	b->length += length;
}

/* A datagram of @length bytes with its length before it. */
static void put_frame(struct bytes *b, unsigned int number, size_t length)
{
	const uint8_t head[4] = { (uint8_t)(length >> 24), (uint8_t)(length >> 16),
				  (uint8_t)(length >> 8), (uint8_t)length };
	uint8_t *data = malloc(length + 1);

	for (size_t i = 0; i < length; i++)
		data[i] = (uint8_t)(number * 7 + i * 13 + (i >> 8));
	put(b, head, sizeof(head));
	put(b, data, length);
	free(data);
}

static void write_file(const char *path, const struct bytes *b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, b->at, b->length), (ssize_t)b->length);
	close(fd);
}

static void check_file(const char *path, const struct bytes *b)
{
	uint8_t *data = malloc(b->length + 2);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	cr_assert_geq(fd, 0, "%s", path);
	n = read(fd, data, b->length + 2);
	cr_assert_eq(n, (ssize_t)b->length, "%zd bytes instead of %zu", n, b->length);
	cr_assert_eq(memcmp(data, b->at, b->length), 0);
	free(data);
	close(fd);
	unlink(path);
}

static int bound(int family, char *text, const char *prefix)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	const bool six = family == AF_INET6;
	struct sockaddr *name = six ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
	socklen_t length = six ? sizeof(sin6) : sizeof(sin);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, name, length), 0);
	cr_assert_eq(getsockname(fd, name, &length), 0);
	sprintf(text, "%s%s:%u:udp", prefix, six ? "[::1]" : "127.0.0.1",
		ntohs(six ? sin6.sin6_port : sin.sin_port));
	return fd;
}

/* A port that was free a moment ago, as two addresses. */
static void addresses(int family, char *to, char *from)
{
	int fd = bound(family, to, "");

	sprintf(from, "listen:%s", to);
	close(fd);
}

/* ---- there and back ---------------------------------------------------------------------------- */

static const size_t sizes[] = { 1,     4,    1472, 1472, 1472, 1471, 2,   9000, 65507, 3,
				1472,  1472, 100,  100,  100,  100,  100, 99,   100,   1400,
				65000, 5,    512,  512,  512,  512,  512, 512,  511,   1 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static void round_trip(int family, const char *pin)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct bytes b = { 0 };
	char to[64], from[80];

	for (unsigned int i = 0; i < 4 * SIZES; i++)
		put_frame(&b, i, sizes[i % SIZES]);
	write_file(path_of("a"), &b);
	addresses(family, to, from);
	copy(taio_address(from), taio_path(path_of("b")), &o, 1);
	cr_assert_eq(taio_get_events(engine, &(struct taio_event){ 0 }, 0, 1, 0), 0);
	if (pin) {
		cr_assert_eq(taio_device_mask(engine, pin, &o.pin), 0);
	}
	copy(taio_path(path_of("a")), taio_address(to), &o, 2);
	for (unsigned int i = 0; i < 2; i++) {
		struct taio_event event = take_event();

		cr_assert_eq(event.result, (int64_t)b.length, "%d: %d in step %s",
			     (int)event.cookie, (int)event.result, taio_step_name(event.step));
		cr_assert_eq(event.messages, 4 * SIZES);
	}
	unlink(path_of("a"));
	check_file(path_of("b"), &b);
	cr_assert_eq(counters.sent, 4 * SIZES);
	cr_assert_eq(counters.received, 4 * SIZES);
	memset(&counters, 0, sizeof(counters));
	free(b.at);
}

Test(framed, a_file_of_datagrams_comes_back_as_it_was)
{
	round_trip(AF_INET, NULL);
	round_trip(AF_INET6, NULL);
	round_trip(AF_INET, "dgram,rw,memcpy");
	round_trip(AF_INET6, "gso,dgram,mmap,rw");
}

Test(framed, datagrams_of_a_file_go_through_a_unix_socket_and_memory)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	uint8_t room[300 * 40];
	struct bytes b = { 0 };
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
	for (unsigned int i = 0; i < 300; i++)
		put_frame(&b, i, i % 30 + 1);
	o.datagrams = 300;
	copy(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o, 1);
	o.datagrams = 0;
	copy(taio_memory(b.at, b.length), taio_descriptor(fd[0]), &o, 2);
	for (unsigned int i = 0; i < 2; i++) {
		struct taio_event event = take_event();

		cr_assert_eq(event.result, (int64_t)b.length, "%d", (int)event.result);
	}
	cr_assert_eq(memcmp(room, b.at, b.length), 0);
	free(b.at);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, frames_that_come_in_pieces_through_a_pipe_are_sent_as_they_get_whole)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	struct bytes b = { 0 };
	uint8_t room[2000];
	int fd[2], pipes[2];
	size_t at = 0;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
	cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
	put_frame(&b, 0, 10);
	put_frame(&b, 1, 1000);
	put_frame(&b, 2, 0);
	put_frame(&b, 3, 1);
	copy(taio_descriptor(pipes[0]), taio_descriptor(fd[0]), &o, 1);
	while (at < b.length) {
		size_t piece = b.length - at < 3 ? b.length - at : at < 20 ? 3 : 300;

		piece = piece < b.length - at ? piece : b.length - at;
		cr_assert_eq(write(pipes[1], b.at + at, piece), (ssize_t)piece);
		at += piece;
		cr_assert_eq(taio_get_events(engine, &event, 1, 1, 2 * (int64_t)MS), 0);
	}
	close(pipes[1]);
	event = take_event();
	cr_assert_eq(event.result, (int64_t)b.length, "%d", (int)event.result);
	cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 10);
	cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 1000);
	cr_assert_eq(memcmp(room, b.at + 14 + 4, 1000), 0);
	cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 0);
	cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 1);
	cr_assert_lt(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 0);
	free(b.at);
	close(pipes[0]);
	close(fd[0]);
	close(fd[1]);
}

/* ---- what is not right ------------------------------------------------------------------------- */

/* Three good frames, then what @more has. */
static void broken(const void *more, size_t length)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	struct bytes b = { 0 };
	uint8_t room[2000];
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
	for (unsigned int i = 0; i < 3; i++)
		put_frame(&b, i, 100 + i);
	put(&b, more, length);
	write_file(path_of("a"), &b);
	event = copied(taio_path(path_of("a")), taio_descriptor(fd[0]), &o);
	cr_assert_eq(event.result, -EBADMSG, "%d", (int)event.result);
	cr_assert_eq(event.step, TAIO_STEP_READ);
	cr_assert_eq(event.bytes, 3 * 4 + 303u);
	cr_assert_eq(event.messages, 3u);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 100 + i);
	cr_assert_lt(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 0);
	unlink(path_of("a"));
	free(b.at);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, a_file_that_ends_within_a_frame_or_has_a_length_that_is_none_is_an_error)
{
	static const uint8_t large[] = { 0, 0, 0xff, 0xe4, 1, 2, 3 };
	static const uint8_t huge[200] = { 0xff, 0xff, 0xff, 0xff };
	static const uint8_t short_of[] = { 0, 0, 0, 5, 1, 2, 3, 4 };

	broken(large, sizeof(large));
	broken(huge, sizeof(huge));
	broken(short_of, sizeof(short_of));
	broken(short_of, 4);
	broken(short_of, 3);
	broken(short_of, 1);
}

Test(framed, memory_that_is_too_small_has_what_fits_and_the_event_says_so)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	struct bytes b = { 0 };
	uint8_t room[250];
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
	for (unsigned int i = 0; i < 4; i++) {
		put_frame(&b, i, 100);
		cr_assert_eq(send(fd[0], b.at + i * 104 + 4, 100, 0), 100);
	}
	o.datagrams = 4;
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, -EMSGSIZE, "%d", (int)event.result);
	cr_assert_eq(event.step, TAIO_STEP_WRITE);
	cr_assert_eq(event.bytes, 208u);
	cr_assert_eq(memcmp(room, b.at, 208), 0);
	free(b.at);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, a_destination_file_that_cannot_be_finished_is_not_there)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	char to[64], from[80];
	int fd;

	addresses(AF_INET, to, from);
	o.length = 10;
	copy(taio_address(from), taio_path(path_of("b")), &o, 1);
	cr_assert_eq(taio_get_events(engine, &event, 1, 1, 5 * (int64_t)MS), 0);
	o.length = 0;
	copy(taio_memory("\0\0\0\5abcde\0\0\0\5abcde", 18), taio_address(to), &o, 2);
	for (unsigned int i = 0; i < 2; i++) {
		event = take_event();
		cr_assert_eq(event.result, event.cookie == 1 ? -EMSGSIZE : 18, "%d: %d",
			     (int)event.cookie, (int)event.result);
	}
	fd = open(path_of("b"), O_RDONLY);
	cr_assert_lt(fd, 0);
}

Test(framed, options_that_make_no_sense_are_refused)
{
	struct taio_endpoint memory = taio_memory(directory, 8), file = taio_path("/tmp/x");
	struct taio_endpoint peer = taio_address("127.0.0.1:9:udp");
	struct taio_endpoint tcp = taio_address("127.0.0.1:9:tcp");
	struct taio_options o = options(TAIO_FRAMING_LENGTH);

	cr_assert_eq(taio_copy(engine, &memory, &file, &o, 1), -EINVAL);
	cr_assert_eq(taio_copy(engine, &memory, &tcp, &o, 1), -EINVAL);
	cr_assert_eq(taio_copy(engine, &peer, &peer, &o, 1), -EINVAL);
	o.framing = TAIO_FRAMING_LENGTH + 1;
	cr_assert_eq(taio_copy(engine, &memory, &peer, &o, 1), -EINVAL);
	o = options(TAIO_FRAMING_RAW);
	o.datagrams = 1;
	cr_assert_eq(taio_copy(engine, &memory, &peer, &o, 1), -EINVAL);
	cr_assert_eq(taio_copy(engine, &memory, &file, &o, 1), -EINVAL);
	o = options(TAIO_FRAMING_RAW);
	o.limit_packets = 1;
	cr_assert_eq(taio_copy(engine, &memory, &file, &o, 1), -EINVAL);
	o = options(TAIO_FRAMING_RAW);
	o.least = 1;
	cr_assert_eq(taio_copy(engine, &memory, &peer, &o, 1), -EINVAL);
	cr_assert_gt(strlen(taio_refusal(engine)), 10u);
}

/* ---- ends of what is received ------------------------------------------------------------------ */

static void pair(int fd[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
}

static void send_plain(int fd, const char *text)
{
	cr_assert_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

Test(framed, a_number_of_datagrams_ends_a_copy_and_the_next_one_stays)
{
	struct taio_options o = options(TAIO_FRAMING_RAW);
	struct taio_event event;
	char room[100];
	int fd[2];

	pair(fd);
	send_plain(fd[0], "one");
	send_plain(fd[0], "two");
	send_plain(fd[0], "three");
	o.datagrams = 2;
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, 6, "%d", (int)event.result);
	cr_assert_eq(event.messages, 2u);
	cr_assert_eq(memcmp(room, "onetwo", 6), 0);
	cr_assert_eq(recv(fd[1], room, sizeof(room), MSG_DONTWAIT), 5);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, idle_time_ends_a_copy_well)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	char room[100];
	int fd[2];

	pair(fd);
	send_plain(fd[0], "one");
	o.idle_ns = 30 * MS;
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, 7, "%d", (int)event.result);
	cr_assert_eq(memcmp(room, "\0\0\0\3one", 7), 0);
	cr_assert_geq(event.ns, 30 * MS);
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, 0);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, an_empty_datagram_is_the_end_or_is_kept_as_asked_for)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	char room[100];
	int fd[2];

	pair(fd);
	for (unsigned int i = 0; i < 2; i++) {
		send_plain(fd[0], "one");
		send_plain(fd[0], "");
		send_plain(fd[0], "two");
	}
	/* what stands behind the end is for whoever reads next */
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, 7, "%d", (int)event.result);
	o.flags = TAIO_NO_SHUTDOWN;
	o.datagrams = 4;
	event = copied(taio_descriptor(fd[1]), taio_memory(room, sizeof(room)), &o);
	cr_assert_eq(event.result, 25, "%d", (int)event.result);
	cr_assert_eq(memcmp(room, "\0\0\0\3two\0\0\0\3one\0\0\0\0\0\0\0\3two", 25), 0);
	close(fd[0]);
	close(fd[1]);
}

Test(framed, what_strangers_sent_before_the_peer_was_known_is_thrown_away_and_counted)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct taio_event event;
	char to[64], from[80], other[64], room[100];
	int a, b;

	addresses(AF_INET, to, from);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = htons((uint16_t)atoi(strchr(to, ':') + 1));
	a = bound(AF_INET, other, "");
	b = bound(AF_INET, other, "");
	copy(taio_address(from), taio_memory(room, sizeof(room)), &o, 1);
	cr_assert_eq(taio_get_events(engine, &event, 0, 1, 0), 0); /* bound, and not yet waiting */
	cr_assert_eq(sendto(a, "good", 4, 0, (struct sockaddr *)&sin, sizeof(sin)), 4);
	cr_assert_eq(sendto(b, "bad!", 4, 0, (struct sockaddr *)&sin, sizeof(sin)), 4);
	cr_assert_eq(sendto(b, "", 0, 0, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(sendto(a, "end", 3, 0, (struct sockaddr *)&sin, sizeof(sin)), 3);
	cr_assert_eq(sendto(a, "", 0, 0, (struct sockaddr *)&sin, sizeof(sin)), 0);
	event = take_event();
	cr_assert_eq(event.result, 15, "%d", (int)event.result);
	cr_assert_eq(memcmp(room, "\0\0\0\4good\0\0\0\3end", 15), 0);
	cr_assert_eq(counters.dropped[TAIO_DROP_STRANGER], 2u);
	close(a);
	close(b);
}

Test(framed, a_peer_that_refuses_fails_a_copy_of_frames)
{
	struct taio_options o = options(TAIO_FRAMING_LENGTH);
	struct taio_event event;
	struct bytes b = { 0 };
	char to[64], from[80];

	for (unsigned int i = 0; i < 2000; i++)
		put_frame(&b, i, 10);
	addresses(AF_INET, to, from);
	event = copied(taio_memory(b.at, b.length), taio_address(to), &o);
	cr_assert_eq(event.result, -ECONNREFUSED, "%d", (int)event.result);
	cr_assert_gt(counters.dropped[TAIO_DROP_REFUSED], 0u);
	free(b.at);
}

Test(framed, a_copy_of_frames_is_cancelled_at_any_moment)
{
	for (unsigned int turns = 0; turns < 6; turns++) {
		struct taio_options o = options(TAIO_FRAMING_LENGTH);
		struct taio_event event, none;
		struct bytes b = { 0 };
		int fd[2];

		pair(fd);
		for (unsigned int i = 0; i < 500; i++)
			put_frame(&b, i, 100);
		write_file(path_of("a"), &b);
		copy(taio_path(path_of("a")), taio_descriptor(fd[0]), &o, 1); /* nobody reads */
		for (unsigned int i = 0; i < turns; i++)
			cr_assert_eq(taio_get_events(engine, &none, 0, 1, 0), 0);
		cr_assert_eq(taio_cancel(engine, 1), 1);
		event = take_event();
		cr_assert_eq(event.result, -ECANCELED);
		cr_assert_eq(event.bytes, 104u * event.messages);
		unlink(path_of("a"));
		free(b.at);
		close(fd[0]);
		close(fd[1]);
	}
}

/* ---- rates of copies --------------------------------------------------------------------------- */

Test(framed, a_rate_in_packets_holds_for_copies_with_and_without_frames)
{
	static uint8_t zeros[100 * 60];

	for (uint32_t framing = 0; framing < 2; framing++) {
		struct taio_options o = options(framing);
		struct taio_event event;
		char to[64], room[100];
		int fd = bound(AF_INET, to, "");
		unsigned int there = 0;

		for (unsigned int i = 0; i < 60; i++)
			zeros[i * 100 + 3] = 96; /* frames of 100 bytes, or pieces of as many */
		o.limit_packets = 200;
		o.datagram = 100;
		event = copied(taio_memory(zeros, sizeof(zeros)), taio_address(to), &o);
		cr_assert_eq(event.result, (int64_t)sizeof(zeros), "%d", (int)event.result);
		cr_assert_eq(event.messages, 60u);
		cr_assert_geq(event.ns, 240 * MS); /* 49 or 50 of them wait 5 ms each */
		while (recv(fd, room, sizeof(room), MSG_DONTWAIT) > 0)
			there++;
		cr_assert_eq(there, 60u);
		close(fd);
	}
}
