/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_errors.c: what can go wrong, each with the exact errno and the step that failed; the
 * old destination stays, no temporary and no descriptor is left behind (the fixture looks). Each
 * case runs twice: with all devices, and with neither io_uring nor threads.
 */
#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "engine_kit.h"

#define MS 1000000ULL

static uint32_t base_flags;

static void open_plain(void)
{
	base_flags = TAIO_NO_URING | TAIO_NO_WORKERS;
	kit_open_flags(base_flags);
}

TestSuite(engine_errors, .init = kit_open, .fini = kit_close, .timeout = 60);
TestSuite(engine_errors_plain, .init = open_plain, .fini = kit_close, .timeout = 60);

#define BOTH(NAME)                      \
	static void check_##NAME(void); \
	Test(engine_errors, NAME)       \
	{                               \
		check_##NAME();         \
	}                               \
	Test(engine_errors_plain, NAME) \
	{                               \
		check_##NAME();         \
	}                               \
	static void check_##NAME(void)

/* An old destination that must survive. */
static struct taio_endpoint old_file(void)
{
	kit_write(kit_path("old"), "precious", 8);
	return taio_path(kit_path("old"));
}

static void check_old_file(void)
{
	kit_check(kit_path("old"), "precious", 8);
}

static struct taio_endpoint some_file(size_t size)
{
	uint8_t *data = kit_pattern(size, 1);

	kit_write(kit_path("file"), data, size);
	free(data);
	return taio_path(kit_path("file"));
}

/* ---- files ---- */

BOTH(a_missing_source)
{
	kit_fails(taio_path(kit_path("nothing")), old_file(), ENOENT, TAIO_STEP_OPEN_FROM);
	kit_fails(taio_path(kit_path("nothing")), taio_path(kit_path("new")), ENOENT,
		  TAIO_STEP_OPEN_FROM);
	kit_fails(taio_path(kit_path("nothing")), taio_null(), ENOENT, TAIO_STEP_OPEN_FROM);
	cr_assert_not(kit_exists(kit_path("new")));
	check_old_file();
}

BOTH(a_source_that_vanishes_before_its_turn)
{
	struct taio_endpoint from = some_file(1000), to = old_file();
	struct taio_event event;

	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(unlink(kit_path("file")), 0);
	event = kit_wait_one();
	cr_assert_eq(event.result, -ENOENT);
	cr_assert_eq(event.step, TAIO_STEP_OPEN_FROM);
	check_old_file();
}

BOTH(a_directory_or_a_fifo_is_no_file)
{
	cr_assert_eq(mkdir(kit_path("dir"), 0700), 0);
	cr_assert_eq(mkfifo(kit_path("fifo"), 0600), 0);
	kit_fails(taio_path(kit_path("dir")), old_file(), EISDIR, TAIO_STEP_OPEN_FROM);
	kit_fails(taio_path(kit_path("fifo")), old_file(), EOPNOTSUPP, TAIO_STEP_OPEN_FROM);
	kit_fails(some_file(10), taio_path(kit_path("dir")), EISDIR, TAIO_STEP_OPEN_TO);
	kit_fails(some_file(10), taio_path(kit_path("fifo")), EOPNOTSUPP, TAIO_STEP_OPEN_TO);
	kit_fails(taio_memory("x", 1), taio_path(kit_path("dir")), EISDIR, TAIO_STEP_OPEN_TO);
	check_old_file();
}

BOTH(a_directory_that_is_missing_or_none)
{
	kit_fails(some_file(10), taio_path(kit_path("no/where")), ENOENT, TAIO_STEP_OPEN_TO);
	kit_fails(some_file(10), taio_path(kit_path("file/x")), ENOTDIR, TAIO_STEP_OPEN_TO);
	kit_fails(taio_path(kit_path("file/x")), old_file(), ENOTDIR, TAIO_STEP_OPEN_FROM);
	check_old_file();
}

BOTH(names_that_are_too_long_or_go_in_circles)
{
	struct taio_event event;
	char name[300];

	memset(name, 'n', sizeof(name));
	name[299] = '\0';
	kit_fails(taio_path(kit_path(name)), old_file(), ENAMETOOLONG, TAIO_STEP_OPEN_FROM);
	event = kit_copy(some_file(10), taio_path(kit_path(name)), NULL);
	cr_assert_eq(event.result, -ENAMETOOLONG);
	cr_assert(event.step == TAIO_STEP_OPEN_TO || event.step == TAIO_STEP_PUBLISH);
	cr_assert_eq(symlink("loop", kit_path("loop")), 0);
	kit_fails(taio_path(kit_path("loop")), old_file(), ELOOP, TAIO_STEP_OPEN_FROM);
	check_old_file();
}

