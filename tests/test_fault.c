/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_fault.c: devices that misbehave by a schedule: its text, what happens to a step and when, with
 * an inner driver made by hand and a clock that is a number; then every real driver behind faults.
 */
#include "conform_world.h"

#include <signal.h>

#include "drivers/fault.h"
#include "drivers/fault_plan.h"

#define US    1000ULL
#define MS    1000000ULL
#define START (1000 * MS)

/* ---- the text ------------------------------------------------------------------------------------ */

static struct fault_plan *parse(const char *text)
{
	struct fault_plan *plan = NULL;
	char why[128] = "";
	int rc = fault_parse(&plan, text, START, why, sizeof(why));

	cr_assert_eq(rc, 0, "%s: %s", text, why);
	return plan;
}

Test(fault, a_schedule_says_what_happens_to_which_device_and_when)
{
	struct fault_plan *plan = parse("sendfile:delay=10x@1s-2s;uring:stall=5ms/100ms;"
					"rw:errno=EIO/1000;cfr:short=1/3,delay=2.5us/7@-1.5ms;");
	const struct fault_rule *r = plan->rule;

	cr_assert_eq(plan->count, 5);
	cr_assert_str_eq(r[0].device, "sendfile");
	cr_assert_eq(r[0].kind, FAULT_DELAY);
	cr_assert_eq(r[0].factor_milli, 10000);
	cr_assert_eq(r[0].ns, 0);
	cr_assert_eq(r[0].every, 1);
	cr_assert_eq(r[0].from_ns, 1000 * MS);
	cr_assert_eq(r[0].until_ns, 2000 * MS);
	cr_assert_str_eq(r[1].device, "uring");
	cr_assert_eq(r[1].kind, FAULT_STALL);
	cr_assert_eq(r[1].ns, 5 * MS);
	cr_assert_eq(r[1].period_ns, 100 * MS);
	cr_assert_eq(r[1].until_ns, UINT64_MAX);
	cr_assert_eq(r[2].kind, FAULT_ERROR);
	cr_assert_eq(r[2].error, EIO);
	cr_assert_eq(r[2].every, 1000);
	cr_assert_eq(r[3].kind, FAULT_SHORT);
	cr_assert_eq(r[3].part, 1);
	cr_assert_eq(r[3].whole, 3);
	cr_assert_str_eq(r[4].device, "cfr");
	cr_assert_eq(r[4].factor_milli, 1000);
	cr_assert_eq(r[4].ns, 2500);
	cr_assert_eq(r[4].every, 7);
	cr_assert_eq(r[4].from_ns, 0);
	cr_assert_eq(r[4].until_ns, 1500 * US);
	fault_free(plan);
	plan = parse("x:errno=28@3us-");
	cr_assert_eq(plan->rule[0].error, ENOSPC);
	cr_assert_eq(plan->rule[0].from_ns, 3000);
	cr_assert_eq(plan->rule[0].until_ns, UINT64_MAX);
	fault_free(plan);
}

Test(fault, a_mistake_is_told_in_one_sentence)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "", "DEVICE:FAULT is wanted" },
		{ "rw", "DEVICE:FAULT is wanted" },
		{ ":delay=1s", "DEVICE:FAULT is wanted" },
		{ "rw;cfr:delay=1s", "DEVICE:FAULT is wanted" },
		{ "abcdefghijklmnop:delay=1s", "too long for the name" },
		{ "rw:", "is no fault" },
		{ "rw:slow=3x", "'slow=3x' is no fault" },
		{ "rw:delay=", "delay: '' is no number" },
		{ "rw:delay=5", "a time needs a unit" },
		{ "rw:delay=5m", "a time needs a unit" },
		{ "rw:delay=0.5x", "a factor is" },
		{ "rw:delay=-1ms", "is no number" },
		{ "rw:delay=1000000000s", "is no number below" },
		{ "rw:stall=5ms", "TIME/PERIOD is wanted" },
		{ "rw:stall=5ms/5ms", "shorter than its period" },
		{ "rw:stall=0ms/5ms", "shorter than its period" },
		{ "rw:errno=EFOO", "'EFOO' is no error" },
		{ "rw:errno=0", "no whole number from 1" },
		{ "rw:errno=5000", "5000 is no error" },
		{ "rw:errno=EAGAIN/3", "EAGAIN means" },
		{ "rw:errno=EIO/0", "no whole number from 1" },
		{ "rw:short=1", "A/B is wanted" },
		{ "rw:short=3/3", "not less than everything" },
		{ "rw:short=0/3", "no whole number from 1" },
		{ "rw:delay=1s@2s", "@FROM-UNTIL is wanted" },
		{ "rw:delay=1s@2s-1s", "ends before it begins" },
		{ "rw:delay=1s@2-3", "a time needs a unit" },
		{ "rw:delay=1s,", "is no fault" },
		{ "rw:delay=1s nonsense", "' nonsense' behind the fault of 'rw'" },
		{ "rw:errno=EIO/3ms", "'ms' behind the fault of 'rw'" },
	};
	char many[FAULT_RULES * 16] = "rw:delay=1s", why[128];
	struct fault_plan *plan = NULL;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int rc = fault_parse(&plan, cases[i].text, START, why, sizeof(why));

		cr_expect_eq(rc, -EINVAL, "%s", cases[i].text);
		cr_expect(strstr(why, cases[i].why), "%s: '%s'", cases[i].text, why);
		cr_expect_null(plan);
	}
	for (int i = 0; i < FAULT_RULES; i++)
		strcat(many, ",delay=1s");
	cr_assert_eq(fault_parse(&plan, many, START, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "more than"), "%s", why);
}

