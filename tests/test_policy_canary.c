/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_canary.c: a policy on trial: its share, the comparison, the end of a trial by word, by
 * time and by a swap, and that no request notices. Natively, through the public interface; `taio
 * policy` and objects in the kernel are in e2e_policy.sh.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "policy/canary.h"
#include "policy/policy.h"
#include "policy/source.h"
#include "taio.h"

static struct taio *engine;
static char logged[8192];
static unsigned char from[65536], to[65536];

static void keep_log(void *arg, const char *line)
{
	(void)arg;
	snprintf(logged + strlen(logged), sizeof(logged) - strlen(logged), "%s\n", line);
}

static void open_engine(void)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = TAIO_NO_BPF | TAIO_NO_CACHE,
					       .policy = "tab",
					       .log = keep_log };

	cr_assert_eq(taio_open(&engine, &options), 0);
	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i * 7 + i / 251);
}

static void close_engine(void)
{
	taio_close(engine);
}

TestSuite(canary, .init = open_engine, .fini = close_engine);

/* @count copies, one after the other, each with its one event and all of its bytes. */
static void copies(unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		size_t size = 2048 + (size_t)i * 977 % (sizeof(from) - 2048);
		struct taio_endpoint source = taio_memory(from, size), sink = taio_memory(to, size);
		struct taio_event event;

		to[size - 1] = (unsigned char)~from[size - 1];
		cr_assert_eq(taio_copy(engine, &source, &sink, NULL, i), 0);
		cr_assert_eq(taio_get_events(engine, &event, 1, 1, 1000000000), 1);
		cr_assert(event.cookie == i && event.result == (int64_t)size);
		cr_assert_eq(memcmp(from, to, size), 0);
	}
}

static struct taio_policy_info info(void)
{
	struct taio_policy_info ret;

	cr_assert_eq(taio_policy_show(engine, &ret, sizeof(ret)), 0);
	return ret;
}

static void count(uint64_t requests[2])
{
	struct taio_policy_comparison row[16];
	int n = taio_policy_compare(engine, row, sizeof(row[0]), 16);

	cr_assert_geq(n, 0, "%d", n);
	requests[0] = requests[1] = 0;
	for (int i = 0; i < n; i++) {
		for (int s = 0; s < 2; s++) {
			requests[s] += row[i].requests[s];
			cr_expect_eq(row[i].requests[s] != 0, row[i].mean_ns[s] != 0);
			cr_expect_eq(row[i].requests[s] != 0, row[i].p99_ns[s] != 0);
		}
		cr_expect(i == 0 || row[i].bytes > row[i - 1].bytes);
	}
}

Test(canary, gets_its_share_of_the_requests_and_no_more)
{
	uint64_t requests[2];

	copies(500);
	cr_assert_eq(taio_policy_canary(engine, "jsq", 50, 0), 0, "%s", taio_refusal(engine));
	cr_expect_str_eq(info().name, "tab");
	cr_expect_str_eq(info().canary, "jsq");
	cr_expect_eq(info().canary_permille, 50);
	cr_expect(strstr(logged, "canary: policy 'jsq' gets 5.0 % of the requests"), "%s", logged);
	copies(2000);
	count(requests);
	cr_expect_eq(requests[0], 1900, "%lu", (unsigned long)requests[0]);
	cr_expect_eq(requests[1], 100, "%lu", (unsigned long)requests[1]);
}

Test(canary, pointer_copies_count_too)
{
	struct taio_event event;
	uint64_t requests[2];

	cr_assert_eq(taio_policy_canary(engine, "static", 500, 0), 0);
	for (unsigned int i = 0; i < 200; i++) {
		cr_assert_eq(taio_schedule_pointer(engine, from, to, 8192, i), 0);
		cr_assert_eq(taio_get_events(engine, &event, 1, 1, 1000000000), 1);
	}
	count(requests);
	cr_expect_eq(requests[0], 100);
	cr_expect_eq(requests[1], 100);
}

