/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_fileops.c: the rules by which a destination file comes to be (drivers/fileops.h): modes,
 * owners, links, temporaries, in place, holes. What goes wrong is in test_fileops_errors.c.
 */
#include "file_rig.h"

#include <pthread.h>
#include <sys/xattr.h>

#define SMALL 5000
#define LARGE (600 * 1024) /* over the limit of TAIO_OP_FILE */

static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, 262143, 262144, 262145, 524288, LARGE };

Test(fileops, every_size_arrives_in_every_way)
{
	struct rig rig;

	rig_open(&rig);
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		rig_make(&rig, "from", sizes[i], i, 0644);
		rig_for_each_way(way)
		{
			cr_assert_eq(rig_copy(&rig, way, "from", "new", 0), (int64_t)sizes[i]);
			cr_assert(rig_is(&rig, "new", sizes[i], i));
			cr_assert_eq(rig_copy(&rig, way, "from", "new", TAIO_DURABLE),
				     (int64_t)sizes[i], "over an old one");
			cr_assert(rig_is(&rig, "new", sizes[i], i));
			cr_assert_eq(unlink(rig_path(&rig, "new")), 0);
			cr_assert_eq(rig_count(&rig), 1);
		}
	}
	rig_close(&rig);
}

Test(fileops, a_part_of_the_source_is_copied)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", LARGE, 1, 0644);
	rig_for_each_way(way)
	{
		cr_assert_eq(rig_copy_at(&rig, way, "from", "to", 0, LARGE - 100, TAIO_TO_END, 0),
			     100);
		cr_assert_eq(rig_stat(&rig, "to").st_size, 100);
		cr_assert_eq(rig_copy_at(&rig, way, "from", "to", 0, 0, 300, 0), 300);
		cr_assert(rig_is(&rig, "to", 300, 1));
		cr_assert_eq(rig_copy_at(&rig, way, "from", "to", 0, LARGE + 5, TAIO_TO_END, 0), 0);
		cr_assert_eq(rig_stat(&rig, "to").st_size, 0);
	}
	rig_close(&rig);
}

Test(fileops, small_file_is_done_in_one_step_and_large_one_is_left_open)
{
	struct taio_step step = { .op = TAIO_OP_FILE };
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "small", SMALL, 1, 0644);
	rig_make(&rig, "large", LARGE, 2, 0644);
	rig_begin(&rig, rig_path(&rig, "small"), rig_path(&rig, "to"), 0);
	step.file = &rig.record;
	cr_assert_eq(taio_driver_file.run(&rig.file, &step), SMALL);
	cr_assert(rig.record.state & TAIO_FILE_DONE);
	cr_assert(rig.record.from_fd == -1 && rig.record.to_fd == -1);
	rig_begin(&rig, rig_path(&rig, "large"), rig_path(&rig, "to"), 0);
	cr_assert_eq(taio_driver_file.run(&rig.file, &step), 0);
	cr_assert_eq(rig.record.state,
		     TAIO_FILE_TEMP | TAIO_FILE_TO_EXISTED | TAIO_FILE_FROM_NONBLOCK);
	cr_assert(rig.record.from_fd >= 0 && rig.record.to_fd >= 0);
	cr_assert_eq(rig.record.size, LARGE);
	cr_assert_eq(rig.record.from_kind, TAIO_KIND_FILE);
	cr_assert_eq(rig.record.to_kind, TAIO_KIND_FILE);
	cr_assert(fcntl(rig.record.from_fd, F_GETFL) & O_NONBLOCK, "as its state says");
	cr_assert_eq(rig.record.from_fs,
		     fileops_fs_of(rig.record.from_fd, rig.record.from_stat.dev));
	fileops_abort(&rig.record);
	cr_assert(rig_is(&rig, "to", SMALL, 1), "abort leaves the old file");
	cr_assert_eq(rig_count(&rig), 3);
	rig_close(&rig);
}

/* ---- modes and owners ---------------------------------------------------------------------------- */

Test(fileops, new_file_has_the_mode_of_the_source_less_the_umask)
{
	static const mode_t modes[] = { 0644, 0755, 0600, 0444, 0666, 04755, 02777, 01777 };
	static const mode_t masks[] = { 022, 077, 0 };
	struct rig rig;

	rig_open(&rig);
	for (unsigned int m = 0; m < 3; m++) {
		umask(masks[m]);
		for (unsigned int i = 0; i < 8; i++) {
			rig_make(&rig, "from", SMALL, i, modes[i]);
			rig_for_each_way(way)
			{
				cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), SMALL);
				cr_assert_eq(rig_stat(&rig, "to").st_mode & 07777,
					     modes[i] & 0777 & ~masks[m]);
				unlink(rig_path(&rig, "to"));
			}
		}
	}
	umask(022);
	rig_close(&rig);
}

