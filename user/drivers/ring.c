/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring.c: the one io_uring of an engine: whether it is permitted, how it is made, shared by the
 * devices, taken to another thread, and taken down. What happens in it is not said here.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "taio.h"

#define SETUP_NEEDED IORING_SETUP_CQSIZE
#define SETUP_COOP   (IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG)
#define SETUP_DEFER  (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define FEATURES_NEEDED                                                        \
	(IORING_FEAT_NODROP | IORING_FEAT_RW_CUR_POS | IORING_FEAT_FAST_POLL | \
	 IORING_FEAT_EXT_ARG) /* all of them since 5.11 */

/* Rings by engine. An engine has one thread, engines have several: hence the lock. */
static struct ring *rings;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- permission ------------------------------------------------------------------------------ */

/* kernel.io_uring_disabled: 0, 1 or 2; 0 also where there is no such thing (before 6.6). */
static int ring_sysctl(void)
{
	char digit = '0';
	int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	if (read(fd, &digit, 1) != 1)
		digit = '0';
	close(fd);
	return digit - '0';
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
			 "no memory for an io_uring (RLIMIT_MEMLOCK, or the limit of the cgroup)");
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
	uint32_t wanted = host->requests + RING_SPARE, entries = RING_SLOTS_MIN;

	while (entries < wanted && entries < RING_SLOTS_MAX)
		entries *= 2;
	return entries;
}

/* Return: a descriptor, negative errno. */
static int ring_create(uint32_t entries, struct io_uring_params *ret_params)
{
	static const uint32_t attempts[] = {
		SETUP_NEEDED | SETUP_COOP | SETUP_DEFER | IORING_SETUP_NO_SQARRAY, /* 6.6 */
		SETUP_NEEDED | SETUP_COOP | SETUP_DEFER,                           /* 6.1 */
		SETUP_NEEDED | SETUP_COOP,                                         /* 5.19 */
		SETUP_NEEDED,
	};
	int fd = -EINVAL;

	for (unsigned int i = 0; i < sizeof(attempts) / sizeof(attempts[0]) && fd == -EINVAL; i++) {
		memset(ret_params, 0, sizeof(*ret_params));
		ret_params->flags = attempts[i];
		ret_params->cq_entries = 4 * entries;
		fd = io_uring_setup(entries, ret_params);
	}
	return fd;
}

/* All slots are free. */
static void ring_reset_slots(struct ring *ring, uint32_t slots)
{
	ring->slots = ring->room = slots;
	ring->free_op = NULL;
	for (uint32_t i = slots; i-- > 0;) {
		ring->ops[i].owner = ring->free_op;
		ring->free_op = &ring->ops[i];
	}
}

/*
 * io_uring_queue_init_params() without the writes to an array that a NO_SQARRAY ring lacks. Where
 * the memory of rings counts as locked (from 6.14), a smaller one may be permitted.
 */
static int ring_setup(struct ring *ring)
{
	uint32_t entries = ring_entries(ring->host);
	struct io_uring_params params;
	int fd = ring_create(entries, &params), rc;

	while (fd == -ENOMEM && entries > RING_SLOTS_MIN) {
		entries /= 2;
		fd = ring_create(entries, &params);
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
	ring->owner = pthread_self();
	ring->head = *ring->uring.cq.khead;
	ring->timer_ns = 0;
	ring->zc_report = (params.features & IORING_FEAT_REG_REG_RING) != 0;
	ring_reset_slots(ring, entries - RING_SPARE);
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
	if (ring->event_fd >= 0)
		close(ring->event_fd);
	ring_looks_close(ring);
	ring_flows_close(ring);
	ring_buffers_close(ring);
	free(ring->ops);
	free(ring);
}

static int ring_make(struct taio_host *host, struct ring **ret_ring)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	struct sigaction action;
	int rc = -ENOMEM;

	if (!ring)
		return rc;
	ring->host = host;
	ring->sigpipe_ignored = sigaction(SIGPIPE, NULL, &action) == 0 &&
				action.sa_handler == SIG_IGN;
	ring->uring.ring_fd = -1;
	ring->event_fd = -1;
	ring->ops = calloc(ring_entries(host), sizeof(*ring->ops));
	if (!ring->ops)
		goto fail;
	rc = ring_flows_open(ring);
	if (rc == 0)
		rc = ring_looks_open(ring);
	if (rc == 0)
		rc = ring_buffers_open(ring);
	if (rc == 0)
		rc = ring_setup(ring);
	if (rc)
		goto fail;
	ring_learn_opcodes(ring);
	/* Memory and files that cannot be registered are used as any other; the engine was told. */
	ring_seats_forget(ring);
	(void)ring_buffers_register(ring);
	(void)ring_seats_register(ring);
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
	ring_seats_forget(ring);
	(void)ring_seats_register(ring);
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

int ring_register_files(struct taio_host *host)
{
	struct ring *ring;

	pthread_mutex_lock(&rings_lock);
	ring = ring_find(host);
	pthread_mutex_unlock(&rings_lock);
	if (!ring)
		return 0;
	/* the ring of another thread is made anew before it is used, with the files of then */
	return pthread_equal(ring->owner, pthread_self()) ? ring_seats_register(ring) : 0;
}
