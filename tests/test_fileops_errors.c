/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_fileops_errors.c: what can go wrong between two files (drivers/fileops.h): each case gives
 * one errno and the step that failed, leaves an old destination as it was and nothing behind.
 */
#include "file_rig.h"

#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#define SMALL     5000
#define LARGE     (600 * 1024)
#define NOBODY_ID 65534

/* In every way @from to @to is @error at @step, and the directory has as many names as before. */
static void refused(struct rig *rig, const char *from, const char *to, uint32_t flags, int error,
		    unsigned int step)
{
	unsigned int names = rig_count(rig), fds = rig_descriptors();

	rig_for_each_way(way)
	{
		int64_t rc = rig_copy(rig, way, from, to, flags);

		cr_assert_eq(rc, error, "%s > %s: %lld instead of %d", from, to, (long long)rc,
			     error);
		cr_assert_eq(rig->record.failed_step, step, "%s > %s failed at step %u", from, to,
			     rig->record.failed_step);
		cr_assert_eq(rig_count(rig), names);
		cr_assert_eq(rig_descriptors(), fds);
	}
}

Test(fileops_errors, what_is_missing_is_reported_with_its_side)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	refused(&rig, "nothing", "to", 0, -ENOENT, TAIO_STEP_OPEN_FROM);
	refused(&rig, "from/below", "to", 0, -ENOTDIR, TAIO_STEP_OPEN_FROM);
	refused(&rig, "from", "nowhere/to", 0, -ENOENT, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "from/to", 0, -ENOTDIR, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "nowhere/to", TAIO_IN_PLACE, -ENOENT, TAIO_STEP_OPEN_TO);
	rig_close(&rig);
}

Test(fileops_errors, directory_is_refused_on_both_sides)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(mkdir(rig_path(&rig, "dir"), 0755), 0);
	cr_assert_eq(symlink("dir", rig_path(&rig, "link")), 0);
	refused(&rig, "dir", "to", 0, -EISDIR, TAIO_STEP_OPEN_FROM);
	refused(&rig, "from", "dir", 0, -EISDIR, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "link", 0, -EISDIR, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "dir", TAIO_IN_PLACE, -EISDIR, TAIO_STEP_OPEN_TO);
	rig_close(&rig);
}

Test(fileops_errors, fifo_and_socket_are_refused_without_hanging, .timeout = 20)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct rig rig;
	int fd;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(mkfifo(rig_path(&rig, "fifo"), 0644), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", rig.dir);
	cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	alarm(10);
	refused(&rig, "fifo", "to", 0, -EOPNOTSUPP, TAIO_STEP_OPEN_FROM);
	refused(&rig, "from", "fifo", 0, -EOPNOTSUPP, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "fifo", TAIO_IN_PLACE, -EOPNOTSUPP, TAIO_STEP_OPEN_TO);
	refused(&rig, "socket", "to", 0, -EOPNOTSUPP, TAIO_STEP_OPEN_FROM);
	refused(&rig, "from", "socket", 0, -EOPNOTSUPP, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "socket", TAIO_IN_PLACE, -EOPNOTSUPP, TAIO_STEP_OPEN_TO);
	cr_assert(S_ISFIFO(rig_stat(&rig, "fifo").st_mode));
	alarm(0);
	close(fd);
	rig_close(&rig);
}

Test(fileops_errors, same_file_is_refused_under_each_of_its_names)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(link(rig_path(&rig, "from"), rig_path(&rig, "hard")), 0);
	cr_assert_eq(symlink("from", rig_path(&rig, "soft")), 0);
	refused(&rig, "from", "from", 0, -EINVAL, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "hard", 0, -EINVAL, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "soft", 0, -EINVAL, TAIO_STEP_OPEN_TO);
	refused(&rig, "soft", "from", 0, -EINVAL, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "from", TAIO_IN_PLACE, -EINVAL, TAIO_STEP_OPEN_TO);
	cr_assert(rig_is(&rig, "from", SMALL, 1), "not even in place");
	rig_make(&rig, "from", LARGE, 2, 0644);
	refused(&rig, "from", "hard", 0, -EINVAL, TAIO_STEP_OPEN_TO);
	cr_assert(rig_is(&rig, "hard", LARGE, 2));
	rig_close(&rig);
}

