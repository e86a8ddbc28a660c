/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_xdp_recv.c: receiving past the kernel's stack, between two hosts over a veth pair. The
 * engine is in host a, a plain socket of the kernel sends in host b: numbered datagrams, from before
 * the device takes the flow until after it gave it back. What arrives must be that very sequence.
 */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <linux/capability.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "engine/engine.h"
#include "netns.h"
#include "util/clock.h"

#define ROOM     (96u << 20)
#define LIMIT_NS 20000000000ULL

static struct netns net;
static struct taio *engine;
static char logged[16384];
static uint8_t *room; /* where bytes arrive */
static int sender = -1, afxdp, dgram;
static uint32_t sent; /* datagrams */
static uint64_t sent_bytes;
static size_t unit = 1000; /* bytes of a datagram; 0: by its number */
static int family = AF_INET;

/* ---- world ---- */

static void keep(void *arg, const char *line)
{
	const size_t used = strlen(logged);

	(void)arg;
	snprintf(logged + used, sizeof(logged) - used, "%s\n", line);
}

static bool said(const char *text)
{
	return strstr(logged, text) != NULL;
}

static struct taio *engine_new(void)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = TAIO_MAY_BLOCK | TAIO_NO_CACHE |
							TAIO_NO_BPF,
					       .log = keep };
	struct taio *e = NULL;

	cr_assert_eq(taio_open(&e, &options), 0);
	return e;
}

static int sender_new(uint16_t port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	const bool is_six = family == AF_INET6;
	const int off = 0;
	int fd;

	inet_pton(AF_INET6, "fd99::1", &six.sin6_addr);
	inet_pton(AF_INET, "10.99.0.1", &four.sin_addr);
	cr_assert(netns_enter(net.b));
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* so that what is larger than the MTU goes in fragments */
	(void)setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &off, sizeof(off));
	for (int i = 0;; i++) { /* IPv6 is not ready at once */
		if (connect(fd, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
			    is_six ? sizeof(six) : sizeof(four)) == 0)
			break;
		cr_assert_lt(i, 200, "%s", strerror(errno));
		usleep(10000);
	}
	cr_assert(netns_enter(net.a));
	return fd;
}

static void make(unsigned int mtu, unsigned int queues)
{
	const char *why = netns_why_not();

	net.a = net.b = net.life = -1;
	net.other = -1;
	if (why)
		cr_skip("%s", why);
	if (!netns_make(&net, mtu, queues)) {
		netns_release(&net);
		cr_skip("network namespaces cannot be made here");
	}
	/* what is sent while a neighbour is being looked for is dropped */
	cr_assert(netns_enter(net.b));
	cr_assert(netns_run("ip neigh replace 10.99.0.1 dev vb lladdr 02:00:00:00:0a:01 && "
			    "ip neigh replace fd99::1 dev vb lladdr 02:00:00:00:0a:01"));
	cr_assert(netns_enter(net.a));
	room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(room, MAP_FAILED);
	engine = engine_new();
	afxdp = device_number(engine, "afxdp");
	dgram = device_number(engine, "dgram");
}

static void setup(void)
{
	make(1500, 1);
}

static void expect_detached(void)
{
	cr_expect(netns_run("! ip link show va | grep -q xdp"), "a program is still attached");
}

static void teardown(void)
{
	if (engine)
		taio_close(engine);
	if (sender >= 0)
		close(sender);
	if (net.a >= 0)
		expect_detached();
	netns_release(&net);
}

#define RECV_TEST(NAME) Test(xdp_recv, NAME, .init = setup, .fini = teardown, .timeout = 60)

/* ---- sending ---- */

static size_t size_of(uint32_t number)
{
	return unit ? unit : 4 + number * 7919 % 3500;
}

static void say(uint32_t count)
{
	static uint8_t data[65536];

	for (uint32_t i = 0; i < count; i++, sent++) {
		const size_t size = size_of(sent);

		memset(data, (uint8_t)sent, size);
		memcpy(data, &sent, 4);
		while (send(sender, data, size, 0) < 0)
			cr_assert(errno == ENOBUFS || errno == ECONNREFUSED, "%s", strerror(errno));
		sent_bytes += size;
	}
}

static void say_end(void)
{
	cr_assert_eq(send(sender, "", 0, 0), 0);
}

static void work(void)
{
	struct taio_event event;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(taio_get_events(engine, &event, 0, 1, 0), 0, "it ended early");
}

