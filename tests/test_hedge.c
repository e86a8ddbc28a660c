/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_hedge.c: second copies of late steps. The ring's device is made late by a fault, so that its
 * completions are held back; a step that is called back comes at once, as from a real ring.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine_kit.h"

#define BYTES 65536
#define LATE  "uring:delay=12s"

static uint8_t memory[BYTES];
static uint8_t *data;
static int fd;

/* An engine whose ring is late; a file of BYTES in fd. The case is skipped without a ring. */
static void open_late(const char *faults, uint32_t flags, const char *pin)
{
	struct taio_engine_options options = kit_engine_options(flags);
	struct taio_event event;

	options.pin = pin;
	kit_open_options(&options);
	data = kit_pattern(BYTES, 3);
	kit_write(kit_path("a"), data, BYTES);
	fd = open(kit_path("a"), O_RDWR);
	cr_assert_geq(fd, 0);
	event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), NULL);
	cr_assert_eq(event.result, BYTES);
	options.pin = "uring";
	kit_reopen(&options);
	event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), NULL);
	if (event.result < 0) {
		close(fd);
		free(data);
		kit_skip("no io_uring here: %s", strerror((int)-event.result));
	}
	options.pin = pin;
	setenv("TAIO_FAULT", faults, 1);
	kit_reopen(&options);
	unsetenv("TAIO_FAULT");
	memset(memory, 0, sizeof(memory));
}

static void close_late(void)
{
	close(fd);
	free(data);
	kit_close();
}

/* Both are allowed. */
#define BOTH "uring,rw"

static struct taio_options wary(uint64_t timeout_ns)
{
	struct taio_options options = kit_options();

	options.timeout_ns = timeout_ns;
	return options;
}

/* The ring is open and the cheapest everywhere: nothing is learnt of it, since it is always late. */
static void prefer_ring(void)
{
	int ring = device_number(kit, "uring");

	cr_assert_geq(ring, 0);
	cr_assert_eq(device_open(kit, (uint8_t)ring), 0);
	for (uint32_t i = 0; i < kit->picker->context_count; i++) {
		struct pick_context *context = &kit->picker->context[i];

		for (unsigned int k = 0; k < context->count; k++)
			if (context->candidate[k].device == ring)
				kit->picker->maps->ctx[context->index]
					.scale[context->candidate[k].slot] = 1;
		memset(context->memory, 0, sizeof(context->memory));
		memset(context->last, PICK_NONE, sizeof(context->last));
	}
	kit->picker->probe_credit_ns = 0;
	kit->hedge.tokens = 100;
}

/* A first request makes the context and the prices; it may be given up. */
static void warm(struct taio_endpoint from, struct taio_endpoint to)
{
	struct taio_options options = wary(1000000);

	(void)kit_copy(from, to, &options);
	policy_tick(kit->policy, kit_now_ns(), 1);
	prefer_ring();
}

static const struct taio_trace_step *row_of(const struct taio_trace *trace, uint8_t why)
{
	for (uint32_t i = 0; i < trace->used; i++)
		if (trace->step[i].why == why)
			return &trace->step[i];
	return NULL;
}

Test(hedge, a_late_step_is_done_by_another_device, .timeout = 60)
{
	struct taio_trace_step rows[16];
	struct taio_trace trace = { .capacity = 16, .step = rows };
	struct taio_options options = kit_options();
	struct taio_event event;

	open_late(LATE, TAIO_HEDGE, BOTH);
	warm(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES));
	options.trace = &trace;
	event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), &options);
	cr_assert_eq(event.result, BYTES);
	cr_assert(event.flags & TAIO_EVENT_HEDGED);
	cr_assert_lt(event.ns, 10000000000ULL, "it did not wait for the late one");
	cr_assert(memcmp(memory, data, BYTES) == 0);
	/* where the thread is slow, rather by a worker than on it */
	cr_assert(!strncmp(taio_device_name(kit, event.device), "rw", 2), "by %s",
		  taio_device_name(kit, event.device));
	cr_assert_not_null(row_of(&trace, TAIO_WHY_HEDGE));
	cr_assert_eq(row_of(&trace, TAIO_WHY_HEDGE)->bytes, BYTES);
	cr_assert_eq(kit->picker->maps->engine->hedges, 1);
	cr_assert_eq(kit->hedge.pairs, 0);
	cr_assert_eq(kit->steps_busy, 0);
	close_late();
}

Test(hedge, without_being_asked_for_there_is_none, .timeout = 60)
{
	struct taio_options options = wary(100000000);
	struct taio_event event;

	open_late(LATE, 0, BOTH);
	warm(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES));
	event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_not(event.flags & TAIO_EVENT_HEDGED);
	cr_assert_eq(kit->picker->maps->engine->hedges, 0);
	close_late();
}

