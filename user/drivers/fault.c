/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fault.c: a driver in front of another one that carries out a schedule of faults; see fault.h.
 * The device stays the inner driver's: its state, its figures, its kinds. What is added is a driver
 * structure of its own for each device, found by dev->driver, and for asynchronous devices a list
 * of the steps that the inner driver has or that are held back after it.
 */
#include "drivers/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "drivers/fault_plan.h"

#define FAULT_STEPS   1024        /* of one device at a time: more is busy */
#define FAULT_ALIGN   4096        /* of short steps where alignment matters */
#define FAULT_SPIN_NS (80 * 1000) /* the end of a sleep: the kernel's timers are late by so much */
#define FAULT_BATCH   64

/* What happens to one step. */
struct fault_dose {
	int error;
	uint64_t len; /* 0: as it is */
	uint64_t factor_milli, ns;
};

/* A step between submit() and reap(). */
struct fault_step {
	struct taio_step *step;
	uint64_t start_ns, due_ns;
	uint64_t len;   /* as the engine wants it */
	uint32_t flags; /* of it, those that are restored */
	bool held;      /* the inner driver is done with it */
	bool cancelled;
	struct fault_dose dose;
};

struct fault_device {
	struct taio_driver driver; /* what the engine sees; must be first */
	const struct taio_driver *inner;
	struct taio_device *dev;
	struct fault_plan *plan;
	struct fault_device *next;
	unsigned int count;
	const struct fault_rule *rule[FAULT_RULES];
	_Atomic uint32_t seen[FAULT_RULES]; /* steps */
	char text[96];
	struct fault_step *steps; /* the first step_count are in use */
	unsigned int step_count;
	int epoll_fd, timer_fd; /* -1 until somebody wants to poll */
};

static struct fault_device *fault_of(const struct taio_device *dev)
{
	return (struct fault_device *)(uintptr_t)dev->driver;
}

/* ---- the schedule ---- */

static bool fault_in_window(const struct fault_rule *rule, uint64_t at_ns)
{
	return at_ns >= rule->from_ns && at_ns < rule->until_ns;
}

/* The least number of bytes by which a step may be cut: datagrams whole, aligned where the device
 * wants it. */
static uint64_t fault_grain(const struct fault_device *f, const struct taio_step *step)
{
	const struct taio_capability *cap = f->inner->caps;

	if (step->from.kind == TAIO_KIND_DGRAM)
		return step->from.unit ? step->from.unit : 1;
	if (step->to.kind == TAIO_KIND_DGRAM)
		return step->to.unit ? step->to.unit : 1;
	for (; cap->op != TAIO_OP_NONE; cap++)
		if (cap->op == step->op && cap->from & (1u << step->from.kind) &&
		    cap->to & (1u << step->to.kind) && cap->align > 1)
			return cap->align > FAULT_ALIGN ? cap->align : FAULT_ALIGN;
	return 1;
}

/* Bytes of a short step; 0: it cannot be any shorter. */
static uint64_t fault_shorten(const struct fault_device *f, const struct taio_step *step,
			      const struct fault_rule *rule)
{
	uint64_t grain = fault_grain(f, step);
	uint64_t len = (uint64_t)((unsigned __int128)step->len * rule->part / rule->whole);
	/* not the whole step: the engine writes fields of its own while a thread has it */
	struct taio_step trial = { .op = step->op,
				   .flags = step->flags,
				   .from = step->from,
				   .to = step->to,
				   .file = step->file,
				   .addr = step->addr };

	len -= len % grain;
	if (len == 0)
		len = grain;
	if (len >= step->len)
		return 0;
	trial.len = len;
	return !f->inner->fits || f->inner->fits(f->dev, &trial) ? len : 0;
}

static void fault_decide(struct fault_device *f, const struct taio_step *step, uint64_t now_ns,
			 struct fault_dose *ret)
{
	uint64_t at_ns = now_ns - f->plan->start_ns;

