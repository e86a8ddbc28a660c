/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* port.c: see port.h. */
#include "xdp/port.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xdp/interface.h"

#define PORT_CHUNKS      1024
#define PORT_CHUNKS_MIN  128
#define PORT_CHUNK       2048
#define PORT_CHUNK_LARGE 4096
#define PORT_FRAME_MAX   16384 /* as many pages as a packet of the kernel holds for sure */
#define SMALL_PAYLOAD    256   /* up to here a sum of our own costs less than to ask for one */

/* ---- opening --------------------------------------------------------------------------------- */

static uint32_t port_queues(const struct netroute_link *link)
{
	struct xdp_interface interface;
	uint32_t queues = link->tx_queues;

	/* the queues that are in use, of all that there could be */
	if (xdp_interface_get(link->ifindex, &interface) == 0 && interface.queues > 0 &&
	    interface.queues < queues)
		queues = interface.queues;
	return queues ? queues : 1;
}

/* Where less memory may be locked, fewer chunks do as well. */
static int port_try(struct xdp_port *port, struct xsk_config *config, char *reason, size_t size)
{
	int rc;

	for (config->chunks = PORT_CHUNKS;; config->chunks /= 2) {
		config->tx_entries = config->chunks;
		rc = xsk_open(&port->xsk, config, reason, size);
		if ((rc != -ENOBUFS && rc != -ENOMEM) || config->chunks == PORT_CHUNKS_MIN)
			return rc;
	}
}

static int port_chunks(struct xdp_port *port)
{
	port->free = malloc(port->xsk.chunks * sizeof(*port->free));
	if (!port->free)
		return -ENOMEM;
	for (uint32_t i = port->xsk.chunks; i-- > 0;)
		port->free[port->free_count++] = (uint64_t)i * port->xsk.chunk;
	return 0;
}

int xdp_port_open(struct xdp_port *port, const struct netroute_link *link, char *reason,
		  size_t size)
{
	const uint32_t queues = port_queues(link);
	const int cpu = sched_getcpu();
	struct xsk_config config = { .ifindex = link->ifindex, .want = XSK_TX };
	struct xdp_interface interface;
	int rc = -EBUSY;

	memset(port, 0, sizeof(*port));
	port->link = *link;
	if (xdp_interface_get(link->ifindex, &interface) == 0) {
		snprintf(port->driver, sizeof(port->driver), "%s", interface.driver);
		/* to give a queue to zero copy stops and restarts it */
		if (!xdp_interface_is_harmless(&interface))
			config.want |= XSK_COPY;
	}
	config.chunk = link->mtu + FRAME_ETHERNET_BYTES + XDP_PORT_HEADROOM <= PORT_CHUNK
			       ? PORT_CHUNK
			       : PORT_CHUNK_LARGE;
	for (uint32_t i = 0; i < queues && rc == -EBUSY; i++) {
		config.queue = ((cpu > 0 ? (uint32_t)cpu : 0) + i) % queues;
		rc = port_try(port, &config, reason, size);
	}
	if (rc == -EBUSY && queues > 1)
		snprintf(reason, size, "all %u queues of %s are taken by other AF_XDP sockets",
			 queues, link->name);
	if (rc == 0)
		rc = port_chunks(port);
	if (rc)
		xdp_port_close(port);
	return rc;
}

void xdp_port_close(struct xdp_port *port)
{
	xsk_close(&port->xsk);
	free(port->free);
	port->free = NULL;
	port->free_count = port->out = port->lent = 0;
}

