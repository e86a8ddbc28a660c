/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * run.c: events in virtual time. A request that comes is put on a device at once; a completion ends
 * it, or (the device failed) puts it on another; after either, the engine's turn is over. What is
 * in flight is in a heap ordered by (time, request, kind), so that a run is the same each time.
 */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "taio.h"

#define RUN_FAIL_NS      (2 * SIM_US) /* a device says quickly that it cannot */
#define RUN_ATTEMPTS     20
#define RUN_HEDGE_MIN_NS (30 * SIM_US)
#define RUN_HEDGE_TIMES  3
#define RUN_HEDGE_COST   20 /* tokens: one copy for so many requests ... */
#define RUN_HEDGE_BURST  8  /* ... and so many that may have been saved up */
#define RUN_TIMER_NS     SIM_MS

enum run_event_kind {
	RUN_COMPLETION,
	RUN_HEDGE,
	RUN_TIMER
};

struct run_event {
	uint64_t when_ns;
	uint32_t request;
	uint32_t kind : 2;
	uint32_t flight : 30;
};

/* One attempt in the hands of a device. */
struct run_flight {
	struct pick_choice choice;
	uint64_t submit_ns;
	uint32_t next; /* free ones */
	bool failed;
};

/* What a request has come to. */
struct run_state {
	uint64_t tried;
	uint32_t next; /* that waits for room, plus 1 */
	uint8_t attempts, flights;
	bool done, copied;
};

/* Requests of an engine for which all devices are full; numbers plus 1. */
struct run_room {
	uint32_t head, tail;
};

struct run_play {
	struct sim_run *run;
	struct sim_chooser *chooser;
	struct run_state *state;
	struct run_room *room; /* of each engine */
	struct run_event *heap;
	uint32_t events, heap_room;
	struct run_flight *flight;
	uint32_t flights, flight_room, free_flight;
	uint32_t next; /* request that comes next */
	uint32_t open; /* requests that have come and are not over */
	uint32_t tokens;
	uint64_t now_ns;
};

/* ---- the heap ---- */

static bool run_before(const struct run_event *a, const struct run_event *b)
{
	if (a->when_ns != b->when_ns)
		return a->when_ns < b->when_ns;
	if (a->request != b->request)
		return a->request < b->request;
	return a->kind < b->kind;
}

static void run_push(struct run_play *play, struct run_event event)
{
	uint32_t at = play->events++;

	if (play->events > play->heap_room) {
		play->heap_room = play->heap_room ? 2 * play->heap_room : 1024;
		play->heap = realloc(play->heap, play->heap_room * sizeof(event));
		assert(play->heap);
	}
	for (; at && run_before(&event, &play->heap[(at - 1) / 2]); at = (at - 1) / 2)
		play->heap[at] = play->heap[(at - 1) / 2];
	play->heap[at] = event;
}

static struct run_event run_pop(struct run_play *play)
{
	struct run_event top = play->heap[0], last = play->heap[--play->events];
	uint32_t at = 0, child;

	while ((child = 2 * at + 1) < play->events) {
		if (child + 1 < play->events &&
		    run_before(&play->heap[child + 1], &play->heap[child]))
			child++;
		if (!run_before(&play->heap[child], &last))
			break;
		play->heap[at] = play->heap[child];
		at = child;
	}
	play->heap[at] = last;
	return top;
}

/* ---- flights ---- */

static uint32_t run_flight_get(struct run_play *play)
{
	uint32_t at = play->free_flight;

	if (at) {
		play->free_flight = play->flight[at].next;
		return at;
	}
	if (!play->flights)
		play->flights = 1; /* 0: none */
	if (play->flights >= play->flight_room) {
		play->flight_room = play->flight_room ? 2 * play->flight_room : 1024;
		play->flight = realloc(play->flight, play->flight_room * sizeof(*play->flight));
		assert(play->flight);
	}
	return play->flights++;
}

static void run_flight_put(struct run_play *play, uint32_t at)
{
	play->flight[at].next = play->free_flight;
	play->free_flight = at;
}

static void run_submit(struct run_play *play, uint32_t number, const struct pick_choice *choice)
{
	const struct sim_world *world = play->run->world;
	const struct sim_request *request = &world->request[number];
	struct sim_device *device = &play->run->device[choice->device];
	struct run_state *state = &play->state[number];
	uint32_t at = run_flight_get(play);
	struct run_flight *flight = &play->flight[at];
	struct run_event event = { .request = number, .kind = RUN_COMPLETION, .flight = at };

	flight->choice = *choice;
	flight->submit_ns = play->now_ns;
	flight->failed = device_fails(world, choice->device, number, state->attempts, play->now_ns);
	event.when_ns = flight->failed ? play->now_ns + RUN_FAIL_NS
				       : device_serve(device, request, play->now_ns, true);
	device->in_flight++;
	state->flights++;
	play->chooser->submitted(play->chooser, request, choice->device, play->now_ns);
	run_push(play, event);
}

