/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* slab.c: power-of-two free lists over one lazily touched mapping; see slab.h. */
#include "util/slab.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* SLAB_CLASSES: too large for any. */
static unsigned int slab_class(size_t size)
{
	unsigned int order = 0;

	while (order < SLAB_CLASSES && ((size_t)64 << order) < size)
		order++;
	return order;
}

int slab_open(struct slab *slab, size_t size_bytes)
{
	memset(slab, 0, sizeof(*slab));
	slab->base = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (slab->base == MAP_FAILED) {
		slab->base = NULL;
		return -ENOMEM;
	}
	slab->size = size_bytes;
	return 0;
}

void slab_close(struct slab *slab)
{
	if (slab->base)
		munmap(slab->base, slab->size);
	memset(slab, 0, sizeof(*slab));
}

void *slab_get(struct slab *slab, size_t size_bytes)
{
	unsigned int order = slab_class(size_bytes);
	void *object;

	if (order >= SLAB_CLASSES)
		return NULL;
	object = slab->free[order];
	if (object) {
		memcpy(&slab->free[order], object, sizeof(void *));
	} else {
		if (slab->size - slab->used < (size_t)64 << order)
			return NULL;
		object = slab->base + slab->used;
		slab->used += (size_t)64 << order;
	}
	slab->busy++;
	return object;
}

void slab_put(struct slab *slab, void *object, size_t size_bytes)
{
	unsigned int order = slab_class(size_bytes);

	if (!object)
		return;
	assert(order < SLAB_CLASSES && slab->busy > 0);
	assert((char *)object >= slab->base && (char *)object < slab->base + slab->used);
	if (--slab->busy == 0) {
		/* What is free belongs to a class only until all is free: else a program that used
		 * short paths first would never have room for long ones. */
		memset(slab->free, 0, sizeof(slab->free));
		slab->used = 0;
		return;
	}
	memcpy(object, &slab->free[order], sizeof(void *));
	slab->free[order] = object;
}
