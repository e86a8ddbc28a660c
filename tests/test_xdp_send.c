/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_xdp_send.c: the device "afxdp" through the public calls, on a veth pair between two hosts,
 * with plain UDP sockets at the other end: what it sends arrives, what would not arrive goes through
 * the socket, and no chunk of its memory is ever lost.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/xdp.h"
#include "engine/engine.h"
#include "netns.h"
#include "taio.h"

#define PORT  7009
#define BYTES 300001U
#define BATCH 64U

static struct netns net = { .a = -1, .b = -1, .life = -1 };
static struct taio *engine;
static char lines[8192]; /* what the engine logged */
static uint8_t data[BYTES], got[BYTES + 65536];

static void keep_line(void *arg, const char *line)
{
	size_t used = strlen(lines);

	(void)arg;
	snprintf(lines + used, sizeof(lines) - used, "%s\n", line);
}

static void start_engine(const char *pin)
{
	const struct taio_engine_options options = { .size = sizeof(options),
						     .flags = TAIO_NO_BPF | TAIO_NO_CACHE |
							      TAIO_NO_CONTROL,
						     .pin = pin,
						     .log = keep_line };

	cr_assert_eq(taio_open(&engine, &options), 0);
}

static struct xdp *device(void)
{
	const int number = device_number(engine, "afxdp");

	cr_assert_geq(number, 0);
	return engine->device[number].opened ? engine->device[number].priv : NULL;
}

/* The neighbour on @link is known. */
static void warm(void)
{
	cr_assert(netns_run("ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:02 && "
			    "ip neigh replace fd99::2 dev va lladdr 02:00:00:00:0b:02"));
}

static void end(void);

static void begin_with(unsigned int mtu, unsigned int queues)
{
	const char *why = netns_why_not();

	if (engine)
		end(); /* the suite has begun it already, in its own way */
	if (why)
		cr_skip_test("%s", why);
	if (!netns_make(&net, mtu, queues))
		cr_skip_test("namespaces with a veth pair cannot be made");
	for (size_t i = 0; i < BYTES; i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	start_engine(NULL);
	warm();
}

static void begin(void)
{
	begin_with(1500, 1);
}

/* Every chunk of every interface is free or with the kernel. */
static void check_chunks(void)
{
	struct xdp *xdp = device();

	for (unsigned int i = 0; xdp && i < XDP_PORTS; i++) {
		struct xdp_port *port = &xdp->place[i].port;

		if (!xdp->place[i].open)
			continue;
		for (int k = 0; k < 500 && port->out && !port->error; k++) {
			xdp_port_collect(port);
			(void)poll(NULL, 0, k < 10 ? 0 : 10);
		}
		cr_assert(xdp_port_is_whole(port), "%u free, %u out", port->free_count, port->out);
		cr_assert(port->out == 0 || port->error, "%u did not come back", port->out);
		cr_assert_eq(xdp->place[i].users, 0);
	}
}

static void end(void)
{
	if (engine) {
		check_chunks();
		cr_assert_eq(taio_pending(engine), 0u);
		taio_close(engine);
	}
	engine = NULL;
	netns_release(&net);
}

TestSuite(xdp_send, .init = begin, .fini = end, .timeout = 60);

/* ---- words ----------------------------------------------------------------------------------- */

static socklen_t address_of(int family, int host, uint16_t port, struct sockaddr_storage *ret)
{
	struct frame_address address = { .port = htons(port) };
	char text[32];

	snprintf(text, sizeof(text), family == AF_INET ? "10.99.0.%d" : "fd99::%d", host);
	inet_pton(family, text, address.ip);
	return frame_sockaddr(family, &address, ret);
}

static int receiver_at(int family, uint16_t port)
{
	const struct timeval limit = { .tv_sec = 10 };
	const int room = 64 << 20;
	struct sockaddr_storage self;
	socklen_t size = address_of(family, 2, port, &self);
	int fd;

	cr_assert(netns_enter(net.b));
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&self, size), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	cr_assert(netns_enter(net.a));
	return fd;
}

static int receiver(int family)
{
	return receiver_at(family, PORT);
}

