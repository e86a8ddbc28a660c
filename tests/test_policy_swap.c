/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_policy_swap.c: very many changes of policy while requests of several kinds are in flight:
 * each gives its one event, on a device, with all of its bytes; and a change counts from the next
 * decision on. $TAIO_SWAPS and $TAIO_SWAPS_BPF say how many, for a longer run.
 */
#include <fcntl.h>

#include "engine/engine.h"
#include "policy_world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SWAPS     5000
#define SWAPS_BPF 20
#else
#define SWAPS     100000
#define SWAPS_BPF 100
#endif

#define SLOTS 12
#define BYTES 32768

/* The kinds of requests, by slot. */
enum {
	MEMORY = 0,      /* 4: within the engine */
	FILES = 4,       /* 4: file to null, segments on a ring or worker */
	PIPES = 8,       /* 4: wait for their data over many swaps */
	PIPE_WAITS = 23, /* rounds */
};

struct load {
	struct taio *engine;
	unsigned char *to[SLOTS];
	size_t size[SLOTS];
	int pipe[SLOTS][2];
	unsigned int age[SLOTS];
	uint32_t pending;
	uint64_t round, accepted, events, wrong;
	uint64_t swaps;
};

static unsigned char load_from[BYTES];

static uint64_t load_number(const char *variable, uint64_t usual)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : usual;
}

static void load_open(struct load *load, uint32_t flags)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = flags | TAIO_NO_CACHE,
					       .policy = "tab" };

	memset(load, 0, sizeof(*load));
	cr_assert_eq(taio_open(&load->engine, &options), 0);
	for (size_t i = 0; i < BYTES; i++)
		load_from[i] = (unsigned char)(i * 7 + i / 253);
	for (unsigned int i = 0; i < SLOTS; i++) {
		load->to[i] = calloc(1, BYTES);
		cr_assert_eq(pipe2(load->pipe[i], O_CLOEXEC), 0);
	}
}

static void load_submit(struct load *load, unsigned int slot)
{
	struct taio_endpoint from, to;
	size_t size = 1025 + (size_t)(load->round * 977 + slot * 4099) % (BYTES - 1025);

	if (slot >= PIPES)
		size = 100 + size % 3000;
	load->size[slot] = size;
	load->age[slot] = 0;
	from = taio_memory(load_from, size);
	to = taio_memory(load->to[slot], size);
	load->to[slot][0] = (unsigned char)~load_from[0];
	load->to[slot][size - 1] = (unsigned char)~load_from[size - 1];
	if (slot >= PIPES) {
		from = taio_descriptor(load->pipe[slot][0]);
	} else if (slot >= FILES) {
		from = taio_path_at("/proc/self/exe", 0, size);
		to = taio_null();
	}
	cr_assert_eq(taio_copy(load->engine, &from, &to, NULL, slot), 0);
	load->accepted++;
	load->pending |= 1U << slot;
}

static void load_event(struct load *load, const struct taio_event *event)
{
	unsigned int slot = (unsigned int)event->cookie;

	load->events++;
	if (slot >= SLOTS || !(load->pending & 1U << slot)) {
		load->wrong++; /* nobody's, or a second one */
		return;
	}
	load->pending &= ~(1U << slot);
	if (event->result != (int64_t)load->size[slot] || event->device == PICK_NONE ||
	    ((slot < FILES || slot >= PIPES) &&
	     memcmp(load->to[slot], load_from, load->size[slot])))
		load->wrong++;
}

static void load_take(struct load *load, unsigned int min)
{
	struct taio_event events[SLOTS];
	int n = taio_get_events(load->engine, events, min, SLOTS, 1000000000);

	cr_assert_geq(n, 0);
	for (int i = 0; i < n; i++)
		load_event(load, &events[i]);
}

static void load_feed_pipe(struct load *load, unsigned int slot)
{
	if (load->age[slot]++ == PIPE_WAITS)
		cr_assert_eq(write(load->pipe[slot][1], load_from, load->size[slot]),
			     (ssize_t)load->size[slot]);
}

/* Requests are begun, the policy changes @swaps times, requests go on. */
static void load_round(struct load *load, unsigned int swaps,
		       int (*change)(struct taio *engine, uint64_t number))
{
	for (unsigned int slot = 0; slot < SLOTS; slot++) {
		if (!(load->pending & 1U << slot))
			load_submit(load, slot);
		else if (slot >= PIPES)
			load_feed_pipe(load, slot);
	}
	for (unsigned int i = 0; i < swaps; i++, load->swaps++)
		cr_assert_eq(change(load->engine, load->swaps), 0, "swap %lu: %s",
			     (unsigned long)load->swaps, taio_refusal(load->engine));
	load_take(load, 0);
	load->round++;
}

