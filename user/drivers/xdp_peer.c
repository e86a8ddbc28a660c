/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_peer.c: sockets and destinations of the device "afxdp". A socket is looked at for everything
 * that its datagrams would get from the kernel and frames would not, a destination for the way to
 * it. Both answers are kept: addresses are read again with each request, options each millisecond,
 * the way when the kernel tells of a change. A refusal is kept for a while, then tried again.
 */
#include "drivers/xdp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "drivers/netops.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* 5.14 */
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define OPTIONS_NS 1000000ULL  /* options of a socket are read again */
#define REFUSED_NS 10000000ULL /* what was refused is tried again */
#define NEWS_NS    50000ULL    /* the kernel is asked whether something changed */

/* ---- opening --------------------------------------------------------------------------------- */

static uint64_t netns_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

int xdp_peers_open(struct xdp *xdp)
{
	int rc = netroute_open(&xdp->route);

	if (rc)
		return rc;
	xdp->peer = calloc(XDP_PEERS, sizeof(*xdp->peer));
	if (!xdp->peer) {
		netroute_close(xdp->route);
		xdp->route = NULL;
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < XDP_PEERS; i++)
		xdp->peer[i].fd = -1;
	for (unsigned int i = 0; i < XDP_SOCKETS; i++)
		xdp->socket[i].fd = -1;
	xdp->netns = netns_cookie(netroute_fd(xdp->route));
	return 0;
}

/* ---- refusing -------------------------------------------------------------------------------- */

static void xdp_say(struct xdp *xdp, int family, const struct frame_address *to, const char *reason)
{
	char address[INET6_ADDRSTRLEN] = "?", line[256];

	snprintf(xdp->last_reason, sizeof(xdp->last_reason), "%s", reason);
	if (!to) {
		snprintf(line, sizeof(line), "afxdp: %s; left to the socket", reason);
	} else {
		inet_ntop(family, to->ip, address, sizeof(address));
		snprintf(line, sizeof(line), "afxdp: %s port %u: %s; left to the socket", address,
			 ntohs(to->port), reason);
	}
	if (xdp->dev->host->log)
		xdp->dev->host->log(xdp->dev->host, line);
}

