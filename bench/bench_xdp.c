/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_xdp.c: datagrams to another host past the kernel's stack. Two hosts in network namespaces of
 * their own, a veth pair of two queues between them, native drop at the far end: the frames are for
 * nobody there and go no further than its ip_rcv(), so that a figure is the sender's cost and the
 * way over the pair.
 *
 * Sending, processor time of the thread for each datagram, softirq work in its context included:
 * the device afxdp (batches of messages) beside a bare loop on an AF_XDP socket that builds the same
 * frames, sendmmsg, UDP_SEGMENT, io_uring send and send_zc, and taio's own choice. Contenders take
 * turns; medians. All make UDP checksums the same way where they make them at all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#include "../tests/netns.h"
#include "lib.h"
#include "xdp/port.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define BATCH_MAX 256U
#define CALL_MAX  32U /* of a batch in one system call, where it makes one for many */
#define PORT      7100

enum way_number {
	OURS,
	BARE,
	MMSG,
	GSO,
	URING,
	SEND_ZC,
	CHOICE,
	WAYS
};

static const char *const way_name[WAYS] = { "afxdp",    "bare AF_XDP", "sendmmsg",   "UDP_SEGMENT",
					    "io_uring", "send_zc",     "taio choice" };

struct way {
	struct bench_series cpu, wall; /* ns of a datagram */
	bool absent;
};

static struct taio *engine;
static uint64_t only_afxdp;
static uint8_t *payload;
static struct taio_message message[BATCH_MAX];
static struct xdp_port bare;
static struct frame_flow bare_flow;
static struct io_uring uring;
static int fd;

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- contenders: each sends one batch ---------------------------------------------------------- */

static void send_ours(unsigned int batch, uint64_t pin)
{
	const struct taio_options options = { .size = sizeof(options), .pin = pin };
	const struct taio_endpoint to = taio_descriptor(fd);
	struct taio_event event;

	if (taio_schedule_send_messages(engine, message, batch, &to, &options, 1) ||
	    taio_get_events(engine, &event, 1, 1, -1) != 1 || event.messages != batch)
		bench_die("taio");
}

/* As an AF_XDP program by hand would do it. */
static void send_bare(unsigned int batch, size_t bytes)
{
	uint32_t used = 0;

	xdp_port_collect(&bare);
	while (bare.free_count < batch) {
		(void)xsk_kick(&bare.xsk);
		xdp_port_collect(&bare);
	}
	for (unsigned int i = 0; i < batch; i++)
		used += xdp_port_put(&bare, &bare_flow, used, payload, bytes);
	xsk_ring_submit(&bare.xsk.tx, used);
	while (xsk_tx_pending(&bare.xsk))
		(void)xsk_kick(&bare.xsk);
}

static void send_mmsg(unsigned int batch, size_t bytes)
{
	struct mmsghdr hdr[BATCH_MAX];
	struct iovec iov = { payload, bytes };

	memset(hdr, 0, batch * sizeof(hdr[0]));
	for (unsigned int i = 0; i < batch; i++) {
		hdr[i].msg_hdr.msg_iov = &iov;
		hdr[i].msg_hdr.msg_iovlen = 1;
	}
	if (sendmmsg(fd, hdr, batch, 0) != (int)batch)
		bench_die("sendmmsg");
}

static void send_gso(unsigned int batch, size_t bytes)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(uint16_t))];
	} control;
	const uint16_t segment = (uint16_t)bytes;
	struct iovec iov[BATCH_MAX];
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = batch };
	struct cmsghdr *head;

	for (unsigned int i = 0; i < batch; i++)
		iov[i] = (struct iovec){ payload, bytes };
	if (batch > 1) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.room);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = IPPROTO_UDP;
		head->cmsg_type = UDP_SEGMENT;
		head->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(head), &segment, sizeof(segment));
	}
	if (sendmsg(fd, &msg, 0) != (ssize_t)(batch * bytes))
		bench_die("sendmsg with UDP_SEGMENT");
}

