/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_native.c: what each policy learns and charges, and what the core does around all of
 * them, on hand-made maps and virtual time. The BPF objects are held to the same by
 * test_policy_equal.c.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "policy_rig_two.h"

static struct rig rig;

/* ---- static ---- */

POLICY_TEST(policy_static, charges_base_bytes_and_the_wait_behind_others, "static")
{
	uint32_t own = 5000 + 6144;

	rig_learn(&rig, CELL, 0, 0, 123456, 3);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, 0), own, "learnt although it never does");
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, 1), own + own);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, 4), own + own * 4);
}

POLICY_TEST(policy_static, does_not_wait_within_the_parallelism_of_a_device, "static")
{
	uint32_t own = 20000 + 3072;

	rig_learn(&rig, CELL, 1, 0, 100, 1);
	for (uint32_t b = 0; taio_bucket_load(b) < 8; b++)
		cr_expect_eq(rig_price(&rig, CELL, LATENCY, 1, b), own);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 1, taio_bucket_of(8)), own + own / 8);
}

/* ---- jsq ---- */

POLICY_TEST(policy_jsq, ranks_by_requests_in_flight_and_nothing_else, "jsq")
{
	rig_learn(&rig, CELL, 0, 0, 1000, 5);
	rig_learn(&rig, CELL, 1, 0, 900000, 5);
	for (uint32_t b = 0; b < TAIO_BUCKETS; b++) {
		cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, b),
			     rig_price(&rig, CELL, LATENCY, 1, b), "not a tie at equal load");
		if (b)
			cr_expect_gt(rig_price(&rig, CELL, LATENCY, 0, b),
				     rig_price(&rig, CELL, LATENCY, 0, b - 1));
	}
	cr_expect(rig.maps.ctl->flags & TAIO_POLICY_RANKS);
}

/* ---- tab ---- */

POLICY_TEST(policy_tab, charges_what_was_measured_at_that_load, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	rig_learn(&rig, CELL, 0, 3, 30000, 50);
	assert_near(rig_price(&rig, CELL, LATENCY, 0, 0), 8000, 80);
	assert_near(rig_price(&rig, CELL, LATENCY, 0, 3), 30000, 300);
}

/* One request that sat out a stall made its load dear by a factor of 15. */
POLICY_TEST(policy_tab, one_stall_is_no_price, "tab")
{
	rig_learn(&rig, CELL, 0, 3, 10000, 150);
	rig_learn(&rig, CELL, 0, 3, 5000000, 1);
	cr_expect_leq(rig_price(&rig, CELL, LATENCY, 0, 3), 14000);
	cr_expect_leq(rig_price(&rig, CELL, LATENCY, 0, 3) * (rig.maps.ctx[2].scale[0] / 1024.0),
		      30000);
}

POLICY_TEST(policy_tab, leans_on_the_next_lower_load_for_an_unknown_one, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	rig_learn(&rig, CELL, 0, 3, 30000, 50);
	/* 30000 + 30000 * (8 - 3) / (2 * (3 + 1)) */
	assert_near(rig_price(&rig, CELL, LATENCY, 0, taio_bucket_of(8)), 48750, 500);
	/* 8000 + 8000 * (2 - 0) / (2 * (0 + 1)) */
	assert_near(rig_price(&rig, CELL, LATENCY, 0, 2), 16000, 200);
}

POLICY_TEST(policy_tab, takes_a_higher_load_as_bound_where_no_lower_one_is_known, "tab")
{
	rig_learn(&rig, CELL, 0, 5, 30000, 20);
	for (uint32_t b = 0; b <= 5; b++)
		assert_near(rig_price(&rig, CELL, LATENCY, 0, b), 30000, 300);
}

POLICY_TEST(policy_tab, converts_a_neighbouring_class_by_the_published_ratio, "tab")
{
	/* Four classes up the bytes are 16 times as many: 98304. */
	rig_learn(&rig, CELL, 0, 0, 2 * (5000 + 6144), 50);
	rig_learn(&rig, CELL + 4, 1, 0, 1000, 1); /* makes the cell known */
	assert_near(rig_price(&rig, CELL + 4, LATENCY, 0, 0), 2 * (5000 + 98304), 1000);
}

