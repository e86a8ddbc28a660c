/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_zc.c: steps from memory to a socket by SEND_ZC. Such a send completes twice: when the bytes
 * are in the socket's queue, and when nothing refers to the memory any more, which for a stream is
 * when the peer has acknowledged them. A step is given back after the second, so that its time is
 * the true one and its memory is free. Only a cancelled step does not wait for a peer that may
 * never answer: it is given back as cancelled, and the late notification finds nobody.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <sys/socket.h>

#include "taio.h"

#define ZC_BURST 16 /* datagrams of a step */

/* state of an operation */
enum zc_state {
	ZC_SENDING = 0,
	ZC_SENT,   /* its notification is awaited */
	ZC_REFUSED /* the same, then it is sent by copying */
};

/* In step->priv: STATE the first error, BYTES what was sent, COUNT operations in flight. */

/* The memory may not be pinned: RLIMIT_MEMLOCK. */
static bool zc_is_refused(int64_t res)
{
	return res == -ENOMEM || res == -ENOBUFS;
}

/* What a datagram socket heard of its peer it says once: the next send would succeed again. */
static bool zc_is_said_once(const struct taio_step *step, int64_t error)
{
	return step->to.kind == TAIO_KIND_DGRAM &&
	       (error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ENETUNREACH ||
		error == -EHOSTDOWN || error == -ENOPROTOOPT || error == -EPROTO);
}

static void zc_give_back(struct ring *ring, struct taio_step *step)
{
	const int64_t error = (int64_t)step->priv[RING_PRIV_STATE];

	if (step->priv[RING_PRIV_BYTES] > 0 && !zc_is_said_once(step, error))
		step->result = (int64_t)step->priv[RING_PRIV_BYTES];
	else
		step->result = zc_is_refused(error) ? -EOPNOTSUPP : error;
	if (step->result < 0)
		step->failed_side = 2;
	ring_finish(ring, RING_ZC, step);
}

static void zc_op_over(struct ring *ring, struct ring_op *op)
{
	struct taio_step *step = op->step;

	ring_op_put(ring, op);
	ring->room++;
	if (step && --step->priv[RING_PRIV_COUNT] == 0)
		zc_give_back(ring, step);
}

/* A cancelled step of which only notifications are missing. */
static void zc_detach(struct ring *ring, struct taio_step *step)
{
	for (uint32_t i = 0; i < ring->slots; i++)
		if (ring->ops[i].step == step && ring->ops[i].state == ZC_SENDING)
			return;
	for (uint32_t i = 0; i < ring->slots; i++)
		if (ring->ops[i].step == step)
			ring->ops[i].step = NULL;
	/* not a success even if all was sent: the memory is not free yet */
	step->priv[RING_PRIV_BYTES] = 0;
	step->priv[RING_PRIV_STATE] = (uint64_t)-ECANCELED;
	zc_give_back(ring, step);
}

static int zc_flags(const struct taio_step *step)
{
	if (step->to.kind != TAIO_KIND_STREAM)
		return MSG_NOSIGNAL;
	return MSG_NOSIGNAL | MSG_WAITALL | (step->flags & TAIO_SF_MORE ? MSG_MORE : 0);
}

static void zc_send_copy(struct ring *ring, struct ring_op *op)
{
	struct taio_step *step = op->step;
	struct io_uring_sqe *sqe = ring_sqe(ring);

	step->copied = 1;
	op->state = ZC_SENDING;
	io_uring_prep_send(sqe, step->to.fd, step->from.ptr,
			   step->len < RING_LEN_MAX ? step->len : RING_LEN_MAX, zc_flags(step));
	ring_sqe_done(ring, sqe, op);
	ring->continued = 1;
}

static void zc_notified(struct ring *ring, struct ring_op *op, int32_t res)
{
	struct taio_step *step = op->step;

	if (step && op->state == ZC_REFUSED) {
		zc_send_copy(ring, op);
		return;
	}
	if (step && ((uint32_t)res & IORING_NOTIF_USAGE_ZC_COPIED))
		step->copied = 1;
	zc_op_over(ring, op);
}

