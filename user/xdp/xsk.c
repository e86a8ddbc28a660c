/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* xsk.c: making and closing AF_XDP sockets, see xsk.h. */
#include "xdp/xsk.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#define ENTRIES_DEFAULT 2048

/* XDP_UMEM_REG as kernels from 6.8 on read it; older ones read the beginning. */
struct umem_reg {
	uint64_t addr, len;
	uint32_t chunk_size, headroom, flags, tx_metadata_len;
};

/* ---- making ---------------------------------------------------------------------------------- */

static int xsk_set(const struct xsk *xsk, int option, const void *value, socklen_t size)
{
	return setsockopt(xsk->fd, SOL_XDP, option, value, size) < 0 ? -errno : 0;
}

/* With TX metadata if the kernel has it (6.11). */
static int xsk_register(struct xsk *xsk, uint32_t headroom)
{
	struct umem_reg reg = { .addr = (uintptr_t)xsk->umem,
				.len = xsk->umem_bytes,
				.chunk_size = xsk->chunk,
				.headroom = headroom };
	int rc = -EINVAL;

	if (xsk->want & XSK_TX) {
		reg.flags = XDP_UMEM_TX_METADATA_LEN;
		reg.tx_metadata_len = XSK_METADATA_BYTES;
		rc = xsk_set(xsk, XDP_UMEM_REG, &reg, sizeof(reg));
		xsk->metadata = rc == 0;
	}
	if (rc == -EINVAL) {
		reg.flags = reg.tx_metadata_len = 0;
		rc = xsk_set(xsk, XDP_UMEM_REG, &reg, sizeof(reg));
	}
	return rc;
}

static int xsk_memory(struct xsk *xsk, const struct xsk_config *config)
{
	void *umem;

	xsk->chunk = config->chunk;
	xsk->chunks = config->chunks;
	xsk->umem_bytes = (uint64_t)config->chunk * config->chunks;
	umem = mmap(NULL, xsk->umem_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (umem == MAP_FAILED)
		return -errno;
	xsk->umem = umem;
	return xsk_register(xsk, config->headroom);
}

static int xsk_ring_map(const struct xsk *xsk, struct xsk_ring *ring,
			const struct xdp_ring_offset *offset, size_t entry, off_t page)
{
	const size_t bytes = offset->desc + ring->size * entry;
	uint8_t *map =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xsk->fd, page);

	if (map == MAP_FAILED)
		return -errno;
	ring->map = map;
	ring->map_bytes = bytes;
	ring->producer = (uint32_t *)(void *)(map + offset->producer);
	ring->consumer = (uint32_t *)(void *)(map + offset->consumer);
	ring->flags = (uint32_t *)(void *)(map + offset->flags);
	ring->entries = map + offset->desc;
	ring->mask = ring->size - 1;
	return 0;
}

/* Fill and completion ring must exist on every socket that owns its memory. */
static int xsk_rings(struct xsk *xsk, const struct xsk_config *config)
{
	const uint32_t tx = config->tx_entries ? config->tx_entries : ENTRIES_DEFAULT;
	const uint32_t rx = config->rx_entries ? config->rx_entries : ENTRIES_DEFAULT;
	struct xdp_mmap_offsets offsets;
	socklen_t size = sizeof(offsets);
	const struct {
		struct xsk_ring *ring;
		const struct xdp_ring_offset *offset;
		size_t entry;
		off_t page;
		int option;
		uint32_t want, entries;
	} rings[] = {
		{ &xsk->fill, &offsets.fr, 8, (off_t)XDP_UMEM_PGOFF_FILL_RING, XDP_UMEM_FILL_RING,
		  0, xsk->want & XSK_RX ? rx : 2 },
		{ &xsk->completion, &offsets.cr, 8, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING,
		  XDP_UMEM_COMPLETION_RING, 0, xsk->want & XSK_TX ? tx : 2 },
		{ &xsk->tx, &offsets.tx, 16, XDP_PGOFF_TX_RING, XDP_TX_RING, XSK_TX, tx },
		{ &xsk->rx, &offsets.rx, 16, XDP_PGOFF_RX_RING, XDP_RX_RING, XSK_RX, rx },
	};
	int rc = 0;

	for (unsigned int i = 0; i < 4 && rc == 0; i++) {
		if (rings[i].want && !(xsk->want & rings[i].want))
			continue;
		rings[i].ring->size = rings[i].entries;
		rc = xsk_set(xsk, rings[i].option, &rings[i].entries, sizeof(uint32_t));
	}
	if (rc == 0 && getsockopt(xsk->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) < 0)
		rc = -errno;
	if (rc == 0 && size != sizeof(offsets))
		rc = -EOPNOTSUPP; /* before 5.4: no need-wakeup */
	for (unsigned int i = 0; i < 4 && rc == 0; i++)
		if (rings[i].ring->size)
			rc = xsk_ring_map(xsk, rings[i].ring, rings[i].offset, rings[i].entry,
					  rings[i].page);
	return rc;
}

