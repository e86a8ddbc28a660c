/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_file.c: steps of the device "afxdp" out of files. The ring reads some dozens of datagrams at
 * once, each to its place in a chunk; headers are written before them, and the same ring kicks the
 * socket (a send of no bytes) and says when the kernel has taken them. User space copies nothing.
 *
 * A batch of chunks is read while those before it are sent. Cold files are read past the page cache
 * where the size of a datagram allows: then payloads stand at multiples of the disk's alignment. A
 * header in a chunk of its own (two descriptors) would allow any size, but costs more in copy mode
 * than the copy that it saves: the kernel takes a page for each.
 */
#include "drivers/xdp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/netops.h"

#define OP_READV_FIXED 60  /* IORING_OP_READV_FIXED, 6.15 */
#define DIRECT_AT      512 /* payload in a chunk, for a disk */

enum batch_state {
	BATCH_FREE = 0,
	BATCH_READING,
	BATCH_FULL,
	BATCH_SENDING
};

static struct xdp_batch *file_batch(struct xdp_file *file, uint32_t number)
{
	return &file->batch[number % XDP_BATCHES];
}

static uint64_t chunk_of(const struct xdp_file *file, const struct xdp_batch *batch, uint32_t i)
{
	const struct xdp_port *port = &file->place->port;

	return (uint64_t)((uint8_t *)batch->iov[i].iov_base - port->xsk.umem) - file->payload_at;
}

static void batch_return(struct xdp_file *file, struct xdp_batch *batch, uint32_t from)
{
	for (uint32_t i = from; i < batch->count; i++)
		xdp_port_return(&file->place->port, chunk_of(file, batch, i));
	if (batch->count > from)
		batch->count = from;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void batch_read(struct xdp *xdp, struct xdp_file *file, struct xdp_batch *batch);

static void batch_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct xdp_file *file = op->owner;
	struct xdp_batch *batch = &file->batch[op->chunk];
	struct xdp *xdp = file->xdp;

	(void)flags;
	ring_op_put(ring, op);
	ring->room++;
	xdp->ops--;
	if ((res == -EINVAL || res == -EFAULT) && !file->plain && !file->cancelled) {
		file->plain = true; /* no such operation in this kernel, or not with this file */
		if (!file->direct)
			xdp->no_fixed_vectors = true;
		batch_read(xdp, file, batch);
		ring->continued = 1;
		return;
	}
	batch->got = res;
	batch->state = BATCH_FULL;
	xdp_file_more(xdp);
}

static void batch_read(struct xdp *xdp, struct xdp_file *file, struct xdp_batch *batch)
{
	const int fd = file->direct ? file->direct->fd : file->step->from.fd;
	struct ring_op *op = ring_op_get(xdp->ring, RING_XDP, NULL, batch_done);
	struct io_uring_sqe *sqe = ring_sqe(xdp->ring);

	op->owner = file;
	op->chunk = (uint16_t)(batch - file->batch);
	batch->op = (uint32_t)(op - xdp->ring->ops);
	batch->state = BATCH_READING;
	io_uring_prep_readv(sqe, fd, batch->iov, batch->count, file->start + batch->at);
	if (!file->plain && file->place->fixed >= 0) {
		sqe->opcode = OP_READV_FIXED;
		sqe->buf_index = (uint16_t)file->place->fixed;
	}
	ring_sqe_done(xdp->ring, sqe, op);
	xdp->ring->room--;
	xdp->ops++;
}

/* Borrows chunks for the next datagrams. Return: whether there were any. */
static bool batch_fill(struct xdp_file *file, struct xdp_batch *batch)
{
	struct xdp_port *port = &file->place->port;

	batch->at = file->next;
	batch->count = 0;
	batch->want = 0;
	while (batch->count < XDP_BATCH && file->next < file->end) {
		const uint64_t left = file->end - file->next;
		const uint64_t chunk = xdp_port_borrow(port);
		struct iovec *iov = &batch->iov[batch->count];

		if (chunk == UINT64_MAX)
			break;
		iov->iov_base = port->xsk.umem + chunk + file->payload_at;
		iov->iov_len = left < file->unit ? left : file->unit;
		/* a disk is asked for whole blocks; what is read beyond the step is not used */
		if (file->direct)
			iov->iov_len = file->unit;
		file->next += left < file->unit ? left : file->unit;
		batch->want += left < file->unit ? left : file->unit;
		batch->count++;
	}
	return batch->count > 0;
}

