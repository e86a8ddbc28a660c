/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * route.h: what a frame to an address needs: interface, hardware addresses, source address and
 * largest packet, asked of the kernel by rtnetlink; and why a frame to that address must not be
 * built. Nothing here waits for the network: the kernel answers from its tables at once, and a
 * neighbour that is not known is only asked for.
 *
 * Whoever keeps an answer looks at netroute_generation() before each batch: it grows with every change
 * of interfaces, addresses, routes, rules and neighbours that the kernel told of, and the answer is
 * asked for anew then. Unprivileged, but for NTF_USE.
 */
#ifndef TAIO_XDP_ROUTE_H
#define TAIO_XDP_ROUTE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xdp/frame.h"

/* Why frames to an address can be built, or cannot. */
enum netroute_verdict {
	NETROUTE_OK = 0,
	NETROUTE_LOCAL,        /* an address of this machine, or the loopback */
	NETROUTE_GROUP,        /* multicast or broadcast */
	NETROUTE_UNREACHABLE,  /* no route, or one that refuses: the socket will say how */
	NETROUTE_ENCAPSULATED, /* a tunnel in the route: MPLS, segment routing, BPF, ... */
	NETROUTE_LINK_DOWN,    /* the interface is down or has no carrier */
	NETROUTE_LINK_GONE,
	NETROUTE_LINK_VLAN,   /* a VLAN interface: frames belong to the one below, with a tag */
	NETROUTE_LINK_KIND,   /* no Ethernet */
	NETROUTE_LINK_SHAPED, /* a queue discipline that delays, drops or counts on purpose */
	NETROUTE_NEIGHBOUR_UNKNOWN, /* not known yet */
	NETROUTE_NEIGHBOUR_STALE, /* known once; only the kernel may find out whether it still is */
	NETROUTE_NEIGHBOUR_FAILED,
	NETROUTE_ERROR /* the kernel did not answer as expected */
};

struct netroute_link {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	char kind[16];  /* "veth", "vlan", ...; empty: hardware */
	char qdisc[16]; /* of the root */
	uint8_t mac[6];
	uint32_t mtu;
	uint32_t tx_queues, rx_queues;
	uint16_t type; /* ARPHRD_... */
	bool up;       /* and has a carrier */
};

/* Whom to ask about. */
struct netroute_query {
	int family;                /* AF_INET or AF_INET6 */
	struct frame_address from; /* ip all 0: the kernel chooses */
	struct frame_address to;
	uint32_t
		oif; /* only through this interface (a bound socket, a link-local address); 0: any */
	uint32_t mark; /* SO_MARK */
	uint8_t tos;
};

struct netroute_answer {
	enum netroute_verdict verdict;
	struct netroute_link link; /* as far as it came */
	uint8_t from_ip[16]; /* the route's own source address; from of the query, if it had one */
	uint8_t next_ip[16]; /* gateway, or the destination itself */
	uint8_t next_mac[6];
	uint32_t mtu; /* of IP packets: the interface's, or the route's if that is smaller */
	bool gateway;
};

struct netroute;

/* Two netlink sockets of the network namespace that the thread is in. Return: 0, negative errno. */
int netroute_open(struct netroute **ret_route);
void netroute_close(struct netroute *route);

/* Drops what the kernel told since the last call. One system call when it told nothing. */
uint32_t netroute_generation(struct netroute *route);
/* A descriptor that polls readable when it told something. */
int netroute_fd(const struct netroute *route);

/* About three requests to the kernel. An answer of other verdicts than NETROUTE_OK holds what was found
 * before. A neighbour that is unknown or stale is poked once. */
void netroute_find(struct netroute *route, const struct netroute_query *query,
		   struct netroute_answer *ret);

/* One interface. Return: 0; -ENODEV; other negative errno. */
int netroute_link(struct netroute *route, uint32_t ifindex, struct netroute_link *ret);

/* "the destination is on this machine", ... */
const char *netroute_verdict_text(enum netroute_verdict verdict);
/* The same with names: "va: queue discipline tbf shapes its traffic". */
void netroute_say(const struct netroute_answer *answer, char *text, size_t size);

#endif /* TAIO_XDP_ROUTE_H */
