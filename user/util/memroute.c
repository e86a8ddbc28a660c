/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * memroute.c: see memroute.h. A load that hits the cache takes a few ns, one that goes to memory
 * 100 or more; between them there is room for a threshold, which is measured once per process on
 * a line that is flushed on purpose.
 */
#include "util/memroute.h"

#define MEM_TWO_PROBES (256u << 10) /* from here on a second probe is cheap beside the copy */
#define MEM_HOT_SPAN   (8u << 20)   /* bytes copied since, after which a destination is forgotten */

#define MEM_STREAK 4 /* cold answers in a row that make the next one likely */

#if defined(__x86_64__)

#include <stdatomic.h>
#include <string.h>
#include <x86intrin.h>

#define MEM_SAMPLES 15 /* odd */
#define MEM_NEVER   UINT32_MAX

/* Ticks from which an access is slow; 0: not measured yet. Threads that measure it at the same
 * time come to equivalent values. */
static _Atomic uint32_t mem_slow_ticks;

/*
 * Ticks of one access. The first read of the counter waits for the loads before it, the second for
 * the access; the address depends on the first value, so the access cannot start before it. Fences
 * would cost more than the hit that is to be measured.
 */
static inline uint32_t mem_time_load(const void *p)
{
	unsigned int aux;
	uint64_t start = __rdtscp(&aux);

	__asm__ volatile("" : "+r"(start));
	(void)*((const volatile char *)p + (start >> 63));
	return (uint32_t)(__rdtscp(&aux) - start);
}

static inline uint32_t mem_time_write(void *p)
{
	unsigned int aux;
	uint64_t start = __rdtscp(&aux);
	char *at = p;

	__asm__ volatile("" : "+r"(start));
	at += start >> 63;
	__asm__ volatile("lock; orb $0, %0" : "+m"(*at) : : "cc");
	return (uint32_t)(__rdtscp(&aux) - start);
}

static uint32_t mem_median(uint32_t v[MEM_SAMPLES])
{
	for (int i = 1; i < MEM_SAMPLES; i++) {
		uint32_t x = v[i];
		int j = i;

		for (; j > 0 && v[j - 1] > x; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
	return v[MEM_SAMPLES / 2];
}

static uint32_t mem_measure(void)
{
	_Alignas(64) char lines[MEM_SAMPLES][64];
	uint32_t hit[MEM_SAMPLES], miss[MEM_SAMPLES], fast, slow;

	memset(lines, 0, sizeof(lines));
	for (int i = 0; i < MEM_SAMPLES; i++)
		hit[i] = mem_time_write(lines[i]);
	for (int i = 0; i < MEM_SAMPLES; i++) {
		_mm_clflush(lines[i]);
		_mm_mfence();
		miss[i] = mem_time_write(lines[i]);
	}
	fast = mem_median(hit);
	slow = mem_median(miss);
	/* The halves must be worth the name; an emulator may know no cache at all. */
	slow = slow > fast + fast / 2 ? fast + (slow - fast) / 2 : MEM_NEVER;
	atomic_store_explicit(&mem_slow_ticks, slow, memory_order_relaxed);
	return slow;
}

static inline uint32_t mem_threshold(void)
{
	uint32_t slow = atomic_load_explicit(&mem_slow_ticks, memory_order_relaxed);

	return slow ? slow : mem_measure();
}

/*
 * Where to look: in the first or second half, but never at a regular distance from the last look.
 * Buffers are often used one after the other, and a probe at their middle would find the line
 * that the processor has prefetched for just this load.
 */
static inline size_t mem_look(const void *p, size_t len, int half)
{
	uint64_t mixed = ((uintptr_t)p + len + (uintptr_t)half) * 0x9e3779b97f4a7c15ull;
	size_t part = len - len / 2, at;

	mixed ^= mixed >> 32;
	mixed *= 0x9e3779b97f4a7c15ull;
	at = (size_t)(((unsigned __int128)mixed * part) >> 64);
	return half ? len - part + at : at;
}

int mem_is_cold(const void *p, size_t len)
{
	const char *at = p;
	uint32_t slow = mem_threshold();

	if (!len || mem_time_load(at + mem_look(p, len, 1)) < slow)
		return 0;
	return len < MEM_TWO_PROBES || mem_time_load(at + mem_look(p, len, 0)) >= slow;
}

int mem_dest_is_cold(void *p, size_t len)
{
	char *at = p;
	uint32_t slow = mem_threshold();

	if (!len || mem_time_write(at + mem_look(p, len, 1)) < slow)
		return 0;
	return len < MEM_TWO_PROBES || mem_time_write(at + mem_look(p, len, 0)) >= slow;
}

#else

int mem_is_cold(const void *p, size_t len)
{
	(void)p;
	(void)len;
	return 0;
}

int mem_dest_is_cold(void *p, size_t len)
{
	(void)p;
	(void)len;
	return 0;
}

#endif

static inline int mem_route_judge(struct mem_route *route, void *to, size_t len, mem_probe is_cold)
{
	uintptr_t page = (uintptr_t)to >> 12;
	/* Neighbouring buffers of a power of two must not fall on one place. */
	size_t i = (size_t)((page * 0x9e3779b97f4a7c15ull) >> 58) % MEM_RECENT;
	int known = route->recent[i].page == page && page &&
		    route->moved - route->recent[i].moved <= MEM_HOT_SPAN;

	route->moved += len;
	route->recent[i].page = page;
	route->recent[i].moved = route->moved;
	if (known)
		return 0;
	if (route->spare) {
		route->spare--;
		return 1;
	}
	if (!is_cold(to, len)) {
		route->streak = 0;
		return 0;
	}
	if (++route->streak >= MEM_STREAK)
		route->spare = route->streak - MEM_STREAK < MEM_SPARE_MAX
				       ? route->streak - MEM_STREAK
				       : MEM_SPARE_MAX;
	return 1;
}

int mem_route_is_cold(struct mem_route *route, void *to, size_t len)
{
	return mem_route_judge(route, to, len, mem_dest_is_cold);
}

int mem_route_ask(struct mem_route *route, void *to, size_t len, mem_probe is_cold)
{
	return mem_route_judge(route, to, len, is_cold);
}

/*
 * Why these thresholds; ratios of `make bench`, second core idle unless said.
 *   Hot destination: the cached copy wins up to the size of the outer cache, because it neither
 *   leaves the cache nor takes the destination out of it for who reads it next.
 *   Cold destination: a cached copy reads each line before it overwrites it. Streaming spares
 *   that, from the first page on.
 *   From MEM_LARGE on the end of a copy pushes its beginning out of the cache anyway.
 *   Several cores: what they cost at the start and the end (some 500 ns) is small from 64 KiB on.
 *   They are not used for what is hot: it is hot in this core's cache, not in theirs.
 */
enum mem_choice mem_choose(size_t len, int cold_to, int split_ready)
{
	if (len < MEM_NT_MIN || (!cold_to && len < MEM_LARGE))
		return MEM_MEMCPY;
	return split_ready && len >= MEM_SPLIT_MIN ? MEM_SPLIT : MEM_NT;
}
