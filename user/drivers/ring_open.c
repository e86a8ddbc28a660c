/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_open.c: both ends of a copy opened through the ring, for paths where looking something up may
 * sleep: a source by openat and statx, a destination by statx of what is there and openat of an
 * unnamed temporary. What is found means what it means elsewhere (fileops.h); what needs more than
 * these calls is -EOPNOTSUPP with nothing done, and the driver sys knows it.
 */
#include "drivers/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "taio.h"

#define FROM_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
#define TEMP_FLAGS (O_TMPFILE | O_WRONLY | O_CLOEXEC)

/* What the kernel reads and writes while a step is under way. */
struct ring_look {
	struct ring_look *next_free;
	struct statx stx;
	char directory[RING_LOOK_PATH];
};

int ring_looks_open(struct ring *ring)
{
	ring->looks = calloc(RING_LOOKS, sizeof(*ring->looks));
	if (!ring->looks)
		return -ENOMEM;
	for (unsigned int i = RING_LOOKS; i-- > 0;) {
		ring->looks[i].next_free = ring->free_look;
		ring->free_look = &ring->looks[i];
	}
	return 0;
}

void ring_looks_close(struct ring *ring)
{
	free(ring->looks);
	ring->looks = ring->free_look = NULL;
}

static struct ring_look *look_of(const struct taio_step *step)
{
	return (struct ring_look *)(uintptr_t)step->priv[RING_PRIV_LOOK];
}

static void look_stat(const struct statx *stx, struct stat *ret_st)
{
	*ret_st = (struct stat){
		.st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.st_ino = stx->stx_ino,
		.st_size = (off_t)stx->stx_size,
		.st_blocks = (blkcnt_t)stx->stx_blocks,
		.st_mode = stx->stx_mode,
		.st_nlink = stx->stx_nlink,
		.st_uid = stx->stx_uid,
		.st_gid = stx->stx_gid,
		.st_atim = { stx->stx_atime.tv_sec, stx->stx_atime.tv_nsec },
		.st_mtim = { stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec },
	};
}

static void look_finish(struct ring *ring, struct ring_op *op, int64_t result)
{
	struct ring_look *look = look_of(op->step);

	look->next_free = ring->free_look;
	ring->free_look = look;
	ring_control_finish(ring, op, result);
}

/* The next entry of a step that has more than one. */
static void look_next(struct ring *ring, struct ring_op *op, struct io_uring_sqe *sqe,
		      ring_done_fn done)
{
	op->done = done;
	ring_sqe_done(ring, sqe, op);
	ring->continued = 1;
}

static bool look_is_over(const struct ring_op *op)
{
	return op->step->priv[RING_PRIV_CANCEL] != 0;
}

/* ---- source ---------------------------------------------------------------------------------- */

static void from_looked(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_file *file = op->step->file;
	const int fd = (int)op->step->priv[RING_PRIV_FD];
	struct stat st;

	(void)flags;
	if (res < 0) {
		close(fd);
		look_finish(ring, op, fileops_fail(file, TAIO_STEP_OPEN_FROM, res));
		return;
	}
	look_stat(&look_of(op->step)->stx, &st);
	look_finish(ring, op, fileops_looked_from(file, fd, &st));
}

static void from_opened(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_file *file = op->step->file;
	struct io_uring_sqe *sqe;

	(void)flags;
	if (res >= 0 && look_is_over(op)) {
		close(res);
		res = -ECANCELED;
	}
	if (res == -EAGAIN || res == -ENXIO) { /* a lease, a socket: sys knows what to do */
		look_finish(ring, op, -EOPNOTSUPP);
		return;
	}
	if (res < 0) {
		look_finish(ring, op, fileops_fail(file, TAIO_STEP_OPEN_FROM, res));
		return;
	}
	op->step->priv[RING_PRIV_FD] = (uint32_t)res;
	sqe = ring_sqe(ring);
	io_uring_prep_statx(sqe, res, "", AT_EMPTY_PATH, STATX_BASIC_STATS,
			    &look_of(op->step)->stx);
	look_next(ring, op, sqe, from_looked);
}

/* ---- destination ----------------------------------------------------------------------------- */

static void to_opened(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_file *file = op->step->file;

	(void)flags;
	if (res == -EISDIR || res == -EINVAL || res == -EAGAIN) /* no such files there */
		res = -EOPNOTSUPP;
	if (res >= 0)
		res = fileops_made_temp(file, res);
	else if (res != -EOPNOTSUPP)
		fileops_fail(file, TAIO_STEP_OPEN_TO, res);
	look_finish(ring, op, res);
}

static void to_looked(struct ring *ring, struct ring_op *op, int32_t res, uint32_t flags)
{
	struct taio_file *file = op->step->file;
	struct ring_look *look = look_of(op->step);
	struct io_uring_sqe *sqe;
	struct stat st;

	(void)flags;
	if (res >= 0 && look_is_over(op))
		res = -ECANCELED;
	if (res >= 0)
		look_stat(&look->stx, &st);
	/* a link has a target that must be looked at, a device is opened itself */
	if (res >= 0 && (S_ISLNK(st.st_mode) || S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
		res = -EOPNOTSUPP;
	else if (res >= 0 || res == -ENOENT)
		res = fileops_looked_to(file, res == -ENOENT ? NULL : &st);
	else
		fileops_fail(file, TAIO_STEP_OPEN_TO, res);
	if (res < 0) {
		look_finish(ring, op, res);
		return;
	}
	sqe = ring_sqe(ring);
	io_uring_prep_openat(sqe, AT_FDCWD, look->directory, TEMP_FLAGS, fileops_temp_mode(file));
	look_next(ring, op, sqe, to_opened);
}

/* ---- both ------------------------------------------------------------------------------------ */

bool ring_open_fits(const struct taio_file *file)
{
	if (!file)
		return false;
	if (file->side == 0)
		return file->from_path != NULL;
	return fileops_is_unnamed(file) && strlen(file->to_path) < RING_LOOK_PATH;
}

static void open_start_from(struct ring *ring, struct ring_op *op)
{
	struct io_uring_sqe *sqe = ring_sqe(ring);

	op->done = from_opened;
	io_uring_prep_openat(sqe, AT_FDCWD, op->step->file->from_path, FROM_FLAGS, 0);
	ring_sqe_done(ring, sqe, op);
}

static void open_start_to(struct ring *ring, struct ring_op *op)
{
	const char *path = op->step->file->to_path, *slash = strrchr(path, '/');
	const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
	struct ring_look *look = look_of(op->step);
	struct io_uring_sqe *sqe = ring_sqe(ring);

	memcpy(look->directory, length ? path : ".", length ? length : 1);
	look->directory[length ? length : 1] = '\0';
	op->done = to_looked;
	io_uring_prep_statx(sqe, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS,
			    &look->stx);
	ring_sqe_done(ring, sqe, op);
}

enum taio_submit ring_open_submit(struct ring *ring, struct taio_step *step)
{
	struct ring_look *look = ring->free_look;
	struct ring_op *op;

	if (!ring_open_fits(step->file)) {
		step->result = -EOPNOTSUPP;
		return TAIO_DONE;
	}
	if (!look)
		return TAIO_BUSY;
	ring->free_look = look->next_free;
	step->priv[RING_PRIV_LOOK] = (uint64_t)(uintptr_t)look;
	op = ring_control_op(ring, step, NULL);
	if (step->file->side)
		open_start_to(ring, op);
	else
		open_start_from(ring, op);
	return TAIO_QUEUED;
}
