/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * plot.c: what slow.gp draws. S2, in which device 1 runs at a tenth of its speed from 1.5 to 3 s:
 * for each policy a file with the share of each device and the p99 of each span of time.
 */
#include "table.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "policy/native.h"

#define PLOT_SPAN_NS (20 * SIM_MS)
#define PLOT_SPANS   200
#define PLOT_SEEDS   5
#define PLOT_DEVICES 4

struct plot_span {
	uint64_t *ns;
	uint32_t count, room;
	uint32_t taken[PLOT_DEVICES];
};

static void plot_add(struct plot_span *span, const struct sim_told *told)
{
	if (span->count == span->room) {
		span->room = span->room ? 2 * span->room : 4096;
		span->ns = realloc(span->ns, span->room * sizeof(*span->ns));
		assert(span->ns);
	}
	span->ns[span->count++] = told->ns;
	if (told->device < PLOT_DEVICES)
		span->taken[told->device]++;
}

static void plot_gather(struct plot_span *spans, const struct sim_run *run)
{
	for (uint32_t i = 0; i < run->world->requests; i++) {
		uint64_t at = (run->told[i].start_ns - SIM_START_NS) / PLOT_SPAN_NS;

		if (at < PLOT_SPANS)
			plot_add(&spans[at], &run->told[i]);
	}
}

static int plot_write(const char *directory, const char *name, struct plot_span *spans)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/slow-%s.dat", directory, name);
	file = fopen(path, "w");
	if (!file) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	fprintf(file, "# seconds, share of devices 0 .. 3 (%%), p99 (us)\n");
	for (uint32_t i = 0; i < PLOT_SPANS; i++) {
		struct plot_span *span = &spans[i];

		fprintf(file, "%.3f", (double)i * (double)PLOT_SPAN_NS / 1e9);
		for (uint32_t d = 0; d < PLOT_DEVICES; d++)
			fprintf(file, " %.2f", 100.0 * span->taken[d] / (span->count + 1e-9));
		fprintf(file, " %.1f\n", outcome_percentile(span->ns, span->count, 0.99) / 1000);
		free(span->ns);
	}
	if (fclose(file)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	return 0;
}

static int plot_one(const char *directory, const char *policy)
{
	struct sim_contestant contestant = { .name = policy, .policy = policy };
	struct plot_span *spans = calloc(PLOT_SPANS, sizeof(*spans));
	int rc;

	assert(spans);
	for (uint32_t seed = 0; seed < PLOT_SEEDS; seed++) {
		struct sim_world world;
		struct sim_run run;

		fprintf(stderr, "\r%s seed %u of %u      ", policy, seed + 1, PLOT_SEEDS);
		if (!world_make(&world, "S2", seed))
			assert(!"S2 is in the catalogue");
		run_play(&run, &world, &contestant);
		plot_gather(spans, &run);
		run_free(&run);
		world_free(&world);
	}
	fprintf(stderr, "\r%40s\r", "");
	rc = plot_write(directory, policy, spans);
	free(spans);
	return rc;
}

/* The list of policies for slow.gp: the oracle, the default, then the others. */
static int plot_all(const char *directory, const char *policies, FILE *names)
{
	const struct taio_native_policy *twin;
	char name[32];
	int rc;

	fprintf(names, "oracle");
	rc = plot_one(directory, "oracle");
	for (const char *at = policies; !rc && at && *at; at += strcspn(at, ",")) {
		at += *at == ',';
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, ","), at);
		if (!engine_find_policy(name)) {
			fprintf(stderr, "there is no policy '%s'\n", name);
			return 2;
		}
		fprintf(names, " %s", name);
		rc = plot_one(directory, name);
	}
	if (policies)
		return rc;
	fprintf(names, " tab");
	if (!rc)
		rc = plot_one(directory, "tab");
	for (unsigned int i = 0; !rc && (twin = native_at(i)) != NULL; i++) {
		if (!strcmp(twin->name, "tab"))
			continue;
		fprintf(names, " %s", twin->name);
		rc = plot_one(directory, twin->name);
	}
	return rc;
}

int plot_main(const char *directory, const char *policies)
{
	char path[4096];
	FILE *names;
	int rc;

	if (mkdir(directory, 0777) && errno != EEXIST) {
		fprintf(stderr, "%s: %s\n", directory, strerror(errno));
		return 2;
	}
	snprintf(path, sizeof(path), "%s/slow.names", directory);
	names = fopen(path, "w");
	if (!names) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	rc = plot_all(directory, policies, names);
	fprintf(names, "\n");
	if (fclose(names)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 2;
	}
	return rc;
}