static int xsk_bind_once(const struct xsk *xsk, uint16_t flags)
{
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP,
					.sxdp_flags = flags | XDP_USE_NEED_WAKEUP,
					.sxdp_ifindex = xsk->ifindex,
					.sxdp_queue_id = xsk->queue };

	return bind(xsk->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
}

/* The kernel gives a queue free some time after close(). */
static int xsk_bind_patient(const struct xsk *xsk, uint16_t flags, uint32_t *patience_ms)
{
	for (;;) {
		int rc = xsk_bind_once(xsk, flags);

		if (rc != -EBUSY || *patience_ms == 0)
			return rc;
		(*patience_ms)--;
		(void)poll(NULL, 0, 1);
	}
}

/* The best that the driver has: zero copy, with packets of several descriptors; a driver may have
 * the one without the other, and a kernel before 6.6 has no such packets. */
static int xsk_bind(struct xsk *xsk, const struct xsk_config *config)
{
	const bool sg = !(config->want & XSK_ONE_DESC);
	uint32_t patience_ms = config->patience_ms;
	int rc;

	if (config->want & XSK_COPY) {
		xsk->zero_copy_error = -ECANCELED;
	} else {
		rc = sg ? xsk_bind_patient(xsk, XDP_ZEROCOPY | XDP_USE_SG, &patience_ms) : -EINVAL;
		xsk->sg = rc == 0;
		if (rc == -EINVAL || rc == -EOPNOTSUPP)
			rc = xsk_bind_patient(xsk, XDP_ZEROCOPY, &patience_ms);
		if (rc == 0 || rc == -EBUSY || rc == -ENODEV || rc == -ENETDOWN)
			return rc;
		xsk->zero_copy_error = rc;
	}
	rc = sg ? xsk_bind_patient(xsk, XDP_COPY | XDP_USE_SG, &patience_ms) : -EINVAL;
	xsk->sg = rc == 0;
	if (rc == -EINVAL || rc == -EOPNOTSUPP)
		rc = xsk_bind_patient(xsk, XDP_COPY, &patience_ms);
	return rc;
}

static void xsk_learn_mode(struct xsk *xsk)
{
	struct xdp_options options = { 0 };
	socklen_t size = sizeof(options);

	if (getsockopt(xsk->fd, SOL_XDP, XDP_OPTIONS, &options, &size) == 0)
		xsk->zero_copy = (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

/* ---- what went wrong ------------------------------------------------------------------------- */

enum xsk_stage {
	STAGE_SOCKET,
	STAGE_MEMORY,
	STAGE_RINGS,
	STAGE_BIND
};

static void xsk_say_memory(const struct xsk *xsk, char *reason, size_t size)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_MEMLOCK, &limit);
	snprintf(
		reason, size,
		"%llu KiB of locked memory are not permitted: the limit is %llu KiB (ulimit -l), or "
		"CAP_IPC_LOCK is missing",
		(unsigned long long)(xsk->umem_bytes >> 10),
		(unsigned long long)limit.rlim_cur >> 10);
}

