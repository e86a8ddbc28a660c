/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_file.c: O_DIRECT descriptors. The flags of a descriptor that somebody else opened are never
 * changed: the same file is opened again through /proc/self/fd. Such a second descriptor has side
 * effects, and this file is mostly about not having them:
 *   - a file open for writing cannot be executed, one open at all cannot be unmounted: descriptors
 *     are closed with the last step that uses them, but those of files that the program itself
 *     has open for reading, which may linger for the next step;
 *   - close(2) drops the POSIX record locks that this process holds on the file, whichever
 *     descriptor took them: a file that is locked by anybody is not opened again, and one that was
 *     locked meanwhile is not closed while the lock stands (rather a descriptor too many than a
 *     lock too few).
 */
#include "drivers/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef STATX_DIOALIGN
#define STATX_DIOALIGN 0x2000U
#endif

/* Without the kernel's word (before 6.1): what every disk accepts. */
#define ALIGN_UNKNOWN 4096

enum ring_file_state {
	FILE_FREE = 0,
	FILE_OPEN,     /* fd is ours */
	FILE_BORROWED, /* the step's own descriptor has O_DIRECT */
	FILE_REFUSED   /* error says why */
};

/* Does anybody hold a record lock on the file? A lock that is owned by the open file description
 * meets those of processes, this one included. */
static bool file_is_locked(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Return: whether the place is free now. */
static bool file_close(struct ring_file *file)
{
	assert(file->users == 0);
	if (file->state == FILE_OPEN) {
		if (file_is_locked(file->fd))
			return false;
		close(file->fd);
	}
	memset(file, 0, sizeof(*file));
	return true;
}

static int file_learn_align(struct ring_file *file, int fd)
{
	struct statx stx;

	file->mem_align = file->align = ALIGN_UNKNOWN;
	memset(&stx, 0, sizeof(stx));
	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) < 0 ||
	    !(stx.stx_mask & STATX_DIOALIGN))
		return 0;
	if (stx.stx_dio_offset_align == 0)
		return -EOPNOTSUPP;
	file->mem_align = stx.stx_dio_mem_align ? stx.stx_dio_mem_align : 1;
	file->align = stx.stx_dio_offset_align;
	return 0;
}

static int file_open(struct ring_file *file, int fd)
{
	char path[32];
	int flags = fcntl(fd, F_GETFL), rc;

	if (flags < 0)
		return -errno;
	rc = file_learn_align(file, fd);
	if (rc)
		return rc;
	if (flags & O_DIRECT) {
		file->fd = fd;
		file->state = FILE_BORROWED;
		return 0;
	}
	/* the position of a write would not be where the step says */
	if (file->writable && (flags & O_APPEND))
		return -EOPNOTSUPP;
	if (file_is_locked(fd))
		return -EOPNOTSUPP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	file->fd = open(path, (file->writable ? O_WRONLY : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	if (file->fd < 0) {
		rc = -errno;
		return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ? rc : -EOPNOTSUPP;
	}
	file->state = FILE_OPEN;
	return 0;
}

/* The place of this file, or one where it can be put: free, else the one unused for longest. */
static struct ring_file *file_find(struct ring *ring, const struct stat *st, int fd, bool writable,
				   bool *ret_known, bool *ret_wait)
{
	struct ring_file *best = NULL;

	*ret_known = *ret_wait = false;
	for (int i = 0; i < RING_FILES; i++) {
		struct ring_file *file = &ring->files[i];

		if (file->state != FILE_FREE && file->key_fd == fd && file->ino == st->st_ino &&
		    file->dev == st->st_dev && file->writable == writable) {
			*ret_known = true;
			return file;
		}
		*ret_wait |= file->users > 0;
		if (file->users == 0 && (!best || file->used < best->used))
			best = file;
	}
	return best && file_close(best) ? best : NULL;
}

/* While a step uses the descriptor it cannot be closed, so its number cannot mean another file:
 * no need to ask the kernel. */
static struct ring_file *file_in_use(struct ring *ring, int fd, bool writable)
{
	struct ring_file *file = &ring->files[ring->last_file];

	for (unsigned int i = 0; i < RING_FILES; i++) {
		if (file->users > 0 && file->key_fd == fd && file->writable == writable)
			return file;
		file = &ring->files[i];
	}
	return NULL;
}

int ring_file_get(struct ring *ring, const struct taio_end *end, bool writable,
		  struct ring_file **ret_file)
{
	struct ring_file *file = file_in_use(ring, end->fd, writable);
	struct stat st;
	bool known, wait;

	if (file) {
		file->users++;
		*ret_file = file;
		return 0;
	}
	if (fstat(end->fd, &st) < 0)
		return -errno;
	file = file_find(ring, &st, end->fd, writable, &known, &wait);
	if (!file)
		return wait ? -EBUSY : -EOPNOTSUPP;
	file->used = ++ring->clock;
	if (!known) {
		file->dev = st.st_dev;
		file->ino = st.st_ino;
		file->key_fd = end->fd;
		file->writable = writable;
		file->linger = !writable && !(end->flags & TAIO_END_OWNED);
		file->fd = -1;
		file->error = file_open(file, end->fd);
		if (file->error)
			file->state = FILE_REFUSED;
		else if (file->align > ring->direct_align)
			ring->direct_align = file->align;
	}
	if (file->state == FILE_REFUSED) {
		const int error = file->error;

		/* too few descriptors is no property of the file */
		if (error != -EOPNOTSUPP)
			(void)file_close(file);
		return error;
	}
	file->users++;
	ring->last_file = (uint8_t)(file - ring->files);
	*ret_file = file;
	return 0;
}

void ring_file_put(struct ring *ring, struct ring_file *file)
{
	if (!file)
		return;
	assert(file->users > 0);
	(void)ring;
	if (--file->users == 0 && !file->linger)
		(void)file_close(file);
}

void ring_files_close(struct ring *ring)
{
	for (int i = 0; i < RING_FILES; i++)
		if (ring->files[i].users == 0)
			(void)file_close(&ring->files[i]);
}
