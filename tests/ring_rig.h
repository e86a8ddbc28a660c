/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * ring_rig.h: what the tests of the io_uring drivers share: a host, the three devices, a way to
 * run a step through the ops table as the engine does, files and peers. Not the engine.
 */
#ifndef TAIO_TESTS_RING_RIG_H
#define TAIO_TESTS_RING_RIG_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/ring.h"
#include "taio.h"

#define RIG_DEVICES 3 /* uring, direct, zc: those that do all there is */

struct rig {
	struct taio_host host;
	struct taio_device dev[RIG_DEVICES];
	char dir[64];
	unsigned int dirs;
};

static inline uint64_t rig_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void rig_log(struct taio_host *host, const char *line)
{
	(void)host;
	fprintf(stderr, "log: %s\n", line);
}

/* The devices, not opened; and a temporary directory. */
static inline void rig_init(struct rig *rig)
{
	static const struct taio_driver *const drivers[RIG_DEVICES] = { &taio_driver_uring,
									&taio_driver_direct,
									&taio_driver_zc };
	const char *tmp = getenv("TMPDIR");

	memset(rig, 0, sizeof(*rig));
	rig->host.now_ns = rig_now;
	rig->host.log = rig_log;
	rig->host.cores = 2;
	rig->host.requests = 256;
	for (int i = 0; i < RIG_DEVICES; i++) {
		rig->dev[i].driver = drivers[i];
		rig->dev[i].host = &rig->host;
		rig->dev[i].number = (uint8_t)i;
	}
	snprintf(rig->dir, sizeof(rig->dir), "%s/taio-ring-XXXXXX",
		 tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	cr_assert(mkdtemp(rig->dir), "mkdtemp: %s", strerror(errno));
}

static inline struct ring *rig_ring(struct rig *rig)
{
	for (int i = 0; i < RIG_DEVICES; i++)
		if (rig->dev[i].priv)
			return rig->dev[i].priv;
	return NULL;
}

static inline void rig_open(struct rig *rig)
{
	rig_init(rig);
	for (int i = 0; i < RIG_DEVICES; i++) {
		int rc = rig->dev[i].driver->open(&rig->dev[i]);

		cr_assert_eq(rc, 0, "%s: %s", rig->dev[i].driver->name, rig->dev[i].reason);
	}
	cr_assert_eq(rig->dev[0].priv, rig->dev[1].priv);
	cr_assert_eq(rig->dev[0].priv, rig->dev[2].priv);
}

static inline void rig_remove_dir(struct rig *rig)
{
	char path[400];
	DIR *dir = opendir(rig->dir);

	cr_assert(dir);
	for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", rig->dir, e->d_name);
		unlink(path);
	}
	closedir(dir);
	cr_assert_eq(rmdir(rig->dir), 0, "%s: %s", rig->dir, strerror(errno));
}

/* After everything was given back: nothing may be left in the ring. */
static inline void rig_close(struct rig *rig)
{
	struct ring *ring = rig_ring(rig);

	if (ring) {
		cr_expect_eq(ring->strays, 0);
		cr_expect_eq(ring->room, ring->slots, "%u of %u slots are back", ring->room,
			     ring->slots);
	}
	for (int i = 0; i < RIG_DEVICES; i++)
		if (rig->dev[i].priv)
			rig->dev[i].driver->close(&rig->dev[i]);
	rig_remove_dir(rig);
}

/* Becomes a user who may not lock more than this, and whom nobody else is: the kernel counts by
 * user. Who may lock all there is has no limit. */
static inline void little_locked_memory(size_t bytes)
{
	const struct rlimit limit = { bytes, bytes };
	const uid_t uid = 60000 + (uid_t)getpid() % 5000;

	cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (geteuid() == 0)
		cr_assert_eq(setresuid(uid, uid, uid), 0);
}

