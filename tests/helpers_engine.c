/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* helpers_engine.c: see engine_kit.h. */
#include "engine_kit.h"

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define KIT_UNIT     1000 /* bytes of a datagram */
#define KIT_OFFSET   777  /* where parts of files begin */
#define KIT_OLD_TAIL 5000 /* by which an old destination is longer */

struct taio *kit;
const char *kit_what = "";
char kit_dir[KIT_PATH / 2];
static int kit_fds;

/* ---- fixtures ---- */

uint64_t kit_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

unsigned int kit_seed(void)
{
	const char *given = getenv("TAIO_TEST_SEED");
	unsigned int seed = given ? (unsigned int)strtoul(given, NULL, 0)
				  : (unsigned int)(kit_now_ns() / 1000);

	cr_log_info("seed %u", seed);
	return seed;
}

int kit_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	cr_assert_not_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

struct taio_engine_options kit_engine_options(uint32_t flags)
{
	return (struct taio_engine_options){ .size = sizeof(struct taio_engine_options),
					     .flags = flags | TAIO_NO_CACHE | TAIO_NO_CONTROL |
						      TAIO_NO_BPF };
}

struct taio_options kit_options(void)
{
	return (struct taio_options){ .size = sizeof(struct taio_options) };
}

void kit_directory(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(kit_dir, sizeof(kit_dir), "%s/taio-engine-XXXXXX", tmp ? tmp : "/tmp");
	cr_assert_not_null(mkdtemp(kit_dir));
	kit_fds = kit_count_fds();
}

void kit_reopen(const struct taio_engine_options *options)
{
	int rc;

	taio_close(kit);
	kit = NULL;
	rc = taio_open(&kit, options);
	cr_assert_eq(rc, 0, "%s", strerror(-rc));
}

void kit_open_options(const struct taio_engine_options *options)
{
	kit_directory();
	kit_reopen(options);
}

void kit_open_flags(uint32_t engine_flags)
{
	struct taio_engine_options options = kit_engine_options(engine_flags);

	kit_open_options(&options);
}

void kit_open(void)
{
	kit_open_flags(0);
}

static void kit_remove(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)) != NULL) {
		char name[KIT_PATH * 2];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		cr_expect_null(strstr(entry->d_name, ".taio-"), "temporary left: %s",
			       entry->d_name);
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (entry->d_type == DT_DIR)
			kit_remove(name);
		else
			unlink(name);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

void kit_close(void)
{
	if (!kit_dir[0]) /* a case that was skipped */
		return;
	taio_close(kit);
	kit = NULL;
	cr_expect_eq(kit_count_fds(), kit_fds, "descriptors: %d before, %d after", kit_fds,
		     kit_count_fds());
	kit_remove(kit_dir);
	kit_dir[0] = '\0';
}

/* ---- files ---- */

const char *kit_path(const char *name)
{
	static char path[16][KIT_PATH];
	static unsigned int next;

	next = (next + 1) % 16;
	snprintf(path[next], sizeof(path[next]), "%s/%s", kit_dir, name);
	return path[next];
}

uint8_t *kit_pattern(size_t size, unsigned int seed)
{
	uint8_t *data = malloc(size + 8);
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + 1;

	cr_assert_not_null(data);
	for (size_t i = 0; i < size; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(data + i, &x, 8);
	}
	return data;
}

/* Return: false if the reader is gone. */
static bool kit_write_fd(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return false;
		cr_assert_gt(n, 0, "%s", strerror(errno));
		data += n;
		size -= (size_t)n;
	}
	return true;
}

void kit_write(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert(kit_write_fd(fd, data, size));
	close(fd);
}

