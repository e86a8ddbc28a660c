/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring.c: the one io_uring of an engine: whether it is permitted, how it is made, what is told to
 * the kernel and when, and how completions become finished steps. What an entry means is not known
 * here: a completion without a function of its own is the result of its step.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#define SETUP_NEEDED IORING_SETUP_CQSIZE
#define SETUP_COOP   (IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)
#define SETUP_DEFER  (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define FEATURES_NEEDED                                                        \
	(IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS | IORING_FEAT_FAST_POLL | \
	 IORING_FEAT_EXT_ARG) /* all of them since 5.11 */

#define QUICK_TRY 64U        /* every so many waits, see ring_tell_quick() */
#define COARSE_NS 8000000ULL /* the coarse clock is not behind by more */

/* Rings by engine. An engine has one thread, engines have several: hence the lock. */
static struct ring *rings;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- permission ------------------------------------------------------------------------------ */

static int ring_sysctl(void)
{
	char text[16];
	ssize_t n;
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return atoi(text);
}

static int ring_refused(struct taio_device *dev, int error)
{
	const size_t size = sizeof(dev->reason);

	assert(error < 0);
	switch (-error) {
	case EPERM:
	case EACCES:
		if (ring_sysctl() > 0)
			snprintf(dev->reason, size,
				 "io_uring is switched off: sysctl kernel.io_uring_disabled=%d",
				 ring_sysctl());
		else
			snprintf(dev->reason, size,
				 "io_uring is forbidden to this process (seccomp or LSM): %s",
				 strerror(-error));
		break;
	case ENOSYS:
		snprintf(dev->reason, size, "this kernel has no io_uring, or seccomp pretends so");
		break;
	case ENOMEM:
		snprintf(dev->reason, size,
			 "no memory for an io_uring (RLIMIT_MEMLOCK before 5.12, or cgroup limit)");
		break;
	case EMFILE:
	case ENFILE:
		snprintf(dev->reason, size, "no descriptor left for an io_uring: %s",
			 strerror(-error));
		break;
	default:
		snprintf(dev->reason, size, "io_uring_setup: %s", strerror(-error));
	}
	return error;
}

/*
 * The kernel asks whether a ring is permitted before it looks at the parameters: a call without
 * them costs a tenth of a microsecond, makes nothing, and says EFAULT where a ring can be had.
 */
int ring_probe(struct taio_device *dev)
{
	if (dev->host && (dev->host->engine_flags & TAIO_NO_URING)) {
		snprintf(dev->reason, sizeof(dev->reason),
			 "io_uring is switched off (TAIO_NO_URING)");
		return -EPERM;
	}
	if (syscall(__NR_io_uring_setup, 1, NULL) < 0 && errno == EFAULT)
		return 0;
	return ring_refused(dev, errno ? -errno : -EINVAL);
}

/* ---- making ---------------------------------------------------------------------------------- */

/* Entries of the submission queue: steps and cancellations of an engine of this size. */
static uint32_t ring_entries(const struct taio_host *host)
{
	uint32_t wanted = host->requests + RING_SPARE, entries = 2 * RING_SPARE;

	while (entries < wanted && entries < RING_SLOTS_MAX)
		entries *= 2;
	return entries;
}

