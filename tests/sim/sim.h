/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * sim.h: the simulator of device selection, see docs/policy-simulator.md. A world is made of
 * devices and requests, the same for all; a chooser decides; a run plays one against the other in
 * virtual time; an outcome says how long the requests took.
 *
 *   random.c     the generators that worlds are made with
 *   world.c      the situations: devices, their troubles, requests
 *   device.c     how long a device takes
 *   run.c        events, retries, hedges
 *   engine.c     the chooser under test: the engine's picker on a policy's native twin
 *   reference.c  choosers that know what no engine can know: oracle, informed
 *   c3.c         a rival that is not among our policies
 *   outcome.c    means, percentiles, adaptation
 *   table.c      who plays where, and what is printed
 *   play.c       plays the worlds of the table, several at a time
 *   targets.c    the figures that must be reached
 *   plot.c       shares and p99 over time, for gnuplot
 *   scale.c      many devices, many engines
 */
#ifndef TAIO_SIM_H
#define TAIO_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "pick/pick.h"
#include "taio_policy_native.h"

#define SIM_US 1000ULL
#define SIM_MS 1000000ULL
#define SIM_S  1000000000ULL

/* Worlds begin here and not at 0, where a clock is that has never run. */
#define SIM_START_NS (10 * SIM_S)
#define SIM_WARM_NS  (500 * SIM_MS) /* requests of so long are not counted */
#define SIM_LOST_NS  SIM_S          /* what a request that is lost counts on top */

#define SIM_DEVICES 64
#define SIM_GROUP   16 /* devices that one request may choose among: TAIO_SLOTS */
#define SIM_CLASSES 9  /* 4 KiB .. 1 MiB */

struct sim_random {
	uint64_t state;
};

uint64_t random_next(struct sim_random *random);
double random_unit(struct sim_random *random); /* in [0, 1) */
uint32_t random_below(struct sim_random *random, uint32_t limit);
double random_normal(struct sim_random *random);
/* Log-uniform between @low and @high; of another, smaller generator that makes topologies. */
void random_start_topology(struct sim_random *random, uint32_t number);
double random_topology(struct sim_random *random, double low, double high);

/* ---- worlds ---- */

struct sim_segment {
	uint64_t from_ns, to_ns;
	uint32_t speed; /* 1024: normal, 0: stalled */
};

struct sim_spec {
	uint32_t base_ns, ps_per_byte, servers;
	struct sim_segment *segment; /* in order; between them all is normal */
	uint32_t segments;
};

struct sim_fault {
	uint64_t from_ns, to_ns;
	uint32_t device, permille;
};

struct sim_request {
	uint64_t arrive_ns; /* closed loop: not used */
	uint32_t noise;     /* of the work, 65536: none */
	uint16_t engine;
	uint8_t class;
	uint8_t group; /* it may choose among the devices 16 * group ... */
};

struct sim_world {
	char name[8];
	struct sim_spec device[SIM_DEVICES];
	uint32_t devices;
	struct sim_fault fault[2];
	uint32_t faults;
	struct sim_request *request;
	uint32_t requests, counted_from;
	uint32_t outstanding; /* closed loop; 0: open */
	uint32_t engines;
	uint32_t engines_shared; /* so many of them share their maps */
	bool one_kind;           /* each request may go to any of more devices than have places */
	uint64_t seed;
};

/* A situation of the catalogue by its name ("S0" .. "S11", "S51", "S81", "T100" ...).
 * Return: false: there is none of that name. */
bool world_make(struct sim_world *ret_world, const char *name, uint32_t seed);
/* Groups of 16 devices, loaded at @percent for @ns, by so many engines. */
void world_make_large(struct sim_world *ret_world, uint32_t groups, uint32_t engines,
		      uint32_t shared, uint32_t percent, uint64_t ns, uint32_t seed);
void world_free(struct sim_world *world);

static inline uint64_t sim_bytes(const struct sim_request *request)
{
	return 4096ULL << request->class;
}

/* ---- devices at work ---- */

struct sim_device {
	const struct sim_spec *spec;
	uint64_t *free_ns; /* of each server */
	uint32_t cursor;   /* first segment that is not over */
	uint32_t in_flight;
};

void device_start(struct sim_device *device, const struct sim_spec *spec);
void device_end(struct sim_device *device);
/* What the request is for this device at normal speed, ns. */
uint64_t device_work(const struct sim_device *device, const struct sim_request *request);
/* When the request would end if it came now; @commit: it comes. */
uint64_t device_serve(struct sim_device *device, const struct sim_request *request, uint64_t now_ns,
		      bool commit);
