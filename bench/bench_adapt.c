/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_adapt.c: real devices that turn bad and heal, by faults that are injected on a schedule
 * (TAIO_FAULT), and what the engine makes of it: how soon a device that became ten times slower
 * loses its traffic and gets it back, what a stall does to the slowest requests, how many attempts a
 * failing device wastes. The default policy beside one that counts requests in flight (jsq) and one
 * that never learns (static). The device that is broken is the one that had most of the traffic.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "taio.h"

#include "lib.h"

#define MS          1000000ULL
#define DEPTH_MAX   32
#define RECORDS_MAX (1u << 20)
#define WINDOW      64 /* completions over which a share is taken */
#define FILE_BYTES  (64u << 20)

/* Three parts of a run: well, broken, well again. */
#define PART_MS 200

struct adapt_record {
	uint64_t end_ns; /* since the engine was opened */
	uint32_t ns;
	uint8_t device;
};

struct adapt_case {
	const char *fault; /* for people */
	const char *text;  /* of the schedule, behind "DEVICE:" */
	const char *pin;
	unsigned int depth;
	uint32_t bytes;
	bool memory;
	uint32_t flags;
	bool windowed; /* only in the middle part */
};

#define STALLS "stall=5ms/50ms@20ms-" /* not before something is learnt */

static const struct adapt_case cases[] = {
	{ "10x slower, file reads", "delay=10x", "rw,uring", 8, 65536, false, 0, true },
	{ "10x slower, asynchronous", "delay=10x", "uring,rw@worker", 8, 65536, false, 0, true },
	{ "10x slower, memory", "delay=10x", "memcpy,nt", 1, 65536, true, 0, true },
	{ "10x slower, memory, long", "delay=10x", "memcpy,nt", 1, 1u << 20, true, 0, true },
	{ "fails, file reads", "errno=EIO", "rw,uring", 8, 65536, false, 0, true },
	{ "stalls 5 of 50 ms", STALLS, "uring,rw@worker", 8, 16384, false, 0, false },
	{ "stalls 5 of 50 ms, hedged", STALLS, "uring,rw@worker", 8, 16384, false, TAIO_HEDGE,
	  false },
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static struct adapt_record *records;
static unsigned int record_count;
static char *memory[2];
static int file;

static struct taio *adapt_open(const struct adapt_case *c, const char *policy, const char *faults)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .pin = c->pin,
					       .policy = policy,
					       .flags = c->flags | TAIO_NO_CACHE | TAIO_NO_BPF |
							TAIO_NO_CONTROL };
	struct taio *engine;

	if (faults)
		setenv("TAIO_FAULT", faults, 1);
	if (taio_open(&engine, &options))
		bench_die("taio_open");
	unsetenv("TAIO_FAULT");
	return engine;
}

static void adapt_schedule(struct taio *engine, const struct adapt_case *c, unsigned int slot)
{
	static uint64_t random = 88172645463325252ULL;
	struct taio_endpoint from, to;
	uint64_t at;

	random ^= random << 13;
	random ^= random >> 7;
	random ^= random << 17;
	at = random % (FILE_BYTES / c->bytes) * c->bytes;
	from = c->memory ? taio_memory(memory[0] + at, c->bytes) : taio_file(file, at, c->bytes);
	to = taio_memory(memory[1] + (c->memory ? at : (uint64_t)slot * c->bytes), c->bytes);
	if (taio_copy(engine, &from, &to, NULL, slot))
		bench_die("taio_copy");
}

/* Keeps depth requests in flight and writes down each completion. Return: requests that failed. */
static unsigned int adapt_run(struct taio *engine, const struct adapt_case *c, uint64_t opened_ns,
			      uint64_t for_ns)
{
	struct taio_event event[DEPTH_MAX];
	unsigned int failed = 0, flying = 0;

	record_count = 0;
	for (; flying < c->depth; flying++)
		adapt_schedule(engine, c, flying);
	while (flying) {
		int n = taio_get_events(engine, event, 1, DEPTH_MAX, -1);
		uint64_t now = bench_now_ns() - opened_ns;

		for (int i = 0; i < n; i++) {
			if (record_count < RECORDS_MAX)
				records[record_count++] =
					(struct adapt_record){ now, (uint32_t)event[i].ns,
							       event[i].device };
			failed += event[i].result != c->bytes;
			if (now < for_ns)
				adapt_schedule(engine, c, (unsigned int)event[i].cookie);
			else
				flying--;
		}
	}
	return failed;
}