void xdp_refuse(struct xdp *xdp, const struct xdp_peer *peer, const char *reason)
{
	if (strcmp(xdp->last_reason, reason) != 0)
		xdp_say(xdp, peer->family, &peer->to, reason);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static int option(int fd, int level, int name)
{
	socklen_t size = sizeof(int);
	int value = 0;

	return getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

/* What the kernel would do to the datagrams of this socket and we cannot. */
static const char *socket_unfit(const struct xdp *xdp, const struct xdp_socket *socket)
{
	const int fd = socket->fd;
	uint8_t options[64];
	socklen_t size = sizeof(options);
	unsigned int pace = ~0U;

	if (option(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_UDP)
		return "no UDP socket";
	if (xdp->netns && netns_cookie(fd) != xdp->netns)
		return "a socket of another network namespace";
	if (option(fd, IPPROTO_UDP, UDP_CORK) > 0 || option(fd, IPPROTO_UDP, UDP_SEGMENT) > 0)
		return "the socket has UDP_CORK or UDP_SEGMENT set";
	if (socket->family == AF_INET &&
	    getsockopt(fd, IPPROTO_IP, IP_OPTIONS, options, &size) == 0 && size > 0)
		return "the socket has IP options set";
	if (option(fd, SOL_SOCKET, SO_NO_CHECK) > 0)
		return "the socket has SO_NO_CHECK set";
	size = sizeof(pace);
	if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, &size) == 0 && pace != ~0U)
		return "the socket is paced (SO_MAX_PACING_RATE)";
	return NULL;
}

static void options_of(int fd, bool six, struct frame_options *ret)
{
	int value = six ? option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS)
			: option(fd, IPPROTO_IP, IP_TTL);

	ret->ttl = value > 0 ? (uint8_t)value : 0;
	value = six ? option(fd, IPPROTO_IPV6, IPV6_TCLASS) : option(fd, IPPROTO_IP, IP_TOS);
	ret->traffic_class = value > 0 ? (uint8_t)value : 0;
	ret->may_fragment = !six && option(fd, IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_DONT;
}

static void socket_options(struct xdp_socket *socket)
{
	const int fd = socket->fd;
	int value = option(fd, SOL_SOCKET, SO_MARK);

	socket->mark = value > 0 ? (uint32_t)value : 0;
	value = option(fd, SOL_SOCKET, SO_BINDTOIFINDEX);
	socket->bound = value > 0 ? (uint32_t)value : 0;
	options_of(fd, false, &socket->four);
	if (socket->family == AF_INET6)
		options_of(fd, true, &socket->six);
	value = 0;
	if (socket->peer_family == AF_INET6)
		value = option(fd, IPPROTO_IPV6, IPV6_MTU);
	else if (socket->peer_family == AF_INET)
		value = option(fd, IPPROTO_IP, IP_MTU);
	socket->path_mtu = value > 0 ? (uint32_t)value : 0;
}

static bool is_any(const struct frame_address *address)
{
	static const uint8_t zero[16];

	return memcmp(address->ip, zero, sizeof(zero)) == 0;
}

static void socket_addresses(struct xdp_socket *socket)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(address);

	socket->self_family = socket->peer_family = 0;
	socket->scope = 0;
	if (getsockname(socket->fd, (struct sockaddr *)&address, &size) == 0) {
		socket->family = address.ss_family;
		socket->self_family = frame_from_sockaddr(&address, &socket->self);
		if (socket->self_family < 0 || is_any(&socket->self))
			socket->self_family = 0;
	}
	size = sizeof(address);
	if (getpeername(socket->fd, (struct sockaddr *)&address, &size) == 0) {
		socket->peer_family = frame_from_sockaddr(&address, &socket->peer);
		if (socket->peer_family == AF_INET6)
			socket->scope = ((struct sockaddr_in6 *)&address)->sin6_scope_id;
	}
}

/* Everything that frames are made of. */
static bool socket_is_same(const struct xdp_socket *a, const struct xdp_socket *b)
{
	return a->family == b->family && a->self_family == b->self_family &&
	       a->peer_family == b->peer_family && a->mark == b->mark && a->bound == b->bound &&
	       a->scope == b->scope && a->path_mtu == b->path_mtu &&
	       memcmp(&a->self, &b->self, sizeof(a->self)) == 0 &&
	       memcmp(&a->peer, &b->peer, sizeof(a->peer)) == 0 &&
	       memcmp(&a->four, &b->four, sizeof(a->four)) == 0 &&
	       memcmp(&a->six, &b->six, sizeof(a->six)) == 0;
}

static void socket_look(struct xdp *xdp, struct xdp_socket *socket)
{
	const char *reason = socket_unfit(xdp, socket);

	socket_options(socket);
	if (!reason && socket->family != AF_INET && socket->family != AF_INET6)
		reason = "no UDP socket";
	if (!reason && socket->self.port == 0)
		reason = "the socket has no port yet";
	if (reason && strcmp(reason, socket->reason) != 0)
		xdp_say(xdp, 0, NULL, reason);
	snprintf(socket->reason, sizeof(socket->reason), "%s", reason ? reason : "");
}

struct xdp_socket *xdp_socket_get(struct xdp *xdp, int fd, bool anew)
{
	struct xdp_socket *socket = &xdp->socket[(unsigned int)fd % XDP_SOCKETS];
	const uint64_t now_ns = xdp->dev->host->now_ns();
	struct xdp_socket old;
	bool look;

