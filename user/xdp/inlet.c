/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* inlet.c: see inlet.h. */
#include "xdp/inlet.h"

#include <assert.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xdp/frame.h"

#ifndef CAP_BPF
#define CAP_BPF 39
#endif

#define INLET_QUEUES     64
#define INLET_FRAMES     16384 /* of all queues, as much as a socket may have; fewer if not permitted */
#define INLET_FRAMES_MIN 256
#define INLET_PARTS      18   /* buffers of the largest packet */
#define INLET_PATIENCE   100  /* ms: a queue is free only some time after its last user closed */
#define INLET_SMALL      1700 /* MTU that fits into 2048 bytes with the kernel's headroom */
#define INLET_ONE        3400 /* ... that fits into a page, as native XDP has it */
#define INLET_KEEP       8    /* one frame in so many stays for others when a flow is not read */

/* A packet on its way in, which may take several descriptors. */
struct inlet_packet {
	struct xdp_desc part[INLET_PARTS];
	uint32_t parts, bytes;
};

struct inlet_queue {
	struct xsk xsk;
	struct inlet_packet packet;
	uint32_t freed; /* entries of the fill ring that the kernel does not see yet */
};

struct xdp_inlet {
	struct xdp_interface interface;
	struct xdp_program *program;
	struct xdp_inflow *flows[TAIO_XDP_FLOWS];
	uint32_t flow_count, held, queues;
	uint32_t frames; /* of all queues */
	bool is_virtual; /* checksums may be only begun */
	uint64_t packets, strays;
	struct inlet_queue queue[];
};

/* ---- opening --------------------------------------------------------------------------------- */

/* Of one queue; a power of two. */
static uint32_t inlet_frames(const struct xdp_inlet *inlet)
{
	uint32_t frames = INLET_FRAMES;

	for (uint32_t queues = inlet->queues; queues > 1 && frames > INLET_FRAMES_MIN; queues /= 2)
		frames /= 2;
	return frames;
}

static int inlet_open_queue(struct xdp_inlet *inlet, uint32_t number, bool parts, char *why,
			    size_t size)
{
	struct inlet_queue *queue = &inlet->queue[number];
	struct xsk_config config = { .ifindex = inlet->interface.ifindex,
				     .queue = number,
				     .want = XSK_RX | (parts ? 0 : XSK_ONE_DESC),
				     .chunks = inlet_frames(inlet),
				     .chunk = inlet->interface.mtu <= INLET_SMALL ? 2048 : 4096,
				     .rx_entries = inlet_frames(inlet),
				     .patience_ms = INLET_PATIENCE };
	int error;

	do {
		error = xsk_open(&queue->xsk, &config, why, size);
		config.chunks /= 2;
	} while ((error == -ENOBUFS || error == -ENOMEM) && config.chunks >= INLET_FRAMES_MIN);
	if (error)
		return error;
	if (parts && !queue->xsk.sg) {
		snprintf(why, size,
			 "%s: an MTU of %u needs AF_XDP with several buffers (Linux 6.6)",
			 inlet->interface.name, inlet->interface.mtu);
		return -EOPNOTSUPP;
	}
	assert(queue->xsk.fill.size >= queue->xsk.chunks); /* so a free frame always has a place */
	for (uint32_t i = 0; i < queue->xsk.chunks; i++)
		*xsk_ring_address(&queue->xsk.fill, i) = (uint64_t)i * queue->xsk.chunk;
	xsk_ring_submit(&queue->xsk.fill, queue->xsk.chunks);
	inlet->frames += queue->xsk.chunks;
	error = xdp_program_socket(inlet->program, number, queue->xsk.fd);
	if (error)
		snprintf(why, size, "a socket cannot be told to the program: %s", strerror(-error));
	return error;
}