/* The device with most of the traffic while all are well. */
static unsigned int adapt_favourite(const struct adapt_case *c)
{
	struct taio *engine = adapt_open(c, "tab", NULL);
	unsigned int count[64] = { 0 }, best = 0;

	adapt_run(engine, c, bench_now_ns(), PART_MS * MS);
	for (unsigned int i = record_count / 2; i < record_count; i++)
		count[records[i].device & 63]++;
	for (unsigned int d = 1; d < 64; d++)
		if (count[d] > count[best])
			best = d;
	taio_close(engine);
	return best;
}

/* ---- what the records say ---- */

static unsigned int adapt_at(uint64_t ns)
{
	unsigned int i = 0;

	while (i < record_count && records[i].end_ns < ns)
		i++;
	return i;
}

static double adapt_share(unsigned int from, unsigned int until, unsigned int device)
{
	unsigned int n = 0;

	for (unsigned int i = from; i < until; i++)
		n += records[i].device == device;
	return until > from ? (double)n / (until - from) : 0;
}

static int adapt_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double adapt_percentile_us(unsigned int from, unsigned int until, double p)
{
	static uint32_t sorted[RECORDS_MAX];
	unsigned int n = 0;

	for (unsigned int i = from; i < until; i++)
		sorted[n++] = records[i].ns;
	if (n == 0)
		return 0;
	qsort(sorted, n, sizeof(sorted[0]), adapt_compare);
	return sorted[(unsigned int)((n - 1) * p / 100)] / 1e3;
}

/* From where on the next WINDOW completions are on the device for a share below (or above) @bound.
 * Return: record_count: never before @until. */
static unsigned int adapt_turn(unsigned int from, unsigned int until, unsigned int device,
			       double bound, bool below)
{
	for (unsigned int i = from; i + WINDOW <= until; i++) {
		double share = adapt_share(i, i + WINDOW, device);

		if (below ? share <= bound : share >= bound)
			return i;
	}
	return record_count;
}

/* From where on half of the next WINDOW completions took at most 1.5 times the usual. */
static unsigned int adapt_recovered(unsigned int from, double usual_us)
{
	for (unsigned int i = from; i + WINDOW <= record_count; i++)
		if (adapt_percentile_us(i, i + WINDOW, 50) <= 1.5 * usual_us)
			return i;
	return record_count;
}

static uint64_t adapt_errors(struct taio *engine, unsigned int number)
{
	static struct taio_device_info info[64];
	int n = taio_devices(engine, info, sizeof(info[0]), 64);

	return number < (unsigned int)n ? info[number].errors : 0;
}

static void adapt_number(const char *name, double value, bool known)
{
	if (known)
		printf(",\"%s\":%.2f", name, value);
	else
		printf(",\"%s\":\"never\"", name);
}

static void adapt_windows(struct taio *engine, const char *policy, const struct adapt_case *c,
			  unsigned int device, unsigned int failed)
{
	uint64_t onset_ns = PART_MS * MS, heal_ns = 2 * PART_MS * MS;
	unsigned int onset = adapt_at(onset_ns), heal = adapt_at(heal_ns), lost, back, well;
	double before = adapt_share(onset / 2, onset, device);

	/* Who never sent much there has nothing to lose. */
	lost = adapt_turn(onset, heal, device, before / 8, true);
	back = adapt_turn(heal, record_count, device, before / 2, false);
	well = adapt_recovered(heal, adapt_percentile_us(onset / 2, onset, 50));
	printf("{\"bench\":\"adapt\",\"fault\":\"%s\",\"device\":\"%s\",\"policy\":\"%s\"",
	       c->fault, taio_device_name(engine, device), policy);
	printf(",\"share_before\":%.2f,\"share_broken\":%.2f", before,
	       adapt_share(onset, heal, device));
	adapt_number("lost_after_n",
		     lost < record_count ? adapt_share(onset, lost, device) * (lost - onset) : 0,
		     lost < record_count);
	adapt_number("lost_after_ms",
		     lost < record_count ? (double)(records[lost].end_ns - onset_ns) / 1e6 : 0,
		     lost < record_count);
	printf(",\"target_lost\":\"32 or 10 ms\"");
	adapt_number("recovered_after_ms",
		     well < record_count ? (double)(records[well].end_ns - heal_ns) / 1e6 : 0,
		     well < record_count);
	printf(",\"target_recovered_ms\":50");
	/* Never, where another one is as good. */
	adapt_number("back_after_ms",
		     back < record_count ? (double)(records[back].end_ns - heal_ns) / 1e6 : 0,
		     back < record_count);
	printf(",\"p99_before_us\":%.1f,\"p99_broken_us\":%.1f",
	       adapt_percentile_us(onset / 2, onset, 99), adapt_percentile_us(onset, heal, 99));
	printf(",\"wasted\":%llu,\"target_wasted\":100,\"failed\":%u}\n",
	       (unsigned long long)adapt_errors(engine, device), failed);
}