Test(fileops, old_destination_keeps_its_mode)
{
	static const mode_t modes[] = { 0600, 0640, 0666, 0755, 04711 };
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0444);
	for (unsigned int i = 0; i < 5; i++) {
		rig_for_each_way(way)
		{
			rig_make(&rig, "to", 10, 9, modes[i]);
			cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), SMALL);
			cr_assert(rig_is(&rig, "to", SMALL, 1));
			cr_assert_eq(rig_stat(&rig, "to").st_mode & 07777, modes[i]);
		}
	}
	rig_close(&rig);
}

Test(fileops, old_destination_keeps_its_owner)
{
	struct rig rig;

	if (geteuid() != 0)
		cr_skip_test("only root may give files away");
	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_for_each_way(way)
	{
		rig_make(&rig, "to", 10, 9, 0640);
		cr_assert_eq(chown(rig_path(&rig, "to"), 1234, 4321), 0);
		cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), SMALL);
		cr_assert_eq(rig_stat(&rig, "to").st_uid, 1234);
		cr_assert_eq(rig_stat(&rig, "to").st_gid, 4321);
		cr_assert_eq(rig_stat(&rig, "to").st_mode & 07777, 0640);
		unlink(rig_path(&rig, "to"));
	}
	rig_close(&rig);
}

Test(fileops, preserve_keeps_mode_owner_and_times_of_the_source)
{
	const struct timespec times[2] = { { 1000000000, 123 }, { 1100000000, 456789 } };
	struct rig rig;

	rig_open(&rig);
	umask(077);
	for (unsigned int old = 0; old < 2; old++) {
		rig_for_each_way(way)
		{
			struct stat st;

			rig_make(&rig, "from", SMALL, 1, 0754);
			if (geteuid() == 0)
				cr_assert_eq(chown(rig_path(&rig, "from"), 1234, 4321), 0);
			cr_assert_eq(utimensat(AT_FDCWD, rig_path(&rig, "from"), times, 0), 0);
			if (old)
				rig_make(&rig, "to", 10, 9, 0600);
			cr_assert_eq(rig_copy(&rig, way, "from", "to", TAIO_PRESERVE), SMALL);
			st = rig_stat(&rig, "to");
			cr_assert_eq(st.st_mode & 07777, 0754);
			cr_assert_eq(st.st_mtim.tv_sec, 1100000000);
			cr_assert_eq(st.st_mtim.tv_nsec, 456789);
			cr_assert_eq(st.st_atim.tv_sec, 1000000000);
			cr_assert_eq(st.st_uid, geteuid() == 0 ? 1234 : geteuid());
			unlink(rig_path(&rig, "to"));
			unlink(rig_path(&rig, "from"));
		}
	}
	umask(022);
	rig_close(&rig);
}

/* A default ACL that lets user 4242 read and write everything that is made in the directory. */
static bool give_default_acl(const char *dir)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entry[5];
	} acl = { 2,
		  { { 0x01, 7, ~0u },
		    { 0x02, 7, 4242 },
		    { 0x04, 5, ~0u },
		    { 0x10, 7, ~0u },
		    { 0x20, 5, ~0u } } };

	return setxattr(dir, "system.posix_acl_default", &acl, sizeof(acl), 0) == 0;
}

static ssize_t acl_of(const struct rig *rig, const char *name, char *room, size_t size)
{
	ssize_t n = getxattr(rig_path(rig, name), "system.posix_acl_access", room, size);

	return n < 0 && errno == ENODATA ? 0 : n;
}