/* All bytes of a descriptor up to its end, or until @dropped and nothing comes any more. */
static uint8_t *kit_read_until(int fd, const bool *dropped, size_t *ret_size)
{
	size_t room = 65536, used = 0;
	uint8_t *data = malloc(room);

	cr_assert_not_null(data);
	for (;;) {
		ssize_t n;

		if (room - used < 65536) {
			room *= 2;
			data = realloc(data, room);
			cr_assert_not_null(data);
		}
		n = read(fd, data + used, room - used);
		if (n < 0 && (errno == EINTR || (errno == EAGAIN && dropped &&
						 !__atomic_load_n(dropped, __ATOMIC_ACQUIRE))))
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	*ret_size = used;
	return data;
}

static uint8_t *kit_read_fd(int fd, size_t *ret_size)
{
	return kit_read_until(fd, NULL, ret_size);
}

static uint8_t *kit_read(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data;

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	data = kit_read_fd(fd, ret_size);
	close(fd);
	return data;
}

void kit_check(const char *path, const void *data, size_t size)
{
	size_t got;
	uint8_t *have = kit_read(path, &got);

	cr_assert_eq(got, size, "%s has %zu bytes, wanted %zu", path, got, size);
	cr_assert(memcmp(have, data, size) == 0, "%s: wrong bytes", path);
	free(have);
}

bool kit_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* ---- requests ---- */

struct taio_event kit_wait_one(void)
{
	struct taio_event event[2];
	int n;

	memset(event, 0xa5, sizeof(event));
	do /* a ring's own work in the kernel may interrupt a wait, as a signal does */
		n = taio_get_events(kit, event, 1, 2, KIT_TIMEOUT_NS);
	while (n == -EINTR);
	cr_assert_eq(n, 1, "%s: %d events", kit_what, n);
	return event[0];
}

struct taio_event kit_copy(struct taio_endpoint from, struct taio_endpoint to,
			   const struct taio_options *options)
{
	static uint64_t cookie;
	struct taio_event event;
	int rc = taio_copy(kit, &from, &to, options, ++cookie);

	cr_assert_eq(rc, 0, "%s: refused: %s: %s", kit_what, strerror(-rc), taio_refusal(kit));
	event = kit_wait_one();
	cr_assert_eq(event.cookie, cookie);
	cr_assert_eq(taio_pending(kit), 0);
	return event;
}

void kit_moves(struct taio_endpoint from, struct taio_endpoint to, uint64_t size,
	       const struct taio_options *options)
{
	struct taio_event event = kit_copy(from, to, options);
	char text[128];

	taio_event_text(&event, text, sizeof(text));
	cr_assert_eq(event.result, (int64_t)size, "%s: %s, wanted %llu", kit_what, text,
		     (unsigned long long)size);
	cr_assert_eq(event.bytes, size);
	cr_assert_eq(event.step, 0);
}

struct taio_event kit_fails(struct taio_endpoint from, struct taio_endpoint to, int error,
			    enum taio_step_type step)
{
	struct taio_event event = kit_copy(from, to, NULL);
	char text[128];

	taio_event_text(&event, text, sizeof(text));
	cr_assert_eq(event.result, -error, "%s, wanted %s", text, strerror(error));
	cr_assert_eq(event.step, (unsigned int)step, "%s, wanted step %s", text,
		     taio_step_name(step));
	return event;
}

/* ---- sockets ---- */

int kit_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	close(fd);
	return ntohs(in.sin_port);
}

/* The address of a listener or of ourselves, of a kind with an address. */
static socklen_t kit_name(const struct kit_end *end, int port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (end->kind == KIT_CONNECT_TCP || end->kind == KIT_LISTEN_TCP) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = htons((uint16_t)port);
		return sizeof(*in);
	} else {
		struct sockaddr_un *un = (struct sockaddr_un *)ret;

		un->sun_family = AF_UNIX;
		cr_assert_lt(strlen(end->path), sizeof(un->sun_path));
		strcpy(un->sun_path, end->path);
		return sizeof(*un);
	}
}

