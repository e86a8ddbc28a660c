/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * file_rig.h: what the tests of the control steps on files share: a directory that goes away again,
 * files with known content, and a copy by name in the two ways in which an engine does it: the
 * steps one by one on `sys`, or all at once on `file`. No engine is involved.
 */
#ifndef TESTS_FILE_RIG_H
#define TESTS_FILE_RIG_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/fileops.h"
#include "drivers/syncops.h"
#include "taio.h"

enum rig_way {
	RIG_STEPS,      /* OPEN, OPEN, COPY, META, SYNC, PUBLISH, SYNC_DIR, CLOSE, CLOSE */
	RIG_FILE,       /* TAIO_OP_FILE, and what it leaves to the engine */
	RIG_FILE_LOOKS, /* the same, after files that replaced old ones */
	RIG_WAYS
};
#define rig_for_each_way(way) for (enum rig_way way = RIG_STEPS; way < RIG_WAYS; way++)

struct rig {
	char dir[96];
	struct taio_device file, sys, rw;
	struct taio_file record; /* of the last copy */
};

static inline void rig_device(struct taio_device *dev, const struct taio_driver *driver)
{
	memset(dev, 0, sizeof(*dev));
	dev->driver = driver;
	if (driver->open)
		cr_assert_eq(driver->open(dev), 0, "%s", dev->reason);
}

static inline void rig_open_in(struct rig *rig, const char *where)
{
	snprintf(rig->dir, sizeof(rig->dir), "%s/taio-files-XXXXXX", where);
	cr_assert(mkdtemp(rig->dir), "%s", strerror(errno));
	cr_assert_eq(chmod(rig->dir, 0755), 0);
	rig_device(&rig->file, &taio_driver_file);
	rig_device(&rig->sys, &taio_driver_sys);
	rig_device(&rig->rw, &taio_driver_rw);
}

static inline void rig_open(struct rig *rig)
{
	const char *tmp = getenv("TMPDIR");

	rig_open_in(rig, tmp ? tmp : "/tmp");
}

