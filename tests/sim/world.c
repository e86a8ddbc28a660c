/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * world.c: the situations. Everything random in them is drawn here, in one order (stalls, arrivals,
 * then size, noise, outlier, engine of each request), so that each chooser meets the same world.
 */
#include "sim.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_MEAN_BYTES  232562 /* of the sizes 4 KiB .. 1 MiB */
#define WORLD_NS          (4 * SIM_S)
#define WORLD_TOPOLOGY_NS (1500 * SIM_MS)
#define WORLD_CLOSED      400000

struct world_plan {
	uint32_t percent; /* of what the devices can do */
	uint64_t ns;
	uint32_t clump;      /* requests that come at one instant */
	uint64_t cycle_ns;   /* bursts; 0: none */
	uint64_t burst_ns;   /* first part of a cycle ... */
	double burst, quiet; /* rate there and in the rest */
};

static void world_add_device(struct sim_world *world, uint32_t base_ns, uint32_t ps_per_byte,
			     uint32_t servers)
{
	world->device[world->devices++] = (struct sim_spec){ .base_ns = base_ns,
							     .ps_per_byte = ps_per_byte,
							     .servers = servers };
}

static void world_add_usual(struct sim_world *world)
{
	world_add_device(world, 5000, 100, 1);
	world_add_device(world, 20000, 50, 2);
	world_add_device(world, 60000, 250, 8);
	world_add_device(world, 150000, 600, 4);
}

static void world_add_segment(struct sim_world *world, uint32_t device, uint64_t from_ns,
			      uint64_t to_ns, uint32_t speed)
{
	struct sim_spec *spec = &world->device[device];

	spec->segment = realloc(spec->segment, (spec->segments + 1) * sizeof(*spec->segment));
	assert(spec->segment);
	spec->segment[spec->segments++] =
		(struct sim_segment){ SIM_START_NS + from_ns, SIM_START_NS + to_ns, speed };
}

static void world_add_fault(struct sim_world *world, uint32_t device, uint64_t from_ns,
			    uint64_t to_ns, uint32_t permille)
{
	world->fault[world->faults++] = (struct sim_fault){ SIM_START_NS + from_ns,
							    SIM_START_NS + to_ns, device,
							    permille };
}

/* ---- requests ---- */

/* Requests per ns that keep the devices busy to @percent. */
static double world_rate(const struct sim_world *world, uint32_t percent)
{
	double sum = 0;

	for (uint32_t i = 0; i < world->devices; i++) {
		const struct sim_spec *spec = &world->device[i];

		sum += spec->servers /
		       (1.05 * (spec->base_ns + spec->ps_per_byte / 1000.0 * WORLD_MEAN_BYTES));
	}
	return sum * percent / 100;
}

static void world_add_request(struct sim_world *world, uint32_t *room, uint64_t ns)
{
	if (world->requests == *room) {
		*room = *room ? *room * 2 : 65536;
		world->request = realloc(world->request, *room * sizeof(*world->request));
		assert(world->request);
	}
	if (ns < SIM_WARM_NS)
		world->counted_from = world->requests + 1;
	world->request[world->requests++] = (struct sim_request){ .arrive_ns = SIM_START_NS + ns };
}

/* The time when @left (mean 1) arrivals have passed since @ns, at a rate that may change. */
static double world_pass(const struct world_plan *plan, double ns, double rate, double left)
{
	if (!plan->cycle_ns)
		return ns + left / rate;
	for (;;) {
		double cycle = floor(ns / (double)plan->cycle_ns) * (double)plan->cycle_ns;
		bool burst = ns - cycle < (double)plan->burst_ns;
		double end = cycle + (double)(burst ? plan->burst_ns : plan->cycle_ns);
		double now = rate * (burst ? plan->burst : plan->quiet);

		if (left <= (end - ns) * now)
			return ns + left / now;
		left -= (end - ns) * now;
		ns = end;
	}
}

static void world_draw_arrivals(struct sim_world *world, struct sim_random *random,
				const struct world_plan *plan)
{
	uint32_t room = 0, clump = plan->clump ? plan->clump : 1;
	double rate = world_rate(world, plan->percent) / clump, ns = 0;

	if (world->outstanding) {
		for (uint32_t i = 0; i < WORLD_CLOSED; i++)
			world_add_request(world, &room, 0);
		world->counted_from = WORLD_CLOSED / 8;
		return;
	}
	for (;;) {
		ns = world_pass(plan, ns, rate, -log(1 - random_unit(random)));
		if (ns >= (double)plan->ns)
			return;
		for (uint32_t i = 0; i < clump; i++)
			world_add_request(world, &room, (uint64_t)ns);
	}
}

static void world_draw_requests(struct sim_world *world, struct sim_random *random)
{
	uint32_t groups = (world->devices + SIM_GROUP - 1) / SIM_GROUP;

	for (uint32_t i = 0; i < world->requests; i++) {
		struct sim_request *request = &world->request[i];
		double noise;

		request->class = (uint8_t)random_below(random, SIM_CLASSES);
		noise = exp(0.25 * random_normal(random) - 0.03125);
		if (random_unit(random) < 0.001)
			noise *= 10;
		request->noise = (uint32_t)(noise * 65536);
		request->engine = (uint16_t)random_below(random, world->engines);
		if (groups > 1)
			request->group = (uint8_t)random_below(random, groups);
	}
}

/* ---- the catalogue ---- */

