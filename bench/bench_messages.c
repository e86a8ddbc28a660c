/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_messages.c: batches of datagrams as messages, over loopback: loops of sendmmsg, of sendmsg
 * with UDP_SEGMENT and of recvmmsg, and of recvmsg with UDP_GRO, beside taio's requests of the same
 * batches, on one device and with its own choice.
 *
 * Figures are processor time of this thread per datagram; over loopback that includes what the
 * kernel does to hand a datagram over. Sent are they to a socket whose queue is full, so that each
 * costs the same; received from a queue that was filled before. Contenders take turns; medians.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"

#ifndef UDP_SEGMENT /* glibc has both names since 2.35 */
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH_MAX   1024
#define ROOM        2048
#define SEND_COUNT  8192 /* datagrams of a round */
#define QUEUE_COUNT 4096
#define QUEUE_BYTES (64 << 20)

static struct taio *engine;
static uint8_t payload[BATCH_MAX][ROOM];
static struct taio_message message[BATCH_MAX];
static struct mmsghdr header[BATCH_MAX];
static struct iovec vector[BATCH_MAX];

struct test {
	int fd;
	unsigned int bytes, batch;
};

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void udp_pair(int queue, int *ret_from, int *ret_to)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	socklen_t len = sizeof(sin);
	int fd[2];

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd[i] < 0 || bind(fd[i], (struct sockaddr *)&sin, sizeof(sin)) < 0)
			bench_die("bind");
	}
	if (getsockname(fd[1], (struct sockaddr *)&sin, &len) < 0 ||
	    connect(fd[0], (struct sockaddr *)&sin, sizeof(sin)) < 0)
		bench_die("connect");
	if (setsockopt(fd[1], SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue)) < 0)
		(void)setsockopt(fd[1], SOL_SOCKET, SO_RCVBUF, &queue, sizeof(queue));
	*ret_from = fd[0];
	*ret_to = fd[1];
}

static void prepare(unsigned int bytes)
{
	memset(header, 0, sizeof(header));
	memset(message, 0, sizeof(message));
	for (unsigned int i = 0; i < BATCH_MAX; i++) {
		vector[i].iov_base = message[i].data = payload[i];
		vector[i].iov_len = message[i].length = bytes;
		header[i].msg_hdr.msg_iov = &vector[i];
		header[i].msg_hdr.msg_iovlen = 1;
	}
}

/* ---- loops by hand ----------------------------------------------------------------------------- */

static void hand_sendmmsg(const struct test *t)
{
	if (sendmmsg(t->fd, header, t->batch, 0) != (int)t->batch)
		bench_die("sendmmsg");
}

static void hand_gso(const struct test *t)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(uint16_t))];
	} control = { .align = { .cmsg_level = IPPROTO_UDP,
				 .cmsg_type = UDP_SEGMENT,
				 .cmsg_len = CMSG_LEN(sizeof(uint16_t)) } };
	const uint16_t unit = (uint16_t)t->bytes;
	unsigned int most = 65507 / t->bytes;

	most = most < 64 ? most : 64;
	memcpy(CMSG_DATA(&control.align), &unit, sizeof(unit));
	for (unsigned int at = 0; at < t->batch; at += most) {
		struct msghdr one = { .msg_iov = &vector[at],
				      .msg_control = &control,
				      .msg_controllen = sizeof(control.room) };

		one.msg_iovlen = t->batch - at < most ? t->batch - at : most;
		if (sendmsg(t->fd, &one, 0) < 0)
			bench_die("sendmsg");
	}
}

static unsigned int hand_recvmmsg(const struct test *t)
{
	int n = recvmmsg(t->fd, header, t->batch, MSG_DONTWAIT, NULL);

	return n > 0 ? (unsigned int)n : 0;
}