static inline int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	cr_assert(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- steps ---- */

static inline struct taio_end end_memory(void *ptr)
{
	return (struct taio_end){ .kind = TAIO_KIND_MEM, .fd = -1, .fixed = -1, .ptr = ptr };
}

static inline struct taio_end end_file(int fd, uint64_t offset)
{
	return (struct taio_end){
		.kind = TAIO_KIND_FILE, .fs = TAIO_FS_EXT, .fd = fd, .fixed = -1, .offset = offset
	};
}

static inline struct taio_end end_fd(enum taio_kind kind, int fd)
{
	return (struct taio_end){ .kind = (uint8_t)kind, .fd = fd, .fixed = -1 };
}

static inline struct taio_step step_copy(struct taio_end from, struct taio_end to, uint64_t len)
{
	struct taio_step step;

	memset(&step, 0, sizeof(step));
	memset(step.priv, 0xa5, sizeof(step.priv)); /* whatever the last driver left there */
	step.op = TAIO_OP_COPY;
	step.from = from;
	step.to = to;
	step.len = len;
	step.wait_fd = -1;
	return step;
}

static inline enum taio_submit rig_submit(struct rig *rig, enum ring_device d,
					  struct taio_step *step)
{
	return rig->dev[d].driver->submit(&rig->dev[d], step);
}

/* Waits for one step of the device. Return: it, or NULL after @ms. */
static inline struct taio_step *rig_wait(struct rig *rig, enum ring_device d, int ms)
{
	const struct taio_driver *driver = rig->dev[d].driver;
	const uint64_t until = rig_now() + (uint64_t)ms * 1000000;
	struct taio_step *done = NULL;

	for (;;) {
		driver->wait(&rig->dev[d], 0);
		if (driver->reap(&rig->dev[d], &done, 1) == 1)
			return done;
		if (rig_now() >= until)
			return NULL;
		driver->wait(&rig->dev[d], 2000000);
	}
}

/* Runs a step to its end. Return: its result. */
static inline int64_t rig_run(struct rig *rig, enum ring_device d, struct taio_step *step)
{
	enum taio_submit submitted = rig_submit(rig, d, step);

	cr_assert_neq(submitted, TAIO_BUSY);
	if (submitted == TAIO_QUEUED) {
		struct taio_step *done = rig_wait(rig, d, 10000);

		cr_assert_eq(done, step, "the step did not come back");
	}
	return step->result;
}

/* Runs steps until all is moved, as the engine does. Return: bytes, or the first error. */
static inline int64_t rig_run_all(struct rig *rig, enum ring_device d, struct taio_step *step)
{
	const uint64_t len = step->len;
	uint64_t moved = 0;

	while (moved < len) {
		int64_t n;

		step->len = len - moved;
		n = rig_run(rig, d, step);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		moved += (uint64_t)n;
		step->from.offset += (uint64_t)n;
		step->to.offset += (uint64_t)n;
		if (step->from.ptr)
			step->from.ptr = (char *)step->from.ptr + n;
		if (step->to.ptr)
			step->to.ptr = (char *)step->to.ptr + n;
	}
	return (int64_t)moved;
}

/* ---- bytes ---- */

static inline uint64_t rng_next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static inline void bytes_fill(uint8_t *data, size_t len, uint64_t seed)
{
	uint64_t state = seed * 2 + 1;

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(rng_next(&state) >> 24);
}

static inline uint8_t *bytes_new(size_t len, uint64_t seed)
{
	uint8_t *data = aligned_alloc(4096, (len + 4095) & ~(size_t)4095);

	cr_assert(data);
	bytes_fill(data, len, seed);
	return data;
}

static inline int file_new(struct rig *rig, const char *name, const void *data, size_t len)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	cr_assert(fd >= 0, "%s: %s", path, strerror(errno));
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(fd, (const char *)data + at, len - at, (off_t)at);

		cr_assert(n > 0);
		at += (size_t)n;
	}
	return fd;
}

/* Is just this in the file at @offset? */
static inline bool file_has(int fd, uint64_t offset, const void *data, size_t len)
{
	uint8_t *have = malloc(len + 1);
	ssize_t n = 0;
	bool same;

	cr_assert(have);
	for (size_t at = 0; at < len; at += (size_t)n) {
		n = pread(fd, have + at, len - at, (off_t)(offset + at));
		if (n <= 0)
			break;
	}
	same = n > 0 && memcmp(have, data, len) == 0;
	free(have);
	return same;
}

/* ---- peers ---- */

static inline void unix_pair(int fd[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	for (int i = 0; i < 2; i++)
		fcntl(fd[i], F_SETFL, O_NONBLOCK);
}

/* A connected pair over loopback; @receive_bytes: room of fd[1], 0: the usual. */
static inline void inet_pair(int fd[2], int type, int receive_bytes)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(in);
	int listen_fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	cr_assert(listen_fd >= 0);
	if (receive_bytes)
		setsockopt(listen_fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
	cr_assert_eq(bind(listen_fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(getsockname(listen_fd, (struct sockaddr *)&in, &len), 0);
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(listen_fd, 1), 0);
	fd[0] = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(fd[0], (struct sockaddr *)&in, sizeof(in)), 0);
	if (type == SOCK_STREAM) {
		fd[1] = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		cr_assert(fd[1] >= 0);
		close(listen_fd);
	} else {
		fd[1] = listen_fd;
	}
	for (int i = 0; i < 2; i++)
		fcntl(fd[i], F_SETFL, O_NONBLOCK);
}

/* Takes up to @len bytes that are there now. */
static inline size_t peer_take(int fd, uint8_t *data, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = recv(fd, data + have, len - have, MSG_DONTWAIT);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

#endif /* TAIO_TESTS_RING_RIG_H */