Test(fileops, default_acl_lets_nobody_into_a_replaced_file)
{
	char room[256];
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0660);
	rig_make(&rig, "plain", 10, 9, 0660);
	if (!give_default_acl(rig.dir)) {
		rig_close(&rig);
		cr_skip_test("no ACLs on this file system");
	}
	rig_for_each_way(way)
	{
		cr_assert_eq(rig_copy(&rig, way, "from", "plain", 0), SMALL);
		cr_assert_eq(acl_of(&rig, "plain", room, sizeof(room)), 0);
		cr_assert_eq(rig_stat(&rig, "plain").st_mode & 0777, 0660);
		cr_assert_eq(rig_copy(&rig, way, "from", "kept", TAIO_PRESERVE), SMALL);
		cr_assert_eq(acl_of(&rig, "kept", room, sizeof(room)), 0);
		unlink(rig_path(&rig, "kept"));
		/* A new file gets what the directory says, as from every other program. */
		cr_assert_eq(rig_copy(&rig, way, "from", "new", 0), SMALL);
		cr_assert_gt(acl_of(&rig, "new", room, sizeof(room)), 0);
		unlink(rig_path(&rig, "new"));
	}
	rig_close(&rig);
}

Test(fileops, old_destination_keeps_its_acl)
{
	char before[256], after[256];
	ssize_t n;
	struct rig rig;

	rig_open(&rig);
	if (!give_default_acl(rig.dir)) {
		rig_close(&rig);
		cr_skip_test("no ACLs on this file system");
	}
	rig_make(&rig, "to", 10, 9, 0660);
	rig_make(&rig, "from", SMALL, 1, 0600);
	n = acl_of(&rig, "to", before, sizeof(before));
	cr_assert_gt(n, 0);
	rig_for_each_way(way)
	{
		cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), SMALL);
		cr_assert_eq(acl_of(&rig, "to", after, sizeof(after)), n);
		cr_assert_eq(memcmp(before, after, (size_t)n), 0);
	}
	rig_close(&rig);
}

/* ---- links -------------------------------------------------------------------------------------- */

Test(fileops, symbolic_link_stays_and_its_target_is_replaced)
{
	struct rig rig;

	rig_open(&rig);
	cr_assert_eq(mkdir(rig_path(&rig, "sub"), 0755), 0);
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(symlink("second", rig_path(&rig, "first")), 0);
	cr_assert_eq(symlink("sub/target", rig_path(&rig, "second")), 0);
	rig_for_each_way(way)
	{
		rig_make(&rig, "sub/target", 10, 9, 0640);
		cr_assert_eq(rig_copy(&rig, way, "from", "first", 0), SMALL);
		cr_assert(S_ISLNK(rig_stat(&rig, "first").st_mode));
		cr_assert(S_ISLNK(rig_stat(&rig, "second").st_mode));
		cr_assert(S_ISREG(rig_stat(&rig, "sub/target").st_mode));
		cr_assert_eq(rig_stat(&rig, "sub/target").st_mode & 0777, 0640);
		cr_assert(rig_is(&rig, "sub/target", SMALL, 1));
		cr_assert_eq(rig_count(&rig), 4);
	}
	rig_close(&rig);
}

Test(fileops, symbolic_link_to_nothing_is_refused)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	cr_assert_eq(symlink("nothing", rig_path(&rig, "link")), 0);
	rig_for_each_way(way)
	{
		cr_assert_eq(rig_copy(&rig, way, "from", "link", 0), -ENOENT);
		cr_assert_eq(rig.record.failed_step, TAIO_STEP_OPEN_TO);
		cr_assert(S_ISLNK(rig_stat(&rig, "link").st_mode));
		cr_assert_eq(rig_count(&rig), 2);
	}
	rig_close(&rig);
}

Test(fileops, other_names_of_an_old_destination_keep_the_old_content)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_for_each_way(way)
	{
		rig_make(&rig, "to", 10, 9, 0644);
		cr_assert_eq(link(rig_path(&rig, "to"), rig_path(&rig, "other")), 0);
		cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), SMALL);
		cr_assert(rig_is(&rig, "to", SMALL, 1));
		cr_assert(rig_is(&rig, "other", 10, 9));
		unlink(rig_path(&rig, "other"));
		unlink(rig_path(&rig, "to"));
	}
	rig_close(&rig);
}

/* ---- temporaries -------------------------------------------------------------------------------- */

Test(fileops, nobody_else_can_open_the_temporary_of_an_old_destination)
{
	struct rig rig;
	struct stat st;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0666);
	rig_make(&rig, "to", 10, 9, 0600);
	umask(0);
	for (unsigned int named = 0; named < 2; named++) {
		rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, "to"), 0);
		cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
		cr_assert_eq(fileops_look_to(&rig.record), 0);
		cr_assert_eq(fileops_make_temp(&rig.record,
					       named ? FILEOPS_TEMP_NAMED : FILEOPS_TEMP_ANY),
			     0);
		cr_assert_eq(fstat(rig.record.to_fd, &st), 0);
		cr_assert_eq(st.st_mode & 0777, 0600);
		cr_assert_eq(rig.record.temp_name[0] != '\0', named);
		cr_assert_eq(rig_count(&rig), 2 + named);
		fileops_abort(&rig.record);
		cr_assert_eq(rig_count(&rig), 2, "nothing is left");
	}
	umask(022);
	rig_close(&rig);
}

