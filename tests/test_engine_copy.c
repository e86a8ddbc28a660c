/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_copy.c: every pair of endpoints that makes sense through taio_copy(), at the sizes
 * where things go wrong, compared byte by byte; and what copies keep: positions, holes, the rest of
 * a file.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

#define LARGE ((1 << 20) + 3)

static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, LARGE };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

TestSuite(engine_copy, .init = kit_open, .fini = kit_close, .timeout = 120);

static void copy_pair(enum kit_kind from, enum kit_kind to, size_t size)
{
	uint8_t *data = from == KIT_ZERO ? calloc(1, size + 1)
					 : kit_pattern(size, (unsigned int)(size + from * 7 + to));
	struct taio_options options = kit_options();
	struct kit_end source, sink;
	uint64_t progress = 0;
	char what[128];

	snprintf(what, sizeof(what), "%s to %s, %zu bytes", kit_kind_name(from), kit_kind_name(to),
		 size);
	kit_what = what;
	options.progress = &progress;
	options.datagram = 1000;
	kit_source(&source, from, data, size);
	kit_sink(&sink, to, size);
	kit_moves(source.ep, sink.ep, size, &options);
	cr_assert_eq(progress, size, "%s: progress says %llu", what, (unsigned long long)progress);
	kit_source_done(&source);
	kit_sink_done(&sink, data, size, what);
	free(data);
}

static void copy_to_all(enum kit_kind from)
{
	for (enum kit_kind to = 0; to < KIT_KINDS; to++)
		for (size_t i = 0; i < SIZES && kit_is_pair(from, to); i++)
			copy_pair(from, to, sizes[i]);
}

