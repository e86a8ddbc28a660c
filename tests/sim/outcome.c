/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* outcome.c: what a run amounts to: means and percentiles of latency, and how fast it adapts. */
#include "sim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The device of S2 slows down and heals at these times; after so long all is steady again. */
#define OUTCOME_SLOW_NS   (SIM_START_NS + 1500 * SIM_MS)
#define OUTCOME_WELL_NS   (SIM_START_NS + 3000 * SIM_MS)
#define OUTCOME_END_NS    (SIM_START_NS + 4000 * SIM_MS)
#define OUTCOME_STEADY_NS (200 * SIM_MS)

static void outcome_swap(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	*a = *b;
	*b = t;
}

/* The value that so large a share of them do not exceed (quickselect, which orders @values). */
double outcome_percentile(uint64_t *values, uint64_t count, double share)
{
	uint64_t low = 0, high = count, want = (uint64_t)((double)count * share);

	if (!count)
		return 0;
	if (want >= count)
		want = count - 1;
	while (high - low > 1) {
		uint64_t pivot = values[low + (high - low) / 2], less = low, at = low, more = high;

		while (at < more) {
			if (values[at] < pivot)
				outcome_swap(&values[less++], &values[at++]);
			else if (values[at] > pivot)
				outcome_swap(&values[--more], &values[at]);
			else
				at++;
		}
		if (want < less)
			high = less;
		else if (want >= more)
			low = more;
		else
			break;
	}
	return (double)values[want];
}

struct outcome_window {
	double mean_ns, p99_ns;
};

/* Of the requests that came in [from, to). Requests are in order of arrival. */
static struct outcome_window outcome_look(const struct sim_run *run, uint64_t from_ns,
					  uint64_t to_ns, uint64_t *room)
{
	struct outcome_window window = { 0 };
	uint32_t low = 0, high = run->world->requests;
	uint64_t count = 0;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (run->told[middle].start_ns < from_ns)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < run->world->requests && run->told[low].start_ns < to_ns; low++) {
		window.mean_ns += (double)run->told[low].ns;
		room[count++] = run->told[low].ns;
	}
	if (count)
		window.mean_ns /= (double)count;
	window.p99_ns = outcome_percentile(room, count, 0.99);
	return window;
}

/* Milliseconds until the first window that is @times as good as @steady; by mean or by p99. */
static uint64_t outcome_wait(const struct sim_run *run, uint64_t from_ns, uint64_t length_ns,
			     double mean_ns, double p99_ns, uint64_t *room)
{
	for (uint64_t ms = 0; ms < OUTCOME_NEVER; ms++) {
		uint64_t at = from_ns + ms * SIM_MS;
		struct outcome_window window = outcome_look(run, at, at + length_ns, room);

		if (mean_ns > 0 ? window.mean_ns <= mean_ns : window.p99_ns <= p99_ns)
			return ms;
	}
	return OUTCOME_NEVER;
}

static void outcome_adapt(struct sim_outcome *ret, const struct sim_run *run,
			  const struct sim_run *oracle, uint64_t *room)
{
	struct outcome_window slow =
		outcome_look(oracle, OUTCOME_SLOW_NS + OUTCOME_STEADY_NS, OUTCOME_WELL_NS, room);
	struct outcome_window well =
		outcome_look(oracle, OUTCOME_WELL_NS + OUTCOME_STEADY_NS, OUTCOME_END_NS, room);

	ret->adm_ms = outcome_wait(run, OUTCOME_SLOW_NS, 10 * SIM_MS, 1.5 * slow.mean_ns, 0, room);
	ret->adp_ms = outcome_wait(run, OUTCOME_SLOW_NS, 20 * SIM_MS, 0, 2 * slow.p99_ns, room);
	ret->rec_ms = outcome_wait(run, OUTCOME_WELL_NS, 10 * SIM_MS, 1.5 * well.mean_ns, 0, room);
}

void outcome_measure(struct sim_outcome *ret, const struct sim_run *run,
		     const struct sim_run *oracle)
{
	uint64_t *values = malloc((run->world->requests + 1ULL) * sizeof(*values));
	uint64_t sum = 0;

	assert(values);
	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = run->world->counted_from; i < run->world->requests; i++) {
		values[ret->counted++] = run->told[i].ns;
		sum += run->told[i].ns;
	}
	ret->mean_ns = ret->counted ? (double)sum / (double)ret->counted : 0;
	ret->p99_ns = outcome_percentile(values, ret->counted, 0.99);
	ret->p999_ns = outcome_percentile(values, ret->counted, 0.999);
	ret->per_second = (double)ret->counted * 1e9 / (double)(run->last_ns - run->first_ns);
	ret->wasted = run->wasted;
	ret->lost = run->lost;
	ret->hedges = run->hedges;
	if (!strcmp(run->world->name, "S2") && oracle)
		outcome_adapt(ret, run, oracle, values);
	free(values);
}
