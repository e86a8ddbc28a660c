/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * port.h: the sending side of one queue of one interface: an AF_XDP socket, its chunks and their
 * way: free, filled (in the tx ring), with the kernel (until the completion ring gives them back),
 * free. Their number never changes: free + lent + with the kernel = all of
 * them, see xdp_port_is_whole().
 */
#ifndef TAIO_XDP_PORT_H
#define TAIO_XDP_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "xdp/frame.h"
#include "xdp/route.h"
#include "xdp/xsk.h"

#define XDP_PORT_HEADROOM \
	64                  /* in each chunk: TX metadata, which the kernel wants room for in all */
#define XDP_PORT_BUDGET 32U /* frames that the kernel takes in one call */

struct xdp_port {
	struct xsk xsk;
	struct netroute_link link;
	char driver[32];
	uint64_t *free; /* addresses of chunks */
	uint32_t free_count;
	uint32_t out;  /* chunks that the kernel has, or will take out of the tx ring */
	uint32_t lent; /* chunks that somebody fills */
	uint64_t sent; /* descriptors that the kernel took */
	int error;     /* the socket is of no use any more: interface down or gone */
};

/*
 * Takes a queue that is free, at first that of this processor. Never waits: a queue that was closed
 * a moment ago is still taken. Return: 0; as xsk_open(), with @reason.
 */
int xdp_port_open(struct xdp_port *port, const struct netroute_link *link, char *reason,
		  size_t size);
/* Frames that the kernel has not taken are lost. */
void xdp_port_close(struct xdp_port *port);

/* "zero copy", or why not. */
const char *xdp_port_mode(const struct xdp_port *port);

/* Takes back what the kernel needs no more. */
void xdp_port_collect(struct xdp_port *port);

/* Bytes of a frame at most, with its headers. */
size_t xdp_port_frame_max(const struct xdp_port *port);

/* Chunks that a frame takes. */
static inline uint32_t xdp_port_chunks(const struct xdp_port *port, size_t frame_bytes)
{
	const size_t room = port->xsk.chunk - XDP_PORT_HEADROOM;

	return (uint32_t)((frame_bytes + room - 1) / room);
}

/*
 * Builds a frame behind the @ahead descriptors that were built, but not shown yet, with
 * xsk_ring_submit(). Return: descriptors used; 0: no room, none was.
 */
uint32_t xdp_port_put(struct xdp_port *port, struct frame_flow *flow, uint32_t ahead,
		      const void *payload, size_t bytes);

/* A chunk to be filled by others. Return: its address; UINT64_MAX: none is free. */
static inline uint64_t xdp_port_borrow(struct xdp_port *port)
{
	if (port->free_count == 0)
		return UINT64_MAX;
	port->lent++;
	return port->free[--port->free_count];
}
static inline void xdp_port_return(struct xdp_port *port, uint64_t chunk)
{
	port->lent--;
	port->free[port->free_count++] = chunk;
}

/*
 * A frame around @bytes of payload that stand in a borrowed chunk at offset @at of the memory, behind
 * room for headers and XDP_PORT_HEADROOM. @ahead as above. Return: false: no room in the ring.
 */
bool xdp_port_put_there(struct xdp_port *port, struct frame_flow *flow, uint32_t ahead, uint64_t at,
			size_t bytes);

/*
 * Lets the kernel take frames as long as it takes any. Return: 0: in copy mode it took all, in zero
 * copy mode it goes on by itself; -EAGAIN: it takes no more now; others: see port->error.
 */
int xdp_port_push(struct xdp_port *port);

/* No chunk was lost. */
bool xdp_port_is_whole(const struct xdp_port *port);

#endif /* TAIO_XDP_PORT_H */
