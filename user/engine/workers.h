/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * workers.h: a small bounded pool of threads on which a driver's run() may sleep. Threads start
 * when there is work for them and none is idle, up to the limit; they end when the pool closes.
 * The engine's thread gives steps in and takes finished ones out; a descriptor says when.
 */
#ifndef TAIO_WORKERS_H
#define TAIO_WORKERS_H

#include <pthread.h>
#include <stdint.h>

#include "taio_driver.h"

#define WORKERS_MAX 64

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct taio_step *todo, **todo_tail;
	struct taio_step *done, **done_tail;
	struct taio_device *const *devices; /* by number: whose run() a step wants */
	uint32_t limit, started, idle, queued;
	uint32_t in_flight; /* engine's thread only */
	int event_fd;       /* -1 until the first step */
	int sleeping;       /* the engine's thread waits on event_fd */
	int rung;           /* ... which has something to read */
	int closing;
	int registered; /* event_fd is in the engine's epoll set */
	pthread_t thread[WORKERS_MAX];
};

int workers_open(struct workers *workers, uint32_t limit, struct taio_device *const *devices);
/* No step may be in flight. */
void workers_close(struct workers *workers);

/* @threads: a thread is started for this step only below so many.
 * Return: 0; -EAGAIN, -EMFILE, ...: no thread and no descriptor could be had for it. */
int workers_submit(struct workers *workers, struct taio_step *step, uint32_t threads);

/* Finished steps as a list linked through step->next. */
struct taio_step *workers_reap(struct workers *workers);

/* To be called before and after sleeping on event_fd: completions in between wake it. Return of
 * the first: nonzero if something is finished already. */
int workers_sleep(struct workers *workers);
void workers_awake(struct workers *workers);

#endif /* TAIO_WORKERS_H */
