/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * trace.c: the story of a request, for programs that gave it a struct taio_trace: which device ran
 * its steps, why, what the others would have cost, and how long it took. Steps of one kind on one
 * device for one reason share a row.
 */
#include "engine/engine.h"

#include <string.h>

static struct taio_trace_step *trace_row(struct taio_trace *trace, uint8_t type, uint8_t device,
					 uint8_t why)
{
	struct taio_trace_step *row;

	for (uint32_t i = trace->used; i-- > 0;) {
		row = &trace->step[i];
		if (row->step == type && row->device == device && row->why == why)
			return row;
	}
	if (trace->used >= trace->capacity) {
		trace->lost++;
		return NULL;
	}
	row = &trace->step[trace->used++];
	memset(row, 0, sizeof(*row));
	row->step = type;
	row->device = device;
	row->why = why;
	return row;
}

static enum taio_why trace_why_skipped(const struct taio *e, const struct request *r,
				       const struct taio_step *step, uint64_t bit)
{
	if (e->forbid & bit)
		return TAIO_WHY_FORBIDDEN;
	if (!(r->allowed & bit))
		return TAIO_WHY_PIN;
	if (r->forbidden & bit)
		return TAIO_WHY_FORBIDDEN;
	if ((r->excluded | step->excluded) & bit)
		return TAIO_WHY_RETRY;
	if (r->claim)
		return TAIO_WHY_TAKEN;
	if (e->route_unpaid & bit)
		return TAIO_WHY_TAKING;
	if (e->route_alone & bit)
		return TAIO_WHY_DETOUR;
	return e->route_stops & bit ? TAIO_WHY_BLOCKING : TAIO_WHY_UNFIT;
}

void trace_decision(const struct taio *e, const struct request *r, const struct taio_step *step,
		    const struct pick_query *query, uint8_t device)
{
	struct pick_reason reasons[12];
	struct taio_trace_step *row;
	unsigned int n;

	row = trace_row(r->trace, (uint8_t)request_fifo_head(r), device, step->why);
	if (!row)
		return;
	n = pick_explain(e->picker, query, reasons, 12);
	row->candidates = (uint8_t)n;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t bit = 1ULL << reasons[i].device;
		uint64_t q8 = (uint64_t)reasons[i].cost_ns * 256 / 1000;

		row->candidate[i].device = reasons[i].device;
		row->candidate[i].why_not = reasons[i].why_not;
		if (reasons[i].why_not == TAIO_WHY_FORBIDDEN)
			row->candidate[i].why_not = (uint8_t)trace_why_skipped(e, r, step, bit);
		row->candidate[i].in_flight = reasons[i].in_flight;
		row->candidate[i].predicted_us_q8 = q8 > UINT32_MAX ? UINT32_MAX : (uint32_t)q8;
	}
}

void trace_step(const struct taio *e, const struct request *r, const struct taio_step *step,
		enum taio_step_type type)
{
	struct taio_trace_step *row;

	if (!r->trace)
		return;
	row = trace_row(r->trace, (uint8_t)type, step->device, step->why);
	if (!row)
		return;
	row->count++;
	row->ns += e->now_ns - step->start_ns;
	row->predicted_ns += step->predicted_ns;
	row->bytes += step->payload;
}
