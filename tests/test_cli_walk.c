/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_cli_walk.c: the iterative walk through directory trees, on trees that are made here.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/walk.h"

/* the command is no library: its units are compiled in here */
#include "cli/walk.c"

static char walk_root[64];

static void tree_begin(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(walk_root, sizeof(walk_root), "%s/taio-walk-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(walk_root));
	cr_assert_eq(chdir(walk_root), 0);
}

static void tree_end(void)
{
	char command[128];

	cr_assert_eq(chdir("/"), 0);
	snprintf(command, sizeof(command), "rm -rf '%s'", walk_root);
	cr_assert_eq(system(command), 0);
}

static void make_file(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);

	cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
	close(fd);
}

TestSuite(cli_walk, .init = tree_begin, .fini = tree_end);

Test(cli_walk, every_entry_comes_once_with_its_kind)
{
	static const struct {
		const char *path;
		enum walk_kind kind;
	} want[] = {
		{ "t", WALK_ENTER },        { "t/file", WALK_FILE }, { "t/link", WALK_LINK },
		{ "t/fifo", WALK_SPECIAL }, { "t/dir", WALK_ENTER }, { "t/dir/.hid", WALK_FILE },
		{ "t/dir", WALK_LEAVE },    { "t/a\nb", WALK_FILE }, { "t/dirlink", WALK_LINK },
		{ "t", WALK_LEAVE },
	};
	unsigned int seen[sizeof(want) / sizeof(want[0])] = { 0 };
	struct walk walk;
	enum walk_kind kind;

	cr_assert_eq(mkdir("t", 0755) | mkdir("t/dir", 0750), 0);
	make_file("t/file");
	make_file("t/dir/.hid");
	make_file("t/a\nb");
	cr_assert_eq(symlink("nowhere", "t/link") | symlink("dir", "t/dirlink"), 0);
	cr_assert_eq(mkfifo("t/fifo", 0644), 0);
	cr_assert_eq(walk_open(&walk, "t"), 0);
	while ((kind = walk_next(&walk)) != WALK_END) {
		size_t i = 0;

		while (i < sizeof(want) / sizeof(want[0]) &&
		       (strcmp(want[i].path, walk.path) != 0 || want[i].kind != kind))
			i++;
		cr_assert_lt(i, sizeof(want) / sizeof(want[0]), "%s as %d", walk.path, kind);
		seen[i]++;
		if (strcmp(walk.path, "t/dir") == 0 && kind == WALK_ENTER)
			cr_assert_eq(walk.stat.st_mode & 0777, 0750);
	}
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		cr_assert_eq(seen[i], 1, "%s", want[i].path);
	cr_assert_eq(walk_next(&walk), WALK_END);
	walk_close(&walk);
}

Test(cli_walk, slashes_behind_the_root_do_not_double)
{
	struct walk walk;

	cr_assert_eq(mkdir("t", 0755), 0);
	make_file("t/file");
	cr_assert_eq(walk_open(&walk, "t//"), 0);
	cr_assert_eq(walk_next(&walk), WALK_ENTER);
	cr_assert_eq(walk_next(&walk), WALK_FILE);
	cr_assert_str_eq(walk.path, "t/file");
	cr_assert_str_eq(walk.path + walk.root_length, "/file");
	walk_close(&walk);
}

Test(cli_walk, a_skipped_directory_is_not_looked_into)
{
	struct walk walk;
	enum walk_kind kind;
	unsigned int entered = 0, left = 0;

	cr_assert_eq(mkdir("t", 0755) | mkdir("t/d", 0755), 0);
	make_file("t/d/file");
	cr_assert_eq(walk_open(&walk, "t"), 0);
	while ((kind = walk_next(&walk)) != WALK_END) {
		cr_assert_neq(kind, WALK_FILE);
		entered += kind == WALK_ENTER;
		left += kind == WALK_LEAVE;
		if (kind == WALK_ENTER && entered == 2)
			walk_skip(&walk);
	}
	cr_assert_eq(entered, 2);
	cr_assert_eq(left, 1);
	walk_close(&walk);
}

Test(cli_walk, what_cannot_be_read_is_one_error_and_the_walk_goes_on)
{
	struct walk walk;
	enum walk_kind kind;
	unsigned int errors = 0, files = 0;

	cr_assert_eq(walk_open(&walk, "missing"), 0);
	cr_assert_eq(walk_next(&walk), WALK_ERROR);
	cr_assert_eq(walk.error, -ENOENT);
	cr_assert_eq(walk_next(&walk), WALK_END);
	walk_close(&walk);

	if (geteuid() == 0)
		cr_assert_eq(chmod(walk_root, 0755) | seteuid(65534), 0);
	if (access(walk_root, X_OK) < 0) {
		cr_assert_eq(seteuid(getuid()), 0);
		cr_skip_test("another user cannot reach the temporary directory");
	}
	cr_assert_eq(seteuid(getuid()), 0);
	cr_assert_eq(mkdir("t", 0755) | mkdir("t/closed", 0), 0);
	make_file("t/file");
	if (geteuid() == 0)
		cr_assert_eq(seteuid(65534), 0);
	cr_assert_eq(walk_open(&walk, "t"), 0);
	while ((kind = walk_next(&walk)) != WALK_END) {
		if (kind == WALK_ERROR) {
			errors++;
			cr_assert_str_eq(walk.path, "t/closed");
			cr_assert_eq(walk.error, -EACCES);
		}
		files += kind == WALK_FILE;
	}
	walk_close(&walk);
	cr_assert_eq(seteuid(getuid()), 0);
	cr_assert_eq(errors, 1);
	cr_assert_eq(files, 1);
}

/* Deeper than the directories that stay open, with files on both sides of each way down. */
Test(cli_walk, a_deep_tree_needs_few_descriptors)
{
	struct rlimit limit = { 64, 64 };
	struct walk walk;
	enum walk_kind kind;
	unsigned int files = 0, entered = 0, left = 0;
	char name[16];

	cr_assert_eq(mkdir("t", 0755), 0);
	cr_assert_eq(chdir("t"), 0);
	for (int depth = 0; depth < 200; depth++) {
		for (int i = 0; i < 4; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			make_file(name);
		}
		cr_assert_eq(mkdir("down", 0755) | chdir("down"), 0);
	}
	cr_assert_eq(chdir(walk_root), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	cr_assert_eq(walk_open(&walk, "t"), 0);
	while ((kind = walk_next(&walk)) != WALK_END) {
		cr_assert_neq(kind, WALK_ERROR, "%s: %s", walk.path, strerror(-walk.error));
		files += kind == WALK_FILE;
		entered += kind == WALK_ENTER;
		left += kind == WALK_LEAVE;
	}
	cr_assert_eq(files, 800);
	cr_assert_eq(entered, 201);
	cr_assert_eq(left, 201);
	walk_close(&walk);
}

Test(cli_walk, closing_in_the_middle_frees_all)
{
	struct walk walk;

	cr_assert_eq(mkdir("t", 0755) | mkdir("t/d", 0755) | mkdir("t/d/e", 0755), 0);
	cr_assert_eq(walk_open(&walk, "t"), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(walk_next(&walk), WALK_ENTER);
	walk_close(&walk);
	walk_close(&walk);
}
