/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_speeds.c: what devices cost, fitted to latencies, and remembered between runs in a file that
 * may be missing, damaged or of another machine.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pick/speeds.h"
#include "taio.h"

/* ---- fit ---- */

static struct taio_lat lat[TAIO_CLASSES];
static const struct taio_lat *row[TAIO_CLASSES];

/* A class in which @count completions of @bytes took @ns each. */
static void measured(uint32_t class, uint64_t count, uint64_t bytes, uint32_t ns)
{
	lat[class].count = count;
	lat[class].bytes = count * bytes;
	lat[class].ewma_ns[0] = ns;
	row[class] = &lat[class];
}

Test(speeds, fit_finds_base_and_rate_of_a_straight_line)
{
	uint32_t base = 0, rate = 0;

	for (uint32_t c = 0; c < TAIO_CLASSES; c++) {
		uint64_t bytes = taio_class_bytes(c);

		measured(c, 100, bytes, (uint32_t)(5000 + bytes / 4)); /* 250 ps per byte */
	}
	cr_assert(speeds_fit(row, 8, &base, &rate));
	cr_assert(base >= 4900 && base <= 5100, "%u", base);
	cr_assert(rate >= 245 && rate <= 255, "%u", rate);
}

Test(speeds, fit_is_not_ruled_by_the_largest_class)
{
	uint32_t base = 0, rate = 0;

	measured(0, 100, 512, 1000);
	measured(2, 100, 3072, 1600);
	measured(4, 100, 12288, 4000);
	measured(15, 100, 24 << 20, 24 << 20); /* 1 ns a byte, four times the others */
	cr_assert(speeds_fit(row, 8, &base, &rate));
	cr_assert(base > 500 && base < 1500, "%u", base);
}

Test(speeds, fit_needs_two_classes_with_enough_completions)
{
	uint32_t base = 77, rate = 88;

	cr_assert_not(speeds_fit(row, 8, &base, &rate));
	measured(3, 1000, 6000, 2000);
	cr_assert_not(speeds_fit(row, 8, &base, &rate));
	measured(5, 7, 30000, 9000);
	cr_assert_not(speeds_fit(row, 8, &base, &rate));
	cr_assert_eq(base, 77);
	cr_assert_eq(rate, 88);
	measured(5, 8, 30000, 9000);
	cr_assert(speeds_fit(row, 8, &base, &rate));
}

Test(speeds, fit_leaves_out_a_class_that_was_never_seen_idle)
{
	uint32_t base, rate;

	measured(3, 1000, 6000, 2000);
	measured(5, 1000, 30000, 0);
	lat[5].ewma_ns[4] = 9000;
	cr_assert_not(speeds_fit(row, 8, &base, &rate));
}

Test(speeds, fit_of_a_flat_device_is_all_base)
{
	uint32_t base = 0, rate = 1;

	measured(1, 100, 1500, 10200);
	measured(4, 100, 12000, 10000);
	measured(7, 100, 96000, 9900);
	cr_assert(speeds_fit(row, 8, &base, &rate));
	cr_assert_eq(rate, 0);
	cr_assert(base > 9800 && base < 10300, "%u", base);
}

Test(speeds, fit_of_a_device_that_is_slow_on_large_steps_is_all_rate)
{
	uint32_t base = 1, rate = 0;

	measured(4, 100, 12000, 600);
	measured(10, 100, 800000, 160000);
	cr_assert(speeds_fit(row, 8, &base, &rate));
	cr_assert_eq(base, 0);
	cr_assert(rate >= 50 && rate <= 200, "%u", rate);
}

/* ---- file ---- */

static char home[PATH_MAX / 2];
static struct speeds speeds;

