/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_xdp_socket.c: AF_XDP sockets on a veth pair: what they send arrives at a plain UDP socket,
 * chunks come back, and what cannot be had is said in words. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"
#include "xdp/frame.h"
#include "xdp/route.h"
#include "xdp/xsk.h"

static struct netns net = { .a = -1, .b = -1, .life = -1 };
static struct xsk xsk = { .fd = -1 };
static char reason[160];

static const struct xsk_config usual = {
	.want = XSK_TX, .chunks = 64, .chunk = 2048, .tx_entries = 64, .patience_ms = 200
};

static void setup(void)
{
	const char *why = netns_why_not();

	if (why)
		cr_skip_test("%s", why);
	if (!netns_make(&net, 1500, 2))
		cr_skip_test("namespaces with a veth pair cannot be made");
}

static void teardown(void)
{
	xsk_close(&xsk);
	netns_release(&net);
}

TestSuite(xdp_socket, .init = setup, .fini = teardown, .timeout = 60);

static int open_with(struct xsk *socket, uint32_t want, uint32_t queue, uint32_t chunks)
{
	struct xsk_config config = usual;

	config.ifindex = if_nametoindex("va");
	config.want = want;
	config.queue = queue;
	config.chunks = chunks;
	reason[0] = '\0';
	return xsk_open(socket, &config, reason, sizeof(reason));
}

static void must_open(void)
{
	int rc = open_with(&xsk, XSK_TX, 0, usual.chunks);

	if (rc == -EAFNOSUPPORT)
		cr_skip_test("%s", reason);
	cr_assert_eq(rc, 0, "%s", reason);
}

/* A UDP socket of host b on port 9, with a time limit. */
static int receiver(int family)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	const struct timeval limit = { .tv_sec = 10 };
	int fd, rc;

	cr_assert(netns_enter(net.b));
	fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	rc = family == AF_INET ? bind(fd, (struct sockaddr *)&sin, sizeof(sin))
			       : bind(fd, (struct sockaddr *)&sin6, sizeof(sin6));
	cr_assert_eq(rc, 0);
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	cr_assert(netns_enter(net.a));
	return fd;
}

static struct frame_flow flow_to_b(int family)
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

/* How the checksum is made. */
enum how {
	SOFTWARE,
	METADATA
};

static void put_frame(struct frame_flow *flow, uint32_t number, uint32_t ahead, enum how how)
{
	const uint64_t at = (uint64_t)(number % xsk.chunks) * xsk.chunk + 64;
	uint8_t *frame = xsk.umem + at, *payload = frame + flow->head_bytes;
	struct xdp_desc *desc = xsk_ring_desc(&xsk.tx, ahead);

	memcpy(payload, &number, 4);
	desc->addr = at;
	desc->len = flow->head_bytes + 4U;
	desc->options = 0;
	if (how == SOFTWARE) {
		frame_head(flow, frame, 4, frame_sum(payload, 4));
	} else {
		const struct xsk_metadata metadata = { .flags = XSK_METADATA_CHECKSUM,
						       .csum_start =
							       (uint16_t)frame_csum_start(flow),
						       .csum_offset = FRAME_CSUM_OFFSET };

		memcpy(frame - sizeof(metadata), &metadata, sizeof(metadata));
		desc->options = XDP_TX_METADATA;
		frame_head_partial(flow, frame, 4);
	}
}

/* Sends @count numbered frames; all their chunks must come back. */
static void send_frames(struct frame_flow *flow, uint32_t count, enum how how)
{
	uint32_t sent = 0, back = 0;

	for (int tries = 0; back < count && tries < 100000; tries++) {
		uint32_t n = xsk_ring_ready(&xsk.completion, 64);

		xsk_ring_release(&xsk.completion, n);
		back += n;
		n = xsk_ring_room(&xsk.tx, count - sent);
		if (n > xsk.chunks - (sent - back))
			n = xsk.chunks - (sent - back);
		for (uint32_t i = 0; i < n; i++)
			put_frame(flow, sent + i, i, how);
		xsk_ring_submit(&xsk.tx, n);
		sent += n;
		(void)xsk_kick(&xsk);
	}
	cr_assert_eq(sent, count);
	cr_assert_eq(back, count, "chunks came back");
	cr_assert_eq(xsk_tx_pending(&xsk), 0);
}

