/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_watchdog.c: the watchdog in virtual time. Four devices with queues, the very picker of
 * the engine, and prices that the test makes as badly as it likes; in the shadow of them the built-in
 * policy learns. Nothing here depends on how fast the machine is.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pick/pick.h"
#include "policy/native.h"
#include "policy/watchdog.h"
#include "taio.h"

#define BYTES   65536
#define DEVICES 4
#define WAITING 4096
#define MS      1000000ULL
#define RATE    45000 /* requests a second: 15 % of what the devices could do */
#define CELL    (taio_class_of(BYTES))

/* base, ps per byte, servers */
static const struct taio_caps kind[DEVICES] = { { 5000, 100, 1, 1000, 0, 0 },
						{ 20000, 50, 2, 1000, 0, 0 },
						{ 60000, 250, 8, 1000, 0, 0 },
						{ 150000, 600, 4, 1000, 0, 0 } };

struct flight {
	uint64_t submit_ns, end_ns;
	struct pick_choice choice;
};

struct world {
	struct taio_ctl ctl;
	struct taio_ctx ctx[TAIO_CONTEXTS];
	struct taio_caps caps[TAIO_CONTEXTS * TAIO_SLOTS];
	struct taio_dev dev[TAIO_DEVICES];
	struct taio_lat lat[TAIO_ROUTES];
	struct taio_price price[TAIO_CELLS];
	struct taio_engine engine;
	struct taio_maps own; /* the policy under test */
	struct taio_maps maps;
	struct picker picker;
	struct pick_context *context;
	struct watchdog dog;
	uint64_t free_ns[DEVICES][8];
	struct flight flight[WAITING];
	unsigned int flying;
	uint64_t now_ns, random, decisions;
	uint32_t *took; /* of each request, ns */
	unsigned int requests, by[DEVICES], rate;
	uint64_t bitten_ns; /* 0: not yet */
	int watched, stuck;
	void (*prices)(struct world *w); /* each millisecond */
	void (*before)(struct world *w); /* before each decision, or NULL */
};

static struct world *w;

static uint64_t dice(struct world *world)
{
	world->random ^= world->random >> 12;
	world->random ^= world->random << 25;
	world->random ^= world->random >> 27;
	return world->random * 2685821657736338717ULL >> 16;
}

static void open_world(void)
{
	struct pick_candidate candidate[DEVICES];

	w = calloc(1, sizeof(*w));
	cr_assert_not_null(w);
	w->random = 88172645463325252ULL;
	w->now_ns = 1000 * MS;
	w->watched = 1;
	w->rate = RATE;
	w->took = malloc(1 << 20);
	w->ctl.magic = TAIO_CTL_MAGIC;
	w->ctl.abi = TAIO_POLICY_ABI;
	strcpy(w->ctl.policy, "hostile");
	w->own = (struct taio_maps){ .ctl = &w->ctl,
				     .ctx = w->ctx,
				     .caps = w->caps,
				     .dev = w->dev,
				     .lat = w->lat,
				     .price = w->price,
				     .engine = &w->engine };
	w->maps = w->own;
	pick_init(&w->picker, &w->maps);
	memset(candidate, 0, sizeof(candidate));
	for (uint8_t i = 0; i < DEVICES; i++) {
		char name[2] = { (char)('a' + i), 0 };

		pick_add_device(&w->picker, i, name, 1000);
		candidate[i].device = i;
		candidate[i].caps = kind[i];
	}
	w->context = pick_add_context(&w->picker, 77, "copy mem>mem", candidate, DEVICES);
}

static void close_world(void)
{
	watchdog_close(&w->dog);
	free(w->took);
	free(w);
}

TestSuite(watchdog, .init = open_world, .fini = close_world);

/* ---- prices ---- */

static void price(struct world *world, unsigned int slot, uint32_t bucket, uint32_t cost)
{
	world->price[CELL].cost[TAIO_GOAL_LATENCY][slot][bucket] = cost;
}