/* Connected to a port of b. */
static int sender_to(int family, int host, uint16_t port)
{
	struct sockaddr_storage peer;
	socklen_t size = address_of(family, host, port, &peer);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&peer, size), 0, "%d", errno);
	return fd;
}

static int sender(int family)
{
	return sender_to(family, 2, PORT);
}

static struct taio_event take_event(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, 30000000000), 1, "no event\n%s", lines);
	return event;
}

static uint64_t only(const char *names)
{
	uint64_t mask;

	cr_assert_eq(taio_device_mask(engine, names, &mask), 0);
	return mask;
}

static struct taio_event copy_from(struct taio_endpoint from, int fd, uint32_t unit,
				   const char *pin)
{
	struct taio_options options = { .size = sizeof(options),
					.datagram = unit,
					.timeout_ns = 20000000000,
					.pin = pin ? only(pin) : 0 };
	struct taio_endpoint to = taio_descriptor(fd);

	cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0, "%s", taio_refusal(engine));
	return take_event();
}

static struct taio_event copy_bytes(int fd, size_t bytes, uint32_t unit, const char *pin)
{
	return copy_from(taio_memory(data, bytes), fd, unit, pin);
}

static bool ran_on(const struct taio_event *event, const char *name)
{
	return event->device != 255 && strcmp(taio_device_name(engine, event->device), name) == 0;
}

/* Datagrams of @unit are the first @bytes of data. */
static void must_get(int fd, size_t bytes, uint32_t unit)
{
	size_t at = 0;

	while (at < bytes) {
		ssize_t n = recv(fd, got, sizeof(got), 0);

		cr_assert_gt(n, 0, "after %zu bytes: %d\n%s", at, errno, lines);
		cr_assert_leq(at + (size_t)n, bytes);
		cr_assert(n == (ssize_t)unit || at + (size_t)n == bytes, "%zd bytes", n);
		cr_assert_eq(memcmp(got, data + at, (size_t)n), 0);
		at += (size_t)n;
	}
	cr_assert_eq(at, bytes);
}

static bool logged(const char *text)
{
	return strstr(lines, text) != NULL;
}

/* The kernel counts UDP datagrams that it threw away. */
static unsigned long bad_checksums(void)
{
	unsigned long n = 0;
	FILE *f;

	cr_assert(netns_enter(net.b));
	f = popen("awk '/^Udp: [0-9]/ { s += $8 } END { print s }' /proc/net/snmp; "
		  "awk '/Udp6InCsumErrors/ { print $2 }' /proc/net/snmp6",
		  "r");
	cr_assert(netns_enter(net.a));
	for (unsigned long one; f && fscanf(f, "%lu", &one) == 1;)
		n += one;
	if (f)
		pclose(f);
	return n;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void send_and_compare(int family, size_t bytes, uint32_t unit)
{
	int to = receiver(family), fd = sender(family);
	struct taio_event event = copy_bytes(fd, bytes, unit, "afxdp");

	cr_assert_eq(event.result, (int64_t)bytes, "%s\n%s", strerror((int)-event.result), lines);
	cr_assert(ran_on(&event, "afxdp"));
	must_get(to, bytes, unit);
	cr_assert_eq(bad_checksums(), 0);
	close(fd);
	close(to);
}

Test(xdp_send, bytes_arrive_over_ipv4)
{
	send_and_compare(AF_INET, BYTES, 1400);
	send_and_compare(AF_INET, BYTES, 64);
	send_and_compare(AF_INET, BYTES, 1472);
}

Test(xdp_send, bytes_arrive_over_ipv6)
{
	send_and_compare(AF_INET6, BYTES, 1400);
	send_and_compare(AF_INET6, BYTES, 64);
	send_and_compare(AF_INET6, BYTES, 1452);
}

Test(xdp_send, zeros_arrive)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	struct taio_event event;

	memset(data, 0, sizeof(data));
	event = copy_from(taio_zero(BYTES), fd, 1000, "afxdp");
	cr_assert_eq(event.result, (int64_t)BYTES, "%s", lines);
	must_get(to, BYTES, 1000);
	close(fd);
	close(to);
}