	if (socket->fd != fd) {
		const uint32_t version = socket->version;

		memset(socket, 0, sizeof(*socket));
		socket->version = version + 1;
		socket->fd = fd;
		anew = true;
	}
	look = now_ns - socket->looked_ns > OPTIONS_NS;
	old = *socket;
	if (anew)
		socket_addresses(socket);
	if (look || !socket_is_same(socket, &old)) {
		socket_look(xdp, socket);
		socket->looked_ns = now_ns;
		socket->version += !socket_is_same(socket, &old);
	}
	if (!socket->reason[0])
		return socket;
	snprintf(xdp->last_reason, sizeof(xdp->last_reason), "%s", socket->reason);
	return NULL;
}

/* ---- interfaces ------------------------------------------------------------------------------ */

void xdp_place_lost(struct xdp *xdp, struct xdp_place *place, int error)
{
	char line[192];

	snprintf(place->reason, sizeof(place->reason), "%s: %s", place->port.link.name,
		 strerror(-error));
	snprintf(line, sizeof(line), "afxdp: %s; left to the sockets", place->reason);
	if (xdp->dev->host->log)
		xdp->dev->host->log(xdp->dev->host, line);
	place->until_ns = xdp->dev->host->now_ns() + REFUSED_NS;
	xdp->lost++; /* all peers are looked at again */
}

static void place_close(struct xdp *xdp, struct xdp_place *place)
{
	assert(!place->users);
	assert(!place->kicking);
	if (place->open && place->fixed >= 0)
		ring_buffer_drop(xdp->ring, (uint32_t)(place - xdp->place));
	if (place->open)
		xdp_port_close(&place->port);
	place->open = false;
	place->ifindex = 0;
}

static struct xdp_place *place_find(struct xdp *xdp, uint32_t ifindex)
{
	struct xdp_place *unused = NULL, *idle = NULL;

	for (unsigned int i = 0; i < XDP_PORTS; i++) {
		struct xdp_place *place = &xdp->place[i];

		if (place->ifindex == ifindex)
			return place;
		if (!place->ifindex)
			unused = unused ? unused : place;
		else if (!place->users && !place->kicking)
			idle = place;
	}
	return unused ? unused : idle;
}

/* Files are read into its chunks; memory that may not be registered does as well. */
static void place_register(struct xdp *xdp, struct xdp_place *place)
{
	const struct iovec iov = { place->port.xsk.umem, place->port.xsk.umem_bytes };

	place->xdp = xdp;
	place->fixed = ring_buffer_add(xdp->ring, (uint32_t)(place - xdp->place), &iov);
}

/* The open place of an interface. Return: NULL: see @reason. */
static struct xdp_place *place_get(struct xdp *xdp, const struct netroute_link *link, char *reason,
				   size_t size)
{
	struct xdp_place *place = place_find(xdp, link->ifindex);
	const uint64_t now_ns = xdp->dev->host->now_ns();
	char line[192];

	if (!place) {
		snprintf(reason, size, "all %d interfaces are in use", XDP_PORTS);
		return NULL;
	}
	if (place->ifindex != link->ifindex ||
	    (place->open && place->port.error && !place->users && !place->kicking))
		place_close(xdp, place);
	if (place->open && !place->port.error && place->until_ns <= now_ns)
		return place;
	if (!place->open && place->until_ns <= now_ns) {
		place->ifindex = link->ifindex;
		place->open = xdp_port_open(&place->port, link, place->reason,
					    sizeof(place->reason)) == 0;
		if (place->open) {
			place_register(xdp, place);
			snprintf(line, sizeof(line), "afxdp: %s queue %u: %s", link->name,
				 place->port.xsk.queue, xdp_port_mode(&place->port));
			if (xdp->dev->host->log)
				xdp->dev->host->log(xdp->dev->host, line);
			return place;
		}
		place->until_ns = now_ns + REFUSED_NS;
	}
	snprintf(reason, size, "%s", place->reason);
	return NULL;
}

void xdp_peers_close(struct xdp *xdp)
{
	for (unsigned int i = 0; i < XDP_PORTS; i++)
		place_close(xdp, &xdp->place[i]);
	netroute_close(xdp->route);
	free(xdp->peer);
}

/* ---- destinations ---------------------------------------------------------------------------- */

