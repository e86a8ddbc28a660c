/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * filetemp.c: the temporary of a destination from its making to its publishing or end, and what
 * makes both last (fsync of file and directory); see fileops.h. It moves no bytes.
 */
#include "drivers/filetemp.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "taio.h"

#define FILETEMP_MARK   ".taio-"
#define FILETEMP_DIGITS 10 /* five of the process, five of a counter, base 36 */
#define FILETEMP_TRIES  100
#define FILETEMP_COMMON 2 /* so many of the tries are for the name that all processes share */

/* Part of every name, so that no two threads of a process choose the same one. */
static _Atomic uint32_t filetemp_counter;

/* ---- paths -------------------------------------------------------------------------------------- */

const char *filetemp_target(const struct taio_file *file, char *room)
{
	return file->state & FILEOPS_TO_LINK ? realpath(file->to_path, room) : file->to_path;
}

/* Length of the directory part of a path, with its slash. */
static size_t path_dir_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash + 1 - path) : 0;
}

static int path_dir(const char *path, char room[PATH_MAX])
{
	size_t length = path_dir_length(path);

	if (length >= PATH_MAX)
		return -ENAMETOOLONG;
	if (length == 0) {
		path = ".";
		length = 1;
	}
	memcpy(room, path, length);
	room[length] = '\0';
	return 0;
}

static int path_beside(const char *path, const char *name, char room[PATH_MAX])
{
	size_t length = path_dir_length(path), rest = strlen(name) + 1;

	if (length + rest > PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(room, path, length);
	memcpy(room + length, name, rest);
	return 0;
}

/* ---- making it ---------------------------------------------------------------------------------- */

static char *name_digits(char *at, uint32_t value)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";

	for (unsigned int i = 0; i < FILETEMP_DIGITS / 2; i++, value /= 36)
		*at++ = digits[value % 36];
	return at;
}

/*
 * ".NAME.taio-XXXXXXXXXX", NAME cut at a character's end so that it fits. The first tries are for a
 * name that every process chooses, so that a copy finds what a killed one left at its place.
 */
static void name_choose(const char *path, unsigned int try, char *ret_name, size_t size)
{
	const char *base = path + path_dir_length(path);
	size_t room = size - 2 - strlen(FILETEMP_MARK) - FILETEMP_DIGITS, length = strlen(base);
	char *at = ret_name;

	if (length > room)
		for (length = room; length && ((unsigned char)base[length] & 0xc0) == 0x80;)
			length--;
	*at++ = '.';
	at = (char *)memcpy(at, base, length) + length;
	at = (char *)memcpy(at, FILETEMP_MARK, strlen(FILETEMP_MARK)) + strlen(FILETEMP_MARK);
	if (try < FILETEMP_COMMON) {
		at = name_digits(name_digits(at, 0), 0);
	} else {
		at = name_digits(at, (uint32_t)getpid());
		at = name_digits(
			at, atomic_fetch_add_explicit(&filetemp_counter, 1, memory_order_relaxed));
	}
	*at = '\0';
}

static bool filetemp_is_at(int fd, const char *path)
{
	struct stat st, named;

	return fstat(fd, &st) == 0 && lstat(path, &named) == 0 && S_ISREG(st.st_mode) &&
	       st.st_ino == named.st_ino && st.st_dev == named.st_dev;
}

/*
 * Who uses the shared name has its file locked. A lock that is to be had tells that its process is
 * dead, or has published it meanwhile: then the name is no longer that of this file.
 */
static void filetemp_remove_dead(const char *path)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 && filetemp_is_at(fd, path))
		(void)unlink(path);
	close(fd);
}

/* An unnamed file can only get a name through /proc where linkat(2) takes no bare descriptor. */
bool filetemp_can_link(void)
{
	static _Atomic int known; /* 1: yes, 2: no */
	int now = atomic_load_explicit(&known, memory_order_relaxed);

	if (!now) {
		now = access("/proc/self/fd", X_OK) == 0 ? 1 : 2;
		atomic_store_explicit(&known, now, memory_order_relaxed);
	}
	return now == 1;
}