Test(canary, promoted_it_is_the_policy_and_knows_what_was_learnt)
{
	uint64_t requests[2], samples;

	copies(300);
	cr_assert_eq(taio_policy_canary(engine, "tab memory=8", 100, 0), 0);
	copies(300);
	samples = info().samples;
	cr_assert_eq(taio_policy_decide(engine, 1), 0);
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(info().swaps, 1);
	cr_expect_eq(info().canary_permille, 0);
	cr_expect_gt(samples, 100);
	copies(300);
	cr_expect_gt(info().samples, 100, "it does not learn");
	count(requests); /* stays to be read */
	cr_expect_eq(requests[1], 30);
	cr_expect(strstr(logged, "is promoted: as was asked for"), "%s", logged);
}

Test(canary, abandoned_it_leaves_no_trace)
{
	cr_assert_eq(taio_policy_canary(engine, "jsq", 100, 0), 0);
	copies(100);
	cr_assert_eq(taio_policy_decide(engine, 0), 0);
	cr_expect_str_eq(info().name, "tab");
	cr_expect_eq(info().swaps, 0);
	cr_expect_str_eq(info().canary, "");
	copies(100);
	cr_expect_eq(taio_policy_decide(engine, 0), -ENOENT);
}

static void work_ms(unsigned int ms)
{
	uint64_t end = policy_now_ns() + ms * 1000000ULL;

	while (policy_now_ns() < end)
		copies(20);
}

Test(canary, is_decided_on_by_itself_when_its_time_is_over)
{
	cr_assert_eq(taio_policy_canary(engine, "tab memory=64", 500, 100000000), 0);
	work_ms(300);
	cr_expect_eq(info().canary_permille, 0, "it is still on trial");
	cr_expect(strstr(logged, "canary: policy 'tab' is promoted: its mean is ") ||
			  strstr(logged, "canary: policy 'tab' is abandoned: its mean is "),
		  "%s", logged);
}

Test(canary, one_that_hardly_got_a_request_is_abandoned)
{
	cr_assert_eq(taio_policy_canary(engine, "static", 1, 50000000), 0);
	for (unsigned int i = 0; i < 12; i++) {
		copies(2);
		usleep(10000);
	}
	cr_expect_str_eq(info().name, "tab");
	cr_expect(strstr(logged, "is abandoned: it got 0 requests that can be compared"), "%s",
		  logged);
}

Test(canary, a_swap_ends_it)
{
	cr_assert_eq(taio_policy_canary(engine, "jsq", 100, 0), 0);
	cr_assert_eq(taio_policy_swap(engine, "static"), 0);
	cr_expect_eq(info().canary_permille, 0);
	cr_expect_str_eq(info().name, "static");
	cr_expect(strstr(logged, "'jsq' is abandoned: another policy was put"), "%s", logged);
	copies(100);
}

Test(canary, what_makes_no_sense_is_refused_with_a_sentence)
{
	struct taio_policy_comparison row;

	cr_expect_eq(taio_policy_compare(engine, &row, sizeof(row), 1), -ENOENT);
	cr_expect_eq(taio_policy_canary(engine, "jsq", 0, 0), -EINVAL);
	cr_expect_eq(taio_policy_canary(engine, "jsq", 501, 0), -EINVAL);
	cr_expect(strstr(taio_refusal(engine), "0.1 to 50 %"), "%s", taio_refusal(engine));
	cr_expect_eq(taio_policy_canary(engine, "nonsense", 10, 0), -ENOENT);
	cr_expect_eq(taio_policy_canary(engine, "tab memory=0", 10, 0), -EINVAL);
	cr_expect_eq(taio_policy_canary(engine, NULL, 10, 0), -EINVAL);
	cr_expect_eq(taio_policy_decide(engine, 1), -ENOENT);
	cr_assert_eq(taio_policy_canary(engine, "jsq", 10, 0), 0);
	cr_expect_eq(taio_policy_canary(engine, "static", 10, 0), -EBUSY);
	cr_expect(strstr(taio_refusal(engine), "'jsq' is on trial already"), "%s",
		  taio_refusal(engine));
	cr_expect_eq(taio_policy_compare(engine, &row, 8, 1), -EINVAL);
	copies(10);
}