BOTH(the_same_file_on_both_sides)
{
	struct taio_endpoint file = some_file(5000);
	uint8_t *data = kit_pattern(5000, 1);

	cr_assert_eq(link(kit_path("file"), kit_path("hard")), 0);
	cr_assert_eq(symlink("file", kit_path("soft")), 0);
	kit_fails(file, file, EINVAL, TAIO_STEP_OPEN_TO);
	kit_fails(file, taio_path(kit_path("hard")), EINVAL, TAIO_STEP_OPEN_TO);
	kit_fails(file, taio_path(kit_path("soft")), EINVAL, TAIO_STEP_OPEN_TO);
	kit_fails(taio_path(kit_path("soft")), file, EINVAL, TAIO_STEP_OPEN_TO);
	kit_check(kit_path("file"), data, 5000);
	free(data);
}

BOTH(a_destination_that_must_not_be_there)
{
	struct taio_endpoint from = some_file(10), to = old_file();
	struct taio_options options = kit_options();
	struct taio_event event;

	options.flags = TAIO_NO_CLOBBER;
	event = kit_copy(from, to, &options);
	cr_assert_eq(event.result, -EEXIST);
	cr_assert(event.step == TAIO_STEP_OPEN_TO || event.step == TAIO_STEP_PUBLISH);
	check_old_file();
	kit_moves(from, taio_path(kit_path("new")), 10, &options);
}

static void become_nobody(void)
{
	struct taio_engine_options options = kit_engine_options(base_flags);

	if (geteuid() != 0)
		kit_skip("only root can become another user");
	cr_assert_eq(chmod(kit_dir, 0755), 0);
	cr_assert_eq(setegid(65534), 0);
	cr_assert_eq(seteuid(65534), 0);
	prctl(PR_SET_DUMPABLE, 1); /* /proc/self stays readable */
	kit_reopen(&options);
}

static void become_root(void)
{
	cr_assert_eq(seteuid(0), 0);
	cr_assert_eq(setegid(0), 0);
	prctl(PR_SET_DUMPABLE, 1);
}

BOTH(a_permission_that_is_missing)
{
	struct taio_endpoint from = some_file(10), old = old_file();

	cr_assert_eq(chmod(kit_path("file"), 0600), 0);
	cr_assert_eq(mkdir(kit_path("open"), 0777), 0);
	cr_assert_eq(chmod(kit_path("open"), 0777), 0);
	kit_write(kit_path("open/readonly"), "precious", 8);
	cr_assert_eq(mkdir(kit_path("closed"), 0700), 0);
	become_nobody();
	kit_fails(from, taio_null(), EACCES, TAIO_STEP_OPEN_FROM);
	kit_fails(from, taio_path(kit_path("open/new")), EACCES, TAIO_STEP_OPEN_FROM);
	kit_fails(old, taio_path(kit_path("new")), EACCES, TAIO_STEP_OPEN_TO);
	kit_fails(old, taio_path(kit_path("open/readonly")), EACCES, TAIO_STEP_OPEN_TO);
	kit_fails(old, taio_path(kit_path("closed/new")), EACCES, TAIO_STEP_OPEN_TO);
	kit_fails(taio_path(kit_path("closed/x")), taio_null(), EACCES, TAIO_STEP_OPEN_FROM);
	kit_moves(old, taio_path(kit_path("open/mine")), 8, NULL);
	become_root();
	kit_check(kit_path("open/readonly"), "precious", 8);
	cr_assert_not(kit_exists(kit_path("open/new")));
	check_old_file();
}

BOTH(a_disk_that_is_full)
{
	struct taio_endpoint from = some_file(4 << 20);
	struct kit_end stream;
	uint8_t *data = kit_pattern(4 << 20, 1);

	cr_assert_eq(mkdir(kit_path("small"), 0700), 0);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("small", kit_path("small"), "tmpfs", 0, "size=1m"))
		kit_skip("no file system can be mounted here: %s", strerror(errno));
	kit_write(kit_path("small/old"), "precious", 8);
	kit_fails(from, taio_path(kit_path("small/old")), ENOSPC, TAIO_STEP_WRITE);
	kit_fails(from, taio_path(kit_path("small/new")), ENOSPC, TAIO_STEP_WRITE);
	kit_fails(taio_memory(data, 4 << 20), taio_path(kit_path("small/old")), ENOSPC,
		  TAIO_STEP_WRITE);
	kit_fails(taio_zero(4 << 20), taio_path(kit_path("small/old")), ENOSPC, TAIO_STEP_WRITE);
	kit_source(&stream, KIT_STREAM, data, 100);
	kit_moves(stream.ep, taio_path(kit_path("small/fits")), 100, NULL);
	kit_source_done(&stream);
	kit_check(kit_path("small/old"), "precious", 8);
	cr_assert_not(kit_exists(kit_path("small/new")));
	/* what was written of it is given back */
	kit_moves(taio_memory(data, 900000), taio_path(kit_path("small/new")), 900000, NULL);
	cr_assert_eq(umount(kit_path("small")), 0, "something is still open on it");
	free(data);
}

