/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * loading.h: an object on its way into the kernel on a thread of its own, since the verifier takes
 * its time and the engine has none. The thread touches nothing but this structure.
 */
#ifndef TAIO_USER_POLICY_LOADING_H
#define TAIO_USER_POLICY_LOADING_H

#include <pthread.h>

#include "policy/bpf_object.h"
#include "policy/control.h"

struct policy_loading {
	pthread_t thread;
	struct control_peer peer; /* who waits for the answer */
	int wake_fd;              /* control socket to wake when it is done; -1 */
	int map[OBJECT_MAPS];     /* maps to load onto (own descriptors), if reuse */
	int reuse;
	int must_bpf;              /* no native twin may stand in */
	struct policy_share share; /* of a canary; permille 0: a swap */
	int is_done;               /* atomic */
	int err;
	char path[PATH_MAX];
	struct policy_request request;
	struct policy_object object;
	char why[512];
};

/* Starts loading @path; @reuse as for object_load(), its descriptors are duplicated.
 * Return: 0 and the job; -ENOMEM, -EAGAIN, -EMFILE. */
int loading_start(struct policy_loading **ret_job, const char *path,
		  const struct policy_request *request, const int *reuse,
		  const struct control_peer *peer, int wake_fd);

int loading_is_done(const struct policy_loading *job);

/* Waits for the thread; job->err and job->object (the caller's) then stand. */
void loading_join(struct policy_loading *job);

/* Frees a joined job, and its object if nobody took it. NULL is allowed. */
void loading_free(struct policy_loading *job);

#endif /* TAIO_USER_POLICY_LOADING_H */
