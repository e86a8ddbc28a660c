/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_pick_guards.c: what each guard of the picker is worth. Two devices made of numbers, requests
 * at random moments (the same for both runs), the native policy `tab` re-pricing each millisecond,
 * virtual time: a run with the guard against a run without it. A guard is taken away from outside,
 * by putting back what it keeps; the picker itself has no switch for it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pick/pick.h"
#include "policy/policy.h"
#include "taio.h"

#define US    1000ULL
#define MS    1000000ULL
#define START (1000 * MS)
#define BYTES 16384
#define KEY   0x10000000005ULL

enum {
	A,
	B,
	DEVICES
};

#define SERVERS 8
#define FLYING  20000
#define LATEST  200000

struct span {
	uint64_t from_ns, until_ns;
};

/* A device as it is, not as it is believed to be. Times are counted from the start. */
struct unit {
	uint64_t service_ns;
	unsigned int servers;
	uint32_t slow_times; /* within slow */
	struct span slow;
	uint64_t stall_ns, stall_every_ns; /* the first stall_ns of each: nothing moves */
	struct span fails;                 /* everything fails after 2 us */
	uint64_t free_ns[SERVERS];
	unsigned int taken, failed, recent; /* recent: taken in sim.last */
};

/* Guards that can be taken away. */
enum {
	NO_AGE = 1,
	NO_BREAKER = 2,
	NO_PROBES = 4,
	NO_COUNTING = 8, /* within a batch */
	NO_LIMIT = 16,
	NO_HYSTERESIS = 32,
	LEARN_ALL = 64, /* also from what failed */
	NO_EAGER = 128  /* one probe at a time, as if it had brought no news */
};

struct flight {
	uint64_t end_ns, start_ns, arrived_ns;
	struct pick_choice choice;
	bool failed, bounded;
};

struct sim {
	/* what it shall be */
	struct unit unit[DEVICES];
	uint64_t mean_gap_ns; /* between arrivals */
	unsigned int batch;   /* arrivals at the same moment */
	uint64_t until_ns;
	struct span last; /* counted in recent */
	uint64_t spare_ns;
	unsigned int without;
	bool constant; /* prices do not change: A 10 us, B 20 us at any load */

	/* how it went */
	unsigned int done, lost, probes, switches;
	double mean_ns;
	uint64_t p99_ns, p999_ns;

	struct taio_policy *policy;
	struct taio_maps maps;
	struct taio_price *price; /* with constant */
	struct picker picker;
	struct pick_context *context;
	struct flight flight[FLYING];
	unsigned int flying;
	uint64_t now_ns, random, tick_ns;
	uint8_t before;
	uint32_t *latency_us8; /* in 1/8 us */
};

static void sim_quiet(void *arg, const char *line)
{
	(void)arg, (void)line;
}

static uint64_t sim_random(struct sim *s)
{
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return s->random * 2685821657736338717ULL;
}

/* Exponentially distributed, in whole numbers: the sum of bits of the logarithm of a number. */
static uint64_t sim_gap(struct sim *s)
{
	uint64_t r = sim_random(s) | 1, log2_q6;
	unsigned int zeros = (unsigned int)__builtin_clzll(r);

	/* -log2(r / 2^64) in Q6, linear between powers of two */
	log2_q6 = zeros * 64 + (63 - ((zeros < 58 ? r << zeros >> 57 : 0) & 63));
	return s->mean_gap_ns * log2_q6 * 45426 / (64ULL * 65536) + 1;
}

static bool sim_in(const struct sim *s, const struct span *span, uint64_t at_ns)
{
	return at_ns - START >= span->from_ns && at_ns - START < span->until_ns && s;
}

/* ---- devices ---- */

/* The first stall comes when something has been learnt. */
static uint64_t unit_phase(const struct unit *u, uint64_t at)
{
	return (at - START + u->stall_every_ns / 2) % u->stall_every_ns;
}

/* When work of @ns that begins at @at is over, with stalls in between. */
static uint64_t unit_end(const struct unit *u, uint64_t at, uint64_t ns)
{
	if (!u->stall_ns)
		return at + ns;
	for (;;) {
		uint64_t phase = unit_phase(u, at);

		if (phase < u->stall_ns)
			at += u->stall_ns - phase;
		phase = unit_phase(u, at);
		if (phase + ns <= u->stall_every_ns)
			return at + ns;
		ns -= u->stall_every_ns - phase;
		at += u->stall_every_ns - phase;
	}
}

