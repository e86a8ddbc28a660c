/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_set.c: what the smaller policies of schedulers/ learn and charge, that every policy
 * serves every goal, and the price of bad moments. On hand-made maps and virtual time.
 */
#include <criterion/criterion.h>

#include "policy_rig_two.h"

#define OTHER (2 * TAIO_CLASSES + 9)
#define MS    1000000

static struct rig rig;

static uint32_t price(uint32_t slot, uint32_t bucket)
{
	return price_now(&rig, slot, bucket);
}

/* ---- peak ---- */

POLICY_TEST(policy_peak, one_peak_is_the_price_at_once, "peak")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	assert_near(price(0, 0), 8000, 400);
	rig_learn(&rig, CELL, 0, 0, 90000, 1);
	assert_near(price(0, 0), 90000, 1000);
}

POLICY_TEST(policy_peak, a_peak_decays_with_its_time_constant, "peak")
{
	rig_learn(&rig, CELL, 0, 0, 90000, 1);
	rig.now_ns += 10 * MS;                 /* the time constant */
	rig_learn(&rig, CELL, 1, 0, 1000, 16); /* the cell is looked at whole once in a while */
	assert_near(price(0, 0), 33000, 3000); /* 1/e */
	rig.now_ns += 10 * MS;
	rig_learn(&rig, CELL, 1, 0, 1000, 16);
	assert_near(price(0, 0), 12200, 1500);
}

POLICY_TEST(policy_peak, the_price_grows_with_the_queue_and_knows_no_size, "peak")
{
	rig_learn(&rig, OTHER, 0, 0, 1000, 1); /* the cell is in use */
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	cr_expect_eq(price(0, 3), 4 * price(0, 0));
	cr_expect_eq(rig_price(&rig, OTHER, LATENCY, 0, 0), price(0, 0));
}

POLICY_TEST(policy_peak, an_unknown_candidate_gets_one_request_to_begin_with, "peak")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 16);
	cr_expect_lt(price(1, 0), 100);
	cr_expect_gt(price(1, 1), 100 * MS);
}

POLICY_TEST(policy_peak, an_empty_time_constant_does_no_harm, "peak")
{
	rig_tune(&rig, "decay_us", 0);
	rig_learn(&rig, CELL, 0, 0, 8000, 5);
	cr_expect_gt(price(0, 0), 0);
}

/* ---- hst ---- */

POLICY_TEST(policy_hst, waiting_behind_others_is_no_service, "hst")
{
	/* Four requests at the same time on a device that serves one after the other. */
	for (unsigned int round = 0; round < 50; round++) {
		uint64_t start = rig.now_ns;

		for (unsigned int i = 0; i < 4; i++) {
			struct taio_sample s = rig_sample(&rig, CELL, 0, i, 0);

			s.submit_ns = start;
			s.ns = 8000 * (i + 1);
			rig_push(&rig.maps.engine[0], s);
		}
		rig.now_ns += 40000;
		rig_tick(&rig);
	}
	assert_near(price(0, 0), 8000, 200);
	assert_near(price(0, 3), 32000, 800);
}

POLICY_TEST(policy_hst, a_long_service_replaces_more_of_the_past_than_a_short_one, "hst")
{
	uint32_t before;

	rig_learn(&rig, CELL, 0, 0, 8000, 100);
	before = price(0, 0);
	rig_learn(&rig, CELL, 0, 0, 16000, 1);
	assert_near(price(0, 0), before + 8000 * 52 / 1024, 50);
	rig_learn(&rig, CELL, 1, 0, 100 * MS, 1);
	rig_learn(&rig, CELL, 1, 0, 200 * MS, 1);
	/* 11 steps of 17 ms: 972/1024 to the 12th power is 0.535 */
	assert_near(price(1, 0), 146 * MS + MS / 2, 3 * MS);
}