static void begin_jumbo(void)
{
	begin_with(9000, 1);
}

Test(xdp_send, large_frames_arrive, .init = begin_jumbo)
{
	send_and_compare(AF_INET, BYTES, 8972);
	send_and_compare(AF_INET6, BYTES, 8952);
	send_and_compare(AF_INET, BYTES, 4001);
	send_and_compare(AF_INET6, BYTES, 1400);
}

Test(xdp_send, ipv4_in_an_ipv6_socket)
{
	struct frame_address address = { .port = htons(PORT) };
	int to = receiver(AF_INET), fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage peer;
	socklen_t size;
	struct taio_event event;

	inet_pton(AF_INET6, "::ffff:10.99.0.2", address.ip);
	size = frame_sockaddr(AF_INET6, &address, &peer);
	cr_assert_eq(connect(fd, (struct sockaddr *)&peer, size), 0);
	event = copy_bytes(fd, BYTES, 1400, "afxdp");
	cr_assert_eq(event.result, (int64_t)BYTES, "%s", lines);
	must_get(to, BYTES, 1400);
	close(fd);
	close(to);
}

Test(xdp_send, source_is_the_socket_which_hears_the_answer)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	struct sockaddr_storage self, from;
	socklen_t size = sizeof(self), from_size = sizeof(from);
	struct taio_event event = copy_bytes(fd, 100, 1400, "afxdp");

	cr_assert_eq(event.result, 100, "%s", lines);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&self, &size), 0);
	cr_assert_eq(recvfrom(to, got, sizeof(got), 0, (struct sockaddr *)&from, &from_size), 100);
	cr_assert_eq(size, from_size);
	cr_assert_eq(memcmp(&self, &from, size), 0);
	cr_assert_eq(sendto(to, "yes", 3, 0, (struct sockaddr *)&from, from_size), 3);
	cr_assert_eq(recv(fd, got, sizeof(got), 0), 3);
	close(fd);
	close(to);
}

/* The way into the socket options of the program: a frame looks as the socket's packets do. */
Test(xdp_send, ttl_and_traffic_class_are_the_sockets)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	const int ttl = 7, tos = 0x48, on = 1;
	char control[256];
	struct iovec iov = { got, sizeof(got) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	int seen_ttl = 0, seen_tos = 0;

	cr_assert_eq(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)), 0);
	cr_assert_eq(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)), 0);
	cr_assert_eq(setsockopt(to, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
	cr_assert_eq(setsockopt(to, IPPROTO_IP, IP_RECVTOS, &on, sizeof(on)), 0);
	cr_assert_eq(copy_bytes(fd, 100, 1400, "afxdp").result, 100, "%s", lines);
	cr_assert_eq(recvmsg(to, &msg, 0), 100);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_type == IP_TTL)
			memcpy(&seen_ttl, CMSG_DATA(c), sizeof(int));
		if (c->cmsg_type == IP_TOS)
			seen_tos = *CMSG_DATA(c);
	}
	cr_assert_eq(seen_ttl, ttl);
	cr_assert_eq(seen_tos, tos);
	close(fd);
	close(to);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* A file with the first @bytes of data that has no name. */
