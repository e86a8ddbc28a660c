/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_zc.c: the device "zc": every byte arrives, a step comes back only when its memory is free,
 * a cancelled one does not wait for the peer, datagrams keep their size and order.
 */
#include <pthread.h>

#include "ring_rig.h"

#define KIB 1024UL
#define MIB (1UL << 20)

/* Opens the rig, or says why there is nothing to test. */
static bool zc_rig(struct rig *rig)
{
	int rc;

	rig_init(rig);
	rc = rig->dev[2].driver->open(&rig->dev[2]);
	if (rc == -EOPNOTSUPP) {
		fprintf(stderr, "skipped: %s\n", rig->dev[2].reason);
		rig_remove_dir(rig);
		return false;
	}
	cr_assert_eq(rc, 0, "%s", rig->dev[2].reason);
	cr_assert_eq(rig->dev[0].driver->open(&rig->dev[0]), 0);
	return true;
}

struct drain {
	int fd;
	size_t len, have;
	uint8_t *data;
};

static void *drain_run(void *arg)
{
	struct drain *drain = arg;

	while (drain->have < drain->len) {
		struct pollfd poll_fd = { .fd = drain->fd, .events = POLLIN };
		ssize_t n;

		if (poll(&poll_fd, 1, 10000) <= 0)
			break;
		n = read(drain->fd, drain->data + drain->have, drain->len - drain->have);
		if (n <= 0)
			break;
		drain->have += (size_t)n;
	}
	return NULL;
}

static void send_all(bool registered, bool from_file)
{
	struct rig rig;
	const size_t size = 4 * MIB + 321;
	uint8_t *data = bytes_new(size, 1);
	struct iovec iov = { data, size };
	struct drain drain = { -1, size, 0, bytes_new(size, 2) };
	struct taio_step step;
	pthread_t thread;
	int fd[2], from = -1;

	if (!zc_rig(&rig))
		return;
	if (registered) {
		rig.host.buffers = &iov;
		rig.host.buffer_count = 1;
		cr_assert_eq(ring_register_buffers(&rig.host), 0);
	}
	inet_pair(fd, SOCK_STREAM, 0);
	drain.fd = fd[1];
	pthread_create(&thread, NULL, drain_run, &drain);
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), size);
	step.from.fixed = registered ? 0 : -1;
	if (from_file) {
		from = file_new(&rig, "from", data, size);
		step.from = end_file(from, 0);
	}
	cr_expect_eq(rig_run_all(&rig, RING_ZC, &step), (int64_t)size);
	if (rig_ring(&rig)->zc_report)
		cr_expect_eq(step.copied, 1, "over loopback the kernel copies, and says so");
	shutdown(fd[0], SHUT_WR);
	pthread_join(thread, NULL);
	cr_expect_eq(drain.have, size);
	cr_expect_eq(memcmp(drain.data, data, size), 0);
	close(fd[0]);
	close(fd[1]);
	if (from >= 0)
		close(from);
	rig_close(&rig);
	free(data);
	free(drain.data);
}

Test(zc, memory_arrives_whole, .timeout = 30)
{
	send_all(false, false);
}

Test(zc, registered_memory_arrives_whole, .timeout = 30)
{
	send_all(true, false);
}

Test(zc, file_arrives_whole, .timeout = 30)
{
	send_all(false, true);
}

static void send_without_locked_memory(bool from_file)
{
	little_locked_memory(196608);
	send_all(false, from_file);
}

Test(zc, memory_that_may_not_be_pinned_is_copied, .timeout = 30)
{
	send_without_locked_memory(false);
}

Test(zc, file_arrives_although_no_memory_may_be_pinned, .timeout = 30)
{
	send_without_locked_memory(true);
}

/* A peer with little room that does not read, and a sender with much: the bytes are in the queue,
 * and the kernel still needs the memory. */
static void stalled_pair(int fd[2])
{
	const int much = 4 << 20;

	inet_pair(fd, SOCK_STREAM, 4096);
	if (setsockopt(fd[0], SOL_SOCKET, SO_SNDBUFFORCE, &much, sizeof(much)) < 0)
		setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &much, sizeof(much));
}

