/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_dgram.c: the drivers dgram and gso through their tables, against plain send(2) and recv(2)
 * of the kernel on loopback and Unix sockets, and against each other.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/netops.h"

static struct taio_host host = { .cores = 2, .requests = 16 };
static struct taio_device dgram = { .driver = &taio_driver_dgram, .host = &host };
static struct taio_device gso = { .driver = &taio_driver_gso, .host = &host };
static unsigned int seed;

static void begin(void)
{
	cr_assert_eq(taio_driver_dgram.open(&dgram), 0);
	cr_assert_eq(taio_driver_gso.open(&gso), 0);
	seed = (unsigned int)time(NULL) ^ (unsigned int)getpid();
	srandom(seed);
}

static void end(void)
{
	taio_driver_dgram.close(&dgram);
	taio_driver_gso.close(&gso);
	cr_assert_null(dgram.priv);
	cr_assert_null(gso.priv);
}

TestSuite(dgram, .init = begin, .fini = end, .timeout = 30);

/* ---- words ----------------------------------------------------------------------------------- */

static void need_gso(void)
{
	int error = taio_driver_gso.probe(&gso);

	if (error)
		cr_skip_test("%s", gso.reason);
}

/* A connected pair of UDP sockets on 127.0.0.1, with as large a queue as is permitted. */
static void udp_pair(int *ret_from, int *ret_to)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	const int bytes = 8 << 20;
	socklen_t len = sizeof(sin);
	int fd[2];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		cr_assert_geq(fd[i], 0);
		sin.sin_port = 0;
		cr_assert_eq(bind(fd[i], (struct sockaddr *)&sin, sizeof(sin)), 0);
		if (setsockopt(fd[i], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
			(void)setsockopt(fd[i], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	}
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(getsockname(fd[1 - i], (struct sockaddr *)&sin, &len), 0);
		cr_assert_eq(connect(fd[i], (struct sockaddr *)&sin, sizeof(sin)), 0);
	}
	*ret_from = fd[0];
	*ret_to = fd[1];
}

static void unix_pair(int *ret_from, int *ret_to)
{
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
	*ret_from = fd[0];
	*ret_to = fd[1];
}

static void close_pair(int a, int b)
{
	close(a);
	close(b);
}

static uint8_t *random_bytes(size_t count)
{
	uint8_t *bytes = malloc(count + 1);

	cr_assert(bytes);
	for (size_t i = 0; i < count; i++)
		bytes[i] = (uint8_t)random();
	return bytes;
}

static int file_of(const void *bytes, size_t count)
{
	int fd = memfd_create("taio-test", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, bytes, count, 0), (ssize_t)count);
	return fd;
}

static struct taio_step send_step(int fd, const void *from, size_t len, uint32_t unit)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .len = len, .wait_fd = -1 };

	step.from.kind = TAIO_KIND_MEM;
	step.from.ptr = (void *)(uintptr_t)from;
	step.from.fd = -1;
	step.to.kind = TAIO_KIND_DGRAM;
	step.to.fd = fd;
	step.to.unit = unit;
	return step;
}

static struct taio_step receive_step(int fd, void *to, size_t len)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .len = len, .wait_fd = -1 };

	step.from.kind = TAIO_KIND_DGRAM;
	step.from.fd = fd;
	step.from.flags = TAIO_END_OWNED;
	step.to.kind = TAIO_KIND_MEM;
	step.to.ptr = to;
	step.to.fd = -1;
	return step;
}

static void to_file(struct taio_step *step, int fd, uint64_t offset)
{
	step->to.kind = TAIO_KIND_FILE;
	step->to.fd = fd;
	step->to.offset = offset;
	step->to.ptr = NULL;
}

static void from_file(struct taio_step *step, int fd, uint64_t offset)
{
	step->from.kind = TAIO_KIND_FILE;
	step->from.fd = fd;
	step->from.offset = offset;
	step->from.ptr = NULL;
}

static int64_t run(struct taio_device *device, struct taio_step *step)
{
	return device->driver->run(device, step);
}

