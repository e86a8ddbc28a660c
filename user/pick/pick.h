/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * pick.h: which device runs a step. A policy prices (policy/); the picker takes the cheapest
 * candidate at the present load and adds what no policy may get wrong: age of what is in flight,
 * breaker and quarantine, bounded probes, hysteresis, admission limits, full devices, masks. It knows no driver and
 * no clock: devices are numbers, time is a parameter, so a simulator can drive it.
 */
#ifndef TAIO_PICK_H
#define TAIO_PICK_H

#include <stdbool.h>
#include <stdint.h>

#include "pick/admit.h"
#include "policy/policy.h"

#define PICK_NONE 255 /* no device, no slot, no context */

/* A device that can serve a context. */
struct pick_candidate {
	uint8_t device; /* number in the engine */
	uint8_t slot;   /* in the policy's maps; PICK_NONE: not priced */
	uint8_t reserved[2];
	struct taio_caps caps;
};

struct pick_choice {
	uint8_t device, slot, bucket;
	uint8_t why; /* enum taio_why */
	uint16_t cell;
	uint32_t predicted_ns;
	uint64_t piece; /* a probe: so many bytes of it only; 0: all */
};

/* A decision that still holds: see pick_remembered(). */
struct pick_memory {
	uint64_t until_ns, skip;
	const uint32_t *version_at; /* of the price ... */
	uint32_t version;           /* ... as it was */
	struct pick_choice choice;
	uint8_t goal;
	uint8_t left;   /* uses */
	uint8_t streak; /* times it was made anew and came out the same */
};

/* A route context as this engine sees it. */
struct pick_context {
	uint64_t key;
	uint8_t index; /* in the policy's maps; PICK_NONE: no room there */
	uint8_t count;
	uint8_t last[TAIO_CLASSES];       /* device taken last; PICK_NONE */
	uint8_t trial_last[TAIO_CLASSES]; /* ... by a policy on trial */
	uint64_t unfit;                   /* devices that turned out not to work here ... */
	uint64_t unfit_ns;                /* ... until then */
	struct pick_candidate candidate[TAIO_SLOTS];
	struct pick_memory memory[TAIO_CLASSES];
};

struct pick_device {
	uint32_t in_flight, limit;
	uint32_t errors;        /* in a row, forgiven with successes */
	uint32_t level;         /* of quarantine: it lasts 1 ms << level */
	uint64_t progress_ns;   /* last completion, or first submission after idleness */
	uint64_t quarantine_ns; /* until then, and then until a trial went well; 0: none */
	uint64_t healed_ns;     /* when it did, or when the level was last lowered */
	uint64_t probed_ns;
	uint8_t map_index; /* in taio_dev; PICK_NONE */
	uint8_t on_trial;  /* back from quarantine: one request at a time */
	uint8_t eager;     /* probes that may follow at once: the last one was good news */
	struct admit admit;
};

#define PICK_CONTEXTS 48
#define PICK_SPARE    (PICK_CONTEXTS - 1) /* the last is made anew for each key beyond the others */

struct picker {
	const struct taio_maps *maps;
	struct pick_device device[TAIO_DEVICES];
	struct pick_context context[PICK_CONTEXTS];
	uint32_t context_count;
	uint8_t bucket[128]; /* hash of keys, linear probing; index + 1 */
	int64_t probe_credit_ns;
	uint64_t regret_ns; /* what devices that are not open would have saved */
	uint64_t random;
	uint64_t asked_ns; /* what the steps are worth that stand in the policy's batch ... */
	uint32_t asked;    /* ... and how many those are: a policy may write into its batch */
};

struct pick_query {
	struct pick_context *context;
	uint64_t bytes;
	uint64_t now_ns;
	uint64_t
		unseen_ns; /* for so long nobody looked for completions: no device is silent then */
	uint64_t skip;     /* devices that may not run it */
	uint64_t closed;   /* devices that would have to be opened for it, which costs */
	uint32_t goal;     /* enum taio_goal */
	bool may_probe;
	uint64_t cuttable;             /* devices that may be tried with a piece of it */
	const struct taio_maps *trial; /* prices to go by instead of the picker's; NULL: its own */
	bool bounded;      /* it waits for its device only: an admission limit holds for it */
	uint64_t spare_ns; /* until its deadline; 0: it has none */

