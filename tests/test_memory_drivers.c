/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_memory_drivers.c: memcpy, nt, split and fill against the C library, on random sizes and
 * alignments, with guard bytes around; and what is special about split: pieces that are taken
 * back, a core that somebody else wants, a thread that sleeps and ends. Drivers are called through
 * their ops tables, with a host made here.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/mem_copy.h"
#include "drivers/split_guard.h"
#include "drivers/split_team.h"
#include "taio.h"
#include "util/clock.h"

#define GUARD 256u
#define MIB   (1u << 20)

/* ThreadSanitizer looks at each byte of a copy, and learns nothing more from the next thousand. */
#ifdef __SANITIZE_THREAD__
#define ROUNDS(n) ((n) / 15)
#else
#define ROUNDS(n) (n)
#endif

/* ---- a host, a device, a step ----------------------------------------------------------------- */

static struct taio_host host_make(void)
{
	struct taio_host host = { .now_ns = clock_ns, .cores = 2, .requests = 16 };

	return host;
}

static void device_open(struct taio_device *dev, const struct taio_driver *driver,
			struct taio_host *host)
{
	memset(dev, 0, sizeof(*dev));
	dev->driver = driver;
	dev->host = host;
	if (driver->probe)
		cr_assert_eq(driver->probe(dev), 0, "%s: %s", driver->name, dev->reason);
	if (driver->open)
		cr_assert_eq(driver->open(dev), 0, "%s: %s", driver->name, dev->reason);
}

static void device_close(struct taio_device *dev)
{
	if (dev->driver->close)
		dev->driver->close(dev);
}

static struct taio_step step_make(void *to, const void *from, size_t len)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .len = len };

	step.from.kind = from ? TAIO_KIND_MEM : TAIO_KIND_ZERO;
	step.from.fd = step.from.fixed = -1;
	step.from.ptr = (void *)(uintptr_t)from;
	step.to.kind = TAIO_KIND_MEM;
	step.to.fd = step.to.fixed = -1;
	step.to.ptr = to;
	return step;
}

static int can_split(void)
{
	const char *why;

	if (!split_guard_probe(&why) && sysconf(_SC_NPROCESSORS_ONLN) > 1)
		return 1;
	fprintf(stderr, "# skipped: split copies need two cores and rseq\n");
	return 0;
}

/* ---- random copies ---------------------------------------------------------------------------- */

struct random_copy {
	unsigned int seed;
	uint8_t *from, *to, *expected;
	size_t room;
};

static void random_open(struct random_copy *r, size_t largest)
{
	r->seed = (unsigned int)time(NULL) ^ (unsigned int)getpid();
	fprintf(stderr, "# seed %u\n", r->seed);
	r->room = largest + 2 * GUARD + 4096;
	r->from = aligned_alloc(4096, (r->room + 4095) & ~(size_t)4095);
	r->to = aligned_alloc(4096, (r->room + 4095) & ~(size_t)4095);
	r->expected = malloc(r->room);
	cr_assert(r->from && r->to && r->expected);
	for (size_t i = 0; i < r->room; i++)
		r->from[i] = (uint8_t)rand_r(&r->seed);
}

static void random_close(struct random_copy *r)
{
	free(r->from);
	free(r->to);
	free(r->expected);
}

static size_t random_len(struct random_copy *r, size_t least, size_t largest)
{
	static const size_t edges[] = { 0,    1,    63,   64,   65,   127,  128,   129,   2047,
					2048, 2175, 2176, 4095, 4096, 4097, 32768, 65535, 65536 };
	size_t len;

	switch (rand_r(&r->seed) % 3) {
	case 0:
		len = edges[(size_t)rand_r(&r->seed) % (sizeof(edges) / sizeof(*edges))];
		break;
	case 1:
		len = (size_t)rand_r(&r->seed) % 5000;
		break;
	default:
		len = (size_t)rand_r(&r->seed) % (largest + 1);
	}
	if (len < least)
		len += least;
	return len < largest ? len : largest;
}

