/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_xdp_program.c: what the program xdp_flow does with a frame, asked of the program itself
 * (BPF_PROG_TEST_RUN): no interface is touched.
 */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "xdp/program.h"

#define PASS     2
#define REDIRECT 4

static struct xdp_program *program;
static int sock = -1, flow;
static uint8_t frame[2048];
static size_t bytes;
static struct taio_xdp_key key;

/* ---- frames ---- */

static void put(const void *data, size_t size)
{
	memcpy(frame + bytes, data, size);
	bytes += size;
}

static void put_ethernet(uint16_t type, bool vlan)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	const uint16_t words[3] = { htons(0x8100), htons(5), htons(type) };

	bytes = 0;
	put(macs, 12);
	put(vlan ? words : words + 2, vlan ? 6 : 2);
}

static void put_udp(uint16_t from, uint16_t to)
{
	const uint16_t words[4] = { htons(from), htons(to), htons(8 + 32), 0 };

	put(words, 8);
	memset(frame + bytes, 0x5a, 32);
	bytes += 32;
}

static void put_ipv4(uint8_t protocol, uint16_t fragment, uint8_t words)
{
	uint8_t ip[60] = { (uint8_t)(0x40 | words), 0, 0, 60, 0, 1 };

	ip[6] = (uint8_t)(fragment >> 8);
	ip[7] = (uint8_t)fragment;
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, "\xac\x10\0\1", 4); /* 172.16.0.1 */
	memcpy(ip + 16, "\xac\x10\0\2", 4);
	put(ip, 4u * words);
}

static void put_ipv6(uint8_t next)
{
	uint8_t ip[40] = { 0x60, 0, 0, 0, 0, 40, next, 64 };

	ip[8] = ip[24] = 0xfd;
	ip[23] = 1;
	ip[39] = 2;
	put(ip, 40);
}

static void make_ipv4(void)
{
	put_ethernet(0x0800, false);
	put_ipv4(17, 0x4000, 5);
	put_udp(4000, 5000);
}

static void make_ipv6(void)
{
	put_ethernet(0x86dd, false);
	put_ipv6(17);
	put_udp(4000, 5000);
}

static void key_ipv4(const char *from, uint16_t from_port)
{
	memset(&key, 0, sizeof(key));
	key.to[10] = key.to[11] = 0xff;
	inet_pton(AF_INET, "172.16.0.2", key.to + 12);
	key.to_port = htons(5000);
	if (!from)
		return;
	key.from[10] = key.from[11] = 0xff;
	inet_pton(AF_INET, from, key.from + 12);
	key.from_port = htons(from_port);
}

static void key_ipv6(void)
{
	memset(&key, 0, sizeof(key));
	inet_pton(AF_INET6, "fd00::2", key.to);
	key.to_port = htons(5000);
}

/* ---- the program ---- */

static int verdict_on(uint32_t queue)
{
	struct {
		uint32_t data, data_end, data_meta, ingress, queue, egress;
	} context = { .data_end = (uint32_t)bytes, .ingress = 1, .queue = queue };
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = (uint32_t)xdp_program_fd(program);
	attr.test.data_in = (uintptr_t)frame;
	attr.test.data_size_in = (uint32_t)bytes;
	attr.test.ctx_in = (uintptr_t)&context;
	attr.test.ctx_size_in = sizeof(context);
	cr_assert_eq(syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)), 0, "%s",
		     strerror(errno));
	return (int)attr.test.retval;
}

static int verdict(void)
{
	return verdict_on(0);
}

static void want(void)
{
	flow = xdp_program_add(program, &key);
	cr_assert_geq(flow, 0, "%s", strerror(-flow));
	xdp_program_set(program, (unsigned int)flow, TAIO_XDP_TAKE);
}