POLICY_TEST(policy_tab, goes_by_distance_where_nothing_is_published, "tab")
{
	rig_offer(&rig, 2, 2, 2, rig_caps(0, 0, 0));
	rig_learn(&rig, CELL, 2, 0, 8000, 50);
	rig_learn(&rig, CELL + 4, 1, 0, 1000, 1);
	rig_learn(&rig, CELL - 2, 1, 0, 1000, 1);
	assert_near(rig_price(&rig, CELL + 4, LATENCY, 2, 0), 16000, 200);
	assert_near(rig_price(&rig, CELL - 2, LATENCY, 2, 0), 8000 - 8000 * 2 / 10, 200);
}

POLICY_TEST(policy_tab, goes_by_what_is_published_until_it_knows_something, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 1, 0), 20000 + 3072);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 1, taio_bucket_of(16)),
		     20000 + 3072 + (20000 + 3072) * 9 / 8);
}

POLICY_TEST(policy_tab, turns_the_scale_within_a_few_completions_of_a_slow_device, "tab")
{
	uint32_t *scale = &rig.maps.ctx[2].scale[0], table;

	rig_learn(&rig, CELL, 0, 0, 8000, 100);
	table = rig_price(&rig, CELL, LATENCY, 0, 0);
	rig_learn(&rig, CELL, 0, 0, 80000, 12);
	cr_expect_gt(*scale, 3 * TAIO_SCALE_ONE, "scale is %u after 12 slow completions", *scale);
	cr_expect_lt(rig_price(&rig, CELL, LATENCY, 0, 0), 3 * table, "the table followed at once");
	cr_expect_gt(price_now(&rig, 0, 0), 6 * table, "the price is %u after 12 slow completions",
		     price_now(&rig, 0, 0));
	rig_learn(&rig, CELL, 0, 0, 8000, 30);
	cr_expect_lt(*scale, 2 * TAIO_SCALE_ONE, "scale is %u after it healed", *scale);
}

POLICY_TEST(policy_tab, keeps_one_slow_context_apart_from_another, "tab")
{
	uint32_t other = 3 * TAIO_CLASSES + 3;

	rig_offer(&rig, 3, 0, 0, rig_caps(5000, 1000, 1)); /* the same device */
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	rig_learn(&rig, other, 0, 0, 8000, 50);
	rig_learn(&rig, CELL, 0, 0, 80000, 20);
	cr_expect_gt(rig.maps.ctx[2].scale[0], 3 * TAIO_SCALE_ONE);
	assert_near(rig.maps.ctx[3].scale[0], TAIO_SCALE_ONE, 64);
}

static void learn_with_tail(uint32_t slot)
{
	for (unsigned int i = 0; i < 400; i++)
		rig_learn(&rig, CELL, slot, 0, i % 20 ? 8000 : 120000, 1);
}

POLICY_TEST(policy_tab, charges_bad_moments_to_the_latency_goal_only, "tab")
{
	uint32_t with, without;

	learn_with_tail(0);
	with = rig_price(&rig, CELL, LATENCY, 0, 0);
	rig_tune(&rig, "tail_percent", 0);
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	without = rig_price(&rig, CELL, LATENCY, 0, 0);
	cr_expect_gt(with, without + without / 5, "%u with, %u without", with, without);
	assert_near(rig_price(&rig, CELL, RATE, 0, 0), without, without / 50);
}

/* T1069 of the simulator: charged for one request in sixty as if it were the slowest 1 %, a device
 * was out for good, since only requests could have shown that it was one in a thousand. */
POLICY_TEST(policy_tab, one_outlier_among_few_requests_is_no_tail, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 20);
	rig_learn(&rig, CELL, 0, 0, 130000, 1);
	rig_learn(&rig, CELL, 0, 0, 8000, 40);
	assert_near(price_now(&rig, 0, 0), 8000, 800);
	rig_learn(&rig, CELL, 0, 0, 130000, 1); /* two of 62 are a share */
	cr_expect_gt(price_now(&rig, 0, 0), 2 * 8000);
}

POLICY_TEST(policy_tab, an_outlier_at_one_load_is_put_right_by_those_at_the_next, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	rig_learn(&rig, CELL, 0, 0, 300000, 1);
	cr_assert_gt(price_now(&rig, 0, 0), 3 * 8000, "no outlier to put right");
	rig_learn(&rig, CELL, 0, 1, 9000, 40);
	cr_expect_lt(price_now(&rig, 0, 0), 10000,
		     "an idle device is said to take longer than a busy one");
}

