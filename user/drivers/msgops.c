/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * msgops.c: batches of messages by sendmmsg(2) and recvmmsg(2). What a batch is for the engine is
 * said in taio_driver.h; here is what the kernel's answers mean for it.
 *
 * A socket reports what hosts on the way said about datagrams sent earlier as the error of whatever
 * call comes next. That call sent nothing, so the message is sent again; only if the same error
 * comes twice in a row it is the message's own (no route to it).
 */
#include "drivers/msgops.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "drivers/netops.h"

#define BATCH       64
#define REPORTS_MAX 16 /* in a row while receiving: then others have their turn */

void msgops_report(struct taio_step *step, int error)
{
	step->report = (int16_t)error;
	if (step->reports < UINT16_MAX)
		step->reports++;
}

/* ---- sending ----------------------------------------------------------------------------------- */

/* The socket itself cannot be used: every further message would meet this. */
static bool error_is_of_socket(int error)
{
	switch (error) {
	case -EBADF:
	case -ENOTSOCK:
	case -EPIPE:
	case -EOPNOTSUPP:
	case -ESHUTDOWN:
		return true;
	default:
		return false;
	}
}

static bool socket_is_writable(int fd)
{
	struct pollfd one = { .fd = fd, .events = POLLOUT };

	return poll(&one, 1, 0) == 1 && (one.revents & POLLOUT);
}

void msgops_sent(struct msgops_front *front, unsigned int count)
{
	struct taio_message *m = (struct taio_message *)front->step->from.ptr + front->done;

	if (count == 0)
		return;
	if (front->past)
		msgops_report(front->step, front->past);
	front->past = 0;
	front->pressed = false;
	for (unsigned int i = 0; i < count; i++)
		m[i].result = (int32_t)m[i].length;
	front->done += count;
}

enum msgops_verdict msgops_refused(struct msgops_front *front, int error)
{
	struct taio_message *m = (struct taio_message *)front->step->from.ptr + front->done;

	if (error == -EAGAIN && !front->pressed && socket_is_writable(front->step->to.fd)) {
		front->pressed = true;
		return MSGOPS_GO_ON;
	}
	if (netops_is_full(error) || error == -ENOMEM || error_is_of_socket(error))
		return MSGOPS_STOP;
	if (netops_is_report(error) && front->past != error) {
		if (front->past) /* two different ones */
			msgops_report(front->step, front->past);
		front->past = error;
		return MSGOPS_GO_ON;
	}
	front->past = 0;
	m->result = error;
	front->done++;
	return MSGOPS_GO_ON;
}

int64_t msgops_stop(struct msgops_front *front, int error)
{
	if (front->past)
		msgops_report(front->step, front->past);
	if (front->done > 0 || error == 0)
		return (int64_t)front->done;
	front->step->failed_side = 2;
	/* Writable and full at once: a queue of somebody else (Unix sockets), or of a device. There is
	 * no event for these. */
	if (netops_is_full(error) && !front->pressed && error == -EAGAIN)
		return netops_again(front->step, front->step->to.fd, POLLOUT);
	return netops_is_full(error) || error == -ENOMEM ? -EAGAIN : error;
}

/* The payload; its address is set by the caller. */
static void head_of(struct msghdr *hdr, struct iovec *iov, const struct taio_message *m)
{
	iov->iov_base = m->data;
	iov->iov_len = m->length;
	memset(hdr, 0, sizeof(*hdr));
	hdr->msg_iov = iov;
	hdr->msg_iovlen = 1;
}

/* Return: messages sent, or negative errno of the first. */
static int send_some(int fd, const struct taio_message *m, unsigned int count)
{
	struct mmsghdr hdr[BATCH];
	struct iovec iov[BATCH];
	int n;

	assert(count > 0 && count <= BATCH);
	for (unsigned int i = 0; i < count; i++) {
		head_of(&hdr[i].msg_hdr, &iov[i], &m[i]);
		msgops_address(&m[i], &hdr[i].msg_hdr);
	}
	do {
		n = sendmmsg(fd, hdr, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int64_t msgops_send(struct taio_step *step)
{
	const struct taio_message *m = step->from.ptr;
	struct msgops_front front = { .step = step };
	unsigned int batch = BATCH;

	while (front.done < step->len) {
		uint64_t left = step->len - front.done;
		unsigned int count = left < batch ? (unsigned int)left : batch;
		int n = send_some(step->to.fd, m + front.done, count);

		if (n < 0 && msgops_refused(&front, n) == MSGOPS_STOP)
			return msgops_stop(&front, n);
		if (n < 0)
			continue;
		msgops_sent(&front, (unsigned int)n);
		/* sendmmsg() that stops in the middle forgets why. If the next message goes, it was a
		 * report; from then on they go alone, so that the next report is seen. */
		if ((unsigned int)n < count)
			batch = 1;
	}
	return msgops_stop(&front, 0);
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void receive_take(struct taio_message *m, const struct mmsghdr *hdr)
{
	m->whole = hdr->msg_len;
	m->flags = hdr->msg_len > m->length ? TAIO_MESSAGE_TRUNCATED : 0;
	m->result = (int32_t)(m->flags ? m->length : m->whole);
	m->address_length = (uint16_t)(m->address ? hdr->msg_hdr.msg_namelen : 0);
}

/* Return: messages received, or negative errno. */
static int receive_some(int fd, struct taio_message *m, unsigned int count)
{
	struct mmsghdr hdr[BATCH];
	struct iovec iov[BATCH];
	int n;

	assert(count > 0 && count <= BATCH);
	for (unsigned int i = 0; i < count; i++) {
		head_of(&hdr[i].msg_hdr, &iov[i], &m[i]);
		hdr[i].msg_hdr.msg_name = m[i].address;
		hdr[i].msg_hdr.msg_namelen = m[i].address ? m[i].address_room : 0;
	}
	/* MSG_TRUNC: the length of the datagram, not of what there was room for */
	do {
		n = recvmmsg(fd, hdr, count, MSG_DONTWAIT | MSG_TRUNC, NULL);
	} while (n < 0 && errno == EINTR);
	for (int i = 0; i < n; i++)
		receive_take(&m[i], &hdr[i]);
	return n < 0 ? -errno : n;
}

int64_t msgops_receive(struct taio_step *step)
{
	struct taio_message *m = step->to.ptr;
	unsigned int reports = 0;
	uint64_t done = 0;

	while (done < step->len) {
		uint64_t left = step->len - done;
		unsigned int count = left < BATCH ? (unsigned int)left : BATCH;
		int n = receive_some(step->from.fd, m + done, count);

		if (n < 0 && netops_is_report(n) && reports++ < REPORTS_MAX) {
			msgops_report(step, n);
			continue;
		}
		if (n < 0) {
			if (done > 0)
				break;
			step->failed_side = 1;
			return n == -EAGAIN ? netops_again(step, step->from.fd, POLLIN) : n;
		}
		done += (unsigned int)n;
		/* an error in the middle is kept for the next call */
		if ((unsigned int)n < count)
			break;
	}
	return (int64_t)done;
}