BOTH(a_device_that_is_full)
{
	if (access("/dev/full", W_OK))
		kit_skip("/dev/full: %s", strerror(errno));
	kit_fails(some_file(10000), taio_path("/dev/full"), ENOSPC, TAIO_STEP_WRITE);
	kit_fails(taio_memory("x", 1), taio_path("/dev/full"), ENOSPC, TAIO_STEP_WRITE);
}

BOTH(a_file_that_cannot_be_read)
{
	struct taio_event event;

	event = kit_copy(taio_path("/proc/self/mem"), old_file(), NULL); /* nothing at 0 */
	cr_assert_eq(event.result, -EIO);
	cr_assert_eq(event.step, TAIO_STEP_READ);
	check_old_file();
}

/* ---- sources that change while they are read ---- */

/* Starts a slow copy, changes the source when the first bytes are through, and lets it end. */
static struct taio_event copy_while(off_t new_size, struct taio_endpoint to)
{
	struct taio_endpoint from = some_file(1 << 20);
	struct taio_options options = kit_options();
	struct taio_event event;
	uint64_t progress = 0;

	options.limit_rate = 4 << 20;
	options.progress = &progress;
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	while (progress < 200000) {
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, 5 * MS), 0);
		cr_assert_lt(progress, 1000000, "too fast to be changed in mid-copy");
	}
	if (new_size > 1 << 20) {
		uint8_t *data = kit_pattern((size_t)new_size, 1);
		int fd = open(kit_path("file"), O_WRONLY | O_CLOEXEC);

		cr_assert_eq(pwrite(fd, data, (size_t)new_size, 0), new_size);
		close(fd);
		free(data);
	} else {
		cr_assert_eq(truncate(kit_path("file"), new_size), 0);
	}
	event = kit_wait_one();
	cr_assert_eq(progress, event.bytes);
	return event;
}

BOTH(a_source_that_shrinks_gives_what_it_had)
{
	struct taio_event event = copy_while(800000, old_file());
	uint8_t *data = kit_pattern(1 << 20, 1);

	cr_assert_eq(event.result, 800000);
	cr_assert(event.flags & TAIO_EVENT_SHRANK);
	kit_check(kit_path("old"), data, 800000);
	event = copy_while(5, taio_path(kit_path("new"))); /* behind what was read already */
	cr_assert_geq(event.result, 200000);
	cr_assert(event.flags & TAIO_EVENT_SHRANK);
	kit_check(kit_path("new"), data, (size_t)event.result);
	free(data);
}

BOTH(a_source_that_grows_is_followed)
{
	struct taio_event event = copy_while(1500000, old_file());
	uint8_t *data = kit_pattern(1500000, 1);

	cr_assert_eq(event.result, 1500000);
	cr_assert(event.flags & TAIO_EVENT_GREW);
	kit_check(kit_path("old"), data, 1500000);
	free(data);
}

BOTH(a_source_that_grows_is_not_followed_beyond_what_was_asked_for)
{
	uint8_t *memory = kit_pattern(2 << 20, 2), *before = kit_pattern(2 << 20, 2);
	uint8_t *data = kit_pattern(1 << 20, 1);
	struct taio_event event = copy_while(1500000, taio_memory(memory, 1 << 20));

	cr_assert_eq(event.result, 1 << 20);
	cr_assert(memcmp(memory, data, 1 << 20) == 0);
	cr_assert(memcmp(memory + (1 << 20), before + (1 << 20), 1 << 20) == 0);
	free(memory);
	free(before);
	free(data);
}

/* ---- peers ---- */

static void local_address(char *text, size_t size, const char *prefix, int port)
{
	snprintf(text, size, "%s127.0.0.1:%d:tcp", prefix, port);
}

BOTH(a_peer_that_refuses)
{
	char text[64];

	local_address(text, sizeof(text), "", kit_port());
	kit_fails(some_file(10), taio_address(text), ECONNREFUSED, TAIO_STEP_CONNECT);
	kit_fails(taio_address(text), old_file(), ECONNREFUSED, TAIO_STEP_CONNECT);
	snprintf(text, sizeof(text), "unix:/tmp/there-is-no-%d", getpid());
	kit_fails(some_file(10), taio_address(text), ENOENT, TAIO_STEP_CONNECT);
	check_old_file();
}

