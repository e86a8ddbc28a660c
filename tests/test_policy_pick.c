/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_pick.c: decisions request by request. The pick hooks of policies are asked by the very
 * picker that the engine uses, on hand-made maps and virtual time; a hook of the test stands in
 * where an answer must be wrong. What the hooks answer in the kernel is test_policy_equal.c's.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "pick/pick.h"
#include "policy_rig.h"
#include "taio.h"

#define KEY   77
#define BYTES 65536
#define US    1000

static struct rig rig;
static struct taio_maps maps;
static struct picker picker;
static struct pick_context *context;
static unsigned int hook_calls;
static uint8_t hook_answer; /* of a hook of the test */

static int twin_pick(void *arg)
{
	(void)arg;
	hook_calls++;
	return rig.twin->pick(&rig.maps);
}

static int test_pick(void *arg)
{
	(void)arg;
	hook_calls++;
	for (uint32_t i = 0; i < rig.maps.batch->count; i++)
		rig.maps.batch->ask[i].slot = hook_answer;
	return (int)rig.maps.batch->count;
}

/* @count candidates, equal and one request at a time until the test makes prices. */
static void open_world(const char *policy, unsigned int count)
{
	struct pick_candidate candidate[TAIO_SLOTS];

	rig_open(&rig, policy, 1);
	maps = (struct taio_maps){ .ctl = rig.maps.ctl,
				   .ctx = rig.maps.ctx,
				   .caps = rig.maps.caps,
				   .dev = rig.maps.dev,
				   .lat = rig.maps.lat,
				   .price = rig.maps.price,
				   .engine = rig.maps.engine,
				   .batch = rig.maps.batch,
				   .pick = twin_pick };
	pick_init(&picker, &maps);
	memset(candidate, 0, sizeof(candidate));
	for (uint8_t i = 0; i < count; i++) {
		char name[2] = { (char)('A' + i), 0 };

		pick_add_device(&picker, i, name, 1000);
		candidate[i].device = i;
		candidate[i].caps = rig_caps(20 * US, 0, 1);
	}
	context = pick_add_context(&picker, KEY, "copy mem>mem", candidate, count);
	hook_calls = 0;
	hook_answer = TAIO_PICK_PRICE;
}

static void close_world(void)
{
	rig_close(&rig);
}

#define PICK_TEST(SUITE, NAME, POLICY, COUNT) \
	static void SUITE##_##NAME(void);     \
	Test(SUITE, NAME)                     \
	{                                     \
		open_world(POLICY, COUNT);    \
		SUITE##_##NAME();             \
		close_world();                \
	}                                     \
	static void SUITE##_##NAME(void)

/* What @device costs, at all loads, by goal. */
static void price(unsigned int device, uint32_t latency, uint32_t throughput, uint32_t cpu)
{
	uint32_t cell = context->index * TAIO_CLASSES + taio_class_of(BYTES);
	uint32_t cost[TAIO_GOALS] = { latency, throughput, cpu };

	for (uint32_t g = 0; g < TAIO_GOALS; g++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			rig.maps.price[cell].cost[g][context->candidate[device].slot][b] = cost[g];
}

static struct pick_query ask(uint32_t goal, uint64_t in_ns)
{
	return (struct pick_query){ .context = context,
				    .bytes = BYTES,
				    .now_ns = rig.now_ns,
				    .goal = goal,
				    .deadline_ns = in_ns ? rig.now_ns + in_ns : 0 };
}

static struct pick_choice choose(const struct pick_query *query)
{
	struct pick_choice choice;
	int rc = pick_choose(&picker, query, &choice);

	cr_assert_eq(rc, 0, "%d", rc);
	cr_assert_lt(choice.device, context->count);
	cr_assert_not(query->skip & (1ULL << choice.device));
	return choice;
}

/* ---- deadline ---- */

enum {
	FAST,
	FRUGAL,
	MIDDLE
};

/* 30 us and all of a core; 300 us and little of it; between. */
static void open_three(void)
{
	price(FAST, 30 * US, 30 * US, 30 * US);
	price(FRUGAL, 300 * US, 60 * US, 3 * US);
	price(MIDDLE, 100 * US, 10 * US, 20 * US);
}

PICK_TEST(policy_deadline, a_request_without_a_deadline_goes_by_price, "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	struct pick_choice choice;

	open_three();
	choice = choose(&query);
	cr_expect_eq(choice.device, FAST);
	cr_expect_eq(choice.why, TAIO_WHY_PRICE);
	cr_expect_eq(rig.maps.batch->by_price, 1);
	query.goal = TAIO_GOAL_CPU;
	cr_expect_eq(choose(&query).device, FRUGAL);
}

PICK_TEST(policy_deadline, the_cheapest_for_its_goal_that_is_in_time_is_taken, "deadline", 3)
{
	static const struct {
		uint32_t goal;
		uint64_t in_us;
		unsigned int device;
	} cases[] = {
		{ TAIO_GOAL_CPU, 1000, FRUGAL },    { TAIO_GOAL_CPU, 200, MIDDLE },
		{ TAIO_GOAL_CPU, 50, FAST },        { TAIO_GOAL_THROUGHPUT, 1000, MIDDLE },
		{ TAIO_GOAL_THROUGHPUT, 50, FAST }, { TAIO_GOAL_LATENCY, 1000, FAST },
		{ TAIO_GOAL_CPU, 320, MIDDLE }, /* in time, but not with a tenth to spare */
	};

	open_three();
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pick_query query = ask(cases[i].goal, cases[i].in_us * US);
		struct pick_choice choice = choose(&query);

		cr_expect_eq(choice.device, cases[i].device, "case %u: device %u", i,
			     choice.device);
		cr_expect_eq(choice.why, TAIO_WHY_POLICY);
	}
}

