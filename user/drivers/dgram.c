/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * dgram.c: datagrams one by one, many of them in one system call: sendmmsg(2) to send; to receive
 * see netrecv.c; batches of messages: msgops.c. It works with every connected datagram socket, IPv4, IPv6 or Unix. Datagrams that
 * the network loses or reorders are not this file's business.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "drivers/msgops.h"
#include "drivers/netops.h"
#include "drivers/syncops.h"

#define BATCH 64

/*
 * Sends @bytes as datagrams of @unit; @batch: how many in one call at most.
 * Return: bytes sent, a multiple of @unit or all; negative errno with nothing sent.
 */
static int64_t dgram_send(int fd, const uint8_t *piece, size_t bytes, size_t unit, unsigned batch)
{
	struct mmsghdr msg[BATCH];
	struct iovec iov[BATCH];
	unsigned int count = 0;
	size_t cut = 0;
	int sent;

	assert(bytes > 0);
	assert(batch >= 1 && batch <= BATCH);
	while (cut < bytes && count < batch) {
		iov[count].iov_base = (void *)(piece + cut);
		iov[count].iov_len = bytes - cut < unit ? bytes - cut : unit;
		memset(&msg[count].msg_hdr, 0, sizeof(msg[count].msg_hdr));
		msg[count].msg_hdr.msg_iov = &iov[count];
		msg[count].msg_hdr.msg_iovlen = 1;
		cut += iov[count].iov_len;
		count++;
	}
	do {
		sent = sendmmsg(fd, msg, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (unsigned int)sent == count ? (int64_t)cut : (int64_t)((size_t)sent * unit);
}

/*
 * A piece of the source, for netops_send(). sendmmsg() that stops in the middle forgets why; from
 * then on datagrams go alone, so that a refusal by the peer's host shows at the next one.
 */
static int dgram_send_piece(struct taio_step *step, const uint8_t *piece, size_t bytes,
			    uint64_t *moved)
{
	const size_t unit = netops_unit(&step->to);
	unsigned int batch = BATCH;
	size_t done = 0;

	while (done < bytes) {
		const size_t left = bytes - done;
		const size_t most = left < batch * unit ? left : batch * unit;
		int64_t n = dgram_send(step->to.fd, piece + done, left, unit, batch);

		if (n < 0)
			return (int)n;
		if ((size_t)n < most)
			batch = 1;
		done += (size_t)n;
		*moved += (uint64_t)n;
	}
	return 0;
}

/* Messages that the kernel joined come out of one call: gso.c can separate them. */
static int dgram_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	return step->to.kind != TAIO_KIND_MESSAGES || !(step->from.flags & TAIO_END_JOINED);
}

static int64_t dgram_run(struct taio_device *dev, struct taio_step *step)
{
	assert(step->op == TAIO_OP_COPY);
	assert(step->len > 0);
	if (step->from.kind == TAIO_KIND_MESSAGES)
		return msgops_send(step);
	if (step->to.kind == TAIO_KIND_MESSAGES)
		return msgops_receive(step);
	if (step->to.kind == TAIO_KIND_DGRAM)
		return netops_send(dev, step, netops_unit(&step->to), dgram_send_piece);
	return netops_receive(dev, step);
}

static const struct taio_capability dgram_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MESSAGES),
	  .to = TAIO_K(DGRAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 500,
	  .ps_per_byte = 1000 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MESSAGES),
	  .base_ns = 300,
	  .ps_per_byte = 650 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(ZERO),
	  .to = TAIO_K(DGRAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 1500,
	  .ps_per_byte = 1000 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(DGRAM),
	  .flags = TAIO_CAP_ANY_FIT | TAIO_CAP_BLOCKING,
	  .base_ns = 2500,
	  .ps_per_byte = 1100 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .to = TAIO_K(DGRAM),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 3500,
	  .ps_per_byte = 1200 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(STREAM) | TAIO_K(PIPE),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 2500,
	  .ps_per_byte = 900 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .flags = TAIO_CAP_ANY_FIT,
	  .base_ns = 800,
	  .ps_per_byte = 300 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(FILE),
	  .flags = TAIO_CAP_ANY_FIT | TAIO_CAP_BLOCKING,
	  .base_ns = 2000,
	  .ps_per_byte = 500 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_dgram = {
	.abi = TAIO_DRIVER_ABI,
	.flags = TAIO_DRIVER_WORKER,
	.name = "dgram",
	.text = "datagrams, many in one system call",
	.caps = dgram_caps,
	.open = syncops_open,
	.close = syncops_close,
	.fits = dgram_fits,
	.run = dgram_run,
};