/* Everything that is in the socket, into @to. Return: bytes. */
static size_t receive_all(struct taio_device *device, int fd, uint8_t *to, size_t room)
{
	size_t got = 0;
	int64_t n;

	while (got < room) {
		struct taio_step step = receive_step(fd, to + got, room - got);

		n = run(device, &step);
		if (n == -EAGAIN) {
			cr_assert_eq(step.wait_fd, fd);
			cr_assert_eq(step.wait_events, POLLIN);
			break;
		}
		cr_assert_geq(n, 0, "%s", strerror((int)-n));
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return got;
}

/* ---- every byte arrives ----------------------------------------------------------------------- */

struct way {
	uint32_t unit;
	struct taio_device *sender, *receiver;
};

/* Sends @count random bytes in steps that the receiver's queue can hold, and compares. */
static void ship(const struct way *way, int from_fd, int to_fd, size_t count)
{
	uint8_t *from = random_bytes(count), *to = calloc(1, count + 65536);
	size_t step_max = way->unit * (1 + 100000 / (way->unit + 800)), sent = 0, got = 0;

	cr_assert(to);
	while (sent < count) {
		size_t len = count - sent < step_max ? count - sent : step_max;
		struct taio_step step = send_step(from_fd, from + sent, len, way->unit);
		int64_t n = run(way->sender, &step);

		cr_assert_gt(n, 0, "unit %u: %s", way->unit, strerror((int)-n));
		sent += (size_t)n;
		got += receive_all(way->receiver, to_fd, to + got, count + 65536 - got);
	}
	cr_assert_eq(got, count, "unit %u: %zu of %zu bytes, seed %u", way->unit, got, count, seed);
	cr_assert(memcmp(from, to, count) == 0, "unit %u: other bytes, seed %u", way->unit, seed);
	free(from);
	free(to);
}

Test(dgram, every_byte_arrives_for_each_payload_size)
{
	static const struct way ways[] = {
		{ 1, &dgram, &dgram },     { 100, &dgram, &dgram }, { 1472, &dgram, &dgram },
		{ 65507, &dgram, &dgram }, { 100, &gso, &dgram },   { 1472, &gso, &dgram },
		{ 1472, &dgram, &gso },    { 1472, &gso, &gso },    { 9000, &gso, &gso },
		{ 32753, &gso, &gso },
	};
	int a, b;

	need_gso();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		udp_pair(&a, &b);
		ship(&ways[i], a, b, ways[i].unit * 2 + 1);
		ship(&ways[i], a, b, ways[i].unit * 200 > 2000000 ? 2000000 : ways[i].unit * 200);
		close_pair(a, b);
	}
}

Test(dgram, unix_datagrams_of_any_size_arrive)
{
	static const struct way ways[] = { { 1, &dgram, &dgram },
					   { 1472, &dgram, &dgram },
					   { 65507, &dgram, &dgram } };
	int a, b;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		unix_pair(&a, &b);
		/* the queue of a Unix socket may be only ten datagrams long */
		ship(&(struct way){ ways[i].unit, &dgram, &dgram }, a, b, ways[i].unit * 5 + 1);
		close_pair(a, b);
	}
}

Test(dgram, random_lengths_and_units_arrive)
{
	struct taio_device *devices[] = { &dgram, &gso };
	int a, b;

	need_gso();
	printf("seed %u\n", seed);
	udp_pair(&a, &b);
	for (int i = 0; i < 200; i++) {
		struct way way = { .unit = 1 + (uint32_t)random() % 3000,
				   .sender = devices[random() % 2],
				   .receiver = devices[random() % 2] };

		ship(&way, a, b, way.unit + 1 + (size_t)random() % 60000);
	}
	close_pair(a, b);
}

Test(dgram, ipv6_carries_them_too)
{
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t len = sizeof(sin6);
	int a = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	int b = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	need_gso();
	if (b < 0 || bind(b, (struct sockaddr *)&sin6, sizeof(sin6)) < 0)
		cr_skip_test("this machine has no IPv6");
	cr_assert_eq(getsockname(b, (struct sockaddr *)&sin6, &len), 0);
	cr_assert_eq(connect(a, (struct sockaddr *)&sin6, sizeof(sin6)), 0);
	cr_assert_eq(getsockname(a, (struct sockaddr *)&sin6, &len), 0);
	cr_assert_eq(connect(b, (struct sockaddr *)&sin6, sizeof(sin6)), 0);
	ship(&(struct way){ 1452, &dgram, &gso }, a, b, 100000);
	ship(&(struct way){ 1452, &gso, &gso }, a, b, 100000);
	close_pair(a, b);
}

/* ---- what the peer sees ------------------------------------------------------------------------ */

/* Plain recv(2): each datagram has @unit bytes, only the last may be shorter. */
static void expect_datagrams(int fd, const uint8_t *bytes, size_t count, size_t unit)
{
	uint8_t *room = malloc(65536);
	size_t got = 0;

	while (got < count) {
		ssize_t n = recv(fd, room, 65536, MSG_DONTWAIT);
		size_t want = count - got < unit ? count - got : unit;

		cr_assert_eq(n, (ssize_t)want, "at %zu of %zu: %zd", got, count, n);
		cr_assert(memcmp(room, bytes + got, want) == 0);
		got += want;
	}
	cr_assert_eq(recv(fd, room, 65536, MSG_DONTWAIT), -1, "one datagram too many");
	cr_assert_eq(errno, EAGAIN);
	free(room);
}

static void plain_receiver_sees_units(struct taio_device *device)
{
	static const uint32_t units[] = { 64, 1000, 1472, 9000, 30000 };
	int a, b;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t count = units[i] * 6 + 7;
		uint8_t *bytes = random_bytes(count);
		struct taio_step step;

		udp_pair(&a, &b);
		step = send_step(a, bytes, count, units[i]);
		cr_assert_eq(run(device, &step), (int64_t)count);
		expect_datagrams(b, bytes, count, units[i]);
		close_pair(a, b);
		free(bytes);
	}
}

