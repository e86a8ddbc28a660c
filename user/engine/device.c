/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * device.c: the table of devices of an engine. Each driver gives one device; a driver whose run()
 * is thread-safe gives a second one, NAME@worker, that runs on the pool. Devices are probed when a
 * context first asks for them and opened when they are first picked.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/drivers.h"
#include "drivers/fault.h"

#define DEVICE_OF(name) &taio_driver_##name,
static const struct taio_driver *const device_drivers[] = { TAIO_DRIVER_LIST(DEVICE_OF) };

_Static_assert(TAIO_DRIVER_COUNT * 2 <= ENGINE_DEVICES, "masks of devices are 64 bits wide");

static void device_add(struct taio *e, const struct taio_driver *driver, bool worker)
{
	struct taio_device *device = &e->device[e->device_count];

	assert(e->device_count < ENGINE_DEVICES && driver->abi == TAIO_DRIVER_ABI);
	device->driver = driver;
	device->host = &e->host;
	device->number = (uint8_t)e->device_count;
	device->worker = worker;
	snprintf(device->name, sizeof(device->name), "%s%s", driver->name, worker ? "@worker" : "");
	e->device_at[e->device_count] = device;
	if (device_is_async(device))
		e->async |= 1ULL << e->device_count;
	if (driver->release)
		e->claimers |= 1ULL << e->device_count;
	e->device_count++;
}

int device_number(const struct taio *e, const char *name)
{
	for (unsigned int i = 0; i < e->device_count; i++)
		if (strcmp(e->device[i].name, name) == 0)
			return (int)i;
	return -ENODEV;
}

static uint8_t device_must(const struct taio *e, const char *name)
{
	int number = device_number(e, name);

	assert(number >= 0); /* every engine has it */
	return (uint8_t)number;
}

static int device_refuse(struct taio *e, const char *what, const char *why)
{
	snprintf(e->refusal, sizeof(e->refusal), "TAIO_FAULT: %s%s", what, why);
	engine_log(e, "%s", e->refusal);
	return -EINVAL;
}

/* $TAIO_FAULT makes devices misbehave: see fault.h. What is learnt from them is not for others. */
static int device_inject(struct taio *e)
{
	const char *text = secure_getenv("TAIO_FAULT"), *name;
	char why[128];
	int rc;

	if (!text || !*text)
		return 0;
	rc = fault_parse(&e->faults, text, e->opened_ns, why, sizeof(why));
	if (rc)
		return rc == -EINVAL ? device_refuse(e, "", why) : rc;
	for (unsigned int i = 0; i < e->device_count; i++) {
		rc = fault_wrap(e->faults, &e->device[i]);
		if (rc < 0)
			return rc;
	}
	name = fault_unknown(e->faults);
	if (name)
		return device_refuse(e, "no device is called ", name);
	e->flags |= TAIO_NO_CACHE;
	engine_log(e, "faults are injected: %s", text);
	return 0;
}

static void device_sort_out(struct taio *e)
{
	for (unsigned int i = 0; i < e->device_count; i++)
		if (e->device[i].worker || device_is_async(&e->device[i]))
			e->not_inline |= 1ULL << i;
}

int device_table_open(struct taio *e)
{
	int rc;

	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++)
		device_add(e, device_drivers[i], false);
	memset(e->twin, PICK_NONE, sizeof(e->twin));
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		if (!(device_drivers[i]->flags & TAIO_DRIVER_WORKER))
			continue;
		e->twin[i] = (uint8_t)e->device_count;
		device_add(e, device_drivers[i], true);
	}
	e->control[ENGINE_PICKED] = PICK_NONE;
	e->control[ENGINE_SYS] = device_must(e, "sys");
	e->control[ENGINE_SYS_ASIDE] = device_must(e, "sys@worker");
	e->control[ENGINE_NET] = device_must(e, "net");
	e->control[ENGINE_RESOLVER] = device_must(e, "net@worker");
	(void)device_mask(e, "file,rw,sendfile", &e->file_calls);
	for (unsigned int i = 0; i < e->device_count; i++) {
		const struct taio_device *device = &e->device[i];
		uint32_t limit = device->worker ? 2 * WORKERS_MAX : UINT32_MAX;

		pick_add_device(e->picker, device->number, device->name, limit);
	}
	rc = device_inject(e);
	device_sort_out(e);
	return rc;
}

void device_table_close(struct taio *e)
{
	for (unsigned int i = 0; i < e->device_count; i++) {
		struct taio_device *device = &e->device[i];

		if (device->opened && device->driver->close)
			device->driver->close(device);
		device->opened = 0;
	}
	fault_free(e->faults);
	e->faults = NULL;
}

bool device_available(struct taio *e, uint8_t number)
{
	struct taio_device *device = &e->device[number];

	assert(number < e->device_count);
	if (device->probed)
		return device->error == 0;
	device->probed = 1;
	if (device->worker && e->worker_limit == 0) {
		device->error = -EPERM;
		snprintf(device->reason, sizeof(device->reason), "worker threads are switched off");
	} else if (device->driver->probe) {
		device->error = device->driver->probe(device);
	}
	if (device->error && !device->reason[0])
		snprintf(device->reason, sizeof(device->reason), "%s", strerror(-device->error));
	return device->error == 0;
}

int device_open(struct taio *e, uint8_t number)
{
	struct taio_device *device = &e->device[number];

	if (device->opened)
		return 0;
	if (!device_available(e, number))
		return device->error;
	if (device->driver->open) {
		int rc = device->driver->open(device);

		if (rc) {
			device->error = rc;
			if (!device->reason[0])
				snprintf(device->reason, sizeof(device->reason), "%s",
					 strerror(-rc));
			engine_log(e, "device %s is not available: %s", device->name,
				   device->reason);
			return rc;
		}
	}
	device->opened = 1;
	if (device_is_async(device))
		e->open_async |= 1ULL << number;
	return 0;
}

const struct taio_capability *device_capability(const struct taio_device *device, uint8_t op,
						uint8_t from_kind, uint8_t to_kind)
{
	const struct taio_capability *cap = device->driver->caps;

	for (; cap->op != TAIO_OP_NONE; cap++) {
		if (cap->op != op)
			continue;
		if (op != TAIO_OP_COPY ||
		    ((cap->from & (1u << from_kind)) && (cap->to & (1u << to_kind))))
			return cap;
	}
	return NULL;
}

/* A plain name also names the worker twin. */
static uint64_t device_match(const struct taio *e, const char *name, size_t length)
{
	uint64_t mask = 0;

	for (unsigned int i = 0; i < e->device_count; i++) {
		const char *have = e->device[i].name;

		if (strncmp(have, name, length) == 0 &&
		    (have[length] == '\0' || have[length] == '@'))
			mask |= 1ULL << i;
	}
	return mask;
}

int device_mask(struct taio *e, const char *names, uint64_t *ret_mask)
{
	uint64_t mask = 0;

	while (*names) {
		size_t length = strcspn(names, ",");
		uint64_t found = length ? device_match(e, names, length) : 0;

		if (!found) {
			snprintf(e->refusal, sizeof(e->refusal), "no device is called '%.*s'",
				 (int)length, names);
			return -ENODEV;
		}
		mask |= found;
		names += length;
		if (*names == ',')
			names++;
	}
	if (!mask)
		return -EINVAL;
	*ret_mask = mask;
	return 0;
}
