/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* targets.c: the figures that the default policy must reach, each on a line of its own. */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct targets {
	const struct table *table;
	uint32_t missed;
};

static void targets_judge(struct targets *targets, bool met, const char *what, double value,
			  const char *than, double limit)
{
	printf("%-6s %-66s %8.2f  %s %.2f\n", met ? "ok" : "MISSED", what, value, than, limit);
	targets->missed += !met;
}

static void targets_most(struct targets *targets, const char *what, double value, double limit)
{
	targets_judge(targets, value <= limit, what, value, "at most", limit);
}

static const struct table_row *targets_row(const struct targets *targets, const char *name)
{
	for (uint32_t i = 0; i < targets->table->rows; i++)
		if (!strcmp(targets->table->row[i].contestant.name, name))
			return &targets->table->row[i];
	return NULL;
}

static uint32_t targets_at(const char *situation)
{
	uint32_t s = 0;

	while (strcmp(table_situation[s], situation) != 0)
		s++;
	return s;
}

enum targets_of {
	TARGETS_MEAN,
	TARGETS_P99,
	TARGETS_P999
};

static double targets_ratio(const struct targets *targets, const struct table_row *row,
			    const char *situation, enum targets_of of)
{
	const struct table_cell *own = &row->cell[targets_at(situation)];
	const struct table_cell *best = &targets->table->row[0].cell[targets_at(situation)];

	return of == TARGETS_MEAN  ? own->mean_ns / best->mean_ns
	       : of == TARGETS_P99 ? own->p99_ns / best->p99_ns
				   : own->p999_ns / best->p999_ns;
}

static bool targets_played(const struct table_row *row, const char *situation)
{
	return row->cell[targets_at(situation)].seeds > 0;
}

static void targets_ratio_most(struct targets *targets, const struct table_row *row,
			       const char *situation, enum targets_of of, double limit)
{
	static const char *const name[] = { "mean", "p99", "p99.9" };
	char what[80];

	if (!targets_played(row, situation))
		return;
	snprintf(what, sizeof(what), "%s in %s: %s", row->contestant.name, situation, name[of]);
	targets_most(targets, what, targets_ratio(targets, row, situation, of), limit);
}

static int targets_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Median, nine of ten and the worst (0: not held) of the topologies of a set. */
static void targets_topologies(struct targets *targets, const struct table_row *row, uint32_t set,
			       double median, double most, double worst)
{
	uint32_t n = targets->table->topologies, first = table_set_first(targets->table, set);
	double ratio[TABLE_SET_MAX];
	char what[80];

	if (!n || set < targets->table->first_set)
		return;
	for (uint32_t i = 0; i < n; i++)
		ratio[i] = table_topology_ratio(targets->table, row, set, i, false);
	qsort(ratio, n, sizeof(*ratio), targets_compare);
	snprintf(what, sizeof(what), "topologies T%u-%u: median of the mean", first, first + n - 1);
	targets_most(targets, what, ratio[n / 2], median);
	snprintf(what, sizeof(what), "topologies T%u-%u: p90 of the mean", first, first + n - 1);
	targets_most(targets, what, ratio[n * 9 / 10], most);
	if (worst > 0) {
		snprintf(what, sizeof(what), "topologies T%u-%u: worst mean", first, first + n - 1);
		targets_most(targets, what, ratio[n - 1], worst);
	}
}

static double targets_median_ms(const uint64_t *ms, uint32_t count)
{
	double sorted[TABLE_SEEDS];

	for (uint32_t i = 0; i < count; i++)
		sorted[i] = (double)ms[i];
	qsort(sorted, count, sizeof(*sorted), targets_compare);
	return sorted[count / 2];
}

static void targets_adaptation(struct targets *targets, const struct table_row *row)
{
	const struct table_cell *cell = &row->cell[targets_at("S2")];

	if (!cell->seeds)
		return;
	targets_most(targets, "tab in S2: ms until p99 is 2x the oracle's, median of the seeds",
		     targets_median_ms(cell->adp_ms, cell->seeds), 10);
	targets_most(targets, "tab in S2: ms until the mean is 1.5x after healing, median",
		     targets_median_ms(cell->rec_ms, cell->seeds), 50);
}

