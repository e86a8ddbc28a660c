/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * workers.c: see workers.h. One lock guards both lists; it is held for a few instructions. The
 * event descriptor is written only while the engine sleeps, so a busy engine pays no system call.
 */
#include "engine/workers.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "util/clock.h"

int workers_open(struct workers *workers, uint32_t limit, struct taio_device *const *devices)
{
	int rc;

	assert(limit <= WORKERS_MAX);
	memset(workers, 0, sizeof(*workers));
	workers->limit = limit;
	workers->devices = devices;
	workers->event_fd = -1;
	workers->todo_tail = &workers->todo;
	workers->done_tail = &workers->done;
	rc = pthread_mutex_init(&workers->lock, NULL);
	if (rc)
		return -rc;
	rc = pthread_cond_init(&workers->work, NULL);
	if (rc)
		pthread_mutex_destroy(&workers->lock);
	return -rc;
}

void workers_close(struct workers *workers)
{
	if (!workers->devices)
		return;
	assert(workers->in_flight == 0);
	pthread_mutex_lock(&workers->lock);
	workers->closing = 1;
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	for (uint32_t i = 0; i < workers->started; i++)
		pthread_join(workers->thread[i], NULL);
	pthread_cond_destroy(&workers->work);
	pthread_mutex_destroy(&workers->lock);
	if (workers->event_fd >= 0)
		close(workers->event_fd);
	memset(workers, 0, sizeof(*workers));
}

static void workers_finish(struct workers *workers, struct taio_step *step)
{
	step->next = NULL;
	__atomic_store_n(workers->done_tail, step, __ATOMIC_RELAXED); /* looked at without lock */
	workers->done_tail = &step->next;
	if (workers->sleeping) {
		uint64_t one = 1;
		ssize_t n = write(workers->event_fd, &one, sizeof(one));

		/* The counter cannot overflow: it is read after each wake-up. */
		assert(n == sizeof(one));
		(void)n;
		workers->sleeping = 0;
		workers->rung = 1;
	}
}

static void *workers_main(void *arg)
{
	struct workers *workers = arg;
	uint64_t cpu_ns, before_ns = clock_thread_ns();

	prctl(PR_SET_NAME, "taio-worker");
	pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct taio_step *step;
		struct taio_device *device;

		while (!workers->todo && !workers->closing) {
			workers->idle++;
			pthread_cond_wait(&workers->work, &workers->lock);
			workers->idle--;
		}
		step = workers->todo;
		if (!step)
			break;
		workers->todo = step->next;
		if (!workers->todo)
			workers->todo_tail = &workers->todo;
		workers->queued--;
		pthread_mutex_unlock(&workers->lock);
		device = workers->devices[step->device];
		step->result = device->driver->run(device, step);
		/* Since the step before: taking it and waking up for it are part of its cost. */
		cpu_ns = clock_thread_ns();
		if (!step->cpu_ns)
			step->cpu_ns = cpu_ns - before_ns;
		before_ns = cpu_ns;
		pthread_mutex_lock(&workers->lock);
		workers_finish(workers, step);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

/* All signals stay with the program's own threads. */
static int workers_start(struct workers *workers)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&workers->thread[workers->started], NULL, workers_main, workers);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0)
		workers->started++;
	return -rc;
}

int workers_submit(struct workers *workers, struct taio_step *step, uint32_t threads)
{
	int rc = 0;

	if (workers->limit == 0)
		return -EAGAIN;
	if (workers->event_fd < 0) {
		workers->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (workers->event_fd < 0)
			return -errno;
	}
	pthread_mutex_lock(&workers->lock);
	if (workers->idle <= workers->queued && workers->started < threads &&
	    workers->started < workers->limit)
		rc = workers_start(workers);
	if (workers->started == 0) {
		pthread_mutex_unlock(&workers->lock);
		return rc ? rc : -EAGAIN;
	}
	step->next = NULL;
	*workers->todo_tail = step;
	workers->todo_tail = &step->next;
	workers->queued++;
	workers->in_flight++;
	pthread_cond_signal(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	return 0;
}

struct taio_step *workers_reap(struct workers *workers)
{
	struct taio_step *list, *step;

	if (workers->in_flight == 0 || !__atomic_load_n(&workers->done, __ATOMIC_RELAXED))
		return NULL;
	pthread_mutex_lock(&workers->lock);
	list = workers->done;
	__atomic_store_n(&workers->done, NULL, __ATOMIC_RELAXED);
	workers->done_tail = &workers->done;
	pthread_mutex_unlock(&workers->lock);
	for (step = list; step; step = step->next)
		workers->in_flight--;
	return list;
}

int workers_sleep(struct workers *workers)
{
	int finished;

	if (workers->in_flight == 0)
		return 0;
	pthread_mutex_lock(&workers->lock);
	finished = workers->done != NULL;
	workers->sleeping = !finished;
	pthread_mutex_unlock(&workers->lock);
	return finished;
}

void workers_awake(struct workers *workers)
{
	uint64_t count;
	ssize_t n;

	if (workers->event_fd < 0)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->sleeping = 0;
	if (workers->rung) {
		n = read(workers->event_fd, &count, sizeof(count));
		(void)n;
		workers->rung = 0;
	}
	pthread_mutex_unlock(&workers->lock);
}
