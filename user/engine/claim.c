/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * claim.c: sources that a device has taken over from their descriptor (enum taio_claim). All that
 * the engine decides about it is decided here: when a device may take one, that nobody else gets at
 * it meanwhile, where to wait, when it has to go back.
 *
 * To take a source costs as much as many steps, and how many will follow nobody knows. So a request
 * adds up what the device would have saved it, and the device gets the source when that is as much as
 * the taking costs: then at most twice is paid, and a lone datagram never pays. A device that has one
 * is compared with the others all along; if these are clearly cheaper for some time, it gives the
 * source back, and does not get it again for this request. So there are two changes at most.
 */
#include "engine/engine.h"

#include <assert.h>

#define CLAIM_COST_NS (5ULL * 1000 * 1000)  /* a program loaded and attached, sockets opened, ... */
#define CLAIM_LOOK_NS (20ULL * 1000 * 1000) /* between two comparisons */
#define CLAIM_LOSSES  5                     /* in a row: then it has to go */
#define CLAIM_DOUBT   4
#define CLAIM_LEAVING 255

struct claim_costs {
	uint64_t own, best; /* UINT64_MAX: nobody can */
};

/* What the step costs on the devices of @own, and on the cheapest of the others; @measured: as far as
 * that was measured, not only published. */
static struct claim_costs claim_compare(const struct taio *e, const struct pick_query *query,
					uint64_t own, bool measured)
{
	struct claim_costs costs = { UINT64_MAX, UINT64_MAX };
	struct pick_reason reasons[TAIO_SLOTS];
	unsigned int n = pick_explain(e->picker, query, reasons, TAIO_SLOTS);

	for (unsigned int i = 0; i < n; i++) {
		const uint64_t bit = 1ULL << reasons[i].device;
		uint64_t *cost = own & bit ? &costs.own : &costs.best;

		if (reasons[i].why_not == TAIO_WHY_PRICE && reasons[i].cost_ns < *cost &&
		    (reasons[i].measured || !measured))
			*cost = reasons[i].cost_ns;
	}
	return costs;
}

/* May a device take the source now? Return: those that may not. */
static uint64_t claim_gate(const struct taio *e, struct request *r, const struct pick_query *query)
{
	const uint64_t claimers = e->claimers & ~query->skip;
	struct claim_costs costs;

	/* Who names it wants it at once, if its price is the lowest. */
	if (!claimers || r->allowed != UINT64_MAX)
		return 0;
	costs = claim_compare(e, query, claimers, false);
	if (costs.best == UINT64_MAX)
		return 0;
	if (costs.own < costs.best)
		r->claim_gain_ns += costs.best - costs.own;
	return r->claim_gain_ns < CLAIM_COST_NS ? claimers : 0;
}

/* Do the others do it clearly better? Published figures are not exact: they count if they are far
 * better than what was measured. */
static bool claim_loses(const struct taio *e, const struct pick_query *query, uint64_t own)
{
	struct claim_costs costs = claim_compare(e, query, own, true);

	if (costs.own == UINT64_MAX)
		return false;
	if (costs.best != UINT64_MAX)
		return costs.own > costs.best + costs.best / 4;
	costs.best = claim_compare(e, query, own, false).best;
	return costs.own / CLAIM_DOUBT > costs.best;
}

/* Is it still worth it? */
static void claim_reconsider(struct taio *e, struct request *r, const struct pick_query *query)
{
	struct taio_device *device = &e->device[r->claim - 1];

	if (r->claim_state != TAIO_CLAIM_HELD || r->claim_lost == CLAIM_LEAVING ||
	    e->now_ns - r->claim_look_ns < CLAIM_LOOK_NS)
		return;
	r->claim_look_ns = e->now_ns;
	if (!claim_loses(e, query, 1ULL << device->number)) {
		r->claim_lost = 0;
		return;
	}
	if (++r->claim_lost < CLAIM_LOSSES)
		return;
	r->claim_lost = CLAIM_LEAVING;
	engine_log(e, "%s gives its source back: another device is cheaper", device->name);
	device->driver->release(device, &r->from, TAIO_RELEASE_SOON);
}

uint64_t claim_skip(struct taio *e, struct request *r, const struct taio_step *step,
		    const struct pick_query *query)
{
	if (step->op != TAIO_OP_COPY || step->from.kind != TAIO_KIND_DGRAM)
		return query->skip;
	if (!r->claim) {
		e->route_unpaid = claim_gate(e, r, query);
		return query->skip | e->route_unpaid;
	}
	claim_reconsider(e, r, query);
	return ~(1ULL << (r->claim - 1));
}

void claim_answer(struct taio *e, struct request *r, const struct taio_step *step)
{
	if (!(e->claimers >> step->device & 1) || step->from.kind != TAIO_KIND_DGRAM)
		return;
	assert(!r->claim || r->claim == step->device + 1);
	if (step->claim == TAIO_CLAIM_NONE) {
		claim_end(e, r);
		return;
	}
	if (!r->claim) {
		r->claim = (uint8_t)(step->device + 1);
		r->claim_look_ns = e->now_ns;
	}
	r->claim_state = step->claim;
}

int claim_attach(struct taio *e, struct request *r, int fd)
{
	int rc;

	if (!r->claim || fd == r->from.fd || fd == r->to.fd || fd + 1 == r->claim_fd)
		return 0;
	if (r->claim_fd)
		lane_detach(e, r->claim_fd - 1);
	rc = lane_attach(e, r, fd, 0);
	r->claim_fd = rc ? 0 : fd + 1;
	return rc;
}

void claim_end(struct taio *e, struct request *r)
{
	struct taio_device *device;

	if (!r->claim)
		return;
	device = &e->device[r->claim - 1];
	if (r->claim_fd)
		lane_detach(e, r->claim_fd - 1);
	if (r->claim_lost == CLAIM_LEAVING)
		r->excluded |= 1ULL << device->number;
	r->claim = r->claim_state = r->claim_lost = 0;
	r->claim_fd = 0;
	device->driver->release(device, &r->from, TAIO_RELEASE_NOW);
}
