/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_alloc.c: between the call that schedules a request and its event nothing is allocated. The
 * allocator of this program counts; what an engine needs once (a ring, a thread, a route that it
 * meets for the first time, a device that is tried once in a while) is made in some rounds; in the
 * others nothing may be.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine_kit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define ALLOC_COUNTS 0
#else
#define ALLOC_COUNTS 1
#endif

static _Atomic int alloc_on;
static _Atomic unsigned long alloc_count;

#if ALLOC_COUNTS
/* glibc's own allocator under its other names: no dlsym(3), which allocates itself. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static void alloc_seen(void)
{
	if (atomic_load_explicit(&alloc_on, memory_order_relaxed))
		atomic_fetch_add(&alloc_count, 1);
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	alloc_seen();
	return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
	alloc_seen();
	return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t size)
{
	alloc_seen();
	return __libc_realloc(p, size);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t size)
{
	alloc_seen();
	return __libc_memalign(align, size);
}

__attribute__((visibility("default"))) int posix_memalign(void **ret_p, size_t align, size_t size)
{
	alloc_seen();
	*ret_p = __libc_memalign(align, size);
	return *ret_p ? 0 : ENOMEM;
}
#endif

TestSuite(engine_alloc, .init = kit_open, .fini = kit_close, .timeout = 120);

#define WARM   40
#define ROUNDS 200
#define BYTES  50000 /* not more than a socket takes while nobody reads */

struct alloc_pair {
	const char *what;
	struct taio_endpoint from, to;
	uint64_t bytes;
	uint32_t flags;
	int fill, drain; /* descriptors of the other sides; -1 */
	int listener;    /* or -1: whoever connects is accepted and read to its end */
};

static void alloc_feed(const struct alloc_pair *pair, const uint8_t *data)
{
	if (pair->fill >= 0)
		cr_assert_eq(write(pair->fill, data, pair->bytes), (ssize_t)pair->bytes);
}

static void alloc_drain(const struct alloc_pair *pair, uint8_t *room)
{
	int fd = pair->listener >= 0 ? accept(pair->listener, NULL, NULL) : pair->drain;
	uint64_t got = 0;

	if (fd < 0)
		return;
	while (got < pair->bytes) {
		ssize_t n = read(fd, room, pair->bytes - got);

		cr_assert_gt(n, 0, "%s", pair->what);
		got += (uint64_t)n;
	}
	if (pair->listener >= 0)
		close(fd);
}

/* Return: allocations in the counted rounds. */
static unsigned long alloc_run(const struct alloc_pair *pair, const uint8_t *data, uint8_t *room)
{
	struct taio_options options = kit_options();

	options.flags = pair->flags;
	options.length = pair->bytes;
	alloc_count = 0;
	for (int i = 0; i < WARM + ROUNDS; i++) {
		struct taio_event event;
		int rc, n;

		alloc_feed(pair, data);
		alloc_on = i >= WARM;
		rc = taio_copy(kit, &pair->from, &pair->to, &options, 1);
		n = rc ? 0 : taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS);
		alloc_on = 0;
		cr_assert_eq(rc, 0, "%s: %s", pair->what, strerror(-rc));
		cr_assert_eq(n, 1, "%s", pair->what);
		cr_assert_eq(event.result, (int64_t)pair->bytes, "%s: %lld", pair->what,
			     (long long)event.result);
		alloc_drain(pair, room);
	}
	return alloc_count;
}

static int alloc_listener(char *text, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	snprintf(text, size, "127.0.0.1:%d:tcp", ntohs(in.sin_port));
	return fd;
}

static void alloc_all(void)
{
	static char from[KIT_PATH], to[KIT_PATH], address[64];
	uint8_t *data = kit_pattern(4 << 20, 1), *room = kit_pattern(4 << 20, 2);
	int pipe_fd[2], pair_fd[2], file, listener = alloc_listener(address, sizeof(address));

	strcpy(from, kit_path("from"));
	strcpy(to, kit_path("to"));
	kit_write(from, data, 4 << 20);
	file = open(from, O_RDONLY | O_CLOEXEC);
	cr_assert(file >= 0 && pipe2(pipe_fd, O_CLOEXEC) == 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_fd), 0);
	{
		const struct taio_endpoint memory = taio_memory(room, 4 << 20);
		const struct alloc_pair pairs[] = {
			{ "memory to memory", taio_memory(data, 4 << 20), memory, 4 << 20, 0, -1,
			  -1, -1 },
			{ "memory to a path", taio_memory(data, BYTES), taio_path(to), BYTES, 0, -1,
			  -1, -1 },
			{ "path to path", taio_path(from), taio_path(to), 4 << 20, 0, -1, -1, -1 },
			{ "small path to path", taio_path(from), taio_path(to), BYTES, 0, -1, -1,
			  -1 },
			{ "durable", taio_path(from), taio_path(to), BYTES, TAIO_DURABLE, -1, -1,
			  -1 },
			{ "a part of a file to memory", taio_file(file, 4096, BYTES),
			  taio_memory(room, BYTES), BYTES, 0, -1, -1, -1 },
			{ "a path to nothing", taio_path(from), taio_null(), 4 << 20, 0, -1, -1,
			  -1 },
			{ "zeros to a path", taio_zero(BYTES), taio_path(to), BYTES, 0, -1, -1,
			  -1 },
			{ "a pipe to memory", taio_descriptor(pipe_fd[0]), taio_memory(room, BYTES),
			  BYTES, 0, pipe_fd[1], -1, -1 },
			{ "a path to a socket", taio_path(from), taio_descriptor(pair_fd[0]), BYTES,
			  0, -1, pair_fd[1], -1 },
			{ "a path to a peer", taio_path(from), taio_address(address), BYTES, 0, -1,
			  -1, listener },
		};

		for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
			unsigned long count = alloc_run(&pairs[i], data, room);

			/* a device that is tried for the first time is opened then */
			for (int again = 0; again < 5 && count; again++)
				count = alloc_run(&pairs[i], data, room);
			cr_expect_eq(count, 0, "%s: %lu allocations in %d requests", pairs[i].what,
				     count, ROUNDS);
		}
	}
	close(file);
	close(listener);
	for (int i = 0; i < 2; i++) {
		close(pipe_fd[i]);
		close(pair_fd[i]);
	}
	free(data);
	free(room);
}

Test(engine_alloc, nothing_is_allocated_between_schedule_and_event)
{
	if (!ALLOC_COUNTS)
		kit_skip("a sanitizer has an allocator of its own");
	alloc_all();
}

Test(engine_alloc, nothing_is_allocated_without_io_uring_either)
{
	struct taio_engine_options options = kit_engine_options(TAIO_NO_URING);

	if (!ALLOC_COUNTS)
		kit_skip("a sanitizer has an allocator of its own");
	kit_reopen(&options);
	alloc_all();
}

/* A test that counts nothing would pass. */
Test(engine_alloc, an_allocation_is_counted)
{
	void *volatile p;

	if (!ALLOC_COUNTS)
		kit_skip("a sanitizer has an allocator of its own");
	alloc_on = 1;
	p = malloc(10);
	alloc_on = 0;
	cr_assert_eq(alloc_count, 1);
	free(p);
}
