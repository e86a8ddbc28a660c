/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_uring.c: what the device "uring" moves: files, registered memory, streams, pipes; short
 * transfers, errors, peers that close or reset. Every step goes through the ops table, as the
 * engine's do. Cancelling, closing, sharing and threads are in test_uring_life.c.
 */
#include <pthread.h>

#include "ring_rig.h"

#define MIB (1UL << 20)

/* ---- files and memory ---- */

Test(uring, reads_what_pread_reads_and_reports_short_at_the_end)
{
	struct rig rig;
	const size_t size = 300000;
	uint8_t *data = bytes_new(size, 1), *got = bytes_new(size, 2);
	uint64_t state = 77;
	int fd;

	rig_open(&rig);
	fd = file_new(&rig, "f", data, size);
	for (int i = 0; i < 300; i++) {
		uint64_t offset = rng_next(&state) % (size + 5000);
		uint64_t len = rng_next(&state) % 70000 + 1;
		uint64_t want = offset >= size ? 0 : size - offset < len ? size - offset : len;
		struct taio_step step = step_copy(end_file(fd, offset), end_memory(got), len);

		memset(got, 0, len);
		cr_assert_eq(rig_run(&rig, RING_URING, &step), (int64_t)want);
		if (want)
			cr_assert_eq(memcmp(got, data + offset, want), 0);
	}
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(uring, writes_what_pread_then_reads)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 3);
	int fd;

	rig_open(&rig);
	fd = file_new(&rig, "f", NULL, 0);
	for (uint64_t at = 0, len = 1; at + len < MIB; at += len, len = len * 3 + 1) {
		struct taio_step step = step_copy(end_memory(data + at), end_file(fd, at), len);

		cr_assert_eq(rig_run(&rig, RING_URING, &step), (int64_t)len);
		cr_assert(file_has(fd, at, data + at, len));
	}
	close(fd);
	rig_close(&rig);
	free(data);
}

Test(uring, descriptor_at_its_own_position_moves_along)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 4), *got = bytes_new(MIB, 5);
	struct taio_step step;
	int from, to;

	rig_open(&rig);
	from = file_new(&rig, "from", data, MIB);
	to = file_new(&rig, "to", NULL, 0);
	lseek(from, 100, SEEK_SET);
	lseek(to, 7, SEEK_SET);
	step = step_copy(end_file(from, 0), end_memory(got), 1000);
	step.from.flags = TAIO_END_STREAMED;
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 1000);
	cr_assert_eq(memcmp(got, data + 100, 1000), 0);
	cr_assert_eq(lseek(from, 0, SEEK_CUR), 1100);
	/* and through bounce buffers, in several chunks */
	step = step_copy(end_file(from, 0), end_file(to, 0), 700000);
	step.from.flags = step.to.flags = TAIO_END_STREAMED;
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 700000);
	cr_assert_eq(lseek(from, 0, SEEK_CUR), 701100);
	cr_assert_eq(lseek(to, 0, SEEK_CUR), 700007);
	cr_assert(file_has(to, 7, data + 1100, 700000));
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(uring, copies_files_of_every_length_around_the_chunk)
{
	struct rig rig;
	const uint64_t lengths[] = { 1,      4095,   4096,   4097,   32767,   32768,   32769,
				     524287, 524288, 524289, 786432, 1048576, 1200001, 2000000 };
	uint8_t *data = bytes_new(2 * MIB, 6);
	int from;

	rig_open(&rig);
	from = file_new(&rig, "from", data, 2 * MIB);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		int to = file_new(&rig, "to", NULL, 0);
		struct taio_step step =
			step_copy(end_file(from, i * 13), end_file(to, i * 7), lengths[i]);
		struct stat st;

		cr_assert_eq(rig_run(&rig, RING_URING, &step), (int64_t)lengths[i]);
		cr_assert(file_has(to, i * 7, data + i * 13, lengths[i]));
		fstat(to, &st);
		cr_assert_eq((uint64_t)st.st_size, i * 7 + lengths[i], "nothing beyond the step");
		close(to);
	}
	close(from);
	rig_close(&rig);
	free(data);
}

