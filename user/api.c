/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* api.c: opening and closing an engine, requests and events: the public calls that run it. What it
 * can tell about itself is in api_info.c. */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/ring.h"
#include "util/clock.h"
#include "util/memroute.h"

#define API_REQUESTS     4096
#define API_REQUESTS_MAX (1u << 20)
#define API_INLINE_BYTES 1024         /* pointer copies up to here bypass everything */
#define API_NOW_BYTES    (1ULL << 20) /* ... up to here run within the call */
#define API_SPIN_TURNS   32           /* turns of a busy poll between two yields */

static void api_host_log(struct taio_host *host, const char *line)
{
	struct taio *e = (struct taio *)(void *)((char *)host - offsetof(struct taio, host));

	engine_log(e, "%s", line);
}

static void api_policy_log(void *arg, const char *line)
{
	engine_log(arg, "%s", line);
}

static uint32_t api_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (uint32_t)CPU_COUNT(&set);
}

static mode_t api_umask(void)
{
	/* Reading it means setting it: another thread that creates a file in between sees 077,
	 * the careful side. */
	mode_t mask = umask(077);

	umask(mask);
	return mask;
}

static int api_check_options(const struct taio_engine_options *o)
{
	if (o->size != sizeof(*o))
		return -EINVAL;
	if (o->requests > API_REQUESTS_MAX || o->workers > WORKERS_MAX || o->reserved ||
	    o->flags >= TAIO_HEDGE << 1)
		return -EINVAL;
	return 0;
}

static void *api_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static size_t api_slab_size(uint32_t requests)
{
	return 65536 + (size_t)requests * 2048;
}

static int api_open_memory(struct taio *e, uint32_t requests)
{
	int rc = request_pool_open(&e->pool, requests);

	if (rc == 0)
		rc = slab_open(&e->slab, api_slab_size(requests));
	if (rc)
		return rc;
	e->event_capacity = requests;
	e->events = api_map(requests * sizeof(*e->events));
	e->steps = api_map(ENGINE_STEPS_MAX * sizeof(*e->steps));
	e->timers = api_map(requests * sizeof(*e->timers));
	e->picker = api_map(sizeof(*e->picker));
	return e->events && e->steps && e->timers && e->picker ? 0 : -ENOMEM;
}

static int api_open_parts(struct taio *e, const struct taio_engine_options *o)
{
	struct policy_options policy = {
		.name = o->policy, .engine_flags = o->flags, .log = api_policy_log, .arg = e
	};
	int rc = api_open_memory(e, o->requests ? o->requests : API_REQUESTS);

	if (rc)
		return rc;
	rc = policy_open(&e->policy, &policy, e->refusal, sizeof(e->refusal));
	if (rc) {
		engine_log(e, "policy: %s", e->refusal);
		return rc;
	}
	pick_init(e->picker, policy_maps(e->policy));
	rc = device_table_open(e);
	if (rc == 0)
		rc = workers_open(&e->workers, e->worker_limit, e->device_at);
	if (rc == 0)
		e->workers_ready = true;
	if (rc == 0 && o->pin)
		rc = device_mask(e, o->pin, &e->pin);
	if (rc == 0 && o->forbid)
		rc = device_mask(e, o->forbid, &e->forbid);
	return rc == -ENODEV ? -EINVAL : rc;
}

static void api_free(struct taio *e)
{
	if (e->workers_ready)
		workers_close(&e->workers);
	device_table_close(e);
	policy_close(e->policy);
	wait_close(e);
	speeds_close(&e->speeds);
	free((void *)(uintptr_t)e->host.buffers);
	for (uint32_t i = 0; i < e->host.file_count; i++)
		if (e->files[i] >= 0)
			close(e->files[i]);
	if (e->picker)
		munmap(e->picker, sizeof(*e->picker));
	if (e->timers)
		munmap(e->timers, e->event_capacity * sizeof(*e->timers));
	if (e->steps)
		munmap(e->steps, ENGINE_STEPS_MAX * sizeof(*e->steps));
	if (e->events)
		munmap(e->events, e->event_capacity * sizeof(*e->events));
	if (e->lanes)
		munmap(e->lanes, (size_t)ENGINE_LANES_MAX * sizeof(*e->lanes));
	slab_close(&e->slab);
	request_pool_close(&e->pool);
	munmap(e, sizeof(*e));
}

