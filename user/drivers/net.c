/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * net.c: the control steps on addresses: resolve, connect, accept. It makes sockets and moves no
 * byte. Only resolving can sleep (getaddrinfo(3) cannot be told otherwise), so that the engine runs
 * it on a worker; connect and accept say -EAGAIN and what to wait for, and are called again. All
 * that they know between two calls is in struct taio_addr and in the sockets.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/netops.h"

#define PEERS_MAX     (sizeof(((struct taio_addr *)0)->peer) / sizeof(struct sockaddr_storage))
#define BACKLOG       1
#define RECEIVE_BYTES (32 * 1024 * 1024) /* a datagram receiver's queue, if permitted */
#define UNIX_RETRY_NS 2000000
#define SOCKET_FLAGS  (SOCK_NONBLOCK | SOCK_CLOEXEC)

/* ---- resolve --------------------------------------------------------------------------------- */

/* What netops_resolve_text() says in words. Never -EAGAIN, which would mean "call me again". */
static int resolve_error(int gai)
{
	switch (gai) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return -ENOENT;
	case EAI_AGAIN:
		return -EHOSTUNREACH;
	case EAI_FAIL:
		return -EREMOTEIO;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_FAMILY:
	case EAI_SOCKTYPE:
		return -EPROTONOSUPPORT;
	case EAI_OVERFLOW:
		return -ENAMETOOLONG;
	case EAI_SYSTEM:
		if (errno == 0 || errno == EAGAIN || errno == EINTR)
			return -EHOSTUNREACH;
		return -errno;
	default:
		return -EINVAL;
	}
}

static int64_t net_resolve(struct taio_addr *addr)
{
	/* no AI_ADDRCONFIG: it drops addresses by guessing, connect() finds out by trying */
	const struct addrinfo hints = {
		.ai_family = addr->family,
		.ai_socktype = addr->type,
		.ai_flags = addr->listen ? AI_PASSIVE : 0,
	};
	struct addrinfo *found = NULL;
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (addr->count > 0)
		return 0;
	if (!addr->host || !addr->port)
		return -EINVAL;
	if (addr->host_len >= sizeof(host) || addr->port_len >= sizeof(port))
		return -ENAMETOOLONG;
	memcpy(host, addr->host, addr->host_len);
	host[addr->host_len] = '\0';
	memcpy(port, addr->port, addr->port_len);
	port[addr->port_len] = '\0';
	errno = 0;
	addr->gai = getaddrinfo(host, port, &hints, &found);
	if (addr->gai)
		return resolve_error(addr->gai);
	for (const struct addrinfo *ai = found; ai && addr->count < PEERS_MAX; ai = ai->ai_next) {
		if (ai->ai_addrlen > sizeof(addr->peer[0]))
			continue;
		memcpy(&addr->peer[addr->count], ai->ai_addr, ai->ai_addrlen);
		addr->peer_len[addr->count] = ai->ai_addrlen;
		addr->count++;
	}
	freeaddrinfo(found);
	addr->current = 0;
	return addr->count > 0 ? 0 : -ENOENT;
}

/* ---- both directions ------------------------------------------------------------------------- */

static void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static struct sockaddr *peer_get(struct taio_addr *addr)
{
	assert(addr->current < addr->count);
	addr->family = (uint8_t)addr->peer[addr->current].ss_family;
	return (struct sockaddr *)&addr->peer[addr->current];
}

/*
 * Nagle's rule would only cost: the drivers hand over large pieces and join them by MSG_MORE, and
 * what is left is the tail, or a line from a pipe that somebody waits for.
 */