PICK_TEST(policy_deadline, a_request_that_will_be_late_takes_the_least_processor_time, "deadline",
	  3)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 10 * US);

	open_three();
	cr_expect_eq(choose(&query).device, FRUGAL);
	query.deadline_ns = rig.now_ns - 1; /* over already */
	cr_expect_eq(choose(&query).device, FRUGAL);
}

PICK_TEST(policy_deadline, what_is_left_of_the_request_must_be_in_time_too, "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_CPU, 1000 * US);

	open_three();
	query.rest = 4 * BYTES; /* five steps of 100 us, not of 300 */
	cr_expect_eq(choose(&query).device, MIDDLE);
}

PICK_TEST(policy_deadline, a_stalled_device_is_not_counted_upon, "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_CPU, 1000 * US);

	open_three();
	pick_submitted(&picker, FRUGAL, rig.now_ns - 5000 * US); /* and nothing came since */
	cr_expect_eq(choose(&query).device, MIDDLE);
}

PICK_TEST(policy_deadline, its_prices_are_those_of_tab, "deadline", 2)
{
	struct rig tab;
	uint32_t cell = context->index * TAIO_CLASSES + 7;

	rig_open(&tab, "tab", 1);
	for (uint32_t s = 0; s < 2; s++) {
		rig_offer(&tab, context->index, s, s, rig_caps(20 * US, 0, 1));
		rig_learn(&tab, cell, s, s, 9000 + 70000 * s, 30);
		rig_learn(&rig, cell, s, s, 9000 + 70000 * s, 30);
	}
	cr_expect_eq(memcmp(tab.maps.price[cell].cost, rig.maps.price[cell].cost,
			    sizeof(tab.maps.price[cell].cost)),
		     0);
	rig_close(&tab);
}

/* ---- p2c ---- */

PICK_TEST(policy_p2c, takes_the_shorter_of_two_queues, "p2c", 2)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);

	pick_submitted(&picker, 0, rig.now_ns);
	for (unsigned int i = 0; i < 32; i++)
		cr_assert_eq(choose(&query).device, 1);
}

PICK_TEST(policy_p2c, looks_at_all_candidates_in_the_long_run_and_at_two_at_a_time, "p2c", 8)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	unsigned int taken[8] = { 0 }, most = 0;

	pick_submitted(&picker, 3, rig.now_ns); /* the only one with a queue */
	for (unsigned int i = 0; i < 8000; i++)
		taken[choose(&query).device]++;
	cr_expect_eq(taken[3], 0, "the longer of any two was taken");
	for (unsigned int d = 0; d < 8; d++) {
		if (taken[d] > most)
			most = taken[d];
		if (d != 3)
			cr_expect(taken[d] > 900 && taken[d] < 1400, "%u: %u times", d, taken[d]);
	}
	/* A look at all would be jsq, which never leaves the one empty queue. */
	for (uint8_t d = 0; d < 8; d++)
		if (d != 5 && d != 3)
			pick_submitted(&picker, d, rig.now_ns);
	memset(taken, 0, sizeof(taken));
	for (unsigned int i = 0; i < 8000; i++)
		taken[choose(&query).device]++;
	cr_expect(taken[5] > 1500 && taken[5] < 2500, "a quarter of the pairs hold it: %u",
		  taken[5]);
}