POLICY_TEST(policy_hst, permits_to_probe_a_stale_candidate_however_dear, "hst")
{
	rig_learn(&rig, CELL, 1, 0, MS, 3);
	rig_learn(&rig, CELL, 0, 0, 1000, 3);
	cr_expect_not(rig.maps.price[CELL].probe & 2);
	rig.now_ns += 65 * MS;
	rig_learn(&rig, CELL, 0, 0, 1000, 1);
	cr_expect(rig.maps.price[CELL].probe & 2);
}

/* ---- class ---- */

POLICY_TEST(policy_class, learns_the_time_for_each_request_in_the_queue, "class")
{
	for (unsigned int i = 0; i < 60; i++) {
		rig_learn(&rig, CELL, 0, 0, 8000, 1);
		rig_learn(&rig, CELL, 0, 3, 32000, 1);
	}
	assert_near(price(0, 0), 8000, 200);
	assert_near(price(0, taio_bucket_of(8)), 72000, 2000);
}

POLICY_TEST(policy_class, goes_by_what_is_published_for_a_class_it_never_saw, "class")
{
	rig_learn(&rig, CELL, 1, 0, 1000, 16);
	cr_expect_eq(price(0, 0), 5000 + 6144);
}

POLICY_TEST(policy_class, a_device_that_turns_slow_is_dear_in_all_its_classes_at_once, "class")
{
	rig_learn(&rig, OTHER, 0, 0, 400000, 50);
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	rig_learn(&rig, CELL, 0, 0, 80000, 12);
	cr_expect_gt(rig.maps.ctx[2].scale[0], 2 * TAIO_SCALE_ONE);
}

/* ---- lect ---- */

POLICY_TEST(policy_lect, does_not_wait_within_the_parallelism_of_a_device, "lect")
{
	rig_learn(&rig, CELL, 1, 0, 24000, 50);
	for (uint32_t b = 0; taio_bucket_load(b) < 8; b++)
		assert_near(price(1, b), 24000, 300);
	/* one of 24 us ahead, and eight that serve: 1/8 * 15/16 of it */
	assert_near(price(1, taio_bucket_of(8)), 24000 + 24000 * 15 / 16 / 8, 400);
}

POLICY_TEST(policy_lect, reckons_the_wait_and_learns_the_service_behind_it, "lect")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 30);
	/* three others ahead, each 8 us, 15/16 of that */
	rig_learn(&rig, CELL, 0, 3, 8000 + 22500, 60);
	assert_near(price(0, 0), 8000, 600);
	assert_near(price(0, 3), 30500, 2500);
}

POLICY_TEST(policy_lect, an_absurd_parallelism_is_not_believed, "lect")
{
	rig_offer(&rig, 2, 2, 2, rig_caps(5000, 1000, 0xffffffff));
	rig_learn(&rig, CELL, 2, 0, 8000, 30);
	cr_expect_gt(price(2, taio_bucket_of(128)), 8500, "128 at once and no wait");
	rig_offer(&rig, 2, 3, 3, rig_caps(5000, 1000, 0));
	rig_learn(&rig, CELL, 3, 0, 8000, 30);
	cr_expect_gt(price(3, 1), 15000, "none is one");
}

POLICY_TEST(policy_lect, who_was_long_quiet_is_thought_better_of_by_an_eighth_at_most, "lect")
{
	rig_learn(&rig, CELL, 0, 0, 80000, 30);
	rig.now_ns += 60000ULL * MS;
	rig_learn(&rig, CELL, 1, 0, 24000, 17);
	assert_near(price(0, 0), 70000, 900);
}

POLICY_TEST(policy_lect, converts_the_nearest_class_that_is_known, "lect")
{
	rig_learn(&rig, CELL, 0, 0, 2 * (5000 + 6144), 50);
	rig_learn(&rig, CELL + 4, 1, 0, 1000, 1);
	/* never seen in this class: an eighth better */
	assert_near(rig_price(&rig, CELL + 4, LATENCY, 0, 0), 2 * (5000 + 98304) / 8 * 7, 1000);
}

/* ---- take-over ---- */

static void take_over(const char *name)
{
	rig.twin = native_find(name);
	cr_assert_not_null(rig.twin);
	for (uint32_t i = 0; i < TAIO_TUNABLES_MAX; i++)
		rig.maps.tune[i] = rig.twin->tunables[i].initial;
	rig.twin->start(&rig.maps, rig.now_ns);
}

