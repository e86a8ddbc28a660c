/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * device.c: a device is a queue in front of some servers. The work of a request is known when it
 * comes, so its end is computed at once: the earliest free server takes it, and works it off at
 * whatever speed the device has in each moment. Nothing queued moves or is called back.
 */
#include "sim.h"

#include <assert.h>
#include <stdlib.h>

void device_start(struct sim_device *device, const struct sim_spec *spec)
{
	device->spec = spec;
	device->free_ns = calloc(spec->servers, sizeof(uint64_t));
	assert(device->free_ns);
	device->cursor = 0;
	device->in_flight = 0;
}

void device_end(struct sim_device *device)
{
	free(device->free_ns);
}

uint64_t device_work(const struct sim_device *device, const struct sim_request *request)
{
	const struct sim_spec *spec = device->spec;
	uint64_t ns = spec->base_ns + sim_bytes(request) * spec->ps_per_byte / 1000;

	ns = (ns * request->noise) >> 16;
	return ns ? ns : 1;
}

/* When @work that is begun at @now_ns is done. */
static uint64_t device_finish(const struct sim_device *device, uint64_t now_ns, uint64_t work)
{
	for (uint32_t i = device->cursor; i < device->spec->segments; i++) {
		const struct sim_segment *s = &device->spec->segment[i];

		if (s->to_ns <= now_ns)
			continue;
		if (now_ns < s->from_ns) {
			if (work <= s->from_ns - now_ns)
				break;
			work -= s->from_ns - now_ns;
			now_ns = s->from_ns;
		}
		if (work <= (s->to_ns - now_ns) * s->speed / 1024)
			return now_ns + (work * 1024 + s->speed - 1) / s->speed;
		work -= (s->to_ns - now_ns) * s->speed / 1024;
		now_ns = s->to_ns;
	}
	return now_ns + work;
}

uint64_t device_serve(struct sim_device *device, const struct sim_request *request, uint64_t now_ns,
		      bool commit)
{
	const struct sim_spec *spec = device->spec;
	uint32_t server = 0;
	uint64_t start_ns, end_ns;

	for (uint32_t i = 1; i < spec->servers; i++)
		if (device->free_ns[i] < device->free_ns[server])
			server = i;
	start_ns = device->free_ns[server] > now_ns ? device->free_ns[server] : now_ns;
	/* Starts never go back in time, so what is over at this one is over for good. */
	while (device->cursor < spec->segments && spec->segment[device->cursor].to_ns <= now_ns)
		device->cursor++;
	end_ns = device_finish(device, start_ns, device_work(device, request));
	if (commit)
		device->free_ns[server] = end_ns;
	return end_ns;
}

uint32_t device_speed(const struct sim_device *device, uint64_t now_ns)
{
	for (uint32_t i = device->cursor; i < device->spec->segments; i++) {
		const struct sim_segment *s = &device->spec->segment[i];

		if (s->from_ns > now_ns)
			break;
		if (now_ns < s->to_ns)
			return s->speed;
	}
	return 1024;
}

uint32_t device_fault(const struct sim_world *world, uint32_t device, uint64_t now_ns)
{
	for (uint32_t i = 0; i < world->faults; i++) {
		const struct sim_fault *fault = &world->fault[i];

		if (fault->device == device && now_ns >= fault->from_ns && now_ns < fault->to_ns)
			return fault->permille;
	}
	return 0;
}

bool device_fails(const struct sim_world *world, uint32_t device, uint32_t request,
		  uint32_t attempt, uint64_t now_ns)
{
	uint32_t permille = device_fault(world, device, now_ns);
	struct sim_random random = { world->seed ^ (request + 1) * 0x9e3779b97f4a7c15ULL ^
				     (uint64_t)(attempt + 1) << 56 ^ device };

	if (!permille)
		return false;
	random_next(&random);
	return random_below(&random, 1000) < permille;
}