/* ---- a driver made by hand ------------------------------------------------------------------------ */

static uint64_t now_ns;

static uint64_t hand_now(void)
{
	return now_ns;
}

static struct hand {
	struct taio_step *given[16], *finished[16];
	unsigned int given_count, finished_count;
	uint64_t len; /* of the step that came last */
	uint32_t flags;
	unsigned int steps, cancels;
	uint64_t least; /* fits() wants more */
} hand;

static enum taio_submit hand_submit(struct taio_device *dev, struct taio_step *step)
{
	(void)dev;
	cr_assert_lt(hand.given_count, 16);
	hand.steps++;
	hand.len = step->len;
	hand.flags = step->flags;
	hand.given[hand.given_count++] = step;
	return TAIO_QUEUED;
}

/* The first step that was given in is done, with all of what it was asked for. */
static void hand_finish(void)
{
	struct taio_step *step = hand.given[0];

	cr_assert_gt(hand.given_count, 0);
	memmove(&hand.given[0], &hand.given[1], --hand.given_count * sizeof(hand.given[0]));
	step->result = (int64_t)step->len;
	hand.finished[hand.finished_count++] = step;
}

static int hand_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	int n = 0;

	(void)dev;
	while (n < max && hand.finished_count)
		done[n++] = hand.finished[--hand.finished_count];
	return n;
}

static void hand_cancel(struct taio_device *dev, struct taio_step *step)
{
	(void)dev, (void)step;
	hand.cancels++;
	hand_finish();
}

static int hand_fits(struct taio_device *dev, const struct taio_step *step)
{
	(void)dev;
	return step->len > hand.least;
}

static int64_t hand_run(struct taio_device *dev, struct taio_step *step)
{
	(void)dev;
	hand.steps++;
	return (int64_t)step->len;
}

static const struct taio_capability hand_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(DGRAM),
	  .to = TAIO_K(MEM) | TAIO_K(DGRAM) },
	{ .op = TAIO_OP_COPY, .from = TAIO_K(FILE), .to = TAIO_K(FILE), .align = 512 },
	{ .op = TAIO_OP_NONE },
};
static const struct taio_driver hand_async = {
	.abi = TAIO_DRIVER_ABI,
	.name = "hand",
	.text = "made by hand",
	.caps = hand_caps,
	.fits = hand_fits,
	.submit = hand_submit,
	.reap = hand_reap,
	.cancel = hand_cancel,
};
static const struct taio_driver hand_inline = {
	.abi = TAIO_DRIVER_ABI,
	.name = "hand",
	.text = "made by hand",
	.caps = hand_caps,
	.run = hand_run,
};

static struct taio_host host;
static struct taio_device device;
static struct fault_plan *plan;
static struct taio_step step[16];

static void hand_open(const struct taio_driver *driver, const char *schedule)
{
	memset(&hand, 0, sizeof(hand));
	memset(step, 0, sizeof(step));
	now_ns = START;
	host.now_ns = driver->submit ? hand_now : conform_ns;
	device = (struct taio_device){ .driver = driver, .host = &host, .name = "hand" };
	plan = parse(schedule);
	if (!driver->submit)
		plan->start_ns = conform_ns();
	cr_assert_eq(fault_wrap(plan, &device), 1);
	cr_assert_null(fault_unknown(plan));
	for (unsigned int i = 0; i < 16; i++)
		step[i] = (struct taio_step){ .op = TAIO_OP_COPY,
					      .from.kind = TAIO_KIND_MEM,
					      .to.kind = TAIO_KIND_MEM,
					      .wait_fd = -1,
					      .len = 999 };
}

