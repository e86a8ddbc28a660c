/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_messages_ends.c: how batches of datagrams end: errors of single messages, peers that refuse,
 * full sockets, rates, idle time, time-outs, cancelling; addresses as the other end; what is
 * refused at once. Exactly one event for each, and counters that add up.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "taio.h"

#define MS   1000000ULL
#define MOST 300

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static struct taio *engine;
static struct taio_message m[MOST];
static uint32_t room[MOST][16]; /* payloads: the first word is the number of the message */
static struct sockaddr_storage name[MOST];
static struct taio_message_counters counters;

static void begin(void)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE };

	cr_assert_eq(taio_open(&engine, &options), 0);
	memset(m, 0, sizeof(m));
	memset(&counters, 0, sizeof(counters));
	for (unsigned int i = 0; i < MOST; i++) {
		m[i].data = room[i];
		m[i].length = sizeof(room[i]);
		room[i][0] = i;
	}
}

static void end(void)
{
	cr_assert_eq(taio_pending(engine), 0u);
	taio_close(engine);
}

TestSuite(messages_ends, .init = begin, .fini = end, .timeout = 60);

/* ---- words ------------------------------------------------------------------------------------- */

static struct taio_options options(void)
{
	struct taio_options o = { .size = sizeof(o),
				  .timeout_ns = 20000 * MS,
				  .counters = &counters };

	return o;
}

static struct taio_event take_event(void)
{
	struct taio_event event, more;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, (int64_t)(30000 * MS)), 1, "no event");
	cr_assert_eq(taio_get_events(engine, &more, 0, 1, 0), 0, "an event too many");
	return event;
}

static void turn(uint64_t ms)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, (int64_t)(ms * MS)), 0,
		     "it has ended already: %d", (int)event.result);
}

static void send_to(int fd, unsigned int count, const struct taio_options *o)
{
	struct taio_endpoint to = taio_descriptor(fd);

	cr_assert_eq(taio_schedule_send_messages(engine, m, count, &to, o, 7), 0, "%s",
		     taio_refusal(engine));
}

static void receive_from(int fd, unsigned int count, const struct taio_options *o)
{
	struct taio_endpoint from = taio_descriptor(fd);

	cr_assert_eq(taio_schedule_receive_messages(engine, &from, m, count, o, 8), 0, "%s",
		     taio_refusal(engine));
}

static struct sockaddr_in at_port(int fd)
{
	struct sockaddr_in sin;
	socklen_t length = sizeof(sin);

	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sin, &length), 0);
	return sin;
}

static int udp(const struct sockaddr_in *peer)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	if (peer)
		cr_assert_eq(connect(fd, (const struct sockaddr *)peer, sizeof(*peer)), 0);
	return fd;
}

/* [0] sends to [1]. */
static void udp_pair(int fd[2])
{
	struct sockaddr_in sin;

	fd[1] = udp(NULL);
	sin = at_port(fd[1]);
	fd[0] = udp(&sin);
}

static void drop(int fd[2])
{
	close(fd[0]);
	close(fd[1]);
}

/* Sends numbers @first .. @first + @count - 1 by plain calls. */
static void plain_send(int fd, unsigned int first, unsigned int count)
{
	for (uint32_t i = first; i < first + count; i++)
		cr_assert_eq(send(fd, &i, sizeof(i), 0), (ssize_t)sizeof(i));
}

static uint32_t plain_receive(int fd)
{
	uint32_t word = UINT32_MAX;

	(void)recv(fd, &word, sizeof(word), MSG_DONTWAIT);
	return word;
}

static uint64_t dropped(const struct taio_message_counters *c)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		sum += c->dropped[i];
	return sum;
}

/* ---- errors ------------------------------------------------------------------------------------ */

