/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_equal.c: a policy is one source with two targets, and both must decide alike. The
 * object in the kernel and the native twin get the same contexts, capabilities and samples, wild
 * ones among them, and after each tick every price, latency, scale and state must be the same.
 * Then a pick hook answers the same batches, over wild prices, in both places.
 * Prints the seed, how many prices were compared and how they were spread: without a spread
 * equality proves little. TAIO_SEED=N repeats a run, TAIO_ROUNDS=N makes it longer.
 */
#include <sys/mman.h>

#include "policy/bpf_source.h"
#include "policy/bpf_sys.h"
#include "policy_rig.h"
#include "policy_world.h"

#define ROUNDS  40
#define SAMPLES 96 /* of a round */
#define WANTED  1000000

struct pair {
	struct rig rig; /* natively */
	struct policy_object object;
	struct bpf_view view;
	struct taio_maps maps; /* in the kernel */
	struct taio_work *work;
	struct taio_state *state;
	uint64_t random;
	uint64_t prices, cheapest[TAIO_SLOTS], by_log2[33];
	uint64_t answers, answered[TAIO_SLOTS + 1]; /* by slot; the last: by price */
};

static uint64_t draw(struct pair *p)
{
	p->random ^= p->random << 13;
	p->random ^= p->random >> 7;
	p->random ^= p->random << 17;
	return p->random;
}

/* Of any width, extremes often. */
static uint32_t draw_wild(struct pair *p)
{
	uint64_t r = draw(p);

	switch (r >> 60) {
	case 0:
		return 0;
	case 1:
		return ~0U;
	case 2:
		return 1U << (r & 31);
	default:
		return (uint32_t)(r >> 8) >> (r & 31);
	}
}

/* ---- two sets of maps ---- */

static void *map_whole(int fd, size_t size)
{
	void *at = mmap(NULL, (size + 4095) & ~(size_t)4095, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			0);

	cr_assert_neq(at, MAP_FAILED);
	return at;
}

/* Time is ours: the timer is left to fall asleep, and told that it runs so that nobody wakes it. */
static void quiet_timer(struct pair *p)
{
	for (unsigned int i = 0; i < 5000 && p->maps.ctl->armed; i++)
		usleep(1000);
	cr_assert_not(p->maps.ctl->armed);
	p->maps.ctl->armed = 1;
}

static void pair_open(struct pair *p, const char *name, const struct policy_request *request,
		      uint64_t seed)
{
	char path[PATH_MAX + 64], object[64];

	memset(p, 0, sizeof(*p));
	p->random = seed;
	rig_open(&p->rig, name, 1);
	cr_assert_eq(policy_request_tune(request, name, p->rig.twin->tunables, p->rig.maps.tune,
					 why, sizeof(why)),
		     0, "%s", why);
	memcpy(p->rig.maps.ctl->tune, p->rig.maps.tune, sizeof(p->rig.maps.tune));
	snprintf(object, sizeof(object), "../schedulers/%s.bpf.o", name);
	snprintf(path, sizeof(path), "%s", built(object));
	cr_assert_eq(object_load(&p->object, path, request, NULL, 1, why, sizeof(why)), 0, "%s",
		     why);
	cr_assert_eq(bpf_view_open(&p->view, p->object.map, 1, 0), 0);
	bpf_view_maps(&p->view, &p->maps);
	p->work = map_whole(p->object.map[OBJECT_WORK], sizeof(*p->work));
	p->state = map_whole(p->object.map[OBJECT_STATE], TAIO_ROUTES * sizeof(*p->state));
	p->work->now_ns = p->rig.now_ns;
	p->maps.ctl->tick_ns = 100000;
	p->maps.engine->pid = p->rig.maps.engine[0].pid;
	cr_assert_eq(bpf_start(p->object.prog[OBJECT_START]), 0);
	quiet_timer(p);
}

static void pair_close(struct pair *p)
{
	munmap(p->work, (sizeof(*p->work) + 4095) & ~(size_t)4095);
	munmap(p->state, TAIO_ROUTES * sizeof(*p->state));
	bpf_view_close(&p->view);
	object_close(&p->object);
	rig_close(&p->rig);
}

