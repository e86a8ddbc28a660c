/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * engine.h: the inside of struct taio and what the files of this room offer each other.
 *
 *   engine.c    turns: runs ready requests, collects completions; the one switch of steps
 *   plan        (user/plan) what steps a request consists of
 *   control.c   control steps: open, connect, sync, publish, ...
 *   mirror.c    sources with several equal copies
 *   whole.c     small files that are copied within the call
 *   transfer.c  segments of the transfer step
 *   messages.c  batches of datagrams: what the transfer does not know about them
 *   framed.c    copies between datagrams and bytes that keep boundaries
 *   route.c     contexts, candidates, starting a step on the device that was picked
 *   trace.c     the story of a request, if it is asked for
 *   gather.c    steps wait for the policy's pick hook, which is asked for many at a time
 *   spread.c    steps for a second core
 *   hedge.c     second copies of steps that are late
 *   device.c    the table of devices, probing, opening, worker twins
 *   lane.c      order and readiness on streams
 *   claim.c     sources that a device has taken over from their descriptor
 *   timer.c     timeouts and rate limits
 *   wait.c      the one place where the engine sleeps
 *   workers.c   threads on which a step may sleep
 *   event.c     the ring of events
 */
#ifndef TAIO_ENGINE_H
#define TAIO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "taio.h"
#include "taio_driver.h"
#include "engine/hedge.h"
#include "engine/lane_rate.h"
#include "engine/mirror.h"
#include "engine/workers.h"
#include "pick/pick.h"
#include "pick/speeds.h"
#include "policy/policy.h"
#include "request/request.h"
#include "util/memroute.h"
#include "util/slab.h"

#define ENGINE_PRIORITIES 8
#define ENGINE_STEPS_MAX  1024 /* steps in the hands of devices at a time */
#define ENGINE_LANES_MAX  (1u << 20)
#define ENGINE_DEVICES    TAIO_DEVICES
#define ENGINE_TURN_NS    (1000ULL * 1000) /* a transfer gives way after that long */

/* Order and readiness of one descriptor; side 0: requests that read it, 1: that write it. */
struct lane {
	uint32_t head[2], tail[2]; /* request index plus 1; 0: none */
	uint8_t waiting;           /* mask of sides whose head waits for readiness */
	uint8_t seen;              /* mask of sides that became ready while nobody waited */
	uint8_t registered;        /* it is in the epoll set */
	uint8_t looked;            /* whether it is O_NONBLOCK is known */
	uint8_t unblocked;         /* we set O_NONBLOCK and must take it away again */
	uint8_t poll_first;        /* blocking by nature (terminal): wait before each call */
	uint8_t always;            /* cannot be polled: always ready */
	uint32_t users;
	struct lane_rate rate[2]; /* of each side; kept while nobody uses it */
};

/* Devices that run control steps without being picked. */
enum engine_control {
	ENGINE_PICKED = 0, /* none: the picker chooses */
	ENGINE_SYS,
	ENGINE_SYS_ASIDE, /* sys on a worker */
	ENGINE_NET,
	ENGINE_RESOLVER, /* net on a worker */
	ENGINE_CONTROLS
};

/* The device of the last batch of messages of a size class, which has the next few, too. */
struct engine_again {
	uint8_t device, left, goal;
};
#define ENGINE_MESSAGES 3 /* sent, sent in fragments, received */

struct engine_device_count {
	uint64_t steps, bytes, errors;
	struct taio_message_counters messages;
	uint64_t runs; /* inline: each so manieth is measured in processor time */
};

struct taio {
	struct taio_host host;
	uint32_t flags; /* enum taio_engine_flag */
	uint32_t umask;
	uint64_t now_ns; /* as of the last look at the clock */
	uint64_t opened_ns;
	uint64_t tick_ns;   /* last policy_tick() */
	uint64_t turn_ns;   /* start of the present turn */
	uint64_t looked_ns; /* last look at the streams */
	uint64_t reaped_ns; /* until then completions of rings and workers were looked for */
	uint64_t taken_ns;  /* when those at hand were taken, ... */
	uint64_t late_ns;   /* ... and for so long before inline devices had held the thread */
	uint64_t held_ns;   /* likewise, since then */
	bool urgent;        /* a completion was far from its price */
	uint32_t judge;     /* decisions since the last one that was judged */
	bool stopping;
	bool told;          /* a device's descriptor was readable: it is looked after */
	bool blocking_call; /* inside taio_get_events() without a near end */
	bool embedded;      /* taio_fd() was called: somebody else sleeps for us */

