/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_pick.c: the picker against hand-made maps. No engine, no driver, no clock: prices are
 * written by the test, time is a number.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pick/pick.h"
#include "taio.h"

#define KEY   0x10000000001ULL
#define BYTES 4096
#define MS    1000000ULL
#define START (1000 * MS)

enum {
	A,
	B,
	C
};

struct world {
	struct taio_ctl ctl;
	struct taio_ctx ctx[TAIO_CONTEXTS];
	struct taio_caps caps[TAIO_CONTEXTS * TAIO_SLOTS];
	struct taio_dev dev[TAIO_DEVICES];
	struct taio_lat lat[TAIO_ROUTES];
	struct taio_price price[TAIO_CELLS];
	struct taio_engine engine;
	struct taio_maps maps;
	struct picker picker;
};

static struct world *w;
static struct pick_context *context;
static uint64_t now = START;

static void open_world(void)
{
	w = mmap(NULL, sizeof(*w), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(w, MAP_FAILED);
	w->maps = (struct taio_maps){ .ctl = &w->ctl,
				      .ctx = w->ctx,
				      .caps = w->caps,
				      .dev = w->dev,
				      .lat = w->lat,
				      .price = w->price,
				      .engine = &w->engine };
	pick_init(&w->picker, &w->maps);
}

static void close_world(void)
{
	munmap(w, sizeof(*w));
}

/* Three devices in one context: A publishes 1 us, B 2 us, C 3 us, one request at a time. */
static void open_three(void)
{
	struct pick_candidate candidate[3];

	open_world();
	memset(candidate, 0, sizeof(candidate));
	for (uint8_t i = 0; i < 3; i++) {
		char name[2] = { (char)('A' + i), 0 };

		pick_add_device(&w->picker, i, name, 1000);
		candidate[i].device = i;
		candidate[i].caps.base_ns = 1000 * (i + 1U);
		candidate[i].caps.parallel = 1;
	}
	context = pick_add_context(&w->picker, KEY, "copy mem>mem", candidate, 3);
	cr_assert_not_null(context);
}

TestSuite(pick, .init = open_three, .fini = close_world);

static uint32_t cell_of(uint64_t bytes)
{
	return context->index * TAIO_CLASSES + taio_class_of(bytes);
}

/* Sets one price for all levels of load and all goals. */
static void price(unsigned int device, uint32_t cost)
{
	uint8_t slot = context->candidate[device].slot;

	for (uint32_t goal = 0; goal < TAIO_GOALS; goal++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			w->price[cell_of(BYTES)].cost[goal][slot][b] = cost;
}

static struct pick_query ask_for(uint64_t skip)
{
	return (struct pick_query){
		.context = context, .bytes = BYTES, .now_ns = now, .skip = skip
	};
}

static struct pick_choice choose_with(const struct pick_query *query)
{
	struct pick_choice choice;
	int rc;

	memset(&choice, 0xa5, sizeof(choice));
	rc = pick_choose(&w->picker, query, &choice);
	cr_assert_eq(rc, 0, "%d", rc);
	cr_assert_lt(choice.device, 3);
	cr_assert_not(query->skip & (1ULL << choice.device));
	cr_assert_gt(choice.predicted_ns, 0);
	return choice;
}

static struct pick_choice choose(void)
{
	struct pick_query query = ask_for(0);

	return choose_with(&query);
}

static void submit(unsigned int device)
{
	pick_submitted(&w->picker, (uint8_t)device, now);
}

/* How an asynchronous step of @device ends. */
enum end {
	WELL,
	SHORT,
	BROKEN
};

static bool complete(unsigned int device, uint64_t took_ns, enum end end)
{
	struct pick_choice choice = { .device = (uint8_t)device,
				      .slot = context->candidate[device].slot,
				      .cell = (uint16_t)cell_of(BYTES),
				      .predicted_ns = 1000 };
	struct pick_result result = { .choice = &choice,
				      .submit_ns = now - took_ns,
				      .now_ns = now,
				      .bytes = BYTES,
				      .error = end == BROKEN,
				      .learn = end == WELL };

	return pick_completed(&w->picker, &result);
}

static bool run(unsigned int device, uint64_t took_ns, enum end end)
{
	submit(device);
	now += took_ns;
	return complete(device, took_ns, end);
}

/* ---- prices ---- */

Test(pick, the_cheapest_price_wins)
{
	price(A, 3000);
	price(B, 2000);
	price(C, 1000);
	cr_assert_eq(choose().device, C);
	cr_assert_eq(choose().predicted_ns, 1000);
	price(B, 500);
	cr_assert_eq(choose().device, B);
	price(A, 100);
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose().why, TAIO_WHY_PRICE);
}

Test(pick, each_size_class_has_its_own_prices)
{
	struct pick_query query = ask_for(0);

	price(A, 3000);
	price(B, 1000);
	price(C, 2000);
	query.bytes = 1 << 20;
	w->price[cell_of(query.bytes)].cost[0][context->candidate[C].slot][0] = 10;
	w->price[cell_of(query.bytes)].cost[0][context->candidate[A].slot][0] = 20;
	w->price[cell_of(query.bytes)].cost[0][context->candidate[B].slot][0] = 30;
	cr_assert_eq(choose_with(&query).device, C);
	cr_assert_eq(choose().device, B);
}

Test(pick, each_goal_has_its_own_prices)
{
	for (uint32_t goal = 0; goal < TAIO_GOALS; goal++) {
		struct pick_query query = ask_for(0);

		price(A, 1000);
		price(B, 1000);
		price(C, 1000);
		w->price[cell_of(BYTES)].cost[goal][context->candidate[goal].slot][0] = 10;
		query.goal = goal;
		cr_assert_eq(choose_with(&query).device, goal);
	}
}

Test(pick, without_prices_the_published_figures_decide)
{
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose().predicted_ns, 1000);
	submit(A);
	submit(A);
	submit(A); /* one at a time: the fourth waits for three */
	cr_assert_eq(choose().device, B);
}

