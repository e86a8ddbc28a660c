/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_memory.c: is taio_memcpy() ever slower than memcpy(3), and where is it faster? 64 bytes to
 * 64 MiB, hot (the same two buffers) and cold (random places in a 1 GiB arena), while the second
 * core is idle and while another process uses it. The drivers nt and split are shown too, split as
 * an engine uses it: where it says that it does not fit, nt copies.
 *
 * The routes take turns many times in each cell. ns_mean is the median over the turns of the mean
 * of a turn, ratio_vs_memcpy the median of memcpy's turn divided by the turn that followed it,
 * ns_p99 is over all single copies (below 4 KiB: over groups of copies, divided).
 *
 * usage: bench_memory [--quick] [--table]     JSON lines on stdout; --table: tables on stderr
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#include "drivers/drivers.h"
#include "lib.h"
#include "util/clock.h"
#include "util/memroute.h"

#define ARENA       ((size_t)1 << 30)
#define SAMPLES_MAX 20000u
#define SIZES_MAX   16u
#define TAIL_MIN    300u /* samples that make a 99th percentile */

#define FIRST_ROUNDS 15

enum route {
	ROUTE_MEMCPY,
	ROUTE_NT,
	ROUTE_SPLIT,
	ROUTE_TAIO,
	ROUTE_COUNT
};
static const char *const route_names[ROUTE_COUNT] = { "memcpy", "nt", "split", "taio" };

struct bench {
	char *arena;
	uint64_t random;
	struct taio *engine;
	struct taio_host host;
	struct taio_device nt, split;
	bool has_nt, has_split;
	_Atomic int *busy; /* shared with the process that uses the second core */
	pid_t load;
	uint64_t cell_ns; /* time for one cell */
};

struct cell {
	size_t bytes;
	bool cold, busy;
	unsigned int group; /* copies in one sample */
	unsigned int turn;  /* samples in one turn */
	double ns_mean[ROUTE_COUNT], ns_p99[ROUTE_COUNT], ratio[ROUTE_COUNT];
	unsigned int samples; /* of taio */
	double split_share;
};

/* ---- the other process ------------------------------------------------------------------------ */

/* Forked before there is an arena: copy-on-write faults are not what is measured. */
static void load_start(struct bench *b)
{
	cpu_set_t allowed, one;
	int last = -1;

	b->busy = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (b->busy == MAP_FAILED)
		bench_die("mmap");
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		bench_die("sched_getaffinity");
	b->load = fork();
	if (b->load < 0)
		bench_die("fork");
	if (b->load)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* One such process stands for a busy second core of two; on larger machines it is a core
	 * that the helper can avoid. */
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &allowed))
			last = i;
	CPU_ZERO(&one);
	CPU_SET(last, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (;;)
		if (!atomic_load_explicit(b->busy, memory_order_relaxed))
			usleep(1000);
}

static void load_set(struct bench *b, bool busy)
{
	atomic_store(b->busy, busy);
	usleep(busy ? 50000 : 5000);
}

static void load_stop(struct bench *b)
{
	kill(b->load, SIGKILL);
	waitpid(b->load, NULL, 0);
}

/* ---- routes ----------------------------------------------------------------------------------- */

static bool device_open(struct bench *b, struct taio_device *dev, const struct taio_driver *driver)
{
	dev->driver = driver;
	dev->host = &b->host;
	if ((!driver->probe || !driver->probe(dev)) && (!driver->open || !driver->open(dev)))
		return true;
	fprintf(stderr, "bench_memory: no %s: %s\n", driver->name, dev->reason);
	return false;
}

static void bench_open(struct bench *b)
{
	struct taio_engine_options options = {
		.size = sizeof(options),
		.flags = TAIO_NO_BPF | TAIO_NO_CONTROL | TAIO_NO_CACHE | TAIO_NO_URING,
	};
	cpu_set_t allowed;

	load_start(b);
	b->random = 88172645463325252u;
	b->arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (b->arena == MAP_FAILED)
		bench_die("mmap of 1 GiB");
	memset(b->arena, 1, ARENA);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	b->host.now_ns = clock_ns;
	b->host.cores = (uint32_t)CPU_COUNT(&allowed);
	b->has_nt = device_open(b, &b->nt, &taio_driver_nt);
	b->has_split = b->has_nt && device_open(b, &b->split, &taio_driver_split);
	if (taio_open(&b->engine, &options))
		bench_die("taio_open");
}

