/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * engine.c: the chooser under test: the picker of user/pick on the native twin of a policy, with
 * maps as user/policy/native.c makes them, or (shared) as the machine-wide policy has them. What is
 * here is only what an engine does around its picker: turns that end in a tick, at the engine's
 * own rhythm.
 */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "policy/native.h"

/* as user/engine/engine.c has them */
#define ENGINE_TICK_NS   (1000 * SIM_US)
#define ENGINE_URGENT_NS (100 * SIM_US)

/* Maps, of one engine or of all that share them. */
struct engine_maps {
	struct taio_ctl ctl;
	struct taio_ctx ctx[TAIO_CONTEXTS];
	struct taio_dev dev[TAIO_DEVICES];
	struct taio_work work;
	struct taio_batch batch;
	struct taio_caps caps[TAIO_CONTEXTS * TAIO_SLOTS];
	struct taio_price price[TAIO_CELLS];
	struct taio_lat lat[TAIO_ROUTES];
	struct taio_state state[TAIO_ROUTES];
	struct taio_native_maps native;
	const struct taio_native_policy *twin;
	struct taio_engine engine[];
};

struct engine_one {
	struct picker picker;
	struct taio_maps view;
	struct engine_maps *maps;
	struct pick_context *context[SIM_DEVICES / SIM_GROUP];
	struct taio_native_maps hook; /* what the policy's pick hook sees */
	struct taio_batch batch;
	const struct taio_native_policy *twin;
	uint64_t tick_ns;
	bool urgent, shared;
};

struct engine_all {
	struct sim_chooser base;
	const struct sim_world *world;
	const struct taio_native_policy *twin;
	uint32_t without;
	uint64_t tick_ns, urgent_ns;
	struct engine_maps *shared;
	struct engine_one *one;
	/* SIM_FROZEN: submissions of this instant that the picker has not been told of */
	struct {
		struct engine_one *one;
		uint8_t device;
	} late[64];
	uint32_t lates;
	uint64_t late_ns;
	struct sim_engine_figures figures;
};

extern const struct taio_native_policy taio_policy_c3; /* c3.c */

const struct taio_native_policy *engine_find_policy(const char *name)
{
	return strcmp(name, "c3") ? native_find(name) : &taio_policy_c3;
}

/* ---- maps ---- */

static size_t engine_maps_size(uint32_t engines)
{
	return sizeof(struct engine_maps) + engines * sizeof(struct taio_engine);
}