Test(pick, a_context_that_the_maps_have_no_room_for_is_priced_as_published)
{
	struct pick_candidate candidate[2];
	struct pick_query query = ask_for(0);

	memset(candidate, 0, sizeof(candidate));
	candidate[0].device = A;
	candidate[0].caps.base_ns = 900;
	candidate[1].device = B;
	candidate[1].caps.base_ns = 300;
	for (uint64_t key = 1; key <= 3 * PICK_CONTEXTS; key++) {
		struct pick_choice choice;

		query.context = pick_add_context(&w->picker, KEY + key, "x", candidate, 2);
		cr_assert_not_null(query.context, "context %u", (unsigned int)key);
		cr_assert_eq(pick_find_context(&w->picker, KEY + key), query.context);
		choice = choose_with(&query);
		cr_assert_eq(choice.device, B);
		if (key + 1 > TAIO_CONTEXTS) {
			cr_assert_eq(choice.slot, PICK_NONE);
			cr_assert_eq(choice.cell, UINT16_MAX);
		}
	}
	cr_assert_eq(pick_find_context(&w->picker, KEY), context, "the first is still there");
	cr_assert_null(pick_find_context(&w->picker, KEY + 3 * PICK_CONTEXTS - 1));
}

Test(pick, the_price_at_the_present_load_counts)
{
	uint8_t slot = context->candidate[A].slot;

	price(A, 100);
	price(B, 500);
	price(C, 900);
	for (uint32_t b = 2; b < TAIO_BUCKETS; b++)
		w->price[cell_of(BYTES)].cost[0][slot][b] = 700;
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose().bucket, 0);
	submit(A);
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose().bucket, 1);
	submit(A);
	cr_assert_eq(choose().device, B);
	now += 10;
	complete(A, 10, WELL);
	cr_assert_eq(choose().device, A);
}

Test(pick, the_load_of_other_engines_counts_where_maps_are_shared)
{
	uint8_t slot = context->candidate[A].slot;

	price(A, 100);
	price(B, 500);
	price(C, 900);
	for (uint32_t b = 5; b < TAIO_BUCKETS; b++)
		w->price[cell_of(BYTES)].cost[0][slot][b] = 700;
	w->dev[w->picker.device[A].map_index].in_flight = 100;
	cr_assert_eq(choose().device, A, "what is said in a private map is our own figure");
	w->maps.shared = 1;
	cr_assert_eq(choose().device, B);
}

Test(pick, a_price_is_multiplied_by_the_scale_of_its_candidate)
{
	uint8_t slot = context->candidate[A].slot;
	struct pick_query query;

	price(A, 1000);
	price(B, 2500);
	price(C, 9000);
	w->ctx[context->index].scale[slot] = 2 * TAIO_SCALE_ONE;
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose().predicted_ns, 2000);
	w->ctx[context->index].scale[slot] = 10 * TAIO_SCALE_ONE;
	cr_assert_eq(choose().device, B);
	query = ask_for(0);
	query.goal = TAIO_GOAL_CPU;
	cr_assert_eq(choose_with(&query).device, A, "waiting longer costs no processor time");
	w->ctx[context->index].scale[slot] = 0;
	context->last[taio_class_of(BYTES)] = PICK_NONE;
	cr_assert_eq(choose().predicted_ns, 1000, "no scale is the normal one");
}

Test(pick, equally_good_devices_do_not_take_turns)
{
	price(A, 1000);
	price(B, 1010);
	price(C, 9000);
	cr_assert_eq(choose().device, A);
	price(B, 970); /* 3 % better: noise */
	cr_assert_eq(choose().device, A);
	price(B, 900); /* 10 % better */
	cr_assert_eq(choose().device, B);
	price(A, 880);
	cr_assert_eq(choose().device, B);
	price(A, 800);
	cr_assert_eq(choose().device, A);
}

