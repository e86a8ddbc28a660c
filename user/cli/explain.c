/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * explain.c: which device ran each step of a copy, how fast, and why that one: the traces of all
 * requests of a run added up, printed as two tables.
 */
#include "cli/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPLAIN_ROWS 96
#define EXPLAIN_CANDIDATES                                  \
	(sizeof(((struct taio_trace_step *)0)->candidate) / \
	 sizeof(((struct taio_trace_step *)0)->candidate[0]))

struct explain {
	unsigned int used;
	uint64_t lost;
	struct taio_trace_step row[EXPLAIN_ROWS]; /* step, device and why are the key */
};

struct explain *explain_open(void)
{
	return calloc(1, sizeof(struct explain));
}

void explain_close(struct explain *explain)
{
	free(explain);
}

static void explain_add_step(struct explain *explain, const struct taio_trace_step *step)
{
	struct taio_trace_step *row = explain->row;
	struct taio_trace_step sum;

	while (row < explain->row + explain->used &&
	       (row->step != step->step || row->device != step->device || row->why != step->why))
		row++;
	if (row == explain->row + EXPLAIN_ROWS) {
		explain->lost += step->count;
		return;
	}
	if (row == explain->row + explain->used) {
		explain->used++;
		*row = *step;
		return;
	}
	/* candidates are those of the latest decision */
	sum = *step;
	sum.count += row->count;
	sum.bytes += row->bytes;
	sum.ns += row->ns;
	sum.predicted_ns += row->predicted_ns;
	*row = sum;
}

void explain_add(struct explain *explain, const struct taio_trace *trace)
{
	for (uint32_t i = 0; i < trace->used; i++)
		explain_add_step(explain, &trace->step[i]);
	explain->lost += trace->lost;
}

/* Why a device ran a step. */
static const char *explain_why(unsigned int why)
{
	switch (why) {
	case TAIO_WHY_PRICE:
		return "cheapest";
	case TAIO_WHY_ONLY:
		return "the only one";
	case TAIO_WHY_PIN:
		return "pinned";
	case TAIO_WHY_PROBE:
		return "to learn its price";
	case TAIO_WHY_HEDGE:
		return "the first was late";
	case TAIO_WHY_RETRY:
		return "another one failed";
	case TAIO_WHY_SPREAD:
		return "another core was free";
	case TAIO_WHY_POLICY:
		return "picked by the policy for this request";
	default:
		return taio_why_name(why);
	}
}

/* Why a device was left out; "dearer" is said with figures instead. */
static const char *explain_why_not(unsigned int why)
{
	switch (why) {
	case TAIO_WHY_PIN:
		return "not among the pinned";
	case TAIO_WHY_FORBIDDEN:
		return "forbidden";
	case TAIO_WHY_QUARANTINE:
		return "failed lately";
	case TAIO_WHY_BLOCKING:
		return "would stop the other requests";
	case TAIO_WHY_FULL:
		return "its queue is full";
	case TAIO_WHY_UNFIT:
		return "cannot do this one";
	case TAIO_WHY_UNAVAILABLE:
		return "not available here";
	case TAIO_WHY_DETOUR:
		return "nobody else waits: no thread needed";
	case TAIO_WHY_TAKEN:
		return "another device has taken the source over";
	case TAIO_WHY_TAKING:
		return "taking the source over does not pay yet";
	default:
		return taio_why_name(why);
	}
}

static void explain_steps(const struct explain *explain, struct taio *engine, struct table *table)
{
	static const char *const heading[] = { "STEP", "DEVICE", "RUNS", "BYTES",
					       "TIME", "SPEED",  "WHY" };
	char text[CLI_TEXT];

	table->flags[2] = table->flags[3] = table->flags[4] = table->flags[5] = TABLE_RIGHT;
	table->flags[6] = TABLE_DIM | TABLE_WRAP;
	for (unsigned int i = 0; i < 7; i++)
		table_cell(table, heading[i]);
	for (unsigned int i = 0; i < explain->used; i++) {
		const struct taio_trace_step *row = &explain->row[i];

		table_cell(table, taio_step_name(row->step));
		table_cell(table, taio_device_name(engine, row->device));
		table_cell(table, cli_count_text(text, row->count));
		table_cell(table, row->bytes ? cli_bytes_text(text, row->bytes) : "");
		table_cell(table, cli_duration_text(text, row->ns));
		table_cell(table,
			   row->bytes ? cli_rate_text(text, cli_rate(row->bytes, row->ns)) : "");
		table_cell(table, explain_why(row->why));
	}
}