static void open_program(bool frags)
{
	char why[160] = "";
	int error = xdp_program_load(&program, frags, why, sizeof(why));

	if (error == -EPERM || error == -ENOSYS || error == -ENOENT)
		cr_skip("%s", why);
	cr_assert_eq(error, 0, "%s", why);
	sock = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	cr_assert_geq(sock, 0, "%s", strerror(errno));
	cr_assert_eq(xdp_program_socket(program, 0, sock), 0);
}

static void setup(void)
{
	open_program(false);
}

static void teardown(void)
{
	xdp_program_close(program);
	if (sock >= 0)
		close(sock);
}

#define PROGRAM_TEST(NAME) Test(xdp_program, NAME, .init = setup, .fini = teardown)

PROGRAM_TEST(nothing_is_taken_unless_it_is_asked_for)
{
	make_ipv4();
	cr_expect_eq(verdict(), PASS);
	make_ipv6();
	cr_expect_eq(verdict(), PASS);
}

PROGRAM_TEST(an_ipv4_flow_is_taken_and_counted)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
	cr_expect_eq(verdict(), REDIRECT);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->taken, 2);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->bytes, 2 * bytes);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->passed, 0);
}

PROGRAM_TEST(an_ipv6_flow_is_taken)
{
	key_ipv6();
	want();
	make_ipv6();
	cr_expect_eq(verdict(), REDIRECT);
	make_ipv4();
	cr_expect_eq(verdict(), PASS, "the other family has other addresses");
}

PROGRAM_TEST(a_flow_of_a_peer_takes_nothing_of_others)
{
	key_ipv4("172.16.0.1", 4000);
	want();
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
	frame[14 + 20 + 1]++; /* another source port */
	cr_expect_eq(verdict(), PASS);
	make_ipv4();
	frame[14 + 15]++; /* another source address */
	cr_expect_eq(verdict(), PASS);
}

PROGRAM_TEST(other_ports_and_addresses_pass)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	frame[14 + 20 + 3]++;
	cr_expect_eq(verdict(), PASS);
	make_ipv4();
	frame[14 + 19]++;
	cr_expect_eq(verdict(), PASS);
}

PROGRAM_TEST(other_protocols_pass)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	for (unsigned int protocol = 0; protocol < 256; protocol++) {
		frame[14 + 9] = (uint8_t)protocol;
		cr_expect_eq(verdict(), protocol == 17 ? REDIRECT : PASS, "%u", protocol);
	}
	key_ipv6();
	want();
	make_ipv6();
	for (unsigned int protocol = 0; protocol < 256; protocol++) {
		frame[14 + 6] = (uint8_t)protocol;
		cr_expect_eq(verdict(), protocol == 17 ? REDIRECT : PASS, "%u", protocol);
	}
	put_ethernet(0x0806, false);
	put_udp(4000, 5000);
	cr_expect_eq(verdict(), PASS, "ARP");
}

static void expect_odd(uint64_t count)
{
	cr_expect_eq(verdict(), PASS);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->odd, count);
}

/* Only the stack can put it together, so all behind it must take that way, too. */
PROGRAM_TEST(the_first_fragment_of_a_flow_lets_the_flow_go)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
	put_ethernet(0x0800, false);
	put_ipv4(17, 0x2000, 5);
	put_udp(4000, 5000);
	expect_odd(1);
	make_ipv4();
	cr_expect_eq(verdict(), PASS, "what comes behind it");
	xdp_program_set(program, (unsigned int)flow, TAIO_XDP_TAKE);
	cr_expect_eq(verdict(), REDIRECT);
}

PROGRAM_TEST(the_first_fragment_of_an_ipv6_flow_lets_the_flow_go)
{
	const uint8_t fragment[8] = { 17, 0, 0, 1, 0, 0, 0, 7 };

	key_ipv6();
	want();
	put_ethernet(0x86dd, false);
	put_ipv6(44);
	put(fragment, 8);
	put_udp(4000, 5000);
	expect_odd(1);
	make_ipv6();
	cr_expect_eq(verdict(), PASS);
}

