/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * table.h: who plays where, and what is made of it.
 */
#ifndef TAIO_SIM_TABLE_H
#define TAIO_SIM_TABLE_H

#include "sim.h"

#define TABLE_CONTESTANTS 48
#define TABLE_SEEDS       64
#define TABLE_SITUATIONS  14
#define TABLE_WORLDS      2048
#define TABLE_SETS        4   /* of random topologies */
#define TABLE_SET         40  /* topologies in each ... */
#define TABLE_SET_MAX     100 /* ... that was not asked for by its numbers */

struct table_options {
	const char *policies;   /* comma separated; NULL: all */
	const char *situations; /* likewise; "T": random topologies */
	uint32_t seeds;
	uint32_t first_topology, topologies; /* instead of the usual ones; 0, 0: none named */
	uint32_t jobs;                       /* processes */
	bool quick;                          /* for the test suite */
	bool ablations;
};

/* Sums over seeds, of one contestant in one world. */
struct table_cell {
	uint32_t seeds;
	double mean_ns, p99_ns, p999_ns, per_second;
	uint64_t wasted_max, lost, hedges;
	uint64_t adm_ms[TABLE_SEEDS], adp_ms[TABLE_SEEDS], rec_ms[TABLE_SEEDS];
};

enum table_role {
	TABLE_REFERENCE,
	TABLE_POLICY,
	TABLE_VARIANT, /* of tab, everywhere */
	TABLE_ABLATION /* in some situations */
};

struct table_row {
	struct sim_contestant contestant;
	enum table_role role;
	const char *where; /* ablations: names of situations, with spaces around */
	struct table_cell cell[TABLE_SITUATIONS];
	struct table_cell topology[TABLE_SETS][TABLE_SET_MAX];
};

struct table {
	struct table_options options;
	struct table_row *row; /* row[0] is the oracle */
	uint32_t rows;
	uint32_t first_set;  /* that is played */
	uint32_t topologies; /* of each set */
	uint32_t topology_seeds;
};

extern const char *const table_situation[TABLE_SITUATIONS];

/* Return: false: a policy that is asked for does not exist (a sentence was printed). */
bool table_open(struct table *table, const struct table_options *options);
void table_play(struct table *table);
void table_print(const struct table *table);
/* Prints each target and how it stands. Return: how many are missed. */
uint32_t table_targets(const struct table *table);
void table_close(struct table *table);

/* Is @name in a list that is separated by commas? In no list at all is everything. */
bool table_lists(const char *list, const char *name);
/* Does that contestant play in that world? */
bool table_row_plays(const struct table *table, const struct table_row *row, const char *situation);
/* Number of the first topology of a set. */
uint32_t table_set_first(const struct table *table, uint32_t set);
/* Mean over the oracle's, of that topology. */
double table_topology_ratio(const struct table *table, const struct table_row *row, uint32_t set,
			    uint32_t at, bool p99);

int scale_main(void);
int plot_main(const char *directory, const char *policies);

#endif /* TAIO_SIM_TABLE_H */