static void start(struct taio_endpoint to, uint64_t length, uint64_t pin)
{
	struct taio_endpoint from = taio_address(family == AF_INET ? "listen:10.99.0.1:5000:udp"
								   : "listen:[fd99::1]:5000:udp");
	struct taio_options options = { .size = sizeof(options), .pin = pin, .length = length };

	cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
	work();
	if (sender < 0)
		sender = sender_new(5000);
}

static void start_memory(void)
{
	start(taio_memory(room, ROOM), 0, 1ULL << afxdp | 1ULL << dgram);
}

/* No other device may have it, whatever the prices are. */
static void start_pinned(void)
{
	start(taio_memory(room, ROOM), 0, 1ULL << afxdp);
}

/* Sends until the log says so. */
static void until(const char *text)
{
	const uint64_t limit = clock_ns() + LIMIT_NS;

	while (!said(text)) {
		say(8);
		work();
		usleep(500);
		cr_assert_lt(clock_ns(), limit, "never: %s\nit said: %s", text, logged);
	}
}

/* Sends until the device has the source for sure. */
static void until_held(void)
{
	const uint64_t limit = clock_ns() + LIMIT_NS;

	until("afxdp receives on va");
	while (engine->pool.slots[0].claim_state != TAIO_CLAIM_HELD) {
		say(8);
		work();
		usleep(500);
		cr_assert_lt(clock_ns(), limit, "it never held it: %s", logged);
	}
}

static struct taio_event wait_end(void)
{
	struct taio_event event;

	cr_assert_eq(taio_get_events(engine, &event, 1, 1, LIMIT_NS), 1, "it does not end: %s",
		     logged);
	return event;
}

/* All that was said arrived, in that order. */
static void expect_sequence(struct taio_event event)
{
	const uint8_t *at = room;

	cr_assert_eq(event.result, (int64_t)sent_bytes, "%lld of %llu; %s", (long long)event.result,
		     (unsigned long long)sent_bytes, logged);
	for (uint32_t i = 0; i < sent; i++) {
		const size_t size = size_of(i);
		uint32_t number;

		memcpy(&number, at, 4);
		cr_assert_eq(number, i, "datagram %u is where %u should be", number, i);
		for (size_t k = 4; k < size; k++)
			cr_assert_eq(at[k], (uint8_t)i, "byte %zu of datagram %u", k, i);
		at += size;
	}
}

static unsigned long long received_by_frames(void)
{
	const char *at = strstr(logged, "afxdp received ");

	return at ? strtoull(at + strlen("afxdp received "), NULL, 10) : 0;
}

static void transfer(void)
{
	start_pinned();
	until_held();
	for (int i = 0; i < 50; i++) {
		say(40);
		work();
	}
	say_end();
	expect_sequence(wait_end());
	cr_expect_geq(received_by_frames(), 2000, "%s", logged);
}

/* ---- transfers ---- */

RECV_TEST(datagrams_arrive_in_order_from_before_to_behind_the_taking)
{
	transfer();
}

RECV_TEST(ipv6_too)
{
	family = AF_INET6;
	transfer();
}

Test(xdp_recv, over_two_queues_and_large_frames, .fini = teardown, .timeout = 60)
{
	make(9000, 2);
	unit = 8000;
	transfer();
}

Test(xdp_recv, a_frame_that_takes_a_whole_page, .fini = teardown, .timeout = 60)
{
	make(3300, 1);
	unit = 3200;
	transfer();
}

