/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_info.c: what an engine tells about itself (operations, devices, names), calibration,
 * registered buffers, and the end of a stream, through the public interface.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

#define DEVICES_MAX 64

TestSuite(engine_info, .init = kit_open, .fini = kit_close, .timeout = 120);

static const struct taio_device_info *info_device(const char *name)
{
	static struct taio_device_info info[DEVICES_MAX];
	int n = taio_devices(kit, info, sizeof(info[0]), DEVICES_MAX);

	cr_assert(n > 0 && n <= DEVICES_MAX);
	for (int i = 0; i < n; i++)
		if (!strcmp(info[i].name, name))
			return &info[i];
	cr_assert_fail("no device is called %s", name);
	return NULL;
}

Test(engine_info, every_operation_has_a_name_and_devices_that_are_there)
{
	struct taio_operation_info op[64];
	struct taio_device_info device[DEVICES_MAX];
	int ops = taio_operations(kit, op, sizeof(op[0]), 64);
	int devices = taio_devices(kit, device, sizeof(device[0]), DEVICES_MAX);

	cr_assert(ops >= 10 && ops <= 64 && devices > 0 && devices <= DEVICES_MAX);
	cr_assert_str_eq(op[0].name, "copy");
	cr_assert(strstr(op[0].suboptions, "stream"));
	for (int i = 0; i < ops; i++) {
		cr_assert(op[i].name[0] && op[i].devices, "%s", op[i].name);
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(op[i].name, op[k].name);
		for (int d = 0; d < 64; d++)
			if (op[i].devices >> d & 1)
				cr_assert(d < devices && device[d].flags & TAIO_DEVICE_AVAILABLE,
					  "%s on %s", op[i].name, device[d].name);
	}
}

Test(engine_info, every_device_says_what_it_is_or_why_it_is_not_there)
{
	struct taio_engine_options options = kit_engine_options(TAIO_NO_URING | TAIO_NO_WORKERS);
	struct taio_device_info device[DEVICES_MAX];
	unsigned int missing = 0;
	int n;

	kit_reopen(&options);
	n = taio_devices(kit, device, sizeof(device[0]), DEVICES_MAX);
	for (int i = 0; i < n; i++) {
		bool there = device[i].flags & TAIO_DEVICE_AVAILABLE;

		cr_assert_eq(device[i].number, (uint32_t)i);
		cr_assert_str_eq(taio_device_name(kit, (unsigned int)i), device[i].name);
		cr_assert(device[i].text[0] && device[i].pairs[0] && device[i].base_ns,
			  "%s tells nothing", device[i].name);
		cr_assert(there == !device[i].reason[0], "%s: '%s'", device[i].name,
			  device[i].reason);
		missing += !there;
		if (strchr(device[i].name, '@'))
			cr_assert_not(there, "%s without threads", device[i].name);
	}
	cr_assert_not(info_device("uring")->flags & TAIO_DEVICE_AVAILABLE);
	cr_assert_geq(missing, 4);
	cr_assert_str_eq(taio_device_name(kit, 255), "none");
	cr_assert_str_eq(taio_device_name(kit, (unsigned int)n), "none");
}

Test(engine_info, a_list_with_little_room_says_how_much_there_is)
{
	struct taio_device_info device[3];
	struct taio_operation_info op[2];
	int all = taio_devices(kit, NULL, sizeof(device[0]), 0);

	memset(device, 0x55, sizeof(device));
	memset(op, 0x55, sizeof(op));
	cr_assert_gt(all, 3);
	cr_assert_eq(taio_devices(kit, device, sizeof(device[0]), 2), all);
	cr_assert_eq(device[2].name[0], 0x55, "written behind the room");
	cr_assert_gt(taio_operations(kit, op, sizeof(op[0]), 1), 1);
	cr_assert_eq(op[1].name[0], 0x55, "written behind the room");
	cr_assert_eq(taio_devices(kit, device, sizeof(device[0]) - 8, 3), -EINVAL);
	cr_assert_eq(taio_operations(kit, op, 8, 2), -EINVAL);
	cr_assert_eq(taio_devices(kit, NULL, sizeof(device[0]), 3), -EINVAL);
}

/* A program that was built with a newer header has larger elements. */
Test(engine_info, larger_elements_are_filled_from_their_start_and_zeroed_behind)
{
	struct {
		struct taio_device_info info;
		char more[40];
	} newer[DEVICES_MAX];
	int n;

	memset(newer, 0x55, sizeof(newer));
	n = taio_devices(kit, &newer[0].info, sizeof(newer[0]), DEVICES_MAX);
	cr_assert_gt(n, 1);
	for (int i = 0; i < n; i++) {
		cr_assert_str_eq(newer[i].info.name, taio_device_name(kit, (unsigned int)i));
		cr_assert_eq(newer[i].more[39], 0);
	}
}