Test(dgram, plain_receiver_sees_datagrams_of_the_unit)
{
	plain_receiver_sees_units(&dgram);
}

Test(dgram, plain_receiver_sees_segmented_datagrams_of_the_unit)
{
	need_gso();
	plain_receiver_sees_units(&gso);
}

Test(dgram, unit_zero_means_the_default)
{
	uint8_t *bytes = random_bytes(3000);
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	step = send_step(a, bytes, 3000, 0);
	cr_assert_eq(run(&dgram, &step), 3000);
	expect_datagrams(b, bytes, 3000, NETOPS_UNIT_DEFAULT);
	close_pair(a, b);
	free(bytes);
}

Test(dgram, coalescing_receiver_takes_plain_datagrams_of_any_size)
{
	static const size_t sizes[] = { 1, 700, 700, 3, 1472, 1472, 1472, 40000 };
	uint8_t *bytes = random_bytes(65536), *room = calloc(1, 1 << 20);
	size_t sent = 0;
	int a, b;

	need_gso();
	udp_pair(&a, &b);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cr_assert_eq(send(a, bytes + sent, sizes[i], 0), (ssize_t)sizes[i]);
		sent += sizes[i];
	}
	cr_assert_eq(receive_all(&gso, b, room, 1 << 20), sent);
	cr_assert(memcmp(bytes, room, sent) == 0);
	close_pair(a, b);
	free(bytes);
	free(room);
}

Test(dgram, coalesced_packet_is_read_by_the_plain_receiver)
{
	uint8_t *bytes = random_bytes(58880), *room = calloc(1, 1 << 17);
	struct taio_step step;
	int a, b;

	need_gso();
	udp_pair(&a, &b);
	/* the step that switches coalescing on finds nothing; the next device reads what came */
	step = receive_step(b, room, 1 << 17);
	cr_assert_eq(run(&gso, &step), -EAGAIN);
	step = send_step(a, bytes, 58880, 1472);
	cr_assert_eq(run(&gso, &step), 58880);
	cr_assert_eq(receive_all(&dgram, b, room, 1 << 17), 58880u);
	cr_assert(memcmp(bytes, room, 58880) == 0);
	close_pair(a, b);
	free(bytes);
	free(room);
}

/* ---- files, zeros, nothing --------------------------------------------------------------------- */

static void file_to_file(struct taio_device *device)
{
	const size_t count = 400001;
	uint8_t *bytes = random_bytes(count + 5), *back = calloc(1, count + 7);
	int source = file_of(bytes, count + 5), sink = file_of("1234567", 7);
	size_t sent = 0, got = 0;
	int a, b;

	udp_pair(&a, &b);
	while (got < count) {
		struct taio_step step = send_step(a, NULL, 65536, 1472);
		int64_t n;

		if (sent < count) {
			if (count - sent < step.len)
				step.len = count - sent;
			from_file(&step, source, 5 + sent);
			n = run(device, &step);
			cr_assert_gt(n, 0, "%s", strerror((int)-n));
			sent += (size_t)n;
		}
		step = receive_step(b, NULL, 1 << 20);
		to_file(&step, sink, 7 + got);
		n = run(device, &step);
		cr_assert_gt(n, 0, "%s", strerror((int)-n));
		got += (size_t)n;
	}
	cr_assert_eq(got, count);
	cr_assert_eq(pread(sink, back, 7, 0), 7);
	cr_assert(memcmp(back, "1234567", 7) == 0, "bytes before the offset were touched");
	cr_assert_eq(pread(sink, back, count + 7, 7), (ssize_t)count);
	cr_assert(memcmp(back, bytes + 5, count) == 0);
	close_pair(a, b);
	close_pair(source, sink);
	free(bytes);
	free(back);
}

Test(dgram, file_to_file_through_datagrams_keeps_offsets)
{
	file_to_file(&dgram);
}

Test(dgram, file_to_file_through_segments_keeps_offsets)
{
	need_gso();
	file_to_file(&gso);
}

Test(dgram, zeros_are_sent)
{
	static const uint8_t zeros[10000];
	struct taio_device *devices[] = { &dgram, &gso };
	int a, b, dirty = file_of("dirt in the room of the step before this one", 40);

	need_gso();
	for (int i = 0; i < 2; i++) {
		struct taio_step step;

		udp_pair(&a, &b);
		step = send_step(a, NULL, 40, 1472);
		from_file(&step, dirty, 0);
		cr_assert_eq(run(devices[i], &step), 40);
		cr_assert_eq(recv(b, (char[64]){ 0 }, 64, MSG_DONTWAIT), 40);
		step = send_step(a, NULL, 10000, 1472);
		step.from.kind = TAIO_KIND_ZERO;
		cr_assert_eq(run(devices[i], &step), 10000);
		expect_datagrams(b, zeros, 10000, 1472);
		close_pair(a, b);
	}
	close(dirty);
}