/* One copy (or fill, if @zero) by @run; everything outside must stay as it was. */
static void random_one(struct random_copy *r, size_t len, int zero,
		       void (*run)(void *arg, void *to, const void *from, size_t len), void *arg)
{
	size_t to_at = GUARD + (size_t)rand_r(&r->seed) % 128;
	size_t from_at = GUARD + (size_t)rand_r(&r->seed) % 128;
	uint8_t mark = (uint8_t)(1 + rand_r(&r->seed) % 255);
	size_t shown = to_at + len + GUARD;

	memset(r->to, mark, shown);
	memset(r->expected, mark, shown);
	if (zero)
		memset(r->expected + to_at, 0, len);
	else
		memcpy(r->expected + to_at, r->from + from_at, len);
	run(arg, r->to + to_at, zero ? NULL : r->from + from_at, len);
	if (memcmp(r->to, r->expected, shown))
		for (size_t i = 0; i < shown; i++)
			cr_assert_eq(r->to[i], r->expected[i],
				     "byte %zd of %zu, alignments %zu from %zu",
				     (ssize_t)(i - to_at), len, to_at % 128, from_at % 128);
}

static void run_device(void *arg, void *to, const void *from, size_t len)
{
	struct taio_device *dev = arg;
	struct taio_step step = step_make(to, from, len);

	if (dev->driver->fits)
		dev->driver->fits(dev, &step); /* the answer does not matter here */
	cr_assert_eq(dev->driver->run(dev, &step), (int64_t)len);
}

static void check_device(const struct taio_driver *driver, size_t largest, int rounds)
{
	struct taio_host host = host_make();
	struct random_copy r;
	struct taio_device dev;

	device_open(&dev, driver, &host);
	random_open(&r, largest);
	for (int i = 0; i < rounds; i++)
		random_one(&r, random_len(&r, driver->caps->min, largest),
			   driver == &taio_driver_fill, run_device, &dev);
	random_close(&r);
	device_close(&dev);
}

Test(memory, memcpy_copies_exactly_what_was_asked)
{
	check_device(&taio_driver_memcpy, MIB, ROUNDS(1500));
}

Test(memory, nt_copies_exactly_what_was_asked)
{
	check_device(&taio_driver_nt, 3 * MIB, ROUNDS(1500));
}

Test(memory, fill_clears_exactly_what_was_asked)
{
	check_device(&taio_driver_fill, 9 * MIB, ROUNDS(300));
}

Test(memory, fill_of_cold_memory_clears_exactly_what_was_asked)
{
	struct taio_host host = host_make();
	struct taio_device dev;
	uint8_t memory[3 * 8192];

	device_open(&dev, &taio_driver_fill, &host);
	for (size_t len = 4096; len < 8192; len += 131) {
		struct taio_step step = step_make(memory + 8192 + len % 128, NULL, len);

		memset(memory, 0xee, sizeof(memory));
		step.to.flags = TAIO_END_COLD;
		cr_assert_eq(taio_driver_fill.run(&dev, &step), (int64_t)len);
		for (size_t i = 0; i < sizeof(memory); i++) {
			int inside = i >= 8192 + len % 128 && i < 8192 + len % 128 + len;

			cr_assert_eq(memory[i], inside ? 0 : 0xee, "byte %zu, length %zu", i, len);
		}
	}
	device_close(&dev);
}

Test(memory, split_copies_exactly_what_was_asked)
{
	if (can_split())
		check_device(&taio_driver_split, 5 * MIB, ROUNDS(600));
}

static void run_variant(void *arg, void *to, const void *from, size_t len)
{
	const struct mem_copy *mem = arg;

	if (from)
		mem->copy(to, from, len);
	else
		mem->zero(to, len);
}

Test(memory, every_instruction_set_of_this_processor_copies_and_clears)
{
	const struct mem_copy *list[MEM_COPY_VARIANTS];
	struct random_copy r;

	mem_copy_list(list);
	random_open(&r, 200000);
	for (int i = 0; list[i]; i++) {
		fprintf(stderr, "# %s\n", list[i]->name);
		for (int k = 0; k < 1000; k++)
			random_one(&r, random_len(&r, 0, 200000), k & 1, run_variant,
				   (void *)(uintptr_t)list[i]);
	}
	random_close(&r);
}

/* ---- split: availability ---------------------------------------------------------------------- */

Test(split, is_not_offered_where_it_cannot_or_must_not_run)
{
	struct taio_host host = host_make();
	struct taio_device dev = { .driver = &taio_driver_split, .host = &host };

	host.cores = 1;
	cr_assert_eq(taio_driver_split.probe(&dev), -ENODEV);
	cr_assert(strstr(dev.reason, "core"), "%s", dev.reason);
	host.cores = 2;
	host.engine_flags = TAIO_NO_WORKERS;
	cr_assert_eq(taio_driver_split.probe(&dev), -EPERM);
	cr_assert(strstr(dev.reason, "thread"), "%s", dev.reason);
	cr_assert_eq(taio_driver_split.open(&dev), -EPERM);
}

