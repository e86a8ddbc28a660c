/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* route.c: see route.h. One answer takes a route, its interface and the next neighbour. */
#include "xdp/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xdp/netlink.h"

#define NUD_KNOWN (NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

struct netroute {
	int ask_fd, told_fd;
	uint32_t generation;
};

/* ---- what changes ---------------------------------------------------------------------------- */

int netroute_open(struct netroute **ret_route)
{
	static const int groups[] = { RTNLGRP_LINK,        RTNLGRP_NEIGH,
				      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				      RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE,
				      RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
				      RTNLGRP_TC,          0 };
	struct netroute *route = calloc(1, sizeof(*route));
	int rc;

	if (!route)
		return -ENOMEM;
	route->ask_fd = netlink_open(NETLINK_ROUTE, NULL);
	route->told_fd = route->ask_fd < 0 ? route->ask_fd : netlink_open(NETLINK_ROUTE, groups);
	if (route->told_fd < 0) {
		rc = route->told_fd;
		netroute_close(route);
		return rc;
	}
	*ret_route = route;
	return 0;
}

void netroute_close(struct netroute *route)
{
	if (!route)
		return;
	if (route->ask_fd >= 0)
		close(route->ask_fd);
	if (route->told_fd >= 0)
		close(route->told_fd);
	free(route);
}

uint32_t netroute_generation(struct netroute *route)
{
	char byte;

	/* what it was does not matter; ENOBUFS: so much that some of it was lost */
	for (;;) {
		ssize_t n = recv(route->told_fd, &byte, 1, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != ENOBUFS)
			return route->generation;
		route->generation++;
	}
}

int netroute_fd(const struct netroute *route)
{
	return route->told_fd;
}

/* ---- interfaces ------------------------------------------------------------------------------ */

int netroute_link(struct netroute *route, uint32_t ifindex, struct netroute_link *ret)
{
	const struct ifinfomsg ask = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex };
	const struct rtattr *at[IFLA_LINKINFO + 32], *info[IFLA_INFO_MAX + 1];
	const uint32_t filter = RTEXT_FILTER_SKIP_STATS;
	struct netlink_message message;
	const struct ifinfomsg *link;
	uint8_t carrier = 1;
	int rc;

	memset(ret, 0, sizeof(*ret));
	ret->ifindex = ifindex;
	netlink_begin(&message, RTM_GETLINK, 0, &ask, sizeof(ask));
	netlink_add(&message, IFLA_EXT_MASK, &filter, sizeof(filter));
	rc = netlink_ask(route->ask_fd, &message);
	if (rc)
		return rc;
	if (message.head.nlmsg_type != RTM_NEWLINK)
		return -EPROTO;
	link = NLMSG_DATA(&message.head);
	netlink_attributes(&message, sizeof(*link), at, sizeof(at) / sizeof(at[0]) - 1);
	netlink_nested(at[IFLA_LINKINFO], info, IFLA_INFO_MAX);
	netlink_get_text(at[IFLA_IFNAME], ret->name, sizeof(ret->name));
	netlink_get_text(info[IFLA_INFO_KIND], ret->kind, sizeof(ret->kind));
	netlink_get_text(at[IFLA_QDISC], ret->qdisc, sizeof(ret->qdisc));
	netlink_get(at[IFLA_ADDRESS], ret->mac, sizeof(ret->mac));
	netlink_get(at[IFLA_MTU], &ret->mtu, sizeof(ret->mtu));
	netlink_get(at[IFLA_NUM_TX_QUEUES], &ret->tx_queues, sizeof(ret->tx_queues));
	netlink_get(at[IFLA_NUM_RX_QUEUES], &ret->rx_queues, sizeof(ret->rx_queues));
	netlink_get(at[IFLA_CARRIER], &carrier, sizeof(carrier));
	ret->type = link->ifi_type;
	ret->up = (link->ifi_flags & IFF_UP) && carrier;
	return 0;
}

