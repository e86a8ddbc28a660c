/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_guard.h: a copy that another thread can take back. The copying thread works inside a
 * restartable sequence (rseq): when the kernel takes the processor away from it, or when another
 * thread asks for it by membarrier(2), it does not go on where it was. So the thread that waits
 * for a part of a copy can end the wait: after split_guard_revoke() not one more byte is read or
 * written by the other side, and the part can be copied again by the one who waits.
 */
#ifndef TAIO_SPLIT_GUARD_H
#define TAIO_SPLIT_GUARD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SPLIT_GUARD_ALIGN 128 /* of the destination: 64; of the length: this */

/* Can it work in this process? Cheap, no side effect.
 * Return: 0; -EOPNOTSUPP: with one sentence in @ret_why. */
int split_guard_probe(const char **ret_why);

/* Once per process, by a thread that may sleep some milliseconds (the kernel waits for all cores).
 * Return: 0, negative errno. */
int split_guard_register(void);

/* The calling thread's rseq area; gone when that thread ends. */
void *split_guard_area(void);

/* The core that the calling thread runs on. */
static inline uint32_t split_guard_core(const void *area)
{
	return ((const volatile uint32_t *)area)[1];
}

/*
 * Copies by streaming stores as long as *@revoked < @job. May be interrupted by the scheduler at
 * any time and then goes on, unless it was revoked. @to is aligned to 64, @len a multiple of
 * SPLIT_GUARD_ALIGN and > 0. Return: 0: everything is copied and visible to who reads a later
 * release store of this thread; -ECANCELED: revoked.
 */
int split_guard_copy(void *area, void *to, const void *from, size_t len,
		     const _Atomic uint64_t *revoked, uint64_t job);

/* Takes back all copies of jobs up to @job. When it returns 0, none of them touches memory.
 * Return: 0, negative errno of membarrier(2). */
int split_guard_revoke(_Atomic uint64_t *revoked, uint64_t job);

#endif /* TAIO_SPLIT_GUARD_H */
