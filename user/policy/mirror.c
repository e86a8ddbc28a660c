/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* mirror.c: see mirror.h. */
#include "policy/mirror.h"

#include <string.h>

#include "policy/bpf_source.h"

/* Maps to copy from. Sources only look at the operations to know their own kind: of this one there
 * is none, so none takes the maps over. */
static const struct policy_source_ops mirror_view_ops;

static void mirror_begin(struct policy_mirror *mirror, const struct taio_maps *maps)
{
	mirror->engine = maps->engine;
	mirror->read = maps->engine->head;
}

int mirror_open_native(struct policy_mirror *ret_mirror, const struct taio_native_policy *twin,
		       const struct policy_request *request, const struct taio_maps *maps,
		       char *why, size_t why_size)
{
	struct policy_source view = { .ops = &mirror_view_ops, .maps = *maps };
	int err = native_open(&ret_mirror->source, twin, request, &view, why, why_size);

	if (!err)
		mirror_begin(ret_mirror, maps);
	return err;
}

int mirror_open_object(struct policy_mirror *ret_mirror, struct policy_object *object,
		       const struct taio_maps *maps, char *why, size_t why_size)
{
	struct policy_source view = { .ops = &mirror_view_ops, .maps = *maps };
	int err = bpf_source_open(&ret_mirror->source, object, &view, why, why_size);

	if (!err)
		mirror_begin(ret_mirror, maps);
	return err;
}

void mirror_close(struct policy_mirror *mirror)
{
	if (mirror->source)
		mirror->source->ops->close(mirror->source);
	memset(mirror, 0, sizeof(*mirror));
}

/* ---- feeding ---- */

/* A place that is taken is never changed again: what others write over it later is not believed. */
static void mirror_places(const struct taio_maps *to, const struct taio_maps *from)
{
	for (uint32_t d = 0; d < TAIO_DEVICES && from->dev[d].hash; d++) {
		if (to->dev[d].hash)
			continue;
		memcpy(to->dev[d].name, from->dev[d].name, sizeof(to->dev[d].name));
		to->dev[d].scale = to->dev[d].health = TAIO_SCALE_ONE;
		to->dev[d].hash = from->dev[d].hash;
	}
	for (uint32_t c = 0; c < TAIO_CONTEXTS && from->ctx[c].key; c++) {
		if (!to->ctx[c].key)
			memcpy(to->ctx[c].name, from->ctx[c].name, sizeof(to->ctx[c].name));
		for (uint32_t s = 0; s < TAIO_SLOTS; s++) {
			if (to->ctx[c].dev[s] || !from->ctx[c].dev[s])
				continue;
			to->caps[c * TAIO_SLOTS + s] = from->caps[c * TAIO_SLOTS + s];
			to->ctx[c].dev[s] = from->ctx[c].dev[s];
		}
		to->ctx[c].key = to->ctx[c].key ? to->ctx[c].key : from->ctx[c].key;
	}
}

static void mirror_load(struct taio_maps *to, const struct taio_maps *from)
{
	memcpy(to->engine->in_flight, from->engine->in_flight, sizeof(to->engine->in_flight));
	to->engine->alive_ns = from->engine->alive_ns;
	to->shared = from->shared;
}

static void mirror_push(struct taio_engine *engine, const struct taio_sample *sample)
{
	uint32_t head = engine->head;

	if (head - __atomic_load_n(&engine->tail, __ATOMIC_ACQUIRE) >= TAIO_RING) {
		engine->dropped++;
		return;
	}
	engine->ring[head & (TAIO_RING - 1)] = *sample;
	__atomic_store_n(&engine->head, head + 1, __ATOMIC_RELEASE);
}

void mirror_feed(struct policy_mirror *mirror, const struct taio_maps *maps, uint64_t now_ns,
		 uint32_t limit, void (*each)(void *arg, const struct taio_sample *sample),
		 void *arg)
{
	const struct taio_engine *from = maps->engine;
	struct policy_source *source = mirror->source;

	if (from != mirror->engine) /* another slot of a machine-wide policy */
		mirror_begin(mirror, maps);
	if (from->head - mirror->read > TAIO_RING)
		mirror->read = from->head - TAIO_RING;
	mirror_places(&source->maps, maps);
	mirror_load(&source->maps, maps);
	for (uint32_t left = from->head - mirror->read; left; left--) {
		/* a copy: maps of others may change while we look */
		struct taio_sample sample = from->ring[mirror->read++ & (TAIO_RING - 1)];

		if (each)
			each(arg, &sample);
		/* probes are rare, and the only news of a candidate that nobody takes */
		if (left <= limit || sample.flags & TAIO_SAMPLE_PROBE)
			mirror_push(source->maps.engine, &sample);
	}
	source->ops->tick(source, now_ns, 0);
	if (source->maps.shared) /* others count, too */
		for (uint32_t d = 0; d < TAIO_DEVICES; d++)
			source->maps.dev[d].in_flight = maps->dev[d].in_flight;
}

/* ---- promotion ---- */

struct policy_source *mirror_promote(struct policy_mirror *mirror, const struct taio_maps *maps)
{
	struct policy_source *source = mirror->source;
	struct taio_engine *engine = source->maps.engine;

	mirror_places(&source->maps, maps);
	mirror_load(&source->maps, maps);
	source->maps.shared = 0;
	engine->decisions = maps->engine->decisions;
	engine->probes = maps->engine->probes;
	engine->retries = maps->engine->retries;
	engine->hedges = maps->engine->hedges;
	memset(mirror, 0, sizeof(*mirror));
	return source;
}