Test(zc, step_comes_back_only_when_its_memory_is_free, .timeout = 30)
{
	struct rig rig;
	const size_t size = 128 * KIB;
	uint8_t *data = bytes_new(size, 3);
	struct drain drain = { -1, size, 0, bytes_new(size, 4) };
	struct taio_step step;
	int fd[2];

	if (!zc_rig(&rig))
		return;
	stalled_pair(fd);
	drain.fd = fd[1];
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), size);
	cr_assert_eq(rig_submit(&rig, RING_ZC, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_ZC, 100));
	drain_run(&drain);
	cr_assert_eq(drain.have, size);
	cr_assert_eq(memcmp(drain.data, data, size), 0);
	cr_assert_eq(rig_wait(&rig, RING_ZC, 5000), &step);
	cr_assert_eq(step.result, (int64_t)size);
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
	free(data);
	free(drain.data);
}

static void cancel_stalled(bool from_file)
{
	struct rig rig;
	const size_t size = 128 * KIB;
	uint8_t *data = bytes_new(8 * MIB, 5);
	struct drain drain = { -1, size, 0, bytes_new(8 * MIB, 6) };
	struct taio_step step;
	int fd[2], from;

	if (!zc_rig(&rig))
		return;
	from = file_new(&rig, "from", data, 8 * MIB);
	stalled_pair(fd);
	drain.fd = fd[1];
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), size);
	if (from_file)
		step.from = end_file(from, 0);
	cr_assert_eq(rig_submit(&rig, RING_ZC, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_ZC, 50));
	rig.dev[2].driver->cancel(&rig.dev[2], &step);
	cr_assert_eq(rig_wait(&rig, RING_ZC, 5000), &step);
	/* bounce buffers stay with the kernel, so what was sent can be said; memory does not */
	cr_assert_eq(step.result, from_file ? (int64_t)size : -ECANCELED, "%lld",
		     (long long)step.result);
	cr_assert_lt(rig_ring(&rig)->room, rig_ring(&rig)->slots, "a notification is missing");
	memset(&step, 0x5a, sizeof(step)); /* it is ours again */
	drain_run(&drain);
	cr_assert_eq(drain.have, size, "what was queued arrives all the same");
	cr_assert_null(rig_wait(&rig, RING_ZC, 50), "the late notification finds nobody");
	/* a step that is not even queued whole */
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), 8 * MIB);
	cr_assert_eq(rig_submit(&rig, RING_ZC, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_ZC, 50));
	rig.dev[2].driver->cancel(&rig.dev[2], &step);
	cr_assert_eq(rig_wait(&rig, RING_ZC, 5000), &step);
	if (!step.copied) /* RLIMIT_MEMLOCK */
		cr_assert_eq(step.result, -ECANCELED);
	close(fd[1]); /* a reset: the queue is dropped */
	close(fd[0]);
	cr_assert_null(rig_wait(&rig, RING_ZC, 50));
	close(from);
	rig_close(&rig);
	free(data);
	free(drain.data);
}

Test(zc, cancelled_memory_does_not_wait_for_a_stalled_peer, .timeout = 30)
{
	cancel_stalled(false);
}

Test(zc, cancelled_file_does_not_wait_for_a_stalled_peer, .timeout = 30)
{
	cancel_stalled(true);
}

