/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_gather.c: engines whose policy picks request by request, natively and in the kernel:
 * all bytes arrive, each request has one event, the trace says who decided, and cancelling, failing
 * and swapping in between lose nothing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine_kit.h"

#define PIECE (256U << 10)
#define MANY  96

TestSuite(policy_gather, .timeout = 60);

static int from_fd = -1, to_fd = -1;
static uint8_t *data;

/* The policy object in the build directory. Return: NULL: it cannot be loaded here. */
static const char *object(const char *name)
{
	static char path[KIT_PATH];
	char self[KIT_PATH];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%.200s/%s.bpf.o", self, name);
	return geteuid() == 0 && access(path, R_OK) == 0 ? path : NULL;
}

static void open_engine_with(bool in_kernel, const char *name)
{
	struct taio_engine_options options = kit_engine_options(0);
	struct taio *trial;

	options.policy = "deadline";
	if (in_kernel) {
		options.flags &= ~(uint32_t)TAIO_NO_BPF;
		options.policy = object(name);
		if (!options.policy)
			cr_skip_test("only root may load BPF, and the object must be built");
		if (taio_open(&trial, &options))
			cr_skip_test("policies cannot be loaded here");
		taio_close(trial);
	}
	options.flags |= TAIO_NO_WATCHDOG; /* it shall not end what is tested here */
	kit_open_options(&options);
	cr_assert_eq(pick_gathers(kit->picker), in_kernel);
	data = kit_pattern(MANY * PIECE, 7);
	kit_write(kit_path("from"), data, MANY * PIECE);
	from_fd = open(kit_path("from"), O_RDONLY | O_CLOEXEC);
	to_fd = open(kit_path("to"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(from_fd >= 0 && to_fd >= 0);
}

static void open_engine(bool in_kernel)
{
	open_engine_with(in_kernel, "../schedulers/deadline");
}

static void close_engine(void)
{
	close(from_fd);
	close(to_fd);
	free(data);
	kit_close();
}

/* Schedules piece @i with a deadline @in_ns from now; 0: none. */
static void schedule(unsigned int i, uint64_t in_ns, struct taio_trace *trace)
{
	struct taio_endpoint from = taio_file(from_fd, (uint64_t)i * PIECE, PIECE);
	struct taio_endpoint to = taio_file(to_fd, (uint64_t)i * PIECE, PIECE);
	struct taio_options options = kit_options();

	options.goal = TAIO_GOAL_CPU;
	options.deadline_ns = in_ns ? kit_now_ns() + in_ns : 0;
	options.trace = trace;
	cr_assert_eq(taio_copy(kit, &from, &to, &options, i), 0);
}

static void take(unsigned int count, unsigned int *events, int64_t *results)
{
	for (unsigned int n = 0; n < count;) {
		struct taio_event got[32];
		int rc = taio_get_events(kit, got, 1, 32, KIT_TIMEOUT_NS);

		if (rc == -EINTR) /* a ring completes by signals, too */
			continue;
		cr_assert_gt(rc, 0, "%d, %u of %u came", rc, n, count);
		for (int k = 0; k < rc; k++) {
			cr_assert_lt(got[k].cookie, MANY);
			events[got[k].cookie]++;
			results[got[k].cookie] = got[k].result;
		}
		n += (unsigned int)rc;
	}
	cr_expect_eq(taio_pending(kit), 0);
}

static bool trace_has(const struct taio_trace *trace, unsigned int why)
{
	for (uint32_t i = 0; i < trace->used; i++)
		if (trace->step[i].why == why)
			return true;
	return false;
}

static void copy_many(bool in_kernel)
{
	static struct taio_trace_step rows[MANY][8];
	static struct taio_trace traces[MANY];
	unsigned int events[MANY] = { 0 }, by_policy = 0;
	int64_t results[MANY];
	const struct taio_batch *batch;

	open_engine(in_kernel);
	memset(traces, 0, sizeof(traces));
	for (unsigned int i = 0; i < MANY; i++) {
		traces[i].capacity = 8;
		traces[i].step = rows[i];
		/* every third is late before it begins, every third has none */
		schedule(i, i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : 10000000000ULL, &traces[i]);
	}
	take(MANY, events, results);
	for (unsigned int i = 0; i < MANY; i++) {
		cr_expect_eq(events[i], 1);
		cr_expect_eq(results[i], PIECE, "%u: %ld", i, (long)results[i]);
		by_policy += trace_has(&traces[i], TAIO_WHY_POLICY);
		if (i % 3 == 0)
			cr_expect_not(trace_has(&traces[i], TAIO_WHY_POLICY), "%u has none", i);
	}
	kit_check(kit_path("to"), data, MANY * PIECE);
	batch = kit->picker->maps->batch;
	cr_expect_gt(by_policy, MANY / 3,
		     "%u of %u: %lu calls, %lu asked, %lu picked, %lu by price", by_policy, MANY,
		     (unsigned long)batch->batches, (unsigned long)batch->asked,
		     (unsigned long)batch->picked, (unsigned long)batch->by_price);
	cr_expect_gt(batch->picked, 0);
	/* some device may have become full within a batch */
	cr_expect_lt(batch->refused, MANY / 4, "%lu", (unsigned long)batch->refused);
	if (in_kernel)
		cr_expect_lt(batch->batches, batch->asked / 4, "%lu calls for %lu decisions",
			     (unsigned long)batch->batches, (unsigned long)batch->asked);
	close_engine();
}

Test(policy_gather, a_native_hook_decides_about_each_request_with_a_deadline)
{
	copy_many(false);
}

Test(policy_gather, a_hook_in_the_kernel_is_asked_for_many_requests_at_a_time)
{
	copy_many(true);
}

static void cancel_and_swap(bool in_kernel)
{
	unsigned int events[MANY] = { 0 };
	int64_t results[MANY];

	open_engine(in_kernel);
	for (unsigned int round = 0; round < 6; round++) {
		memset(events, 0, sizeof(events));
		for (unsigned int i = 0; i < MANY; i++) {
			schedule(i, 10000000, NULL);
			if (i % 5 == 0)
				(void)taio_get_events(kit, NULL, 0, 0, 0);
			if (i % 7 == 3)
				cr_expect_leq(taio_cancel(kit, i - 1), 1);
		}
		cr_expect_eq(taio_policy_swap(kit, round % 2 ? "deadline" : "p2c"), 0, "%s",
			     taio_refusal(kit));
		take(MANY, events, results);
		for (unsigned int i = 0; i < MANY; i++) {
			cr_expect_eq(events[i], 1, "%u events of %u", events[i], i);
			cr_expect(results[i] == PIECE || results[i] == -ECANCELED, "%ld",
				  (long)results[i]);
		}
	}
	close_engine();
}

Test(policy_gather, cancelling_and_swapping_loses_no_event_natively)
{
	cancel_and_swap(false);
}

Test(policy_gather, cancelling_and_swapping_loses_no_event_in_the_kernel)
{
	cancel_and_swap(true);
}

Test(policy_gather, wild_answers_lose_nothing_and_are_counted)
{
	unsigned int events[MANY] = { 0 };
	int64_t results[MANY];

	open_engine_with(true, "bad_policies/wild_pick");
	for (unsigned int round = 0; round < 8; round++) {
		memset(events, 0, sizeof(events));
		for (unsigned int i = 0; i < MANY; i++)
			schedule(i, 0, NULL);
		take(MANY, events, results);
		for (unsigned int i = 0; i < MANY; i++)
			cr_expect(events[i] == 1 && results[i] == PIECE, "%u: %u events, %ld", i,
				  events[i], (long)results[i]);
	}
	kit_check(kit_path("to"), data, MANY * PIECE);
	cr_expect_gt(kit->picker->maps->batch->refused, 0);
	close_engine();
}

/* A source that ends early, and one that cannot be read at all. */
Test(policy_gather, failures_and_short_sources_end_as_without_a_hook)
{
	struct taio_options options = kit_options();
	struct taio_endpoint from, to;
	struct taio_event event;
	int bad;

	open_engine(true);
	bad = open(kit_path("from"), O_WRONLY | O_CLOEXEC);
	options.deadline_ns = kit_now_ns() + 10000000000ULL;
	from = taio_file(bad, 0, 40 * PIECE);
	to = taio_file(to_fd, 0, 40 * PIECE);
	event = kit_copy(from, to, &options);
	cr_expect_lt(event.result, 0, "%ld", (long)event.result);
	cr_assert_eq(ftruncate(to_fd, 0), 0);
	from = taio_file(from_fd, 0, MANY * PIECE);
	to = taio_file(to_fd, 0, MANY * PIECE);
	event = kit_copy(from, to, &options);
	cr_expect_eq(event.result, MANY * PIECE, "%ld", (long)event.result);
	kit_check(kit_path("to"), data, MANY * PIECE);
	close(bad);
	close_engine();
}

/* Short writes on a stream, each of them asked for anew. */
Test(policy_gather, a_stream_keeps_its_order_when_each_piece_is_asked_for)
{
	struct taio_options options = kit_options();
	struct kit_end sink;
	struct taio_event event;

	open_engine(true);
	kit_sink(&sink, KIT_STREAM, MANY * PIECE);
	options.deadline_ns = kit_now_ns() + 10000000000ULL;
	event = kit_copy(taio_file(from_fd, 0, MANY * PIECE), sink.ep, &options);
	cr_expect_eq(event.result, MANY * PIECE, "%ld", (long)event.result);
	kit_sink_done(&sink, data, MANY * PIECE, "stream");
	close_engine();
}