static uint64_t unit_serve(const struct sim *s, struct unit *u)
{
	uint64_t *free_ns = &u->free_ns[0], at;

	for (unsigned int i = 1; i < u->servers; i++)
		if (u->free_ns[i] < *free_ns)
			free_ns = &u->free_ns[i];
	at = *free_ns > s->now_ns ? *free_ns : s->now_ns;
	*free_ns = unit_end(u, at, u->service_ns * (sim_in(s, &u->slow, at) ? u->slow_times : 1));
	return *free_ns;
}

/* ---- requests ---- */

static void sim_disarm(struct sim *s)
{
	for (unsigned int d = 0; d < DEVICES; d++) {
		struct pick_device *device = &s->picker.device[d];

		if (s->without & NO_AGE)
			device->progress_ns = s->now_ns;
		if (s->without & NO_BREAKER)
			device->errors = device->level = 0, device->quarantine_ns = 0;
		if (s->without & NO_EAGER)
			device->eager = 0;
	}
	if (s->without & NO_HYSTERESIS)
		memset(s->context->last, PICK_NONE, sizeof(s->context->last));
}

static void sim_fly(struct sim *s, const struct pick_choice *choice, uint64_t arrived_ns)
{
	struct unit *u = &s->unit[choice->device];
	struct flight *f = &s->flight[s->flying];

	cr_assert_lt(s->flying, FLYING);
	*f = (struct flight){ .start_ns = s->now_ns, .arrived_ns = arrived_ns, .choice = *choice };
	f->failed = sim_in(s, &u->fails, s->now_ns);
	f->end_ns = f->failed ? s->now_ns + 2 * US : unit_serve(s, u);
	f->bounded = !(s->without & NO_LIMIT);
	u->taken++;
	u->failed += f->failed;
	u->recent += sim_in(s, &s->last, s->now_ns);
	s->probes += choice->why == TAIO_WHY_PROBE;
	if (choice->why != TAIO_WHY_PROBE) {
		s->switches += choice->device != s->before;
		s->before = choice->device;
	}
	s->flying++;
}

static void sim_start(struct sim *s, const struct pick_choice *choice)
{
	pick_submitted(&s->picker, choice->device, s->now_ns);
	if (!(s->without & NO_LIMIT))
		pick_admitted(&s->picker, choice->device);
}

/* Return: 0; -EBUSY: it waits in the engine. */
static int sim_submit(struct sim *s, uint64_t arrived_ns, bool counted)
{
	struct pick_query query = { .context = s->context,
				    .bytes = BYTES,
				    .now_ns = s->now_ns,
				    .spare_ns = s->spare_ns,
				    .bounded = !(s->without & NO_LIMIT),
				    .may_probe = !(s->without & NO_PROBES) };
	struct pick_choice choice;
	int rc;

	sim_disarm(s);
	rc = pick_choose(&s->picker, &query, &choice);
	if (rc)
		return rc;
	if (counted)
		sim_start(s, &choice);
	sim_fly(s, &choice, arrived_ns);
	return 0;
}

static void sim_land(struct sim *s, unsigned int at)
{
	struct flight f = s->flight[at];
	struct pick_result result = { .choice = &f.choice,
				      .submit_ns = f.start_ns,
				      .now_ns = s->now_ns,
				      .bytes = BYTES,
				      .error = f.failed,
				      .bounded = f.bounded,
				      .learn = !f.failed || (s->without & LEARN_ALL) };

	s->flight[at] = s->flight[--s->flying];
	if (pick_completed(&s->picker, &result) && s->now_ns - s->tick_ns > 100 * US) {
		policy_tick(s->policy, s->now_ns, 1);
		s->tick_ns = s->now_ns;
	}
	if (f.failed) { /* another try at once, some of them */
		if (s->now_ns - f.arrived_ns < 40 * US)
			cr_assert_eq(sim_submit(s, f.arrived_ns, true), 0);
		else
			s->lost++;
		return;
	}
	cr_assert_lt(s->done, LATEST);
	s->latency_us8[s->done++] = (uint32_t)((s->now_ns - f.arrived_ns) / 125);
}