Test(messages_ends, one_that_cannot_be_sent_has_its_own_error_and_the_others_go)
{
	static uint8_t large[70000];
	struct sockaddr_in6 wrong = { .sin6_family = AF_INET6, .sin6_port = 9 };
	struct sockaddr_in nobody = { .sin_family = AF_INET };
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	m[3].data = large;
	m[3].length = sizeof(large);
	m[6].address = &wrong;
	m[6].address_length = sizeof(wrong);
	m[7].address = &nobody; /* port 0 */
	m[7].address_length = sizeof(nobody);
	send_to(fd[0], 10, &o);
	event = take_event();
	cr_assert_eq(event.result, 7 * (int64_t)sizeof(room[0]), "%d", (int)event.result);
	cr_assert_eq(event.messages, 7u);
	cr_assert_eq(event.flags, TAIO_EVENT_PARTIAL);
	cr_assert_eq(m[3].result, -EMSGSIZE);
	cr_assert_eq(m[6].result, -EAFNOSUPPORT);
	cr_assert_eq(m[7].result, -EINVAL);
	cr_assert_eq(counters.dropped[TAIO_DROP_TOO_LONG], 1u);
	cr_assert_eq(counters.dropped[TAIO_DROP_ADDRESS], 2u);
	cr_assert_eq(dropped(&counters), 3u);
	for (uint32_t i = 0; i < 10; i++)
		if (i != 3 && i != 6 && i != 7)
			cr_assert_eq(plain_receive(fd[1]), i);
	drop(fd);
}

Test(messages_ends, when_none_can_be_sent_the_event_has_the_first_error)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd = udp(NULL); /* nobody to send to */

	send_to(fd, 5, &o);
	event = take_event();
	cr_assert_eq(event.result, -EDESTADDRREQ, "%d", (int)event.result);
	cr_assert_eq(event.step, TAIO_STEP_WRITE);
	cr_assert_eq(event.messages, 0u);
	for (unsigned int i = 0; i < 5; i++)
		cr_assert_eq(m[i].result, -EDESTADDRREQ);
	cr_assert_eq(counters.dropped[TAIO_DROP_ADDRESS], 5u);
	close(fd);
}

Test(messages_ends, a_socket_that_is_shut_ends_the_batch)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	cr_assert_eq(shutdown(fd[0], SHUT_WR), 0);
	send_to(fd[0], 5, &o);
	event = take_event();
	cr_assert_eq(event.result, -EPIPE, "%d", (int)event.result);
	for (unsigned int i = 0; i < 5; i++)
		cr_assert_eq(m[i].result, -ECANCELED);
	cr_assert_eq(counters.dropped[TAIO_DROP_CANCELLED], 5u);
	drop(fd);
}

/* The receiver goes away in the middle: each message is still handed to the network. */
static void refused(const char *device)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	cr_assert_eq(taio_device_mask(engine, device, &o.pin), 0);
	for (unsigned int i = 0; i < 200; i++)
		m[i].length = 64 - i / 16; /* no run is longer than 16 */
	send_to(fd[0], 20, &o);
	event = take_event();
	cr_assert_eq(event.flags, 0);
	close(fd[1]);
	for (unsigned int k = 0; k < 3; k++) {
		send_to(fd[0], 200, &o);
		event = take_event();
		cr_assert_gt(event.result, 0, "%s: %d", device, (int)event.result);
		cr_assert_eq(event.messages, 200u, "%u", event.messages);
		cr_assert_eq(event.flags, TAIO_EVENT_REFUSED, "%u", event.flags);
	}
	cr_assert_eq(counters.sent, 620u);
	cr_assert_gt(counters.dropped[TAIO_DROP_REFUSED], 2u);
	cr_assert_leq(counters.dropped[TAIO_DROP_REFUSED], 600u);
	cr_assert_eq(dropped(&counters), counters.dropped[TAIO_DROP_REFUSED]);
	close(fd[0]);
}

Test(messages_ends, a_peer_that_refuses_is_told_and_counted_and_each_message_is_sent)
{
	refused("dgram");
	memset(&counters, 0, sizeof(counters));
	refused("gso");
}

