/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * request.h: a request: two ends, what is left to move, a FIFO of steps, one state. The pool that
 * holds requests and the queues that link them are here too; what a state means is engine/.
 */
#ifndef TAIO_REQUEST_H
#define TAIO_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "taio.h"
#include "taio_driver.h"

#define REQUEST_NONE     UINT32_MAX
#define REQUEST_FIFO_MAX 14

enum request_state {
	REQUEST_FREE = 0,
	REQUEST_READY,     /* in a ready queue: its next step can start */
	REQUEST_RUNNING,   /* a device has one of its steps */
	REQUEST_WAIT_FD,   /* a descriptor must become ready */
	REQUEST_WAIT_LANE, /* an earlier request uses its stream */
	REQUEST_WAIT_TIME, /* the rate limit says: later */
	REQUEST_WAIT_ROOM, /* every device that could run its step is full */
	REQUEST_DONE,      /* its event is in the ring */
	REQUEST_STATE_COUNT
};

/* A vector end: the piece that is being moved. */
struct request_vector {
	const struct iovec *iov; /* NULL: not a vector */
	uint32_t count, index;
	uint64_t before; /* bytes in the pieces before index */
};

/* What only requests with datagrams need. */
struct request_dgram {
	uint64_t bytes;   /* payload of messages that were moved */
	uint64_t good;    /* messages that were sent or received */
	uint64_t idle_ns; /* it ends when nothing came for that long; 0: never */
	uint64_t idle_at_ns;
	uint64_t limit_packets;
	uint64_t datagrams;                     /* a copy ends after so many; 0: never */
	uint64_t taken;                         /* ... of which so many came */
	struct taio_message_counters *counters; /* the caller's */
	struct framed *framed;                  /* framed.c's */
	uint32_t least;                         /* received messages that are enough */
	int32_t first_error;                    /* of a message */
	uint8_t first_device;                   /* that said so */
	uint8_t framing;                        /* enum taio_framing */
	uint8_t counted; /* a copy of bytes that looks at each datagram: framed.c has it */
};

struct request {
	uint64_t cookie;
	struct taio_end from, to;
	uint64_t length;   /* bytes to move; TAIO_TO_END until the end is known; of a batch of
			    * messages this and the next two count messages */
	uint64_t issued;   /* bytes handed to devices */
	uint64_t moved;    /* bytes that reached the destination */
	uint64_t data_end; /* sparse source: end of the data range at issued */
	uint64_t accepted_ns;
	uint64_t expires_ns; /* 0: no timeout */
	uint64_t wake_ns;    /* key in the timer heap while timer != REQUEST_NONE */
	uint64_t deadline_ns;
	uint64_t limit_rate;
	uint64_t allowed;   /* devices that may carry its bytes */
	uint64_t forbidden; /* devices that may not run */
	uint64_t excluded;  /* devices that cannot do it, as they said */
	uint64_t
		claim_gain_ns; /* what a device that may claim the source would have saved by now */
	uint64_t claim_look_ns; /* last comparison of the device that has it with the others */
	uint64_t devices;       /* devices that carried bytes */
	uint64_t *progress;
	struct taio_trace *trace;
	struct taio_file *file;
	struct taio_addr *addr_from, *addr_to;
	struct request_dgram *dgram; /* NULL: not needed */
	struct request_vector vector_from, vector_to;
	struct taio_step *parked; /* segments that found every device full */
	int32_t wait_fd;          /* REQUEST_WAIT_FD: which */
	int32_t error;            /* first error, negative errno */
	int32_t claim_fd;      /* the device's descriptor plus 1, once it was waited for; 0: not */
	uint32_t burst;        /* datagrams: bytes that the last step found */
	uint32_t flags;        /* enum taio_flag */
	uint32_t next;         /* in the queue that its state names */
	uint32_t lane_next[2]; /* behind it on the lane of its source, destination */
	uint32_t timer;        /* place in the timer heap, REQUEST_NONE: none */
	uint16_t tag;
	uint16_t outstanding;           /* steps in the hands of devices */
	uint8_t fifo[REQUEST_FIFO_MAX]; /* enum taio_step_type, REQUEST_FIFO_TO */
	uint8_t fifo_head, fifo_count;
	uint8_t state; /* enum request_state */
	uint8_t goal, priority;
	uint8_t failed_step, failed_device;
	uint8_t retries;
	uint8_t event_flags;
	uint8_t main_device;
	uint8_t traits;         /* enum request_trait */
	uint8_t attempts;       /* of the present control step, after errors */
	uint8_t user_length;    /* the caller said how much: a source that grows is not followed */
	uint8_t cancelled_late; /* asked for when its file had been published */
	uint8_t replicas;       /* names of a mirrored source */
	uint8_t claim;          /* device that has taken the source, plus 1; 0: none */
	uint8_t claim_state;    /* enum taio_claim */
	uint8_t claim_lost; /* comparisons in a row that it lost; CLAIM_LEAVING: it was told to go */
	uint8_t gathered;   /* a segment waits for the policy's answer: no other is issued */
};