POLICY_TEST(policy_tab, the_queue_of_the_moment_moves_the_scale_little, "tab")
{
	uint32_t usual;

	rig_learn(&rig, CELL, 0, 0, 10000, 100);
	usual = price_now(&rig, 0, 0);
	rig_learn(&rig, CELL, 0, 0, 16000, 8);
	cr_expect_lt(rig.maps.ctx[2].scale[0], TAIO_SCALE_ONE + TAIO_SCALE_ONE / 8);
	cr_expect_lt(price_now(&rig, 0, 0), usual * 4 / 3);
}

/* A large step at ten times its time is dearer than eight times the best, and 64 times its own time
 * is longer than a device that healed should wait. */
POLICY_TEST(policy_tab, a_large_step_may_be_tried_soon_where_the_device_only_turned_slow, "tab")
{
	uint32_t large = 2 * TAIO_CLASSES + 11;

	for (uint32_t slot = 0; slot < 2; slot++)
		rig_learn(&rig, large, slot, 0, 1000000, 40);
	rig_learn(&rig, large, 0, 0, 10000000, 12);
	cr_assert_gt(rig.maps.ctx[2].scale[0], 2 * TAIO_SCALE_ONE);
	rig.now_ns += 20 * 1000 * 1000;
	rig_learn(&rig, large, 1, 0, 1000000, 1);
	cr_expect(rig.maps.price[large].probe & 1, "not after 20 ms of quiet");
}

POLICY_TEST(policy_tab, charges_no_tail_where_requests_only_vary_a_little, "tab")
{
	uint32_t with, without;

	for (unsigned int i = 0; i < 400; i++)
		rig_learn(&rig, CELL, 0, 0, 8000 + i % 7 * 500, 1);
	with = rig_price(&rig, CELL, LATENCY, 0, 0);
	rig_tune(&rig, "tail_percent", 0);
	rig_learn(&rig, CELL, 0, 0, 9500, 1);
	without = rig_price(&rig, CELL, LATENCY, 0, 0);
	assert_near(with, without, without / 20);
}

POLICY_TEST(policy_tab, permits_to_probe_a_quiet_candidate_but_not_a_dear_or_busy_one, "tab")
{
	rig_offer(&rig, 2, 2, 2, rig_caps(5000000, 1000, 1)); /* more than 64 times the best */
	rig_learn(&rig, CELL, 1, 0, 23000, 5);
	rig_learn(&rig, CELL, 0, 0, 8000, 5);
	cr_expect_not(rig.maps.price[CELL].probe & 2, "heard of a moment ago");
	rig.now_ns += 65 * 23000;
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	cr_expect(rig.maps.price[CELL].probe & 2, "long quiet");
	cr_expect_not(rig.maps.price[CELL].probe & 4, "too dear");
	cr_expect_not(rig.maps.price[CELL].probe & 1, "in use");
}

/* ---- goals, for all policies ---- */

POLICY_TEST(policy_goals, rate_of_a_parallel_device_is_its_time_per_request_until_filled, "tab")
{
	for (uint32_t b = 0; b < 10; b++)
		rig_learn(&rig, CELL, 1, b,
			  taio_bucket_load(b) < 8 ? 24000 : 3000 * (taio_bucket_load(b) + 1), 40);
	cr_expect_lt(rig_price(&rig, CELL, RATE, 1, 0), 24000 / 6);
	cr_expect_eq(rig_price(&rig, CELL, RATE, 1, 0), rig_price(&rig, CELL, RATE, 1, 5));
	/* from there on each one more waits for one more */
	cr_expect_gt(rig_price(&rig, CELL, RATE, 1, 9), rig_price(&rig, CELL, RATE, 1, 0) + 20000);
}

POLICY_TEST(policy_goals, rate_of_a_device_that_occupies_its_caller_is_its_time, "tab")
{
	rig.maps.caps[2 * TAIO_SLOTS + 1].flags = TAIO_CAPS_SYNC;
	rig_learn(&rig, CELL, 1, 0, 24000, 50);
	assert_near(rig_price(&rig, CELL, RATE, 1, 0), 24000, 300);
}

POLICY_TEST(policy_goals, cpu_is_as_published_until_it_is_measured, "tab")
{
	struct taio_sample s;

	rig.maps.caps[2 * TAIO_SLOTS].cpu_permille = 250;
	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	assert_near(rig_price(&rig, CELL, CPU_TIME, 0, 0), 8000 / 4 + 8000 / 8, 100);
	for (unsigned int i = 0; i < 200; i++) {
		s = rig_sample(&rig, CELL, 0, 0, 8000);
		s.cpu_ns = 5000;
		rig_push(&rig.maps.engine[0], s);
		rig_tick(&rig);
	}
	assert_near(rig_price(&rig, CELL, CPU_TIME, 0, 0), 5000 + 8000 / 8, 100);
}