static void work_without_unnamed_files(struct rig *rig)
{
	rig_forbid(SYS_openat, 2, O_TMPFILE, EOPNOTSUPP);
	rig_make(rig, "from", SMALL, 1, 0640);
	rig_for_each_way(way)
	{
		rig_must(rig_copy(rig, way, "from", "new", 0) == SMALL);
		rig_must(rig_is(rig, "new", SMALL, 1));
		rig_must((rig_stat(rig, "new").st_mode & 0777) == 0640);
		rig_make(rig, "from", LARGE, 2, 0640);
		rig_must(rig_copy(rig, way, "from", "new", TAIO_DURABLE) == LARGE);
		rig_must(rig_is(rig, "new", LARGE, 2));
		rig_must(rig_copy(rig, way, "from", "new", TAIO_NO_CLOBBER) == -EEXIST);
		rig_must(rig_copy(rig, way, "from", "only", TAIO_NO_CLOBBER) == LARGE);
		rig_must(rig_copy(rig, way, "from", "from", 0) == -EINVAL);
		rig_must(rig_count(rig) == 3);
		unlink(rig_path(rig, "only"));
		unlink(rig_path(rig, "new"));
		rig_make(rig, "from", SMALL, 1, 0640);
	}
}

Test(fileops, file_systems_without_unnamed_files_get_a_named_temporary)
{
	struct rig rig;

	rig_open(&rig);
	rig_in_child(work_without_unnamed_files(&rig));
	rig_close(&rig);
}

static void work_without_empty_path(struct rig *rig)
{
	rig_forbid(SYS_linkat, 4, AT_EMPTY_PATH, ENOENT);
	rig_make(rig, "from", SMALL, 1, 0640);
	rig_for_each_way(way)
	{
		rig_must(rig_copy(rig, way, "from", "new", 0) == SMALL);
		rig_must(rig_copy(rig, way, "from", "new", 0) == SMALL);
		rig_must(rig_is(rig, "new", SMALL, 1));
		rig_must(rig_count(rig) == 2);
		unlink(rig_path(rig, "new"));
	}
}

Test(fileops, kernels_that_link_no_bare_descriptor_are_asked_through_proc)
{
	struct rig rig;

	rig_open(&rig);
	rig_in_child(work_without_empty_path(&rig));
	rig_close(&rig);
}

static void work_without_noreplace(struct rig *rig)
{
	rig_forbid(SYS_openat, 2, O_TMPFILE, EOPNOTSUPP);
	rig_forbid(SYS_renameat2, 4, RENAME_NOREPLACE, EINVAL);
	rig_make(rig, "from", SMALL, 1, 0640);
	rig_must(rig_copy(rig, RIG_STEPS, "from", "new", TAIO_NO_CLOBBER) == SMALL);
	rig_must(rig_is(rig, "new", SMALL, 1));
	rig_begin(rig, rig_path(rig, "from"), rig_path(rig, "late"), TAIO_NO_CLOBBER);
	rig_must(rig_open_side(rig, 0, 0) == 0 && rig_open_side(rig, 1, 0) == 0);
	rig_make(rig, "late", 10, 9, 0644);
	rig_must(rig_control(rig, TAIO_OP_PUBLISH, 0) == -EEXIST);
	fileops_abort(&rig->record);
	rig_must(rig_is(rig, "late", 10, 9));
	rig_must(rig_count(rig) == 3);
}

Test(fileops, no_clobber_holds_where_rename_cannot_be_told_so)
{
	struct rig rig;

	rig_open(&rig);
	rig_in_child(work_without_noreplace(&rig));
	rig_close(&rig);
}

