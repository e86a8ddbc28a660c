/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_team.h: helper threads that copy together with the thread that owns the team. The owner
 * takes pieces from the front, helpers from the back; a helper that comes late costs nothing, one
 * that loses its core in the middle of a piece is revoked (split_guard.h) and the owner copies
 * that piece itself. So the worst copy is a little slower than one alone, never a time slice.
 *
 * Helpers are not for free to others: they sleep unless there is work, spin after it only as long
 * as they have worked, and when the core that they want is wanted by somebody else the team is out
 * of service for a while (1 s, doubling to 30 s as long as it goes on).
 */
#ifndef TAIO_SPLIT_TEAM_H
#define TAIO_SPLIT_TEAM_H

#include <stddef.h>
#include <stdint.h>

#define SPLIT_HELPERS 3           /* more do not make memory faster */
#define SPLIT_MIN     (32u << 10) /* a shorter copy is over before a helper has a piece */

struct split_team;

/* What a copy did, for the one who accounts for it. */
struct split_done {
	uint64_t own_ns; /* of the caller, waiting included */
	uint64_t helper_bytes;
	uint64_t helper_ns;
	uint32_t revoked; /* pieces that were taken back */
};

/* How it was noticed that somebody else wants the helper's core. */
enum split_contention {
	SPLIT_FREE = 0,
	SPLIT_LATE,    /* a helper was called and did not come */
	SPLIT_IN_WAY,  /* a helper came to the owner's core: there was no other */
	SPLIT_LOST,    /* a helper was awake and did not run */
	SPLIT_ABSENT,  /* a helper was awake and took nothing */
	SPLIT_REVOKED, /* a helper lost its core in the middle of a piece, for long */
	SPLIT_CONTENTION_COUNT
};

/* For tests and for who wants to know. */
struct split_state {
	uint32_t started;    /* threads */
	uint32_t awake;      /* of them spinning or working */
	uint32_t contended;  /* 1: out of service now */
	uint32_t backoff_ms; /* how long the next time */
	uint64_t jobs, calls, revoked;
	uint64_t contentions[SPLIT_CONTENTION_COUNT];
};

/* No thread yet. Return: 0; -ENOMEM. */
int split_team_open(struct split_team **ret_team, unsigned int helpers);
/* Ends the threads, asleep or not. NULL is allowed. */
void split_team_close(struct split_team *team);

/* Is a copy of @len bytes worth it now? A few ns; keeps count of what it refused, because many
 * copies in a short time are worth the call that one of them is not. Owner only. */
int split_team_ready(struct split_team *team, size_t len);

/* Copies, ranges do not overlap. Starts and calls helpers if that pays. Owner only. */
void split_team_copy(struct split_team *team, void *to, const void *from, size_t len,
		     struct split_done *ret_done);

void split_team_state(struct split_team *team, struct split_state *ret_state);

#endif /* TAIO_SPLIT_TEAM_H */