int taio_open(struct taio **ret_engine, const struct taio_engine_options *options)
{
	struct taio_engine_options none = { .size = sizeof(none) };
	const struct taio_engine_options *o = options ? options : &none;
	struct taio *e;
	int rc;

	if (!ret_engine || api_check_options(o))
		return -EINVAL;
	e = api_map(sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->epoll_fd = e->timer_fd = e->wake_fd = e->policy_fd = -1;
	e->flags = o->flags;
	e->umask = api_umask();
	e->undelivered = o->undelivered;
	e->log = o->log;
	e->arg = o->arg;
	e->host.now_ns = clock_ns;
	e->host.log = api_host_log;
	e->host.cores = api_cores();
	e->host.engine_flags = o->flags;
	e->host.requests = o->requests ? o->requests : API_REQUESTS;
	e->worker_limit = o->workers ? o->workers : e->host.cores > 2 ? e->host.cores : 2;
	if (o->flags & TAIO_NO_WORKERS)
		e->worker_limit = 0;
	request_queue_init(&e->room);
	for (unsigned int i = 0; i < ENGINE_PRIORITIES; i++)
		request_queue_init(&e->ready[i]);
	e->now_ns = e->tick_ns = e->opened_ns = clock_ns();
	rc = api_open_parts(e, o);
	if (rc) {
		api_free(e);
		return rc;
	}
	*ret_engine = e;
	return 0;
}

static void api_hand_over(struct taio *e)
{
	struct taio_event event;

	while (event_take(e, &event, 1))
		if (e->undelivered)
			e->undelivered(e->arg, &event);
}

static void api_cancel_all(struct taio *e)
{
	for (uint32_t i = 0; i < e->pool.used; i++)
		if (e->pool.slots[i].state != REQUEST_FREE)
			engine_cancel(e, &e->pool.slots[i], -ECANCELED);
}

void taio_close(struct taio *e)
{
	if (!e)
		return;
	e->stopping = true;
	api_cancel_all(e);
	while (e->pool.busy) {
		engine_turn(e);
		api_hand_over(e);
		if (e->pool.busy && !e->ready_mask)
			(void)wait_for(e, e->now_ns + 100 * 1000 * 1000);
	}
	api_hand_over(e);
	learn_save(e);
	api_free(e);
}

int taio_fd(struct taio *e)
{
	int rc = wait_embed(e);

	if (rc)
		return rc;
	wait_leave(e);
	return e->epoll_fd;
}

/* ---- requests ---- */

int taio_copy(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
	      const struct taio_options *options, uint64_t cookie)
{
	if (e->stopping)
		return -ESHUTDOWN;
	if (!from || !to)
		return -EFAULT;
	return accept_request(e, from, to, options, cookie);
}

int taio_schedule_pointer(struct taio *e, const void *from, void *to, size_t len, uint64_t cookie)
{
	struct taio_endpoint source, sink;

	if (len <= API_INLINE_BYTES && from && to && !e->stopping) {
		if (e->pool.busy + e->event_count >= e->pool.capacity)
			return -EAGAIN;
		memcpy(to, from, len);
		event_push_inline(e, cookie, len, 0, 0, TAIO_EVENT_INLINE);
		return 0;
	}
	source = taio_memory(from, len);
	sink = taio_memory(to, len);
	if (len <= API_NOW_BYTES && from && to && !e->stopping && !e->pin && !e->forbid)
		return pointer_now(e, &source, &sink, cookie);
	return taio_copy(e, &source, &sink, NULL, cookie);
}

int taio_schedule_file_socket(struct taio *e, const char *path, int fd, uint64_t cookie)
{
	struct taio_endpoint source = taio_path(path), sink = taio_descriptor(fd);

	return taio_copy(e, &source, &sink, NULL, cookie);
}

int taio_schedule_file_addr(struct taio *e, const char *path, const char *address, uint64_t cookie)
{
	struct taio_endpoint source = taio_path(path), sink = taio_address(address);

	return taio_copy(e, &source, &sink, NULL, cookie);
}

int taio_schedule_send_messages(struct taio *e, struct taio_message *messages, size_t count,
				const struct taio_endpoint *to, const struct taio_options *options,
				uint64_t cookie)
{
	struct taio_endpoint source = taio_messages(messages, count);

	return taio_copy(e, &source, to, options, cookie);
}

int taio_schedule_receive_messages(struct taio *e, const struct taio_endpoint *from,
				   struct taio_message *messages, size_t count,
				   const struct taio_options *options, uint64_t cookie)
{
	struct taio_endpoint sink = taio_messages(messages, count);

	return taio_copy(e, from, &sink, options, cookie);
}

int taio_cancel(struct taio *e, uint64_t cookie)
{
	int found = 0;

	e->now_ns = clock_ns();
	for (uint32_t i = 0; i < e->pool.used; i++) {
		struct request *r = &e->pool.slots[i];

		if (r->state != REQUEST_FREE && r->cookie == cookie && !r->error &&
		    !r->cancelled_late) {
			engine_cancel(e, r, -ECANCELED);
			found++;
		}
	}
	return found;
}

unsigned int taio_pending(const struct taio *e)
{
	return e->pool.busy + e->event_count;
}

/* ---- events ---- */

static uint64_t api_until(const struct taio *e, int64_t timeout_ns)
{
	if (timeout_ns < 0 || (uint64_t)timeout_ns > UINT64_MAX / 2)
		return UINT64_MAX;
	return e->now_ns + (uint64_t)timeout_ns;
}

static void api_poll(struct taio *e, unsigned int *spins)
{
	/* Looking at the streams costs a call; whoever owns them may need this very core: see the
	 * busy-poll trap in docs/architecture.md. */
	wait_flush(e);
	if (++*spins % API_SPIN_TURNS == 0) {
		(void)wait_for(e, 0);
		sched_yield();
	}
}

static int api_wait(struct taio *e, uint64_t until, unsigned int *spins)
{
	uint64_t next = timer_next(e);

	if (e->ready_mask) {
		/* A ring learns of its steps when somebody waits, which now nobody does. */
		if (e->in_flight)
			wait_flush(e);
		return 0;
	}
	if (e->flags & TAIO_BUSY_POLL) {
		api_poll(e, spins);
		return 0;
	}
	return wait_for(e, next < until ? next : until);
}

int taio_get_events(struct taio *e, struct taio_event *events, unsigned int min, unsigned int max,
		    int64_t timeout_ns)
{
	unsigned int n, spins = 0;
	uint64_t until, done;

	if (min > max || (max && !events))
		return -EINVAL;
	/* Enough is there already, pointer copies that were done at once, and nothing else to do. */
	if (e->event_count >= max && max && !e->pool.busy)
		return (int)event_take(e, events, max);
	e->blocking_call = min > 0 && (timeout_ns < 0 || timeout_ns > 1000000000);
	if (timeout_ns == 0 || e->embedded)
		wait_poll(e);
	engine_turn(e);
	until = api_until(e, timeout_ns);
	n = event_take(e, events, max);
	while (n < min && e->pool.busy) {
		int rc;

		if (e->now_ns >= until)
			break;
		rc = api_wait(e, until, &spins);
		done = e->steps_done;
		engine_turn(e);
		n += event_take(e, events + n, max - n);
		/* The kernel also interrupts a sleep to finish what a ring has in flight; then a step
		 * has come back, and nobody sent a signal. */
		if (rc == -EINTR && e->steps_done == done) {
			if (n)
				break;
			e->blocking_call = false;
			return -EINTR;
		}
	}
	/* Nobody waits here now: what was gathered must not wait either. */
	if (e->in_flight)
		wait_flush(e);
	e->blocking_call = false;
	wait_leave(e);
	return (int)n;
}
