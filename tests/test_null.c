/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_null.c: the null sink takes what every kind of source gives, exactly as much as it says,
 * reports the end, the wait and the errors of the source, and serves many threads at once.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "util/clock.h"

#define KIB 1024u

static struct taio_host host = { .now_ns = clock_ns, .cores = 2, .requests = 16 };
static struct taio_device null_device;

static void null_setup(void)
{
	null_device.driver = &taio_driver_null;
	null_device.host = &host;
	cr_assert_eq(taio_driver_null.open(&null_device), 0);
}

static void null_teardown(void)
{
	taio_driver_null.close(&null_device);
	cr_assert_null(null_device.priv);
}

TestSuite(null, .init = null_setup, .fini = null_teardown);

static struct taio_step null_step(uint8_t kind, int fd, uint64_t offset, uint64_t len)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .len = len, .wait_fd = -1 };

	step.from.kind = kind;
	step.from.fd = fd;
	step.from.offset = offset;
	step.from.fixed = step.to.fixed = -1;
	step.to.kind = TAIO_KIND_NULL;
	step.to.fd = -1;
	return step;
}

static int64_t null_run(struct taio_step *step)
{
	return taio_driver_null.run(&null_device, step);
}

static int temporary_file(size_t bytes)
{
	char path[] = "/tmp/taio-null-XXXXXX";
	int fd = mkstemp(path);
	char *data = malloc(bytes + 1);

	cr_assert_geq(fd, 0);
	cr_assert_not_null(data);
	unlink(path);
	memset(data, 'x', bytes);
	cr_assert_eq(write(fd, data, bytes), (ssize_t)bytes);
	free(data);
	return fd;
}

static void tcp_pair(int fd[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	fd[1] = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(fd[1], (struct sockaddr *)&address, size), 0);
	fd[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	cr_assert_geq(fd[0], 0);
	close(listener);
}

/* The loopback is not always done when send(2) returns. */
static void until_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	cr_assert_eq(poll(&p, 1, 20000), 1);
}

/* Sends @total bytes into fd[1] and checks that the sink takes them all from fd[0], says when it
 * has to wait, and says 0 when the sender has closed. */
static void check_stream(uint8_t kind, int fd[2], size_t total, size_t piece)
{
	static char data[64 * KIB];
	size_t sent = 0, taken = 0;

	while (taken < total) {
		struct taio_step step = null_step(kind, fd[0], 0, piece);
		int64_t n;

		if (sent < total) {
			size_t want = total - sent < sizeof(data) ? total - sent : sizeof(data);
			ssize_t put = kind == TAIO_KIND_PIPE
					      ? write(fd[1], data, want)
					      : send(fd[1], data, want, MSG_DONTWAIT);

			if (put > 0)
				sent += (size_t)put;
			else
				cr_assert_eq(errno, EAGAIN);
		}
		n = null_run(&step);
		if (n == -EAGAIN) {
			struct pollfd p = { step.wait_fd, (short)step.wait_events, 0 };

			cr_assert_eq(step.wait_fd, fd[0]);
			cr_assert_eq(step.wait_events, POLLIN);
			cr_assert(sent < total || poll(&p, 1, 5000) == 1);
			continue;
		}
		cr_assert_gt(n, 0, "%lld after %zu of %zu", (long long)n, taken, total);
		cr_assert_leq((uint64_t)n, piece);
		taken += (size_t)n;
	}
	cr_assert_eq(taken, total);
	{
		struct taio_step step = null_step(kind, fd[0], 0, piece);

		cr_assert_eq(null_run(&step), -EAGAIN);
		cr_assert_eq(step.wait_fd, fd[0]);
		close(fd[1]);
		step = null_step(kind, fd[0], 0, piece);
		if (kind == TAIO_KIND_STREAM) {
			struct pollfd p = { fd[0], POLLIN, 0 };

			cr_assert_eq(poll(&p, 1, 5000), 1);
		}
		cr_assert_eq(null_run(&step), 0);
	}
	close(fd[0]);
}

Test(null, memory_and_zeros_are_done_at_once)
{
	struct taio_step step = null_step(TAIO_KIND_MEM, -1, 0, 12345);

	cr_assert_eq(null_run(&step), 12345); /* the memory is not even looked at */
	step = null_step(TAIO_KIND_ZERO, -1, 0, 1ull << 40);
	cr_assert_eq(null_run(&step), 1ll << 40);
}

Test(null, takes_every_byte_of_a_tcp_stream)
{
	int fd[2];

	tcp_pair(fd);
	check_stream(TAIO_KIND_STREAM, fd, 3000 * KIB + 17, 1000 * KIB);
	tcp_pair(fd);
	check_stream(TAIO_KIND_STREAM, fd, 100 * KIB, 1000);
}

