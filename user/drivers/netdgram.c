/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netdgram.c: what the datagram drivers share: rooms for bytes on their way, cutting a source into
 * pieces to send, and receiving. How a piece becomes datagrams is theirs (dgram.c, gso.c).
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "drivers/netops.h"

#define POOL_ROOMS 64 /* threads of an engine at most, itself not counted */

struct netops_pool {
	_Atomic uint64_t busy;  /* bit i: room i is taken */
	_Atomic uint32_t extra; /* the last room, for the engine's own thread */
	uint8_t *rooms;
};

static_assert(NETOPS_ROOM_BYTES >= NETOPS_UNIT_MAX + 1, "a room must hold the largest datagram");

/*
 * Bytes are gone and cannot be moved again. An error by which the engine would try another device
 * for the same bytes must not leave here then.
 */
static int error_for_good(int error)
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

/* ---- rooms ----------------------------------------------------------------------------------- */

int netops_pool_open(struct taio_device *dev)
{
	const size_t bytes = (size_t)(POOL_ROOMS + 1) * NETOPS_ROOM_BYTES;
	struct netops_pool *pool = calloc(1, sizeof(*pool));

	assert(!dev->priv);
	if (pool) {
		/* address space only: a room that is never used takes no memory */
		pool->rooms = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (pool->rooms != MAP_FAILED) {
			dev->priv = pool;
			return 0;
		}
		free(pool);
	}
	snprintf(dev->reason, sizeof(dev->reason), "no memory for buffers");
	return -ENOMEM;
}

void netops_pool_close(struct taio_device *dev)
{
	struct netops_pool *pool = dev->priv;

	if (!pool)
		return;
	assert(pool->busy == 0);
	munmap(pool->rooms, (size_t)(POOL_ROOMS + 1) * NETOPS_ROOM_BYTES);
	free(pool);
	dev->priv = NULL;
}

void *netops_room_get(struct taio_device *dev)
{
	struct netops_pool *pool = dev->priv;
	uint64_t busy = atomic_load_explicit(&pool->busy, memory_order_relaxed);
	uint32_t unused = 0;

	/* the lowest free one: it is the likeliest to be in the cache */
	while (busy != UINT64_MAX) {
		unsigned int i = (unsigned int)__builtin_ctzll(~busy);

		if (atomic_compare_exchange_weak_explicit(
			    &pool->busy, &busy, busy | UINT64_C(1) << i, memory_order_acquire,
			    memory_order_relaxed))
			return pool->rooms + (size_t)i * NETOPS_ROOM_BYTES;
	}
	if (atomic_compare_exchange_strong(&pool->extra, &unused, 1))
		return pool->rooms + (size_t)POOL_ROOMS * NETOPS_ROOM_BYTES;
	return NULL;
}

