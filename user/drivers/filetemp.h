/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* filetemp.h: paths and temporaries, between fileops.c and filetemp.c only. */
#ifndef TAIO_DRIVERS_FILETEMP_H
#define TAIO_DRIVERS_FILETEMP_H

#include <sys/types.h>

#include "drivers/fileops.h"

/* open(2) of a source without hanging on what is no file. Return: descriptor, negative errno. */
int fileops_open_source(const char *path);

/* The name that is to be replaced: to_path, or the file behind that link, written to @room
 * (PATH_MAX bytes). NULL with errno: the link leads nowhere. */
const char *filetemp_target(const struct taio_file *file, char *room);

/* Makes the temporary, see fileops_make_temp(). Return: descriptor, negative errno. */
int filetemp_make(struct taio_file *file, mode_t mode, enum fileops_temp how);

/* Can a file without a name be given one here? */
bool filetemp_can_link(void);
/* Does fsync(2) keep what is in it before it has a name? */
bool filetemp_syncs_unnamed(int fd);

/* Gives an unnamed temporary a name that must be free. Return: 0, -EEXIST, errors of linkat(2). */
int filetemp_link(const struct taio_file *file, const char *path);

#endif /* TAIO_DRIVERS_FILETEMP_H */
