/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_conformance.c: every driver of the list, every pair that it claims, against plain copies: all
 * bytes arrive once and in order, nothing is consumed that was not delivered, every step comes
 * back once. Drivers are used through their ops table only, from where the engine stands; see
 * conform.h. TAIO_SEED=N repeats a run.
 */
#include <criterion/criterion.h>

#include <signal.h>

#include "conform_world.h"
#include "netns.h"

/* ---- the table ----------------------------------------------------------------------------------- */

Test(conformance, every_driver_keeps_the_contract_of_its_table)
{
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		const struct taio_driver *d = world_drivers[i];
		const struct taio_capability *cap = d->caps;

		cr_assert_eq(d->abi, TAIO_DRIVER_ABI);
		cr_assert(d->name && *d->name && strlen(d->name) <= 15);
		cr_assert_null(strpbrk(d->name, " ,@"), "%s", d->name);
		cr_assert(d->text && *d->text && !strchr(d->text, '\n'));
		/* both: the device submits, its twin on a worker runs */
		cr_assert(d->run || d->submit, "%s", d->name);
		cr_assert(!d->run || !d->submit || (d->flags & TAIO_DRIVER_WORKER), "%s", d->name);
		cr_assert_leq(d->replica, TAIO_REPLICAS, "%s", d->name);
		cr_assert_eq(d->submit != NULL, d->reap != NULL, "%s", d->name);
		cr_assert_eq(d->open != NULL || d->close == NULL, 1, "%s", d->name);
		for (; cap->op != TAIO_OP_NONE; cap++) {
			cr_assert_lt(cap->op, TAIO_OP_COUNT);
			cr_assert_gt(cap->base_ns, 0, "%s publishes no cost", d->name);
			cr_assert(!cap->max || cap->min <= cap->max);
			cr_assert_eq(cap->align & (cap->align ? cap->align - 1 : 0), 0);
			if (cap->op == TAIO_OP_COPY)
				cr_assert(cap->from && cap->to && !(cap->from & TAIO_K(NULL)) &&
					  !(cap->to & TAIO_K(ZERO)));
		}
		cr_assert_neq(cap, d->caps, "%s can do nothing", d->name);
	}
}

Test(conformance, every_pair_has_a_driver_that_always_fits)
{
	static const uint16_t to_all = TAIO_K(MEM) | TAIO_K(FILE) | TAIO_K(STREAM) | TAIO_K(DGRAM) |
				       TAIO_K(PIPE) | TAIO_K(NULL);

	for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
		for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++) {
			bool found = false;

			if (from == TAIO_KIND_NULL || !(to_all & 1u << to) ||
			    (from == TAIO_KIND_DGRAM && to == TAIO_KIND_DGRAM))
				continue;
			for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
				const struct taio_device dev = { .driver = world_drivers[i] };
				const struct taio_capability *cap = flow_capability(&dev, from, to);

				found |= cap && (cap->flags & TAIO_CAP_ANY_FIT) && !cap->min;
			}
			cr_assert(found, "%s>%s", world_kinds[from], world_kinds[to]);
		}
}

/* ---- one driver, all its pairs -------------------------------------------------------------------- */

static const uint64_t sizes[] = { 1,      2,       511,     512,     4095,   4096,
				  4097,   16384,   65535,   65536,   262144, 262145,
				  524288, 1048576, 1048577, 2097152, 3000017 };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))
static const uint64_t offsets[] = { 0,         0,    1,     511,     4095,
				    4096,      4097, 65536, 1 << 20, (5ULL << 30) + 3,
				    6ULL << 30 };
#define OFFSETS (sizeof(offsets) / sizeof(offsets[0]))
static const unsigned int aligns[] = { 0, 0, 0, 1, 7, 64, 511, 2048, 4095 };
#define ALIGNS (sizeof(aligns) / sizeof(aligns[0]))

/* Case @n of a pair: the first ones are the corners, the others are random. */
static void case_fill(struct world *w, struct flow *f, unsigned int n, uint8_t from, uint8_t to)
{
	uint64_t *r = &f->random;
	bool dgram = from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM;

	memset(f, 0, sizeof(*f));
	*r = w->seed + n * 1000003u + from * 101u + to * 10007u;
	f->dir = w->dir[conform_next(r) % 2];
	f->from.kind = from;
	f->to.kind = to;
	f->len = n < SIZES ? sizes[n] : 1 + conform_next(r) % (1u << (10 + n % 12));
	if (n < SIZES) { /* aligned, on a disk, in one step: nobody has an excuse */
		f->dir = w->dir[0];
		f->segment = UINT64_MAX;
	} else {
		f->from_offset = offsets[conform_next(r) % OFFSETS];
		f->to_offset = offsets[conform_next(r) % OFFSETS];
		f->from_align = aligns[conform_next(r) % ALIGNS];
		f->to_align = aligns[conform_next(r) % ALIGNS];
	}
	/* A socket holds only so much until its peer gets its turn, and throws the rest away. */
	if (to == TAIO_KIND_DGRAM && f->len > 40000)
		f->len = 40000 - n;
	if (dgram && f->len > 400000)
		f->len = 400000;
	f->total = f->len;
	f->from.tcp = conform_next(r) % 2;
	f->to.tcp = conform_next(r) % 2;
	f->from.tiny = conform_next(r) % 3 == 0;
	f->to.tiny = conform_next(r) % 3 == 0;
	if (dgram) /* UDP */
		f->from.tcp = f->to.tcp = true;
	if (dgram && from == TAIO_KIND_DGRAM && f->len % CONFORM_UNIT && n >= SIZES)
		f->len -= f->len % CONFORM_UNIT - CONFORM_UNIT, f->total = f->len;
	/* A source that ends before the request does, or goes on after it. */
	if (n >= SIZES && n % 4 == 1 && from != TAIO_KIND_ZERO && from != TAIO_KIND_MEM)
		f->total = 1 + conform_next(r) % f->len;
	if (n >= SIZES && n % 4 == 2 && !dgram && from != TAIO_KIND_ZERO)
		f->total = f->len + 1 + conform_next(r) % 100000;
	if (n % 5 == 4)
		f->segment = 0;
}