#define FROM(NAME, KIND)                               \
	Test(engine_copy, from_##NAME##_to_everything) \
	{                                              \
		copy_to_all(KIND);                     \
	}

FROM(memory, KIT_MEMORY)
FROM(a_vector, KIT_VECTOR)
FROM(a_path, KIT_PATH_NEW)
FROM(a_part_of_a_path, KIT_PATH_PART)
FROM(a_part_of_a_descriptor, KIT_FD_PART)
FROM(a_descriptor_at_its_position, KIT_FD_CURRENT)
FROM(a_pipe, KIT_PIPE)
FROM(a_socketpair, KIT_STREAM)
FROM(datagrams, KIT_DGRAM)
FROM(a_tcp_peer, KIT_CONNECT_TCP)
FROM(a_unix_peer, KIT_CONNECT_UNIX)
FROM(a_tcp_client, KIT_LISTEN_TCP)
FROM(a_unix_client, KIT_LISTEN_UNIX)
FROM(zeros, KIT_ZERO)

/* ---- the same on fewer devices ---- */

static void copy_with(uint32_t flags)
{
	struct taio_engine_options options = kit_engine_options(flags);

	kit_reopen(&options);
	for (enum kit_kind from = 0; from < KIT_KINDS; from++)
		for (enum kit_kind to = 0; to < KIT_KINDS; to++)
			if (kit_is_pair(from, to))
				copy_pair(from, to, LARGE);
}

Test(engine_copy, every_pair_works_without_io_uring)
{
	copy_with(TAIO_NO_URING);
}

Test(engine_copy, every_pair_works_without_worker_threads)
{
	copy_with(TAIO_NO_WORKERS);
}

Test(engine_copy, every_pair_works_with_neither)
{
	copy_with(TAIO_NO_URING | TAIO_NO_WORKERS);
}

Test(engine_copy, every_pair_works_when_calls_may_block)
{
	copy_with(TAIO_MAY_BLOCK);
}

Test(engine_copy, every_pair_works_when_the_engine_never_sleeps)
{
	copy_with(TAIO_BUSY_POLL);
}

static void copy_pinned(const char *device, size_t count)
{
	struct taio_engine_options options = kit_engine_options(0);

	options.pin = device;
	kit_reopen(&options);
	for (size_t i = 0; i < count; i++) {
		copy_pair(KIT_PATH_NEW, KIT_PATH_NEW, sizes[i]);
		copy_pair(KIT_PATH_PART, KIT_PATH_PART, sizes[i]);
	}
}

Test(engine_copy, a_pinned_device_also_copies_files_of_no_bytes)
{
	copy_pinned("rw", SIZES);
	copy_pinned("cfr", SIZES);
	copy_pinned("uring,rw", SIZES);
	copy_pinned("splice", SIZES);
	copy_pinned("sendfile", 1); /* too small for it, but nothing has to be carried */
	copy_pinned("mmap", 1);
}

/* An engine that sees more kinds of routes than it has places for. */
Test(engine_copy, every_pair_on_two_file_systems_in_one_engine)
{
	char other[] = "/dev/shm/taio-engine-XXXXXX", here[sizeof(kit_dir)];

	if (!mkdtemp(other))
		kit_skip("/dev/shm cannot be written");
	strcpy(here, kit_dir);
	for (int round = 0; round < 2; round++) {
		for (enum kit_kind from = 0; from < KIT_KINDS; from++)
			for (enum kit_kind to = 0; to < KIT_KINDS; to++) {
				strcpy(kit_dir,
				       (from + to + (unsigned int)round) % 2 ? other : here);
				if (kit_is_pair(from, to))
					copy_pair(from, to, 40000);
			}
		strcpy(kit_dir, here);
	}
	for (size_t i = 0; i < SIZES; i++) {
		uint8_t *data = kit_pattern(sizes[i], 5);
		char name[64];

		snprintf(name, sizeof(name), "%s/file", other);
		kit_write(kit_path("a"), data, sizes[i]);
		kit_moves(taio_path(kit_path("a")), taio_path(name), sizes[i], NULL);
		kit_check(name, data, sizes[i]);
		kit_moves(taio_path(name), taio_path(kit_path("b")), sizes[i], NULL);
		kit_check(kit_path("b"), data, sizes[i]);
		unlink(name);
		free(data);
	}
	cr_assert_eq(rmdir(other), 0, "something was left in %s", other);
}

/* ---- parts ---- */

Test(engine_copy, options_length_limits_every_pair)
{
	for (enum kit_kind from = 0; from < KIT_KINDS; from++) {
		struct taio_options options = kit_options();
		uint8_t *data, out[64] = { 0 };
		struct kit_end source;
		struct iovec iov[2] = { { out, 1 }, { out + 1, 9 } };

		if (!kit_is_source(from) || from == KIT_VECTOR || from == KIT_MEMORY ||
		    from == KIT_DGRAM)
			continue;
		data = from == KIT_ZERO ? calloc(1, 5000) : kit_pattern(5000, 1);
		options.length = 10;
		kit_source(&source, from, data, 5000);
		source.taken = 10; /* how far a position moves; the rest stays with its peer */
		kit_moves(source.ep, taio_vector(iov, 2), 10, &options);
		cr_assert(memcmp(out, data, 10) == 0, "%s", kit_kind_name(from));
		cr_assert_eq(out[10], 0, "%s", kit_kind_name(from));
		kit_source_done(&source);
		free(data);
	}
}

/* A file larger than what is wanted of it must not be followed to its end. */
Test(engine_copy, the_size_of_the_destination_ends_the_copy)
{
	uint8_t *data = kit_pattern(100000, 1), *memory = kit_pattern(100000, 2);
	uint8_t *before = kit_pattern(100000, 2);
	struct iovec iov[3] = { { memory, 10 }, { memory + 10, 0 }, { memory + 10, 4000 } };
	int fd;

	kit_write(kit_path("from"), data, 100000);
	kit_moves(taio_path(kit_path("from")), taio_memory(memory, 4096), 4096, NULL);
	cr_assert(memcmp(memory, data, 4096) == 0);
	cr_assert(memcmp(memory + 4096, before + 4096, 100000 - 4096) == 0);
	memcpy(memory, before, 100000);
	kit_moves(taio_path(kit_path("from")), taio_vector(iov, 3), 4010, NULL);
	cr_assert(memcmp(memory, data, 4010) == 0);
	cr_assert(memcmp(memory + 4010, before + 4010, 100000 - 4010) == 0);
	fd = open(kit_path("from"), O_RDONLY | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	kit_moves(taio_file(fd, 1000, 5000), taio_path(kit_path("to")), 5000, NULL);
	kit_check(kit_path("to"), data + 1000, 5000);
	kit_moves(taio_path_at(kit_path("from"), 0, TAIO_TO_END),
		  taio_path_at(kit_path("to2"), 0, 300), 300, NULL);
	kit_check(kit_path("to2"), data, 300);
	close(fd);
	free(data);
	free(memory);
	free(before);
}

Test(engine_copy, a_part_behind_the_end_of_a_file_is_empty)
{
	uint8_t byte = 7;
	int fd;

	kit_write(kit_path("from"), "abc", 3);
	kit_moves(taio_path_at(kit_path("from"), 3, 10), taio_memory(&byte, 1), 0, NULL);
	kit_moves(taio_path_at(kit_path("from"), 1000, 10), taio_memory(&byte, 1), 0, NULL);
	fd = open(kit_path("from"), O_RDONLY | O_CLOEXEC);
	kit_moves(taio_file(fd, 1000, 10), taio_memory(&byte, 1), 0, NULL);
	kit_moves(taio_file(fd, 2, TAIO_TO_END), taio_path(kit_path("to")), 1, NULL);
	kit_check(kit_path("to"), "c", 1);
	cr_assert_eq(byte, 7);
	close(fd);
}

Test(engine_copy, requests_on_one_position_follow_each_other)
{
	struct taio_endpoint from, to;
	uint8_t *data = kit_pattern(300000, 1), *out = calloc(1, 300000);
	struct taio_event event[30];
	int fd;

	kit_write(kit_path("from"), data, 300000);
	fd = open(kit_path("from"), O_RDONLY | O_CLOEXEC);
	for (uint64_t i = 0; i < 30; i++) {
		from = taio_file(fd, TAIO_CURRENT, 10000);
		to = taio_memory(out + i * 10000, 10000);
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	}
	cr_assert_eq(taio_get_events(kit, event, 30, 30, KIT_TIMEOUT_NS), 30);
	for (int i = 0; i < 30; i++)
		cr_assert_eq(event[i].result, 10000);
	cr_assert(memcmp(data, out, 300000) == 0);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 300000);
	close(fd);
	free(data);
	free(out);
}

/* A number that was a file's and is a socket's now must not be taken for a file. */
Test(engine_copy, a_descriptor_number_that_is_used_again_is_looked_at_again)
{
	uint8_t out[100];
	int fd, pair[2];

	kit_write(kit_path("from"), out, sizeof(out));
	fd = open(kit_path("from"), O_RDONLY | O_CLOEXEC);
	kit_moves(taio_file(fd, 0, 100), taio_memory(out, 100), 100, NULL);
	kit_moves(taio_file(fd, 50, 50), taio_memory(out, 50), 50, NULL);
	close(fd);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(pair[0], fd, "the test wants the same number");
	cr_assert_eq(write(pair[1], "hello", 5), 5);
	kit_moves(taio_file(fd, 0, 5), taio_memory(out, 5), 5, NULL);
	cr_assert(memcmp(out, "hello", 5) == 0);
	kit_moves(taio_memory("there", 5), taio_file(fd, 0, TAIO_TO_END), 5, NULL);
	cr_assert_eq(read(pair[1], out, sizeof(out)), 5);
	cr_assert(memcmp(out, "there", 5) == 0);
	close(pair[0]);
	close(pair[1]);
}

/* ---- files that lie, grow, have holes ---- */

Test(engine_copy, files_of_procfs_and_sysfs_come_whole)
{
	static const char *const name[] = { "/proc/self/limits", "/proc/filesystems",
					    "/sys/kernel/mm/transparent_hugepage/enabled" };

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		static char want[65536], got[65536];
		struct taio_event event;
		ssize_t size;
		int fd = open(name[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			continue;
		size = read(fd, want, sizeof(want));
		cr_assert_gt(size, 0);
		event = kit_copy(taio_path(name[i]), taio_path(kit_path("to")), NULL);
		cr_assert_eq(event.result, size, "%s: %lld", name[i], (long long)event.result);
		kit_check(kit_path("to"), want, (size_t)size);
		event = kit_copy(taio_path(name[i]), taio_memory(got, sizeof(got)), NULL);
		cr_assert_eq(event.result, size, "%s", name[i]);
		cr_assert(memcmp(want, got, (size_t)size) == 0);
		cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
		unlink(kit_path("to")); /* it may have become read-only */
		event = kit_copy(taio_descriptor(fd), taio_path(kit_path("to")), NULL);
		cr_assert_eq(event.result, size, "%s", name[i]);
		kit_check(kit_path("to"), want, (size_t)size);
		unlink(kit_path("to"));
		close(fd);
	}
}

Test(engine_copy, a_sparse_file_over_4_gib_stays_sparse)
{
	static const uint64_t at[] = { 0, 1 << 20, 4ULL << 30, (5ULL << 30) + 12345 };
	uint64_t size = (6ULL << 30) + 77, progress = 0;
	struct taio_options options = kit_options();
	struct stat st;
	char got[16];
	int fd;

	fd = open(kit_path("from"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(fd, 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(pwrite(fd, "data in a hole", 14, (off_t)at[i]), 14);
	cr_assert_eq(ftruncate(fd, (off_t)size), 0);
	close(fd);
	options.progress = &progress;
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), size, &options);
	cr_assert_eq(progress, size, "holes are progress");
	fd = open(kit_path("to"), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq((uint64_t)st.st_size, size);
	cr_assert_lt(st.st_blocks, 2048, "%lld blocks", (long long)st.st_blocks);
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(pread(fd, got, 16, (off_t)at[i]), 16);
		cr_assert(memcmp(got, "data in a hole\0", 16) == 0);
	}
	cr_assert_eq(pread(fd, got, 16, (off_t)size - 16), 16);
	cr_assert(memcmp(got, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16) == 0);
	close(fd);
}

Test(engine_copy, a_file_that_is_one_hole_stays_one)
{
	struct stat st;
	int fd = open(kit_path("from"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(ftruncate(fd, 5LL << 30), 0);
	close(fd);
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), 5ULL << 30, NULL);
	cr_assert_eq(stat(kit_path("to"), &st), 0);
	cr_assert_eq(st.st_size, 5LL << 30);
	cr_assert_lt(st.st_blocks, 64);
}

Test(engine_copy, holes_are_filled_on_request)
{
	struct taio_options options = kit_options();
	struct stat st;
	int fd = open(kit_path("from"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(pwrite(fd, "x", 1, 3 << 20), 1);
	close(fd);
	options.flags = TAIO_NO_SPARSE;
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), (3 << 20) + 1, &options);
	cr_assert_eq(stat(kit_path("to"), &st), 0);
	cr_assert_geq(st.st_blocks * 512, 3 << 20);
}

/* ---- pointers, helpers ---- */

Test(engine_copy, pointers_of_every_size_and_alignment)
{
	uint8_t *from = kit_pattern(3 << 20, 1), *to = calloc(1, 3 << 20);

	for (size_t size = 0; size < 3000000; size += 1 + size / 5)
		for (size_t shift = 0; shift < 64; shift += 21) {
			struct taio_event event;

			memset(to, 0, shift + size + 1);
			cr_assert_eq(taio_schedule_pointer(kit, from + 63 - shift, to + shift, size,
							   size),
				     0);
			event = kit_wait_one();
			cr_assert_eq(event.cookie, size);
			cr_assert_eq(event.result, (int64_t)size);
			cr_assert_eq((event.flags & TAIO_EVENT_INLINE) != 0, size <= 1024);
			cr_assert(memcmp(to + shift, from + 63 - shift, size) == 0);
			cr_assert_eq(to[shift + size], 0);
		}
	free(from);
	free(to);
}

Test(engine_copy, the_three_calls_of_the_first_idea)
{
	struct kit_end stream, peer;
	uint8_t *data = kit_pattern(70000, 1);
	struct taio_event event;

	kit_write(kit_path("file"), data, 70000);
	kit_sink(&stream, KIT_STREAM, 70000);
	kit_sink(&peer, KIT_CONNECT_TCP, 70000);
	cr_assert_eq(taio_schedule_file_socket(kit, kit_path("file"), stream.fd, 1), 0);
	event = kit_wait_one();
	cr_assert_eq(event.cookie, 1);
	cr_assert_eq(event.result, 70000);
	cr_assert_eq(taio_schedule_file_addr(kit, kit_path("file"), peer.address, 2), 0);
	event = kit_wait_one();
	cr_assert_eq(event.cookie, 2);
	cr_assert_eq(event.result, 70000);
	kit_sink_done(&stream, data, 70000, "socket");
	kit_sink_done(&peer, data, 70000, "address");
	free(data);
}

Test(engine_copy, memcpy_calls_behave_as_memcpy)
{
	uint8_t *from = kit_pattern(9 << 20, 1), *to = calloc(1, 9 << 20);

	for (size_t size = 1; size < 9 << 20; size *= 3) {
		memset(to, 0, size + 1);
		cr_assert_eq(taio_memcpy(kit, to, from, size), to);
		cr_assert(memcmp(to, from, size) == 0);
		cr_assert_eq(to[size], 0);
		memset(to, 0, size + 1);
		cr_assert_eq(taio_memcpy_large(kit, to, from, size), to);
		cr_assert(memcmp(to, from, size) == 0);
	}
	cr_assert_eq(taio_pending(kit), 0);
	free(from);
	free(to);
}

Test(engine_copy, strings_and_options_are_copied_before_the_call_returns)
{
	char from[KIT_PATH], to[KIT_PATH];
	struct taio_endpoint a, b;
	struct taio_options options = kit_options();

	kit_write(kit_path("from"), "abc", 3);
	strcpy(from, kit_path("from"));
	strcpy(to, kit_path("to"));
	a = taio_path(from);
	b = taio_path(to);
	cr_assert_eq(taio_copy(kit, &a, &b, &options, 1), 0);
	memset(from, 'x', sizeof(from));
	memset(to, 'x', sizeof(to));
	memset(&a, 0xff, sizeof(a));
	memset(&b, 0xff, sizeof(b));
	memset(&options, 0xff, sizeof(options));
	cr_assert_eq(kit_wait_one().result, 3);
	kit_check(kit_path("to"), "abc", 3);
}
