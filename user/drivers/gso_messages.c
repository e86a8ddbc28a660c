/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * gso_messages.c: batches of messages by UDP_SEGMENT and UDP_GRO. Sending, each run of neighbours to
 * one peer with one size (the last may be smaller) is one packet for the stack. Receiving, what the
 * kernel joined is taken into a buffer and separated by the size that comes with it; of a packet
 * with more datagrams than the batch has room for, the rest stays in the socket, and how much of it
 * was delivered stands in SO_PEEK_OFF, as in netrecv.c.
 */
#include "drivers/gso_messages.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "drivers/msgops.h"
#include "drivers/netops.h"

#ifndef UDP_SEGMENT /* glibc has both names since 2.35 */
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define RUNS    8                         /* in one sendmmsg() */
#define PIECES  (RUNS * GSO_SEGMENTS_MAX) /* ... of so many messages at most */
#define PACKETS 4                         /* in one recvmmsg() */
#define PACKET  65536                     /* no packet of joined datagrams is larger */
#define JOINED  128                       /* ... or has more of them */

static_assert(PACKETS * PACKET <= SYNCOPS_BUFFER_BYTES, "packets are received into a room");

union control {
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

bool gso_is_unfit(int error)
{
	return error == -EINVAL || error == -EMSGSIZE || error == -EIO || error == -EOPNOTSUPP;
}

/* ---- sending ----------------------------------------------------------------------------------- */

static bool same_peer(const struct taio_message *a, const struct taio_message *b)
{
	if (a->address == b->address)
		return !a->address || a->address_length == b->address_length;
	return a->address && b->address && a->address_length == b->address_length &&
	       memcmp(a->address, b->address, a->address_length) == 0;
}

/* Messages from the first on that can go as one packet. */
static unsigned int run_of(const struct taio_message *m, uint64_t left)
{
	const uint32_t unit = m[0].length;
	size_t bytes = unit;
	unsigned int n = 1;

	if (unit == 0 || unit > GSO_PACKET_MAX / 2)
		return 1;
	while (n < left && n < GSO_SEGMENTS_MAX && m[n].length > 0 && m[n].length <= unit &&
	       bytes + m[n].length <= GSO_PACKET_MAX && same_peer(m, m + n)) {
		bytes += m[n].length;
		n++;
		if (m[n - 1].length < unit)
			break; /* only the last may be smaller */
	}
	return n;
}

bool gso_messages_fit(const struct taio_step *step)
{
	return run_of(step->from.ptr, step->len < 4 ? step->len : 4) > 1;
}

static void run_mark(struct msghdr *hdr, union control *control, uint32_t unit)
{
	const uint16_t segment = (uint16_t)unit;
	struct cmsghdr *head;

	memset(control, 0, sizeof(*control));
	hdr->msg_control = control;
	hdr->msg_controllen = CMSG_SPACE(sizeof(segment));
	head = CMSG_FIRSTHDR(hdr);
	head->cmsg_level = IPPROTO_UDP;
	head->cmsg_type = UDP_SEGMENT;
	head->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(head), &segment, sizeof(segment));
}

/* Runs of messages that go to the kernel in one call. */
struct runs {
	unsigned int most;         /* so many at most */
	unsigned int count;        /* as many as were found */
	unsigned int length[RUNS]; /* messages in each */
};

