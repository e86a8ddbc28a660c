/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_xdp_frame.c: frames against a slow sum made byte by byte after RFC 1071, and against a frame
 * whose bytes are written down here.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "xdp/frame.h"

static uint16_t slow_sum(const uint8_t *data, size_t bytes, uint32_t sum)
{
	for (size_t i = 0; i < bytes; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* The UDP checksum of a frame as its receiver would look at it: 0xffff is right. */
static uint16_t udp_sum(const uint8_t *frame, int family)
{
	const uint8_t *ip = frame + 14, *udp = ip + (family == AF_INET ? 20 : 40);
	const uint32_t length = (uint32_t)udp[4] << 8 | udp[5];
	uint32_t sum = IPPROTO_UDP + length;

	sum += slow_sum(ip + (family == AF_INET ? 12 : 8), family == AF_INET ? 8 : 32, 0);
	return slow_sum(udp, length, sum);
}

static struct frame_flow make_flow(int family)
{
	struct frame_address from = { .mac = { 2, 0, 0, 0, 0x0a, 1 }, .port = htons(4001) };
	struct frame_address to = { .mac = { 2, 0, 0, 0, 0x0b, 2 }, .port = htons(9) };
	const struct frame_options options = { .ttl = 0 };
	struct frame_flow flow;

	inet_pton(family, family == AF_INET ? "10.99.0.1" : "fd99::1", from.ip);
	inet_pton(family, family == AF_INET ? "10.99.0.2" : "fd99::2", to.ip);
	frame_flow_init(&flow, family, &from, &to, &options);
	return flow;
}

static void fill(uint8_t *data, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		data[i] = (uint8_t)rand();
}

Test(xdp_frame, sum_is_that_of_rfc_1071_for_every_length_and_alignment)
{
	static uint8_t data[9100];

	fill(data, sizeof(data));
	for (size_t at = 0; at < 9; at++)
		for (size_t bytes = 0; bytes < 300; bytes++)
			cr_assert_eq(ntohs(frame_fold(frame_sum(data + at, bytes))),
				     slow_sum(data + at, bytes, 0), "%zu bytes at %zu", bytes, at);
	cr_assert_eq(ntohs(frame_fold(frame_sum(data, sizeof(data)))),
		     slow_sum(data, sizeof(data), 0));
	memset(data, 0xff, sizeof(data));
	cr_assert_eq(frame_fold(frame_sum(data, sizeof(data))), 0xffff);
}

Test(xdp_frame, copy_copies_and_sums)
{
	uint8_t from[1500], to[1500];

	fill(from, sizeof(from));
	cr_assert_eq(frame_fold(frame_copy(to, from, 1499)), frame_fold(frame_sum(from, 1499)));
	cr_assert_arr_eq(to, from, 1499);
}

Test(xdp_frame, ipv4_frame_has_the_bytes_that_the_rfcs_say)
{
	/* made by hand: 10.99.0.1:4001 to 10.99.0.2:9, "hi", DF, TTL 64, id 0 */
	static const uint8_t want[] = { 2,    0,    0,    0,    0x0b, 2,  2,  0, 0,  0,    0x0a,
					1,    0x08, 0x00, 0x45, 0,    0,  30, 0, 0,  0x40, 0,
					0x40, 0x11, 0,    0,    10,   99, 0,  1, 10, 99,   0,
					2,    0x0f, 0xa1, 0,    9,    0,  10, 0, 0,  'h',  'i' };
	struct frame_flow flow = make_flow(AF_INET);
	uint8_t frame[sizeof(want)];

	memcpy(frame + flow.head_bytes, "hi", 2);
	frame_head(&flow, frame, 2, frame_sum("hi", 2));
	cr_assert_eq(flow.head_bytes, 42);
	cr_assert_eq(slow_sum(frame + 14, 20, 0), 0xffff, "checksum of the header");
	cr_assert_eq(udp_sum(frame, AF_INET), 0xffff);
	memset(frame + 24, 0, 2);
	memset(frame + 40, 0, 2);
	cr_assert_arr_eq(frame, want, sizeof(want));
}

Test(xdp_frame, checksums_are_right_for_all_sizes_of_both_families)
{
	static uint8_t frame[9100];

	for (int six = 0; six < 2; six++) {
		const int family = six ? AF_INET6 : AF_INET;
		struct frame_flow flow = make_flow(family);
		uint8_t *payload = frame + flow.head_bytes;

		for (size_t bytes = 0; bytes <= 8000; bytes += bytes < 70 ? 1 : 397) {
			uint16_t field;

			fill(payload, bytes);
			frame_head(&flow, frame, bytes, frame_sum(payload, bytes));
			cr_assert_eq(udp_sum(frame, family), 0xffff, "%zu bytes", bytes);
			if (!six)
				cr_assert_eq(slow_sum(frame + 14, 20, 0), 0xffff);
			memcpy(&field, payload - 2, 2);
			cr_assert_neq(field, 0);
		}
	}
}

/* The sum that would be sent as 0, which means "no checksum": IPv6 receivers drop it. */
Test(xdp_frame, checksum_of_zero_is_sent_as_ffff)
{
	for (int six = 0; six < 2; six++) {
		const int family = six ? AF_INET6 : AF_INET;
		struct frame_flow flow = make_flow(family);
		uint8_t frame[80] = { 0 };
		uint8_t *payload = frame + flow.head_bytes;
		unsigned int zeros = 0;

		for (unsigned int word = 0; word <= 0xffff; word++) {
			uint16_t field;

			payload[0] = (uint8_t)(word >> 8);
			payload[1] = (uint8_t)word;
			frame_head(&flow, frame, 2, frame_sum(payload, 2));
			memcpy(&field, payload - 2, 2);
			cr_assert_neq(field, 0);
			zeros += field == 0xffff;
		}
		cr_assert_geq(zeros, 1, "one word makes the sum 0");
	}
}

Test(xdp_frame, begun_checksum_is_the_folded_pseudo_header)
{
	for (int six = 0; six < 2; six++) {
		const int family = six ? AF_INET6 : AF_INET;
		struct frame_flow flow = make_flow(family);
		uint8_t frame[200] = { 0 };
		uint8_t *udp = frame + frame_csum_start(&flow);
		uint16_t sum;

		fill(frame + flow.head_bytes, 100);
		frame_head_partial(&flow, frame, 100);
		/* the receiver of the frame: from UDP on, with what is in the field, complemented */
		sum = (uint16_t)~slow_sum(udp, 108, 0);
		udp[6] = (uint8_t)(sum >> 8);
		udp[7] = (uint8_t)sum;
		cr_assert_eq(udp_sum(frame, family), 0xffff);
	}
}

Test(xdp_frame, what_was_built_is_read_again)
{
	for (int six = 0; six < 2; six++) {
		const int family = six ? AF_INET6 : AF_INET;
		struct frame_flow flow = make_flow(family);
		struct frame_datagram datagram;
		uint8_t frame[300];
		const size_t total = flow.head_bytes + 77U;

		fill(frame, sizeof(frame));
		frame_head(&flow, frame, 77, frame_sum(frame + flow.head_bytes, 77));
		cr_assert_eq(frame_parse(frame, total, total, &datagram), 0);
		cr_assert_eq(datagram.family, family);
		cr_assert_eq(datagram.payload, 77);
		cr_assert_eq(datagram.payload_at, flow.head_bytes);
		cr_assert_eq(datagram.from.port, htons(4001));
		cr_assert_eq(datagram.to.port, htons(9));
		cr_assert_eq(datagram.to.ip[six ? 15 : 3], 2);
		cr_assert_eq(frame_check(&datagram, frame_sum(frame + datagram.payload_at, 77)),
			     FRAME_CSUM_GOOD);
		frame[datagram.payload_at + 5] ^= 0x10;
		cr_assert_eq(frame_check(&datagram, frame_sum(frame + datagram.payload_at, 77)),
			     FRAME_CSUM_BAD);
		frame_head_partial(&flow, frame, 77);
		cr_assert_eq(frame_parse(frame, total, total, &datagram), 0);
		cr_assert_eq(frame_check(&datagram, frame_sum(frame + datagram.payload_at, 77)),
			     FRAME_CSUM_PARTIAL);
	}
}

Test(xdp_frame, padding_of_short_frames_is_no_payload)
{
	struct frame_flow flow = make_flow(AF_INET);
	struct frame_datagram datagram;
	uint8_t frame[60] = { 0 };

	frame[42] = 'x';
	frame_head(&flow, frame, 1, frame_sum("x", 1));
	cr_assert_eq(frame_parse(frame, 60, 60, &datagram), 0);
	cr_assert_eq(datagram.payload, 1);
}

Test(xdp_frame, other_packets_are_left_alone)
{
	struct frame_flow flow = make_flow(AF_INET), six = make_flow(AF_INET6);
	struct frame_datagram datagram;
	uint8_t good[100] = { 0 }, frame[104];

	frame_head(&flow, good, 58, frame_sum(good + 42, 58));
	memcpy(frame, good, 100);
	frame[12] = 0x08, frame[13] = 0x06;
	cr_assert_eq(frame_parse(frame, 100, 100, &datagram), -ENOMSG, "ARP");
	memcpy(frame, good, 100);
	frame[23] = IPPROTO_TCP;
	cr_assert_eq(frame_parse(frame, 100, 100, &datagram), -ENOMSG, "TCP");
	memcpy(frame, good, 100);
	frame[20] |= 0x20;
	cr_assert_eq(frame_parse(frame, 100, 100, &datagram), -ENOMSG, "a first fragment");
	memcpy(frame, good, 100);
	frame[14] = 0x46;
	cr_assert_eq(frame_parse(frame, 100, 100, &datagram), -ENOMSG, "options");
	memcpy(frame, good, 100);
	frame[22] ^= 1;
	cr_assert_eq(frame_parse(frame, 100, 100, &datagram), -EBADMSG, "TTL changed by a ghost");
	for (size_t cut = 0; cut < 100; cut++)
		cr_assert_lt(frame_parse(good, cut, cut, &datagram), 0, "cut to %zu", cut);
	memcpy(frame, good, 12);
	memcpy(frame + 12, "\x81\0\0\x05", 4);
	memcpy(frame + 16, good + 12, 88);
	cr_assert_eq(frame_parse(frame, 104, 104, &datagram), 0, "a tag");
	cr_assert_eq(datagram.payload_at, 46);
	frame_head(&six, good, 38, 0);
	good[20] = 0;
	cr_assert_eq(frame_parse(good, 100, 100, &datagram), -ENOMSG, "an extension header");
}

Test(xdp_frame, socket_addresses_go_both_ways)
{
	struct sockaddr_storage address;
	struct frame_address frame = { .port = htons(7) }, back = { .port = 0 };

	inet_pton(AF_INET, "192.0.2.1", frame.ip);
	cr_assert_eq(frame_sockaddr(AF_INET, &frame, &address), sizeof(struct sockaddr_in));
	cr_assert_eq(frame_from_sockaddr(&address, &back), AF_INET);
	cr_assert_arr_eq(&back, &frame, sizeof(back));
	memset(&frame, 0, sizeof(frame));
	inet_pton(AF_INET6, "::ffff:192.0.2.1", frame.ip);
	cr_assert_eq(frame_sockaddr(AF_INET6, &frame, &address), sizeof(struct sockaddr_in6));
	cr_assert_eq(frame_from_sockaddr(&address, &back), AF_INET, "IPv4 in an IPv6 socket");
	address.ss_family = AF_UNIX;
	cr_assert_eq(frame_from_sockaddr(&address, &back), -EAFNOSUPPORT);
}
