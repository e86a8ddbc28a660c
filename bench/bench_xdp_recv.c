/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_xdp_recv.c: what receiving a datagram costs, between two hosts over a veth pair: loops of
 * recvmmsg(64) without and with UDP_GRO, io_uring's multishot recv, and a bare AF_XDP loop, beside
 * the devices dgram and afxdp of taio (to nowhere, so that no write is in the figure). A kernel
 * sender on CPU 0 sends as fast as it can; the figure is the processor time of the receiving thread,
 * on CPU 1, by the datagrams that it got. What is done in softirqs is counted where it runs, as
 * everywhere. Then the round trip of one datagram of 64 bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>

#include "netns.h"
#include "lib.h"
#include "taio.h"
#include "xdp/inlet.h"

#ifndef UDP_GRO /* glibc has it since 2.35 */
#define UDP_GRO 104
#endif

#define PORT        5000
#define BATCH       64
#define BUFFERS     1024
#define BUFFER      2048
#define QUEUE_BYTES (64 << 20)

static struct netns net;
static uint64_t wanted = 200000; /* datagrams of a run */
static size_t payload;
static atomic_bool stop;

static uint64_t cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* with one CPU: as it is */
}

static struct sockaddr_in address(int host, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };

	at.sin_addr.s_addr = htonl(0x0a630000u | (uint32_t)host); /* 10.99.0.x */
	return at;
}

static int socket_on(int ns, int host, uint16_t port, int peer, uint16_t peer_port)
{
	struct sockaddr_in self = address(host, port), other = address(peer, peer_port);
	const int bytes = QUEUE_BYTES;
	int fd;

	if (!netns_enter(ns))
		bench_die("setns");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 ||
	    (peer && connect(fd, (struct sockaddr *)&other, sizeof(other)) < 0))
		bench_die("socket");
	if (!netns_enter(net.a))
		bench_die("setns");
	return fd;
}

/* ---- the sender ------------------------------------------------------------------------------ */

static void *sender_main(void *arg)
{
	static char data[BATCH][BUFFER];
	struct mmsghdr msg[BATCH] = { 0 };
	struct iovec iov[BATCH];
	const int fd = *(int *)arg;

	run_on_cpu(0);
	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ data[i], payload };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	while (!atomic_load(&stop))
		(void)sendmmsg(fd, msg, BATCH, 0);
	return NULL;
}

/* ---- contenders: receive @wanted datagrams. Return: how many ------------------------------------ */

static uint64_t by_recvmmsg(int fd)
{
	static char data[BATCH][65536];
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	uint64_t bytes = 0;

	while (bytes < wanted * payload) {
		int n;

		memset(msg, 0, sizeof(msg));
		for (unsigned int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){ data[i], sizeof(data[i]) };
			msg[i].msg_hdr.msg_iov = &iov[i];
			msg[i].msg_hdr.msg_iovlen = 1;
		}
		n = recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			bytes += msg[i].msg_len;
	}
	return bytes / payload;
}

static uint64_t by_gro(int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) < 0)
		bench_die("UDP_GRO");
	return by_recvmmsg(fd);
}

static uint64_t by_multishot(int fd)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN };
	struct io_uring_buf_reg reg = { .ring_entries = BUFFERS };
	struct io_uring_buf_ring *buffers = NULL;
	static char data[BUFFERS][BUFFER];
	struct io_uring ring;
	uint64_t got = 0;
	bool armed = false;

	if (posix_memalign((void **)&buffers, 4096, BUFFERS * sizeof(struct io_uring_buf)) ||
	    io_uring_queue_init_params(256, &ring, &params) < 0)
		bench_die("io_uring");
	reg.ring_addr = (uintptr_t)buffers;
	if (io_uring_register_buf_ring(&ring, &reg, 0) < 0)
		bench_die("buffers of io_uring");
	io_uring_buf_ring_init(buffers);
	for (int i = 0; i < BUFFERS; i++)
		io_uring_buf_ring_add(buffers, data[i], BUFFER, (unsigned short)i,
				      io_uring_buf_ring_mask(BUFFERS), i);
	io_uring_buf_ring_advance(buffers, BUFFERS);
	while (got < wanted) {
		struct io_uring_cqe *cqe;
		unsigned int head, seen = 0, back = 0;

		if (!armed) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

			io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
			sqe->flags |= IOSQE_BUFFER_SELECT;
			armed = true;
		}
		(void)io_uring_submit_and_wait(&ring, 1);
		io_uring_for_each_cqe(&ring, head, cqe)
		{
			seen++;
			armed = cqe->flags & IORING_CQE_F_MORE;
			if (cqe->res < 0)
				continue;
			got++;
			io_uring_buf_ring_add(
				buffers, data[cqe->flags >> IORING_CQE_BUFFER_SHIFT], BUFFER,
				(unsigned short)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
				io_uring_buf_ring_mask(BUFFERS), (int)back++);
		}
		io_uring_buf_ring_advance(buffers, (int)back);
		io_uring_cq_advance(&ring, seen);
	}
	io_uring_queue_exit(&ring);
	free(buffers);
	return got;
}