	struct request_pool pool;
	struct request_queue ready[ENGINE_PRIORITIES];
	uint32_t ready_mask;
	struct request_queue room; /* REQUEST_WAIT_ROOM */

	struct taio_event *events;
	uint32_t event_head, event_count, event_capacity;

	struct taio_step *steps;
	struct taio_step *free_steps;
	uint32_t steps_used, steps_busy;
	uint32_t in_flight;  /* steps in the hands of asynchronous devices and workers */
	uint64_t steps_done; /* steps that came back from there */

	int files[TAIO_FILES_MAX]; /* host.files */
	struct slab slab;
	struct lane *lanes;
	uint32_t lane_waits; /* requests in REQUEST_WAIT_FD */
	uint32_t *timers;    /* heap of request indices */
	uint32_t timer_count;

	struct workers workers;
	uint32_t worker_limit;
	bool workers_ready;

	struct taio_device device[ENGINE_DEVICES];
	struct taio_device *device_at[ENGINE_DEVICES];
	struct engine_device_count count[ENGINE_DEVICES];
	struct taio_message_counters messages; /* that no device had */
	uint32_t device_count;
	struct fault_plan *faults;        /* $TAIO_FAULT; NULL: none */
	uint8_t control[ENGINE_CONTROLS]; /* numbers of devices */
	uint64_t control_slow_ns; /* until then: a control step held the thread, see control.c */
	uint8_t twin[ENGINE_DEVICES]; /* the same driver on a worker; PICK_NONE: has none */
	uint64_t async;               /* asynchronous devices ... */
	uint64_t open_async;          /* ... that are open */
	uint64_t claimers;            /* devices that may take a source over: see claim.c */
	uint64_t not_inline;          /* those, and workers */
	uint64_t pin, forbid;
	uint32_t burst; /* bytes that a step last found in a datagram socket */
	uint64_t pairs[TAIO_KIND_COUNT][TAIO_KIND_COUNT]; /* devices that copy between kinds */
	uint16_t pairs_known[TAIO_KIND_COUNT];
	uint64_t file_bytes[2]; /* size of the last small file that was copied, sent whole */
	uint64_t file_calls;    /* devices whose calls a whole file consists of */
	uint64_t route_unpaid;  /* of the last decision: those that would have to take the source */
	uint64_t route_stops;   /* of the last decision: candidates left out because they block */
	uint64_t route_alone;   /* ... because nobody else waits: a thread would be a detour */
	const struct taio_capability *route_cap[PICK_CONTEXTS][TAIO_SLOTS];
	uint8_t fd_fs[64];  /* enum taio_fs of descriptors, by number: a hint for prices */
	uint64_t fd_socket; /* those that were sockets when last seen */
	struct mirror_disk disk[TAIO_REPLICAS]; /* by place */
	uint64_t disk_clock;

	struct picker *picker;
	struct taio_step *gathered[TAIO_ASKS]; /* they wait for the policy's pick hook */
	uint32_t gathered_count;
	bool gathering;            /* gather_flush() is at work */
	struct hedge hedge;        /* TAIO_HEDGE */
	struct speeds speeds;      /* what earlier runs on this machine learnt */
	uint64_t calibrated_steps; /* steps of all devices when a calibration ended; 0: none did */
	struct taio_policy *policy;

	struct {
		struct request request;
		struct taio_step step;
		struct taio_file file;
	} whole; /* the small file that is being copied within the call, see whole.c */
	uint8_t whole_device[2], whole_left[2]; /* to a file, to a stream: who has the next ones */
	struct request pointer_request;         /* for pointer copies within the call */
	struct taio_step pointer_step;
	struct mem_route memory; /* destinations of late copies */
	uint8_t pointer_device[TAIO_CLASSES], pointer_left[TAIO_CLASSES];
	struct engine_again messages_again[ENGINE_MESSAGES][TAIO_CLASSES];

	int epoll_fd, timer_fd, wake_fd;
	uint64_t epoll_devices; /* devices whose fd is in the epoll set */
	int policy_fd;

	void (*undelivered)(void *arg, const struct taio_event *event);
	void (*log)(void *arg, const char *line);
	void *arg;
	char refusal[192];
};

/* engine.c */
void engine_make_ready(struct taio *e, struct request *r);
void engine_start(struct taio *e, struct request *r); /* a new one, outside of a turn, at once */
void engine_fail(struct taio *e, struct request *r, int error, enum taio_step_type step,
		 uint8_t device);
