/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * pointer.c: pointer copies that run within the call that asks for them: no plan, no queue. Above
 * the size that bypasses everything the picker still chooses and learns; taio_memcpy_large() goes
 * by the learn-once rule of util/memroute.h, which costs a comparison.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "drivers/drivers.h"
#include "util/clock.h"
#include "util/memroute.h"

#define POINTER_AGAIN 63 /* small copies that follow a decision */

static void pointer_fill(struct taio_step *step, const void *from, void *to, size_t len)
{
	step->op = TAIO_OP_COPY;
	step->from.kind = step->to.kind = TAIO_KIND_MEM;
	step->from.flags = step->to.flags = 0;
	step->from.fs = step->to.fs = 0;
	step->from.ptr = (void *)(uintptr_t)from;
	step->to.ptr = to;
	step->len = len;
	step->flags = 0;
	step->first_error = 0;
}

/* The whole way: picked, measured, learnt from. */
static int pointer_picked(struct taio *e, struct taio_step *step)
{
	struct request *r = &e->pointer_request;

	r->allowed = UINT64_MAX;
	r->excluded = 0;
	r->traits = policy_next_is_canary(e->policy) ? REQUEST_CANARY : 0;
	while (step->len) {
		if (route_start(e, r, step) != ROUTE_DONE || step->result <= 0)
			return -EOPNOTSUPP; /* memcpy is always there: a broken build */
		step->len -= (uint64_t)step->result;
		step->from.ptr = (char *)step->from.ptr + step->result;
		step->to.ptr = (char *)step->to.ptr + step->result;
	}
	return 0;
}

/* The short way: the device that was picked for the last copy of this size class, if it still says
 * that it fits; most copies between two decisions go this way. */
static bool pointer_again(struct taio *e, struct taio_step *step, uint32_t class)
{
	struct taio_device *device = &e->device[e->pointer_device[class]];
	int64_t moved;

	if (device->driver->fits && !device->driver->fits(device, step))
		return false;
	e->pointer_left[class]--;
	moved = device->driver->run(device, step);
	e->now_ns = clock_ns();
	if (moved != (int64_t)step->len)
		return false; /* copied again, from the start */
	e->count[device->number].steps++;
	e->count[device->number].bytes += step->len;
	step->device = device->number;
	return true;
}

int pointer_now(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		uint64_t cookie)
{
	struct taio_step *step = &e->pointer_step;
	uint32_t class = taio_class_of(from->length);
	bool small = from->length < MEM_COLD_MIN;
	uint64_t start;

	if (e->pool.busy + e->event_count >= e->pool.capacity)
		return -EAGAIN;
	pointer_fill(step, from->ptr, (void *)(uintptr_t)to->ptr, from->length);
	if (!small && mem_route_is_cold(&e->memory, (void *)(uintptr_t)to->ptr, from->length))
		step->to.flags |= TAIO_END_COLD;
	start = e->now_ns = clock_ns();
	if (!small || !e->pointer_left[class] || !pointer_again(e, step, class)) {
		int rc = pointer_picked(e, step);

		if (rc)
			return rc;
		e->pointer_device[class] = step->device;
		e->pointer_left[class] = policy_canary_maps(e->policy) ? 0 : POINTER_AGAIN;
		policy_canary_count(e->policy, e->pointer_request.traits & REQUEST_CANARY, 0,
				    from->length, start, e->now_ns - start);
	}
	event_push_inline(e, cookie, from->length, e->now_ns - start, step->device, 0);
	return 0;
}

static const uint8_t pointer_devices[] = {
	[MEM_MEMCPY] = TAIO_DEVICE_memcpy,
	[MEM_NT] = TAIO_DEVICE_nt,
	[MEM_SPLIT] = TAIO_DEVICE_split,
};

void *taio_memcpy_large(struct taio *e, void *to, const void *from, size_t len)
{
	struct taio_step *step = &e->pointer_step;
	struct taio_device *device;
	enum mem_choice choice;
	int cold;

	if (len < MEM_COLD_MIN)
		return memcpy(to, from, len);
	cold = mem_route_is_cold(&e->memory, to, len);
	choice = mem_choose(len, cold, 1);
	if (choice == MEM_MEMCPY)
		return memcpy(to, from, len);
	pointer_fill(step, from, to, len);
	device = &e->device[TAIO_DEVICE_split];
	if (choice == MEM_SPLIT &&
	    (device_open(e, device->number) || !device->driver->fits(device, step)))
		choice = mem_choose(len, cold, 0);
	device = &e->device[pointer_devices[choice]];
	if (choice == MEM_MEMCPY || device_open(e, device->number) ||
	    device->driver->run(device, step) != (int64_t)len)
		return memcpy(to, from, len);
	return to;
}
