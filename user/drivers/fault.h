/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fault.h: devices that misbehave by a schedule, to see what the engine makes of it. A schedule
 * names devices; each of them keeps its name, number and capabilities and gets the faults on top.
 * Without a schedule nothing of this is in the way: no device is wrapped.
 *
 *   schedule := DEVICE ":" fault { "," fault } { ";" DEVICE ":" fault { "," fault } }
 *   fault    := ( "delay=" ( FACTOR "x" | TIME ) [ "/" N ]   each step takes FACTOR times as long, or
 *                                                            TIME longer
 *               | "stall=" TIME "/" PERIOD                   for the first TIME of each PERIOD
 *                                                            nothing completes
 *               | "errno=" ERROR [ "/" N ]                   fails at once, with no byte moved
 *               | "short=" A "/" B [ "/" N ] )               moves A/B of its bytes, at least one
 *               [ "@" [ TIME ] "-" [ TIME ] ]                only then, counted from the opening
 *   TIME     := number ( "ns" | "us" | "ms" | "s" )
 *   N        := only each Nth step of the device
 *   ERROR    := EIO, ENOSPC, ... or a number
 *   DEVICE   := as in pins: a plain name means the device on a worker, too; "*": all that carry
 *               bytes
 *
 *   TAIO_FAULT='sendfile:delay=10x@1s-2s;uring:stall=5ms/100ms;rw:errno=EIO/1000;cfr:short=1/3'
 *
 * Asynchronous devices: completions are held back until their time, the engine's thread never
 * waits; a step that is cancelled is given back at once. Devices that run inline or on a worker
 * sleep in run(), as a slow device does.
 */
#ifndef TAIO_FAULT_H
#define TAIO_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "taio_driver.h"

struct fault_plan;

/* Reads a schedule; its windows are counted from @start_ns (CLOCK_MONOTONIC).
 * Return: 0; -ENOMEM; -EINVAL: malformed, and @why is one sentence. */
int fault_parse(struct fault_plan **ret_plan, const char *text, uint64_t start_ns, char *why,
		size_t size);

/* Puts the faults that the schedule has for a device in front of its driver; to be called before
 * the device is probed. Return: 1: done; 0: it has none; -ENOMEM. */
int fault_wrap(struct fault_plan *plan, struct taio_device *dev);

/* A name of the schedule that no wrapped device has; NULL: none. */
const char *fault_unknown(const struct fault_plan *plan);

/* All devices are closed; their drivers are as they were before. NULL: nothing to do. */
void fault_free(struct fault_plan *plan);

#endif /* TAIO_FAULT_H */