void netops_room_put(struct taio_device *dev, void *room)
{
	struct netops_pool *pool = dev->priv;
	size_t i;

	if (!room)
		return;
	i = (size_t)((uint8_t *)room - pool->rooms) / NETOPS_ROOM_BYTES;
	assert(i <= POOL_ROOMS);
	if (i == POOL_ROOMS)
		atomic_store(&pool->extra, 0);
	else
		atomic_fetch_and_explicit(&pool->busy, ~(UINT64_C(1) << i), memory_order_release);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* The bytes of a step's source, piece by piece: memory as it is, a file read into the room. */
struct source {
	const struct taio_step *step;
	uint8_t *room;
	uint64_t offset; /* in the file, of the first byte of the step */
	bool zeroed;     /* the room holds zeros */
};

/* Return: 0 or negative errno: a file read by position that cannot say it. */
static int source_init(struct source *source, const struct taio_step *step, void *room)
{
	off_t at;

	source->step = step;
	source->room = room;
	source->offset = step->from.offset;
	source->zeroed = false;
	assert(step->from.kind == TAIO_KIND_MEM || room);
	if (step->from.kind == TAIO_KIND_FILE && (step->from.flags & TAIO_END_STREAMED)) {
		/* read by offset and move the position at the end: what a full socket did not
		 * take is then still ahead of the position */
		at = lseek(step->from.fd, 0, SEEK_CUR);
		if (at < 0)
			return -errno;
		source->offset = (uint64_t)at;
	}
	return 0;
}

static int64_t source_read(struct source *source, uint64_t done, size_t want)
{
	size_t got = 0;

	while (got < want) {
		ssize_t n = pread(source->step->from.fd, source->room + got, want - got,
				  (off_t)(source->offset + done + got));

		if (n > 0)
			got += (size_t)n;
		else if (n == 0)
			break;
		else if (errno != EINTR)
			return got ? (int64_t)got : -errno;
	}
	return (int64_t)got;
}

/* Up to @want (at most a room, unless the source is memory) bytes behind the first @done.
 * Return: how many; 0: the source ended; negative errno. */
static int64_t source_get(struct source *source, uint64_t done, size_t want,
			  const uint8_t **ret_piece)
{
	const struct taio_end *from = &source->step->from;

	assert(want > 0);
	if (from->kind == TAIO_KIND_MEM) {
		*ret_piece = (const uint8_t *)from->ptr + done;
		return (int64_t)want;
	}
	assert(want <= NETOPS_ROOM_BYTES);
	*ret_piece = source->room;
	if (from->kind == TAIO_KIND_FILE)
		return source_read(source, done, want);
	assert(from->kind == TAIO_KIND_ZERO);
	if (!source->zeroed) {
		/* pieces shrink from the first to the last */
		memset(source->room, 0, want);
		source->zeroed = true;
	}
	return (int64_t)want;
}

/* @done bytes were sent: moves the position of a file that is read by position. */
static void source_done(struct source *source, uint64_t done)
{
	const struct taio_end *from = &source->step->from;

	if (from->kind == TAIO_KIND_FILE && (from->flags & TAIO_END_STREAMED) && done > 0)
		(void)lseek(from->fd, (off_t)(source->offset + done), SEEK_SET);
}

/* How much of a step to send now. */
static uint64_t send_length(const struct taio_step *step)
{
	const size_t unit = netops_unit(&step->to);

	/* no short datagram in the middle only because a segment ends there */
	if ((step->flags & TAIO_SF_MORE) && !(step->flags & TAIO_SF_LAST) && step->len > unit)
		return step->len - step->len % unit;
	return step->len;
}

/* All bytes of a step are gone. Return: 0 or negative errno. */
static int send_end(const struct taio_step *step)
{
	int error = netops_error(step->to.fd);

	if (!error && (step->flags & TAIO_SF_LAST))
		error = netops_end_mark(step->to.fd);
	return error_for_good(error);
}

/* The network's word on datagrams that went before: it is said once, and they are lost. */
static bool error_is_of_the_past(int error)
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

int64_t netops_send(struct taio_step *step, void *room, size_t whole,
		    int (*send)(struct taio_step *step, const uint8_t *piece, size_t bytes,
				uint64_t *moved))
{
	const uint64_t len = send_length(step);
	const size_t piece_max = NETOPS_ROOM_BYTES - NETOPS_ROOM_BYTES % whole;
	struct source source;
	uint64_t moved = 0;
	int error;

	assert(whole > 0);
	assert(whole <= NETOPS_ROOM_BYTES);
	step->failed_side = 1;
	error = source_init(&source, step, room);
	if (error)
		return error;
	while (moved < len && !error) {
		const uint8_t *piece;
		size_t want = len - moved < piece_max ? len - moved : piece_max;
		int64_t got = source_get(&source, moved, want, &piece);

		if (got <= 0) {
			source_done(&source, moved);
			/* a file that shrank ends here: the receiver must learn it */
			if (got == 0 && moved == 0)
				got = send_end(step);
			return moved > 0 ? (int64_t)moved : got;
		}
		error = send(step, piece, (size_t)got, &moved);
	}
	source_done(&source, moved);
	step->failed_side = 2;
	if (!error) {
		error = send_end(step);
		return error ? error : (int64_t)moved;
	}
	if (error_is_of_the_past(error))
		return error;
	if (moved > 0)
		return (int64_t)moved;
	return netops_is_full(error) ? netops_again(step, step->to.fd, POLLOUT) : error;
}

int64_t netops_again(struct taio_step *step, int fd, uint32_t events)
{
	step->wait_fd = fd;
	step->wait_events = events;
	return -EAGAIN;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* A receiving step under way. */
struct receiver {
	struct taio_step *step;
	uint8_t *room;  /* file: gathers datagrams */
	size_t held;    /* bytes in room */
	uint64_t taken; /* bytes taken from the socket, those in room included */
	bool filter;    /* only datagrams of peer count */
	bool lost;      /* bytes were taken that nobody has: an error whatever came before */
	struct sockaddr_storage peer;
};

/*
 * A socket that the engine bound was open to everybody until its first sender became its peer, and
 * what strangers sent in between is in its queue. A socket of the caller is taken as it is.
 */
static void receiver_init(struct receiver *r, struct taio_step *step, void *room)
{
	socklen_t len = sizeof(r->peer);

	r->step = step;
	r->room = room;
	r->held = 0;
	r->taken = 0;
	r->lost = false;
	r->filter = (step->from.flags & TAIO_END_OWNED) &&
		    getpeername(step->from.fd, (struct sockaddr *)&r->peer, &len) == 0 &&
		    (r->peer.ss_family == AF_INET || r->peer.ss_family == AF_INET6);
}

/* recvmsg() of one datagram. Return: its whole length, even if @size is less; -1 and errno. */
static ssize_t receiver_recv(struct receiver *r, void *to, size_t size, int flags,
			     bool *ret_stranger)
{
	struct sockaddr_storage sender;
	struct iovec iov = { .iov_base = to, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	*ret_stranger = false;
	if (r->filter) {
		msg.msg_name = &sender;
		msg.msg_namelen = sizeof(sender);
	}
	do {
		n = recvmsg(r->step->from.fd, &msg, flags | MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n >= 0 && r->filter)
		*ret_stranger = !netops_is_same(&sender, &r->peer, true);
	return n;
}

/*
 * The length of the next datagram of the peer, without taking it; @left: what is asked for. The
 * cheap way first: FIONREAD cannot tell an empty datagram from none, nor say whose it is.
 * Return: its length, 0: end mark; negative errno, -EAGAIN: none.
 */
static int64_t receiver_next(struct receiver *r, uint64_t left)
{
	bool stranger;
	ssize_t n;
	int bytes;

	if (ioctl(r->step->from.fd, FIONREAD, &bytes) == 0 && bytes > 0 && (uint64_t)bytes <= left)
		return bytes;
	for (;;) {
		n = receiver_recv(r, NULL, 0, MSG_PEEK, &stranger);
		if (n < 0)
			return -errno;
		if (!stranger)
			return n;
		(void)receiver_recv(r, NULL, 0, 0, &stranger);
	}
}

/* Return: 0; negative errno: bytes that were taken from the socket are lost. */
static int receiver_flush(struct receiver *r)
{
	const struct taio_end *to = &r->step->to;
	const bool by_position = to->flags & (TAIO_END_STREAMED | TAIO_END_APPEND);
	size_t written = 0;
	ssize_t n;

	while (written < r->held) {
		uint64_t at = to->offset + r->taken - r->held + written;

		if (by_position)
			n = write(to->fd, r->room + written, r->held - written);
		else
			n = pwrite(to->fd, r->room + written, r->held - written, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r->lost = true;
			r->step->failed_side = 2;
			return n < 0 ? -errno : -EIO;
		}
		written += (size_t)n;
	}
	r->held = 0;
	return 0;
}

/* Takes the next datagram, known to be @size bytes long. Return: 0 or negative errno. */
static int receiver_take(struct receiver *r, size_t size)
{
	bool stranger;
	void *to = NULL;
	ssize_t n;
	int error;

	if (r->step->to.kind == TAIO_KIND_MEM) {
		to = (uint8_t *)r->step->to.ptr + r->taken;
	} else if (r->step->to.kind == TAIO_KIND_FILE) {
		if (r->held + size > NETOPS_ROOM_BYTES) {
			error = receiver_flush(r);
			if (error)
				return error;
		}
		to = r->room + r->held;
	}
	n = receiver_recv(r, to, to ? size : 0, 0, &stranger);
	if (n < 0)
		return -errno;
	if (stranger)
		return 0;
	/* somebody else reads from this socket, and took the datagram that was looked at */
	if ((size_t)n > size) {
		r->lost = true;
		r->step->failed_side = 1;
		return -EMSGSIZE;
	}
	r->taken += (size_t)n;
	if (r->step->to.kind == TAIO_KIND_FILE)
		r->held += (size_t)n;
	return 0;
}

/* The end mark alone in a step. */
static int64_t receiver_end(struct receiver *r)
{
	bool stranger;

	(void)receiver_recv(r, NULL, 0, 0, &stranger);
	return 0;
}

int64_t netops_receive(struct taio_step *step, void *room)
{
	struct receiver r;
	int64_t size;
	int error = 0;

	assert(step->from.kind == TAIO_KIND_DGRAM);
	assert(step->to.kind != TAIO_KIND_FILE || room);
	receiver_init(&r, step, room);
	while (r.taken < step->len && !error) {
		const uint64_t left = step->len - r.taken;

		size = receiver_next(&r, left);
		if (size == 0 && r.taken == 0)
			return receiver_end(&r);
		if (size < 0)
			error = (int)size;
		else if ((uint64_t)size > left)
			error = -EMSGSIZE;
		else if (size == 0)
			break;
		else
			error = receiver_take(&r, (size_t)size);
	}
	if (r.held > 0 && !r.lost) {
		int failed = receiver_flush(&r);

		error = failed ? failed : error;
	}
	if (r.lost)
		return error_for_good(error);
	if (r.taken > 0)
		return (int64_t)r.taken;
	if (error == -EAGAIN)
		return netops_again(step, step->from.fd, POLLIN);
	step->failed_side = 1;
	return error;
}