static unsigned int sim_next(const struct sim *s)
{
	unsigned int next = 0;

	for (unsigned int i = 1; i < s->flying; i++)
		if (s->flight[i].end_ns < s->flight[next].end_ns)
			next = i;
	return next;
}

/* ---- a run ---- */

static int sim_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void sim_open(struct sim *s)
{
	struct policy_options options = { .name = "tab",
					  .engine_flags = TAIO_NO_BPF | TAIO_NO_CONTROL,
					  .log = sim_quiet };
	struct pick_candidate candidate[DEVICES];
	char why[128];

	cr_assert_eq(policy_open(&s->policy, &options, why, sizeof(why)), 0, "%s", why);
	s->maps = *policy_maps(s->policy);
	if (s->constant) {
		s->price = calloc(TAIO_CELLS, sizeof(*s->price));
		cr_assert_not_null(s->price);
		s->maps.price = s->price;
	}
	pick_init(&s->picker, &s->maps);
	memset(candidate, 0, sizeof(candidate));
	for (uint8_t d = 0; d < DEVICES; d++) {
		char name[2] = { (char)('A' + d), 0 };

		pick_add_device(&s->picker, d, name, UINT32_MAX);
		candidate[d].device = d;
		candidate[d].caps.base_ns = (uint32_t)s->unit[d].service_ns;
		candidate[d].caps.parallel = s->unit[d].servers;
	}
	s->context = pick_add_context(&s->picker, KEY, "copy file>mem", candidate, DEVICES);
	for (unsigned int d = 0; d < DEVICES && s->constant; d++)
		for (unsigned int b = 0; b < TAIO_BUCKETS; b++)
			s->price[s->context->index * TAIO_CLASSES + taio_class_of(BYTES)]
				.cost[0][s->context->candidate[d].slot][b] = 10000 * (d + 1);
	s->latency_us8 = malloc(LATEST * sizeof(*s->latency_us8));
	cr_assert_not_null(s->latency_us8);
	s->now_ns = s->tick_ns = START;
	s->random = 88172645463325252ULL;
	s->batch = s->batch ? s->batch : 1;
	s->before = PICK_NONE;
}

static void sim_summary(struct sim *s)
{
	double sum = 0;

	cr_assert_gt(s->done, 1000);
	for (unsigned int i = 0; i < s->done; i++)
		sum += s->latency_us8[i] * 125.0;
	s->mean_ns = sum / s->done;
	qsort(s->latency_us8, s->done, sizeof(*s->latency_us8), sim_compare);
	s->p99_ns = s->latency_us8[s->done - s->done / 100 - 1] * 125ULL;
	s->p999_ns = s->latency_us8[s->done - s->done / 1000 - 1] * 125ULL;
	fprintf(stderr,
		"without %02x: %u done, mean %.1f us, p99 %.1f us, p99.9 %.1f us, A %u (%u failed, %u at the end), "
		"B %u (%u at the end), %u probes, %u switches, %u lost\n",
		s->without, s->done, s->mean_ns / 1e3, (double)s->p99_ns / 1e3,
		(double)s->p999_ns / 1e3, s->unit[A].taken, s->unit[A].failed, s->unit[A].recent,
		s->unit[B].taken, s->unit[B].recent, s->probes, s->switches, s->lost);
}

static void sim_arrive(struct sim *s, uint64_t *waiting, unsigned int *ret_waiting)
{
	unsigned int first = s->flying;

	for (unsigned int i = 0; i < s->batch; i++)
		if (sim_submit(s, s->now_ns, !(s->without & NO_COUNTING))) {
			cr_assert_lt(*ret_waiting, LATEST);
			waiting[(*ret_waiting)++] = s->now_ns;
		}
	if (s->without & NO_COUNTING)
		for (unsigned int i = first; i < s->flying; i++)
			sim_start(s, &s->flight[i].choice);
}

