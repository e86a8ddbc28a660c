/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy_tree.c: directories and symbolic links of `taio copy -r`. The tree is walked while requests
 * run; a directory gets its final mode and times when the last thing below it has ended.
 */
#include "cli/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- metadata of directories ---------------------------------------------------------------- */

/* Owner first (it clears set-id bits), times last. A user cannot give files away: no error. */
static int tree_preserve(const char *path, const struct stat *st, int is_link)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	mode_t mode = st->st_mode & 07777;

	if (lchown(path, st->st_uid, st->st_gid) < 0) {
		if (errno != EPERM && errno != EINVAL)
			return -errno;
		if (lchown(path, (uid_t)-1, st->st_gid) < 0)
			mode &= ~(mode_t)S_ISGID;
		mode &= ~(mode_t)S_ISUID;
	}
	if (!is_link && chmod(path, mode) < 0)
		return -errno;
	return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int tree_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		error = -errno;
	close(fd);
	return error;
}

static int tree_dir_end(struct copy *copy, const struct copy_dir *dir)
{
	mode_t mode = dir->from.st_mode & 01777 & ~copy->umask;
	int error = 0;

	/* what the parent directory gave (set-group-id) stays */
	mode |= dir->made_mode & 06000;
	if (copy->args->flags & TAIO_PRESERVE)
		error = tree_preserve(dir->path, &dir->from, 0);
	else if (dir->made && dir->made_mode != mode)
		error = chmod(dir->path, mode) < 0 ? -errno : 0;
	if (error == 0 && copy->args->flags & TAIO_DURABLE)
		error = tree_sync(dir->path);
	return error;
}

void copy_dir_put(struct copy *copy, struct copy_dir *dir, int failed)
{
	while (dir) {
		struct copy_dir *parent = dir->parent;
		int error;

		dir->failed |= failed != 0;
		if (--dir->pending > 0)
			return;
		error = tree_dir_end(copy, dir);
		if (error)
			copy_failed(copy, dir->path, NULL, error, NULL);
		failed = dir->failed || error;
		free(dir);
		dir = parent;
	}
}

/* Makes the directory @to for @from, or takes the one that is there.
 * Return: 0 or negative errno with *ret_cause set if strerror() does not say enough. */
static int tree_dir_make(const struct stat *from, const char *to, struct copy_dir *parent,
			 struct copy_dir **ret_dir, const char **ret_cause)
{
	size_t size = strlen(to) + 1;
	struct copy_dir *dir = malloc(sizeof(*dir) + size);
	/* nobody else may write into it before it is complete, and we must */
	mode_t mode = (from->st_mode & 01777 & ~(mode_t)022) | 0700;
	struct stat st;
	int error = 0;

	*ret_cause = NULL;
	if (dir == NULL)
		return -ENOMEM;
	memset(dir, 0, sizeof(*dir));
	memcpy(dir->path, to, size);
	dir->from = *from;
	if (mkdir(to, mode) == 0)
		dir->made = 1;
	else if (errno != EEXIST)
		error = -errno;
	/* the root may be a link to a directory; below it nothing is followed */
	if (error == 0 && (parent ? lstat(to, &st) : stat(to, &st)) < 0)
		error = -errno;
	if (error == 0 && !S_ISDIR(st.st_mode)) {
		error = -EEXIST;
		*ret_cause = "something that is no directory is in the way";
	}
	if (error == 0 && dir->made && (st.st_mode & 0700) != 0700)
		error = chmod(to, (st.st_mode & 07777) | 0700) < 0 ? -errno : 0;
	if (error) {
		free(dir);
		return error;
	}
	dir->made_mode = (st.st_mode & 07777) | (dir->made ? 0700 : 0);
	dir->pending = 1;
	dir->parent = parent;
	if (parent)
		parent->pending++;
	*ret_dir = dir;
	return 0;
}

/* ---- links ---------------------------------------------------------------------------------- */