static uint32_t peer_hash(int fd, const struct frame_address *to)
{
	uint64_t words[2], hash = (uint64_t)(uint32_t)fd << 16 | to->port;

	memcpy(words, to->ip, sizeof(words));
	hash = (hash ^ words[0]) * 0x9e3779b97f4a7c15ULL;
	hash = (hash ^ words[1] ^ hash >> 29) * 0xbf58476d1ce4e5b9ULL;
	return (uint32_t)(hash >> 32);
}

static struct xdp_peer *peer_slot(const struct xdp *xdp, int fd, const struct frame_address *to)
{
	return &xdp->peer[peer_hash(fd, to) % XDP_PEERS];
}

static bool peer_is(const struct xdp_peer *peer, int fd, int family, const struct frame_address *to)
{
	return peer->fd == fd && peer->family == family && peer->to.port == to->port &&
	       memcmp(peer->to.ip, to->ip, sizeof(to->ip)) == 0;
}

static void peer_refuse(struct xdp *xdp, struct xdp_peer *peer, enum netroute_verdict verdict,
			const char *reason)
{
	if (strcmp(peer->reason, reason) != 0)
		xdp_say(xdp, peer->family, &peer->to, reason);
	snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
	peer->verdict = verdict;
	peer->until_ns = xdp->dev->host->now_ns() + REFUSED_NS;
}

/* A route through IPsec shows as a path that is narrower than its interface. */
static bool peer_is_narrow(const struct xdp_socket *socket, const struct xdp_peer *peer,
			   uint32_t mtu)
{
	return socket->path_mtu && socket->path_mtu < mtu && socket->peer.port == peer->to.port &&
	       memcmp(socket->peer.ip, peer->to.ip, sizeof(peer->to.ip)) == 0;
}

static void peer_set(struct xdp_peer *peer, const struct xdp_socket *socket,
		     const struct netroute_answer *answer, struct xdp_place *place)
{
	size_t room = xdp_port_frame_max(&place->port) - FRAME_ETHERNET_BYTES;

	memcpy(peer->from.mac, answer->link.mac, 6);
	memcpy(peer->to.mac, answer->next_mac, 6);
	memcpy(peer->from.ip, answer->from_ip, sizeof(peer->from.ip));
	peer->from.port = socket->self.port;
	frame_flow_init(&peer->flow, peer->family, &peer->from, &peer->to,
			peer->family == AF_INET ? &socket->four : &socket->six);
	if (answer->mtu < room)
		room = answer->mtu;
	peer->payload_max = (uint32_t)(room - frame_ip_bytes(&peer->flow));
	peer->place = place;
	peer->until_ns = 0;
	peer->reason[0] = '\0';
	peer->verdict = NETROUTE_OK;
}

static void peer_look(struct xdp *xdp, const struct xdp_socket *socket, struct xdp_peer *peer)
{
	struct netroute_query query = {
		.family = peer->family,
		.to = peer->to,
		.oif = socket->bound ? socket->bound : socket->scope,
		.mark = socket->mark,
		.tos = (peer->family == AF_INET ? socket->four : socket->six).traffic_class
	};
	struct netroute_answer answer;
	struct xdp_place *place;
	char reason[128];

	peer->generation = xdp->generation;
	peer->version = socket->version;
	peer->place = NULL;
	if (socket->self_family && socket->self_family != peer->family) {
		peer_refuse(xdp, peer, NETROUTE_UNREACHABLE, "an address of another family");
		return;
	}
	if (socket->self_family)
		query.from = socket->self;
	query.from.port = socket->self.port;
	netroute_find(xdp->route, &query, &answer);
	if (answer.verdict != NETROUTE_OK) {
		netroute_say(&answer, reason, sizeof(reason));
		peer_refuse(xdp, peer, answer.verdict, reason);
		return;
	}
	if (peer_is_narrow(socket, peer, answer.mtu)) {
		peer_refuse(xdp, peer, NETROUTE_ENCAPSULATED,
			    "the path is narrower than the interface (IPsec, a tunnel, or a hop "
			    "that said so)");
		return;
	}
	place = place_get(xdp, &answer.link, reason, sizeof(reason));
	if (place)
		peer_set(peer, socket, &answer, place);
	else
		peer_refuse(xdp, peer, NETROUTE_ERROR, reason);
}

