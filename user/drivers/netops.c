/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netops.c: what the engine and the network drivers ask of a socket, see netops.h. It neither makes
 * sockets (net.c) nor moves bytes (netsend.c, netrecv.c).
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/netops.h"

#define END_MARK_TRIES 100 /* times a millisecond */

/* ---- sockets --------------------------------------------------------------------------------- */

bool netops_is_same(const struct sockaddr_storage *a, const struct sockaddr_storage *b, bool ports)
{
	if (a->ss_family != b->ss_family)
		return false;
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *x = (const struct sockaddr_in *)a;
		const struct sockaddr_in *y = (const struct sockaddr_in *)b;

		return x->sin_addr.s_addr == y->sin_addr.s_addr &&
		       (!ports || x->sin_port == y->sin_port);
	}
	if (a->ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)a;
		const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)b;

		return IN6_ARE_ADDR_EQUAL(&x->sin6_addr, &y->sin6_addr) &&
		       (!ports || x->sin6_port == y->sin6_port);
	}
	return false;
}

static bool inet_is_loopback(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)address;

		return ntohl(sin->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	}
	if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)address;

		return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr) ||
		       (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr) &&
			sin6->sin6_addr.s6_addr[12] == IN_LOOPBACKNET);
	}
	return false;
}

/* Only an address of this machine can be bound; asking the kernel so costs less than its list. */
static bool inet_is_own(const struct sockaddr_storage *address, socklen_t len)
{
	struct sockaddr_storage probe = *address;
	bool own;
	int fd;

	if (address->ss_family == AF_INET)
		((struct sockaddr_in *)&probe)->sin_port = 0;
	else if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)&probe)->sin6_port = 0;
	else
		return false;
	fd = socket(address->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	own = bind(fd, (struct sockaddr *)&probe, len) == 0;
	close(fd);
	return own;
}

int netops_is_local(int fd)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC }, self = peer;
	socklen_t peer_len = sizeof(peer), self_len = sizeof(self);

	if (getsockname(fd, (struct sockaddr *)&self, &self_len) < 0)
		return 0;
	if (self.ss_family == AF_UNIX)
		return 1;
	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0)
		return 0;
	return inet_is_loopback(&peer) || netops_is_same(&self, &peer, false) ||
	       inet_is_own(&peer, peer_len);
}

static int socket_type(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return -errno;
	return type;
}

int netops_error(int fd)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

int netops_end_mark(int fd)
{
	for (int tries = 0; tries < END_MARK_TRIES; tries++) {
		if (send(fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (!netops_is_full(-errno))
			return -errno;
		/* not POLLOUT of the socket: the full queue may be the network device's */
		(void)poll(NULL, 0, 1);
	}
	return -ETIMEDOUT;
}

/*
 * What the peer said and nobody has read: closing over it would make the kernel reset the connection
 * and drop our last bytes, which may still be on their way. Only what is there now is thrown away, a
 * megabyte at most.
 */
static void socket_drain(int fd)
{
	char room[4096];

	for (int i = 0; i < 256; i++) {
		ssize_t n = recv(fd, room, sizeof(room), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EINTR))
			return;
	}
}

int netops_finish(int fd, bool end_mark)
{
	int type = socket_type(fd), ended = 0, error;

	if (type == -ENOTSOCK)
		return 0;
	if (type < 0)
		return type;
	if (type == SOCK_DGRAM) {
		if (!end_mark)
			return 0;
		/* an error that comes behind the end mark says nothing of the bytes: the receiver
		 * may well have closed after the last of them */
		error = netops_error(fd);
		return error ? error : netops_end_mark(fd);
	}
	if (shutdown(fd, SHUT_WR) < 0)
		ended = -errno;
	error = netops_error(fd);
	if (error)
		return error;
	socket_drain(fd);
	/* it was connected once: the peer's reset came and its error was taken by somebody else */
	return ended == -ENOTCONN ? -ECONNRESET : ended;
}

static void socket_reset(int fd)
{
	const struct linger none = { .l_onoff = 1, .l_linger = 0 };

	/* fails for what is no stream, and close() then means the same */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

void netops_abort(struct taio_addr *addr)
{
	const struct sockaddr_un *sun;

	assert(addr);
	if (addr->fd >= 0)
		socket_reset(addr->fd);
	if (addr->listen_fd >= 0) {
		sun = (const struct sockaddr_un *)&addr->peer[addr->current];
		close(addr->listen_fd);
		if (addr->listen && addr->family == AF_UNIX && sun->sun_path[0] != '\0')
			unlink(sun->sun_path);
	}
	addr->fd = -1;
	addr->listen_fd = -1;
}

const char *netops_resolve_text(int error)
{
	switch (error) {
	case -ENOENT:
		return "name does not resolve to an address";
	case -EHOSTUNREACH:
		return "no name server answered";
	case -EREMOTEIO:
		return "name server failed";
	default:
		return NULL;
	}
}

/* ---- answers --------------------------------------------------------------------------------- */

bool netops_is_report(int error)
{
	switch (error) {
	case -ECONNREFUSED:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENONET:
	case -ENOPROTOOPT:
		return true;
	default:
		return false;
	}
}

int64_t netops_again(struct taio_step *step, int fd, uint32_t events)
{
	step->wait_fd = fd;
	step->wait_events = events;
	return -EAGAIN;
}

int netops_for_good(int error)
{
	switch (error) {
	case -EAGAIN:
	case -EBADF:
	case -EFAULT:
	case -EINVAL:
	case -EIO:
	case -ENOBUFS:
	case -ENOSYS:
	case -EOPNOTSUPP:
	case -EPERM:
	case -ESPIPE:
	case -EXDEV:
		return -ENOTRECOVERABLE;
	default:
		return error;
	}
}
