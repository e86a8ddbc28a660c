/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_udp.c: memory to datagrams of 1472 bytes over loopback and back: a loop of sendmmsg(64)
 * beside the devices dgram and gso and taio's own choice; a loop of recvmmsg(64) beside the same.
 *
 * Sending: one receiver thread on CPU 1 takes all contenders' datagrams with recvmmsg and UDP_GRO;
 * the figure is from the first send to the last byte received, and what was lost is told. Receiving:
 * the datagrams are in the socket's queue before the clock starts. Contenders take turns; medians.
 * Loopback never cuts what UDP_SEGMENT joins: this is the cost of the system, not of a wire.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"

#ifndef UDP_GRO /* glibc has it since 2.35 */
#define UDP_GRO 104
#endif

#define PAYLOAD     1472
#define BATCH       64
#define SEND_COUNT  20000 /* datagrams */
#define QUEUE_COUNT 4000
#define QUEUE_BYTES (64 << 20)

static struct taio *engine;
static uint8_t *memory;

/* ---- sockets ----------------------------------------------------------------------------------- */

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* with one CPU: as it is */
}

/* A pair of connected sockets; the receiver's queue is as large as this user may have it. */
static void udp_pair(int *ret_from, int *ret_to)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	const int bytes = QUEUE_BYTES;
	socklen_t len = sizeof(sin);
	int fd[2];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		sin.sin_port = 0;
		if (fd[i] < 0 || bind(fd[i], (struct sockaddr *)&sin, sizeof(sin)) < 0)
			bench_die("bind");
	}
	for (int i = 0; i < 2; i++) {
		if (getsockname(fd[1 - i], (struct sockaddr *)&sin, &len) < 0 ||
		    connect(fd[i], (struct sockaddr *)&sin, sizeof(sin)) < 0)
			bench_die("connect");
	}
	if (setsockopt(fd[1], SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	*ret_from = fd[0];
	*ret_to = fd[1];
}

static uint64_t send_by_hand(int fd, uint64_t count)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint64_t sent = 0;

	memset(msg, 0, sizeof(msg));
	while (sent < count) {
		unsigned int n = 0;
		int rc;

		for (; n < BATCH && sent + n < count; n++) {
			iov[n].iov_base = memory + (sent + n) * PAYLOAD;
			iov[n].iov_len = PAYLOAD;
			msg[n].msg_hdr.msg_iov = &iov[n];
			msg[n].msg_hdr.msg_iovlen = 1;
		}
		rc = sendmmsg(fd, msg, n, 0);
		if (rc <= 0)
			bench_die("sendmmsg");
		sent += (uint64_t)rc;
	}
	return sent * PAYLOAD;
}

/* Appends: every datagram is known to have PAYLOAD bytes. */
static uint64_t receive_by_hand(int fd, uint64_t count)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint64_t got = 0;

	memset(msg, 0, sizeof(msg));
	while (got < count) {
		unsigned int most = count - got < BATCH ? (unsigned int)(count - got) : BATCH;
		int n;

		for (unsigned int i = 0; i < most; i++) {
			iov[i].iov_base = memory + (got + i) * PAYLOAD;
			iov[i].iov_len = PAYLOAD;
			msg[i].msg_hdr.msg_iov = &iov[i];
			msg[i].msg_hdr.msg_iovlen = 1;
		}
		n = recvmmsg(fd, msg, most, MSG_DONTWAIT, NULL);
		if (n <= 0)
			break; /* lost */
		got += (uint64_t)n;
	}
	return got * PAYLOAD;
}

static uint64_t by_taio(struct taio_endpoint from, struct taio_endpoint to, uint64_t pin,
			uint64_t *devices)
{
	struct taio_options options = { .size = sizeof(options), .pin = pin, .datagram = PAYLOAD };
	struct taio_event event;

	if (taio_copy(engine, &from, &to, &options, 1) ||
	    taio_get_events(engine, &event, 1, 1, 10000000000LL) != 1 || event.result < 0)
		bench_die("taio_copy");
	*devices |= event.devices;
	return event.bytes;
}

/* ---- the receiver of all senders ---------------------------------------------------------------- */

static struct receiver {
	int fd;
	_Atomic uint64_t bytes; /* received since it was set to 0 */
} receiver;

static void *receiver_main(void *arg)
{
	static uint8_t room[8][65536];
	struct mmsghdr msg[8];
	struct iovec iov[8];
	const int on = 1;

	(void)arg;
	run_on_cpu(1);
	(void)setsockopt(receiver.fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on));
	memset(msg, 0, sizeof(msg));
	for (int i = 0; i < 8; i++) {
		iov[i].iov_base = room[i];
		iov[i].iov_len = sizeof(room[i]);
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	for (;;) {
		int n = recvmmsg(receiver.fd, msg, 8, MSG_WAITFORONE, NULL);
		uint64_t bytes = 0;

		if (n <= 0)
			break;
		for (int i = 0; i < n; i++)
			bytes += msg[i].msg_len;
		atomic_fetch_add(&receiver.bytes, bytes);
	}
	return NULL;
}

