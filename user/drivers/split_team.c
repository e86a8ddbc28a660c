/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_team.c: see split_team.h.
 *
 * One job at a time. Its range is cut into units; the cursor holds the low half of the job number
 * and the units that nobody has taken yet, [front, back). Whoever takes a piece does it by
 * compare-and-swap of the whole cursor: if that succeeds, the job had not changed and what was
 * read of its description before is true. Before a helper tries, it writes the piece into
 * `holding`; it clears it when the bytes are there. So after the owner has seen the cursor empty,
 * a helper whose `holding` names the job may still be writing, and no other can be.
 *
 * The owner waits for such a helper about as long as the piece should take, then revokes the job
 * and copies the piece itself. A helper that later wakes up in the middle of an old piece finds it
 * revoked before it touches memory.
 */
#include "drivers/split_team.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "drivers/mem_copy.h"
#include "drivers/split_guard.h"
#include "util/clock.h"

#define TEAM_UNIT          4096u
#define TEAM_UNITS_MAX     65535u       /* a cursor has 16 bits for each end */
#define TEAM_PIECE_MIN     (8u << 10)   /* below it taking costs more than sharing gains */
#define TEAM_PIECE_MAX     (256u << 10) /* what a revoked helper costs at most */
#define TEAM_START_BYTES   (16u << 20)  /* seen before a thread is worth its 30 us */
#define TEAM_CALL_BYTES    (1u << 20)   /* shortest copy that is worth waking a helper */
#define TEAM_CALL_FACTOR   40u          /* bytes per ns of waking: it must be a small part */
#define TEAM_WINDOW_NS     500000u      /* many short copies: this many bytes ... */
#define TEAM_WINDOW_BYTES  (2u << 20)   /* ... in this time are worth a call */
#define TEAM_SPIN_FIRST_NS 20000u       /* after a call, before any work */
#define TEAM_SPIN_MAX_NS   200000u
#define TEAM_SPIN_FACTOR   2u      /* ns of spinning for each ns of work */
#define TEAM_LATE_NS       300000u /* called and not there: the core is not free */
#define TEAM_LOST_NS       100000u /* kept from running while awake, beside an eighth */
#define TEAM_ABSENT_NS     100000u /* copying beside a helper that takes nothing */
#define TEAM_BACKOFF_NS    1000000000ull
#define TEAM_BACKOFF_MAX   30000000000ull
#define TEAM_GOOD_NS       20000000u /* so much undisturbed work forgives the past */
#define TEAM_GRACE_NS      4000u     /* added to the wait for a last piece */
#define TEAM_STACK         (256u << 10)

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
	uint64_t awake_since_ns, awake_cpu_ns;
	uint64_t credit_ns; /* it may still spin so long */
	uint64_t good_ns;
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
	/* the owner's own */
	_Alignas(64) const struct mem_copy *mem;
	void *owner_area;
	uint64_t seen_bytes; /* that would have been split if there had been a thread */
	uint64_t window_from_ns, window_bytes;
	uint64_t absent_ns; /* copied beside a helper that is awake and takes nothing */
	uint64_t helper_bytes, helper_ns; /* sums at the end of the last job */
	uint64_t jobs, calls, revocations;
	uint32_t verdict; /* enum team_verdict of the last question */
	uint32_t wanted, started;
	struct split_helper helper[SPLIT_HELPERS];
};

