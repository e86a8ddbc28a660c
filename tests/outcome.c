/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * outcome.c: what a program sees of requests to which something bad happens, for tests that make it
 * happen: each event with its error and step, events that should not come, and what is left open.
 *
 *	outcome [-dnm] [-p DEVICES] [-t MS] [-l BYTES_PER_S] FROM TO [FROM TO...]
 *
 * One request for each pair, all at once. -d: durable; -n: no io_uring; -m: calls may block.
 * A line for each event: "COOKIE STEP ERRNO BYTES MS", STEP and ERRNO "-" without an error; then
 * "events N of N, left open N": all events, also those after the last that was due, and descriptors
 * and threads that outlive the engine. Exit status 0: told; 1: no engine, or a refused request.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "taio.h"

#define OUTCOME_LATE_US 100000 /* an event too many would come within this */

static const char *outcome_errno(int64_t result)
{
	const char *name = result < 0 ? strerrorname_np((int)-result) : NULL;

	return name ? name : "-";
}

/* A thread of the kernel's own, which io_uring keeps for some seconds after the ring is closed. */
static int outcome_is_kernels(const char *task)
{
	char path[64], name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", task);
	file = fopen(path, "re");
	if (!file)
		return 1; /* it has just ended */
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return !strncmp(name, "iou-", 4);
}

static int outcome_count(const char *path, int tasks)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' && !(tasks && outcome_is_kernels(entry->d_name));
	closedir(dir);
	return count;
}

/* Descriptors and threads. One that was joined may still be seen for a moment. */
static int outcome_open(int enough)
{
	int count = 0;

	for (int i = 0; i < 1000; i++) {
		count = outcome_count("/proc/self/fd", 0) + outcome_count("/proc/self/task", 1);
		if (count <= enough)
			break;
		usleep(1000);
	}
	return count;
}

static int outcome_submit(struct taio *engine, const struct taio_options *options, const char *from,
			  const char *to, uint64_t cookie)
{
	struct taio_endpoint ends[2];
	int rc = taio_endpoint_parse(from, 0, &ends[0]);

	if (rc == 0)
		rc = taio_endpoint_parse(to, 1, &ends[1]);
	if (rc == 0)
		rc = taio_copy(engine, &ends[0], &ends[1], options, cookie);
	if (rc)
		fprintf(stderr, "outcome: %s to %s: %s\n", from, to, strerror(-rc));
	return rc;
}

/* Return: events taken. Those that are not due have a while to come, too. */
static unsigned int outcome_wait(struct taio *engine, unsigned int due)
{
	struct taio_event event;
	unsigned int taken = 0;

	for (;;) {
		int n;

		if (taken >= due)
			usleep(OUTCOME_LATE_US);
		n = taio_get_events(engine, &event, taken < due, 1, taken < due ? -1 : 0);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return taken;
		taken++;
		printf("%llu %s %s %llu %llu\n", (unsigned long long)event.cookie,
		       event.result < 0 ? taio_step_name(event.step) : "-",
		       outcome_errno(event.result), (unsigned long long)event.bytes,
		       (unsigned long long)event.ns / 1000000);
		fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct taio_engine_options engine_options = { .size = sizeof(engine_options),
						      .flags = TAIO_NO_CACHE | TAIO_NO_CONTROL };
	struct taio_options options = { .size = sizeof(options) };
	unsigned int due, taken;
	struct taio *engine;
	int c, before, rc;

	while ((c = getopt(argc, argv, "dnmp:t:l:")) != -1) {
		if (c == 'd')
			options.flags |= TAIO_DURABLE;
		else if (c == 'n')
			engine_options.flags |= TAIO_NO_URING;
		else if (c == 'm')
			engine_options.flags |= TAIO_MAY_BLOCK;
		else if (c == 'p')
			engine_options.pin = optarg;
		else if (c == 't')
			options.timeout_ns = strtoull(optarg, NULL, 10) * 1000000;
		else if (c == 'l')
			options.limit_rate = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	due = (unsigned int)(argc - optind) / 2;
	before = outcome_open(INT_MAX);
	rc = taio_open(&engine, &engine_options);
	if (rc) {
		fprintf(stderr, "taio_open: %s\n", strerror(-rc));
		return 1;
	}
	for (unsigned int i = 0; i < due && rc == 0; i++)
		rc = outcome_submit(engine, &options, argv[optind + 2 * (int)i],
				    argv[optind + 2 * (int)i + 1], i);
	taken = outcome_wait(engine, rc ? 0 : due);
	taio_close(engine);
	printf("events %u of %u, left open %d\n", taken, due, outcome_open(before) - before);
	return rc ? 1 : 0;
}