/* ---- requests ---- */

static void run_over(struct run_play *play, uint32_t number, uint8_t device)
{
	struct sim_told *told = &play->run->told[number];

	play->state[number].done = true;
	play->open--;
	told->ns = play->now_ns - told->start_ns;
	told->device = device;
	if (play->now_ns > play->run->last_ns)
		play->run->last_ns = play->now_ns;
}

static void run_lose(struct run_play *play, uint32_t number)
{
	run_over(play, number, PICK_NONE);
	play->run->told[number].ns += SIM_LOST_NS;
	play->run->lost++;
}

static struct sim_ask run_ask(const struct run_play *play, uint32_t number)
{
	const struct run_state *state = &play->state[number];

	return (struct sim_ask){ .request = &play->run->world->request[number],
				 .number = number,
				 .attempt = state->attempts,
				 .now_ns = play->now_ns,
				 .skip = state->tried,
				 .may_probe = !state->attempts };
}

/*
 * Hedging, by the rules of user/engine/hedge.c: a request that its device owes for three times its
 * price is sent to a second device as well, if that is idle and takes less than the first took
 * already; the sooner of the two counts. Copies are a small share of the requests, or a brown-out
 * would be made worse by them. The one that comes late keeps its place on its device, as if no
 * device could call anything back, and is not learnt from.
 */
static void run_hedge_arm(struct run_play *play, uint32_t number, const struct pick_choice *choice)
{
	uint64_t wait_ns = RUN_HEDGE_TIMES * (uint64_t)choice->predicted_ns;

	if (!(play->run->contestant->without & SIM_HEDGE) || play->state[number].attempts)
		return;
	if (play->tokens < RUN_HEDGE_BURST * RUN_HEDGE_COST)
		play->tokens++;
	if (wait_ns < RUN_HEDGE_MIN_NS)
		wait_ns = RUN_HEDGE_MIN_NS;
	run_push(play, (struct run_event){ .when_ns = play->now_ns + wait_ns,
					   .request = number,
					   .kind = RUN_HEDGE,
					   .flight = choice->device });
}

static void run_hedge_due(struct run_play *play, const struct run_event *event)
{
	struct run_state *state = &play->state[event->request];
	uint64_t took_ns = play->now_ns - play->run->told[event->request].start_ns;
	struct sim_ask ask = run_ask(play, event->request);
	const struct sim_device *device = play->run->device;
	struct run_event later = *event;
	struct pick_choice choice;

	if (state->done || state->copied)
		return;
	ask.skip |= 1ULL << event->flight;
	ask.may_probe = false;
	ask.second = true;
	if (play->tokens >= RUN_HEDGE_COST &&
	    !play->chooser->choose(play->chooser, &ask, &choice) &&
	    choice.why != TAIO_WHY_QUARANTINE && choice.predicted_ns <= took_ns &&
	    device[choice.device].in_flight < device[choice.device].spec->servers) {
		state->copied = true;
		play->tokens -= RUN_HEDGE_COST;
		play->run->hedges++;
		run_submit(play, event->request, &choice);
		return;
	}
	later.when_ns += took_ns / 4 + 1;
	run_push(play, later);
}

/* Return: false: there is no room on any device. */
static bool run_place(struct run_play *play, uint32_t number)
{
	struct sim_ask ask = run_ask(play, number);
	struct pick_choice choice;
	int rc = play->chooser->choose(play->chooser, &ask, &choice);

	if (rc == -EBUSY)
		return false;
	if (rc) {
		run_lose(play, number);
		return true;
	}
	run_submit(play, number, &choice);
	run_hedge_arm(play, number, &choice);
	return true;
}

static void run_place_or_wait(struct run_play *play, uint32_t number)
{
	struct run_room *room = &play->room[play->run->world->request[number].engine];

	if (run_place(play, number))
		return;
	if (room->tail)
		play->state[room->tail - 1].next = number + 1;
	else
		room->head = number + 1;
	room->tail = number + 1;
}

static void run_wake(struct run_play *play, uint32_t engine)
{
	struct run_room *room = &play->room[engine];

	while (room->head && run_place(play, room->head - 1)) {
		room->head = play->state[room->head - 1].next;
		if (!room->head)
			room->tail = 0;
	}
}

