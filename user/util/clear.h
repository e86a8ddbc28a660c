/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* clear.h: memset(3) to zero of some hundred bytes. Where the size is a constant compilers make
 * "rep stos" of it, which takes longer to get going than the whole call of the C library. */
#ifndef TAIO_UTIL_CLEAR_H
#define TAIO_UTIL_CLEAR_H

#include <stddef.h>
#include <string.h>

static inline void clear(void *at, size_t size)
{
	__asm__("" : "+r"(size)); /* no constant any more */
	memset(at, 0, size);
}

#endif /* TAIO_UTIL_CLEAR_H */
