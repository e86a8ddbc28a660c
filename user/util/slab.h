/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * slab.h: a bounded store for small objects of mixed size (paths, file and address records). All
 * address space is reserved when it is opened and touched as it is used; get and put never call
 * the kernel's allocator, never fail for any reason but "full", and cost a few ns.
 */
#ifndef TAIO_SLAB_H
#define TAIO_SLAB_H

#include <stddef.h>

#define SLAB_CLASSES 8 /* 64 B .. 8 KiB in powers of two */

struct slab {
	char *base;
	size_t size;
	size_t used; /* bump pointer */
	size_t busy; /* objects given out */
	void *free[SLAB_CLASSES];
};

/* Return: 0, -ENOMEM. */
int slab_open(struct slab *slab, size_t size_bytes);
void slab_close(struct slab *slab);

/* Return: memory aligned to 64 bytes, not cleared; NULL: full, or @size above 8 KiB. */
void *slab_get(struct slab *slab, size_t size_bytes);
/* @size: as given to slab_get(). NULL is allowed. */
void slab_put(struct slab *slab, void *object, size_t size_bytes);

#endif /* TAIO_SLAB_H */
