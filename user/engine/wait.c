/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * wait.c: the one place where an engine sleeps. With nothing but ring steps in flight it sleeps in
 * the ring itself (one system call submits and waits); else in an epoll set that holds the streams,
 * the workers' descriptor, the rings and the policy's control socket.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"

/* What an epoll event belongs to: the number of a stream's descriptor, or one of these. */
#define WAIT_SOMEBODY (1ULL << 32) /* workers, rings, control socket: only wake up */
#define WAIT_TIMER    (2ULL << 32)
#define WAIT_WAKE     (3ULL << 32)

#define WAIT_EVENTS   64
#define WAIT_SLEPT_NS 3000 /* a call that took longer did sleep */

int wait_open(struct taio *e)
{
	if (e->epoll_fd >= 0)
		return 0;
	e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return e->epoll_fd < 0 ? -errno : 0;
}

void wait_close(struct taio *e)
{
	if (e->epoll_fd >= 0)
		close(e->epoll_fd);
	if (e->timer_fd >= 0)
		close(e->timer_fd);
	if (e->wake_fd >= 0)
		close(e->wake_fd);
	e->epoll_fd = e->timer_fd = e->wake_fd = -1;
}

int wait_add_fd(struct taio *e, int fd, uint32_t events, uint64_t data, bool again)
{
	struct epoll_event event = { .events = events, .data.u64 = data };
	int rc = wait_open(e);

	if (rc)
		return rc;
	if (epoll_ctl(e->epoll_fd, again ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0)
		return 0;
	if (errno == EEXIST && epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0)
		return 0;
	return -errno;
}

void wait_remove_fd(struct taio *e, int fd)
{
	if (e->epoll_fd >= 0)
		(void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* closed: gone already */
}

void wait_flush(struct taio *e)
{
	for (uint64_t left = e->open_async; left; left &= left - 1) {
		struct taio_device *device = &e->device[__builtin_ctzll(left)];

		if (device->driver->wait)
			(void)device->driver->wait(device, 0);
	}
}

/* Workers, rings and the control socket are looked at after each wake-up anyhow. */
static int wait_add_others(struct taio *e)
{
	int rc = wait_open(e), fd;

	if (rc)
		return rc;
	for (uint64_t left = e->open_async & ~e->epoll_devices; left; left &= left - 1) {
		unsigned int n = (unsigned int)__builtin_ctzll(left);
		const struct taio_driver *driver = e->device[n].driver;

		e->epoll_devices |= 1ULL << n;
		fd = driver->fd ? driver->fd(&e->device[n]) : -1;
		if (fd >= 0)
			(void)wait_add_fd(e, fd, EPOLLIN, WAIT_SOMEBODY, false);
	}
	if (e->workers_ready && e->workers.event_fd >= 0 && !e->workers.registered &&
	    wait_add_fd(e, e->workers.event_fd, EPOLLIN, WAIT_SOMEBODY, false) == 0)
		e->workers.registered = 1;
	fd = policy_fd(e->policy);
	if (fd >= 0 && fd != e->policy_fd && wait_add_fd(e, fd, EPOLLIN, WAIT_SOMEBODY, false) == 0)
		e->policy_fd = fd;
	return 0;
}

static int wait_epoll(struct taio *e, const struct timespec *limit)
{
	struct epoll_event events[WAIT_EVENTS];
	long n;

	n = syscall(SYS_epoll_pwait2, e->epoll_fd, events, WAIT_EVENTS, limit, NULL, 0);
	if (n < 0 && errno == ENOSYS) { /* before 5.11 */
		int ms = !limit ? -1
				: (int)(limit->tv_sec * 1000 + (limit->tv_nsec + 999999) / 1000000);

		n = epoll_wait(e->epoll_fd, events, WAIT_EVENTS, ms);
	}
	if (n < 0)
		return -errno;
	e->looked_ns = e->now_ns;
	for (long i = 0; i < n; i++) {
		uint64_t data = events[i].data.u64, count;
		ssize_t got = 0;

		if (data < WAIT_SOMEBODY)
			lane_ready(e, (int)data, events[i].events);
		else if (data == WAIT_SOMEBODY)
			e->told = true;
		else if (data == WAIT_TIMER)
			got = read(e->timer_fd, &count, sizeof(count));
		else if (data == WAIT_WAKE)
			got = read(e->wake_fd, &count, sizeof(count));
		(void)got;
	}
	return 0;
}

/* The ring on whose completions everything waits, if there is just one. */
static struct taio_device *wait_only_ring(struct taio *e)
{
	struct taio_device *first = NULL;

	if (!e->in_flight || e->lane_waits || e->workers.in_flight)
		return NULL;
	for (uint64_t left = e->open_async; left; left &= left - 1) {
		struct taio_device *device = &e->device[__builtin_ctzll(left)];

		if (!device->driver->wait || !device->driver->fd)
			return NULL;
		if (!first)
			first = device;
		else if (device->driver->fd(device) != first->driver->fd(first))
			return NULL;
	}
	return first;
}

/* A completion that had come before would not have let it sleep. */
static void wait_is_over(struct taio *e, uint64_t since_ns)
{
	if (e->held_ns && clock_ns() - since_ns > WAIT_SLEPT_NS)
		e->held_ns = 0;
}

int wait_for(struct taio *e, uint64_t until_ns)
{
	struct taio_device *ring = wait_only_ring(e);
	uint64_t now = clock_ns();
	struct timespec limit, *limit_at = NULL;
	int64_t left = until_ns == UINT64_MAX ? -1
		       : until_ns <= now      ? 0
					      : (int64_t)(until_ns - now);
	int rc;

	if (ring) {
		/* The control socket is looked at once in a while, as each turn does. */
		int64_t slice = 100 * 1000 * 1000;

		rc = ring->driver->wait(ring, left < 0 || left > slice ? slice : left);
		wait_is_over(e, now);
		return rc == -EINTR ? rc : 0;
	}
	rc = wait_add_others(e);
	if (rc)
		return rc;
	wait_flush(e);
	if (workers_sleep(&e->workers))
		left = 0;
	if (left >= 0) {
		limit.tv_sec = left / 1000000000;
		limit.tv_nsec = left % 1000000000;
		limit_at = &limit;
	}
	rc = wait_epoll(e, limit_at);
	wait_is_over(e, now);
	workers_awake(&e->workers);
	return rc == -EINTR ? rc : 0;
}

/* What became ready since the last look, without sleeping: for callers that do not wait. */
void wait_poll(struct taio *e)
{
	static const struct timespec zero;

	if (e->epoll_fd >= 0 && (e->embedded || e->lane_waits)) {
		(void)wait_epoll(e, &zero);
		workers_awake(&e->workers);
	}
}

/* Between calls somebody else sleeps on epoll_fd: everything that could wake us must be in it. */
void wait_leave(struct taio *e)
{
	uint64_t next = timer_next(e), one = 1;
	struct itimerspec when = { 0 };
	bool wake;
	ssize_t n = 0;

	if (!e->embedded || wait_add_others(e))
		return;
	wait_flush(e);
	wake = workers_sleep(&e->workers) || e->event_count || e->ready_mask;
	if (wake)
		n = write(e->wake_fd, &one, sizeof(one));
	(void)n;
	if (next != UINT64_MAX) {
		when.it_value.tv_sec = (time_t)(next / 1000000000);
		when.it_value.tv_nsec = (long)(next % 1000000000);
	}
	(void)timerfd_settime(e->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

int wait_embed(struct taio *e)
{
	int rc = wait_open(e);

	if (rc || e->embedded)
		return rc;
	e->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (e->timer_fd < 0)
		return -errno;
	e->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->wake_fd < 0)
		return -errno;
	rc = wait_add_fd(e, e->timer_fd, EPOLLIN, WAIT_TIMER, false);
	if (rc == 0)
		rc = wait_add_fd(e, e->wake_fd, EPOLLIN, WAIT_WAKE, false);
	if (rc == 0)
		e->embedded = true;
	return rc;
}
