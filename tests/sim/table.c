/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* table.c: who plays where, and how it is printed; play.c plays. */
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/native.h"
#include "taio.h"

const char *const table_situation[TABLE_SITUATIONS] = {
	"S0", "S1", "S11", "S2", "S3", "S4", "S5", "S51", "S6", "S7", "S8", "S81", "S9", "S10"
};

/* What each guard of the picker is worth, and what it costs to be told wrong. */
static const struct {
	struct sim_contestant contestant;
	const char *where;
} table_ablation[] = {
	{ { "tab, no age of what is in flight", "tab", SIM_NO_AGE, 0 }, " S1 S2 S3 " },
	{ { "tab, no breaker", "tab", SIM_NO_BREAKER, 0 }, " S1 S7 " },
	{ { "tab, no probes", "tab", SIM_NO_PROBE, 0 }, " S0 S1 S2 S3 " },
	{ { "tab, no hysteresis", "tab", SIM_NO_STICKING, 0 }, " S0 S1 S11 S5 S9 " },
	{ { "tab, no memory of decisions", "tab", SIM_NO_MEMORY, 0 }, " S0 S1 S11 S5 S9 " },
	{ { "tab, no admission limit", "tab", SIM_NO_LIMIT, 0 }, " S1 S5 S51 S6 S9 " },
	{ { "tab, clumps decided at once", "tab", SIM_FROZEN, 0 }, " S9 " },
	{ { "jsq, clumps decided at once", "jsq", SIM_FROZEN, 0 }, " S9 " },
	{ { "tab, prices at each completion", "tab", 0, 1 }, " S0 S1 S2 S3 S5 S8 " },
	{ { "tab, prices each 5 ms", "tab", 0, 5000 }, " S0 S1 S2 S3 S5 S8 " },
	{ { "tab, nothing published", "tab", SIM_UNPUBLISHED, 0 }, " S0 S1 S2 S5 S8 " },
	{ { "tab, published parallelism x4", "tab", SIM_PARALLEL_X4, 0 }, " S0 S1 S2 S5 S8 " },
	{ { "tab, one published as 4x slower", "tab", SIM_SLOWNESS_X4, 0 }, " S0 S1 S2 S5 S8 " },
};

/* ---- who plays ---- */

static struct table_row *table_add(struct table *table, const char *name, const char *policy,
				   enum table_role role)
{
	struct table_row *row = &table->row[table->rows++];

	assert(table->rows <= TABLE_CONTESTANTS);
	row->contestant.name = name;
	row->contestant.policy = policy;
	row->role = role;
	return row;
}

bool table_lists(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; at && *at; at += strcspn(at, ",")) {
		at += *at == ',';
		if (strcspn(at, ",") == length && !memcmp(at, name, length))
			return true;
	}
	return !list;
}

static bool table_are_known(const char *policies)
{
	char name[32];

	for (const char *at = policies; at && *at; at += strcspn(at, ",")) {
		at += *at == ',';
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, ","), at);
		if (!engine_find_policy(name)) {
			fprintf(stderr, "there is no policy '%s'\n", name);
			return false;
		}
	}
	return true;
}

bool table_open(struct table *table, const struct table_options *options)
{
	const struct taio_native_policy *twin;

	memset(table, 0, sizeof(*table));
	table->options = *options;
	if (!table_are_known(options->policies))
		return false;
	table->row = calloc(TABLE_CONTESTANTS, sizeof(*table->row));
	assert(table->row);
	table->topologies = options->quick ? 12 : TABLE_SET;
	table->first_set = options->quick ? TABLE_SETS - 2 : 0;
	if (!table_lists(options->situations, "T"))
		table->topologies = 0;
	if (options->topologies) {
		table->topologies = options->topologies;
		table->first_set = TABLE_SETS - 1;
	}
	table->topology_seeds = options->seeds >= 10 ? 2 : 1;
	table_add(table, "oracle", "oracle", TABLE_REFERENCE);
	if (!options->quick)
		table_add(table, "informed", "informed", TABLE_REFERENCE);
	for (unsigned int i = 0; (twin = native_at(i)) != NULL; i++)
		if (table_lists(options->policies, twin->name))
			table_add(table, twin->name, twin->name, TABLE_POLICY);
	if (table_lists(options->policies, "c3"))
		table_add(table, "c3", "c3", TABLE_POLICY);
	if (table_lists(options->policies, "tab"))
		table_add(table, "tab + hedge", "tab", TABLE_VARIANT)->contestant.without =
			SIM_HEDGE;
	for (size_t i = 0; i < sizeof(table_ablation) / sizeof(table_ablation[0]); i++) {
		struct table_row *row;

		if (!options->ablations ||
		    !table_lists(options->policies, table_ablation[i].contestant.policy))
			continue;
		row = table_add(table, NULL, NULL, TABLE_ABLATION);
		row->contestant = table_ablation[i].contestant;
		row->where = table_ablation[i].where;
	}
	return true;
}