static void bench_close(struct bench *b)
{
	taio_close(b->engine);
	if (b->has_split)
		taio_driver_split.close(&b->split);
	munmap(b->arena, ARENA);
	load_stop(b);
}

static bool route_is_there(const struct bench *b, const struct cell *c, enum route route)
{
	if (route == ROUTE_NT)
		return b->has_nt && c->bytes >= taio_driver_nt.caps->min;
	if (route == ROUTE_SPLIT)
		return b->has_split && c->bytes >= taio_driver_split.caps->min;
	return true;
}

/* Return: whether it was split. */
static bool route_copy(struct bench *b, enum route route, char *to, const char *from, size_t len)
{
	struct taio_step step;
	bool split = false;

	switch (route) {
	case ROUTE_MEMCPY:
		memcpy(to, from, len);
		break;
	case ROUTE_TAIO:
		taio_memcpy(b->engine, to, from, len);
		break;
	default:
		memset(&step, 0, sizeof(step));
		step.op = TAIO_OP_COPY;
		step.from.kind = step.to.kind = TAIO_KIND_MEM;
		step.from.ptr = (char *)(uintptr_t)from;
		step.to.ptr = to;
		step.len = len;
		split = route == ROUTE_SPLIT && taio_driver_split.fits(&b->split, &step);
		if (split)
			taio_driver_split.run(&b->split, &step);
		else
			taio_driver_nt.run(&b->nt, &step);
	}
	__asm__ volatile("" : : "r"(to) : "memory");
	return split;
}

/* ---- cells ------------------------------------------------------------------------------------ */

static size_t bench_random(struct bench *b, size_t below)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random % below;
}

/* Where the next copy goes from and to. */
static void cell_place(struct bench *b, const struct cell *c, char **to, char **from)
{
	size_t half = ARENA / 2;

	if (c->cold) {
		*from = b->arena + (bench_random(b, half - c->bytes) & ~(size_t)63);
		*to = b->arena + half + (bench_random(b, half - c->bytes) & ~(size_t)63);
		if (b->random & 1) { /* both halves are source and destination */
			char *swap = *to;

			*to = *from;
			*from = swap;
		}
	} else {
		*from = b->arena;
		*to = b->arena + half + 2048;
	}
}

struct samples {
	double *ns; /* SAMPLES_MAX */
	unsigned int count;
	struct bench_series mean, ratio;
	uint64_t copies, split;
};

static double cell_turn(struct bench *b, const struct cell *c, enum route route, struct samples *s)
{
	char *to, *from;
	double sum = 0;

	if (!c->cold) { /* the last route may have left the destination outside the cache */
		cell_place(b, c, &to, &from);
		memcpy(to, from, c->bytes);
		route_copy(b, route, to, from, c->bytes);
		memcpy(to, from, c->bytes);
	}
	for (unsigned int i = 0; i < c->turn; i++) {
		uint64_t start;
		double ns;

		cell_place(b, c, &to, &from);
		start = clock_ns();
		for (unsigned int k = 0; k < c->group; k++) {
			s->split += route_copy(b, route, to, from, c->bytes);
			if (k + 1 < c->group && c->cold)
				cell_place(b, c, &to, &from);
		}
		ns = (double)(clock_ns() - start) / c->group;
		sum += ns;
		if (s->count < SAMPLES_MAX)
			s->ns[s->count++] = ns;
	}
	s->copies += (uint64_t)c->turn * c->group;
	return sum / c->turn;
}

