/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * clock.h: CLOCK_MONOTONIC in nanoseconds, cheap enough to be read around every step. Where the
 * kernel itself keeps time with an invariant time stamp counter, the counter is read directly and
 * tied to the kernel's clock again every few milliseconds; everywhere else this is
 * clock_gettime(2).
 */
#ifndef TAIO_CLOCK_H
#define TAIO_CLOCK_H

#include <stdint.h>

/**
 * Nanoseconds of CLOCK_MONOTONIC, at most 50 us away from what clock_gettime(2) would say.
 * Never goes back within a thread. Any thread, no lock; not for signal handlers.
 */
uint64_t clock_ns(void);

/** Nanoseconds of processor time that this thread has used. A system call. */
uint64_t clock_thread_ns(void);

/** Whether this thread reads the counter by now (1), or calls clock_gettime(2) (0). For tests. */
int clock_is_direct(void);

#endif /* TAIO_CLOCK_H */