static int inlet_start(struct xdp_inlet *inlet, char *why, size_t size)
{
	const bool parts = inlet->interface.mtu > INLET_ONE;
	int error = xdp_program_load(&inlet->program, parts, why, size);

	for (uint32_t i = 0; i < inlet->queues && !error; i++)
		error = inlet_open_queue(inlet, i, parts, why, size);
	return error ? error : xdp_program_attach(inlet->program, &inlet->interface, why, size);
}

static int inlet_permitted(const struct xdp_interface *interface, char *why, size_t size)
{
	char room[64];
	const char *missing = xdp_missing(
		1ULL << CAP_BPF | 1ULL << CAP_NET_ADMIN | 1ULL << CAP_NET_RAW, room, sizeof(room));

	if (missing) {
		snprintf(why, size, "%s is missing", missing);
		return -EPERM;
	}
	if (xdp_interface_is_harmless(interface))
		return 0;
	snprintf(why, size,
		 "%s: attaching a program may reset a link with driver %s; TAIO_XDP=%s permits it",
		 interface->name, interface->driver[0] ? interface->driver : "unknown",
		 interface->name);
	return -EPERM;
}

int xdp_inlet_open(struct xdp_inlet **ret, uint32_t ifindex, char *why, size_t size)
{
	struct xdp_interface interface;
	struct xdp_inlet *inlet;
	uint32_t queues;
	int error = xdp_interface_get(ifindex, &interface);

	if (error) {
		snprintf(why, size, "interface %u: %s", ifindex, strerror(-error));
		return error;
	}
	error = inlet_permitted(&interface, why, size);
	if (error)
		return error;
	queues = interface.queues < INLET_QUEUES ? interface.queues : INLET_QUEUES;
	inlet = calloc(1, sizeof(*inlet) + queues * sizeof(inlet->queue[0]));
	if (!inlet) {
		snprintf(why, size, "no memory");
		return -ENOMEM;
	}
	inlet->interface = interface;
	inlet->queues = queues;
	inlet->is_virtual = xdp_interface_is_virtual(&interface);
	for (uint32_t i = 0; i < queues; i++)
		inlet->queue[i].xsk.fd = -1;
	error = inlet_start(inlet, why, size);
	if (error) {
		xdp_inlet_close(inlet);
		return error;
	}
	*ret = inlet;
	return 0;
}

void xdp_inlet_close(struct xdp_inlet *inlet)
{
	if (!inlet)
		return;
	assert(inlet->flow_count == 0);
	/* first the program: without sockets it would pass what it should not even look at */
	xdp_program_close(inlet->program);
	for (uint32_t i = 0; i < inlet->queues; i++)
		xsk_close(&inlet->queue[i].xsk);
	free(inlet);
}

bool xdp_inlet_lives(const struct xdp_inlet *inlet)
{
	return xdp_program_is_attached(inlet->program);
}

const struct xdp_interface *xdp_inlet_interface(const struct xdp_inlet *inlet)
{
	return &inlet->interface;
}

const char *xdp_inlet_mode(const struct xdp_inlet *inlet)
{
	return xsk_mode_text(&inlet->queue[0].xsk);
}

uint32_t xdp_inlet_queues(const struct xdp_inlet *inlet)
{
	return inlet->queues;
}

int xdp_inlet_fd(const struct xdp_inlet *inlet, uint32_t queue)
{
	return inlet->queue[queue].xsk.fd;
}

