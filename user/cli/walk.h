/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * walk.h: going through a directory tree without recursion, one entry at a time, in memory that
 * grows with the depth and not with the number of files.
 */
#ifndef TAIO_CLI_WALK_H
#define TAIO_CLI_WALK_H

#include <stddef.h>
#include <sys/stat.h>

enum walk_kind {
	WALK_END,     /* nothing is left */
	WALK_FILE,    /* a regular file */
	WALK_LINK,    /* a symbolic link */
	WALK_SPECIAL, /* FIFO, device, socket */
	WALK_ENTER,   /* a directory; what it holds comes next, unless walk_skip() is called */
	WALK_LEAVE,   /* its end */
	WALK_ERROR    /* walk->path cannot be read: walk->error */
};

struct walk_level;

struct walk {
	char *path; /* of the entry: the root's name, "/", names below it */
	size_t path_size;
	size_t root_length; /* where the part below the root starts in path */
	struct stat stat;   /* WALK_ENTER: of the directory */
	int error;          /* WALK_ERROR: negative errno */
	struct walk_level *level;
	unsigned int depth, levels;
	int started;
};

/* Starts at the directory @root, which is entered first. Return: 0, -ENOMEM. */
int walk_open(struct walk *walk, const char *root);
enum walk_kind walk_next(struct walk *walk);
/* After WALK_ENTER: do not look into this directory; its WALK_LEAVE does not come. */
void walk_skip(struct walk *walk);
/* NULL-safe, at any moment. */
void walk_close(struct walk *walk);

#endif /* TAIO_CLI_WALK_H */