/* The name of the link that is to replace @to, in its directory. It is the same each time, so that
 * what a killed copy left is found by the next one. Return: for free(), NULL: no memory. */
static char *tree_link_name(const char *to)
{
	const char *slash = strrchr(to, '/');
	size_t dir = slash ? (size_t)(slash - to) + 1 : 0;
	char *name = malloc(dir + 32);
	uint32_t hash = 2166136261u; /* FNV-1a */

	if (name == NULL)
		return NULL;
	for (const char *at = to + dir; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 16777619u;
	memcpy(name, to, dir);
	snprintf(name + dir, 32, ".taio-link-%08x", hash);
	return name;
}

/* Puts a link in the place of what is there, at once. Another copy may do the same just now. */
static int tree_link_replace(const char *text, const char *to)
{
	char *name = tree_link_name(to);
	int error = -EEXIST;

	if (name == NULL)
		return -ENOMEM;
	for (unsigned int i = 0; i < 100 && (error == -EEXIST || error == -ENOENT); i++) {
		struct stat st;

		error = symlink(text, name) < 0 ? -errno : 0;
		if (error == 0 && rename(name, to) < 0) {
			error = -errno;
			unlink(name);
		} else if (error == -EEXIST) {
			if (lstat(name, &st) == 0 && !S_ISLNK(st.st_mode))
				break; /* not ours */
			unlink(name);
		}
	}
	free(name);
	return error;
}

int copy_link(struct copy *copy, const char *from, const char *to)
{
	char text[PATH_MAX + 1];
	struct stat st, old;
	ssize_t length = readlink(from, text, sizeof(text));
	int error = 0;

	if (length < 0 || lstat(from, &st) < 0)
		return -errno;
	if ((size_t)length >= sizeof(text))
		return -ENAMETOOLONG;
	text[length] = '\0';
	if (symlink(text, to) < 0) {
		if (errno != EEXIST || copy->args->flags & TAIO_NO_CLOBBER)
			return -errno;
		/* replacing a link by itself would be no harm, and no copy either */
		if (lstat(to, &old) == 0 && old.st_dev == st.st_dev && old.st_ino == st.st_ino)
			return -EINVAL;
		error = tree_link_replace(text, to);
	}
	if (error == 0 && copy->args->flags & TAIO_PRESERVE)
		error = tree_preserve(to, &st, 1);
	return error;
}

const char *copy_link_cause(int error)
{
	return error == -EINVAL ? "a link is not copied onto itself" : NULL;
}

/* ---- the walk ------------------------------------------------------------------------------- */

/* Is @to (or, if it is not there yet, the directory that it will be in) inside of @from? */
static int tree_is_inside(const struct stat *from, const char *to)
{
	struct stat st, last = { .st_ino = 0 };
	int fd = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int inside = 0;

	if (fd < 0) {
		char parent[PATH_MAX];
		size_t length = strlen(to);

		while (length > 0 && to[length - 1] == '/')
			length--;
		while (length > 0 && to[length - 1] != '/')
			length--;
		if (length >= sizeof(parent))
			return 0;
		memcpy(parent, to, length);
		memcpy(parent + length, ".", 2);
		fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	while (fd >= 0 && fstat(fd, &st) == 0) {
		int up;

		inside = st.st_dev == from->st_dev && st.st_ino == from->st_ino;
		if (inside || (st.st_dev == last.st_dev && st.st_ino == last.st_ino))
			break;
		last = st;
		up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	if (fd >= 0)
		close(fd);
	return inside;
}

/* State of one tree. */
struct tree {
	struct walk walk;
	struct copy_dir *dir; /* that the walk is in */
	const char *root;     /* of the destination */
	char *to;             /* of the entry */
	size_t to_size;
};

/* The place of the walk's entry below the destination. Return: NULL: no memory. */
static const char *tree_place(struct tree *tree)
{
	const char *below = tree->walk.path + tree->walk.root_length;
	size_t root = strlen(tree->root);
	size_t rest;

	while (*below == '/')
		below++;
	rest = strlen(below);
	if (root + rest + 2 > tree->to_size) {
		char *bigger = realloc(tree->to, (root + rest + 2) * 2);

		if (bigger == NULL)
			return NULL;
		tree->to = bigger;
		tree->to_size = (root + rest + 2) * 2;
	}
	memcpy(tree->to, tree->root, root + 1);
	if (rest == 0)
		return tree->to;
	if (tree->to[root - 1] != '/')
		tree->to[root++] = '/';
	memcpy(tree->to + root, below, rest + 1);
	return tree->to;
}

static void tree_enter(struct copy *copy, struct tree *tree, const char *to)
{
	const char *cause;
	int error = tree_dir_make(&tree->walk.stat, to, tree->dir, &tree->dir, &cause);

	if (error == 0)
		return;
	copy_failed(copy, tree->walk.path, to, error, cause);
	walk_skip(&tree->walk);
}

/* One entry. Return: 1: stop. */
static int tree_entry(struct copy *copy, struct tree *tree, enum walk_kind kind)
{
	const char *from = tree->walk.path;
	const char *to = tree_place(tree);
	struct copy_dir *dir = tree->dir;
	int error = 0;

	if (to == NULL) {
		copy_failed(copy, from, NULL, -ENOMEM, NULL);
		return 1;
	}
	switch (kind) {
	case WALK_ENTER:
		tree_enter(copy, tree, to);
		break;
	case WALK_LEAVE:
		tree->dir = dir->parent;
		copy_dir_put(copy, dir, 0);
		break;
	case WALK_FILE:
		return copy_paths(copy, from, to, dir);
	case WALK_LINK:
		error = copy_link(copy, from, to);
		if (error)
			copy_failed(copy, from, to, error, copy_link_cause(error));
		break;
	case WALK_SPECIAL:
		copy_failed(copy, from, to, -EOPNOTSUPP, "not a file, directory or link");
		break;
	default:
		copy_failed(copy, from, NULL, tree->walk.error, NULL);
		break;
	}
	return 0;
}

/* The entry of the new root in its own directory is only safe with that one synced. */
static void tree_sync_parent(struct copy *copy, const char *to)
{
	char parent[PATH_MAX];
	size_t length = strlen(to);
	int error;

	while (length > 0 && to[length - 1] == '/')
		length--;
	while (length > 0 && to[length - 1] != '/')
		length--;
	if (length + 2 > sizeof(parent))
		return;
	memcpy(parent, to, length);
	memcpy(parent + length, ".", 2);
	error = tree_sync(parent);
	if (error)
		copy_failed(copy, parent, NULL, error, NULL);
}

int copy_tree(struct copy *copy, const char *from, const char *to)
{
	struct tree tree = { .root = to };
	enum walk_kind kind;
	struct stat st;
	int stop = 0;

	if (stat(from, &st) == 0 && tree_is_inside(&st, to)) {
		copy_failed(copy, from, to, -EINVAL, "a directory does not go into itself");
		return 0;
	}
	if (walk_open(&tree.walk, from) < 0) {
		copy_failed(copy, from, to, -ENOMEM, NULL);
		return 0;
	}
	while (!stop && (kind = walk_next(&tree.walk)) != WALK_END)
		stop = tree_entry(copy, &tree, kind);
	/* what is in flight still holds the directories */
	while (tree.dir) {
		struct copy_dir *dir = tree.dir;

		/* a directory is freed with its last user, and the tree is one of its parent's */
		tree.dir = dir->parent; /* NOLINT(clang-analyzer-unix.Malloc) */
		copy_dir_put(copy, dir, 1);
	}
	if (!stop && copy->args->flags & TAIO_DURABLE)
		tree_sync_parent(copy, to);
	walk_close(&tree.walk);
	free(tree.to);
	return stop;
}