Test(zc, close_does_not_wait_for_a_stalled_peer, .timeout = 30)
{
	struct rig rig;
	const size_t size = 128 * KIB;
	uint8_t *data = bytes_new(size, 7);
	struct taio_step step[2];
	int fd[2][2], from, before = count_fds();

	if (!zc_rig(&rig))
		return;
	from = file_new(&rig, "from", data, size);
	for (int i = 0; i < 2; i++) {
		stalled_pair(fd[i]);
		step[i] = step_copy(i ? end_file(from, 0) : end_memory(data),
				    end_fd(TAIO_KIND_STREAM, fd[i][0]), size);
		cr_assert_eq(rig_submit(&rig, RING_ZC, &step[i]), TAIO_QUEUED);
	}
	cr_assert_null(rig_wait(&rig, RING_ZC, 50));
	rig.dev[2].driver->close(&rig.dev[2]);
	rig.dev[0].driver->close(&rig.dev[0]);
	for (int i = 0; i < 2; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
	close(from);
	cr_assert_eq(count_fds(), before);
	rig_remove_dir(&rig);
	free(data);
}

Test(zc, socket_without_zero_copy_says_so_with_nothing_moved)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 8), *got = bytes_new(64 * KIB, 9);
	struct taio_step step;
	int fd[2];

	if (!zc_rig(&rig))
		return;
	unix_pair(fd);
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), 64 * KIB);
	if (rig_run(&rig, RING_ZC, &step) < 0) {
		cr_assert_eq(step.result, -EOPNOTSUPP);
		cr_assert_eq(step.failed_side, 2);
		cr_assert_eq(peer_take(fd[1], got, 64 * KIB), 0);
	} else { /* a kernel that learnt it */
		cr_assert_eq((int64_t)peer_take(fd[1], got, 64 * KIB), step.result);
		cr_assert_eq(memcmp(got, data, (size_t)step.result), 0);
	}
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(zc, peer_that_resets_is_an_error_of_the_destination, .timeout = 30)
{
	const struct linger none = { .l_onoff = 1, .l_linger = 0 };
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 10);
	struct taio_step step;
	int fd[2];

	if (!zc_rig(&rig))
		return;
	inet_pair(fd, SOCK_STREAM, 0);
	setsockopt(fd[1], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd[1]);
	cr_assert_eq(poll(&(struct pollfd){ .fd = fd[0] }, 1, 20000), 1); /* POLLERR, POLLHUP */
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_STREAM, fd[0]), MIB);
	cr_assert_lt(rig_run(&rig, RING_ZC, &step), 0);
	cr_assert(step.result == -ECONNRESET || step.result == -EPIPE);
	cr_assert_eq(step.failed_side, 2);
	close(fd[0]);
	rig_close(&rig);
	free(data);
}

Test(zc, datagrams_keep_size_and_order_and_the_last_is_left_to_others, .timeout = 30)
{
	struct rig rig;
	const size_t size = 100000, unit = 1472;
	uint8_t *data = bytes_new(size, 11), got[2000];
	struct taio_step step;
	uint64_t moved = 0;
	size_t at = 0;
	int fd[2];

	if (!zc_rig(&rig))
		return;
	inet_pair(fd, SOCK_DGRAM, 4 << 20);
	while (moved < size) {
		step = step_copy(end_memory(data + moved), end_fd(TAIO_KIND_DGRAM, fd[0]),
				 size - moved);
		step.to.unit = unit;
		step.flags = TAIO_SF_LAST;
		if (!rig.dev[2].driver->fits(&rig.dev[2], &step))
			break;
		cr_assert_gt(rig_run(&rig, RING_ZC, &step), 0);
		cr_assert_eq((size_t)step.result % unit, 0);
		moved += (uint64_t)step.result;
	}
	cr_assert_eq(moved, (size - 1) / unit * unit, "all but the last");
	while (at < moved) {
		ssize_t n = recv(fd[1], got, sizeof(got), MSG_DONTWAIT);

		cr_assert_eq(n, (ssize_t)unit, "at %zu: %zd", at, n);
		cr_assert_eq(memcmp(got, data + at, unit), 0, "at %zu", at);
		at += (size_t)n;
	}
	cr_assert_lt(recv(fd[1], got, sizeof(got), MSG_DONTWAIT), 0);
	/* a segment that is not the last ends with a whole datagram, a middle one may be short */
	step = step_copy(end_memory(data), end_fd(TAIO_KIND_DGRAM, fd[0]), 3 * unit + 5);
	step.to.unit = unit;
	step.flags = TAIO_SF_MORE;
	cr_assert_eq(rig_run(&rig, RING_ZC, &step), (int64_t)(3 * unit));
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
	free(data);
}

Test(zc, refusal_by_the_peers_host_is_an_error_although_some_were_sent)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 12);
	struct taio_step step;
	int64_t result = 0;
	int fd[2];

	if (!zc_rig(&rig))
		return;
	inet_pair(fd, SOCK_DGRAM, 0);
	close(fd[1]);
	for (int i = 0; i < 20 && result >= 0; i++) {
		step = step_copy(end_memory(data), end_fd(TAIO_KIND_DGRAM, fd[0]), 32 * KIB);
		step.to.unit = 1024;
		result = rig_run(&rig, RING_ZC, &step);
		cr_assert(result < 0 || result % 1024 == 0);
		usleep(1000);
	}
	cr_assert_eq(result, -ECONNREFUSED, "%s", strerror((int)-result));
	cr_assert_eq(step.failed_side, 2);
	close(fd[0]);
	rig_close(&rig);
	free(data);
}
