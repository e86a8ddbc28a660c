/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy_world.h: for tests that load policies into the kernel: a world of their own (mounts, so
 * that /sys/fs/bpf is a fresh one, and network, so that nobody else's engine is seen), and what is
 * missing for it. Included by one test file each.
 */
#ifndef TAIO_TESTS_POLICY_WORLD_H
#define TAIO_TESTS_POLICY_WORLD_H

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/bpf_object.h"
#include "policy/policy.h"
#include "policy/source.h"
#include "taio.h"

static struct taio_policy *policy;
static char why[600], logged[8192];

static inline void keep_log(void *arg, const char *line)
{
	(void)arg;
	snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", line);
}

static inline int open_policy(const char *name, int force_bpf)
{
	struct policy_options options = { .name = name, .force_bpf = force_bpf, .log = keep_log };

	logged[0] = why[0] = '\0';
	policy = NULL;
	return policy_open(&policy, &options, why, sizeof(why));
}

static inline struct taio_policy_info info(void)
{
	struct taio_policy_info ret;

	policy_info(policy, &ret);
	return ret;
}

/* A file below the build directory of this test. */
static inline const char *built(const char *name)
{
	static char path[PATH_MAX + 64];
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	*strrchr(self, '/') = '\0'; /* BUILD/tests */
	snprintf(path, sizeof(path), "%s/%s", self, name);
	return path;
}

/* Why these tests cannot run here; NULL: they can. */
static inline const char *world_lacks(void)
{
	if (geteuid() != 0)
		return "only root may load BPF";
	if (access(built("../schedulers/tab.bpf.o"), R_OK))
		return "policy objects were not built (make bpf)";
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return "no namespaces of its own are to be had";
	if (mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700"))
		return "no bpf file system can be mounted";
	return NULL;
}

/* One request of @ns on the one candidate, on the engine's own clock. */
static inline void push(uint32_t ns)
{
	const struct taio_maps *maps = policy_maps(policy);
	struct taio_engine *engine = maps->engine;
	uint64_t now_ns = policy_now_ns();

	if (!maps->ctx[1].key) {
		maps->dev[0].hash = 1;
		memcpy(maps->dev[0].name, "memcpy", 7);
		memcpy(maps->ctx[1].name, "copy mem>mem", 13);
		maps->ctx[1].key = 77;
		maps->ctx[1].dev[0] = 1;
		maps->caps[TAIO_SLOTS].base_ns = 1;
	}
	engine->ring[engine->head & (TAIO_RING - 1)] = (struct taio_sample){
		.submit_ns = now_ns - ns, .ns = ns, .bytes = 4096, .cell = TAIO_CLASSES, .weight = 1
	};
	__atomic_store_n(&engine->head, engine->head + 1, __ATOMIC_RELEASE);
}

/* Is the ring empty within @ms, and have the prices followed? They are made after the last sample. */
static inline int drained(unsigned int ms)
{
	const struct taio_maps *maps = policy_maps(policy);
	const struct taio_lat *last = &maps->lat[TAIO_CLASSES * TAIO_SLOTS];

	for (unsigned int i = 0; i < 10 * ms; i++) {
		if (__atomic_load_n(&maps->engine->tail, __ATOMIC_ACQUIRE) == maps->engine->head &&
		    __atomic_load_n(&maps->price[TAIO_CLASSES].when_ns, __ATOMIC_ACQUIRE) >=
			    last->last_ns)
			return 1;
		usleep(100);
	}
	return 0;
}

/* Does the timer tick @count times within a second? */
static inline int ticks(uint64_t count)
{
	const struct taio_maps *maps = policy_maps(policy);
	uint64_t until = maps->ctl->ticks + count;

	for (unsigned int i = 0; i < 1000 && maps->ctl->ticks < until; i++)
		usleep(1000);
	return maps->ctl->ticks >= until;
}

static inline const struct taio_lat *lat(void)
{
	return &policy_maps(policy)->lat[TAIO_CLASSES * TAIO_SLOTS];
}

static inline uint32_t price(void)
{
	return policy_maps(policy)->price[TAIO_CLASSES].cost[0][0][0];
}

#endif /* TAIO_TESTS_POLICY_WORLD_H */