/* Contexts of several candidates, devices shared between them, capabilities of all kinds. */
static void furnish(struct pair *p)
{
	const struct taio_native_maps *native = &p->rig.maps;

	for (uint32_t d = 0; d < 24; d++)
		rig_device(native->dev, d);
	for (uint32_t c = 0; c < TAIO_CONTEXTS; c++) {
		uint32_t count = 1 + draw(p) % TAIO_SLOTS;

		if (c % 8 == 7)
			continue; /* free */
		native->ctx[c].key = c + 1;
		for (uint32_t s = 0; s < count; s++) {
			struct taio_caps *caps = &native->caps[c * TAIO_SLOTS + s];
			int wild = draw(p) % 4 == 0;

			native->ctx[c].dev[s] = (uint8_t)(1 + draw(p) % 24);
			caps->base_ns = wild ? draw_wild(p) : 1000 + draw(p) % 200000;
			caps->ps_per_byte = wild ? draw_wild(p) : 30 + draw(p) % 1500;
			caps->parallel = wild ? draw_wild(p) : draw(p) % 10;
			caps->cpu_permille = wild ? draw_wild(p) : draw(p) % 1000;
			caps->flags = draw(p) & TAIO_CAPS_SYNC;
		}
	}
	memcpy(p->maps.ctx, native->ctx, TAIO_CONTEXTS * sizeof(*native->ctx));
	memcpy(p->maps.caps, native->caps, TAIO_CONTEXTS * TAIO_SLOTS * sizeof(*native->caps));
	memcpy(p->maps.dev, native->dev, TAIO_DEVICES * sizeof(*native->dev));
}

static struct taio_sample draw_sample(struct pair *p)
{
	uint32_t cell = draw(p) % TAIO_CELLS, slot = draw(p) % TAIO_SLOTS;
	const struct taio_ctx *ctx = &p->rig.maps.ctx[cell / TAIO_CLASSES];
	struct taio_sample s = { .cell = (uint16_t)cell, .slot = (uint8_t)slot };

	for (unsigned int tries = 0; tries < 8 && !ctx->dev[s.slot]; tries++)
		s.slot = (uint8_t)(draw(p) % TAIO_SLOTS);
	s.dev = (uint8_t)(ctx->dev[s.slot] - 1);
	s.bucket = (uint8_t)(draw(p) % 8 ? draw(p) % 6 : draw(p) % TAIO_BUCKETS);
	s.ns = draw(p) % 16 ? 500 + (uint32_t)(draw(p) % (1000U << (draw(p) % 12))) : draw_wild(p);
	s.predicted_ns = draw_wild(p);
	s.cpu_ns = draw(p) % 3 ? (uint32_t)(draw(p) % (s.ns + 1ULL)) : draw_wild(p);
	s.bytes = draw_wild(p);
	s.weight = (uint16_t)(draw(p) % 8 ? 1 : draw(p));
	s.flags = (uint8_t)(draw(p) % 16 ? 0 : draw(p) & 7);
	p->rig.now_ns += draw(p) % 4 ? draw(p) % 20000 : s.ns;
	s.submit_ns = p->rig.now_ns - (s.ns < p->rig.now_ns ? s.ns : 0);
	if (draw(p) % 64 == 0) /* what no engine of ours would write */
		memset((char *)&s + draw(p) % sizeof(s), (int)draw(p), 1);
	return s;
}

/* ---- comparing ---- */

static void count_prices(struct pair *p, uint32_t cell)
{
	const struct taio_price *price = &p->rig.maps.price[cell];
	uint32_t best = 0;

	for (uint32_t s = 0; s < TAIO_SLOTS; s++) {
		if (!price->cost[0][s][0])
			continue;
		p->prices += TAIO_GOALS * TAIO_BUCKETS;
		for (uint32_t g = 0; g < TAIO_GOALS; g++)
			for (uint32_t b = 0; b < TAIO_BUCKETS; b++) {
				uint32_t cost = price->cost[g][s][b];

				p->by_log2[cost ? 32 - (uint32_t)__builtin_clz(cost) : 0]++;
			}
		if (!price->cost[0][best][0] || price->cost[0][s][0] < price->cost[0][best][0])
			best = s;
	}
	p->cheapest[best]++;
}

