/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * spin.c: a program that keeps an engine busy until it is told to stop, for tests that change the
 * policy of a running engine. It copies memory to memory in requests of mixed sizes, several at a
 * time, and its own file to nowhere, and checks that each gives its one event and that every byte
 * arrives.
 *
 *	spin [-p POLICY] [-t SECONDS] [-n] [-b]
 *
 * -n: the engine may not use BPF; -b: it never sleeps. It prints "ready", and at the end (SIGTERM,
 * or after SECONDS) one line: requests, failed, policy, swaps.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#define SPIN_SLOTS 16
#define SPIN_BYTES (256 * 1024)

static volatile sig_atomic_t spin_stop;

struct spin {
	struct taio *engine;
	unsigned char *from, *to[SPIN_SLOTS];
	size_t size[SPIN_SLOTS], file_size;
	unsigned long long requests, failed;
	unsigned int seed, pending;
	int busy;
};

static void spin_on_signal(int number)
{
	(void)number;
	spin_stop = 1;
}

static void spin_log(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "%s\n", line);
}

static unsigned int spin_random(struct spin *spin)
{
	spin->seed ^= spin->seed << 13;
	spin->seed ^= spin->seed >> 17;
	spin->seed ^= spin->seed << 5;
	return spin->seed;
}

/* The last slot copies a file. */
static int spin_schedule(struct spin *spin, unsigned int slot)
{
	struct taio_endpoint from = taio_path("/proc/self/exe"), to = taio_null();

	if (slot < SPIN_SLOTS - 1)
		return taio_schedule_pointer(spin->engine, spin->from, spin->to[slot],
					     spin->size[slot], slot);
	spin->size[slot] = spin->file_size;
	return taio_copy(spin->engine, &from, &to, NULL, slot);
}

static int spin_is_whole(const struct spin *spin, unsigned int slot)
{
	return slot == SPIN_SLOTS - 1 || !memcmp(spin->from, spin->to[slot], spin->size[slot]);
}

static void spin_submit(struct spin *spin, unsigned int slot)
{
	spin->size[slot] =
		1 + spin_random(spin) % (1U << (11 + spin_random(spin) % 8)) % SPIN_BYTES;
	spin->to[slot][0] = (unsigned char)~spin->from[0];
	spin->to[slot][spin->size[slot] - 1] = (unsigned char)~spin->from[spin->size[slot] - 1];
	if (spin_schedule(spin, slot)) {
		spin->failed++;
		return;
	}
	spin->pending |= 1U << slot;
}

static void spin_event(struct spin *spin, const struct taio_event *event)
{
	unsigned int slot = (unsigned int)event->cookie;

	spin->requests++;
	if (slot >= SPIN_SLOTS || !(spin->pending & 1U << slot) ||
	    event->result != (int64_t)spin->size[slot] || !spin_is_whole(spin, slot))
		spin->failed++;
	if (slot < SPIN_SLOTS)
		spin->pending &= ~(1U << slot);
}

static void spin_turn(struct spin *spin)
{
	struct timespec pause = { .tv_nsec = 500000 };
	struct taio_event events[SPIN_SLOTS + 1]; /* never full: the engine shall do its turn */
	int n;

	for (unsigned int slot = 0; slot < SPIN_SLOTS; slot++)
		if (!(spin->pending & 1U << slot))
			spin_submit(spin, slot);
	n = taio_get_events(spin->engine, events, 1, SPIN_SLOTS + 1, 100000000);
	for (int i = 0; i < n; i++)
		spin_event(spin, &events[i]);
	if (!spin->busy)
		nanosleep(&pause, NULL); /* the machine is shared */
}

static int spin_open(struct spin *spin, const char *policy, uint32_t flags)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .policy = policy,
					       .flags = flags | TAIO_NO_CACHE,
					       .log = spin_log };
	struct stat st;
	int rc = stat("/proc/self/exe", &st) ? -errno : taio_open(&spin->engine, &options);

	if (rc) {
		fprintf(stderr, "taio_open: %s\n", strerror(-rc));
		return rc;
	}
	spin->file_size = (size_t)st.st_size;
	spin->from = malloc(SPIN_BYTES);
	for (unsigned int slot = 0; slot < SPIN_SLOTS; slot++)
		spin->to[slot] = calloc(1, SPIN_BYTES);
	for (size_t i = 0; i < SPIN_BYTES; i++)
		spin->from[i] = (unsigned char)spin_random(spin);
	return 0;
}

static int spin_close(struct spin *spin)
{
	struct taio_policy_info info = { .name = "?" };
	struct taio_event events[SPIN_SLOTS];
	int n;

	while (spin->pending &&
	       (n = taio_get_events(spin->engine, events, 1, SPIN_SLOTS, 1000000000)) > 0)
		for (int i = 0; i < n; i++)
			spin_event(spin, &events[i]);
	if (spin->pending)
		spin->failed++;
	taio_policy_show(spin->engine, &info, sizeof(info));
	taio_close(spin->engine);
	printf("requests %llu failed %llu policy %s where %u swaps %llu reason %s\n",
	       spin->requests, spin->failed, info.name, info.where, (unsigned long long)info.swaps,
	       info.reason);
	free(spin->from);
	for (unsigned int slot = 0; slot < SPIN_SLOTS; slot++)
		free(spin->to[slot]);
	return spin->failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	struct spin spin = { .seed = 2463534242U };
	const char *policy = NULL;
	time_t end = 0;
	uint32_t flags = 0;
	int c;

	while ((c = getopt(argc, argv, "p:t:nb")) != -1) {
		if (c == 'p')
			policy = optarg;
		else if (c == 't')
			end = time(NULL) + atoi(optarg);
		else if (c == 'n')
			flags |= TAIO_NO_BPF;
		else if (c == 'b')
			spin.busy = 1;
		else
			return 2;
	}
	signal(SIGTERM, spin_on_signal);
	signal(SIGINT, spin_on_signal);
	if (spin_open(&spin, policy, flags))
		return 1;
	printf("ready\n");
	fflush(stdout);
	while (!spin_stop && (!end || time(NULL) < end))
		spin_turn(&spin);
	return spin_close(&spin);
}