static void file_read(struct xdp *xdp, struct xdp_file *file)
{
	while (!file->ended && file->next < file->end && file->last - file->first < XDP_BATCHES &&
	       xdp->ring->room > 0) {
		struct xdp_batch *batch = file_batch(file, file->last);

		if (!batch_fill(file, batch))
			break;
		file->last++;
		batch_read(xdp, file, batch);
		xdp->ring->continued = 1;
	}
}

/* ---- sending --------------------------------------------------------------------------------- */

static void place_kick(struct xdp *xdp, struct xdp_place *place);

static void kick_done(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct xdp_place *place = op->owner;
	struct xdp *xdp = place->xdp;

	(void)flags;
	ring_op_put(ring, op);
	ring->room++;
	xdp->ops--;
	place->kicking = false;
	if (res < 0 && res != -EAGAIN && res != -EBUSY && res != -ENOBUFS && !place->port.error) {
		place->port.error = res;
		xdp_place_lost(xdp, place, res);
	}
	place->port.sent += (uint32_t)(*place->port.xsk.tx.consumer - place->kicked_at);
	/* it took its budget: the next one; it took nothing: the timer tries again */
	if (!place->port.error && *place->port.xsk.tx.consumer != place->kicked_at)
		place_kick(xdp, place);
	xdp_file_more(xdp);
	xdp_send_watch(xdp);
}

static void place_kick(struct xdp *xdp, struct xdp_place *place)
{
	struct ring_op *op;
	struct io_uring_sqe *sqe;

	if (place->kicking || !xsk_tx_pending(&place->port.xsk) || xdp->ring->room == 0)
		return;
	op = ring_op_get(xdp->ring, RING_XDP, NULL, kick_done);
	op->owner = place;
	sqe = ring_sqe(xdp->ring);
	io_uring_prep_send(sqe, place->port.xsk.fd, NULL, 0, MSG_DONTWAIT);
	ring_sqe_done(xdp->ring, sqe, op);
	xdp->ring->room--;
	xdp->ring->continued = 1;
	xdp->ops++;
	place->kicking = true;
	place->kicked_at = *place->port.xsk.tx.consumer;
}

/* Whole datagrams of what was read, and a short one at the very end. Less was there than expected:
 * the file ends, or the next step finds out. */
static uint32_t batch_datagrams(struct xdp_file *file, struct xdp_batch *batch)
{
	uint64_t got = (uint64_t)batch->got;

	if (got > batch->want)
		got = batch->want;
	if (got < batch->want) {
		file->ended = true;
		if (got >= file->unit)
			got -= got % file->unit;
	}
	batch->want = got;
	return (uint32_t)((got + file->unit - 1) / file->unit);
}

static void batch_send(struct xdp *xdp, struct xdp_file *file, struct xdp_batch *batch)
{
	struct xdp_port *port = &file->place->port;
	const uint32_t n = batch_datagrams(file, batch);
	uint64_t at = 0;

	batch_return(file, batch, n);
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t left = batch->want - at;
		const size_t bytes = left < file->unit ? left : file->unit;
		const uint64_t payload = chunk_of(file, batch, i) + file->payload_at;

		/* the ring has an entry for each chunk */
		if (!xdp_port_put_there(port, &file->flow, i, payload, bytes))
			assert(false);
		at += bytes;
	}
	xsk_ring_submit(&port->xsk.tx, n);
	batch->behind = port->xsk.tx.own;
	batch->state = BATCH_SENDING;
	place_kick(xdp, file->place);
}

/* No byte from here on is sent by this step; another one finds out what there is. */
static void batch_drop(struct xdp_file *file, struct xdp_batch *batch)
{
	batch_return(file, batch, 0);
	file->ended = true;
	batch->want = 0;
	batch->behind = file->place->port.xsk.tx.own;
	batch->state = BATCH_SENDING;
}

static void file_fail(struct xdp_file *file, int error, uint8_t side)
{
	if (!file->error) {
		file->error = error;
		file->error_side = side;
	}
	file->ended = true;
}