/* ---- stalls ---- */

Test(pick, a_device_that_stopped_completing_gets_dearer)
{
	price(A, 1000);
	price(B, 50000);
	price(C, 90000);
	submit(A);
	now += 1500;
	cr_assert_eq(choose().device, A);
	now += 100000;
	cr_assert_eq(choose().device, B);
	complete(A, 101500, WELL);
	cr_assert_eq(choose().device, A, "it moves again");
}

Test(pick, a_device_is_not_silent_while_nobody_looks)
{
	struct pick_query query;

	price(A, 1000);
	price(B, 50000);
	price(C, 90000);
	submit(A);
	now += 100000;
	query = ask_for(0);
	query.unseen_ns = 99000;
	cr_assert_eq(choose_with(&query).device, A, "an inline device may have held the thread");
	query.unseen_ns = 1000;
	cr_assert_eq(choose_with(&query).device, B, "it was looked for after 99 us");
}

Test(pick, an_idle_device_does_not_age)
{
	price(A, 1000);
	price(B, 50000);
	price(C, 90000);
	run(A, 1000, WELL);
	now += 1000000 * MS;
	cr_assert_eq(choose().device, A);
	submit(A);
	cr_assert_eq(choose().device, A, "its age starts with the first submission");
}

/* ---- breaker ---- */

static void break_device(unsigned int device)
{
	for (int i = 0; i < 3; i++)
		run(device, 10, BROKEN);
}

Test(pick, a_device_that_fails_three_times_is_left_out)
{
	price(A, 1000);
	price(B, 5000);
	price(C, 9000);
	run(A, 10, BROKEN);
	run(A, 10, BROKEN);
	cr_assert_eq(choose().device, A);
	run(A, 10, BROKEN);
	cr_assert_eq(choose().device, B);
}

Test(pick, errors_are_forgiven_with_successes)
{
	run(A, 10, BROKEN);
	run(A, 10, BROKEN);
	for (int i = 0; i < 200; i++)
		run(A, 10, WELL);
	cr_assert_eq(w->picker.device[A].errors, 0);
	run(A, 10, BROKEN);
	run(A, 10, BROKEN);
	cr_assert_eq(choose().device, A);
}

Test(pick, what_is_only_short_breaks_nothing)
{
	for (int i = 0; i < 100; i++)
		run(A, 10, SHORT);
	cr_assert_eq(choose().device, A);
	cr_assert_eq(w->picker.device[A].errors, 0);
}

Test(pick, quarantine_ends_with_one_trial_at_a_time)
{
	struct pick_choice choice;

	price(A, 1000);
	price(B, 5000);
	price(C, 9000);
	break_device(A);
	now += 2 * MS + 1;
	choice = choose();
	cr_assert_eq(choice.device, A, "2 ms are over");
	submit(A);
	cr_assert_eq(choose().device, B, "the trial is under way");
	now += 1000;
	complete(A, 1000, WELL);
	cr_assert_eq(choose().device, A);
}

Test(pick, quarantine_gets_twice_as_long_each_time_up_to_about_a_second)
{
	uint64_t last = 0;

	price(A, 1000);
	price(B, 5000);
	price(C, 9000);
	for (int round = 0; round < 14; round++) {
		uint64_t until, length;

		if (round == 0)
			break_device(A);
		else
			run(A, 0, BROKEN); /* the trial fails */
		until = w->picker.device[A].quarantine_ns;
		length = until - now;
		cr_assert_eq(length, MS << (round < 9 ? round + 1 : 10), "round %d: %llu", round,
			     (unsigned long long)length);
		cr_assert_geq(length, last);
		now = until - 1;
		cr_assert_eq(choose().device, B);
		now = until;
		cr_assert_eq(choose().device, A);
		last = length;
	}
}

/* All that is in flight when a disk breaks fails at once, and means one failure. */
Test(pick, a_burst_of_failures_counts_once)
{
	for (int i = 0; i < 32; i++)
		submit(A);
	now += 100;
	for (int i = 0; i < 32; i++)
		complete(A, 100, BROKEN);
	cr_assert_eq(w->picker.device[A].in_flight, 0);
	cr_assert_leq(w->picker.device[A].quarantine_ns, now + 2 * MS);
}

Test(pick, a_device_that_works_again_is_trusted_again)
{
	price(A, 1000);
	price(B, 5000);
	price(C, 9000);
	break_device(A);
	for (int i = 0; i < 20; i++) {
		now += MS;
		run(choose().device, 1000, WELL);
	}
	submit(A);
	submit(A);
	cr_assert_eq(choose().device, A, "as many as it likes at a time");
	cr_assert_eq(w->picker.device[A].level, 0);
	cr_assert_eq(w->picker.device[A].quarantine_ns, 0);
}