/* Requests that found every device full go first when one has room again. */
static void sim_run(struct sim *s)
{
	static uint64_t waiting[LATEST];
	unsigned int head = 0, tail = 0;
	uint64_t arrival;

	sim_open(s);
	arrival = s->now_ns + sim_gap(s) * s->batch;
	while (arrival < START + s->until_ns || s->flying) {
		unsigned int next = sim_next(s);
		uint64_t event = s->flying ? s->flight[next].end_ns : UINT64_MAX;

		if (arrival >= START + s->until_ns && !s->flying)
			break;
		if (arrival < START + s->until_ns && arrival <= event)
			event = arrival;
		s->now_ns = event;
		if (event - s->tick_ns >= MS && !s->constant) {
			policy_tick(s->policy, event, 0);
			s->tick_ns = event;
		}
		if (event == arrival && arrival < START + s->until_ns) {
			sim_arrive(s, waiting, &tail);
			arrival += sim_gap(s) * s->batch;
		} else {
			sim_land(s, next);
			if (head < tail && sim_submit(s, waiting[head], true) == 0)
				head++;
		}
	}
	cr_assert_eq(head, tail, "what waited was served");
	sim_summary(s);
	policy_close(s->policy);
	free(s->price);
	free(s->latency_us8);
}

/* The same with and without. */
static void sim_both(struct sim *with, struct sim *without, unsigned int guard)
{
	*without = *with;
	without->without = with->without | guard;
	sim_run(with);
	sim_run(without);
}

static struct sim *sims(void)
{
	struct sim *s = calloc(2, sizeof(*s));

	cr_assert_not_null(s);
	s[0].unit[A] = (struct unit){ .service_ns = 10 * US, .servers = 1 };
	s[0].unit[B] = (struct unit){ .service_ns = 40 * US, .servers = 4 };
	s[0].mean_gap_ns = 25 * US;
	s[0].until_ns = 1000 * MS;
	s[0].without = NO_LIMIT;
	return s;
}

/* ---- the guards ---- */

Test(pick_guards, age_in_flight_keeps_requests_from_a_device_that_stalls)
{
	struct sim *s = sims();

	s[0].unit[A].stall_ns = 5 * MS;
	s[0].unit[A].stall_every_ns = 50 * MS;
	s[0].unit[B].service_ns = 100 * US;
	s[0].unit[B].servers = 8;
	sim_both(&s[0], &s[1], NO_AGE);
	/* Which slow requests there are depends on the policy, how many on the guard. */
	cr_assert_lt(s[0].mean_ns * 1.1, s[1].mean_ns);
	free(s);
}

Test(pick_guards, the_breaker_saves_attempts_on_a_device_that_fails_fast)
{
	struct sim *s = sims();

	s[0].unit[A].fails = (struct span){ 200 * MS, 700 * MS };
	sim_both(&s[0], &s[1], NO_BREAKER);
	cr_assert_leq(s[0].unit[A].failed, 100);
	cr_assert_eq(s[0].lost, 0);
	cr_assert_gt(s[1].unit[A].failed, 20 * s[0].unit[A].failed);
	free(s);
}

Test(pick_guards, probes_bring_a_device_back_that_healed)
{
	struct sim *s = sims();

	/* The others know it as slow as it was at its worst; nothing but a probe can tell better. */
	s[0].unit[A].slow_times = 20;
	s[0].unit[A].slow = (struct span){ 0, 400 * MS };
	s[0].last = (struct span){ 800 * MS, 1000 * MS };
	sim_both(&s[0], &s[1], NO_PROBES);
	cr_assert_gt(s[0].unit[A].recent, s[0].unit[B].recent);
	cr_assert_lt(s[1].unit[A].recent, s[1].unit[B].recent / 20);
	cr_assert_lt(s[0].probes, s[0].done / 50);
	free(s);
}

Test(pick_guards, good_news_of_a_probe_is_followed_at_once)
{
	struct sim *s = sims();

	s[0].unit[A].slow_times = 20;
	s[0].unit[A].slow = (struct span){ 100 * MS, 400 * MS };
	s[0].last = (struct span){ 400 * MS, 450 * MS };
	sim_both(&s[0], &s[1], NO_EAGER);
	cr_assert_gt(s[0].unit[A].recent, s[0].unit[B].recent, "back within 50 ms");
	cr_assert_gt(s[0].unit[A].recent, 2 * s[1].unit[A].recent);
	cr_assert_lt(s[0].probes, s[0].done / 50);
	free(s);
}