static void compare_cells(struct pair *p, uint64_t round)
{
	const struct taio_price *native = p->rig.maps.price, *kernel = p->maps.price;

	for (uint32_t c = 0; c < TAIO_CELLS; c++) {
		cr_assert_eq(native[c].version, kernel[c].version, "cell %u, round %lu", c, round);
		cr_assert_eq(native[c].probe, kernel[c].probe, "cell %u, round %lu: probe %x, %x",
			     c, round, native[c].probe, kernel[c].probe);
		for (uint32_t i = 0; i < TAIO_GOALS * TAIO_SLOTS * TAIO_BUCKETS; i++)
			cr_assert_eq((&native[c].cost[0][0][0])[i], (&kernel[c].cost[0][0][0])[i],
				     "cell %u goal %u slot %u bucket %u, round %lu: native %u, "
				     "kernel %u",
				     c, i / 256, i / 16 % 16, i % 16, round,
				     (&native[c].cost[0][0][0])[i], (&kernel[c].cost[0][0][0])[i]);
		if (native[c].when_ns == p->rig.now_ns)
			count_prices(p, c);
	}
}

/* memcmp() first, for speed; the slow way says where. */
static void compare(struct pair *p, uint64_t round)
{
	const struct taio_native_maps *native = &p->rig.maps;

	compare_cells(p, round);
	cr_assert_eq(memcmp(native->ctx, p->maps.ctx, TAIO_CONTEXTS * sizeof(*native->ctx)), 0,
		     "contexts differ, round %lu", round);
	cr_assert_eq(memcmp(native->dev, p->maps.dev, TAIO_DEVICES * sizeof(*native->dev)), 0,
		     "devices differ, round %lu", round);
	cr_assert_eq(memcmp(native->lat, p->maps.lat, TAIO_ROUTES * sizeof(*native->lat)), 0,
		     "latencies differ, round %lu", round);
	cr_assert_eq(memcmp(native->state, p->state, TAIO_ROUTES * sizeof(*native->state)), 0,
		     "states differ, round %lu", round);
	cr_assert_eq(native->ctl->samples, p->maps.ctl->samples);
	cr_assert_eq(native->ctl->refused, p->maps.ctl->refused);
	cr_assert_eq(memcmp(native->ctl->tune, p->maps.ctl->tune, sizeof(native->ctl->tune)), 0);
	cr_assert_eq(native->ctl->flags, p->maps.ctl->flags);
}

static void one_round(struct pair *p, uint64_t round)
{
	struct taio_engine *native = p->rig.maps.engine, *kernel = p->maps.engine;
	int taken;

	for (unsigned int i = 0; i < SAMPLES; i++) {
		struct taio_sample s = draw_sample(p);

		rig_push(native, s);
		rig_push(kernel, s);
	}
	for (unsigned int d = 0; d < 24; d++)
		native->in_flight[d] = kernel->in_flight[d] = (uint16_t)draw(p);
	native->alive_ns = kernel->alive_ns = p->rig.now_ns;
	p->work->now_ns = p->rig.now_ns;
	taken = bpf_sys_run(p->object.prog[OBJECT_TICK]);
	cr_assert_eq(taken, SAMPLES, "taio_tick: %d", taken);
	cr_assert_eq(p->rig.twin->tick(&p->rig.maps, p->rig.now_ns), SAMPLES);
	compare(p, round);
}