Test(fileops, long_names_get_a_temporary_that_fits)
{
	char name[256], wide[256];
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	memset(name, 'n', 255);
	name[255] = '\0';
	for (unsigned int i = 0; i < 85; i++) /* three bytes a character */
		memcpy(wide + 3 * i, "\xe2\x82\xac", 4);
	for (unsigned int i = 0; i < 2; i++) {
		const char *to = i ? wide : name;

		rig_make(&rig, to, 10, 9, 0644);
		rig_begin(&rig, rig_path(&rig, "from"), rig_path(&rig, to), 0);
		cr_assert_eq(rig_open_side(&rig, 0, 0), 0);
		cr_assert_eq(fileops_look_to(&rig.record), 0);
		cr_assert_eq(fileops_make_temp(&rig.record, FILEOPS_TEMP_NAMED), 0);
		cr_assert_lt(strlen(rig.record.temp_name), sizeof(rig.record.temp_name));
		cr_assert(strstr(rig.record.temp_name, ".taio-"));
		if (i) /* cut between characters */
			cr_assert_eq((strstr(rig.record.temp_name, ".taio-") -
				      rig.record.temp_name - 1) %
					     3,
				     0);
		fileops_abort(&rig.record);
		cr_assert_eq(rig_copy(&rig, RIG_FILE_LOOKS, "from", to, 0), SMALL);
		cr_assert(rig_is(&rig, to, SMALL, 1));
	}
	cr_assert_eq(rig_count(&rig), 3);
	rig_close(&rig);
}

/* A named temporary of "from" beside "to", which is there. */
static void begin_named(struct rig *rig)
{
	rig_begin(rig, rig_path(rig, "from"), rig_path(rig, "to"), 0);
	rig_must(rig_open_side(rig, 0, 0) == 0);
	rig_must(fileops_look_to(&rig->record) == 0);
	rig_must(fileops_make_temp(&rig->record, FILEOPS_TEMP_NAMED) == 0);
}

Test(fileops, what_a_killed_copy_left_is_removed_by_the_next_one)
{
	struct rig rig;
	pid_t pid;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_make(&rig, "to", 10, 9, 0644);
	pid = fork();
	if (pid == 0) {
		begin_named(&rig);
		kill(getpid(), SIGKILL);
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	cr_assert_eq(rig_count(&rig), 3);
	cr_assert_eq(rig_copy(&rig, RIG_STEPS, "from", "to", 0), SMALL);
	cr_assert(rig_is(&rig, "to", SMALL, 1));
	cr_assert_eq(rig_count(&rig), 2);
	rig_close(&rig);
}

Test(fileops, the_temporary_of_a_living_copy_is_left_alone)
{
	struct taio_file living;
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_make(&rig, "to", 10, 9, 0644);
	begin_named(&rig);
	living = rig.record;
	cr_assert_eq(rig_copy(&rig, RIG_STEPS, "from", "to", 0), SMALL);
	cr_assert(rig_exists(&rig, living.temp_name));
	living.to_path = rig_path(&rig, "to");
	cr_assert_eq(fileops_publish(&living), 0); /* of nothing yet */
	cr_assert(rig_is(&rig, "to", 0, 1));
	fileops_abort(&living);
	cr_assert_eq(rig_count(&rig), 2);
	rig_close(&rig);
}

/* ---- in place ------------------------------------------------------------------------------------ */

Test(fileops, in_place_keeps_the_file_and_cuts_it_only_from_its_start)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	rig_for_each_way(way)
	{
		ino_t ino;

		rig_make(&rig, "to", 3 * SMALL, 9, 0600);
		ino = rig_stat(&rig, "to").st_ino;
		cr_assert_eq(
			rig_copy_at(&rig, way, "from", "to", TAIO_IN_PLACE, 0, TAIO_TO_END, SMALL),
			SMALL);
		cr_assert_eq(rig_stat(&rig, "to").st_size, 3 * SMALL);
		cr_assert_eq(rig_copy(&rig, way, "from", "to", TAIO_IN_PLACE), SMALL);
		cr_assert(rig_is(&rig, "to", SMALL, 1));
		cr_assert_eq(rig_stat(&rig, "to").st_ino, ino);
		cr_assert_eq(rig_stat(&rig, "to").st_mode & 0777, 0600);
		cr_assert_eq(rig_copy(&rig, way, "from", "made", TAIO_IN_PLACE), SMALL);
		cr_assert(rig_is(&rig, "made", SMALL, 1));
		cr_assert_eq(rig_stat(&rig, "made").st_mode & 0777, 0644);
		unlink(rig_path(&rig, "made"));
	}
	rig_close(&rig);
}

/* ---- holes -------------------------------------------------------------------------------------- */