	*ret = (struct fault_dose){ .factor_milli = 1000 };
	if (step->op == TAIO_OP_CLOSE) /* whatever happens, the number is free afterwards */
		return;
	for (unsigned int i = 0; i < f->count; i++) {
		const struct fault_rule *rule = f->rule[i];

		if (rule->kind == FAULT_STALL || !fault_in_window(rule, at_ns))
			continue;
		if ((atomic_fetch_add_explicit(&f->seen[i], 1, memory_order_relaxed) + 1) %
		    rule->every)
			continue;
		if (rule->kind == FAULT_ERROR) {
			ret->error = rule->error;
		} else if (rule->kind == FAULT_DELAY) {
			ret->factor_milli = rule->factor_milli;
			ret->ns = rule->ns;
		} else if (step->op == TAIO_OP_COPY) {
			ret->len = fault_shorten(f, step, rule);
		}
	}
}

/* When a completion of @now_ns may be seen, stalls considered. */
static uint64_t fault_after_stall(const struct fault_device *f, uint64_t now_ns)
{
	uint64_t due_ns = now_ns;

	for (unsigned int i = 0; i < f->count; i++) {
		const struct fault_rule *rule = f->rule[i];
		uint64_t at_ns = due_ns - f->plan->start_ns, phase, end;

		if (rule->kind != FAULT_STALL || !fault_in_window(rule, at_ns))
			continue;
		phase = (at_ns - rule->from_ns) % rule->period_ns;
		if (phase >= rule->ns)
			continue;
		end = at_ns - phase + rule->ns;
		due_ns = f->plan->start_ns + (end < rule->until_ns ? end : rule->until_ns);
	}
	return due_ns;
}

/* When a step that began at @start_ns and was done at @done_ns is to be seen. */
static uint64_t fault_due(const struct fault_device *f, const struct fault_dose *dose,
			  uint64_t start_ns, uint64_t done_ns)
{
	uint64_t took = done_ns - start_ns;
	uint64_t longer = took / 1000 * (dose->factor_milli - 1000) +
			  took % 1000 * (dose->factor_milli - 1000) / 1000;

	return fault_after_stall(f, done_ns + longer + dose->ns);
}

/* ---- one step through the inner driver ---- */

#define FAULT_KEPT (TAIO_SF_LAST | TAIO_SF_MORE)

/* A step that is cut is not the last one of its request. */
static void fault_cut(struct taio_step *step, const struct fault_dose *dose)
{
	if (!dose->len)
		return;
	step->len = dose->len;
	step->flags = (step->flags & ~(uint32_t)TAIO_SF_LAST) |
		      (step->to.kind == TAIO_KIND_STREAM ? TAIO_SF_MORE : 0);
}

static void fault_mend(struct taio_step *step, uint64_t len, uint32_t flags)
{
	step->len = len;
	step->flags = (step->flags & ~(uint32_t)FAULT_KEPT) | (flags & FAULT_KEPT);
}

/* ---- inline and on workers ---- */

static void fault_sleep_until(const struct fault_device *f, uint64_t due_ns)
{
	uint64_t now_ns = f->dev->host->now_ns();

	if (due_ns > now_ns + FAULT_SPIN_NS) {
		uint64_t until = due_ns - FAULT_SPIN_NS;
		struct timespec t = { (time_t)(until / 1000000000), (long)(until % 1000000000) };

		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
			;
	}
	while (f->dev->host->now_ns() < due_ns)
		;
}

static int64_t fault_run(struct taio_device *dev, struct taio_step *step)
{
	struct fault_device *f = fault_of(dev);
	uint64_t start_ns = dev->host->now_ns(), stalled_ns, len = step->len;
	uint32_t flags = step->flags;
	struct fault_dose dose;
	int64_t result;

	fault_decide(f, step, start_ns, &dose);
	stalled_ns = fault_after_stall(f, start_ns);
	fault_sleep_until(f, stalled_ns);
	if (dose.error) {
		result = -dose.error;
	} else {
		fault_cut(step, &dose);
		result = f->inner->run(dev, step);
		fault_mend(step, len, flags);
		if (result == -EAGAIN) /* nothing was done that could take long */
			return result;
	}
	fault_sleep_until(f, fault_due(f, &dose, stalled_ns, dev->host->now_ns()));
	return result;
}