/* Helper threads of this process, by their name. */
static int helper_threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int n = 0;

	cr_assert_not_null(dir);
	while ((entry = readdir(dir))) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		n += fgets(name, sizeof(name), f) && !strcmp(name, "taio-split\n");
		fclose(f);
	}
	closedir(dir);
	return n;
}

/* ---- split: a team of its own ------------------------------------------------------------------ */

struct work {
	struct split_team *team;
	uint8_t *from, *to;
	size_t size;
	uint64_t offered, helped, revoked;
};

static void work_open(struct work *w, unsigned int helpers, size_t size)
{
	memset(w, 0, sizeof(*w));
	w->size = size;
	w->from = aligned_alloc(4096, size);
	w->to = aligned_alloc(4096, size);
	cr_assert(w->from && w->to);
	for (size_t i = 0; i < size; i += 8)
		memcpy(w->from + i, &(uint64_t){ i * 0x9e3779b97f4a7c15ull + 1 }, 8);
	memset(w->to, 0, size);
	cr_assert_eq(split_team_open(&w->team, helpers), 0);
}

static void work_close(struct work *w)
{
	split_team_close(w->team);
	free(w->from);
	free(w->to);
}

static void work_once(struct work *w, size_t len)
{
	struct split_done done;

	memset(w->to, 0, len);
	w->offered += (uint64_t)split_team_ready(w->team, len);
	split_team_copy(w->team, w->to, w->from, len, &done);
	w->helped += done.helper_bytes > 0;
	w->revoked += done.revoked;
	cr_assert_eq(memcmp(w->to, w->from, len), 0, "wrong bytes, length %zu", len);
}

static uint64_t work_contentions(struct work *w)
{
	struct split_state state;
	uint64_t sum = 0;

	split_team_state(w->team, &state);
	for (int i = 0; i < SPLIT_CONTENTION_COUNT; i++)
		sum += state.contentions[i];
	return sum;
}

/* Copies until a helper thread is there and has worked once, at most ten seconds: others may have
 * the cores. Return: whether it has. */
static int work_warm(struct work *w)
{
	uint64_t end = clock_ns() + 10000000000ull;
	struct split_state state;

	while (!w->helped && clock_ns() < end) {
		work_once(w, w->size);
		split_team_state(w->team, &state);
		if (state.contended)
			usleep(50000);
	}
	return w->helped > 0;
}

static uint32_t work_awake(struct work *w)
{
	struct split_state state;

	split_team_state(w->team, &state);
	return state.awake;
}

Test(split, starts_no_thread_for_little_work)
{
	struct split_state state;
	struct work w;

	if (!can_split())
		return;
	work_open(&w, 1, MIB);
	for (int i = 0; i < 15; i++)
		work_once(&w, MIB);
	split_team_state(w.team, &state);
	cr_assert_eq(state.started, 0);
	cr_assert_eq(w.offered, 0);
	cr_assert_eq(helper_threads(), 0);
	work_close(&w);
}

Test(split, a_helper_does_a_part_of_the_work)
{
	struct work w;

	if (!can_split())
		return;
	work_open(&w, 1, 8 * MIB);
	if (!work_warm(&w)) {
		cr_assert_gt(work_contentions(&w), 0, "no helper, and nobody in its way");
		fprintf(stderr, "# skipped: others use all cores of this machine\n");
	}
	work_close(&w);
}

Test(split, more_helpers_than_cores_still_copy_every_byte_once)
{
	struct work w;

	if (!can_split())
		return;
	work_open(&w, SPLIT_HELPERS, 6 * MIB);
	for (int i = 0; i < 150; i++)
		work_once(&w, 6 * MIB - (size_t)i * 4099);
	work_close(&w);
}

Test(split, unequal_ends_beside_the_units_are_copied_too)
{
	struct work w;

	if (!can_split())
		return;
	work_open(&w, 1, 4 * MIB);
	work_warm(&w);
	for (size_t len = SPLIT_MIN; len < SPLIT_MIN + 5000; len += 61) {
		struct split_done done;
		size_t at = len % 97;

		memset(w.to, 0, len + 200);
		split_team_ready(w.team, len);
		split_team_copy(w.team, w.to + at, w.from + 3, len, &done);
		cr_assert_eq(memcmp(w.to + at, w.from + 3, len), 0, "length %zu", len);
		cr_assert_eq(w.to[at + len], 0, "length %zu", len);
		cr_assert(!at || !w.to[at - 1], "length %zu", len);
	}
	work_close(&w);
}

