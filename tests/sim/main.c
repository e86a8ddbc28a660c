/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* main.c: the command line of the simulator; see docs/policy-simulator.md. */
#include "table.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char main_usage[] =
	"usage: sim [--policy NAME,...] [--in S0,S1,T,...] [--seeds N] [--no-ablations] [--quick]\n"
	"           [--topologies FIRST-LAST] [--jobs N]\n"
	"       sim --scale\n"
	"       sim --plot DIRECTORY [--policy NAME,...]\n"
	"Plays policies against each other in virtual time. Without --scale and --plot: the table of\n"
	"all situations; ends with 1 when a target is missed. --quick: what the test suite holds.\n"
	"--topologies: random machines by their numbers, instead of the usual ones and alone.\n";

/* "2000-2079" */
static bool main_topologies(const char *text, struct table_options *options)
{
	unsigned int first, last;
	char end;

	if (sscanf(text, "%u-%u%c", &first, &last, &end) != 2 || last < first ||
	    last - first >= TABLE_SET_MAX) {
		fprintf(stderr, "topologies: FIRST-LAST, at most %d\n", TABLE_SET_MAX);
		return false;
	}
	options->first_topology = first;
	options->topologies = last - first + 1;
	options->situations = "T";
	return true;
}

static int main_table(const struct table_options *options)
{
	struct table table;
	uint32_t missed;

	if (!table_open(&table, options))
		return 2;
	table_play(&table);
	table_print(&table);
	missed = table_targets(&table);
	table_close(&table);
	if (missed)
		printf("\n%u target%s missed\n", missed, missed > 1 ? "s" : "");
	return missed != 0;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "policy", required_argument, NULL, 'p' },
		{ "in", required_argument, NULL, 'i' },
		{ "seeds", required_argument, NULL, 's' },
		{ "no-ablations", no_argument, NULL, 'a' },
		{ "quick", no_argument, NULL, 'q' },
		{ "topologies", required_argument, NULL, 't' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "scale", no_argument, NULL, 'S' },
		{ "plot", required_argument, NULL, 'P' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct table_options options = { .seeds = 10, .ablations = true };
	const char *directory = NULL;
	bool scale = false;
	int c;

	while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (c) {
		case 'p':
			options.policies = optarg;
			break;
		case 'i':
			options.situations = optarg;
			break;
		case 's':
			options.seeds = (uint32_t)atoi(optarg);
			if (options.seeds < 1 || options.seeds > TABLE_SEEDS) {
				fprintf(stderr, "seeds: from 1 to %d\n", TABLE_SEEDS);
				return 2;
			}
			break;
		case 'a':
			options.ablations = false;
			break;
		case 'q':
			options.quick = true;
			options.ablations = false;
			options.seeds = 1;
			break;
		case 't':
			if (!main_topologies(optarg, &options))
				return 2;
			break;
		case 'j':
			options.jobs = (uint32_t)atoi(optarg);
			if (options.jobs < 1 || options.jobs > 64) {
				fprintf(stderr, "jobs: from 1 to 64\n");
				return 2;
			}
			break;
		case 'S':
			scale = true;
			break;
		case 'P':
			directory = optarg;
			break;
		case 'h':
			fputs(main_usage, stdout);
			return 0;
		default:
			fputs(main_usage, stderr);
			return 2;
		}
	}
	if (!options.jobs) {
		long cores = sysconf(_SC_NPROCESSORS_ONLN);

		options.jobs = cores < 1 ? 1 : cores > 64 ? 64 : (uint32_t)cores;
	}
	if (optind < argc) {
		fprintf(stderr, "'%s' is not an option\n%s", argv[optind], main_usage);
		return 2;
	}
	if (scale)
		return scale_main();
	if (directory)
		return plot_main(directory, options.policies);
	return main_table(&options);
}