Test(dgram, received_datagrams_can_be_thrown_away)
{
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	cr_assert_eq(send(a, "abc", 3, 0), 3);
	cr_assert_eq(send(a, "defgh", 5, 0), 5);
	step = receive_step(b, NULL, 1000);
	step.to.kind = TAIO_KIND_NULL;
	cr_assert_eq(run(&dgram, &step), 8);
	step = receive_step(b, NULL, 1000);
	cr_assert_eq(run(&dgram, &step), -EAGAIN);
	close_pair(a, b);
}

Test(dgram, file_at_its_own_position_moves_by_what_was_sent)
{
	uint8_t *bytes = random_bytes(5000);
	int source = file_of(bytes, 5000), a, b;
	struct taio_step step;

	udp_pair(&a, &b);
	cr_assert_eq(lseek(source, 1000, SEEK_SET), 1000);
	step = send_step(a, NULL, 3000, 1472);
	from_file(&step, source, 777);
	step.from.flags |= TAIO_END_STREAMED;
	cr_assert_eq(run(&dgram, &step), 3000);
	cr_assert_eq(lseek(source, 0, SEEK_CUR), 4000);
	expect_datagrams(b, bytes + 1000, 3000, 1472);
	/* the file ends before the step does */
	cr_assert_eq(run(&dgram, &step), 1000);
	cr_assert_eq(run(&dgram, &step), 0);
	expect_datagrams(b, bytes + 4000, 1000, 1472);
	close_pair(a, b);
	close(source);
	free(bytes);
}

Test(dgram, only_whole_datagrams_go_while_more_follows)
{
	uint8_t *bytes = random_bytes(10000);
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	step = send_step(a, bytes, 10000, 1472);
	step.flags = TAIO_SF_MORE;
	cr_assert_eq(run(&dgram, &step), 6 * 1472);
	expect_datagrams(b, bytes, 6 * 1472, 1472);
	/* less than one: better a short one than no progress */
	step = send_step(a, bytes, 1000, 1472);
	step.flags = TAIO_SF_MORE;
	cr_assert_eq(run(&dgram, &step), 1000);
	close_pair(a, b);
	free(bytes);
}

/* ---- the end mark ------------------------------------------------------------------------------ */

static void end_mark_ends(struct taio_device *device)
{
	uint8_t *bytes = random_bytes(3000), *room = calloc(1, 1 << 20);
	socklen_t len = sizeof(int);
	struct taio_step step;
	int a, b, offset;

	udp_pair(&a, &b);
	step = send_step(a, bytes, 3000, 1472);
	step.flags = TAIO_SF_LAST;
	cr_assert_eq(run(device, &step), 3000);
	/* the bytes first, in a step of their own; then the end, again alone */
	step = receive_step(b, room, 1 << 20);
	cr_assert_eq(run(device, &step), 3000);
	cr_assert(memcmp(bytes, room, 3000) == 0);
	step = receive_step(b, room, 1 << 20);
	cr_assert_eq(run(device, &step), 0);
	step = receive_step(b, room, 1 << 20);
	cr_assert_eq(run(device, &step), -EAGAIN, "the mark was not taken");
	/* nothing of it stays on the socket, another transfer can follow */
	cr_assert_eq(getsockopt(b, SOL_SOCKET, SO_PEEK_OFF, &offset, &len), 0);
	cr_assert_eq(offset, -1);
	step = send_step(a, bytes, 100, 1472);
	cr_assert_eq(run(device, &step), 100);
	step = receive_step(b, room, 1 << 20);
	cr_assert_eq(run(device, &step), 100);
	close_pair(a, b);
	free(bytes);
	free(room);
}

Test(dgram, empty_datagram_is_the_end)
{
	end_mark_ends(&dgram);
}

Test(dgram, empty_datagram_is_the_end_of_segments)
{
	need_gso();
	end_mark_ends(&gso);
}

Test(dgram, no_end_mark_without_the_flag)
{
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	step = send_step(a, "xyz", 3, 1472);
	cr_assert_eq(run(&dgram, &step), 3);
	expect_datagrams(b, (const uint8_t *)"xyz", 3, 1472);
	close_pair(a, b);
}

Test(dgram, finish_sends_the_end_mark_of_an_empty_transfer)
{
	struct taio_step step;
	uint8_t room[16];
	int a, b;

	udp_pair(&a, &b);
	cr_assert_eq(netops_finish(a, true), 0);
	step = receive_step(b, room, sizeof(room));
	cr_assert_eq(run(&dgram, &step), 0);
	close_pair(a, b);
}

