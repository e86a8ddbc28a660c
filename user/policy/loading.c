/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* loading.c: see loading.h. */
#include "policy/loading.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *loading_run(void *arg)
{
	struct policy_loading *job = arg;

	job->err = object_load(&job->object, job->path, &job->request, job->reuse ? job->map : NULL,
			       1, job->why, sizeof(job->why));
	__atomic_store_n(&job->is_done, 1, __ATOMIC_RELEASE);
	if (job->wake_fd >= 0)
		control_wake(job->wake_fd);
	return NULL;
}

static int loading_keep_maps(struct policy_loading *job, const int *reuse)
{
	for (unsigned int i = 0; reuse && i < OBJECT_MAPS; i++) {
		job->map[i] = fcntl(reuse[i], F_DUPFD_CLOEXEC, 3);
		if (job->map[i] < 0)
			return -errno;
	}
	job->reuse = reuse != NULL;
	return 0;
}

int loading_start(struct policy_loading **ret_job, const char *path,
		  const struct policy_request *request, const int *reuse,
		  const struct control_peer *peer, int wake_fd)
{
	struct policy_loading *job = calloc(1, sizeof(*job));
	sigset_t all, before;
	int err;

	if (!job)
		return -ENOMEM;
	object_init(&job->object);
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		job->map[i] = -1;
	snprintf(job->path, sizeof(job->path), "%s", path);
	job->request = *request;
	job->wake_fd = wake_fd;
	if (peer)
		job->peer = *peer;
	err = loading_keep_maps(job, reuse);
	if (!err) {
		sigfillset(&all); /* signals are the program's business */
		pthread_sigmask(SIG_SETMASK, &all, &before);
		err = -pthread_create(&job->thread, NULL, loading_run, job);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (err) {
		loading_free(job);
		return err;
	}
	*ret_job = job;
	return 0;
}

int loading_is_done(const struct policy_loading *job)
{
	return __atomic_load_n(&job->is_done, __ATOMIC_ACQUIRE);
}

void loading_join(struct policy_loading *job)
{
	pthread_join(job->thread, NULL);
}

void loading_free(struct policy_loading *job)
{
	if (!job)
		return;
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (job->map[i] >= 0)
			close(job->map[i]);
	object_close(&job->object);
	free(job);
}