static void kit_listen(struct kit_end *end)
{
	struct sockaddr_storage name;
	socklen_t length = kit_name(end, 0, &name);

	end->peer = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_geq(end->peer, 0);
	cr_assert_eq(bind(end->peer, (struct sockaddr *)&name, length), 0, "%s", strerror(errno));
	cr_assert_eq(listen(end->peer, 4), 0);
	if (end->kind == KIT_CONNECT_TCP) {
		length = sizeof(name);
		cr_assert_eq(getsockname(end->peer, (struct sockaddr *)&name, &length), 0);
		snprintf(end->address, sizeof(end->address), "127.0.0.1:%d:tcp",
			 ntohs(((struct sockaddr_in *)&name)->sin_port));
	} else {
		snprintf(end->address, sizeof(end->address), "unix:%s", end->path);
	}
}

/* In a thread: the engine listens, sooner or later. */
static int kit_connect(const struct kit_end *end)
{
	static const struct timeval moment = { .tv_usec = 50000 };
	struct sockaddr_storage name;
	socklen_t length;
	int fd, port = 0;

	if (end->kind == KIT_LISTEN_TCP)
		cr_assert_eq(sscanf(end->address, "listen:127.0.0.1:%d:tcp", &port), 1);
	length = kit_name(end, port, &name);
	for (int i = 0; i < 20000; i++) {
		fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (struct sockaddr *)&name, length) == 0) {
			/* A listener that is closed in the middle of a handshake may leave its client
			 * connected to nobody: it looks now and then whether all is over. */
			(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
			return fd;
		}
		close(fd);
		if (__atomic_load_n(&end->dropped, __ATOMIC_ACQUIRE))
			return -1;
		usleep(500);
	}
	cr_assert_fail("nobody listens on %s", end->address);
	return -1;
}

static int kit_meet(struct kit_end *end)
{
	int fd;

	switch (end->kind) {
	case KIT_CONNECT_TCP:
	case KIT_CONNECT_UNIX:
		fd = accept4(end->peer, NULL, NULL, SOCK_CLOEXEC);
		break;
	case KIT_LISTEN_TCP:
	case KIT_LISTEN_UNIX:
		fd = kit_connect(end);
		break;
	default:
		return end->peer;
	}
	if (end->peer >= 0)
		close(end->peer);
	end->peer = fd;
	return fd;
}

static void *kit_feed(void *arg)
{
	struct kit_end *end = arg;
	int fd = kit_meet(end);
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE); /* ours alone: the engine must not need this */
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	if (fd < 0) {
		end->broken = true;
		return NULL;
	}
	if (end->kind == KIT_DGRAM) {
		for (size_t at = 0; at < end->size; at += KIT_UNIT) {
			size_t n = end->size - at < KIT_UNIT ? end->size - at : KIT_UNIT;

			if (send(fd, end->data + at, n, 0) != (ssize_t)n)
				end->broken = true;
		}
		(void)send(fd, "", 0, 0); /* the end mark, for those who are still there */
		return NULL;
	}
	end->broken = !kit_write_fd(fd, end->data, end->size);
	close(fd);
	end->peer = -1;
	return NULL;
}

static void *kit_drain(void *arg)
{
	struct kit_end *end = arg;
	int fd = kit_meet(end);

	if (fd < 0)
		return NULL;
	if (end->kind == KIT_DGRAM) {
		end->got = malloc(end->size + 65536);
		cr_assert_not_null(end->got);
		while (end->got_size < end->size) {
			ssize_t n = recv(fd, end->got + end->got_size, 65536, 0);

			if (n <= 0) /* the other side is gone */
				break;
			cr_assert_leq(n, KIT_UNIT);
			end->got_size += (size_t)n;
		}
		return NULL;
	}
	end->got = kit_read_until(fd, &end->dropped, &end->got_size);
	return NULL;
}

static void kit_start(struct kit_end *end, void *(*run)(void *arg))
{
	cr_assert_eq(pthread_create(&end->thread, NULL, run, end), 0);
	end->threaded = true;
}

static void kit_pair(struct kit_end *end)
{
	int pair[2];

	if (end->kind == KIT_PIPE)
		cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	else
		cr_assert_eq(socketpair(AF_UNIX,
					(end->kind == KIT_DGRAM ? SOCK_DGRAM : SOCK_STREAM) |
						SOCK_CLOEXEC,
					0, pair),
			     0);
	end->fd = pair[end->kind == KIT_PIPE && end->is_sink];
	end->peer = pair[!(end->kind == KIT_PIPE && end->is_sink)];
	end->ep = taio_descriptor(end->fd);
}