static void report(const struct pair *p, const char *name, uint64_t seed, int spread)
{
	unsigned int widths = 0, slots = 0;

	for (unsigned int i = 0; i < 33; i++)
		widths += p->by_log2[i] > 0;
	for (unsigned int s = 0; s < TAIO_SLOTS; s++)
		slots += p->cheapest[s] > 0;
	printf("%s: seed %lu, %lu prices alike, of %u magnitudes (2^10: %lu, 2^15: %lu, 2^20: %lu, "
	       "2^32: %lu), %u slots were cheapest, %lu samples refused\n",
	       name, (unsigned long)seed, (unsigned long)p->prices, widths,
	       (unsigned long)p->by_log2[11], (unsigned long)p->by_log2[16],
	       (unsigned long)p->by_log2[21], (unsigned long)p->by_log2[32], slots,
	       (unsigned long)p->rig.maps.ctl->refused);
	fflush(stdout);
	if (p->rig.maps.ctl->flags & TAIO_POLICY_RANKS || !spread)
		return;
	cr_expect_geq(slots, 4, "no spread");
	cr_expect_geq(widths, 15, "no spread");
}

/* ---- the pick hook ---- */

static struct taio_ask draw_ask(struct pair *p)
{
	uint32_t cell = draw(p) % TAIO_CELLS;
	struct taio_ask ask = { .cell = (uint16_t)cell,
				.may = (uint16_t)draw(p),
				.tag = (uint16_t)draw(p),
				.goal = (uint8_t)(draw(p) % 16 ? draw(p) % TAIO_GOALS : draw(p)),
				.priority = (uint8_t)draw(p),
				.slot = TAIO_PICK_PRICE };

	if (draw(p) % 64 == 0)
		ask.cell = (uint16_t)draw(p);
	ask.bytes = draw(p) % 4 ? taio_class_bytes(cell % TAIO_CLASSES)
				: (uint64_t)draw_wild(p) << (draw(p) & 31);
	ask.rest = draw(p) % 2 ? 0 : (uint64_t)draw_wild(p) << (draw(p) & 31);
	switch (draw(p) % 4) {
	case 0: /* without a deadline, or one that is over, or in some ns, or ever */
		ask.deadline_ns = draw(p) % 2 ? 0 : ~0ULL;
		break;
	case 1:
		ask.deadline_ns = p->rig.now_ns - draw(p) % 1000;
		break;
	default:
		ask.deadline_ns = p->rig.now_ns + draw_wild(p);
	}
	return ask;
}

/* Prices, loads and scales that no policy would make: they may stand there all the same. */
static void draw_world(struct pair *p, struct taio_batch *batch)
{
	for (unsigned int i = 0; i < TAIO_ASKS; i++) {
		uint32_t cell = batch->ask[i].cell % TAIO_CELLS, slot = draw(p) % TAIO_SLOTS;
		uint32_t goal = draw(p) % TAIO_GOALS, bucket = draw(p) % TAIO_BUCKETS;
		uint32_t context = cell / TAIO_CLASSES;
		struct taio_price *kernel = (struct taio_price *)&p->maps.price[cell];
		uint32_t cost = draw_wild(p), scale = draw(p) % 4 ? TAIO_SCALE_ONE : draw_wild(p);

		p->rig.maps.price[cell].cost[goal][slot][bucket] = cost;
		kernel->cost[goal][slot][bucket] = cost;
		p->rig.maps.ctx[context].scale[slot] = p->maps.ctx[context].scale[slot] = scale;
	}
	for (unsigned int d = 0; d < TAIO_DEVICES; d++) {
		batch->load[d] = draw(p) % 4 ? draw(p) % 40 : draw_wild(p);
		batch->bucket[d] =
			(uint8_t)(draw(p) % 16 ? taio_bucket_of(batch->load[d]) : draw(p));
		batch->age_ns[d] = draw(p) % 4 ? 0 : draw_wild(p);
	}
}

