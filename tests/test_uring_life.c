/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_uring_life.c: steps of the device "uring" that do not just end: cancelled ones, those in
 * flight when the device closes, a full ring, a ring shared with another device, waiting, and an
 * engine that goes to another thread.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "ring_rig.h"

#define MIB (1UL << 20)

/* ---- cancelling ---- */

Test(uring_life, cancelled_receive_comes_back_once)
{
	struct rig rig;
	uint8_t got[100];
	struct taio_step step;
	int fd[2];

	rig_open(&rig);
	unix_pair(fd);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), sizeof(got));
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 10));
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, -ECANCELED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20));
	/* cancelled before the kernel heard of it */
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, -ECANCELED);
	/* a pipe that is being waited for */
	close(fd[0]);
	close(fd[1]);
	cr_assert_eq(pipe2(fd, O_NONBLOCK | O_CLOEXEC), 0);
	step = step_copy(end_fd(TAIO_KIND_PIPE, fd[0]), end_memory(got), sizeof(got));
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 10));
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, -ECANCELED);
	close(fd[0]);
	close(fd[1]);
	rig_close(&rig);
}

Test(uring_life, cancelled_copy_to_a_stalled_peer_reports_exactly_what_the_peer_gets, .timeout = 30)
{
	struct rig rig;
	uint8_t *data = bytes_new(8 * MIB, 25), *got = bytes_new(8 * MIB, 26);
	struct taio_step step;
	size_t have;
	int fd[2], from;

	rig_open(&rig);
	unix_pair(fd);
	from = file_new(&rig, "from", data, 8 * MIB);
	step = step_copy(end_file(from, 0), end_fd(TAIO_KIND_STREAM, fd[0]), 8 * MIB);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 30));
	have = peer_take(fd[1], got, 300000);
	cr_assert_null(rig_wait(&rig, RING_URING, 30));
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_gt(step.result, 0);
	have += peer_take(fd[1], got + have, 8 * MIB - have);
	cr_assert_eq((int64_t)have, step.result);
	cr_assert_eq(memcmp(got, data, have), 0);
	close(fd[0]);
	close(fd[1]);
	close(from);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(uring_life, cancelled_receive_into_a_file_keeps_what_was_received)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 27);
	struct taio_step step;
	int fd[2], to;

	rig_open(&rig);
	unix_pair(fd);
	to = file_new(&rig, "to", NULL, 0);
	cr_assert_eq(write(fd[1], data, 70000), 70000);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_file(to, 0), MIB);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	rig.dev[0].driver->wait(&rig.dev[0], 0); /* it is received now */
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, 70000);
	cr_assert(file_has(to, 0, data, 70000));
	close(fd[0]);
	close(fd[1]);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(uring_life, close_with_steps_in_flight_ends_and_leaves_no_descriptor, .timeout = 30)
{
	struct rig rig;
	uint8_t *data = bytes_new(8 * MIB, 28), got[64];
	struct taio_step step[40];
	int fd[2], pipes[2], from, before = count_fds();

	rig_open(&rig);
	unix_pair(fd);
	cr_assert_eq(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
	from = file_new(&rig, "from", data, 8 * MIB);
	for (int i = 0; i < 40; i++) {
		switch (i % 4) {
		case 0:
			step[i] = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), 64);
			break;
		case 1:
			step[i] = step_copy(end_fd(TAIO_KIND_PIPE, pipes[0]), end_memory(got), 64);
			break;
		case 2:
			step[i] = step_copy(end_file(from, 0), end_fd(TAIO_KIND_STREAM, fd[1]),
					    8 * MIB);
			break;
		default:
			step[i] =
				step_copy(end_file(from, (uint64_t)i * 4096), end_memory(got), 64);
		}
		cr_assert_eq(rig_submit(&rig, i % 8 == 2 ? RING_ZC : RING_URING, &step[i]),
			     TAIO_QUEUED);
		if (i == 20)
			rig.dev[0].driver->wait(&rig.dev[0], 0);
	}
	for (int i = 0; i < RIG_DEVICES; i++) {
		rig.dev[i].driver->close(&rig.dev[i]);
		cr_assert_null(rig.dev[i].priv);
	}
	close(fd[0]);
	close(fd[1]);
	close(pipes[0]);
	close(pipes[1]);
	close(from);
	cr_assert_eq(count_fds(), before);
	rig_remove_dir(&rig);
	free(data);
}