static void run_arrive(struct run_play *play)
{
	uint32_t number = play->next++;

	if (number == play->run->world->counted_from)
		play->run->first_ns = play->now_ns;
	play->run->told[number].start_ns = play->now_ns;
	play->open++;
	run_place_or_wait(play, number);
	play->chooser->turn(play->chooser, play->run->world->request[number].engine, play->now_ns);
}

static void run_complete(struct run_play *play, const struct run_event *event)
{
	const struct sim_world *world = play->run->world;
	const struct sim_request *request = &world->request[event->request];
	struct run_state *state = &play->state[event->request];
	struct run_flight flight = play->flight[event->flight];
	struct pick_result result = { .choice = &flight.choice,
				      .submit_ns = flight.submit_ns,
				      .now_ns = play->now_ns,
				      .bytes = flight.failed ? 0 : sim_bytes(request),
				      .error = flight.failed,
				      .bounded = true,
				      .learn = !flight.failed && !state->done };
	bool was_done = state->done;

	run_flight_put(play, event->flight);
	play->run->device[flight.choice.device].in_flight--;
	state->flights--;
	play->chooser->completed(play->chooser, request, &result);
	if (flight.failed) {
		play->run->wasted++;
		state->tried |= 1ULL << flight.choice.device; /* as the engine excludes it */
		if (!state->done && !state->flights) {
			if (++state->attempts < RUN_ATTEMPTS)
				run_place_or_wait(play, event->request);
			else
				run_lose(play, event->request);
		}
	} else if (!state->done) {
		run_over(play, event->request, flight.choice.device);
	}
	run_wake(play, request->engine);
	play->chooser->turn(play->chooser, request->engine, play->now_ns);
	if (world->outstanding && state->done && !was_done && play->next < world->requests)
		run_arrive(play);
}

/* ---- the play ---- */

static void run_event(struct run_play *play)
{
	struct run_event event = run_pop(play);

	play->now_ns = event.when_ns;
	switch ((enum run_event_kind)event.kind) {
	case RUN_COMPLETION:
		run_complete(play, &event);
		break;
	case RUN_HEDGE:
		run_hedge_due(play, &event);
		break;
	case RUN_TIMER:
		play->chooser->timer(play->chooser, play->now_ns);
		if (play->open || play->next < play->run->world->requests) {
			event.when_ns += RUN_TIMER_NS;
			run_push(play, event);
		}
		break;
	}
}

static void run_loop(struct run_play *play)
{
	const struct sim_world *world = play->run->world;

	for (;;) {
		if (!world->outstanding && play->next < world->requests &&
		    (!play->events ||
		     world->request[play->next].arrive_ns <= play->heap[0].when_ns)) {
			play->now_ns = world->request[play->next].arrive_ns;
			run_arrive(play);
		} else if (play->events) {
			run_event(play);
		} else {
			return;
		}
	}
}

static bool run_is_reference(const struct sim_contestant *contestant)
{
	return !strcmp(contestant->policy, "oracle") || !strcmp(contestant->policy, "informed");
}

void run_play(struct sim_run *ret_run, const struct sim_world *world,
	      const struct sim_contestant *contestant)
{
	struct run_play play = { .run = ret_run, .now_ns = SIM_START_NS };

	memset(ret_run, 0, sizeof(*ret_run));
	ret_run->world = world;
	ret_run->contestant = contestant;
	ret_run->told = calloc(world->requests, sizeof(*ret_run->told));
	play.state = calloc(world->requests, sizeof(*play.state));
	play.room = calloc(world->engines, sizeof(*play.room));
	assert(ret_run->told && play.state && play.room);
	for (uint32_t i = 0; i < world->devices; i++)
		device_start(&ret_run->device[i], &world->device[i]);
	play.chooser = run_is_reference(contestant) ? reference_chooser(ret_run, contestant)
						    : engine_chooser(world, contestant);
	if (play.chooser->timer)
		run_push(&play, (struct run_event){ .when_ns = SIM_START_NS + RUN_TIMER_NS,
						    .request = UINT32_MAX,
						    .kind = RUN_TIMER });
	while (play.next < world->outstanding)
		run_arrive(&play);
	run_loop(&play);
	assert(!play.open && play.next == world->requests);
	if (!run_is_reference(contestant))
		engine_figures(play.chooser, &ret_run->figures);
	play.chooser->end(play.chooser);
	for (uint32_t i = 0; i < world->devices; i++)
		device_end(&ret_run->device[i]);
	free(play.flight);
	free(play.heap);
	free(play.room);
	free(play.state);
}

void run_free(struct sim_run *run)
{
	free(run->told);
	run->told = NULL;
}