/* ---- the engine's side ---- */

/* Puts @count steps into the batch. Return: how many it took. */
static unsigned int gather(unsigned int count)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	unsigned int taken = 0;

	maps.pick_crosses = 1;
	for (unsigned int i = 0; i < count; i++)
		taken += pick_gather(&picker, &query) >= 0;
	return taken;
}

PICK_TEST(policy_pick, counts_in_flight_advance_within_a_batch, "p2c", 2)
{
	uint8_t picked[TAIO_ASKS];
	unsigned int on[2] = { 0 };

	cr_assert_eq(gather(64), 64);
	cr_assert_eq(pick_answer(&picker, rig.now_ns, picked), 64);
	for (unsigned int i = 0; i < 64; i++) {
		cr_assert(picked[i] == 1 || picked[i] == 2);
		on[picked[i] - 1]++;
	}
	cr_expect_eq(on[0], 32, "a frozen snapshot would send them all anywhere: %u", on[0]);
	cr_expect_eq(hook_calls, 1);
	cr_expect_eq(rig.maps.batch->batches, 1);
	cr_expect_eq(rig.maps.batch->asked, 64);
}

PICK_TEST(policy_pick, a_full_batch_takes_no_more_and_is_empty_after_its_decision, "p2c", 2)
{
	uint8_t picked[TAIO_ASKS];

	cr_expect_eq(gather(70), 64);
	cr_expect_eq(pick_answer(&picker, rig.now_ns, picked), 64);
	cr_expect_eq(gather(3), 3);
	cr_expect_eq(pick_answer(&picker, rig.now_ns, picked), 3);
}

PICK_TEST(policy_pick, short_steps_are_never_asked_for, "deadline", 2)
{
	struct pick_query query = ask(TAIO_GOAL_CPU, 1000 * US);

	price(0, 3 * US, 3 * US, 3 * US);
	price(1, 30 * US, 30 * US, 1);
	cr_expect_eq(choose(&query).why, TAIO_WHY_PRICE);
	cr_expect_eq(hook_calls, 0);
	cr_expect_eq(gather(1), 0);
	maps.pick_crosses = 0;
	price(0, 5 * US, 5 * US, 5 * US);
	cr_expect_eq(choose(&query).why, TAIO_WHY_POLICY);
	cr_expect_eq(hook_calls, 1);
}

PICK_TEST(policy_pick, the_kernel_is_only_called_for_as_much_work_as_is_worth_it, "deadline", 2)
{
	uint8_t picked[TAIO_ASKS];

	price(0, 5 * US, 5 * US, 5 * US);
	price(1, 30 * US, 30 * US, 1);
	cr_assert_eq(gather(3), 3);
	pick_answer(&picker, rig.now_ns, picked);
	cr_expect_eq(hook_calls, 0, "15 us of work");
	cr_expect_eq(picked[0], PICK_BY_PRICE);
	cr_assert_eq(gather(5), 5);
	pick_answer(&picker, rig.now_ns, picked);
	cr_expect_eq(hook_calls, 1, "25 us of work");
}

PICK_TEST(policy_pick, nobody_is_asked_where_there_is_nothing_to_choose, "p2c", 2)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);

	query.skip = 1;
	cr_expect_eq(choose(&query).device, 1);
	cr_expect_eq(hook_calls, 0);
}