enum team_verdict {
	TEAM_NO = 0,
	TEAM_AWAKE, /* a helper is there */
	TEAM_CALL   /* it pays to start or wake one */
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

/* Units of the next piece: a part of what is left, so that both ends finish together. */
static uint32_t cursor_share(uint64_t cursor, uint64_t unit)
{
	uint32_t left = cursor_back(cursor) - cursor_front(cursor);
	uint32_t least = (uint32_t)((TEAM_PIECE_MIN + unit - 1) / unit);
	uint32_t most = unit < TEAM_PIECE_MAX ? (uint32_t)(TEAM_PIECE_MAX / unit) : 1;
	uint32_t share = left / 4;

	if (share > most)
		share = most;
	if (share < least)
		share = least;
	return share < left ? share : left;
}

/* ---- contention ----------------------------------------------------------------------------- */

/* Somebody else wants the helper's core. May be called by all; a contention that is already known
 * does not count again. */
static void team_contended(struct split_team *team, enum split_contention how, uint64_t now_ns)
{
	uint64_t until = atomic_load_explicit(&team->contended_until_ns, memory_order_relaxed);
	uint64_t backoff = atomic_load_explicit(&team->backoff_ns, memory_order_relaxed);

	if (now_ns < until)
		return;
	if (!atomic_compare_exchange_strong(&team->contended_until_ns, &until, now_ns + backoff))
		return;
	backoff = backoff * 2 < TEAM_BACKOFF_MAX ? backoff * 2 : TEAM_BACKOFF_MAX;
	atomic_store_explicit(&team->backoff_ns, backoff, memory_order_relaxed);
	atomic_fetch_add_explicit(&team->contentions[how], 1, memory_order_relaxed);
}

static int team_is_contended(struct split_team *team)
{
	uint64_t until = atomic_load_explicit(&team->contended_until_ns, memory_order_relaxed);

	return until && clock_ns() < until;
}

/* ---- helper --------------------------------------------------------------------------------- */

static inline void helper_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	sched_yield();
#endif
}

static long helper_futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static uint64_t helper_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Takes a piece off the back and copies it. Return: 1: did; 0: there is none. */
static int helper_take(struct split_helper *h)
{
	struct split_team *team = h->team;
	uint64_t cursor = atomic_load_explicit(&team->cursor, memory_order_acquire);
	uint64_t job, unit, start_ns, worked;
	uint32_t share, back;
	uintptr_t to, from;

	if (cursor_front(cursor) == cursor_back(cursor))
		return 0;
	job = atomic_load_explicit(&team->job, memory_order_relaxed);
	unit = atomic_load_explicit(&team->unit, memory_order_relaxed);
	to = atomic_load_explicit(&team->to, memory_order_relaxed);
	from = atomic_load_explicit(&team->from, memory_order_relaxed);
	if (!unit || !cursor_is_of(cursor, job))
		return 0; /* the next job is being written */
	share = cursor_share(cursor, unit);
	back = cursor_back(cursor) - share;
	/* Sequentially consistent, as the exchange: the owner must not see the cursor without
	 * this piece and the piece in nobody's hands. */
	atomic_store(&h->holding, cursor_make(job, back, cursor_back(cursor)));
	if (!atomic_compare_exchange_strong(&team->cursor, &cursor,
					    cursor_make(job, cursor_front(cursor), back))) {
		atomic_store_explicit(&h->holding, 0, memory_order_release);
		return 1;
	}
	start_ns = clock_ns();
	if (!split_guard_copy(h->area, (void *)(to + back * unit), (void *)(from + back * unit),
			      share * unit, &team->revoked, job))
		atomic_store_explicit(&h->bytes,
				      atomic_load_explicit(&h->bytes, memory_order_relaxed) +
					      share * unit,
				      memory_order_relaxed);
	worked = clock_ns() - start_ns;
	atomic_store_explicit(&h->worked_ns,
			      atomic_load_explicit(&h->worked_ns, memory_order_relaxed) + worked,
			      memory_order_relaxed);
	atomic_store_explicit(&h->holding, 0, memory_order_release);
	h->credit_ns += worked * TEAM_SPIN_FACTOR;
	if (h->credit_ns > TEAM_SPIN_MAX_NS)
		h->credit_ns = TEAM_SPIN_MAX_NS;
	h->good_ns += worked;
	return 1;
}

/* What the time awake was like: was the core there when it was wanted? */
static void helper_judge(struct split_helper *h, uint64_t now_ns)
{
	uint64_t awake_ns = now_ns - h->awake_since_ns;
	uint64_t cpu_ns = helper_cpu_ns() - h->awake_cpu_ns;

	if (awake_ns > cpu_ns + awake_ns / 8 + TEAM_LOST_NS) {
		h->good_ns = 0;
		team_contended(h->team, SPLIT_LOST, now_ns);
	} else if (h->good_ns > TEAM_GOOD_NS) {
		h->good_ns = 0;
		atomic_store_explicit(&h->team->backoff_ns, TEAM_BACKOFF_NS, memory_order_relaxed);
	}
}