uint32_t device_speed(const struct sim_device *device, uint64_t now_ns);
/* So many of a thousand tries fail there just now. */
uint32_t device_fault(const struct sim_world *world, uint32_t device, uint64_t now_ns);
/* Does the @attempt-th try of a request fail there? The same for whoever asks. */
bool device_fails(const struct sim_world *world, uint32_t device, uint32_t request,
		  uint32_t attempt, uint64_t now_ns);

/* ---- choosers ---- */

struct sim_run;

/* What the picker is deprived of or given, to see what it is worth. */
enum sim_without {
	SIM_HEDGE = 1,
	SIM_NO_AGE = 2,
	SIM_NO_BREAKER = 4,
	SIM_NO_PROBE = 8,
	SIM_NO_STICKING = 16, /* hysteresis */
	SIM_NO_MEMORY = 32,   /* of decisions */
	SIM_FROZEN = 64,      /* decisions of one instant do not see each other */
	SIM_UNPUBLISHED = 128,
	SIM_PARALLEL_X4 = 256, /* published parallelism is wrong */
	SIM_NO_LIMIT = 1024,   /* of admission */
	SIM_SLOWNESS_X4 = 512, /* the second device is published as four times slower than it is */
};

struct sim_contestant {
	const char *name;
	const char *policy; /* of the native twin; "oracle", "informed" */
	uint32_t without;   /* enum sim_without */
	uint32_t tick_us;   /* how often prices are made; 0: as the engine does; 1: each turn */
};

struct sim_ask {
	const struct sim_request *request;
	uint32_t number, attempt;
	uint64_t now_ns;
	uint64_t skip;
	bool may_probe;
	bool second; /* copy of a request that is late */
};

struct sim_chooser {
	/* Return: 0; -EBUSY: ask again when something has completed; -ENODEV: nothing is left. */
	int (*choose)(struct sim_chooser *chooser, const struct sim_ask *ask,
		      struct pick_choice *ret_choice);
	void (*submitted)(struct sim_chooser *chooser, const struct sim_request *request,
			  uint8_t device, uint64_t now_ns);
	void (*completed)(struct sim_chooser *chooser, const struct sim_request *request,
			  const struct pick_result *result);
	/* An engine's turn has come to its end. */
	void (*turn)(struct sim_chooser *chooser, uint32_t engine, uint64_t now_ns);
	/* A timer of the machine, each millisecond; may be NULL. */
	void (*timer)(struct sim_chooser *chooser, uint64_t now_ns);
	void (*end)(struct sim_chooser *chooser);
};

struct sim_chooser *engine_chooser(const struct sim_world *world,
				   const struct sim_contestant *contestant);
struct sim_chooser *reference_chooser(const struct sim_run *run,
				      const struct sim_contestant *contestant);
/* The twin of that name, of the library or of the simulator; NULL: none. */
const struct taio_native_policy *engine_find_policy(const char *name);

struct sim_engine_figures {
	uint64_t ticks, samples, thinned, dropped, cells_late;
	uint64_t tick_wall_ns; /* as measured: the only figure here that differs from run to run */
};
void engine_figures(const struct sim_chooser *chooser, struct sim_engine_figures *ret);

/* ---- runs ---- */

struct sim_outcome {
	double mean_ns, p99_ns, p999_ns;
	double per_second;
	uint64_t counted, wasted, lost, hedges;
	uint64_t adm_ms, adp_ms, rec_ms; /* S2 only; OUTCOME_NEVER */
};
#define OUTCOME_NEVER 400

/* One point in time of each request, for adaptation and plots. */
struct sim_told {
	uint64_t start_ns;
	uint64_t ns; /* latency */
	uint8_t device;
};

struct sim_run {
	const struct sim_world *world;
	const struct sim_contestant *contestant;
	struct sim_device device[SIM_DEVICES];
	struct sim_told *told; /* of each request */
	uint64_t wasted, lost, hedges;
	uint64_t first_ns, last_ns; /* closed loop: when counting began, and the end */
	struct sim_engine_figures figures;
};

/* Plays it; what happened stays in @ret_run until run_free(). */
void run_play(struct sim_run *ret_run, const struct sim_world *world,
	      const struct sim_contestant *contestant);
void run_free(struct sim_run *run);

/* @oracle: the outcome's measure for adaptation, NULL for the oracle itself. */
void outcome_measure(struct sim_outcome *ret, const struct sim_run *run,
		     const struct sim_run *oracle);
double outcome_percentile(uint64_t *values, uint64_t count, double share);

#endif /* TAIO_SIM_H */