Test(uring, source_that_ends_early_shortens_the_copy)
{
	struct rig rig;
	uint8_t *data = bytes_new(700000, 7);
	struct taio_step step;
	struct stat st;
	int from, to;

	rig_open(&rig);
	from = file_new(&rig, "from", data, 700000);
	to = file_new(&rig, "to", NULL, 0);
	step = step_copy(end_file(from, 0), end_file(to, 0), 4 * MIB);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 700000);
	cr_assert(file_has(to, 0, data, 700000));
	fstat(to, &st);
	cr_assert_eq(st.st_size, 700000);
	step = step_copy(end_file(from, 700000), end_file(to, 700000), MIB);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 0, "the end of the source is 0");
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
}

/* procfs gives a page at a time, however much is asked for */
Test(uring, short_reads_in_the_middle_of_a_file_leave_no_gap)
{
	struct rig rig;
	const size_t most = 560000; /* more than a chunk */
	uint8_t *data = bytes_new(most, 33);
	struct taio_step step;
	size_t have = 0;
	ssize_t n;
	int from = open("/proc/kallsyms", O_RDONLY | O_CLOEXEC), to;

	while (from >= 0 && have < most && (n = read(from, data + have, most - have)) > 0)
		have += (size_t)n;
	if (have < most) {
		fprintf(stderr, "skipped: no long /proc/kallsyms\n");
		free(data);
		return;
	}
	rig_open(&rig);
	to = file_new(&rig, "to", NULL, 0);
	step = step_copy(end_file(from, 0), end_file(to, 0), have);
	cr_assert_eq(rig_run_all(&rig, RING_URING, &step), (int64_t)have);
	cr_assert(file_has(to, 0, data, have));
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(uring, appending_destination_gets_the_bytes_in_order)
{
	struct rig rig;
	uint8_t *data = bytes_new(2 * MIB, 8);
	char path[400];
	struct taio_step step;
	int from, to, add;

	rig_open(&rig);
	from = file_new(&rig, "from", data, 2 * MIB);
	to = file_new(&rig, "to", "head", 4);
	snprintf(path, sizeof(path), "%s/to", rig.dir);
	add = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	step = step_copy(end_file(from, 0), end_file(add, 0), 2 * MIB);
	step.to.flags = TAIO_END_APPEND;
	cr_assert_eq(rig_run(&rig, RING_URING, &step), (int64_t)(2 * MIB));
	cr_assert(file_has(to, 0, "head", 4));
	cr_assert(file_has(to, 4, data, 2 * MIB));
	close(from);
	close(to);
	close(add);
	rig_close(&rig);
	free(data);
}

Test(uring, failed_write_names_the_destination_and_reports_the_bytes_before_it)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 9);
	struct taio_step step;
	int from, to, full;

	rig_open(&rig);
	from = file_new(&rig, "from", data, MIB);
	to = open("/dev/null", O_RDONLY | O_CLOEXEC);
	step = step_copy(end_file(from, 0), end_file(to, 0), MIB);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -EBADF);
	cr_assert_eq(step.failed_side, 2);
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	step = step_copy(end_file(from, 0), end_file(full, 0), MIB);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -ENOSPC);
	cr_assert_eq(step.failed_side, 2);
	step = step_copy(end_file(-1, 0), end_memory(data), 100);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -EBADF);
	cr_assert_eq(step.failed_side, 1);
	close(from);
	close(to);
	close(full);
	rig_close(&rig);
	free(data);
}

/* ---- registered memory ---- */