void table_close(struct table *table)
{
	free(table->row);
}

bool table_row_plays(const struct table *table, const struct table_row *row, const char *situation)
{
	char name[12];

	/* Who names situations wants to see everybody there. */
	if (row->role == TABLE_VARIANT && table->options.quick)
		return !strcmp(situation, "S3");
	if (!row->where || (table->options.situations && situation[0] != 'T'))
		return situation[0] != 'T' || row->role != TABLE_VARIANT;
	snprintf(name, sizeof(name), " %s ", situation);
	return strstr(row->where, name) != NULL;
}

uint32_t table_set_first(const struct table *table, uint32_t set)
{
	static const uint32_t first[TABLE_SETS - 1] = { 100, 140, 200 };
	unsigned int major = 0, minor = 0;

	if (set < TABLE_SETS - 1)
		return first[set];
	if (table->options.topologies)
		return table->options.first_topology;
	/* Topologies that no earlier release has seen. */
	(void)sscanf(TAIO_VERSION, "%u.%u", &major, &minor);
	return 1000 + TABLE_SET * (100 * major + minor);
}

/* ---- printing ---- */

static void table_print_ratio(double value)
{
	if (value < 9.995)
		printf("%4.2f", value);
	else if (value < 999.5)
		printf("%4.0f", value);
	else
		printf("%4s", ">1e3");
}

static void table_print_cell(const struct table_cell *cell, const struct table_cell *oracle)
{
	if (!cell->seeds) {
		printf("%11s", "");
		return;
	}
	printf("  ");
	table_print_ratio(cell->mean_ns / oracle->mean_ns);
	printf("/");
	table_print_ratio(cell->p99_ns / oracle->p99_ns);
}

static void table_print_situations(const struct table *table)
{
	const struct table_row *oracle = &table->row[0];

	printf("Mean and p99, each divided by the oracle's (%u seeds; first row: the oracle's, us)\n",
	       table->options.seeds);
	printf("%-33s", "");
	for (int s = 0; s < TABLE_SITUATIONS; s++)
		printf("  %-9s", table_situation[s]);
	printf("\n%-33s", "oracle");
	for (int s = 0; s < TABLE_SITUATIONS; s++) {
		if (!oracle->cell[s].seeds) {
			printf("%11s", "");
			continue;
		}
		printf("  %4.0f/%-4.0f", oracle->cell[s].mean_ns / oracle->cell[s].seeds / 1000,
		       oracle->cell[s].p99_ns / oracle->cell[s].seeds / 1000);
	}
	printf("\n");
	for (uint32_t i = 1; i < table->rows; i++) {
		const struct table_row *row = &table->row[i];

		printf("%-33s", row->contestant.name);
		for (int s = 0; s < TABLE_SITUATIONS; s++)
			table_print_cell(&row->cell[s], &oracle->cell[s]);
		printf("\n");
	}
}

static int table_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Milliseconds: the median of the seeds, and the worst. */
static void table_print_ms(const uint64_t *ms, uint32_t count)
{
	uint64_t sorted[TABLE_SEEDS];
	char middle[16], worst[16];

	memcpy(sorted, ms, count * sizeof(*ms));
	qsort(sorted, count, sizeof(*sorted), table_compare);
	snprintf(middle, sizeof(middle), sorted[count / 2] >= OUTCOME_NEVER ? "never" : "%llu",
		 (unsigned long long)sorted[count / 2]);
	snprintf(worst, sizeof(worst), sorted[count - 1] >= OUTCOME_NEVER ? "(never)" : "(%llu)",
		 (unsigned long long)sorted[count - 1]);
	printf(" %5s %-7s", middle, worst);
}

