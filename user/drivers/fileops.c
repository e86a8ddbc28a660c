/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * fileops.c: opening the two files of a request, what is found out about them, and mode, ACL, owner
 * and times; see fileops.h. Temporaries and their names are in filetemp.c.
 */
#include "drivers/fileops.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "drivers/filetemp.h"
#include "taio.h"

#define FILEOPS_ACL       "system.posix_acl_access"
#define FILEOPS_ACL_BYTES 1024          /* about 120 entries */
#define FILEOPS_AHEAD     (1024 * 1024) /* from here on reading further ahead pays for the call */
#define FILEOPS_MODE      0777          /* what cp(1) takes over into a new file */

int fileops_fail(struct taio_file *file, unsigned int step, int error)
{
	file->failed_step = (uint8_t)step;
	return error;
}

void fileops_keep_stat(const struct stat *st, struct taio_stat *ret_stat)
{
	*ret_stat = (struct taio_stat){ .dev = st->st_dev,
					.ino = st->st_ino,
					.size = (uint64_t)st->st_size,
					.blocks = (uint64_t)st->st_blocks,
					.mode = st->st_mode,
					.nlink = (uint32_t)st->st_nlink,
					.uid = st->st_uid,
					.gid = st->st_gid,
					.atime = st->st_atim,
					.mtime = st->st_mtim };
}

/* ---- file systems ------------------------------------------------------------------------------- */

#define FILEOPS_FS_KNOWN 32

/* Which file system a device number is; the same for the whole process. An entry holds number plus
 * 1 and enum taio_fs. A number that is used again after an unmount gives a wrong price, no more. */
static _Atomic uint64_t fileops_fs_known[FILEOPS_FS_KNOWN];

static enum taio_fs fileops_fs_by_magic(uint64_t magic)
{
	switch (magic) {
	case EXT4_SUPER_MAGIC:
		return TAIO_FS_EXT;
	case TMPFS_MAGIC:
		return TAIO_FS_TMPFS;
	case XFS_SUPER_MAGIC:
		return TAIO_FS_XFS;
	case BTRFS_SUPER_MAGIC:
		return TAIO_FS_BTRFS;
	case OVERLAYFS_SUPER_MAGIC:
		return TAIO_FS_OVERLAY;
	case NFS_SUPER_MAGIC:
	case SMB_SUPER_MAGIC:
	case CIFS_SUPER_MAGIC:
	case SMB2_SUPER_MAGIC:
	case FUSE_SUPER_MAGIC:
	case V9FS_MAGIC:
	case CEPH_SUPER_MAGIC:
	case AFS_SUPER_MAGIC:
	case CODA_SUPER_MAGIC:
		return TAIO_FS_NET;
	default:
		return TAIO_FS_OTHER;
	}
}

int fileops_fs_of(int fd, uint64_t dev)
{
	_Atomic uint64_t *entry = &fileops_fs_known[(dev ^ dev >> 8) % FILEOPS_FS_KNOWN];
	uint64_t known = atomic_load_explicit(entry, memory_order_relaxed);
	struct statfs fs;
	enum taio_fs kind;

	if (known >> 8 == dev + 1)
		return (int)(known & 0xff);
	if (fstatfs(fd, &fs) < 0)
		return TAIO_FS_OTHER;
	kind = fileops_fs_by_magic((uint64_t)(unsigned long)fs.f_type & 0xffffffff);
	atomic_store_explicit(entry, (dev + 1) << 8 | kind, memory_order_relaxed);
	return (int)kind;
}

/* ---- source ------------------------------------------------------------------------------------- */

static bool fileops_may_read(mode_t mode, int *ret_error)
{
	*ret_error = S_ISDIR(mode) ? -EISDIR : -EOPNOTSUPP;
	return S_ISREG(mode) || S_ISBLK(mode) || S_ISCHR(mode);
}