static void prices_random(struct world *world)
{
	for (unsigned int s = 0; s < DEVICES; s++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			price(world, s, b, (uint32_t)dice(world));
}

static void prices_same(struct world *world, uint32_t cost)
{
	for (unsigned int s = 0; s < DEVICES; s++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			price(world, s, b, cost);
}

static void prices_zero(struct world *world)
{
	prices_same(world, 0);
}

static void prices_maximal(struct world *world)
{
	prices_same(world, UINT32_MAX);
}

/* Always the slowest, and prices that look like times. */
static void prices_of_the_slowest(struct world *world)
{
	for (unsigned int s = 0; s < DEVICES; s++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			price(world, s, b, s == DEVICES - 1 ? 200000 : 2000000 + s);
}

static void prices_flapping(struct world *world)
{
	unsigned int phase = world->now_ns / MS & 1;

	for (unsigned int s = 0; s < DEVICES; s++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			price(world, s, b, (s & 1) == phase ? 1 : TAIO_COST_MAX);
}

/* What drivers publish, waited for in turn: plain, and honest. */
static void prices_published(struct world *world)
{
	for (unsigned int s = 0; s < DEVICES; s++) {
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++) {
			uint32_t own = kind[s].base_ns + BYTES / 1000 * kind[s].ps_per_byte;
			uint32_t load = taio_bucket_load(b);

			if (load >= kind[s].parallel)
				own += own * (load - kind[s].parallel + 1) / kind[s].parallel;
			price(world, s, b, own);
		}
	}
}

/* Each device in its turn. */
static void turn_of_the_next(struct world *world)
{
	for (unsigned int s = 0; s < DEVICES; s++)
		for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
			price(world, s, b, s == world->decisions % DEVICES ? 1000 : 1000000);
	world->price[CELL].version++;
}

static void prices_none(struct world *world)
{
	(void)world;
}

/* ---- time ---- */

/* First come, first served, by as many servers as the device has; a quarter more or less each. */
static uint64_t device_ends(struct world *world, unsigned int device)
{
	uint64_t work = kind[device].base_ns + (uint64_t)BYTES * kind[device].ps_per_byte / 1000;
	uint64_t *server = world->free_ns[device], start;
	unsigned int first = 0;

	for (unsigned int k = 1; k < kind[device].parallel; k++)
		if (server[k] < server[first])
			first = k;
	start = server[first] > world->now_ns ? server[first] : world->now_ns;
	server[first] = start + work * (768 + dice(world) % 512) / 1024;
	return server[first];
}

static void world_judge(struct world *world, const struct pick_query *query,
			struct pick_choice *choice)
{
	struct pick_verdict verdict;

	if (!world->watched || world->bitten_ns || !world->dog.shadow.source ||
	    world->decisions % POLICY_JUDGE_EVERY)
		return;
	if (pick_judge(&world->picker, query, &world->dog.shadow.source->maps, choice, &verdict))
		watchdog_judged(&world->dog, verdict.own_ns, verdict.best_ns, verdict.priced);
}

static void world_submit(struct world *world)
{
	struct pick_query query = { .context = world->context,
				    .bytes = BYTES,
				    .now_ns = world->now_ns,
				    .may_probe = true };
	struct flight *f = &world->flight[world->flying];

	if (world->before && !world->bitten_ns)
		world->before(world);
	world->decisions++;
	cr_assert_eq(pick_choose(&world->picker, &query, &f->choice), 0, "undecided");
	world_judge(world, &query, &f->choice);
	cr_assert_lt(world->flying + 1, WAITING);
	f->submit_ns = world->now_ns;
	f->end_ns = device_ends(world, f->choice.device);
	world->by[f->choice.device]++;
	world->flying++;
	pick_submitted(&world->picker, f->choice.device, world->now_ns);
}

static void world_complete(struct world *world, unsigned int at)
{
	struct flight f = world->flight[at];
	struct pick_result result = { .choice = &f.choice,
				      .submit_ns = f.submit_ns,
				      .now_ns = f.end_ns,
				      .bytes = BYTES,
				      .learn = true };

	world->flight[at] = world->flight[--world->flying];
	world->now_ns = f.end_ns;
	(void)pick_completed(&world->picker, &result);
	world->took[world->requests++] = (uint32_t)(f.end_ns - f.submit_ns);
}

static void world_tick(struct world *world)
{
	if (world->bitten_ns) { /* the shadow is the policy now */
		struct policy_source *source = world->dog.shadow.source;

		source->ops->tick(source, world->now_ns, 0);
		return;
	}
	world->prices(world);
	world->price[CELL].version++;
	if (!world->stuck)
		world->engine.tail = world->engine.head;
	if (world->watched &&
	    watchdog_tick(&world->dog, native_find("tab"), &world->own, world->now_ns)) {
		world->bitten_ns = world->now_ns;
		world->maps = world->dog.shadow.source->maps;
		pick_rebind(&world->picker);
	}
}

static unsigned int world_next(const struct world *world)
{
	unsigned int first = 0;

	for (unsigned int i = 1; i < world->flying; i++)
		if (world->flight[i].end_ns < world->flight[first].end_ns)
			first = i;
	return first;
}

static void run(unsigned int ms)
{
	uint64_t end = w->now_ns + ms * MS, tick = w->now_ns, arrival = w->now_ns;

	while (w->now_ns < end && w->requests < (1 << 18) - 1) {
		unsigned int first = world_next(w);
		uint64_t done = w->flying ? w->flight[first].end_ns : UINT64_MAX;

		if (tick <= done && tick <= arrival) {
			w->now_ns = tick;
			world_tick(w);
			tick += MS;
		} else if (done <= arrival) {
			world_complete(w, first);
		} else {
			w->now_ns = arrival;
			world_submit(w);
			arrival += 1 + dice(w) % (2000000000 / w->rate);
		}
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t p99(void)
{
	cr_assert_gt(w->requests, 1000);
	qsort(w->took, w->requests, sizeof(*w->took), by_size);
	return w->took[w->requests - 1 - w->requests / 100];
}

/* ---- what it does ---- */

static uint32_t p99_of(void (*prices)(struct world *), void (*before)(struct world *), int watched)
{
	uint32_t ret;

	open_world();
	w->prices = prices;
	w->before = before;
	w->watched = watched;
	run(4000);
	ret = p99();
	close_world();
	return ret;
}

/* Over four seconds, the one in which the watchdog makes up its mind among them. */
Test(watchdog_p99, random_prices_cost_at_most_three_times_round_robin)
{
	uint32_t turns = p99_of(prices_none, turn_of_the_next, 0);
	uint32_t alone = p99_of(prices_random, NULL, 0);
	uint32_t watched = p99_of(prices_random, NULL, 1);

	cr_log_info("p99 us: round-robin %u, random %u, random and watched %u", turns / 1000,
		    alone / 1000, watched / 1000);
	cr_expect_leq(watched, 3 * turns, "%u against %u", watched, turns);
	cr_expect_lt(watched, alone);
}

static void expect_bite(void (*prices)(struct world *), const char *sentence)
{
	uint64_t begin = w->now_ns;

	w->prices = prices;
	run(3000);
	cr_assert(w->bitten_ns, "still there; regret %u %%, strikes %u", w->dog.regret_percent,
		  w->dog.strikes);
	cr_expect(!strncmp(w->dog.fault, sentence, strlen(sentence)), "said: %s", w->dog.fault);
	cr_expect_leq(w->bitten_ns - begin, 1500 * MS, "after %u ms",
		      (unsigned int)((w->bitten_ns - begin) / MS));
	cr_expect_geq(w->bitten_ns - begin, 1000 * MS, "after %u ms: too fast to be sure",
		      (unsigned int)((w->bitten_ns - begin) / MS));
}

Test(watchdog, replaces_random_prices)
{
	expect_bite(prices_random, "its prices are absurd: ");
}

Test(watchdog, replaces_a_policy_without_prices)
{
	expect_bite(prices_zero, "it makes no prices: ");
}

Test(watchdog, replaces_maximal_prices)
{
	expect_bite(prices_maximal, "its prices are absurd: ");
}

Test(watchdog, replaces_prices_that_flap_with_each_tick)
{
	expect_bite(prices_flapping, "its prices are absurd: ");
}

Test(watchdog, replaces_plausible_prices_that_lead_to_the_slowest)
{
	w->rate = 10000; /* as much as the slowest can bear */
	expect_bite(prices_of_the_slowest, "its choices cost ");
	cr_expect_gt(w->dog.regret_percent, 100 * WATCHDOG_REGRET);
}

Test(watchdog, replaces_a_policy_that_takes_no_completion_any_more)
{
	w->stuck = 1;
	expect_bite(prices_published, "its prices are stale: it took no completion for 25");
}

Test(watchdog, replaces_a_policy_whose_control_block_is_damaged)
{
	w->ctl.magic = 7;
	expect_bite(prices_published, "its map taio_ctl was damaged");
}

/* A hundred requests a second are too few for a quarter of a second to tell anything. */
Test(watchdog, replaces_a_bad_policy_of_an_engine_that_is_slow)
{
	w->rate = 100;
	w->prices = prices_zero;
	run(20000);
	cr_assert(w->bitten_ns, "still there; windows %u, strikes %u", (unsigned int)w->dog.windows,
		  w->dog.strikes);
	cr_expect(!strncmp(w->dog.fault, "it makes no prices: ", 20), "said: %s", w->dog.fault);
}

Test(watchdog, evidence_that_comes_too_slowly_is_forgotten)
{
	w->rate = 10;
	w->prices = prices_zero;
	run(60000);
	cr_expect_eq(w->bitten_ns, 0);
	cr_expect_eq(w->dog.windows, 0);
	cr_expect_lt(w->dog.window.judged, WATCHDOG_MIN_JUDGED);
}

Test(watchdog, goes_on_with_what_the_shadow_learnt_meanwhile)
{
	w->rate = 10000; /* as much as the slowest can bear */
	expect_bite(prices_of_the_slowest, "its choices cost ");
	memset(w->by, 0, sizeof(w->by));
	run(500);
	cr_expect_gt(w->by[0] + w->by[1], 10 * w->by[3], "%u %u %u %u", w->by[0], w->by[1],
		     w->by[2], w->by[3]);
}

Test(watchdog, keeps_an_honest_policy)
{
	w->prices = prices_published;
	run(5000);
	cr_expect_eq(w->bitten_ns, 0, "%s", w->dog.fault);
	cr_expect_eq(w->dog.bad, 0, "%s", w->dog.fault);
	cr_expect_gt(w->dog.windows, 10);
	cr_expect_lt(w->dog.regret_percent, 150, "%u %%", w->dog.regret_percent);
}

Test(watchdog, a_moment_of_noise_is_no_reason)
{
	w->prices = prices_published;
	run(600);
	for (unsigned int i = 0; i < 5; i++) { /* each time less than the four windows it takes */
		w->prices = prices_random;
		run(500);
		w->prices = prices_published;
		run(600);
		cr_assert_eq(w->bitten_ns, 0, "after %u moments: %s", i + 1, w->dog.fault);
	}
	cr_expect_gt(w->dog.bad, 0, "it saw nothing of it");
	cr_expect_eq(w->dog.strikes, 0);
}

Test(watchdog, nothing_to_do_is_no_reason)
{
	w->prices = prices_random;
	for (unsigned int i = 0; i < 100; i++) {
		w->now_ns += 100 * MS;
		world_tick(w);
	}
	cr_expect_eq(w->bitten_ns, 0);
	cr_expect_eq(w->dog.windows, 0);
}

Test(watchdog, one_that_only_ranks_may_cost_more_and_foretells_nothing)
{
	w->ctl.flags = TAIO_POLICY_RANKS;
	w->prices = prices_none;
	w->before = turn_of_the_next;
	run(4000);
	cr_expect_eq(w->bitten_ns, 0, "%s", w->dog.fault);
	cr_expect_gt(w->dog.regret_percent, 150, "%u %%: round-robin cannot be that good",
		     w->dog.regret_percent);
}

Test(watchdog, noise_in_the_maps_does_not_reach_the_shadow)
{
	struct taio_maps *shadow;

	w->prices = prices_published;
	run(300);
	shadow = &w->dog.shadow.source->maps;
	memset(w->ctx, 0xff, sizeof(w->ctx));
	memset(w->dev, 0xff, sizeof(w->dev));
	memset(w->engine.ring, 0xff, sizeof(w->engine.ring));
	w->engine.head += 500;
	world_tick(w);
	w->now_ns += 10 * MS;
	world_tick(w);
	cr_expect_eq(shadow->ctx[0].key, 77);
	cr_expect_str_eq(shadow->ctx[0].name, "copy mem>mem");
	cr_expect_str_eq(shadow->dev[0].name, "a");
	cr_expect_geq(shadow->ctl->refused, 500, "%lu", (unsigned long)shadow->ctl->refused);
}