BOTH(an_address_that_is_taken)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[64];

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	local_address(text, sizeof(text), "listen:", ntohs(in.sin_port));
	kit_fails(taio_address(text), old_file(), EADDRINUSE, TAIO_STEP_ACCEPT);
	kit_fails(taio_address("listen:192.0.2.1:9:tcp"), old_file(), EADDRNOTAVAIL,
		  TAIO_STEP_ACCEPT);
	check_old_file();
	close(fd);
}

/* A listener on 127.0.0.1 and its address. */
static int listener(char *text, size_t size, int backlog)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, backlog), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	local_address(text, size, "", ntohs(in.sin_port));
	return fd;
}

struct resetting {
	int listener;
	size_t first; /* bytes to read or to send before the reset, which throws away what was not
			 read yet: more is sent than buffers hold */
	bool sends;
};

static void *reset_peer(void *arg)
{
	const struct resetting *peer = arg;
	struct linger now = { .l_onoff = 1, .l_linger = 0 };
	int fd = accept4(peer->listener, NULL, NULL, SOCK_CLOEXEC);
	char *bytes = calloc(1, 65536);

	cr_assert_geq(fd, 0);
	for (size_t done = 0; done < peer->first;) {
		size_t want = peer->first - done < 65536 ? peer->first - done : 65536;
		ssize_t n = peer->sends ? write(fd, bytes, want) : read(fd, bytes, want);

		cr_assert_gt(n, 0);
		done += (size_t)n;
	}
	cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
	free(bytes);
	return NULL;
}

static struct taio_event copy_and_reset(struct taio_endpoint from, struct taio_endpoint to,
					bool sends)
{
	struct resetting peer = { .first = sends ? 32 << 20 : 100000, .sends = sends };
	struct taio_event event;
	pthread_t thread;
	char text[64];

	peer.listener = listener(text, sizeof(text), 1);
	cr_assert_eq(pthread_create(&thread, NULL, reset_peer, &peer), 0);
	event = kit_copy(sends ? taio_address(text) : from, sends ? to : taio_address(text), NULL);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	close(peer.listener);
	return event;
}

BOTH(a_peer_that_resets_while_it_receives)
{
	struct taio_event event = copy_and_reset(some_file(64 << 20), taio_null(), false);

	cr_assert(event.result == -ECONNRESET || event.result == -EPIPE, "%lld",
		  (long long)event.result);
	cr_assert(event.step == TAIO_STEP_WRITE || event.step == TAIO_STEP_TRANSFER, "%s",
		  taio_step_name(event.step));
	cr_assert_geq(event.bytes, 100000);
	cr_assert_lt(event.bytes, 64 << 20);
}

BOTH(a_peer_that_resets_while_it_sends)
{
	struct taio_event event = copy_and_reset(taio_null(), old_file(), true);

	cr_assert_eq(event.result, -ECONNRESET, "%lld", (long long)event.result);
	cr_assert(event.step == TAIO_STEP_READ || event.step == TAIO_STEP_TRANSFER, "%s",
		  taio_step_name(event.step));
	check_old_file();
}

BOTH(a_peer_that_takes_nothing_more)
{
	struct taio_options options = kit_options();
	struct taio_event event;
	uint64_t start = kit_now_ns();
	char text[64];
	int fd = listener(text, sizeof(text), 1);

	options.timeout_ns = 200 * MS;
	event = kit_copy(some_file(64 << 20), taio_address(text), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_TRANSFER);
	cr_assert_gt(event.bytes, 0);
	cr_assert_geq(kit_now_ns() - start, 199 * MS); /* two clocks, 50 us apart at most */
	close(fd);
}

