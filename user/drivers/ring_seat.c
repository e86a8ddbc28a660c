/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_seat.c: the kernel's table of registered files. Only descriptors that the engine itself keeps
 * open have a seat in it (taio_register_file()), so that the number of one that has cannot come to
 * mean another file. Where the kernel has no such table (before 5.19) they are used as any other.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <string.h>

static int seat_table(struct ring *ring)
{
	int rc;

	if (ring->has_seats)
		return 0;
	rc = io_uring_register_files_sparse(&ring->uring, TAIO_FILES_MAX);
	if (rc == 0)
		ring->has_seats = 1;
	return rc == -EINVAL ? -EOPNOTSUPP : rc;
}

/* Who sits at @at from now on; -1: nobody. */
static int seat_take(struct ring *ring, unsigned int at, int fd)
{
	int rc = io_uring_register_files_update(&ring->uring, at, &fd, 1);

	if (rc != 1)
		return rc < 0 ? rc : -EIO;
	if (ring->seated[at] >= 0)
		ring->seat[ring->seated[at]] = 0;
	ring->seated[at] = fd;
	if (fd >= 0)
		ring->seat[fd] = (uint8_t)(at + 1);
	return 0;
}

void ring_seats_forget(struct ring *ring)
{
	ring->has_seats = 0;
	memset(ring->seat, 0, sizeof(ring->seat));
	memset(ring->seated, -1, sizeof(ring->seated));
}

int ring_seats_register(struct ring *ring)
{
	const struct taio_host *host = ring->host;
	int rc = 0;

	for (unsigned int i = 0; i < TAIO_FILES_MAX && rc == 0; i++) {
		int fd = i < host->file_count ? host->files[i] : -1;

		if (fd >= RING_SEAT_FDS) /* it is looked up each time */
			fd = -1;
		if (fd == ring->seated[i])
			continue;
		rc = seat_table(ring);
		if (rc == 0)
			rc = seat_take(ring, i, fd);
	}
	return rc;
}