/* The first look after a call: how long did it take, and on which core is it? */
static void helper_arrive(struct split_helper *h)
{
	struct split_team *team = h->team;
	uint64_t now_ns = clock_ns();
	uint64_t called_ns = atomic_exchange_explicit(&h->called_ns, 0, memory_order_acquire);
	uint64_t late_ns = called_ns && called_ns < now_ns ? now_ns - called_ns : 0;
	uint64_t smooth = atomic_load_explicit(&team->call_ns, memory_order_relaxed);

	h->awake_since_ns = now_ns;
	h->awake_cpu_ns = helper_cpu_ns();
	h->credit_ns = TEAM_SPIN_FIRST_NS;
	if (late_ns > TEAM_LATE_NS) {
		team_contended(team, SPLIT_LATE, now_ns);
		late_ns = TEAM_LATE_NS;
	}
	if (late_ns)
		atomic_store_explicit(&team->call_ns, (smooth * 3 + late_ns) / 4,
				      memory_order_relaxed);
}

/* A helper on the owner's core takes its time away; it has no business there. */
static int helper_is_in_the_way(const struct split_helper *h)
{
	return split_guard_core(h->area) ==
	       atomic_load_explicit(&h->team->owner_core, memory_order_relaxed);
}

/* Works and spins until there is no reason to. */
static void helper_serve(struct split_helper *h)
{
	struct split_team *team = h->team;
	uint64_t now_ns, idle_ns = clock_ns();

	while (!atomic_load_explicit(&team->stop, memory_order_relaxed)) {
		if (helper_is_in_the_way(h)) {
			team_contended(team, SPLIT_IN_WAY, clock_ns());
			return;
		}
		if (helper_take(h)) {
			idle_ns = clock_ns();
			continue;
		}
		helper_pause();
		now_ns = clock_ns();
		if (now_ns - idle_ns >= h->credit_ns)
			break;
		if (atomic_load_explicit(&team->contended_until_ns, memory_order_relaxed) > now_ns)
			break;
		h->credit_ns -= now_ns - idle_ns;
		idle_ns = now_ns;
	}
	helper_judge(h, clock_ns());
}

/* A thread inherits the mask of the one who started it. An owner that is pinned to one core would
 * have its helper there too; the main thread's mask is then the better guess. */
static void helper_spread(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > 1)
		return;
	if (!sched_getaffinity(getpid(), sizeof(set), &set) && CPU_COUNT(&set) > 1)
		sched_setaffinity(0, sizeof(set), &set);
}

static void *helper_main(void *arg)
{
	struct split_helper *h = arg;
	struct split_team *team = h->team;

	prctl(PR_SET_NAME, "taio-split", 0, 0, 0);
	helper_spread();
	h->area = split_guard_area();
	if (split_guard_register()) {
		atomic_store(&team->broken, 1);
		return NULL;
	}
	atomic_store(&h->usable, 1);
	while (!atomic_load(&team->stop)) {
		helper_arrive(h);
		helper_serve(h);
		atomic_store(&h->awake, 0);
		/* A call between the last look and the store above is seen here or by the kernel. */
		if (!team_is_contended(team) && helper_take(h)) {
			atomic_store(&h->awake, 1);
			continue;
		}
		while (!atomic_load(&h->awake) && !atomic_load(&team->stop))
			helper_futex(&h->awake, FUTEX_WAIT, 0);
	}
	return NULL;
}

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
	team->owner_area = split_guard_area();
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
		helper_futex(&team->helper[i].awake, FUTEX_WAKE, 1);
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
	if (!pthread_create(&h->thread, &attr, helper_main, h))
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

	for (uint32_t i = 0; i < team->started && calls; i++) {
		struct split_helper *h = &team->helper[i];

		if (atomic_load_explicit(&h->awake, memory_order_relaxed))
			continue;
		atomic_store_explicit(&h->called_ns, clock_ns(), memory_order_relaxed);
		atomic_store(&h->awake, 1);
		helper_futex(&h->awake, FUTEX_WAKE, 1);
		team->calls++;
		calls--;
	}
	if (calls && team->started < team->wanted)
		team_start(team);
}