/* ---- core ---- */

static void push_bad(struct taio_sample s)
{
	uint64_t refused = rig.maps.ctl->refused, samples = rig.maps.ctl->samples;

	rig_push(&rig.maps.engine[0], s);
	rig_tick(&rig);
	cr_expect_eq(rig.maps.ctl->refused, refused + 1);
	cr_expect_eq(rig.maps.ctl->samples, samples);
}

POLICY_TEST(policy_core, refuses_samples_that_point_nowhere, "tab")
{
	struct taio_sample good = rig_sample(&rig, CELL, 0, 0, 8000), s;

	s = good, s.cell = TAIO_CELLS, push_bad(s);
	s = good, s.cell = 0xffff, push_bad(s);
	s = good, s.slot = TAIO_SLOTS, push_bad(s);
	s = good, s.slot = 5, push_bad(s); /* free */
	s = good, s.bucket = TAIO_BUCKETS, push_bad(s);
	s = good, s.dev = TAIO_DEVICES, push_bad(s);
	s = good, s.dev = 1, push_bad(s);                 /* of another slot */
	s = good, s.cell = 5 * TAIO_CLASSES, push_bad(s); /* context without a key */
	s = good, s.submit_ns = rig.now_ns + 10000000, push_bad(s);
	s = good, s.submit_ns = rig.now_ns, s.ns = 0xffffffff, push_bad(s);
	rig_push(&rig.maps.engine[0], good);
	rig_tick(&rig);
	cr_expect_eq(rig.maps.ctl->samples, 1);
}

POLICY_TEST(policy_core, limits_absurd_weight_and_processor_time, "tab")
{
	struct taio_sample s = rig_sample(&rig, CELL, 0, 0, 8000);
	struct taio_lat *lat = &rig.maps.lat[CELL * TAIO_SLOTS];

	s.weight = 0xffff;
	s.cpu_ns = 0xffffffff;
	rig_push(&rig.maps.engine[0], s);
	rig_tick(&rig);
	cr_expect_eq(lat->count, 1024);
	cr_expect_eq(lat->count_cpu, 0);
	cr_expect_eq(lat->cpu_ewma_ns, 0);
}

POLICY_TEST(policy_core, counts_errors_and_never_learns_from_them, "tab")
{
	uint32_t price;

	rig_learn(&rig, CELL, 0, 0, 8000, 50);
	price = rig_price(&rig, CELL, LATENCY, 0, 0);
	for (unsigned int i = 0; i < 50; i++) {
		struct taio_sample s = rig_sample(&rig, CELL, 0, 0, 10);

		s.flags = TAIO_SAMPLE_ERROR;
		rig_push(&rig.maps.engine[0], s);
	}
	rig_tick(&rig);
	cr_expect_eq(rig.maps.lat[CELL * TAIO_SLOTS].errors, 50);
	cr_expect_eq(rig.maps.lat[CELL * TAIO_SLOTS].count, 50);
	cr_expect_eq(rig.maps.dev[0].errors, 50);
	cr_expect_lt(rig.maps.dev[0].health, TAIO_SCALE_ONE / 4);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, 0), price);
	rig_learn(&rig, CELL, 0, 0, 8000, 300);
	cr_expect_gt(rig.maps.dev[0].health, TAIO_SCALE_ONE * 9 / 10);
}

POLICY_TEST(policy_core, learns_only_the_first_of_those_that_a_stall_held_up, "tab")
{
	struct taio_lat *lat = &rig.maps.lat[CELL * TAIO_SLOTS];
	uint64_t submitted;

	for (unsigned int i = 0; i < 50; i++)
		rig_learn(&rig, CELL, 0, 3, 8000, 1);
	submitted = rig.now_ns;
	rig.now_ns += 5000000;
	for (unsigned int i = 0; i < 4; i++) {
		struct taio_sample s = rig_sample(&rig, CELL, 0, 3, 0);

		s.submit_ns = submitted + i;
		s.ns = 5000000 - i;
		rig_push(&rig.maps.engine[0], s);
	}
	rig_tick(&rig);
	cr_expect_eq(lat->seen[3], 51, "%u learnt", lat->seen[3]);
	cr_expect_eq(lat->count, 54, "all are counted");
	cr_expect_eq(rig.maps.dev[0].stall_end_ns, submitted + 5000000);
}

