/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * lane.c: order and readiness on streams. A request stands in the queue of each stream that it
 * uses from the moment it is accepted, and touches the stream only as the first of that queue; so
 * bytes of two requests never mix. Both queues are entered at once, in the order of acceptance:
 * no two requests can wait for each other.
 *
 * Readiness is edge-triggered: registered once per descriptor; an edge that comes while nobody
 * waits is remembered (lane.seen), because a worker may have met EAGAIN before it.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int lane_table(struct taio *e)
{
	if (e->lanes)
		return 0;
	e->lanes = mmap(NULL, (size_t)ENGINE_LANES_MAX * sizeof(struct lane),
			PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (e->lanes == MAP_FAILED) {
		e->lanes = NULL;
		return -ENOMEM;
	}
	return 0;
}

static int lane_fd(const struct request *r, unsigned int side)
{
	return side ? r->to.fd : r->from.fd;
}

static bool lane_is_stream(const struct taio_end *end)
{
	return end->kind == TAIO_KIND_STREAM || end->kind == TAIO_KIND_DGRAM ||
	       end->kind == TAIO_KIND_PIPE || (end->flags & TAIO_END_STREAMED);
}

/* Makes a descriptor non-blocking for the time that requests use it. */
static void lane_unblock(struct lane *lane, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	lane->looked = 1;
	if (flags >= 0 && !(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0)
		lane->unblocked = 1;
}

/* The first request of a descriptor. Sockets are told with each call not to block, where a device
 * can do that: see lane_nonblock(). */
static void lane_open(struct lane *lane, int fd, const struct taio_end *end)
{
	struct stat st;

	if (end->kind == TAIO_KIND_FILE)
		lane->always = 1;
	if (end->flags & TAIO_END_OWNED) /* nothing is owed of a socket by that number before */
		memset(lane->rate, 0, sizeof(lane->rate));
	if (end->kind != TAIO_KIND_PIPE)
		return;
	/* A terminal is shared with the shell: leave its flags, ask before each call. */
	if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode))
		lane->poll_first = 1;
	else
		lane_unblock(lane, fd);
}

void lane_nonblock(struct taio *e, const struct taio_end *end)
{
	struct lane *lane;

	if (end->kind != TAIO_KIND_STREAM && end->kind != TAIO_KIND_DGRAM)
		return;
	assert(e->lanes && (uint32_t)end->fd < ENGINE_LANES_MAX);
	lane = &e->lanes[end->fd];
	if (!lane->looked)
		lane_unblock(lane, end->fd);
}

int lane_enter(struct taio *e, struct request *r, unsigned int side, int fd)
{
	uint32_t me = request_index(&e->pool, r) + 1;
	struct lane *lane;
	int rc;

	assert(side < 2);
	if (!lane_is_stream(side ? &r->to : &r->from))
		return 0;
	if (fd < 0 || (uint32_t)fd >= ENGINE_LANES_MAX)
		return -EMFILE;
	rc = lane_table(e);
	if (rc)
		return rc;
	lane = &e->lanes[fd];
	if (lane->users++ == 0)
		lane_open(lane, fd, side ? &r->to : &r->from);
	r->lane_next[side] = REQUEST_NONE;
	if (lane->tail[side])
		engine_request(e, lane->tail[side] - 1)->lane_next[side] = me - 1;
	else
		lane->head[side] = me;
	lane->tail[side] = me;
	r->traits |= REQUEST_HAS_LANES;
	return 0;
}

static bool lane_has(struct taio *e, const struct request *r, unsigned int side)
{
	const struct taio_end *end = side ? &r->to : &r->from;

	(void)e;
	return (r->traits & REQUEST_HAS_LANES) && lane_is_stream(end) && end->fd >= 0;
}

bool lane_is_first(struct taio *e, const struct request *r)
{
	uint32_t me = request_index(&e->pool, r) + 1;

	for (unsigned int side = 0; side < 2; side++)
		if (lane_has(e, r, side) && e->lanes[lane_fd(r, side)].head[side] != me)
			return false;
	return true;
}

static bool lane_stands(struct taio *e, const struct lane *lane, const struct request *r,
			unsigned int side)
{
	uint32_t me = request_index(&e->pool, r) + 1, at = lane->head[side];

	while (at && at != me)
		at = engine_request(e, at - 1)->lane_next[side] + 1; /* NONE + 1 is 0 */
	return at == me;
}

static void lane_remove(struct taio *e, struct lane *lane, struct request *r, unsigned int side)
{
	uint32_t me = request_index(&e->pool, r) + 1, at = lane->head[side], before = 0;

	while (at && at != me) {
		before = at;
		at = engine_request(e, at - 1)->lane_next[side] + 1; /* NONE + 1 is 0 */
	}
	assert(at == me);
	if (before)
		engine_request(e, before - 1)->lane_next[side] = r->lane_next[side];
	else
		lane->head[side] = r->lane_next[side] + 1;
	if (lane->tail[side] == me)
		lane->tail[side] = before;
	r->lane_next[side] = REQUEST_NONE;
}

static void lane_drop(struct taio *e, struct lane *lane, int fd)
{
	if (lane->registered)
		wait_remove_fd(e, fd);
	if (lane->unblocked) {
		int off = 0;

		(void)ioctl(fd, FIONBIO, &off);
	}
	*lane = (struct lane){ .rate = { lane->rate[0], lane->rate[1] } };
}

struct lane_rate *lane_rate(struct taio *e, const struct request *r, unsigned int side)
{
	return &e->lanes[lane_fd(r, side)].rate[side];
}

