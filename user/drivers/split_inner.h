/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_inner.h: what the owner (split_team.c) and the helpers (split_helper.c) of a team share,
 * and nobody else.
 *
 * One job at a time. Its range is cut into units; the cursor holds the low half of the job number
 * and the units that nobody has taken yet, [front, back). Whoever takes a piece does it by
 * compare-and-swap of the whole cursor: if that succeeds, the job had not changed and what was
 * read of its description before is true. Before a helper tries, it writes the piece into
 * `holding`; it clears it when the bytes are there. So after the owner has seen the cursor empty,
 * a helper whose `holding` names the job may still be writing, and no other can be.
 */
#ifndef TAIO_SPLIT_INNER_H
#define TAIO_SPLIT_INNER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "drivers/split_team.h"

#define TEAM_PIECE_MIN  (16u << 10)  /* below it taking costs more than sharing gains */
#define TEAM_PIECE_MAX  (256u << 10) /* what a revoked helper costs at most */
#define TEAM_LATE_NS    300000u      /* called and not there: the core is not free */
#define TEAM_LOST_NS    100000u      /* kept from running while awake, beside an eighth */
#define TEAM_BACKOFF_NS 1000000000ull

struct split_helper {
	/* written for every piece */
	_Alignas(64) _Atomic uint64_t holding; /* a cursor: job, [front, back) of its piece; 0 */
	_Atomic uint64_t worked_ns;
	_Atomic uint64_t bytes;
	/* written when it falls asleep or is called: the owner reads this all the time */
	_Alignas(64) _Atomic uint32_t awake; /* futex; 0: sleeps */
	_Atomic uint32_t usable;             /* it is registered and has looked at the cursor */
	_Atomic uint64_t called_ns;          /* when it was woken; 0: it has come */
	struct split_team *team;
	pthread_t thread;
	/* the helper's own */
	_Alignas(64) void *area;
	uint64_t awake_since_ns, awake_cpu_ns, awake_worked_ns;
	uint64_t credit_ns; /* it may still spin so long */
	uint64_t good_ns;
	int in_the_way; /* it was on the owner's core when it looked last */
};

struct split_team {
	_Alignas(64) _Atomic uint64_t cursor;
	_Alignas(64) _Atomic uint64_t job;
	_Atomic uintptr_t to, from;
	_Atomic uint64_t unit;
	_Atomic uint32_t owner_core;
	_Atomic uint32_t stop;
	_Atomic uint32_t broken; /* the kernel refuses what this rests on */
	_Alignas(64) _Atomic uint64_t revoked;
	_Atomic uint64_t contended_until_ns; /* 0: not */
	_Atomic uint64_t backoff_ns;
	_Atomic uint64_t contentions[SPLIT_CONTENTION_COUNT];
	_Atomic uint64_t call_ns; /* smoothed time from a call to the first look */
	_Atomic uint32_t useless; /* calls in a row that were not worth it */
	/* the owner's own; first what it needs to say no */
	_Alignas(64) uint64_t quiet_until_ns; /* copy of contended_until_ns */
	uint64_t suspect_ns; /* when a piece was revoked whose helper has not come back; 0 */
	uint32_t verdict;    /* the answer to the last question */
	uint32_t wanted, started;
	uint32_t windows; /* in a row that were full */
	uint64_t window_from_ns, window_bytes;
	uint64_t last_call_ns;
	const struct mem_copy *mem;
	uint64_t seen_bytes; /* that would have been split if there had been a thread */
	uint64_t absent_ns;  /* copied beside a helper that is awake and takes nothing */
	uint64_t helper_bytes, helper_ns; /* sums at the end of the last job */
	uint64_t jobs, calls, revocations;
	struct split_helper helper[SPLIT_HELPERS];
};

/* ---- cursor ------------------------------------------------------------------------------- */

static inline uint64_t cursor_make(uint64_t job, uint32_t front, uint32_t back)
{
	return job << 32 | (uint64_t)front << 16 | back;
}

static inline uint32_t cursor_front(uint64_t cursor)
{
	return (uint32_t)(cursor >> 16) & 0xffff;
}

static inline uint32_t cursor_back(uint64_t cursor)
{
	return (uint32_t)cursor & 0xffff;
}

static inline int cursor_is_of(uint64_t cursor, uint64_t job)
{
	return (uint32_t)(cursor >> 32) == (uint32_t)job;
}

/* Units of the next piece: half of what is left, so that both ends finish together after few
 * exchanges; each costs both sides a trip of the cursor's line from core to core. */
static inline uint32_t cursor_share(uint64_t cursor, uint64_t unit)
{
	uint32_t left = cursor_back(cursor) - cursor_front(cursor);
	uint32_t least = (uint32_t)((TEAM_PIECE_MIN + unit - 1) / unit);
	uint32_t most = unit < TEAM_PIECE_MAX ? (uint32_t)(TEAM_PIECE_MAX / unit) : 1;
	uint32_t share = (left + 1) / 2;

	if (share > most)
		share = most;
	if (share < least)
		share = least;
	return share < left ? share : left;
}

/* ---- split_helper.c ------------------------------------------------------------------------- */

/* The thread of a helper; @arg: its struct split_helper. */
void *split_helper_main(void *arg);

/* Wakes it, or does nothing. */
void split_helper_wake(struct split_helper *helper);

/* Somebody else wants the helper's core: the team is out of service for a time that doubles while
 * that goes on. Any thread; what is already known does not count again. */
void split_contended(struct split_team *team, enum split_contention how, uint64_t now_ns);

/* For the turns of a loop that waits for another core. */
static inline void split_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

#endif /* TAIO_SPLIT_INNER_H */
