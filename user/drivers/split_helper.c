/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * split_helper.c: the helper's side of a team: take pieces, spin as long as there was work, sleep;
 * and notice when the core is not its own.
 */
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "drivers/mem_copy.h"
#include "drivers/split_guard.h"
#include "drivers/split_inner.h"
#include "util/clock.h"

#define TEAM_USEFUL_NS     20000u /* a helper that was called and worked less was not worth it */
#define TEAM_USELESS_MAX   6u
#define TEAM_SPIN_FIRST_NS 20000u /* after a call, before any work */
#define TEAM_SPIN_MAX_NS   200000u
#define TEAM_SPIN_FACTOR   2u /* ns of spinning for each ns of work */
#define TEAM_BACKOFF_MAX   30000000000ull
#define TEAM_GOOD_NS       20000000u /* so much undisturbed work forgives the past */

void split_contended(struct split_team *team, enum split_contention how, uint64_t now_ns)
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

static long helper_futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	return syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

void split_helper_wake(struct split_helper *h)
{
	helper_futex(&h->awake, FUTEX_WAKE, 1);
}

static uint64_t helper_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void helper_account(struct split_helper *h, uint64_t bytes, uint64_t worked_ns)
{
	/* single writer: no need for an atomic addition */
	bytes += atomic_load_explicit(&h->bytes, memory_order_relaxed);
	atomic_store_explicit(&h->bytes, bytes, memory_order_relaxed);
	h->credit_ns += worked_ns * TEAM_SPIN_FACTOR;
	if (h->credit_ns > TEAM_SPIN_MAX_NS)
		h->credit_ns = TEAM_SPIN_MAX_NS;
	h->good_ns += worked_ns;
	worked_ns += atomic_load_explicit(&h->worked_ns, memory_order_relaxed);
	atomic_store_explicit(&h->worked_ns, worked_ns, memory_order_relaxed);
}

/* A short interruption is nobody's claim to the core. */
static void helper_revoked(struct split_helper *h, uint64_t start_ns)
{
	uint64_t now_ns = clock_ns();

	if (now_ns - start_ns > TEAM_LOST_NS)
		split_contended(h->team, SPLIT_REVOKED, now_ns);
}

/* Takes a piece off the back and copies it. Return: 1: did; 0: there is none. */
static int helper_take(struct split_helper *h)
{
	struct split_team *team = h->team;
	uint64_t cursor = atomic_load_explicit(&team->cursor, memory_order_acquire);
	uint64_t job, unit, start_ns;
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
	to += back * unit;
	from += back * unit;
	mem_copy_look_ahead((void *)to, (void *)from, share * unit);
	if (!split_guard_copy(h->area, (void *)to, (void *)from, share * unit, &team->revoked, job))
		helper_account(h, share * unit, clock_ns() - start_ns);
	else
		helper_revoked(h, start_ns);
	atomic_store_explicit(&h->holding, 0, memory_order_release);
	return 1;
}

/* What the time awake was like: was the core there when it was wanted? */
static void helper_judge(struct split_helper *h, uint64_t now_ns)
{
	uint64_t awake_ns = now_ns - h->awake_since_ns;
	uint64_t cpu_ns = helper_cpu_ns() - h->awake_cpu_ns;
	uint64_t worked_ns = atomic_load_explicit(&h->worked_ns, memory_order_relaxed);
	uint32_t useless = atomic_load_explicit(&h->team->useless, memory_order_relaxed);

	if (worked_ns - h->awake_worked_ns > TEAM_USEFUL_NS)
		useless = 0;
	else if (useless < TEAM_USELESS_MAX)
		useless++;
	atomic_store_explicit(&h->team->useless, useless, memory_order_relaxed);
	if (awake_ns > cpu_ns + awake_ns / 8 + TEAM_LOST_NS) {
		h->good_ns = 0;
		split_contended(h->team, SPLIT_LOST, now_ns);
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
	h->awake_worked_ns = atomic_load_explicit(&h->worked_ns, memory_order_relaxed);
	h->credit_ns = TEAM_SPIN_FIRST_NS;
	if (late_ns > TEAM_LATE_NS) {
		split_contended(team, SPLIT_LATE, now_ns);
		late_ns = TEAM_LATE_NS;
	}
	if (late_ns)
		atomic_store_explicit(&team->call_ns, (smooth * 3 + late_ns) / 4,
				      memory_order_relaxed);
}

/* A helper on the owner's core takes its time away; it has no business there. The scheduler may
 * have been mistaken once; twice in a row there is no other core. */
static int helper_is_in_the_way(struct split_helper *h)
{
	if (split_guard_core(h->area) !=
	    atomic_load_explicit(&h->team->owner_core, memory_order_relaxed))
		return 0;
	if (h->in_the_way)
		split_contended(h->team, SPLIT_IN_WAY, clock_ns());
	h->in_the_way = 1;
	return 1;
}

/* Works and spins until there is no reason to. */
static void helper_serve(struct split_helper *h)
{
	struct split_team *team = h->team;
	uint64_t now_ns, idle_ns = clock_ns();

	while (!atomic_load_explicit(&team->stop, memory_order_relaxed)) {
		if (helper_is_in_the_way(h))
			return;
		if (helper_take(h)) {
			h->in_the_way = 0;
			idle_ns = clock_ns();
			continue;
		}
		split_pause();
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

void *split_helper_main(void *arg)
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
		/* Who publishes a job now and sees this helper awake gets no help: that is all. */
		atomic_store(&h->awake, 0);
		while (!atomic_load(&h->awake) && !atomic_load(&team->stop))
			helper_futex(&h->awake, FUTEX_WAIT, 0);
	}
	return NULL;
}
