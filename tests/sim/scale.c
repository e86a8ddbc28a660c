/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * scale.c: many devices and many engines, and what gives way first. A kind of request has at most
 * 16 candidates, so 64 devices are four kinds with 16 devices each; 64 engines share maps, and who
 * comes later learns alone.
 */
#include "table.h"

#include <stdio.h>
#include <string.h>

#define SCALE_NS (1500 * SIM_MS)

struct scale_case {
	const char *what;
	uint32_t groups, engines, shared, percent;
	bool one_kind;
};

static const struct scale_case scale_cases[] = {
	{ "16 devices, 1 engine", 1, 1, 0, 70, false },
	{ "32 devices, 1 engine", 2, 1, 0, 70, false },
	{ "64 devices, 1 engine", 4, 1, 0, 70, false },
	{ "64 devices, 8 engines, shared", 4, 8, 8, 70, false },
	{ "64 devices, 64 engines, shared", 4, 64, 64, 70, false },
	{ "64 devices, 64 engines, private", 4, 64, 0, 70, false },
	{ "64 devices of one kind, 1 engine", 4, 1, 0, 20, true },
	{ "16 devices, 8 engines, private", 1, 8, 0, 70, false },
	{ "16 devices, 8 engines, shared", 1, 8, 8, 70, false },
	{ "16 devices, 64 engines, private", 1, 64, 0, 70, false },
	{ "16 devices, 64 engines, shared", 1, 64, 64, 70, false },
	{ "16 devices, 1000 engines, private", 1, 1000, 0, 70, false },
	{ "16 devices, 1000 engines, 64 shared", 1, 1000, 64, 70, false },
};

static const struct sim_contestant scale_contestants[] = {
	{ "oracle", "oracle", 0, 0 },
	{ "informed", "informed", 0, 0 },
	{ "tab", "tab", 0, 0 },
	{ "jsq", "jsq", 0, 0 },
};

static void scale_figures(const struct sim_run *run)
{
	const struct sim_engine_figures *f = &run->figures;
	double told = (double)(f->samples + f->thinned + f->dropped);

	if (strcmp(run->contestant->policy, "tab") != 0)
		return;
	printf("  %6.1f %7.2f %7.2f %8.1f", 100 * (double)f->thinned / told,
	       100 * (double)f->dropped / told, (double)f->cells_late / (double)f->ticks,
	       (double)f->tick_wall_ns / (double)f->ticks / 1000);
}

static void scale_play(const struct scale_case *scale)
{
	struct sim_outcome outcome, best = { 0 };
	struct sim_world world;

	world_make_large(&world, scale->groups, scale->engines, scale->shared, scale->percent,
			 SCALE_NS, 0);
	if (scale->one_kind) {
		world.one_kind = true;
		for (uint32_t i = 0; i < world.requests; i++)
			world.request[i].group = 0;
	}
	printf("%-36s %6.0f", scale->what, (double)world.requests / (double)(SCALE_NS / SIM_MS));
	for (size_t i = 0; i < sizeof(scale_contestants) / sizeof(scale_contestants[0]); i++) {
		struct sim_run run;

		run_play(&run, &world, &scale_contestants[i]);
		outcome_measure(&outcome, &run, NULL);
		if (i == 0)
			best = outcome;
		else
			printf("  %6.2f/%-6.2f", outcome.mean_ns / best.mean_ns,
			       outcome.p99_ns / best.p99_ns);
		scale_figures(&run);
		fflush(stdout);
		run_free(&run);
	}
	printf("\n");
	world_free(&world);
}

int scale_main(void)
{
	printf("Mean and p99, each divided by the oracle's, at 70 %% load (of one kind: 20 %%). For "
	       "tab also: samples thinned\nand lost (%%), cells that wait for their prices after a "
	       "tick, and what a tick takes here (us, as measured now)\n\n");
	printf("%-36s %6s  %-13s  %-13s  %6s %7s %7s %8s  %-13s\n", "", "req/ms", "informed", "tab",
	       "thin %", "lost %", "late", "tick us", "jsq");
	for (size_t i = 0; i < sizeof(scale_cases) / sizeof(scale_cases[0]); i++)
		scale_play(&scale_cases[i]);
	return 0;
}
