/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * api_calibrate.c: measures each device once on this machine, by ordinary requests that only it may
 * carry out: between memory, files, a TCP connection, datagrams and a pipe, and whole small files.
 * What the requests taught is fitted and remembered like anything else that is learnt.
 */
#include "engine/engine.h"

#include <errno.h>
#include <unistd.h>

#include "engine/calibrate_ends.h"
#include "util/clock.h"

#define CALIBRATE_BUDGET_NS  (40ULL * 1000 * 1000)  /* for one device and pair */
#define CALIBRATE_LEAST      9                      /* times, for the figures to count */
#define CALIBRATE_TIMEOUT_NS (100ULL * 1000 * 1000) /* of a request that finds its queue empty */

struct calibrate {
	struct taio *e;
	struct calibrate_ends ends;
};

/* Takes the events of a request (cookie 1) and, if there is one, of its drain (cookie 2). A request
 * that failed sends nothing, or not all: its drain would wait for ever. */
static int calibrate_events(struct calibrate *c, unsigned int want)
{
	int result = 0;

	while (want) {
		struct taio_event event;
		int rc = taio_get_events(c->e, &event, 1, 1, -1);

		if (rc == -EINTR)
			continue;
		if (rc < 0)
			return rc;
		want--;
		if (event.cookie == 1 && event.result < 0 && want)
			taio_cancel(c->e, 2);
		if (event.result < 0 && result == 0)
			result = (int)event.result;
	}
	return result;
}

/* The request that takes out of the connection what another one sends. */
static unsigned int calibrate_receiver(struct calibrate *c, uint64_t bytes)
{
	struct taio_options o = { .size = sizeof(o), .length = bytes };
	struct taio_endpoint from = calibrate_end(&c->ends, TAIO_KIND_STREAM, 0, bytes);
	struct taio_endpoint to = taio_null();

	return taio_copy(c->e, &from, &to, &o, 2) == 0;
}

/* ---- pairs of ends ---- */

/* What stands in a queue, or fits in it, is all that one request can move. */
static bool calibrate_is_queued(unsigned int from_kind, unsigned int to_kind)
{
	const unsigned int queues = TAIO_K(DGRAM) | TAIO_K(PIPE);

	return (TAIO_K(STREAM) | queues) >> from_kind & 1 || queues >> to_kind & 1;
}

/* One request on one device. */
static int calibrate_once(struct calibrate *c, unsigned int from_kind, unsigned int to_kind,
			  unsigned int number, uint64_t bytes)
{
	struct taio_options o = { .size = sizeof(o),
				  .length = bytes,
				  .pin = 1ULL << number,
				  .timeout_ns = CALIBRATE_TIMEOUT_NS };
	struct taio_endpoint from = calibrate_end(&c->ends, from_kind, 0, bytes);
	struct taio_endpoint to = calibrate_end(&c->ends, to_kind, 1, bytes);
	unsigned int want = 1;
	int rc = calibrate_feed(&c->ends, from_kind, bytes);

	if (rc == 0)
		rc = taio_copy(c->e, &from, &to, &o, 1);
	if (rc == 0 && to_kind == TAIO_KIND_STREAM)
		want += calibrate_receiver(c, bytes);
	if (rc == 0)
		rc = calibrate_events(c, want);
	calibrate_drain(&c->ends, from_kind);
	if (to_kind != from_kind)
		calibrate_drain(&c->ends, to_kind);
	return rc;
}

static void calibrate_device(struct calibrate *c, unsigned int from_kind, unsigned int to_kind,
			     unsigned int number)
{
	static const uint64_t sizes[] = { 4096, 16384, 65536, 1u << 20, CALIBRATE_BYTES };
	const uint64_t most = calibrate_is_queued(from_kind, to_kind) ? CALIBRATE_QUEUE
								      : CALIBRATE_BYTES;
	uint64_t start = clock_ns();
	int rc;

	for (unsigned int round = 0; round < 16; round++)
		for (unsigned int i = 0; i < 5 && sizes[i] <= most; i++) {
			if (sizes[i] == CALIBRATE_BYTES && round % 4)
				continue;
			rc = calibrate_once(c, from_kind, to_kind, number, sizes[i]);
			if (rc == -ETIMEDOUT)
				return;
			if (rc < 0)
				continue; /* it cannot do this size */
			if (round >= CALIBRATE_LEAST && clock_ns() - start > CALIBRATE_BUDGET_NS)
				return;
		}
}

