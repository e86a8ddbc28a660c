/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * reference.c: choosers that know what no engine can know. `oracle` knows the true work of each
 * request, what is queued, and all stalls and faults to come, and takes the earliest finish (it is
 * greedy, so a policy may beat it). `informed` knows the true figures of the devices, their speed
 * just now, what is in flight, but neither noise nor future: the realistic ceiling.
 */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reference {
	struct sim_chooser base;
	const struct sim_run *run;
	bool knows_all;
	/* by engine, or one for all that share */
	struct reference_load {
		uint64_t bytes;
		uint32_t in_flight;
	} * load;
};

static struct reference_load *reference_load(struct reference *reference, uint32_t engine,
					     uint32_t device)
{
	if (engine < reference->run->world->engines_shared)
		engine = 0;
	return &reference->load[engine * SIM_DEVICES + device];
}

static uint64_t reference_finish(struct reference *reference, const struct sim_ask *ask,
				 uint32_t number)
{
	/* Looking moves the cursor, which a look is free to do. */
	struct sim_device *device = (struct sim_device *)&reference->run->device[number];

	if (device_fails(reference->run->world, number, ask->number, ask->attempt, ask->now_ns))
		return UINT64_MAX - 1;
	return device_serve(device, ask->request, ask->now_ns, false);
}

static uint64_t reference_cost(struct reference *reference, const struct sim_ask *ask,
			       uint32_t number)
{
	const struct sim_device *device = &reference->run->device[number];
	const struct reference_load *load = reference_load(reference, ask->request->engine, number);
	const struct sim_spec *spec = device->spec;
	uint64_t own = spec->base_ns + sim_bytes(ask->request) * spec->ps_per_byte / 1000;
	uint64_t q = load->in_flight, k = spec->servers, wait = 0, speed;

	if (q >= k)
		wait = (q * spec->base_ns + load->bytes * spec->ps_per_byte / 1000) * (q - k + 1) /
		       q / k * 9 / 10;
	speed = device_speed(device, ask->now_ns);
	if (!speed || device_fault(reference->run->world, number, ask->now_ns) > 500)
		return UINT64_MAX - 1;
	return (own + wait) * 1024 / speed;
}

static int reference_choose(struct sim_chooser *chooser, const struct sim_ask *ask,
			    struct pick_choice *ret_choice)
{
	struct reference *reference = (struct reference *)chooser;
	uint32_t first = ask->request->group * SIM_GROUP, last = first + SIM_GROUP;
	uint64_t least = UINT64_MAX;

	if (last > reference->run->world->devices || reference->run->world->one_kind)
		last = reference->run->world->devices;
	memset(ret_choice, 0, sizeof(*ret_choice));
	for (uint32_t i = first; i < last; i++) {
		uint64_t cost;

		if (ask->skip >> i & 1)
			continue;
		cost = reference->knows_all ? reference_finish(reference, ask, i)
					    : reference_cost(reference, ask, i);
		if (cost < least) {
			least = cost;
			ret_choice->device = (uint8_t)i;
		}
	}
	return least == UINT64_MAX ? -ENODEV : 0;
}

static void reference_submitted(struct sim_chooser *chooser, const struct sim_request *request,
				uint8_t device, uint64_t now_ns)
{
	struct reference_load *load;

	(void)now_ns;
	load = reference_load((struct reference *)chooser, request->engine, device);
	load->in_flight++;
	load->bytes += sim_bytes(request);
}

static void reference_completed(struct sim_chooser *chooser, const struct sim_request *request,
				const struct pick_result *result)
{
	struct reference_load *load = reference_load((struct reference *)chooser, request->engine,
						     result->choice->device);

	load->in_flight--;
	load->bytes -= sim_bytes(request);
}

static void reference_turn(struct sim_chooser *chooser, uint32_t engine, uint64_t now_ns)
{
	(void)chooser;
	(void)engine;
	(void)now_ns;
}

static void reference_end(struct sim_chooser *chooser)
{
	struct reference *reference = (struct reference *)chooser;

	free(reference->load);
	free(reference);
}

struct sim_chooser *reference_chooser(const struct sim_run *run,
				      const struct sim_contestant *contestant)
{
	struct reference *reference = calloc(1, sizeof(*reference));

	assert(reference);
	reference->base = (struct sim_chooser){ .choose = reference_choose,
						.submitted = reference_submitted,
						.completed = reference_completed,
						.turn = reference_turn,
						.end = reference_end };
	reference->run = run;
	reference->knows_all = !strcmp(contestant->policy, "oracle");
	reference->load =
		calloc((size_t)run->world->engines * SIM_DEVICES, sizeof(*reference->load));
	assert(reference->load);
	return &reference->base;
}