/* What this device took for a step of this type in this run, on the average; 0: it ran none. */
static uint64_t explain_measured(const struct explain *explain, unsigned int step,
				 unsigned int device)
{
	uint64_t ns = 0, count = 0;

	for (unsigned int i = 0; i < explain->used; i++) {
		if (explain->row[i].step == step && explain->row[i].device == device) {
			ns += explain->row[i].ns;
			count += explain->row[i].count;
		}
	}
	return count ? ns / count : 0;
}

static uint64_t explain_predicted(uint32_t us_q8)
{
	return (uint64_t)us_q8 * 1000 / 256;
}

static void explain_candidate(const struct explain *explain, struct taio *engine,
			      const struct taio_trace_step *row, unsigned int device,
			      uint64_t predicted_ns, struct table *table)
{
	uint64_t measured_ns = explain_measured(explain, row->step, device);
	char text[CLI_TEXT];

	table_cell(table, taio_device_name(engine, device));
	table_cell(table, predicted_ns ? cli_duration_text(text, predicted_ns) : "");
	table_cell(table, measured_ns ? cli_duration_text(text, measured_ns) : "");
}

/* What the chosen device was predicted to cost, for one step. */
static uint64_t explain_chosen(const struct taio_trace_step *row)
{
	return row->count ? row->predicted_ns / row->count : 0;
}

static void explain_left_out(const struct explain *explain, struct taio *engine,
			     const struct taio_trace_step *row, unsigned int index,
			     struct table *table)
{
	unsigned int why = row->candidate[index].why_not;
	uint64_t predicted = explain_predicted(row->candidate[index].predicted_us_q8);
	uint64_t chosen = explain_chosen(row);

	explain_candidate(explain, engine, row, row->candidate[index].device, predicted, table);
	if (why != TAIO_WHY_PRICE)
		table_cell(table, explain_why_not(why));
	else if (chosen && predicted > chosen)
		table_cellf(table, "dearer, %llu.%02llu times",
			    (unsigned long long)(predicted / chosen),
			    (unsigned long long)(predicted % chosen * 100 / chosen));
	else
		table_cell(table, "dearer at that load");
}

/* The row whose last decision stands for all: the one that carried most of the bytes. */
static const struct taio_trace_step *explain_main(const struct explain *explain)
{
	const struct taio_trace_step *best = NULL;

	for (unsigned int i = 0; i < explain->used; i++) {
		const struct taio_trace_step *row = &explain->row[i];

		if (row->candidates > 0 && (best == NULL || row->bytes > best->bytes))
			best = row;
	}
	return best;
}

static void explain_choice(const struct explain *explain, struct taio *engine, struct table *table,
			   const struct taio_trace_step *row)
{
	unsigned int used = row->candidates < EXPLAIN_CANDIDATES ? row->candidates
								 : EXPLAIN_CANDIDATES;

	table->flags[1] = table->flags[2] = TABLE_RIGHT;
	table->flags[3] = TABLE_WRAP;
	table_cell(table, "CANDIDATE");
	table_cell(table, "PREDICTED");
	table_cell(table, "MEASURED");
	table_cell(table, "VERDICT");
	/* it need not be among the candidates: there is only room for some */
	explain_candidate(explain, engine, row, row->device, explain_chosen(row), table);
	table_cellf(table, "taken: %s", explain_why(row->why));
	/* those with a price, then those that could not be taken */
	for (int priced = 1; priced >= 0; priced--) {
		for (unsigned int i = 0; i < used; i++) {
			if (row->candidate[i].device != row->device &&
			    (row->candidate[i].why_not == TAIO_WHY_PRICE) == priced)
				explain_left_out(explain, engine, row, i, table);
		}
	}
}

void explain_print(const struct explain *explain, struct taio *engine, struct cli_out *out,
		   unsigned int width, int color)
{
	const struct taio_trace_step *row = explain_main(explain);
	struct table table;

	if (explain->used == 0)
		return;
	out_text(out, "\n");
	table_init(&table, 7, 2, width);
	explain_steps(explain, engine, &table);
	table_print(&table, out, color);
	if (explain->lost)
		out_format(out, "  and %llu steps for which there was no room\n",
			   (unsigned long long)explain->lost);
	if (row == NULL)
		return;
	out_format(out, "\n  Who could have run %s (one step, the last decision):\n\n",
		   taio_step_name(row->step));
	table_init(&table, 4, 2, width);
	explain_choice(explain, engine, &table, row);
	table_print(&table, out, color);
}
