/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * plan.c: the rules that turn two ends into a FIFO of steps; see plan.h. Order: what can fail
 * cheaply comes first (open the file before bothering a peer, make the temporary before waiting
 * for one), what others see comes last (publish, then shutdown and close).
 */
#include "plan/plan.h"

#include <assert.h>
#include <stddef.h>

static void plan_peer(struct request *r, enum plan_end end, unsigned int side)
{
	if (end != PLAN_CONNECT && end != PLAN_LISTEN)
		return;
	request_fifo_push(r, TAIO_STEP_RESOLVE | side);
	request_fifo_push(r, (end == PLAN_LISTEN ? TAIO_STEP_ACCEPT : TAIO_STEP_CONNECT) | side);
}

void plan_build(struct request *r, enum plan_end from, enum plan_end to, bool whole_file)
{
	bool durable = r->flags & TAIO_DURABLE;

	assert(r->fifo_count == 0);
	if (whole_file) {
		assert(from == PLAN_PATH && (to == PLAN_PATH || to == PLAN_OPEN));
		request_fifo_push(r, TAIO_STEP_FILE);
	} else {
		if (from == PLAN_PATH)
			request_fifo_push(r, TAIO_STEP_OPEN_FROM);
		for (unsigned int i = 0; from == PLAN_MIRROR && i < r->replicas; i++)
			request_fifo_push(r, TAIO_STEP_OPEN_FROM);
		if (to == PLAN_PATH)
			request_fifo_push(r, TAIO_STEP_OPEN_TO);
		plan_peer(r, from, 0);
		plan_peer(r, to, REQUEST_FIFO_TO);
	}
	request_fifo_push(r, TAIO_STEP_TRANSFER);
	if (to == PLAN_PATH) {
		request_fifo_push(r, TAIO_STEP_META);
		if (durable)
			request_fifo_push(r, TAIO_STEP_SYNC);
		request_fifo_push(r, TAIO_STEP_PUBLISH);
		if (durable)
			request_fifo_push(r, TAIO_STEP_SYNC_DIR);
	} else if (durable && to == PLAN_OPEN) {
		request_fifo_push(r, TAIO_STEP_SYNC);
	}
	if ((to == PLAN_CONNECT || to == PLAN_LISTEN) && !(r->flags & TAIO_NO_SHUTDOWN))
		request_fifo_push(r, TAIO_STEP_SHUTDOWN);
	if (from != PLAN_OPEN)
		request_fifo_push(r, TAIO_STEP_CLOSE);
	if (to != PLAN_OPEN)
		request_fifo_push(r, TAIO_STEP_CLOSE | REQUEST_FIFO_TO);
}

static bool plan_is_memory(const struct taio_endpoint *ep)
{
	return ep->type == TAIO_EP_MEMORY || ep->type == TAIO_EP_VECTOR;
}

static bool plan_may_be_socket(const struct taio_endpoint *ep)
{
	return ep->type == TAIO_EP_FD || ep->type == TAIO_EP_ADDRESS;
}

const char *plan_refuse(const struct taio_endpoint *from, const struct taio_endpoint *to)
{
	if (from->type == TAIO_EP_NONE || from->type > TAIO_EP_MIRROR)
		return "the source has no known type";
	if (to->type == TAIO_EP_NONE || to->type > TAIO_EP_MIRROR)
		return "the destination has no known type";
	if ((from->type == TAIO_EP_MESSAGES && !plan_may_be_socket(to)) ||
	    (to->type == TAIO_EP_MESSAGES && !plan_may_be_socket(from)))
		return "messages need a datagram socket at the other end";
	if (from->type == TAIO_EP_NULL)
		return "nothing can be read from the null sink";
	if (to->type == TAIO_EP_ZERO)
		return "nothing can be written to the source of zeros";
	if (to->type == TAIO_EP_MIRROR)
		return "a mirror can only be read";
	if (from->type == TAIO_EP_ZERO && from->length == TAIO_TO_END && !plan_is_memory(to))
		return "a source of zeros needs a length: its end never comes";
	return NULL;
}
