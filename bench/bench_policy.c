/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_policy.c: what a change of policy costs and how soon it counts, natively and with objects in
 * the kernel, and what the watchdog costs. Objects need root; without them their rows are left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib.h"
#include "policy/bpf_object.h"
#include "policy/bpf_source.h"
#include "policy/bpf_sys.h"
#include "policy/control.h"
#include "taio.h"

#define BYTES 8192

static unsigned char policy_from[BYTES], policy_to[BYTES];
static unsigned int policy_rounds = 21;

static void policy_row(const char *what, const char *where, double value, const char *unit,
		       const char *target)
{
	printf("{\"bench\":\"policy\",\"what\":\"%s\",\"where\":\"%s\",\"value\":%.2f,\"unit\":"
	       "\"%s\",\"target\":\"%s\"}\n",
	       what, where, value, unit, target);
	fflush(stdout);
}

static struct taio *policy_engine(uint32_t flags)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = flags | TAIO_NO_CACHE,
					       .policy = "tab" };
	struct taio *engine;

	if (taio_open(&engine, &options))
		bench_die("taio_open");
	return engine;
}

/* One copy; what was foretold of it. jsq foretells 1 << 20 and no other policy does. */
static uint64_t policy_copy(struct taio *engine)
{
	struct taio_endpoint from = taio_memory(policy_from, BYTES);
	struct taio_endpoint to = taio_memory(policy_to, BYTES);
	struct taio_trace_step step = { 0 };
	struct taio_trace trace = { .capacity = 1, .step = &step };
	struct taio_options options = { .size = sizeof(options), .trace = &trace };
	struct taio_event event;

	if (taio_copy(engine, &from, &to, &options, 1) ||
	    taio_get_events(engine, &event, 1, 1, -1) != 1 || event.result != BYTES)
		bench_die("a copy");
	return step.predicted_ns;
}

static int policy_change(struct taio *engine, const char *name, int in_kernel)
{
	return in_kernel ? taio_policy_load(engine, name) : taio_policy_swap(engine, name);
}

/* By the library: the call, and whether the next decision goes by it. */
static void policy_call(const char *where, int in_kernel)
{
	static const char *const name[] = { "jsq", "tab" };
	struct taio *engine = policy_engine(in_kernel ? 0 : TAIO_NO_BPF);
	struct bench_series call = { 0 };
	unsigned int late = 0;

	for (unsigned int i = 0; i < 2000; i++)
		policy_copy(engine);
	for (unsigned int i = 0; i < 2 * policy_rounds; i++) {
		uint64_t start = bench_now_ns();

		if (policy_change(engine, name[i % 2], in_kernel)) {
			taio_close(engine);
			return; /* not permitted here */
		}
		bench_add(&call, (double)(bench_now_ns() - start));
		late += (policy_copy(engine) == 1U << 20) != (i % 2 == 0);
	}
	policy_row("swap, the call", where, bench_median(&call) / 1000, "us", "-");
	policy_row("swap, decisions until it counts", where, late, "decisions", "0");
	taio_close(engine);
}

/* A loaded object takes over: what is left of a swap once the verifier is done. */
static void policy_take_over(void)
{
	struct bench_series start = { 0 };
	struct policy_object object;
	char path[PATH_MAX], why[512];

	if (object_find("tab", path, sizeof(path), why, sizeof(why)) ||
	    object_load(&object, path, NULL, NULL, 1, why, sizeof(why)))
		return;
	for (unsigned int i = 0; i < policy_rounds; i++) {
		uint64_t begin = bench_now_ns();

		if (bpf_start(object.prog[OBJECT_START]))
			bench_die("taio_start");
		bench_add(&start, (double)(bench_now_ns() - begin));
	}
	policy_row("swap, take-over by a loaded object, nothing learnt", "in the kernel",
		   bench_median(&start) / 1000, "us", "2000");
	object_close(&object);
}

/* Asks from another process and says when it did. */
static pid_t policy_ask(uint64_t *asked_ns, const char *line)
{
	unsigned int engine = (unsigned int)getpid();
	pid_t pid = fork();
	char answer[256];

	if (pid == 0) {
		usleep(3000);
		__atomic_store_n(asked_ns, bench_now_ns(), __ATOMIC_RELEASE);
		_exit(control_ask(engine, 0, line, answer, sizeof(answer), 10000) > 0 ? 0 : 1);
	}
	return pid;
}

/* `taio policy swap` to a busy engine: from the question to the first decision by the new prices. */
static void policy_outside(void)
{
	struct taio *engine = policy_engine(TAIO_NO_BPF);
	struct bench_series effect = { 0 };
	uint64_t *asked =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t until = bench_now_ns() + 300000000;
	int status;

	if (asked == MAP_FAILED)
		bench_die("mmap");
	while (bench_now_ns() < until) /* its socket comes with time */
		policy_copy(engine);
	for (unsigned int i = 0; i < policy_rounds; i++) {
		pid_t pid = policy_ask(asked, i % 2 ? "swap tab" : "swap jsq");

		until = bench_now_ns() + 10000000000;
		while ((policy_copy(engine) == 1U << 20) == (i % 2 != 0))
			if (bench_now_ns() > until)
				bench_die("a swap from outside did not come");
		bench_add(&effect,
			  (double)(bench_now_ns() - __atomic_load_n(asked, __ATOMIC_ACQUIRE)));
		if (waitpid(pid, &status, 0) != pid || status)
			bench_die("a swap from outside");
	}
	policy_row("swap from outside, until it counts", "natively", bench_median(&effect) / 1000,
		   "us", "2000");
	policy_row("swap from outside, the slowest", "natively",
		   bench_percentile(&effect, 100) / 1000, "us", "2000");
	munmap(asked, 4096);
	taio_close(engine);
}

