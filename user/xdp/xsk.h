/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xsk.h: an AF_XDP socket with its memory (UMEM) and its four rings, straight on the kernel's
 * interface. It knows neither what is in a frame nor where frames go: frame.h, route.h. One socket
 * serves one queue of one interface, for sending, receiving or both; several queues take several
 * sockets.
 *
 *   memory     xsk->umem, cut into xsk->chunks chunks of xsk->chunk bytes; an address in a ring is
 *              an offset into it. Which chunks are for what is the owner's affair.
 *   rings      the producer fills a ring with xsk_ring_room(), the entries, xsk_ring_submit(); the
 *              consumer empties it with xsk_ring_ready(), the entries, xsk_ring_release().
 *   sending    tx entries, then xsk_kick() until xsk_tx_pending() is 0; chunks come back in the
 *              completion ring, one entry for each descriptor. That says that the kernel needs the
 *              chunk no more, never that anything was delivered.
 *   receiving  chunks into the fill ring, packets out of rx; xsk_fill_wakes() says when the kernel
 *              wants to be woken with xsk_wake_fill().
 *
 * A socket belongs to one thread at a time.
 */
#ifndef TAIO_XDP_XSK_H
#define TAIO_XDP_XSK_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Younger than the headers of Debian 12; a kernel that does not know them refuses them. */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4) /* bind, 6.6 */
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0) /* descriptor: the packet goes on in the next one, 6.6 */
#endif
#ifndef XDP_TX_METADATA
#define XDP_TX_METADATA (1 << 1) /* descriptor: struct xsk_tx_metadata stands before addr, 6.8 */
#endif
#ifndef XDP_UMEM_TX_METADATA_LEN
#define XDP_UMEM_TX_METADATA_LEN (1 << 2) /* 6.11; before, the length alone said so */
#endif

/* What struct xsk_tx_metadata of newer headers says: directly before the frame. */
#define XSK_METADATA_BYTES    24
#define XSK_METADATA_CHECKSUM (1ULL << 1)
struct xsk_metadata {
	uint64_t flags;
	uint16_t csum_start;  /* from the first byte of the frame */
	uint16_t csum_offset; /* from csum_start */
	uint32_t reserved;
	uint64_t launch;
};
_Static_assert(sizeof(struct xsk_metadata) == XSK_METADATA_BYTES, "as the kernel has it");

enum xsk_want {
	XSK_RX = 1 << 0,
	XSK_TX = 1 << 1,
	XSK_COPY = 1 << 2,    /* no zero copy, even where the driver has it */
	XSK_ONE_DESC = 1 << 3 /* no packets of several descriptors */
};

struct xsk_config {
	uint32_t ifindex;
	uint32_t queue;
	uint32_t want;     /* enum xsk_want; XSK_RX, XSK_TX or both */
	uint32_t chunks;   /* of the memory */
	uint32_t chunk;    /* bytes of each: 2048 or 4096 */
	uint32_t headroom; /* bytes before a received frame, on top of the kernel's 256 */
	uint32_t tx_entries, rx_entries; /* powers of two; 0: 2048. Completion and fill like them */
	uint32_t patience_ms; /* a queue is free some 30 ms after its last socket was closed: wait
				 that long for it. 0: no wait */
};

struct xsk_ring {
	/* what both sides see */
	uint32_t *producer, *consumer, *flags;
	void *entries;
	/* our side: indexes run freely */
	uint32_t size, mask;
	uint32_t cached; /* the other side's index as last read */
	uint32_t own;    /* ours, not yet shown */
	void *map;
	size_t map_bytes;
};

struct xsk {
	int fd; /* -1: not open */
	uint32_t ifindex, queue, want;
	uint8_t *umem;
	uint64_t umem_bytes;
	uint32_t chunk, chunks;
	bool zero_copy;
	bool sg;       /* packets of several descriptors */
	bool metadata; /* TX metadata: the kernel finishes checksums, see struct xsk_metadata */
	int zero_copy_error; /* without it: why, negative errno (-EOPNOTSUPP: the driver has none) */
	struct xsk_ring tx, completion, rx, fill;
};

