/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* watchdog.c: see watchdog.h. */
#include "policy/watchdog.h"

#include <stdio.h>
#include <string.h>

void watchdog_judged(struct watchdog *dog, uint64_t own_ns, uint64_t best_ns, int priced)
{
	struct watchdog_window *window = &dog->window;

	window->judged++;
	window->unpriced += !priced;
	window->own_ns += own_ns < TAIO_COST_MAX ? own_ns : TAIO_COST_MAX;
	window->best_ns += best_ns < TAIO_COST_MAX ? best_ns : TAIO_COST_MAX;
}

struct watchdog_eye {
	struct watchdog_window *window;
	const struct taio_maps *maps;
};

/* Anything may stand in a sample of maps that others can write. */
static void watchdog_sample(void *arg, const struct taio_sample *sample)
{
	const struct watchdog_eye *eye = arg;
	uint32_t cell = sample->cell, slot = sample->slot, bucket = sample->bucket;

	if (sample->flags & TAIO_SAMPLE_ERROR || cell >= TAIO_CELLS || slot >= TAIO_SLOTS ||
	    bucket >= TAIO_BUCKETS || !eye->maps->price[cell].cost[0][slot][bucket])
		return;
	eye->window->samples++;
	eye->window->absurd += sample->ns / WATCHDOG_ABSURD > sample->predicted_ns ||
			       sample->predicted_ns / WATCHDOG_ABSURD > sample->ns;
}

/* ---- windows ---- */

static void watchdog_begin(struct watchdog *dog, const struct taio_engine *engine, uint64_t now_ns)
{
	dog->window = (struct watchdog_window){ .begin_ns = now_ns, .tail = engine->tail };
	dog->window.waiting = engine->head != dog->window.tail;
}

static int watchdog_has_regret(struct watchdog *dog, uint32_t flags)
{
	const struct watchdog_window *window = &dog->window;
	uint64_t limit = flags & TAIO_POLICY_RANKS ? WATCHDOG_REGRET_RANKS : WATCHDOG_REGRET;
	uint64_t percent;

	if (window->judged < WATCHDOG_MIN_JUDGED || !window->best_ns)
		return 0;
	percent = window->own_ns / (window->best_ns / 100 + 1);
	dog->regret_percent = percent > UINT32_MAX ? UINT32_MAX : (uint32_t)percent;
	if (dog->regret_percent <= 100 * limit)
		return 0;
	snprintf(dog->fault, sizeof(dog->fault),
		 "its choices cost %u.%u times as much as those of the built-in policy",
		 dog->regret_percent / 100, dog->regret_percent / 10 % 10);
	return 1;
}

/* Return: 1: bad, dog->fault says why; 0: good; -1: nothing happened that tells. */
static int watchdog_verdict(struct watchdog *dog, const struct taio_maps *maps, uint64_t now_ns)
{
	const struct watchdog_window *window = &dog->window;
	const struct taio_engine *engine = maps->engine;
	uint32_t flags = maps->ctl->flags;

	if (!policy_ctl_is_sane(maps->ctl)) {
		snprintf(dog->fault, sizeof(dog->fault), "its map taio_ctl was damaged");
		return 1;
	}
	if (window->waiting && engine->tail == window->tail) {
		snprintf(dog->fault, sizeof(dog->fault),
			 "its prices are stale: it took no completion for %u ms, though %u wait",
			 (uint32_t)((now_ns - window->begin_ns) / 1000000),
			 engine->head - engine->tail);
		return 1;
	}
	if (window->judged >= WATCHDOG_MIN_JUDGED &&
	    window->unpriced > window->judged - window->judged / WATCHDOG_UNPRICED) {
		snprintf(dog->fault, sizeof(dog->fault),
			 "it makes no prices: %u of %u decisions found none", window->unpriced,
			 window->judged);
		return 1;
	}
	if (!(flags & TAIO_POLICY_RANKS) && window->samples >= WATCHDOG_MIN_SAMPLES &&
	    window->absurd > window->samples / 2) {
		snprintf(dog->fault, sizeof(dog->fault),
			 "its prices are absurd: %u of %u completions took %d times more or less",
			 window->absurd, window->samples, WATCHDOG_ABSURD);
		return 1;
	}
	if (watchdog_has_regret(dog, flags))
		return 1;
	return window->judged >= WATCHDOG_MIN_JUDGED || window->samples >= WATCHDOG_MIN_SAMPLES
		       ? 0
		       : -1;
}

static int watchdog_end(struct watchdog *dog, const struct taio_maps *maps, uint64_t now_ns)
{
	int verdict = watchdog_verdict(dog, maps, now_ns);

	/* A slow machine, or steps that take long, give as much evidence in more time. */
	if (verdict < 0 && now_ns - dog->window.begin_ns < WATCHDOG_PATIENCE_NS)
		return 0;
	watchdog_begin(dog, maps->engine, now_ns);
	if (verdict < 0)
		return 0;
	dog->windows++;
	dog->bad += verdict > 0;
	dog->strikes = verdict > 0 ? dog->strikes + 1 : 0;
	return dog->strikes >= WATCHDOG_STRIKES;
}

/* ---- ticks ---- */

/* Without memory for a shadow there is only less to judge by. */
static void watchdog_look(struct watchdog *dog, const struct taio_native_policy *builtin,
			  const struct taio_maps *maps, uint64_t now_ns)
{
	struct watchdog_eye eye = { .window = &dog->window, .maps = maps };
	char why[64];

	if (!dog->shadow.source &&
	    mirror_open_native(&dog->shadow, builtin, NULL, maps, why, sizeof(why)))
		return;
	if (now_ns - dog->fed_ns < WATCHDOG_FEED_NS)
		return;
	dog->fed_ns = now_ns;
	mirror_feed(&dog->shadow, maps, now_ns, WATCHDOG_FEED_SAMPLES, watchdog_sample, &eye);
}

int watchdog_tick(struct watchdog *dog, const struct taio_native_policy *builtin,
		  const struct taio_maps *maps, uint64_t now_ns)
{
	if (++dog->ticks < WATCHDOG_GRACE_TICKS)
		return 0;
	if (!dog->window.begin_ns)
		watchdog_begin(dog, maps->engine, now_ns);
	watchdog_look(dog, builtin, maps, now_ns);
	if (now_ns - dog->window.begin_ns < WATCHDOG_WINDOW_NS)
		return 0;
	return watchdog_end(dog, maps, now_ns);
}

void watchdog_forgive(struct watchdog *dog)
{
	dog->window.begin_ns = 0;
	dog->strikes = dog->regret_percent = 0;
	dog->windows = dog->bad = 0;
	dog->fault[0] = '\0';
}

void watchdog_close(struct watchdog *dog)
{
	mirror_close(&dog->shadow);
	memset(dog, 0, sizeof(*dog));
}