Test(fileops, small_file_with_holes_keeps_them)
{
	const size_t size = 300000;
	struct rig rig;
	int fd;

	rig_open(&rig);
	rig_make(&rig, "dense", 100, 1, 0644);
	fd = open(rig_path(&rig, "from"), O_RDWR | O_CREAT, 0644);
	cr_assert(fd >= 0);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	cr_assert_eq(pwrite(fd, "islands", 7, 131072), 7);
	close(fd);
	if (rig_stat(&rig, "from").st_blocks * 512 >= (off_t)size) {
		rig_close(&rig);
		cr_skip_test("no holes on this file system");
	}
	for (enum rig_way way = RIG_FILE; way < RIG_WAYS; way++) {
		char command[512];

		cr_assert_eq(rig_copy(&rig, way, "from", "to", 0), (int64_t)size);
		cr_assert_eq(rig_stat(&rig, "to").st_size, (off_t)size);
		cr_assert_leq(rig_stat(&rig, "to").st_blocks, rig_stat(&rig, "from").st_blocks);
		snprintf(command, sizeof(command), "cmp %s/from %s/to", rig.dir, rig.dir);
		cr_assert_eq(system(command), 0);
		cr_assert_eq(rig_copy(&rig, way, "from", "to", TAIO_NO_SPARSE), (int64_t)size);
		cr_assert_geq(rig_stat(&rig, "to").st_blocks * 512, (off_t)size);
		cr_assert_eq(system(command), 0);
		unlink(rig_path(&rig, "to"));
	}
	rig_close(&rig);
}

/* ---- many at once -------------------------------------------------------------------------------- */

#define THREADS 4
#define FILES   200

static struct rig shared;

static void *copy_many(void *arg)
{
	uintptr_t me = (uintptr_t)arg;

	for (unsigned int i = 0; i < FILES; i++) {
		char from[256], to[256];
		struct taio_file file = { .from_path = from,
					  .to_path = to,
					  .from_fd = -1,
					  .to_fd = -1,
					  .length = TAIO_TO_END };
		struct taio_step step = { .op = TAIO_OP_FILE, .file = &file };

		snprintf(from, sizeof(from), "%s/from%u", shared.dir, i % 4);
		/* Half of the names are everybody's: replaced while others replace them. */
		snprintf(to, sizeof(to), "%s/to%u-%zu", shared.dir, i, i % 2 ? (size_t)me : 0);
		if (taio_driver_file.run(&shared.file, &step) != SMALL)
			return (void *)1;
	}
	return NULL;
}

Test(fileops, threads_share_a_device_and_a_directory)
{
	pthread_t threads[THREADS];

	rig_open(&shared);
	for (unsigned int i = 0; i < 4; i++) {
		char name[16];

		snprintf(name, sizeof(name), "from%u", i);
		rig_make(&shared, name, SMALL, i, 0644);
	}
	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, copy_many, (void *)i), 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		void *failed;

		cr_assert_eq(pthread_join(threads[i], &failed), 0);
		cr_assert_null(failed);
	}
	cr_assert_eq(rig_count(&shared), 4 + FILES / 2 + FILES / 2 * THREADS);
	for (unsigned int i = 0; i < FILES; i += 2) {
		char name[32];

		snprintf(name, sizeof(name), "to%u-0", i);
		cr_assert(rig_is(&shared, name, SMALL, i % 4));
	}
	rig_close(&shared);
}

Test(fileops, only_one_of_many_wins_without_clobbering)
{
	struct rig rig;

	rig_open(&rig);
	rig_make(&rig, "from", SMALL, 1, 0644);
	for (unsigned int round = 0; round < 20; round++) {
		pid_t pids[THREADS];
		unsigned int won = 0;

		for (unsigned int i = 0; i < THREADS; i++) {
			pids[i] = fork();
			cr_assert(pids[i] >= 0);
			if (pids[i] == 0) {
				int64_t rc = rig_copy(&rig, i % 2 ? RIG_STEPS : RIG_FILE, "from",
						      "to", TAIO_NO_CLOBBER);

				_exit(rc == SMALL ? 0 : rc == -EEXIST ? 1 : 2);
			}
		}
		for (unsigned int i = 0; i < THREADS; i++) {
			int status;

			cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
			cr_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
			won += WEXITSTATUS(status) == 0;
		}
		cr_assert_eq(won, 1);
		cr_assert_eq(rig_count(&rig), 2);
		unlink(rig_path(&rig, "to"));
	}
	rig_close(&rig);
}