static void hand_close(void)
{
	const struct taio_driver *driver = device.driver;

	if (driver->close)
		driver->close(&device);
	fault_free(plan);
	cr_assert_neq(device.driver, driver, "the device is as it was");
}

static struct taio_step *reap(void)
{
	struct taio_step *done[1] = { NULL };
	int n = device.driver->reap(&device, done, 1);

	cr_assert_geq(n, 0);
	return done[0];
}

static void submit(unsigned int i)
{
	cr_assert_eq(device.driver->submit(&device, &step[i]), TAIO_QUEUED);
}

/* ---- what happens to a step ------------------------------------------------------------------------ */

Test(fault, a_factor_holds_a_completion_back_until_it_took_that_many_times_as_long)
{
	hand_open(&hand_async, "hand:delay=10x");
	submit(0);
	now_ns += 3 * US;
	hand_finish();
	cr_assert_null(reap());
	now_ns = START + 30 * US - 1;
	cr_assert_null(reap());
	now_ns++;
	cr_assert_eq(reap(), &step[0]);
	cr_assert_eq(step[0].result, 999);
	cr_assert_null(reap());
	hand_close();
}

Test(fault, a_delay_only_adds_and_completions_come_in_the_order_of_their_times)
{
	hand_open(&hand_async, "hand:delay=50us/2");
	submit(0);
	submit(1); /* each second one */
	submit(2);
	now_ns += US;
	hand_finish();
	hand_finish();
	hand_finish();
	cr_assert_not_null(reap());
	cr_assert_not_null(reap());
	cr_assert_null(reap());
	now_ns += 50 * US;
	cr_assert_eq(reap(), &step[1]);
	hand_close();
}

Test(fault, during_a_stall_nothing_completes)
{
	hand_open(&hand_async, "hand:stall=5ms/100ms");
	now_ns += 99 * MS;
	submit(0);
	hand_finish();
	cr_assert_eq(reap(), &step[0], "between stalls");
	submit(1);
	now_ns += 2 * MS; /* 1 ms into the second stall */
	hand_finish();
	cr_assert_null(reap());
	submit(2);
	hand_finish();
	now_ns += 4 * MS - 1;
	cr_assert_null(reap());
	now_ns++;
	cr_assert_not_null(reap());
	cr_assert_not_null(reap());
	hand_close();
}

Test(fault, a_window_is_counted_from_the_opening)
{
	hand_open(&hand_async, "hand:delay=1ms@10ms-20ms");
	submit(0);
	hand_finish();
	cr_assert_eq(reap(), &step[0]);
	now_ns = START + 10 * MS;
	submit(1);
	hand_finish();
	cr_assert_null(reap());
	now_ns = START + 20 * MS;
	cr_assert_eq(reap(), &step[1]);
	submit(2);
	hand_finish();
	cr_assert_eq(reap(), &step[2]);
	hand_close();
}

Test(fault, each_nth_step_fails_without_reaching_the_driver)
{
	hand_open(&hand_async, "hand:errno=EIO/3");
	for (unsigned int i = 0; i < 9; i++) {
		enum taio_submit said = device.driver->submit(&device, &step[i]);

		cr_assert_eq(said, i % 3 == 2 ? TAIO_DONE : TAIO_QUEUED);
		if (said == TAIO_DONE)
			cr_assert_eq(step[i].result, -EIO);
	}
	cr_assert_eq(hand.steps, 6);
	while (hand.given_count)
		hand_finish();
	for (unsigned int i = 0; i < 6; i++)
		cr_assert_not_null(reap());
	hand_close();
}

Test(fault, a_short_step_comes_back_as_it_was_but_for_its_result)
{
	hand_open(&hand_async, "hand:short=1/3");
	step[0].flags = TAIO_SF_LAST | TAIO_SF_SPARSE;
	submit(0);
	cr_assert_eq(hand.len, 333);
	cr_assert_eq(hand.flags, TAIO_SF_SPARSE, "what is cut is not the last");
	hand_finish();
	cr_assert_eq(reap(), &step[0]);
	cr_assert_eq(step[0].result, 333);
	cr_assert_eq(step[0].len, 999);
	cr_assert_eq(step[0].flags, TAIO_SF_LAST | TAIO_SF_SPARSE);
	step[1].len = 1;
	submit(1);
	hand_finish();
	cr_assert_eq(reap(), &step[1]);
	cr_assert_eq(step[1].result, 1, "at least one byte");
	hand_close();
}