Test(fileops_errors, no_clobber_leaves_whatever_is_there)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_make(&rig, "to", 10, 9, 0644);
	cr_assert_eq(symlink("nothing", rig_path(&rig, "dangling")), 0);
	refused(&rig, "from", "to", TAIO_NO_CLOBBER, -EEXIST, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "dangling", TAIO_NO_CLOBBER, -EEXIST, TAIO_STEP_OPEN_TO);
	refused(&rig, "from", "to", TAIO_NO_CLOBBER | TAIO_IN_PLACE, -EEXIST, TAIO_STEP_OPEN_TO);
	cr_assert(rig_is(&rig, "to", 10, 9));
	/* It came after the destination was looked at. */
	rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, "late"), TAIO_NO_CLOBBER);
	cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
	cr_assert_eq(rig_open_side(&rig, 1, 0), 0);
	rig_make(&rig, "late", 10, 9, 0644);
	cr_assert_eq(rig_rest(&rig, 0), -EEXIST);
	cr_assert_eq(rig.record.failed_step, TAIO_STEP_PUBLISH);
	fileops_abort(&rig.record);
	cr_assert(rig_is(&rig, "late", 10, 9));
	cr_assert_eq(rig_count(&rig), 4);
	rig_close(&rig);
}

static void make_late(const struct rig *rig, unsigned int what)
{
	const char *path = rig_path(rig, "late");

	switch (what) {
	case 0:
		rig_make(rig, "late", 10, 9, 0644);
		break;
	case 1:
		cr_assert_eq(mkdir(path, 0755), 0);
		break;
	case 2:
		cr_assert_eq(mkfifo(path, 0644), 0);
		break;
	default:
		cr_assert_eq(symlink("from", path), 0);
		break;
	}
}

Test(fileops_errors, name_that_appears_meanwhile_is_replaced_only_if_it_is_a_file)
{
	static const int64_t says[] = { SMALL, -EISDIR, -EEXIST, -EEXIST };
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	for (unsigned int n = 0; n < 8; n++) {
		unsigned int what = n % 4;

		rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, "late"), 0);
		cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
		cr_assert_eq(fileops_look_to(&rig.record), 0);
		cr_assert_eq(fileops_make_temp(&rig.record,
					       n < 4 ? FILEOPS_TEMP_ANY : FILEOPS_TEMP_NAMED),
			     0);
		make_late(&rig, what);
		cr_assert_eq(rig_rest(&rig, 0), says[what], "case %u", n);
		fileops_abort(&rig.record);
		cr_assert_eq(rig_count(&rig), 2);
		if (what == 0)
			cr_assert(rig_is(&rig, "late", SMALL, 1));
		cr_assert_eq(remove(rig_path(&rig, "late")), 0);
	}
	cr_assert(rig_is(&rig, "from", SMALL, 1));
	rig_close(&rig);
}

Test(fileops_errors, destination_that_vanishes_meanwhile_is_made_anew)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_make(&rig, "to", 10, 9, 0640);
	rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, "to"), 0);
	cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
	cr_assert_eq(rig_open_side(&rig, 1, 0), 0);
	unlink(rig_path(&rig, "to"));
	cr_assert_eq(rig_rest(&rig, 0), SMALL);
	fileops_abort(&rig.record);
	cr_assert(rig_is(&rig, "to", SMALL, 1));
	/* Whether its group bits were a mask of an ACL cannot be known any more. */
	cr_assert_eq(rig_stat(&rig, "to").st_mode & 0777, 0600);
	cr_assert_eq(rig_count(&rig), 2);
	rig_close(&rig);
}

/* ---- no permission ------------------------------------------------------------------------------- */

