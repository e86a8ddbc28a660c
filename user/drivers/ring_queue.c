/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_queue.c: the two queues of the ring: what is told to the kernel and when, waiting, how
 * completions become finished steps, and cancelling. What an entry means is not known here: a
 * completion without a function of its own is the result of its step.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <signal.h>
#include <time.h>

#define QUICK_TRY      64U        /* every so many waits, see ring_tell_quick() */
#define COARSE_NS      8000000ULL /* the coarse clock is not behind by more */
#define TIMER_LEAST_NS 50000000   /* shorter waits have a timer of their own */

/* ---- telling and waiting --------------------------------------------------------------------- */

static inline bool ring_has_completion(const struct ring *ring)
{
	return ring->head != io_uring_smp_load_acquire(ring->uring.cq.ktail);
}

/* Completions wait inside the kernel for a call that lets them out (DEFER_TASKRUN). */
static inline bool ring_has_task_work(const struct ring *ring)
{
	return (IO_URING_READ_ONCE(*ring->uring.sq.kflags) &
		(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

/* Entries of which the kernel does not know yet. */
static inline uint32_t ring_untold(struct ring *ring)
{
	struct io_uring_sq *sq = &ring->uring.sq;

	io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
	return sq->sqe_tail - IO_URING_READ_ONCE(*sq->khead);
}

static inline void ring_told(struct ring *ring)
{
	ring->continued = 0;
	if (ring->uring.sq.sqe_tail == IO_URING_READ_ONCE(*ring->uring.sq.khead))
		ring->cancels = 0;
}

/*
 * Completions of all devices are worked off whoever asks. As long as another device has finished
 * steps, the kernel is told of one completion less than was seen: so the descriptor stays readable
 * and a wait ends at once, and nobody sleeps over a step that nobody has asked for. (The queue has
 * more room than it can ever need, so the place that is not given back is not missed.)
 */
void ring_show(struct ring *ring)
{
	io_uring_smp_store_release(ring->uring.cq.khead, ring->head - (ring->has_done != 0));
	if (ring->has_done && ring->event_fd >= 0)
		(void)eventfd_write(ring->event_fd, 1);
}

/*
 * With deferred task work the kernel does not wake those who poll the ring itself when work comes
 * in for it (seen on 6.18: a send that waited for its socket was ready and nobody was told), but it
 * does signal an event descriptor. So that is what is polled; whoever only waits in the ring never
 * pays for it.
 */
void ring_signal_descriptor(struct ring *ring)
{
	if (ring->event_fd >= 0 && io_uring_register_eventfd(&ring->uring, ring->event_fd) == 0)
		(void)eventfd_write(ring->event_fd, 1); /* what happened before counts, too */
}

int ring_descriptor(struct ring *ring)
{
	if (ring->event_fd < 0) {
		ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ring_signal_descriptor(ring);
	}
	return ring->event_fd >= 0 ? ring->event_fd : ring->uring.ring_fd;
}

/* Before looking for completions: a signal that comes from now on is not lost. */
static void ring_hear(struct ring *ring)
{
	eventfd_t count;

	if (ring->event_fd >= 0)
		(void)eventfd_read(ring->event_fd, &count);
}

/* Another thread's ring with work in it: only that thread can tell the kernel anything. What is
 * finished can still be seen here. */
static int ring_wait_elsewhere(struct ring *ring, int64_t timeout_ns)
{
	struct pollfd poll_fd = { .fd = ring->uring.ring_fd, .events = POLLIN };

	if (!ring->moved && ring->host->log)
		ring->host->log(ring->host, "io_uring: the engine changed its thread with work in "
					    "flight; it goes on when that thread calls or ends");
	ring->moved = 1;
	if (timeout_ns != 0)
		(void)poll(&poll_fd, 1, timeout_ns < 0 || timeout_ns > 10000000 ? 10 : 1);
	return 0;
}

int ring_tell(struct ring *ring)
{
	const uint32_t untold = ring_untold(ring);
	unsigned int flags = ring_has_task_work(ring) ? IORING_ENTER_GETEVENTS : 0;
	int rc;

	if (!untold && !flags) {
		ring->continued = 0;
		return 0;
	}
	rc = io_uring_enter(ring->uring.ring_fd, untold, 0, flags, NULL);
	ring_told(ring);
	if (rc == -EEXIST)
		return ring_wait_elsewhere(ring, 0);
	/* -EAGAIN and -EBUSY: the entries stay and are told of the next time */
	return rc == -EINTR ? -EINTR : 0;
}

static uint64_t ring_coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * Entries that the kernel can finish at once (cached reads) need no wait, and telling without one
 * is a tenth of a microsecond cheaper. Whether it will be so is taken from the last time; where it
 * was not so, it is tried again now and then. Return: whether there is a completion.
 */
static bool ring_tell_quick(struct ring *ring)
{
	if (!ring->quick && ++ring->waits % QUICK_TRY)
		return false;
	(void)ring_tell(ring);
	ring->quick = ring_has_completion(ring);
	return ring->quick;
}

/*
 * To arm a timer for each sleep costs half a microsecond in a virtual machine, as much as the rest
 * of the call. So a long wait is ended by a timer in the ring, which stays for the waits after it:
 * they end early then, once. Return: whether the wait needs no timer of its own.
 */
static bool ring_timer(struct ring *ring, uint64_t now_ns, int64_t timeout_ns)
{
	struct __kernel_timespec limit = { .tv_sec = timeout_ns / 1000000000,
					   .tv_nsec = timeout_ns % 1000000000 };
	struct io_uring_sqe *sqe;

	if (timeout_ns < TIMER_LEAST_NS)
		return timeout_ns < 0;
	if (ring->timer_ns)
		return ring->timer_ns <= now_ns + (uint64_t)timeout_ns;
	if (ring->cancels >= RING_SPARE)
		return false;
	ring->timer_limit = limit;
	sqe = ring_sqe(ring);
	io_uring_prep_timeout(sqe, &ring->timer_limit, 0, 0);
	io_uring_sqe_set_data64(sqe, RING_TIMER);
	ring->cancels++;
	ring->timer_ns = now_ns + (uint64_t)timeout_ns;
	return true;
}

/* If the first completion is the timer's: takes it. */
static bool ring_timer_is_over(struct ring *ring)
{
	const struct io_uring_cq *cq = &ring->uring.cq;

	if (!ring->timer_ns || cq->cqes[ring->head & cq->ring_mask].user_data != RING_TIMER)
		return false;
	ring->timer_ns = 0;
	ring->head++;
	ring_show(ring);
	return true;
}

/* Return: 0, -EINTR, -ETIME, -EEXIST. */
static int ring_sleep(struct ring *ring, int64_t timeout_ns)
{
	struct __kernel_timespec limit = { .tv_sec = timeout_ns / 1000000000,
					   .tv_nsec = timeout_ns % 1000000000 };
	struct io_uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8,
					      .ts = (uint64_t)(uintptr_t)&limit };
	const uint64_t start_ns = ring_coarse_ns();
	const bool timed = ring_timer(ring, start_ns, timeout_ns);
	const uint32_t untold = ring_untold(ring);
	int rc;

	if (timed)
		rc = io_uring_enter(ring->uring.ring_fd, untold, 1, IORING_ENTER_GETEVENTS, NULL);
	else
		rc = io_uring_enter2(ring->uring.ring_fd, untold, 1,
				     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
				     (sigset_t *)&arg, sizeof(arg));
	ring_told(ring);
	if (ring_has_completion(ring)) {
		if (!ring_timer_is_over(ring) || ring_has_completion(ring))
			return 0;
		/* it may be the timer of an earlier wait */
		return ring_coarse_ns() + COARSE_NS - start_ns < (uint64_t)timeout_ns ? 0 : -ETIME;
	}
	if (rc <= 0 || rc != (int)untold)
		return rc == -EINTR || rc == -ETIME || rc == -EEXIST ? rc : 0;
	/* It told and then waited in vain, and the kernel reports the first of the two: the clock
	 * says whether a signal cut it short. */
	if (timed || ring_coarse_ns() + COARSE_NS - start_ns < (uint64_t)timeout_ns)
		return -EINTR;
	return 0;
}

int ring_wait(struct ring *ring, int64_t timeout_ns)
{
	int rc;

	if (ring->broken)
		return 0;
	if (timeout_ns == 0 || ring->has_done || ring_has_completion(ring))
		return ring_tell(ring);
	if (ring_tell_quick(ring))
		return 0;
	rc = ring_sleep(ring, timeout_ns);
	return rc == -EEXIST ? ring_wait_elsewhere(ring, timeout_ns) : rc;
}

/* ---- completions ----------------------------------------------------------------------------- */

void ring_finish(struct ring *ring, enum ring_device device, struct taio_step *step)
{
	struct ring_list *list;

	assert(device < RING_DEVICES);
	list = &ring->done[device];
	step->priv[RING_PRIV_CANCEL] = 1; /* too late: what it names is another step's by now */
	step->next = NULL;
	if (ring->has_done & (1U << device))
		list->tail->next = step;
	else
		list->head = step;
	list->tail = step;
	ring->has_done |= (uint8_t)(1U << device);
}

static int ring_take(struct ring *ring, enum ring_device device, struct taio_step **done, int n,
		     int max)
{
	struct ring_list *list = &ring->done[device];

	while ((ring->has_done & (1U << device)) && n < max) {
		done[n] = list->head;
		list->head = list->head->next;
		done[n++]->next = NULL;
		if (!list->head)
			ring->has_done &= (uint8_t) ~(1U << device);
	}
	return n;
}

static int ring_drain(struct ring *ring, enum ring_device device, struct taio_step **done, int n,
		      int max)
{
	const struct io_uring_cq *cq = &ring->uring.cq;
	const uint32_t tail = io_uring_smp_load_acquire(cq->ktail);
	uint32_t head = ring->head;

	while (head != tail && n < max) {
		const struct io_uring_cqe *cqe = &cq->cqes[head++ & cq->ring_mask];
		const uint64_t data = cqe->user_data;
		struct ring_op *op = &ring->ops[(uint32_t)data];
		struct taio_step *step;
		int32_t res;

		if (data >= RING_TIMER) {
			if (data == RING_TIMER)
				ring->timer_ns = 0;
			continue;
		}
		if ((uint32_t)data >= ring->slots || op->generation != data >> 32) {
			/* A zero-copy send that was cancelled behind a failed link completes
			 * without IORING_CQE_F_MORE and then is notified of all the same (seen
			 * on 6.18); it had not begun, so nobody waits for that. */
			ring->strays += !(cqe->flags & IORING_CQE_F_NOTIF);
			continue;
		}
		if (op->done) {
			op->done(ring, op, cqe->res, cqe->flags);
			continue;
		}
		step = op->step;
		res = cqe->res;
		if (res < 0) {
			if (ring_plain_retry(ring, op, &res))
				continue;
			step->failed_side = ring_plain_side(step);
		}
		step->result = res;
		if (op->device == device)
			done[n++] = step;
		else
			ring_finish(ring, op->device, step);
		ring_op_put(ring, op);
		ring->room++;
	}
	ring->head = head;
	return n;
}

int ring_reap(struct ring *ring, enum ring_device device, struct taio_step **done, int max)
{
	int n = 0;

	assert(max > 0);
	if (ring->broken)
		return 0;
	ring_hear(ring);
	if (ring->has_done & (1U << device))
		n = ring_take(ring, device, done, n, max);
	n = ring_drain(ring, device, done, n, max);
	if (n == 0 && !ring->has_done && ring_has_task_work(ring)) {
		(void)ring_tell(ring);
		n = ring_drain(ring, device, done, n, max);
	}
	if (ring->has_done & (1U << device))
		n = ring_take(ring, device, done, n, max);
	ring_show(ring);
	if (ring->continued)
		(void)ring_tell(ring);
	return n;
}

/* ---- cancelling ------------------------------------------------------------------------------ */

void ring_cancel_op(struct ring *ring, const struct ring_op *op)
{
	struct io_uring_sqe *sqe;

	/* The other entries are promised to steps. If the kernel takes none now (no memory), the
	 * operation ends by itself or not at all, as without a cancellation. */
	if (ring->cancels >= RING_SPARE && (ring_tell(ring) || ring->cancels >= RING_SPARE))
		return;
	sqe = ring_sqe(ring);
	ring->cancels++;
	io_uring_prep_cancel64(sqe, ring_op_data(ring, op), 0);
	io_uring_sqe_set_data64(sqe, RING_NOBODY);
}

void ring_cancel(struct ring *ring, struct taio_step *step)
{
	const uint64_t flow = step->priv[RING_PRIV_FLOW];

	if (step->priv[RING_PRIV_CANCEL])
		return;
	step->priv[RING_PRIV_CANCEL] = 1;
	if (flow == RING_SENDS)
		ring_zc_cancel(ring, step);
	else if (flow)
		ring_flow_cancel(ring, (struct ring_flow *)(uintptr_t)flow);
	else if (ring->ops[step->priv[RING_PRIV_OP]].step == step)
		ring_cancel_op(ring, &ring->ops[step->priv[RING_PRIV_OP]]);
}