Test(uring, registered_memory_is_used_and_can_be_replaced)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 10), *one = bytes_new(MIB, 11), *two = bytes_new(MIB, 12);
	struct iovec iov = { one, MIB };
	struct taio_step step;
	int fd;

	rig_init(&rig);
	rig.host.buffers = &iov;
	rig.host.buffer_count = 1;
	cr_assert_eq(rig.dev[0].driver->open(&rig.dev[0]), 0);
	cr_assert_eq(rig_ring(&rig)->fixed_count, 1);
	fd = file_new(&rig, "f", data, MIB);
	step = step_copy(end_file(fd, 4096), end_memory(one + 100), 50000);
	step.to.fixed = 0;
	cr_assert(ring_is_fixed(rig_ring(&rig), &step.to, step.len));
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 50000);
	cr_assert_eq(memcmp(one + 100, data + 4096, 50000), 0);

	iov.iov_base = two;
	cr_assert_eq(ring_register_buffers(&rig.host), 0);
	step = step_copy(end_file(fd, 0), end_memory(two), MIB);
	step.to.fixed = 0;
	cr_assert(ring_is_fixed(rig_ring(&rig), &step.to, step.len));
	cr_assert_eq(rig_run(&rig, RING_URING, &step), (int64_t)MIB);
	cr_assert_eq(memcmp(two, data, MIB), 0);
	/* a stale index is not believed */
	step = step_copy(end_file(fd, 10), end_memory(one), 5000);
	step.to.fixed = 0;
	cr_assert_not(ring_is_fixed(rig_ring(&rig), &step.to, step.len));
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 5000);
	cr_assert_eq(memcmp(one, data + 10, 5000), 0);
	/* and writes */
	step = step_copy(end_memory(two + 5), end_file(fd, 3), 9999);
	step.from.fixed = 0;
	bytes_fill(two, MIB, 13);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 9999);
	cr_assert(file_has(fd, 3, two + 5, 9999));
	rig.host.buffer_count = 0;
	cr_assert_eq(ring_register_buffers(&rig.host), 0);
	cr_assert_eq(rig_ring(&rig)->fixed_count, 0);
	close(fd);
	rig_close(&rig);
	free(data);
	free(one);
	free(two);
}

Test(uring, memory_that_cannot_be_registered_is_used_unregistered)
{
	struct rig rig;
	uint8_t *data = bytes_new(4096, 14), *got = bytes_new(4096, 15);
	struct iovec iov[2] = { { got, 4096 }, { NULL, 4096 } }; /* nothing lies at NULL */
	struct taio_step step;
	int fd;

	rig_open(&rig);
	rig.host.buffers = iov;
	rig.host.buffer_count = 2;
	cr_assert_lt(ring_register_buffers(&rig.host), 0);
	cr_assert_eq(rig_ring(&rig)->fixed_count, 0);
	fd = file_new(&rig, "f", data, 4096);
	step = step_copy(end_file(fd, 0), end_memory(got), 4096);
	step.to.fixed = 0;
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 4096);
	cr_assert_eq(memcmp(got, data, 4096), 0);
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

/* ---- streams and pipes ---- */

Test(uring, short_receive_is_reported_as_moved_and_the_end_as_nothing)
{
	struct rig rig;
	uint8_t got[1000];
	struct taio_step step;
	int fd[2];

	rig_open(&rig);
	unix_pair(fd);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), sizeof(got));
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20), "there is nothing to receive yet");
	cr_assert_eq(write(fd[1], "hello", 5), 5);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, 5);
	cr_assert_eq(memcmp(got, "hello", 5), 0);
	close(fd[1]);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 0);
	step = step_copy(end_memory(got), end_fd(TAIO_KIND_STREAM, fd[0]), sizeof(got));
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -EPIPE, "an error, not a signal");
	cr_assert_eq(step.failed_side, 2);
	close(fd[0]);
	rig_close(&rig);
}

Test(uring, short_send_is_reported_as_moved)
{
	struct rig rig;
	uint8_t *data = bytes_new(8 * MIB, 16), *got = bytes_new(8 * MIB, 17);
	struct taio_step step;
	size_t have;
	int fd[2];

	rig_open(&rig);
	unix_pair(fd);
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), 8 * MIB);
	cr_assert_gt(rig_run(&rig, RING_URING, &step), 0);
	cr_assert_lt(step.result, (int64_t)(8 * MIB));
	have = peer_take(fd[1], got, 8 * MIB);
	cr_assert_eq((int64_t)have, step.result);
	cr_assert_eq(memcmp(got, data, have), 0);
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(uring, pipe_that_is_not_ready_is_waited_for_and_never_eagain)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 18), *got = bytes_new(MIB, 19);
	struct taio_step step;
	int fd[2];

	rig_open(&rig);
	cr_assert_eq(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	step = step_copy(end_fd(TAIO_KIND_PIPE, fd[0]), end_memory(got), 4096);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20));
	cr_assert_eq(write(fd[1], data, 100), 100);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, 100);
	cr_assert_eq(memcmp(got, data, 100), 0);

	while (write(fd[1], data, 4096) > 0)
		;
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_PIPE, fd[1]), 4096);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20), "the pipe is full");
	cr_assert_gt(read(fd[0], got, MIB), 0);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, 4096);
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
	free(data);
	free(got);
}

