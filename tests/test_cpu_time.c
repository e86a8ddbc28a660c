/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_cpu_time.c: processor time of devices is measured and reaches the prices of the CPU goal. The
 * device sleeps for most of a step (a fault), so that its time and its processor time differ.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine_kit.h"

#define BYTES 8192
#define STEPS 200

TestSuite(cpu_time, .init = kit_open, .fini = kit_close, .timeout = 60);

/* The latencies of the one device that ran, and its prices. */
static const struct taio_lat *lat_of(const char *name, uint32_t ret_price[TAIO_GOALS])
{
	const struct taio_maps *maps = policy_maps(kit->policy);

	policy_tick(kit->policy, kit_now_ns() + 2000000, 1);
	for (uint32_t i = 0; i < kit->picker->context_count; i++) {
		const struct pick_context *context = &kit->picker->context[i];

		for (unsigned int k = 0; k < context->count; k++) {
			const struct pick_candidate *c = &context->candidate[k];
			uint32_t cell = context->index * TAIO_CLASSES + taio_class_of(BYTES);

			if (strcmp(kit->device[c->device].name, name) || c->slot == PICK_NONE ||
			    !maps->lat[cell * TAIO_SLOTS + c->slot].count)
				continue;
			for (unsigned int goal = 0; goal < TAIO_GOALS; goal++)
				ret_price[goal] = maps->price[cell].cost[goal][c->slot][0];
			return &maps->lat[cell * TAIO_SLOTS + c->slot];
		}
	}
	cr_assert_fail("%s never ran", name);
	return NULL;
}

static void read_on(const char *device, const char *faults, uint32_t flags)
{
	struct taio_engine_options options = kit_engine_options(flags);
	uint8_t *data = kit_pattern(BYTES, 1);
	static uint8_t memory[BYTES];
	int fd;

	options.pin = device;
	kit_write(kit_path("a"), data, BYTES);
	setenv("TAIO_FAULT", faults, 1);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	fd = open(kit_path("a"), O_RDONLY);
	for (unsigned int i = 0; i < STEPS; i++)
		kit_moves(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), BYTES, NULL);
	close(fd);
	cr_assert(memcmp(memory, data, BYTES) == 0);
	free(data);
}

static void is_measured(const char *device)
{
	uint32_t price[TAIO_GOALS];
	const struct taio_lat *lat = lat_of(device, price);

	cr_assert_gt(lat->count_cpu, 0);
	cr_assert_gt(lat->cpu_ewma_ns, 0);
	cr_assert_geq(lat->ewma_ns[0], 2000000);
	cr_assert_lt(lat->cpu_ewma_ns, lat->ewma_ns[0] / 2, "it slept: %u of %u ns",
		     lat->cpu_ewma_ns, lat->ewma_ns[0]);
	/* Assumed to be busy all the time it would be dearer by CPU than by latency. */
	cr_assert_lt(price[TAIO_GOAL_CPU], price[TAIO_GOAL_LATENCY]);
}

Test(cpu_time, of_an_inline_device_is_measured_and_priced)
{
	read_on("rw", "rw:delay=2ms", TAIO_MAY_BLOCK);
	is_measured("rw");
}

Test(cpu_time, of_a_worker_is_measured_and_priced)
{
	read_on("rw@worker", "rw:delay=2ms", 0);
	is_measured("rw@worker");
}

Test(cpu_time, of_short_inline_steps_is_asked_for_now_and_then)
{
	uint32_t price[TAIO_GOALS];
	const struct taio_lat *lat;

	read_on("rw", "", TAIO_MAY_BLOCK);
	lat = lat_of("rw", price);
	cr_assert_gt(lat->count_cpu, 0);
	/* each 64th; more only where a busy machine makes a step look long */
	cr_assert_lt(lat->count_cpu, lat->count / 2);
}