PROGRAM_TEST(later_fragments_and_those_of_others_change_nothing)
{
	key_ipv4(NULL, 0);
	want();
	put_ethernet(0x0800, false);
	put_ipv4(17, 0x2010, 5); /* what lies where a UDP header would be is payload */
	put_udp(4000, 5000);
	expect_odd(0);
	put_ethernet(0x0800, false);
	put_ipv4(17, 0x2000, 5);
	put_udp(4000, 5001);
	expect_odd(0);
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
}

PROGRAM_TEST(ipv4_options_let_the_flow_go)
{
	key_ipv4(NULL, 0);
	want();
	for (uint8_t words = 6; words <= 15; words++) {
		put_ethernet(0x0800, false);
		put_ipv4(17, 0, words);
		put_udp(4000, 5000);
		expect_odd(words - 5u);
	}
	make_ipv4();
	cr_expect_eq(verdict(), PASS);
}

PROGRAM_TEST(one_vlan_tag_is_stepped_over)
{
	key_ipv4(NULL, 0);
	want();
	put_ethernet(0x0800, true);
	put_ipv4(17, 0, 5);
	put_udp(4000, 5000);
	cr_expect_eq(verdict(), REDIRECT);
	put_ethernet(0x8100, true);
	put_ipv4(17, 0, 5);
	put_udp(4000, 5000);
	cr_expect_eq(verdict(), PASS, "two tags");
}

PROGRAM_TEST(a_frame_that_ends_early_passes_whatever_its_length)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	for (bytes = 14; bytes < 14 + 20 + 8; bytes++)
		cr_expect_eq(verdict(), PASS, "%zu", bytes);
	cr_expect_eq(verdict(), REDIRECT);
	key_ipv6();
	want();
	make_ipv6();
	for (bytes = 14; bytes < 14 + 40 + 8; bytes++)
		cr_expect_eq(verdict(), PASS, "%zu", bytes);
	cr_expect_eq(verdict(), REDIRECT);
}

PROGRAM_TEST(a_flow_that_is_let_go_passes_and_is_counted)
{
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
	xdp_program_set(program, (unsigned int)flow, TAIO_XDP_PASS);
	cr_expect_eq(verdict(), PASS);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->passed, 1);
	xdp_program_remove(program, (unsigned int)flow, &key);
	cr_expect_eq(verdict(), PASS);
	want();
	cr_expect_eq(verdict(), REDIRECT, "and can be asked for again");
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->taken, 1);
}

PROGRAM_TEST(a_queue_without_a_socket_passes)
{
	key_ipv4(NULL, 0);
	want();
	cr_assert_eq(xdp_program_socket(program, 0, -1), 0);
	make_ipv4();
	cr_expect_eq(verdict(), PASS);
	cr_expect_eq(xdp_program_flow(program, (unsigned int)flow)->passed, 1);
}

PROGRAM_TEST(a_flow_can_be_asked_for_once_and_so_many_at_a_time)
{
	key_ipv4("172.16.0.1", 1);
	want();
	cr_expect_eq(xdp_program_add(program, &key), -EEXIST);
	for (uint16_t port = 2; port <= TAIO_XDP_FLOWS; port++) {
		key_ipv4("172.16.0.1", port);
		want();
	}
	key_ipv4("172.16.0.1", 999);
	cr_expect_eq(xdp_program_add(program, &key), -ENOSPC);
	key_ipv4("172.16.0.1", (uint16_t)(flow + 1));
	xdp_program_remove(program, (unsigned int)flow, &key);
	key_ipv4("172.16.0.1", 999);
	cr_expect_geq(xdp_program_add(program, &key), 0);
}

Test(xdp_program, the_program_for_frames_of_several_buffers_does_the_same, .fini = teardown)
{
	open_program(true);
	key_ipv4(NULL, 0);
	want();
	make_ipv4();
	cr_expect_eq(verdict(), REDIRECT);
	frame[14 + 9] = 6;
	cr_expect_eq(verdict(), PASS);
}
