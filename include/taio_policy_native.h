/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * taio_policy_native.h: the native twin of a policy, as it looks from outside. The same policy file
 * that makes a BPF object also compiles into a library, a test or a simulator, where it exports one
 * const struct taio_native_policy taio_policy_NAME. A twin keeps nothing of its own: all its state
 * is in the maps that it is given, so any number of engines may run it at the same time.
 */
#ifndef TAIO_POLICY_NATIVE_H
#define TAIO_POLICY_NATIVE_H

#include "taio_policy.h"

struct taio_native_maps {
	struct taio_ctl *ctl;          /* 1 */
	struct taio_ctx *ctx;          /* TAIO_CONTEXTS */
	struct taio_caps *caps;        /* TAIO_CONTEXTS * TAIO_SLOTS */
	struct taio_dev *dev;          /* TAIO_DEVICES */
	struct taio_lat *lat;          /* TAIO_ROUTES */
	struct taio_state *state;      /* TAIO_ROUTES */
	struct taio_price *price;      /* TAIO_CELLS */
	struct taio_engine *engine;    /* engines */
	struct taio_work *work;        /* 1 */
	struct taio_batch *batch;      /* 1; only for pick() */
	__u32 engines;                 /* elements of engine[] */
	__u32 generation;              /* of the take-over by the twin that runs here */
	__u32 tune[TAIO_TUNABLES_MAX]; /* values of its tunables, in the order of the table */
};

struct taio_native_policy {
	const char *name;
	const char *text;
	const char *hooks; /* ".completed = ..., .price = ..." as the policy lists them */
	__u32 abi;
	const struct taio_tunable
		*tunables; /* TAIO_TUNABLES_MAX of them; an empty name ends the list */
	/* Takes the maps over: whatever prices are there are made anew by this policy. */
	void (*start)(struct taio_native_maps *maps, __u64 now_ns);
	/* Learns from the samples that wait and makes the prices that changed.
	 * Return: samples taken; -ESTALE: another policy took the maps over. */
	int (*tick)(struct taio_native_maps *maps, __u64 now_ns);
	/* Answers what stands in the batch. Needs ctx, caps, price, batch and tune only.
	 * Return: answers; -ENOSYS: the policy has no pick hook. */
	int (*pick)(struct taio_native_maps *maps);
};

#endif /* TAIO_POLICY_NATIVE_H */
