/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * control.c: the steps around the transfer: resolve, connect, accept, open, meta, sync, publish,
 * shutdown, close, and the whole small file. Each is a step on a device like any other; here is
 * what it needs and what its result means for the request.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "drivers/netops.h"

#define CONTROL_SLOW_NS     (1000ULL * 1000)
#define CONTROL_SLOW_FOR_NS (1000ULL * 1000 * 1000)

struct control_rule {
	uint8_t op;
	uint8_t device; /* enum engine_control: runs it */
};

static const struct control_rule control_rules[TAIO_STEP_COUNT] = {
	[TAIO_STEP_RESOLVE] = { TAIO_OP_RESOLVE, ENGINE_RESOLVER },
	[TAIO_STEP_CONNECT] = { TAIO_OP_CONNECT, ENGINE_NET },
	[TAIO_STEP_ACCEPT] = { TAIO_OP_ACCEPT, ENGINE_NET },
	[TAIO_STEP_OPEN_FROM] = { TAIO_OP_OPEN, ENGINE_SYS },
	[TAIO_STEP_OPEN_TO] = { TAIO_OP_OPEN, ENGINE_SYS },
	[TAIO_STEP_META] = { TAIO_OP_META, ENGINE_SYS },
	[TAIO_STEP_SYNC] = { TAIO_OP_SYNC, ENGINE_PICKED },
	[TAIO_STEP_PUBLISH] = { TAIO_OP_PUBLISH, ENGINE_SYS },
	[TAIO_STEP_SYNC_DIR] = { TAIO_OP_SYNC_DIR, ENGINE_PICKED },
	[TAIO_STEP_CLOSE] = { TAIO_OP_CLOSE, ENGINE_SYS },
	[TAIO_STEP_FILE] = { TAIO_OP_FILE, ENGINE_PICKED },
};

static struct taio_addr *control_addr(const struct request *r, unsigned int side)
{
	return side ? r->addr_to : r->addr_from;
}

static struct taio_end *control_end(struct request *r, unsigned int side)
{
	return side ? &r->to : &r->from;
}

/* ---- what a finished step means ---- */

static void control_take_file(struct request *r, unsigned int side)
{
	const struct taio_file *file = r->file;
	struct taio_end *end = control_end(r, side);

	end->fd = side ? file->to_fd : file->from_fd;
	end->kind = (uint8_t)(side ? file->to_kind : file->from_kind);
	end->fs = side ? file->to_fs : file->from_fs;
	end->flags |= TAIO_END_OWNED;
}

/* The source is open: how long is it, has it holes? */
static void control_take_source(struct request *r)
{
	const struct taio_file *file = r->file;
	uint64_t rest;

	control_take_file(r, 0);
	if (file->state & TAIO_FILE_FROM_NONBLOCK)
		r->from.flags |= TAIO_END_NONBLOCK;
	r->from.offset = file->offset;
	if (r->from.kind != TAIO_KIND_FILE)
		return;
	if (file->size == 0 && file->from_stat.blocks == 0) {
		r->traits |= REQUEST_ONLY_RW; /* empty, or a file that lies (procfs) */
		return;
	}
	rest = file->size > file->offset ? file->size - file->offset : 0;
	if (rest < r->length)
		r->length = rest;
}

/* Holes can stay holes where the destination is a fresh file. */
static void control_look_for_holes(struct request *r)
{
	const struct taio_file *file = r->file;

	if (r->from.kind == TAIO_KIND_FILE && r->to.kind == TAIO_KIND_FILE &&
	    (file->state & TAIO_FILE_TEMP) && !(r->flags & TAIO_NO_SPARSE) && file->from_path &&
	    file->from_stat.blocks * 512 < file->size)
		r->traits |= REQUEST_SPARSE;
}

static enum engine_next control_lane(struct taio *e, struct request *r, unsigned int side)
{
	int rc = lane_enter(e, r, side, control_end(r, side)->fd);

	if (rc) {
		engine_fail(e, r, rc, (enum taio_step_type)request_fifo_head(r), PICK_NONE);
		return ENGINE_FAILED;
	}
	return ENGINE_NEXT;
}

static enum engine_next control_take_peer(struct taio *e, struct request *r, unsigned int side)
{
	const struct taio_addr *addr = control_addr(r, side);
	struct taio_end *end = control_end(r, side);

	end->fd = addr->fd;
	end->kind = addr->type == SOCK_DGRAM ? TAIO_KIND_DGRAM : TAIO_KIND_STREAM;
	end->flags |= TAIO_END_OWNED;
	if (addr->type == SOCK_DGRAM && addr->family != AF_UNIX)
		end->flags |= TAIO_END_UDP;
	if (netops_is_local(addr->fd))
		end->flags |= TAIO_END_LOCAL;
	return control_lane(e, r, side);
}

