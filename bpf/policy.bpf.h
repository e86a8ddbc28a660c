/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy.bpf.h: all that the author of a policy includes. A policy is one file of the form
 *
 *	#include "policy.bpf.h"
 *
 *	#define EXAMPLE_TUNABLES(T) T(memory, 16, 1, 255, "samples", "weight of the past")
 *	TAIO_TUNABLES(EXAMPLE_TUNABLES)
 *
 *	static void example_completed(struct taio_route *route, const struct taio_sample *s) { ... }
 *	static void example_price(struct taio_route *route, struct taio_cost *cost) { ... }
 *
 *	TAIO_POLICY(example, "what it does, one line", .completed = example_completed,
 *		    .price = example_price)
 *
 * A ROUTE is a candidate device for requests of one size class in one context. completed() tells
 * of a good completion on a route; price() says what one more request would cost there at each
 * level of load; the engine does the rest (in-flight counts, stalls, errors, probes).
 *
 * The file compiles twice: as a BPF object and as a native twin inside the library, and both must
 * give the same prices. So: unsigned integers only, no division by what may be 0, no signed
 * division, loops with a constant bound, array indices masked, results of taio_words() checked for
 * NULL, at most about 200 bytes on the stack, no variables but those of a function.
 */
#ifndef TAIO_POLICY_BPF_H
#define TAIO_POLICY_BPF_H

#include "taio_policy.h"

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;

/* A candidate device for one size class of one context. */
struct taio_route {
	const struct taio_lat *lat;   /* what completed on it, kept by the core for all policies */
	const struct taio_caps *caps; /* what its driver publishes */
	struct taio_dev *dev;         /* the device; dev->state[8] is the policy's */
	u32 *word;                    /* word[TAIO_STATE_WORDS]: the policy's state of the route */
	u32 *scale;                   /* taio_ctx.scale of this candidate: see there */
	u64 bytes;                    /* typical size of the class */
	u64 now_ns;
	u32 cell, class, slot;
};

/* What a policy consists of; all but price() may be left out. */
struct taio_hooks {
	u32 flags; /* enum taio_policy_flag */
	/* First touch of a route by this policy: word[] is all zero, route->lat tells what is known
	 * from before a swap. */
	void (*init)(struct taio_route *route);
	/* A whole, successful request took sample->ns at load sample->bucket. The core has refused
	 * errors, absurd values and those of a stall but its first. */
	void (*completed)(struct taio_route *route, const struct taio_sample *sample);
	/* Fill in all of cost. */
	void (*price)(struct taio_route *route, struct taio_cost *cost);
	/* May an idle device that is dearer than the best be tried? Both as they are now, ns.
	 * Return: 0 or 1. The engine still limits how often. */
	u32 (*probe)(struct taio_route *route, u64 own_ns, u64 best_ns);
};

#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include "taio_policy_native.h"
/* libc or linux/stddef.h may have one that says less */
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline      __attribute__((noinline))
#endif

/*
 * Tunables. LIST names a macro that calls its argument for each of them:
 *	T(name, default, min, max, "unit", "what it does")
 * and tune(name) is the value. In the object it is a `const volatile` in .rodata that a loader may
 * set before load; natively it lives beside the maps.
 */
#define TAIO_TUNABLE_ROW(NAME, INITIAL, MIN, MAX, UNIT, TEXT) \
	{ #NAME, UNIT, TEXT, INITIAL, MIN, MAX, 0 },
#ifdef __bpf__
#define TAIO_TUNABLE_VALUE(NAME, INITIAL, MIN, MAX, UNIT, TEXT) const volatile u32 NAME = INITIAL;
#define TAIO_TUNABLES(LIST)                                                           \
	LIST(TAIO_TUNABLE_VALUE)                                                      \
	const volatile struct taio_tunable taio_tunables[TAIO_TUNABLES_MAX] = { LIST( \
		TAIO_TUNABLE_ROW) };
#define tune(NAME) (NAME)
#else
#define TAIO_TUNABLE_INDEX(NAME, INITIAL, MIN, MAX, UNIT, TEXT) taio_tune_##NAME,
#define TAIO_TUNABLES(LIST)                                                         \
	enum {                                                                      \
		LIST(TAIO_TUNABLE_INDEX) taio_tune_count                            \
	};                                                                          \
	_Static_assert(taio_tune_count <= TAIO_TUNABLES_MAX, "too many tunables");  \
	static const struct taio_tunable taio_tunables[TAIO_TUNABLES_MAX] = { LIST( \
		TAIO_TUNABLE_ROW) };
#define tune(NAME) (taio_native->tune[taio_tune_##NAME])
#endif

#include "core.bpf.h"

/* ---- for the hooks -------------------------------------------------------------------------- */

/* The policy's state of the same candidate for another size class.
 * Return: NULL: this policy knows nothing of it. */
static __always_inline const u32 *taio_words(const struct taio_route *route, u32 class)
{
	return core_words(route->cell - route->class + (class & (TAIO_CLASSES - 1)), route->slot);
}

/* Moves *value towards sample by 1/weight of the distance. */
static __always_inline void taio_follow(u32 *value, u32 sample, u32 weight)
{
	if (!weight)
		weight = 1;
	if (sample > *value)
		*value += (sample - *value) / weight;
	else
		*value -= (*value - sample) / weight;
}

static __always_inline u32 taio_limit(u64 cost)
{
	return cost > TAIO_COST_MAX ? TAIO_COST_MAX : cost == 0 ? 1 : (u32)cost;
}

/* What the driver publishes as a price at a load: service time, waited for in turn.
 * Return: 0: it publishes nothing. */
static __always_inline u32 taio_published_ns(const struct taio_route *route, u32 load)
{
	u64 own = route->caps->base_ns + route->bytes * route->caps->ps_per_byte / 1000;
	u32 parallel = route->caps->parallel;

	if (own > TAIO_COST_MAX / 2)
		own = TAIO_COST_MAX / 2;
	if (!parallel)
		parallel = 1;
	if (load >= parallel)
		own += own * (load - parallel + 1) / parallel;
	return own ? taio_limit(own) : 0;
}

/*
 * Makes the prices of the other goals from cost->latency[], which must be filled in.
 * Throughput: the best time per request that the device can reach, as long as it is not filled;
 * then the waiting comes on top. CPU: cpu_ns, or the published share of the time when it is 0; time
 * itself only decides between equals.
 */
static __always_inline void taio_price_goals(const struct taio_route *route, struct taio_cost *cost,
					     u32 cpu_ns)
{
	u32 best = cost->latency[0], filled = 0, permille = route->caps->cpu_permille;

	/* A device that occupies its caller has never more than one request. */
	if (!(route->caps->flags & TAIO_CAPS_SYNC)) {
		for (u32 b = 1; b < TAIO_BUCKETS; b++) {
			u32 each = cost->latency[b] / (taio_bucket_load(b) + 1);

			if (each < best) {
				best = each;
				filled = b;
			}
		}
	}
	if (!permille || permille > 1000000)
		permille = 1000;
	if (!cpu_ns)
		cpu_ns = taio_limit((u64)cost->latency[0] * permille / 1000);
	for (u32 b = 0; b < TAIO_BUCKETS; b++) {
		u32 now = cost->latency[b], full = cost->latency[filled & (TAIO_BUCKETS - 1)];

		cost->throughput[b] =
			taio_limit((u64)best + (b > filled && now > full ? now - full : 0));
		cost->cpu[b] = taio_limit((u64)cpu_ns + (now >> 6));
	}
}

#endif /* TAIO_POLICY_BPF_H */
