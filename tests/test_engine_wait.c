/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_wait.c: sleeps that the kernel interrupts. The wait of the ring's device is replaced by
 * one that says -EINTR when the test wants it, with or without a completion that came meanwhile.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine_kit.h"

#define BYTES 100

static const struct taio_driver *real;
static struct taio_driver interrupted;
static int pair[2], feeds;
static unsigned int waits;

/* A signal that came for nobody: the kernel had work of the ring to do. */
static int wait_interrupted(struct taio_device *dev, int64_t timeout_ns)
{
	static const char bytes[BYTES];

	if (timeout_ns == 0)
		return real->wait(dev, 0);
	waits++;
	if (!feeds)
		return -EINTR;
	cr_assert_eq(write(pair[1], bytes, BYTES), BYTES);
	while (real->wait(dev, timeout_ns) == -EINTR)
		;
	return -EINTR;
}

/* One request that reads from a socket, by the ring; nothing is there yet. */
static void start(int feed)
{
	static char memory[BYTES];
	struct taio_engine_options options = kit_engine_options(0);
	struct taio_endpoint from, to = taio_memory(memory, BYTES);
	struct taio_event event;
	int number;

	options.pin = "uring";
	kit_open_options(&options);
	number = device_number(kit, "uring");
	if (number < 0 || device_open(kit, (uint8_t)number))
		kit_skip("no io_uring here");
	feeds = feed;
	waits = 0;
	real = kit->device[number].driver;
	interrupted = *real;
	interrupted.wait = wait_interrupted;
	kit->device[number].driver = &interrupted;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	from = taio_descriptor(pair[0]);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 5), 0);
	cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
}

static void end(void)
{
	for (uint32_t i = 0; i < kit->device_count; i++)
		if (kit->device[i].driver == &interrupted)
			kit->device[i].driver = real;
	close(pair[1]);
	taio_cancel(kit, 5);
	while (taio_pending(kit)) {
		struct taio_event event;

		(void)taio_get_events(kit, &event, 1, 1, 1000000000);
	}
	close(pair[0]);
	kit_close();
}

/* It was returned as -EINTR, though nobody had sent a signal. */
Test(engine_wait, an_interruption_that_brought_a_step_is_no_signal, .timeout = 60)
{
	struct taio_event event;

	start(1);
	cr_assert_eq(kit->in_flight, 1, "it does not wait in the ring");
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 10000000000), 1);
	cr_assert_eq(event.cookie, 5);
	cr_assert_eq(event.result, BYTES);
	cr_assert_eq(waits, 1);
	end();
}

Test(engine_wait, an_interruption_that_brought_nothing_is_a_signal, .timeout = 60)
{
	struct taio_event event;

	start(0);
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 10000000000), -EINTR);
	cr_assert_eq(waits, 1);
	cr_assert_eq(taio_pending(kit), 1);
	end();
}