static void xsk_say(const struct xsk *xsk, enum xsk_stage stage, int error, char *reason,
		    size_t size)
{
	char name[IF_NAMESIZE] = "?";

	(void)if_indextoname(xsk->ifindex, name);
	if (error == -ENOBUFS || error == -ENOMEM)
		xsk_say_memory(xsk, reason, size);
	else if (stage == STAGE_SOCKET && error == -EPERM)
		snprintf(reason, size, "AF_XDP needs CAP_NET_RAW, which this process lacks");
	else if (stage == STAGE_SOCKET && error == -EAFNOSUPPORT)
		snprintf(reason, size, "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)");
	else if (stage == STAGE_BIND && error == -EBUSY)
		snprintf(reason, size, "queue %u of %s is taken by another AF_XDP socket",
			 xsk->queue, name);
	else if (stage == STAGE_BIND && error == -EINVAL)
		snprintf(reason, size, "%s has no queue %u", name, xsk->queue);
	else if (stage == STAGE_BIND && error == -ENODEV)
		snprintf(reason, size, "there is no interface %u", xsk->ifindex);
	else if (stage == STAGE_BIND && error == -ENETDOWN)
		snprintf(reason, size, "%s is down", name);
	else if (error == -EOPNOTSUPP)
		snprintf(reason, size, "%s takes no AF_XDP sockets", name);
	else
		snprintf(reason, size, "AF_XDP on %s: %s", name, strerror(-error));
}

/* ---- for all --------------------------------------------------------------------------------- */

int xsk_open(struct xsk *xsk, const struct xsk_config *config, char *reason, size_t size)
{
	enum xsk_stage stage = STAGE_SOCKET;
	int rc;

	assert(config->want & (XSK_RX | XSK_TX));
	assert(config->chunk == 2048 || config->chunk == 4096);
	memset(xsk, 0, sizeof(*xsk));
	xsk->ifindex = config->ifindex;
	xsk->queue = config->queue;
	xsk->want = config->want;
	xsk->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	rc = xsk->fd < 0 ? -errno : 0;
	if (rc == 0) {
		stage = STAGE_MEMORY;
		rc = xsk_memory(xsk, config);
	}
	if (rc == 0) {
		stage = STAGE_RINGS;
		rc = xsk_rings(xsk, config);
	}
	if (rc == 0) {
		stage = STAGE_BIND;
		rc = xsk_bind(xsk, config);
	}
	if (rc) {
		xsk_say(xsk, stage, rc, reason, size);
		xsk_close(xsk);
		return rc;
	}
	xsk_learn_mode(xsk);
	return 0;
}

void xsk_close(struct xsk *xsk)
{
	struct xsk_ring *const rings[] = { &xsk->tx, &xsk->completion, &xsk->rx, &xsk->fill };

	for (unsigned int i = 0; i < 4; i++) {
		if (rings[i]->map)
			munmap(rings[i]->map, rings[i]->map_bytes);
		memset(rings[i], 0, sizeof(*rings[i]));
	}
	if (xsk->fd >= 0)
		close(xsk->fd);
	if (xsk->umem)
		munmap(xsk->umem, xsk->umem_bytes);
	xsk->fd = -1;
	xsk->umem = NULL;
	xsk->umem_bytes = 0;
}

int xsk_kick(struct xsk *xsk)
{
	if (sendto(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
		return 0;
	return errno == EINTR ? -EAGAIN : -errno;
}

int xsk_wake_fill(struct xsk *xsk)
{
	if (recvfrom(xsk->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL) >= 0)
		return 0;
	return errno == EINTR ? -EAGAIN : -errno;
}

int xsk_statistics(const struct xsk *xsk, struct xdp_statistics *ret)
{
	socklen_t size = sizeof(*ret);

	memset(ret, 0, sizeof(*ret));
	return getsockopt(xsk->fd, SOL_XDP, XDP_STATISTICS, ret, &size) < 0 ? -errno : 0;
}

const char *xsk_mode_text(const struct xsk *xsk)
{
	if (xsk->zero_copy)
		return "zero copy";
	switch (xsk->zero_copy_error) {
	case -EOPNOTSUPP:
	case -EINVAL:
		return "copy mode: the driver has no zero copy";
	case -ECANCELED:
		return "copy mode: asked for";
	default:
		return "copy mode: the driver refused zero copy";
	}
}
