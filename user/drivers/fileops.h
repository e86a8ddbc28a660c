/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fileops.h: the control steps on the two files of a request, shared by the drivers that serve
 * them, and what the engine itself does with files: drop them, name their file system.
 *
 * The rules, those of cp(1) but for the first:
 *   - A destination by name appears whole or not at all. It is written into a temporary in the
 *     same directory: without a name (O_TMPFILE) where the file system has that, else under a
 *     name of its own (.NAME.taio-XXXXXXXXXX); PUBLISH gives it the name. Other names (hard
 *     links) of an old destination keep the old content.
 *   - A symbolic link as destination stays, its target is replaced; a link to nothing is -ENOENT.
 *   - A new file has the mode of the source (0666 if that has none) less the umask or as the
 *     directory's default ACL says. An old destination keeps mode, access ACL and, where
 *     permitted, owner. TAIO_PRESERVE: mode, access ACL, times and, where permitted, owner of the
 *     source. While it is a temporary, nobody can open it who cannot open the final file.
 *   - An old destination that may not be written is -EACCES, although it could be replaced.
 *     A file in a directory that may not be written, or one that is itself a mount point, can only
 *     be written with TAIO_IN_PLACE.
 *   - What appears under the name between the look at it and the publishing is replaced only if it
 *     is a file: -EISDIR, -EEXIST else.
 *   - The same file on both sides is -EINVAL, a directory -EISDIR, a FIFO or socket file
 *     -EOPNOTSUPP (it is not waited for); devices are written in place, never truncated.
 *   - TAIO_NO_CLOBBER: -EEXIST if there is anything by that name, at the latest when it is
 *     published.
 *   - TAIO_IN_PLACE: the file itself is opened, made if it is missing, and cut to nothing if it is
 *     written from offset 0 on.
 *
 * All functions are thread-safe for different files. They return 0 or negative errno and then set
 * file->failed_step; fileops_abort() undoes what is left.
 */
#ifndef TAIO_DRIVERS_FILEOPS_H
#define TAIO_DRIVERS_FILEOPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "taio_driver.h"

/* ---- for the engine ------------------------------------------------------------------------- */

/* enum taio_fs of an open file on device number @dev (st_dev). Remembered: mostly no system call. */
int fileops_fs_of(int fd, uint64_t dev);

/* Closes both files and removes a temporary that was not published. May be called in every state
 * and again. */
void fileops_abort(struct taio_file *file);

/* ---- control steps ---------------------------------------------------------------------------- */

/* More of enum taio_file_state, for these functions only. */
enum fileops_state {
	FILEOPS_TO_LINK = 1 << 16,   /* to_path is a symbolic link: its target is meant */
	FILEOPS_FINAL_MODE = 1 << 17 /* the temporary was made with its final mode */
};

/* Source: open, fstat, what kind of file it is. from_fd, from_kind, from_fs, size and from_stat are
 * set. size is 0 for files that do not know theirs (procfs) and UINT64_MAX for a character device.
 * -EISDIR, -EOPNOTSUPP (FIFO, socket), errors of open(2). */
int fileops_open_from(struct taio_file *file);

/* The same for a descriptor that somebody else has opened; it is file->from_fd from then on, and
 * closed on failure. */
int fileops_opened_from(struct taio_file *file, int fd);
/* ... and has looked at: file->from_fd with from_stat set, as they are. */
int fileops_looked_at_from(struct taio_file *file);

/* ... and for one that has been looked at, too. */
int fileops_looked_from(struct taio_file *file, int fd, const struct stat *st);

/* Destination: checks, then the temporary, or the file itself. @offset: where writing will begin,
 * matters only with TAIO_IN_PLACE. to_fd, to_kind, to_fs, state, to_stat, temp_name are set. */
int fileops_open_to(struct taio_file *file, uint64_t offset);

/* Mode, ACL, owner and times, after the last byte was written. */
int fileops_meta(struct taio_file *file);

/* fsync(2). A failure is final: a second fsync(2) could say 0 although bytes are lost. */
int fileops_sync(int fd);

/* Gives the temporary its name. Nothing to do for files in place. */
int fileops_publish(struct taio_file *file);

/* fsync(2) of the destination's directory, or of the whole file system if that may not be opened. */
int fileops_sync_dir(struct taio_file *file);

/* close(2). An interrupted close has closed. */
int fileops_close(int fd);

/* ---- pieces for TAIO_OP_FILE ------------------------------------------------------------------ */

/* Looks at the old destination: state and to_stat. -EISDIR and so on as above; what cannot be
 * replaced by a temporary (devices) is a success that leaves to_stat.mode as a device's. */
int fileops_look_to(struct taio_file *file);

/* Makes the temporary; the destination must have been looked at, unless it has no name: -EOPNOTSUPP
 * with FILEOPS_TEMP_UNNAMED where the file system has no such files. */
enum fileops_temp {
	FILEOPS_TEMP_ANY,     /* without a name if possible: nothing is left whatever happens */
	FILEOPS_TEMP_UNNAMED, /* or not at all */
	FILEOPS_TEMP_NAMED    /* less work where an old file will be replaced */
};
int fileops_make_temp(struct taio_file *file, enum fileops_temp how);

/* The same for a destination that somebody else looks at and makes: @st: what is at to_path, and no
 * symbolic link; NULL: nothing. Then the mode of an unnamed temporary in its directory; then its
 * descriptor, which is file->to_fd from then on, and closed on failure: -EOPNOTSUPP where such a file
 * cannot be made durable. */
bool fileops_is_unnamed(const struct taio_file *file); /* would it be such a one? */
int fileops_looked_to(struct taio_file *file, const struct stat *st);
mode_t fileops_temp_mode(const struct taio_file *file);
int fileops_made_temp(struct taio_file *file, int fd);

/* TAIO_IN_PLACE: makes the destination as a file that was not there: -EEXIST, with nothing changed, if
 * it was (or is a link). to_fs is not set. */
int fileops_make_in_place(struct taio_file *file);

/* Notes where a step failed, and returns @error. */
int fileops_fail(struct taio_file *file, unsigned int step, int error);

void fileops_keep_stat(const struct stat *st, struct taio_stat *ret_stat);

#endif /* TAIO_DRIVERS_FILEOPS_H */