static const char *const learners[] = { "tab", "class", "lect", "peak", "hst", "deadline" };

POLICY_TEST(policy_swap, each_policy_that_learns_begins_with_what_was_measured, "static")
{
	for (unsigned int i = 0; i < 60; i++) {
		rig_learn(&rig, CELL, 1, 0, 90000, 1);
		rig_learn(&rig, CELL, 0, 0, 8000, 1);
	}
	for (unsigned int i = 0; i < sizeof(learners) / sizeof(learners[0]); i++) {
		take_over(learners[i]);
		assert_near(price(0, 0), 8000, 400);
		cr_expect_gt(price(1, 0), 60000, "%s: %u", learners[i], price(1, 0));
	}
}

POLICY_TEST(policy_swap, what_a_policy_kept_of_a_candidate_is_not_the_next_one_s, "peak")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 5);
	cr_assert_gt(rig.maps.ctx[2].common[0][0], 0);
	take_over("class");
	cr_expect_eq(rig.maps.ctx[2].common[0][0], 0);
	cr_expect_eq(rig.maps.ctx[2].common[0][1], 0);
}

POLICY_TEST(policy_swap, the_tunables_of_the_running_policy_stand_in_its_maps, "tab")
{
	cr_expect_eq(rig.maps.ctl->tune[0], 32);
	take_over("class");
	cr_expect_eq(rig.maps.ctl->tune[0], 16);
	cr_expect_eq(rig.maps.ctl->tune[3], 0);
}

/* ---- goals ---- */

/* Alike but for their processor time. */
static void learn_cpu(uint32_t slot, uint32_t cpu_ns)
{
	for (unsigned int i = 0; i < 40; i++) {
		struct taio_sample s = rig_sample(&rig, CELL, slot, 0, 20000);

		s.cpu_ns = cpu_ns;
		rig_push(&rig.maps.engine[0], s);
		rig_tick(&rig);
	}
}

Test(policy_goals, every_policy_prefers_the_least_processor_time_for_the_goal_cpu)
{
	for (unsigned int i = 0; native_at(i); i++) {
		rig_open(&rig, native_at(i)->name, 1);
		rig_offer(&rig, 2, 0, 0, rig_caps(20000, 0, 4));
		rig_offer(&rig, 2, 1, 1, rig_caps(20000, 0, 4));
		learn_cpu(0, 20000);
		learn_cpu(1, 2000);
		rig_learn(&rig, CELL, 0, 0, 20000, 1);
		cr_expect_lt(rig_price(&rig, CELL, CPU_TIME, 1, 0),
			     rig_price(&rig, CELL, CPU_TIME, 0, 0), "%s", native_at(i)->name);
		if (rig_price(&rig, CELL, LATENCY, 1, 8) > rig_price(&rig, CELL, LATENCY, 1, 0))
			cr_expect_gt(rig_price(&rig, CELL, CPU_TIME, 1, 8),
				     rig_price(&rig, CELL, CPU_TIME, 1, 0),
				     "%s: everything would queue there", native_at(i)->name);
		rig_close(&rig);
	}
}

Test(policy_goals, every_policy_that_predicts_times_serves_throughput_by_the_rate)
{
	for (unsigned int i = 0; native_at(i); i++) {
		rig_open(&rig, native_at(i)->name, 1);
		rig_offer(&rig, 2, 0, 0, rig_caps(20000, 0, 1));
		rig_offer(&rig, 2, 1, 1, rig_caps(30000, 0, 8));
		for (uint32_t b = 0; b < 8; b++) {
			rig_learn(&rig, CELL, 0, b, 20000 * (taio_bucket_load(b) + 1), 20);
			rig_learn(&rig, CELL, 1, b, 30000, 20);
		}
		rig_learn(&rig, CELL, 0, 0, 20000, 60);
		if (!(rig.maps.ctl->flags & (TAIO_POLICY_RANKS | TAIO_POLICY_COMMON)))
			cr_expect_lt(rig_price(&rig, CELL, RATE, 1, 0),
				     rig_price(&rig, CELL, RATE, 0, 0),
				     "%s: eight side by side are faster than one",
				     native_at(i)->name);
		if (rig.maps.ctl->flags & TAIO_POLICY_RANKS)
			cr_expect_eq(rig_price(&rig, CELL, RATE, 1, 3),
				     rig_price(&rig, CELL, LATENCY, 1, 3), "%s",
				     native_at(i)->name);
		rig_close(&rig);
	}
}