static int data_file(size_t bytes)
{
	char path[128];
	const char *tmp = getenv("TMPDIR");
	int fd;

	snprintf(path, sizeof(path), "%s/taio-xdp-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(write(fd, data, bytes), (ssize_t)bytes);
	return fd;
}

static void file_and_compare(int family, size_t bytes, uint32_t unit, bool cold)
{
	int to = receiver(family), fd = sender(family), file = data_file(bytes);
	struct taio_event event;

	if (cold) {
		cr_assert_eq(fdatasync(file), 0);
		cr_assert_eq(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
	}
	event = copy_from(taio_file(file, 0, TAIO_TO_END), fd, unit, "afxdp");
	cr_assert_eq(event.result, (int64_t)bytes, "%s\n%s", strerror((int)-event.result), lines);
	cr_assert(ran_on(&event, "afxdp"));
	must_get(to, bytes, unit);
	cr_assert_eq(bad_checksums(), 0);
	check_chunks();
	close(file);
	close(fd);
	close(to);
}

Test(xdp_send, files_arrive_over_ipv4)
{
	file_and_compare(AF_INET, BYTES, 1400, false);
	file_and_compare(AF_INET, BYTES, 64, false);
	file_and_compare(AF_INET, BYTES, 1472, false);
	file_and_compare(AF_INET, 1, 1472, false);
}

Test(xdp_send, files_arrive_over_ipv6)
{
	file_and_compare(AF_INET6, BYTES, 1400, false);
	file_and_compare(AF_INET6, BYTES, 100, false);
}

Test(xdp_send, cold_files_arrive)
{
	file_and_compare(AF_INET, BYTES, 1024, true);
	file_and_compare(AF_INET6, BYTES / 1024 * 1024, 512, true);
	file_and_compare(AF_INET, BYTES, 1400, true);
}

Test(xdp_send, large_frames_of_files, .init = begin_jumbo)
{
	file_and_compare(AF_INET, BYTES, 3584, false);
	file_and_compare(AF_INET, BYTES, 3584, true);
	file_and_compare(AF_INET6, BYTES, 3900, false);
}

Test(xdp_send, file_position_moves)
{
	int to = receiver(AF_INET), fd = sender(AF_INET), file = data_file(BYTES);
	struct taio_options options = {
		.size = sizeof(options), .datagram = 100, .length = 1000, .pin = only("afxdp")
	};
	struct taio_endpoint from = taio_descriptor(file), dest = taio_descriptor(fd);

	cr_assert_eq(lseek(file, 0, SEEK_SET), 0);
	cr_assert_eq(taio_copy(engine, &from, &dest, &options, 1), 0);
	cr_assert_eq(take_event().result, 1000);
	cr_assert_eq(lseek(file, 0, SEEK_CUR), 1000);
	must_get(to, 1000, 100);
	close(file);
	close(fd);
	close(to);
}

Test(xdp_send, file_whose_interface_vanishes_in_mid_run)
{
	int to = receiver(AF_INET), fd = sender(AF_INET), file = data_file(BYTES);
	struct taio_options options = { .size = sizeof(options),
					.datagram = 1000,
					.limit_rate = 1 << 20,
					.timeout_ns = 20000000000,
					.pin = only("afxdp,dgram") };
	struct taio_endpoint from = taio_file(file, 0, TAIO_TO_END), dest = taio_descriptor(fd);
	struct taio_event event;

	cr_assert_eq(taio_copy(engine, &from, &dest, &options, 1), 0);
	cr_assert_eq(taio_get_events(engine, &event, 1, 1, 100000000), 0);
	cr_assert(netns_run("ip link del va"));
	event = take_event();
	cr_assert_lt(event.result, 0, "nobody gets there");
	close(file);
	close(fd);
	close(to);
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct taio_event send_batch(int fd, struct taio_message *m, unsigned int count,
				    const char *pin)
{
	struct taio_options options = { .size = sizeof(options),
					.timeout_ns = 20000000000,
					.pin = pin ? only(pin) : 0 };
	struct taio_endpoint to = taio_descriptor(fd);

	cr_assert_eq(taio_schedule_send_messages(engine, m, count, &to, &options, 1), 0, "%s",
		     taio_refusal(engine));
	return take_event();
}

Test(xdp_send, messages_keep_their_sizes)
{
	struct taio_message m[BATCH];
	int to = receiver(AF_INET6), fd = sender(AF_INET6);
	struct taio_event event;

	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].data = data + i;
		m[i].length = i * 21;
	}
	event = send_batch(fd, m, BATCH, "afxdp");
	cr_assert_eq(event.messages, BATCH, "%s", lines);
	cr_assert(ran_on(&event, "afxdp"));
	for (unsigned int i = 0; i < BATCH; i++) {
		cr_assert_eq(m[i].result, (int32_t)m[i].length);
		cr_assert_eq(recv(to, got, sizeof(got), 0), (ssize_t)(i * 21));
		cr_assert_eq(memcmp(got, data + i, i * 21), 0);
	}
	close(fd);
	close(to);
}

Test(xdp_send, messages_go_each_to_its_own_address)
{
	struct sockaddr_storage address[4];
	struct taio_message m[BATCH];
	int to[4], fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in self = { .sin_family = AF_INET };
	struct taio_event event;

	cr_assert_eq(bind(fd, (struct sockaddr *)&self, sizeof(self)), 0);
	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < 4; i++)
		to[i] = receiver_at(AF_INET, (uint16_t)(PORT + i));
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].data = data + i;
		m[i].length = 10 + i;
		m[i].address_length =
			(uint16_t)address_of(AF_INET, 2, (uint16_t)(PORT + i % 4), &address[i % 4]);
		m[i].address = &address[i % 4];
	}
	event = send_batch(fd, m, BATCH, "afxdp");
	cr_assert_eq(event.messages, BATCH, "%s", lines);
	for (unsigned int i = 0; i < BATCH; i++)
		cr_assert_eq(recv(to[i % 4], got, sizeof(got), 0), (ssize_t)(10 + i));
	for (unsigned int i = 0; i < 4; i++)
		close(to[i]);
	close(fd);
}