static void open_home(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(home, sizeof(home), "%s/taio-speeds-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(home));
	cr_assert_eq(setenv("XDG_CACHE_HOME", home, 1), 0);
}

static const char *file_name(void)
{
	static char name[PATH_MAX];

	snprintf(name, sizeof(name), "%s/taio/speeds", home);
	return name;
}

static void close_home(void)
{
	char name[PATH_MAX];

	speeds_close(&speeds);
	unlink(file_name());
	snprintf(name, sizeof(name), "%s/taio", home);
	cr_expect(rmdir(name) == 0 || errno == ENOENT, "a temporary was left behind");
	cr_expect_eq(rmdir(home), 0);
}

TestSuite(speeds_file, .init = open_home, .fini = close_home);

static struct taio_caps published(void)
{
	return (struct taio_caps){ .base_ns = 11, .ps_per_byte = 22, .parallel = 3, .flags = 1 };
}

/* What a fresh run finds for a device: 0 if only the published figures. */
static int looks_up(const char *context, const char *device, uint32_t base, uint32_t rate)
{
	struct speeds fresh;
	struct taio_caps caps = published();

	memset(&fresh, 0, sizeof(fresh));
	speeds_apply(&fresh, context, device, &caps);
	cr_assert_not(fresh.dirty);
	speeds_close(&fresh);
	cr_assert_eq(caps.parallel, 3);
	cr_assert_eq(caps.flags, 1);
	if (caps.source == TAIO_SPEED_PUBLISHED) {
		cr_assert_eq(caps.base_ns, 11);
		cr_assert_eq(caps.ps_per_byte, 22);
		return 0;
	}
	cr_assert_eq(caps.base_ns, base);
	cr_assert_eq(caps.ps_per_byte, rate);
	return (int)caps.source;
}

static void write_text(const char *text, size_t length)
{
	int fd = open(file_name(), O_WRONLY | O_TRUNC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, length), (ssize_t)length);
	close(fd);
}

static size_t read_text(char *text, size_t size)
{
	int fd = open(file_name(), O_RDONLY);
	ssize_t n;

	cr_assert_geq(fd, 0);
	n = read(fd, text, size - 1);
	cr_assert_gt(n, 0);
	text[n] = '\0';
	close(fd);
	return (size_t)n;
}

static void save_two(void)
{
	speeds_set(&speeds, "copy file>file ext>ext", "rw", 1500, 250, TAIO_SPEED_CALIBRATED);
	speeds_set(&speeds, "copy mem>mem ", "nt", 10, 40, TAIO_SPEED_LEARNT);
	cr_assert_eq(speeds_save(&speeds), 0);
}

Test(speeds_file, what_was_saved_is_found_by_the_next_run)
{
	struct stat st;

	save_two();
	cr_assert_eq(looks_up("copy file>file ext>ext", "rw", 1500, 250), TAIO_SPEED_CALIBRATED);
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 10, 40), TAIO_SPEED_LEARNT);
	cr_assert_eq(looks_up("copy mem>mem ", "rw", 0, 0), 0);
	cr_assert_eq(looks_up("copy file>file", "rw", 0, 0), 0);
	cr_assert_eq(stat(file_name(), &st), 0);
	cr_assert_eq(st.st_mode & 077, 0, "nobody else's business");
}

Test(speeds_file, a_second_save_keeps_what_the_first_one_wrote)
{
	struct taio_caps caps = published();
	struct speeds later;

	save_two();
	memset(&later, 0, sizeof(later));
	speeds_apply(&later, "x", "y", &caps);
	speeds_set(&later, "copy mem>mem ", "nt", 99, 98, TAIO_SPEED_LEARNT);
	speeds_set(&later, "copy mem>mem ", "split", 5, 6, TAIO_SPEED_LEARNT);
	cr_assert_eq(speeds_save(&later), 0);
	speeds_close(&later);
	cr_assert_eq(looks_up("copy file>file ext>ext", "rw", 1500, 250), TAIO_SPEED_CALIBRATED);
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 99, 98), TAIO_SPEED_LEARNT);
	cr_assert_eq(looks_up("copy mem>mem ", "split", 5, 6), TAIO_SPEED_LEARNT);
}

Test(speeds_file, saving_without_news_writes_nothing)
{
	cr_assert_eq(speeds_save(&speeds), 0);
	cr_assert_eq(access(file_name(), F_OK), -1);
}

Test(speeds_file, a_missing_file_is_as_good_as_an_empty_one)
{
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 0, 0), 0);
}

Test(speeds_file, the_file_of_another_machine_does_not_count)
{
	char text[4096], *machine, *end;
	size_t length;

	save_two();
	length = read_text(text, sizeof(text));
	machine = strchr(text, '\n') + 1;
	end = strchr(machine, '\n');
	end[-1] ^= 1; /* another number of cores */
	write_text(text, length);
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 0, 0), 0);
	end[-1] ^= 1;
	write_text(text, length);
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 10, 40), TAIO_SPEED_LEARNT);
}

Test(speeds_file, another_format_does_not_count)
{
	char text[4096];
	size_t length;

	save_two();
	length = read_text(text, sizeof(text));
	*strchr(text, '1') = '2';
	write_text(text, length);
	cr_assert_eq(looks_up("copy mem>mem ", "nt", 0, 0), 0);
}