static int cell_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void cell_run(struct bench *b, struct cell *c)
{
	static struct samples all[ROUTE_COUNT];
	uint64_t end;

	c->group = c->bytes < 4096 ? 64 : 1;
	c->turn = c->bytes <= (64u << 10)     ? 64
		  : c->bytes <= (1024u << 10) ? 16
		  : c->bytes <= (4096u << 10) ? 4
					      : 1;
	for (int r = 0; r < ROUTE_COUNT; r++) {
		double *ns = all[r].ns ? all[r].ns : malloc(SAMPLES_MAX * sizeof(*ns));

		memset(&all[r], 0, sizeof(all[r]));
		all[r].ns = ns;
		if (!ns)
			bench_die("malloc");
	}
	end = clock_ns() + b->cell_ns;
	for (unsigned int turn = 0; turn < BENCH_ROUNDS_MAX && (turn < 5 || clock_ns() < end);
	     turn++) {
		double base = 0;

		for (int r = 0; r < ROUTE_COUNT; r++) {
			double mean;

			if (!route_is_there(b, c, r))
				continue;
			/* each is compared with the memcpy next to it */
			if (r != ROUTE_MEMCPY || turn == 0)
				base = cell_turn(b, c, ROUTE_MEMCPY, &all[ROUTE_MEMCPY]);
			if (r == ROUTE_MEMCPY) {
				bench_add(&all[r].mean, base);
				bench_add(&all[r].ratio, 1);
				continue;
			}
			mean = cell_turn(b, c, r, &all[r]);
			bench_add(&all[ROUTE_MEMCPY].mean, base);
			bench_add(&all[r].mean, mean);
			bench_add(&all[r].ratio, base / mean);
		}
	}
	for (int r = 0; r < ROUTE_COUNT; r++) {
		struct samples *s = &all[r];

		if (!s->count)
			continue;
		qsort(s->ns, s->count, sizeof(*s->ns), cell_compare);
		c->ns_mean[r] = bench_median(&s->mean);
		c->ns_p99[r] = s->ns[(size_t)s->count * 99 / 100];
		c->ratio[r] = bench_median(&s->ratio);
	}
	c->samples = all[ROUTE_TAIO].count;
	if (all[ROUTE_SPLIT].copies)
		c->split_share = (double)all[ROUTE_SPLIT].split / (double)all[ROUTE_SPLIT].copies;
}

/* ---- output ----------------------------------------------------------------------------------- */

static void cell_print(const struct cell *c)
{
	for (int r = 0; r < ROUTE_COUNT; r++) {
		if (c->ns_mean[r] == 0)
			continue;
		printf("{\"bench\":\"memory\",\"bytes\":%zu,\"cache\":\"%s\",\"second_core\":\"%s\","
		       "\"route\":\"%s\",\"ns_mean\":%.1f,\"ns_p99\":%.1f,"
		       "\"ratio_vs_memcpy\":%.3f,\"split_share\":%.2f}\n",
		       c->bytes, c->cold ? "cold" : "hot", c->busy ? "busy" : "idle",
		       route_names[r], c->ns_mean[r], c->ns_p99[r], c->ratio[r],
		       r == ROUTE_SPLIT ? c->split_share : 0);
	}
	fflush(stdout);
}

static void cell_table(const struct cell *cells, unsigned int count)
{
	char text[24];

	fprintf(stderr, "%-5s %-5s %8s %10s | %-20s | %-20s | %-20s | %s\n", "core", "cache",
		"bytes", "memcpy us", "nt x    p99 us", "split x p99 us  share", "taio x  p99 us",
		"memcpy p99 us");
	for (unsigned int i = 0; i < count; i++) {
		const struct cell *c = &cells[i];

		fprintf(stderr, "%-5s %-5s %8s %10.3f |", c->busy ? "busy" : "idle",
			c->cold ? "cold" : "hot", bench_size(c->bytes, text), c->ns_mean[0] / 1e3);
		for (int r = ROUTE_NT; r < ROUTE_COUNT; r++) {
			if (c->ns_mean[r] == 0) {
				fprintf(stderr, " %20s |", "");
				continue;
			}
			fprintf(stderr, " %4.2f %10.3f", c->ratio[r], c->ns_p99[r] / 1e3);
			if (r == ROUTE_SPLIT)
				fprintf(stderr, " %3.0f%%", 100 * c->split_share);
			fprintf(stderr, "%*s |", r == ROUTE_SPLIT ? 0 : 4, "");
		}
		fprintf(stderr, " %10.3f\n", c->ns_p99[0] / 1e3);
	}
}