/* ---- bad moments ---- */

/* As measured of a copy split over two cores while the other one is busy: @share of 1000 copies
 * take @times as long as the plain copy, the rest @good % of it. */
static void learn_split(uint32_t share, uint32_t times, uint32_t good)
{
	const uint32_t plain_ns = 100000;

	for (unsigned int i = 0; i < 1200; i++) {
		uint32_t bad = i * share / 1000 != (i + 1) * share / 1000;

		rig_learn(&rig, CELL, 1, 0,
			  bad ? plain_ns * times : plain_ns / 100 * good + i % 7 * 900, 1);
		rig_learn(&rig, CELL, 0, 0, plain_ns + i % 5 * 1500, 1);
	}
	rig_learn(&rig, CELL, 1, 0, plain_ns / 100 * good, 20);
}

static const struct {
	uint32_t share, times, good;
} splits[] = { { 15, 31, 55 }, { 20, 6, 55 }, { 30, 6, 70 }, { 15, 12, 60 }, { 40, 8, 50 } };

static void avoid_split(const char *policy)
{
	for (unsigned int i = 0; i < sizeof(splits) / sizeof(splits[0]); i++) {
		rig_open_two(&rig, policy, 1);
		rig_offer(&rig, 2, 1, 1, rig_caps(20000, 500, 1));
		learn_split(splits[i].share, splits[i].times, splits[i].good);
		cr_expect_gt(price(1, 0), price(0, 0) + price(0, 0) / 16,
			     "%s, p99 of %u times the plain copy: %u, plain %u", policy,
			     splits[i].times, price(1, 0), price(0, 0));
		rig_close(&rig);
	}
}

Test(policy_tail, a_good_mean_with_a_bad_p99_is_avoided_for_latency)
{
	avoid_split("tab");
	avoid_split("deadline");
}

POLICY_TEST(policy_tab, outliers_do_not_make_dearer_what_was_not_measured, "tab")
{
	learn_split(20, 6, 55);
	cr_expect_lt(rig.maps.ctx[2].scale[1], 2 * TAIO_SCALE_ONE, "drifted to %u",
		     rig.maps.ctx[2].scale[1]);
	cr_expect_gt(rig.maps.ctx[2].scale[1], TAIO_SCALE_ONE / 3, "drifted to %u",
		     rig.maps.ctx[2].scale[1]);
}

POLICY_TEST(policy_tail, for_throughput_the_good_mean_is_taken, "tab")
{
	rig_offer(&rig, 2, 1, 1, rig_caps(20000, 500, 1));
	learn_split(20, 6, 55);
	cr_expect_lt((uint64_t)rig_price(&rig, CELL, RATE, 1, 0) * rig.maps.ctx[2].scale[1],
		     (uint64_t)rig_price(&rig, CELL, RATE, 0, 0) * rig.maps.ctx[2].scale[0]);
}

POLICY_TEST(policy_tail, a_good_mean_without_bad_moments_is_taken_for_latency, "tab")
{
	rig_offer(&rig, 2, 1, 1, rig_caps(20000, 500, 1));
	learn_split(0, 1, 55);
	cr_expect_lt(price(1, 0), price(0, 0));
}

POLICY_TEST(policy_tail, bad_moments_are_forgotten_when_they_end, "tab")
{
	rig_offer(&rig, 2, 1, 1, rig_caps(20000, 500, 1));
	learn_split(20, 6, 55);
	cr_expect_gt(price(1, 0), price(0, 0));
	learn_split(0, 1, 55);
	cr_expect_lt(price(1, 0), price(0, 0));
}