static void file_send(struct xdp *xdp, struct xdp_file *file)
{
	for (uint32_t n = file->first; n != file->last; n++) {
		struct xdp_batch *batch = file_batch(file, n);

		if (batch->state == BATCH_SENDING)
			continue;
		if (batch->state != BATCH_FULL || file->place->first)
			return; /* in order */
		file->at_end |= batch->got == 0;
		if (batch->got < 0)
			file_fail(file, batch->got, 1);
		if (batch->got <= 0 || file->ended || file->cancelled || file->place->port.error ||
		    file->generation != xdp->generation) {
			batch_drop(file, batch);
			continue;
		}
		batch_send(xdp, file, batch);
	}
}

/* Batches that the kernel has taken; of an interface that failed, what it took. */
static void file_retire(struct xdp_file *file)
{
	const struct xdp_port *port = &file->place->port;
	const uint32_t consumer = __atomic_load_n(port->xsk.tx.consumer, __ATOMIC_ACQUIRE);

	while (file->first != file->last) {
		struct xdp_batch *batch = file_batch(file, file->first);
		const int32_t left = (int32_t)(batch->behind - consumer);
		uint64_t taken = batch->want;

		if (batch->state != BATCH_SENDING || (left > 0 && !port->error))
			return;
		if (file->lost)
			taken = 0; /* behind a gap */
		else if (left > 0)
			taken = (uint32_t)left < batch->count
					? (batch->count - (uint32_t)left) * file->unit
					: 0;
		file->lost |= taken < batch->want;
		file->datagrams += (uint32_t)((taken + file->unit - 1) / file->unit);
		file->moved += taken;
		batch->state = BATCH_FREE;
		file->first++;
	}
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* A cold file is read from the disk itself, if each datagram is some whole blocks of it. */
static void file_direct(struct xdp *xdp, struct xdp_file *file)
{
	const struct taio_end *from = &file->step->from;
	const uint32_t chunk = file->place->port.xsk.chunk;
	struct ring_file *direct;

	file->payload_at = XDP_PORT_HEADROOM + file->flow.head_bytes;
	if (!(from->flags & TAIO_END_COLD) || DIRECT_AT + file->unit > chunk ||
	    ring_file_get(xdp->ring, from, false, &direct))
		return;
	if (direct->mem_align > DIRECT_AT || file->unit % direct->align ||
	    file->start % direct->align || file->unit % direct->mem_align) {
		ring_file_put(xdp->ring, direct);
		return;
	}
	file->direct = direct;
	file->payload_at = DIRECT_AT;
}

static bool file_start(struct xdp *xdp, struct xdp_file *file, struct taio_step *step)
{
	struct xdp_socket *socket = xdp_socket_get(xdp, step->to.fd, step->position == 0);
	struct xdp_peer *peer = socket ? xdp_peer_get(xdp, socket, NULL, 0) : NULL;
	off_t at = (off_t)step->from.offset;

	memset(file, 0, offsetof(struct xdp_file, batch));
	file->unit = netops_unit(&step->to);
	if (!peer)
		return false;
	if (file->unit > peer->payload_max ||
	    XDP_PORT_HEADROOM + peer->flow.head_bytes + file->unit > peer->place->port.xsk.chunk) {
		xdp_refuse(xdp, peer,
			   file->unit > peer->payload_max
				   ? "the datagrams are larger than the MTU allows"
				   : "the datagrams are larger than a chunk of memory");
		return false;
	}
	if (step->from.flags & TAIO_END_STREAMED)
		at = lseek(step->from.fd, 0, SEEK_CUR);
	if (at < 0)
		return false;
	file->step = step;
	file->xdp = xdp;
	file->place = peer->place;
	file->flow = peer->flow;
	file->generation = peer->generation;
	file->start = (uint64_t)at;
	file->end = step->len;
	if ((step->flags & TAIO_SF_MORE) && step->len > file->unit)
		file->end -= file->end % file->unit;
	file->plain = xdp->no_fixed_vectors;
	file_direct(xdp, file);
	return true;
}

static int64_t file_result(struct xdp_file *file)
{
	struct taio_step *step = file->step;
	int error = netops_for_good(netops_error(step->to.fd));

	step->packets = file->datagrams;
	step->failed_side = 2;
	if (file->moved > 0)
		return error ? error : (int64_t)file->moved;
	step->failed_side = file->error_side;
	if (file->error)
		return file->error;
	if (file->cancelled)
		return -ECANCELED;
	return file->at_end ? 0 : -EXDEV;
}

static void file_over(struct xdp *xdp, struct xdp_file *file)
{
	struct taio_step *step = file->step;

	step->result = file_result(file);
	if (step->result > 0 && (step->from.flags & TAIO_END_STREAMED))
		(void)lseek(step->from.fd, (off_t)(file->start + file->moved), SEEK_SET);
	ring_file_put(xdp->ring, file->direct);
	file->place->users--;
	file->step = NULL;
	ring_finish(xdp->ring, RING_XDP, step);
}

/* Something about the way changed before a byte was sent: it is looked at again. */
static bool file_again(struct xdp *xdp, struct xdp_file *file)
{
	struct taio_step *step = file->step;
	struct xdp_place *place = file->place;

	if (file->moved || file->error || file->cancelled || file->at_end ||
	    file->generation == xdp->generation)
		return false;
	ring_file_put(xdp->ring, file->direct);
	file->direct = NULL;
	if (!file_start(xdp, file, step)) {
		file->step = step;
		file->xdp = xdp;
		file->place = place;
		return false;
	}
	place->users--;
	file->place->users++;
	file_read(xdp, file);
	return true;
}

void xdp_file_more(struct xdp *xdp)
{
	if (xdp->file)
		xdp_news(xdp, xdp->dev->host->now_ns());
	for (unsigned int i = 0; xdp->file && i < XDP_FILES; i++) {
		struct xdp_file *file = &xdp->file[i];

		if (!file->step)
			continue;
		xdp_port_collect(&file->place->port);
		file_send(xdp, file);
		file_retire(file);
		if (!file->cancelled && file->generation == xdp->generation)
			file_read(xdp, file);
		else
			file->ended = true;
		if (file->first == file->last && (file->ended || file->next >= file->end) &&
		    !file_again(xdp, file))
			file_over(xdp, file);
	}
}

bool xdp_file_waits(const struct xdp *xdp)
{
	for (unsigned int i = 0; xdp->file && i < XDP_FILES; i++)
		if (xdp->file[i].step && xdp->file[i].first == xdp->file[i].last)
			return true;
	return false;
}

static void file_cancel(struct xdp *xdp, struct xdp_file *file)
{
	file->cancelled = file->ended = true;
	for (uint32_t n = file->first; n != file->last; n++)
		if (file_batch(file, n)->state == BATCH_READING)
			ring_cancel_op(xdp->ring, &xdp->ring->ops[file_batch(file, n)->op]);
	if (file->first == file->last) {
		file_over(xdp, file);
		ring_show(xdp->ring);
	}
}

bool xdp_file_cancel(struct xdp *xdp, struct taio_step *step)
{
	for (unsigned int i = 0; xdp->file && i < XDP_FILES; i++) {
		if (xdp->file[i].step != step)
			continue;
		if (!xdp->file[i].cancelled)
			file_cancel(xdp, &xdp->file[i]);
		return true;
	}
	return false;
}

void xdp_file_end(struct xdp *xdp)
{
	for (unsigned int i = 0; xdp->file && i < XDP_FILES; i++)
		if (xdp->file[i].step)
			(void)xdp_file_cancel(xdp, xdp->file[i].step);
}

/* The end mark is another's, who can wait for what was sent before it. */
bool xdp_file_fits(const struct taio_step *step)
{
	return !(step->flags & TAIO_SF_LAST);
}

/* ---- start ----------------------------------------------------------------------------------- */

static struct xdp_file *file_unused(struct xdp *xdp)
{
	if (!xdp->file)
		xdp->file = calloc(XDP_FILES, sizeof(*xdp->file));
	for (unsigned int i = 0; xdp->file && i < XDP_FILES; i++)
		if (!xdp->file[i].step)
			return &xdp->file[i];
	return NULL;
}

enum taio_submit xdp_file_submit(struct xdp *xdp, struct taio_step *step)
{
	struct xdp_file *file;

	if (!ring_has_room(xdp->ring, 2 * XDP_BATCHES))
		return ring_full(xdp->ring, step);
	file = file_unused(xdp);
	if (!file)
		return TAIO_BUSY;
	if (!file_start(xdp, file, step)) {
		file->step = NULL;
		step->result = -EXDEV;
		step->failed_side = 2;
		return TAIO_DONE;
	}
	file->place->users++;
	file_read(xdp, file);
	xdp_send_watch(xdp);
	return TAIO_QUEUED;
}