BOTH(a_peer_that_sends_nothing_more)
{
	struct taio_options options = kit_options();
	struct taio_event event;
	char text[64];
	int fd = listener(text, sizeof(text), 1), pair[2];

	options.timeout_ns = 100 * MS;
	event = kit_copy(taio_address(text), old_file(), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_TRANSFER);
	check_old_file();
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	cr_assert_eq(write(pair[1], "abc", 3), 3);
	event = kit_copy(taio_descriptor(pair[0]), old_file(), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.bytes, 3);
	check_old_file();
	cr_assert_not(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
	close(pair[0]);
	close(pair[1]);
	close(fd);
}

BOTH(a_peer_that_never_comes)
{
	struct taio_options options = kit_options();
	struct taio_event event;
	char text[KIT_PATH + 16];

	options.timeout_ns = 50 * MS;
	local_address(text, sizeof(text), "listen:", kit_port());
	event = kit_copy(taio_address(text), old_file(), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_ACCEPT);
	snprintf(text, sizeof(text), "listen:unix:@taio-%d", getpid());
	event = kit_copy(taio_address(text), old_file(), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_ACCEPT);
	snprintf(text, sizeof(text), "listen:unix:%s", kit_path("s"));
	event = kit_copy(taio_address(text), old_file(), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_not(kit_exists(kit_path("s")), "the socket's name was left behind");
	check_old_file();
}

/* A full backlog: connecting neither succeeds nor fails. */
BOTH(a_peer_that_does_not_answer)
{
	struct taio_options options = kit_options();
	struct sockaddr_in in;
	socklen_t length = sizeof(in);
	struct taio_event event;
	char text[64];
	int fd = listener(text, sizeof(text), 0), filler[8], pair[2];

	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	for (int i = 0; i < 8; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(filler[i], (struct sockaddr *)&in, sizeof(in));
	}
	options.timeout_ns = 100 * MS;
	event = kit_copy(some_file(10), taio_address(text), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_CONNECT);
	/* from a stream: its lane must not hide that of the socket that was being connected */
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	event = kit_copy(taio_descriptor(pair[0]), taio_address(text), &options);
	cr_assert_eq(event.result, -ETIMEDOUT);
	cr_assert_eq(event.step, TAIO_STEP_CONNECT);
	close(pair[0]);
	close(pair[1]);
	for (int i = 0; i < 8; i++)
		close(filler[i]);
	close(fd);
	/* the numbers of those sockets, used again by blocking ones */
	for (int i = 0; i < 8; i++) {
		struct kit_end source;
		uint8_t out[3000], *data = kit_pattern(3000, 1);

		kit_source(&source, KIT_STREAM, data, 3000);
		kit_moves(source.ep, taio_memory(out, 3000), 3000, NULL);
		cr_assert(memcmp(out, data, 3000) == 0);
		kit_source_done(&source);
		free(data);
	}
}

BOTH(a_name_that_does_not_resolve)
{
	struct taio_event event;

	event = kit_copy(some_file(10), taio_address("there-is-no-such-host.invalid:80:tcp"), NULL);
	cr_assert(event.result == -ENOENT || event.result == -EHOSTUNREACH, "%lld",
		  (long long)event.result);
	cr_assert_eq(event.step, TAIO_STEP_RESOLVE);
}

BOTH(a_reader_that_is_gone_is_an_error_and_no_signal)
{
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	close(pair[0]);
	kit_fails(some_file(100000), taio_descriptor(pair[1]), EPIPE, TAIO_STEP_WRITE);
	kit_fails(taio_memory("x", 1), taio_descriptor(pair[1]), EPIPE, TAIO_STEP_WRITE);
	close(pair[1]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[0]);
	kit_fails(some_file(100000), taio_descriptor(pair[1]), EPIPE, TAIO_STEP_WRITE);
	kit_fails(taio_memory("x", 1), taio_descriptor(pair[1]), EPIPE, TAIO_STEP_WRITE);
	close(pair[1]);
}

/* ---- mistakes of the caller ---- */

static void refuses(struct taio_endpoint from, struct taio_endpoint to,
		    const struct taio_options *options, int error, bool sentence)
{
	int rc;

	/* not the sentence of the one before */
	(void)taio_copy(kit, &(struct taio_endpoint){ .type = 99 }, &to, NULL, 0);
	rc = taio_copy(kit, &from, &to, options, 1);
	cr_assert_eq(rc, -error, "%s, wanted %s", strerror(-rc), strerror(error));
	if (sentence)
		cr_assert_not(strstr(taio_refusal(kit), "no known type") ||
				      strlen(taio_refusal(kit)) < 5,
			      "%s: '%s'", strerror(error), taio_refusal(kit));
	cr_assert_eq(taio_pending(kit), 0);
}

BOTH(mistakes_are_refused_at_once_with_a_sentence)
{
	struct taio_options options = kit_options();
	char memory[100];
	struct iovec iov[2] = { { memory, 50 }, { memory + 50, 49 } };
	static struct iovec many[IOV_MAX + 1];

	refuses(taio_memory(memory, 100), taio_memory(memory, 99), NULL, EINVAL, true);
	refuses(taio_memory(memory, 100), taio_vector(iov, 2), NULL, EINVAL, true);
	refuses(taio_vector(iov, 2), taio_vector(iov, 1), NULL, EINVAL, true);
	refuses(taio_vector(iov, 0), taio_null(), NULL, EINVAL, true);
	refuses(taio_vector(many, IOV_MAX + 1), taio_null(), NULL, EINVAL, true);
	refuses(taio_descriptor(-1), taio_null(), NULL, EINVAL, true);
	refuses(taio_descriptor(-100), taio_null(), NULL, EINVAL, true);
	refuses(taio_zero(TAIO_TO_END), taio_null(), NULL, EOPNOTSUPP, true);
	refuses(taio_null(), taio_memory(memory, 1), NULL, EOPNOTSUPP, true);
	refuses(taio_memory(memory, 1), taio_zero(1), NULL, EOPNOTSUPP, true);
	options.goal = 3;
	refuses(taio_memory(memory, 1), taio_null(), &options, EINVAL, true);
	options = kit_options();
	options.priority = 8;
	refuses(taio_memory(memory, 1), taio_null(), &options, EINVAL, true);
	options = kit_options();
	options.datagram = 65508;
	refuses(taio_memory(memory, 1), taio_null(), &options, EINVAL, true);
	options = kit_options();
	options.flags = TAIO_PRESERVE << 1;
	refuses(taio_memory(memory, 1), taio_null(), &options, EINVAL, true);
	options = kit_options();
	options.size = 8;
	refuses(taio_memory(memory, 1), taio_null(), &options, EINVAL, true);
}

BOTH(malformed_addresses_are_refused_at_once)
{
	static const char *const wrong[] = { "",
					     "nonsense",
					     "127.0.0.1:tcp",
					     "127.0.0.1::tcp",
					     ":80:tcp",
					     "127.0.0.1:65536:tcp",
					     "127.0.0.1:x:tcp",
					     "unix:",
					     "listen:" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refuses(taio_memory("x", 1), taio_address(wrong[i]), NULL, EINVAL, true);
	refuses(taio_memory("x", 1), taio_address("127.0.0.1:80:sctp"), NULL, EPROTONOSUPPORT,
		true);
}

BOTH(missing_pointers_are_refused_at_once)
{
	struct taio_endpoint good = taio_null();
	char memory[10];

	refuses(taio_path(NULL), taio_null(), NULL, EFAULT, false);
	refuses(taio_address(NULL), taio_null(), NULL, EFAULT, false);
	refuses(taio_memory(NULL, 1), taio_null(), NULL, EFAULT, false);
	refuses(taio_vector(NULL, 1), taio_null(), NULL, EFAULT, false);
	refuses(taio_vector(&(struct iovec){ NULL, 3 }, 1), taio_null(), NULL, EFAULT, false);
	cr_assert_eq(taio_copy(kit, NULL, &good, NULL, 1), -EFAULT);
	cr_assert_eq(taio_copy(kit, &good, NULL, NULL, 1), -EFAULT);
	cr_assert_eq(taio_schedule_pointer(kit, NULL, memory, 5, 1), -EFAULT);
	cr_assert_eq(taio_schedule_pointer(kit, memory, NULL, 5000, 1), -EFAULT);
	cr_assert_eq(taio_pending(kit), 0);
}

BOTH(names_longer_than_any_path_are_refused_at_once)
{
	char *name = malloc(PATH_MAX + 1);

	memset(name, 'n', PATH_MAX);
	name[PATH_MAX] = '\0';
	refuses(taio_path(name), taio_null(), NULL, ENAMETOOLONG, false);
	refuses(taio_null(), taio_path(name), NULL, EOPNOTSUPP, true);
	refuses(taio_memory("x", 1), taio_path(name), NULL, ENAMETOOLONG, false);
	refuses(taio_memory("x", 1), taio_address(name), NULL, ENAMETOOLONG, false);
	free(name);
}

BOTH(a_closed_descriptor)
{
	char memory[10];
	int fd, pair[2];

	some_file(10000);
	fd = open(kit_path("file"), O_RDONLY | O_CLOEXEC);
	cr_assert_eq(dup3(fd, 500, O_CLOEXEC), 500); /* a number that nobody takes meanwhile */
	kit_moves(taio_file(500, 10, 10), taio_memory(memory, 10), 10, NULL);
	close(fd);
	close(500);
	refuses(taio_descriptor(500), taio_null(), NULL, EBADF, false);
	refuses(taio_memory("x", 1), taio_descriptor(500), NULL, EBADF, false);
	refuses(taio_descriptor(1 << 20), taio_null(), NULL, EBADF, false);
	/* a part of a file is taken at its word: the event says it then */
	{
		struct taio_endpoint from = taio_file(500, 10, 10), to = taio_memory(memory, 10);
		int rc = taio_copy(kit, &from, &to, NULL, 1);

		cr_assert(rc == -EBADF || rc == 0, "%d", rc);
		if (rc == 0)
			cr_assert_eq(kit_wait_one().result, -EBADF);
	}
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	cr_assert_eq(dup3(pair[0], 501, O_CLOEXEC), 501);
	refuses(taio_file(501, 5, 10), taio_null(), NULL, ESPIPE, false);
	close(501);
	close(pair[0]);
	close(pair[1]);
	fd = open(kit_dir, O_RDONLY | O_CLOEXEC);
	refuses(taio_descriptor(fd), taio_null(), NULL, EISDIR, false);
	close(fd);
}

BOTH(a_descriptor_of_the_wrong_mode)
{
	char memory[10];
	int fd;

	some_file(10000);
	fd = open(kit_path("file"), O_WRONLY | O_CLOEXEC);
	kit_fails(taio_file(fd, 0, 10), taio_memory(memory, 10), EBADF, TAIO_STEP_READ);
	close(fd);
	fd = open(kit_path("file"), O_RDONLY | O_CLOEXEC);
	kit_fails(taio_memory(memory, 10), taio_file(fd, 0, 10), EBADF, TAIO_STEP_WRITE);
	close(fd);
}

/* Mistakes of one request are no fault of the devices that met them. */
BOTH(one_bad_request_does_not_spoil_the_next)
{
	uint8_t *hole = mmap(NULL, 65536, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t out[4096], *data = kit_pattern(10000, 1);
	struct taio_event event;
	int fd, bad;

	some_file(10000);
	fd = open(kit_path("file"), O_RDONLY | O_CLOEXEC);
	bad = open(kit_path("file"), O_WRONLY | O_CLOEXEC);
	for (int i = 0; i < 20; i++) {
		event = kit_copy(taio_file(fd, 0, 4096), taio_memory(hole, 4096), NULL);
		cr_assert_eq(event.result, -EFAULT);
		kit_moves(taio_file(fd, 0, 4096), taio_memory(out, 4096), 4096, NULL);
		cr_assert(memcmp(out, data, 4096) == 0);
		event = kit_copy(taio_file(bad, 0, 4096), taio_path(kit_path("to")), NULL);
		cr_assert_eq(event.result, -EBADF);
		kit_moves(taio_path(kit_path("file")), taio_path(kit_path("to")), 10000, NULL);
		kit_moves(taio_file(fd, 0, 4096), taio_path(kit_path("to")), 4096, NULL);
	}
	close(fd);
	close(bad);
	munmap(hole, 65536);
	free(data);
}

/* ---- limits ---- */

BOTH(a_full_engine_says_so_and_has_room_after_an_event_was_taken)
{
	struct taio_engine_options options = kit_engine_options(base_flags);
	struct taio_endpoint from, to = taio_null();
	struct taio_event event[4];
	char byte = 1;
	int pair[2];

	options.requests = 4;
	kit_reopen(&options);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	for (uint64_t i = 0; i < 4; i++) {
		struct taio_options one = kit_options();

		one.length = 1;
		cr_assert_eq(taio_copy(kit, &from, &to, &one, i), 0);
	}
	cr_assert_eq(taio_pending(kit), 4);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 9), -EAGAIN);
	cr_assert_eq(taio_schedule_pointer(kit, &byte, &byte + 1, 0, 9), -EAGAIN);
	cr_assert_eq(taio_get_events(kit, event, 0, 4, 0), 0);
	cr_assert_eq(write(pair[1], "ab", 2), 2);
	cr_assert_eq(taio_get_events(kit, event, 2, 2, KIT_TIMEOUT_NS), 2);
	cr_assert_eq(event[0].cookie, 0);
	cr_assert_eq(event[1].cookie, 1);
	cr_assert_eq(taio_schedule_pointer(kit, &byte, &byte, 0, 10), 0);
	cr_assert_eq(taio_schedule_pointer(kit, &byte, &byte, 0, 11), 0);
	cr_assert_eq(taio_schedule_pointer(kit, &byte, &byte, 0, 12), -EAGAIN,
		     "events that nobody took count");
	cr_assert_eq(taio_pending(kit), 4);
	close(pair[1]);
	cr_assert_eq(taio_get_events(kit, event, 4, 4, KIT_TIMEOUT_NS), 4);
	cr_assert_eq(taio_pending(kit), 0);
	close(pair[0]);
}

BOTH(strings_have_a_limit_that_an_idle_engine_never_meets)
{
	struct taio_engine_options options = kit_engine_options(base_flags);
	struct taio_event event[64];
	char name[4000];
	int accepted;

	options.requests = 64;
	kit_reopen(&options);
	for (size_t length = 30; length < sizeof(name); length = length * 3 / 2) {
		struct taio_endpoint path;

		memset(name, '/', length);
		strcpy(name + length - 12, "no-such-file");
		path = taio_path(name);
		for (accepted = 0; accepted < 64; accepted++) {
			int rc = taio_copy(kit, &path, &path, NULL, 1);

			if (rc == -ENOBUFS)
				break;
			cr_assert_eq(rc, 0, "%d", rc);
		}
		cr_assert(accepted == 64 || length > 500, "%d of %zu bytes", accepted, length);
		cr_assert_geq(accepted, 8, "%d of %zu bytes", accepted, length);
		cr_assert_eq(
			taio_get_events(kit, event, (unsigned int)accepted, 64, KIT_TIMEOUT_NS),
			accepted);
		for (int i = 0; i < accepted; i++)
			cr_assert_eq(event[i].result, -ENOENT);
	}
}

static struct taio_endpoint late_from, late_to;
static int late_rc, late_events;

static void close_tries_again(void *arg, const struct taio_event *event)
{
	(void)arg;
	cr_assert_eq(event->result, -ECANCELED);
	late_events++;
	late_rc = taio_copy(kit, &late_from, &late_to, NULL, 2);
	cr_assert_eq(taio_schedule_pointer(kit, &late_rc, &late_events, 0, 3), -ESHUTDOWN);
}

BOTH(an_engine_that_is_being_closed_takes_nothing_more)
{
	struct taio_engine_options options = kit_engine_options(base_flags);
	int pair[2];

	options.undelivered = close_tries_again;
	kit_reopen(&options);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	late_from = taio_descriptor(pair[0]);
	late_to = taio_null();
	cr_assert_eq(taio_copy(kit, &late_from, &late_to, NULL, 1), 0);
	options.undelivered = NULL;
	kit_reopen(&options);
	cr_assert_eq(late_events, 1);
	cr_assert_eq(late_rc, -ESHUTDOWN);
	close(pair[0]);
	close(pair[1]);
}

BOTH(wrong_arguments_of_taking_events)
{
	struct taio_event event[2];

	cr_assert_eq(taio_get_events(kit, event, 2, 1, 0), -EINVAL);
	cr_assert_eq(taio_get_events(kit, NULL, 0, 1, 0), -EINVAL);
	cr_assert_eq(taio_get_events(kit, NULL, 0, 0, 0), 0);
	cr_assert_eq(taio_get_events(kit, event, 1, 2, -1), 0, "nothing is in flight");
}

static void on_signal(int number)
{
	(void)number;
}

BOTH(a_signal_ends_the_wait)
{
	struct taio_endpoint from, to = taio_null();
	struct sigaction action = { .sa_handler = on_signal };
	struct itimerspec when = { .it_value.tv_nsec = 30 * MS, .it_interval.tv_nsec = 30 * MS };
	struct sigevent to_us = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct taio_event event;
	timer_t timer;
	int pair[2];

	cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
	cr_assert_eq(timer_create(CLOCK_MONOTONIC, &to_us, &timer), 0);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(timer_settime(timer, 0, &when, NULL), 0);
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, -1), -EINTR);
	timer_delete(timer);
	close(pair[1]);
	cr_assert_eq(kit_wait_one().result, 0);
	close(pair[0]);
}

