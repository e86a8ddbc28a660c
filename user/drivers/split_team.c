/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_team.c: the owner's side of a team: whether a copy is worth it, the copy, its end.
 *
 * At the end the owner waits for a helper about as long as its piece should take, then revokes the
 * job and copies the piece itself. A helper that later wakes up in the middle of an old piece finds
 * it revoked before it touches memory.
 */
#include "drivers/split_team.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/mem_copy.h"
#include "drivers/split_guard.h"
#include "drivers/split_inner.h"
#include "util/clock.h"

#define TEAM_UNIT         4096u
#define TEAM_UNITS_MAX    65535u      /* a cursor has 16 bits for each end */
#define TEAM_START_BYTES  (16u << 20) /* seen before a thread is worth its 30 us */
#define TEAM_CALL_BYTES   (4u << 20)  /* shortest copy that is worth waking a helper */
#define TEAM_CALL_FACTOR  64u /* bytes per ns of waking: that must be a small part of the copy */
#define TEAM_WINDOW_NS    500000u    /* many short copies: this many bytes ... */
#define TEAM_WINDOW_BYTES (4u << 20) /* ... in this time mean that little else is done */
#define TEAM_ABSENT_NS    100000u    /* copying beside a helper that takes nothing */
#define TEAM_GRACE        3u
#define TEAM_GRACE_NS     4000u /* added to the wait for a last piece */
#define TEAM_STACK        (256u << 10)

enum team_verdict {
	TEAM_NO = 0,
	TEAM_AWAKE, /* a helper is there */
	TEAM_CALL   /* it pays to start or wake one */
};

/* ---- owner: threads ------------------------------------------------------------------------- */

int split_team_open(struct split_team **ret_team, unsigned int helpers)
{
	struct split_team *team;

	team = aligned_alloc(64, sizeof(*team));
	if (!team)
		return -ENOMEM;
	memset(team, 0, sizeof(*team));
	team->wanted = helpers < SPLIT_HELPERS ? helpers : SPLIT_HELPERS;
	team->mem = mem_copy_best();
	atomic_init(&team->backoff_ns, TEAM_BACKOFF_NS);
	atomic_init(&team->call_ns, TEAM_CALL_BYTES / TEAM_CALL_FACTOR);
	for (unsigned int i = 0; i < SPLIT_HELPERS; i++)
		team->helper[i].team = team;
	*ret_team = team;
	return 0;
}

void split_team_close(struct split_team *team)
{
	if (!team)
		return;
	atomic_store(&team->stop, 1);
	for (uint32_t i = 0; i < team->started; i++) {
		atomic_store(&team->helper[i].awake, 1);
		split_helper_wake(&team->helper[i]);
	}
	for (uint32_t i = 0; i < team->started; i++)
		pthread_join(team->helper[i].thread, NULL);
	free(team);
}

/* Starts one more helper; without it the owner copies alone. */
static void team_start(struct split_team *team)
{
	struct split_helper *h = &team->helper[team->started];
	pthread_attr_t attr;
	sigset_t all, old;

	/* The program's signals are not for this thread. Faults are: a program may serve page
	 * faults by a handler, and the one who touches the page gets the signal. */
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGTRAP);
	if (pthread_attr_init(&attr))
		return;
	pthread_attr_setstacksize(&attr, TEAM_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	atomic_store(&h->awake, 1);
	if (!pthread_create(&h->thread, &attr, split_helper_main, h))
		team->started++;
	else
		team->wanted = team->started; /* EAGAIN: a limit of the system; never again */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
}

/* Starts or wakes as many as the copy can feed. */
static void team_call(struct split_team *team, size_t len)
{
	size_t calls = 1 + len / (4 * TEAM_CALL_BYTES);

	team->last_call_ns = clock_ns();
	for (uint32_t i = 0; i < team->started && calls; i++) {
		struct split_helper *h = &team->helper[i];

		if (atomic_load_explicit(&h->awake, memory_order_relaxed))
			continue;
		atomic_store_explicit(&h->called_ns, team->last_call_ns, memory_order_relaxed);
		atomic_store(&h->awake, 1);
		split_helper_wake(h);
		team->calls++;
		calls--;
	}
	if (calls && team->started < team->wanted)
		team_start(team);
}