static void work_as_nobody(struct rig *rig)
{
	if (geteuid() == 0)
		rig_must(setgroups(0, NULL) == 0 && setgid(NOBODY_ID) == 0 &&
			 setuid(NOBODY_ID) == 0);
	rig_for_each_way(way)
	{
		rig_must(rig_copy(rig, way, "secret", "open/to", 0) == -EACCES);
		rig_must(rig->record.failed_step == TAIO_STEP_OPEN_FROM);
		rig_must(rig_copy(rig, way, "from", "shut/to", 0) == -EACCES);
		rig_must(rig->record.failed_step == TAIO_STEP_OPEN_TO);
		/* The directory would allow it, the file does not. */
		rig_must(rig_copy(rig, way, "from", "open/kept", 0) == -EACCES);
		rig_must(rig->record.failed_step == TAIO_STEP_OPEN_TO);
		rig_must(rig_copy(rig, way, "from", "open/kept", TAIO_IN_PLACE) == -EACCES);
		rig_must(rig_is(rig, "open/kept", 10, 9));
		rig_must(rig_copy(rig, way, "from", "open/new", TAIO_DURABLE) == SMALL);
		rig_must(rig_copy(rig, way, "from", "open/new", TAIO_PRESERVE) == SMALL);
		rig_must(rig_stat(rig, "open/new").st_uid == geteuid());
		rig_must((rig_stat(rig, "open/new").st_mode & 07777) == 0755);
		rig_must(unlink(rig_path(rig, "open/new")) == 0);
		/* One may enter the directory and write in it, but not read it: fsync(2) of it
		 * is not possible. */
		rig_must(rig_copy(rig, way, "from", "dark/new", TAIO_DURABLE) == SMALL);
		rig_must(rig_copy(rig, way, "from", "dark/new", TAIO_DURABLE) == SMALL);
		rig_must(unlink(rig_path(rig, "dark/new")) == 0);
	}
}

Test(fileops_errors, missing_permission_is_reported_and_nothing_else_happens)
{
	struct rig rig;

	rig_open(&rig);
	if (geteuid() != 0) {
		rig_close(&rig);
		cr_skip_test("only root can make files that are not its own");
	}
	rig_make(&rig, "secret", SMALL, 1, 0600);
	rig_make(&rig, "from", SMALL, 1, 04755);
	cr_assert_eq(mkdir(rig_path(&rig, "open"), 0700), 0);
	cr_assert_eq(chmod(rig_path(&rig, "open"), 0777), 0);
	cr_assert_eq(mkdir(rig_path(&rig, "dark"), 0700), 0);
	cr_assert_eq(chmod(rig_path(&rig, "dark"), 0733), 0);
	cr_assert_eq(mkdir(rig_path(&rig, "shut"), 0755), 0);
	rig_make(&rig, "open/kept", 10, 9, 0644);
	rig_in_child(work_as_nobody(&rig));
	cr_assert_eq(rig_count(&rig), 5);
	rig_close(&rig);
}

/* ---- a full disk --------------------------------------------------------------------------------- */

static void work_on_full_disk(struct rig *outer)
{
	struct rig rig;

	rig_must(mount("none", outer->dir, "tmpfs", 0, "size=1m") == 0);
	rig_open_in(&rig, outer->dir);
	rig_make(&rig, "from", 400 * 1024, 1, 0644);
	rig_make(&rig, "large", 540 * 1024, 2, 0644);
	rig_make(&rig, "to", 10, 9, 0644);
	rig_for_each_way(way)
	{
		rig_must(rig_copy(&rig, way, "from", "to", 0) == -ENOSPC);
		rig_must(rig.record.failed_step == TAIO_STEP_WRITE);
		rig_must(rig_copy(&rig, way, "from", "new", TAIO_DURABLE) == -ENOSPC);
		rig_must(rig_copy(&rig, way, "large", "to", 0) == -ENOSPC);
		rig_must(rig_is(&rig, "to", 10, 9));
		rig_must(rig_count(&rig) == 3);
	}
	/* And all of it is free again. */
	unlink(rig_path(&rig, "large"));
	rig_must(rig_copy(&rig, RIG_FILE, "from", "to", 0) == 400 * 1024);
	rig_close(&rig);
	rig_must(umount(outer->dir) == 0);
}

Test(fileops_errors, full_disk_leaves_the_old_destination_and_no_temporary)
{
	struct rig rig;

	rig_open(&rig);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		rig_close(&rig);
		cr_skip_test("no file system can be mounted here: %s", strerror(errno));
	}
	rig_in_child(work_on_full_disk(&rig));
	rig_close(&rig);
}

