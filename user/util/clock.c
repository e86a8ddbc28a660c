/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * clock.c: see clock.h. Each thread keeps an anchor: a counter value, the kernel's time at that
 * value and the slope between the two. The slope is measured between anchors, never taken from the
 * processor's nominal frequency. An anchor serves CLOCK_SPAN_NS; the kernel disciplines its clock
 * by at most 500 ppm, so the time can be off by 5 us before the next anchor corrects it.
 *
 * The time never steps back: when a new anchor shows that this thread ran ahead, the next span
 * runs slower instead. When it ran ahead by more than CLOCK_AHEAD_MAX_NS the counter is not what
 * it seems to be and the thread uses clock_gettime(2) from then on.
 */
#include "util/clock.h"

#include <stdatomic.h>
#include <time.h>

static uint64_t clock_kernel_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#define CLOCK_SPAN_NS      10000000u /* one anchor serves this long */
#define CLOCK_BASE_MIN_NS  1000000u  /* shortest distance that gives a slope */
#define CLOCK_BASE_MAX_NS  500000000u
#define CLOCK_AHEAD_MAX_NS 20000u
#define CLOCK_READ_MAX     1500u /* ticks between the two counter reads around a kernel read */
#define CLOCK_PLAIN_CALLS  64    /* a thread that asks less often needs no anchor */
#define CLOCK_SHIFT        32

enum clock_mode {
	CLOCK_PLAIN = 0, /* no anchor yet */
	CLOCK_LEARNING,  /* the base is set, no slope yet */
	CLOCK_DIRECT,
	CLOCK_OFF /* the counter is not to be trusted */
};

struct clock_pair {
	uint64_t ticks, ns;
};

struct clock_anchor {
	uint64_t ticks, ns; /* where this span begins */
	uint64_t span;      /* ticks that it serves; 0: no anchor, always the slow path */
	uint64_t mult;      /* ns per tick << CLOCK_SHIFT, in this span */
	uint64_t slope;     /* the same as measured, without the correction for running ahead */
	uint64_t floor;     /* nothing smaller was promised to the caller */
	struct clock_pair base;
	uint32_t mode; /* enum clock_mode */
	uint32_t calls;
};

/* Initial-exec: the library's thread storage is small, and a call per access would cost as much as
 * the counter itself. */
static __thread __attribute__((tls_model("initial-exec"))) struct clock_anchor clock_anchor;

/* 0: not looked yet, 1: good, 2: not to be used. All threads come to the same answer. */
static _Atomic int clock_verdict;

/* The kernel has compared the counters of all cores; its choice of clock is the verdict. */
static int clock_kernel_uses_counter(void)
{
	static const char path[] = "/sys/devices/system/clocksource/clocksource0/"
				   "current_clocksource";
	char name[32];
	ssize_t got;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	got = read(fd, name, sizeof(name) - 1);
	close(fd);
	if (got <= 0)
		return 0;
	name[got] = '\0';
	name[strcspn(name, "\n")] = '\0';
	return !strcmp(name, "tsc") || !strcmp(name, "kvm-clock") ||
	       !strcmp(name, "hyperv_clocksource_tsc_page");
}

static int clock_counter_is_good(void)
{
	unsigned int eax, ebx, ecx, edx;
	int verdict;

	verdict = atomic_load_explicit(&clock_verdict, memory_order_relaxed);
	if (verdict)
		return verdict == 1;
	verdict = 2;
	if (__get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && (edx & (1u << 8)) &&
	    clock_kernel_uses_counter())
		verdict = 1;
	atomic_store_explicit(&clock_verdict, verdict, memory_order_relaxed);
	return verdict == 1;
}

/* Both clocks at one moment. Return: 0; -1: always interrupted between the two. */
static int clock_read_pair(struct clock_pair *ret_pair)
{
	uint64_t before, after;
	int i;

	for (i = 0; i < 4; i++) {
		before = __rdtsc();
		ret_pair->ns = clock_kernel_ns();
		after = __rdtsc();
		if (after - before < CLOCK_READ_MAX) {
			ret_pair->ticks = before + (after - before) / 2;
			return 0;
		}
	}
	return -1;
}