/* ---- owner: decision ------------------------------------------------------------------------ */

/* Enough copies in a short time? */
static int team_window(struct split_team *team, uint64_t now_ns, size_t len)
{
	if (now_ns - team->window_from_ns > TEAM_WINDOW_NS) {
		team->window_from_ns = now_ns;
		team->window_bytes = 0;
	}
	team->window_bytes += len;
	return team->window_bytes >= TEAM_WINDOW_BYTES;
}

static enum team_verdict team_judge(struct split_team *team, size_t len)
{
	uint64_t until = atomic_load_explicit(&team->contended_until_ns, memory_order_relaxed);
	uint64_t now_ns, called_ns, call_bytes;

	if (!until) {
		/* The usual case needs no clock. */
		for (uint32_t i = 0; i < team->started; i++) {
			struct split_helper *h = &team->helper[i];

			if (atomic_load_explicit(&h->awake, memory_order_relaxed) &&
			    atomic_load_explicit(&h->usable, memory_order_relaxed) &&
			    !atomic_load_explicit(&h->called_ns, memory_order_relaxed))
				return TEAM_AWAKE;
		}
	}
	now_ns = clock_ns();
	if (until) {
		if (now_ns < until)
			return TEAM_NO;
		/* Served; who finds it contended again counts anew. */
		atomic_compare_exchange_strong(&team->contended_until_ns, &until, 0);
	}
	for (uint32_t i = 0; i < team->started; i++) {
		called_ns = atomic_load_explicit(&team->helper[i].called_ns, memory_order_relaxed);
		if (called_ns && now_ns > called_ns + TEAM_LATE_NS) {
			team_contended(team, SPLIT_LATE, now_ns);
			return TEAM_NO;
		}
	}
	if (!team->started) {
		team->seen_bytes += len;
		if (team->seen_bytes < TEAM_START_BYTES)
			return TEAM_NO;
	}
	call_bytes = atomic_load_explicit(&team->call_ns, memory_order_relaxed) * TEAM_CALL_FACTOR;
	if (len >= TEAM_CALL_BYTES && len >= call_bytes)
		return TEAM_CALL;
	return team_window(team, now_ns, len) ? TEAM_CALL : TEAM_NO;
}

int split_team_ready(struct split_team *team, size_t len)
{
	if (len < SPLIT_MIN || !team->wanted ||
	    atomic_load_explicit(&team->broken, memory_order_relaxed))
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
	atomic_store_explicit(&team->owner_core, split_guard_core(team->owner_area),
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

/* Waits for a piece about twice as long as the owner needed for so many bytes of its own.
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
		grace_ns = (from_ns - job->start_ns) * bytes / job->own_bytes * 2;
	else
		grace_ns = bytes;
	grace_ns += TEAM_GRACE_NS;
	while (team_held(team, i, job)) {
		if (clock_ns() - from_ns > grace_ns)
			return 0;
		helper_pause();
	}
	return 1;
}

/* Takes back what is still in the hands of helpers and copies it. */
static void team_revoke(struct split_team *team, struct team_job *job)
{
	int broken = split_guard_revoke(&team->revoked, job->number);

	team_contended(team, SPLIT_REVOKED, clock_ns());
	team->revocations++;
	for (uint32_t i = 0; i < team->started; i++) {
		uint64_t held = team_held(team, i, job);

		if (!held)
			continue;
		if (broken) {
			/* It may still write: there is nothing but to wait, and no second time. */
			atomic_store(&team->broken, 1);
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
		team_contended(team, SPLIT_ABSENT, clock_ns());
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
	ret_state->contended = (uint32_t)team_is_contended(team);
	ret_state->backoff_ms = (uint32_t)(atomic_load(&team->backoff_ns) / 1000000);
	ret_state->jobs = team->jobs;
	ret_state->calls = team->calls;
	ret_state->revoked = team->revocations;
	for (int i = 0; i < SPLIT_CONTENTION_COUNT; i++)
		ret_state->contentions[i] = atomic_load(&team->contentions[i]);
}