static void pick_alike(struct pair *p, uint64_t round)
{
	struct taio_batch *native = p->rig.maps.batch, *kernel = p->maps.batch;
	int rc;

	native->now_ns = p->rig.now_ns;
	native->count = TAIO_ASKS;
	native->random = (uint32_t)draw(p) | 1;
	for (unsigned int i = 0; i < TAIO_ASKS; i++)
		native->ask[i] = draw_ask(p);
	draw_world(p, native);
	*kernel = *native;
	rc = bpf_sys_run(p->object.prog[OBJECT_PICK]);
	cr_assert_eq(rc, TAIO_ASKS, "taio_pick: %d", rc);
	cr_assert_eq(p->rig.twin->pick(&p->rig.maps), TAIO_ASKS);
	for (unsigned int i = 0; i < TAIO_ASKS; i++) {
		uint8_t slot = native->ask[i].slot;

		cr_assert_eq(slot, kernel->ask[i].slot,
			     "batch %lu, request %u: native %u, kernel %u", round, i, slot,
			     kernel->ask[i].slot);
		cr_assert(slot == TAIO_PICK_PRICE ||
				  (slot < TAIO_SLOTS && (native->ask[i].may >> slot & 1)),
			  "batch %lu, request %u: %u may not run it", round, i, slot);
		p->answered[slot < TAIO_SLOTS ? slot : TAIO_SLOTS]++;
	}
	cr_assert_eq(memcmp(native, kernel, sizeof(*native)), 0, "batch %lu differs", round);
	p->answers += TAIO_ASKS;
}

static void picks_alike(struct pair *p, const char *name)
{
	unsigned int slots = 0;

	if (!(p->rig.maps.ctl->flags & TAIO_POLICY_PICKS))
		return;
	p->rig.maps.batch->owner = 0;
	for (uint64_t i = 0; p->answers < WANTED; i++)
		pick_alike(p, i);
	for (unsigned int s = 0; s < TAIO_SLOTS; s++)
		slots += p->answered[s] > 0;
	printf("%s: %lu answers alike, slots 0 to 15:", name, (unsigned long)p->answers);
	for (unsigned int s = 0; s < TAIO_SLOTS; s++)
		printf(" %lu", (unsigned long)p->answered[s]);
	printf(", by price %lu\n", (unsigned long)p->answered[TAIO_SLOTS]);
	fflush(stdout);
	cr_expect_eq(slots, TAIO_SLOTS, "no spread");
}

static void hold_alike(const char *name, const struct policy_request *request)
{
	static struct pair p;
	const char *seed_text = getenv("TAIO_SEED"), *rounds_text = getenv("TAIO_ROUNDS");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : policy_now_ns() | 1;
	uint64_t rounds = rounds_text ? strtoull(rounds_text, NULL, 10) : ROUNDS;

	pair_open(&p, name, request, seed);
	furnish(&p);
	for (uint64_t i = 0; i < rounds || p.prices < WANTED; i++)
		one_round(&p, i);
	cr_expect_geq(p.prices, WANTED);
	report(&p, name, seed, !request); /* extreme tunables may leave none */
	picks_alike(&p, name);
	pair_close(&p);
}

/* ---- cases ---- */

static void setup(void)
{
	const char *lacks = world_lacks();

	if (lacks)
		cr_skip("%s", lacks);
}

Test(policy_equal, every_policy_prices_alike_natively_and_in_the_kernel, .init = setup)
{
	for (unsigned int i = 0; native_at(i); i++)
		hold_alike(native_at(i)->name, NULL);
}

/* The extremes of each tunable. */
Test(policy_equal, tunables_act_alike_natively_and_in_the_kernel, .init = setup)
{
	static struct policy_request request;

	for (unsigned int i = 0; native_at(i); i++) {
		const struct taio_tunable *t = native_at(i)->tunables;

		for (int high = 0; high < 2 && t[0].name[0]; high++) {
			request.tunes = 0;
			for (unsigned int k = 0; k < TAIO_TUNABLES_MAX && t[k].name[0]; k++) {
				snprintf(request.tune[k].key, sizeof(request.tune[k].key), "%s",
					 t[k].name);
				request.tune[k].value = high ? t[k].max : t[k].min;
				request.tunes++;
			}
			hold_alike(native_at(i)->name, &request);
		}
	}
}