static uint64_t clock_at(const struct clock_anchor *a, uint64_t ticks)
{
	return a->ns + ((ticks * a->mult) >> CLOCK_SHIFT);
}

/* The slope from the base to @now; 0 if the two clocks did not run side by side. */
static uint64_t clock_slope(const struct clock_anchor *a, const struct clock_pair *now)
{
	uint64_t ticks = now->ticks - a->base.ticks, ns = now->ns - a->base.ns, slope;

	if (ticks >> 40 || ns >> 31 || ticks < ns / 8)
		return 0;
	slope = (ns << CLOCK_SHIFT) / ticks;
	if (a->slope && (slope > a->slope + a->slope / 1000 || slope < a->slope - a->slope / 1000))
		return 0;
	return slope;
}

/* Begins to learn the slope anew. */
static void clock_restart(struct clock_anchor *a, const struct clock_pair *now)
{
	a->base = *now;
	a->slope = 0;
	a->span = 0;
	a->mode = CLOCK_LEARNING;
}

/* Begins a span at @now. */
static void clock_begin(struct clock_anchor *a, const struct clock_pair *now, uint64_t slope)
{
	uint64_t ahead = a->floor > now->ns ? a->floor - now->ns : 0;

	if (ahead > CLOCK_AHEAD_MAX_NS) {
		a->mode = CLOCK_OFF;
		a->span = 0;
		return;
	}
	a->mode = CLOCK_DIRECT;
	a->slope = slope;
	a->ticks = now->ticks;
	a->ns = now->ns + ahead;
	a->mult = slope - slope * ahead / CLOCK_SPAN_NS;
	a->span = ((uint64_t)CLOCK_SPAN_NS << CLOCK_SHIFT) / slope;
	if (now->ns - a->base.ns > CLOCK_BASE_MAX_NS)
		a->base = *now; /* the kernel may have changed its rate since */
}

/* The kernel's time, but nothing smaller than this thread has seen. */
static uint64_t clock_floored(struct clock_anchor *a, uint64_t ns)
{
	if (ns < a->floor)
		ns = a->floor;
	a->floor = ns;
	return ns;
}

static __attribute__((noinline)) uint64_t clock_slow(struct clock_anchor *a)
{
	struct clock_pair now;
	uint64_t slope;

	if (a->mode == CLOCK_OFF || (a->mode == CLOCK_PLAIN && (++a->calls < CLOCK_PLAIN_CALLS ||
								!clock_counter_is_good()))) {
		if (a->calls >= CLOCK_PLAIN_CALLS)
			a->mode = CLOCK_OFF;
		return clock_floored(a, clock_kernel_ns());
	}
	/* Whatever the fast path has promised lies before the end of its span. */
	if (a->span) {
		uint64_t used = __rdtsc() - a->ticks;

		if (used >> 63) /* another core's counter, a few ticks behind */
			used = 0;
		clock_floored(a, clock_at(a, used < a->span ? used : a->span));
	}
	if (clock_read_pair(&now))
		return clock_floored(a, clock_kernel_ns());
	if (a->mode == CLOCK_PLAIN) {
		clock_restart(a, &now);
		return clock_floored(a, now.ns);
	}
	if (now.ns - a->base.ns < CLOCK_BASE_MIN_NS) {
		if (a->mode == CLOCK_LEARNING)
			return clock_floored(a, now.ns);
		slope = a->slope; /* the base moved to the last anchor, this one comes early */
	} else {
		slope = clock_slope(a, &now);
	}
	if (slope)
		clock_begin(a, &now, slope);
	else
		clock_restart(a, &now);
	return clock_floored(a, now.ns);
}

uint64_t clock_ns(void)
{
	struct clock_anchor *a = &clock_anchor;
	uint64_t used = __rdtsc() - a->ticks;

	if (__builtin_expect(used < a->span, 1))
		return clock_at(a, used);
	return clock_slow(a);
}

int clock_is_direct(void)
{
	return clock_anchor.mode == CLOCK_DIRECT;
}

#else

uint64_t clock_ns(void)
{
	return clock_kernel_ns();
}

int clock_is_direct(void)
{
	return 0;
}

#endif
