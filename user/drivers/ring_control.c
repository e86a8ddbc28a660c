/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_control.c: control steps through the ring: fsync of a file or directory, close, connect,
 * accept; opening is in ring_open.c. What a step means is said elsewhere (fileops.h, netops.h); here is only
 * the waiting without a thread. Cases that need more than that (Unix sockets, datagrams, symbolic
 * links) are -EOPNOTSUPP before anything was done: the drivers sys and net know them.
 */
#include "drivers/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "drivers/netops.h"
#include "taio.h"

#define BACKLOG      1
#define SOCKET_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

void ring_control_finish(struct ring *ring, struct ring_op *op, int64_t result)
{
	op->step->result = result;
	ring_finish(ring, RING_URING, op->step);
	ring_op_put(ring, op);
	ring->room++;
}

static enum taio_submit control_refuse(struct taio_step *step, int error)
{
	step->result = error;
	return TAIO_DONE;
}

struct ring_op *ring_control_op(struct ring *ring, struct taio_step *step, ring_done_fn done)
{
	struct ring_op *op = ring_op_get(ring, RING_URING, step, done);

	ring->room--;
	step->priv[RING_PRIV_OP] = (uint64_t)(op - ring->ops);
	step->priv[RING_PRIV_FLOW] = 0;
	step->priv[RING_PRIV_CANCEL] = 0;
	return op;
}

/* ---- files ----------------------------------------------------------------------------------- */

static void sync_start(struct ring *ring, const struct ring_op *op)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	io_uring_prep_fsync(sqe, (int)op->step->priv[RING_PRIV_FD], 0);
	ring_sqe_done(ring, sqe, op);
}

static void sync_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_step *step = op->step;

	(void)flags;
	if (res == -EINTR && !step->priv[RING_PRIV_CANCEL]) {
		sync_start(ring, op);
		ring->continued = 1;
		return;
	}
	if (step->op == TAIO_OP_SYNC_DIR)
		close((int)step->priv[RING_PRIV_FD]);
	ring_control_finish(ring, op, res);
}

static enum taio_submit control_sync(struct ring *ring, struct taio_step *step, int fd)
{
	const struct ring_op *op = ring_control_op(ring, step, sync_done);

	step->priv[RING_PRIV_FD] = (uint32_t)fd;
	sync_start(ring, op);
	return TAIO_QUEUED;
}

