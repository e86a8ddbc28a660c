/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_clock.c: clock_ns() against the kernel's own clock, on several threads, with and without
 * pauses. Every sample is enclosed by two kernel reads, so a descheduled test does not fail.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"

#define TOLERANCE_NS 50000u

static uint64_t kernel_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct run {
	uint64_t length_ns;
	unsigned int seed;
	int pauses;
	uint64_t samples, backwards, outside, worst_ns;
	int direct;
};

static void run_sample(struct run *run, uint64_t *last)
{
	uint64_t before = kernel_ns(), now = clock_ns(), after = kernel_ns(), off = 0;

	run->samples++;
	if (now < *last)
		run->backwards++;
	*last = now;
	if (now < before)
		off = before - now;
	else if (now > after)
		off = now - after;
	if (off > run->worst_ns)
		run->worst_ns = off;
	if (off > TOLERANCE_NS)
		run->outside++;
}

static void *run_thread(void *arg)
{
	struct run *run = arg;
	uint64_t last = 0, end = kernel_ns() + run->length_ns;

	while (kernel_ns() < end) {
		for (int i = 0; i < 200; i++)
			run_sample(run, &last);
		if (run->pauses)
			usleep((useconds_t)(rand_r(&run->seed) % 25000));
	}
	run->direct = clock_is_direct();
	return NULL;
}

static void check_run(const struct run *run)
{
	fprintf(stderr, "# %llu samples, at most %llu ns outside, %s\n",
		(unsigned long long)run->samples, (unsigned long long)run->worst_ns,
		run->direct ? "direct" : "by clock_gettime");
	cr_assert_gt(run->samples, 200);
	cr_assert_eq(run->backwards, 0, "went back %llu times", (unsigned long long)run->backwards);
	cr_assert_eq(run->outside, 0, "%llu samples off by more than 50 us, worst %llu ns",
		     (unsigned long long)run->outside, (unsigned long long)run->worst_ns);
}

Test(clock, agrees_with_the_kernel_while_it_is_read_all_the_time)
{
	struct run run = { .length_ns = 700000000 };

	run_thread(&run);
	check_run(&run);
}

Test(clock, agrees_with_the_kernel_after_pauses_of_any_length)
{
	struct run run = { .length_ns = 1000000000, .pauses = 1, .seed = (unsigned int)getpid() };

	fprintf(stderr, "# seed %u\n", run.seed);
	run_thread(&run);
	check_run(&run);
}

Test(clock, a_pause_longer_than_any_base_is_no_error)
{
	struct run run = { .length_ns = 30000000 };

	run_thread(&run);
	usleep(2300000);
	run_thread(&run);
	check_run(&run);
}

Test(clock, every_thread_has_a_true_clock_of_its_own)
{
	struct run runs[4];
	pthread_t threads[4];

	for (int i = 0; i < 4; i++) {
		runs[i] = (struct run){ .length_ns = 500000000,
					.pauses = i & 1,
					.seed = (unsigned int)i };
		cr_assert_eq(pthread_create(&threads[i], NULL, run_thread, &runs[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(pthread_join(threads[i], NULL), 0);
		check_run(&runs[i]);
	}
}

/* What one thread hands to another must not lie in the other's future by more than the tolerance. */
static _Atomic uint64_t handed;

static void *hand_over(void *arg)
{
	_Atomic int *stop = arg;

	while (!atomic_load(stop))
		atomic_store(&handed, clock_ns());
	return NULL;
}

Test(clock, two_threads_agree_with_each_other)
{
	_Atomic int stop = 0;
	uint64_t end, seen, worst = 0;
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, hand_over, &stop), 0);
	for (end = kernel_ns() + 300000000; kernel_ns() < end;) {
		uint64_t now;

		seen = atomic_load(&handed);
		now = clock_ns();
		if (seen > now && seen - now > worst)
			worst = seen - now;
	}
	atomic_store(&stop, 1);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_leq(worst, 2 * TOLERANCE_NS, "%llu ns", (unsigned long long)worst);
}