static void target_row(const char *what, double value, double target)
{
	printf("{\"bench\":\"memory target\",\"what\":\"%s\",\"value\":%.3f,\"target\":%.2f,"
	       "\"reached\":\"%s\"}\n",
	       what, value, target, value >= target ? "yes" : "no");
}

/* What taio_memcpy() is held to, each as a ratio that shall not be below its target; 3 % are granted
 * for noise. The tail is judged where taio decides anything: below TAIO_MEMCPY_DIRECT it is
 * memcpy(3) itself, and two tails of that differ by 10 % on a machine that others use. */
static void cell_targets(const struct cell *cells, unsigned int count)
{
	double slowest = 1e9, cold = 1e9, tail = 1e9;

	for (unsigned int i = 0; i < count; i++) {
		const struct cell *c = &cells[i];
		double p99 = c->ns_p99[ROUTE_MEMCPY] / c->ns_p99[ROUTE_TAIO];

		if (c->bytes >= 4096 && c->ratio[ROUTE_TAIO] < slowest)
			slowest = c->ratio[ROUTE_TAIO];
		if (c->bytes >= 65536 && c->cold && c->ratio[ROUTE_TAIO] < cold)
			cold = c->ratio[ROUTE_TAIO];
		if (c->bytes >= TAIO_MEMCPY_DIRECT && c->busy && c->samples >= TAIL_MIN &&
		    p99 < tail)
			tail = p99;
	}
	target_row("memcpy time / taio time, worst cell from 4 KiB", slowest, 0.97);
	target_row("memcpy time / taio time, worst cold cell from 64 KiB", cold, 1.3);
	target_row("memcpy p99 / taio p99, worst cell with a busy second core", tail, 0.97);
}

/* The first question about a cache measures what slow means: processor time of that, each time in a
 * process of its own, which must come from one that never asked. */
static double first_question_ns(char *block, size_t size)
{
	struct bench_series series = { .count = 0 };

	for (int i = 0; i < FIRST_ROUNDS; i++) {
		int ends[2];
		double ns = 0;
		pid_t pid;

		if (pipe(ends) || (pid = fork()) < 0)
			bench_die("fork");
		if (!pid) {
			struct timespec before, after;

			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
			(void)mem_is_cold(block, size);
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
			ns = (double)(after.tv_sec - before.tv_sec) * 1e9 +
			     (double)(after.tv_nsec - before.tv_nsec);
			_exit(write(ends[1], &ns, sizeof(ns)) != sizeof(ns));
		}
		close(ends[1]);
		if (read(ends[0], &ns, sizeof(ns)) != sizeof(ns) || waitpid(pid, NULL, 0) != pid)
			bench_die("the first question had no answer");
		close(ends[0]);
		bench_add(&series, ns);
	}
	return bench_median(&series);
}

int main(int argc, char **argv)
{
	static char block[65536] = { 1 };
	static const size_t sizes[] = { 64,     256,      1024,     4096,      16384,    65536,
					262144, 1u << 20, 4u << 20, 16u << 20, 64u << 20 };
	static struct cell cells[4 * SIZES_MAX];
	static struct bench b;
	bool quick = bench_is_quick(argc, argv), table = false;
	unsigned int count = 0;

	for (int i = 1; i < argc; i++)
		table |= !strcmp(argv[i], "--table");
	target_row("50 us / processor time of the first look at the cache in a process",
		   50e3 / first_question_ns(block, sizeof(block)), 1);
	bench_open(&b);
	b.cell_ns = quick ? 450000000 : 1100000000;
	for (int busy = 0; busy < 2; busy++) {
		load_set(&b, busy);
		for (int cold = 0; cold < 2; cold++) {
			for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
				struct cell *c = &cells[count];

				if (quick && (i < 3 || i % 2 == 0))
					continue;
				c->bytes = sizes[i];
				c->cold = cold;
				c->busy = busy;
				cell_run(&b, c);
				cell_print(c);
				count++;
			}
		}
	}
	cell_targets(cells, count);
	if (table)
		cell_table(cells, count);
	bench_close(&b);
	return 0;
}
