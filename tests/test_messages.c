/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_messages.c: batches of datagrams through the public calls, with plain sockets of this process
 * at the other end: boundaries, addresses and results of each message, over UDP on both families
 * and Unix sockets, on each device that can carry them; and that a batch ends in exactly one event.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "taio.h"

#define MS    1000000ULL
#define BATCH 64

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static struct taio *engine;

static void begin(void)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE };

	cr_assert_eq(taio_open(&engine, &options), 0);
}

static void end(void)
{
	cr_assert_eq(taio_pending(engine), 0u);
	taio_close(engine);
}

TestSuite(messages, .init = begin, .fini = end, .timeout = 60);

/* ---- words ------------------------------------------------------------------------------------- */

static struct taio_options options(void)
{
	struct taio_options o = { .size = sizeof(o), .timeout_ns = 20000 * MS };

	return o;
}

static struct taio_event take_event(void)
{
	struct taio_event event, more;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, (int64_t)(30000 * MS)), 1, "no event");
	cr_assert_eq(taio_get_events(engine, &more, 0, 1, 0), 0, "an event too many");
	return event;
}

static struct taio_event send_batch(int fd, struct taio_message *m, unsigned int count,
				    const struct taio_options *o)
{
	struct taio_endpoint to = taio_descriptor(fd);

	cr_assert_eq(taio_schedule_send_messages(engine, m, count, &to, o, 7), 0, "%s",
		     taio_refusal(engine));
	return take_event();
}

static struct taio_event receive_batch(int fd, struct taio_message *m, unsigned int count,
				       const struct taio_options *o)
{
	struct taio_endpoint from = taio_descriptor(fd);

	cr_assert_eq(taio_schedule_receive_messages(engine, &from, m, count, o, 8), 0, "%s",
		     taio_refusal(engine));
	return take_event();
}

/* A socket of a family that is bound, with its address. */
struct side {
	int fd;
	struct sockaddr_storage name;
	socklen_t length;
};

static struct side side_of(int family)
{
	static unsigned int number;
	const int bytes = 4 << 20;
	struct side s = { .length = sizeof(s.name) };
	struct sockaddr_in *sin = (struct sockaddr_in *)&s.name;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&s.name;
	struct sockaddr_un *sun = (struct sockaddr_un *)&s.name;

	s.name.ss_family = (sa_family_t)family;
	s.length = family == AF_INET ? sizeof(*sin) : sizeof(*sin6);
	if (family == AF_INET)
		sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (family == AF_INET6)
		sin6->sin6_addr = in6addr_loopback;
	else
		s.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				       (size_t)sprintf(sun->sun_path + 1, "taio-msg-%d-%u",
						       getpid(), number++));
	s.fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(s.fd, 0);
	if (setsockopt(s.fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	cr_assert_eq(bind(s.fd, (struct sockaddr *)&s.name, s.length), 0);
	s.length = sizeof(s.name);
	cr_assert_eq(getsockname(s.fd, (struct sockaddr *)&s.name, &s.length), 0);
	return s;
}

static void join(const struct side *a, const struct side *b)
{
	cr_assert_eq(connect(a->fd, (const struct sockaddr *)&b->name, b->length), 0);
}

static uint8_t byte_of(unsigned int message, size_t at)
{
	return (uint8_t)(message * 37 + at * 11 + (at >> 8));
}

static void fill(struct taio_message *m, unsigned int number, size_t length)
{
	uint8_t *data = malloc(length + 1);

	memset(m, 0, sizeof(*m));
	for (size_t i = 0; i < length; i++)
		data[i] = byte_of(number, i);
	m->data = data;
	m->length = (uint32_t)length;
}

static void empty(struct taio_message *m, size_t room)
{
	memset(m, 0, sizeof(*m));
	m->data = calloc(1, room + 1);
	m->length = (uint32_t)room;
	m->address_room = sizeof(struct sockaddr_storage);
	m->address = calloc(1, m->address_room);
}

static void drop(struct taio_message *m, unsigned int count, bool addresses)
{
	for (unsigned int i = 0; i < count; i++) {
		free(m[i].data);
		if (addresses)
			free(m[i].address);
	}
}

static void check_bytes(const void *data, unsigned int number, size_t length)
{
	for (size_t i = 0; i < length; i++)
		cr_assert_eq(((const uint8_t *)data)[i], byte_of(number, i),
			     "byte %zu of message %u", i, number);
}

static void check_arrived(int fd, unsigned int number, size_t length)
{
	static uint8_t room[65536];

	cr_assert_eq(recv(fd, room, sizeof(room), MSG_DONTWAIT | MSG_TRUNC), (ssize_t)length,
		     "message %u", number);
	check_bytes(room, number, length);
}

static void check_nothing(int fd)
{
	char byte;

	cr_assert_lt(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	cr_assert_eq(errno, EAGAIN);
}

/* Runs @each for all families, and where devices can carry it, pinned to each. */
static void everywhere(void (*each)(int family, const struct taio_options *o))
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX };
	static const char *const devices[] = { NULL, "dgram", "gso" };

	for (unsigned int f = 0; f < 3; f++)
		for (unsigned int d = 0; d < 3; d++) {
			struct taio_options o = options();

			if (families[f] == AF_UNIX && d == 2)
				continue;
			if (devices[d])
				cr_assert_eq(taio_device_mask(engine, devices[d], &o.pin), 0);
			each(families[f], &o);
		}
}