Test(split, a_helper_falls_asleep_when_nobody_copies)
{
	struct rusage before, after;
	struct work w;
	int64_t us;

	if (!can_split())
		return;
	work_open(&w, 1, 8 * MIB);
	work_warm(&w);
	for (int i = 0; i < 200 && work_awake(&w); i++)
		usleep(5000);
	cr_assert_eq(work_awake(&w), 0, "it is still awake after a second");
	getrusage(RUSAGE_SELF, &before);
	usleep(300000);
	getrusage(RUSAGE_SELF, &after);
	us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000ll + after.ru_utime.tv_usec -
	     before.ru_utime.tv_usec;
	cr_assert_lt(us, 30000, "%lld us of processor time while nobody copied", (long long)us);
	work_close(&w);
}

Test(split, closing_ends_helpers_asleep_or_spinning)
{
	int left = 1, seen = 0;

	if (!can_split())
		return;
	for (int i = 0; i < 6; i++) {
		struct work w;

		work_open(&w, 1, 8 * MIB);
		seen += work_warm(&w) && helper_threads() == 1;
		if (i & 1)
			usleep(20000); /* asleep; else it spins or works */
		work_close(&w);
	}
	/* A thread that was joined may be seen in /proc for a moment longer. */
	for (int i = 0; i < 200 && left; i++) {
		left = helper_threads();
		if (left)
			usleep(5000);
	}
	cr_assert_eq(left, 0);
	if (!seen)
		fprintf(stderr, "# weak: no helper ever came, others use all cores\n");
}

/* ---- split: a core that others want ------------------------------------------------------------ */

static _Atomic int spin_stop;

static void *spin(void *arg)
{
	(void)arg;
	while (!atomic_load_explicit(&spin_stop, memory_order_relaxed))
		;
	return NULL;
}

/* A thread that does nothing but be there, pinned to each core but @spare. */
static int spin_start(pthread_t *threads, int max, int spare)
{
	cpu_set_t allowed, one;
	int n = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	atomic_store(&spin_stop, 0);
	for (int core = 0; core < CPU_SETSIZE && n < max; core++) {
		pthread_attr_t attr;

		if (core == spare || !CPU_ISSET(core, &allowed))
			continue;
		CPU_ZERO(&one);
		CPU_SET(core, &one);
		pthread_attr_init(&attr);
		pthread_attr_setaffinity_np(&attr, sizeof(one), &one);
		cr_assert_eq(pthread_create(&threads[n++], &attr, spin, NULL), 0);
		pthread_attr_destroy(&attr);
	}
	return n;
}

static void spin_end(const pthread_t *threads, int n)
{
	atomic_store(&spin_stop, 1);
	while (n)
		pthread_join(threads[--n], NULL);
}

Test(split, is_withdrawn_while_others_use_the_cores_and_comes_back)
{
	struct split_state state;
	pthread_t threads[64];
	struct work w;
	uint64_t end;
	int n;

	if (!can_split())
		return;
	work_open(&w, 1, 8 * MIB);
	work_warm(&w);
	n = spin_start(threads, 64, sched_getcpu());
	end = clock_ns() + 20000000000ull;
	do {
		work_once(&w, w.size);
		split_team_state(w.team, &state);
	} while (!state.contended && clock_ns() < end);
	cr_assert(state.contended, "contention was not noticed in 20 s");
	fprintf(stderr, "# late %lu, in the way %lu, lost %lu, absent %lu, revoked %lu\n",
		(unsigned long)state.contentions[SPLIT_LATE],
		(unsigned long)state.contentions[SPLIT_IN_WAY],
		(unsigned long)state.contentions[SPLIT_LOST],
		(unsigned long)state.contentions[SPLIT_ABSENT],
		(unsigned long)state.contentions[SPLIT_REVOKED]);
	cr_assert_eq(split_team_ready(w.team, w.size), 0);
	cr_assert_eq(split_team_ready(w.team, SPLIT_MIN), 0);
	cr_assert_geq(state.backoff_ms, 2000);
	spin_end(threads, n);
	end = clock_ns() + 40000000000ull;
	while (!split_team_ready(w.team, w.size) && clock_ns() < end)
		usleep(10000);
	cr_assert(split_team_ready(w.team, w.size), "it did not come back");
	for (int i = 0; i < 20; i++)
		work_once(&w, w.size);
	work_close(&w);
}