#define CASES (SIZES + 16)

static void driver_pair(struct world *w, struct taio_device *dev, uint8_t from, uint8_t to)
{
	const struct taio_capability *cap = flow_capability(dev, from, to);
	struct taio_device *last = world_last(w, from, to);
	unsigned int steps = 0, refused = 0, waits = 0;

	cr_assert_not_null(last);
	/* the devices of replicas are one driver four times */
	for (unsigned int n = 0; n < (dev->driver->replica > 1 ? 3 : CASES); n++) {
		struct flow f;
		int64_t moved = -1;

		case_fill(w, &f, n, from, to);
		if (flow_open(&f)) {
			moved = flow_copy(&f, &dev, 1, last);
			flow_judge(&f, moved);
		}
		flow_close(&f);
		cr_assert(
			!f.failed, "%s %s>%s case %u (%llu bytes, %llu>%llu, align %u>%u%s%s): %s",
			dev->name, world_kinds[from], world_kinds[to], n, (unsigned long long)f.len,
			(unsigned long long)f.from_offset, (unsigned long long)f.to_offset,
			f.from_align, f.to_align, f.from.tcp || f.to.tcp ? ", tcp" : "",
			f.from.tiny || f.to.tiny ? ", tiny" : "", f.wrong);
		cr_assert(!f.refused || !(cap->flags & TAIO_CAP_ANY_FIT), "%s refused %s>%s",
			  dev->name, world_kinds[from], world_kinds[to]);
		steps += f.steps;
		refused += f.refused;
		waits += f.waits;
	}
	fprintf(stderr, "%-8s %6s > %-6s %5u steps, %u refused, %u waits\n", dev->name,
		world_kinds[from], world_kinds[to], steps, refused, waits);
	if (strcmp(dev->name, "reflink") && strcmp(dev->name, "split") &&
	    (strcmp(dev->name, "afxdp") || conform_far >= 0))
		cr_assert_gt(steps, refused, "%s never did %s>%s", dev->name, world_kinds[from],
			     world_kinds[to]);
}

/* A device that leaves loopback to others gets two hosts. */
static void driver_place(const char *name, struct netns *net)
{
	net->a = net->b = net->life = -1;
	net->other = -1;
	if (strcmp(name, "afxdp") || netns_why_not() || !netns_make(net, 1500, 1))
		return;
	conform_far = net->b;
	cr_assert(netns_run("ip neigh replace 10.99.0.2 dev va lladdr 02:00:00:00:0b:02"));
}

static void driver_all(const char *name)
{
	struct netns net;
	struct world w;
	struct taio_device *dev;

	/* what a program must do before the ring may write to its pipes */
	signal(SIGPIPE, SIG_IGN);
	driver_place(name, &net);
	world_open(&w);
	if (conform_far >= 0) /* it writes received datagrams to files on the thread */
		w.host.engine_flags = TAIO_MAY_BLOCK;
	dev = world_device(&w, name);
	if (dev && (dev->driver->flags & TAIO_DRIVER_CONTROL))
		for (const struct taio_capability *cap = dev->driver->caps; cap->op; cap++)
			cr_assert_neq(cap->op, TAIO_OP_COPY, "%s is for control steps", name);
	for (uint8_t from = TAIO_KIND_MEM; dev && from < TAIO_KIND_MESSAGES; from++)
		for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++)
			if (flow_capability(dev, from, to))
				driver_pair(&w, dev, from, to);
	if (dev && dev->driver->submit && world_runs(&w, dev)) {
		struct taio_device *twin = world_runs(&w, dev);

		for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_COUNT; from++)
			for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_COUNT; to++)
				if (flow_capability(twin, from, to))
					driver_pair(&w, twin, from, to);
	}
	world_close(&w);
	conform_far = -1;
	netns_release(&net);
	if (!dev)
		cr_skip_test("%s is not available here", name);
}

#define DRIVER_TEST(name)                                                            \
	Test(conformance, name##_moves_every_byte_once_and_in_order, .timeout = 300) \
	{                                                                            \
		driver_all(#name);                                                   \
	}
TAIO_DRIVER_LIST(DRIVER_TEST)
