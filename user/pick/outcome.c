/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* outcome.c: what the picker learns from steps that start and end: load, quarantine, what probes may
 * cost, and the samples for the policy; see pick.h. */
#include "pick/pick.h"
#include "pick/price.h"

#include <assert.h>

#include "taio.h"

#define PICK_ERRORS_MAX      3   /* in a row before quarantine */
#define PICK_LEVEL_MAX       10  /* 1 ms << 10: about a second */
#define PICK_PROBE_SHARE     128 /* probes may cost 1/128 of the time that work took */
#define PICK_EAGER           3   /* probes that follow one which was twice as fast as its price */
#define PICK_PROBE_TIMES     8   /* of what it was thought to cost: more is not its fault */
#define PICK_SURPRISE        3   /* times the price */
#define PICK_SURPRISE_MIN_NS 20000

/* Engines that share maps count together, since a sum that is as old as the last tick sends them all
 * to the same idle device; each tick recounts, so what a killed process leaves does not stay. */
static void pick_publish_load(struct picker *picker, const struct pick_device *device,
			      int32_t change)
{
	struct taio_engine *mine = picker->maps->engine;

	if (!mine || device->map_index == PICK_NONE)
		return;
	mine->in_flight[device->map_index] =
		device->in_flight > UINT16_MAX ? UINT16_MAX : (uint16_t)device->in_flight;
	if (picker->maps->shared)
		__atomic_fetch_add(&picker->maps->dev[device->map_index].in_flight,
				   (uint32_t)change, __ATOMIC_RELAXED);
}

void pick_submitted(struct picker *picker, uint8_t number, uint64_t now_ns)
{
	struct pick_device *device = &picker->device[number];

	assert(number < TAIO_DEVICES);
	if (device->in_flight++ == 0)
		device->progress_ns = now_ns;
	if (device->quarantine_ns && device->quarantine_ns <= now_ns)
		device->on_trial = 1;
	pick_publish_load(picker, device, 1);
}

void pick_admitted(struct picker *picker, uint8_t number)
{
	assert(number < TAIO_DEVICES);
	picker->device[number].admit.inside++;
}

/* Before it is counted out: what its time says about the queue inside the device. */
static void pick_leave(struct picker *picker, const struct pick_result *result, uint64_t ns)
{
	const struct pick_choice *choice = result->choice;
	struct admit *admit = &picker->device[choice->device].admit;

	if (result->learn && choice->slot != PICK_NONE && choice->cell < TAIO_CELLS) {
		const struct taio_caps *caps =
			&picker->maps
				 ->caps[choice->cell / TAIO_CLASSES * TAIO_SLOTS + choice->slot];

		admit_learn(admit, ns, pick_estimate(caps, result->bytes, 0), caps->parallel,
			    result->now_ns);
	}
	assert(admit->inside > 0);
	admit->inside--;
}

static void pick_break(struct pick_device *device, uint64_t now_ns)
{
	/* What was in flight when it broke fails for the same reason: that counts once. */
	if (device->quarantine_ns > now_ns)
		return;
	device->on_trial = 0;
	if (++device->errors < PICK_ERRORS_MAX && !device->quarantine_ns)
		return;
	device->errors = 0;
	if (device->level < PICK_LEVEL_MAX)
		device->level++;
	device->quarantine_ns = now_ns + (1000000ULL << device->level);
}

/* One trial that went well ends a quarantine: a device of many servers that could only be used by one
 * request at a time would be out for as long again. Its level is remembered, so that a device that
 * breaks again soon is left alone for longer, and falls each time it worked well for three quarters
 * of the time that it would have been left alone. */
static void pick_heal(struct picker *picker, struct pick_device *device, uint64_t now_ns)
{
	device->on_trial = 0;
	picker->random = picker->random * 6364136223846793005ULL + 1442695040888963407ULL;
	if (device->errors && (picker->random >> 62) == 0)
		device->errors--;
	if (device->quarantine_ns) {
		if (device->quarantine_ns <= now_ns) {
			device->quarantine_ns = 0;
			device->healed_ns = now_ns;
		}
	} else if (device->level && now_ns > device->healed_ns + (750000ULL << device->level)) {
		device->level--;
		device->healed_ns = now_ns;
	}
}

/* What a probe cost is paid, not what it was thought to cost: else a device whose price is wrong, or
 * that always finds the processor busy, is tried for more than the share of probes. A stall of the
 * whole machine is no fault of a probe: there is an end to it. A probe that was much faster than its
 * price is followed by others at once, since a policy that smooths wants to see several; what they did
 * not cost is given back. */