static inline int rig_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void rig_close(struct rig *rig)
{
	taio_driver_file.close(&rig->file);
	taio_driver_rw.close(&rig->rw);
	cr_assert_eq(nftw(rig->dir, rig_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- files -------------------------------------------------------------------------------------- */

/* The path of @name in the rig's directory; four at a time. */
static inline const char *rig_path(const struct rig *rig, const char *name)
{
	static char room[4][512];
	static unsigned int next;
	char *path = room[next++ % 4];

	snprintf(path, sizeof(room[0]), "%s/%s", rig->dir, name);
	return path;
}

static inline uint8_t rig_byte(uint64_t at, unsigned int seed)
{
	return (uint8_t)((at * 2654435761u >> 7) ^ at ^ seed);
}

static inline void rig_make(const struct rig *rig, const char *name, size_t size, unsigned int seed,
			    mode_t mode)
{
	int fd = open(rig_path(rig, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint8_t *data = malloc(size + 1);

	cr_assert(fd >= 0 && data);
	for (size_t i = 0; i < size; i++)
		data[i] = rig_byte(i, seed);
	cr_assert_eq(write(fd, data, size), (ssize_t)size);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
	free(data);
}

/* Is @name that content, to the last byte? */
static inline bool rig_is(const struct rig *rig, const char *name, size_t size, unsigned int seed)
{
	int fd = open(rig_path(rig, name), O_RDONLY);
	uint8_t *data = malloc(size + 2);
	bool same;

	cr_assert(fd >= 0 && data, "%s: %s", name, strerror(errno));
	same = read(fd, data, size + 1) == (ssize_t)size;
	for (size_t i = 0; same && i < size; i++)
		same = data[i] == rig_byte(i, seed);
	close(fd);
	free(data);
	return same;
}

static inline struct stat rig_stat(const struct rig *rig, const char *name)
{
	struct stat st;

	cr_assert_eq(lstat(rig_path(rig, name), &st), 0, "%s: %s", name, strerror(errno));
	return st;
}

static inline bool rig_exists(const struct rig *rig, const char *name)
{
	struct stat st;

	return lstat(rig_path(rig, name), &st) == 0;
}

/* Names in the directory, temporaries included. */
static inline unsigned int rig_count(const struct rig *rig)
{
	DIR *dir = opendir(rig->dir);
	unsigned int n = 0;

	cr_assert(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(dir);
	return n;
}

static inline unsigned int rig_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	cr_assert(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- copies ------------------------------------------------------------------------------------- */

static inline void rig_begin(struct rig *rig, const char *from, const char *to, uint32_t flags)
{
	mode_t mask = umask(0);

	umask(mask);
	memset(&rig->record, 0, sizeof(rig->record));
	rig->record.from_path = from;
	rig->record.to_path = to;
	rig->record.from_fd = rig->record.to_fd = -1;
	rig->record.flags = flags;
	rig->record.umask = mask;
	rig->record.length = TAIO_TO_END;
}

static inline int64_t rig_control(struct rig *rig, uint8_t op, uint64_t to_offset)
{
	struct taio_step step = { .op = op, .file = &rig->record };

	step.from.fd = rig->record.from_fd;
	step.to.fd = rig->record.to_fd;
	step.to.offset = to_offset;
	return taio_driver_sys.run(&rig->sys, &step);
}

static inline int64_t rig_open_side(struct rig *rig, uint8_t side, uint64_t to_offset)
{
	rig->record.side = side;
	return rig_control(rig, TAIO_OP_OPEN, to_offset);
}

/* The transfer and what follows it. */
static inline int64_t rig_rest(struct rig *rig, uint64_t to_offset)
{
	struct taio_file *file = &rig->record;
	uint64_t done = 0;
	int64_t rc;

	while (done < file->length) {
		struct taio_step step = { .op = TAIO_OP_COPY };

		step.from = (struct taio_end){ .kind = (uint8_t)file->from_kind,
					       .fd = file->from_fd,
					       .offset = file->offset + done };
		step.to = (struct taio_end){ .kind = (uint8_t)file->to_kind,
					     .fd = file->to_fd,
					     .offset = to_offset + done };
		step.len = file->length - done < 1 << 20 ? file->length - done : 1 << 20;
		rc = taio_driver_rw.run(&rig->rw, &step);
		if (rc < 0)
			file->failed_step = step.failed_side == 2 ? TAIO_STEP_WRITE
								  : TAIO_STEP_READ;
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		done += (uint64_t)rc;
	}
	rc = rig_control(rig, TAIO_OP_META, 0);
	if (rc == 0 && (file->flags & TAIO_DURABLE))
		rc = rig_control(rig, TAIO_OP_SYNC, 0);
	if (rc == 0)
		rc = rig_control(rig, TAIO_OP_PUBLISH, 0);
	if (rc == 0 && (file->flags & TAIO_DURABLE))
		rc = rig_control(rig, TAIO_OP_SYNC_DIR, 0);
	return rc ? rc : (int64_t)done;
}

/* One copy of @from to @to in the rig's directory (or anywhere, if they begin with a slash).
 * Return: bytes or negative errno; rig->record tells more. */
static inline int64_t rig_copy_at(struct rig *rig, enum rig_way way, const char *from,
				  const char *to, uint32_t flags, uint64_t from_offset,
				  uint64_t length, uint64_t to_offset)
{
	char paths[2][4200];
	struct taio_step step = { .op = TAIO_OP_FILE, .file = &rig->record };
	int64_t rc;

	snprintf(paths[0], sizeof(paths[0]), "%s/%s", *from == '/' ? "" : rig->dir, from);
	snprintf(paths[1], sizeof(paths[1]), "%s/%s", *to == '/' ? "" : rig->dir, to);
	rig_begin(rig, paths[0], paths[1], flags);
	rig->record.offset = from_offset;
	rig->record.length = length;
	step.to.offset = to_offset;
	if (way == RIG_STEPS) {
		rc = rig_open_side(rig, 0, 0);
		if (rc == 0)
			rc = rig_open_side(rig, 1, to_offset);
	} else {
		*syncops_note(&rig->file) = way == RIG_FILE_LOOKS;
		rc = taio_driver_file.run(&rig->file, &step);
		cr_assert_eq(rc, step.result);
	}
	if (rc == 0 && !(rig->record.state & TAIO_FILE_DONE))
		rc = rig_rest(rig, to_offset);
	fileops_abort(&rig->record);
	fileops_abort(&rig->record); /* any number of times */
	rig->record.from_path = rig->record.to_path = NULL;
	return rc;
}

static inline int64_t rig_copy(struct rig *rig, enum rig_way way, const char *from, const char *to,
			       uint32_t flags)
{
	return rig_copy_at(rig, way, from, to, flags, 0, TAIO_TO_END, 0);
}

/* ---- surroundings ------------------------------------------------------------------------------- */

/* Runs @test in a child; asserts hold there, too. Return: whether it ran to its end. */
#define rig_in_child(statement)                                                  \
	do {                                                                     \
		pid_t rig_pid = fork();                                          \
		int rig_status;                                                  \
                                                                                 \
		cr_assert(rig_pid >= 0);                                         \
		if (rig_pid == 0) {                                              \
			statement;                                               \
			_exit(0);                                                \
		}                                                                \
		cr_assert_eq(waitpid(rig_pid, &rig_status, 0), rig_pid);         \
		cr_assert(WIFEXITED(rig_status) && WEXITSTATUS(rig_status) == 0, \
			  "the child said %#x", (unsigned int)rig_status);       \
	} while (0)

/* In a child: criterion's assertions need its own processes. */
#define rig_must(what)                                                                        \
	do {                                                                                  \
		if (!(what)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s (errno %d)\n", __FILE__, __LINE__, \
				#what, errno);                                                \
			_exit(1);                                                             \
		}                                                                             \
	} while (0)

/* From now on this process gets @error for system call @nr if argument @arg has all bits of @mask.
 * So a kernel or file system that lacks something can be had anywhere. */
static inline void rig_forbid(unsigned int nr, unsigned int arg, uint32_t mask, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 (uint32_t)offsetof(struct seccomp_data, args) + arg * 8),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mask, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	rig_must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	rig_must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

#endif /* TESTS_FILE_RIG_H */