/* ---- split: what was taken back ---------------------------------------------------------------- */

struct guarded {
	_Atomic uint64_t revoked, job, finished;
	_Atomic int ready, stop;
	uint8_t *to, *from;
	size_t size;
	uint64_t cancelled;
};

static void *guarded_main(void *arg)
{
	struct guarded *g = arg;
	void *area = split_guard_area();
	uint64_t job, last = 0;

	cr_assert_eq(split_guard_register(), 0);
	atomic_store(&g->ready, 1);
	while (!atomic_load(&g->stop)) {
		job = atomic_load(&g->job);
		if (job == last)
			continue;
		last = job;
		if (split_guard_copy(area, g->to, g->from, g->size, &g->revoked, job))
			g->cancelled++;
		atomic_store(&g->finished, job);
	}
	return NULL;
}

Test(split, nothing_is_written_after_a_piece_was_taken_back)
{
	struct guarded g = { .size = 4 * MIB };
	unsigned int seed = (unsigned int)getpid();
	pthread_t thread;

	if (!can_split())
		return;
	fprintf(stderr, "# seed %u\n", seed);
	g.to = aligned_alloc(4096, g.size);
	g.from = aligned_alloc(4096, g.size);
	cr_assert(g.to && g.from);
	memset(g.from, 0xaa, g.size);
	memset(g.to, 0, g.size);
	cr_assert_eq(pthread_create(&thread, NULL, guarded_main, &g), 0);
	while (!atomic_load(&g.ready))
		usleep(100);
	for (uint64_t job = 1; job <= 400; job++) {
		uint64_t until = (uint64_t)(rand_r(&seed) % 100000);

		memset(g.to, 0, 64);
		atomic_store(&g.job, job);
		while (*(volatile uint8_t *)g.to != 0xaa)
			; /* not before it has begun */
		until += clock_ns();
		while (clock_ns() < until)
			;
		cr_assert_eq(split_guard_revoke(&g.revoked, job), 0);
		memset(g.to, 0xbb, g.size);
		while (atomic_load(&g.finished) != job)
			;
		for (size_t i = 0; i < g.size; i += 64)
			cr_assert_eq(g.to[i], 0xbb, "job %lu wrote byte %zu after its end",
				     (unsigned long)job, i);
	}
	atomic_store(&g.stop, 1);
	pthread_join(thread, NULL);
	fprintf(stderr, "# %lu of 400 were taken back in the middle\n", (unsigned long)g.cancelled);
	cr_assert_gt(g.cancelled, 0);
	free(g.to);
	free(g.from);
}

Test(split, a_copy_that_was_revoked_before_it_began_touches_nothing)
{
	_Atomic uint64_t revoked = 7;
	_Alignas(64) uint8_t to[256], from[256];

	if (!can_split())
		return;
	memset(to, 1, sizeof(to));
	memset(from, 2, sizeof(from));
	cr_assert_eq(split_guard_copy(split_guard_area(), to, from, 256, &revoked, 7), -ECANCELED);
	cr_assert_eq(to[0], 1);
	cr_assert_eq(to[255], 1);
	cr_assert_eq(split_guard_copy(split_guard_area(), to, from, 256, &revoked, 8), 0);
	cr_assert_eq(memcmp(to, from, 256), 0);
}

Test(split, guarded_copies_of_every_length_are_exact)
{
	size_t largest = 6144;
	_Atomic uint64_t revoked = 0;
	uint8_t *to = aligned_alloc(64, largest + 128), *from = malloc(largest + 64);

	cr_assert(to && from);
	for (size_t i = 0; i < largest + 64; i++)
		from[i] = (uint8_t)(i * 31 + i / 256);
	for (size_t len = SPLIT_GUARD_ALIGN; can_split() && len <= largest;
	     len += SPLIT_GUARD_ALIGN) {
		size_t at = len / SPLIT_GUARD_ALIGN % 64;

		memset(to, 0x77, largest + 128);
		cr_assert_eq(split_guard_copy(split_guard_area(), to, from + at, len, &revoked, 1),
			     0);
		cr_assert_eq(memcmp(to, from + at, len), 0, "length %zu", len);
		cr_assert_eq(to[len], 0x77, "length %zu", len);
	}
	free(to);
	free(from);
}