enum request_trait {
	REQUEST_HAS_LANES = 1 << 0, /* it stands in the queues of its streams */
	REQUEST_ENDED = 1 << 1,     /* the source said: no more */
	REQUEST_CANCELLED = 1 << 2,
	REQUEST_SPARSE = 1 << 3,   /* the source has holes that shall stay holes */
	REQUEST_ONLY_RW = 1 << 4,  /* a file that lies about its size (procfs): plain reads only */
	REQUEST_CANARY = 1 << 5,   /* the policy on trial decides for it */
	REQUEST_POSITION = 1 << 6, /* a file is used at its descriptor's own position */
	REQUEST_QUEUED = 1 << 7    /* it is in a ready queue */
};

_Static_assert(sizeof(struct request) <= 464, "request and event must fit in 512 bytes");

/* Does it move messages, not bytes? */
static inline bool request_is_messages(const struct request *r)
{
	return r->from.kind == TAIO_KIND_MESSAGES || r->to.kind == TAIO_KIND_MESSAGES;
}
static inline bool request_receives_messages(const struct request *r)
{
	return r->to.kind == TAIO_KIND_MESSAGES;
}

struct request_pool {
	struct request *slots;
	uint32_t capacity, used; /* used: slots ever touched */
	uint32_t free_list;
	uint32_t busy; /* slots in use */
};

/* A FIFO of requests linked through request.next. */
struct request_queue {
	uint32_t head, tail, count;
};

int request_pool_open(struct request_pool *pool, uint32_t capacity);
void request_pool_close(struct request_pool *pool);
struct request *request_get(struct request_pool *pool); /* NULL: full; all fields zero */
void request_put(struct request_pool *pool, struct request *request);

static inline uint32_t request_index(const struct request_pool *pool, const struct request *r)
{
	return (uint32_t)(r - pool->slots);
}

/* Changes the state; asserts that the step from the old to the new one is legal. */
void request_set_state(struct request *request, enum request_state state);

void request_queue_init(struct request_queue *queue);
void request_queue_push(struct request_queue *queue, struct request_pool *pool, struct request *r);
struct request *request_queue_pop(struct request_queue *queue, struct request_pool *pool);
/* Takes @r out of the middle. Return: whether it was there. Costs a walk. */
bool request_queue_remove(struct request_queue *queue, struct request_pool *pool,
			  struct request *r);

/* The FIFO of steps. A step on an address also says which side's address it is. */
#define REQUEST_FIFO_TO 0x80u
void request_fifo_push(struct request *request, unsigned int step);
static inline unsigned int request_fifo_side(const struct request *r)
{
	return r->fifo_count && (r->fifo[r->fifo_head] & REQUEST_FIFO_TO) ? 1 : 0;
}
static inline enum taio_step_type request_fifo_head(const struct request *r)
{
	return r->fifo_count ? (enum taio_step_type)(r->fifo[r->fifo_head] & ~REQUEST_FIFO_TO)
			     : TAIO_STEP_NONE;
}
static inline void request_fifo_pop(struct request *r)
{
	r->fifo_head++;
	r->fifo_count--;
	r->attempts = 0;
}

#endif /* TAIO_REQUEST_H */