/* ---- owner: decision ------------------------------------------------------------------------ */

/* Are there so many copies that a helper, once awake, finds enough to do? As long as the last calls
 * were not worth it more and more time must have been like that. */
static int team_window(struct split_team *team, uint64_t now_ns, size_t len)
{
	if (now_ns - team->window_from_ns > TEAM_WINDOW_NS) {
		team->window_from_ns = now_ns;
		team->window_bytes = 0;
		team->windows = 0;
	}
	team->window_bytes += len;
	if (team->window_bytes < TEAM_WINDOW_BYTES)
		return 0;
	team->window_from_ns = now_ns;
	team->window_bytes = 0;
	if (++team->windows < 1u << atomic_load_explicit(&team->useless, memory_order_relaxed))
		return 0;
	team->windows = 0;
	return 1;
}

/* Is a helper still away in the middle of a piece that was revoked? */
static int team_is_suspect(struct split_team *team)
{
	uint64_t now_ns;

	for (uint32_t i = 0; i < team->started; i++) {
		if (!atomic_load_explicit(&team->helper[i].holding, memory_order_relaxed))
			continue;
		now_ns = clock_ns();
		if (now_ns - team->suspect_ns > TEAM_LATE_NS) {
			team->suspect_ns = 0;
			split_contended(team, SPLIT_REVOKED, now_ns);
		}
		return 1;
	}
	team->suspect_ns = 0;
	return 0;
}

/* Out of service? The owner keeps the end of it beside what it has to read anyway: the answer
 * "no" comes before every copy and must not cost a line of its own. */
static int team_is_out_of_service(struct split_team *team)
{
	uint64_t until = team->quiet_until_ns;

	if (!until)
		until = atomic_load_explicit(&team->contended_until_ns, memory_order_relaxed);
	if (!until)
		return 0;
	team->quiet_until_ns = until;
	if (clock_ns() < until)
		return 1;
	team->quiet_until_ns = 0;
	/* Served; who finds it contended again counts anew. */
	atomic_compare_exchange_strong(&team->contended_until_ns, &until, 0);
	return 0;
}

static int team_is_awake(struct split_team *team)
{
	for (uint32_t i = 0; i < team->started; i++) {
		struct split_helper *h = &team->helper[i];

		if (atomic_load_explicit(&h->awake, memory_order_relaxed) &&
		    atomic_load_explicit(&h->usable, memory_order_relaxed) &&
		    !atomic_load_explicit(&h->called_ns, memory_order_relaxed))
			return 1;
	}
	return 0;
}

static enum team_verdict team_judge(struct split_team *team, size_t len)
{
	uint64_t now_ns, called_ns, call_bytes;

	if (team_is_out_of_service(team))
		return TEAM_NO;
	if (team_is_awake(team))
		return TEAM_AWAKE;
	now_ns = clock_ns();
	for (uint32_t i = 0; i < team->started; i++) {
		called_ns = atomic_load_explicit(&team->helper[i].called_ns, memory_order_relaxed);
		if (called_ns && now_ns > called_ns + TEAM_LATE_NS) {
			split_contended(team, SPLIT_LATE, now_ns);
			return TEAM_NO;
		}
	}
	if (atomic_load_explicit(&team->broken, memory_order_relaxed)) {
		team->wanted = 0;
		return TEAM_NO;
	}
	if (!team->started) {
		team->seen_bytes += len;
		if (team->seen_bytes < TEAM_START_BYTES)
			return TEAM_NO;
	}
	call_bytes = atomic_load_explicit(&team->call_ns, memory_order_relaxed) * TEAM_CALL_FACTOR;
	/* Helpers that were slow to come are asked again after a while: that may be over. */
	if (len >= TEAM_CALL_BYTES &&
	    (len >= call_bytes || now_ns - team->last_call_ns > TEAM_BACKOFF_NS))
		return TEAM_CALL;
	return team_window(team, now_ns, len) ? TEAM_CALL : TEAM_NO;
}