/* A queue discipline that does nothing but queue. Through others frames would have to go. */
static bool link_is_shaped(const struct netroute_link *link)
{
	static const char *const plain[] = { "noqueue", "mq",    "pfifo_fast", "fq_codel",
					     "fq",      "pfifo", "bfifo",      "" };

	for (unsigned int i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (strcmp(link->qdisc, plain[i]) == 0)
			return false;
	return true;
}

static enum netroute_verdict link_verdict(const struct netroute_link *link)
{
	if (link->type == ARPHRD_LOOPBACK)
		return NETROUTE_LOCAL;
	if (!link->up)
		return NETROUTE_LINK_DOWN;
	if (strcmp(link->kind, "vlan") == 0)
		return NETROUTE_LINK_VLAN;
	if (link->type != ARPHRD_ETHER)
		return NETROUTE_LINK_KIND;
	return link_is_shaped(link) ? NETROUTE_LINK_SHAPED : NETROUTE_OK;
}

/* ---- neighbours ------------------------------------------------------------------------------ */

static size_t address_bytes(int family)
{
	return family == AF_INET ? 4 : 16;
}

static void neighbour_begin(struct netlink_message *message, uint16_t type, uint16_t flags,
			    uint8_t use, const struct netroute_query *query,
			    const struct netroute_answer *answer)
{
	const struct ndmsg ask = { .ndm_family = (uint8_t)query->family,
				   .ndm_ifindex = (int)answer->link.ifindex,
				   .ndm_flags = use };

	netlink_begin(message, type, flags, &ask, sizeof(ask));
	netlink_add(message, NDA_DST, answer->next_ip, address_bytes(query->family));
}

/* As a packet of the kernel's own would: it looks for the neighbour, or whether it is still there.
 * Return: 0; -EPERM: without CAP_NET_ADMIN only a packet can do it. */
static int neighbour_poke(struct netroute *route, const struct netroute_query *query,
			  const struct netroute_answer *answer)
{
	struct netlink_message message;

	neighbour_begin(&message, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, NTF_USE,
			query, answer);
	return netlink_ask(route->ask_fd, &message);
}

static enum netroute_verdict neighbour_find(struct netroute *route,
					    const struct netroute_query *query,
					    struct netroute_answer *answer)
{
	const struct rtattr *at[NDA_MAX + 1];
	struct netlink_message message;
	const struct ndmsg *neighbour;
	int rc;

	neighbour_begin(&message, RTM_GETNEIGH, 0, 0, query, answer);
	rc = netlink_ask(route->ask_fd, &message);
	if (rc == -ENOENT) {
		(void)neighbour_poke(route, query, answer);
		return NETROUTE_NEIGHBOUR_UNKNOWN;
	}
	if (rc || message.head.nlmsg_type != RTM_NEWNEIGH)
		return NETROUTE_ERROR;
	neighbour = NLMSG_DATA(&message.head);
	netlink_attributes(&message, sizeof(*neighbour), at, NDA_MAX);
	if (neighbour->ndm_state & NUD_FAILED) {
		(void)neighbour_poke(route, query, answer);
		return NETROUTE_NEIGHBOUR_FAILED;
	}
	if (!(neighbour->ndm_state & (NUD_KNOWN | NUD_STALE)) || !at[NDA_LLADDR] ||
	    RTA_PAYLOAD(at[NDA_LLADDR]) != 6)
		return NETROUTE_NEIGHBOUR_UNKNOWN;
	memcpy(answer->next_mac, RTA_DATA(at[NDA_LLADDR]), 6);
	if ((neighbour->ndm_state & NUD_STALE) && neighbour_poke(route, query, answer))
		return NETROUTE_NEIGHBOUR_STALE;
	return NETROUTE_OK;
}

/* ---- routes ---------------------------------------------------------------------------------- */

static bool is_set(const uint8_t ip[16])
{
	static const uint8_t zero[16];

	return memcmp(ip, zero, sizeof(zero)) != 0;
}

static int path_ask(struct netroute *route, const struct netroute_query *query,
		    struct netlink_message *message)
{
	const size_t bytes = address_bytes(query->family);
	const uint8_t protocol = IPPROTO_UDP;
	const struct rtmsg ask = { .rtm_family = (uint8_t)query->family,
				   .rtm_dst_len = (uint8_t)(8 * bytes),
				   .rtm_src_len = (uint8_t)(is_set(query->from.ip) ? 8 * bytes : 0),
				   .rtm_tos = query->tos & 0x1c };

	netlink_begin(message, RTM_GETROUTE, 0, &ask, sizeof(ask));
	netlink_add(message, RTA_DST, query->to.ip, bytes);
	if (is_set(query->from.ip))
		netlink_add(message, RTA_SRC, query->from.ip, bytes);
	if (query->oif)
		netlink_add(message, RTA_OIF, &query->oif, sizeof(query->oif));
	if (query->mark)
		netlink_add(message, RTA_MARK, &query->mark, sizeof(query->mark));
	/* rules and the choice among several gateways may look at ports */
	netlink_add(message, RTA_IP_PROTO, &protocol, sizeof(protocol));
	if (query->from.port)
		netlink_add(message, RTA_SPORT, &query->from.port, sizeof(query->from.port));
	if (query->to.port)
		netlink_add(message, RTA_DPORT, &query->to.port, sizeof(query->to.port));
	return netlink_ask(route->ask_fd, message);
}

static enum netroute_verdict path_type(uint8_t type)
{
	switch (type) {
	case RTN_UNICAST:
		return NETROUTE_OK;
	case RTN_LOCAL:
	case RTN_ANYCAST:
		return NETROUTE_LOCAL;
	case RTN_BROADCAST:
	case RTN_MULTICAST:
		return NETROUTE_GROUP;
	default:
		return NETROUTE_UNREACHABLE;
	}
}

static void path_gateway(const struct rtattr *const *at, int family, struct netroute_answer *answer)
{
	const size_t bytes = address_bytes(family);

	if (at[RTA_GATEWAY] && RTA_PAYLOAD(at[RTA_GATEWAY]) >= bytes) {
		netlink_get(at[RTA_GATEWAY], answer->next_ip, bytes);
		answer->gateway = true;
	}
}

static enum netroute_verdict path_find(struct netroute *route, const struct netroute_query *query,
				       struct netroute_answer *answer, uint32_t *ret_mtu)
{
	const size_t bytes = address_bytes(query->family);
	const struct rtattr *at[RTA_MAX + 1], *metric[RTAX_MAX + 1];
	struct netlink_message message;
	enum netroute_verdict verdict;
	const struct rtmsg *path;
	int rc = path_ask(route, query, &message);

	if (rc == -EPROTO)
		return NETROUTE_ERROR;
	if (rc)
		return NETROUTE_UNREACHABLE;
	path = NLMSG_DATA(&message.head);
	if (message.head.nlmsg_type != RTM_NEWROUTE)
		return NETROUTE_ERROR;
	verdict = path_type(path->rtm_type);
	if (verdict != NETROUTE_OK)
		return verdict;
	netlink_attributes(&message, sizeof(*path), at, RTA_MAX);
	netlink_nested(at[RTA_METRICS], metric, RTAX_MAX);
	netlink_get(at[RTA_OIF], &answer->link.ifindex, sizeof(answer->link.ifindex));
	netlink_get(metric[RTAX_MTU], ret_mtu, sizeof(*ret_mtu));
	if (!is_set(answer->from_ip))
		netlink_get(at[RTA_PREFSRC], answer->from_ip, bytes);
	path_gateway(at, query->family, answer);
	/* a gateway of the other family has a neighbour of that family */
	if (at[RTA_ENCAP] || at[RTA_ENCAP_TYPE] || at[RTA_NEWDST] || at[RTA_VIA])
		return NETROUTE_ENCAPSULATED;
	return answer->link.ifindex ? NETROUTE_OK : NETROUTE_ERROR;
}

/* Multicast has routes of type unicast in IPv6. */
static bool is_group(int family, const uint8_t ip[16])
{
	if (family == AF_INET6)
		return ip[0] == 0xff;
	return (ip[0] & 0xf0) == 0xe0 || (ip[0] & ip[1] & ip[2] & ip[3]) == 0xff;
}

void netroute_find(struct netroute *route, const struct netroute_query *query,
		   struct netroute_answer *ret)
{
	uint32_t mtu = 0, ifindex;
	int rc;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->from_ip, query->from.ip, sizeof(ret->from_ip));
	memcpy(ret->next_ip, query->to.ip, sizeof(ret->next_ip));
	if (is_group(query->family, query->to.ip)) {
		ret->verdict = NETROUTE_GROUP;
		return;
	}
	ret->verdict = path_find(route, query, ret, &mtu);
	if (ret->verdict != NETROUTE_OK)
		return;
	ifindex = ret->link.ifindex;
	rc = netroute_link(route, ifindex, &ret->link);
	if (rc) {
		ret->verdict = rc == -ENODEV ? NETROUTE_LINK_GONE : NETROUTE_ERROR;
		return;
	}
	ret->mtu = mtu && mtu < ret->link.mtu ? mtu : ret->link.mtu;
	ret->verdict = link_verdict(&ret->link);
	if (ret->verdict == NETROUTE_OK)
		ret->verdict = neighbour_find(route, query, ret);
}