static void calibrate_pairs(struct calibrate *c)
{
	static const uint8_t pairs[][2] = {
		{ TAIO_KIND_MEM, TAIO_KIND_MEM },     { TAIO_KIND_FILE, TAIO_KIND_FILE },
		{ TAIO_KIND_FILE, TAIO_KIND_MEM },    { TAIO_KIND_MEM, TAIO_KIND_FILE },
		{ TAIO_KIND_FILE, TAIO_KIND_STREAM }, { TAIO_KIND_MEM, TAIO_KIND_STREAM },
		{ TAIO_KIND_STREAM, TAIO_KIND_MEM },  { TAIO_KIND_STREAM, TAIO_KIND_FILE },
		{ TAIO_KIND_MEM, TAIO_KIND_PIPE },    { TAIO_KIND_FILE, TAIO_KIND_PIPE },
		{ TAIO_KIND_PIPE, TAIO_KIND_MEM },    { TAIO_KIND_PIPE, TAIO_KIND_FILE },
		{ TAIO_KIND_MEM, TAIO_KIND_DGRAM },   { TAIO_KIND_FILE, TAIO_KIND_DGRAM },
		{ TAIO_KIND_DGRAM, TAIO_KIND_MEM },   { TAIO_KIND_DGRAM, TAIO_KIND_FILE },
	};

	for (unsigned int p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
		uint64_t able = route_copy_devices(c->e, pairs[p][0], pairs[p][1]);

		for (unsigned int i = 0; i < c->e->device_count; i++)
			if ((able >> i & 1) && device_available(c->e, (uint8_t)i))
				calibrate_device(c, pairs[p][0], pairs[p][1], i);
	}
}

/* ---- whole small files ---- */

/* A pin says who carries bytes; a whole file is a step of another kind, and a forbidden device of its
 * calls would be a plan without it. So the others are left out once it is planned. */
static int calibrate_whole_once(struct calibrate *c, unsigned int to_kind, uint64_t others,
				uint64_t bytes)
{
	const uint64_t forbidden = c->e->forbid;
	struct taio_endpoint from = taio_path(c->ends.whole[0]);
	struct taio_endpoint to = to_kind == TAIO_KIND_STREAM
					  ? calibrate_end(&c->ends, to_kind, 1, bytes)
					  : taio_path(c->ends.whole[1]);
	unsigned int want = 1;
	int rc = taio_copy(c->e, &from, &to, NULL, 1);

	if (rc)
		return rc;
	if (to_kind == TAIO_KIND_STREAM)
		want += calibrate_receiver(c, bytes);
	c->e->forbid |= others;
	rc = calibrate_events(c, want);
	c->e->forbid = forbidden;
	unlink(c->ends.whole[1]);
	return rc;
}

static void calibrate_whole_device(struct calibrate *c, unsigned int to_kind, uint64_t others)
{
	static const uint64_t sizes[] = { 1024, 16384, 131072 };
	const unsigned int count = to_kind == TAIO_KIND_STREAM ? 2 : 3; /* small is smaller there */

	for (unsigned int i = 0; i < count; i++)
		for (unsigned int round = 0; round < 12; round++)
			if (calibrate_whole(&c->ends, sizes[i]) ||
			    calibrate_whole_once(c, to_kind, others, sizes[i]) < 0)
				return;
}

static void calibrate_wholes(struct calibrate *c)
{
	uint64_t able = 0;

	for (unsigned int i = 0; i < c->e->device_count; i++)
		if (device_capability(&c->e->device[i], TAIO_OP_FILE, 0, 0) &&
		    device_available(c->e, (uint8_t)i))
			able |= 1ULL << i;
	for (uint64_t left = able; left; left &= left - 1) {
		uint64_t others = able & ~(left & -left);

		calibrate_whole_device(c, TAIO_KIND_FILE, others);
		calibrate_whole_device(c, TAIO_KIND_STREAM, others);
	}
}

int taio_calibrate(struct taio *e)
{
	struct calibrate c = { .e = e };
	int rc;

	if (e->pool.busy || e->event_count)
		return -EBUSY;
	rc = calibrate_ends_open(&c.ends);
	if (rc)
		return rc;
	calibrate_pairs(&c);
	calibrate_wholes(&c);
	calibrate_ends_close(&c.ends);
	learn_calibrated(e);
	return e->flags & TAIO_NO_CACHE ? 0 : speeds_save(&e->speeds);
}