static void pick_probed(struct picker *picker, struct pick_device *device, uint64_t ns,
			uint64_t predicted_ns)
{
	if (ns > predicted_ns) {
		uint64_t more = ns - predicted_ns, most = PICK_PROBE_TIMES * predicted_ns;

		picker->probe_credit_ns -= (int64_t)(more < most ? more : most);
	}
	if (2 * ns >= predicted_ns)
		return;
	device->eager = PICK_EAGER;
	picker->probe_credit_ns += (int64_t)(predicted_ns - ns);
}

/* What all of it would have taken, by what a piece of it took: the published base time once. */
static uint64_t pick_whole_ns(const struct picker *picker, const struct pick_result *result,
			      uint64_t ns)
{
	const struct pick_choice *choice = result->choice;
	uint64_t base_ns;

	if (!result->whole || !result->bytes || choice->cell >= TAIO_CELLS)
		return ns;
	base_ns =
		picker->maps->caps[choice->cell / TAIO_CLASSES * TAIO_SLOTS + choice->slot].base_ns;
	if (base_ns > ns / 2)
		base_ns = ns / 2;
	return base_ns + (ns - base_ns) * result->whole / result->bytes;
}

/* Writes a completion for the policy; thins them when the ring fills faster than it is drained. */
static void pick_sample(struct picker *picker, const struct pick_result *result, uint64_t ns,
			uint8_t flags)
{
	struct taio_engine *mine = picker->maps->engine;
	const struct pick_choice *choice = result->choice;
	struct taio_sample *sample;
	uint32_t waiting, mask;
	uint64_t predicted_ns;

	if (!mine || choice->slot == PICK_NONE)
		return;
	waiting = mine->head - __atomic_load_n(&mine->tail, __ATOMIC_ACQUIRE);
	if (waiting >= TAIO_RING) {
		mine->dropped++;
		return;
	}
	mask = waiting < TAIO_RING / 4 ? 0 : waiting < TAIO_RING / 2 ? 7 : 63;
	picker->random += 0x9e3779b97f4a7c15ULL;
	if (mask && !flags && ((picker->random ^ picker->random >> 29) & mask))
		return;
	sample = &mine->ring[mine->head & (TAIO_RING - 1)];
	ns = pick_whole_ns(picker, result, ns);
	sample->submit_ns = result->whole ? result->now_ns - ns : result->submit_ns;
	sample->ns = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
	sample->cpu_ns = result->whole                 ? 0
			 : result->cpu_ns > UINT32_MAX ? UINT32_MAX
						       : (uint32_t)result->cpu_ns;
	sample->bytes = result->bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)result->bytes;
	predicted_ns = pick_whole_ns(picker, result, choice->predicted_ns);
	sample->predicted_ns = predicted_ns > UINT32_MAX ? UINT32_MAX : (uint32_t)predicted_ns;
	sample->cell = choice->cell;
	sample->slot = choice->slot;
	sample->dev = picker->device[choice->device].map_index;
	sample->bucket = choice->bucket;
	sample->flags = flags;
	sample->weight = (uint16_t)(flags ? 1 : mask + 1); /* what is flagged is never thinned */
	__atomic_store_n(&mine->head, mine->head + 1, __ATOMIC_RELEASE);
}

bool pick_completed(struct picker *picker, const struct pick_result *result)
{
	const struct pick_choice *choice = result->choice;
	struct pick_device *device = &picker->device[choice->device];
	uint64_t ns = result->now_ns - result->submit_ns;
	uint8_t flags = 0;
	bool surprise = false;

	if (!result->occupied) {
		assert(device->in_flight > 0);
		device->in_flight--;
		pick_publish_load(picker, device, -1);
	}
	if (result->bounded)
		pick_leave(picker, result, ns);
	device->progress_ns = result->now_ns;
	if (result->error) {
		pick_break(device, result->now_ns);
	} else if (device->errors | device->level) {
		pick_heal(picker, device, result->now_ns);
	}
	if (!result->learn)
		flags = TAIO_SAMPLE_ERROR;
	else if (choice->why == TAIO_WHY_PROBE)
		flags = TAIO_SAMPLE_PROBE;
	if (result->learn) {
		int64_t credit;

		if (choice->why == TAIO_WHY_PROBE)
			pick_probed(picker, device, ns, choice->predicted_ns);
		credit = picker->probe_credit_ns + (int64_t)(ns / PICK_PROBE_SHARE);
		picker->probe_credit_ns =
			credit > PICK_PROBE_CREDIT_MAX_NS ? PICK_PROBE_CREDIT_MAX_NS : credit;
		surprise = choice->slot != PICK_NONE && ns > PICK_SURPRISE_MIN_NS &&
			   (ns > (uint64_t)PICK_SURPRISE * choice->predicted_ns ||
			    ns * PICK_SURPRISE < choice->predicted_ns);
		if (surprise)
			flags |= TAIO_SAMPLE_URGENT;
	}
	pick_sample(picker, result, ns, flags);
	return surprise;
}