/*
 * Locks a file that was made under the shared name. Until then another process could take it for
 * one of the dead; it has the lock, then, and removes it.
 */
static bool filetemp_lock_made(int fd, const char *path)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return filetemp_is_at(fd, path);
	if (errno != EWOULDBLOCK) /* no locks on this file system */
		(void)unlink(path);
	return false;
}

static int filetemp_make_named(struct taio_file *file, const char *path, mode_t mode)
{
	char room[PATH_MAX];

	for (unsigned int i = 0; i < FILETEMP_TRIES; i++) {
		int fd, rc;

		name_choose(path, i, file->temp_name, sizeof(file->temp_name));
		rc = path_beside(path, file->temp_name, room);
		if (rc)
			return rc;
		fd = open(room, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd >= 0) {
			if (i >= FILETEMP_COMMON)
				return fd;
			if (filetemp_lock_made(fd, room))
				return fd;
			close(fd);
			i = FILETEMP_COMMON - 1;
		} else if (errno != EEXIST) {
			return -errno;
		} else if (i == 0) {
			filetemp_remove_dead(room);
		}
	}
	return -EEXIST;
}

/*
 * Btrfs does nothing for an fsync(2) of a file without a name ("never accessible"); named after
 * that and lost with the power, it comes back empty.
 */
bool filetemp_syncs_unnamed(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && fileops_fs_of(fd, st.st_dev) != TAIO_FS_BTRFS;
}

