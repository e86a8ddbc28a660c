/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * walk.c: see walk.h. At most WALK_OPEN directories are open at a time: the ones far up are closed
 * with their position and opened again when the walk is back.
 */
#include "cli/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WALK_OPEN 32

struct walk_level {
	DIR *dir;      /* NULL: closed for the time being */
	long position; /* of a closed one */
	int failed;    /* could not be read to its end */
	size_t length; /* of its path */
	dev_t dev;
	ino_t ino;
};

/* Makes walk->path its first @length bytes, "/" and @name. */
static int walk_name(struct walk *walk, size_t length, const char *name)
{
	size_t extra = strlen(name);
	size_t need = length + 1 + extra + 1;

	if (need > walk->path_size) {
		char *bigger = realloc(walk->path, need * 2);

		if (bigger == NULL)
			return -ENOMEM;
		walk->path = bigger;
		walk->path_size = need * 2;
	}
	if (length > 0 && walk->path[length - 1] != '/')
		walk->path[length++] = '/';
	memcpy(walk->path + length, name, extra + 1);
	return 0;
}

/* Closes the directory that is WALK_OPEN levels up. */
static void walk_close_far(struct walk *walk)
{
	struct walk_level *far;

	if (walk->depth < WALK_OPEN)
		return;
	far = &walk->level[walk->depth - WALK_OPEN];
	if (far->dir == NULL)
		return;
	far->position = telldir(far->dir);
	closedir(far->dir);
	far->dir = NULL;
}

/* Opens the directory walk->path, @name in the directory @at, as the next level. */
static int walk_enter(struct walk *walk, int at, const char *name, int flags)
{
	struct walk_level *level;
	int fd, error;

	if (walk->depth == walk->levels) {
		unsigned int levels = walk->levels ? walk->levels * 2 : 16;
		struct walk_level *bigger = realloc(walk->level, levels * sizeof(*bigger));

		if (bigger == NULL)
			return -ENOMEM;
		walk->level = bigger;
		walk->levels = levels;
	}
	walk_close_far(walk);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK | flags);
	if (fd < 0)
		return -errno;
	level = &walk->level[walk->depth];
	if (fstat(fd, &walk->stat) < 0 || (level->dir = fdopendir(fd)) == NULL) {
		error = -errno;
		close(fd);
		return error;
	}
	level->length = strlen(walk->path);
	level->dev = walk->stat.st_dev;
	level->ino = walk->stat.st_ino;
	level->position = 0;
	level->failed = 0;
	walk->depth++;
	return 0;
}

/* Opens a level again that walk_close_far() has closed. */
static int walk_reopen(struct walk *walk, struct walk_level *level)
{
	struct stat st;
	int fd, error;

	walk->path[level->length] = '\0';
	fd = open(walk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		error = -errno;
	else if (st.st_dev != level->dev || st.st_ino != level->ino)
		error = -ESTALE; /* somebody moved the tree meanwhile */
	else if ((level->dir = fdopendir(fd)) == NULL)
		error = -errno;
	else
		error = 0;
	if (error) {
		close(fd);
		return error;
	}
	seekdir(level->dir, level->position);
	return 0;
}

static enum walk_kind walk_fail(struct walk *walk, int error)
{
	walk->error = error;
	return WALK_ERROR;
}

int walk_open(struct walk *walk, const char *root)
{
	memset(walk, 0, sizeof(*walk));
	if (walk_name(walk, 0, root) < 0)
		return -ENOMEM;
	walk->root_length = strlen(root);
	/* the part below "dir/" starts behind the slash, as it does below "dir" */
	while (walk->root_length > 1 && root[walk->root_length - 1] == '/')
		walk->root_length--;
	walk->path[walk->root_length] = '\0';
	return 0;
}

static enum walk_kind walk_leave(struct walk *walk)
{
	struct walk_level *level = &walk->level[walk->depth - 1];

	if (level->dir)
		closedir(level->dir);
	level->dir = NULL;
	walk->path[level->length] = '\0';
	walk->depth--;
	return WALK_LEAVE;
}

void walk_skip(struct walk *walk)
{
	if (walk->depth > 0)
		(void)walk_leave(walk);
}

/* What is behind walk->path, when the directory entry does not say it or lies. */
static enum walk_kind walk_stat(struct walk *walk, int at, const char *name)
{
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return walk_fail(walk, -errno);
	if (S_ISREG(st.st_mode))
		return WALK_FILE;
	if (S_ISLNK(st.st_mode))
		return WALK_LINK;
	return S_ISDIR(st.st_mode) ? WALK_ENTER : WALK_SPECIAL;
}

static enum walk_kind walk_kind(struct walk *walk, int at, const struct dirent *entry)
{
	switch (entry->d_type) {
	case DT_REG:
		return WALK_FILE;
	case DT_LNK:
		return WALK_LINK;
	case DT_DIR:
		return WALK_ENTER;
	case DT_UNKNOWN:
		return walk_stat(walk, at, entry->d_name);
	default:
		return WALK_SPECIAL;
	}
}

static int walk_is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* The next entry of the directory that is open; NULL at its end, or when it cannot be read. */
static struct dirent *walk_read(struct walk_level *level, int *ret_error)
{
	struct dirent *entry;

	do {
		errno = 0;
		entry = readdir(level->dir);
	} while (entry != NULL && walk_is_dot(entry->d_name));
	*ret_error = entry == NULL ? -errno : 0;
	return entry;
}

enum walk_kind walk_next(struct walk *walk)
{
	struct walk_level *level;
	struct dirent *entry;
	enum walk_kind kind;
	int error = 0;

	if (!walk->started) {
		walk->started = 1;
		/* the root itself may be a link that the user wants followed */
		error = walk_enter(walk, AT_FDCWD, walk->path, 0);
		return error ? walk_fail(walk, error) : WALK_ENTER;
	}
	if (walk->depth == 0)
		return WALK_END;
	level = &walk->level[walk->depth - 1];
	if (level->failed)
		return walk_leave(walk);
	if (level->dir == NULL)
		error = walk_reopen(walk, level);
	entry = error ? NULL : walk_read(level, &error);
	if (error) {
		level->failed = 1;
		walk->path[level->length] = '\0';
		return walk_fail(walk, error);
	}
	if (entry == NULL)
		return walk_leave(walk);
	if (walk_name(walk, level->length, entry->d_name) < 0) {
		level->failed = 1;
		return walk_fail(walk, -ENOMEM);
	}
	kind = walk_kind(walk, dirfd(level->dir), entry);
	if (kind != WALK_ENTER)
		return kind;
	error = walk_enter(walk, dirfd(level->dir), entry->d_name, O_NOFOLLOW);
	return error ? walk_fail(walk, error) : WALK_ENTER;
}

void walk_close(struct walk *walk)
{
	while (walk->depth > 0)
		(void)walk_leave(walk);
	free(walk->level);
	free(walk->path);
	memset(walk, 0, sizeof(*walk));
}
