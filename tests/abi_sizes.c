/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * abi_sizes.c: prints what a program compiled against the public headers has built into itself:
 * sizes of the structures, places of fields, numbers of the enumerations' ends. The list of the
 * structures is drawn from the headers by the Makefile.
 * tests/check_abi.sh compares that with tests/abi.golden.
 */
#include <stddef.h>
#include <stdio.h>

#include "taio.h"
#include "taio_driver.h"
#include "taio_policy.h"
#include "taio_policy_native.h"

#define X(name) \
	printf("struct %s size %zu align %zu\n", #name, sizeof(struct name), _Alignof(struct name))
#define FIELD(name, field) printf("  %s.%s at %zu\n", #name, #field, offsetof(struct name, field))
#define NUMBER(name)       printf("%s = %llu\n", #name, (unsigned long long)(name))

static void print_requests(void)
{
	FIELD(taio_endpoint, type);
	FIELD(taio_endpoint, fd);
	FIELD(taio_endpoint, ptr);
	FIELD(taio_endpoint, offset);
	FIELD(taio_endpoint, length);
	FIELD(taio_engine_options, requests);
	FIELD(taio_engine_options, workers);
	FIELD(taio_engine_options, flags);
	FIELD(taio_engine_options, policy);
	FIELD(taio_engine_options, pin);
	FIELD(taio_engine_options, forbid);
	FIELD(taio_engine_options, undelivered);
	FIELD(taio_engine_options, arg);
	FIELD(taio_engine_options, log);
	FIELD(taio_options, flags);
	FIELD(taio_options, goal);
	FIELD(taio_options, priority);
	FIELD(taio_options, tag);
	FIELD(taio_options, length);
	FIELD(taio_options, timeout_ns);
	FIELD(taio_options, deadline_ns);
	FIELD(taio_options, limit_rate);
	FIELD(taio_options, pin);
	FIELD(taio_options, forbid);
	FIELD(taio_options, datagram);
	FIELD(taio_options, progress);
	FIELD(taio_options, trace);
	FIELD(taio_options, least);
	FIELD(taio_options, limit_packets);
	FIELD(taio_options, idle_ns);
	FIELD(taio_options, datagrams);
	FIELD(taio_options, framing);
	FIELD(taio_options, counters);
	FIELD(taio_message, data);
	FIELD(taio_message, address);
	FIELD(taio_message, length);
	FIELD(taio_message, result);
	FIELD(taio_message, whole);
	FIELD(taio_message, flags);
	FIELD(taio_message, address_room);
	FIELD(taio_message, address_length);
}

static void print_results(void)
{
	FIELD(taio_event, cookie);
	FIELD(taio_event, result);
	FIELD(taio_event, bytes);
	FIELD(taio_event, ns);
	FIELD(taio_event, devices);
	FIELD(taio_event, step);
	FIELD(taio_event, device);
	FIELD(taio_event, retries);
	FIELD(taio_event, flags);
	FIELD(taio_trace_step, count);
	FIELD(taio_trace_step, bytes);
	FIELD(taio_trace_step, ns);
	FIELD(taio_trace_step, predicted_ns);
	FIELD(taio_trace_step, candidate);
	FIELD(taio_trace, capacity);
	FIELD(taio_trace, step);
	FIELD(taio_device_info, reason);
	FIELD(taio_device_info, base_ns);
	FIELD(taio_device_info, errors);
	FIELD(taio_policy_info, reason);
}

static void print_driver(void)
{
	NUMBER(TAIO_DRIVER_ABI);
	FIELD(taio_step, result);
	FIELD(taio_step, priv);
	NUMBER(TAIO_OP_COUNT);
	NUMBER(TAIO_KIND_COUNT);
	NUMBER(TAIO_FS_COUNT);
}

static void print_policy(void)
{
	NUMBER(TAIO_POLICY_ABI);
	FIELD(taio_engine, in_flight);
	FIELD(taio_engine, ring);
	FIELD(taio_ctl, policy);
	NUMBER(TAIO_CONTEXTS);
	NUMBER(TAIO_CLASSES);
	NUMBER(TAIO_SLOTS);
	NUMBER(TAIO_DEVICES);
	NUMBER(TAIO_BUCKETS);
	NUMBER(TAIO_ENGINES);
	NUMBER(TAIO_RING);
}

int main(void)
{
#include "structs.inc"
	print_requests();
	print_results();
	NUMBER(TAIO_STEP_COUNT);
	NUMBER(TAIO_WHY_COUNT);
	NUMBER(TAIO_DROP_COUNT);
	NUMBER(TAIO_MEMCPY_DIRECT);
	print_driver();
	print_policy();
	return 0;
}