/* The directory that holds @path. */
static int directory_open(const char *path)
{
	const char *slash = strrchr(path, '/');
	const size_t len = slash ? (size_t)(slash - path) : 0;
	char name[PATH_MAX];
	int fd;

	if (len >= sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, path, len);
	name[len] = '\0';
	fd = open(!slash ? "." : len ? name : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool sync_dir_fits(const struct taio_file *file)
{
	return file && file->to_path && !(file->state & FILEOPS_TO_LINK);
}

static enum taio_submit control_sync_dir(struct ring *ring, struct taio_step *step)
{
	const struct taio_file *file = step->file;
	int fd;

	if (!sync_dir_fits(file))
		return control_refuse(step, -EOPNOTSUPP);
	fd = directory_open(file->to_path);
	if (fd < 0) /* it may be written and not read: there is another way */
		return control_refuse(step, -EOPNOTSUPP);
	return control_sync(ring, step, fd);
}

static void close_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	(void)flags;
	ring_control_finish(ring, op, res == -EINTR ? 0 : res); /* it is closed all the same */
}

static enum taio_submit control_close(struct ring *ring, struct taio_step *step)
{
	struct ring_op *op = ring_control_op(ring, step, close_done);
	struct io_uring_sqe *sqe = ring_sqe(ring);

	io_uring_prep_close(sqe, step->from.fd);
	ring_sqe_done(ring, sqe, op);
	return TAIO_QUEUED;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static void stream_tune(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static bool addr_is_internet(const struct taio_addr *addr)
{
	const int family = addr->peer[addr->current].ss_family;

	return addr->type == SOCK_STREAM && (family == AF_INET || family == AF_INET6);
}

/* One that another device has begun is left to that. */
static bool addr_fits(const struct taio_addr *addr)
{
	return addr->fd < 0 && addr->listen_fd < 0 && addr->count > 0 && addr_is_internet(addr);
}

/* With a port of its own choice the kernel can connect a socket to itself. */
static bool socket_is_own_peer(int fd, const struct taio_addr *addr)
{
	struct sockaddr_storage self;
	socklen_t len = sizeof(self);

	memset(&self, 0, sizeof(self));
	return getsockname(fd, (struct sockaddr *)&self, &len) == 0 &&
	       len == addr->peer_len[addr->current] &&
	       memcmp(&self, &addr->peer[addr->current], len) == 0;
}

/* Return: 0: it is under way, negative errno. */
static int connect_start(struct ring *ring, struct ring_op *op)
{
	struct taio_addr *addr = op->step->addr;
	const struct sockaddr *peer = (const struct sockaddr *)&addr->peer[addr->current];
	struct io_uring_sqe *sqe;

	if (!addr_is_internet(addr))
		return -EAFNOSUPPORT;
	addr->family = (uint8_t)peer->sa_family;
	addr->fd = socket(peer->sa_family, addr->type | SOCKET_FLAGS, 0);
	if (addr->fd < 0)
		return -errno;
	stream_tune(addr->fd);
	sqe = ring_sqe(ring);
	io_uring_prep_connect(sqe, addr->fd, peer, addr->peer_len[addr->current]);
	ring_sqe_done(ring, sqe, op);
	return 0;
}

static void connect_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_step *step = op->step;
	struct taio_addr *addr = step->addr;

	(void)flags;
	if (res == 0 && socket_is_own_peer(addr->fd, addr))
		res = -ECONNREFUSED;
	while (res < 0) {
		if (addr->fd >= 0)
			close(addr->fd);
		addr->fd = -1;
		if (res == -ECANCELED || step->priv[RING_PRIV_CANCEL] || res == -EMFILE ||
		    res == -ENFILE || res == -ENOMEM || addr->current + 1 >= addr->count)
			break;
		addr->current++;
		res = connect_start(ring, op);
		if (res == 0) {
			ring->continued = 1;
			return;
		}
	}
	ring_control_finish(ring, op, res);
}

static enum taio_submit control_connect(struct ring *ring, struct taio_step *step)
{
	const struct taio_addr *addr = step->addr;
	struct ring_op *op;
	int rc;

	if (addr->count == 0)
		return control_refuse(step, -EDESTADDRREQ);
	if (!addr_fits(addr))
		return control_refuse(step, -EOPNOTSUPP);
	op = ring_control_op(ring, step, connect_done);
	rc = connect_start(ring, op);
	if (rc) {
		ring_op_put(ring, op);
		ring->room++;
		return control_refuse(step, rc);
	}
	return TAIO_QUEUED;
}

/* Somebody must be able to learn the port that the kernel chose. */
static void listen_tell_port(const struct ring *ring, const struct taio_addr *addr)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} self;
	socklen_t len = sizeof(self);
	char host[INET6_ADDRSTRLEN], line[INET6_ADDRSTRLEN + 64];
	const bool six = addr->family == AF_INET6;
	const void *from = six ? (const void *)&self.in6.sin6_addr : &self.in.sin_addr;

	if (!ring->host->log || getsockname(addr->listen_fd, &self.any, &len) < 0 ||
	    !inet_ntop(addr->family, from, host, sizeof(host)))
		return;
	snprintf(line, sizeof(line), "listening on %s%s%s:%u:tcp", six ? "[" : "", host,
		 six ? "]" : "", (unsigned int)ntohs(six ? self.in6.sin6_port : self.in.sin_port));
	ring->host->log(ring->host, line);
}