void lane_leave_side(struct taio *e, struct request *r, unsigned int side)
{
	int fd = lane_fd(r, side);
	struct lane *lane;

	if (!lane_has(e, r, side))
		return;
	lane = &e->lanes[fd];
	if (!lane_stands(e, lane, r, side))
		return;
	lane_remove(e, lane, r, side);
	if (lane->head[side]) {
		struct request *next = engine_request(e, lane->head[side] - 1);

		if (next->state == REQUEST_WAIT_LANE && lane_is_first(e, next))
			engine_make_ready(e, next);
	}
	if (--lane->users == 0)
		lane_drop(e, lane, fd);
}

void lane_leave(struct taio *e, struct request *r)
{
	if (!(r->traits & REQUEST_HAS_LANES))
		return;
	lane_leave_side(e, r, 0);
	lane_leave_side(e, r, 1);
	r->traits &= (uint8_t)~REQUEST_HAS_LANES;
}

bool lane_must_poll(struct taio *e, const struct request *r, int *ret_fd, unsigned int *ret_side)
{
	for (unsigned int side = 0; side < 2; side++) {
		int fd = lane_fd(r, side);
		struct lane *lane;

		if (!lane_has(e, r, side))
			continue;
		lane = &e->lanes[fd];
		if (lane->poll_first && !lane->always && !(lane->seen & (1u << side))) {
			*ret_fd = fd;
			*ret_side = side;
			return true;
		}
		if (lane->poll_first)
			lane->seen &= (uint8_t) ~(1u << side);
	}
	return false;
}

/* Registers the descriptor at its first wait. A terminal is asked again each time. */
static int lane_register(struct taio *e, struct lane *lane, int fd, unsigned int side)
{
	uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	int rc;

	if (lane->always || (lane->registered && !lane->poll_first))
		return 0;
	if (lane->poll_first) {
		/* One shot: what nobody waits for must not use it up. */
		unsigned int sides = lane->waiting | 1u << side;

		events = EPOLLONESHOT | (sides & 1 ? EPOLLIN | EPOLLRDHUP : 0) |
			 (sides & 2 ? EPOLLOUT : 0);
	}
	rc = wait_add_fd(e, fd, events, (uint64_t)(uint32_t)fd, lane->registered);
	if (rc == -EPERM) {
		lane->always = 1; /* a regular file, /dev/null: never waits */
		return 0;
	}
	if (rc == 0)
		lane->registered = 1;
	return rc;
}

int lane_wait(struct taio *e, struct request *r, int fd, unsigned int side)
{
	struct lane *lane;
	int rc;

	assert(side < 2 && e->lanes && fd >= 0);
	lane = &e->lanes[fd];
	rc = lane_register(e, lane, fd, side);
	if (rc)
		return rc;
	if (lane->always || (lane->seen & (1u << side))) {
		if (lane->always)
			lane->seen |= (uint8_t)(1u << side);
		else if (!lane->poll_first)
			lane->seen &= (uint8_t) ~(1u << side);
		engine_make_ready(e, r);
		return 0;
	}
	lane->waiting |= (uint8_t)(1u << side);
	r->wait_fd = fd;
	request_set_state(r, REQUEST_WAIT_FD);
	e->lane_waits++;
	return 0;
}

/* Control steps (connect, accept) wait on descriptors that are no end of the request yet. */
int lane_attach(struct taio *e, struct request *r, int fd, unsigned int side)
{
	struct lane *lane;
	int rc = lane_table(e);

	if (rc)
		return rc;
	if (fd < 0 || (uint32_t)fd >= ENGINE_LANES_MAX)
		return -EMFILE;
	lane = &e->lanes[fd];
	if (lane->users == 0) {
		lane->users = 1;
		lane->head[side] = lane->tail[side] = request_index(&e->pool, r) + 1;
	}
	return 0;
}

void lane_detach(struct taio *e, int fd)
{
	if (e->lanes && fd >= 0 && (uint32_t)fd < ENGINE_LANES_MAX && e->lanes[fd].users)
		lane_drop(e, &e->lanes[fd], fd);
}

void lane_unwait(struct taio *e, struct request *r)
{
	struct lane *lane = &e->lanes[r->wait_fd];
	uint32_t me = request_index(&e->pool, r) + 1;

	assert(r->state == REQUEST_WAIT_FD && e->lane_waits > 0);
	e->lane_waits--;
	for (unsigned int side = 0; side < 2; side++)
		if (lane->head[side] == me)
			lane->waiting &= (uint8_t) ~(1u << side);
}

void lane_ready(struct taio *e, int fd, uint32_t epoll_events)
{
	struct lane *lane;
	unsigned int sides = 0;

	if (!e->lanes || (uint32_t)fd >= ENGINE_LANES_MAX)
		return;
	lane = &e->lanes[fd];
	if (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		sides |= 1;
	if (epoll_events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		sides |= 2;
	for (unsigned int side = 0; side < 2; side++) {
		struct request *r;

		if (!(sides & (1u << side)))
			continue;
		lane->seen |= (uint8_t)(1u << side);
		if (!(lane->waiting & (1u << side)) || !lane->head[side])
			continue;
		r = engine_request(e, lane->head[side] - 1);
		lane->waiting &= (uint8_t) ~(1u << side);
		if (!lane->poll_first)
			lane->seen &= (uint8_t) ~(1u << side);
		if (r->state == REQUEST_WAIT_FD) {
			e->lane_waits--;
			engine_make_ready(e, r);
		}
	}
}
