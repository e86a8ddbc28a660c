/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * netrecv.c: a receiving step of the datagram drivers: appends the bytes of datagrams in the order
 * in which they come.
 *
 * The kernel gives a datagram away as a whole, and what does not fit is gone. Where the largest one
 * would fit it is simply taken. Elsewhere it is measured first, and one that fits only in part (a
 * segment ends there, a pipe is full) is peeked at and stays in the queue; how much of it was
 * delivered is kept where the kernel has a place for just that, in the socket's SO_PEEK_OFF, and the
 * next step goes on from there. An end mark that was taken behind bytes is remembered there, too: the
 * step gives the bytes, the next one the end. Else SO_PEEK_OFF is -1 (off) between steps.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/netops.h"
#include "drivers/syncops.h"

#ifndef UDP_GRO /* glibc has it since 2.35 */
#define UDP_GRO 104
#endif

#define DATAGRAM_ROOM 65536   /* no datagram, and no packet of joined ones, is larger */
#define OFFSET_ENDED  INT_MAX /* as SO_PEEK_OFF: the end mark was taken */

/* A receiving step under way. */
struct receiver {
	struct taio_device *dev;
	struct taio_step *step;
	uint8_t *buffer; /* SYNCOPS_BUFFER_BYTES */
	size_t held;     /* bytes in the buffer that a file is to get */
	size_t offset;   /* bytes of the next datagram that were delivered */
	uint64_t taken;  /* bytes of this step, those held included */
	uint32_t joined; /* datagrams that the last call gave as one */
	bool filter;     /* only datagrams of peer count */
	bool flows;      /* to a pipe or stream */
	bool ended;      /* the end mark was taken */
	bool lost;       /* bytes were taken that nobody has: an error whatever came before */
	struct sockaddr_storage peer;
};

static int receiver_init(struct receiver *r)
{
	socklen_t len = sizeof(int);
	int offset = -1;

	if (getsockopt(r->step->from.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, &len) < 0)
		return -errno;
	r->ended = offset == OFFSET_ENDED;
	r->offset = offset > 0 && !r->ended ? (size_t)offset : 0;
	r->flows = r->step->to.kind == TAIO_KIND_PIPE || r->step->to.kind == TAIO_KIND_STREAM;
	/* A socket that the engine bound was open to everybody until its first sender became its
	 * peer, and what strangers sent in between is in its queue. A socket of the caller is
	 * taken as it is. */
	len = sizeof(r->peer);
	r->filter = (r->step->from.flags & TAIO_END_OWNED) &&
		    getpeername(r->step->from.fd, (struct sockaddr *)&r->peer, &len) == 0 &&
		    (r->peer.ss_family == AF_INET || r->peer.ss_family == AF_INET6);
	return 0;
}

/* ---- the next datagram ------------------------------------------------------------------------- */

/* The size of the datagrams that the kernel joined; @whole if it joined none. */
static size_t unit_of(struct msghdr *msg, size_t whole)
{
	int unit = 0;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head))
		if (head->cmsg_level == IPPROTO_UDP && head->cmsg_type == UDP_GRO)
			memcpy(&unit, CMSG_DATA(head), sizeof(unit));
	return unit > 0 ? (size_t)unit : whole;
}

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

/* One that may be many: how many they are is known only to recvmsg(). */
static ssize_t receiver_recv_joined(struct receiver *r, struct iovec *iov, int flags,
				    struct sockaddr_storage *sender)
{
	union control control;
	struct msghdr msg = { .msg_iov = iov,
			      .msg_iovlen = 1,
			      .msg_name = sender,
			      .msg_namelen = sizeof(*sender),
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(r->step->from.fd, &msg, flags);