struct drain {
	int fd;
	size_t len, have;
	uint8_t *data;
	unsigned int pause_us;
};

static void *drain_run(void *arg)
{
	struct drain *drain = arg;

	while (drain->have < drain->len) {
		struct pollfd poll_fd = { .fd = drain->fd, .events = POLLIN };
		size_t want = drain->len - drain->have;
		ssize_t n;

		if (poll(&poll_fd, 1, 10000) <= 0)
			break;
		n = read(drain->fd, drain->data + drain->have, want < 100000 ? want : 100000);
		if (n <= 0)
			break;
		drain->have += (size_t)n;
		usleep(drain->pause_us);
	}
	return NULL;
}

static void file_to_peer(int to, int peer, enum taio_kind kind)
{
	struct rig rig;
	const size_t size = 3 * MIB + 12345;
	uint8_t *data = bytes_new(size, 20);
	struct drain drain = { peer, size, 0, bytes_new(size, 21), 500 };
	struct taio_step step;
	pthread_t thread;
	int from;

	rig_open(&rig);
	from = file_new(&rig, "from", data, size);
	pthread_create(&thread, NULL, drain_run, &drain);
	step = step_copy(end_file(from, 0), end_fd(kind, to), size);
	cr_expect_eq(rig_run_all(&rig, RING_URING, &step), (int64_t)size);
	close(to);
	pthread_join(thread, NULL);
	cr_expect_eq(drain.have, size);
	cr_expect_eq(memcmp(drain.data, data, size), 0);
	close(from);
	close(peer);
	rig_close(&rig);
	free(data);
	free(drain.data);
}

Test(uring, file_goes_to_a_slow_stream_in_order, .timeout = 30)
{
	int fd[2];

	unix_pair(fd);
	file_to_peer(fd[0], fd[1], TAIO_KIND_STREAM);
	inet_pair(fd, SOCK_STREAM, 0);
	file_to_peer(fd[0], fd[1], TAIO_KIND_STREAM);
}