static void send_uring(unsigned int batch, size_t bytes, bool zero_copy)
{
	unsigned int left = zero_copy ? 2 * batch : batch;

	for (unsigned int i = 0; i < batch; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&uring);

		if (zero_copy)
			io_uring_prep_send_zc_fixed(sqe, 0, payload, bytes, 0, 0, 0);
		else
			io_uring_prep_send(sqe, 0, payload, bytes, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	io_uring_submit_and_wait(&uring, batch);
	while (left > 0) {
		struct io_uring_cqe *cqe;

		if (io_uring_wait_cqe(&uring, &cqe))
			bench_die("io_uring");
		if (!(cqe->flags & IORING_CQE_F_NOTIF) && cqe->res != (int)bytes)
			bench_die("io_uring send");
		/* no notification will follow */
		if (zero_copy && !(cqe->flags & (IORING_CQE_F_NOTIF | IORING_CQE_F_MORE)))
			left--;
		left--;
		io_uring_cqe_seen(&uring, cqe);
	}
}

static void send_call(enum way_number way, unsigned int batch, size_t bytes)
{
	switch (way) {
	case BARE:
		send_bare(batch, bytes);
		break;
	case MMSG:
		send_mmsg(batch, bytes);
		break;
	case GSO:
		send_gso(batch, bytes);
		break;
	default:
		send_uring(batch, bytes, way == SEND_ZC);
	}
}

static void send_batch(enum way_number way, unsigned int batch, size_t bytes)
{
	if (way == OURS || way == CHOICE) {
		send_ours(batch, way == OURS ? only_afxdp : 0);
		return;
	}
	for (unsigned int at = 0; at < batch; at += CALL_MAX)
		send_call(way, batch < CALL_MAX ? batch : CALL_MAX, bytes);
}

/* ---- the hosts --------------------------------------------------------------------------------- */

static void make_bare(void)
{
	struct frame_address from = { .mac = { 2, 0, 0, 0, 0x0a, 1 }, .port = htons(PORT + 1) };
	struct frame_address to = { .mac = { 2, 0, 0, 0, 0x0b, 0xff }, .port = htons(PORT) };
	const struct frame_options options = { .ttl = 0 };
	struct netroute_link link;
	struct netroute *route;
	char reason[160];

	if (netroute_open(&route) || netroute_link(route, if_nametoindex("va"), &link) ||
	    xdp_port_open(&bare, &link, reason, sizeof(reason)))
		bench_die("an AF_XDP socket");
	netroute_close(route);
	inet_pton(AF_INET, "10.99.0.1", from.ip);
	inet_pton(AF_INET, "10.99.0.2", to.ip);
	frame_flow_init(&bare_flow, AF_INET, &from, &to, &options);
}

static void make_socket(void)
{
	struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	const int room = 64 << 20;

	inet_pton(AF_INET, "10.99.0.2", &peer.sin_addr);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		bench_die("a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
}

static void make_uring(void)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN };
	const struct iovec iov = { payload, 4096 };

	if (io_uring_queue_init_params(256, &uring, &params) ||
	    io_uring_register_files(&uring, &fd, 1) || io_uring_register_buffers(&uring, &iov, 1))
		bench_die("an io_uring");
}

static void make_engine(void)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .requests = 16,
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE |
							      TAIO_NO_CONTROL | TAIO_NO_WORKERS };

	if (taio_open(&engine, &options) || taio_device_mask(engine, "afxdp", &only_afxdp))
		bench_die("an engine");
}

static void run_on_first_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* ---- turns ------------------------------------------------------------------------------------- */

static void one_turn(struct way *way, enum way_number number, unsigned int batch, size_t bytes,
		     unsigned int count)
{
	const uint64_t cpu = cpu_ns(), wall = bench_now_ns();

	for (unsigned int i = 0; i < count / batch; i++)
		send_batch(number, batch, bytes);
	bench_add(&way->cpu, (double)(cpu_ns() - cpu) / (count / batch * batch));
	bench_add(&way->wall, (double)(bench_now_ns() - wall) / (count / batch * batch));
}

static void print_rows(const struct way *way, unsigned int batch, size_t bytes)
{
	const double ours = bench_median(&way[OURS].cpu);

	for (int i = 0; i < WAYS; i++) {
		const double cpu = bench_median(&way[i].cpu), wall = bench_median(&way[i].wall);

		printf("{\"bench\":\"xdp\",\"direction\":\"send\",\"payload\":%zu,\"batch\":%u,"
		       "\"contender\":\"%s\",\"cpu_ns\":%.0f,\"kpps\":%.0f,\"cpu_over_afxdp\":%.2f}\n",
		       bytes, batch, way_name[i], cpu, 1e6 / wall, cpu / ours);
	}
	fflush(stdout);
}

static void bench_send(unsigned int batch, size_t bytes, unsigned int rounds, unsigned int count)
{
	struct way way[WAYS];

	memset(way, 0, sizeof(way));
	for (unsigned int i = 0; i < BATCH_MAX; i++) {
		message[i].data = payload;
		message[i].length = (uint32_t)bytes;
	}
	for (unsigned int i = 0; i < 2000; i++)
		send_batch(CHOICE, batch, bytes); /* it learns */
	for (unsigned int round = 0; round < rounds; round++)
		for (int i = 0; i < WAYS; i++)
			one_turn(&way[i], (enum way_number)i, batch, bytes, count);
	print_rows(way, batch, bytes);
}

int main(int argc, char **argv)
{
	static const unsigned int batches[] = { 1, 8, 32, 256 };
	static const size_t sizes[] = { 64, 512, 1400 };
	const bool quick = bench_is_quick(argc, argv);
	const char *why = netns_why_not();
	struct netns net;

	if (why) {
		fprintf(stderr, "bench: xdp: %s\n", why);
		return 0;
	}
	run_on_first_cpu();
	if (!netns_make(&net, 1500, 2) ||
	    !netns_run("ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:ff nud permanent"))
		bench_die("network namespaces");
	payload = calloc(1, 4096);
	make_socket();
	make_uring();
	make_engine();
	send_ours(1, only_afxdp); /* it takes the first queue */
	make_bare();
	for (unsigned int s = 0; s < 3; s++)
		for (unsigned int b = 0; b < 4; b++)
			bench_send(batches[b], sizes[s], quick ? 3 : 9, quick ? 3200 : 16000);
	taio_close(engine);
	xdp_port_close(&bare);
	netns_release(&net);
	return 0;
}