/* It was used by one request at a time for as long as it had been left alone. */
Test(pick, a_trial_that_goes_well_opens_a_device_however_long_it_was_closed)
{
	price(A, 1000);
	price(B, 5000);
	price(C, 9000);
	break_device(A);
	for (int round = 0; round < 8; round++) {
		now = w->picker.device[A].quarantine_ns;
		run(A, 0, BROKEN); /* the trial fails */
	}
	now = w->picker.device[A].quarantine_ns;
	run(A, 1000, WELL);
	submit(A);
	submit(A);
	cr_assert_eq(choose().device, A, "as many as it likes at a time");
	cr_assert_eq(w->picker.device[A].level, 9, "but it is remembered");
	complete(A, 1000, BROKEN);
	complete(A, 1000, BROKEN);
	cr_assert_eq(choose().device, A);
	run(A, 1000, BROKEN);
	cr_assert_eq(w->picker.device[A].quarantine_ns - now, MS << 10);
}

Test(pick, if_all_are_in_quarantine_the_soonest_is_taken)
{
	struct pick_choice choice;

	break_device(B);
	now += 100;
	break_device(A);
	now += 100;
	break_device(C);
	choice = choose();
	cr_assert_eq(choice.device, B);
	cr_assert_eq(choice.why, TAIO_WHY_QUARANTINE);
	cr_assert_gt(choice.predicted_ns, 0);
}

/* ---- full, masks ---- */

Test(pick, a_full_device_is_passed_over_and_all_full_is_busy)
{
	struct pick_query query = ask_for(0);
	struct pick_choice choice;

	for (unsigned int i = 0; i < 3; i++)
		pick_add_device(&w->picker, (uint8_t)i, (char[]){ (char)('A' + i), 0 }, 1);
	price(A, 10);
	price(B, 20);
	price(C, 30);
	submit(A);
	cr_assert_eq(choose().device, B);
	submit(B);
	submit(C);
	cr_assert_eq(pick_choose(&w->picker, &query, &choice), -EBUSY);
	now += 10;
	complete(C, 10, WELL);
	cr_assert_eq(choose().device, C);
	cr_assert_eq(choose().why, TAIO_WHY_ONLY);
}

Test(pick, what_is_skipped_is_never_taken)
{
	struct pick_choice choice;
	struct pick_query query;

	for (uint64_t skip = 0; skip < 8; skip++) {
		query = ask_for(skip);
		if (skip == 7) {
			cr_assert_eq(pick_choose(&w->picker, &query, &choice), -ENODEV);
			continue;
		}
		cr_assert_eq(choose_with(&query).device, (unsigned int)__builtin_ctzll(~skip));
	}
	context->unfit = 1 << A;
	cr_assert_eq(choose().device, B);
	context->unfit = 7;
	query = ask_for(0);
	cr_assert_eq(pick_choose(&w->picker, &query, &choice), -ENODEV);
}

Test(pick, the_device_taken_last_is_not_kept_when_it_must_not_run)
{
	struct pick_query query = ask_for(1 << A);

	price(A, 1000);
	price(B, 1000);
	price(C, 9000);
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose_with(&query).device, B);
	cr_assert_eq(choose().device, B);
	break_device(B);
	cr_assert_eq(choose().device, A);
}

/* ---- probes ---- */

/* C costs five times A and may be probed; nobody has heard of it. */
static void open_probe(void)
{
	price(A, 1000);
	price(B, 2000);
	price(C, 5000);
	w->price[cell_of(BYTES)].probe = 1U << context->candidate[C].slot;
}

static struct pick_choice choose_may_probe(void)
{
	struct pick_query query = ask_for(0);

	query.may_probe = true;
	return choose_with(&query);
}

Test(pick, probes_cost_about_one_percent_of_the_work)
{
	uint64_t spent = 0, worked = 0;
	unsigned int probes = 0;

	open_probe();
	for (int i = 0; i < 200000; i++) {
		struct pick_choice choice = choose_may_probe();

		if (choice.why == TAIO_WHY_PROBE) {
			cr_assert_eq(choice.device, C);
			probes++;
			spent += 5000 - 1000;
			run(C, 5000, WELL);
		} else {
			cr_assert_eq(choice.device, A);
			run(A, 1000, WELL);
		}
		worked += choice.device == C ? 5000 : 1000;
		now += 200;
	}
	cr_assert_gt(probes, 50);
	cr_assert_leq(spent, worked / 100, "%u probes cost %llu of %llu ns", probes,
		      (unsigned long long)spent, (unsigned long long)worked);
}