Test(uring, file_goes_to_a_slow_pipe_in_order, .timeout = 30)
{
	int fd[2];

	cr_assert_eq(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	file_to_peer(fd[1], fd[0], TAIO_KIND_PIPE);
}

struct feed {
	int fd;
	const uint8_t *data;
	size_t len;
};

static void *feed_run(void *arg)
{
	struct feed *feed = arg;
	uint64_t state = 99;

	for (size_t at = 0; at < feed->len;) {
		struct pollfd poll_fd = { .fd = feed->fd, .events = POLLOUT };
		size_t want = rng_next(&state) % 200000 + 1;
		ssize_t n;

		if (poll(&poll_fd, 1, 10000) <= 0)
			break;
		n = write(feed->fd, feed->data + at, want < feed->len - at ? want : feed->len - at);
		if (n > 0)
			at += (size_t)n;
		else if (errno != EAGAIN)
			break;
		if (rng_next(&state) % 4 == 0)
			usleep(300);
	}
	close(feed->fd);
	return NULL;
}

static void peer_to_file(int from, int peer, enum taio_kind kind)
{
	struct rig rig;
	const size_t size = 3 * MIB + 321;
	uint8_t *data = bytes_new(size, 22);
	struct feed feed = { peer, data, size };
	struct taio_step step;
	pthread_t thread;
	struct stat st;
	int to;

	rig_open(&rig);
	to = file_new(&rig, "to", NULL, 0);
	pthread_create(&thread, NULL, feed_run, &feed);
	/* more than will come: the end shows as 0 */
	step = step_copy(end_fd(kind, from), end_file(to, 0), size + MIB);
	cr_expect_eq(rig_run_all(&rig, RING_URING, &step), (int64_t)size);
	pthread_join(thread, NULL);
	fstat(to, &st);
	cr_expect_eq((size_t)st.st_size, size);
	cr_expect(file_has(to, 0, data, size));
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(uring, stream_comes_into_a_file_whole, .timeout = 30)
{
	int fd[2];

	unix_pair(fd);
	peer_to_file(fd[0], fd[1], TAIO_KIND_STREAM);
	inet_pair(fd, SOCK_STREAM, 0);
	peer_to_file(fd[0], fd[1], TAIO_KIND_STREAM);
}

Test(uring, pipe_comes_into_a_file_whole, .timeout = 30)
{
	int fd[2];

	cr_assert_eq(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	peer_to_file(fd[0], fd[1], TAIO_KIND_PIPE);
}

Test(uring, stream_gives_what_is_there_and_does_not_wait_for_more)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 32);
	struct taio_step step;
	int fd[2], to;

	rig_open(&rig);
	unix_pair(fd);
	to = file_new(&rig, "to", NULL, 0);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(write(fd[1], data + i * 50000, 50000), 50000);
		step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_file(to, (uint64_t)i * 50000),
				 4 * MIB);
		cr_assert_eq(rig_run(&rig, RING_URING, &step), 50000);
	}
	cr_assert(file_has(to, 0, data, 150000));
	close(fd[0]);
	close(fd[1]);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(uring, bytes_that_were_received_and_cannot_be_written_end_the_request)
{
	struct rig rig;
	struct taio_step step;
	int fd[2], to, full;

	rig_open(&rig);
	unix_pair(fd);
	to = open("/dev/null", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(write(fd[1], "lost?", 5), 5);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_file(to, 0), 100);
	/* not EBADF, after which another device would be tried and go on behind the gap */
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -ENOTRECOVERABLE);
	cr_assert_eq(step.failed_side, 2);
	full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	cr_assert_eq(write(fd[1], "lost?", 5), 5);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_file(full, 0), 100);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), -ENOSPC);
	close(fd[0]);
	close(fd[1]);
	close(to);
	close(full);
	rig_close(&rig);
}

Test(uring, peer_that_closes_leaves_a_true_count_and_then_an_error, .timeout = 30)
{
	struct rig rig;
	uint8_t *data = bytes_new(4 * MIB, 23), *got = bytes_new(4 * MIB, 24);
	struct taio_step step;
	size_t taken;
	int fd[2], from;

	rig_open(&rig);
	unix_pair(fd);
	from = file_new(&rig, "from", data, 4 * MIB);
	step = step_copy(end_file(from, 0), end_fd(TAIO_KIND_STREAM, fd[0]), 4 * MIB);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 30), "nobody reads");
	taken = peer_take(fd[1], got, 50000);
	close(fd[1]);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	if (step.result < 0)
		cr_assert(step.result == -EPIPE || step.result == -ECONNRESET);
	else
		cr_assert_geq(step.result, (int64_t)taken);
	cr_assert_eq(memcmp(got, data, taken), 0);
	step = step_copy(end_file(from, 0), end_fd(TAIO_KIND_STREAM, fd[0]), MIB);
	cr_assert_lt(rig_run(&rig, RING_URING, &step), 0);
	cr_assert_eq(step.failed_side, 2);
	close(fd[0]);
	close(from);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(uring, reset_in_the_middle_of_a_stream_is_never_taken_for_its_end, .timeout = 30)
{
	const struct linger none = { .l_onoff = 1, .l_linger = 0 };
	struct rig rig;
	struct taio_step step;
	int fd[2], to;

	rig_open(&rig);
	inet_pair(fd, SOCK_STREAM, 0);
	to = file_new(&rig, "to", NULL, 0);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_file(to, 0), MIB);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 5));
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd[1]);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, -ECONNRESET);
	cr_assert_eq(step.failed_side, 1);
	close(fd[0]);
	close(to);
	rig_close(&rig);
}
