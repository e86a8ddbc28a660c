/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_send.c: steps of the device "afxdp" out of memory. Frames are built 32 at a time, which is what
 * the kernel takes in one call, and handed over at once; nearly always a step is over when submit()
 * returns. Where the kernel takes no more (its memory or the card's ring is full) the step waits, and
 * a timer in the ring tries again.
 *
 * What counts as sent is what the kernel took out of the tx ring; of an interface that vanishes,
 * the rest goes another way. In zero copy mode the card takes frames by itself, and what is in the
 * ring counts.
 */
#include "drivers/xdp.h"

#include <errno.h>
#include <string.h>

#include "drivers/msgops.h"
#include "drivers/netops.h"

#define RETRY_NS 50000

static const uint8_t zeros[NETOPS_UNIT_MAX + 1];

/* ---- datagrams of a step --------------------------------------------------------------------- */

static bool job_is_messages(const struct xdp_job *job)
{
	return job->step->from.kind == TAIO_KIND_MESSAGES;
}

/* Payload of datagram @i. */
static const void *job_payload(const struct xdp_job *job, uint64_t i, size_t *ret_bytes)
{
	const struct taio_end *from = &job->step->from;
	const uint64_t at = i * job->unit;

	if (job_is_messages(job)) {
		const struct taio_message *m = (const struct taio_message *)from->ptr + i;

		*ret_bytes = m->length;
		return m->data ? m->data : zeros;
	}
	if (at >= job->bytes) { /* the end mark */
		*ret_bytes = 0;
		return zeros;
	}
	*ret_bytes = job->bytes - at < job->unit ? job->bytes - at : job->unit;
	return from->kind == TAIO_KIND_MEM ? (const uint8_t *)from->ptr + at : zeros;
}

/* What the headers of datagram @i are. NULL: not through us, or not any more; the step ends before it. */
static struct frame_flow *job_flow(struct xdp *xdp, struct xdp_job *job, struct xdp_socket *socket,
				   uint64_t i, size_t bytes)
{
	const struct taio_message *m = (const struct taio_message *)job->step->from.ptr + i;
	struct xdp_peer *peer;

	if (!job_is_messages(job))
		return job->generation == xdp->generation ? &job->flow : NULL;
	peer = xdp_peer_get(xdp, socket, m->address, m->address ? m->address_length : 0);
	if (!peer || bytes > peer->payload_max || peer->place != job->place)
		return NULL;
	return &peer->flow;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Builds up to a budget of frames and shows them. Return: how many; 0: no room. */
static uint32_t job_put(struct xdp *xdp, struct xdp_job *job, uint64_t until)
{
	struct xdp_port *port = &job->place->port;
	struct xdp_socket *socket = &xdp->socket[(unsigned int)job->step->to.fd % XDP_SOCKETS];
	uint32_t descs = 0, n = 0;

	while (job->put < until && n < XDP_PORT_BUDGET) {
		size_t bytes;
		const void *payload = job_payload(job, job->put, &bytes);
		struct frame_flow *flow = job_flow(xdp, job, socket, job->put, bytes);
		uint32_t used;

		if (!flow) {
			job->count = job->put;
			break;
		}
		used = xdp_port_put(port, flow, descs, payload, bytes);
		if (used == 0)
			break;
		descs += used;
		job->put++;
		n++;
	}
	if (descs)
		xsk_ring_submit(&port->xsk.tx, descs);
	return n;
}

/* Puts datagrams up to @until into the kernel's hands. Return: 0; -EAGAIN; an error of the port. */
static int job_advance(struct xdp *xdp, struct xdp_job *job, uint64_t until)
{
	struct xdp_port *port = &job->place->port;
	int rc = 0;

	if (port->error)
		return port->error;
	while (job->put < until && job->put < job->count) {
		xdp_news(xdp, xdp->dev->host->now_ns());
		xdp_port_collect(port);
		if (job_put(xdp, job, until) == 0 && job->put < job->count)
			return xsk_tx_pending(&port->xsk) ? xdp_port_push(port) ? -EAGAIN : 0
							  : -EAGAIN;
		rc = xdp_port_push(port);
		if (rc)
			return rc;
	}
	return xdp_port_push(port);
}

/* ---- the end of a step ----------------------------------------------------------------------- */

/* Datagrams of the step that the kernel has taken. */
static uint64_t job_taken(const struct xdp_job *job)
{
	const struct xdp_port *port = &job->place->port;
	const uint32_t taken =
		__atomic_load_n(port->xsk.tx.consumer, __ATOMIC_ACQUIRE) - job->first;
	uint32_t descs = 0;
	uint64_t i;

	if (!xsk_tx_pending(&port->xsk))
		return job->put;
	for (i = 0; i < job->put; i++) {
		const size_t head =
			FRAME_HEAD_MAX; /* as many chunks, or one more: never too many */
		size_t bytes;

		(void)job_payload(job, i, &bytes);
		descs += (int32_t)xdp_port_chunks(port, head + bytes);
		if (descs > taken)
			break;
	}
	return i;
}

static int64_t job_messages_result(struct xdp_job *job, uint64_t sent)
{
	struct taio_message *m = job->step->from.ptr;
	int error = netops_error(job->step->to.fd);

	if (error)
		msgops_report(job->step, error);
	for (uint64_t i = 0; i < sent; i++)
		m[i].result = (int32_t)m[i].length;
	if (sent > 0)
		return (int64_t)sent;
	return job->cancelled ? -ECANCELED : -EXDEV;
}

static int64_t job_bytes_result(struct xdp_job *job, uint64_t sent)
{
	struct taio_step *step = job->step;
	uint64_t bytes = sent * job->unit;
	int error;

	if (bytes > job->bytes)
		bytes = job->bytes;
	step->packets = (uint32_t)sent;
	step->failed_side = 2;
	if (bytes == 0)
		return job->cancelled ? -ECANCELED : -EXDEV;
	/* what hosts on the way said: the datagrams are lost */
	error = netops_for_good(netops_error(step->to.fd));
	if (!error && job->end_mark && bytes == job->bytes && sent < job->count)
		error = netops_for_good(netops_end_mark(step->to.fd));
	return error ? error : (int64_t)bytes;
}

static void job_result(struct xdp_job *job, uint64_t sent)
{
	job->step->result = job_is_messages(job) ? job_messages_result(job, sent)
						 : job_bytes_result(job, sent);
}

/*
 * A card that takes frames by itself may still have them when the socket sends what comes after
 * (the end mark): the last step of a request waits until they are out.
 */
static bool job_is_on_its_way(const struct xdp_job *job)
{
	struct xdp_port *port = &job->place->port;

	if (!port->xsk.zero_copy || job_is_messages(job) || (job->step->flags & TAIO_SF_MORE))
		return false;
	xdp_port_collect(port);
	return port->out > 0;
}

/*
 * Return: whether the step is over, with its result. The end mark goes when nothing is known against
 * the datagrams before it.
 */
static bool job_run(struct xdp *xdp, struct xdp_job *job)
{
	int rc = job_advance(xdp, job, job->count - job->end_mark);

	if (rc == 0 && job->end_mark && job->put + 1 == job->count) {
		int error = netops_error(job->step->to.fd);

		if (error) {
			job->step->result = netops_for_good(error);
			job->step->failed_side = 2;
			return true;
		}
		rc = job_advance(xdp, job, job->count);
	}
	if (rc == -EAGAIN)
		return false;
	if (rc)
		xdp_place_lost(xdp, job->place, rc);
	else if (job->put < job->count || job_is_on_its_way(job))
		return false;
	job_result(job, rc ? job_taken(job) : job->put);
	return true;
}

/* ---- steps that wait ------------------------------------------------------------------------- */

static void send_timer(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct xdp *xdp = op->owner;

	(void)res;
	(void)flags;
	ring_op_put(ring, op);
	ring->room++;
	xdp->ops--;
	xdp->timer = false;
	xdp_send_more(xdp);
	xdp_send_watch(xdp);
}

static bool place_is_waiting(struct xdp_place *place)
{
	return place->open && !place->port.error && !place->kicking &&
	       (place->first || xsk_tx_pending(&place->port.xsk));
}

/* One timer looks after all of them. Its room in the ring was promised when the device opened. */
void xdp_send_watch(struct xdp *xdp)
{
	static struct __kernel_timespec after = { .tv_nsec = RETRY_NS };
	struct io_uring_sqe *sqe;
	struct ring_op *op;
	bool any = false;

	for (unsigned int i = 0; i < XDP_PORTS; i++)
		any |= place_is_waiting(&xdp->place[i]);
	any |= xdp_file_waits(xdp);
	if (!any || xdp->timer || !ring_has_room(xdp->ring, 1))
		return;
	xdp->ring->room--;
	op = ring_op_get(xdp->ring, RING_XDP, NULL, send_timer);
	op->owner = xdp;
	sqe = ring_sqe(xdp->ring);
	io_uring_prep_timeout(sqe, &after, 0, 0);
	ring_sqe_done(xdp->ring, sqe, op);
	xdp->ring->continued = 1;
	xdp->ops++;
	xdp->timer = true;
}

static void job_free(struct xdp *xdp, struct xdp_job *job)
{
	job->place->users--;
	job->step = NULL;
	job->next = xdp->free_job;
	xdp->free_job = job;
}

void xdp_send_more(struct xdp *xdp)
{
	for (unsigned int i = 0; i < XDP_PORTS; i++) {
		struct xdp_place *place = &xdp->place[i];

		if (!place->open || place->kicking)
			continue;
		if (!place->first && !place->port.error)
			(void)xdp_port_push(&place->port);
		while (place->first && job_run(xdp, place->first)) {
			struct xdp_job *job = place->first;

			place->first = job->next;
			ring_finish(xdp->ring, RING_XDP, job->step);
			job_free(xdp, job);
			if (place->first)
				place->first->first = place->port.xsk.tx.own;
		}
	}
	xdp_file_more(xdp);
}

void xdp_send_cancel(struct xdp *xdp, struct taio_step *step)
{
	for (unsigned int i = 0; i < XDP_PORTS; i++) {
		struct xdp_place *place = &xdp->place[i];

		for (struct xdp_job **link = &place->first; *link; link = &(*link)->next) {
			struct xdp_job *job = *link;

			if (job->step != step)
				continue;
			*link = job->next;
			/* what is in the ring goes out all the same */
			job->cancelled = true;
			job_result(job, job->put);
			ring_finish(xdp->ring, RING_XDP, step);
			ring_show(xdp->ring);
			job_free(xdp, job);
			return;
		}
	}
}

void xdp_send_end(struct xdp *xdp)
{
	for (unsigned int i = 0; i < XDP_PORTS; i++) {
		while (xdp->place[i].first)
			xdp_send_cancel(xdp, xdp->place[i].first->step);
		/* the last chance of frames that the kernel did not want yet */
		if (xdp->place[i].open && !xdp->place[i].port.error)
			(void)xdp_port_push(&xdp->place[i].port);
	}
}

/* ---- a step ---------------------------------------------------------------------------------- */

/* As netsend.c: no short datagram only because a segment ends there. */
static uint64_t send_length(const struct taio_step *step, uint64_t unit)
{
	if ((step->flags & TAIO_SF_MORE) && !(step->flags & TAIO_SF_LAST) && step->len > unit)
		return step->len - step->len % unit;
	return step->len;
}

static bool job_fill(struct xdp *xdp, struct xdp_job *job, struct taio_step *step)
{
	const struct taio_message *m = step->from.ptr;
	const bool messages = step->from.kind == TAIO_KIND_MESSAGES;
	struct xdp_socket *socket = xdp_socket_get(xdp, step->to.fd, step->position == 0);
	struct xdp_peer *peer;

	memset(job, 0, sizeof(*job));
	if (!socket)
		return false;
	job->step = step;
	peer = xdp_peer_get(xdp, socket, messages ? m->address : NULL,
			    messages && m->address ? m->address_length : 0);
	if (!peer)
		return false;
	job->place = peer->place;
	job->flow = peer->flow;
	job->generation = peer->generation;
	job->unit = netops_unit(&step->to);
	if ((messages ? m->length : job->unit) > peer->payload_max) {
		xdp_refuse(xdp, peer, "the datagrams are larger than the MTU allows");
		return false;
	}
	if (messages) {
		job->count = step->len;
		return true;
	}
	job->bytes = send_length(step, job->unit);
	job->end_mark = (step->flags & TAIO_SF_LAST) != 0;
	job->count = (job->bytes + job->unit - 1) / job->unit + job->end_mark;
	return true;
}

static enum taio_submit xdp_send_once(struct xdp *xdp, struct taio_step *step, bool again)
{
	struct xdp_job now, *job;
	struct xdp_place *place;

	if (!ring_has_room(xdp->ring, 1) || (!xdp->free_job && xdp->jobs_used == XDP_JOBS))
		return ring_full(xdp->ring, step);
	if (!job_fill(xdp, &now, step)) {
		step->result = -EXDEV;
		step->failed_side = 2;
		return TAIO_DONE;
	}
	place = now.place;
	now.first = place->port.xsk.tx.own;
	if (!place->first && job_run(xdp, &now)) {
		/* something about the way changed before a byte was sent */
		if (step->result == -EXDEV && now.generation != xdp->generation && !again)
			return xdp_send_once(xdp, step, true);
		return TAIO_DONE;
	}
	job = xdp->free_job;
	if (job)
		xdp->free_job = job->next;
	else
		job = &xdp->job[xdp->jobs_used++];
	*job = now;
	job->next = NULL;
	if (place->first)
		place->last->next = job;
	else
		place->first = job;
	place->last = job;
	place->users++;
	xdp_send_watch(xdp);
	return TAIO_QUEUED;
}

enum taio_submit xdp_send(struct xdp *xdp, struct taio_step *step)
{
	return xdp_send_once(xdp, step, false);
}