Test(engine_info, names_become_masks_with_their_worker_twins)
{
	uint64_t mask = 0, twin = 0;

	cr_assert_eq(taio_device_mask(kit, "rw,splice", &mask), 0);
	cr_assert_eq(taio_device_mask(kit, "rw@worker", &twin), 0);
	cr_assert_eq(__builtin_popcountll(mask), 4);
	cr_assert_eq(__builtin_popcountll(twin), 1);
	cr_assert_eq(mask & twin, twin);
	cr_assert(mask >> info_device("rw")->number & 1);
	mask = 7;
	cr_assert_eq(taio_device_mask(kit, "", &mask), -EINVAL);
	cr_assert_eq(taio_device_mask(kit, "rw,fast", &mask), -ENODEV);
	cr_assert(strstr(taio_refusal(kit), "fast"), "%s", taio_refusal(kit));
	cr_assert_eq(taio_device_mask(kit, "r", &mask), -ENODEV, "a part of a name is no name");
	cr_assert_eq(mask, 7, "written although it failed");
}

Test(engine_info, a_device_counts_what_it_did)
{
	struct taio_options options = kit_options();
	struct taio_device_info before = *info_device("rw"), after;
	uint8_t *data = kit_pattern(100000, 1);

	cr_assert_eq(taio_device_mask(kit, "rw", &options.pin), 0);
	options.pin &= ~(1ULL << info_device("rw@worker")->number);
	kit_write(kit_path("from"), data, 100000);
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), 100000, &options);
	after = *info_device("rw");
	cr_assert_eq(after.bytes - before.bytes, 100000);
	cr_assert_gt(after.steps, before.steps);
	cr_assert_eq(after.errors, before.errors);
	cr_assert_eq(after.in_flight, 0);
	free(data);
}

Test(engine_info, the_version_is_that_of_the_header)
{
	cr_assert_str_eq(taio_version(), TAIO_VERSION);
}

/* ---- calibration ---- */

static unsigned int info_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* What the cache file has of calibrations: lines CONTEXT|DEVICE|... */
static void info_calibrated(const char *cache)
{
	static const char *const measured[] = { "copy mem>pipe |rw|",     "copy pipe>mem |rw|",
						"copy mem>dgram |dgram|", "copy dgram>mem |dgram|",
						"copy stream>mem |rw|",   "file |file|",
						"file |file@worker|",     "file>stream |file|" };
	char path[KIT_PATH], text[16384] = "";
	FILE *speeds;

	snprintf(path, sizeof(path), "%s/taio/speeds", cache);
	speeds = fopen(path, "re");
	cr_assert_not_null(speeds, "%s", path);
	text[fread(text, 1, sizeof(text) - 1, speeds)] = '\0';
	fclose(speeds);
	for (unsigned int i = 0; i < sizeof(measured) / sizeof(measured[0]); i++)
		cr_expect(strstr(text, measured[i]), "%s not in:\n%s", measured[i], text);
}

Test(engine_info, calibration_measures_is_remembered_and_leaves_no_file)
{
	struct taio_engine_options options = { .size = sizeof(options),
					       .flags = TAIO_NO_CONTROL | TAIO_NO_BPF };
	uint64_t published = info_device("rw")->bytes_per_s;
	const char *cache = kit_path("cache");
	unsigned int entries;

	cr_assert_eq(mkdir(cache, 0700), 0);
	setenv("XDG_CACHE_HOME", cache, 1);
	setenv("TMPDIR", kit_dir, 1);
	kit_reopen(&options);
	cr_assert_eq(info_device("rw")->source, TAIO_SPEED_PUBLISHED);
	entries = info_entries(kit_dir);
	cr_assert_eq(taio_calibrate(kit), 0);
	cr_assert_eq(info_entries(kit_dir), entries, "a temporary file was left");
	cr_assert_eq(taio_pending(kit), 0);
	cr_assert_eq(info_device("rw")->source, TAIO_SPEED_CALIBRATED);
	cr_assert_eq(info_device("memcpy")->source, TAIO_SPEED_CALIBRATED);
	cr_assert_eq(info_device("dgram")->source, TAIO_SPEED_CALIBRATED);
	info_calibrated(cache);
	kit_reopen(&options);
	cr_assert_eq(info_device("rw")->source, TAIO_SPEED_CALIBRATED, "not remembered");
	options.flags |= TAIO_NO_CACHE;
	kit_reopen(&options);
	cr_assert_eq(info_device("rw")->source, TAIO_SPEED_PUBLISHED);
	cr_assert_eq(info_device("rw")->bytes_per_s, published);
}