Test(messages_ends, a_refusal_does_not_end_a_batch_that_is_received)
{
	struct taio_options o = options();
	struct taio_event event;
	struct sockaddr_in sin;
	int fd[2];

	udp_pair(fd);
	sin = at_port(fd[0]);
	close(fd[1]);
	plain_send(fd[0], 0, 1); /* refused: the next call hears of it */
	fd[1] = udp(NULL);
	o.idle_ns = 50 * MS;
	receive_from(fd[0], 4, &o);
	event = take_event();
	cr_assert_eq(event.result, 0);
	cr_assert_eq(event.flags, TAIO_EVENT_REFUSED);
	cr_assert_eq(counters.dropped[TAIO_DROP_REFUSED], 1u);
	(void)sin;
	drop(fd);
}

/* ---- full -------------------------------------------------------------------------------------- */

struct reader {
	int fd;
	unsigned int count;
	bool wrong;
};

static void *reader_run(void *arg)
{
	struct reader *r = arg;

	for (uint32_t i = 0; i < r->count; i++) {
		uint32_t word = 0;

		if (i % 10 == 0)
			usleep(2000);
		r->wrong |= recv(r->fd, &word, sizeof(word), 0) != sizeof(word) || word != i;
	}
	return NULL;
}

static void full(bool connected)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t length = (socklen_t)sizeof(sun);
	struct taio_options o = options();
	struct reader reader = { .count = 250 };
	struct taio_device_info info[64];
	struct taio_event event;
	uint64_t steps = 0;
	pthread_t thread;
	int fd[2], n;

	for (unsigned int i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		cr_assert_eq(bind(fd[i], (struct sockaddr *)&sun, sizeof(sa_family_t)), 0);
	}
	cr_assert_eq(getsockname(fd[1], (struct sockaddr *)&sun, &length), 0);
	if (connected)
		cr_assert_eq(connect(fd[0], (struct sockaddr *)&sun, length), 0);
	for (unsigned int i = 0; i < reader.count; i++) {
		m[i].length = sizeof(uint32_t);
		m[i].address = connected ? NULL : &sun;
		m[i].address_length = (uint16_t)(connected ? 0 : length);
	}
	reader.fd = fd[1];
	cr_assert_eq(pthread_create(&thread, NULL, reader_run, &reader), 0);
	send_to(fd[0], reader.count, &o);
	event = take_event();
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(event.messages, reader.count, "%d", (int)event.result);
	cr_assert_not(reader.wrong);
	n = taio_devices(engine, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++)
		steps += info[i].steps;
	/* 25 times ten messages: not a spin of tens of thousands */
	cr_assert_lt(steps, 2000u, "%llu steps", (unsigned long long)steps);
	drop(fd);
}

Test(messages_ends, a_full_socket_is_waited_for)
{
	full(true);
}

Test(messages_ends, a_full_queue_of_which_there_is_no_event_is_asked_now_and_then)
{
	full(false);
}

/* ---- time -------------------------------------------------------------------------------------- */

Test(messages_ends, a_batch_that_is_received_waits_for_the_least_and_takes_what_is_there)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	receive_from(fd[1], 50, &o); /* least: one */
	turn(10);
	plain_send(fd[0], 0, 1);
	event = take_event();
	cr_assert_eq(event.messages, 1u);
	plain_send(fd[0], 100, 7);
	receive_from(fd[1], 50, &o);
	event = take_event();
	cr_assert_eq(event.messages, 7u);
	cr_assert_eq(room[6][0], 106u);
	o.least = 5;
	plain_send(fd[0], 200, 4);
	receive_from(fd[1], 50, &o);
	turn(10);
	plain_send(fd[0], 204, 1);
	event = take_event();
	cr_assert_eq(event.messages, 5u);
	cr_assert_eq(event.result, 5 * (int64_t)sizeof(uint32_t));
	cr_assert_eq(room[4][0], 204u);
	cr_assert_eq(counters.received, 13u);
	drop(fd);
}