static void work_with_file_limit(struct rig *rig, int failing)
{
	static const struct {
		unsigned int nr, arg;
		uint32_t mask;
	} calls[] = {
		{ SYS_pread64, 0, 0 },    { SYS_pwrite64, 0, 0 }, { SYS_fsync, 0, 0 },
		{ SYS_linkat, 0, 0 },     { SYS_rename, 0, 0 },   { SYS_fchmod, 0, 0 },
		{ SYS_newfstatat, 0, 0 }, { SYS_fstat, 0, 0 },
	};

	if (failing == (int)(sizeof(calls) / sizeof(calls[0])))
		_exit(77);
	rig_forbid(calls[failing].nr, calls[failing].arg, calls[failing].mask, EIO);
	rig_for_each_way(way)
	{
		int64_t rc = rig_copy(rig, way, "from", "to", TAIO_DURABLE);

		/* A call that this way does not need may fail as it likes. */
		rig_must(rc == -EIO || rc == SMALL);
		rig_must(rc == SMALL || rig->record.failed_step != 0);
	}
}

Test(fileops_errors, any_system_call_may_fail_and_nothing_is_torn_or_left)
{
	struct rig rig;
	unsigned int failures = 0;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	for (int failing = 0;; failing++) {
		int status;
		pid_t pid;

		rig_make(&rig, "to", 10, 9, 0640);
		pid = fork();
		cr_assert(pid >= 0);
		if (pid == 0) {
			work_with_file_limit(&rig, failing);
			_exit(0);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert(WIFEXITED(status), "status %#x", (unsigned int)status);
		if (WEXITSTATUS(status) == 77)
			break;
		cr_assert_eq(WEXITSTATUS(status), 0, "call %d of the list", failing);
		failures += rig_is(&rig, "to", 10, 9);
		cr_assert(rig_is(&rig, "to", 10, 9) || rig_is(&rig, "to", SMALL, 1));
		cr_assert_eq(rig_count(&rig), 2, "call %d of the list left something", failing);
		unlink(rig_path(&rig, "to"));
	}
	cr_assert_geq(failures, 5, "only %u of the calls were needed", failures);
	rig_close(&rig);
}

/* ---- sources that are not what they seem --------------------------------------------------------- */

Test(fileops_errors, files_that_do_not_know_their_size_arrive_whole)
{
	struct rig rig;
	char command[512];

	rig_open(&rig);
	rig_for_each_way(way)
	{
		int64_t n = rig_copy(&rig, way, "/proc/filesystems", "to", 0);

		cr_assert_gt(n, 0);
		cr_assert_eq(rig_stat(&rig, "to").st_size, n);
		snprintf(command, sizeof(command), "cmp /proc/filesystems %s/to", rig.dir);
		cr_assert_eq(system(command), 0);
		unlink(rig_path(&rig, "to"));
	}
	rig_close(&rig);
}

struct flicker {
	int fd;
	_Atomic int stop;
};

/* Cuts the file and makes it long again, always with the same content. */
static void *flicker(void *arg)
{
	struct flicker *f = arg;
	static uint8_t data[LARGE];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = rig_byte(i, 1);
	for (unsigned int i = 0; !f->stop; i++) {
		(void)!ftruncate(f->fd, i * 7919 % 100000);
		(void)!pwrite(f->fd, data, i * 104729 % 100000 + 1, 0);
	}
	return NULL;
}

Test(fileops_errors, source_that_changes_its_length_gives_a_true_beginning)
{
	struct flicker f = { 0 };
	pthread_t thread;
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", 50000, 1, 0644);
	f.fd = open(rig_path(&rig, "from"), O_RDWR);
	cr_assert_eq(pthread_create(&thread, NULL, flicker, &f), 0);
	for (unsigned int i = 0; i < 500; i++) {
		int64_t n = rig_copy(&rig, i % RIG_WAYS, "from", "to", TAIO_NO_SPARSE);
		struct stat st = rig_stat(&rig, "to");
		uint8_t *data = malloc((size_t)st.st_size + 1);
		int fd = open(rig_path(&rig, "to"), O_RDONLY);

		cr_assert_geq(n, 0, "%lld", (long long)n);
		cr_assert_eq(n, st.st_size);
		cr_assert(fd >= 0 && data);
		cr_assert_eq(read(fd, data, (size_t)st.st_size), st.st_size);
		/* A stretch that was cut and not yet written again reads as zeros. */
		for (off_t at = 0; at < st.st_size; at++)
			cr_assert(data[at] == rig_byte((uint64_t)at, 1) || data[at] == 0);
		close(fd);
		free(data);
		cr_assert_eq(rig_count(&rig), 2);
	}
	f.stop = 1;
	pthread_join(thread, NULL);
	close(f.fd);
	rig_close(&rig);
}

/* The null device of this test. Who is root uses one of his own: a driver that is wrong about devices
 * would replace the real one. */
static const char *null_device(const struct rig *rig)
{
	int fd;

	if (geteuid() != 0)
		return "/dev/null";
	if (mknod(rig_path(rig, "null"), S_IFCHR | 0666, makedev(1, 3)) != 0)
		return NULL;
	fd = open(rig_path(rig, "null"), O_WRONLY);
	if (fd < 0)
		return NULL;
	close(fd);
	return "null";
}

Test(fileops_errors, devices_are_opened_as_what_they_are)
{
	const char *null;
	struct rig rig;

	rig_open(&rig);
	null = null_device(&rig);
	if (!null) {
		rig_close(&rig);
		cr_skip_test("no device node can be made or used here: %s", strerror(errno));
	}
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(symlink(null, rig_path(&rig, "link")), 0);
	rig_for_each_way(way)
	{
		cr_assert_eq(rig_copy(&rig, way, "from", null, 0), SMALL);
		cr_assert_eq(rig.record.to_kind, TAIO_KIND_PIPE);
		cr_assert_eq(rig_copy(&rig, way, "from", "link", 0), SMALL);
		cr_assert_eq(rig.record.to_kind, TAIO_KIND_PIPE);
		cr_assert_eq(rig_copy_at(&rig, way, "/dev/zero", "to", 0, 0, 4096, 0), 4096);
		cr_assert_eq(rig.record.from_kind, TAIO_KIND_PIPE);
		cr_assert_eq(rig.record.size, UINT64_MAX);
		cr_assert_eq(rig_stat(&rig, "to").st_size, 4096);
		unlink(rig_path(&rig, "to"));
	}
	if (*null != '/')
		cr_assert(S_ISCHR(rig_stat(&rig, null).st_mode));
	cr_assert(S_ISLNK(rig_stat(&rig, "link").st_mode));
	rig_close(&rig);
}

Test(fileops_errors, abort_is_harmless_in_every_state)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	for (unsigned int stop = 0; stop < 5; stop++) {
		rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, "to"), 0);
		if (stop > 0)
			cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
		if (stop > 1)
			cr_assert_eq(rig_open_side(&rig, 1, 0), 0);
		if (stop > 2)
			cr_assert_eq(rig_control(&rig, TAIO_OP_META, 0), 0);
		if (stop > 3)
			cr_assert_eq(rig_control(&rig, TAIO_OP_PUBLISH, 0), 0);
		fileops_abort(&rig.record);
		cr_assert(rig.record.from_fd == -1 && rig.record.to_fd == -1);
		cr_assert_eq(rig_exists(&rig, "to"), stop > 3, "what was published stays");
		cr_assert_eq(rig_count(&rig), 1 + (stop > 3));
	}
	rig_close(&rig);
}

Test(fileops_errors, file_system_is_known_by_name)
{
	int proc = open("/proc/self/status", O_RDONLY), shm;
	struct stat st;
	struct rig rig;

	rig_open(&rig);
	cr_assert_eq(fstat(proc, &st), 0);
	cr_assert_eq(fileops_fs_of(proc, st.st_dev), TAIO_FS_OTHER);
	cr_assert_eq(fileops_fs_of(-1, st.st_dev), TAIO_FS_OTHER, "remembered");
	close(proc);
	shm = open("/dev/shm", O_RDONLY | O_DIRECTORY);
	if (shm >= 0 && fstat(shm, &st) == 0) {
		cr_assert_eq(fileops_fs_of(shm, st.st_dev), TAIO_FS_TMPFS);
		cr_assert_eq(fileops_fs_of(-1, st.st_dev), TAIO_FS_TMPFS, "remembered");
		close(shm);
	}
	rig_close(&rig);
}