/* Until all is received or nothing came for 20 ms. Return: when the last byte came. */
static uint64_t receiver_wait(uint64_t want, uint64_t *ret_got)
{
	uint64_t got = 0, at = bench_now_ns();

	for (;;) {
		uint64_t now = bench_now_ns(), seen = atomic_load(&receiver.bytes);

		if (seen != got)
			at = now;
		got = seen;
		if (got >= want || now - at > 20000000)
			break;
		sched_yield();
	}
	*ret_got = got;
	return at;
}

/* ---- rows -------------------------------------------------------------------------------------- */

enum {
	HAND,
	DGRAM,
	GSO,
	TAIO,
	WAYS
};

static const char *const way_name[WAYS] = { "by hand", "dgram", "gso", "taio" };

struct way {
	uint64_t pin, devices, lost, total;
	struct bench_series series;
};

static void device_names(uint64_t mask, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < 64; i++)
		if (mask >> i & 1 && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? "," : "",
						taio_device_name(engine, i));
}

static void print_rows(const char *direction, const char *peer, const struct way *way,
		       uint64_t bytes)
{
	const double theirs = bench_median(&way[HAND].series);
	char devices[96];

	for (int i = DGRAM; i < WAYS; i++) {
		const double mine = bench_median(&way[i].series);

		if (way[i].series.count == 0)
			continue;
		device_names(way[i].devices, devices, sizeof(devices));
		printf("{\"bench\":\"udp\",\"direction\":\"%s\",\"payload\":%d,\"contender\":\"%s\","
		       "\"peer\":\"%s\",\"taio_gbps\":%.3f,\"peer_gbps\":%.3f,\"ratio\":%.3f,"
		       "\"lost_percent\":%.2f,\"devices\":\"%s\"}\n",
		       direction, PAYLOAD, way_name[i], peer, (double)bytes * 8 / mine,
		       (double)bytes * 8 / theirs, theirs / mine,
		       100.0 * (double)way[i].lost / (double)way[i].total, devices);
	}
	fflush(stdout);
}

static void bench_send(struct way *way, int fd, unsigned int rounds, uint64_t count)
{
	const uint64_t bytes = count * PAYLOAD;

	for (unsigned int round = 0; round < rounds + 3; round++) {
		for (int i = 0; i < WAYS; i++) {
			uint64_t start, stop, got;

			atomic_store(&receiver.bytes, 0);
			start = bench_now_ns();
			if (i == HAND)
				(void)send_by_hand(fd, count);
			else
				(void)by_taio(taio_memory(memory, bytes), taio_descriptor(fd),
					      way[i].pin, &way[i].devices);
			stop = receiver_wait(bytes, &got);
			if (round < 3)
				continue;
			way[i].total += bytes;
			way[i].lost += bytes - got;
			bench_add(&way[i].series, (double)(stop - start));
		}
	}
	print_rows("send", "sendmmsg(64)", way, bytes);
}

static void bench_receive(struct way *way, unsigned int rounds, uint64_t count)
{
	const uint64_t bytes = count * PAYLOAD;
	int from, to;

	udp_pair(&from, &to);
	for (unsigned int round = 0; round < rounds + 3; round++) {
		for (int i = 0; i < WAYS; i++) {
			uint64_t start, got;

			if (i ==
			    GSO) /* only on the engine's own sockets: it would stay set on ours */
				continue;
			(void)send_by_hand(from, count);
			start = bench_now_ns();
			if (i == HAND)
				got = receive_by_hand(to, count);
			else
				got = by_taio(taio_descriptor(to), taio_memory(memory, bytes),
					      way[i].pin, &way[i].devices);
			if (round >= 3)
				bench_add(&way[i].series, (double)(bench_now_ns() - start));
			if (got != bytes) {
				errno = ENOBUFS;
				bench_die("net.core.rmem_max is too small for this");
			}
			way[i].total += bytes;
		}
	}
	close(from);
	close(to);
}

static void ways_init(struct way *way)
{
	memset(way, 0, WAYS * sizeof(*way));
	if (taio_device_mask(engine, "dgram", &way[DGRAM].pin) ||
	    taio_device_mask(engine, "gso", &way[GSO].pin))
		bench_die("taio_device_mask");
}

int main(int argc, char **argv)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_MAY_BLOCK };
	const unsigned int rounds = bench_is_quick(argc, argv) ? 7 : 25;
	struct way way[WAYS];
	pthread_t thread;
	int from;

	memory = malloc((size_t)SEND_COUNT * PAYLOAD);
	if (!memory || taio_open(&engine, &options))
		bench_die("taio_open");
	memset(memory, 0x5a, (size_t)SEND_COUNT * PAYLOAD);
	udp_pair(&from, &receiver.fd);
	if (pthread_create(&thread, NULL, receiver_main, NULL))
		bench_die("pthread_create");
	run_on_cpu(0);
	ways_init(way);
	bench_send(way, from, rounds, SEND_COUNT);
	ways_init(way);
	bench_receive(way, rounds, QUEUE_COUNT);
	print_rows("receive", "recvmmsg(64)", way, (uint64_t)QUEUE_COUNT * PAYLOAD);
	taio_close(engine);
	return 0;
}