Test(dgram, end_mark_to_a_full_unix_socket_gives_up)
{
	struct taio_step step;
	int a, b;

	unix_pair(&a, &b);
	while (send(a, "x", 1, MSG_DONTWAIT) == 1)
		;
	cr_assert_eq(errno, EAGAIN);
	cr_assert_eq(netops_finish(a, true), -ETIMEDOUT);
	/* and a data step is told to wait */
	step = send_step(a, "data", 4, 100);
	cr_assert_eq(run(&dgram, &step), -EAGAIN);
	cr_assert_eq(step.wait_fd, a);
	cr_assert_eq(step.wait_events, POLLOUT);
	close_pair(a, b);
}

Test(dgram, socket_that_fills_up_gives_a_short_step_and_nothing_twice)
{
	uint8_t *bytes = random_bytes(100000), *room = calloc(1, 200000);
	size_t sent = 0, got = 0;
	int a, b, shorts = 0;

	unix_pair(&a, &b);
	while (sent < 100000) {
		struct taio_step step = send_step(a, bytes + sent, 100000 - sent, 100);
		int64_t n = run(&dgram, &step);

		cr_assert(n > 0 || n == -EAGAIN, "%d", (int)n);
		if (n == -EAGAIN) {
			got += receive_all(&dgram, b, room + got, 200000 - got);
			continue;
		}
		shorts += (size_t)n < step.len;
		sent += (size_t)n;
	}
	got += receive_all(&dgram, b, room + got, 200000 - got);
	cr_assert_gt(shorts, 0, "this test did not fill the socket");
	cr_assert_eq(got, 100000u);
	cr_assert(memcmp(bytes, room, 100000) == 0);
	close_pair(a, b);
	free(bytes);
	free(room);
}

/* ---- errors ------------------------------------------------------------------------------------ */

Test(dgram, datagram_larger_than_the_room_is_an_error_and_stays)
{
	uint8_t room[200];
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	cr_assert_eq(send(a, (char[150]){ 1 }, 150, 0), 150);
	step = receive_step(b, room, 100);
	cr_assert_eq(run(&dgram, &step), -EMSGSIZE);
	cr_assert_eq(step.failed_side, 1);
	step = receive_step(b, room, 200);
	cr_assert_eq(run(&dgram, &step), 150, "it was lost");
	close_pair(a, b);
}

Test(dgram, datagram_that_no_longer_fits_waits_for_the_next_step)
{
	uint8_t room[200];
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	cr_assert_eq(send(a, (char[80]){ 1 }, 80, 0), 80);
	cr_assert_eq(send(a, (char[80]){ 2 }, 80, 0), 80);
	step = receive_step(b, room, 100);
	cr_assert_eq(run(&dgram, &step), 80);
	cr_assert_eq(room[0], 1);
	step = receive_step(b, room, 100);
	cr_assert_eq(run(&dgram, &step), 80);
	cr_assert_eq(room[0], 2);
	close_pair(a, b);
}

Test(dgram, memory_behind_the_room_is_not_touched)
{
	uint8_t room[200];
	struct taio_step step;
	int a, b;

	memset(room, 0xa5, sizeof(room));
	udp_pair(&a, &b);
	cr_assert_eq(send(a, (char[100]){ 1 }, 100, 0), 100);
	step = receive_step(b, room, 100);
	cr_assert_eq(run(&dgram, &step), 100);
	for (int i = 100; i < 200; i++)
		cr_assert_eq(room[i], 0xa5);
	close_pair(a, b);
}

/* A refusal comes back by ICMP after the first datagrams; it must not be swallowed by a batch. */
static void refusal_is_seen(struct taio_device *device, size_t count)
{
	uint8_t *bytes = random_bytes(count);
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	close(b);
	step = send_step(a, bytes, count, 1472);
	cr_assert_eq(run(device, &step), -ECONNREFUSED, "%zu bytes", count);
	cr_assert_eq(step.failed_side, 2);
	close(a);
	free(bytes);
}

Test(dgram, port_that_nobody_has_is_refused)
{
	refusal_is_seen(&dgram, 10);
	refusal_is_seen(&dgram, 1472 * 10);
	refusal_is_seen(&dgram, 1472 * 300);
}

Test(dgram, port_that_nobody_has_is_refused_for_segments)
{
	need_gso();
	refusal_is_seen(&gso, 1472 * 10);
	refusal_is_seen(&gso, 1472 * 300);
}