void engine_tick(struct taio *e); /* prices are made, if it is time */
void engine_turn(struct taio *e); /* everything that can be done without waiting */
void engine_step_done(struct taio *e, struct taio_step *step);
void engine_step_picked(struct taio *e, struct taio_step *step); /* its decision is there */
void engine_wake_room(struct taio *e);                           /* a device has room again */
void engine_cancel(struct taio *e, struct request *r, int error);
void engine_end_idle(struct taio *e, struct request *r); /* nothing came for long: it ends well */
void engine_policy_changed(struct taio *e);              /* its maps may be others now */
void engine_log(struct taio *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline struct request *engine_request(struct taio *e, uint32_t index)
{
	return &e->pool.slots[index];
}
/* Other requests than this one want the thread. */
static inline bool engine_others(const struct taio *e)
{
	return e->pool.busy > 1;
}
/* This turn has lasted long enough: timers, streams and the caller want to be looked after. */
static inline bool engine_turn_is_long(const struct taio *e)
{
	return e->now_ns - e->turn_ns > ENGINE_TURN_NS;
}

/* accept.c: from the public call to a request with its plan */
int accept_request(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		   const struct taio_options *options, uint64_t cookie);
void accept_release(struct taio *e, struct request *r); /* gives back its strings and records */
#define ACCEPT_LATER 1                                  /* nothing was done: the ordinary way */
/* For whole.c. A request without a plan: options and destination. Return: 0, ACCEPT_LATER, errors. */
int accept_whole(struct taio *e, struct request *r, const struct taio_endpoint *from,
		 const struct taio_endpoint *to, const struct taio_options *options);
/* What was begun there (e->whole) and is not over becomes a request. */
int accept_opened(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		  const struct taio_options *options);

/* control.c, transfer.c: run the head of the FIFO. Return: what the request does next. */
enum engine_next {
	ENGINE_NEXT,   /* the step is over: pop it and go on */
	ENGINE_AGAIN,  /* the same step once more */
	ENGINE_PARKED, /* something else will make it ready */
	ENGINE_FAILED  /* engine_fail() was called, or it was cancelled */
};
enum engine_next control_start(struct taio *e, struct request *r, enum taio_step_type type);
enum engine_next control_done(struct taio *e, struct request *r, struct taio_step *step);
void control_abort(struct taio *e, struct request *r);
/* The head of the FIFO has run already, as @step. */
enum engine_next control_opened(struct taio *e, struct request *r, struct taio_step *step);
enum engine_next transfer_advance(struct taio *e, struct request *r);
enum engine_next transfer_picked(struct taio *e, struct request *r, struct taio_step *step);
enum engine_next transfer_done(struct taio *e, struct request *r, struct taio_step *step);
/* The end of @base from byte @at on. Return: bytes from there to the end of its piece. */
uint64_t transfer_end_at(const struct taio_end *base, struct request_vector *vector, uint64_t at,
			 struct taio_end *ret_end);
void transfer_look(struct taio *e, struct taio_step *step); /* is the source in the cache? */
void transfer_start_position(struct taio *e, struct request *r);
void transfer_end_position(struct request *r); /* descriptors stand behind what was moved */

/* messages.c */
/* An end that is an array of messages, then both ends. Return: NULL; why not, with *ret_error. */
const char *messages_accept(struct request *r, const struct taio_endpoint *ep, unsigned int side,
			    int *ret_error);
const char *messages_accept_pair(struct request *r, int *ret_error);
bool messages_is_udp(struct taio_end *end); /* then the end is filled in */
bool messages_may_start(const struct taio *e, const struct request *r); /* within the call */
/* Options for datagrams of a request that copies bytes. */
const char *messages_accept_copy(struct request *r, int *ret_error);
struct taio_message *messages_of(const struct taio_step *step);
/* A device has answered. */
void messages_took(struct taio *e, struct request *r, struct taio_step *step);
void messages_took_bytes(struct taio *e, struct request *r, struct taio_step *step);
void messages_add(struct taio_message_counters *to, const struct taio_message_counters *add);
/* Of @count messages those that the next step may have; 0: the rate says later, a timer is set. */
uint64_t messages_room(struct taio *e, struct request *r, uint64_t count);
bool messages_are_enough(const struct request *r); /* a batch that is received may end */
void messages_watch_idle(struct taio *e, struct request *r);
bool messages_idle_is_over(const struct taio *e, const struct request *r);
void messages_pause(struct taio *e, struct request *r);
/* The first message of a step is for another device than the one that had it. */
void messages_detour(struct taio_step *step);
/* One of the messages of a step was the end mark of a copy: it does not count as received. */
void messages_end_mark(struct taio *e, struct request *r, const struct taio_step *step);
void messages_stranger(struct taio *e, struct request *r); /* somebody else's was received */
void messages_give_up(struct taio *e, struct request *r, struct taio_step *step);
int messages_outcome(const struct request *r);           /* 0 or negative errno */
uint64_t messages_total(const struct request *r);        /* datagrams that were moved */
void messages_finish(struct taio *e, struct request *r); /* counts those whose turn did not come */

/* Of @bytes towards datagrams those that may go now; 0: later, a timer is set. */
uint64_t messages_room_bytes(struct taio *e, struct request *r, uint64_t bytes);

/* framed.c: as transfer_advance() and transfer_done() */
enum engine_next framed_advance(struct taio *e, struct request *r);
enum engine_next framed_done(struct taio *e, struct request *r, struct taio_step *step);
void framed_close(struct request *r);

/* route.c */
struct taio_step *route_step_get(struct taio *e, struct request *r);
void route_step_put(struct taio *e, struct taio_step *step);
enum route_started {
	ROUTE_DONE,   /* it ran at once: step->result is set and accounted */
	ROUTE_QUEUED, /* engine_step_done() will follow */
	ROUTE_FULL,   /* all devices are full */
	ROUTE_NONE    /* no device can */
};
enum route_started route_start(struct taio *e, struct request *r, struct taio_step *step);
enum route_started route_start_on(struct taio *e, struct request *r, struct taio_step *step,
				  uint8_t device);
/* A device has answered: looks at the clock, counts, tells the picker. */
/* @done_ns: when it was done; 0: now. */
void route_finish(struct taio *e, struct request *r, struct taio_step *step, uint64_t done_ns);
/* When a step was done that a device had, and whose completion is at hand. */
uint64_t route_done_ns(const struct taio *e, const struct taio_step *step);
bool route_worth_retry(int error);
/* Runs a step at once on the cheapest device that needs nobody else's thread. Return: false: there is
 * none. */
bool route_run_now(struct taio *e, struct request *r, struct taio_step *step);
bool route_is_passing(int error);
/* Has a device failed it already? */
static inline bool route_is_retry(const struct request *r, const struct taio_step *step)
{
	return r->attempts || step->attempts;
}
/* By what a step is priced: its bytes; of messages, of which each costs about the same, so many. */
#define ROUTE_MESSAGE_SHIFT 10
static inline bool route_is_messages(const struct taio_step *step)
{
	return step->from.kind == TAIO_KIND_MESSAGES || step->to.kind == TAIO_KIND_MESSAGES;
}
static inline uint64_t route_size(const struct taio_step *step)
{
	return route_is_messages(step) ? step->len << ROUTE_MESSAGE_SHIFT : step->len;
}
/* What the picker is asked about a step. */
struct pick_query route_query(struct taio *e, struct request *r, struct taio_step *step);
/* The first step of a device: does it open, and is the step still one for it? */
bool route_opens(struct taio *e, uint8_t number, const struct taio_step *step);
/* For the next few steps of messages: the device of the last one, without asking anybody. Return:
 * true: it ran, step->result is set. */
bool route_again(struct taio *e, struct request *r, struct taio_step *step);
/* The figures of a device for a step; NULL: none known. */
const struct taio_capability *route_capability(const struct taio *e, const struct taio_step *step,
					       uint8_t number);
uint64_t route_copy_devices(struct taio *e, uint8_t from_kind, uint8_t to_kind);

/* trace.c */
/* A step is about to start on @device; the query is the one that was decided. Only with r->trace. */
void trace_decision(const struct taio *e, const struct request *r, const struct taio_step *step,
		    const struct pick_query *query, uint8_t device);
/* It is over, one way or the other. */
void trace_step(const struct taio *e, const struct request *r, const struct taio_step *step,
		enum taio_step_type type);

/* gather.c */
bool gather_step(struct taio *e, struct request *r, struct taio_step *step);
void gather_flush(struct taio *e);
/* Between requests: there must be room for what the next one may ask. */
static inline void gather_make_room(struct taio *e)
{
	if (e->gathered_count > TAIO_ASKS / 2)
		gather_flush(e);
}

/* spread.c: more cores than the engine's thread */
void spread_choice(struct taio *e, const struct pick_query *query, struct pick_choice *choice);
uint32_t spread_threads(const struct taio *e, const struct taio_step *step); /* for a step's sake */

/* device.c */
int device_table_open(struct taio *e);
void device_table_close(struct taio *e);
bool device_available(struct taio *e, uint8_t number); /* probes at first use */
int device_open(struct taio *e, uint8_t number);
const struct taio_capability *device_capability(const struct taio_device *device, uint8_t op,
						uint8_t from_kind, uint8_t to_kind);
int device_number(const struct taio *e, const char *name); /* -ENODEV */
int device_mask(struct taio *e, const char *names, uint64_t *ret_mask);
static inline bool device_is_async(const struct taio_device *device)
{
	return device->driver->submit && !device->worker;
}

/* lane.c */
int lane_enter(struct taio *e, struct request *r, unsigned int side, int fd);
bool lane_is_first(struct taio *e, const struct request *r);
void lane_nonblock(struct taio *e, const struct taio_end *end); /* a socket, while it is used */
void lane_leave(struct taio *e, struct request *r);
void lane_leave_side(struct taio *e, struct request *r, unsigned int side);
/* Puts the request to sleep until @fd is ready for @side, or makes it ready when it is. */
int lane_wait(struct taio *e, struct request *r, int fd, unsigned int side);
int lane_attach(struct taio *e, struct request *r, int fd, unsigned int side);
void lane_detach(struct taio *e, int fd);
void lane_unwait(struct taio *e, struct request *r);
void lane_ready(struct taio *e, int fd, uint32_t epoll_events);
struct lane_rate *lane_rate(struct taio *e, const struct request *r, unsigned int side);
bool lane_must_poll(struct taio *e, const struct request *r, int *ret_fd, unsigned int *ret_side);

/* claim.c */
/* Devices that must not run the step because of claims, those of the query included. */
uint64_t claim_skip(struct taio *e, struct request *r, const struct taio_step *step,
		    const struct pick_query *query);
/* A device has answered. */
void claim_answer(struct taio *e, struct request *r, const struct taio_step *step);
/* Before a wait on @fd, which may be the device's. Return: 0, negative errno. */
int claim_attach(struct taio *e, struct request *r, int fd);
/* The source is no longer wanted. May be called without a claim. */
void claim_end(struct taio *e, struct request *r);

/* timer.c */
void timer_set(struct taio *e, struct request *r, uint64_t when_ns);
void timer_clear(struct taio *e, struct request *r);
void timer_run(struct taio *e);
uint64_t timer_next(const struct taio *e); /* UINT64_MAX: none */

/* wait.c */
int wait_open(struct taio *e); /* the epoll set, at first need */
void wait_close(struct taio *e);
int wait_add_fd(struct taio *e, int fd, uint32_t events, uint64_t data, bool again);
void wait_remove_fd(struct taio *e, int fd);
/* Sleeps until something happens or @until_ns. Return: 0, -EINTR. */
int wait_for(struct taio *e, uint64_t until_ns);
void wait_poll(struct taio *e);
void wait_flush(struct taio *e); /* tells asynchronous devices to start what they gathered */
int wait_embed(struct taio *e);  /* taio_fd(): somebody else will sleep for us */
void wait_leave(struct taio *e); /* before control goes back to a program that polls taio_fd() */

/* event.c */
void event_publish(struct taio *e, struct request *r);
unsigned int event_take(struct taio *e, struct taio_event *events, unsigned int max);
void event_push_inline(struct taio *e, uint64_t cookie, uint64_t bytes, uint64_t ns, uint8_t device,
		       uint8_t flags);

/* whole.c: a small file within the call that asks for it */
bool whole_may(const struct taio *e, const struct taio_endpoint *from,
	       const struct taio_endpoint *to, const struct taio_options *o);
/* Return: 0: accepted; ACCEPT_LATER; or errors of taio_copy(). */
int whole_now(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
	      const struct taio_options *options, uint64_t cookie);

/* pointer.c */
int pointer_now(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		uint64_t cookie);

/* learn.c: at the end of an engine, what it learnt goes to the cache file */
void learn_save(struct taio *e);
void learn_calibrated(struct taio *e);       /* what the maps hold now comes from calibration */
uint32_t learn_source(const struct taio *e); /* enum taio_speed_source of what the maps hold */

#endif /* TAIO_ENGINE_H */