/* What the open source with its from_stat is. */
static int fileops_know_from(struct taio_file *file)
{
	const mode_t mode = file->from_stat.mode;
	int fd = file->from_fd, error;

	if (!fileops_may_read(mode, &error))
		return error;
	file->from_kind = S_ISCHR(mode) ? TAIO_KIND_PIPE : TAIO_KIND_FILE;
	file->from_fs = TAIO_FS_NONE;
	file->size = UINT64_MAX;
	if (S_ISREG(mode)) {
		file->from_fs = (uint8_t)fileops_fs_of(fd, file->from_stat.dev);
		file->size = file->from_stat.size;
		if (file->size >= FILEOPS_AHEAD && file->from_fs != TAIO_FS_TMPFS)
			(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	} else if (S_ISBLK(mode)) {
		file->from_fs = TAIO_FS_OTHER;
		if (ioctl(fd, BLKGETSIZE64, &file->size) < 0)
			return -errno;
	}
	/* Opened so as not to hang on a FIFO; a ring would take it for "never wait for the disk",
	 * and files that know no size may be ones that wait. */
	if (S_ISREG(mode) && file->from_stat.size > 0)
		file->state |= TAIO_FILE_FROM_NONBLOCK;
	else if (!S_ISCHR(mode))
		(void)fcntl(fd, F_SETFL, 0);
	return 0;
}

int fileops_looked_at_from(struct taio_file *file)
{
	int error = fileops_know_from(file);

	if (!error)
		return 0;
	close(file->from_fd);
	file->from_fd = -1;
	return fileops_fail(file, TAIO_STEP_OPEN_FROM, error);
}

int fileops_looked_from(struct taio_file *file, int fd, const struct stat *st)
{
	assert(fd >= 0 && file->from_fd < 0);
	fileops_keep_stat(st, &file->from_stat);
	file->from_fd = fd;
	return fileops_looked_at_from(file);
}

int fileops_opened_from(struct taio_file *file, int fd)
{
	struct stat st;
	int error;

	if (fstat(fd, &st) == 0)
		return fileops_looked_from(file, fd, &st);
	error = -errno;
	close(fd);
	return fileops_fail(file, TAIO_STEP_OPEN_FROM, error);
}

/* The file has a lease (a file server's oplock): opening it without waiting is refused. */
static int fileops_open_leased(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EOPNOTSUPP;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int fileops_open_source(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd >= 0)
		return fd;
	if (errno == EAGAIN)
		return fileops_open_leased(path);
	if (errno == ENXIO) { /* a socket's name, or a device that is not there */
		struct stat st;

		return stat(path, &st) == 0 && S_ISSOCK(st.st_mode) ? -EOPNOTSUPP : -ENXIO;
	}
	return -errno;
}

int fileops_open_from(struct taio_file *file)
{
	int fd = fileops_open_source(file->from_path);

	return fd < 0 ? fileops_fail(file, TAIO_STEP_OPEN_FROM, fd) : fileops_opened_from(file, fd);
}

/* ---- destination -------------------------------------------------------------------------------- */

static bool fileops_is_source(const struct taio_file *file, const struct stat *st)
{
	return file->from_stat.ino && file->from_stat.ino == st->st_ino &&
	       file->from_stat.dev == st->st_dev;
}

/* What is there already: may it be replaced or written? */
static int fileops_judge_to(const struct taio_file *file, const char *path, const struct stat *st)
{
	if (file->flags & TAIO_NO_CLOBBER)
		return -EEXIST;
	if (S_ISDIR(st->st_mode))
		return -EISDIR;
	if (S_ISFIFO(st->st_mode) || S_ISSOCK(st->st_mode))
		return -EOPNOTSUPP;
	if (fileops_is_source(file, st))
		return -EINVAL;
	if (S_ISREG(st->st_mode) && geteuid() != 0 &&
	    faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
		return -errno;
	return 0;
}

static int fileops_found_to(struct taio_file *file, const char *path, const struct stat *st)
{
	int rc = fileops_judge_to(file, path, st);

	if (rc)
		return fileops_fail(file, TAIO_STEP_OPEN_TO, rc);
	file->state |= TAIO_FILE_TO_EXISTED;
	fileops_keep_stat(st, &file->to_stat);
	return 0;
}

int fileops_look_to(struct taio_file *file)
{
	char room[PATH_MAX];
	const char *path = file->to_path;
	struct stat st;
	int rc;

	file->state &= ~(uint32_t)(TAIO_FILE_TO_EXISTED | FILEOPS_TO_LINK);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : fileops_fail(file, TAIO_STEP_OPEN_TO, -errno);
	if (S_ISLNK(st.st_mode)) {
		file->state |= FILEOPS_TO_LINK;
		path = filetemp_target(file, room);
		if (!path || lstat(path, &st) < 0) {
			rc = file->flags & TAIO_NO_CLOBBER ? -EEXIST : -errno;
			return fileops_fail(file, TAIO_STEP_OPEN_TO, rc);
		}
	}
	return fileops_found_to(file, path, &st);
}

int fileops_looked_to(struct taio_file *file, const struct stat *st)
{
	file->state &= ~(uint32_t)(TAIO_FILE_TO_EXISTED | FILEOPS_TO_LINK);
	return st ? fileops_found_to(file, file->to_path, st) : 0;
}

/* The mode of a file that did not exist, before the umask. */
static mode_t fileops_new_mode(const struct taio_file *file)
{
	return file->from_stat.mode ? file->from_stat.mode & FILEOPS_MODE : 0666;
}

static bool fileops_is_final_mode(const struct taio_file *file)
{
	return !(file->state & TAIO_FILE_TO_EXISTED) && !(file->flags & TAIO_PRESERVE);
}

mode_t fileops_temp_mode(const struct taio_file *file)
{
	return fileops_is_final_mode(file) ? fileops_new_mode(file) : 0600;
}

static void fileops_take_temp(struct taio_file *file, int fd)
{
	if (fileops_is_final_mode(file))
		file->state |= FILEOPS_FINAL_MODE;
	file->state |= TAIO_FILE_TEMP;
	file->to_fd = fd;
	file->to_kind = TAIO_KIND_FILE;
}

int fileops_make_temp(struct taio_file *file, enum fileops_temp how)
{
	int fd = filetemp_make(file, fileops_temp_mode(file), how);

	if (fd < 0)
		return fileops_fail(file, TAIO_STEP_OPEN_TO, fd);
	fileops_take_temp(file, fd);
	return 0;
}

bool fileops_is_unnamed(const struct taio_file *file)
{
	return file->to_path && !(file->flags & TAIO_IN_PLACE) && filetemp_can_link();
}

int fileops_made_temp(struct taio_file *file, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0) {
		int error = -errno;

		close(fd);
		return fileops_fail(file, TAIO_STEP_OPEN_TO, error);
	}
	file->to_fs = (uint8_t)fileops_fs_of(fd, st.st_dev);
	if ((file->flags & TAIO_DURABLE) && !filetemp_syncs_unnamed(fd)) {
		close(fd);
		return -EOPNOTSUPP;
	}
	file->temp_name[0] = '\0';
	fileops_take_temp(file, fd);
	return 0;
}

int fileops_make_in_place(struct taio_file *file)
{
	int fd = open(file->to_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
		      fileops_new_mode(file));

	if (fd < 0)
		return fileops_fail(file, TAIO_STEP_OPEN_TO, -errno);
	file->to_fd = fd;
	file->to_kind = TAIO_KIND_FILE;
	return 0;
}

/* Opens the file itself: in place, or a device. */
static int fileops_open_in_place(struct taio_file *file, uint64_t offset)
{
	bool device = file->state & TAIO_FILE_TO_EXISTED;
	int flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, fd, error = 0;
	struct stat st;

	if (!device)
		flags |= O_CREAT | (file->flags & TAIO_NO_CLOBBER ? O_EXCL : 0);
	fd = open(file->to_path, flags, fileops_new_mode(file));
	if (fd < 0) /* ENXIO: a socket's name, or a FIFO that nobody reads */
		return fileops_fail(file, TAIO_STEP_OPEN_TO, errno == ENXIO ? -EOPNOTSUPP : -errno);
	if (fstat(fd, &st) < 0)
		error = -errno;
	else if (S_ISFIFO(st.st_mode) || (device && S_ISREG(st.st_mode)))
		error = -EOPNOTSUPP;
	else if (!S_ISCHR(st.st_mode) && fileops_is_source(file, &st))
		error = -EINVAL;
	else if (S_ISREG(st.st_mode) && offset == 0 && st.st_size > 0) {
		file->state |= TAIO_FILE_TO_EXISTED;
		if (ftruncate(fd, 0) < 0)
			error = -errno;
	}
	if (error) {
		close(fd);
		return fileops_fail(file, TAIO_STEP_OPEN_TO, error);
	}
	file->to_kind = S_ISCHR(st.st_mode) ? TAIO_KIND_PIPE : TAIO_KIND_FILE;
	file->to_fs = S_ISREG(st.st_mode)               ? (uint8_t)fileops_fs_of(fd, st.st_dev)
		      : file->to_kind == TAIO_KIND_FILE ? TAIO_FS_OTHER
							: TAIO_FS_NONE;
	if (file->to_kind == TAIO_KIND_FILE)
		(void)fcntl(fd, F_SETFL, 0);
	file->to_fd = fd;
	return 0;
}

int fileops_open_to(struct taio_file *file, uint64_t offset)
{
	struct stat st;
	int rc;

	assert(file->to_path && file->to_fd < 0);
	if (file->flags & TAIO_IN_PLACE)
		return fileops_open_in_place(file, offset);
	rc = fileops_look_to(file);
	if (rc)
		return rc;
	if ((file->state & TAIO_FILE_TO_EXISTED) && !S_ISREG(file->to_stat.mode))
		return fileops_open_in_place(file, offset);
	rc = fileops_make_temp(file, FILEOPS_TEMP_ANY);
	if (rc)
		return rc;
	file->to_fs = fstat(file->to_fd, &st) == 0 ? (uint8_t)fileops_fs_of(file->to_fd, st.st_dev)
						   : TAIO_FS_OTHER;
	return 0;
}

/* ---- mode, ACL, owner, times -------------------------------------------------------------------- */

/* Return: the owner of @fd is the wanted one now. */
static bool fileops_set_owner(int fd, const struct stat *st, const struct taio_stat *want)
{
	if (st->st_uid == want->uid && st->st_gid == want->gid)
		return true;
	if (fchown(fd, want->uid, want->gid) == 0)
		return true;
	/* Not root: perhaps at least the group, if it is one of ours. */
	(void)!fchown(fd, (uid_t)-1, want->gid);
	return false;
}

/* Gives @fd the access ACL of the model, or none if that has none: a default ACL of the directory
 * must not let more people in than the model did. Return: false: it could not be copied. */
static bool fileops_set_acl(const struct taio_file *file)
{
	char acl[FILEOPS_ACL_BYTES], room[PATH_MAX];
	const char *path;
	ssize_t n;

	if (file->flags & TAIO_PRESERVE) {
		n = fgetxattr(file->from_fd, FILEOPS_ACL, acl, sizeof(acl));
	} else {
		path = filetemp_target(file, room);
		n = path ? getxattr(path, FILEOPS_ACL, acl, sizeof(acl)) : -1;
	}
	if (n > 0)
		return fsetxattr(file->to_fd, FILEOPS_ACL, acl, (size_t)n, 0) == 0;
	if (errno != ENODATA && errno != EOPNOTSUPP)
		return false;
	return fremovexattr(file->to_fd, FILEOPS_ACL) == 0 || errno == ENODATA ||
	       errno == EOPNOTSUPP;
}

/* Makes to_fd look like @model. */
static int fileops_resemble(struct taio_file *file, const struct taio_stat *model)
{
	mode_t mode = model->mode & 07777;
	struct stat st;

	if (fstat(file->to_fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	if (!fileops_set_owner(file->to_fd, &st, model))
		mode &= ~(mode_t)(S_ISUID | S_ISGID); /* they would be somebody else's */
	if (!fileops_set_acl(file))
		mode &= ~(mode_t)S_IRWXG; /* was a mask, not the group's rights */
	if (fchmod(file->to_fd, mode) < 0)
		return -errno;
	return 0;
}

int fileops_meta(struct taio_file *file)
{
	bool preserve = (file->flags & TAIO_PRESERVE) && file->from_stat.mode;
	int rc = 0;

	if (file->to_fd < 0 || file->to_kind != TAIO_KIND_FILE)
		return 0;
	if (preserve) {
		const struct timespec times[2] = { file->from_stat.atime, file->from_stat.mtime };

		rc = fileops_resemble(file, &file->from_stat);
		if (rc == 0 && futimens(file->to_fd, times) < 0)
			rc = -errno;
	} else if (!(file->state & TAIO_FILE_TEMP)) {
		return 0;
	} else if (file->state & TAIO_FILE_TO_EXISTED) {
		rc = fileops_resemble(file, &file->to_stat);
	} else if (!(file->state & FILEOPS_FINAL_MODE) &&
		   fchmod(file->to_fd, fileops_new_mode(file) & ~file->umask) < 0) {
		rc = -errno;
	}
	return rc ? fileops_fail(file, TAIO_STEP_META, rc) : 0;
}