	/* for the policy's pick hook */
	uint8_t picked; /* PICK_ASK, PICK_BY_PRICE, or the slot that it named plus 1 */
	uint8_t priority;
	uint16_t tag;
	uint64_t deadline_ns; /* 0: none */
	uint64_t rest;        /* bytes of the request behind the step */
};
#define PICK_ASK      0 /* it was not asked yet */
#define PICK_BY_PRICE 255

/* One candidate's side of a decision, for a trace. */
struct pick_reason {
	uint8_t device, why_not;
	uint16_t in_flight;
	uint32_t cost_ns;
	bool measured; /* often enough to be believed; else the cost is a published one */
};

void pick_init(struct picker *picker, const struct taio_maps *maps);

/* Makes a device known under its name; its number is below TAIO_DEVICES. */
void pick_add_device(struct picker *picker, uint8_t number, const char *name, uint32_t limit);

/* The context with this key; NULL: not seen yet. */
struct pick_context *pick_find_context(struct picker *picker, uint64_t key);

/* Adds a context with its candidates (device and caps filled in). When all places are taken it goes
 * to the spare one, unpriced, until the next one is added. Return: never NULL. */
struct pick_context *pick_add_context(struct picker *picker, uint64_t key, const char *name,
				      const struct pick_candidate *candidates, unsigned int count);

/* After a swap of maps: finds or claims the slots again. */
void pick_rebind(struct picker *picker);

/* Chooses. Return: 0; -EBUSY: all that could run it are full; -ENODEV: none can. */
int pick_choose(struct picker *picker, const struct pick_query *query,
		struct pick_choice *ret_choice);

/* What other prices say of a choice. */
struct pick_verdict {
	uint64_t own_ns, best_ns; /* its cost, and the least that was to be had */
	bool priced;              /* the picker's own prices had one for it */
};

/* Judges @choice, just made for @query, by the prices of @maps; only what was measured counts. If
 * nothing is known there of a candidate that might be cheaper, the choice becomes a probe of it.
 * Return: true: @ret_verdict tells something. */
bool pick_judge(struct picker *picker, const struct pick_query *query, const struct taio_maps *maps,
		struct pick_choice *choice, struct pick_verdict *ret_verdict);

/*
 * The pick hook of the policy, where it has one. A hook in this process is asked by pick_choose()
 * itself. One that is a system call away is asked for many steps at a time: pick_gather() for each,
 * then pick_answer(), then pick_choose() with the answer in query->picked. Its answer is only taken
 * if that device may run the step at that moment; else it is counted and prices decide.
 */
static inline bool pick_gathers(const struct picker *picker)
{
	return picker->maps->batch && picker->maps->pick_crosses &&
	       (picker->maps->ctl->flags & TAIO_POLICY_PICKS);
}
/* Return: the place in the batch; -1: not worth it, or it is full: let prices decide. */
int pick_gather(struct picker *picker, const struct pick_query *query);
/* Lets the hook answer. @ret_picked: for each place in the batch, what to put into query.picked.
 * Return: how many there were; the batch is empty again. */
unsigned int pick_answer(struct picker *picker, uint64_t now_ns, uint8_t ret_picked[TAIO_ASKS]);

/* For pick_choose(). Return: true: decided by the hook. */
bool pick_by_hook(struct picker *picker, const struct pick_query *query,
		  struct pick_choice *ret_choice);
/* Takes what the hook named, if it may run. */
bool pick_take_slot(const struct picker *picker, const struct pick_query *query, uint8_t slot,
		    struct pick_choice *ret_choice);

/* The same decision told: up to @max reasons. Return: how many. */
unsigned int pick_explain(const struct picker *picker, const struct pick_query *query,
			  struct pick_reason *reasons, unsigned int max);

/* Bookkeeping around a step on a device. */
void pick_submitted(struct picker *picker, uint8_t device, uint64_t now_ns);
/* ... also for one that counts against the admission limit; never for inline devices. */
void pick_admitted(struct picker *picker, uint8_t device);

struct pick_result {
	const struct pick_choice *choice;
	uint64_t submit_ns, now_ns;
	uint64_t bytes, cpu_ns;
	uint64_t whole; /* it was a piece of so many bytes; 0: it was all */
	bool error;     /* the device failed: breaker */
	bool learn;     /* whole, successful: may be learnt from */
	bool occupied;  /* it held the caller's thread: in_flight was never raised */
	bool bounded;   /* pick_admitted() was called for it */
};

/* Return: true when it was so far from its price that prices should be made at once. */
bool pick_completed(struct picker *picker, const struct pick_result *result);

#endif /* TAIO_PICK_H */