static void arrive(int family, enum how how)
{
	struct frame_flow flow = flow_to_b(family);
	int fd = receiver(family);

	if (how == METADATA && !xsk.metadata)
		cr_skip_test("no TX metadata in this kernel (6.11)");
	for (uint32_t round = 0; round < 5; round++) {
		send_frames(&flow, 50, how);
		for (uint32_t i = 0; i < 50; i++) {
			uint32_t number = 0;

			cr_assert_eq(recv(fd, &number, 4, 0), 4, "round %u, %u", round, i);
			cr_assert_eq(number, i);
		}
	}
	close(fd);
}

Test(xdp_socket, frames_arrive_ipv4)
{
	must_open();
	arrive(AF_INET, SOFTWARE);
}

Test(xdp_socket, frames_arrive_ipv6)
{
	must_open();
	arrive(AF_INET6, SOFTWARE);
}

Test(xdp_socket, kernel_finishes_checksums_ipv4)
{
	must_open();
	arrive(AF_INET, METADATA);
}

Test(xdp_socket, kernel_finishes_checksums_ipv6)
{
	must_open();
	arrive(AF_INET6, METADATA);
}

Test(xdp_socket, mode_and_reason_are_told)
{
	must_open();
	cr_assert_not(xsk.zero_copy, "veth has none");
	cr_assert_str_eq(xsk_mode_text(&xsk), "copy mode: the driver has no zero copy");
	xsk_close(&xsk);
	cr_assert_eq(open_with(&xsk, XSK_TX | XSK_COPY, 0, 64), 0, "%s", reason);
	cr_assert_str_eq(xsk_mode_text(&xsk), "copy mode: asked for");
}

Test(xdp_socket, queue_that_is_taken_is_busy_and_free_again_after_close)
{
	struct xsk second = { .fd = -1 };

	must_open();
	cr_assert_eq(open_with(&second, XSK_TX, 0, 64), -EBUSY);
	cr_assert_str_eq(reason, "queue 0 of va is taken by another AF_XDP socket");
	cr_assert_eq(open_with(&second, XSK_TX, 1, 64), 0, "%s", reason);
	xsk_close(&xsk);
	cr_assert_eq(open_with(&xsk, XSK_TX, 0, 64), 0, "after some milliseconds: %s", reason);
	xsk_close(&second);
}

Test(xdp_socket, one_socket_sends_and_receives)
{
	cr_assert_eq(open_with(&xsk, XSK_TX | XSK_RX, 0, 64), 0, "%s", reason);
	cr_assert_gt(xsk.rx.size, 0);
	cr_assert_gt(xsk.fill.size, 0);
	arrive(AF_INET, SOFTWARE);
}

Test(xdp_socket, no_such_queue_and_no_such_interface)
{
	struct xsk_config config = usual;

	cr_assert_eq(open_with(&xsk, XSK_TX, 2, 64), -EINVAL);
	cr_assert_str_eq(reason, "va has no queue 2");
	config.ifindex = 4711;
	cr_assert_eq(xsk_open(&xsk, &config, reason, sizeof(reason)), -ENODEV);
	cr_assert_str_eq(reason, "there is no interface 4711");
}

Test(xdp_socket, missing_capability_is_named)
{
	cr_assert_eq(setresuid(65534, 65534, 65534), 0);
	cr_assert_eq(open_with(&xsk, XSK_TX, 0, 64), -EPERM);
	cr_assert_str_eq(reason, "AF_XDP needs CAP_NET_RAW, which this process lacks");
}

Test(xdp_socket, interface_that_vanishes_is_noticed_at_the_next_kick)
{
	struct frame_flow flow;
	int rc = 0;

	must_open();
	flow = flow_to_b(AF_INET);
	send_frames(&flow, 10, SOFTWARE);
	cr_assert(netns_run("ip link del va"));
	for (int i = 0; i < 200 && (rc == 0 || rc == -EAGAIN); i++) {
		put_frame(&flow, 0, 0, SOFTWARE);
		if (xsk_ring_room(&xsk.tx, 1))
			xsk_ring_submit(&xsk.tx, 1);
		rc = xsk_kick(&xsk);
		(void)poll(NULL, 0, 5);
	}
	cr_assert(rc == -ENETDOWN || rc == -ENXIO, "%d", rc);
}