/* ---- asynchronous ---- */

static struct fault_step *fault_find(struct fault_device *f, const struct taio_step *step)
{
	for (unsigned int i = 0; i < f->step_count; i++)
		if (f->steps[i].step == step)
			return &f->steps[i];
	assert(!"a driver gave back a step that it was not given");
	return NULL;
}

static void fault_drop(struct fault_device *f, struct fault_step *at)
{
	*at = f->steps[--f->step_count];
}

/* The inner driver is done. */
static void fault_hold(struct fault_device *f, struct fault_step *at, uint64_t now_ns)
{
	fault_mend(at->step, at->len, at->flags);
	at->held = true;
	at->due_ns = at->cancelled || at->step->result == -EAGAIN
			     ? now_ns
			     : fault_due(f, &at->dose, at->start_ns, now_ns);
}

static enum taio_submit fault_submit(struct taio_device *dev, struct taio_step *step)
{
	struct fault_device *f = fault_of(dev);
	struct fault_step *at = &f->steps[f->step_count];
	enum taio_submit said = TAIO_DONE;

	if (f->step_count == FAULT_STEPS)
		return TAIO_BUSY;
	*at = (struct fault_step){ .step = step, .len = step->len, .flags = step->flags };
	at->start_ns = dev->host->now_ns();
	fault_decide(f, step, at->start_ns, &at->dose);
	if (at->dose.error) {
		step->result = -at->dose.error;
	} else {
		fault_cut(step, &at->dose);
		said = f->inner->submit(dev, step);
	}
	if (said == TAIO_BUSY) {
		fault_mend(step, at->len, at->flags);
		return said;
	}
	if (said == TAIO_DONE) {
		uint64_t now_ns = dev->host->now_ns();

		fault_hold(f, at, now_ns);
		if (at->due_ns <= now_ns)
			return TAIO_DONE;
	}
	f->step_count++;
	return TAIO_QUEUED;
}

static struct fault_step *fault_first_due(struct fault_device *f)
{
	struct fault_step *first = NULL;

	for (unsigned int i = 0; i < f->step_count; i++)
		if (f->steps[i].held && (!first || f->steps[i].due_ns < first->due_ns))
			first = &f->steps[i];
	return first;
}

static int fault_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	struct fault_device *f = fault_of(dev);
	struct taio_step *inner[FAULT_BATCH];
	struct fault_step *first;
	uint64_t now_ns;
	int n;

	do {
		n = f->inner->reap(dev, inner, FAULT_BATCH);
		now_ns = dev->host->now_ns();
		for (int i = 0; i < n; i++)
			fault_hold(f, fault_find(f, inner[i]), now_ns);
	} while (n == FAULT_BATCH);
	for (n = 0; n < max; n++) {
		first = fault_first_due(f);
		if (!first || first->due_ns > now_ns)
			break;
		done[n] = first->step;
		fault_drop(f, first);
	}
	return n;
}

static void fault_cancel(struct taio_device *dev, struct taio_step *step)
{
	struct fault_device *f = fault_of(dev);
	struct fault_step *at = fault_find(f, step);

	at->cancelled = true;
	if (at->held)
		at->due_ns = 0;
	else if (f->inner->cancel)
		f->inner->cancel(dev, step);
}

/* ---- waiting ---- */

static int fault_fd(struct taio_device *dev)
{
	struct fault_device *f = fault_of(dev);
	struct epoll_event event = { .events = EPOLLIN };
	int inner;

	if (f->epoll_fd >= 0)
		return f->epoll_fd;
	inner = f->inner->fd ? f->inner->fd(dev) : -1;
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (f->epoll_fd >= 0 && f->timer_fd >= 0 &&
	    !epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->timer_fd, &event) &&
	    (inner < 0 || !epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, inner, &event)))
		return f->epoll_fd;
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	if (f->timer_fd >= 0)
		close(f->timer_fd);
	f->epoll_fd = f->timer_fd = -1;
	return -1;
}