const char *xdp_port_mode(const struct xdp_port *port)
{
	if (port->xsk.want & XSK_COPY)
		return "copy mode: zero copy would restart a queue, and TAIO_XDP does not name it";
	return xsk_mode_text(&port->xsk);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

void xdp_port_collect(struct xdp_port *port)
{
	struct xsk_ring *ring = &port->xsk.completion;
	const uint32_t n = xsk_ring_ready(ring, port->xsk.chunks);

	for (uint32_t i = 0; i < n; i++) {
		const uint64_t at = *xsk_ring_address(ring, i);

		port->free[port->free_count++] = at & ~(uint64_t)(port->xsk.chunk - 1);
	}
	if (n == 0)
		return;
	xsk_ring_release(ring, n);
	port->out -= n;
	assert(port->free_count <= port->xsk.chunks);
}

size_t xdp_port_frame_max(const struct xdp_port *port)
{
	if (!port->xsk.sg)
		return port->xsk.chunk - XDP_PORT_HEADROOM;
	return PORT_FRAME_MAX;
}

bool xdp_port_is_whole(const struct xdp_port *port)
{
	return port->free_count + port->lent + port->out == port->xsk.chunks;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint8_t *port_chunk(const struct xdp_port *port, uint64_t at)
{
	return port->xsk.umem + at;
}

/* In zero copy mode few drivers finish checksums, and which is not known. */
static bool port_leaves_checksum(const struct xdp_port *port, size_t bytes)
{
	return port->xsk.metadata && !port->xsk.zero_copy && bytes > SMALL_PAYLOAD;
}

static void port_ask_checksum(const struct frame_flow *flow, uint8_t *frame)
{
	const struct xsk_metadata metadata = { .flags = XSK_METADATA_CHECKSUM,
					       .csum_start = (uint16_t)frame_csum_start(flow),
					       .csum_offset = FRAME_CSUM_OFFSET };

	memcpy(frame - sizeof(metadata), &metadata, sizeof(metadata));
}

/* Copies a piece of the payload. Return: its sum if somebody wants it. */
static inline uint64_t port_copy(bool summed, uint8_t *to, const uint8_t *from, size_t bytes)
{
	if (summed)
		return frame_copy(to, from, bytes);
	memcpy(to, from, bytes);
	return 0;
}

uint32_t xdp_port_put(struct xdp_port *port, struct frame_flow *flow, uint32_t ahead,
		      const void *payload, size_t bytes)
{
	const uint32_t count = xdp_port_chunks(port, flow->head_bytes + bytes);
	const size_t room = port->xsk.chunk - XDP_PORT_HEADROOM;
	const bool left = port_leaves_checksum(port, bytes);
	size_t piece = bytes < room - flow->head_bytes ? bytes : room - flow->head_bytes, done;
	struct xdp_desc *desc;
	uint8_t *frame;
	uint64_t sum;

	if (port->free_count < count || xsk_ring_room(&port->xsk.tx, ahead + count) < ahead + count)
		return 0;
	desc = xsk_ring_desc(&port->xsk.tx, ahead);
	desc->addr = port->free[--port->free_count] + XDP_PORT_HEADROOM;
	desc->len = (uint32_t)(flow->head_bytes + piece);
	desc->options = left ? XDP_TX_METADATA : 0;
	frame = port_chunk(port, desc->addr);
	sum = port_copy(!left, frame + flow->head_bytes, payload, piece);
	for (done = piece; done < bytes; done += piece) {
		desc->options |= XDP_PKT_CONTD;
		desc = xsk_ring_desc(&port->xsk.tx, ++ahead);
		piece = bytes - done < room ? bytes - done : room;
		desc->addr = port->free[--port->free_count] + XDP_PORT_HEADROOM;
		desc->len = (uint32_t)piece;
		desc->options = 0;
		/* pieces before this one have an even length, so that sums add up */
		sum += frame_fold(port_copy(!left, port_chunk(port, desc->addr),
					    (const uint8_t *)payload + done, piece));
	}
	if (left) {
		frame_head_partial(flow, frame, bytes);
		port_ask_checksum(flow, frame);
	} else {
		frame_head(flow, frame, bytes, sum);
	}
	port->out += count;
	return count;
}

bool xdp_port_put_there(struct xdp_port *port, struct frame_flow *flow, uint32_t ahead, uint64_t at,
			size_t bytes)
{
	const bool left = port_leaves_checksum(port, bytes);
	uint8_t *payload = port_chunk(port, at), *frame = payload - flow->head_bytes;
	struct xdp_desc *desc;

	if (xsk_ring_room(&port->xsk.tx, ahead + 1) < ahead + 1)
		return false;
	desc = xsk_ring_desc(&port->xsk.tx, ahead);
	desc->addr = at - flow->head_bytes;
	desc->len = (uint32_t)(flow->head_bytes + bytes);
	desc->options = left ? XDP_TX_METADATA : 0;
	if (left) {
		frame_head_partial(flow, frame, bytes);
		port_ask_checksum(flow, frame);
	} else {
		frame_head(flow, frame, bytes, frame_sum(payload, bytes));
	}
	port->lent--;
	port->out++;
	return true;
}

/* ---- the kernel ------------------------------------------------------------------------------ */

int xdp_port_push(struct xdp_port *port)
{
	uint32_t pending = xsk_tx_pending(&port->xsk), before;
	int rc;

	while (pending > 0) {
		before = pending;
		rc = port->xsk.zero_copy && !xsk_tx_wakes(&port->xsk) ? 0 : xsk_kick(&port->xsk);
		pending = xsk_tx_pending(&port->xsk);
		port->sent += before - pending;
		if (rc && rc != -EAGAIN && rc != -EBUSY && rc != -ENOBUFS) {
			port->error = rc;
			return rc;
		}
		if (port->xsk.zero_copy && rc == 0)
			return 0;
		if (pending == before)
			return -EAGAIN;
	}
	return 0;
}