void xdp_news(struct xdp *xdp, uint64_t now_ns)
{
	if (now_ns - xdp->told_ns >= NEWS_NS) {
		xdp->told_ns = now_ns;
		xdp->told = netroute_generation(xdp->route);
	}
	xdp->generation = xdp->told + xdp->lost;
}

/* Where a message goes. Return: its family; 0: no address that we know. */
static int peer_address(struct xdp_socket *socket, const void *to, socklen_t to_length,
			struct frame_address *ret)
{
	struct sockaddr_storage address;
	int family;

	memset(ret, 0, sizeof(*ret));
	if (!to) {
		*ret = socket->peer;
		return socket->peer_family;
	}
	if (to_length < sizeof(struct sockaddr_in) || to_length > sizeof(address))
		return 0;
	memset(&address, 0, sizeof(address));
	memcpy(&address, to, to_length);
	if (address.ss_family == AF_INET6 && to_length < sizeof(struct sockaddr_in6))
		return 0;
	if (address.ss_family == AF_INET6 && (((struct sockaddr_in6 *)&address)->sin6_scope_id ||
					      ((struct sockaddr_in6 *)&address)->sin6_flowinfo))
		return 0;
	family = frame_from_sockaddr(&address, ret);
	return family > 0 && ret->port != 0 ? family : 0;
}

struct xdp_peer *xdp_peer_get(struct xdp *xdp, struct xdp_socket *socket, const void *to,
			      socklen_t to_length)
{
	const uint64_t now_ns = xdp->dev->host->now_ns();
	struct frame_address address;
	int family = peer_address(socket, to, to_length, &address);
	struct xdp_peer *peer;

	if (family <= 0) {
		snprintf(xdp->last_reason, sizeof(xdp->last_reason), "no plain address of a peer");
		return NULL;
	}
	xdp_news(xdp, now_ns);
	peer = peer_slot(xdp, socket->fd, &address);
	if (!peer_is(peer, socket->fd, family, &address)) {
		memset(peer, 0, sizeof(*peer));
		peer->fd = socket->fd;
		peer->family = family;
		peer->to = address;
		peer_look(xdp, socket, peer);
	} else if (peer->generation != xdp->generation || peer->version != socket->version ||
		   (peer->until_ns && peer->until_ns <= now_ns)) {
		peer_look(xdp, socket, peer);
	}
	if (!peer->until_ns)
		return peer;
	snprintf(xdp->last_reason, sizeof(xdp->last_reason), "%s", peer->reason);
	return NULL;
}

bool xdp_peer_may(const struct xdp *xdp, const struct taio_step *step, uint64_t now_ns)
{
	const struct xdp_socket *socket = &xdp->socket[(unsigned int)step->to.fd % XDP_SOCKETS];
	const struct taio_message *m = step->from.ptr;
	const bool messages = step->from.kind == TAIO_KIND_MESSAGES;
	const struct xdp_peer *peer;
	struct frame_address to;
	int family;

	if (socket->fd != step->to.fd)
		return true;
	if (socket->reason[0])
		return now_ns - socket->looked_ns > REFUSED_NS;
	family = peer_address((struct xdp_socket *)socket, messages ? m->address : NULL,
			      messages ? m->address_length : 0, &to);
	if (family <= 0)
		return false;
	peer = peer_slot(xdp, step->to.fd, &to);
	if (!peer_is(peer, step->to.fd, family, &to) || peer->generation != xdp->generation)
		return true;
	if (peer->until_ns)
		return peer->until_ns <= now_ns;
	return (messages ? m->length : netops_unit(&step->to)) <= peer->payload_max;
}
