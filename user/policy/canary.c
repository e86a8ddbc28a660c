/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* canary.c: see canary.h. */
#include "policy/canary.h"

#include <stdio.h>

/* ---- latencies in buckets ---- */

static uint32_t canary_bucket(uint64_t ns)
{
	uint32_t log;

	if (ns < 4)
		return (uint32_t)ns;
	log = 63 - (uint32_t)__builtin_clzll(ns);
	log = 4 * (log - 1) + (uint32_t)(ns >> (log - 2) & 3);
	return log < CANARY_HIST ? log : CANARY_HIST - 1;
}

/* The middle of a bucket. */
static uint64_t canary_bucket_ns(uint32_t bucket)
{
	uint32_t log = bucket / 4 + 1;

	if (bucket < 4)
		return bucket;
	return ((4ULL + (bucket & 3)) << (log - 2)) + (1ULL << (log - 2)) / 2;
}

void canary_count(struct policy_canary *canary, int on_trial, int failed, uint64_t bytes,
		  uint64_t ns)
{
	struct canary_side *side = &canary->side[on_trial != 0];
	struct canary_class *class = &side->class[taio_class_of(bytes)];

	if (failed) {
		side->failed++;
		return;
	}
	class->count++;
	class->ns += ns;
	class->hist[canary_bucket(ns)]++;
}

uint64_t canary_requests(const struct canary_side *side)
{
	uint64_t count = 0;

	for (uint32_t c = 0; c < TAIO_CLASSES; c++)
		count += side->class[c].count;
	return count;
}

uint64_t canary_mean_ns(const struct canary_class *class)
{
	return class->count ? class->ns / class->count : 0;
}

uint64_t canary_p99_ns(const struct canary_class *class)
{
	uint64_t slower = class->count / 100, seen = 0;

	for (uint32_t b = CANARY_HIST; b > 0; b--) {
		seen += class->hist[b - 1];
		if (seen > slower)
			return canary_bucket_ns(b - 1);
	}
	return 0;
}

/* ---- verdict ---- */

/* Classes that both sides had often enough, each counted by how often the trial had it: as if both
 * had had the same requests. A class with few bytes counts as much as one with many. */
struct canary_sum {
	uint64_t requests;
	double mean, p99; /* ratios, each times requests */
};

static void canary_add(struct canary_sum *sum, const struct canary_class *old,
		       const struct canary_class *new)
{
	double requests = (double)new->count;

	if (old->count < CANARY_MIN_CLASS || new->count < CANARY_MIN_CLASS)
		return;
	sum->requests += new->count;
	sum->mean +=
		requests * (double)(canary_mean_ns(new) + 1) / (double)(canary_mean_ns(old) + 1);
	sum->p99 += requests * (double)(canary_p99_ns(new) + 1) / (double)(canary_p99_ns(old) + 1);
}

static unsigned int canary_percent(double sum, uint64_t requests)
{
	double percent = 100 * sum / (double)requests;

	return percent > 99999 ? 99999 : (unsigned int)(percent + 0.5);
}

int canary_is_good(const struct policy_canary *canary, char *ret_sentence, size_t size)
{
	const struct canary_side *old = &canary->side[0], *new = &canary->side[1];
	struct canary_sum sum = { 0 };
	unsigned int mean, p99;

	if (new->failed * 10 > canary_requests(new) && new->failed > old->failed) {
		snprintf(ret_sentence, size, "%llu of its requests failed",
			 (unsigned long long)new->failed);
		return 0;
	}
	for (uint32_t c = 0; c < TAIO_CLASSES; c++)
		canary_add(&sum, &old->class[c], &new->class[c]);
	if (sum.requests < CANARY_MIN_REQUESTS) {
		snprintf(ret_sentence, size,
			 "it got %llu requests that can be compared, %d are needed",
			 (unsigned long long)sum.requests, CANARY_MIN_REQUESTS);
		return 0;
	}
	mean = canary_percent(sum.mean, sum.requests);
	p99 = canary_percent(sum.p99, sum.requests);
	snprintf(ret_sentence, size,
		 "its mean is %u %% and its slowest 1 %% are %u %% of the other's, over %llu "
		 "requests",
		 mean, p99, (unsigned long long)sum.requests);
	return mean <= CANARY_MEAN_PERCENT && p99 <= CANARY_TAIL_PERCENT;
}