static double policy_per_request(struct taio *engine, unsigned int count)
{
	uint64_t start = bench_now_ns();
	struct taio_event event;

	for (unsigned int i = 0; i < count; i++) {
		struct taio_endpoint from = taio_memory(policy_from, BYTES);
		struct taio_endpoint to = taio_memory(policy_to, BYTES);

		if (taio_copy(engine, &from, &to, NULL, 1) ||
		    taio_get_events(engine, &event, 1, 1, -1) != 1)
			bench_die("a copy");
	}
	return (double)(bench_now_ns() - start) / count;
}

/* The same object with and without, in turn. */
static void policy_watchdog(void)
{
	struct taio *engine[2] = { policy_engine(TAIO_NO_WATCHDOG), policy_engine(0) };
	struct bench_series each[2] = { { { 0 }, 0 }, { { 0 }, 0 } };

	for (unsigned int i = 0; i < 2; i++) {
		if (taio_policy_load(engine[i], "tab")) {
			taio_close(engine[0]);
			taio_close(engine[1]);
			return;
		}
		policy_per_request(engine[i], 100000);
	}
	for (unsigned int round = 0; round < policy_rounds; round++)
		for (unsigned int i = 0; i < 2; i++)
			bench_add(&each[i], policy_per_request(engine[i], 20000));
	policy_row("8 KiB request, nobody watches", "in the kernel", bench_median(&each[0]), "ns",
		   "-");
	policy_row("8 KiB request, watched", "in the kernel", bench_median(&each[1]), "ns", "-");
	taio_close(engine[0]);
	taio_close(engine[1]);
}

/* ---- the pick hook ---- */

#define PICK_DEVICES 8
#define PICK_RUNS    50 /* in one go: short ones, of which the best counts */

static void *policy_map(const struct policy_object *object, enum object_map map)
{
	const struct object_shape *shape = &object_shapes[map];
	size_t bytes = ((size_t)shape->value_size * shape->entries + 4095) & ~4095ULL;
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, object->map[map], 0);

	if (at == MAP_FAILED)
		bench_die("mmap of a map");
	return at;
}

/* Eight candidates with prices that differ, and requests of all goals, all with a deadline that
 * about half of the candidates meet. */
static struct taio_batch *policy_stage(const struct policy_object *object)
{
	struct taio_ctx *ctx = policy_map(object, OBJECT_CTX);
	struct taio_price *price = policy_map(object, OBJECT_PRICE);
	struct taio_batch *batch = policy_map(object, OBJECT_BATCH);

	ctx->key = 1;
	for (uint32_t slot = 0; slot < PICK_DEVICES; slot++) {
		ctx->dev[slot] = (uint8_t)(slot + 1);
		ctx->scale[slot] = TAIO_SCALE_ONE;
		for (uint32_t goal = 0; goal < TAIO_GOALS; goal++)
			for (uint32_t b = 0; b < TAIO_BUCKETS; b++)
				price[5].cost[goal][slot][b] =
					20000 + 7919 * slot + 3000 * b + goal;
	}
	batch->now_ns = 1000000000;
	batch->random = 1;
	for (uint32_t i = 0; i < TAIO_ASKS; i++)
		batch->ask[i] = (struct taio_ask){ .deadline_ns = batch->now_ns + 60000,
						   .bytes = 32768,
						   .cell = 5,
						   .may = (1U << PICK_DEVICES) - 1,
						   .goal = (uint8_t)(i % TAIO_GOALS) };
	return batch;
}

static void policy_pick(const char *name)
{
	static const uint32_t sizes[] = { 1, 8, TAIO_ASKS };
	struct policy_object object;
	char path[PATH_MAX], why[512], what[64];
	struct taio_batch *batch;

	if (object_find(name, path, sizeof(path), why, sizeof(why)) ||
	    object_load(&object, path, NULL, NULL, 1, why, sizeof(why)))
		return;
	if (bpf_start(object.prog[OBJECT_START]))
		bench_die("taio_start");
	batch = policy_stage(&object);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct bench_series each = { 0 };

		for (unsigned int round = 0; round < 40 * policy_rounds; round++) {
			uint64_t begin = bench_now_ns();

			for (unsigned int run = 0; run < PICK_RUNS; run++) {
				batch->count = sizes[i];
				memset(batch->load, 0, sizeof(batch->load));
				memset(batch->bucket, 0, sizeof(batch->bucket));
				if (bpf_sys_run(object.prog[OBJECT_PICK]) != (int)sizes[i])
					bench_die("taio_pick");
			}
			bench_add(&each, (double)(bench_now_ns() - begin) / PICK_RUNS / sizes[i]);
		}
		snprintf(what, sizeof(what), "%s: a pick of %u, %u candidates", name, sizes[i],
			 PICK_DEVICES);
		policy_row(what, "in the kernel", bench_percentile(&each, 0), "ns",
			   sizes[i] == TAIO_ASKS ? "60" : "-");
	}
	munmap(batch, sizeof(*batch));
	object_close(&object);
}

int main(int argc, char **argv)
{
	if (bench_is_quick(argc, argv))
		policy_rounds = 7;
	policy_call("natively", 0);
	policy_outside();
	policy_call("in the kernel", 1);
	policy_take_over();
	policy_pick("deadline");
	policy_pick("p2c");
	policy_watchdog();
	return 0;
}