/* It was learnt as what that load costs, and stayed so where nothing else came. */
POLICY_TEST(policy_core, what_a_stall_held_up_is_no_news_at_a_load_never_seen, "tab")
{
	struct taio_lat *lat = &rig.maps.lat[CELL * TAIO_SLOTS];
	uint64_t submitted;

	for (unsigned int i = 0; i < 50; i++)
		rig_learn(&rig, CELL, 0, 3, 8000, 1);
	submitted = rig.now_ns;
	rig.now_ns += 5000000;
	for (unsigned int i = 0; i < 3; i++) {
		struct taio_sample s = rig_sample(&rig, CELL, 0, 3 + i, 0);

		s.submit_ns = submitted + i;
		s.ns = 5000000 - i;
		rig_push(&rig.maps.engine[0], s);
	}
	rig_tick(&rig);
	cr_expect_eq(lat->seen[3], 51);
	cr_expect_eq(lat->seen[4], 0, "load 4 is taken for %u ns", lat->ewma_ns[4]);
	cr_expect_eq(lat->seen[5], 0);
	rig_learn(&rig, CELL, 0, 5, 9000, 1);
	cr_expect_eq(lat->seen[5], 1, "what came after the stall is news");
}

POLICY_TEST(policy_core, a_thinned_sample_stands_for_its_weight, "tab")
{
	struct taio_sample s = rig_sample(&rig, CELL, 0, 0, 8000);

	s.weight = 8;
	rig_push(&rig.maps.engine[0], s);
	rig_tick(&rig);
	cr_expect_eq(rig.maps.lat[CELL * TAIO_SLOTS].count, 8);
	cr_expect_eq(rig.maps.lat[CELL * TAIO_SLOTS].bytes, 8 * 4096);
	cr_expect_eq(rig.maps.lat[CELL * TAIO_SLOTS].hist[12], 8);
	cr_expect_eq(rig.maps.ctl->samples, 8);
}

POLICY_TEST(policy_core, prices_only_cells_that_changed, "tab")
{
	rig_learn(&rig, CELL, 0, 0, 8000, 3);
	cr_expect_eq(rig.maps.price[CELL].version, 3);
	cr_expect_eq(rig.maps.price[CELL + 1].version, 0);
	rig_tick(&rig);
	cr_expect_eq(rig.maps.price[CELL].version, 3);
	cr_expect_eq(rig.maps.ctl->repriced, 3);
}

POLICY_TEST(policy_core, begins_anew_when_a_ring_makes_no_sense, "tab")
{
	struct taio_engine *engine = &rig.maps.engine[0];

	engine->head = engine->tail + TAIO_RING + 1;
	rig_tick(&rig);
	cr_expect_eq(engine->head, engine->tail);
	cr_expect_eq(rig.maps.ctl->refused, 1);
	rig_learn(&rig, CELL, 0, 0, 8000, 1);
	cr_expect_eq(rig.maps.ctl->samples, 1);
}

POLICY_TEST(policy_core, takes_bounded_work_per_tick_and_serves_engines_in_turn, "tab")
{
	rig_close(&rig);
	rig_open(&rig, "tab", 8);
	rig_offer(&rig, 2, 0, 0, rig_caps(5000, 1000, 1));
	for (unsigned int e = 0; e < 8; e++)
		for (unsigned int i = 0; i < TAIO_RING; i++)
			rig_push(&rig.maps.engine[e], rig_sample(&rig, CELL, 0, 0, 1000));
	cr_expect_eq(rig_tick(&rig), 4096);
	cr_expect_eq(rig_tick(&rig), 4096);
	cr_expect_eq(rig_tick(&rig), 0);
	for (unsigned int e = 0; e < 8; e++)
		cr_expect_eq(rig.maps.engine[e].tail, TAIO_RING);
	cr_expect_eq(rig.maps.ctl->samples, 8 * TAIO_RING);
}

POLICY_TEST(policy_core, adds_up_the_load_of_all_engines_but_silent_ones, "tab")
{
	rig.maps.engine[0].in_flight[0] = 3;
	rig.maps.engine[1].in_flight[0] = 4;
	rig.maps.engine[3].in_flight[1] = 5;
	rig.maps.engine[2].in_flight[0] = 100;
	rig.now_ns += 5000000000;
	rig.maps.engine[2].alive_ns = 0; /* rig_tick() leaves it silent */
	rig_tick(&rig);
	cr_expect_eq(rig.maps.dev[0].in_flight, 7);
	cr_expect_eq(rig.maps.dev[1].in_flight, 5);
}