/* Requests that wait for their data while trials come and go. */
Test(canary, requests_in_flight_outlive_it)
{
	struct taio_endpoint source, sink;
	struct taio_event event;
	unsigned int seen = 0;
	int pipes[8][2];

	cr_assert_eq(taio_policy_canary(engine, "jsq", 500, 0), 0);
	for (unsigned int i = 0; i < 8; i++) {
		cr_assert_eq(pipe(pipes[i]), 0);
		source = taio_descriptor(pipes[i][0]);
		sink = taio_memory(to + (size_t)i * 100, 100);
		cr_assert_eq(taio_copy(engine, &source, &sink, NULL, i), 0);
	}
	cr_assert_eq(taio_get_events(engine, &event, 0, 1, 0), 0);
	cr_assert_eq(taio_policy_decide(engine, 1), 0);
	cr_assert_eq(taio_policy_canary(engine, "tab", 500, 0), 0);
	cr_assert_eq(taio_get_events(engine, &event, 0, 1, 0), 0);
	cr_assert_eq(taio_policy_decide(engine, 0), 0);
	for (unsigned int i = 0; i < 8; i++)
		cr_assert_eq(write(pipes[i][1], from + (size_t)i * 100, 100), 100);
	for (unsigned int i = 0; i < 8; i++) {
		cr_assert_eq(taio_get_events(engine, &event, 1, 1, 1000000000), 1);
		cr_expect_eq(event.result, 100);
		seen |= 1U << event.cookie;
	}
	cr_expect_eq(seen, 0xff);
	cr_expect_eq(memcmp(from, to, 800), 0);
	cr_expect_eq(taio_pending(engine), 0);
	for (unsigned int i = 0; i < 8; i++) {
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
}

Test(canary, an_engine_may_be_closed_with_a_policy_on_trial)
{
	cr_assert_eq(taio_policy_canary(engine, "jsq", 100, 0), 0);
	copies(20);
}

/* ---- the verdict, without an engine ---- */

static struct policy_canary *trial;
static char sentence[160];

static void requests(int side, uint64_t bytes, uint64_t ns, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++)
		canary_count(trial, side, 0, bytes, ns);
}

static void new_trial(void)
{
	trial = calloc(1, sizeof(*trial));
	sentence[0] = '\0';
}

static void free_trial(void)
{
	free(trial);
}

TestSuite(canary_verdict, .init = new_trial, .fini = free_trial);

Test(canary_verdict, an_equal_one_may_stay)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 10000, 100);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 1, "%s", sentence);
	cr_expect_str_eq(sentence,
			 "its mean is 100 % and its slowest 1 % are 100 % of the other's, "
			 "over 100 requests");
}

Test(canary_verdict, a_slower_one_may_not)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 11000, 100);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 0, "%s", sentence);
}

Test(canary_verdict, one_with_a_worse_tail_may_not_although_its_mean_is_better)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 7000, 290);
	requests(1, 4096, 60000, 10);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 0, "%s", sentence);
}

Test(canary_verdict, another_mix_of_sizes_is_no_difference)
{
	requests(0, 4096, 10000, 100);
	requests(0, 1 << 20, 1000000, 1900);
	requests(1, 4096, 10000, 190);
	requests(1, 1 << 20, 1000000, 10);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 1, "%s", sentence);
}

Test(canary_verdict, a_size_that_only_one_had_is_not_compared)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 10000, 150);
	requests(1, 1 << 24, 900000000, 50);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 1, "%s", sentence);
}

Test(canary_verdict, too_few_requests_are_no_reason_to_promote)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 10, 99);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 0);
	cr_expect_str_eq(sentence, "it got 99 requests that can be compared, 100 are needed");
}

Test(canary_verdict, failures_count_against_it)
{
	requests(0, 4096, 10000, 2000);
	requests(1, 4096, 10000, 200);
	for (unsigned int i = 0; i < 30; i++)
		canary_count(trial, 1, 1, 4096, 10);
	cr_expect_eq(canary_is_good(trial, sentence, sizeof(sentence)), 0);
	cr_expect_str_eq(sentence, "30 of its requests failed");
}

Test(canary_verdict, the_slowest_hundredth_is_told_within_a_fifth)
{
	for (uint64_t ns = 5; ns < 4000000000ULL; ns = ns * 5 / 3 + 1) {
		struct canary_class *class = &trial->side[0].class[taio_class_of(4096)];
		uint64_t told;

		memset(class, 0, sizeof(*class));
		requests(0, 4096, ns / 3, 980);
		requests(0, 4096, ns, 20);
		told = canary_p99_ns(class);
		cr_expect(told * 5 >= ns * 4 && told * 5 <= ns * 6, "%lu, not %lu",
			  (unsigned long)told, (unsigned long)ns);
	}
}