Test(engine_info, calibration_waits_for_nobody)
{
	struct taio_endpoint from, to = taio_null();
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(taio_calibrate(kit), -EBUSY);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	cr_assert_eq(taio_calibrate(kit), -EBUSY, "its event was not taken yet");
	cr_assert_eq(kit_wait_one().result, -ECANCELED);
	close(pair[0]);
	close(pair[1]);
}

/* ---- registered buffers ---- */

Test(engine_info, registered_buffers_carry_the_same_bytes)
{
	static _Alignas(4096) uint8_t one[1 << 20], two[1 << 20];
	struct iovec buffers[2] = { { one, sizeof(one) }, { two, sizeof(two) } };
	struct taio_options options = kit_options();
	uint8_t *data = kit_pattern(1 << 20, 1);
	int rc = taio_register_buffers(kit, buffers, 2);

	if (rc == -EOPNOTSUPP || rc == -ENOMEM)
		kit_skip("buffers cannot be registered here: %s", strerror(-rc));
	cr_assert_eq(rc, 0, "%s", strerror(-rc));
	kit_write(kit_path("from"), data, 1 << 20);
	cr_assert_eq(taio_device_mask(kit, "uring", &options.pin), 0);
	for (int round = 0; round < 3; round++) { /* registered, fewer of them, none */
		memset(one, 0, sizeof(one));
		memset(two, 0, sizeof(two));
		kit_moves(taio_path(kit_path("from")), taio_memory(one, 1 << 20), 1 << 20,
			  &options);
		cr_assert(memcmp(one, data, 1 << 20) == 0, "round %d", round);
		kit_moves(taio_path_at(kit_path("from"), 4096, 70000), taio_memory(two + 1, 70000),
			  70000, &options);
		cr_assert(memcmp(two + 1, data + 4096, 70000) == 0, "round %d", round);
		cr_assert(two[0] == 0 && two[70001] == 0);
		kit_moves(taio_memory(one + 77, 500000), taio_path(kit_path("to")), 500000,
			  &options);
		kit_check(kit_path("to"), data + 77, 500000);
		cr_assert_eq(taio_register_buffers(kit, buffers, round == 0 ? 1 : 0), 0);
	}
	free(data);
}

Test(engine_info, wrong_buffers_are_refused_and_requests_in_flight_keep_theirs)
{
	static uint8_t memory[4096];
	struct iovec none = { NULL, 10 }, empty = { memory, 0 }, good = { memory, 4096 };
	struct taio_endpoint from, to = taio_null();
	int pair[2];

	cr_assert_eq(taio_register_buffers(kit, &none, 1), -EINVAL);
	cr_assert_eq(taio_register_buffers(kit, &empty, 1), -EINVAL);
	cr_assert_eq(taio_register_buffers(kit, NULL, 1), -EINVAL);
	cr_assert_eq(taio_register_buffers(kit, &good, 1025), -EINVAL);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(taio_register_buffers(kit, &good, 1), -EBUSY);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	cr_assert_eq(kit_wait_one().result, -ECANCELED);
	close(pair[0]);
	close(pair[1]);
}

/* ---- the end of a stream ---- */

static int info_receiver(char *text, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	snprintf(text, size, "127.0.0.1:%d:udp", ntohs(in.sin_port));
	return fd;
}

/* Return: length of the next datagram, -1: none comes. */
static ssize_t info_next(int fd, int wait_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char room[2048];

	return poll(&p, 1, wait_ms) == 1 ? recv(fd, room, sizeof(room), 0) : -1;
}

Test(engine_info, an_empty_datagram_ends_the_others_unless_it_is_not_wanted)
{
	struct taio_options options = kit_options();
	char text[64];
	int fd = info_receiver(text, sizeof(text));

	options.datagram = 1000;
	kit_moves(taio_zero(2500), taio_address(text), 2500, &options);
	cr_assert_eq(info_next(fd, 20000), 1000);
	cr_assert_eq(info_next(fd, 20000), 1000);
	cr_assert_eq(info_next(fd, 20000), 500);
	cr_assert_eq(info_next(fd, 20000), 0);
	options.flags = TAIO_NO_SHUTDOWN;
	kit_moves(taio_zero(1500), taio_address(text), 1500, &options);
	cr_assert_eq(info_next(fd, 20000), 1000);
	cr_assert_eq(info_next(fd, 20000), 500);
	cr_assert_eq(info_next(fd, 100), -1, "an end that was not wanted");
	close(fd);
}

/* ---- deadline ---- */

Test(engine_info, passing_a_deadline_is_no_error)
{
	struct taio_options options = kit_options();
	uint8_t *data = kit_pattern(300000, 1);

	options.deadline_ns = 1; /* long ago */
	kit_write(kit_path("from"), data, 300000);
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), 300000, &options);
	kit_check(kit_path("to"), data, 300000);
	free(data);
}