Test(dgram, strangers_datagrams_stay_out_of_what_the_peer_sent)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	uint8_t room[100] = "";
	struct taio_step step;
	int to = socket(AF_INET, SOCK_DGRAM, 0), peer = socket(AF_INET, SOCK_DGRAM, 0);
	int stranger = socket(AF_INET, SOCK_DGRAM, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(to, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(getsockname(to, (struct sockaddr *)&sin, &len), 0);
	cr_assert_eq(connect(peer, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(connect(stranger, (struct sockaddr *)&sin, sizeof(sin)), 0);
	cr_assert_eq(send(peer, "one ", 4, 0), 4);
	cr_assert_eq(send(stranger, "noise", 5, 0), 5);
	cr_assert_eq(send(stranger, "", 0, 0), 0); /* nor may a stranger end it */
	cr_assert_eq(send(stranger, (char[150]){ 0 }, 150, 0), 150);
	cr_assert_eq(send(peer, "two", 3, 0), 3);
	/* only now it becomes the peer, as in TAIO_OP_ACCEPT: the noise is in the queue */
	cr_assert_eq(getsockname(peer, (struct sockaddr *)&sin, &len), 0);
	cr_assert_eq(connect(to, (struct sockaddr *)&sin, sizeof(sin)), 0);
	step = receive_step(to, room, sizeof(room));
	cr_assert_eq(run(&dgram, &step), 7);
	cr_assert(memcmp(room, "one two", 7) == 0);
	close_pair(to, peer);
	close(stranger);
}

Test(dgram, destination_that_cannot_be_written_is_an_error_of_the_write)
{
	const struct rlimit limit = { 10, 10 };
	int sink = file_of("", 0), a, b;
	struct taio_step step;

	signal(SIGXFSZ, SIG_IGN);
	udp_pair(&a, &b);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(send(a, (char[100]){ 1 }, 100, 0), 100);
	step = receive_step(b, NULL, 1000);
	to_file(&step, sink, 0);
	cr_assert_eq(run(&dgram, &step), -EFBIG);
	cr_assert_eq(step.failed_side, 2);
	/* an error by which the engine would take another device: the datagram is gone, though */
	cr_assert_eq(send(a, (char[100]){ 1 }, 100, 0), 100);
	step = receive_step(b, NULL, 1000);
	to_file(&step, -1, 0);
	cr_assert_eq(run(&dgram, &step), -ENOTRECOVERABLE);
	close_pair(a, b);
	close(sink);
}

Test(dgram, source_that_cannot_be_read_is_an_error_of_the_read)
{
	struct taio_step step;
	int a, b, dir = open("/tmp", O_RDONLY | O_DIRECTORY);

	udp_pair(&a, &b);
	step = send_step(a, NULL, 1000, 1472);
	from_file(&step, dir, 0);
	cr_assert_eq(run(&dgram, &step), -EISDIR);
	cr_assert_eq(step.failed_side, 1);
	cr_assert_eq(recv(b, (char[1]){ 0 }, 1, MSG_DONTWAIT), -1);
	close_pair(a, b);
	close(dir);
}

Test(dgram, segments_are_not_for_unix_sockets_nor_for_too_large_a_unit)
{
	struct taio_step step;
	uint8_t room[16];
	int a, b;

	need_gso();
	unix_pair(&a, &b);
	step = send_step(a, "0123456789", 10, 3);
	cr_assert_eq(run(&gso, &step), -EOPNOTSUPP);
	cr_assert_eq(recv(b, room, sizeof(room), MSG_DONTWAIT), -1, "something was sent");
	step = receive_step(b, room, sizeof(room));
	cr_assert_eq(run(&gso, &step), -EOPNOTSUPP);
	close_pair(a, b);
	step = send_step(-1, "", 200000, 65507);
	cr_assert_eq(taio_driver_gso.fits(&gso, &step), 0);
	step = send_step(-1, "", 100, 1472); /* the rest of a step that was begun with it */
	cr_assert_neq(taio_driver_gso.fits(&gso, &step), 0);
	step = receive_step(-1, NULL, 1 << 20);
	cr_assert_neq(taio_driver_gso.fits(&gso, &step), 0);
	step.from.flags = 0;
	cr_assert_eq(taio_driver_gso.fits(&gso, &step), 0, "the caller's socket is not changed");
}

/* ---- datagrams that fit only in part ----------------------------------------------------------- */

enum {
	SINK_MEMORY,
	SINK_FILE,
	SINK_PIPE
};

/* Receives in steps of random length, none of which cares for the bounds of datagrams. */
static void receive_in_parts(struct taio_device *device, int sink, int from_fd, int to_fd,
			     uint32_t unit)
{
	const size_t count = unit * 5 + 11;
	uint8_t *bytes = random_bytes(count), *room = calloc(1, count);
	int file = file_of("", 0), ends[2];
	struct taio_step step;
	size_t got = 0;

	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	for (size_t sent = 0; sent < count; sent += unit)
		cr_assert_gt(
			send(from_fd, bytes + sent, count - sent < unit ? count - sent : unit, 0),
			0);
	while (got < count) {
		size_t len = 1 + (size_t)random() % (unit * 2);
		int64_t n;

		if (len > count - got)
			len = count - got;
		step = receive_step(to_fd, room + got, len);
		step.flags = got + len < count ? TAIO_SF_MORE : 0;
		if (sink == SINK_FILE) {
			to_file(&step, file, got);
		} else if (sink == SINK_PIPE) {
			step.to.kind = TAIO_KIND_PIPE;
			step.to.fd = ends[1];
		}
		n = run(device, &step);
		cr_assert(n > 0 && n <= (int64_t)len, "%d of %zu, seed %u", (int)n, len, seed);
		if (sink == SINK_PIPE)
			cr_assert_eq(read(ends[0], room + got, (size_t)n), n);
		got += (size_t)n;
	}
	if (sink == SINK_FILE)
		cr_assert_eq(pread(file, room, count, 0), (ssize_t)count);
	cr_assert(memcmp(bytes, room, count) == 0, "unit %u sink %d seed %u", unit, sink, seed);
	/* all was taken, and the socket is as it was */
	step = receive_step(to_fd, room, count);
	cr_assert_eq(run(device, &step), -EAGAIN);
	cr_assert_eq(send(from_fd, "next", 4, 0), 4);
	cr_assert_eq(recv(to_fd, room, 100, MSG_PEEK), 4);
	cr_assert_eq(recv(to_fd, room, 100, 0), 4);
	close_pair(ends[0], ends[1]);
	close(file);
	free(bytes);
	free(room);
}

Test(dgram, step_that_ends_inside_a_datagram_loses_nothing)
{
	struct taio_device *devices[] = { &dgram, &gso };
	int a, b;

	need_gso();
	printf("seed %u\n", seed);
	for (int sink = SINK_MEMORY; sink <= SINK_PIPE; sink++) {
		for (int i = 0; i < 20; i++) {
			udp_pair(&a, &b);
			receive_in_parts(devices[i % 2], sink, a, b,
					 50 + (uint32_t)random() % 3000);
			close_pair(a, b);
			unix_pair(&a, &b);
			receive_in_parts(&dgram, sink, a, b, 50 + (uint32_t)random() % 3000);
			close_pair(a, b);
		}
	}
}

Test(dgram, joined_datagrams_fill_memory_up_to_the_last_that_fits)
{
	uint8_t *bytes = random_bytes(44 * 1472), *room = calloc(1, 1 << 17);
	struct taio_step step;
	int a, b;

	need_gso();
	udp_pair(&a, &b);
	step = receive_step(b, room, 1 << 17);
	cr_assert_eq(run(&gso, &step), -EAGAIN); /* switches joining on */
	step = send_step(a, bytes, 44 * 1472, 1472);
	cr_assert_eq(run(&gso, &step), 44 * 1472);
	step = receive_step(b, room, 10 * 1472 + 700);
	cr_assert_eq(run(&dgram, &step), 10 * 1472);
	step = receive_step(b, room + 10 * 1472, 700);
	cr_assert_eq(run(&dgram, &step), -EMSGSIZE);
	step = receive_step(b, room + 10 * 1472, 1 << 16);
	cr_assert_eq(run(&dgram, &step), 34 * 1472);
	cr_assert(memcmp(bytes, room, 44 * 1472) == 0);
	close_pair(a, b);
	free(bytes);
	free(room);
}

/* ---- pipes and streams ------------------------------------------------------------------------- */

static struct taio_step pass_step(int from, uint8_t from_kind, int to, uint8_t to_kind)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .len = 1 << 20, .wait_fd = -1 };

	step.from.kind = from_kind;
	step.from.fd = from;
	step.to.kind = to_kind;
	step.to.fd = to;
	step.to.unit = 1472;
	return step;
}

/* Sends @count bytes of datagrams through a flow that is read only when it is full. */
static void pass_to_flow(struct taio_device *device, int from_fd, int to_fd, int in, int out,
			 uint8_t kind, uint32_t unit)
{
	const size_t count = unit * 100 + 5;
	uint8_t *bytes = random_bytes(count), *room = calloc(1, count);
	size_t sent = 0, passed = 0, got = 0;
	int full = 0;

	while (got < count) {
		struct taio_step step = pass_step(to_fd, TAIO_KIND_DGRAM, in, kind);
		int64_t n;

		if (sent < count && sent - passed < 3 * unit) {
			size_t len = count - sent < unit ? count - sent : unit;

			cr_assert_eq(send(from_fd, bytes + sent, len, 0), (ssize_t)len);
			sent += len;
		}
		n = run(device, &step);
		if (n > 0) {
			passed += (size_t)n;
			continue;
		}
		cr_assert_eq(n, -EAGAIN, "%s", strerror((int)-n));
		full += step.wait_fd == in;
		cr_assert_eq(step.wait_events, step.wait_fd == in ? POLLOUT : POLLIN);
		if (step.wait_fd == in || sent == count) {
			n = read(out, room + got, count - got);
			cr_assert_gt(n, 0);
			got += (size_t)n;
		}
	}
	cr_assert_gt(full, 0, "this test did not fill the flow");
	cr_assert_eq(passed, count);
	cr_assert(memcmp(bytes, room, count) == 0);
	free(bytes);
	free(room);
}

Test(dgram, datagrams_flow_into_pipes_and_streams_that_fill_up)
{
	static const uint32_t units[] = { 1472, 5000, 65507 };
	struct taio_device *devices[] = { &dgram, &gso };
	int a, b, ends[2];

	need_gso();
	for (int i = 0; i < 6; i++) {
		udp_pair(&a, &b);
		cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
		pass_to_flow(devices[i / 3], a, b, ends[1], ends[0], TAIO_KIND_PIPE, units[i % 3]);
		close_pair(ends[0], ends[1]);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
		pass_to_flow(devices[i / 3], a, b, ends[1], ends[0], TAIO_KIND_STREAM,
			     units[i % 3]);
		close_pair(ends[0], ends[1]);
		close_pair(a, b);
	}
}

Test(dgram, pipe_that_nobody_reads_is_epipe_and_the_datagram_stays)
{
	char room[16];
	struct taio_step step;
	int a, b, ends[2];

	udp_pair(&a, &b);
	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	close(ends[0]);
	cr_assert_eq(send(a, "kept", 4, 0), 4);
	step = pass_step(b, TAIO_KIND_DGRAM, ends[1], TAIO_KIND_PIPE);
	cr_assert_eq(run(&dgram, &step), -EPIPE); /* and no SIGPIPE: we are still here */
	cr_assert_eq(step.failed_side, 2);
	cr_assert_eq(recv(b, room, sizeof(room), MSG_DONTWAIT), 4);
	close(ends[1]);
	close_pair(a, b);
}

/* A flow becomes datagrams: whole ones first, the rest after, then the end of the flow. */
static void flow_to_datagrams(struct taio_device *device, uint8_t kind, int in, int out)
{
	uint8_t *bytes = random_bytes(30000);
	struct taio_step step;
	int a, b;

	udp_pair(&a, &b);
	step = pass_step(out, kind, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(device, &step), -EAGAIN);
	cr_assert_eq(step.wait_fd, out);
	cr_assert_eq(step.wait_events, POLLIN);
	cr_assert_eq(write(in, bytes, 30000), 30000);
	step = pass_step(out, kind, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(device, &step), 20 * 1472);
	step = pass_step(out, kind, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(device, &step), 30000 - 20 * 1472);
	expect_datagrams(b, bytes, 30000, 1472);
	close(in);
	step = pass_step(out, kind, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(device, &step), 0);
	close(out);
	close_pair(a, b);
	free(bytes);
}

Test(dgram, pipes_and_streams_become_datagrams)
{
	struct taio_device *devices[] = { &dgram, &gso };
	int ends[2];

	need_gso();
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
		flow_to_datagrams(devices[i], TAIO_KIND_PIPE, ends[1], ends[0]);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
		flow_to_datagrams(devices[i], TAIO_KIND_STREAM, ends[1], ends[0]);
	}
}