/* What was not small is open now; what a stream took of it counts. */
static enum engine_next control_took_files(struct taio *e, struct request *r)
{
	enum engine_next next;

	control_take_source(r);
	if (r->to.kind == TAIO_KIND_STREAM) {
		r->issued = r->moved;
		return control_lane(e, r, 0);
	}
	control_take_file(r, 1);
	control_look_for_holes(r);
	next = control_lane(e, r, 0);
	return next == ENGINE_NEXT ? control_lane(e, r, 1) : next;
}

static void control_credit(struct request *r, const struct taio_step *step)
{
	r->moved = (uint64_t)step->result;
	r->devices |= 1ULL << step->device;
	r->main_device = step->device;
	if (r->progress)
		__atomic_fetch_add(r->progress, r->moved, __ATOMIC_RELAXED);
}

/* A small file was copied whole: only the event is left. */
static void control_file_done(struct request *r, const struct taio_step *step)
{
	control_credit(r, step);
	r->issued = r->length = r->moved;
	r->fifo_count = 1; /* the caller pops it */
}

/* Whatever close(2) says, the number is free from then on. */
static void control_forget(struct request *r, unsigned int side)
{
	control_end(r, side)->fd = -1;
	if (side && r->file)
		r->file->to_fd = -1;
	if (!side && r->file)
		r->file->from_fd = -1;
	if (control_addr(r, side))
		control_addr(r, side)->fd = -1;
}

static enum engine_next control_took_replica(struct taio *e, struct request *r, int error)
{
	int rc = mirror_opened(e, r, error);

	if (rc == 0)
		return ENGINE_NEXT;
	engine_fail(e, r, rc, TAIO_STEP_OPEN_FROM, PICK_NONE);
	return ENGINE_FAILED;
}

static enum engine_next control_success(struct taio *e, struct request *r,
					const struct taio_step *step, enum taio_step_type type)
{
	unsigned int side = request_fifo_side(r);

	switch (type) {
	case TAIO_STEP_CONNECT:
	case TAIO_STEP_ACCEPT:
		return control_take_peer(e, r, side);
	case TAIO_STEP_OPEN_FROM:
		if (mirror_is(&r->from))
			return control_took_replica(e, r, 0);
		control_take_source(r);
		return control_lane(e, r, 0);
	case TAIO_STEP_OPEN_TO:
		control_take_file(r, 1);
		control_look_for_holes(r);
		return control_lane(e, r, 1);
	case TAIO_STEP_FILE:
		if (r->file->state & TAIO_FILE_DONE) {
			control_file_done(r, step);
			return ENGINE_NEXT;
		}
		return control_took_files(e, r);
	default:
		return ENGINE_NEXT;
	}
}

/* A name was resolved by a thread or a socket waits for its peer. */
static enum engine_next control_wait(struct taio *e, struct request *r,
				     const struct taio_step *step)
{
	unsigned int side = step->wait_events & POLLOUT ? 1 : 0;
	int rc = lane_attach(e, r, step->wait_fd, side);

	if (rc == 0)
		rc = lane_wait(e, r, step->wait_fd, side);
	if (rc == 0)
		return ENGINE_PARKED;
	engine_fail(e, r, rc, (enum taio_step_type)request_fifo_head(r), PICK_NONE);
	return ENGINE_FAILED;
}

static bool control_had_choice(const struct taio *e, enum taio_step_type type,
			       const struct taio_step *step)
{
	switch (control_rules[type].device) {
	case ENGINE_PICKED:
		return true;
	case ENGINE_SYS:
		return step->device != e->control[ENGINE_SYS] &&
		       step->device != e->control[ENGINE_SYS_ASIDE];
	default:
		return false;
	}
}

/* A descriptor is gone whatever close(2) says, a second fsync(2) says 0 although bytes are lost, and
 * a whole file knows its own ways. */
static bool control_may_retry(enum taio_step_type type, int error)
{
	switch (type) {
	case TAIO_STEP_CLOSE:
	case TAIO_STEP_FILE:
		return false;
	case TAIO_STEP_SYNC:
	case TAIO_STEP_SYNC_DIR:
		return error == -EOPNOTSUPP; /* it was not tried */
	default:
		return true;
	}
}

static enum engine_next control_result(struct taio *e, struct request *r, struct taio_step *step)
{
	enum taio_step_type type = request_fifo_head(r);
	enum taio_step_type failed = type;