/* io_uring_queue_init_params() without the writes to an array that a NO_SQARRAY ring lacks. */
static int ring_setup(struct ring *ring)
{
	static const uint32_t attempts[] = {
		SETUP_NEEDED | SETUP_COOP | SETUP_DEFER | IORING_SETUP_NO_SQARRAY, /* 6.6 */
		SETUP_NEEDED | SETUP_COOP | SETUP_DEFER,                           /* 6.1 */
		SETUP_NEEDED | SETUP_COOP,                                         /* 5.19 */
		SETUP_NEEDED,
	};
	const uint32_t entries = ring_entries(ring->host);
	struct io_uring_params params;
	int fd = -EINVAL, rc;

	for (unsigned int i = 0; i < sizeof(attempts) / sizeof(attempts[0]) && fd == -EINVAL; i++) {
		memset(&params, 0, sizeof(params));
		params.flags = attempts[i];
		params.cq_entries = 4 * entries;
		fd = io_uring_setup(entries, &params);
	}
	if (fd < 0)
		return fd;
	if ((params.features & FEATURES_NEEDED) != FEATURES_NEEDED) {
		close(fd);
		return -EPROTONOSUPPORT;
	}
	memset(&ring->uring, 0, sizeof(ring->uring));
	rc = io_uring_queue_mmap(fd, &params, &ring->uring);
	if (rc) {
		close(fd);
		ring->uring.ring_fd = -1;
		return rc;
	}
	ring->uring.features = params.features;
	if (!(params.flags & IORING_SETUP_NO_SQARRAY))
		for (uint32_t i = 0; i < params.sq_entries; i++)
			ring->uring.sq.array[i] = i;
	ring->setup_flags = params.flags;
	ring->owner = pthread_self();
	ring->head = *ring->uring.cq.khead;
	ring->zc_report = (params.features & IORING_FEAT_REG_REG_RING) != 0;
	return 0;
}

static void ring_learn_opcodes(struct ring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);

	if (!probe)
		return;
	ring->has_zc = io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) != 0;
	io_uring_free_probe(probe);
}

static void ring_destroy(struct ring *ring)
{
	if (!ring)
		return;
	if (ring->uring.ring_fd >= 0)
		io_uring_queue_exit(&ring->uring);
	ring_flows_close(ring);
	ring_buffers_close(ring);
	free(ring->ops);
	free(ring);
}

static int ring_make(struct taio_host *host, struct ring **ret_ring)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	int rc = -ENOMEM;

	if (!ring)
		return rc;
	ring->host = host;
	ring->uring.ring_fd = -1;
	ring->slots = ring_entries(host) - RING_SPARE;
	ring->ops = calloc(ring->slots, sizeof(*ring->ops));
	if (!ring->ops)
		goto fail;
	for (uint32_t i = ring->slots; i-- > 0;) {
		ring->ops[i].owner = ring->free_op;
		ring->free_op = &ring->ops[i];
	}
	ring->room = ring->slots;
	rc = ring_flows_open(ring);
	if (rc == 0)
		rc = ring_buffers_open(ring);
	if (rc == 0)
		rc = ring_setup(ring);
	if (rc)
		goto fail;
	ring_learn_opcodes(ring);
	/* Memory that cannot be registered is used as any other; the engine was told. */
	(void)ring_buffers_register(ring);
	*ret_ring = ring;
	return 0;
fail:
	ring_destroy(ring);
	return rc;
}

static struct ring *ring_find(const struct taio_host *host)
{
	struct ring *ring = rings;

	while (ring && ring->host != host)
		ring = ring->next;
	return ring;
}

int ring_open(struct taio_device *dev, enum ring_device device)
{
	struct ring *ring;
	int rc = ring_probe(dev);

	assert(device < RING_DEVICES);
	if (rc)
		return rc;
	pthread_mutex_lock(&rings_lock);
	ring = ring_find(dev->host);
	if (!ring) {
		rc = ring_make(dev->host, &ring);
		if (rc == 0) {
			ring->next = rings;
			rings = ring;
		}
	}
	if (rc == 0) {
		assert(!(ring->users & (1U << device)));
		ring->users |= 1U << device;
		dev->priv = ring;
	}
	pthread_mutex_unlock(&rings_lock);
	if (rc == -EPROTONOSUPPORT) {
		snprintf(dev->reason, sizeof(dev->reason),
			 "the io_uring of this kernel is too old, 5.11 is needed");
		return -ENOSYS;
	}
	return rc ? ring_refused(dev, rc) : 0;
}

int ring_adopt(struct ring *ring)
{
	assert(ring->room == ring->slots);
	if (ring->broken)
		return ring->broken;
	ring_files_close(ring);
	io_uring_queue_exit(&ring->uring);
	ring->uring.ring_fd = -1;
	ring->broken = ring_setup(ring);
	if (ring->broken)
		return ring->broken;
	ring_buffers_forget(ring);
	(void)ring_buffers_register(ring);
	return 0;
}