static void world_draw_stalls(struct sim_world *world, struct sim_random *random)
{
	for (uint32_t i = 0; i < world->devices; i++) {
		double at = 20e6 * (i + 1);

		while (at < (double)WORLD_NS) {
			double end = at + 3e6 + 4e6 * random_unit(random);

			world_add_segment(world, i, (uint64_t)at, (uint64_t)end, 0);
			at = end + 60e6 + 80e6 * random_unit(random);
		}
	}
}

static uint32_t world_topology(struct sim_world *world, uint32_t number)
{
	struct sim_random random;
	uint32_t devices, load;

	random_start_topology(&random, number);
	devices = 2 + (uint32_t)floor(7 * random_topology(&random, 1, 2) - 7);
	for (uint32_t i = 0; i < devices; i++) {
		double base = random_topology(&random, 2e3, 200e3);
		double per_byte = random_topology(&random, 0.03, 1.5);
		uint32_t servers = (uint32_t)random_topology(&random, 1, 9);

		world_add_device(world, (uint32_t)base, (uint32_t)(per_byte * 1000), servers);
	}
	load = (uint32_t)(random_topology(&random, 1, 9) * 10);
	if (number >= 200 && number < 240) {
		double at = devices * random_topology(&random, 1, 2) - devices;

		world_add_segment(world, (uint32_t)at, 700 * SIM_MS, 1300 * SIM_MS, 102);
	}
	return load;
}

static bool world_settle(struct sim_world *world, struct world_plan *plan, const char *name,
			 struct sim_random *random)
{
	if (name[0] == 'T') {
		plan->percent = world_topology(world, (uint32_t)atoi(name + 1));
		plan->ns = WORLD_TOPOLOGY_NS;
		return true;
	}
	if (!strcmp(name, "S4")) {
		world_add_device(world, 5000, 400, 1);
		world_add_device(world, 25000, 80, 1);
		plan->percent = 35;
		return true;
	}
	if (!strcmp(name, "S11")) {
		for (int i = 0; i < 4; i++)
			world_add_device(world, 20000, 100, 2);
		plan->percent = 70;
		return true;
	}
	world_add_usual(world);
	if (!strcmp(name, "S0")) {
		plan->percent = 20;
	} else if (!strcmp(name, "S1")) {
		plan->percent = 60;
	} else if (!strcmp(name, "S5")) {
		plan->percent = 95;
	} else if (!strcmp(name, "S2")) {
		plan->percent = 40;
		world_add_segment(world, 1, 1500 * SIM_MS, 3000 * SIM_MS, 102);
	} else if (!strcmp(name, "S3")) {
		plan->percent = 40;
		world_draw_stalls(world, random);
	} else if (!strcmp(name, "S51")) {
		world->outstanding = 32;
	} else if (!strcmp(name, "S6")) {
		plan->percent = 50;
		plan->cycle_ns = 20 * SIM_MS;
		plan->burst_ns = 5 * SIM_MS;
		plan->burst = 3.0;
		plan->quiet = 0.3333;
	} else if (!strcmp(name, "S7")) {
		plan->percent = 40;
		world_add_fault(world, 1, 1500 * SIM_MS, 2500 * SIM_MS, 1000);
		world_add_fault(world, 1, 3000 * SIM_MS, 3500 * SIM_MS, 100);
	} else if (!strcmp(name, "S8") || !strcmp(name, "S81")) {
		plan->percent = 70;
		world->engines = 8;
		world->engines_shared = name[2] ? 8 : 0;
	} else if (!strcmp(name, "S9")) {
		plan->percent = 50;
		plan->clump = 16;
	} else if (!strcmp(name, "S10")) {
		plan->percent = 30;
		for (uint64_t at = 1; at <= 3; at++)
			for (uint32_t i = 0; i < world->devices; i++)
				world_add_segment(world, i, at * SIM_S, at * SIM_S + 200 * SIM_MS,
						  400);
	} else {
		return false;
	}
	return true;
}

static void world_begin(struct sim_world *world, const char *name, uint32_t seed,
			struct sim_random *random)
{
	memset(world, 0, sizeof(*world));
	snprintf(world->name, sizeof(world->name), "%s", name);
	world->engines = 1;
	world->seed = 88172645463325252ULL + 7919ULL * seed;
	random->state = world->seed;
	for (int i = 0; i < 10; i++)
		random_next(random);
}

bool world_make(struct sim_world *ret_world, const char *name, uint32_t seed)
{
	struct world_plan plan = { .ns = WORLD_NS };
	struct sim_random random;

	world_begin(ret_world, name, seed, &random);
	if (!world_settle(ret_world, &plan, name, &random))
		return false;
	world_draw_arrivals(ret_world, &random, &plan);
	world_draw_requests(ret_world, &random);
	return true;
}

void world_make_large(struct sim_world *ret_world, uint32_t groups, uint32_t engines,
		      uint32_t shared, uint32_t percent, uint64_t ns, uint32_t seed)
{
	struct world_plan plan = { .ns = ns, .percent = percent };
	struct sim_random random;

	world_begin(ret_world, "large", seed, &random);
	assert(groups <= SIM_DEVICES / SIM_GROUP);
	for (uint32_t i = 0; i < groups * SIM_GROUP / 4; i++)
		world_add_usual(ret_world);
	ret_world->engines = engines;
	ret_world->engines_shared = shared;
	world_draw_arrivals(ret_world, &random, &plan);
	world_draw_requests(ret_world, &random);
}

void world_free(struct sim_world *world)
{
	for (uint32_t i = 0; i < world->devices; i++)
		free(world->device[i].segment);
	free(world->request);
	memset(world, 0, sizeof(*world));
}