Test(messages_ends, idle_time_ends_a_batch_well)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	o.idle_ns = 30 * MS;
	receive_from(fd[1], 50, &o);
	event = take_event();
	cr_assert_eq(event.result, 0);
	cr_assert_eq(event.messages, 0u);
	cr_assert_geq(event.ns, 30 * MS);
	o.least = 50;
	plain_send(fd[0], 0, 9);
	receive_from(fd[1], 50, &o);
	event = take_event();
	cr_assert_eq(event.result, 9 * (int64_t)sizeof(uint32_t));
	cr_assert_eq(event.messages, 9u);
	cr_assert_eq(m[9].result, -ECANCELED);
	drop(fd);
}

Test(messages_ends, out_of_time_what_was_received_is_valid)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	o.timeout_ns = 40 * MS;
	o.idle_ns = 1000 * MS;
	o.least = 50;
	plain_send(fd[0], 30, 3);
	receive_from(fd[1], 50, &o);
	event = take_event();
	cr_assert_eq(event.result, -ETIMEDOUT, "%d", (int)event.result);
	cr_assert_eq(event.messages, 3u);
	cr_assert_eq(event.bytes, 3 * sizeof(uint32_t));
	cr_assert_eq(room[2][0], 32u);
	drop(fd);
}

static void drain(int fd)
{
	while (plain_receive(fd) != UINT32_MAX)
		;
}

/* @o has a limit that lets @per_s messages pass. What may go at once is a twentieth of it. */
static void rate(const struct taio_options *o, uint64_t per_s)
{
	struct taio_device_info info[64];
	uint64_t ns = 0, steps = 0;
	struct taio_event event;
	int fd[2], n;

	udp_pair(fd);
	for (unsigned int k = 0; k < 4; k++) { /* batches that share one limit */
		send_to(fd[0], 60, o);
		event = take_event();
		cr_assert_eq(event.messages, 60u, "%d", (int)event.result);
		ns += event.ns;
		drain(fd[1]);
	}
	cr_assert_geq(ns * per_s / 1000000000, 240 - per_s / 20 - 1, "240 in %llu ms",
		      (unsigned long long)(ns / MS));
	n = taio_devices(engine, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++)
		steps += info[i].steps;
	cr_assert_lt(steps, 120u, "%llu steps", (unsigned long long)steps);
	drop(fd);
}

Test(messages_ends, a_rate_in_packets_is_kept_across_batches_without_spinning)
{
	struct taio_options o = options();

	o.limit_packets = 800;
	rate(&o, 800);
}

Test(messages_ends, a_rate_in_bytes_is_kept_across_batches_without_spinning)
{
	struct taio_options o = options();

	o.limit_rate = 800 * sizeof(room[0]);
	rate(&o, 800);
}

Test(messages_ends, the_slower_of_two_rates_counts_and_one_larger_than_a_burst_goes_too)
{
	static uint8_t large[4][20000];
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	for (unsigned int i = 0; i < 4; i++) {
		m[i].data = large[i];
		m[i].length = sizeof(large[i]);
	}
	o.limit_packets = 100000;
	o.limit_rate = 200000; /* a burst is half a message */
	send_to(fd[0], 4, &o);
	event = take_event();
	cr_assert_eq(event.messages, 4u);
	cr_assert_geq(event.ns, 290 * MS); /* three times a tenth of a second */
	drop(fd);
}

Test(messages_ends, a_rate_holds_for_what_is_received)
{
	struct taio_options o = options();
	struct taio_event event;
	int fd[2];

	udp_pair(fd);
	plain_send(fd[0], 0, 100);
	o.limit_packets = 500;
	o.least = 100;
	receive_from(fd[1], 100, &o);
	event = take_event();
	cr_assert_eq(event.messages, 100u);
	cr_assert_geq(event.ns, (100 - 26) * MS * 2);
	for (uint32_t i = 0; i < 100; i++)
		cr_assert_eq(room[i][0], i);
	drop(fd);
}

/* ---- cancelling -------------------------------------------------------------------------------- */