static struct engine_maps *engine_maps_open(const struct taio_native_policy *twin, uint32_t engines)
{
	struct engine_maps *maps = mmap(NULL, engine_maps_size(engines), PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(maps != MAP_FAILED);
	maps->native = (struct taio_native_maps){ .ctl = &maps->ctl,
						  .ctx = maps->ctx,
						  .caps = maps->caps,
						  .dev = maps->dev,
						  .lat = maps->lat,
						  .state = maps->state,
						  .price = maps->price,
						  .engine = maps->engine,
						  .work = &maps->work,
						  .batch = &maps->batch,
						  .engines = engines };
	for (unsigned int i = 0; i < TAIO_TUNABLES_MAX; i++)
		maps->native.tune[i] = twin->tunables[i].initial;
	maps->twin = twin;
	twin->start(&maps->native, SIM_START_NS);
	return maps;
}

static int engine_hook(void *arg)
{
	struct engine_maps *maps = arg;

	return maps->twin->pick(&maps->native);
}

/* ---- engines ---- */

static void engine_publish(const struct engine_all *all, uint32_t number, struct taio_caps *ret)
{
	const struct sim_spec *spec = &all->world->device[number];

	ret->cpu_permille = 1000;
	ret->parallel = spec->servers;
	if (all->without & SIM_UNPUBLISHED)
		return;
	ret->base_ns = spec->base_ns;
	ret->ps_per_byte = spec->ps_per_byte;
	if (all->without & SIM_PARALLEL_X4)
		ret->parallel *= 4;
	if (all->without & SIM_SLOWNESS_X4 && number % SIM_GROUP == 1) {
		ret->base_ns *= 4;
		ret->ps_per_byte *= 4;
	}
}

static void engine_add_contexts(struct engine_all *all, struct engine_one *one)
{
	uint32_t devices = all->world->devices;

	for (uint32_t first = 0; first < devices; first += SIM_GROUP) {
		struct pick_candidate candidate[SIM_GROUP];
		uint32_t count = devices - first < SIM_GROUP ? devices - first : SIM_GROUP;
		char name[40];

		memset(candidate, 0, sizeof(candidate));
		for (uint32_t i = 0; i < count; i++) {
			candidate[i].device = (uint8_t)(first + i);
			engine_publish(all, first + i, &candidate[i].caps);
		}
		snprintf(name, sizeof(name), "group %u", first / SIM_GROUP);
		one->context[first / SIM_GROUP] = pick_add_context(
			&one->picker, 1000 + first / SIM_GROUP, name, candidate, count);
	}
}

static int engine_pick(void *arg)
{
	struct engine_one *one = arg;

	return one->twin->pick ? one->twin->pick(&one->hook) : -ENOSYS;
}

static void engine_open(struct engine_all *all, struct engine_one *one, uint32_t number)
{
	uint32_t slot = 0;

	one->shared = number < all->world->engines_shared;
	one->maps = all->shared;
	if (one->shared)
		slot = number;
	else
		one->maps = engine_maps_open(all->twin, 1);
	one->twin = all->twin;
	one->hook = one->maps->native;
	one->hook.batch = &one->batch;
	one->view = (struct taio_maps){ .ctl = &one->maps->ctl,
					.ctx = one->maps->ctx,
					.caps = one->maps->caps,
					.dev = one->maps->dev,
					.lat = one->maps->lat,
					.price = one->maps->price,
					.engine = &one->maps->engine[slot],
					.shared = one->shared,
					.batch = &one->batch,
					.pick = engine_pick,
					.pick_arg = one };
	if (!one->shared) {
		one->view.batch = &one->maps->batch;
		one->view.pick = engine_hook;
		one->view.pick_arg = one->maps;
	}
	one->view.engine->pid = number + 1;
	one->view.engine->alive_ns = SIM_START_NS;
	one->tick_ns = SIM_START_NS;
	pick_init(&one->picker, &one->view);
	for (uint32_t i = 0; i < all->world->devices; i++) {
		char name[16];

		snprintf(name, sizeof(name), "device%u", i % SIM_DEVICES);
		pick_add_device(&one->picker, (uint8_t)i, name, UINT32_MAX);
	}
	engine_add_contexts(all, one);
}

/* ---- ticks ---- */

static void engine_tick_maps(struct engine_all *all, struct engine_maps *maps, uint64_t now_ns)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	all->twin->tick(&maps->native, now_ns);
	clock_gettime(CLOCK_MONOTONIC, &to);
	all->figures.tick_wall_ns +=
		(uint64_t)((to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
	all->figures.ticks++;
	all->figures.cells_late += maps->work.dirty;
}

/* policy_tick(): a native twin runs here and now, the machine-wide policy has its own timer and is
 * only run at once when something surprises. */
static void engine_policy_tick(struct engine_all *all, struct engine_one *one, uint64_t now_ns)
{
	struct taio_engine *mine = one->view.engine;

	mine->alive_ns = now_ns;
	if (one->shared) {
		if (one->urgent && !(one->maps->ctl.flags & TAIO_POLICY_RANKS))
			engine_tick_maps(all, one->maps, now_ns);
	} else if (mine->head != mine->tail || one->maps->work.dirty) {
		engine_tick_maps(all, one->maps, now_ns);
	}
}

/* engine_tick() */
static void engine_turn(struct sim_chooser *chooser, uint32_t number, uint64_t now_ns)
{
	struct engine_all *all = (struct engine_all *)chooser;
	struct engine_one *one = &all->one[number];
	uint64_t since = now_ns - one->tick_ns;

	if (since < all->urgent_ns || (since < all->tick_ns && !one->urgent))
		return;
	engine_policy_tick(all, one, now_ns);
	one->tick_ns = now_ns;
	one->urgent = false;
}

static void engine_timer(struct sim_chooser *chooser, uint64_t now_ns)
{
	struct engine_all *all = (struct engine_all *)chooser;

	if (all->shared)
		engine_tick_maps(all, all->shared, now_ns);
}

/* ---- decisions ---- */

/* Takes away what an ablation is about. */
static void engine_deprive(const struct engine_all *all, struct engine_one *one,
			   const struct sim_ask *ask)
{
	struct pick_context *context = one->context[ask->request->group];
	uint32_t class = taio_class_of(sim_bytes(ask->request));

	if (all->without & SIM_NO_AGE)
		for (uint32_t i = 0; i < all->world->devices; i++)
			one->picker.device[i].progress_ns = ask->now_ns;
	if (all->without & SIM_NO_STICKING)
		context->last[class] = PICK_NONE;
	if (all->without & SIM_NO_MEMORY)
		context->memory[class].left = 0;
	if (all->without & SIM_NO_BREAKER) {
		for (uint32_t i = 0; i < all->world->devices; i++) {
			one->picker.device[i].errors = one->picker.device[i].level = 0;
			one->picker.device[i].quarantine_ns = 0;
		}
	}
}

static void engine_count_in(struct engine_one *one, uint8_t device, uint64_t now_ns)
{
	pick_submitted(&one->picker, device, now_ns);
	pick_admitted(&one->picker, device);
}

static void engine_thaw(struct engine_all *all)
{
	for (uint32_t i = 0; i < all->lates; i++)
		engine_count_in(all->late[i].one, all->late[i].device, all->late_ns);
	all->lates = 0;
}

static int engine_choose(struct sim_chooser *chooser, const struct sim_ask *ask,
			 struct pick_choice *ret_choice)
{
	struct engine_all *all = (struct engine_all *)chooser;
	struct engine_one *one = &all->one[ask->request->engine];
	struct pick_query query = { .context = one->context[ask->request->group],
				    .bytes = sim_bytes(ask->request),
				    .now_ns = ask->now_ns,
				    .skip = ask->skip,
				    .goal = TAIO_GOAL_LATENCY,
				    .picked = ask->attempt || ask->second ? PICK_BY_PRICE
									  : PICK_ASK,
				    .bounded = !(all->without & SIM_NO_LIMIT),
				    .may_probe = ask->may_probe };
	uint32_t class = taio_class_of(query.bytes);
	struct pick_memory memory = query.context->memory[class];
	uint8_t last = query.context->last[class];
	int rc;

	if (all->lates && all->late_ns != ask->now_ns)
		engine_thaw(all);
	if (all->without)
		engine_deprive(all, one, ask);
	if (all->without & SIM_NO_PROBE)
		query.may_probe = false;
	if (!ask->second)
		return pick_choose(&one->picker, &query, ret_choice);
	/* A second copy leaves no trace in what is remembered. */
	query.context->memory[class].left = 0;
	rc = pick_choose(&one->picker, &query, ret_choice);
	query.context->memory[class] = memory;
	query.context->last[class] = last;
	return rc;
}

static void engine_submitted(struct sim_chooser *chooser, const struct sim_request *request,
			     uint8_t device, uint64_t now_ns)
{
	struct engine_all *all = (struct engine_all *)chooser;
	struct engine_one *one = &all->one[request->engine];

	if (!(all->without & SIM_FROZEN)) {
		engine_count_in(one, device, now_ns);
		return;
	}
	if (all->lates == sizeof(all->late) / sizeof(all->late[0]))
		engine_thaw(all);
	all->late_ns = now_ns;
	all->late[all->lates].one = one;
	all->late[all->lates++].device = device;
}

static void engine_completed(struct sim_chooser *chooser, const struct sim_request *request,
			     const struct pick_result *result)
{
	struct engine_all *all = (struct engine_all *)chooser;
	struct engine_one *one = &all->one[request->engine];
	uint32_t head = one->view.engine->head;
	uint64_t dropped = one->view.engine->dropped;

	if (all->lates)
		engine_thaw(all);
	if (pick_completed(&one->picker, result))
		one->urgent = true;
	all->figures.dropped += one->view.engine->dropped - dropped;
	if (one->view.engine->head != head)
		all->figures.samples++;
	else if (one->view.engine->dropped == dropped)
		all->figures.thinned++;
}

static void engine_end(struct sim_chooser *chooser)
{
	struct engine_all *all = (struct engine_all *)chooser;

	for (uint32_t i = 0; i < all->world->engines; i++)
		if (!all->one[i].shared)
			munmap(all->one[i].maps, engine_maps_size(1));
	if (all->shared)
		munmap(all->shared, engine_maps_size(all->world->engines_shared));
	free(all->one);
	free(all);
}

void engine_figures(const struct sim_chooser *chooser, struct sim_engine_figures *ret)
{
	*ret = ((const struct engine_all *)chooser)->figures;
}

struct sim_chooser *engine_chooser(const struct sim_world *world,
				   const struct sim_contestant *contestant)
{
	struct engine_all *all = calloc(1, sizeof(*all));

	assert(all && world->engines_shared <= TAIO_ENGINES);
	all->base = (struct sim_chooser){ .choose = engine_choose,
					  .submitted = engine_submitted,
					  .completed = engine_completed,
					  .turn = engine_turn,
					  .timer = world->engines_shared ? engine_timer : NULL,
					  .end = engine_end };
	all->world = world;
	all->without = contestant->without;
	all->tick_ns = ENGINE_TICK_NS;
	all->urgent_ns = ENGINE_URGENT_NS;
	if (contestant->tick_us) {
		all->tick_ns = contestant->tick_us * SIM_US;
		if (all->urgent_ns > all->tick_ns)
			all->urgent_ns = 0;
	}
	all->twin = engine_find_policy(contestant->policy);
	assert(all->twin);
	if (world->engines_shared)
		all->shared = engine_maps_open(all->twin, world->engines_shared);
	all->one = calloc(world->engines, sizeof(*all->one));
	assert(all->one);
	for (uint32_t i = 0; i < world->engines; i++)
		engine_open(all, &all->one[i], i);
	return &all->base;
}