int split_team_ready(struct split_team *team, size_t len)
{
	if (len < SPLIT_MIN || !team->wanted || (team->suspect_ns && team_is_suspect(team)))
		team->verdict = TEAM_NO;
	else
		team->verdict = team_judge(team, len);
	return team->verdict != TEAM_NO;
}

/* ---- owner: copy ---------------------------------------------------------------------------- */

struct team_job {
	char *to; /* aligned to a line */
	const char *from;
	uint64_t number, unit;
	uint64_t start_ns;
	uint64_t own_bytes;
};

static void team_publish(struct split_team *team, const struct team_job *job, uint32_t units)
{
	atomic_store_explicit(&team->job, job->number, memory_order_relaxed);
	atomic_store_explicit(&team->unit, job->unit, memory_order_relaxed);
	atomic_store_explicit(&team->to, (uintptr_t)job->to, memory_order_relaxed);
	atomic_store_explicit(&team->from, (uintptr_t)job->from, memory_order_relaxed);
	atomic_store_explicit(&team->owner_core, split_guard_core(split_guard_area()),
			      memory_order_relaxed);
	atomic_store(&team->cursor, cursor_make(job->number, 0, units));
}

static void team_copy_piece(struct split_team *team, struct team_job *job, uint64_t piece)
{
	uint64_t at = cursor_front(piece) * job->unit;
	uint64_t len = (cursor_back(piece) - cursor_front(piece)) * job->unit;

	team->mem->copy(job->to + at, job->from + at, len);
	job->own_bytes += len;
}

/* The owner's share: pieces from the front until there is none. */
static void team_work(struct split_team *team, struct team_job *job)
{
	uint64_t cursor = atomic_load(&team->cursor);

	while (cursor_front(cursor) != cursor_back(cursor)) {
		uint32_t front = cursor_front(cursor);
		uint32_t share = cursor_share(cursor, job->unit);
		uint64_t next = cursor_make(job->number, front + share, cursor_back(cursor));

		if (!atomic_compare_exchange_weak(&team->cursor, &cursor, next))
			continue;
		team_copy_piece(team, job, cursor_make(job->number, front, front + share));
		cursor = atomic_load(&team->cursor);
	}
}

/* The piece of this job in a helper's hands; 0: none. */
static uint64_t team_held(const struct split_team *team, uint32_t i, const struct team_job *job)
{
	uint64_t held = atomic_load(&team->helper[i].holding);

	return held && cursor_is_of(held, job->number) ? held : 0;
}

/* Waits for a piece TEAM_GRACE times as long as the owner needed for so many bytes of its own.
 * Return: 1: it is there; 0: the helper has lost its core. */
static int team_await(const struct split_team *team, uint32_t i, const struct team_job *job)
{
	uint64_t from_ns, held, bytes, grace_ns;

	held = team_held(team, i, job);
	if (!held)
		return 1;
	from_ns = clock_ns();
	bytes = (cursor_back(held) - cursor_front(held)) * job->unit;
	if (job->own_bytes)
		grace_ns = (from_ns - job->start_ns) * bytes / job->own_bytes * TEAM_GRACE;
	else
		grace_ns = bytes;
	grace_ns += TEAM_GRACE_NS;
	while (team_held(team, i, job)) {
		if (clock_ns() - from_ns > grace_ns)
			return 0;
		split_pause();
	}
	return 1;
}