static void cancelled_receive(unsigned int before, unsigned int turns)
{
	struct taio_options o = options();
	struct taio_event event, more;
	int fd[2];

	udp_pair(fd);
	o.least = 60;
	receive_from(fd[1], 60, &o);
	for (unsigned int i = 0; i < turns; i++)
		cr_assert_eq(taio_get_events(engine, &more, 0, 1, 0), 0);
	plain_send(fd[0], 0, before);
	for (unsigned int i = 0; i < turns; i++)
		cr_assert_eq(taio_get_events(engine, &more, 0, 1, 0), 0);
	cr_assert_eq(taio_cancel(engine, 8), 1);
	event = take_event();
	cr_assert_eq(event.result, -ECANCELED);
	cr_assert_leq(event.messages, before);
	for (unsigned int i = 0; i < event.messages; i++)
		cr_assert_eq(m[i].result, (int32_t)sizeof(uint32_t));
	cr_assert_eq(m[event.messages].result, -ECANCELED);
	/* nothing was taken that is not in the batch */
	cr_assert_eq(plain_receive(fd[1]), before > event.messages ? event.messages : UINT32_MAX);
	drop(fd);
}

Test(messages_ends, a_batch_that_is_received_is_cancelled_at_any_moment)
{
	for (unsigned int before = 0; before < 50; before += 7)
		for (unsigned int turns = 0; turns < 4; turns++)
			cancelled_receive(before, turns);
}

Test(messages_ends, a_batch_that_waits_to_be_sent_is_cancelled_in_the_middle)
{
	struct taio_options o = options();
	struct taio_event event;
	unsigned int there = 0;
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fd), 0);
	for (unsigned int i = 0; i < MOST; i++)
		m[i].length = sizeof(uint32_t);
	send_to(fd[0], MOST, &o); /* nobody reads */
	turn(20);
	cr_assert_eq(taio_cancel(engine, 7), 1);
	event = take_event();
	cr_assert_eq(event.result, -ECANCELED);
	cr_assert(event.flags & TAIO_EVENT_PARTIAL);
	while (plain_receive(fd[1]) == there)
		there++;
	cr_assert_eq(there, event.messages);
	cr_assert_gt(there, 0u);
	cr_assert_eq(m[there - 1].result, (int32_t)sizeof(uint32_t));
	cr_assert_eq(m[there].result, -ECANCELED);
	cr_assert_eq(counters.sent, there);
	cr_assert_eq(counters.dropped[TAIO_DROP_CANCELLED], MOST - there);
	drop(fd);
}

Test(messages_ends, batches_on_one_socket_go_in_their_order)
{
	struct taio_options o = options();
	struct taio_event event[10];
	struct taio_endpoint to;
	int fd[2];

	udp_pair(fd);
	to = taio_descriptor(fd[0]);
	for (unsigned int i = 0; i < 10; i++)
		cr_assert_eq(taio_schedule_send_messages(engine, m + i * 20, 20, &to, &o, i), 0);
	cr_assert_eq(taio_get_events(engine, event, 10, 10, (int64_t)(20000 * MS)), 10);
	for (unsigned int i = 0; i < 10; i++)
		cr_assert_eq(event[i].cookie, i);
	for (uint32_t i = 0; i < 200; i++)
		cr_assert_eq(plain_receive(fd[1]), i);
	drop(fd);
}

/* ---- joined by the kernel ---------------------------------------------------------------------- */