static void zc_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_step *step = op->step;
	bool again;

	if (flags & IORING_CQE_F_NOTIF) {
		zc_notified(ring, op, res);
		return;
	}
	assert(step);
	assert(op->state == ZC_SENDING);
	again = zc_is_refused(res) && step->to.kind == TAIO_KIND_STREAM && !step->copied &&
		!step->priv[RING_PRIV_CANCEL];
	if (res >= 0)
		step->priv[RING_PRIV_BYTES] += (uint32_t)res;
	else if (!again && (!step->priv[RING_PRIV_STATE] ||
			    step->priv[RING_PRIV_STATE] == (uint64_t)-ECANCELED))
		step->priv[RING_PRIV_STATE] = (uint64_t)(int64_t)res; /* not of one behind it */
	if (!(flags & IORING_CQE_F_MORE)) { /* failed at once: no notification */
		if (again)
			zc_send_copy(ring, op);
		else
			zc_op_over(ring, op);
		return;
	}
	op->state = again ? ZC_REFUSED : ZC_SENT;
	if (step->priv[RING_PRIV_CANCEL])
		zc_detach(ring, step);
}

void ring_zc_cancel(struct ring *ring, struct taio_step *step)
{
	unsigned int sending = 0;

	for (uint32_t i = 0; i < ring->slots; i++) {
		if (ring->ops[i].step != step || ring->ops[i].state != ZC_SENDING)
			continue;
		sending++;
		ring_cancel_op(ring, &ring->ops[i]);
	}
	if (!sending) {
		zc_detach(ring, step);
		ring_show(ring);
	}
}

/* Payload bytes to send now; a burst of datagrams is as long as the kernel takes in one go. */
static uint64_t zc_length(const struct ring *ring, const struct taio_step *step, uint64_t unit)
{
	uint64_t len = step->len, burst = ring->room < ZC_BURST ? ring->room : ZC_BURST;

	if (step->to.kind == TAIO_KIND_STREAM)
		return len < RING_LEN_MAX ? len : RING_LEN_MAX;
	/* Who sends the last datagram also sends the end mark behind it: that is left to others. A
	 * segment must not end in a short datagram while more follow. */
	if (step->flags & TAIO_SF_LAST)
		len = (len - 1) / unit * unit;
	else if ((step->flags & TAIO_SF_MORE) && len > unit)
		len -= len % unit;
	return len < burst * unit ? len : burst * unit;
}

enum taio_submit ring_zc_submit(struct ring *ring, struct taio_step *step)
{
	const bool stream = step->to.kind == TAIO_KIND_STREAM;
	const int flags = zc_flags(step);
	const int fixed = ring_is_fixed(ring, &step->from, step->len) ? step->from.fixed : -1;
	const uint8_t *data = step->from.ptr;
	uint64_t len, unit, count = 0;

	if (!ring_has_room(ring, 1))
		return ring_full(ring, step);
	unit = stream ? RING_LEN_MAX : ring_zc_unit(&step->to);
	len = zc_length(ring, step, unit);
	assert(len > 0);
	step->copied = 0;
	step->priv[RING_PRIV_FLOW] = RING_SENDS;
	step->priv[RING_PRIV_STATE] = 0;
	step->priv[RING_PRIV_BYTES] = 0;
	step->priv[RING_PRIV_CANCEL] = 0;
	for (uint64_t at = 0; at < len; at += unit) {
		struct ring_op *op = ring_op_get(ring, RING_ZC, step, zc_done);
		struct io_uring_sqe *sqe = ring_sqe(ring);

		ring_prep_send_zc(ring, sqe, step->to.fd, data + at,
				  len - at < unit ? len - at : unit, flags, fixed);
		/* in order, and nothing behind one that failed: what was sent is a prefix */
		if (at + unit < len)
			sqe->flags |= IOSQE_IO_LINK;
		ring_sqe_done(ring, sqe, op);
		ring->room--;
		count++;
	}
	step->priv[RING_PRIV_COUNT] = count;
	return TAIO_QUEUED;
}