int filetemp_make(struct taio_file *file, mode_t mode, enum fileops_temp how)
{
	char target[PATH_MAX], room[PATH_MAX];
	const char *path = filetemp_target(file, target);
	int fd, rc;

	if (!path)
		return -errno;
	file->temp_name[0] = '\0';
	if (how != FILEOPS_TEMP_NAMED && filetemp_can_link()) {
		rc = path_dir(path, room);
		if (rc)
			return rc;
		fd = open(room, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
		if (fd >= 0 && (!(file->flags & TAIO_DURABLE) || filetemp_syncs_unnamed(fd)))
			return fd;
		/* EISDIR: a kernel, EOPNOTSUPP: a file system that does not know O_TMPFILE. */
		if (fd < 0 && errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
			return -errno;
		if (fd >= 0)
			close(fd);
	}
	if (how == FILEOPS_TEMP_UNNAMED)
		return -EOPNOTSUPP;
	fd = filetemp_make_named(file, path, mode);
	if (fd < 0)
		file->temp_name[0] = '\0';
	return fd;
}

/* ---- its name ----------------------------------------------------------------------------------- */

int filetemp_link(const struct taio_file *file, const char *path)
{
	char name[32];

	if (linkat(file->to_fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0)
		return 0;
	/* Before 6.10 that needs CAP_DAC_READ_SEARCH, and is ENOENT without. */
	if (errno != ENOENT && errno != EPERM && errno != EINVAL)
		return -errno;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", file->to_fd);
	return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* An unnamed temporary that is to replace something needs a name to be renamed from. */
static int filetemp_link_beside(struct taio_file *file, const char *path, char room[PATH_MAX])
{
	bool locked = flock(file->to_fd, LOCK_EX | LOCK_NB) == 0;

	for (unsigned int i = locked ? 0 : FILETEMP_COMMON; i < FILETEMP_TRIES; i++) {
		int rc;

		name_choose(path, i, file->temp_name, sizeof(file->temp_name));
		rc = path_beside(path, file->temp_name, room);
		if (rc == 0)
			rc = filetemp_link(file, room);
		if (rc == 0)
			return 0;
		file->temp_name[0] = '\0';
		if (rc != -EEXIST)
			return rc;
		if (i == 0)
			filetemp_remove_dead(room);
	}
	return -EEXIST;
}

/* From a temporary name to one that must be free. */
static int filetemp_rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
		return -errno;
	(void)unlink(from);
	return 0;
}

/* Something was made by that name since it was looked at: only a file may be replaced unseen. */
static int filetemp_judge_late(const struct taio_file *file, const char *path)
{
	struct stat st;

	if (file->flags & TAIO_NO_CLOBBER)
		return -EEXIST;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -EISDIR : -EEXIST;
}

static int filetemp_publish(struct taio_file *file)
{
	char target[PATH_MAX], room[PATH_MAX];
	const char *path = filetemp_target(file, target);
	bool named = file->temp_name[0];
	int rc = 0;

	if (!path)
		return -errno;
	if (named)
		rc = path_beside(path, file->temp_name, room);
	if (rc == 0 && !(file->state & TAIO_FILE_TO_EXISTED)) {
		rc = named ? filetemp_rename_new(room, path) : filetemp_link(file, path);
		if (rc != -EEXIST)
			return rc;
		rc = filetemp_judge_late(file, path);
	}
	if (rc == 0 && !named)
		rc = filetemp_link_beside(file, path, room);
	if (rc == 0 && rename(room, path) < 0)
		rc = -errno;
	if (rc == 0)
		(void)flock(file->to_fd, LOCK_UN); /* it is the user's file now */
	return rc;
}

/* A network file system may tell only at close(2) that bytes did not get there. */
static int filetemp_flush(const struct taio_file *file)
{
	int fd;

	if (file->to_fs != TAIO_FS_NET || file->to_fd < 0)
		return 0;
	fd = fcntl(file->to_fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fileops_close(fd);
}

int fileops_publish(struct taio_file *file)
{
	int rc;

	if (!(file->state & TAIO_FILE_TEMP))
		return 0;
	rc = filetemp_flush(file);
	if (rc)
		return fileops_fail(file, TAIO_STEP_WRITE, rc);
	rc = filetemp_publish(file);
	if (rc)
		return fileops_fail(file, TAIO_STEP_PUBLISH, rc);
	file->temp_name[0] = '\0';
	file->state &= ~(uint32_t)TAIO_FILE_TEMP;
	file->state |= TAIO_FILE_PUBLISHED;
	return 0;
}

/* ---- making it last, ending it -------------------------------------------------------------------- */

int fileops_sync(int fd)
{
	while (fsync(fd) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int fileops_sync_dir(struct taio_file *file)
{
	char target[PATH_MAX], room[PATH_MAX];
	const char *path = filetemp_target(file, target);
	int fd, rc;

	if (!path)
		return fileops_fail(file, TAIO_STEP_SYNC_DIR, -errno);
	rc = path_dir(path, room);
	if (rc == 0) {
		fd = open(room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0) {
			rc = fileops_sync(fd);
			close(fd);
		} else if (errno == EACCES && file->to_fd >= 0) {
			/* A directory in which one may write but not read. */
			rc = syncfs(file->to_fd) < 0 ? -errno : 0;
		} else {
			rc = -errno;
		}
	}
	return rc ? fileops_fail(file, TAIO_STEP_SYNC_DIR, rc) : 0;
}

int fileops_close(int fd)
{
	assert(fd >= 0);
	return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

void fileops_abort(struct taio_file *file)
{
	char target[PATH_MAX], room[PATH_MAX];

	/* the name before the lock on it */
	if ((file->state & TAIO_FILE_TEMP) && file->temp_name[0]) {
		const char *path = filetemp_target(file, target);

		if (path && path_beside(path, file->temp_name, room) == 0)
			(void)unlink(room);
	}
	file->temp_name[0] = '\0';
	file->state &= ~(uint32_t)TAIO_FILE_TEMP;
	if (file->from_fd >= 0)
		close(file->from_fd);
	if (file->to_fd >= 0)
		close(file->to_fd);
	file->from_fd = file->to_fd = -1;
}