RECV_TEST(what_a_gso_sender_joined_comes_apart)
{
	const int size = 1000;

	start_pinned();
	until_held();
	cr_assert_eq(setsockopt(sender, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	for (int i = 0; i < 20; i++) {
		static uint8_t joined[40000];

		for (uint32_t k = 0; k < 40; k++, sent++) {
			memset(joined + k * 1000, (uint8_t)sent, 1000);
			memcpy(joined + k * 1000, &sent, 4);
		}
		cr_assert_eq(send(sender, joined, sizeof(joined), 0), 40000);
		sent_bytes += 40000;
		work();
	}
	say_end();
	expect_sequence(wait_end());
	cr_expect_geq(received_by_frames(), 800, "%s", logged);
}

RECV_TEST(a_stream_that_begins_to_come_in_fragments_keeps_its_order)
{
	start_memory();
	until_held();
	say(100);
	for (uint32_t i = 0; i < sent; i++)
		cr_assert_eq(size_of(i), 1000);
	/* from here on larger than the MTU, each third one small again */
	for (int i = 0; i < 300; i++) {
		static uint8_t data[4000];
		const size_t size = i % 3 == 2 ? 1000 : 3000;

		for (size_t k = 0; k < size; k += 1000, sent++) {
			memset(data + k, (uint8_t)sent, 1000);
			memcpy(data + k, &sent, 4);
		}
		cr_assert_eq(send(sender, data, size, 0), (ssize_t)size);
		sent_bytes += size;
		if (i % 16 == 0)
			work();
	}
	say_end();
	expect_sequence(wait_end());
	cr_expect(said("its datagrams come in fragments"), "%s", logged);
	cr_expect_gt(engine->count[dgram].bytes, 0);
}

RECV_TEST(a_source_in_fragments_is_not_taken)
{
	unit = 0; /* all sizes up to 3500 */
	start_memory();
	for (int i = 0; i < 60 && !said("come in fragments"); i++) {
		say(10);
		work();
		usleep(20000);
	}
	say_end();
	expect_sequence(wait_end());
	cr_expect(said("does not take a source whose datagrams come in fragments"), "%s", logged);
	cr_expect_not(said("afxdp receives"), "%s", logged);
}

RECV_TEST(given_back_in_mid_run_the_order_holds)
{
	struct taio_device *device;

	start_memory();
	until_held();
	say(500);
	device = &engine->device[afxdp];
	device->driver->release(device, &engine->pool.slots[0].from, TAIO_RELEASE_SOON);
	engine->pool.slots[0].claim_lost = 255; /* as claim.c does */
	for (int i = 0; i < 400 && engine->pool.slots[0].claim; i++) {
		say(8);
		work();
		usleep(500);
	}
	cr_assert_eq(engine->pool.slots[0].claim, 0, "%s", logged);
	say(500);
	work();
	say_end();
	expect_sequence(wait_end());
}

RECV_TEST(a_hundred_thousand_datagrams_without_a_frame_lost)
{
	struct taio_event event;

	unit = 64;
	start(taio_null(), 0, 1ULL << afxdp);
	until_held();
	while (sent < 100000) {
		say(32);
		work();
	}
	say_end();
	event = wait_end();
	cr_expect_eq(event.result, (int64_t)sent_bytes, "%s", logged);
	cr_expect_geq(received_by_frames(), 90000, "%s", logged);
	cr_expect_not(said("lost"), "%s", logged);
}

RECV_TEST(memory_that_is_too_small_for_a_datagram_gets_only_whole_ones)
{
	struct taio_event event;

	start(taio_memory(room, 4u << 20), 0, 1ULL << afxdp | 1ULL << dgram);
	until_held();
	while (sent_bytes < (4u << 20) + 2000) {
		struct taio_event early;

		say(4);
		if (taio_get_events(engine, &early, 0, 1, 0)) {
			cr_expect_eq(early.result, -EMSGSIZE);
			cr_expect_eq(early.bytes, (4u << 20) / 1000 * 1000);
			return;
		}
	}
	event = wait_end();
	cr_expect_eq(event.result, -EMSGSIZE);
	cr_expect_eq(event.bytes, (4u << 20) / 1000 * 1000);
}

/* ---- others ---- */

RECV_TEST(others_are_not_disturbed)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(5001) };
	int other = socket(AF_INET, SOCK_DGRAM, 0), listening = socket(AF_INET, SOCK_STREAM, 0);
	int to_other, stream, accepted;
	char byte = 0;

	at.sin_addr.s_addr = htonl(INADDR_ANY);
	cr_assert_eq(bind(other, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(listening, 1), 0);
	start_memory();
	until_held();
	to_other = sender_new(5001);
	cr_assert(netns_enter(net.b));
	stream = socket(AF_INET, SOCK_STREAM, 0);
	inet_pton(AF_INET, "10.99.0.1", &at.sin_addr);
	cr_assert_eq(connect(stream, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert(netns_enter(net.a));
	accepted = accept(listening, NULL, NULL);
	cr_assert_geq(accepted, 0);
	for (int i = 0; i < 100; i++) {
		say(4);
		cr_assert_eq(send(to_other, "o", 1, 0), 1);
		cr_assert_eq(recv(other, &byte, 1, 0), 1);
		cr_assert_eq(send(stream, "t", 1, 0), 1);
		cr_assert_eq(recv(accepted, &byte, 1, 0), 1);
		cr_assert_eq(byte, 't');
		work();
	}
	if (netns_run("command -v ping > /dev/null 2>&1"))
		cr_expect(netns_run("ping -q -c 3 -i 0.2 -W 5 10.99.0.2 > /dev/null"));
	say_end();
	expect_sequence(wait_end());
	close(to_other);
	close(stream);
	close(accepted);
	close(listening);
	close(other);
}

RECV_TEST(an_interface_in_use_is_left_to_the_kernel_and_the_reason_is_said)
{
	struct taio *first = engine;
	int first_sender;

	start_memory();
	until_held();
	first_sender = sender;
	engine = engine_new();
	logged[0] = '\0';
	sent = 0;
	sent_bytes = 0;
	sender = sender_new(5002);
	{
		struct taio_endpoint from = taio_address("listen:10.99.0.1:5002:udp");
		struct taio_endpoint to = taio_memory(room, ROOM);
		struct taio_options options = { .size = sizeof(options),
						.pin = 1ULL << afxdp | 1ULL << dgram };

		cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
		work();
	}
	until("another");
	cr_expect(said("va"), "%s", logged);
	say(200);
	say_end();
	expect_sequence(wait_end());
	taio_close(engine);
	engine = first;
	close(first_sender);
}

RECV_TEST(an_interface_that_vanishes_in_mid_run_is_noticed)
{
	const uint64_t limit = clock_ns() + LIMIT_NS;

	start_memory();
	until_held();
	cr_assert(netns_run("ip link del va"));
	while (!said("its interface is gone")) {
		work();
		usleep(1000);
		cr_assert_lt(clock_ns(), limit, "%s", logged);
	}
	cr_expect_eq(taio_cancel(engine, 1), 1);
	cr_expect_eq(wait_end().result, -ECANCELED);
}

RECV_TEST(an_engine_that_closes_in_mid_run_leaves_nothing)
{
	start_memory();
	until_held();
	cr_expect(netns_run("ip link show va | grep -q xdp"));
	taio_close(engine);
	engine = NULL;
	expect_detached();
}

RECV_TEST(a_killed_engine_leaves_nothing)
{
	int ready[2], status;
	char byte;
	pid_t child;

	cr_assert_eq(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		start_memory();
		until_held();
		_exit(write(ready[1], "", 1) == 1 ? pause() : 1);
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_expect(netns_run("ip link show va | grep -q xdp"));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	for (int i = 0; i < 100 && netns_run("ip link show va | grep -q xdp"); i++)
		usleep(20000);
	expect_detached();
	close(ready[0]);
}

/* ---- what is not permitted ---- */

static void drop_capability(unsigned int number)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	cr_assert_eq(syscall(SYS_capget, &header, data), 0);
	for (int i = 0; i < 2; i++)
		data[i].inheritable = 0;
	data[number / 32].effective &= ~(1u << number % 32);
	data[number / 32].permitted &= ~(1u << number % 32);
	/* it stands in for CAP_BPF */
	data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1u << CAP_SYS_ADMIN);
	cr_assert_eq(syscall(SYS_capset, &header, data), 0);
}

static void without(unsigned int capability, const char *name)
{
	start_memory(); /* its sender needs the other namespace: first */
	drop_capability(capability);
	for (int i = 0; i < 200 && !said(name) && !engine->device[afxdp].error; i++) {
		say(4);
		work();
		usleep(5000);
	}
	cr_expect(said(name) || strstr(engine->device[afxdp].reason, name),
		  "%s is not named: %s, %s", name, logged, engine->device[afxdp].reason);
	say_end();
	expect_sequence(wait_end());
	cr_expect_not(said("afxdp receives"), "%s", logged);
}

RECV_TEST(without_cap_bpf_the_kernel_receives_and_the_log_names_it)
{
	without(39, "CAP_BPF is missing");
}

RECV_TEST(without_cap_net_admin_the_kernel_receives_and_the_log_names_it)
{
	without(CAP_NET_ADMIN, "CAP_NET_ADMIN is missing");
}

RECV_TEST(without_cap_net_raw_the_kernel_receives_and_the_log_names_it)
{
	without(CAP_NET_RAW, "CAP_NET_RAW");
}

RECV_TEST(with_little_memory_to_lock_there_are_fewer_frames)
{
	const struct rlimit little = { 3 << 20, 3 << 20 };

	start_memory();
	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	drop_capability(CAP_IPC_LOCK);
	/* CAP_SYS_ADMIN is gone, too; CAP_BPF is still there */
	until_held();
	say(300);
	work();
	say_end();
	expect_sequence(wait_end());
}