/* One that is too large for a frame, and one to this machine, in the middle of a batch. */
Test(xdp_send, messages_that_do_not_fit_go_through_the_socket)
{
	struct sockaddr_storage there, here;
	struct taio_message m[9];
	int to = receiver(AF_INET), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), own;
	struct sockaddr_in self = { .sin_family = AF_INET };
	const int dont = IP_PMTUDISC_DONT;
	socklen_t size = address_of(AF_INET, 2, PORT, &there);
	struct taio_event event;

	own = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)address_of(AF_INET, 1, PORT, &here);
	cr_assert_eq(bind(own, (struct sockaddr *)&here, size), 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&self, sizeof(self)), 0);
	cr_assert_eq(setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont)), 0);
	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < 9; i++) {
		m[i].data = data;
		m[i].length = i == 4 ? 5000 : 100;
		m[i].address = i == 6 ? &here : &there;
		m[i].address_length = (uint16_t)size;
	}
	event = send_batch(fd, m, 9, "afxdp,dgram");
	cr_assert_eq(event.messages, 9, "%s", lines);
	for (unsigned int i = 0; i < 9; i++) {
		cr_assert_eq(m[i].result, (int32_t)m[i].length, "message %u: %d", i, m[i].result);
		cr_assert_eq(recv(i == 6 ? own : to, got, sizeof(got), 0), (ssize_t)m[i].length);
	}
	close(own);
	close(fd);
	close(to);
}

/* ---- what would not arrive ------------------------------------------------------------------- */

/* Pinned to it, the request fails in place of going another way. */
static void must_refuse(int fd, uint32_t unit, const char *why)
{
	/* a refusal is kept for 10 ms, also by those who get the same descriptor then */
	for (int i = 0; i < 20 && (i == 0 || !logged(why)); i++) {
		cr_assert_lt(copy_bytes(fd, 1000, unit, "afxdp").result, 0);
		(void)poll(NULL, 0, 5);
	}
	cr_assert(logged(why), "%s", lines);
	lines[0] = '\0';
}

static void must_go_by_socket(int fd, int to, uint32_t unit)
{
	struct taio_event event = copy_bytes(fd, 1000, unit, "afxdp,dgram");

	cr_assert_eq(event.result, 1000, "%s", lines);
	cr_assert(ran_on(&event, "dgram"));
	must_get(to, 1000, unit);
}

Test(xdp_send, local_destination_is_left_to_the_socket)
{
	int fd = sender_to(AF_INET, 1, PORT);

	must_refuse(fd, 100, "");
	close(fd);
}

Test(xdp_send, datagrams_above_the_mtu_are_left_to_the_socket)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	const int dont = IP_PMTUDISC_DONT;

	cr_assert_eq(copy_bytes(fd, 1000, 1000, "afxdp").result, 1000);
	must_get(to, 1000, 1000);
	cr_assert_eq(setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont)), 0);
	cr_assert_lt(copy_bytes(fd, 3000, 3000, "afxdp").result, 0);
	cr_assert_eq(copy_bytes(fd, 3000, 3000, "afxdp,dgram").result, 3000, "%s", lines);
	must_get(to, 3000, 3000);
	close(fd);
	close(to);
}

