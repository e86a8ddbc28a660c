/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* test_xdp_route.c: what the kernel says about ways to an address, in a namespace of two hosts. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns.h"
#include "xdp/route.h"

static struct netns net = { .a = -1, .b = -1, .life = -1 };
static struct netroute *route;

static void setup(void)
{
	const char *why = netns_why_not();

	if (why)
		cr_skip_test("%s", why);
	if (!netns_make(&net, 1500, 1))
		cr_skip_test("namespaces with a veth pair cannot be made");
	cr_assert_eq(netroute_open(&route), 0);
}

static void teardown(void)
{
	netroute_close(route);
	route = NULL;
	netns_release(&net);
}

TestSuite(xdp_route, .init = setup, .fini = teardown, .timeout = 60);

static struct netroute_answer ask(const char *to)
{
	struct netroute_query query = { .family = strchr(to, ':') ? AF_INET6 : AF_INET };
	struct netroute_answer answer;

	cr_assert_eq(inet_pton(query.family, to, query.to.ip), 1);
	query.to.port = htons(9);
	netroute_find(route, &query, &answer);
	return answer;
}

/* Until the verdict is @want; the kernel takes its time. */
static struct netroute_answer ask_until(const char *to, enum netroute_verdict want)
{
	struct netroute_answer answer = ask(to);

	for (int i = 0; i < 500 && answer.verdict != want; i++) {
		(void)poll(NULL, 0, 10);
		answer = ask(to);
	}
	return answer;
}

Test(xdp_route, neighbour_is_unknown_then_found_without_a_packet_of_ours)
{
	const char *const to[] = { "10.99.0.2", "fd99::2" };

	for (int i = 0; i < 2; i++) {
		struct netroute_answer answer = ask(to[i]);

		cr_assert_eq(answer.verdict, NETROUTE_NEIGHBOUR_UNKNOWN, "%s", to[i]);
		answer = ask_until(to[i], NETROUTE_OK);
		cr_assert_eq(answer.verdict, NETROUTE_OK, "%s", to[i]);
		cr_assert_arr_eq(answer.next_mac, "\x02\0\0\0\x0b\x02", 6);
		cr_assert_arr_eq(answer.link.mac, "\x02\0\0\0\x0a\x01", 6);
		cr_assert_str_eq(answer.link.name, "va");
		cr_assert_str_eq(answer.link.kind, "veth");
		cr_assert_eq(answer.mtu, 1500);
		cr_assert_eq(answer.link.tx_queues, 1);
		cr_assert_not(answer.gateway);
		cr_assert_eq(answer.from_ip[i ? 15 : 3], 1);
	}
}

Test(xdp_route, own_addresses_and_loopback_are_local)
{
	const char *const to[] = { "127.0.0.1", "10.99.0.1", "::1", "fd99::1" };

	for (int i = 0; i < 4; i++)
		cr_assert_eq(ask(to[i]).verdict, NETROUTE_LOCAL, "%s", to[i]);
}

Test(xdp_route, groups_are_refused)
{
	const char *const to[] = { "10.99.0.255", "255.255.255.255", "224.0.0.1", "ff02::1" };

	for (int i = 0; i < 4; i++)
		cr_assert_eq(ask(to[i]).verdict, NETROUTE_GROUP, "%s", to[i]);
}

Test(xdp_route, no_route_and_refusing_routes)
{
	cr_assert_eq(ask("192.0.2.1").verdict, NETROUTE_UNREACHABLE);
	cr_assert_eq(ask("2001:db8::1").verdict, NETROUTE_UNREACHABLE);
	cr_assert(netns_run("ip route add unreachable 192.0.2.0/24"));
	cr_assert(netns_run("ip route add blackhole 198.51.100.0/24"));
	cr_assert_eq(ask("192.0.2.1").verdict, NETROUTE_UNREACHABLE);
	cr_assert_eq(ask("198.51.100.1").verdict, NETROUTE_UNREACHABLE);
}

Test(xdp_route, gateway_is_the_next_hop_and_the_route_bounds_the_mtu)
{
	struct netroute_answer answer;

	cr_assert(netns_run("ip route add 192.0.2.0/24 via 10.99.0.2 mtu 1300"));
	cr_assert(netns_run("ip -6 route add 2001:db8::/32 via fd99::2"));
	answer = ask_until("192.0.2.7", NETROUTE_OK);
	cr_assert_eq(answer.verdict, NETROUTE_OK);
	cr_assert(answer.gateway);
	cr_assert_eq(answer.mtu, 1300);
	cr_assert_arr_eq(answer.next_mac, "\x02\0\0\0\x0b\x02", 6);
	answer = ask_until("2001:db8::1", NETROUTE_OK);
	cr_assert_eq(answer.verdict, NETROUTE_OK);
	cr_assert(answer.gateway);
}

Test(xdp_route, neighbour_that_does_not_answer_has_failed)
{
	cr_assert_eq(ask("10.99.0.77").verdict, NETROUTE_NEIGHBOUR_UNKNOWN);
	cr_assert_eq(ask_until("10.99.0.77", NETROUTE_NEIGHBOUR_FAILED).verdict,
		     NETROUTE_NEIGHBOUR_FAILED);
}

Test(xdp_route, neighbour_that_is_old_is_asked_for)
{
	struct netroute_answer answer;

	(void)ask_until("10.99.0.2", NETROUTE_OK);
	cr_assert(
		netns_run("ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:02 nud stale"));
	answer = ask("10.99.0.2");
	cr_assert_eq(answer.verdict, NETROUTE_OK);
	cr_assert(netns_run("ip neigh show to 10.99.0.2 | grep -qE 'DELAY|PROBE|REACHABLE'"));
}

Test(xdp_route, link_down_and_shaped_links_are_refused)
{
	char text[160];
	struct netroute_answer answer;

	if (netns_run("tc qdisc add dev va root netem loss 1%% 2> /dev/null")) {
		answer = ask("10.99.0.2");
		cr_assert_eq(answer.verdict, NETROUTE_LINK_SHAPED);
		netroute_say(&answer, text, sizeof(text));
		cr_assert(strstr(text, "va") && strstr(text, "netem"), "%s", text);
		cr_assert(netns_run("tc qdisc del dev va root"));
	}
	cr_assert(netns_enter(net.b) && netns_run("ip link set vb down") && netns_enter(net.a));
	cr_assert_eq(ask_until("10.99.0.2", NETROUTE_LINK_DOWN).verdict, NETROUTE_LINK_DOWN);
}

Test(xdp_route, every_change_moves_the_generation)
{
	static const char *const changes[] = {
		"ip link set va mtu 1400",
		"ip neigh replace 10.99.0.9 dev va lladdr 02:00:00:00:00:09 nud permanent",
		"ip neigh del 10.99.0.9 dev va",
		"ip addr add 10.98.0.1/24 dev va",
		"ip route add 192.0.2.0/24 via 10.99.0.2",
		"ip -6 route add 2001:db8::/32 via fd99::2",
		"ip rule add fwmark 7 table 100",
		"ip link set va down",
		"ip link del va",
	};

	for (unsigned int i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint32_t before, after;

		(void)poll(NULL, 0, 20); /* what the last one brought in its wake */
		before = netroute_generation(route);
		cr_assert_eq(netroute_generation(route), before, "nothing happened");
		if (!netns_run("%s 2> /dev/null", changes[i]) && strstr(changes[i], "rule"))
			continue; /* a kernel without rules */
		after = netroute_generation(route);
		cr_assert_neq(before, after, "%s", changes[i]);
	}
}