/* ---- sending ----------------------------------------------------------------------------------- */

static void send_sizes(int family, const struct taio_options *o)
{
	static const size_t sizes[] = { 500,   500, 500, 17, 0,    1,    1472, 9000,
					65000, 2,   0,   0,  1472, 1472, 8 };
	/* a Unix socket queues ten */
	const unsigned int count = family == AF_UNIX ? 9 : sizeof(sizes) / sizeof(sizes[0]);
	struct side a = side_of(family), b = side_of(family);
	struct taio_message m[32];
	struct taio_event event;
	uint64_t bytes = 0;

	join(&a, &b);
	for (unsigned int i = 0; i < count; i++) {
		fill(&m[i], i, sizes[i]);
		bytes += sizes[i];
	}
	event = send_batch(a.fd, m, count, o);
	cr_assert_eq(event.result, (int64_t)bytes, "%d", (int)event.result);
	cr_assert_eq(event.bytes, bytes);
	cr_assert_eq(event.messages, count);
	cr_assert_eq(event.flags, 0);
	for (unsigned int i = 0; i < count; i++) {
		cr_assert_eq(m[i].result, (int32_t)sizes[i]);
		check_arrived(b.fd, i, sizes[i]);
	}
	check_nothing(b.fd);
	drop(m, count, false);
	close(a.fd);
	close(b.fd);
}

Test(messages, every_size_arrives_as_one_datagram_and_no_end_mark_follows)
{
	everywhere(send_sizes);
}

static void send_to_many(int family, const struct taio_options *o)
{
	struct side a = side_of(family),
		    b[3] = { side_of(family), side_of(family), side_of(family) };
	const unsigned int count = family == AF_UNIX ? 24 : BATCH;
	struct taio_message m[BATCH];
	struct taio_event event;

	for (unsigned int i = 0; i < count; i++) {
		fill(&m[i], i, 100 + i / 8);
		m[i].address = &b[i / 5 % 3].name;
		m[i].address_length = (uint16_t)b[i / 5 % 3].length;
	}
	event = send_batch(a.fd, m, count, o);
	cr_assert_gt(event.result, 0, "%d", (int)event.result);
	cr_assert_eq(event.messages, count);
	for (unsigned int i = 0; i < count; i++)
		check_arrived(b[i / 5 % 3].fd, i, 100 + i / 8);
	for (unsigned int i = 0; i < 3; i++) {
		check_nothing(b[i].fd);
		close(b[i].fd);
	}
	drop(m, count, false);
	close(a.fd);
}

Test(messages, each_message_goes_to_its_own_address)
{
	everywhere(send_to_many);
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void receive_sizes(int family, const struct taio_options *o)
{
	static const size_t sizes[] = { 3, 0, 1472, 1472, 700, 65000, 0, 8 };
	const unsigned int count = sizeof(sizes) / sizeof(sizes[0]);
	struct side a[2] = { side_of(family), side_of(family) }, b = side_of(family);
	struct taio_message m[32], sent;
	struct taio_options with = *o;
	struct taio_event event;
	uint64_t gso;

	/* joining is set on a socket of ours only where we say so */
	cr_assert_eq(taio_device_mask(engine, "gso", &gso), 0);
	if (o->pin == gso) {
		int on = 1;

		cr_assert_eq(setsockopt(b.fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)), 0);
	}
	for (unsigned int i = 0; i < count; i++) {
		fill(&sent, i, sizes[i]);
		cr_assert_eq(sendto(a[i & 1].fd, sent.data, sizes[i], 0, (struct sockaddr *)&b.name,
				    b.length),
			     (ssize_t)sizes[i]);
		free(sent.data);
		empty(&m[i], i == 5 ? 20000 : 65536);
	}
	empty(&m[count], 65536);
	with.least = count;
	event = receive_batch(b.fd, m, count + 1, &with);
	cr_assert_eq(event.messages, count, "%u, %d", event.messages, (int)event.result);
	for (unsigned int i = 0; i < count; i++) {
		size_t got = i == 5 ? 20000 : sizes[i];

		cr_assert_eq(m[i].whole, sizes[i]);
		cr_assert_eq(m[i].result, (int32_t)got);
		cr_assert_eq(m[i].flags, i == 5 ? TAIO_MESSAGE_TRUNCATED : 0u);
		check_bytes(m[i].data, i, got);
		cr_assert_eq(m[i].address_length, a[i & 1].length);
		cr_assert_eq(memcmp(m[i].address, &a[i & 1].name, a[i & 1].length), 0);
	}
	cr_assert_eq(m[count].result, -ECANCELED);
	drop(m, count + 1, true);
	close(a[0].fd);
	close(a[1].fd);
	close(b.fd);
}

Test(messages, what_is_received_keeps_its_boundaries_and_says_who_sent_it)
{
	everywhere(receive_sizes);
}
