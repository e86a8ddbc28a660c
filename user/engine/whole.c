/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * whole.c: a small file that is copied within the call that asks for it, where the program said that
 * its thread may block (TAIO_MAY_BLOCK) and nobody stands before it: no request, no queue, no copies
 * of its strings, only the decision, the step and the event. What turns out to be more than one step
 * (a large file, a stream that is full) becomes a request that goes on from there.
 *
 * To a file only while nothing else is under way: of many requests some shall go to other cores, and
 * that is decided when they are seen together.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#include "drivers/fileops.h"
#include "util/clear.h"
#include "util/clock.h"

#define WHOLE_AGAIN 15 /* files that follow a decision */

static bool whole_is_start(const struct taio_endpoint *ep)
{
	return ep->offset == 0 || ep->offset == TAIO_CURRENT;
}

/* Nobody uses the stream, so there is no order to keep. */
static bool whole_is_idle(const struct taio *e, int fd)
{
	return fd >= 0 && (!e->lanes || ((uint32_t)fd < ENGINE_LANES_MAX && !e->lanes[fd].users));
}

bool whole_may(const struct taio *e, const struct taio_endpoint *from,
	       const struct taio_endpoint *to, const struct taio_options *o)
{
	if (!(e->flags & TAIO_MAY_BLOCK) || e->ready_mask || e->pin || e->forbid ||
	    from->type != TAIO_EP_PATH || !from->ptr || !*(const char *)from->ptr)
		return false;
	if (o && (o->pin || o->forbid || o->limit_rate || o->timeout_ns || o->trace || o->least ||
		  o->limit_packets || o->idle_ns || o->datagrams || o->framing || o->counters))
		return false;
	if (to->type == TAIO_EP_PATH)
		return !e->pool.busy && !e->event_count && to->ptr && *(const char *)to->ptr &&
		       whole_is_start(to);
	return to->type == TAIO_EP_FD && whole_is_start(to) && whole_is_idle(e, to->fd) &&
	       (e->fd_socket >> (to->fd & 63) & 1);
}

static void whole_fill_file(struct taio *e, const struct taio_endpoint *from,
			    const struct taio_endpoint *to)
{
	struct taio_file *file = &e->whole.file;
	const struct request *r = &e->whole.request;

	clear(file, offsetof(struct taio_file, from_stat));
	file->from_stat.mode = 0;
	file->to_stat.mode = 0;
	file->temp_name[0] = '\0';
	file->from_path = from->ptr;
	file->to_path = to->type == TAIO_EP_PATH ? to->ptr : NULL;
	file->from_fd = file->to_fd = -1;
	file->umask = (mode_t)e->umask;
	file->flags = r->flags;
	file->offset = from->offset == TAIO_CURRENT ? 0 : from->offset;
	file->length = r->length;
}

static void whole_fill_step(struct taio *e)
{
	struct taio_step *step = &e->whole.step;
	const struct request *r = &e->whole.request;

	assert(!step->in_flight);
	clear(step, offsetof(struct taio_step, priv));
	step->op = TAIO_OP_FILE;
	step->goal = r->goal;
	step->from.fd = step->from.fixed = step->to.fixed = -1;
	step->to.kind = r->to.kind;
	step->to.fd = r->to.fd;
	step->wait_fd = -1;
	step->file = &e->whole.file;
	step->len = e->file_bytes[r->to.kind == TAIO_KIND_STREAM];
}

/* Most files are like the one before: the device that was picked for that one has the next few, too,
 * and the policy hears of one in so many. */
static bool whole_again(struct taio *e, struct taio_step *step)
{
	bool stream = step->to.kind == TAIO_KIND_STREAM;
	struct taio_device *device = &e->device[e->whole_device[stream]];

	if (!e->whole_left[stream] || e->in_flight != e->workers.in_flight)
		return false;
	e->whole_left[stream]--;
	step->device = device->number;
	device->driver->run(device, step);
	e->now_ns = clock_ns();
	if (step->result < 0)
		e->count[device->number].errors++;
	else
		e->count[device->number].steps++;
	return true;
}

static bool whole_run(struct taio *e, struct request *r, struct taio_step *step)
{
	bool stream = step->to.kind == TAIO_KIND_STREAM;

	if (whole_again(e, step))
		return true;
	r->traits |= policy_next_is_canary(e->policy) ? REQUEST_CANARY : 0;
	if (!route_run_now(e, r, step))
		return false;
	e->whole_device[stream] = step->device;
	e->whole_left[stream] = policy_canary_maps(e->policy) ? 0 : WHOLE_AGAIN;
	return true;
}

/* The event of what is over, one way or the other. */
static void whole_end(struct taio *e, int error)
{
	struct request *r = &e->whole.request;
	const struct taio_step *step = &e->whole.step;

	if (step->result >= 0) {
		r->moved = (uint64_t)step->result;
		r->devices = 1ULL << step->device;
		r->main_device = step->device;
		if (r->progress)
			__atomic_fetch_add(r->progress, r->moved, __ATOMIC_RELAXED);
	}
	if (error) {
		r->error = error;
		r->failed_step = r->file->failed_step ? r->file->failed_step : TAIO_STEP_FILE;
		r->failed_device = step->device;
	}
	request_set_state(r, REQUEST_READY);
	policy_canary_count(e->policy, r->traits & REQUEST_CANARY, r->error != 0, r->moved,
			    r->accepted_ns, e->now_ns - r->accepted_ns);
	event_publish(e, r);
}

int whole_now(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
	      const struct taio_options *options, uint64_t cookie)
{
	struct request *r = &e->whole.request;
	struct taio_step *step = &e->whole.step;
	int rc;

	clear(r, sizeof(*r));
	r->cookie = cookie;
	r->main_device = r->failed_device = PICK_NONE;
	r->accepted_ns = e->now_ns = clock_ns();
	rc = accept_whole(e, r, from, to, options);
	if (rc)
		return rc;
	whole_fill_file(e, from, to);
	whole_fill_step(e);
	r->file = &e->whole.file;
	if (!whole_run(e, r, step) || step->result == -EINTR || step->result == -EAGAIN)
		return ACCEPT_LATER;
	if (step->result < 0) {
		whole_end(e, (int)step->result);
	} else if (r->file->state & TAIO_FILE_DONE) {
		whole_end(e, 0);
	} else {
		rc = accept_opened(e, from, to, options);
		/* Bytes are gone, so it cannot be refused any more. */
		if (rc && step->result > 0) {
			whole_end(e, rc);
			rc = 0;
		}
	}
	engine_tick(e);
	return rc;
}