/* What came joined is separated, as whoever wants datagrams must do. */
static unsigned int hand_gro(const struct test *t)
{
	static uint8_t room[65536];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { room, sizeof(room) };
	struct msghdr one = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control.room) };
	ssize_t n = recvmsg(t->fd, &one, MSG_DONTWAIT);
	unsigned int count = 0;

	for (ssize_t at = 0; at < n; at += t->bytes)
		memcpy(payload[count++], room + at, t->bytes);
	return count;
}

/* ---- the same by taio -------------------------------------------------------------------------- */

static struct taio_event by_taio(const struct test *t, int sends, uint64_t pin)
{
	struct taio_options options = { .size = sizeof(options), .pin = pin };
	struct taio_endpoint socket = taio_descriptor(t->fd);
	struct taio_event event;
	int rc;

	if (sends)
		rc = taio_schedule_send_messages(engine, message, t->batch, &socket, &options, 1);
	else
		rc = taio_schedule_receive_messages(engine, &socket, message, t->batch, &options,
						    1);
	if (rc || taio_get_events(engine, &event, 1, 1, 10000000000LL) != 1 || event.result < 0)
		bench_die("taio");
	return event;
}

/* ---- rows -------------------------------------------------------------------------------------- */

/* Ways 0 and 1 are loops by hand, the others taio: on the device that does what 0, 1 do, and free. */
enum {
	HAND_PLAIN,
	HAND_JOINED,
	TAIO_DGRAM,
	TAIO_GSO,
	TAIO_FREE,
	WAYS
};

struct way {
	uint64_t pin, devices;
	struct bench_series series;
};

static const char *const hand_name[2][2] = { { "sendmmsg", "UDP_SEGMENT" },
					     { "recvmmsg", "UDP_GRO" } };

static void ways_init(struct way *way)
{
	memset(way, 0, WAYS * sizeof(*way));
	if (taio_device_mask(engine, "dgram", &way[TAIO_DGRAM].pin) ||
	    taio_device_mask(engine, "gso", &way[TAIO_GSO].pin))
		bench_die("taio_device_mask");
}

static void device_names(uint64_t mask, char *text, size_t size)
{
	size_t len = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < 64; i++)
		if (mask >> i & 1 && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? "," : "",
						taio_device_name(engine, i));
}

static void print_row(const struct test *t, int receives, const struct way *way, int mine,
		      int theirs, unsigned int count)
{
	const double own = bench_median(&way[mine].series) / count;
	const double peer = bench_median(&way[theirs].series) / count;
	char devices[64];

	if (way[mine].series.count == 0 || way[theirs].series.count == 0)
		return;
	device_names(way[mine].devices, devices, sizeof(devices));
	printf("{\"bench\":\"messages\",\"direction\":\"%s\",\"payload\":%u,\"batch\":%u,"
	       "\"contender\":\"%s\",\"peer\":\"%s\",\"taio_ns\":%.0f,\"peer_ns\":%.0f,"
	       "\"ratio\":%.3f,\"devices\":\"%s\"}\n",
	       receives ? "receive" : "send", t->bytes, t->batch,
	       mine == TAIO_FREE  ? "taio"
	       : mine == TAIO_GSO ? "gso"
				  : "dgram",
	       hand_name[receives][theirs], own, peer, peer / own, devices);
	fflush(stdout);
}

static void print_rows(const struct test *t, int receives, const struct way *way,
		       unsigned int count)
{
	int best = HAND_PLAIN;

	print_row(t, receives, way, TAIO_DGRAM, HAND_PLAIN, count);
	print_row(t, receives, way, TAIO_GSO, HAND_JOINED, count);
	if (way[HAND_JOINED].series.count &&
	    (!way[HAND_PLAIN].series.count ||
	     bench_median(&way[HAND_JOINED].series) < bench_median(&way[HAND_PLAIN].series)))
		best = HAND_JOINED;
	print_row(t, receives, way, TAIO_FREE, best, count);
}

static void send_round(const struct test *t, struct way *way, int i, unsigned int count)
{
	for (unsigned int sent = 0; sent < count; sent += t->batch) {
		if (i == HAND_PLAIN)
			hand_sendmmsg(t);
		else if (i == HAND_JOINED)
			hand_gso(t);
		else
			way[i].devices |= by_taio(t, 1, way[i].pin).devices;
	}
}