	if (n > 0) {
		size_t unit = unit_of(&msg, (size_t)n);

		r->joined = (uint32_t)(((size_t)n + unit - 1) / unit);
	}
	return n;
}

/*
 * Receives one datagram. @ret_stranger: it is not the peer's.
 * Return: bytes, with MSG_TRUNC its whole length; negative errno.
 */
static ssize_t receiver_recv(struct receiver *r, void *to, size_t size, int flags,
			     bool *ret_stranger)
{
	struct sockaddr_storage sender;
	socklen_t len = sizeof(sender);
	ssize_t n;

	/* recvfrom(), as recvmsg() costs a quarter more */
	r->joined = 1;
	do {
		if (r->step->from.flags & TAIO_END_JOINED)
			n = receiver_recv_joined(r, &(struct iovec){ to, size },
						 flags | MSG_DONTWAIT, &sender);
		else
			n = recvfrom(r->step->from.fd, to, size, flags | MSG_DONTWAIT,
				     r->filter ? (struct sockaddr *)&sender : NULL,
				     r->filter ? &len : NULL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_stranger = r->filter && !netops_is_same(&sender, &r->peer, true);
	return n;
}

/* The size of the datagrams that the kernel joined into the next one; @whole if it is a plain one. */
static int64_t receiver_unit(struct receiver *r, size_t whole)
{
	union control control;
	struct msghdr msg = { .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t n;

	do {
		n = recvmsg(r->step->from.fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (int64_t)unit_of(&msg, whole);
}

/* Takes the next datagram away without looking at it. */
static void receiver_drop(struct receiver *r)
{
	bool stranger = false;

	(void)receiver_recv(r, NULL, 0, MSG_TRUNC, &stranger);
	if (stranger)
		r->step->strangers += r->joined;
	else
		r->step->packets += r->joined;
}

/*
 * The undelivered bytes of the next datagram of the peer, without taking it. The cheap way first:
 * FIONREAD cannot tell an empty datagram from none, nor say whose it is.
 * Return: bytes, 0: end mark; negative errno, -EAGAIN: none is there.
 */
static int64_t receiver_next(struct receiver *r)
{
	const uint64_t left = r->step->len - r->taken;
	bool stranger;
	int bytes = 0;
	ssize_t n;

	if (ioctl(r->step->from.fd, FIONREAD, &bytes) == 0 && (size_t)bytes > r->offset &&
	    (r->offset > 0 || ((uint64_t)bytes <= left && !(r->flows && r->filter))))
		return bytes - (int64_t)r->offset;
	if (r->offset > 0) {
		/* somebody else took the datagram of which this is the rest */
		r->lost = true;
		return -ENOTRECOVERABLE;
	}
	for (;;) {
		n = receiver_recv(r, NULL, 0, MSG_PEEK | MSG_TRUNC, &stranger);
		if (n < 0 || !stranger)
			return n;
		receiver_drop(r);
	}
}

static int receiver_keep(struct receiver *r, int offset)
{
	if (setsockopt(r->step->from.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) == 0)
		return 0;
	r->lost = true;
	return -errno;
}

/* @offset bytes of the next datagram are delivered; @rest: how many are not. */
static int receiver_mark(struct receiver *r, size_t offset, size_t rest)
{
	const size_t before = r->offset;

	if (rest == 0)
		receiver_drop(r);
	r->offset = rest == 0 ? 0 : offset;
	if (before == 0 && r->offset == 0)
		return 0;
	return receiver_keep(r, r->offset > 0 ? (int)r->offset : -1);
}

/* Reads @size undelivered bytes of the next datagram, which stays. Return: 0 or negative errno. */
static int receiver_peek(struct receiver *r, void *to, size_t size)
{
	bool stranger;
	ssize_t n = receiver_recv(r, to, size, MSG_PEEK, &stranger);

	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : -ENOTRECOVERABLE;
}

/* ---- memory, files, nowhere -------------------------------------------------------------------- */

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
			n = write(to->fd, r->buffer + written, r->held - written);
		else
			n = pwrite(to->fd, r->buffer + written, r->held - written, (off_t)at);
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

/* Where the next @size bytes go. Return: 0 or negative errno. */
static int receiver_place(struct receiver *r, size_t size, void **ret_to)
{
	int error;

	assert(size <= SYNCOPS_BUFFER_BYTES);
	if (r->step->to.kind == TAIO_KIND_MEM) {
		*ret_to = (uint8_t *)r->step->to.ptr + r->taken;
		return 0;
	}
	if (r->held + size > SYNCOPS_BUFFER_BYTES) {
		error = receiver_flush(r);
		if (error)
			return error;
	}
	*ret_to = r->buffer + r->held;
	return 0;
}

static void receiver_credit(struct receiver *r, size_t size)
{
	r->taken += size;
	if (r->step->to.kind == TAIO_KIND_FILE)
		r->held += size;
}

/* Takes the next datagram, which has @size bytes at most. Return: 0 or negative errno. */
static int receiver_take(struct receiver *r, size_t size)
{
	const bool nowhere = r->step->to.kind == TAIO_KIND_NULL;
	bool stranger;
	void *to = NULL;
	ssize_t n;
	int error = nowhere ? 0 : receiver_place(r, size, &to);

	if (error)
		return error;
	n = receiver_recv(r, to, nowhere ? 0 : size, MSG_TRUNC, &stranger);
	if (n < 0)
		return (int)n;
	if (stranger) {
		r->step->strangers += r->joined;
		return 0;
	}
	if (n > 0) /* an end mark is none */
		r->step->packets += r->joined;
	if ((size_t)n > size) {
		/* somebody else took the datagram that was measured, and this one was larger */
		r->lost = true;
		return -EMSGSIZE;
	}
	r->ended = n == 0;
	receiver_credit(r, (size_t)n);
	return 0;
}

/* The first @size of @rest undelivered bytes of the next datagram. Return: 0 or negative errno. */
static int receiver_take_part(struct receiver *r, size_t size, size_t rest)
{
	void *to;
	int error = receiver_place(r, size, &to);

	if (!error)
		error = receiver_peek(r, to, size);
	if (error)
		return error;
	receiver_credit(r, size);
	return receiver_mark(r, r->offset + size, rest - size);
}

/*
 * The next datagram has @rest bytes, more than the step wants. If more is wanted later, or nobody
 * can say how much, it is delivered in parts. But memory that ends here is too small for it; of
 * datagrams that the kernel joined, those that fit as a whole are taken.
 * Return: bytes to take now; -EMSGSIZE: none.
 */
static int64_t receiver_part(struct receiver *r, size_t rest)
{
	const uint64_t left = r->step->len - r->taken;
	uint64_t end = r->offset + left;
	int64_t unit;

	if (r->step->to.kind != TAIO_KIND_MEM || (r->step->flags & TAIO_SF_MORE))
		return (int64_t)left;
	unit = receiver_unit(r, r->offset + rest);
	if (unit <= 0)
		return unit < 0 ? unit : -EMSGSIZE;
	end -= end % (uint64_t)unit;
	return end > r->offset ? (int64_t)(end - r->offset) : -EMSGSIZE;
}

/* ---- pipes and streams ------------------------------------------------------------------------- */

static ssize_t receiver_write(struct receiver *r, size_t size)
{
	const struct taio_end *to = &r->step->to;
	struct syncops_guard guard;
	ssize_t n;

	do {
		if (to->kind == TAIO_KIND_STREAM) {
			n = send(to->fd, r->buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			syncops_guard_start(r->dev, &guard);
			n = write(to->fd, r->buffer, size);
			syncops_guard_end(&guard, n != (ssize_t)size);
		}
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/*
 * Hands @rest bytes of the next datagram to a pipe or stream. What that takes is delivered, the
 * rest stays in the queue. Return: 0; negative errno with nothing delivered.
 */
static int receiver_pass(struct receiver *r, size_t rest)
{
	const uint64_t left = r->step->len - r->taken;
	const size_t before = r->offset;
	size_t size = rest < left ? rest : (size_t)left;
	ssize_t n;
	int error;

	/* a terminal is left blocking: no more than it takes at once when it is writable */
	if (r->step->to.kind == TAIO_KIND_PIPE && size > PIPE_BUF &&
	    !(fcntl(r->step->to.fd, F_GETFL) & O_NONBLOCK))
		size = PIPE_BUF;
	error = receiver_peek(r, r->buffer, size);
	if (error)
		return error;
	n = receiver_write(r, size);
	if (n < 0)
		r->step->failed_side = 2;
	else
		r->taken += (uint64_t)n;
	error = receiver_mark(r, before + (n < 0 ? 0 : (size_t)n), rest - (n < 0 ? 0 : (size_t)n));
	return n < 0 ? (int)n : error;
}

/* ---- a step ------------------------------------------------------------------------------------ */

/* One datagram, or a part of one. Return: 0 or negative errno. */
static int receiver_step(struct receiver *r)
{
	const uint64_t left = r->step->len - r->taken;
	int64_t rest, part;

	if (left >= DATAGRAM_ROOM && r->offset == 0 && !r->flows)
		return receiver_take(r, DATAGRAM_ROOM);
	rest = receiver_next(r);
	if (rest < 0)
		return (int)rest;
	if (rest == 0)
		return receiver_take(r, 0);
	/* what does not fit is the next step's */
	if ((uint64_t)rest > left && r->taken > 0)
		return -EAGAIN;
	if (r->flows)
		return receiver_pass(r, (size_t)rest);
	part = (uint64_t)rest > left ? receiver_part(r, (size_t)rest) : rest;
	if (part < 0)
		return (int)part;
	if (part == rest && r->offset == 0)
		return receiver_take(r, (size_t)rest);
	return receiver_take_part(r, (size_t)part, (size_t)rest);
}

/* The end mark was taken, in this step or the one before. */
static int64_t receiver_end(struct receiver *r, bool before)
{
	int error = 0;

	if (before || r->taken > 0)
		error = receiver_keep(r, before ? -1 : OFFSET_ENDED);
	return error ? netops_for_good(error) : (int64_t)r->taken;
}

static int64_t receive_into(struct receiver *r)
{
	struct taio_step *step = r->step;
	int error = 0;

	step->failed_side = 1;
	if (r->ended)
		return receiver_end(r, true);
	while (r->taken < step->len && !error && !r->ended)
		error = receiver_step(r);
	if (r->held > 0 && !r->lost) {
		int failed = receiver_flush(r);

		error = failed ? failed : error;
	}
	if (r->lost)
		return netops_for_good(error);
	if (r->ended)
		return receiver_end(r, false);
	if (r->taken > 0)
		return (int64_t)r->taken;
	if (error == -EAGAIN && step->failed_side == 2)
		return netops_again(step, step->to.fd, POLLOUT);
	if (error == -EAGAIN)
		return netops_again(step, step->from.fd, POLLIN);
	return error;
}

int64_t netops_receive(struct taio_device *dev, struct taio_step *step)
{
	struct syncops_room *room = syncops_get(dev);
	struct receiver r = { .dev = dev, .step = step };
	int64_t result = -ENOMEM;

	assert(step->from.kind == TAIO_KIND_DGRAM);
	assert(step->len > 0);
	if (room)
		r.buffer = syncops_buffer(room);
	if (r.buffer)
		result = receiver_init(&r);
	if (result == 0)
		result = receive_into(&r);
	syncops_put(dev, room);
	return result;
}