/* Takes back what is still in the hands of helpers and copies it. */
static void team_revoke(struct split_team *team, struct team_job *job)
{
	int broken = split_guard_revoke(&team->revoked, job->number);

	team->suspect_ns = clock_ns();
	team->revocations++;
	for (uint32_t i = 0; i < team->started; i++) {
		uint64_t held = team_held(team, i, job);

		if (!held)
			continue;
		if (broken) {
			/* It may still write: there is nothing but to wait, and no second time. */
			team->wanted = 0;
			while (team_held(team, i, job))
				sched_yield();
		}
		team_copy_piece(team, job, held);
	}
}

static uint64_t team_sum(const struct split_team *team, uint64_t *ret_ns)
{
	uint64_t bytes = 0;

	*ret_ns = 0;
	for (uint32_t i = 0; i < team->started; i++) {
		const struct split_helper *h = &team->helper[i];

		bytes += atomic_load_explicit(&h->bytes, memory_order_relaxed);
		*ret_ns += atomic_load_explicit(&h->worked_ns, memory_order_relaxed);
	}
	return bytes;
}

/* A helper that is awake and lets the owner copy alone for long is not on a core. */
static void team_note_absence(struct split_team *team, const struct split_done *done)
{
	if (done->helper_bytes || team->verdict != TEAM_AWAKE) {
		team->absent_ns = 0;
		return;
	}
	team->absent_ns += done->own_ns;
	if (team->absent_ns > TEAM_ABSENT_NS) {
		team->absent_ns = 0;
		split_contended(team, SPLIT_ABSENT, clock_ns());
	}
}

void split_team_copy(struct split_team *team, void *to, const void *from, size_t len,
		     struct split_done *ret_done)
{
	size_t head = (64 - ((uintptr_t)to & 63)) & 63, tail;
	uint64_t bytes, ns;
	struct team_job job = { .to = (char *)to + head, .from = (const char *)from + head };

	memset(ret_done, 0, sizeof(*ret_done));
	if (len < SPLIT_MIN) {
		team->mem->copy(to, from, len);
		return;
	}
	job.unit = ((len / TEAM_UNITS_MAX) / TEAM_UNIT + 1) * TEAM_UNIT;
	job.number = ++team->jobs;
	job.start_ns = clock_ns();
	team_publish(team, &job, (uint32_t)((len - head) / job.unit));
	if (team->verdict == TEAM_CALL)
		team_call(team, len);
	memcpy(to, from, head);
	tail = (len - head) % job.unit;
	team->mem->copy((char *)to + len - tail, (const char *)from + len - tail, tail);
	team_work(team, &job);
	for (uint32_t i = 0; i < team->started; i++) {
		if (!team_await(team, i, &job)) {
			team_revoke(team, &job);
			ret_done->revoked = 1;
			break;
		}
	}
	bytes = team_sum(team, &ns);
	ret_done->own_ns = clock_ns() - job.start_ns;
	ret_done->helper_bytes = bytes - team->helper_bytes;
	ret_done->helper_ns = ns - team->helper_ns;
	team->helper_bytes = bytes;
	team->helper_ns = ns;
	team_note_absence(team, ret_done);
	team->verdict = TEAM_NO;
}

void split_team_state(struct split_team *team, struct split_state *ret_state)
{
	memset(ret_state, 0, sizeof(*ret_state));
	ret_state->started = team->started;
	for (uint32_t i = 0; i < team->started; i++)
		ret_state->awake += atomic_load(&team->helper[i].awake) != 0;
	ret_state->contended = clock_ns() < atomic_load(&team->contended_until_ns);
	ret_state->backoff_ms = (uint32_t)(atomic_load(&team->backoff_ns) / 1000000);
	ret_state->jobs = team->jobs;
	ret_state->calls = team->calls;
	ret_state->revoked = team->revocations;
	for (int i = 0; i < SPLIT_CONTENTION_COUNT; i++)
		ret_state->contentions[i] = atomic_load(&team->contentions[i]);
}