	trace_step(e, r, step, type);
	if (type == TAIO_STEP_CLOSE)
		control_forget(r, request_fifo_side(r));
	if ((type == TAIO_STEP_PUBLISH && step->result >= 0) ||
	    (type == TAIO_STEP_FILE && step->result >= 0 && r->file->state & TAIO_FILE_DONE)) {
		/* It was faster than whoever cancelled it: the new file is there. */
		r->error = 0;
		r->traits &= (uint8_t)~REQUEST_CANCELLED;
	}
	if (type == TAIO_STEP_FILE && step->result > 0 && !(r->file->state & TAIO_FILE_DONE))
		control_credit(r, step);
	if (step->result >= 0)
		return r->traits & REQUEST_CANCELLED ? ENGINE_FAILED
						     : control_success(e, r, step, type);
	if (r->traits & REQUEST_CANCELLED)
		return ENGINE_FAILED;
	if (step->result == -EAGAIN && step->wait_fd >= 0)
		return control_wait(e, r, step);
	if (step->result == -EINTR)
		return ENGINE_AGAIN;
	/* Only where the picker had a choice can a step go another way. */
	if (control_had_choice(e, type, step) && control_may_retry(type, (int)step->result) &&
	    route_worth_retry((int)step->result) && ++r->attempts < 3) {
		r->excluded |= 1ULL << step->device;
		r->retries++;
		return ENGINE_AGAIN;
	}
	if (type == TAIO_STEP_OPEN_FROM && mirror_is(&r->from))
		return control_took_replica(e, r, (int)step->result);
	if (type == TAIO_STEP_FILE && r->file->failed_step)
		failed = (enum taio_step_type)r->file->failed_step;
	engine_fail(e, r, (int)step->result, failed, step->device);
	return ENGINE_FAILED;
}

/* ---- starting one ---- */

/* The wait of connect or accept is over, one way or the other. */
static void control_detach(struct taio *e, struct request *r, enum taio_step_type type)
{
	struct taio_addr *addr = control_addr(r, request_fifo_side(r));

	if (type == TAIO_STEP_CONNECT || type == TAIO_STEP_ACCEPT) {
		lane_detach(e, addr->listen_fd);
		lane_detach(e, addr->fd);
	}
}

static void control_fill(struct taio *e, struct request *r, enum taio_step_type type,
			 struct taio_step *step)
{
	unsigned int side = request_fifo_side(r);

	step->op = control_rules[type].op;
	step->file = r->file;
	step->addr = control_addr(r, side);
	step->to.fs = r->to.fs;
	step->to.fd = r->to.fd;
	step->to.offset = r->to.offset;
	if (type == TAIO_STEP_FILE) {
		step->to.kind = r->to.kind;
		step->len = e->file_bytes[r->to.kind == TAIO_KIND_STREAM];
	} else if (type == TAIO_STEP_OPEN_TO) {
		r->file->side = 1;
		step->to.kind = TAIO_KIND_FILE; /* priced apart from the opening of a source */
	} else if (type == TAIO_STEP_OPEN_FROM) {
		r->file->side = 0;
		if (mirror_is(&r->from))
			mirror_next(r);
	} else if (type == TAIO_STEP_CLOSE) {
		step->from.fd = control_end(r, side)->fd;
		step->to.kind = control_end(r, side)->kind;
		step->to.fs = control_end(r, side)->fs;
	} else if ((type == TAIO_STEP_CONNECT || type == TAIO_STEP_ACCEPT) &&
		   !step->addr->began_ns) {
		step->addr->began_ns = e->now_ns;
	}
}

/* End of stream for the peer, end mark for datagrams. */
static enum engine_next control_shutdown(struct taio *e, struct request *r)
{
	int rc = netops_finish(r->to.fd, r->to.kind == TAIO_KIND_DGRAM);

	if (rc == 0)
		return ENGINE_NEXT;
	engine_fail(e, r, rc, TAIO_STEP_SHUTDOWN, PICK_NONE);
	return ENGINE_FAILED;
}

/* Steps that turn out to have nothing to do. */
static bool control_is_idle(const struct request *r, enum taio_step_type type)
{
	const struct taio_addr *addr = control_addr(r, request_fifo_side(r));

	switch (type) {
	case TAIO_STEP_RESOLVE:
		return addr->count > 0;
	case TAIO_STEP_META:
	case TAIO_STEP_PUBLISH:
		return r->to.kind != TAIO_KIND_FILE;
	case TAIO_STEP_SYNC:
		return r->to.kind != TAIO_KIND_FILE;
	case TAIO_STEP_SYNC_DIR:
		return r->to.kind != TAIO_KIND_FILE;
	case TAIO_STEP_CLOSE:
		return control_end((struct request *)(uintptr_t)r, request_fifo_side(r))->fd < 0;
	default:
		return false;
	}
}

static bool control_has_rivals(enum taio_step_type type)
{
	return type == TAIO_STEP_OPEN_FROM || type == TAIO_STEP_OPEN_TO ||
	       type == TAIO_STEP_CLOSE || type == TAIO_STEP_CONNECT || type == TAIO_STEP_ACCEPT;
}