/* The descriptor becomes readable when the next step that is held is due. */
static void fault_arm(struct fault_device *f)
{
	const struct fault_step *first = fault_first_due(f);
	struct itimerspec when = { 0 };

	if (f->timer_fd < 0)
		return;
	if (first) { /* a time of 0 would disarm it */
		uint64_t due_ns = first->due_ns ? first->due_ns : 1;

		when.it_value.tv_sec = (time_t)(due_ns / 1000000000);
		when.it_value.tv_nsec = (long)(due_ns % 1000000000);
	}
	(void)timerfd_settime(f->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static int fault_wait(struct taio_device *dev, int64_t timeout_ns)
{
	struct fault_device *f = fault_of(dev);
	struct timespec limit = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
	struct epoll_event event;
	int rc = f->inner->wait ? f->inner->wait(dev, 0) : 0, n;

	if (timeout_ns == 0 || fault_fd(dev) < 0) {
		fault_arm(f);
		return rc;
	}
	fault_arm(f);
	n = epoll_pwait2(f->epoll_fd, &event, 1, timeout_ns < 0 ? NULL : &limit, NULL);
	return n > 0 || (n < 0 && errno == EINTR) ? 0 : -ETIME;
}

/* ---- the driver ---- */

static void fault_close(struct taio_device *dev)
{
	struct fault_device *f = fault_of(dev);

	assert(f->step_count == 0);
	if (f->inner->close)
		f->inner->close(dev);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	if (f->timer_fd >= 0)
		close(f->timer_fd);
	f->epoll_fd = f->timer_fd = -1;
}

static bool fault_names(const struct fault_rule *rule, const struct taio_device *dev)
{
	size_t length = strlen(rule->device);

	if (!strcmp(rule->device, "*"))
		return !(dev->driver->flags & TAIO_DRIVER_CONTROL);
	return !strncmp(dev->name, rule->device, length) &&
	       (dev->name[length] == '\0' || dev->name[length] == '@');
}

static void fault_dress(struct fault_device *f)
{
	f->driver = *f->inner;
	snprintf(f->text, sizeof(f->text), "with faults: %s", f->inner->text);
	f->driver.text = f->text;
	f->driver.close = fault_close;
	if (f->inner->run)
		f->driver.run = fault_run;
	if (!f->inner->submit)
		return;
	f->driver.submit = fault_submit;
	f->driver.reap = fault_reap;
	f->driver.cancel = fault_cancel;
	f->driver.fd = fault_fd;
	f->driver.wait = fault_wait;
}

int fault_wrap(struct fault_plan *plan, struct taio_device *dev)
{
	struct fault_device *f = NULL;

	for (unsigned int i = 0; i < plan->count; i++) {
		if (!fault_names(&plan->rule[i], dev))
			continue;
		plan->rule[i].known = 1;
		if (!f)
			f = calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->rule[f->count++] = &plan->rule[i];
	}
	if (!f)
		return 0;
	f->inner = dev->driver;
	f->dev = dev;
	f->plan = plan;
	f->epoll_fd = f->timer_fd = -1;
	if (f->inner->submit) {
		f->steps = calloc(FAULT_STEPS, sizeof(*f->steps));
		if (!f->steps) {
			free(f);
			return -ENOMEM;
		}
	}
	fault_dress(f);
	f->next = plan->devices;
	plan->devices = f;
	dev->driver = &f->driver;
	return 1;
}

void fault_free(struct fault_plan *plan)
{
	struct fault_device *f;

	if (!plan)
		return;
	while ((f = plan->devices) != NULL) {
		plan->devices = f->next;
		f->dev->driver = f->inner;
		free(f->steps);
		free(f);
	}
	free(plan);
}
