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

/* of taio.h, which is not for the kernel */
enum taio_policy_goal {
	TAIO_LATENCY,
	TAIO_THROUGHPUT,
	TAIO_CPU
};

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
	u64 *common; /* common[2]: the policy's state of the candidate in all classes */
	u32 *memo;   /* memo[4]: from one bucket to the next in price() */
	u64 bytes;   /* typical size of the class */
	u64 now_ns;
	u32 cell, class, slot;
};

/* A request that a pick hook decides: see there. */
struct taio_choice {
	struct taio_ask *ask; /* what is asked */
	struct taio_batch *batch;
	const struct taio_price *price; /* of its cell */
	const struct taio_ctx *ctx;     /* of its context */
	u64 best;                       /* the core's */
	u64 memo[4];                    /* from pick() to the bids, and from bid to bid */
	u32 cell;
	u32 may; /* mask of slots that may run it */
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
	/* Decides request by request, for policies that go by more than size and load: deadline,
	 * priority, tag, goal, what is left of the request, chance. It is asked for steps that move
	 * bytes and take more than some microseconds, in batches where that crosses into the
	 * kernel; everything else goes by price(). It reads prices (taio_offer()), loads
	 * (taio_load()) and the request, keeps what it needs in batch->own[16], and has no route:
	 * no word[], no common[]. An answer that may not run is refused and counted.
	 * Return: one slot of choice->may; TAIO_PICK_BID: the one with the least bid();
	 * TAIO_PICK_PRICE: the cheapest, as if not asked. */
	u32 (*pick)(struct taio_choice *choice);
	/* The bid of a slot of choice->may, asked in ascending order. Return: below TAIO_BID_MAX;
	 * TAIO_NO_BID: not this one. */
	u64 (*bid)(struct taio_choice *choice, u32 slot);
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
#define TAIO_SCALE_MAX 65536 /* of taio_rescale() */

#define TAIO_TUNABLE_ROW(NAME, INITIAL, MIN, MAX, UNIT, TEXT) \
	{ #NAME, UNIT, TEXT, INITIAL, MIN, MAX, 0 },
#ifdef __bpf__
#define TAIO_TUNABLE_VALUE(NAME, INITIAL, MIN, MAX, UNIT, TEXT) const volatile u32 NAME = INITIAL;
#define TAIO_TUNABLES(LIST)                                                           \
	LIST(TAIO_TUNABLE_VALUE)                                                      \
	const volatile struct taio_tunable taio_tunables[TAIO_TUNABLES_MAX] = { LIST( \
		TAIO_TUNABLE_ROW) };                                                  \
	static const volatile u32 *const taio_tune_at[TAIO_TUNABLES_MAX] = { LIST(    \
		TAIO_TUNABLE_AT) };
#define TAIO_TUNABLE_AT(NAME, INITIAL, MIN, MAX, UNIT, TEXT) &NAME,
#define tune(NAME)                                           (NAME)
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

/* What another class of the candidate says about this one: its value, grown or shrunk as the
 * published figures of the two classes do, or a little by distance when nothing is published. */
static __always_inline u32 taio_convert(const struct taio_route *route, u32 class, u64 value)
{
	u64 base = route->caps->base_ns, each = route->caps->ps_per_byte;
	u64 here = base + taio_class_bytes(route->class) * each / 1000;
	u64 there = base + taio_class_bytes(class) * each / 1000;
	u32 up = route->class - class, down = class - route->class;

	if (there && here <= TAIO_COST_MAX)
		return taio_limit(value * here / there);
	return taio_limit(class < route->class ? value + value * up / 4
					       : value - value * down / (down + 8));
}

#define TAIO_SCALE_JUMP 4  /* weights of taio_rescale(): twice off, and again, ... */
#define TAIO_SCALE_BACK 16 /* ... towards normal, ... */
#define TAIO_SCALE_AWAY 64 /* ... and away from it */

/*
 * How a candidate runs just now against its prices (*route->scale). @ns was measured where
 * @expected was charged at scale 1 (0: nothing known). The scale follows, fast when they differ by
 * two for the second time in a row: once is an outlier, which must not make dearer what was not
 * measured. What differs by less is as a rule the queue of this moment, which is another one when
 * the price is used: so it follows slowly, and sooner back to normal than away from it. It is never
 * less than @least. Uses route->common[0].
 * Return: what the request would have taken at normal speed: that is what may be learnt.
 */
static __always_inline u32 taio_rescale(struct taio_route *route, u32 ns, u64 expected, u32 least)
{
	u32 scale = *route->scale, r, far;
	u64 ratio;

	if (scale < least || scale > TAIO_SCALE_MAX)
		scale = TAIO_SCALE_ONE;
	if (expected) {
		ratio = (u64)ns * TAIO_SCALE_ONE / expected;
		r = ratio > 4 * scale ? 4 * scale : ratio < scale / 4 ? scale / 4 : (u32)ratio;
		far = r > 2 * scale ? 1 : r < scale / 2 ? 2 : 0;
		if (far && route->common[0] == far)
			taio_follow(&scale, r, TAIO_SCALE_JUMP);
		else if (!far && (r < scale) == (scale > TAIO_SCALE_ONE))
			taio_follow(&scale, r, TAIO_SCALE_BACK);
		else if (!far)
			taio_follow(&scale, r, TAIO_SCALE_AWAY);
		route->common[0] = far;
		/* Only their product is measured, so scale and what is learnt could drift apart
		 * for ever. */
		taio_follow(&scale, TAIO_SCALE_ONE, 64);
		scale = scale < least ? least : scale > TAIO_SCALE_MAX ? TAIO_SCALE_MAX : scale;
	}
	*route->scale = scale;
	return taio_limit((u64)ns * TAIO_SCALE_ONE / scale);
}

/* For probe(): the candidate is not dearer than @times the best and was quiet for @every times what
 * it costs itself. What is known of fewer than four completions may be one stall and no more: being
 * dear, it is only asked again more rarely. */
static __always_inline u32 taio_is_quiet(const struct taio_route *route, u64 own_ns, u64 best_ns,
					 u32 times, u32 every)
{
	u64 last_ns = route->lat->last_ns, count = route->lat->count;

	return (own_ns <= times * best_ns || (count && count < 4)) &&
	       (last_ns > route->now_ns || route->now_ns - last_ns > every * own_ns);
}

/* ---- for the pick hook ---------------------------------------------------------------------- */

/* Number of the device behind a slot, for batch->load[] and the like; TAIO_DEVICES: none. */
static __always_inline u32 taio_device(const struct taio_choice *choice, u32 slot)
{
	u32 dev = CORE_VOLATILE(u8, choice->ctx->dev[taio_index(slot, TAIO_SLOTS)]);

	return dev && dev <= TAIO_DEVICES ? dev - 1 : TAIO_DEVICES;
}

/* Requests in flight on the device of a slot, those that the batch put there included. */
static __always_inline u32 taio_load(const struct taio_choice *choice, u32 slot)
{
	u32 dev = taio_device(choice, slot);

	return dev < TAIO_DEVICES ? choice->batch->load[taio_index(dev, TAIO_DEVICES)] : ~0U;
}

/* What the request costs on a slot of choice->may now, by the prices of a goal (enum
 * taio_policy_goal), as the engine would reckon. Return: 0: that slot is none. */
static __always_inline u64 taio_offer(const struct taio_choice *choice, u32 slot, u32 goal)
{
	u32 dev = taio_device(choice, slot), bucket, scale;
	u64 cost;

	slot = taio_index(slot, TAIO_SLOTS);
	if (!(choice->may >> slot & 1) || dev >= TAIO_DEVICES)
		return 0;
	dev = taio_index(dev, TAIO_DEVICES);
	bucket = taio_index(choice->batch->bucket[dev], TAIO_BUCKETS);
	cost = choice->price->cost[goal < TAIO_GOALS ? goal : 0][slot][bucket];
	scale = goal == TAIO_CPU ? 0 : CORE_VOLATILE(u32, choice->ctx->scale[slot]);
	if (!cost)
		cost = core_published(choice, slot, choice->batch->load[dev]);
	else
		cost = cost * (scale ? scale : TAIO_SCALE_ONE) / TAIO_SCALE_ONE;
	cost = taio_aged(cost, choice->batch->age_ns[dev]);
	return cost ? cost : 1;
}

/* A number by chance, the same natively and in the kernel. */
static __always_inline u32 taio_random(const struct taio_choice *choice)
{
	u32 x = choice->batch->random;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	choice->batch->random = x;
	return x;
}

#endif /* TAIO_POLICY_BPF_H */