/*
 * Control steps on files take microseconds, and a lone request runs them on the thread without a
 * decision. Beside other requests what the ring can do as well is picked by price. Where a step took
 * long (a cold directory, a server far away) none runs on the thread for a while, so that the next
 * ones stop nobody. Who forbids a device means its control steps, too, where there is another way.
 */
static uint8_t control_device(const struct taio *e, const struct request *r,
			      enum taio_step_type type)
{
	uint8_t device = control_rules[type].device;
	bool shared = engine_others(e) && !(e->flags & TAIO_MAY_BLOCK);

	if (device == ENGINE_RESOLVER && e->worker_limit == 0)
		return ENGINE_NET; /* no threads allowed: resolving then blocks, as documented */
	if (control_has_rivals(type) &&
	    (shared || ((e->forbid | r->forbidden) >> e->control[device] & 1)))
		return ENGINE_PICKED;
	if (device == ENGINE_SYS && shared && e->now_ns < e->control_slow_ns && e->worker_limit)
		return ENGINE_SYS_ASIDE;
	return device;
}

/* Did it hold the thread for long? */
static void control_notice(struct taio *e, const struct taio_step *step)
{
	if (step->device == e->control[ENGINE_SYS] && e->now_ns - step->start_ns > CONTROL_SLOW_NS)
		e->control_slow_ns = e->now_ns + CONTROL_SLOW_FOR_NS;
}

static enum route_started control_run(struct taio *e, struct request *r, enum taio_step_type type,
				      struct taio_step *step)
{
	uint8_t device = control_device(e, r, type);
	enum route_started started;

	if (device == ENGINE_PICKED) {
		started = route_start(e, r, step);
		if (started == ROUTE_DONE)
			control_notice(e, step);
		return started;
	}
	step->why = device == ENGINE_SYS_ASIDE ? TAIO_WHY_BLOCKING : TAIO_WHY_ONLY;
	step->slot = PICK_NONE;
	step->cell = UINT16_MAX;
	started = route_start_on(e, r, step, e->control[device]);
	if (started == ROUTE_DONE)
		control_notice(e, step);
	return started;
}

enum engine_next control_start(struct taio *e, struct request *r, enum taio_step_type type)
{
	struct taio_step *step;
	enum engine_next next;

	if (control_is_idle(r, type))
		return ENGINE_NEXT;
	if (type == TAIO_STEP_SHUTDOWN)
		return control_shutdown(e, r);
	step = route_step_get(e, r);
	if (!step) {
		request_set_state(r, REQUEST_WAIT_ROOM);
		request_queue_push(&e->room, &e->pool, r);
		return ENGINE_PARKED;
	}
	if (type == TAIO_STEP_OPEN_TO && mirror_has(r, r->file->to_path)) {
		route_step_put(e, step);
		engine_fail(e, r, -EINVAL, type, PICK_NONE);
		return ENGINE_FAILED;
	}
	control_detach(e, r, type);
	if (type == TAIO_STEP_CLOSE)
		lane_leave_side(e, r, request_fifo_side(r)); /* before the number can be reused */
	control_fill(e, r, type, step);
	switch (control_run(e, r, type, step)) {
	case ROUTE_DONE:
		next = control_result(e, r, step);
		route_step_put(e, step);
		return next;
	case ROUTE_QUEUED:
		return ENGINE_PARKED;
	case ROUTE_FULL:
		route_step_put(e, step);
		request_set_state(r, REQUEST_WAIT_ROOM);
		request_queue_push(&e->room, &e->pool, r);
		return ENGINE_PARKED;
	case ROUTE_NONE:
		break;
	}
	route_step_put(e, step);
	engine_fail(e, r, -EOPNOTSUPP, type, PICK_NONE);
	return ENGINE_FAILED;
}

enum engine_next control_opened(struct taio *e, struct request *r, struct taio_step *step)
{
	return control_result(e, r, step);
}

enum engine_next control_done(struct taio *e, struct request *r, struct taio_step *step)
{
	enum engine_next next = control_result(e, r, step);

	route_step_put(e, step);
	return next;
}

/* Undo: nothing that the request opened or made stays behind. */
void control_abort(struct taio *e, struct request *r)
{
	for (unsigned int side = 0; side < 2; side++) {
		struct taio_addr *addr = control_addr(r, side);

		if (addr) {
			lane_detach(e, addr->listen_fd);
			if (control_end(r, side)->fd < 0) /* not connected yet */
				lane_detach(e, addr->fd);
		}
	}
	lane_leave(e, r);
	if (r->file)
		fileops_abort(r->file);
	if (r->addr_from)
		netops_abort(r->addr_from);
	if (r->addr_to)
		netops_abort(r->addr_to);
}