/* ---- split: faults ----------------------------------------------------------------------------- */

static uint8_t *fault_base;
static size_t fault_size;
static _Atomic int faults;
static bool fault_holds; /* threads other than the main one, until they are released */
static _Atomic int fault_held, fault_released, fault_waited_for;

static void fault_serve(int sig, siginfo_t *info, void *context)
{
	uint8_t *page = (uint8_t *)((uintptr_t)info->si_addr & ~(uintptr_t)4095);

	(void)context;
	if (page < fault_base || page >= fault_base + fault_size ||
	    mprotect(page, 4096, PROT_READ | PROT_WRITE)) {
		signal(sig, SIG_DFL);
		return;
	}
	atomic_fetch_add(&faults, 1);
	if (!fault_holds || gettid() == getpid())
		return;
	atomic_fetch_add(&fault_held, 1);
	for (int i = 0; !atomic_load(&fault_released); i++) {
		if (i == 20000) { /* 20 s and more: the copy waits for this very thread */
			atomic_store(&fault_waited_for, 1);
			break;
		}
		usleep(1000);
	}
	atomic_fetch_sub(&fault_held, 1);
}

static void fault_open(struct work *w, bool holds)
{
	struct sigaction action = { .sa_sigaction = fault_serve, .sa_flags = SA_SIGINFO };

	sigemptyset(&action.sa_mask);
	cr_assert_eq(sigaction(SIGSEGV, &action, NULL), 0);
	fault_holds = holds;
	fault_size = w->size;
	fault_base =
		mmap(NULL, fault_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(fault_base, MAP_FAILED);
}

/* Lets the held go on, and waits until they do. */
static void fault_release(void)
{
	atomic_store(&fault_released, 1);
	while (atomic_load(&fault_held))
		usleep(1000);
	atomic_store(&fault_released, 0);
}

static void fault_close(void)
{
	signal(SIGSEGV, SIG_DFL);
	munmap(fault_base, fault_size);
}

Test(split, a_fault_handler_of_the_program_serves_helpers_too)
{
	struct split_done done;
	struct work w;

	if (!can_split())
		return;
	work_open(&w, 1, 8 * MIB);
	work_warm(&w);
	fault_open(&w, false);
	cr_assert_eq(mprotect(fault_base, fault_size, PROT_NONE), 0);
	split_team_ready(w.team, w.size);
	split_team_copy(w.team, fault_base, w.from, w.size, &done);
	cr_assert_eq(memcmp(fault_base, w.from, w.size), 0);
	cr_assert_geq(atomic_load(&faults), (int)(fault_size / 4096));
	fault_close();
	work_close(&w);
}

/* The fault handler holds the helper up in the middle of a piece, as another program that gets its
 * core would. */
Test(split, a_helper_that_is_held_up_in_a_piece_does_not_hold_up_the_copy)
{
	struct split_done done = { 0 };
	uint64_t end = clock_ns() + 40000000000ull;
	struct work w;
	int held = 0;

	if (!can_split())
		return;
	work_open(&w, 1, 8 * MIB);
	fault_open(&w, true);
	while (!held && clock_ns() < end) {
		if (work_contentions(&w)) { /* a new team does not wait for the end of that */
			split_team_close(w.team);
			cr_assert_eq(split_team_open(&w.team, 1), 0);
		}
		memset(fault_base, 0x33, fault_size);
		cr_assert_eq(mprotect(fault_base + fault_size - MIB, MIB, PROT_NONE), 0);
		split_team_ready(w.team, w.size);
		split_team_copy(w.team, fault_base, w.from, w.size, &done);
		held = atomic_load(&fault_held);
		cr_assert_eq(memcmp(fault_base, w.from, w.size), 0);
		cr_assert_eq(atomic_load(&fault_waited_for), 0, "the copy waited for the helper");
		if (!held)
			fault_release();
	}
	if (held) {
		cr_assert(done.revoked, "it says that nothing was taken back");
		cr_assert_eq(split_team_ready(w.team, w.size), 0, "still offered");
		/* What the helper still has in hand must not reach memory that is used again. */
		memset(fault_base, 0x44, fault_size);
		fault_release();
		usleep(50000);
		for (size_t i = 0; i < fault_size; i++)
			cr_assert_eq(fault_base[i], 0x44, "byte %zu was written after the end", i);
	} else {
		fprintf(stderr, "# skipped: no helper got a core in 40 s\n");
	}
	fault_close();
	work_close(&w);
}