static void bench_send(unsigned int bytes, unsigned int batch, unsigned int rounds)
{
	const unsigned int count = SEND_COUNT / batch * batch;
	struct test t = { .bytes = bytes, .batch = batch };
	struct way way[WAYS];
	int sink;

	udp_pair(1, &t.fd, &sink);
	prepare(bytes);
	ways_init(way);
	for (unsigned int round = 0; round < rounds + 3; round++)
		for (int i = 0; i < WAYS; i++) {
			uint64_t start;

			if (batch == 1 && (i == HAND_JOINED || i == TAIO_GSO))
				continue; /* nothing to join */
			start = cpu_ns();
			send_round(&t, way, i, count);
			if (round >= 3)
				bench_add(&way[i].series, (double)(cpu_ns() - start));
		}
	print_rows(&t, 0, way, count);
	close(t.fd);
	close(sink);
}

/* Fills the queue; @joined: with packets that the receiver's UDP_GRO leaves together. */
static void fill(const struct test *t, int fd, int joined)
{
	struct test sender = { .fd = fd, .bytes = t->bytes, .batch = 64 };

	prepare(t->bytes);
	for (unsigned int i = 0; i < QUEUE_COUNT / 64; i++) {
		if (joined)
			hand_gso(&sender);
		else
			hand_sendmmsg(&sender);
	}
	prepare(ROOM);
}

static void bench_receive(unsigned int bytes, unsigned int batch, unsigned int rounds, int joined)
{
	struct test t = { .bytes = bytes, .batch = batch };
	struct way way[WAYS];
	int from;

	udp_pair(QUEUE_BYTES, &from, &t.fd);
	if (setsockopt(t.fd, IPPROTO_UDP, UDP_GRO, &joined, sizeof(joined)) < 0 && joined)
		return;
	ways_init(way);
	for (unsigned int round = 0; round < rounds + 3; round++)
		for (int i = 0; i < WAYS; i++) {
			unsigned int got = 0;
			uint64_t start;

			/* a socket joins for all of its readers, or for none */
			if (joined ? i == HAND_PLAIN || i == TAIO_DGRAM
				   : i == HAND_JOINED || i == TAIO_GSO)
				continue;
			fill(&t, from, joined);
			start = cpu_ns();
			while (got < QUEUE_COUNT) {
				struct taio_event event;
				unsigned int n;

				if (i == HAND_PLAIN) {
					n = hand_recvmmsg(&t);
				} else if (i == HAND_JOINED) {
					n = hand_gro(&t);
				} else {
					event = by_taio(&t, 0, way[i].pin);
					way[i].devices |= event.devices;
					n = event.messages;
				}
				if (n == 0) {
					errno = ENOBUFS;
					bench_die("net.core.rmem_max is too small for this");
				}
				got += n;
			}
			if (round >= 3)
				bench_add(&way[i].series, (double)(cpu_ns() - start));
		}
	print_rows(&t, 1, way, QUEUE_COUNT);
	close(from);
	close(t.fd);
}

int main(int argc, char **argv)
{
	static const unsigned int sizes[] = { 64, 512, 1400 }, batches[] = { 1, 8, 32, 256 };
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_MAY_BLOCK };
	const unsigned int rounds = bench_is_quick(argc, argv) ? 7 : 21;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* with one CPU: as it is */
	if (taio_open(&engine, &options))
		bench_die("taio_open");
	for (unsigned int s = 0; s < 3; s++)
		for (unsigned int b = 0; b < 4; b++)
			bench_send(sizes[s], batches[b], rounds);
	for (unsigned int s = 0; s < 3; s++)
		for (unsigned int b = 0; b < 4; b++)
			bench_receive(sizes[s], batches[b], rounds, 0);
	for (unsigned int b = 2; b < 4; b++)
		bench_receive(1400, batches[b], rounds, 1);
	taio_close(engine);
	return 0;
}