/*
 * Makes the socket. Needs CAP_NET_RAW in the network namespace. On failure *xsk is closed and
 * @reason has a sentence without a full stop.
 * Return: 0; -EPERM: CAP_NET_RAW is missing; -EBUSY: another socket has the queue; -EINVAL: there is
 * no such queue; -ENODEV: no such interface; -ENETDOWN: it is down; -ENOBUFS, -ENOMEM: the memory
 * may not be locked (RLIMIT_MEMLOCK, counted unless CAP_IPC_LOCK); -EAFNOSUPPORT: a kernel without
 * AF_XDP; -EOPNOTSUPP: one before 5.4, or the interface refuses.
 */
int xsk_open(struct xsk *xsk, const struct xsk_config *config, char *reason, size_t size);

/* Closes whatever is open. May be called again, and on a zeroed struct with fd -1. */
void xsk_close(struct xsk *xsk);

/* Tells the kernel of what is in the tx ring: it takes some of it, in copy mode 32 packets.
 * Return: 0; -EAGAIN: there is more; -ENOBUFS: no memory now; -EBUSY: the driver is; -ENETDOWN,
 * -ENXIO: the interface is down or gone. */
int xsk_kick(struct xsk *xsk);

/* After xsk_fill_wakes(). Return: as xsk_kick(). */
int xsk_wake_fill(struct xsk *xsk);

/* Counters of the kernel. Return: 0, negative errno. */
int xsk_statistics(const struct xsk *xsk, struct xdp_statistics *ret);

/* One line for people: "zero copy", "copy mode: the driver has no zero copy", ... */
const char *xsk_mode_text(const struct xsk *xsk);

/* ---- rings ----------------------------------------------------------------------------------- */

/* Producer: free entries, at most @wanted. */
static inline uint32_t xsk_ring_room(struct xsk_ring *ring, uint32_t wanted)
{
	uint32_t room = ring->size - (ring->own - ring->cached);

	if (room < wanted) {
		ring->cached = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
		room = ring->size - (ring->own - ring->cached);
	}
	return room < wanted ? room : wanted;
}

/* Producer: the entry @ahead of the next one; tx and rx, fill and completion. */
static inline struct xdp_desc *xsk_ring_desc(const struct xsk_ring *ring, uint32_t ahead)
{
	return (struct xdp_desc *)ring->entries + ((ring->own + ahead) & ring->mask);
}
static inline uint64_t *xsk_ring_address(const struct xsk_ring *ring, uint32_t ahead)
{
	return (uint64_t *)ring->entries + ((ring->own + ahead) & ring->mask);
}

/* Producer: shows @count entries to the kernel. */
static inline void xsk_ring_submit(struct xsk_ring *ring, uint32_t count)
{
	ring->own += count;
	__atomic_store_n(ring->producer, ring->own, __ATOMIC_RELEASE);
}

/* Consumer: entries that are there, at most @wanted. */
static inline uint32_t xsk_ring_ready(struct xsk_ring *ring, uint32_t wanted)
{
	uint32_t ready = ring->cached - ring->own;

	if (ready < wanted) {
		ring->cached = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
		ready = ring->cached - ring->own;
	}
	return ready < wanted ? ready : wanted;
}

/* Consumer: gives @count entries back. */
static inline void xsk_ring_release(struct xsk_ring *ring, uint32_t count)
{
	ring->own += count;
	__atomic_store_n(ring->consumer, ring->own, __ATOMIC_RELEASE);
}

/* Descriptors that the kernel has not taken yet. */
static inline uint32_t xsk_tx_pending(const struct xsk *xsk)
{
	return xsk->tx.own - __atomic_load_n(xsk->tx.consumer, __ATOMIC_ACQUIRE);
}

/* Does the kernel want a system call? Always in copy mode when sending. */
static inline bool xsk_tx_wakes(const struct xsk *xsk)
{
	return (__atomic_load_n(xsk->tx.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
}
static inline bool xsk_fill_wakes(const struct xsk *xsk)
{
	return (__atomic_load_n(xsk->fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) != 0;
}

#endif /* TAIO_XDP_XSK_H */