/* Frames go again within seconds, and arrive. */
static void until_sent(int fd, int to)
{
	int64_t result = 0;

	for (int i = 0; i < 250 && result != 1000; i++) {
		(void)poll(NULL, 0, 20);
		result = copy_bytes(fd, 1000, 100, "afxdp").result;
	}
	cr_assert_eq(result, 1000, "%s", lines);
	must_get(to, 1000, 100);
}

Test(xdp_send, unknown_neighbour_is_left_to_the_socket_and_known_soon)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	struct taio_event event;

	cr_assert(netns_run("ip neigh del 10.99.0.2 dev va"));
	must_refuse(fd, 100, "is not known yet");
	event = copy_bytes(fd, 1000, 100, "afxdp,dgram");
	cr_assert_eq(event.result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	until_sent(fd, to);
	close(fd);
	close(to);
}

Test(xdp_send, socket_options_that_frames_cannot_honour)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	const int segment = 500, on = 1;

	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
	must_refuse(fd, 100, "SO_NO_CHECK");
	close(fd);
	fd = sender(AF_INET);
	cr_assert_eq(setsockopt(fd, IPPROTO_UDP, 103, &segment, sizeof(segment)), 0);
	must_refuse(fd, 100, "UDP_SEGMENT");
	close(fd);
	close(to);
}

Test(xdp_send, socket_bound_to_another_interface)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert(netns_run("ip link add other type veth peer name third && "
			    "ip link set other up && ip link set third up"));
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "other", 6), 0);
	must_refuse(fd, 100, "afxdp: ");
	close(fd);
	close(to);
}

Test(xdp_send, socket_of_another_namespace)
{
	int fd;

	cr_assert(netns_enter(net.b));
	fd = sender_to(AF_INET, 1, PORT);
	cr_assert(netns_enter(net.a));
	must_refuse(fd, 100, "another network namespace");
	close(fd);
}

Test(xdp_send, queue_of_another_engine_and_the_socket_goes_on)
{
	struct taio *first = engine;
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	engine = NULL;
	start_engine(NULL);
	must_refuse(fd, 100, "queue 0 of va is taken by another AF_XDP socket");
	must_go_by_socket(fd, to, 100);
	taio_close(engine);
	engine = first;
	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	close(fd);
	close(to);
}

static void begin_queues(void)
{
	begin_with(1500, 2);
}

Test(xdp_send, second_engine_takes_the_other_queue, .init = begin_queues)
{
	struct taio *first = engine;
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	engine = NULL;
	start_engine(NULL);
	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	check_chunks();
	taio_close(engine);
	engine = first;
	must_get(to, 1000, 100);
	must_get(to, 1000, 100);
	close(fd);
	close(to);
}

Test(xdp_send, missing_capability_is_named)
{
	struct taio_device_info info[64];
	int count, at;

	taio_close(engine);
	cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	start_engine(NULL);
	count = taio_devices(engine, info, sizeof(info[0]), 64);
	at = device_number(engine, "afxdp");
	cr_assert(at < count);
	cr_assert_not(info[at].flags & TAIO_DEVICE_AVAILABLE);
	cr_assert(strstr(info[at].reason, "CAP_NET_RAW missing"), "%s", info[at].reason);
}

Test(xdp_send, devices_tell_interface_queue_and_mode)
{
	struct taio_device_info info[64];
	int to = receiver(AF_INET), fd = sender(AF_INET), at = device_number(engine, "afxdp");

	cr_assert(taio_devices(engine, info, sizeof(info[0]), 64) > at);
	cr_assert_str_eq(info[at].detail, "va (veth, 1 queue): its driver has no zero copy");
	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	cr_assert(netns_run("ip neigh del 10.99.0.2 dev va"));
	(void)poll(NULL, 0, 2);
	(void)copy_bytes(fd, 1000, 100, "afxdp");
	cr_assert(taio_devices(engine, info, sizeof(info[0]), 64) > at);
	cr_assert(strstr(info[at].detail,
			 "va (veth) queue 0: copy mode: the driver has no zero copy; "
			 "last left to a socket: va: the hardware address of the next hop") ==
			  info[at].detail,
		  "%s", info[at].detail);
	close(fd);
	close(to);
}