/* An AF_XDP socket and nothing else: frames of the flow are looked at and given back. */
static struct xdp_inlet *inlet_get(struct xdp_inflow **ret)
{
	struct taio_xdp_key key = { 0 };
	struct sockaddr_in self = address(1, PORT);
	struct xdp_inlet *inlet;
	char why[160] = "";

	if (xdp_inlet_open(&inlet, if_nametoindex("va"), why, sizeof(why)))
		bench_die(why);
	key.to[10] = key.to[11] = 0xff;
	memcpy(key.to + 12, &self.sin_addr, 4);
	key.to_port = self.sin_port;
	if (xdp_inflow_open(ret, inlet, &key))
		bench_die("flow");
	xdp_inflow_take(*ret, true);
	return inlet;
}

static uint64_t inlet_take(struct xdp_inlet *inlet, struct xdp_inflow *flow)
{
	struct iovec iov[256];
	uint64_t bytes, got = 0;

	(void)xdp_inlet_poll(inlet);
	while (xdp_inflow_look(flow, iov, 256, UINT64_MAX, false, &bytes)) {
		got += xdp_inflow_took(flow, bytes);
		xdp_inlet_refill(inlet);
	}
	return got;
}

static uint64_t by_inlet(struct xdp_inlet *inlet, struct xdp_inflow *flow)
{
	struct pollfd ready = { .fd = xdp_inlet_fd(inlet, 0), .events = POLLIN };
	uint64_t got = 0;

	while (got < wanted) {
		(void)poll(&ready, 1, 1000);
		got += inlet_take(inlet, flow);
	}
	return got;
}

/* ---- a run ------------------------------------------------------------------------------------- */

enum contender {
	RECVMMSG,
	GRO,
	MULTISHOT,
	BARE,
	TAIO_DGRAM,
	TAIO_AFXDP,
	CONTENDERS
};
static const char *const names[CONTENDERS] = { "recvmmsg",    "UDP_GRO",    "io_uring multishot",
					       "bare AF_XDP", "taio dgram", "taio afxdp" };

static uint64_t taken_ns; /* when the device said that it takes the flow */

static void listen_to(void *arg, const char *line)
{
	(void)arg;
	if (strstr(line, "afxdp receives"))
		taken_ns = bench_now_ns();
	if (getenv("BENCH_VERBOSE"))
		fprintf(stderr, "%s\n", line);
}

/* The claim takes its time; what is measured is the steady state. */
static uint64_t by_taio(bool afxdp, uint64_t *ret_cpu, uint64_t *ret_ns)
{
	struct taio_engine_options how = { .size = sizeof(how),
					   .flags = TAIO_MAY_BLOCK | TAIO_NO_CACHE | TAIO_NO_BPF,
					   .log = listen_to,
					   .pin = afxdp ? "afxdp" : "dgram" };
	struct taio_endpoint from = taio_address("listen:10.99.0.1:5000:udp"), to = taio_null();
	struct taio_options options = { .size = sizeof(options) };
	const uint64_t bytes = wanted * payload;
	uint64_t progress = 0, started = 0, cpu = 0, ns = 0;
	struct taio_event event;
	struct taio *engine;

	options.progress = &progress;
	options.length = 1ULL << 50;
	if (taio_open(&engine, &how) || taio_copy(engine, &from, &to, &options, 1))
		bench_die("taio");
	taken_ns = afxdp ? UINT64_MAX : bench_now_ns();
	while (!started || progress < started + bytes) {
		(void)taio_get_events(engine, &event, 1, 1, 1000000);
		if (!started && taken_ns != UINT64_MAX && bench_now_ns() > taken_ns + 300000000) {
			started = progress;
			cpu = cpu_ns();
			ns = bench_now_ns();
		}
	}
	*ret_cpu = cpu_ns() - cpu;
	*ret_ns = bench_now_ns() - ns;
	(void)taio_cancel(engine, 1);
	(void)taio_get_events(engine, &event, 1, 1, -1);
	taio_close(engine);
	return (progress - started) / payload;
}

