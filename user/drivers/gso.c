/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * gso.c: many UDP datagrams through the network stack as one packet. Sending, UDP_SEGMENT lets the
 * kernel (or the card) cut up to 64 KiB into datagrams as late as it can; receiving, UDP_GRO hands
 * over what came together in one piece. What the peer sees are plain datagrams. Not for Unix
 * sockets, and not where a path or a device cannot take it: dgram.c serves those.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/gso_messages.h"
#include "drivers/netops.h"
#include "drivers/syncops.h"

#ifndef UDP_SEGMENT /* glibc has both names since 2.35 */
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define RECEIVE_MIN  65536 /* a coalesced packet must fit as a whole */
#define MESSAGES_MIN 128   /* ... or as so many messages */

static int gso_probe(struct taio_device *dev)
{
	const int size = NETOPS_UNIT_DEFAULT, on = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0) {
		error = -errno;
		snprintf(dev->reason, sizeof(dev->reason), "no UDP socket: %s", strerror(-error));
		return error;
	}
	if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0) {
		error = -EOPNOTSUPP;
		snprintf(dev->reason, sizeof(dev->reason),
			 "kernel without UDP_SEGMENT (4.18) or UDP_GRO (5.0): %s", strerror(errno));
	}
	close(fd);
	return error;
}

/* Bytes of a packet: as many whole datagrams as it can hold. */
static size_t gso_packet_bytes(size_t unit)
{
	size_t segments = GSO_PACKET_MAX / unit;

	return unit * (segments < GSO_SEGMENTS_MAX ? segments : GSO_SEGMENTS_MAX);
}

/*
 * Sending: not where a packet holds one datagram only. Receiving: UDP_GRO stays set on the socket and
 * would surprise a caller who reads from it later, so only on the engine's own.
 */
static int gso_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	if (step->from.kind == TAIO_KIND_MESSAGES)
		return gso_messages_fit(step);
	if (step->to.kind == TAIO_KIND_MESSAGES)
		return (step->from.flags & TAIO_END_JOINED) ||
		       ((step->from.flags & TAIO_END_OWNED) && step->len >= MESSAGES_MIN);
	if (step->to.kind == TAIO_KIND_DGRAM)
		return netops_unit(&step->to) <= GSO_PACKET_MAX / 2;
	return (step->from.flags & TAIO_END_OWNED) && step->len >= RECEIVE_MIN;
}

static bool gso_socket_is_udp(const struct taio_end *end)
{
	socklen_t len = sizeof(int);
	int protocol = 0;

	return (end->flags & TAIO_END_UDP) ||
	       (getsockopt(end->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
		protocol == IPPROTO_UDP);
}

/* One packet. Return: 0 or negative errno. */
static int gso_send(int fd, const uint8_t *piece, size_t bytes, size_t unit)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(uint16_t))];
	} control;
	const uint16_t segment = (uint16_t)unit;
	struct iovec iov = { .iov_base = (void *)piece, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *head;
	ssize_t n;

	if (bytes > unit) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.room);
		head = CMSG_FIRSTHDR(&msg);
		head->cmsg_level = IPPROTO_UDP;
		head->cmsg_type = UDP_SEGMENT;
		head->cmsg_len = CMSG_LEN(sizeof(segment));
		memcpy(CMSG_DATA(head), &segment, sizeof(segment));
	}
	do {
		n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	assert(n < 0 || (size_t)n == bytes);
	return n < 0 ? -errno : 0;
}

/* A piece of the source, for netops_send(). */
static int gso_send_piece(struct taio_step *step, const uint8_t *piece, size_t bytes,
			  uint64_t *moved)
{
	const size_t unit = netops_unit(&step->to);
	const size_t packet = gso_packet_bytes(unit);
	size_t done = 0;

	while (done < bytes) {
		const size_t n = bytes - done < packet ? bytes - done : packet;
		int error = gso_send(step->to.fd, piece + done, n, unit);

		if (gso_is_unfit(error))
			return -EOPNOTSUPP;
		if (error)
			return error;
		done += n;
		*moved += n;
	}
	return 0;
}

static int64_t gso_run(struct taio_device *dev, struct taio_step *step)
{
	const bool sends = step->to.kind == TAIO_KIND_DGRAM;
	const int on = 1;

	assert(step->op == TAIO_OP_COPY);
	assert(step->len > 0);
	if (!gso_socket_is_udp(sends ? &step->to : &step->from))
		return -EOPNOTSUPP;
	if (step->from.kind == TAIO_KIND_MESSAGES)
		return gso_messages_send(step);
	if (sends)
		return netops_send(dev, step, gso_packet_bytes(netops_unit(&step->to)),
				   gso_send_piece);
	if (!(step->from.flags & TAIO_END_JOINED) &&
	    setsockopt(step->from.fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) < 0)
		return -EOPNOTSUPP;
	step->from.flags |= TAIO_END_JOINED;
	if (step->to.kind == TAIO_KIND_MESSAGES)
		return gso_messages_receive(dev, step);
	return netops_receive(dev, step);
}

static const struct taio_capability gso_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MESSAGES),
	  .to = TAIO_K(DGRAM),
	  .min = 2,
	  .base_ns = 1200,
	  .ps_per_byte = 400 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MESSAGES),
	  .base_ns = 600,
	  .ps_per_byte = 600 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(ZERO),
	  .to = TAIO_K(DGRAM),
	  .base_ns = 2500,
	  .ps_per_byte = 110 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(DGRAM),
	  .flags = TAIO_CAP_BLOCKING,
	  .base_ns = 3500,
	  .ps_per_byte = 200 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(DGRAM),
	  .base_ns = 4500,
	  .ps_per_byte = 300 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .min = RECEIVE_MIN,
	  .base_ns = 3500,
	  .ps_per_byte = 400 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .min = RECEIVE_MIN,
	  .base_ns = 1200,
	  .ps_per_byte = 100 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_BLOCKING,
	  .min = RECEIVE_MIN,
	  .base_ns = 2500,
	  .ps_per_byte = 300 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_gso = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "gso",
	.text = "UDP datagrams cut and joined by the kernel (UDP_SEGMENT, UDP_GRO)",
	.caps = gso_caps,
	.probe = gso_probe,
	.open = syncops_open,
	.close = syncops_close,
	.fits = gso_fits,
	.run = gso_run,
};
