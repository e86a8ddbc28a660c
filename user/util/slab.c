/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* slab.c: power-of-two free lists over one lazily touched mapping; see slab.h. */
#include "util/slab.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static unsigned int slab_class(size_t size)
{
	unsigned int class = 0;

	while (((size_t)64 << class) < size)
		class ++;
	return class;
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
	unsigned int class = slab_class(size_bytes);
	void *object;

	if (class >= SLAB_CLASSES)
		return NULL;
	object = slab->free[class];
	if (object) {
		memcpy(&slab->free[class], object, sizeof(void *));
		return object;
	}
	if (slab->size - slab->used < (size_t)64 << class)
		return NULL;
	object = slab->base + slab->used;
	slab->used += (size_t)64 << class;
	return object;
}

void slab_put(struct slab *slab, void *object, size_t size_bytes)
{
	unsigned int class = slab_class(size_bytes);

	if (!object)
		return;
	assert(class < SLAB_CLASSES);
	assert((char *)object >= slab->base && (char *)object < slab->base + slab->used);
	memcpy(object, &slab->free[class], sizeof(void *));
	slab->free[class] = object;
}
