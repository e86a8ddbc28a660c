/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy_rig.h: hand-made maps for tests of policies: a native twin on maps of its own, with
 * virtual time, and words to make contexts, devices and samples. Included by one test file each.
 */
#ifndef TAIO_TESTS_POLICY_RIG_H
#define TAIO_TESTS_POLICY_RIG_H

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "policy/native.h"
#include "taio_policy_native.h"

struct rig {
	const struct taio_native_policy *twin;
	struct taio_native_maps maps;
	uint64_t now_ns;
};

static inline void rig_open(struct rig *rig, const char *policy, uint32_t engines)
{
	struct taio_native_maps *maps = &rig->maps;

	memset(rig, 0, sizeof(*rig));
	rig->twin = native_find(policy);
	cr_assert_not_null(rig->twin, "no twin of %s", policy);
	rig->now_ns = 1000000000;
	maps->ctl = calloc(1, sizeof(*maps->ctl));
	maps->ctx = calloc(TAIO_CONTEXTS, sizeof(*maps->ctx));
	maps->caps = calloc(TAIO_CONTEXTS * TAIO_SLOTS, sizeof(*maps->caps));
	maps->dev = calloc(TAIO_DEVICES, sizeof(*maps->dev));
	maps->lat = calloc(TAIO_ROUTES, sizeof(*maps->lat));
	maps->state = calloc(TAIO_ROUTES, sizeof(*maps->state));
	maps->price = calloc(TAIO_CELLS, sizeof(*maps->price));
	maps->engine = calloc(engines, sizeof(*maps->engine));
	maps->work = calloc(1, sizeof(*maps->work));
	maps->batch = calloc(1, sizeof(*maps->batch));
	maps->engines = engines;
	for (uint32_t e = 0; e < engines; e++) {
		maps->engine[e].pid = 1000 + e;
		maps->engine[e].alive_ns = rig->now_ns;
	}
	for (uint32_t i = 0; i < TAIO_TUNABLES_MAX; i++)
		maps->tune[i] = rig->twin->tunables[i].initial;
	rig->twin->start(maps, rig->now_ns);
}

static inline void rig_close(struct rig *rig)
{
	struct taio_native_maps *maps = &rig->maps;

	free(maps->ctl);
	free(maps->ctx);
	free(maps->caps);
	free(maps->dev);
	free(maps->lat);
	free(maps->state);
	free(maps->price);
	free(maps->engine);
	free(maps->work);
	free(maps->batch);
}

static inline void rig_tune(struct rig *rig, const char *name, uint32_t value)
{
	for (uint32_t i = 0; i < TAIO_TUNABLES_MAX; i++) {
		if (!strcmp(rig->twin->tunables[i].name, name)) {
			rig->maps.tune[i] = value;
			return;
		}
	}
	cr_assert_fail("%s has no tunable %s", rig->twin->name, name);
}

static inline void rig_device(struct taio_dev *dev, uint32_t number)
{
	dev[number].hash = number + 1;
	dev[number].health = TAIO_SCALE_ONE;
	dev[number].name[0] = (char)('a' + number % 26);
}

/* Device @dev serves context @context in slot @slot. */
static inline void rig_offer(struct rig *rig, uint32_t context, uint32_t slot, uint32_t dev,
			     struct taio_caps caps)
{
	rig_device(rig->maps.dev, dev);
	rig->maps.ctx[context].key = context + 1;
	rig->maps.ctx[context].dev[slot] = (uint8_t)(dev + 1);
	rig->maps.caps[context * TAIO_SLOTS + slot] = caps;
}

static inline void rig_push(struct taio_engine *engine, struct taio_sample sample)
{
	engine->ring[engine->head & (TAIO_RING - 1)] = sample;
	__atomic_store_n(&engine->head, engine->head + 1, __ATOMIC_RELEASE);
}

/* A request that took @ns and ends now; time goes on by it. */
static inline struct taio_sample rig_sample(struct rig *rig, uint32_t cell, uint32_t slot,
					    uint32_t bucket, uint32_t ns)
{
	struct taio_sample sample = { .submit_ns = rig->now_ns,
				      .ns = ns,
				      .bytes = 4096,
				      .predicted_ns = ns,
				      .cell = (uint16_t)cell,
				      .slot = (uint8_t)slot,
				      .bucket = (uint8_t)bucket,
				      .weight = 1 };
	uint8_t dev = rig->maps.ctx[cell / TAIO_CLASSES].dev[slot];

	sample.dev = (uint8_t)(dev - 1);
	rig->now_ns += ns;
	return sample;
}

static inline int rig_tick(struct rig *rig)
{
	for (uint32_t e = 0; e < rig->maps.engines; e++)
		if (rig->maps.engine[e].alive_ns)
			rig->maps.engine[e].alive_ns = rig->now_ns;
	return rig->twin->tick(&rig->maps, rig->now_ns);
}

/* @count requests of @ns each, in one tick. */
static inline void rig_learn(struct rig *rig, uint32_t cell, uint32_t slot, uint32_t bucket,
			     uint32_t ns, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		rig_push(&rig->maps.engine[0], rig_sample(rig, cell, slot, bucket, ns));
		rig_tick(rig);
	}
}

static inline uint32_t rig_price(const struct rig *rig, uint32_t cell, uint32_t goal, uint32_t slot,
				 uint32_t bucket)
{
	return rig->maps.price[cell].cost[goal][slot][bucket];
}

static inline struct taio_caps rig_caps(uint32_t base_ns, uint32_t ps_per_byte, uint32_t parallel)
{
	return (struct taio_caps){ .base_ns = base_ns,
				   .ps_per_byte = ps_per_byte,
				   .parallel = parallel,
				   .cpu_permille = 1000 };
}

#endif /* TAIO_TESTS_POLICY_RIG_H */