void xdp_inlet_count(const struct xdp_inlet *inlet, struct xdp_inlet_counters *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->packets = inlet->packets;
	ret->strays = inlet->strays;
	for (uint32_t i = 0; i < inlet->queues; i++) {
		struct xdp_statistics statistics;

		if (xsk_statistics(&inlet->queue[i].xsk, &statistics))
			continue;
		ret->fill_empty += statistics.rx_fill_ring_empty_descs;
		ret->dropped += statistics.rx_dropped;
		ret->ring_full += statistics.rx_ring_full;
	}
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void inlet_free(struct xdp_inlet *inlet, uint32_t queue, uint64_t address)
{
	struct inlet_queue *q = &inlet->queue[queue];

	*xsk_ring_address(&q->xsk.fill, q->freed++) = address & ~((uint64_t)q->xsk.chunk - 1);
}

void xdp_inlet_refill(struct xdp_inlet *inlet)
{
	for (uint32_t i = 0; i < inlet->queues; i++) {
		struct inlet_queue *q = &inlet->queue[i];

		if (!q->freed)
			continue;
		xsk_ring_submit(&q->xsk.fill, q->freed);
		q->freed = 0;
		if (xsk_fill_wakes(&q->xsk))
			(void)xsk_wake_fill(&q->xsk);
	}
}

/* ---- sorting --------------------------------------------------------------------------------- */

static void inlet_mapped(uint8_t to[16], int family, const uint8_t ip[16])
{
	if (family == AF_INET6) {
		memcpy(to, ip, 16);
		return;
	}
	memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	memcpy(to + 12, ip, 4);
}

static bool inlet_matches(const struct xdp_inflow *flow, const struct taio_xdp_key *key)
{
	static const uint8_t anybody[16];

	if (flow->key.to_port != key->to_port || memcmp(flow->key.to, key->to, 16) != 0)
		return false;
	if (flow->key.from_port == key->from_port && memcmp(flow->key.from, key->from, 16) == 0)
		return true;
	return flow->key.from_port == 0 && memcmp(flow->key.from, anybody, 16) == 0;
}

static struct xdp_inflow *inlet_find(struct xdp_inlet *inlet, const struct frame_datagram *d)
{
	struct taio_xdp_key key;

	inlet_mapped(key.to, d->family, d->to.ip);
	inlet_mapped(key.from, d->family, d->from.ip);
	key.to_port = d->to.port;
	key.from_port = d->from.port;
	for (uint32_t i = 0; i < inlet->flow_count; i++)
		if (inlet_matches(inlet->flows[i], &key))
			return inlet->flows[i];
	return NULL;
}

/* Cuts the payload into pieces. Return: how many, at least one. */
static uint32_t inlet_cut(const struct xdp_inlet *inlet, uint32_t queue,
			  const struct frame_datagram *d, struct xdp_piece *piece)
{
	const struct inlet_queue *q = &inlet->queue[queue];
	uint32_t left = d->payload, skip = d->payload_at, n = 0;

	for (uint32_t i = 0; i < q->packet.parts && (left || n == 0); i++) {
		const struct xdp_desc *part = &q->packet.part[i];
		uint32_t bytes;

		if (skip >= part->len && left) {
			skip -= part->len; /* all headers, cut just before the payload */
			continue;
		}
		bytes = part->len - skip < left ? part->len - skip : left;
		piece[n++] = (struct xdp_piece){ .data = q->xsk.umem + part->addr + skip,
						 .address = part->addr,
						 .bytes = bytes,
						 .whole = left,
						 .queue = (uint16_t)queue,
						 .first = n == 0 };
		left -= bytes;
		skip = 0;
	}
	return n;
}

static uint64_t inlet_sum(const struct xdp_piece *piece, uint32_t count)
{
	uint64_t sum = 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint16_t part = frame_fold(frame_sum(piece[i].data, piece[i].bytes));

		sum += at & 1 ? (uint16_t)(part << 8 | part >> 8) : part;
		at += piece[i].bytes;
	}
	return sum;
}

static bool inlet_is_good(const struct xdp_inlet *inlet, const struct frame_datagram *d,
			  const struct xdp_piece *piece, uint32_t count)
{
	/* the usual case where no cable is, and then nothing needs to be added up */
	if (inlet->is_virtual && d->checksum && d->checksum == frame_fold(d->pseudo))
		return true;
	switch (frame_check(d, inlet_sum(piece, count))) {
	case FRAME_CSUM_NONE:
	case FRAME_CSUM_GOOD:
		return true;
	case FRAME_CSUM_PARTIAL:
		return inlet->is_virtual;
	case FRAME_CSUM_BAD:
		break;
	}
	return false;
}

/* A flow that nobody reads may not take the frames of all: the newest are dropped, as a socket does
 * whose buffer is full. */
