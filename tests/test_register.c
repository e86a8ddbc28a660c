/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_register.c: files that are registered with the engine: the bytes are those of the file that
 * was registered, whatever happens to the numbers of descriptors.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "drivers/ring.h"
#include "engine/engine.h"
#include "engine_kit.h"

#define BYTES 9000

static uint8_t *data[2]; /* of the files "0" and "1" */
static uint8_t got[BYTES];

static void open_two(void)
{
	static const char *const name[] = { "0", "1" };
	struct taio_engine_options options = kit_engine_options(0);

	options.pin = "uring";
	kit_open_options(&options);
	for (unsigned int i = 0; i < 2; i++) {
		data[i] = kit_pattern(BYTES, i + 1);
		kit_write(kit_path(name[i]), data[i], BYTES);
	}
	if (device_open(kit, (uint8_t)device_number(kit, "uring")))
		kit_skip("no io_uring here: %s", kit->device[device_number(kit, "uring")].reason);
}

static void close_two(void)
{
	free(data[0]);
	free(data[1]);
	kit_close();
}

TestSuite(engine_register, .init = open_two, .fini = close_two, .timeout = 60);

static const struct ring *the_ring(void)
{
	return kit->device[device_number(kit, "uring")].priv;
}

static int open_file(const char *name)
{
	int fd = open(kit_path(name), O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool reads(int fd, const uint8_t *want)
{
	memset(got, 0, BYTES);
	kit_moves(taio_file(fd, 0, BYTES), taio_memory(got, BYTES), BYTES, NULL);
	return memcmp(got, want, BYTES) == 0;
}

Test(engine_register, a_registered_file_is_read_and_written_by_its_own_number)
{
	int fd = open_file("0"), own = taio_register_file(kit, fd);

	cr_assert_geq(own, 0, "%s", strerror(-own));
	cr_assert_neq(own, fd);
	cr_assert(!the_ring()->has_seats || the_ring()->seat[own]);
	cr_assert(reads(own, data[0]));
	kit_moves(taio_memory(data[1] + 50, 4000), taio_file(own, 100, 4000), 4000, NULL);
	memcpy(data[0] + 100, data[1] + 50, 4000);
	kit_check(kit_path("0"), data[0], BYTES);
	close(fd);
}

Test(engine_register, a_number_that_is_used_again_does_not_lead_to_another_file)
{
	int fd = open_file("0"), own = taio_register_file(kit, fd), again;

	cr_assert_geq(own, 0);
	close(fd);
	again = open_file("1");
	cr_assert_eq(again, fd, "the number was not used again");
	cr_assert(reads(again, data[1]));
	cr_assert(reads(own, data[0]), "it must stay what it was");
	close(again);
	/* and the engine's own number once it is given back */
	cr_assert_eq(taio_unregister_file(kit, own), 0);
	fd = open_file("1");
	again = dup2(fd, own);
	cr_assert_eq(again, own);
	cr_assert(reads(again, data[1]), "the seat of %d is stale", own);
	close(again);
	if (fd != own)
		close(fd);
}

Test(engine_register, what_the_engine_does_not_keep_is_refused)
{
	int own[TAIO_FILES_MAX], fd = open_file("0"), pipes[2];
	struct taio_endpoint from, to = taio_null();

	cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
	cr_assert_eq(taio_register_file(kit, pipes[0]), -EINVAL);
	cr_assert_eq(taio_register_file(kit, -1), -EBADF);
	cr_assert_eq(taio_unregister_file(kit, fd), -EINVAL);
	cr_assert_eq(taio_unregister_file(kit, -1), -EINVAL);
	for (unsigned int i = 0; i < TAIO_FILES_MAX; i++) {
		own[i] = taio_register_file(kit, fd);
		cr_assert_geq(own[i], 0);
	}
	cr_assert_eq(taio_register_file(kit, fd), -ENOSPC);
	cr_assert_eq(taio_unregister_file(kit, own[7]), 0);
	cr_assert_eq(taio_unregister_file(kit, own[7]), -EINVAL);
	cr_assert_geq(taio_register_file(kit, fd), 0);
	from = taio_descriptor(pipes[0]);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(taio_register_file(kit, fd), -EBUSY);
	cr_assert_eq(taio_unregister_file(kit, own[8]), -EBUSY);
	cr_assert_eq(taio_cancel(kit, 1), 1);
	cr_assert_eq(kit_wait_one().result, -ECANCELED);
	close(pipes[0]);
	close(pipes[1]);
	close(fd); /* the others are the engine's */
}

static void *read_elsewhere(void *arg)
{
	const int *own = arg;

	cr_assert(reads(*own, data[0]));
	cr_assert(!the_ring()->has_seats || the_ring()->seat[*own]);
	return NULL;
}

Test(engine_register, an_engine_that_changes_its_thread_keeps_them)
{
	int fd = open_file("0"), own = taio_register_file(kit, fd);
	pthread_t thread;

	cr_assert(reads(own, data[0]));
	close(fd);
	cr_assert_eq(pthread_create(&thread, NULL, read_elsewhere, &own), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert(reads(own, data[0]));
	cr_assert_eq(taio_unregister_file(kit, own), 0);
}