/* ---- fullness, sharing, waiting ---- */

Test(uring_life, full_ring_says_busy_and_has_room_again_later, .timeout = 30)
{
	struct rig rig;
	struct taio_step *step;
	uint8_t got[64];
	uint32_t n = 0, back = 0;
	int fd[2];

	rig_open(&rig);
	unix_pair(fd);
	step = calloc(RING_SLOTS_MAX + 1, sizeof(*step));
	for (;; n++) {
		cr_assert_leq(n, RING_SLOTS_MAX);
		step[n] = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), 64);
		if (rig_submit(&rig, RING_URING, &step[n]) == TAIO_BUSY)
			break;
	}
	cr_assert_eq(n, rig_ring(&rig)->slots);
	cr_assert_geq(n, rig.host.requests, "as many as the engine has requests");
	cr_assert_null(rig_wait(&rig, RING_URING, 5));
	for (uint32_t i = 0; i < n; i++)
		rig.dev[0].driver->cancel(&rig.dev[0], &step[i]);
	while (back < n && rig_wait(&rig, RING_URING, 5000))
		back++;
	cr_assert_eq(back, n);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step[n]), TAIO_QUEUED);
	close(fd[1]);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step[n]);
	close(fd[0]);
	free(step);
	rig_close(&rig);
}

Test(uring_life, step_of_another_device_keeps_the_descriptor_readable_until_it_is_taken)
{
	struct rig rig;
	uint8_t *data = bytes_new(65536, 29), *one = bytes_new(65536, 30);
	struct taio_step mine, other, *done = NULL;
	struct pollfd poll_fd;
	int fd;

	rig_open(&rig);
	fd = file_new(&rig, "f", data, 65536);
	fsync(fd);
	mine = step_copy(end_file(fd, 0), end_memory(one), 100);
	other = step_copy(end_file(fd, 4096), end_memory(one + 4096), 4096);
	cr_assert_eq(rig_submit(&rig, RING_DIRECT, &other), TAIO_QUEUED);
	cr_assert_eq(rig_submit(&rig, RING_URING, &mine), TAIO_QUEUED);
	for (int i = 0; i < 1000 && !rig_ring(&rig)->has_done; i++) {
		struct taio_step *step;

		rig.dev[0].driver->wait(&rig.dev[0], 0);
		if (rig.dev[0].driver->reap(&rig.dev[0], &step, 1))
			cr_assert_eq(step, &mine);
		usleep(1000);
	}
	poll_fd.fd = rig.dev[0].driver->fd(&rig.dev[0]);
	poll_fd.events = POLLIN;
	cr_assert_eq(poll(&poll_fd, 1, 0), 1, "the direct step is there and nobody took it");
	cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 5000000000), 0, "and nobody sleeps");
	cr_assert_eq(rig.dev[1].driver->reap(&rig.dev[1], &done, 1), 1);
	cr_assert_eq(done, &other);
	cr_assert_eq(other.result, 4096, "%ld", (long)other.result);
	cr_assert_eq(poll(&poll_fd, 1, 0), 0);
	close(fd);
	rig_close(&rig);
	free(data);
	free(one);
}

static void on_alarm(int number)
{
	(void)number;
}

Test(uring_life, wait_ends_with_the_time_and_with_a_signal)
{
	struct rig rig;
	const struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { { 0, 0 }, { 0, 30000 } };
	struct taio_step step;
	uint8_t got[10];
	uint64_t start;
	int fd[2];

	rig_open(&rig);
	unix_pair(fd);
	start = rig_now();
	cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 20000000), -ETIME);
	cr_assert_geq(rig_now() - start, 19000000);
	for (int i = 0; i < 3; i++) { /* long ones are ended by another timer */
		start = rig_now();
		cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 60000000), -ETIME);
		cr_assert_geq(rig_now() - start, 50000000);
		cr_assert_leq(rig_now() - start, 1000000000);
	}
	/* one that is left over from a longer wait does not lengthen a shorter one */
	start = rig_now();
	cr_assert_eq(write(fd[1], "x", 1), 1);
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), 10);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	rig.dev[0].driver->wait(&rig.dev[0], 10000000000);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 70000000), -ETIME);
	cr_assert_leq(rig_now() - start, 5000000000);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 5000000000), -EINTR);
	/* with something to tell in the same call */
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), 10);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	setitimer(ITIMER_REAL, &timer, NULL);
	cr_assert_eq(rig.dev[0].driver->wait(&rig.dev[0], 5000000000), -EINTR);
	close(fd[1]);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	close(fd[0]);
	rig_close(&rig);
}