Test(pick, nothing_is_probed_that_may_not_be)
{
	open_probe();
	w->picker.probe_credit_ns = 10 * (int64_t)MS;
	cr_assert_eq(choose().device, A, "the request does not allow it");
	w->price[cell_of(BYTES)].probe = 0;
	cr_assert_eq(choose_may_probe().device, A, "the policy does not ask for it");
	w->price[cell_of(BYTES)].probe = 1U << context->candidate[C].slot;
	submit(C);
	cr_assert_eq(choose_may_probe().device, A, "one is under way");
	complete(C, 0, WELL);
	w->picker.probe_credit_ns = 100;
	cr_assert_eq(choose_may_probe().device, A, "there is no credit");
	w->picker.probe_credit_ns = 10 * (int64_t)MS;
	w->lat[cell_of(BYTES) * TAIO_SLOTS + context->candidate[C].slot].last_ns = now - 1000;
	cr_assert_eq(choose_may_probe().device, A, "it was heard of a moment ago");
	w->lat[cell_of(BYTES) * TAIO_SLOTS + context->candidate[C].slot].last_ns = now + 1000;
	cr_assert_eq(choose_may_probe().device, A, "the kernel's clock is ahead of ours");
	w->lat[cell_of(BYTES) * TAIO_SLOTS + context->candidate[C].slot].last_ns = 0;
	price(C, 100000);
	cr_assert_eq(choose_may_probe().device, A, "it is hopeless");
	price(C, 5000);
	break_device(C);
	cr_assert_eq(choose_may_probe().device, A, "it is in quarantine");
	now += 100 * MS;
	cr_assert_eq(choose_may_probe().why, TAIO_WHY_PROBE, "and this is what it looks like");
}

/* It was never asked again: 64 times the best was hopeless, however little was known. */
Test(pick, a_device_whose_first_completion_was_a_stall_is_asked_again)
{
	struct taio_lat *lat;

	open_probe();
	now = START + 10000 * MS;
	lat = &w->lat[cell_of(BYTES) * TAIO_SLOTS + context->candidate[C].slot];
	price(C, 100 * 1000000); /* and more than probes may save up */
	lat->count = 1;
	lat->last_ns = now - 3 * MS;
	w->picker.probe_credit_ns = 20 * (int64_t)MS;
	cr_assert_eq(choose_may_probe().device, A, "it is too early");
	lat->last_ns = now - 65 * 100 * MS;
	w->picker.probe_credit_ns = 19 * (int64_t)MS;
	cr_assert_eq(choose_may_probe().device, A, "that is not all that may be saved up");
	w->picker.probe_credit_ns = 20 * (int64_t)MS;
	lat->count = 4;
	cr_assert_eq(choose_may_probe().device, A, "it was like that again and again");
	lat->count = 1;
	cr_assert_eq(choose_may_probe().why, TAIO_WHY_PROBE);
	cr_assert_lt(w->picker.probe_credit_ns, -70 * (int64_t)MS, "it is paid for");
}

Test(pick, a_probe_does_not_become_a_habit)
{
	open_probe();
	w->picker.probe_credit_ns = 10 * (int64_t)MS;
	cr_assert_eq(choose().device, A);
	cr_assert_eq(choose_may_probe().device, C);
	price(A, 5200); /* within the noise of C */
	cr_assert_eq(choose().device, B);
	price(B, 5200);
	price(A, 5200);
	context->last[taio_class_of(BYTES)] = A;
	cr_assert_eq(choose_may_probe().device, A);
	cr_assert_eq(context->last[taio_class_of(BYTES)], A);
}

#define LARGE (1u << 20)

/* C costs 900 us for a large step, and there is credit for 80 us. */
static struct pick_query ask_large(void)
{
	static const uint32_t cost[] = { 100000, 200000, 900000 };
	struct pick_query query = ask_for(0);