static int listen_begin(const struct ring *ring, struct taio_addr *addr)
{
	const struct sockaddr *self = (const struct sockaddr *)&addr->peer[addr->current];
	const int on = 1;
	int rc = 0;

	if (!addr_is_internet(addr))
		return -EAFNOSUPPORT;
	addr->family = (uint8_t)self->sa_family;
	addr->listen_fd = socket(self->sa_family, addr->type | SOCKET_FLAGS, 0);
	if (addr->listen_fd < 0)
		return -errno;
	(void)setsockopt(addr->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(addr->listen_fd, self, addr->peer_len[addr->current]) < 0 ||
	    listen(addr->listen_fd, BACKLOG) < 0)
		rc = -errno;
	if (rc)
		netops_abort(addr);
	else if (((const struct sockaddr_in *)(const void *)self)->sin_port == 0)
		listen_tell_port(ring, addr);
	return rc;
}

static void accept_start(struct ring *ring, struct ring_op *op)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	io_uring_prep_accept(sqe, op->step->addr->listen_fd, NULL, NULL, SOCKET_FLAGS);
	ring_sqe_done(ring, sqe, op);
}

/* The peer that came was gone again before we took it: not our failure (accept(2)). */
static bool accept_is_passing(int error)
{
	return error == -EAGAIN || error == -EINTR || error == -ECONNABORTED || error == -EPROTO ||
	       error == -ENETDOWN || error == -ENOPROTOOPT || error == -EHOSTDOWN ||
	       error == -ENONET || error == -EHOSTUNREACH || error == -ENETUNREACH;
}

static void accept_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_addr *addr = op->step->addr;

	(void)flags;
	if (accept_is_passing(res) && !op->step->priv[RING_PRIV_CANCEL]) {
		accept_start(ring, op);
		ring->continued = 1;
		return;
	}
	/* one peer: the listening socket has done its work, or has failed */
	netops_abort(addr);
	if (res >= 0) {
		addr->fd = res;
		stream_tune(res);
		res = 0;
	}
	ring_control_finish(ring, op, res);
}

static enum taio_submit control_accept(struct ring *ring, struct taio_step *step)
{
	struct taio_addr *addr = step->addr;
	int rc = 0;

	if (addr->count == 0)
		return control_refuse(step, -EDESTADDRREQ);
	if (!addr_fits(addr))
		return control_refuse(step, -EOPNOTSUPP);
	rc = listen_begin(ring, addr);
	while ((rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT) && addr->current + 1 < addr->count) {
		addr->current++;
		rc = listen_begin(ring, addr);
	}
	if (rc)
		return control_refuse(step, rc);
	accept_start(ring, ring_control_op(ring, step, accept_done));
	return TAIO_QUEUED;
}

bool ring_control_fits(const struct taio_step *step)
{
	switch (step->op) {
	case TAIO_OP_OPEN:
		return ring_open_fits(step->file);
	case TAIO_OP_SYNC_DIR:
		return sync_dir_fits(step->file);
	case TAIO_OP_CONNECT:
	case TAIO_OP_ACCEPT:
		return addr_fits(step->addr);
	default:
		return true;
	}
}

enum taio_submit ring_control_submit(struct ring *ring, struct taio_step *step)
{
	if (!ring_has_room(ring, 1))
		return ring_full(ring, step);
	switch (step->op) {
	case TAIO_OP_SYNC:
		return control_sync(ring, step, step->file ? step->file->to_fd : step->to.fd);
	case TAIO_OP_SYNC_DIR:
		return control_sync_dir(ring, step);
	case TAIO_OP_CLOSE:
		return control_close(ring, step);
	case TAIO_OP_OPEN:
		return ring_open_submit(ring, step);
	case TAIO_OP_CONNECT:
		return control_connect(ring, step);
	case TAIO_OP_ACCEPT:
		return control_accept(ring, step);
	default:
		return control_refuse(step, -EOPNOTSUPP);
	}
}