struct mover {
	struct rig *rig;
	int fd;
	int64_t result;
	uint8_t got[100];
};

static void *mover_run(void *arg)
{
	struct mover *mover = arg;
	struct taio_step step =
		step_copy(end_file(mover->fd, 50), end_memory(mover->got), sizeof(mover->got));

	mover->result = rig_run(mover->rig, RING_URING, &step);
	return NULL;
}

Test(uring_life, idle_engine_may_go_to_another_thread, .timeout = 30)
{
	struct rig rig;
	uint8_t *data = bytes_new(4096, 31);
	struct mover mover;
	pthread_t thread;

	rig_open(&rig);
	mover.rig = &rig;
	mover.fd = file_new(&rig, "f", data, 4096);
	for (int i = 0; i < 3; i++) {
		mover_run(&mover);
		cr_assert_eq(mover.result, 100);
		pthread_create(&thread, NULL, mover_run, &mover);
		pthread_join(thread, NULL);
		cr_assert_eq(mover.result, 100);
		cr_assert_eq(memcmp(mover.got, data + 50, 100), 0);
	}
	close(mover.fd);
	rig_close(&rig);
	free(data);
}

struct owner {
	struct rig *rig;
	struct taio_step *step;
	pthread_barrier_t *submitted, *closed;
};

static void *owner_run(void *arg)
{
	struct owner *owner = arg;

	cr_assert_eq(rig_submit(owner->rig, RING_URING, owner->step), TAIO_QUEUED);
	cr_assert_null(rig_wait(owner->rig, RING_URING, 5));
	if (owner->submitted) {
		pthread_barrier_wait(owner->submitted);
		pthread_barrier_wait(owner->closed);
	}
	return NULL;
}

/* A receive that waits is left in the ring of a thread that has ended, or that only sleeps. */
static void close_elsewhere(bool alive)
{
	struct rig rig;
	uint8_t got[64];
	pthread_barrier_t submitted, closed;
	struct taio_step step, other;
	struct owner owner = { &rig, &step, alive ? &submitted : NULL, &closed };
	pthread_t thread;
	uint64_t start;
	int fd[2], before;

	pthread_barrier_init(&submitted, NULL, 2);
	pthread_barrier_init(&closed, NULL, 2);
	rig_init(&rig);
	unix_pair(fd);
	before = count_fds();
	step = step_copy(end_fd(TAIO_KIND_STREAM, fd[0]), end_memory(got), sizeof(got));
	other = step;
	cr_assert_eq(rig.dev[0].driver->open(&rig.dev[0]), 0);
	pthread_create(&thread, NULL, owner_run, &owner); /* takes the idle ring over */
	if (alive)
		pthread_barrier_wait(&submitted);
	else
		pthread_join(thread, NULL);
	cr_expect_eq(rig_submit(&rig, RING_URING, &other), TAIO_BUSY);
	start = rig_now();
	rig.dev[0].driver->close(&rig.dev[0]);
	cr_expect_lt(rig_now() - start, 5000000000);
	cr_expect_eq(count_fds(), before);
	if (alive) {
		pthread_barrier_wait(&closed);
		pthread_join(thread, NULL);
	}
	pthread_barrier_destroy(&submitted);
	pthread_barrier_destroy(&closed);
	close(fd[0]);
	close(fd[1]);
	rig_remove_dir(&rig);
}

Test(uring_life, engine_whose_thread_has_ended_can_be_closed, .timeout = 30)
{
	close_elsewhere(false);
}

Test(uring_life, engine_whose_thread_sleeps_can_be_closed, .timeout = 30)
{
	close_elsewhere(true);
}