/* Steps until the device that is not open is taken, at most @most. */
static unsigned int steps_until_open(uint32_t open_ns, uint32_t closed_ns, unsigned int most)
{
	struct sim *s = sims();
	unsigned int n = 0;

	s->constant = true;
	sim_open(s);
	for (unsigned int b = 0; b < TAIO_BUCKETS; b++) {
		struct taio_price *price =
			&s->price[s->context->index * TAIO_CLASSES + taio_class_of(BYTES)];

		price->cost[0][s->context->candidate[A].slot][b] = open_ns;
		price->cost[0][s->context->candidate[B].slot][b] = closed_ns;
	}
	for (;;) {
		struct pick_query query = { .context = s->context,
					    .bytes = BYTES,
					    .now_ns = s->now_ns += 100 * US,
					    .closed = 1u << B };
		struct pick_choice choice;

		cr_assert_eq(pick_choose(&s->picker, &query, &choice), 0);
		if (choice.device == B || n == most)
			break;
		n++;
	}
	policy_close(s->policy);
	free(s->price);
	free(s->latency_us8);
	free(s);
	return n;
}

Test(pick_guards, a_device_is_opened_when_it_would_have_saved_what_that_costs)
{
	cr_assert_eq(steps_until_open(1000000, 100000, 1000), 0, "it saves that at once");
	cr_assert_eq(steps_until_open(80000, 10000, 1000), 4, "four times 70 us, and once more");
	cr_assert_eq(steps_until_open(15000, 10000, 1000), 1000, "not for what may be a mistake");
}

Test(pick_guards, no_probe_puts_a_deadline_at_risk)
{
	struct sim *s = sims();

	s[0].unit[A].slow_times = 20;
	s[0].unit[A].slow = (struct span){ 0, 400 * MS };
	s[0].last = (struct span){ 800 * MS, 1000 * MS };
	s[1] = s[0];
	s[0].spare_ns = 100 * US;
	s[1].spare_ns = 100 * MS;
	sim_run(&s[0]);
	sim_run(&s[1]);
	cr_assert_eq(s[0].probes, 0, "a step on A may take 200 us");
	cr_assert_gt(s[1].probes, 0, "there is time enough");
	cr_assert_gt(s[1].unit[A].recent, s[1].unit[B].recent);
	free(s);
}

Test(pick_guards, what_a_batch_has_decided_counts_for_the_rest_of_it)
{
	struct sim *s = sims();

	s[0].unit[B].service_ns = 15 * US;
	s[0].batch = 16;
	sim_both(&s[0], &s[1], NO_COUNTING);
	cr_assert_lt(s[0].mean_ns * 1.2, s[1].mean_ns);
	free(s);
}

Test(pick_guards, an_admission_limit_bounds_the_queue_inside_a_device)
{
	struct sim *s = sims();

	/* A policy that is wrong: A is the cheapest at any load, and gets twice what it can do. */
	s[0].constant = true;
	s[0].mean_gap_ns = 5 * US;
	s[0].until_ns = 100 * MS;
	s[0].without = 0;
	sim_both(&s[0], &s[1], NO_LIMIT);
	cr_assert_gt(s[0].unit[B].taken, 1000, "the overflow goes elsewhere");
	cr_assert_lt(s[0].p99_ns, 4 * MS);
	cr_assert_lt(s[0].mean_ns * 10, s[1].mean_ns);
	free(s);
}

Test(pick_guards, an_admission_limit_does_not_touch_a_device_that_keeps_up)
{
	struct sim *s = sims();

	s[0].unit[B].servers = 8;
	s[0].mean_gap_ns = 8 * US;
	s[0].without = 0;
	sim_both(&s[0], &s[1], NO_LIMIT);
	cr_assert_float_eq(s[0].mean_ns, s[1].mean_ns, s[1].mean_ns / 100);
	cr_assert_eq(s[0].unit[A].taken, s[1].unit[A].taken);
	free(s);
}

