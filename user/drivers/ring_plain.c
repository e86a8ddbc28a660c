/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_plain.c: steps between memory and one descriptor: one entry, one completion, which is the
 * result. The only second tries are those that the step's owner must not see: a pipe that is not
 * ready is waited for inside the ring, a call that a signal ended is made again.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "taio.h"

static uint64_t plain_offset(const struct taio_end *end)
{
	/* -1: at the descriptor's own position, or it has none */
	return end->kind == TAIO_KIND_FILE && !(end->flags & TAIO_END_STREAMED) ? end->offset
										: UINT64_MAX;
}

static void plain_prep_read(struct ring *ring, struct io_uring_sqe *sqe,
			    const struct taio_step *step, int fd, uint32_t len)
{
	const struct taio_end *to = &step->to;

	if (step->from.kind == TAIO_KIND_STREAM) {
		io_uring_prep_recv(sqe, fd, to->ptr, len, 0);
		return;
	}
	io_uring_prep_read(sqe, fd, to->ptr, len, plain_offset(&step->from));
	if (to->fixed >= 0 && step->from.kind == TAIO_KIND_FILE && ring_is_fixed(ring, to, len)) {
		sqe->opcode = IORING_OP_READ_FIXED;
		sqe->buf_index = (uint16_t)to->fixed;
	}
}

static void plain_prep_write(struct ring *ring, struct io_uring_sqe *sqe,
			     const struct taio_step *step, int fd, uint32_t len)
{
	const struct taio_end *from = &step->from;

	if (step->to.kind == TAIO_KIND_STREAM) {
		io_uring_prep_send(sqe, fd, from->ptr, len,
				   MSG_NOSIGNAL | (step->flags & TAIO_SF_MORE ? MSG_MORE : 0));
		return;
	}
	io_uring_prep_write(sqe, fd, from->ptr, len, plain_offset(&step->to));
	if (from->fixed >= 0 && step->to.kind == TAIO_KIND_FILE && ring_is_fixed(ring, from, len)) {
		sqe->opcode = IORING_OP_WRITE_FIXED;
		sqe->buf_index = (uint16_t)from->fixed;
	}
}

static inline void plain_start(struct ring *ring, const struct ring_op *op)
{
	const struct taio_step *step = op->step;
	const uint32_t len = step->len < RING_LEN_MAX ? (uint32_t)step->len : RING_LEN_MAX;
	const int fd = (int)step->priv[RING_PRIV_FD];
	struct io_uring_sqe *sqe = ring_sqe(ring);

	if (step->from.kind == TAIO_KIND_MEM)
		plain_prep_write(ring, sqe, step, fd, len);
	else
		plain_prep_read(ring, sqe, step, fd, len);
	ring_sqe_seat(ring, sqe);
	ring_sqe_done(ring, sqe, op);
}

enum taio_submit ring_plain_submit(struct ring *ring, enum ring_device device,
				   struct taio_step *step, int fd, ring_done_fn done)
{
	struct ring_op *op;

	if (!ring_has_room(ring, 1))
		return ring_full(ring, step);
	ring->room--;
	op = ring_op_get(ring, device, step, done);
	step->priv[RING_PRIV_OP] = (uint64_t)(op - ring->ops);
	step->priv[RING_PRIV_FLOW] = 0;
	step->priv[RING_PRIV_FD] = (uint32_t)fd;
	step->priv[RING_PRIV_CANCEL] = 0;
	plain_start(ring, op);
	return TAIO_QUEUED;
}

/* The descriptor became ready, or waiting for that failed. */
static void plain_polled(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_step *step = op->step;

	(void)flags;
	op->done = NULL;
	if (res >= 0 && !step->priv[RING_PRIV_CANCEL]) {
		plain_start(ring, op);
		ring->continued = 1;
		return;
	}
	step->result = res < 0 ? res : -ECANCELED;
	step->failed_side = ring_plain_side(step);
	ring_finish(ring, op->device, step);
	ring_op_put(ring, op);
	ring->room++;
}

static void plain_poll(struct ring *ring, struct ring_op *op)
{
	const struct taio_step *step = op->step;
	struct io_uring_sqe *sqe = ring_sqe(ring);

	io_uring_prep_poll_add(sqe, (int)step->priv[RING_PRIV_FD],
			       step->from.kind == TAIO_KIND_MEM ? POLLOUT : POLLIN);
	op->done = plain_polled;
	ring_sqe_done(ring, sqe, op);
}

bool ring_plain_retry(struct ring *ring, struct ring_op *op, int32_t *res)
{
	const struct taio_step *step = op->step;
	const bool file = step->from.kind == TAIO_KIND_FILE || step->to.kind == TAIO_KIND_FILE;

	if ((*res != -EAGAIN && *res != -EINTR) || step->priv[RING_PRIV_CANCEL])
		return false;
	if (*res == -EAGAIN && file) {
		/* A file that was opened with O_NONBLOCK: it would say so for ever. */
		*res = -EOPNOTSUPP;
		return false;
	}
	/* A pipe is non-blocking, so the ring does not wait for it unasked. */
	if (*res == -EAGAIN)
		plain_poll(ring, op);
	else
		plain_start(ring, op);
	ring->continued = 1;
	return true;
}

void ring_prep_send_zc(const struct ring *ring, struct io_uring_sqe *sqe, int fd, const void *data,
		       size_t len, int msg_flags, int fixed)
{
	const unsigned int flags = ring->zc_report ? IORING_SEND_ZC_REPORT_USAGE : 0;

	io_uring_prep_send_zc(sqe, fd, data, len, msg_flags | MSG_NOSIGNAL, flags);
	if (fixed >= 0) {
		sqe->ioprio |= IORING_RECVSEND_FIXED_BUF;
		sqe->buf_index = (uint16_t)fixed;
	}
}
