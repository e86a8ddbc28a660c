/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* native.c: native twins and their memory; see native.h. */
#include "policy/native.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The twins: one line per file of schedulers/, made by the Makefile. */
#define X(NAME) extern const struct taio_native_policy taio_policy_##NAME;
#include "list.inc"
#undef X

static const struct taio_native_policy *const native_list[] = {
#define X(NAME) &taio_policy_##NAME,
#include "list.inc"
#undef X
	NULL,
};

/* What every request touches comes first, in few pages. */
struct native_memory {
	struct taio_ctl ctl;
	struct taio_engine engine;
	struct taio_ctx ctx[TAIO_CONTEXTS];
	struct taio_dev dev[TAIO_DEVICES];
	struct taio_work work;
	struct taio_caps caps[TAIO_CONTEXTS * TAIO_SLOTS];
	struct taio_price price[TAIO_CELLS];
	struct taio_lat lat[TAIO_ROUTES];
	struct taio_state state[TAIO_ROUTES];
	struct taio_batch batch;
};

struct native_source {
	struct policy_source base;
	const struct taio_native_policy *twin;
	struct taio_native_maps maps;
	struct native_memory *memory;
};

const struct taio_native_policy *native_at(unsigned int index)
{
	assert(index < sizeof(native_list) / sizeof(native_list[0]));
	return native_list[index];
}

const struct taio_native_policy *native_find(const char *name)
{
	for (unsigned int i = 0; native_list[i]; i++)
		if (!strcmp(native_list[i]->name, name))
			return native_list[i];
	return NULL;
}

static int native_tick(struct policy_source *source, uint64_t now_ns, int urgent)
{
	struct native_source *native = (struct native_source *)source;
	struct taio_engine *engine = native->maps.engine;

	(void)urgent; /* it is always done at once */
	if (engine->head == engine->tail && !native->maps.work->dirty)
		return 0;
	native->twin->tick(&native->maps, now_ns);
	return 0;
}

static int native_pick(void *arg)
{
	struct native_source *native = arg;

	return native->twin->pick(&native->maps);
}

static void native_close(struct policy_source *source)
{
	struct native_source *native = (struct native_source *)source;

	if (native->memory)
		munmap(native->memory, sizeof(*native->memory));
	free(native);
}

static const struct policy_source_ops native_ops = {
	.where = TAIO_POLICY_NATIVE,
	.tick = native_tick,
	.close = native_close,
};

static void native_bind(struct native_source *native)
{
	struct native_memory *memory = native->memory;
	struct taio_native_maps *maps = &native->maps;

	maps->ctl = &memory->ctl;
	maps->ctx = memory->ctx;
	maps->caps = memory->caps;
	maps->dev = memory->dev;
	maps->lat = memory->lat;
	maps->state = memory->state;
	maps->price = memory->price;
	maps->engine = &memory->engine;
	maps->work = &memory->work;
	maps->batch = &memory->batch;
	maps->engines = 1;
	native->base.maps = (struct taio_maps){
		.ctl = maps->ctl,
		.ctx = maps->ctx,
		.caps = maps->caps,
		.dev = maps->dev,
		.lat = maps->lat,
		.price = maps->price,
		.engine = maps->engine,
		.shared = 0,
		.batch = maps->batch,
		.pick = native_pick,
		.pick_arg = native,
	};
}

static struct native_source *native_new(void)
{
	struct native_source *native = calloc(1, sizeof(*native));
	void *memory;

	if (!native)
		return NULL;
	memory = mmap(NULL, sizeof(struct native_memory), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		free(native);
		return NULL;
	}
	/* A huge page would be cleared at the first touch of a few bytes. */
	madvise(memory, sizeof(struct native_memory), MADV_NOHUGEPAGE);
	native->memory = memory;
	native->base.ops = &native_ops;
	native_bind(native);
	native->maps.engine->pid = (uint32_t)getpid();
	return native;
}

static void native_name(struct native_source *native, const struct taio_native_policy *twin)
{
	native->twin = twin;
	strncpy(native->base.name, twin->name, sizeof(native->base.name) - 1);
	strncpy(native->base.text, twin->text, sizeof(native->base.text) - 1);
}

int native_open(struct policy_source **ret_source, const struct taio_native_policy *twin,
		const struct policy_request *request, struct policy_source *from, char *why,
		size_t why_size)
{
	uint32_t tune[TAIO_TUNABLES_MAX];
	struct native_source *native;
	int err;

	for (unsigned int i = 0; i < TAIO_TUNABLES_MAX; i++)
		tune[i] = twin->tunables[i].initial;
	err = policy_request_tune(request, twin->name, twin->tunables, tune, why, why_size);
	if (err)
		return err;
	if (from && from->ops == &native_ops) {
		native = (struct native_source *)from;
	} else {
		native = native_new();
		if (!native)
			return policy_why(-ENOMEM, why, why_size,
					  "no memory for the policy's maps");
		if (from)
			policy_copy_maps(&native->base.maps, native->maps.lat, &from->maps);
	}
	memset(native->base.name, 0, sizeof(native->base.name));
	memset(native->base.text, 0, sizeof(native->base.text));
	native_name(native, twin);
	memcpy(native->maps.tune, tune, sizeof(tune));
	twin->start(&native->maps, policy_now_ns());
	*ret_source = &native->base;
	return 0;
}