/* ---- changes in mid-run ---------------------------------------------------------------------- */

Test(xdp_send, neighbour_that_changes_is_followed)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	cr_assert(netns_enter(net.b));
	cr_assert(netns_run("ip link set vb address 02:00:00:00:0b:99"));
	cr_assert(netns_enter(net.a));
	cr_assert(netns_run("ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:99"));
	(void)poll(NULL, 0, 2);
	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	close(fd);
	close(to);
}

Test(xdp_send, mtu_that_shrinks_is_followed)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);
	const int dont = IP_PMTUDISC_DONT;

	cr_assert_eq(setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont)), 0);
	cr_assert_eq(copy_bytes(fd, 2000, 1000, "afxdp").result, 2000, "%s", lines);
	must_get(to, 2000, 1000);
	cr_assert(netns_run("ip link set va mtu 600"));
	(void)poll(NULL, 0, 2);
	cr_assert_lt(copy_bytes(fd, 2000, 1000, "afxdp").result, 0);
	cr_assert_eq(copy_bytes(fd, 2000, 1000, "afxdp,dgram").result, 2000, "%s", lines);
	must_get(to, 2000, 1000);
	cr_assert_eq(copy_bytes(fd, 2000, 500, "afxdp").result, 2000, "%s", lines);
	must_get(to, 2000, 500);
	close(fd);
	close(to);
}

Test(xdp_send, link_that_goes_down_and_comes_back)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	cr_assert(netns_run("ip link set va down"));
	/* also without waiting for the news: the kick says it */
	cr_assert_lt(copy_bytes(fd, 1000, 100, "afxdp").result, 0);
	cr_assert(netns_run("ip link set va up"));
	warm();
	until_sent(fd, to);
	close(fd);
	close(to);
}

Test(xdp_send, interface_that_vanishes_leaves_the_engine_alive)
{
	int to = receiver(AF_INET), fd = sender(AF_INET);

	cr_assert_eq(copy_bytes(fd, 1000, 100, "afxdp").result, 1000, "%s", lines);
	must_get(to, 1000, 100);
	cr_assert(netns_run("ip link del va"));
	cr_assert_lt(copy_bytes(fd, 1000, 100, "afxdp").result, 0);
	cr_assert_lt(copy_bytes(fd, 1000, 100, NULL).result, 0, "nobody gets there");
	close(fd);
	close(to);
}

/* A completion is no delivery: nobody has the port, and the peer says so. */
Test(xdp_send, what_the_peer_reports_is_told)
{
	int fd = sender_to(AF_INET, 2, PORT + 77);
	struct taio_event event = copy_bytes(fd, 100, 100, "afxdp");

	for (int i = 0; i < 200 && event.result >= 0; i++) {
		(void)poll(NULL, 0, 5);
		event = copy_bytes(fd, 100, 100, "afxdp");
	}
	cr_assert_eq(event.result, -ECONNREFUSED, "%s", lines);
	close(fd);
}

/* ---- many ------------------------------------------------------------------------------------ */

Test(xdp_send, two_hundred_thousand_datagrams_and_every_chunk_is_back)
{
	struct taio_message m[BATCH];
	int to = receiver(AF_INET), fd = sender(AF_INET);
	uint64_t sent = 0, taken = 0;

	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < BATCH; i++) {
		m[i].data = data;
		m[i].length = 1 + i * 20;
	}
	for (int round = 0; round < 3200; round++)
		sent += send_batch(fd, m, BATCH, "afxdp").messages;
	cr_assert_eq(sent, 3200 * BATCH, "%s", lines);
	check_chunks();
	for (unsigned int i = 0; i < XDP_PORTS; i++)
		taken += device()->place[i].port.sent;
	cr_assert_eq(taken, sent);
	close(fd);
	close(to);
}
