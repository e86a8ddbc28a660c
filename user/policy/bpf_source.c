/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_source.c: a policy in the kernel that this process loaded for one engine. The kernel's timer
 * does the work; the engine only wakes it, and asks for a tick at once when it is surprised.
 */
#include "policy/bpf_source.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "policy/bpf_sys.h"

#define BPF_START_TRIES 10000

struct bpf_source {
	struct policy_source base;
	struct policy_object object;
	struct bpf_view view;
};

/* ---- maps in this process ---- */

static size_t bpf_page_round(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

int bpf_view_open(struct bpf_view *ret_view, const int *map, uint32_t engines, uint32_t readonly)
{
	memset(ret_view, 0, sizeof(*ret_view));
	for (unsigned int i = 0; i < OBJECT_MAPS; i++) {
		const struct object_shape *shape = &object_shapes[i];
		size_t entries = i == OBJECT_ENGINE ? engines : shape->entries;
		int protection = readonly & (1U << i) ? PROT_READ : PROT_READ | PROT_WRITE;
		void *at;

		if (map[i] < 0 || shape->use == OBJECT_KERNEL)
			continue;
		ret_view->length[i] = bpf_page_round(entries * shape->value_size);
		at = mmap(NULL, ret_view->length[i], protection, MAP_SHARED, map[i], 0);
		if (at == MAP_FAILED) {
			int err = -errno;

			bpf_view_close(ret_view);
			return err;
		}
		ret_view->at[i] = at;
	}
	return 0;
}

void bpf_view_close(struct bpf_view *view)
{
	for (unsigned int i = 0; i < OBJECT_MAPS; i++)
		if (view->at[i])
			munmap(view->at[i], view->length[i]);
	memset(view, 0, sizeof(*view));
}

void bpf_view_maps(const struct bpf_view *view, struct taio_maps *ret_maps)
{
	memset(ret_maps, 0, sizeof(*ret_maps));
	ret_maps->ctl = view->at[OBJECT_CTL];
	ret_maps->ctx = view->at[OBJECT_CTX];
	ret_maps->caps = view->at[OBJECT_CAPS];
	ret_maps->dev = view->at[OBJECT_DEV];
	ret_maps->lat = view->at[OBJECT_LAT];
	ret_maps->price = view->at[OBJECT_PRICE];
	ret_maps->engine = view->at[OBJECT_ENGINE];
	ret_maps->batch = view->at[OBJECT_BATCH];
}

/* ---- running it ---- */

int bpf_start(int prog_fd)
{
	int err = -EBUSY;

	for (unsigned int i = 0; i < BPF_START_TRIES && err == -EBUSY; i++) {
		if (i)
			sched_yield();
		err = bpf_sys_run(prog_fd);
	}
	return err;
}

int bpf_tick_is_due(const struct taio_maps *maps, int urgent)
{
	const struct taio_engine *engine = maps->engine;

	/* The timer first says that it sleeps and then looks for samples; so we look whether it
	 * sleeps only after our samples can be seen. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!urgent && __atomic_load_n(&maps->ctl->armed, __ATOMIC_RELAXED))
		return 0;
	return engine->head != __atomic_load_n(&engine->tail, __ATOMIC_RELAXED);
}

/* Runs a program of the object. If another object was put onto our maps with bpftool it goes on with
 * the program of that. */
static int bpf_run(struct bpf_source *bpf, enum object_prog number)
{
	int *prog = &bpf->object.prog[number], rc = bpf_sys_run(*prog), fd;

	if (rc != -ESTALE)
		return rc;
	fd = bpf_sys_find_user(object_programs[number], bpf->object.map[OBJECT_CTL], *prog);
	if (fd < 0)
		return rc;
	close(*prog);
	*prog = fd;
	return bpf_sys_run(fd);
}

static int bpf_tick(struct policy_source *source, uint64_t now_ns, int urgent)
{
	(void)now_ns;
	if (bpf_tick_is_due(&source->maps, urgent))
		bpf_run((struct bpf_source *)source, OBJECT_TICK);
	return 0;
}

static int bpf_pick(void *arg)
{
	return bpf_run(arg, OBJECT_PICK);
}

static void bpf_close(struct policy_source *source)
{
	struct bpf_source *bpf = (struct bpf_source *)source;

	bpf_view_close(&bpf->view);
	object_close(&bpf->object);
	free(bpf);
}

static const struct policy_source_ops bpf_ops = {
	.where = TAIO_POLICY_BPF,
	.tick = bpf_tick,
	.close = bpf_close,
};

const int *bpf_source_reuse(const struct policy_source *source)
{
	if (!source || source->ops != &bpf_ops)
		return NULL;
	return ((const struct bpf_source *)source)->object.map;
}

static void bpf_set_name(struct policy_source *source, const struct policy_object *object)
{
	memcpy(source->name, object->name, sizeof(source->name));
	memcpy(source->text, object->text, sizeof(source->text));
}

/* The maps stay, the programs change. */
static int bpf_replace(struct bpf_source *bpf, struct policy_object *object, char *why,
		       size_t why_size)
{
	int err = bpf_start(object->prog[OBJECT_START]);

	if (err) {
		object_close(object);
		return policy_why(err, why, why_size, "the policy does not start: %s",
				  strerror(-err));
	}
	bpf_set_name(&bpf->base, object);
	object_close(&bpf->object);
	bpf->object = *object;
	return 0;
}

int bpf_source_open(struct policy_source **ret_source, struct policy_object *object,
		    struct policy_source *from, char *why, size_t why_size)
{
	struct bpf_source *bpf;
	int err;

	if (from && from->ops == &bpf_ops) {
		err = bpf_replace((struct bpf_source *)from, object, why, why_size);
		if (!err)
			*ret_source = from;
		return err;
	}
	bpf = calloc(1, sizeof(*bpf));
	if (!bpf) {
		object_close(object);
		return policy_why(-ENOMEM, why, why_size, "no memory");
	}
	bpf->base.ops = &bpf_ops;
	bpf->object = *object;
	bpf_set_name(&bpf->base, object);
	err = bpf_view_open(&bpf->view, bpf->object.map, 1, 0);
	if (!err) {
		bpf_view_maps(&bpf->view, &bpf->base.maps);
		bpf->base.maps.pick = bpf_pick;
		bpf->base.maps.pick_arg = bpf;
		bpf->base.maps.pick_crosses = 1;
		bpf->base.maps.engine->pid = (uint32_t)getpid();
		if (from)
			policy_copy_maps(&bpf->base.maps, bpf->view.at[OBJECT_LAT], &from->maps);
		err = bpf_start(bpf->object.prog[OBJECT_START]);
	}
	if (err) {
		bpf_close(&bpf->base);
		return policy_why(err, why, why_size, "the policy does not start: %s",
				  strerror(-err));
	}
	*ret_source = &bpf->base;
	return 0;
}