Test(hedge, nobody_writes_to_the_destination_after_the_event, .timeout = 60)
{
	open_late("uring:delay=5ms", TAIO_HEDGE, BOTH);
	warm(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES));
	for (unsigned int i = 0; i < 30; i++) {
		struct taio_event event;

		prefer_ring();
		event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), NULL);
		cr_assert_eq(event.result, BYTES);
		cr_assert(memcmp(memory, data, BYTES) == 0);
		cr_assert_eq(kit->in_flight, 0, "a copy is still out");
		memset(memory, 0x5a, BYTES);
		usleep(1000);
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0, "one event, no more");
		for (unsigned int k = 0; k < BYTES; k++)
			cr_assert_eq(memory[k], 0x5a, "byte %u was written", k);
	}
	cr_assert_gt(kit->picker->maps->engine->hedges, 0);
	close_late();
}

Test(hedge, steps_with_a_second_copy_are_at_most_one_in_twenty_and_a_burst, .timeout = 60)
{
	enum {
		REQUESTS = 400
	};
	unsigned int whole = 0, hedged = 0;

	open_late("uring:delay=2ms", TAIO_HEDGE, BOTH);
	warm(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES));
	for (unsigned int i = 0; i < REQUESTS; i++) {
		struct taio_event event;

		uint32_t tokens = kit->hedge.tokens;

		prefer_ring();
		kit->hedge.tokens = i ? tokens : 0;
		event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), NULL);
		whole += event.result == BYTES;
		hedged += (event.flags & TAIO_EVENT_HEDGED) != 0;
	}
	cr_assert_eq(whole, REQUESTS);
	cr_assert_gt(hedged, 0);
	cr_assert_leq(hedged, REQUESTS / 20 + 8);
	cr_assert_eq(hedged, kit->picker->maps->engine->hedges);
	close_late();
}

Test(hedge, both_copies_of_a_cancelled_request_come_back_and_one_event_comes, .timeout = 60)
{
	struct taio_endpoint from, to = taio_memory(memory, BYTES);
	struct taio_event event;

	/* the second copy is late, too: on a worker */
	open_late("uring:delay=12s;rw:delay=300ms", TAIO_HEDGE, "uring,rw@worker");
	from = taio_file(fd, 0, BYTES);
	warm(from, to);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 77), 0);
	while (kit->hedge.pairs == 0)
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, 1000000), 0);
	cr_assert_eq(kit->in_flight, 2);
	cr_assert_eq(taio_cancel(kit, 77), 1);
	event = kit_wait_one();
	cr_assert_eq(event.cookie, 77);
	cr_assert_eq(event.result, -ECANCELED);
	cr_assert_eq(kit->in_flight, 0);
	cr_assert_eq(kit->hedge.pairs, 0);
	cr_assert_eq(kit->steps_busy, 0);
	cr_assert_eq(taio_get_events(kit, &event, 0, 1, 50000000), 0);
	close_late();
}

Test(hedge, a_second_copy_that_fails_or_is_short_changes_nothing, .timeout = 60)
{
	static const char *const faults[] = { "uring:delay=300ms;rw:errno=EIO",
					      "uring:delay=300ms;rw:short=1/3" };

	for (unsigned int i = 0; i < 2; i++) {
		struct taio_event event;

		open_late(faults[i], TAIO_HEDGE, BOTH);
		warm(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES));
		event = kit_copy(taio_file(fd, 0, BYTES), taio_memory(memory, BYTES), NULL);
		cr_assert_eq(event.result, BYTES, "%s: %s", faults[i],
			     event.result < 0 ? strerror((int)-event.result) : "short");
		cr_assert(event.flags & TAIO_EVENT_HEDGED);
		cr_assert(memcmp(memory, data, BYTES) == 0);
		close_late();
	}
}

Test(hedge, a_copy_from_file_to_file_may_have_one_and_a_copy_within_a_file_never, .timeout = 60)
{
	struct taio_options options = wary(100000000);
	struct taio_event event;
	int other;

	open_late(LATE, TAIO_HEDGE, BOTH);
	other = open(kit_path("b"), O_RDWR | O_CREAT, 0644);
	warm(taio_file(fd, 0, BYTES), taio_file(other, 4096, BYTES));
	event = kit_copy(taio_file(fd, 0, BYTES), taio_file(other, 4096, BYTES), NULL);
	cr_assert_eq(event.result, BYTES);
	cr_assert(event.flags & TAIO_EVENT_HEDGED);
	cr_assert_eq(pread(other, memory, BYTES, 4096), BYTES);
	cr_assert(memcmp(memory, data, BYTES) == 0);
	prefer_ring();
	event = kit_copy(taio_file(fd, 0, 4096), taio_file(fd, BYTES, 4096), &options);
	cr_assert_not(event.flags & TAIO_EVENT_HEDGED);
	close(other);
	close_late();
}

Test(hedge, streams_have_none, .timeout = 60)
{
	struct taio_options options = wary(100000000);
	struct taio_event event;
	int pair[2];

	open_late(LATE, TAIO_HEDGE, BOTH);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	warm(taio_file(fd, 0, 1000), taio_descriptor(pair[0]));
	event = kit_copy(taio_file(fd, 0, 1000), taio_descriptor(pair[0]), &options);
	cr_assert_not(event.flags & TAIO_EVENT_HEDGED);
	cr_assert_eq(kit->picker->maps->engine->hedges, 0);
	close(pair[0]);
	close(pair[1]);
	close_late();
}
