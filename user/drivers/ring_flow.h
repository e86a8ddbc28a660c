/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_flow.h: what ring_flow.c (a step from descriptor to descriptor as a whole) and ring_chunk.c
 * (one piece of it: read, written, waited for) share. Nobody else includes it.
 */
#ifndef TAIO_DRIVERS_RING_FLOW_H
#define TAIO_DRIVERS_RING_FLOW_H

#include "drivers/ring.h"

enum chunk_state {
	CHUNK_EMPTY = 0,
	CHUNK_READING,
	CHUNK_READ_POLL, /* the source is a pipe that has nothing yet */
	CHUNK_FULL,
	CHUNK_WRITING,
	CHUNK_WRITE_POLL, /* the destination is a pipe that has no room */
	CHUNK_NOTIFY,     /* sent, the kernel still uses the memory */
	CHUNK_DONE,
	CHUNK_FAILED /* put bytes of it were written, the rest was not */
};

struct flow_chunk {
	struct ring_buffer buffer;
	uint64_t at; /* of its first byte in the step */
	uint32_t want, got, put;
	uint32_t op;
	uint8_t state; /* enum chunk_state */
};

struct ring_flow {
	struct taio_step *step; /* NULL: given back, only notifications are awaited */
	struct ring_flow *next_free;
	struct ring_file *from_direct, *to_direct;
	uint64_t end;        /* no byte from here on will be moved */
	uint64_t next_read;  /* where the next read starts */
	uint64_t moved;      /* bytes of chunks before first */
	uint64_t from_start; /* position of the source at the start of the step */
	uint64_t to_start;
	uint32_t first, ready, last; /* numbers of chunks, free running */
	int32_t error;
	uint8_t error_side;
	uint8_t device, depth;
	uint8_t ops;     /* slots in use */
	uint8_t reading; /* chunks */
	uint8_t writing; /* chunks, without those in CHUNK_NOTIFY */
	bool from_serial, to_serial, to_append, zero_copy, stop, cancelled;
	struct flow_chunk chunk[RING_CHUNKS];
};

static inline bool flow_is_serial(const struct taio_end *end)
{
	return end->kind != TAIO_KIND_FILE;
}

/* Bytes that came from a stream or pipe are gone from there: they are written even when the step
 * is to end, unless the destination itself could stall. */
static inline bool flow_may_write(const struct ring_flow *flow)
{
	if (flow->error_side == 2)
		return false;
	return !flow->cancelled || (flow->from_serial && flow->step->to.kind == TAIO_KIND_FILE);
}

/* ring_flow.c: whatever can be started is started; the step may be over after it. */
void ring_flow_advance(struct ring *ring, struct ring_flow *flow);

/* ring_chunk.c: their ends lead to ring_flow_advance(). */
void ring_chunk_read(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk);
void ring_chunk_write(struct ring *ring, struct ring_flow *flow, struct flow_chunk *chunk);

#endif /* TAIO_DRIVERS_RING_FLOW_H */
