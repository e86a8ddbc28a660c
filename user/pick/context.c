/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * context.c: names of contexts and devices become indices in the policy's maps. Maps may be shared
 * with other processes, so places are claimed by compare-and-swap and nothing read is trusted: an
 * index that does not lead back to our name is not used.
 */
#include "pick/pick.h"

#include <assert.h>
#include <string.h>

static uint32_t context_hash_name(const char *name)
{
	uint32_t hash = 2166136261U; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619U;
	return hash ? hash : 1;
}

static uint8_t context_claim_device(const struct taio_maps *maps, const char *name)
{
	uint32_t hash = context_hash_name(name);

	for (uint32_t i = 0; i < TAIO_DEVICES; i++) {
		uint32_t there = __atomic_load_n(&maps->dev[i].hash, __ATOMIC_ACQUIRE);

		if (there == 0 && __atomic_compare_exchange_n(&maps->dev[i].hash, &there, hash, 0,
							      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			strncpy(maps->dev[i].name, name, sizeof(maps->dev[i].name) - 1);
			maps->dev[i].scale = TAIO_SCALE_ONE;
			maps->dev[i].health = TAIO_SCALE_ONE;
			return (uint8_t)i;
		}
		if (there == hash)
			return (uint8_t)i;
	}
	return PICK_NONE;
}

static uint8_t context_claim(const struct taio_maps *maps, uint64_t key, const char *name)
{
	for (uint32_t i = 0; i < TAIO_CONTEXTS; i++) {
		__u64 there = __atomic_load_n(&maps->ctx[i].key, __ATOMIC_ACQUIRE);

		if (there == 0 && __atomic_compare_exchange_n(&maps->ctx[i].key, &there, key, 0,
							      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			strncpy(maps->ctx[i].name, name, sizeof(maps->ctx[i].name) - 1);
			return (uint8_t)i;
		}
		if (there == key)
			return (uint8_t)i;
	}
	return PICK_NONE;
}

static uint8_t context_claim_slot(const struct taio_maps *maps, uint8_t context, uint8_t dev_index,
				  const struct taio_caps *caps)
{
	struct taio_ctx *ctx = &maps->ctx[context];
	uint8_t want = (uint8_t)(dev_index + 1);

	for (uint8_t s = 0; s < TAIO_SLOTS; s++) {
		uint8_t there = __atomic_load_n(&ctx->dev[s], __ATOMIC_ACQUIRE);

		if (there == 0 && __atomic_compare_exchange_n(&ctx->dev[s], &there, want, 0,
							      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
			maps->caps[context * TAIO_SLOTS + s] = *caps;
			return s;
		}
		if (there == want)
			return s;
	}
	return PICK_NONE;
}

static void context_bind(struct picker *picker, struct pick_context *context, const char *name)
{
	context->index = context_claim(picker->maps, context->key, name);
	for (unsigned int i = 0; i < context->count; i++) {
		struct pick_candidate *c = &context->candidate[i];
		uint8_t dev_index = picker->device[c->device].map_index;

		c->slot = PICK_NONE;
		if (context->index != PICK_NONE && dev_index != PICK_NONE)
			c->slot = context_claim_slot(picker->maps, context->index, dev_index,
						     &c->caps);
	}
}

void pick_init(struct picker *picker, const struct taio_maps *maps)
{
	memset(picker, 0, sizeof(*picker));
	picker->maps = maps;
	picker->random = 0x9e3779b97f4a7c15ULL;
	for (unsigned int i = 0; i < TAIO_DEVICES; i++) {
		picker->device[i].map_index = PICK_NONE;
		picker->device[i].limit = UINT32_MAX;
	}
}

void pick_add_device(struct picker *picker, uint8_t number, const char *name, uint32_t limit)
{
	assert(number < TAIO_DEVICES);
	assert(limit > 0);
	picker->device[number].map_index = context_claim_device(picker->maps, name);
	picker->device[number].limit = limit;
}

static uint32_t context_place(uint64_t key)
{
	return (uint32_t)((key * 0x9e3779b97f4a7c15ULL) >> 57);
}

struct pick_context *pick_find_context(struct picker *picker, uint64_t key)
{
	uint32_t place = context_place(key);

	for (; picker->bucket[place]; place = (place + 1) & 127) {
		struct pick_context *context = &picker->context[picker->bucket[place] - 1];

		if (context->key == key)
			return context;
	}
	if (picker->context[PICK_SPARE].key == key)
		return &picker->context[PICK_SPARE];
	return NULL;
}

struct pick_context *pick_add_context(struct picker *picker, uint64_t key, const char *name,
				      const struct pick_candidate *candidates, unsigned int count)
{
	uint32_t place = context_place(key);
	struct pick_context *context;

	assert(key && count <= TAIO_SLOTS);
	if (picker->context_count == PICK_SPARE) {
		context = &picker->context[PICK_SPARE];
	} else {
		context = &picker->context[picker->context_count++];
		while (picker->bucket[place])
			place = (place + 1) & 127;
		picker->bucket[place] = (uint8_t)picker->context_count;
	}
	memset(context, 0, sizeof(*context));
	context->key = key;
	context->count = (uint8_t)count;
	memcpy(context->candidate, candidates, count * sizeof(*candidates));
	memset(context->last, PICK_NONE, sizeof(context->last));
	memset(context->trial_last, PICK_NONE, sizeof(context->trial_last));
	context->index = PICK_NONE;
	for (unsigned int i = 0; i < count; i++)
		context->candidate[i].slot = PICK_NONE;
	if (context != &picker->context[PICK_SPARE])
		context_bind(picker, context, name);
	return context;
}

/* A swap copies contexts and devices with their indices, so only what the new maps lack (a
 * machine-wide table that knew others first) is claimed anew. */
void pick_rebind(struct picker *picker)
{
	for (uint32_t i = 0; i < picker->context_count; i++) {
		struct pick_context *context = &picker->context[i];
		const struct taio_maps *maps = picker->maps;

		memset(context->memory, 0, sizeof(context->memory)); /* of other prices */
		if (context->index != PICK_NONE && maps->ctx[context->index].key == context->key)
			continue;
		context_bind(picker, context, "");
	}
}
