/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_buffer.c: memory that the ring knows: the buffers that the program registered, and bounce
 * buffers for steps from descriptor to descriptor. One sparse table holds both: the program's at
 * 0.., slabs of bounce buffers from RING_FIXED_MAX on. Address space for all slabs is reserved
 * when the ring is made; a slab is touched (and, where it pays, registered) when it is first used.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define TABLE_SIZE (RING_FIXED_MAX + RING_SLABS + RING_EXTRAS)

_Static_assert(RING_SLAB_BYTES / RING_SMALL_BYTES <= 64, "a slab's free buffers are one mask");

int ring_buffers_open(struct ring *ring)
{
	const size_t size = (RING_SLABS + 1) * RING_SLAB_BYTES; /* one for alignment */
	uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	ring->arena_base = base;
	ring->arena_size = size;
	ring->arena = (uint8_t *)(((uintptr_t)base + RING_SLAB_BYTES - 1) &
				  ~(uintptr_t)(RING_SLAB_BYTES - 1));
	for (int i = 0; i < RING_SLABS; i++)
		ring->slab[i].fixed = -1;
	return 0;
}

void ring_buffers_close(struct ring *ring)
{
	if (ring->arena_base)
		munmap(ring->arena_base, ring->arena_size);
	free(ring->fixed_copy);
	ring->arena_base = NULL;
	ring->fixed_copy = NULL;
	ring->fixed = NULL;
	ring->fixed_count = 0;
}

void ring_buffers_forget(struct ring *ring)
{
	ring->table = 0;
	ring->fixed_count = 0;
	for (int i = 0; i < RING_SLABS; i++) {
		ring->slab[i].fixed = -1;
		ring->slab[i].refused = 0;
	}
}

/* The table, at first need. Sparse tables exist since 5.19. */
static int buffers_table(struct ring *ring)
{
	int rc;

	if (ring->table)
		return 0;
	rc = io_uring_register_buffers_sparse(&ring->uring, TABLE_SIZE);
	if (rc == -EINVAL)
		rc = -EOPNOTSUPP;
	if (rc == 0)
		ring->table = 1;
	return rc;
}

static int buffers_update(struct ring *ring, uint32_t at, const struct iovec *iov, uint32_t count)
{
	int rc = io_uring_register_buffers_update_tag(&ring->uring, at, iov, NULL, count);

	if (rc == (int)count)
		return 0;
	return rc < 0 ? rc : -ENOMEM;
}

/* Takes the program's old buffers out of the table. */
static void buffers_clear(struct ring *ring)
{
	const struct iovec none = { 0 };

	for (uint32_t i = 0; i < ring->fixed_count; i++)
		(void)buffers_update(ring, i, &none, 1);
	ring->fixed_count = 0;
}

int ring_buffers_register(struct ring *ring)
{
	const struct taio_host *host = ring->host;
	const uint32_t count = host->buffer_count;
	struct iovec *copy;
	int rc;

	assert(count <= RING_FIXED_MAX);
	buffers_clear(ring);
	if (count == 0)
		return 0;
	rc = buffers_table(ring);
	if (rc)
		return rc;
	copy = realloc(ring->fixed_copy, count * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, host->buffers, count * sizeof(*copy));
	ring->fixed_copy = copy;
	ring->fixed = copy;
	for (uint32_t i = 0; i < count; i++) {
		rc = buffers_update(ring, i, &copy[i], 1);
		if (rc) {
			ring->fixed_count = i;
			buffers_clear(ring);
			return rc;
		}
	}
	ring->fixed_count = count;
	return 0;
}

/* ---- of other devices ------------------------------------------------------------------------ */

int ring_buffer_add(struct ring *ring, uint32_t extra, const struct iovec *iov)
{
	const uint32_t at = RING_FIXED_MAX + RING_SLABS + extra;
	int rc = buffers_table(ring);

	assert(extra < RING_EXTRAS);
	if (rc == 0)
		rc = buffers_update(ring, at, iov, 1);
	return rc ? rc : (int)at;
}

void ring_buffer_drop(struct ring *ring, uint32_t extra)
{
	const struct iovec none = { 0 };

	if (ring->table)
		(void)buffers_update(ring, RING_FIXED_MAX + RING_SLABS + extra, &none, 1);
}

/* ---- bounce buffers -------------------------------------------------------------------------- */

static uint8_t *slab_data(const struct ring *ring, int number)
{
	return ring->arena + (size_t)number * RING_SLAB_BYTES;
}

static void slab_register(struct ring *ring, int number)
{
	struct ring_slab *slab = &ring->slab[number];
	const struct iovec iov = { slab_data(ring, number), RING_SLAB_BYTES };

	if (slab->fixed >= 0 || slab->refused)
		return;
	/* No huge page: 6.12 then counts every page that SEND_ZC sends as all the bytes from the
	 * start of the huge page, and the socket's queue is full after a few of them. */
	(void)madvise(iov.iov_base, iov.iov_len, MADV_NOHUGEPAGE);
	if (buffers_table(ring) == 0 &&
	    buffers_update(ring, (uint32_t)(RING_FIXED_MAX + number), &iov, 1) == 0)
		slab->fixed = RING_FIXED_MAX + number;
	else
		slab->refused = 1;
}

static int slab_find(struct ring *ring, uint32_t size, bool fixed)
{
	int unused = -1, other = -1;

	for (int i = 0; i < RING_SLABS; i++) {
		struct ring_slab *slab = &ring->slab[i];

		if (slab->size == 0) {
			if (unused < 0)
				unused = i;
		} else if (slab->size == size && slab->free) {
			if (!fixed || slab->fixed >= 0)
				return i;
			other = i;
		}
	}
	if (other >= 0)
		return other;
	if (unused >= 0) {
		const uint32_t count = (uint32_t)(RING_SLAB_BYTES / size);

		ring->slab[unused].size = size;
		ring->slab[unused].free = count == 64 ? ~0ULL : (1ULL << count) - 1;
	}
	return unused;
}

bool ring_buffer_get(struct ring *ring, uint32_t size, bool fixed, struct ring_buffer *ret_buffer)
{
	const int number = slab_find(ring, size, fixed);
	struct ring_slab *slab;
	int place;

	assert(size == RING_SMALL_BYTES || size == RING_LARGE_BYTES);
	if (number < 0)
		return false;
	slab = &ring->slab[number];
	if (fixed)
		slab_register(ring, number);
	assert(slab->free);
	place = __builtin_ctzll(slab->free);
	slab->free &= slab->free - 1;
	ret_buffer->data = slab_data(ring, number) + (size_t)place * size;
	ret_buffer->size = size;
	ret_buffer->fixed = fixed ? slab->fixed : -1;
	ret_buffer->number = (int16_t)(number * 64 + place);
	return true;
}

void ring_buffer_put(struct ring *ring, struct ring_buffer *buffer)
{
	struct ring_slab *slab;
	uint32_t count;

	if (buffer->number < 0)
		return;
	slab = &ring->slab[buffer->number / 64];
	assert(!(slab->free & 1ULL << (buffer->number % 64)));
	slab->free |= 1ULL << (buffer->number % 64);
	count = (uint32_t)(RING_SLAB_BYTES / slab->size);
	/* all free: it may be cut in another way the next time */
	if (slab->free == (count == 64 ? ~0ULL : (1ULL << count) - 1))
		slab->size = 0;
	buffer->number = -1;
}