static void load_close(struct load *load)
{
	struct taio_policy_info last;

	for (unsigned int i = 0; i < PIPE_WAITS + 2; i++)
		for (unsigned int slot = PIPES; slot < SLOTS; slot++)
			if (load->pending & 1U << slot)
				load_feed_pipe(load, slot);
	while (load->pending)
		load_take(load, 1);
	cr_expect_eq(load->wrong, 0);
	cr_expect_eq(load->events, load->accepted);
	cr_expect_eq(taio_pending(load->engine), 0);
	cr_assert_eq(taio_policy_show(load->engine, &last, sizeof(last)), 0);
	cr_expect_eq(last.swaps, load->swaps);
	cr_expect_eq(last.fallbacks, 0, "%s", last.reason);
	cr_expect_eq(policy_maps(load->engine->policy)->ctl->refused, 0);
	cr_expect_gt(last.samples, 0);
	taio_close(load->engine);
	for (unsigned int i = 0; i < SLOTS; i++) {
		free(load->to[i]);
		close(load->pipe[i][0]);
		close(load->pipe[i][1]);
	}
}

static const char *const swap_names[] = { "jsq", "static", "tab" };

static int swap_natively(struct taio *engine, uint64_t number)
{
	return taio_policy_swap(engine, swap_names[number % 3]);
}

static int swap_in_the_kernel(struct taio *engine, uint64_t number)
{
	return taio_policy_load(engine, swap_names[number % 3]);
}

Test(policy_swaps, a_hundred_thousand_under_load_lose_double_or_spoil_no_request)
{
	uint64_t count = load_number("TAIO_SWAPS", SWAPS);
	struct load load;

	load_open(&load, TAIO_NO_BPF);
	while (load.swaps < count)
		load_round(&load, load.swaps + 8 <= count ? 8 : (unsigned int)(count - load.swaps),
			   swap_natively);
	cr_expect_gt(load.events, count / 8);
	load_close(&load);
}

Test(policy_swaps, of_objects_in_the_kernel_under_load_lose_double_or_spoil_no_request)
{
	uint64_t count = load_number("TAIO_SWAPS_BPF", SWAPS_BPF);
	const char *lacks = world_lacks();
	struct load load;

	if (lacks)
		cr_skip("%s", lacks);
	load_open(&load, 0);
	while (load.swaps < count) {
		for (unsigned int i = 0; i < 20; i++)
			load_round(&load, 0, NULL);
		load_round(&load, 1, swap_in_the_kernel);
	}
	load_close(&load);
}

/* jsq's price of an idle device is a number that no other policy has. */
static uint64_t load_predicted(struct taio *engine)
{
	struct taio_endpoint from = taio_memory(load_from, 8192), to;
	struct taio_trace_step step = { 0 };
	struct taio_trace trace = { .capacity = 1, .step = &step };
	struct taio_options options = { .size = sizeof(options), .trace = &trace };
	static unsigned char room[8192];
	struct taio_event event;

	to = taio_memory(room, sizeof(room));
	cr_assert_eq(taio_copy(engine, &from, &to, &options, 1), 0);
	cr_assert_eq(taio_get_events(engine, &event, 1, 1, 1000000000), 1);
	return step.predicted_ns;
}

Test(policy_swaps, count_from_the_very_next_decision_on)
{
	struct load load;

	load_open(&load, TAIO_NO_BPF);
	for (unsigned int i = 0; i < 60; i++)
		(void)load_predicted(load.engine); /* decisions are remembered by now */
	for (unsigned int i = 0; i < 300; i++, load.swaps++) {
		cr_assert_eq(swap_natively(load.engine, i), 0);
		cr_assert_eq(load_predicted(load.engine) == 1U << 20, i % 3 == 0, "swap %u", i);
	}
	load_close(&load);
}

Test(policy_swaps, in_the_kernel_count_from_the_very_next_decision_on)
{
	const char *lacks = world_lacks();
	struct load load;

	if (lacks)
		cr_skip("%s", lacks);
	load_open(&load, 0);
	for (unsigned int i = 0; i < 60; i++)
		(void)load_predicted(load.engine);
	for (unsigned int i = 0; i < 12; i++, load.swaps++) {
		cr_assert_eq(swap_in_the_kernel(load.engine, i), 0);
		cr_assert_eq(load_predicted(load.engine) == 1U << 20, i % 3 == 0, "swap %u", i);
	}
	load_close(&load);
}

/* They skipped 63 decisions, and went on as before when the policy had changed. */
Test(policy_swaps, small_pointer_copies_do_not_go_on_with_the_choice_of_the_old_policy)
{
	static unsigned char room[8192];
	struct taio_event event;
	struct load load;

	load_open(&load, TAIO_NO_BPF);
	for (unsigned int i = 0; i < 5; i++) {
		cr_assert_eq(taio_schedule_pointer(load.engine, load_from, room, sizeof(room), 1),
			     0);
		cr_assert_eq(taio_get_events(load.engine, &event, 1, 1, 1000000000), 1);
	}
	cr_assert_gt(load.engine->pointer_left[taio_class_of(sizeof(room))], 0);
	cr_assert_eq(swap_natively(load.engine, load.swaps++), 0);
	cr_expect_eq(load.engine->pointer_left[taio_class_of(sizeof(room))], 0);
	cr_assert_eq(taio_get_events(load.engine, &event, 0, 1, 0), 0);
	policy_tick(load.engine->policy, policy_now_ns(), 1);
	load_close(&load);
}
