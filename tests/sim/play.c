/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* play.c: plays every contestant in every world of the table, several worlds at a time. */
#include "table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void table_add_outcome(struct table_cell *cell, const struct sim_outcome *outcome)
{
	cell->mean_ns += outcome->mean_ns;
	cell->p99_ns += outcome->p99_ns;
	cell->p999_ns += outcome->p999_ns;
	cell->per_second += outcome->per_second;
	cell->adm_ms[cell->seeds] = outcome->adm_ms;
	cell->adp_ms[cell->seeds] = outcome->adp_ms;
	cell->rec_ms[cell->seeds] = outcome->rec_ms;
	if (outcome->wasted > cell->wasted_max)
		cell->wasted_max = outcome->wasted;
	cell->lost += outcome->lost;
	cell->hedges += outcome->hedges;
	cell->seeds++;
}

/* A world of the table, and where in a row stands what came of it. */
struct table_world {
	char name[12];
	uint32_t seed;
	int situation; /* -1: a topology */
	uint32_t set, at;
};

/* What all workers share: the outcomes, of each world one for each row. */
struct table_work {
	const struct table *table;
	struct table_world *world;
	uint32_t worlds;
	struct sim_outcome *outcome;
	uint32_t *next; /* world that nobody plays yet */
};

/* One world, all contestants. */
static void table_play_world(const struct table_work *work, uint32_t number)
{
	const struct table *table = work->table;
	const struct table_world *what = &work->world[number];
	struct sim_outcome *outcome = &work->outcome[(size_t)number * table->rows];
	struct sim_run oracle, run;
	struct sim_world world;

	if (!world_make(&world, what->name, what->seed))
		assert(!"the catalogue has all situations of the table");
	run_play(&oracle, &world, &table->row[0].contestant);
	outcome_measure(outcome, &oracle, &oracle);
	for (uint32_t i = 1; i < table->rows; i++) {
		if (!table_row_plays(table, &table->row[i], what->name))
			continue;
		run_play(&run, &world, &table->row[i].contestant);
		outcome_measure(&outcome[i], &run, &oracle);
		run_free(&run);
	}
	run_free(&oracle);
	world_free(&world);
}

static void table_work_on(const struct table_work *work)
{
	for (;;) {
		uint32_t number = __atomic_fetch_add(work->next, 1, __ATOMIC_RELAXED);

		if (number >= work->worlds)
			return;
		fprintf(stderr, "\r%u of %u worlds (%s)    ", number, work->worlds,
			work->world[number].name);
		table_play_world(work, number);
	}
}

static void *table_share(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(at != MAP_FAILED);
	return at;
}

/* Worlds know nothing of each other: they are played side by side, and added up in their order, so
 * that the table is the same whatever the number of workers. */
static void table_play_all(struct table_work *work, uint32_t jobs)
{
	bool failed = false;
	int status;

	for (uint32_t i = 1; i < jobs; i++) {
		pid_t pid = fork();

		assert(pid >= 0);
		if (pid == 0) {
			table_work_on(work);
			_exit(0);
		}
	}
	table_work_on(work);
	while (wait(&status) > 0)
		failed |= status != 0;
	if (failed) {
		fprintf(stderr, "a worker of the simulator failed\n");
		exit(2);
	}
}

static void table_add_world(struct table_work *work, const char *name, uint32_t seed, int situation,
			    uint32_t set, uint32_t at)
{
	struct table_world *world = &work->world[work->worlds++];

	assert(work->worlds <= TABLE_WORLDS);
	*world = (struct table_world){ .seed = seed, .situation = situation, .set = set, .at = at };
	snprintf(world->name, sizeof(world->name), "%s", name);
}

static void table_find_worlds(const struct table *table, struct table_work *work)
{
	for (int s = 0; s < TABLE_SITUATIONS; s++)
		for (uint32_t seed = 0; seed < table->options.seeds; seed++)
			if (table_lists(table->options.situations, table_situation[s]))
				table_add_world(work, table_situation[s], seed, s, 0, 0);
	for (uint32_t set = table->first_set; set < TABLE_SETS; set++) {
		for (uint32_t at = 0; at < table->topologies; at++) {
			char name[12];

			snprintf(name, sizeof(name), "T%u", table_set_first(table, set) + at);
			for (uint32_t seed = 0; seed < table->topology_seeds; seed++)
				table_add_world(work, name, seed, -1, set, at);
		}
	}
}

void table_play(struct table *table)
{
	struct table_work work = { .table = table };
	size_t bytes;

	work.world = calloc(TABLE_WORLDS, sizeof(*work.world));
	assert(work.world);
	table_find_worlds(table, &work);
	bytes = (size_t)work.worlds * table->rows * sizeof(*work.outcome);
	work.outcome = table_share(bytes + 1);
	work.next = table_share(sizeof(*work.next));
	table_play_all(&work, table->options.jobs);
	fprintf(stderr, "\r%40s\r", "");
	for (uint32_t i = 0; i < work.worlds; i++) {
		const struct table_world *world = &work.world[i];

		for (uint32_t k = 0; k < table->rows; k++) {
			struct table_row *row = &table->row[k];
			const struct sim_outcome *outcome = &work.outcome[i * table->rows + k];

			if (!k || table_row_plays(table, row, world->name))
				table_add_outcome(world->situation >= 0
							  ? &row->cell[world->situation]
							  : &row->topology[world->set][world->at],
						  outcome);
		}
	}
	munmap(work.outcome, bytes + 1);
	munmap(work.next, sizeof(*work.next));
	free(work.world);
}