/* Return: messages sent, or negative errno of the first run. */
static int send_runs(int fd, const struct taio_message *m, uint64_t left, struct runs *runs)
{
	struct mmsghdr hdr[RUNS];
	union control control[RUNS];
	struct iovec iov[PIECES];
	unsigned int used = 0;
	int n, sent = 0;

	for (runs->count = 0; runs->count < runs->most && used < left; runs->count++) {
		const unsigned int length = run_of(m + used, left - used);
		/* cppcheck-suppress uninitvar ; only its address is taken */
		struct msghdr *one = &hdr[runs->count].msg_hdr;

		memset(one, 0, sizeof(*one));
		one->msg_iov = &iov[used];
		one->msg_iovlen = length;
		msgops_address(&m[used], one);
		if (length > 1)
			run_mark(one, &control[runs->count], m[used].length);
		runs->length[runs->count] = length;
		for (unsigned int i = 0; i < length; i++, used++) {
			iov[used].iov_base = m[used].data;
			iov[used].iov_len = m[used].length;
		}
	}
	do {
		n = sendmmsg(fd, hdr, runs->count, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	for (int i = 0; i < n; i++)
		sent += (int)runs->length[i];
	if (n >= 0 && (unsigned int)n < runs->count)
		runs->most = 1; /* why it stopped is forgotten: see msgops_send() */
	return n < 0 ? -errno : sent;
}

/*
 * A run of several messages was refused as a whole. That may be because of one of them, or because
 * it is a run: then others find out.
 */
static int64_t run_refused(struct msgops_front *front, int error)
{
	if (front->done == 0 && !gso_is_unfit(error))
		return msgops_send(front->step);
	if (front->done == 0)
		(void)msgops_stop(front, 0); /* notes what was reported */
	return front->done > 0 ? msgops_stop(front, 0) : -EOPNOTSUPP;
}

int64_t gso_messages_send(struct taio_step *step)
{
	const struct taio_message *m = step->from.ptr;
	struct msgops_front front = { .step = step };
	struct runs runs = { .most = RUNS };

	while (front.done < step->len) {
		int n = send_runs(step->to.fd, m + front.done, step->len - front.done, &runs);

		if (n >= 0) {
			msgops_sent(&front, (unsigned int)n);
			continue;
		}
		if (runs.length[0] > 1 && !netops_is_full(n) &&
		    (!netops_is_report(n) || front.past == n))
			return run_refused(&front, n);
		if (msgops_refused(&front, n) == MSGOPS_STOP)
			return msgops_stop(&front, n);
	}
	return msgops_stop(&front, 0);
}

/* ---- receiving --------------------------------------------------------------------------------- */

/* A receiving step under way. */
struct taker {
	struct taio_step *step;
	uint8_t *buffer;
	uint64_t done;
	int offset; /* bytes of the next packet that were delivered; SO_PEEK_OFF, else -1 */
};

static uint32_t packet_unit(struct msghdr *hdr, size_t bytes)
{
	int unit = (int)bytes;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(hdr); head; head = CMSG_NXTHDR(hdr, head))
		if (head->cmsg_level == IPPROTO_UDP && head->cmsg_type == UDP_GRO)
			memcpy(&unit, CMSG_DATA(head), sizeof(unit));
	return unit > 0 ? (uint32_t)unit : 1;
}

static void message_set(struct taio_message *m, const uint8_t *piece, size_t bytes,
			const struct msghdr *hdr)
{
	const size_t room = m->length;
	const size_t named = hdr->msg_namelen < m->address_room ? hdr->msg_namelen
								: m->address_room;

	m->whole = (uint32_t)bytes;
	m->flags = bytes > room ? TAIO_MESSAGE_TRUNCATED : 0;
	m->result = (int32_t)(bytes > room ? room : bytes);
	if (m->result > 0)
		memcpy(m->data, piece, (size_t)m->result);
	m->address_length = (uint16_t)(m->address ? hdr->msg_namelen : 0);
	if (m->address)
		memcpy(m->address, hdr->msg_name, named);
}

/* Separates a packet into messages. Return: bytes of it that found room. */
static size_t packet_separate(struct taker *t, const uint8_t *packet, size_t bytes,
			      struct msghdr *hdr)
{
	const uint32_t unit = packet_unit(hdr, bytes);
	struct taio_message *m = t->step->to.ptr;
	size_t cut = 0;

	do {
		size_t piece = bytes - cut < unit ? bytes - cut : unit;

		message_set(&m[t->done++], packet + cut, piece, hdr);
		cut += piece;
	} while (cut < bytes && t->done < t->step->len);
	return cut;
}

static void packets_fill(struct taker *t, struct mmsghdr *hdr, struct iovec *iov,
			 union control *control, struct sockaddr_storage *name)
{
	for (unsigned int i = 0; i < PACKETS; i++) {
		iov[i].iov_base = t->buffer + (size_t)i * PACKET;
		iov[i].iov_len = PACKET;
		memset(&hdr[i].msg_hdr, 0, sizeof(hdr[i].msg_hdr));
		hdr[i].msg_hdr.msg_iov = &iov[i];
		hdr[i].msg_hdr.msg_iovlen = 1;
		hdr[i].msg_hdr.msg_name = &name[i];
		hdr[i].msg_hdr.msg_namelen = sizeof(name[i]);
		hdr[i].msg_hdr.msg_control = &control[i];
		hdr[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
}

/* Packets for which there is room in any case. Return: how many; negative errno. */
static int take_packets(struct taker *t, unsigned int count)
{
	struct mmsghdr hdr[PACKETS];
	struct iovec iov[PACKETS];
	union control control[PACKETS];
	struct sockaddr_storage name[PACKETS];
	int n;

	packets_fill(t, hdr, iov, control, name);
	do {
		n = recvmmsg(t->step->from.fd, hdr, count, MSG_DONTWAIT, NULL);
	} while (n < 0 && errno == EINTR);
	for (int i = 0; i < n; i++) {
		size_t cut = packet_separate(t, iov[i].iov_base, hdr[i].msg_len, &hdr[i].msg_hdr);

		assert(cut == hdr[i].msg_len);
		(void)cut;
	}
	return n < 0 ? -errno : n;
}

static int peek_offset(struct taker *t, int offset)
{
	if (offset == t->offset)
		return 0;
	if (setsockopt(t->step->from.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset)) < 0)
		return -errno;
	t->offset = offset;
	return 0;
}

/* One packet, or as many of its datagrams as there is room for: it is looked at first. */
static int take_part(struct taker *t)
{
	struct mmsghdr hdr[PACKETS];
	struct iovec iov[PACKETS];
	union control control[PACKETS];
	struct sockaddr_storage name[PACKETS];
	const int before = t->offset;
	size_t cut;
	ssize_t n;
	int rc;

	packets_fill(t, hdr, iov, control, name);
	do {
		n = recvmsg(t->step->from.fd, &hdr[0].msg_hdr, MSG_PEEK | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	cut = packet_separate(t, t->buffer, (size_t)n, &hdr[0].msg_hdr);
	if (cut < (size_t)n) {
		/* peeking has moved the mark to the end */
		t->offset = INT32_MAX;
		return peek_offset(t, (before > 0 ? before : 0) + (int)cut);
	}
	/* all of it: away with it, and no mark */
	rc = before >= 0 ? -1 : 0;
	if (rc) {
		t->offset = INT32_MAX;
		rc = peek_offset(t, -1);
	}
	do {
		n = recv(t->step->from.fd, NULL, 0, MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	return rc;
}

static int64_t take_all(struct taker *t)
{
	unsigned int reports = 0;

	while (t->done < t->step->len) {
		uint64_t room = (t->step->len - t->done) / JOINED;
		unsigned int count = room < PACKETS ? (unsigned int)room : PACKETS;
		int n = t->offset >= 0 || count == 0 ? take_part(t) : take_packets(t, count);

		if (n < 0 && netops_is_report(n) && reports++ < UINT8_MAX) {
			msgops_report(t->step, n);
			continue;
		}
		if (n < 0 && t->done == 0)
			return n;
		if (n < 0)
			break;
	}
	return (int64_t)t->done;
}

int64_t gso_messages_receive(struct taio_device *dev, struct taio_step *step)
{
	struct syncops_room *room = syncops_get(dev);
	struct taker t = { .step = step, .offset = -1 };
	socklen_t length = sizeof(int);
	int64_t result = -ENOMEM;

	step->failed_side = 1;
	if (room)
		t.buffer = syncops_buffer(room);
	if (t.buffer && getsockopt(step->from.fd, SOL_SOCKET, SO_PEEK_OFF, &t.offset, &length) < 0)
		result = -errno;
	else if (t.buffer)
		result = take_all(&t);
	syncops_put(dev, room);
	return result == -EAGAIN ? netops_again(step, step->from.fd, POLLIN) : result;
}