/* ---- opening ---- */

static int open_with(const struct taio_engine_options *options)
{
	struct taio *engine = NULL;
	int rc = taio_open(&engine, options);

	cr_assert_eq(engine == NULL, rc != 0);
	taio_close(engine);
	return rc;
}

BOTH(options_of_an_engine_out_of_range)
{
	struct taio_engine_options options = kit_engine_options(base_flags);

	cr_assert_eq(open_with(&options), 0);
	cr_assert_eq(taio_open(NULL, &options), -EINVAL);
	options.requests = (1u << 20) + 1;
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.workers = 65;
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.flags |= TAIO_HEDGE << 1;
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.size = 4;
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.pin = "no-such-device";
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.forbid = "rw,no-such-device";
	cr_assert_eq(open_with(&options), -EINVAL);
	options = kit_engine_options(base_flags);
	options.policy = "no-such-policy";
	cr_assert_eq(open_with(&options), -ENOENT);
	options.flags &= ~(uint32_t)TAIO_NO_BPF;
	cr_assert_eq(open_with(&options), -ENOENT);
	options = kit_engine_options(base_flags);
	options.requests = 1;
	cr_assert_eq(open_with(&options), 0);
	options.requests = 1u << 20;
	cr_assert_eq(open_with(&options), 0);
	taio_close(NULL);
}