static bool inlet_is_full(const struct xdp_inlet *inlet, const struct xdp_inflow *flow,
			  uint32_t count)
{
	return inlet->held + count > inlet->frames - inlet->frames / INLET_KEEP ||
	       flow->tail - flow->head + count > flow->size;
}

/* Return: whether the flow has it; its frames are free else. */
static bool inlet_keep(struct xdp_inlet *inlet, uint32_t queue, const struct frame_datagram *d)
{
	struct xdp_inflow *flow = inlet_find(inlet, d);
	struct xdp_piece piece[INLET_PARTS];
	uint32_t count;

	if (!flow) {
		inlet->strays++;
		return false;
	}
	count = inlet_cut(inlet, queue, d, piece);
	if (!inlet_is_good(inlet, d, piece, count)) {
		flow->bad++;
		return false;
	}
	if (inlet_is_full(inlet, flow, inlet->queue[queue].packet.parts)) {
		flow->overflowed++;
		return false;
	}
	flow->came++;
	for (uint32_t i = 0; i < count; i++)
		flow->pieces[flow->tail++ & (flow->size - 1)] = piece[i];
	inlet->held += count;
	/* frames without a byte of it: padding, or headers only */
	for (uint32_t i = 0; i < inlet->queue[queue].packet.parts; i++) {
		const uint64_t address = inlet->queue[queue].packet.part[i].addr;
		bool used = false;

		for (uint32_t k = 0; k < count && !used; k++)
			used = piece[k].address == address;
		if (!used)
			inlet_free(inlet, queue, address);
	}
	return true;
}

static void inlet_take_packet(struct xdp_inlet *inlet, uint32_t queue)
{
	struct inlet_queue *q = &inlet->queue[queue];
	struct inlet_packet *packet = &q->packet;
	struct frame_datagram d;
	bool kept = false;

	inlet->packets++;
	if (packet->parts <= INLET_PARTS &&
	    frame_parse(q->xsk.umem + packet->part[0].addr, packet->part[0].len, packet->bytes,
			&d) == 0)
		kept = inlet_keep(inlet, queue, &d);
	else
		inlet->strays++;
	for (uint32_t i = 0; i < packet->parts && i < INLET_PARTS && !kept; i++)
		inlet_free(inlet, queue, packet->part[i].addr);
	packet->parts = packet->bytes = 0;
}

static uint32_t inlet_poll_queue(struct xdp_inlet *inlet, uint32_t queue)
{
	struct inlet_queue *q = &inlet->queue[queue];
	const uint32_t ready = xsk_ring_ready(&q->xsk.rx, INLET_FRAMES);
	uint32_t packets = 0;

	for (uint32_t i = 0; i < ready; i++) {
		const struct xdp_desc *desc = xsk_ring_desc(&q->xsk.rx, i);

		if (q->packet.parts < INLET_PARTS)
			q->packet.part[q->packet.parts] = *desc;
		else
			inlet_free(inlet, queue, desc->addr);
		q->packet.parts++;
		q->packet.bytes += desc->len;
		if (desc->options & XDP_PKT_CONTD)
			continue;
		inlet_take_packet(inlet, queue);
		packets++;
	}
	if (ready)
		xsk_ring_release(&q->xsk.rx, ready);
	return packets;
}

uint32_t xdp_inlet_poll(struct xdp_inlet *inlet)
{
	uint32_t packets = 0;

	for (uint32_t i = 0; i < inlet->queues; i++)
		packets += inlet_poll_queue(inlet, i);
	xdp_inlet_refill(inlet); /* what was dropped */
	return packets;
}

/* ---- flows ----------------------------------------------------------------------------------- */

