/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * memroute.h: what decides how memory is best copied: its size, whether the destination is in the
 * cache, whether a second core stands ready. Knows nothing of drivers or engines and copies
 * nothing itself.
 */
#ifndef TAIO_MEMROUTE_H
#define TAIO_MEMROUTE_H

#include <stddef.h>
#include <stdint.h>

/**
 * Is this memory probably not in this core's cache? Times one load in the middle, and when that
 * was slow and the range is long a second one elsewhere; both must be slow. Meant for 32 KiB and
 * more. The first call in a process also measures what slow means (some 10 us).
 * Do not ask it about memory that was never touched: the load would make a page of zeros that the
 * first write must replace. mem_dest_is_cold() has no such cost.
 * Return: 1, or 0 when it is in a cache or when this processor offers no way to know. Any thread.
 */
int mem_is_cold(const void *p, size_t len);

/** The same for memory that is about to be overwritten and that nobody else writes meanwhile: the
 *  probe is a write that changes nothing. */
int mem_dest_is_cold(void *p, size_t len);

#define MEM_RECENT 64

/** What one thread copied lately. Zero it before first use. */
struct mem_route {
	uint64_t moved;  /* bytes */
	uint32_t streak; /* answers "cold" in a row */
	uint32_t spare;  /* questions that are answered "cold" without a probe */
	struct {
		uintptr_t page;
		uint64_t moved; /* when it was the destination of a copy */
	} recent[MEM_RECENT];
};

/**
 * mem_dest_is_cold() with a memory of its own, for one question for each copy.
 * A destination that is used again and again counts as hot even if the last copy was streamed past
 * the cache. Without that one wrong answer would confirm itself for ever: streaming leaves the
 * destination cold, so the next answer is cold too. Such a destination costs 4 ns, not a probe.
 * While all others turn out to be cold only one in MEM_SPARE_MAX + 1 is probed: a probe of cold
 * memory takes some 400 ns, 8 % of a copy of 64 KiB.
 */
#define MEM_SPARE_MAX 7
int mem_route_is_cold(struct mem_route *route, void *to, size_t len);

/** The same with a probe of the caller's: for tests, which cannot rely on what a cache does. */
typedef int (*mem_probe)(void *to, size_t len);
int mem_route_ask(struct mem_route *route, void *to, size_t len, mem_probe is_cold);

enum mem_choice {
	MEM_MEMCPY = 0, /* memcpy(3) */
	MEM_NT,         /* streaming stores on this core */
	MEM_SPLIT       /* streaming stores on this core and others */
};

#define MEM_COLD_MIN  (32u << 10) /* a shorter copy is not worth the question */
#define MEM_NT_MIN    (4u << 10)  /* shortest copy that is streamed to cold memory */
#define MEM_SPLIT_MIN (64u << 10) /* shortest copy for more than one core */
#define MEM_LARGE     (8u << 20)  /* from here on the cache is no help, hot or not */

/**
 * The rule. Pure. To spare the question whether other cores are ready, ask first with 1 and only
 * if the answer is MEM_SPLIT ask for the cores, and then again with 0 if they are not.
 */
enum mem_choice mem_choose(size_t len, int cold_to, int split_ready);

#endif /* TAIO_MEMROUTE_H */