Test(null, takes_every_byte_of_a_unix_stream)
{
	int fd[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	check_stream(TAIO_KIND_STREAM, fd, 3000 * KIB + 17, 1000 * KIB);
}

Test(null, takes_every_byte_of_a_pipe)
{
	int fd[2];

	cr_assert_eq(pipe2(fd, O_NONBLOCK), 0);
	check_stream(TAIO_KIND_PIPE, fd, 3000 * KIB + 17, 1000 * KIB);
	cr_assert_eq(pipe2(fd, O_NONBLOCK), 0);
	check_stream(TAIO_KIND_PIPE, fd, 100 * KIB, 1000);
}

Test(null, takes_no_more_of_a_pipe_than_was_asked)
{
	struct taio_step step;
	char data[100], rest[100];
	int fd[2];

	memset(data, 'y', sizeof(data));
	cr_assert_eq(pipe2(fd, O_NONBLOCK), 0);
	cr_assert_eq(write(fd[1], data, 100), 100);
	step = null_step(TAIO_KIND_PIPE, fd[0], 0, 60);
	cr_assert_eq(null_run(&step), 60);
	cr_assert_eq(read(fd[0], rest, sizeof(rest)), 40);
	close(fd[0]);
	close(fd[1]);
}

Test(null, takes_no_more_of_a_stream_than_was_asked)
{
	struct taio_step step;
	char data[100] = "", rest[100];
	int fd[2];

	tcp_pair(fd);
	cr_assert_eq(send(fd[1], data, 100, 0), 100);
	until_ready(fd[0], POLLIN);
	step = null_step(TAIO_KIND_STREAM, fd[0], 0, 60);
	cr_assert_eq(null_run(&step), 60);
	cr_assert_eq(recv(fd[0], rest, sizeof(rest), MSG_DONTWAIT), 40);
	close(fd[0]);
	close(fd[1]);
}

Test(null, a_terminal_is_read)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave;
	struct taio_step step;

	if (master < 0 || grantpt(master) || unlockpt(master)) {
		fprintf(stderr, "# skipped: no pseudo-terminals here: %s\n", strerror(errno));
		return;
	}
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
	cr_assert_geq(slave, 0);
	step = null_step(TAIO_KIND_PIPE, slave, 0, 100);
	cr_assert_eq(null_run(&step), -EAGAIN);
	cr_assert_eq(write(master, "hello\n", 6), 6);
	step = null_step(TAIO_KIND_PIPE, slave, 0, 100);
	cr_assert_eq(null_run(&step), 6);
	close(slave);
	close(master);
}

Test(null, a_reset_of_the_peer_is_an_error_and_not_an_end)
{
	struct linger hard = { 1, 0 };
	struct taio_step step;
	int fd[2];

	tcp_pair(fd);
	cr_assert_eq(setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(fd[1]);
	until_ready(fd[0], POLLERR);
	step = null_step(TAIO_KIND_STREAM, fd[0], 0, 100);
	cr_assert_eq(null_run(&step), -ECONNRESET);
	cr_assert_eq(step.failed_side, 1);
	close(fd[0]);
}

Test(null, a_file_is_read_from_its_offset_to_its_end)
{
	size_t size = 1000 * KIB + 3;
	int fd = temporary_file(size);
	struct taio_step step = null_step(TAIO_KIND_FILE, fd, 0, size);

	cr_assert_eq(null_run(&step), (int64_t)size);
	step = null_step(TAIO_KIND_FILE, fd, 100, 50);
	cr_assert_eq(null_run(&step), 50);
	step = null_step(TAIO_KIND_FILE, fd, size - 10, 1000);
	cr_assert_eq(null_run(&step), 10);
	step = null_step(TAIO_KIND_FILE, fd, size, 1000);
	cr_assert_eq(null_run(&step), 0);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), (off_t)size, "reading by offset moved the position");
	close(fd);
}

Test(null, a_file_at_its_own_position_moves_along)
{
	int fd = temporary_file(1000);
	struct taio_step step = null_step(TAIO_KIND_FILE, fd, 777, 300);

	cr_assert_eq(lseek(fd, 100, SEEK_SET), 100);
	step.from.flags = TAIO_END_STREAMED;
	cr_assert_eq(null_run(&step), 300);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 400);
	close(fd);
}

Test(null, a_file_that_cannot_be_read_says_so)
{
	struct taio_step step;
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY);

	cr_assert_geq(fd, 0);
	step = null_step(TAIO_KIND_FILE, fd, 0, 10);
	cr_assert_eq(null_run(&step), -EISDIR);
	cr_assert_eq(step.failed_side, 1);
	close(fd);
	step = null_step(TAIO_KIND_FILE, fd, 0, 10);
	cr_assert_eq(null_run(&step), -EBADF);
	step = null_step(TAIO_KIND_STREAM, 0, 0, 10);
	fd = open("/dev/null", O_RDONLY);
	step.from.fd = fd;
	cr_assert_eq(null_run(&step), -ENOTSOCK);
	close(fd);
}

struct reader {
	int fd;
	size_t size;
	_Atomic int failed;
};

static void *reader_main(void *arg)
{
	struct reader *reader = arg;

	for (int i = 0; i < 50; i++) {
		struct taio_step step = null_step(TAIO_KIND_FILE, reader->fd, 0, reader->size);

		if (null_run(&step) != (int64_t)reader->size)
			reader->failed++;
	}
	return NULL;
}

Test(null, more_threads_than_buffers_read_at_once)
{
	enum {
		THREADS = 24
	};
	struct reader reader = { .size = 600 * KIB };
	pthread_t threads[THREADS];

	reader.fd = temporary_file(reader.size);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, reader_main, &reader), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(reader.failed, 0);
	close(reader.fd);
}
