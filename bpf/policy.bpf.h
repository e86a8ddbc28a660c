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
 *	static u64 example_price(struct taio_route *route, u32 bucket) { ... }
 *
 *	TAIO_POLICY(example, "what it does, one line", .completed = example_completed,
 *		    .price = example_price)
 *
 * A ROUTE is a candidate device for requests of one size class in one context. completed() tells
 * of a good completion on a route; price() says how long one more request would take there at a
 * level of load; the core makes the prices of all goals from that, and the engine does the rest
 * (in-flight counts, stalls, errors, probes).
 *
 * The file compiles twice: as a BPF object and as a native twin inside the library, and both must
 * give the same prices. So: unsigned integers only, no division by what may be 0, loops with a
 * constant bound and little in them, array indices made safe by taio_index(), results of
 * taio_words() checked for NULL, at most some 100 bytes on the stack, no variables but those of a
 * function, own functions inside loops always inlined (the verifier of 6.1 knows no other).
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
	u32 *memo;                    /* memo[4]: from one bucket to the next in price() */
	u64 bytes;                    /* typical size of the class */
	u64 now_ns;
	u32 cell, class, slot;
};

/* What a policy consists of; all but price() may be left out. */
struct taio_hooks {
	u32 flags; /* enum taio_policy_flag */
	/* First touch of a route by this policy, word[] is all zero: for each load of which something
	 * is known from before it took over (route->lat->ewma_ns[bucket]). */
	void (*seed)(struct taio_route *route, u32 bucket);
	/* A whole, successful request took sample->ns at load sample->bucket. The core has refused
	 * errors, absurd values and those of a stall but its first. */
	void (*completed)(struct taio_route *route, const struct taio_sample *sample);
	/* What one more request would take, ns, at load @bucket (taio_bucket_load() of it are in
	 * flight). Called for all buckets in ascending order. Return: 0: no price, the engine goes
	 * by what the driver publishes. */
	u64 (*price)(struct taio_route *route, u32 bucket);
	/* How much more the latency goal shall be charged for bad moments, 1/1024 of the price. */
	u32 (*tail)(struct taio_route *route);
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

/* @value, made less than @size (a power of two) in a way that the verifier sees: compilers leave out
 * a plain mask where they know the range already, and the verifier does not know what they know. */
static __always_inline u32 taio_index(u32 value, u32 size)
{
	__asm__ volatile("" : "+r"(value));
	return value & (size - 1);
}

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

#endif /* TAIO_POLICY_BPF_H */
