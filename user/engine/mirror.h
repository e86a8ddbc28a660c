/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * mirror.h: a source of which there are several equal copies. Each copy is a replica; it lies on a
 * disk, and each of the first TAIO_REPLICAS disks that an engine reads mirrors from has a place: what
 * is read there is read by the device replica1, replica2, ..., so that policies price disks as they
 * price devices.
 */
#ifndef TAIO_MIRROR_H
#define TAIO_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "request/request.h"

struct taio;

/* A disk that has a place. */
struct mirror_disk {
	uint64_t dev;      /* st_dev, of a block device st_rdev */
	uint64_t used;     /* of the engine's count: when it was met last */
	uint64_t heard_ns; /* last answer, or scout on its way */
	uint64_t took_ns;  /* a segment, at its last answer */
	uint32_t users;    /* mirrors that are open there */
	uint8_t eager;     /* the last scout was good news: the next one at once */
};

struct mirror;

static inline bool mirror_is(const struct taio_end *end)
{
	return end->flags & TAIO_END_MIRROR;
}

/*
 * r->file->from_path is a list of names: makes the mirror of it; the list belongs to it from then on.
 * Return: 0; -EINVAL: not 2 to TAIO_REPLICAS names; -ENOBUFS.
 */
int mirror_make(struct taio *e, struct request *r);

/* Closes what is open and frees it; nothing is in flight any more. */
void mirror_release(struct taio *e, struct request *r);

/* The next open-from step opens this one: sets the file record's name. */
void mirror_next(struct request *r);

/*
 * That step is over; @error is its result. After the last one r->from is ready to be read.
 * Return: 0: go on; negative errno: the request has failed (no replica is left, sizes differ).
 */
int mirror_opened(struct taio *e, struct request *r, int error);

/* Is this file one of the replicas? It would be read while it is overwritten. */
bool mirror_has(const struct request *r, const char *path);

/*
 * Fills in where a new segment may be read, and whether that is cold: what one replica has in the
 * page cache is read from there.
 *
 * Now and then it sends a scout: a segment that only a disk may have which was not read for long.
 * Policies probe what is quiet, but none that was far too dear, and not large pieces; yet a disk that
 * was throttled a hundredfold may be itself again. Scouts take 1/128 of the time at most, and where
 * the disk was that slow they are short: after one that was quick whole ones follow at once, until
 * the policy has seen enough of them.
 */
void mirror_look(struct taio *e, struct taio_step *step);

/* A device has answered. */
void mirror_heard(struct taio *e, const struct taio_step *step);

/* May this step be read by the device of that place? */
bool mirror_reads(const struct taio_step *step, uint32_t replica);

/* Points the step at the replica there. */
void mirror_aim(struct taio_step *step, uint32_t replica);

/*
 * The device that had the step failed it, or found the end of its file. Return: whether there is
 * another replica to be asked.
 */
bool mirror_retry(struct taio *e, const struct request *r, struct taio_step *step);

#endif /* TAIO_MIRROR_H */