/* ---- ends ---- */

static const struct {
	const char *name;
	bool source, sink;
} kit_kinds[KIT_KINDS] = {
	[KIT_MEMORY] = { "memory", true, true },
	[KIT_VECTOR] = { "vector", true, true },
	[KIT_PATH_NEW] = { "path", true, true },
	[KIT_PATH_OLD] = { "old path", false, true },
	[KIT_PATH_PART] = { "part of a path", true, true },
	[KIT_FD_PART] = { "part of a descriptor", true, true },
	[KIT_FD_CURRENT] = { "descriptor at its position", true, true },
	[KIT_FD_APPEND] = { "descriptor that appends", false, true },
	[KIT_PIPE] = { "pipe", true, true },
	[KIT_STREAM] = { "socketpair", true, true },
	[KIT_DGRAM] = { "datagrams", true, true },
	[KIT_CONNECT_TCP] = { "connect tcp", true, true },
	[KIT_CONNECT_UNIX] = { "connect unix", true, true },
	[KIT_LISTEN_TCP] = { "listen tcp", true, true },
	[KIT_LISTEN_UNIX] = { "listen unix", true, true },
	[KIT_NULL] = { "null", false, true },
	[KIT_ZERO] = { "zero", true, false },
};

const char *kit_kind_name(enum kit_kind kind)
{
	return kit_kinds[kind].name;
}

bool kit_is_source(enum kit_kind kind)
{
	return kit_kinds[kind].source;
}

bool kit_is_pair(enum kit_kind from, enum kit_kind to)
{
	return kit_kinds[from].source && kit_kinds[to].sink &&
	       !(from == KIT_DGRAM && to == KIT_DGRAM);
}

static void kit_begin(struct kit_end *end, enum kit_kind kind, bool is_sink, size_t size)
{
	static unsigned int number;

	memset(end, 0, sizeof(*end));
	end->kind = kind;
	end->is_sink = is_sink;
	end->size = end->taken = size;
	end->fd = end->peer = -1;
	snprintf(end->path, sizeof(end->path), "%s/%s%u", kit_dir, is_sink ? "to" : "from",
		 number++);
}

/* Pieces of 1, 2, 4, 7, 13, ... bytes with empty ones between. */
static void kit_pieces(struct kit_end *end)
{
	size_t at = 0, length = 1, n = 0;

	end->iov = calloc(1024, sizeof(*end->iov));
	cr_assert_not_null(end->iov);
	while (at < end->size && n < 1000) {
		if (end->size - at < length || n == 999)
			length = end->size - at;
		end->iov[n++] = (struct iovec){ end->memory + at, length };
		at += length;
		if (n % 3 == 0)
			end->iov[n++] = (struct iovec){ NULL, 0 };
		length += 1 + length * 7 / 9;
	}
	if (n == 0)
		end->iov[n++] = (struct iovec){ end->memory, 0 };
	end->ep = taio_vector(end->iov, n);
}

/* A file with the data (or with room for it) between two foreign parts. */
static void kit_framed(struct kit_end *end, bool filled)
{
	uint8_t *frame = kit_pattern(KIT_OFFSET + end->size + KIT_OLD_TAIL, 99);

	if (filled && end->size)
		memcpy(frame + KIT_OFFSET, end->data, end->size);
	kit_write(end->path, frame, KIT_OFFSET + end->size + KIT_OLD_TAIL);
	free(frame);
}

static void kit_open_fd(struct kit_end *end, int flags)
{
	end->fd = open(end->path, flags | O_CLOEXEC);
	cr_assert_geq(end->fd, 0, "%s", strerror(errno));
	if (end->kind == KIT_FD_CURRENT) {
		cr_assert_eq(lseek(end->fd, KIT_OFFSET, SEEK_SET), KIT_OFFSET);
		end->ep = taio_file(end->fd, TAIO_CURRENT, end->is_sink ? TAIO_TO_END : end->size);
	} else {
		end->ep = taio_file(end->fd, KIT_OFFSET, end->size);
	}
}

