/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * conform_world.h: the devices of all drivers in the list, opened through their tables, two
 * directories to work in, and a seed; for the tests that use conform.h. One test program includes
 * it once.
 */
#ifndef TESTS_CONFORM_WORLD_H
#define TESTS_CONFORM_WORLD_H

#include <criterion/criterion.h>

#include "conform.h"

uint8_t conform_pool[CONFORM_POOL];

#define DRIVER_OF(name) &taio_driver_##name,
static const struct taio_driver *const world_drivers[] = { TAIO_DRIVER_LIST(DRIVER_OF) };

static const char *const world_kinds[TAIO_KIND_COUNT] = { "none",   "mem",   "file",
							  "stream", "dgram", "pipe",
							  "null",   "zero",  "messages" };

struct world {
	struct taio_host host;
	struct taio_device device[TAIO_DRIVER_COUNT];
	struct taio_device twin[TAIO_DRIVER_COUNT]; /* of drivers that are both: on a worker */
	uint64_t seed;
	char dir[2][64]; /* a disk, memory */
};

static inline void world_log(struct taio_host *host, const char *line)
{
	(void)host;
	fprintf(stderr, "driver says: %s\n", line);
}

static inline void world_open(struct world *w)
{
	const char *seed = getenv("TAIO_SEED"), *tmp = getenv("TMPDIR");
	uint64_t state;

	memset(w, 0, sizeof(*w));
	w->seed = seed ? strtoull(seed, NULL, 0) : conform_ns();
	fprintf(stderr, "TAIO_SEED=%llu\n", (unsigned long long)w->seed);
	state = w->seed;
	for (size_t i = 0; i < CONFORM_POOL; i += 8) {
		uint64_t r = conform_next(&state);

		memcpy(conform_pool + i, &r, 8);
	}
	snprintf(w->dir[0], sizeof(w->dir[0]), "%s/taio-conform-XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	cr_assert(mkdtemp(w->dir[0]), "%s", strerror(errno));
	/* Files are unlinked as soon as they are made: nothing stays behind. */
	snprintf(w->dir[1], sizeof(w->dir[1]), "%s",
		 access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : w->dir[0]);
	w->host.now_ns = conform_ns;
	w->host.log = world_log;
	w->host.cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	w->host.requests = 256;
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		w->device[i].driver = world_drivers[i];
		w->device[i].host = &w->host;
		w->device[i].number = (uint8_t)i;
		snprintf(w->device[i].name, sizeof(w->device[i].name), "%s",
			 world_drivers[i]->name);
		w->twin[i] = w->device[i];
		w->twin[i].worker = 1;
	}
}

static inline void world_close(struct world *w)
{
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		if (w->device[i].opened && world_drivers[i]->close)
			world_drivers[i]->close(&w->device[i]);
		if (w->twin[i].opened && world_drivers[i]->close)
			world_drivers[i]->close(&w->twin[i]);
	}
	rmdir(w->dir[0]);
}

/* The device of a driver, opened; NULL with its reason printed if it is not to be had. */
static inline struct taio_device *world_device(struct world *w, const char *name)
{
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct taio_device *dev = &w->device[i];
		int rc = 0;

		if (strcmp(world_drivers[i]->name, name))
			continue;
		if (dev->opened)
			return dev;
		if (world_drivers[i]->probe)
			rc = world_drivers[i]->probe(dev);
		if (rc == 0 && world_drivers[i]->open)
			rc = world_drivers[i]->open(dev);
		if (rc == 0) {
			dev->opened = 1;
			return dev;
		}
		fprintf(stderr, "%s is not available: %s (%s)\n", name, dev->reason, strerror(-rc));
		cr_assert(dev->reason[0], "%s gives no reason", name);
		return NULL;
	}
	cr_assert_fail("no driver %s", name);
	return NULL;
}

/* Where run() of an opened device is called: on the device itself, or on its twin. */
static inline struct taio_device *world_runs(struct world *w, struct taio_device *dev)
{
	struct taio_device *twin = &w->twin[dev->number];

	if (!dev->driver->submit)
		return dev;
	if (!dev->driver->run)
		return NULL;
	if (!twin->opened) {
		cr_assert_eq(dev->driver->open(twin), 0, "%s@worker", dev->name);
		twin->opened = 1;
	}
	return twin;
}

/* The device that does the rest: what another one leaves or refuses. */
static inline struct taio_device *world_last(struct world *w, uint8_t from, uint8_t to)
{
	const char *name = "rw";

	if (from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM)
		name = "dgram";
	else if (from == TAIO_KIND_MEM && to == TAIO_KIND_MEM)
		name = "memcpy";
	else if (from == TAIO_KIND_ZERO && to == TAIO_KIND_MEM)
		name = "fill";
	else if (to == TAIO_KIND_NULL)
		name = "null";
	return world_device(w, name);
}

#endif /* TESTS_CONFORM_WORLD_H */