static void stream_tune(int fd, int family)
{
	const int on = 1;

	if (family == AF_INET || family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* This error is of the machine or of the process: another address would meet it too. */
static bool error_is_general(int64_t error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

/* ---- connect --------------------------------------------------------------------------------- */

/* The kernel can connect a socket to itself if the port it picked is the one that was asked for
 * and nobody listens there. The bytes would come back to us. */
static bool socket_is_own_peer(int fd, const struct sockaddr_storage *peer, socklen_t peer_len)
{
	struct sockaddr_storage self;
	socklen_t self_len = sizeof(self);

	if (peer->ss_family == AF_UNIX)
		return false;
	memset(&self, 0, sizeof(self));
	return getsockname(fd, (struct sockaddr *)&self, &self_len) == 0 && self_len == peer_len &&
	       memcmp(&self, peer, peer_len) == 0;
}

/* Is it connected now? Return: 0, -EAGAIN: not yet, other negative errno: it failed. */
static int64_t connect_settle(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(addr->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	if (error)
		return -error;
	memset(&peer, 0, sizeof(peer));
	len = sizeof(peer);
	if (getpeername(addr->fd, (struct sockaddr *)&peer, &len) < 0) {
		if (errno == ENOTCONN)
			return netops_again(step, addr->fd, POLLOUT);
		return -errno;
	}
	return socket_is_own_peer(addr->fd, &peer, len) ? -ECONNREFUSED : 0;
}

/*
 * A Unix listener whose backlog is full: the kernel has no event for "there is room now", so a
 * timer in the place of the listening socket, which a connecting address has not, says when to
 * knock again.
 */
static int64_t connect_knock_later(struct taio_step *step)
{
	const struct itimerspec every = { { 0, UNIX_RETRY_NS }, { 0, UNIX_RETRY_NS } };
	struct taio_addr *addr = step->addr;
	uint64_t ticks;

	if (addr->listen_fd < 0) {
		addr->listen_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (addr->listen_fd < 0)
			return -errno;
		if (timerfd_settime(addr->listen_fd, 0, &every, NULL) < 0)
			return -errno;
	} else if (read(addr->listen_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN) {
		return -errno;
	}
	return netops_again(step, addr->listen_fd, POLLIN);
}

/* connect(2) of addr->fd to the current peer. Return: as connect_settle(). */
static int64_t connect_knock(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	const struct sockaddr *peer = peer_get(addr);

	if (connect(addr->fd, peer, addr->peer_len[addr->current]) == 0 || errno == EINPROGRESS ||
	    errno == EINTR) {
		/* over loopback it is done by now: no round through the engine */
		return addr->family == AF_UNIX ? 0 : connect_settle(step);
	}
	if (errno == EAGAIN)
		return addr->family == AF_UNIX ? connect_knock_later(step) : -EADDRNOTAVAIL;
	return -errno;
}

static int64_t connect_begin(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	const int family = peer_get(addr)->sa_family;

	addr->fd = socket(family, addr->type | SOCKET_FLAGS, 0);
	if (addr->fd < 0)
		return -errno;
	if (addr->type == SOCK_STREAM)
		stream_tune(addr->fd, family);
	return connect_knock(step);
}

static int64_t net_connect(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	int64_t result;

	if (addr->count == 0)
		return -EDESTADDRREQ;
	if (addr->fd < 0)
		result = connect_begin(step);
	else if (addr->family == AF_UNIX)
		result = connect_knock(step);
	else
		result = connect_settle(step);
	while (result < 0 && result != -EAGAIN) {
		fd_close(&addr->fd);
		if (error_is_general(result) || addr->current + 1 >= addr->count)
			break;
		addr->current++;
		result = connect_begin(step);
	}
	if (result != -EAGAIN)
		fd_close(&addr->listen_fd);
	assert(result == 0 ? addr->fd >= 0 : result == -EAGAIN || addr->fd < 0);
	return result;
}

/* ---- accept ---------------------------------------------------------------------------------- */

/*
 * Is the socket file a left-over of a process that is gone? A datagram socket knocks: at a live
 * stream listener it only hears that the type is wrong, so that nobody is disturbed. Between this
 * answer and unlink() another process can take the name; nothing in the interface prevents that.
 */
static bool unix_is_stale(const struct sockaddr_un *sun, socklen_t len)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(sun->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCKET_FLAGS, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)sun, len) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int64_t listen_bind(int fd, const struct sockaddr *self, socklen_t len)
{
	const struct sockaddr_un *sun = (const struct sockaddr_un *)self;

	if (bind(fd, self, len) == 0)
		return 0;
	if (errno != EADDRINUSE || self->sa_family != AF_UNIX || sun->sun_path[0] == '\0')
		return -errno;
	if (!unix_is_stale(sun, len))
		return -EADDRINUSE;
	if (unlink(sun->sun_path) < 0 && errno != ENOENT)
		return -errno;
	return bind(fd, self, len) < 0 ? -errno : 0;
}

/* A burst that the receiver has no time for is lost: as much room as is to be had. */
static void datagram_tune(int fd)
{
	const int bytes = RECEIVE_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

/* Somebody must be able to learn the port that the kernel chose. */
static void listen_tell_port(struct taio_device *dev, struct taio_addr *addr)
{
	struct sockaddr_storage self;
	socklen_t len = sizeof(self);
	char host[INET6_ADDRSTRLEN], line[INET6_ADDRSTRLEN + 64];
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&self;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&self;
	const bool six = addr->family == AF_INET6;
	const struct sockaddr_in *asked = (const struct sockaddr_in *)&addr->peer[addr->current];

	/* the port is at the same place in both families */
	static_assert(offsetof(struct sockaddr_in, sin_port) ==
			      offsetof(struct sockaddr_in6, sin6_port),
		      "sin_port is read for both families");
	if (addr->family == AF_UNIX || asked->sin_port != 0 || !dev->host || !dev->host->log)
		return;
	if (getsockname(addr->listen_fd, (struct sockaddr *)&self, &len) < 0)
		return;
	if (!inet_ntop(addr->family, six ? (const void *)&sin6->sin6_addr : &sin->sin_addr, host,
		       sizeof(host)))
		return;
	snprintf(line, sizeof(line), "listening on %s%s%s:%u:%s", six ? "[" : "", host,
		 six ? "]" : "", (unsigned int)ntohs(sin->sin_port),
		 addr->type == SOCK_STREAM ? "tcp" : "udp");
	dev->host->log(dev->host, line);
}

static int64_t listen_begin(struct taio_addr *addr)
{
	const struct sockaddr *self = peer_get(addr);
	const int on = 1;
	int64_t result;

	addr->listen_fd = socket(self->sa_family, addr->type | SOCKET_FLAGS, 0);
	if (addr->listen_fd < 0)
		return -errno;
	/* for datagrams SO_REUSEADDR would let two receivers share a port and steal from another */
	if (addr->type == SOCK_DGRAM)
		datagram_tune(addr->listen_fd);
	else if (self->sa_family != AF_UNIX)
		(void)setsockopt(addr->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	result = listen_bind(addr->listen_fd, self, addr->peer_len[addr->current]);
	if (result < 0) {
		/* the name, if there is one, is not ours */
		fd_close(&addr->listen_fd);
		return result;
	}
	if (addr->type == SOCK_STREAM && listen(addr->listen_fd, BACKLOG) < 0) {
		result = -errno;
		netops_abort(addr);
	}
	return result;
}

/* Binds the first address that this machine has. One that is in use is an error, not a reason to
 * listen where nobody looks. */
static int64_t accept_begin(struct taio_device *dev, struct taio_addr *addr)
{
	int64_t result = listen_begin(addr);

	while ((result == -EADDRNOTAVAIL || result == -EAFNOSUPPORT) &&
	       addr->current + 1 < addr->count) {
		addr->current++;
		result = listen_begin(addr);
	}
	if (result == 0)
		listen_tell_port(dev, addr);
	return result;
}

/* The peer that came was gone again before we took it: not our failure (accept(2)). */
static bool accept_is_passing(int error)
{
	switch (error) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

static int64_t accept_stream(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	int fd;

	/* up to EAGAIN: whoever waits may only be told of what comes from now on */
	do {
		fd = accept4(addr->listen_fd, NULL, NULL, SOCKET_FLAGS);
	} while (fd < 0 && accept_is_passing(errno));
	if (fd < 0 && errno == EAGAIN)
		return netops_again(step, addr->listen_fd, POLLIN);
	if (fd < 0)
		return -errno;
	stream_tune(fd, addr->family);
	/* one peer: closes the listening socket and removes its name; fd is not in addr yet */
	netops_abort(addr);
	addr->fd = fd;
	return 0;
}

/*
 * The sender of the first datagram becomes the peer; the datagram stays in the queue. The name of a
 * Unix socket is removed then, which a connected sender does not notice.
 */
static int64_t accept_datagram(struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	const struct sockaddr_un *sun = (const struct sockaddr_un *)&addr->peer[addr->current];
	struct sockaddr_storage sender;
	socklen_t len = sizeof(sender);

	if (addr->listen == 2) { /* messages of anybody */
		addr->fd = addr->listen_fd;
		addr->listen_fd = -1;
		return 0;
	}
	while (recvfrom(addr->listen_fd, NULL, 0, MSG_PEEK | MSG_DONTWAIT,
			(struct sockaddr *)&sender, &len) < 0) {
		if (errno == EAGAIN)
			return netops_again(step, addr->listen_fd, POLLIN);
		if (!accept_is_passing(errno))
			return -errno;
	}
	/* a Unix sender without a name cannot be a peer: the socket stays open to all */
	if (len > sizeof(sa_family_t) &&
	    connect(addr->listen_fd, (struct sockaddr *)&sender, len) < 0)
		return -errno;
	if (addr->family == AF_UNIX && sun->sun_path[0] != '\0')
		unlink(sun->sun_path);
	addr->fd = addr->listen_fd;
	addr->listen_fd = -1;
	return 0;
}

static int64_t net_accept(struct taio_device *dev, struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	int64_t result = 0;

	if (addr->count == 0)
		return -EDESTADDRREQ;
	if (addr->listen_fd < 0)
		result = accept_begin(dev, addr);
	if (result == 0)
		result = addr->type == SOCK_STREAM ? accept_stream(step) : accept_datagram(step);
	if (result < 0 && result != -EAGAIN)
		netops_abort(addr);
	assert(result == 0 ? addr->fd >= 0 : addr->fd < 0);
	return result;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int64_t net_run(struct taio_device *dev, struct taio_step *step)
{
	assert(step->addr);
	switch (step->op) {
	case TAIO_OP_RESOLVE:
		return net_resolve(step->addr);
	case TAIO_OP_CONNECT:
		return net_connect(step);
	case TAIO_OP_ACCEPT:
		return net_accept(dev, step);
	default:
		return -EOPNOTSUPP;
	}
}

static const struct taio_capability net_caps[] = {
	{ .op = TAIO_OP_RESOLVE,
	  .flags = TAIO_CAP_BLOCKING,
	  .cpu_permille = 100,
	  .base_ns = 200000 },
	{ .op = TAIO_OP_CONNECT, .base_ns = 20000 },
	{ .op = TAIO_OP_ACCEPT, .base_ns = 10000 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_net = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER | TAIO_DRIVER_CONTROL,
	.name = "net",
	.text = "resolve names, connect, listen and accept",
	.caps = net_caps,
	.run = net_run,
};
