/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * inlet.h: an interface from which flows of datagrams are received: the program on it, an AF_XDP
 * socket on each of its queues, and for each flow the datagrams that came, in their order, still
 * lying in the frames that the kernel filled.
 *
 * Nothing here waits but opening and closing, which are for a thread of their own (aside.h). Else a
 * inlet belongs to one thread at a time.
 */
#ifndef TAIO_XDP_INLET_H
#define TAIO_XDP_INLET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "xdp/interface.h"
#include "xdp/program.h"
#include "xdp/xsk.h"

/* One piece of payload in one frame. */
struct xdp_piece {
	const uint8_t *data;
	uint64_t address; /* of the frame, for its socket */
	uint32_t bytes;
	uint32_t whole; /* bytes from here to the end of the datagram, this piece included */
	uint16_t queue;
	bool first; /* of a datagram; one without a byte has one piece, of 0 bytes */
};

struct xdp_inlet;

struct xdp_inflow {
	struct xdp_inlet *inlet;
	struct taio_xdp_key key;
	unsigned int number; /* in the program */
	struct xdp_piece *pieces;
	uint32_t size, head, tail; /* of the ring; indexes run freely */
	uint32_t offset;           /* bytes of the first piece that were taken */
	/* datagrams */
	uint64_t came, bad, overflowed; /* bad: checksums; overflowed: nobody took them in time */
};

struct xdp_inlet_counters {
	uint64_t packets, strays; /* strays: of no flow (any more), or not readable */
	/* as the kernel counts them: packets lost because no frame was free; because they were too
	 * large or of a kind that the socket cannot take, the former included; because the ring was
	 * full */
	uint64_t fill_empty, dropped, ring_full;
};

/* Attaches to the interface. Takes some 10 ms. Return: 0; negative errno, and @why has a sentence. */
int xdp_inlet_open(struct xdp_inlet **ret, uint32_t ifindex, char *why, size_t size);
/* Nothing is left on the interface. Takes some 10 ms. NULL: nothing. */
void xdp_inlet_close(struct xdp_inlet *inlet);

/* Is the interface still there? */
bool xdp_inlet_lives(const struct xdp_inlet *inlet);
const struct xdp_interface *xdp_inlet_interface(const struct xdp_inlet *inlet);
/* "zero copy", "copy mode: ..."; of the first queue, all are alike. */
const char *xdp_inlet_mode(const struct xdp_inlet *inlet);
uint32_t xdp_inlet_queues(const struct xdp_inlet *inlet);
int xdp_inlet_fd(const struct xdp_inlet *inlet, uint32_t queue);
void xdp_inlet_count(const struct xdp_inlet *inlet, struct xdp_inlet_counters *ret);

/* A flow; it passes until xdp_inflow_take(). Return: 0; -EEXIST, -ENOSPC, -ENOMEM. */
int xdp_inflow_open(struct xdp_inflow **ret, struct xdp_inlet *inlet,
		    const struct taio_xdp_key *key);
/* Whatever is left of it is dropped. */
void xdp_inflow_close(struct xdp_inflow *flow);
/* From now on packets come here, or pass again; some microseconds later, see xdp_grace(). */
void xdp_inflow_take(struct xdp_inflow *flow, bool take);
/* Does the program take it? No more from the first fragment of it on. */
bool xdp_inflow_is_taken(const struct xdp_inflow *flow);
/* What the program let pass: packets of the flow, and fragments among them. */
uint64_t xdp_inflow_passed(const struct xdp_inflow *flow, uint64_t *ret_odd);

/* Sorts what came on all queues. Return: packets. */
uint32_t xdp_inlet_poll(struct xdp_inlet *inlet);

/* ---- the datagrams of a flow ------------------------------------------------------------------- */

static inline bool xdp_inflow_is_empty(const struct xdp_inflow *flow)
{
	return flow->head == flow->tail;
}

static inline const struct xdp_piece *xdp_inflow_piece(const struct xdp_inflow *flow,
						       uint32_t ahead)
{
	return &flow->pieces[(flow->head + ahead) & (flow->size - 1)];
}

/* Is the next datagram an empty one? */
static inline bool xdp_inflow_ends(const struct xdp_inflow *flow)
{
	return !xdp_inflow_is_empty(flow) && xdp_inflow_piece(flow, 0)->bytes == 0;
}

/* Bytes that are left of the next datagram; only if there is one. */
static inline uint32_t xdp_inflow_next(const struct xdp_inflow *flow)
{
	return xdp_inflow_piece(flow, 0)->whole - flow->offset;
}

/* The bytes that are there, up to the next empty datagram, to @most and to @max pieces; with @whole
 * only datagrams whose last byte is among them. Return: pieces in @iov; their bytes in @ret_bytes. */
unsigned int xdp_inflow_look(const struct xdp_inflow *flow, struct iovec *iov, unsigned int max,
			     uint64_t most, bool whole, uint64_t *ret_bytes);

/* They were taken: frames go back to the kernel. Return: datagrams whose last byte that was. */
uint32_t xdp_inflow_took(struct xdp_inflow *flow, uint64_t bytes);
/* ... the empty datagram at the head. */
void xdp_inflow_took_end(struct xdp_inflow *flow);
/* Gives the kernel the frames that are free: after the calls above. */
void xdp_inlet_refill(struct xdp_inlet *inlet);

#endif /* TAIO_XDP_INLET_H */