int xdp_inflow_open(struct xdp_inflow **ret, struct xdp_inlet *inlet,
		    const struct taio_xdp_key *key)
{
	struct xdp_inflow *flow = calloc(1, sizeof(*flow));
	int number;

	if (!flow)
		return -ENOMEM;
	flow->size = INLET_FRAMES;
	while (flow->size < inlet->frames)
		flow->size *= 2;
	flow->pieces = malloc(flow->size * sizeof(*flow->pieces));
	number = flow->pieces ? xdp_program_add(inlet->program, key) : -ENOMEM;
	if (number < 0) {
		free(flow->pieces);
		free(flow);
		return number;
	}
	flow->inlet = inlet;
	flow->key = *key;
	flow->number = (unsigned int)number;
	inlet->flows[inlet->flow_count++] = flow;
	*ret = flow;
	return 0;
}

static void inflow_drop(struct xdp_inflow *flow)
{
	const struct xdp_piece *piece = xdp_inflow_piece(flow, 0);

	inlet_free(flow->inlet, piece->queue, piece->address);
	flow->inlet->held--;
	flow->head++;
	flow->offset = 0;
}

void xdp_inflow_close(struct xdp_inflow *flow)
{
	struct xdp_inlet *inlet = flow->inlet;

	xdp_program_remove(inlet->program, flow->number, &flow->key);
	while (!xdp_inflow_is_empty(flow))
		inflow_drop(flow);
	xdp_inlet_refill(inlet);
	for (uint32_t i = 0; i < inlet->flow_count; i++)
		if (inlet->flows[i] == flow)
			inlet->flows[i] = inlet->flows[--inlet->flow_count];
	free(flow->pieces);
	free(flow);
}

void xdp_inflow_take(struct xdp_inflow *flow, bool take)
{
	xdp_program_set(flow->inlet->program, flow->number, take ? TAIO_XDP_TAKE : TAIO_XDP_PASS);
}

bool xdp_inflow_is_taken(const struct xdp_inflow *flow)
{
	return xdp_program_flow(flow->inlet->program, flow->number)->state == TAIO_XDP_TAKE;
}

uint64_t xdp_inflow_passed(const struct xdp_inflow *flow, uint64_t *ret_odd)
{
	const volatile struct taio_xdp_flow *seen =
		xdp_program_flow(flow->inlet->program, flow->number);

	*ret_odd = seen->odd;
	return seen->passed;
}

unsigned int xdp_inflow_look(const struct xdp_inflow *flow, struct iovec *iov, unsigned int max,
			     uint64_t most, bool whole, uint64_t *ret_bytes)
{
	const uint32_t count = flow->tail - flow->head;
	uint64_t bytes = 0, ended = 0; /* ended: up to the last whole datagram */
	unsigned int n = 0, ended_at = 0;

	for (uint32_t i = 0; i < count && n < max && bytes < most; i++) {
		const struct xdp_piece *piece = xdp_inflow_piece(flow, i);
		const uint32_t skip = i == 0 ? flow->offset : 0;
		uint64_t take = piece->bytes - skip;

		if (piece->bytes == 0)
			break;
		if (take > most - bytes)
			take = most - bytes;
		iov[n].iov_base = (void *)(uintptr_t)(piece->data + skip);
		iov[n++].iov_len = take;
		bytes += take;
		if (take == piece->whole - skip) {
			ended = bytes;
			ended_at = n;
		}
	}
	*ret_bytes = whole ? ended : bytes;
	return whole ? ended_at : n;
}

uint32_t xdp_inflow_took(struct xdp_inflow *flow, uint64_t bytes)
{
	uint32_t datagrams = 0;

	while (bytes > 0) {
		const struct xdp_piece *piece = xdp_inflow_piece(flow, 0);
		const uint32_t left = piece->bytes - flow->offset;

		assert(!xdp_inflow_is_empty(flow) && left > 0);
		if (bytes < left) {
			flow->offset += (uint32_t)bytes;
			break;
		}
		bytes -= left;
		datagrams += piece->bytes == piece->whole;
		inflow_drop(flow);
	}
	return datagrams;
}

void xdp_inflow_took_end(struct xdp_inflow *flow)
{
	assert(xdp_inflow_ends(flow));
	inflow_drop(flow);
}
