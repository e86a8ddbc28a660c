/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_engine.c: what the engine itself costs: a decision from the price table, the accounting of
 * a completion, a whole pointer request beyond its copy, a request with many others in flight,
 * memory per request. Linked against the library's insides.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"
#include "pick/pick.h"

static void engine_row(const char *what, unsigned int n, double value, const char *unit,
		       double target)
{
	printf("{\"bench\":\"engine\",\"what\":\"%s\",\"n\":%u,\"value\":%.2f,\"unit\":\"%s\","
	       "\"target\":%.2f}\n",
	       what, n, value, unit, target);
	fflush(stdout);
}

static void *engine_zero(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("mmap");
	return p;
}

/* @count candidates, all with prices; best of several runs, each a mean over many decisions. */
static void engine_decision(unsigned int count)
{
	struct taio_maps maps = { 0 };
	struct taio_price *price = engine_zero(TAIO_CELLS * sizeof(*price));
	struct taio_engine *side = engine_zero(sizeof(*side));
	struct picker *picker = engine_zero(sizeof(*picker));
	struct pick_candidate candidates[TAIO_SLOTS] = { 0 };
	struct bench_series choose = { 0 }, account = { 0 };
	struct pick_query query = { .bytes = 65536, .now_ns = 1 };
	struct pick_choice choice = { 0 };
	enum {
		LOOPS = 200000
	};

	maps.ctl = engine_zero(sizeof(*maps.ctl));
	maps.ctx = engine_zero(TAIO_CONTEXTS * sizeof(*maps.ctx));
	maps.caps = engine_zero(TAIO_CONTEXTS * TAIO_SLOTS * sizeof(*maps.caps));
	maps.dev = engine_zero(TAIO_DEVICES * sizeof(*maps.dev));
	maps.lat = engine_zero(TAIO_ROUTES * sizeof(*maps.lat));
	maps.price = price;
	maps.engine = side;
	pick_init(picker, &maps);
	for (uint8_t i = 0; i < count; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		pick_add_device(picker, i, name, UINT32_MAX);
		candidates[i].device = i;
		candidates[i].caps.base_ns = 1000u + i;
	}
	query.context = pick_add_context(picker, 1, "bench", candidates, count);
	for (unsigned int s = 0; s < count; s++)
		for (unsigned int b = 0; b < TAIO_BUCKETS; b++)
			price[taio_class_of(65536)].cost[0][s][b] = 1000 + 10 * s + 100 * b;
	for (unsigned int round = 0; round < 15; round++) {
		uint64_t start = bench_now_ns();

		for (unsigned int i = 0; i < LOOPS; i++) {
			query.now_ns++;
			if (pick_choose(picker, &query, &choice))
				bench_die("pick_choose");
		}
		bench_add(&choose, (double)(bench_now_ns() - start) / LOOPS);
		start = bench_now_ns();
		for (unsigned int i = 0; i < LOOPS; i++) {
			struct pick_result result = { .choice = &choice,
						      .submit_ns = i,
						      .now_ns = i + 1000,
						      .bytes = 65536,
						      .learn = true,
						      .occupied = true };

			pick_completed(picker, &result);
			side->tail = side->head;
		}
		bench_add(&account, (double)(bench_now_ns() - start) / LOOPS);
	}
	engine_row("decision from the price table", count, bench_percentile(&choose, 0), "ns", 10);
	engine_row("completion accounting", count, bench_percentile(&account, 0), "ns", 10);
}

static void engine_log(void *arg, const char *line)
{
	(void)arg;
	(void)line;
}

/* Decisions by the policy's pick hook, @batch steps at a time: what the hook itself takes with the
 * crossing, and the whole, gathered, answered and taken. */
static void engine_pick_batch(struct picker *picker, const struct pick_query *query,
			      const char *what, unsigned int batch, double target)
{
	struct bench_series series = { 0 }, hook = { 0 };
	struct pick_query mine = *query;
	uint8_t picked[TAIO_ASKS];
	char name[64];
	enum {
		LOOPS = 64 * 500
	};

	for (unsigned int round = 0; round < 15; round++) {
		uint64_t start = bench_now_ns();

		for (unsigned int i = 0; i < LOOPS; i += batch) {
			struct pick_choice choice;

			for (unsigned int k = 0; k < batch; k++)
				if (pick_gather(picker, query) < 0)
					bench_die("pick_gather");
			pick_answer(picker, query->now_ns, picked);
			for (unsigned int k = 0; k < batch; k++) {
				mine.picked = picked[k];
				if (pick_choose(picker, &mine, &choice) ||
				    choice.why != TAIO_WHY_POLICY)
					bench_die("pick_choose");
			}
		}
		bench_add(&series, (double)(bench_now_ns() - start) / LOOPS);
		start = bench_now_ns();
		for (unsigned int i = 0; i < LOOPS; i += batch) {
			picker->asked = batch; /* the same questions once more */
			picker->asked_ns = 1000000;
			pick_answer(picker, query->now_ns, picked);
		}
		bench_add(&hook, (double)(bench_now_ns() - start) / LOOPS);
	}
	engine_row(what, batch, bench_percentile(&hook, 0), "ns", target);
	snprintf(name, sizeof(name), "%s, gathered and taken", what);
	engine_row(name, batch, bench_percentile(&series, 0), "ns", 0);
}