static void table_print_details(const struct table *table)
{
	enum {
		S2 = 3,
		S3 = 4,
		S51 = 7,
		S7 = 9
	};
	const struct table_row *oracle = &table->row[0];

	printf("\nS2, ms until the mean is 1.5x the oracle's, until p99 is 2x, until the mean is "
	       "1.5x again after healing:\nmedian (worst) of the seeds; S3 p99.9 divided by the "
	       "oracle's; S51 requests/ms; S7 most attempts wasted, all requests lost\n");
	printf("%-33s %-13s %-13s %-13s %8s %8s %8s %6s\n", "", "  slow: mean", "  slow: p99",
	       "  healed", "S3 p99.9", "S51", "wasted", "lost");
	for (uint32_t i = 0; i < table->rows; i++) {
		const struct table_row *row = &table->row[i];

		if (row->role == TABLE_ABLATION && !row->cell[S2].seeds && !row->cell[S7].seeds &&
		    !row->cell[S3].seeds)
			continue;
		printf("%-33s", row->contestant.name);
		if (row->cell[S2].seeds) {
			table_print_ms(row->cell[S2].adm_ms, row->cell[S2].seeds);
			table_print_ms(row->cell[S2].adp_ms, row->cell[S2].seeds);
			table_print_ms(row->cell[S2].rec_ms, row->cell[S2].seeds);
		} else {
			printf("%42s", "");
		}
		if (row->cell[S3].seeds)
			printf(" %8.2f", row->cell[S3].p999_ns / oracle->cell[S3].p999_ns);
		else
			printf(" %8s", "");
		if (row->cell[S51].seeds)
			printf(" %8.1f", row->cell[S51].per_second / row->cell[S51].seeds / 1000);
		else
			printf(" %8s", "");
		if (row->cell[S7].seeds)
			printf(" %8llu %6llu", (unsigned long long)row->cell[S7].wasted_max,
			       (unsigned long long)row->cell[S7].lost);
		printf("\n");
	}
}

double table_topology_ratio(const struct table *table, const struct table_row *row, uint32_t set,
			    uint32_t at, bool p99)
{
	const struct table_cell *own = &row->topology[set][at];
	const struct table_cell *best = &table->row[0].topology[set][at];

	return p99 ? own->p99_ns / best->p99_ns : own->mean_ns / best->mean_ns;
}

static int table_compare_ratio(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void table_print_set(const struct table *table, const struct table_row *row, uint32_t set)
{
	uint32_t n = table->topologies;

	for (int p99 = 0; p99 < 2; p99++) {
		double ratio[TABLE_SET_MAX];

		for (uint32_t i = 0; i < n; i++)
			ratio[i] = table_topology_ratio(table, row, set, i, p99);
		qsort(ratio, n, sizeof(*ratio), table_compare_ratio);
		printf(p99 ? " [" : "  ");
		table_print_ratio(ratio[n / 2]);
		printf("/");
		table_print_ratio(ratio[n * 9 / 10]);
		printf("/");
		table_print_ratio(ratio[n - 1]);
		printf(p99 ? "]" : "");
	}
}

static void table_print_topologies(const struct table *table)
{
	printf("\nRandom topologies, mean divided by the oracle's [p99 likewise]: median/p90/max of "
	       "%u (%u seed%s)\n%-20s",
	       table->topologies, table->topology_seeds, table->topology_seeds > 1 ? "s" : "", "");
	for (uint32_t set = table->first_set; set < TABLE_SETS; set++) {
		char name[40];

		snprintf(name, sizeof(name), "T%u-%u%s", table_set_first(table, set),
			 table_set_first(table, set) + table->topologies - 1,
			 set == 2                ? ", one slow"
			 : set == TABLE_SETS - 1 ? ", new"
						 : "");
		printf("  %-31s", name);
	}
	printf("\n");
	for (uint32_t i = 1; i < table->rows; i++) {
		if (table->row[i].role > TABLE_POLICY)
			continue;
		printf("%-20s", table->row[i].contestant.name);
		for (uint32_t set = table->first_set; set < TABLE_SETS; set++)
			table_print_set(table, &table->row[i], set);
		printf("\n");
	}
}

void table_print(const struct table *table)
{
	table_print_situations(table);
	table_print_details(table);
	if (table->topologies)
		table_print_topologies(table);
}