static void run(enum contender who, double *ret_cpu, double *ret_rate)
{
	const bool by_hand = who < TAIO_DGRAM;
	struct xdp_inlet *inlet = NULL;
	struct xdp_inflow *flow = NULL;
	uint64_t got, cpu, ns;
	int from = socket_on(net.b, 2, 4000, 1, PORT), fd = -1;
	pthread_t thread;

	if (by_hand)
		fd = socket_on(net.a, 1, PORT, 2, 4000);
	if (who == BARE)
		inlet = inlet_get(&flow);
	atomic_store(&stop, false);
	if (pthread_create(&thread, NULL, sender_main, &from))
		bench_die("thread");
	cpu = cpu_ns();
	ns = bench_now_ns();
	got = who == RECVMMSG    ? by_recvmmsg(fd)
	      : who == GRO       ? by_gro(fd)
	      : who == MULTISHOT ? by_multishot(fd)
	      : who == BARE      ? by_inlet(inlet, flow)
				 : 0;
	cpu = cpu_ns() - cpu;
	ns = bench_now_ns() - ns;
	if (!by_hand)
		got = by_taio(who == TAIO_AFXDP, &cpu, &ns);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	if (flow)
		xdp_inflow_close(flow);
	xdp_inlet_close(inlet);
	close(from);
	if (fd >= 0)
		close(fd);
	*ret_cpu = (double)cpu / (double)got;
	*ret_rate = (double)got * 1e9 / (double)ns;
}

/* ---- round trips --------------------------------------------------------------------------------- */

static void *echo_main(void *arg)
{
	const int fd = *(int *)arg;
	char data[64];

	run_on_cpu(0);
	while (!atomic_load(&stop)) {
		ssize_t n = recv(fd, data, sizeof(data), 0);

		if (n > 0)
			(void)send(fd, data, (size_t)n, 0);
	}
	return NULL;
}

static void trips(const char *name, bool frames, bool spins, unsigned int count)
{
	struct bench_series series = { 0 };
	struct xdp_inlet *inlet = NULL;
	struct xdp_inflow *flow = NULL;
	int echo = socket_on(net.b, 2, 4000, 1, PORT), fd = socket_on(net.a, 1, PORT, 2, 4000);
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	pthread_t thread;
	char data[64] = { 0 };

	if (frames) {
		inlet = inlet_get(&flow);
		ready.fd = xdp_inlet_fd(inlet, 0);
	}
	atomic_store(&stop, false);
	if (pthread_create(&thread, NULL, echo_main, &echo))
		bench_die("thread");
	for (unsigned int block = 0; block < BENCH_ROUNDS_MAX; block++) {
		uint64_t best = UINT64_MAX;

		for (unsigned int i = 0; i < count; i++) {
			uint64_t start = bench_now_ns();

			(void)send(fd, data, sizeof(data), 0);
			for (bool came = false; !came;) {
				if (!spins)
					(void)poll(&ready, 1, 1000);
				came = frames ? inlet_take(inlet, flow) > 0
					      : recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0;
			}
			start = bench_now_ns() - start;
			best = start < best ? start : best;
		}
		bench_add(&series, (double)best);
	}
	atomic_store(&stop, true);
	(void)send(fd, data, sizeof(data), 0);
	pthread_join(thread, NULL);
	printf("{\"bench\":\"xdp_recv\",\"case\":\"round trip, 64 B\",\"who\":\"%s\","
	       "\"p50_us\":%.2f,\"p99_us\":%.2f}\n",
	       name, bench_percentile(&series, 50) / 1000, bench_percentile(&series, 99) / 1000);
	if (flow)
		xdp_inflow_close(flow);
	xdp_inlet_close(inlet);
	close(fd);
	close(echo);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64, 512, 1400 };
	const bool fast = bench_is_quick(argc, argv);
	const unsigned int rounds = fast ? 1 : 5;
	const char *why = netns_why_not();

	if (why || !netns_make(&net, 1500, 1)) {
		printf("{\"bench\":\"xdp_recv\",\"skipped\":\"%s\"}\n",
		       why ? why : "no namespaces");
		return 0;
	}
	if (fast)
		wanted = 50000;
	run_on_cpu(1);
	for (unsigned int s = 0; s < 3; s++) {
		struct bench_series cpu[CONTENDERS] = { 0 }, rate[CONTENDERS] = { 0 };

		payload = sizes[s];
		for (unsigned int i = 0; i < rounds; i++) {
			for (unsigned int c = 0; c < CONTENDERS; c++) {
				double ns, per_s;

				run((enum contender)c, &ns, &per_s);
				bench_add(&cpu[c], ns);
				bench_add(&rate[c], per_s);
			}
		}
		for (unsigned int c = 0; c < CONTENDERS; c++)
			printf("{\"bench\":\"xdp_recv\",\"case\":\"%zu B\",\"who\":\"%s\","
			       "\"cpu_ns\":%.0f,\"per_s\":%.0f,\"of_recvmmsg\":%.2f}\n",
			       payload, names[c], bench_median(&cpu[c]), bench_median(&rate[c]),
			       bench_median(&cpu[RECVMMSG]) / bench_median(&cpu[c]));
		fflush(stdout);
	}
	trips("socket, waiting", false, false, 1);
	trips("frames, waiting", true, false, 1);
	trips("socket, spinning", false, true, 1);
	trips("frames, spinning", true, true, 1);
	netns_release(&net);
	return 0;
}