Test(fault, a_step_is_cut_only_where_the_driver_can_do_the_rest)
{
	hand_open(&hand_async, "hand:short=1/3");
	step[0].to.kind = step[0].from.kind = TAIO_KIND_DGRAM;
	step[0].to.unit = step[0].from.unit = 100;
	submit(0);
	cr_assert_eq(hand.len, 300, "datagrams stay whole");
	step[1].to.kind = step[1].from.kind = TAIO_KIND_FILE;
	step[1].len = 20000;
	submit(1);
	cr_assert_eq(hand.len, 4096, "aligned");
	hand.least = 500;
	submit(2);
	cr_assert_eq(hand.len, 999, "333 would not fit");
	while (hand.given_count)
		hand_finish();
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_not_null(reap());
	hand_close();
}

Test(fault, a_cancelled_step_is_given_back_at_once)
{
	hand_open(&hand_async, "hand:delay=10s");
	submit(0);
	submit(1);
	hand_finish();
	cr_assert_null(reap());
	device.driver->cancel(&device, &step[0]); /* held */
	cr_assert_eq(hand.cancels, 0);
	cr_assert_eq(reap(), &step[0]);
	cr_assert_null(reap());
	device.driver->cancel(&device, &step[1]); /* the inner driver has it */
	cr_assert_eq(hand.cancels, 1);
	cr_assert_eq(reap(), &step[1]);
	hand_close();
}

Test(fault, more_steps_than_there_is_room_for_are_busy)
{
	static struct taio_step many[1025];

	hand_open(&hand_async, "hand:errno=EIO,delay=1s");
	for (unsigned int i = 0; i < 1025; i++) {
		many[i] = step[0];
		cr_assert_eq(device.driver->submit(&device, &many[i]),
			     i < 1024 ? TAIO_QUEUED : TAIO_BUSY);
	}
	now_ns += 1000 * MS;
	for (unsigned int i = 0; i < 1024; i++)
		cr_assert_not_null(reap());
	cr_assert_null(reap());
	hand_close();
}

Test(fault, the_descriptor_is_readable_when_a_step_is_due)
{
	struct pollfd poller;

	hand_open(&hand_async, "hand:delay=20ms");
	host.now_ns = conform_ns;
	plan->start_ns = conform_ns();
	poller = (struct pollfd){ .fd = device.driver->fd(&device), .events = POLLIN };
	cr_assert_geq(poller.fd, 0);
	submit(0);
	hand_finish();
	cr_assert_null(reap());
	cr_assert_eq(device.driver->wait(&device, 0), 0);
	cr_assert_eq(poll(&poller, 1, 10000), 1);
	cr_assert_eq(reap(), &step[0]);
	device.driver->wait(&device, 0);
	cr_assert_eq(poll(&poller, 1, 0), 0, "nothing is held any more");
	submit(1);
	hand_finish();
	cr_assert_null(reap());
	cr_assert_eq(device.driver->wait(&device, 10000 * (int64_t)MS), 0);
	cr_assert_eq(reap(), &step[1]);
	hand_close();
}

Test(fault, an_inline_step_takes_its_time_in_run)
{
	uint64_t start = conform_ns();

	hand_open(&hand_inline, "hand:delay=3ms,short=1/3");
	cr_assert_null(device.driver->submit);
	cr_assert_eq(device.driver->run(&device, &step[0]), 333);
	cr_assert_eq(step[0].len, 999);
	cr_assert_geq(conform_ns() - start, 3 * MS);
	hand_close();
	hand_open(&hand_inline, "hand:errno=ENOSPC");
	cr_assert_eq(device.driver->run(&device, &step[0]), -ENOSPC);
	cr_assert_eq(hand.steps, 0);
	step[0].op = TAIO_OP_CLOSE;
	cr_assert_eq(device.driver->run(&device, &step[0]), 999, "what closes is left alone");
	hand_close();
}

