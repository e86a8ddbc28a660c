/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* xdp_recv.c: see xdp_recv.h. */
#include "drivers/xdp_recv.h"

#include <assert.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/netops.h"
#include "drivers/syncops.h"
#include "taio.h"

#define RECV_WATCHED 32 /* packets without a fragment: then there will hardly come any */

enum recv_state {
	RECV_UNUSED,
	RECV_OPENING,  /* the interface is being opened; the socket has everything */
	RECV_WATCHING, /* the program looks at the flow and lets it pass: are there fragments? */
	RECV_SETTLING, /* packets come to us, some may still be on their way to the socket */
	RECV_CATCHING, /* ... none is; the socket is emptied */
	RECV_HELD,
	RECV_LEAVING, /* packets pass again, some may still be on their way to us */
	RECV_LEFT,    /* ... none is: once the frames are delivered, the socket is the source */
	RECV_OVER,    /* TAIO_CLAIM_NONE was said */
	RECV_DEAD     /* released, but a thread still has a hand in it */
};

struct recv_flow {
	uint8_t state; /* enum recv_state */
	bool told;     /* that it was taken */
	bool refused;  /* it goes back because its datagrams come in fragments */
	int fd;        /* the source */
	int wait_fd;   /* an epoll set: what the engine waits for */
	int link_fd;   /* netlink: something happened to an interface */
	struct taio_xdp_key key;
	struct xdp_gate *gate;
	struct xdp_inflow *in;
	struct xdp_aside grace;
};

struct xdp_recv {
	struct taio_host *host;
	struct taio_device kernel; /* a pool of rooms, for what comes by the sockets */
	struct xdp_gate gates[XDP_GATES];
	struct recv_flow flows[XDP_RECV_FLOWS];
};

static void recv_log(const struct xdp_recv *recv, const char *line)
{
	if (recv->host->log)
		recv->host->log(recv->host, line);
}

/* ---- beginning --------------------------------------------------------------------------------- */

static void recv_address(const struct sockaddr_storage *address, uint8_t ip[16], uint16_t *port)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)address;

	if (address->ss_family == AF_INET6) {
		memcpy(ip, &sin6->sin6_addr, 16);
		*port = sin6->sin6_port;
		return;
	}
	memset(ip, 0, 10);
	ip[10] = ip[11] = 0xff;
	memcpy(ip + 12, &sin->sin_addr, 4);
	*port = sin->sin_port;
}

/* ::ffff:a.b.c.d as an address of IPv4, which interfaces have. */
static void recv_unmap(struct sockaddr_storage *address)
{
	const struct sockaddr_in6 six = *(const struct sockaddr_in6 *)address;
	struct sockaddr_in *sin = (struct sockaddr_in *)address;

	if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
		return;
	memset(address, 0, sizeof(*address));
	sin->sin_family = AF_INET;
	sin->sin_port = six.sin6_port;
	memcpy(&sin->sin_addr, six.sin6_addr.s6_addr + 12, 4);
}