/* ---- taking down ----------------------------------------------------------------------------- */

/* Asks for the end of everything that still belongs to a step. Return: how many are left. */
static unsigned int ring_cancel_all(struct ring *ring, enum ring_device device)
{
	unsigned int count = ring_flows_cancel(ring, device);

	for (uint32_t i = 0; i < ring->slots; i++) {
		struct ring_op *op = &ring->ops[i];

		if (!op->step || op->device != device)
			continue;
		if (!op->step->priv[RING_PRIV_CANCEL])
			ring_cancel(ring, op->step);
		count += op->step != NULL;
	}
	return count;
}

void ring_close(struct taio_device *dev, enum ring_device device)
{
	struct ring *ring = dev->priv, **link = &rings;
	struct taio_step *done[16];
	unsigned int patience = 100;
	bool last;

	if (!ring)
		return;
	dev->priv = NULL;
	while (!ring->broken && ring_cancel_all(ring, device) > 0) {
		(void)ring_wait(ring, 10 * 1000 * 1000);
		(void)ring_reap(ring, device, done, 16);
		/* the thread that could end them lives and does not call: leave them to the
		 * kernel, which ends them with the ring */
		if (!pthread_equal(ring->owner, pthread_self()) && --patience == 0)
			break;
	}
	while (ring_reap(ring, device, done, 16) > 0)
		; /* whoever closes a device with steps in flight does not want them back */
	if (device == RING_DIRECT)
		ring_files_close(ring);
	pthread_mutex_lock(&rings_lock);
	ring->users &= ~(1U << device);
	last = ring->users == 0;
	while (last && *link != ring)
		link = &(*link)->next;
	if (last)
		*link = ring->next;
	pthread_mutex_unlock(&rings_lock);
	if (last)
		ring_destroy(ring);
}

int ring_register_buffers(struct taio_host *host)
{
	struct ring *ring;

	pthread_mutex_lock(&rings_lock);
	ring = ring_find(host);
	pthread_mutex_unlock(&rings_lock);
	return ring ? ring_buffers_register(ring) : 0;
}

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

/* Return: 0, -EINTR, -ETIME, -EEXIST. */
static int ring_sleep(struct ring *ring, int64_t timeout_ns)
{
	struct __kernel_timespec limit = { .tv_sec = timeout_ns / 1000000000,
					   .tv_nsec = timeout_ns % 1000000000 };
	struct io_uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8,
					      .ts = (uint64_t)(uintptr_t)&limit };
	const uint32_t untold = ring_untold(ring);
	const uint64_t start_ns = untold ? ring_coarse_ns() : 0;
	int rc;

	if (timeout_ns < 0)
		arg.ts = 0;
	rc = io_uring_enter2(ring->uring.ring_fd, untold, 1,
			     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, (sigset_t *)&arg,
			     sizeof(arg));
	ring_told(ring);
	if (ring_has_completion(ring))
		return 0;
	if (rc <= 0 || rc != (int)untold)
		return rc == -EINTR || rc == -ETIME || rc == -EEXIST ? rc : 0;
	/* It told and then waited in vain, and the kernel reports the first of the two: the clock
	 * says whether a signal cut it short. */
	if (timeout_ns < 0 || ring_coarse_ns() + COARSE_NS - start_ns < (uint64_t)timeout_ns)
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

		if (data == RING_NOBODY)
			continue;
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

/*
 * Completions of all devices are worked off whoever asks. As long as another device has finished
 * steps, the kernel is told of one completion less than was seen: so the descriptor stays readable
 * and a wait ends at once, and nobody sleeps over a step that nobody has asked for. (The queue has
 * more room than it can ever need, so the place that is not given back is not missed.)
 */
void ring_show(struct ring *ring)
{
	io_uring_smp_store_release(ring->uring.cq.khead, ring->head - (ring->has_done != 0));
}

int ring_reap(struct ring *ring, enum ring_device device, struct taio_step **done, int max)
{
	int n = 0;

	assert(max > 0);
	if (ring->broken)
		return 0;
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