Test(pick_guards, hysteresis_saves_changes_between_devices_that_are_alike)
{
	struct sim *s = sims();

	s[0].unit[A] = s[0].unit[B] = (struct unit){ .service_ns = 20 * US, .servers = 4 };
	s[0].unit[A].stall_ns = s[0].unit[B].stall_ns = 30 * US; /* some noise */
	s[0].unit[A].stall_every_ns = 900 * US;
	s[0].unit[B].stall_every_ns = 1100 * US;
	sim_both(&s[0], &s[1], NO_HYSTERESIS);
	cr_assert_lt(s[0].switches, s[1].switches);
	cr_assert_lt(s[0].mean_ns, s[1].mean_ns * 1.05);
	free(s);
}

Test(pick_guards, what_failed_fast_is_no_reason_to_take_a_device)
{
	struct sim *s = sims();

	/* B fails now and then, at once; learnt from, that would be the speed of light. */
	s[0].unit[B].fails = (struct span){ 100 * MS, 900 * MS };
	s[0].without |= NO_BREAKER;
	sim_both(&s[0], &s[1], LEARN_ALL);
	cr_assert_lt(s[0].unit[B].failed * 10, s[1].unit[B].failed);
	free(s);
}

/* ---- the limit by itself ---- */

static void serve(struct admit *admit, uint32_t inside, uint64_t ns, unsigned int times)
{
	static uint64_t now = START;

	for (unsigned int i = 0; i < times; i++) {
		admit->inside = inside;
		admit_learn(admit, ns, 10 * US, 2, now += 10 * US);
	}
}

Test(admit, there_is_no_limit_until_steps_wait)
{
	struct admit admit = { 0 };

	serve(&admit, 1, 10 * US, 100);
	serve(&admit, 30, 300 * US, 1000); /* 29 of them wait, which may be */
	admit.inside = 1000000;
	cr_assert_not(admit_is_full(&admit));
}

Test(admit, a_limit_comes_down_to_what_keeps_the_device_busy_and_some)
{
	struct admit admit = { 0 };

	serve(&admit, 1, 10 * US, 10);
	serve(&admit, 1000, 10000 * US, 10); /* one at a time: 999 wait */
	cr_assert_lt(admit.limit, 500);
	for (int i = 0; i < 200; i++)
		serve(&admit, admit.limit, admit.limit * 10 * US, 1);
	cr_assert_geq(admit.limit, ADMIT_WAITING);
	cr_assert_leq(admit.limit, 2 * ADMIT_WAITING);
}

Test(admit, a_limit_rises_when_the_device_has_room)
{
	struct admit admit = { .limit = 40 };

	serve(&admit, 40, 10 * US, 100);
	cr_assert_geq(admit.limit, 60);
}

Test(admit, never_below_the_published_parallelism)
{
	struct admit admit = { 0 };

	serve(&admit, 1, 10 * US, 10);
	for (int i = 0; i < 2000; i++) {
		admit.inside = 300;
		admit_learn(&admit, MS, 10 * US, 256, START + (uint64_t)i);
	}
	cr_assert_geq(admit.limit, 256);
}

Test(admit, one_outlier_is_no_queue)
{
	struct admit admit = { 0 };

	serve(&admit, 64, 10 * US, 100);
	serve(&admit, 64, 100 * US, 1);
	serve(&admit, 64, 10 * US, 20);
	cr_assert_geq(admit.limit, 64);
}

Test(admit, a_device_that_turned_slow_for_good_is_not_limited_for_ever)
{
	struct admit admit = { 0 };

	serve(&admit, 64, 10 * US, 10);
	serve(&admit, 64, 200 * US, 100);
	cr_assert_lt(admit.limit, 64);
	for (unsigned int i = 0; i < 2000; i++) {
		admit.inside = 64;
		admit_learn(&admit, 200 * US, 10 * US, 2, START + MS * 1000 * i);
	}
	cr_assert_gt(admit.limit, 64);
}

Test(admit, figures_at_the_limits_do_no_harm)
{
	struct admit admit = { 0 };
	static const uint64_t wild[] = { 0, 1, 1000, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX };

	for (unsigned int i = 0; i < 6; i++)
		for (unsigned int k = 0; k < 6; k++) {
			admit.inside = i * 7919;
			admit_learn(&admit, wild[i], wild[k], (uint32_t)wild[5 - k],
				    wild[(i + k) % 6]);
			cr_assert_gt(admit.fastest, 0);
		}
}