	for (unsigned int i = 0; i < 3; i++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			w->price[cell_of(LARGE)].cost[0][context->candidate[i].slot][b] = cost[i];
	w->price[cell_of(LARGE)].probe = 1U << context->candidate[C].slot;
	w->picker.probe_credit_ns = 80000;
	now += 100 * MS;
	query.now_ns = now;
	query.bytes = LARGE;
	query.may_probe = true;
	return query;
}

Test(pick, a_large_step_is_tried_with_a_piece_where_it_can_be_cut)
{
	struct pick_query query = ask_large();
	struct pick_choice choice;

	cr_assert_eq(choose_with(&query).device, A, "all of it is beyond the credit");
	query.cuttable = 1U << B;
	cr_assert_eq(choose_with(&query).device, A);
	query.cuttable = 1U << C;
	choice = choose_with(&query);
	cr_assert_eq(choice.device, C);
	cr_assert_eq(choice.why, TAIO_WHY_PROBE);
	cr_assert_eq(choice.piece, LARGE / 16);
	cr_assert_eq(choice.predicted_ns, 900000 / 16);
	cr_assert_eq(choice.cell, cell_of(LARGE), "it is learnt for the class of the whole");
	cr_assert_eq(w->picker.probe_credit_ns, 80000 - (900000 - 100000) / 16);
	query.bytes = 128 << 10;
	cr_assert_eq(choose_with(&query).piece, 0, "too small to be cut");
}

Test(pick, what_a_piece_took_is_told_as_the_whole)
{
	struct pick_query query = ask_large();
	struct pick_result result;
	struct pick_choice choice;

	query.cuttable = 1U << C;
	choice = choose_with(&query);
	submit(C);
	now += 9000;
	result = (struct pick_result){ .choice = &choice,
				       .submit_ns = now - 9000,
				       .now_ns = now,
				       .bytes = LARGE / 16,
				       .whole = LARGE,
				       .cpu_ns = 9000,
				       .learn = true };
	pick_completed(&w->picker, &result);
	cr_assert_eq(w->engine.head, 1);
	/* 3 us are published as what it takes for any size */
	cr_assert_eq(w->engine.ring[0].ns, 3000 + 16 * 6000);
	cr_assert_eq(w->engine.ring[0].submit_ns + w->engine.ring[0].ns, now);
	cr_assert_eq(w->engine.ring[0].bytes, LARGE / 16);
	cr_assert_eq(w->engine.ring[0].cell, cell_of(LARGE));
	cr_assert_eq(w->engine.ring[0].cpu_ns, 0, "not measured");
	cr_assert_eq(w->engine.ring[0].predicted_ns, 3000 + 16 * (900000 / 16 - 3000));
}

/* ---- what is told to the policy ---- */

static const struct taio_sample *sample(uint32_t n)
{
	cr_assert_lt(n, w->engine.head);
	return &w->engine.ring[n & (TAIO_RING - 1)];
}

Test(pick, a_completion_becomes_a_sample)
{
	struct pick_choice choice;
	struct pick_result result;

	price(B, 500);
	submit(B);
	choice = choose();
	cr_assert_eq(choice.device, B);
	cr_assert_eq(choice.bucket, 1);
	submit(B);
	now += 700;
	result = (struct pick_result){ .choice = &choice,
				       .submit_ns = now - 700,
				       .now_ns = now,
				       .bytes = BYTES,
				       .cpu_ns = 300,
				       .learn = true };
	cr_assert_not(pick_completed(&w->picker, &result));
	cr_assert_eq(w->engine.head, 1);
	cr_assert_eq(sample(0)->submit_ns, now - 700);
	cr_assert_eq(sample(0)->ns, 700);
	cr_assert_eq(sample(0)->cpu_ns, 300);
	cr_assert_eq(sample(0)->bytes, BYTES);
	cr_assert_eq(sample(0)->predicted_ns, 500);
	cr_assert_eq(sample(0)->cell, cell_of(BYTES));
	cr_assert_eq(sample(0)->slot, context->candidate[B].slot);
	cr_assert_eq(sample(0)->dev, w->picker.device[B].map_index);
	cr_assert_eq(sample(0)->bucket, 1);
	cr_assert_eq(sample(0)->flags, 0);
	cr_assert_eq(sample(0)->weight, 1);
	cr_assert_eq(w->engine.in_flight[w->picker.device[B].map_index], 1);
}

Test(pick, failures_are_told_but_never_to_be_learnt_from)
{
	int64_t credit = w->picker.probe_credit_ns;

	cr_assert_not(run(A, 100 * MS, BROKEN), "a failure is no surprise about a price");
	cr_assert_not(run(A, 100 * MS, SHORT));
	cr_assert_eq(w->engine.head, 2);
	cr_assert_eq(sample(0)->flags, TAIO_SAMPLE_ERROR);
	cr_assert_eq(sample(1)->flags, TAIO_SAMPLE_ERROR);
	cr_assert_eq(w->picker.probe_credit_ns, credit, "nor does it pay for probes");
}

Test(pick, a_completion_far_from_its_price_is_urgent)
{
	cr_assert_not(run(A, 3000, WELL));
	cr_assert_not(run(A, 19000, WELL), "small absolute differences are noise");
	cr_assert(run(A, 50000, WELL));
	cr_assert_eq(sample(2)->flags, TAIO_SAMPLE_URGENT);
}

Test(pick, steps_that_have_no_price_are_no_surprise)
{
	struct pick_choice choice = { .device = A, .slot = PICK_NONE, .cell = UINT16_MAX };
	struct pick_result result = { .choice = &choice,
				      .submit_ns = now - 100 * MS,
				      .now_ns = now,
				      .learn = true,
				      .occupied = true };

	cr_assert_not(pick_completed(&w->picker, &result));
	cr_assert_eq(w->engine.head, 0);
}

Test(pick, a_step_that_held_the_thread_was_never_in_flight)
{
	struct pick_choice choice = choose();
	struct pick_result result = { .choice = &choice,
				      .submit_ns = now - 10,
				      .now_ns = now,
				      .learn = true,
				      .occupied = true };

	pick_completed(&w->picker, &result);
	cr_assert_eq(w->picker.device[A].in_flight, 0);
	cr_assert_eq(w->engine.head, 1);
}

Test(pick, samples_are_thinned_while_nobody_takes_them_and_weigh_as_many_more)
{
	uint64_t weight = 0;

	for (int i = 0; i < 4000; i++)
		run(A, 1000, WELL);
	cr_assert_leq(w->engine.head, TAIO_RING);
	cr_assert_lt(w->engine.head, 700);
	for (uint32_t i = 0; i < w->engine.head; i++)
		weight += sample(i)->weight;
	cr_assert_gt(weight, 3000, "%llu", (unsigned long long)weight);
	cr_assert_lt(weight, 5200, "%llu", (unsigned long long)weight);
}

Test(pick, what_is_never_thinned_stands_for_itself_alone)
{
	while (w->engine.head < TAIO_RING * 3 / 4)
		run(A, 1000, WELL);
	run(A, 1000, BROKEN);
	cr_assert_eq(sample(w->engine.head - 1)->flags, TAIO_SAMPLE_ERROR);
	cr_assert_eq(sample(w->engine.head - 1)->weight, 1);
	run(A, 100000, WELL);
	cr_assert_eq(sample(w->engine.head - 1)->flags, TAIO_SAMPLE_URGENT);
	cr_assert_eq(sample(w->engine.head - 1)->weight, 1);
}

Test(pick, a_full_ring_loses_samples_and_counts_them)
{
	w->engine.head = 5000;
	w->engine.tail = 5000 - TAIO_RING;
	run(A, 1000, WELL);
	cr_assert_eq(w->engine.head, 5000);
	cr_assert_eq(w->engine.dropped, 1);
	w->engine.tail++;
	run(A, 1000, BROKEN);
	cr_assert_eq(w->engine.head, 5001);
}

Test(pick, works_without_a_slot_in_shared_maps)
{
	w->maps.engine = NULL;
	for (int i = 0; i < 100; i++)
		run(A, 1000, WELL);
	cr_assert_eq(choose().device, A);
}

Test(pick, engines_that_share_maps_count_together)
{
	w->maps.shared = 1;
	w->dev[0].in_flight = 5; /* of others, at the last tick */
	submit(A);
	submit(A);
	cr_assert_eq(w->dev[0].in_flight, 7);
	complete(A, 100, WELL);
	cr_assert_eq(w->dev[0].in_flight, 6);
	price(A, 1000);
	w->price[cell_of(BYTES)].cost[0][context->candidate[A].slot][taio_bucket_of(6)] = 20000;
	price(B, 10000);
	price(C, 30000);
	cr_assert_eq(choose().device, B, "the load of all counts");
	w->dev[0].in_flight = 0; /* a recount that did not see the last one yet */
	complete(A, 100, WELL);
	cr_assert_eq(choose().device, A, "less than none is none");
}

Test(pick, load_is_told_to_other_engines)
{
	for (int i = 0; i < 70000; i++)
		submit(A);
	cr_assert_eq(w->engine.in_flight[w->picker.device[A].map_index], UINT16_MAX);
	for (int i = 0; i < 70000; i++)
		complete(A, 0, WELL);
	cr_assert_eq(w->engine.in_flight[w->picker.device[A].map_index], 0);
}

/* ---- explanation ---- */

Test(pick, explains_each_candidate)
{
	struct pick_query query;
	struct pick_reason reason[3];

	price(A, 1000);
	price(B, 2000);
	price(C, 3000);
	context->unfit = 1 << B;
	submit(A);
	query = ask_for(1 << C);
	cr_assert_eq(pick_explain(&w->picker, &query, reason, 3), 3);
	cr_assert_eq(reason[A].why_not, TAIO_WHY_PRICE);
	cr_assert_eq(reason[A].in_flight, 1);
	cr_assert_eq(reason[A].cost_ns, 1000);
	cr_assert_eq(reason[B].why_not, TAIO_WHY_UNFIT);
	cr_assert_eq(reason[C].why_not, TAIO_WHY_FORBIDDEN);
	break_device(A);
	query = ask_for(0);
	pick_explain(&w->picker, &query, reason, 3);
	cr_assert_eq(reason[A].why_not, TAIO_WHY_QUARANTINE);
	cr_assert_eq(pick_explain(&w->picker, &query, reason, 1), 1);
}

/* ---- maps ---- */

Test(pick, two_pickers_on_the_same_maps_agree_on_places)
{
	static struct picker other;
	struct pick_candidate candidate[2];
	struct pick_context *same;

	memset(candidate, 0, sizeof(candidate));
	pick_init(&other, &w->maps);
	pick_add_device(&other, 7, "C", 10); /* other numbers, other order */
	pick_add_device(&other, 9, "A", 10);
	pick_add_device(&other, 1, "new", 10);
	candidate[0].device = 7;
	candidate[1].device = 1;
	same = pick_add_context(&other, KEY, "copy mem>mem", candidate, 2);
	cr_assert_eq(same->index, context->index);
	cr_assert_eq(other.device[7].map_index, w->picker.device[C].map_index);
	cr_assert_eq(other.device[9].map_index, w->picker.device[A].map_index);
	cr_assert_eq(same->candidate[0].slot, context->candidate[C].slot);
	cr_assert_eq(same->candidate[1].slot, 3);
	cr_assert_str_eq(w->ctx[same->index].name, "copy mem>mem");
	cr_assert_str_eq(w->dev[other.device[1].map_index].name, "new");
}

Test(pick, more_devices_than_the_maps_hold_run_unpriced)
{
	struct pick_candidate candidate;
	struct pick_query query = ask_for(0);

	memset(&candidate, 0, sizeof(candidate));
	for (uint32_t i = 0; i < TAIO_DEVICES; i++)
		w->dev[i].hash = 12345 + i;
	pick_add_device(&w->picker, 40, "late", 10);
	cr_assert_eq(w->picker.device[40].map_index, PICK_NONE);
	candidate.device = 40;
	query.context = pick_add_context(&w->picker, KEY + 1, "x", &candidate, 1);
	cr_assert_eq(query.context->candidate[0].slot, PICK_NONE);
	cr_assert_eq(pick_choose(&w->picker, &query, &(struct pick_choice){ 0 }), 0);
}

Test(pick, contexts_keep_their_places_after_a_swap_and_find_new_ones_where_they_must)
{
	static struct taio_ctx moved[TAIO_CONTEXTS];
	uint8_t index = context->index;

	memcpy(moved, w->ctx, sizeof(moved));
	w->maps.ctx = moved;
	pick_rebind(&w->picker);
	cr_assert_eq(context->index, index);
	/* a machine-wide table in which others came first */
	memset(moved, 0, sizeof(moved));
	moved[0].key = 77;
	moved[1].key = 78;
	pick_rebind(&w->picker);
	cr_assert_eq(context->index, 2);
	cr_assert_eq(moved[2].key, KEY);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_lt(context->candidate[i].slot, TAIO_SLOTS);
	cr_assert_eq(choose().device, A);
}

/* ---- hostile prices ---- */

Test(pick, prices_at_the_limits_still_give_a_device)
{
	static const uint32_t limit[] = { 0, 1, TAIO_COST_MAX, UINT32_MAX };
	static const uint32_t scale[] = { 0, 1, TAIO_SCALE_ONE, UINT32_MAX };

	for (unsigned int i = 0; i < 4; i++)
		for (unsigned int k = 0; k < 4; k++) {
			for (unsigned int d = 0; d < 3; d++) {
				price(d, limit[i]);
				w->ctx[context->index].scale[context->candidate[d].slot] = scale[k];
			}
			choose();
			submit(A);
			now += 1000 * MS; /* stalled */
			choose();
			complete(A, 1000 * MS, WELL);
		}
}

Test(pick, garbage_in_every_map_never_gives_an_invalid_device)
{
	unsigned int seed = (unsigned int)time(NULL), in_flight[3] = { 0 };

	cr_log_info("seed %u", seed);
	for (int round = 0; round < 20000; round++) {
		struct pick_query query = ask_for((uint64_t)rand_r(&seed) % 7);
		uint32_t *words = (uint32_t *)&w->price[cell_of(BYTES)];
		struct pick_choice choice;

		for (int i = 0; i < 64; i++)
			words[(size_t)rand_r(&seed) % (sizeof(struct taio_price) / 4)] =
				(uint32_t)rand_r(&seed) << (rand_r(&seed) % 24);
		for (unsigned int s = 0; s < TAIO_SLOTS; s++)
			w->ctx[context->index].scale[s] = (uint32_t)rand_r(&seed) * 3U;
		for (uint32_t s = 0; s < TAIO_SLOTS; s++)
			w->lat[cell_of(BYTES) * TAIO_SLOTS + s].last_ns = (uint64_t)rand_r(&seed)
									  << (rand_r(&seed) % 33);
		w->dev[rand_r(&seed) % TAIO_DEVICES].in_flight = (uint32_t)rand_r(&seed);
		w->engine.tail = (uint32_t)rand_r(&seed);
		w->maps.shared = (uint32_t)rand_r(&seed) & 1;
		query.goal = (uint32_t)rand_r(&seed) % TAIO_GOALS;
		query.may_probe = rand_r(&seed) & 1;
		query.bytes = (uint64_t)rand_r(&seed) << (rand_r(&seed) % 33);
		choice = choose_with(&query);
		cr_assert(choice.slot < TAIO_SLOTS);
		cr_assert(choice.cell < TAIO_CELLS);
		cr_assert(choice.bucket < TAIO_BUCKETS);
		submit(choice.device);
		in_flight[choice.device]++;
		now += (uint64_t)rand_r(&seed) % 100000;
		for (unsigned int d = 0; d < 3; d++)
			if (in_flight[d] && rand_r(&seed) % 2) {
				complete(d, 5, (enum end)(rand_r(&seed) % 3));
				in_flight[d]--;
			}
		for (unsigned int d = 0; d < 3; d++)
			cr_assert_eq(w->picker.device[d].in_flight, in_flight[d]);
	}
}