Test(speeds_file, a_damaged_line_is_left_out_and_the_others_count)
{
	static const char *const damaged[] = {
		"copy mem>mem |nt|10|40\n",
		"copy mem>mem |nt|10|40|\n",
		"copy mem>mem |nt|x|40|2\n",
		"copy mem>mem |nt|10|40|3\n",
		"copy mem>mem |nt|-10|40|2\n",
		"copy mem>mem |nt|10|99999999999|2\n",
		"copy mem>mem |nt|99999999999999999999999999|4|2\n",
		"copy mem>mem |nt\n",
		"copy mem>mem \n",
		"|||||\n",
		"\n\n\n",
		"copy mem>mem |nt|10|40|2|\n",
		"copy mem>mem |a device with too long a name|10|40|2\n",
		"a context whose name is longer than any that there could be|nt|10|40|2\n",
	};
	char text[4096], head[512];

	save_two();
	read_text(text, sizeof(text));
	*strstr(text, "copy") = '\0';
	strcpy(head, text);
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		int n = snprintf(text, sizeof(text), "%s%scopy null|rw|7|8|1\n", head, damaged[i]);

		write_text(text, (size_t)n);
		cr_expect_eq(looks_up("copy mem>mem ", "nt", 0, 0), 0, "%s", damaged[i]);
		cr_expect_eq(looks_up("copy null", "rw", 7, 8), TAIO_SPEED_CALIBRATED, "%s",
			     damaged[i]);
	}
}

Test(speeds_file, garbage_of_any_length_does_no_harm)
{
	static char garbage[200000];
	unsigned int seed = 4711;

	save_two();
	for (int round = 0; round < 50; round++) {
		size_t length = (size_t)rand_r(&seed) % sizeof(garbage), head;

		head = round % 2 ? read_text(garbage, sizeof(garbage)) : 0;
		for (size_t i = head; i < length; i++)
			garbage[i] = (char)(rand_r(&seed) % 5 ? rand_r(&seed) : "\n|"[i & 1]);
		write_text(garbage, length > head ? length : head);
		(void)looks_up("copy null", "sendfile", 0, 0);
		cr_assert_eq(unlink(file_name()), 0);
		speeds.dirty = true;
		cr_assert_eq(speeds_save(&speeds), 0);
	}
}

Test(speeds_file, more_than_it_can_hold_is_left_out)
{
	for (int i = 0; i < SPEEDS_MAX + 50; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%d", i);
		speeds_set(&speeds, "copy mem>mem ", name, 1, 2, TAIO_SPEED_LEARNT);
	}
	cr_assert_eq(speeds.count, SPEEDS_MAX);
	cr_assert_eq(speeds_save(&speeds), 0);
	cr_assert_eq(looks_up("copy mem>mem ", "d255", 1, 2), TAIO_SPEED_LEARNT);
	cr_assert_eq(looks_up("copy mem>mem ", "d256", 0, 0), 0);
}

Test(speeds_file, a_directory_that_cannot_be_written_is_an_error_and_nothing_else)
{
	char name[PATH_MAX];
	int fd;

	snprintf(name, sizeof(name), "%s/taio", home);
	fd = open(name, O_WRONLY | O_CREAT, 0600); /* a file where the directory should be */
	cr_assert_geq(fd, 0);
	close(fd);
	speeds_set(&speeds, "x", "y", 1, 2, TAIO_SPEED_LEARNT);
	cr_assert_eq(speeds_save(&speeds), -ENOTDIR);
	cr_assert(speeds.dirty);
	cr_assert_eq(looks_up("x", "y", 0, 0), 0);
	cr_assert_eq(unlink(name), 0);
}

Test(speeds_file, without_a_home_nothing_is_remembered)
{
	unsetenv("XDG_CACHE_HOME");
	unsetenv("HOME");
	speeds_set(&speeds, "x", "y", 1, 2, TAIO_SPEED_LEARNT);
	cr_assert_eq(speeds_save(&speeds), -ENOENT);
	cr_assert_eq(looks_up("x", "y", 0, 0), 0);
	setenv("XDG_CACHE_HOME", "relative/is/not/allowed", 1);
	cr_assert_eq(speeds_save(&speeds), -ENOENT);
	setenv("HOME", home, 1);
	unsetenv("XDG_CACHE_HOME");
	cr_assert_eq(speeds_save(&speeds), 0);
	cr_assert_eq(looks_up("x", "y", 1, 2), TAIO_SPEED_LEARNT);
	snprintf(home + strlen(home), sizeof(home) - strlen(home), "/.cache");
	unlink(file_name());
	{
		char name[PATH_MAX];

		snprintf(name, sizeof(name), "%s/taio", home);
		cr_assert_eq(rmdir(name), 0);
		cr_assert_eq(rmdir(home), 0);
		*strrchr(home, '/') = '\0';
	}
}