PICK_TEST(policy_pick, an_answer_that_may_not_run_falls_back_to_the_price_and_is_counted,
	  "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 1000 * US);
	struct taio_batch *batch = rig.maps.batch;
	struct pick_choice choice;

	open_three();
	maps.pick = test_pick;
	hook_answer = MIDDLE;
	choice = choose(&query);
	cr_expect(choice.device == MIDDLE && choice.why == TAIO_WHY_POLICY);
	query.skip = 1 << MIDDLE; /* pinned, forbidden, unfit */
	choice = choose(&query);
	cr_expect(choice.device == FAST && choice.why == TAIO_WHY_PRICE);
	cr_expect_eq(batch->refused, 1);
	query.skip = 0;
	picker.device[MIDDLE].limit = 1;
	pick_submitted(&picker, MIDDLE, rig.now_ns); /* full */
	cr_expect_eq(choose(&query).device, FAST);
	cr_expect_eq(batch->refused, 2);
	picker.device[MIDDLE].limit = 1000;
	picker.device[MIDDLE].quarantine_ns = rig.now_ns + 1;
	cr_expect_eq(choose(&query).device, FAST);
	cr_expect_eq(batch->refused, 3);
	hook_answer = 9; /* a slot that nobody has */
	cr_expect_eq(choose(&query).device, FAST);
	cr_expect_eq(batch->refused, 4);
	cr_expect_eq(batch->picked, 1);
}

PICK_TEST(policy_pick, no_answer_gives_a_device_that_is_none, "deadline", 3)
{
	open_three();
	maps.pick = test_pick;
	for (unsigned int answer = 0; answer < 256; answer++) {
		struct pick_query query = ask(TAIO_GOAL_LATENCY, 1000 * US);

		hook_answer = (uint8_t)answer;
		query.skip = answer & 7 & ~(1U << (answer % 3));
		choose(&query);
	}
}

static int no_pick(void *arg)
{
	(void)arg;
	hook_calls++;
	return -ESTALE;
}

PICK_TEST(policy_pick, where_the_hook_does_not_answer_prices_decide, "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_CPU, 1000 * US);

	open_three();
	maps.pick = no_pick;
	cr_expect_eq(choose(&query).device, FRUGAL);
	cr_expect_eq(hook_calls, 1);
	cr_expect_eq(rig.maps.batch->by_price, 1);
}

PICK_TEST(policy_pick, a_policy_that_takes_over_finds_its_own_words_empty, "deadline", 3)
{
	struct pick_query query = ask(TAIO_GOAL_CPU, 1000 * US);

	open_three();
	rig.maps.batch->own[5] = 7;
	choose(&query);
	cr_expect_eq(rig.maps.batch->own[5], 0, "another policy's");
	rig.maps.batch->own[5] = 7;
	choose(&query);
	cr_expect_eq(rig.maps.batch->own[5], 7, "its own");
}

PICK_TEST(policy_pick, a_policy_without_a_hook_says_so, "tab", 2)
{
	cr_expect_eq(rig.twin->pick(&rig.maps), -ENOSYS);
	cr_expect_not(rig.maps.ctl->flags & TAIO_POLICY_PICKS);
}

/* ---- turns ---- */

PICK_TEST(policy_rr, each_candidate_has_its_turn, "rr", 5)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	uint8_t first;

	rig_learn(&rig, context->index * TAIO_CLASSES + 7, 2, 0, 9000000, 3); /* a slow one too */
	first = choose(&query).device;
	for (unsigned int i = 1; i < 50; i++)
		cr_assert_eq(choose(&query).device, (first + i) % 5);
}

PICK_TEST(policy_rr, who_may_not_run_misses_its_turn, "rr", 4)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	unsigned int taken[4] = { 0 };

	picker.device[1].quarantine_ns = rig.now_ns + 1;
	query.skip = 1 << 2;
	for (unsigned int i = 0; i < 40; i++)
		taken[choose(&query).device]++;
	cr_expect_eq(taken[0], 20);
	cr_expect_eq(taken[3], 20);
}

PICK_TEST(policy_jsq, takes_turns_among_equally_short_queues, "jsq", 3)
{
	struct pick_query query = ask(TAIO_GOAL_LATENCY, 0);
	unsigned int taken[3] = { 0 };

	rig_learn(&rig, context->index * TAIO_CLASSES + 7, 0, 0, 9000, 3);
	pick_submitted(&picker, 1, rig.now_ns);
	for (unsigned int i = 0; i < 30; i++)
		taken[choose(&query).device]++;
	cr_expect_eq(taken[0], 15);
	cr_expect_eq(taken[2], 15);
}