static void kit_streams(struct kit_end *end, void *(*run)(void *arg))
{
	switch (end->kind) {
	case KIT_PIPE:
	case KIT_STREAM:
	case KIT_DGRAM:
		kit_pair(end);
		break;
	case KIT_CONNECT_TCP:
	case KIT_CONNECT_UNIX:
		kit_listen(end);
		end->ep = taio_address(end->address);
		break;
	case KIT_LISTEN_TCP:
		snprintf(end->address, sizeof(end->address), "listen:127.0.0.1:%d:tcp", kit_port());
		end->ep = taio_address(end->address);
		break;
	case KIT_LISTEN_UNIX:
		snprintf(end->address, sizeof(end->address), "listen:unix:%s", end->path);
		end->ep = taio_address(end->address);
		break;
	default:
		cr_assert_fail("no stream");
	}
	kit_start(end, run);
}

void kit_source(struct kit_end *end, enum kit_kind kind, const uint8_t *data, size_t size)
{
	kit_begin(end, kind, false, size);
	end->data = data;
	switch (kind) {
	case KIT_MEMORY:
		end->ep = taio_memory(data, size);
		break;
	case KIT_VECTOR:
		end->memory = malloc(size + 1);
		cr_assert_not_null(end->memory);
		memcpy(end->memory, data, size);
		kit_pieces(end);
		break;
	case KIT_PATH_NEW:
		kit_write(end->path, data, size);
		end->ep = taio_path(end->path);
		break;
	case KIT_PATH_PART:
		kit_framed(end, true);
		end->ep = taio_path_at(end->path, KIT_OFFSET, size);
		break;
	case KIT_FD_PART:
	case KIT_FD_CURRENT:
		kit_framed(end, true);
		kit_open_fd(end, O_RDONLY);
		break;
	case KIT_ZERO:
		end->ep = taio_zero(size);
		break;
	default:
		kit_streams(end, kit_feed);
	}
	end->flags = end->fd >= 0 ? fcntl(end->fd, F_GETFL) : 0;
}

void kit_sink(struct kit_end *end, enum kit_kind kind, size_t size)
{
	kit_begin(end, kind, true, size);
	switch (kind) {
	case KIT_MEMORY:
		end->memory = kit_pattern(size + 64, 3);
		end->ep = taio_memory(end->memory, size);
		break;
	case KIT_VECTOR:
		end->memory = kit_pattern(size + 64, 3);
		kit_pieces(end);
		break;
	case KIT_PATH_OLD:
		kit_framed(end, false);
		end->ep = taio_path(end->path);
		break;
	case KIT_PATH_NEW:
		end->ep = taio_path(end->path);
		break;
	case KIT_PATH_PART:
		kit_framed(end, false);
		end->ep = taio_path_at(end->path, KIT_OFFSET, size);
		break;
	case KIT_FD_PART:
	case KIT_FD_CURRENT:
		kit_framed(end, false);
		kit_open_fd(end, O_RDWR);
		break;
	case KIT_FD_APPEND:
		kit_write(end->path, "head", 4);
		end->fd = open(end->path, O_WRONLY | O_APPEND | O_CLOEXEC);
		cr_assert_geq(end->fd, 0);
		end->ep = taio_descriptor(end->fd);
		break;
	case KIT_NULL:
		end->ep = taio_null();
		break;
	default:
		kit_streams(end, kit_drain);
	}
	end->flags = end->fd >= 0 ? fcntl(end->fd, F_GETFL) : 0;
}

static void kit_end(struct kit_end *end)
{
	if (end->fd >= 0) {
		cr_assert_eq(fcntl(end->fd, F_GETFL), end->flags, "flags of a %s were changed",
			     kit_kind_name(end->kind));
		close(end->fd); /* the end of the stream for a sink's peer */
	}
	if (end->threaded)
		cr_assert_eq(pthread_join(end->thread, NULL), 0);
	if (end->peer >= 0)
		close(end->peer);
	unlink(end->path);
}