/* Who sends to whom, and through which interface? Return: its index; negative errno. */
static int recv_identify(int fd, struct taio_xdp_key *key)
{
	struct sockaddr_storage self = { 0 }, peer = { 0 };
	socklen_t self_len = sizeof(self), peer_len = sizeof(peer), length = sizeof(int);
	int offset = -1;

	memset(key, 0, sizeof(*key));
	if (getsockname(fd, (struct sockaddr *)&self, &self_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
		return -errno;
	if (self.ss_family != AF_INET && self.ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	/* half of a datagram was delivered: its rest can only come the same way */
	if (getsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &length) < 0 || offset != -1)
		return -EBUSY;
	recv_address(&self, key->to, &key->to_port);
	recv_address(&peer, key->from, &key->from_port);
	recv_unmap(&self);
	return xdp_interface_of(&self);
}

static int recv_watch(const struct recv_flow *flow, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(flow->wait_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* An AF_XDP socket does not say when its interface goes away. */
static int recv_watch_links(struct recv_flow *flow)
{
	struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };

	flow->link_fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (flow->link_fd < 0 ||
	    bind(flow->link_fd, (struct sockaddr *)&groups, sizeof(groups)) < 0)
		return -errno;
	return recv_watch(flow, flow->link_fd);
}

static bool recv_is_lost(const struct recv_flow *flow)
{
	char news[4096];

	/* what it says does not matter, only that it is read */
	while (recv(flow->link_fd, news, sizeof(news), 0) > 0 || errno == ENOBUFS)
		;
	return !xdp_inlet_lives(flow->gate->inlet);
}

static void recv_forget(struct recv_flow *flow)
{
	if (flow->in)
		xdp_inflow_close(flow->in);
	if (flow->wait_fd >= 0)
		close(flow->wait_fd);
	if (flow->link_fd >= 0)
		close(flow->link_fd);
	if (flow->gate)
		xdp_gate_put(flow->gate);
	flow->in = NULL;
	flow->gate = NULL;
	flow->wait_fd = flow->link_fd = flow->fd = -1;
	flow->state = flow->grace.running ? RECV_DEAD : RECV_UNUSED;
}

static struct recv_flow *recv_find(struct xdp_recv *recv, int fd)
{
	for (unsigned int i = 0; i < XDP_RECV_FLOWS; i++)
		if (recv->flows[i].fd == fd && recv->flows[i].state != RECV_UNUSED &&
		    recv->flows[i].state != RECV_DEAD)
			return &recv->flows[i];
	return NULL;
}

static struct recv_flow *recv_free(struct xdp_recv *recv)
{
	struct recv_flow *found = NULL;

	for (unsigned int i = 0; i < XDP_RECV_FLOWS; i++) {
		struct recv_flow *flow = &recv->flows[i];

		if (flow->state == RECV_DEAD && xdp_aside_done(&flow->grace))
			flow->state = RECV_UNUSED;
		if (flow->state == RECV_UNUSED && !found)
			found = flow;
	}
	return found;
}

/* Return: 0; negative errno: this source cannot be taken. */
static int recv_begin(struct xdp_recv *recv, int fd, struct recv_flow **ret)
{
	struct recv_flow *flow = recv_free(recv);
	struct taio_xdp_key key;
	int ifindex, error;

	if (!flow)
		return -ENOSPC;
	ifindex = recv_identify(fd, &key);
	if (ifindex < 0)
		return ifindex;
	*flow = (struct recv_flow){ .state = RECV_OPENING, .fd = fd, .key = key };
	flow->grace.event_fd = flow->link_fd = -1;
	flow->wait_fd = epoll_create1(EPOLL_CLOEXEC);
	flow->gate = xdp_gate_get(recv->gates, (uint32_t)ifindex);
	error = flow->wait_fd < 0 ? -EMFILE : flow->gate ? recv_watch(flow, fd) : -ENOSPC;
	if (error) {
		recv_forget(flow);
		return error;
	}
	*ret = flow;
	return 0;
}

/* ---- the states -------------------------------------------------------------------------------- */

static int recv_settle(struct recv_flow *flow)
{
	int error = xdp_aside_start(&flow->grace, xdp_grace, NULL);

	return error ? error : recv_watch(flow, flow->grace.event_fd);
}

static void recv_say_taken(const struct xdp_recv *recv, const struct recv_flow *flow)
{
	const struct xdp_inlet *inlet = flow->gate->inlet;
	const struct xdp_interface *interface = xdp_inlet_interface(inlet);
	char line[200];

	snprintf(line, sizeof(line), "afxdp receives on %s (%s, %u queue%s): %s", interface->name,
		 interface->driver, xdp_inlet_queues(inlet),
		 xdp_inlet_queues(inlet) == 1 ? "" : "s", xdp_inlet_mode(inlet));
	recv_log(recv, line);
}

/* The interface is open. */
static int recv_meet(struct recv_flow *flow)
{
	struct xdp_inlet *inlet = flow->gate->inlet;
	int error = xdp_inflow_open(&flow->in, inlet, &flow->key);

	for (uint32_t i = 0; i < xdp_inlet_queues(inlet) && !error; i++)
		error = recv_watch(flow, xdp_inlet_fd(inlet, i));
	if (!error)
		error = recv_watch_links(flow);
	if (error)
		return error;
	flow->state = RECV_WATCHING;
	return 0;
}

/* Return: 0; -EOPNOTSUPP: it comes in fragments, which only the stack can put together. */
static int recv_look(const struct xdp_recv *recv, struct recv_flow *flow)
{
	uint64_t odd, passed = xdp_inflow_passed(flow->in, &odd);
	int error;

	if (odd) {
		recv_log(recv, "afxdp does not take a source whose datagrams come in fragments");
		return -EOPNOTSUPP;
	}
	if (passed < RECV_WATCHED)
		return 0;
	xdp_inflow_take(flow->in, true);
	error = recv_settle(flow);
	if (error)
		return error;
	flow->state = RECV_SETTLING;
	flow->told = true;
	recv_say_taken(recv, flow);
	return 0;
}

/* The program has let the flow go at its first fragment: what was taken before is older. */
static void recv_refuse(struct xdp_recv *recv, struct recv_flow *flow)
{
	if (recv_settle(flow))
		return; /* no thread: it is tried again with the next step */
	recv_log(recv, "afxdp gives a source back: its datagrams come in fragments");
	flow->refused = true;
	flow->state = RECV_LEAVING;
}

/* Goes on as far as it can. Return: 0; negative errno: it cannot be taken after all. */
static int recv_advance(struct xdp_recv *recv, struct recv_flow *flow)
{
	char line[256];

	if (flow->state == RECV_OPENING) {
		xdp_gate_look(flow->gate);
		if (flow->gate->state == GATE_FAILED) {
			snprintf(line, sizeof(line), "afxdp does not receive: %s",
				 flow->gate->why[0] ? flow->gate->why
						    : strerror(-flow->gate->error));
			recv_log(recv, line);
			return flow->gate->error;
		}
		if (flow->gate->state == GATE_READY)
			return recv_meet(flow);
		/* a thread was started anew, perhaps: its descriptor is another one then */
		if (flow->gate->aside.running)
			(void)recv_watch(flow, flow->gate->aside.event_fd);
	}
	if (flow->state == RECV_WATCHING)
		return recv_look(recv, flow);
	if (flow->state == RECV_SETTLING && xdp_aside_done(&flow->grace))
		flow->state = RECV_CATCHING;
	if ((flow->state == RECV_CATCHING || flow->state == RECV_HELD) &&
	    !xdp_inflow_is_taken(flow->in))
		recv_refuse(recv, flow);
	if (flow->state == RECV_LEAVING && xdp_aside_done(&flow->grace))
		flow->state = RECV_LEFT;
	return 0;
}

static void recv_say_end(const struct xdp_recv *recv, const struct recv_flow *flow)
{
	const unsigned long long bad = flow->in->bad, overflowed = flow->in->overflowed;
	struct xdp_inlet_counters counters;
	char line[320];
	int n;

	xdp_inlet_count(flow->gate->inlet, &counters);
	n = snprintf(line, sizeof(line), "afxdp received %llu datagrams on %s",
		     (unsigned long long)flow->in->came,
		     xdp_inlet_interface(flow->gate->inlet)->name);
	/* those of the interface are of all its flows */
	if (counters.dropped || counters.ring_full || overflowed || bad)
		snprintf(
			line + n, sizeof(line) - (size_t)n,
			"; lost: %llu for want of a frame, %llu as the ring was full, "
			"%llu otherwise dropped, %llu not taken in time, %llu with wrong checksums",
			(unsigned long long)counters.fill_empty,
			(unsigned long long)counters.ring_full,
			(unsigned long long)(counters.dropped > counters.fill_empty
						     ? counters.dropped - counters.fill_empty
						     : 0),
			overflowed, bad);
	recv_log(recv, line);
}

static int64_t recv_wait(const struct recv_flow *flow, struct taio_step *step)
{
	step->failed_side = 0;
	return netops_again(step, flow->wait_fd, POLLIN);
}

static bool recv_is_empty(int64_t n, const struct taio_step *step)
{
	return n == -EAGAIN && step->failed_side != 2;
}

/* The claim is over, or never was one: who asks next gets the source's own descriptor. */
static int64_t recv_end(struct recv_flow *flow, struct taio_step *step, int64_t result)
{
	flow->state = RECV_OVER;
	step->claim = TAIO_CLAIM_NONE;
	return result;
}

/* By the socket, while not everything comes to us. */
static int64_t recv_kernel(struct xdp_recv *recv, const struct recv_flow *flow,
			   struct taio_step *step)
{
	int64_t n = netops_receive(&recv->kernel, step);

	return recv_is_empty(n, step) ? recv_wait(flow, step) : n;
}

/* Nothing in the frames: has anything else happened? One system call tells, mostly that nothing has. */
static int64_t recv_idle(struct xdp_recv *recv, struct recv_flow *flow, struct taio_step *step)
{
	struct epoll_event events[8];
	int n = epoll_wait(flow->wait_fd, events, 8, 0);
	bool kernel = n < 0, links = n < 0;

	for (int i = 0; i < n; i++) {
		kernel |= events[i].data.fd == flow->fd;
		links |= events[i].data.fd == flow->link_fd;
	}
	/* what gets past the program: through another interface, or let go by it */
	if (kernel) {
		int64_t got = netops_receive(&recv->kernel, step);

		if (!recv_is_empty(got, step))
			return got;
	}
	if (links && recv_is_lost(flow)) {
		recv_log(recv, "afxdp: its interface is gone");
		return recv_end(flow, step, -EXDEV);
	}
	return recv_wait(flow, step);
}

static int64_t recv_held(struct xdp_recv *recv, struct recv_flow *flow, struct taio_step *step)
{
	int64_t n = xdp_deliver(&recv->kernel, flow->in, step);

	return recv_is_empty(n, step) ? recv_idle(recv, flow, step) : n;
}

static int64_t recv_left(struct xdp_recv *recv, struct recv_flow *flow, struct taio_step *step)
{
	const bool last = flow->state == RECV_LEFT; /* before the ring is looked at */
	int64_t n = xdp_deliver(&recv->kernel, flow->in, step);

	if (!recv_is_empty(n, step))
		return n;
	if (!last)
		return recv_wait(flow, step);
	if (flow->refused)
		return recv_end(flow, step, -EXDEV);
	step->failed_side = 0;
	return recv_end(flow, step, netops_again(step, step->from.fd, POLLIN));
}

int64_t xdp_recv_run(struct xdp_recv *recv, struct taio_step *step)
{
	struct recv_flow *flow = recv_find(recv, step->from.fd);
	int error = 0;

	if (!flow)
		error = recv_begin(recv, step->from.fd, &flow);
	if (error) {
		step->claim = TAIO_CLAIM_NONE;
		return -EXDEV; /* this source; the next one may do */
	}
	error = recv_advance(recv, flow);
	if (error) {
		const bool told = step->claim != TAIO_CLAIM_NONE;
		const int64_t result = recv_end(flow, step, -EXDEV);

		if (!told) /* nobody knows of a claim that would be released */
			recv_forget(flow);
		return result;
	}
	step->claim = TAIO_CLAIM_TAKING;
	switch ((enum recv_state)flow->state) {
	case RECV_OPENING:
	case RECV_WATCHING:
	case RECV_SETTLING:
		return recv_kernel(recv, flow, step);
	case RECV_CATCHING: {
		int64_t n = netops_receive(&recv->kernel, step);

		if (!recv_is_empty(n, step))
			return n;
		flow->state = RECV_HELD;
	}
		__attribute__((fallthrough));
	case RECV_HELD:
		step->claim = TAIO_CLAIM_HELD;
		return recv_held(recv, flow, step);
	case RECV_LEAVING:
	case RECV_LEFT:
		step->claim = TAIO_CLAIM_HELD;
		return recv_left(recv, flow, step);
	case RECV_UNUSED:
	case RECV_OVER:
	case RECV_DEAD:
		break;
	}
	assert(!"a source that was given back is asked for only after its release");
	return -EINVAL;
}

/* ---- the end ----------------------------------------------------------------------------------- */

void xdp_recv_release(struct xdp_recv *recv, const struct taio_end *from, enum taio_release how)
{
	struct recv_flow *flow = recv_find(recv, from->fd);

	assert(flow);
	if (how == TAIO_RELEASE_NOW) {
		if (flow->told)
			recv_say_end(recv, flow);
		recv_forget(flow);
		return;
	}
	if (flow->state != RECV_HELD)
		return; /* it has not even come to that */
	xdp_inflow_take(flow->in, false);
	/* without a thread nobody can say when the last one is here: the claim stays */
	if (recv_settle(flow))
		xdp_inflow_take(flow->in, true);
	else
		flow->state = RECV_LEAVING;
}

int xdp_recv_fits(const struct taio_device *dev, const struct taio_step *step)
{
	/* A socket of the program may be read by it at any time, past the engine; what was taken of
	 * it would be missing. One that the engine opened is nobody else's. A peer on this machine
	 * sends through no interface that frames come from. Files: written on the thread. */
	return (step->from.flags & TAIO_END_OWNED) && !(step->from.flags & TAIO_END_LOCAL) &&
	       !(dev->host->engine_flags & TAIO_NO_WORKERS) &&
	       (step->to.kind != TAIO_KIND_FILE || (dev->host->engine_flags & TAIO_MAY_BLOCK));
}

int xdp_recv_open(struct taio_device *dev, struct xdp_recv **ret)
{
	struct xdp_recv *recv = calloc(1, sizeof(*recv));
	int error;

	if (!recv)
		return -ENOMEM;
	recv->host = dev->host;
	recv->kernel.host = dev->host;
	error = syncops_open(&recv->kernel);
	if (error) {
		free(recv);
		return error;
	}
	for (unsigned int i = 0; i < XDP_RECV_FLOWS; i++)
		recv->flows[i].fd = recv->flows[i].wait_fd = recv->flows[i].link_fd = -1;
	*ret = recv;
	return 0;
}

void xdp_recv_close(struct xdp_recv *recv)
{
	for (unsigned int i = 0; i < XDP_RECV_FLOWS; i++) {
		struct recv_flow *flow = &recv->flows[i];

		if (flow->state != RECV_UNUSED && flow->state != RECV_DEAD)
			recv_forget(flow);
		xdp_aside_wait(&flow->grace);
	}
	xdp_gates_close(recv->gates);
	syncops_close(&recv->kernel);
	free(recv);
}