static void targets_rivals(struct targets *targets, const struct table_row *row)
{
	static const char *const rivals[] = { "jsq", "rr", "peak", "hst", "c3" };
	static const char *const where[] = { "S0", "S1", "S2", "S3", "S4", "S7", "S9", "S10" };
	char what[80];

	for (size_t i = 0; i < sizeof(rivals) / sizeof(rivals[0]); i++) {
		const struct table_row *rival = targets_row(targets, rivals[i]);
		double closest = 0;
		const char *at = "";

		for (size_t s = 0; rival && s < sizeof(where) / sizeof(where[0]); s++) {
			double ratio;

			if (!targets_played(row, where[s]))
				continue;
			ratio = targets_ratio(targets, row, where[s], TARGETS_MEAN) /
				targets_ratio(targets, rival, where[s], TARGETS_MEAN);
			if (ratio > closest) {
				closest = ratio;
				at = where[s];
			}
		}
		if (!rival || closest <= 0)
			continue;
		snprintf(what, sizeof(what), "tab against %s where it is closest (%s): mean",
			 rivals[i], at);
		targets_most(targets, what, closest, 0.85);
	}
}

static void targets_throughput(struct targets *targets, const struct table_row *row)
{
	const struct table_cell *own = &row->cell[targets_at("S51")];
	const struct table_cell *best = &targets->table->row[0].cell[targets_at("S51")];
	double share = own->per_second / best->per_second;

	if (!own->seeds)
		return;
	targets_judge(targets, share >= 0.94, "tab in S51: throughput of the oracle's", share,
		      "at least", 0.94);
}

static void targets_faults(struct targets *targets)
{
	for (uint32_t i = 1; i < targets->table->rows; i++) {
		const struct table_row *row = &targets->table->row[i];
		const struct table_cell *cell = &row->cell[targets_at("S7")];
		char what[80];

		if (row->role != TABLE_POLICY || !cell->seeds)
			continue;
		snprintf(what, sizeof(what), "%s in S7: most wasted attempts",
			 row->contestant.name);
		targets_most(targets, what, (double)cell->wasted_max, 100);
		snprintf(what, sizeof(what), "%s in S7: requests lost", row->contestant.name);
		targets_most(targets, what, (double)cell->lost, 0);
	}
}

uint32_t table_targets(const struct table *table)
{
	static const char *const usual[] = { "S0", "S1", "S4", "S11" };
	struct targets targets = { .table = table };
	const struct table_row *tab = targets_row(&targets, "tab");
	const struct table_row *hedge = targets_row(&targets, "tab + hedge");

	printf("\n");
	targets_faults(&targets);
	if (!tab)
		return targets.missed;
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		targets_ratio_most(&targets, tab, usual[i], TARGETS_MEAN, 1.20);
		targets_ratio_most(&targets, tab, usual[i], TARGETS_P99, 1.25);
	}
	targets_ratio_most(&targets, tab, "S2", TARGETS_MEAN, 1.10);
	targets_adaptation(&targets, tab);
	targets_ratio_most(&targets, hedge, "S3", TARGETS_MEAN, 1.6);
	targets_ratio_most(&targets, hedge, "S3", TARGETS_P99, 1.7);
	targets_ratio_most(&targets, hedge, "S3", TARGETS_P999, 1.5);
	targets_ratio_most(&targets, tab, "S5", TARGETS_MEAN, 1.15);
	targets_ratio_most(&targets, tab, "S5", TARGETS_P99, 1.30);
	targets_throughput(&targets, tab);
	targets_ratio_most(&targets, tab, "S81", TARGETS_MEAN, 1.15);
	targets_ratio_most(&targets, tab, "S8", TARGETS_MEAN, 1.30);
	targets_topologies(&targets, tab, TABLE_SETS - 1, 1.10, 1.20, 1.40);
	targets_topologies(&targets, tab, 2, 1.10, 1.20, 0);
	targets_rivals(&targets, tab);
	return targets.missed;
}