Test(messages_ends, what_the_kernel_joined_is_separated_however_small_the_batches_are)
{
	const int unit = sizeof(room[0]), on = 1;
	static uint8_t packet[60][sizeof(room[0])];
	struct taio_options o = options();
	struct taio_event event;
	uint32_t next = 0;
	int fd[2];

	udp_pair(fd);
	cr_assert_eq(setsockopt(fd[1], IPPROTO_UDP, UDP_GRO, &on, sizeof(on)), 0);
	cr_assert_eq(setsockopt(fd[0], IPPROTO_UDP, UDP_SEGMENT, &unit, sizeof(unit)), 0);
	for (uint32_t k = 0; k < 3; k++) {
		for (uint32_t i = 0; i < 60; i++) {
			uint32_t number = k * 60 + i;

			memcpy(packet[i], &number, sizeof(number));
		}
		/* the last one is shorter */
		cr_assert_eq(send(fd[0], packet, sizeof(packet) - 3, 0),
			     (ssize_t)sizeof(packet) - 3);
	}
	for (unsigned int batch = 1; next < 180; batch = batch % 13 + 1) {
		for (unsigned int i = 0; i < batch; i++) {
			m[i].address = &name[i];
			m[i].address_room = sizeof(name[i]);
		}
		receive_from(fd[1], batch, &o);
		event = take_event();
		cr_assert_gt(event.result, 0, "%d", (int)event.result);
		for (unsigned int i = 0; i < event.messages; i++, next++) {
			struct sockaddr_in sin = at_port(fd[0]);

			cr_assert_eq(room[i][0], next, "%u is %u", room[i][0], next);
			cr_assert_eq(m[i].whole,
				     next % 60 == 59 ? sizeof(room[0]) - 3 : sizeof(room[0]));
			cr_assert_eq(m[i].address_length, sizeof(sin));
			cr_assert_eq(memcmp(m[i].address, &sin, sizeof(sin)), 0);
		}
	}
	o.idle_ns = 20 * MS;
	receive_from(fd[1], 200, &o);
	event = take_event();
	cr_assert_eq(event.messages, 0u);
	cr_assert_eq(counters.received, 180u);
	drop(fd);
}

/* ---- addresses --------------------------------------------------------------------------------- */