static void adapt_stalls(struct taio *engine, const char *policy, const struct adapt_case *c,
			 unsigned int device, unsigned int failed)
{
	unsigned int from = adapt_at(PART_MS * MS);
	double sum = 0;

	for (unsigned int i = from; i < record_count; i++)
		sum += records[i].ns;
	printf("{\"bench\":\"adapt\",\"fault\":\"%s\",\"device\":\"%s\",\"policy\":\"%s\"",
	       c->fault, taio_device_name(engine, device), policy);
	printf(",\"share\":%.2f,\"requests\":%u,\"mean_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,"
	       "\"max_us\":%.1f,\"failed\":%u}\n",
	       adapt_share(from, record_count, device), record_count - from,
	       record_count > from ? sum / 1e3 / (record_count - from) : 0,
	       adapt_percentile_us(from, record_count, 99),
	       adapt_percentile_us(from, record_count, 99.9),
	       adapt_percentile_us(from, record_count, 100), failed);
}

static void adapt_case(const struct adapt_case *c, const char *policy, unsigned int device,
		       const char *name)
{
	char faults[128];
	unsigned int failed;
	struct taio *engine;
	uint64_t opened_ns;

	if (c->windowed)
		snprintf(faults, sizeof(faults), "%s:%s@%dms-%dms", name, c->text, PART_MS,
			 2 * PART_MS);
	else
		snprintf(faults, sizeof(faults), "%s:%s", name, c->text);
	opened_ns = bench_now_ns();
	engine = adapt_open(c, policy, faults);
	failed = adapt_run(engine, c, opened_ns, 3 * PART_MS * MS);
	(c->windowed ? adapt_windows : adapt_stalls)(engine, policy, c, device, failed);
	fflush(stdout);
	taio_close(engine);
}

int main(int argc, char **argv)
{
	static const char *const policies[] = { "tab", "jsq", "static" };
	const char *base = getenv("TMPDIR"), *directory;
	unsigned int count = bench_is_quick(argc, argv) ? 1 : 3;
	char path[256];

	directory = bench_directory(base ? base : "/var/tmp");
	if (!directory)
		bench_die("directory");
	snprintf(path, sizeof(path), "%s/data", directory);
	bench_make_file(path, FILE_BYTES);
	file = open(path, O_RDONLY);
	records = malloc(RECORDS_MAX * sizeof(*records));
	for (unsigned int i = 0; i < 2; i++) {
		memory[i] = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (memory[i] == MAP_FAILED)
			bench_die("mmap");
	}
	if (file < 0 || !records || read(file, memory[0], FILE_BYTES) != FILE_BYTES)
		bench_die("no data");
	for (unsigned int i = 0; i < CASES; i++) {
		unsigned int device = adapt_favourite(&cases[i]);
		struct taio *engine = adapt_open(&cases[i], "tab", NULL);
		char name[16];

		snprintf(name, sizeof(name), "%s", taio_device_name(engine, device));
		taio_close(engine);
		for (unsigned int p = 0; p < count; p++)
			adapt_case(&cases[i], policies[p], device, name);
	}
	return 0;
}