Test(dgram, socket_that_fills_up_leaves_the_rest_in_the_pipe)
{
	uint8_t *bytes = random_bytes(60000), *room = calloc(1, 70000);
	struct taio_step step;
	size_t got = 0;
	int64_t n;
	int a, b, ends[2];

	unix_pair(&a, &b);
	cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
	cr_assert_eq(write(ends[1], bytes, 60000), 60000);
	close(ends[1]);
	do {
		step = pass_step(ends[0], TAIO_KIND_PIPE, a, TAIO_KIND_DGRAM);
		step.to.unit = 50;
		n = run(&dgram, &step);
		cr_assert(n >= 0 || n == -EAGAIN, "%d", (int)n);
		if (n == -EAGAIN)
			cr_assert_eq(step.wait_fd, a);
		got += receive_all(&dgram, b, room + got, 70000 - got);
	} while (n != 0);
	cr_assert_eq(got, 60000u);
	cr_assert(memcmp(bytes, room, 60000) == 0);
	close(ends[0]);
	close_pair(a, b);
	free(bytes);
	free(room);
}

Test(dgram, terminal_becomes_datagrams_and_is_never_waited_for)
{
	int a, b, slave, master = posix_openpt(O_RDWR | O_NOCTTY);
	struct taio_step step;
	char room[32] = "";

	if (master < 0 || grantpt(master) || unlockpt(master))
		cr_skip_test("no pseudo terminals here");
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	cr_assert_geq(slave, 0);
	udp_pair(&a, &b);
	/* blocking, and empty: a read would sleep for ever */
	step = pass_step(slave, TAIO_KIND_PIPE, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(&dgram, &step), -EAGAIN);
	cr_assert_eq(step.wait_fd, slave);
	cr_assert_eq(write(master, "a line\n", 7), 7);
	step = pass_step(slave, TAIO_KIND_PIPE, a, TAIO_KIND_DGRAM);
	cr_assert_eq(run(&dgram, &step), 7);
	cr_assert_eq(recv(b, room, sizeof(room), MSG_DONTWAIT), 7);
	cr_assert_str_eq(room, "a line\n");
	close(slave);
	close(master);
	close_pair(a, b);
}