Test(messages_ends, a_batch_goes_to_an_address_and_no_end_mark_follows)
{
	struct taio_options o = options();
	struct taio_event event;
	struct taio_endpoint to;
	char text[64], byte;
	int fd = udp(NULL);

	snprintf(text, sizeof(text), "127.0.0.1:%u:udp", ntohs(at_port(fd).sin_port));
	to = taio_address(text);
	cr_assert_eq(taio_schedule_send_messages(engine, m, 30, &to, &o, 1), 0);
	event = take_event();
	cr_assert_eq(event.messages, 30u, "%d", (int)event.result);
	for (uint32_t i = 0; i < 30; i++)
		cr_assert_eq(plain_receive(fd), i);
	cr_assert_lt(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
}

Test(messages_ends, a_batch_is_received_from_anybody_at_an_address)
{
	struct taio_options o = options();
	struct sockaddr_in sin, from;
	struct taio_endpoint ep;
	struct taio_event event;
	char text[64];
	int fd[3];

	fd[0] = udp(NULL); /* finds a free port */
	sin = at_port(fd[0]);
	close(fd[0]);
	snprintf(text, sizeof(text), "listen:127.0.0.1:%u:udp", ntohs(sin.sin_port));
	ep = taio_address(text);
	o.least = 9;
	for (unsigned int i = 0; i < 200; i++) {
		m[i].address = &name[i];
		m[i].address_room = sizeof(name[i]);
	}
	cr_assert_eq(taio_schedule_receive_messages(engine, &ep, m, 200, &o, 1), 0);
	turn(5);
	for (unsigned int i = 0; i < 3; i++)
		fd[i] = udp(&sin);
	for (uint32_t i = 0; i < 9; i++)
		plain_send(fd[i % 3], i, 1);
	event = take_event();
	cr_assert_eq(event.messages, 9u, "%d", (int)event.result);
	for (uint32_t i = 0; i < 9; i++) {
		from = at_port(fd[i % 3]);
		cr_assert_eq(room[i][0], i);
		cr_assert_eq(memcmp(m[i].address, &from, sizeof(from)), 0);
	}
	for (unsigned int i = 0; i < 3; i++)
		close(fd[i]);
}

/* ---- what is refused, what is counted ---------------------------------------------------------- */

Test(messages_ends, what_makes_no_sense_is_refused_with_a_sentence)
{
	struct taio_endpoint tcp = taio_address("127.0.0.1:9:tcp"), path = taio_path("/tmp/x");
	struct taio_endpoint good, stream, file = taio_descriptor(0);
	struct taio_options o = options();
	int fd[2], pair[2];

	udp_pair(fd);
	good = taio_descriptor(fd[0]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	stream = taio_descriptor(pair[0]);
#define REFUSED(call, error)                                     \
	do {                                                     \
		cr_assert_eq(call, error);                       \
		cr_assert_gt(strlen(taio_refusal(engine)), 10u); \
		cr_assert_eq(taio_pending(engine), 0u);          \
	} while (0)
	REFUSED(taio_schedule_send_messages(engine, m, 1, &tcp, &o, 1), -EOPNOTSUPP);
	REFUSED(taio_schedule_send_messages(engine, m, 1, &path, &o, 1), -EOPNOTSUPP);
	REFUSED(taio_schedule_send_messages(engine, m, 1, &stream, &o, 1), -EOPNOTSUPP);
	REFUSED(taio_schedule_receive_messages(engine, &stream, m, 1, &o, 1), -EOPNOTSUPP);
	REFUSED(taio_schedule_receive_messages(engine, &file, m, 1, &o, 1), -EOPNOTSUPP);
	REFUSED(taio_schedule_send_messages(engine, m, 0, &good, &o, 1), -EINVAL);
	REFUSED(taio_schedule_send_messages(engine, m, TAIO_MESSAGES_MAX + 1, &good, &o, 1),
		-EINVAL);
	REFUSED(taio_schedule_send_messages(engine, NULL, 1, &good, &o, 1), -EFAULT);
	m[1].data = NULL;
	REFUSED(taio_schedule_send_messages(engine, m, 2, &good, &o, 1), -EFAULT);
	m[1].data = room[1];
	m[1].address_length = 4;
	REFUSED(taio_schedule_send_messages(engine, m, 2, &good, &o, 1), -EFAULT);
	o.least = 3;
	REFUSED(taio_schedule_receive_messages(engine, &good, m, 2, &o, 1), -EINVAL);
#undef REFUSED
	drop(fd);
	drop(pair);
}

Test(messages_ends, counters_of_devices_add_up_to_those_of_requests)
{
	struct taio_message_counters all, one, sum = { 0 };
	struct taio_device_info info[64];
	struct taio_options o = options();
	int fd[2], n;

	udp_pair(fd);
	for (unsigned int k = 0; k < 20; k++) {
		send_to(fd[0], 10 + k, &o);
		(void)take_event();
		o.least = 10 + k;
		receive_from(fd[1], 100, &o);
		(void)take_event();
		o.least = 0;
	}
	n = taio_devices(engine, info, sizeof(info[0]), 64);
	for (int i = 0; i < n; i++) {
		cr_assert_eq(taio_message_count(engine, (unsigned int)i, &one, sizeof(one)), 0);
		sum.sent += one.sent;
		sum.received += one.received;
		sum.bytes += one.bytes;
		sum.completed += one.completed;
	}
	cr_assert_eq(taio_message_count(engine, 255, &all, sizeof(all)), 0);
	cr_assert_eq(sum.sent, 390u);
	cr_assert_eq(sum.received, 390u);
	cr_assert_eq(sum.completed, 390u);
	cr_assert_eq(sum.bytes, 2 * 390u * sizeof(room[0]));
	cr_assert_eq(memcmp(&all, &counters, sizeof(all)), 0);
	cr_assert_eq(all.sent, sum.sent);
	cr_assert_eq(taio_message_count(engine, 200, &one, sizeof(one)), -EINVAL);
	cr_assert_eq(taio_message_count(engine, 0, &one, 8), -EINVAL);
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		cr_assert_str_neq(taio_drop_name(i), "?");
	cr_assert_str_eq(taio_drop_name(TAIO_DROP_COUNT), "?");
	drop(fd);
}