POLICY_TEST(policy_core, a_take_over_makes_all_prices_anew_and_keeps_what_was_measured, "static")
{
	struct rig other = rig;
	struct taio_lat before;

	rig_learn(&rig, CELL, 0, 0, 8000, 100);
	before = rig.maps.lat[CELL * TAIO_SLOTS];
	other.twin = native_find("tab");
	for (uint32_t i = 0; i < TAIO_TUNABLES_MAX; i++)
		other.maps.tune[i] = other.twin->tunables[i].initial;
	other.twin->start(&other.maps, rig.now_ns);
	cr_expect_eq(memcmp(&before, &rig.maps.lat[CELL * TAIO_SLOTS], sizeof(before)), 0);
	cr_expect_str_eq(rig.maps.ctl->policy, "tab");
	cr_expect_eq(rig.maps.ctl->swaps, 1);
	assert_near(rig_price(&rig, CELL, LATENCY, 0, 0), 8000, 100);
	cr_expect_neq(rig_price(&rig, CELL + 1, LATENCY, 1, 0), 0, "an unused cell has no price");
	cr_expect_eq(rig_tick(&rig), -ESTALE, "the old policy still runs");
}

POLICY_TEST(policy_core, state_of_another_policy_is_never_seen, "tab")
{
	struct taio_state *state = &rig.maps.state[CELL * TAIO_SLOTS];

	rig_learn(&rig, CELL, 0, 0, 8000, 10);
	for (unsigned int i = 0; i < TAIO_STATE_WORDS; i++)
		state->word[i] = 0xdeadbeef;
	rig.maps.dev[0].state[0] = 7;
	memset(&rig.maps.lat[CELL * TAIO_SLOTS], 0, sizeof(struct taio_lat));
	rig.twin->start(&rig.maps, rig.now_ns);
	cr_expect_eq(rig_price(&rig, CELL, LATENCY, 0, 0), 5000 + 6144, "what is published");
	for (unsigned int i = 0; i < TAIO_STATE_WORDS; i++)
		cr_expect_eq(state->word[i], 0);
	cr_expect_eq(rig.maps.dev[0].state[0], 0);
}

POLICY_TEST(policy_core, twins_on_different_maps_do_not_meet, "tab")
{
	struct rig other;

	rig_open(&other, "tab", 1);
	rig_offer(&other, 2, 0, 0, rig_caps(5000, 1000, 1));
	for (unsigned int i = 0; i < 50; i++) {
		rig_learn(&rig, CELL, 0, 0, 8000, 1);
		rig_learn(&other, CELL, 0, 0, 90000, 1);
	}
	assert_near(rig_price(&rig, CELL, LATENCY, 0, 0), 8000, 100);
	assert_near(rig_price(&other, CELL, LATENCY, 0, 0), 90000, 1000);
	rig_close(&other);
}

Test(policy_core, tables_of_loads_and_classes_fit_each_other)
{
	for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
		cr_expect_eq(taio_bucket_of(taio_bucket_load(b)), b);
	for (uint32_t q = 0; q < 1000; q++)
		cr_expect_leq(taio_bucket_load(taio_bucket_of(q)), q);
	for (uint32_t c = 0; c < TAIO_CLASSES; c++)
		cr_expect_eq(taio_class_of(taio_class_bytes(c)), c);
	cr_expect_eq(taio_class_of(UINT64_MAX), TAIO_CLASSES - 1);
}

Test(policy_core, every_policy_of_the_library_has_sound_tunables)
{
	cr_assert_not_null(native_find("tab"));
	for (unsigned int p = 0; native_at(p); p++) {
		const struct taio_native_policy *twin = native_at(p);

		cr_expect_eq(twin->abi, TAIO_POLICY_ABI);
		cr_expect(strlen(twin->name) < 16 && twin->text[0], "%s", twin->name);
		for (unsigned int i = 0; i < TAIO_TUNABLES_MAX && twin->tunables[i].name[0]; i++) {
			const struct taio_tunable *t = &twin->tunables[i];

			cr_expect(t->min <= t->initial && t->initial <= t->max && t->unit[0] &&
					  t->text[0],
				  "%s: %s", twin->name, t->name);
		}
	}
}