Test(fault, only_devices_that_are_named_are_wrapped)
{
	static const struct taio_driver control = { .name = "ctl", .flags = TAIO_DRIVER_CONTROL };
	struct taio_device other = { .driver = &hand_inline, .host = &host, .name = "other" };
	struct taio_device twin = { .driver = &hand_inline, .host = &host, .name = "hand@worker" };
	struct taio_device longer = { .driver = &hand_inline, .host = &host, .name = "hands" };
	struct taio_device ctl = { .driver = &control, .host = &host, .name = "ctl" };
	struct fault_plan *all;

	hand_open(&hand_inline, "hand:delay=1ms");
	cr_assert_eq(fault_wrap(plan, &other), 0);
	cr_assert_eq(other.driver, &hand_inline);
	cr_assert_eq(fault_wrap(plan, &longer), 0);
	cr_assert_eq(fault_wrap(plan, &twin), 1);
	cr_assert(strstr(twin.driver->text, "with faults"), "%s", twin.driver->text);
	cr_assert_str_eq(twin.driver->name, "hand");
	hand_close();
	cr_assert_eq(twin.driver, &hand_inline);
	all = parse("*:delay=1ms;nobody:delay=1ms");
	cr_assert_eq(fault_wrap(all, &other), 1);
	cr_assert_eq(fault_wrap(all, &ctl), 0);
	cr_assert_str_eq(fault_unknown(all), "nobody");
	fault_free(all);
	cr_assert_eq(other.driver, &hand_inline);
}

/* ---- real drivers ------------------------------------------------------------------------------------ */

static void flow_fill(struct world *w, struct flow *f, unsigned int n, uint8_t from, uint8_t to)
{
	uint64_t *r = &f->random;
	bool dgram = from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM;

	memset(f, 0, sizeof(*f));
	*r = w->seed + n * 1000003u + from * 101u + to * 10007u;
	f->dir = w->dir[n % 2];
	f->from.kind = from;
	f->to.kind = to;
	f->len = f->total = 1 + conform_next(r) % (dgram ? 30000 : 600000);
	f->from.tcp = dgram || n & 1;
	f->to.tcp = dgram || n & 2;
	f->from.tiny = f->to.tiny = n & 4;
	f->segment = n & 1 ? UINT64_MAX : 0;
	if (n % 3) {
		f->from_offset = conform_next(r) % 10000;
		f->to_offset = conform_next(r) % 10000;
	}
	/* Datagrams of random sizes would be cut where they were not made. */
	if (from == TAIO_KIND_DGRAM)
		f->len = f->total = f->len / CONFORM_UNIT * CONFORM_UNIT + CONFORM_UNIT;
}

/* Every pair of every driver behind @faults. */
static void drivers_behind(const char *faults)
{
	unsigned int pairs = 0, refused = 0, steps = 0;
	struct fault_plan *real = parse(faults);
	struct taio_device faulty[TAIO_DRIVER_COUNT]; /* the plan puts their drivers back */
	struct world w;

	signal(SIGPIPE, SIG_IGN);
	world_open(&w);
	real->start_ns = conform_ns();
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct taio_device *dev = &faulty[i];

		*dev = w.device[i];
		if (dev->driver->flags & TAIO_DRIVER_CONTROL)
			continue;
		cr_assert_eq(fault_wrap(real, dev), 1);
		if ((dev->driver->probe && dev->driver->probe(dev)) ||
		    (dev->driver->open && dev->driver->open(dev)))
			continue;
		for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
			for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++)
				for (unsigned int n = 0; n < 6; n++) {
					struct flow f;

					if (!flow_capability(dev, from, to))
						continue;
					flow_fill(&w, &f, n, from, to);
					if (flow_open(&f))
						flow_judge(&f, flow_copy(&f, &dev, 1,
									 world_last(&w, from, to)));
					flow_close(&f);
					cr_assert(!f.failed, "%s %s>%s case %u: %s", dev->name,
						  world_kinds[from], world_kinds[to], n, f.wrong);
					pairs++;
					refused += f.refused;
					steps += f.steps;
				}
		dev->driver->close(dev);
	}
	fault_free(real);
	world_close(&w);
	cr_assert_gt(pairs, 100);
	cr_assert_gt(steps, 2 * refused);
}

Test(fault, every_driver_moves_every_byte_once_when_its_steps_are_short, .timeout = 120)
{
	drivers_behind("*:short=1/3");
}

Test(fault, every_driver_moves_every_byte_once_when_steps_are_refused_and_late, .timeout = 120)
{
	drivers_behind("*:errno=EOPNOTSUPP/9,delay=30us/4,short=5/7/2");
}