void kit_free(struct kit_end *end)
{
	free(end->iov);
	free(end->memory);
	free(end->got);
}

void kit_source_done(struct kit_end *end)
{
	if (end->kind == KIT_FD_CURRENT)
		cr_assert_eq(lseek(end->fd, 0, SEEK_CUR), (off_t)(KIT_OFFSET + end->taken),
			     "the position did not move along");
	else if (end->kind == KIT_FD_PART)
		cr_assert_eq(lseek(end->fd, 0, SEEK_CUR), 0, "the position was moved");
	kit_end(end);
	cr_assert(!end->broken || end->taken < end->size || end->kind == KIT_DGRAM,
		  "not all of a %s was taken", kit_kind_name(end->kind));
	kit_free(end);
}

/* What must stand around the data, and the data itself out of it. */
static void kit_take_framed(struct kit_end *end, const char *what)
{
	uint8_t *frame = kit_pattern(KIT_OFFSET + end->size + KIT_OLD_TAIL, 99), *file;
	size_t size, tail = KIT_OFFSET + end->size;

	file = kit_read(end->path, &size);
	cr_assert_eq(size, tail + KIT_OLD_TAIL, "%s: %zu bytes", what, size);
	cr_assert(memcmp(file, frame, KIT_OFFSET) == 0, "%s: before the part", what);
	cr_assert(memcmp(file + tail, frame + tail, KIT_OLD_TAIL) == 0, "%s: behind it", what);
	memmove(file, file + KIT_OFFSET, end->size);
	end->got = file;
	end->got_size = end->size;
	free(frame);
}

static void kit_take_memory(struct kit_end *end, const char *what)
{
	uint8_t *before = kit_pattern(end->size + 64, 3);

	cr_assert(memcmp(end->memory + end->size, before + end->size, 64) == 0,
		  "%s: written behind the end of memory", what);
	free(before);
	end->got = end->memory;
	end->got_size = end->size;
	end->memory = NULL;
}

void kit_sink_done(struct kit_end *end, const uint8_t *data, size_t size, const char *what)
{
	if (end->kind == KIT_FD_CURRENT)
		cr_assert_eq(lseek(end->fd, 0, SEEK_CUR), (off_t)(KIT_OFFSET + size),
			     "%s: the position did not move along", what);
	switch (end->kind) {
	case KIT_MEMORY:
	case KIT_VECTOR:
		kit_take_memory(end, what);
		break;
	case KIT_PATH_NEW:
	case KIT_PATH_OLD:
		end->got = kit_read(end->path, &end->got_size);
		break;
	case KIT_PATH_PART:
	case KIT_FD_PART:
	case KIT_FD_CURRENT:
		kit_take_framed(end, what);
		break;
	case KIT_FD_APPEND:
		end->got = kit_read(end->path, &end->got_size);
		cr_assert(end->got_size >= 4 && memcmp(end->got, "head", 4) == 0, "%s", what);
		end->got_size -= 4;
		memmove(end->got, end->got + 4, end->got_size);
		break;
	default:
		break;
	}
	kit_end(end);
	if (end->kind != KIT_NULL) {
		cr_assert_eq(end->got_size, size, "%s: %zu bytes came, wanted %zu", what,
			     end->got_size, size);
		cr_assert(memcmp(end->got, data, size) == 0, "%s: wrong bytes", what);
	}
	kit_free(end);
}

void kit_drop(struct kit_end *end)
{
	__atomic_store_n(&end->dropped, true, __ATOMIC_RELEASE);
	if (end->kind == KIT_CONNECT_TCP || end->kind == KIT_CONNECT_UNIX) {
		/* The peer may still wait for somebody. */
		struct sockaddr_storage name;
		int port = 0, fd;
		socklen_t length;

		(void)sscanf(end->address, "127.0.0.1:%d:tcp", &port);
		length = kit_name(end, port, &name);
		fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		(void)connect(fd, (struct sockaddr *)&name, length);
		close(fd);
	}
	kit_end(end);
}