/* The policy `deadline` over four candidates, natively or in the kernel. */
static void engine_pick(bool in_kernel)
{
	struct policy_options options = { .name = "deadline",
					  .engine_flags = TAIO_NO_CONTROL | TAIO_NO_CACHE,
					  .force_bpf = in_kernel,
					  .log = engine_log };
	const char *what = in_kernel ? "pick hook in the kernel" : "pick hook natively";
	struct pick_candidate candidates[4] = { 0 };
	struct pick_query query = { .bytes = 65536, .now_ns = bench_now_ns() };
	struct picker *picker = engine_zero(sizeof(*picker));
	struct taio_policy *policy;
	char why[512];

	if (policy_open(&policy, &options, why, sizeof(why))) {
		fprintf(stderr, "%s: skipped: %s\n", what, why);
		return;
	}
	pick_init(picker, policy_maps(policy));
	for (uint8_t i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		pick_add_device(picker, i, name, UINT32_MAX);
		candidates[i].device = i;
		candidates[i].caps.base_ns = 20000u + i;
		candidates[i].caps.parallel = 64;
	}
	query.context = pick_add_context(picker, 1, "bench", candidates, 4);
	query.deadline_ns = query.now_ns + 1000000;
	engine_pick_batch(picker, &query, what, 1, 0);
	engine_pick_batch(picker, &query, what, 8, 0);
	engine_pick_batch(picker, &query, what, 64, in_kernel ? 60 : 0);
	policy_close(policy);
}

static void engine_pointer(struct taio *engine, size_t bytes)
{
	struct bench_series request = { 0 }, copy = { 0 };
	char *from = engine_zero(bytes), *to = engine_zero(bytes);
	struct taio_event event;
	unsigned int loops = bytes > 65536 ? 2000 : 100000;

	memset(from, 1, bytes);
	memset(to, 2, bytes);
	for (unsigned int round = 0; round < 15; round++) {
		uint64_t start = bench_now_ns();

		for (unsigned int i = 0; i < loops; i++)
			if (taio_schedule_pointer(engine, from, to, bytes, i) ||
			    taio_get_events(engine, &event, 1, 1, -1) != 1)
				bench_die("taio_schedule_pointer");
		bench_add(&request, (double)(bench_now_ns() - start) / loops);
		start = bench_now_ns();
		for (unsigned int i = 0; i < loops; i++) {
			__asm__ volatile("" : : "r"(from), "r"(to) : "memory");
			memcpy(to, from, bytes);
		}
		bench_add(&copy, (double)(bench_now_ns() - start) / loops);
	}
	engine_row("pointer request beyond its copy", (unsigned int)bytes,
		   bench_median(&request) - bench_median(&copy), "ns", 100);
	munmap(from, bytes);
	munmap(to, bytes);
}

static uint64_t engine_rss(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f) {
		if (fscanf(f, "%*u %llu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * 4096;
}

/* @count requests wait on one silent stream, one more is scheduled and cancelled: its cost. */
static void engine_in_flight(unsigned int count)
{
	struct taio_engine_options options = { .size = sizeof(options), .requests = count + 16 };
	struct bench_series cost = { 0 };
	struct taio_endpoint from, to;
	struct taio_event event;
	struct taio *engine;
	static char byte[64];
	uint64_t rss;
	int pair[2];

	if (taio_open(&engine, &options) || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		bench_die("taio_open");
	rss = engine_rss();
	from = taio_descriptor(pair[0]);
	to = taio_memory(byte, sizeof(byte));
	for (unsigned int i = 0; i < count; i++)
		if (taio_copy(engine, &from, &to, NULL, i))
			bench_die("taio_copy");
	(void)taio_get_events(engine, &event, 0, 1, 0);
	while (taio_get_events(engine, &event, 0, 1, 1000000) > 0)
		;
	rss = engine_rss() - rss;
	for (unsigned int round = 0; round < 41; round++) {
		struct taio_endpoint zero = taio_zero(64);
		uint64_t start = bench_now_ns();

		for (unsigned int i = 0; i < 256; i++) {
			to = taio_memory(byte, 64);
			if (taio_copy(engine, &zero, &to, NULL, 1000000) ||
			    taio_get_events(engine, &event, 1, 1, -1) != 1)
				bench_die("taio_copy");
		}
		bench_add(&cost, (double)(bench_now_ns() - start) / 256);
	}
	engine_row("one request beside others in flight", count, bench_median(&cost), "ns", 0);
	if (count >= 1000)
		engine_row("memory of a request in flight", count, (double)rss / count, "bytes",
			   512);
	taio_close(engine);
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	struct taio *engine;
	bool quick = bench_is_quick(argc, argv);

	if (taio_open(&engine, NULL))
		bench_die("taio_open");
	engine_decision(3);
	engine_decision(8);
	engine_pick(false);
	engine_pick(true);
	engine_pointer(engine, 64);
	engine_pointer(engine, 1024);
	engine_pointer(engine, 4096);
	engine_pointer(engine, 65536);
	taio_close(engine);
	engine_in_flight(1);
	engine_in_flight(1000);
	engine_in_flight(quick ? 10000 : 100000);
	return 0;
}