/* ---- words ----------------------------------------------------------------------------------- */

const char *netroute_verdict_text(enum netroute_verdict verdict)
{
	switch (verdict) {
	case NETROUTE_OK:
		return "can be reached";
	case NETROUTE_LOCAL:
		return "the destination is on this machine";
	case NETROUTE_GROUP:
		return "the destination is a multicast or broadcast address";
	case NETROUTE_UNREACHABLE:
		return "there is no route to the destination";
	case NETROUTE_ENCAPSULATED:
		return "the route leads into a tunnel";
	case NETROUTE_LINK_DOWN:
		return "the interface is down or has no carrier";
	case NETROUTE_LINK_GONE:
		return "the interface is gone";
	case NETROUTE_LINK_VLAN:
		return "a VLAN interface, whose frames would need a tag";
	case NETROUTE_LINK_KIND:
		return "the interface is no Ethernet";
	case NETROUTE_LINK_SHAPED:
		return "a queue discipline of the interface would be bypassed";
	case NETROUTE_NEIGHBOUR_UNKNOWN:
		return "the hardware address of the next hop is not known yet";
	case NETROUTE_NEIGHBOUR_STALE:
		return "the hardware address of the next hop is old, and asking for it needs a "
		       "packet of the kernel's or CAP_NET_ADMIN";
	case NETROUTE_NEIGHBOUR_FAILED:
		return "the next hop does not answer";
	case NETROUTE_ERROR:
		break;
	}
	return "the kernel's answer about the route was not understood";
}

void netroute_say(const struct netroute_answer *answer, char *text, size_t size)
{
	const char *name = answer->link.name;

	if (answer->verdict == NETROUTE_LINK_SHAPED)
		snprintf(text, size, "%s: its queue discipline %s would be bypassed", name,
			 answer->link.qdisc);
	else
		snprintf(text, size, "%s%s%s", name, name[0] ? ": " : "",
			 netroute_verdict_text(answer->verdict));
}
