/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * mem_copy.h: copies and fills by streaming stores, shared by the memory drivers. Streaming stores
 * go past the cache: nothing is read to be overwritten and nothing useful is pushed out, but the
 * destination is in memory afterwards, not in the cache.
 */
#ifndef TAIO_MEM_COPY_H
#define TAIO_MEM_COPY_H

#include <stddef.h>

/* The variant for one instruction set. Any alignment, any length; visible to other cores in
 * program order when a function returns (each ends in a store fence). Ranges do not overlap. */
struct mem_copy {
	const char *name; /* "avx512", "avx2", "sse2"; "libc" where there are no streaming stores */
	void (*copy)(void *to, const void *from, size_t len);
	void (*zero)(void *to, size_t len);
};

/* The best variant that this processor and kernel can run. Constant data, never NULL. */
const struct mem_copy *mem_copy_best(void);

/* Fetches one line of each of the first pages behind the first one; see mem_copy.c. */
void mem_copy_look_ahead(const void *to, const void *from, size_t len);

/* All variants that can run here, best first, ended by NULL; for tests. */
#define MEM_COPY_VARIANTS 4
void mem_copy_list(const struct mem_copy *ret_list[MEM_COPY_VARIANTS]);

#endif /* TAIO_MEM_COPY_H */
