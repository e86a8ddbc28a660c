/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_claim.c: a device that takes a source over from its descriptor: who reads it then, where the
 * engine waits, in which order bytes arrive at both changes, and that the device is told when it is
 * over, however it ends. The device is a fake in the place of "gso": what it "takes" comes through
 * a second socket.
 */
#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine_kit.h"

#define UNIT 1000

/* ---- the fake ---- */

static struct {
	int taken_fd; /* where the taken datagrams come from */
	int taking;   /* answers with TAIO_CLAIM_TAKING before it holds the source */
	int error;    /* to answer with when it holds it */
	int spin_us;  /* of each step */
	bool never;   /* refuses to take anything */
	bool leaving; /* was told SOON: gives back what taken_fd holds, then NONE */
	bool done;    /* said NONE, waits for NOW */
	unsigned int submits, held, soon, now;
	uint64_t taken_bytes, kernel_bytes;
} fake;

static int64_t fake_read(struct taio_step *step, int fd, uint64_t *count)
{
	static char nowhere[65536];
	char *to = step->to.kind == TAIO_KIND_MEM ? step->to.ptr : nowhere;
	ssize_t n = recv(fd, to, step->len < sizeof(nowhere) ? step->len : sizeof(nowhere),
			 MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	*count += (uint64_t)n;
	return n;
}

static void fake_spin(void)
{
	const uint64_t until = kit_now_ns() + (uint64_t)fake.spin_us * 1000;

	while (fake.spin_us && kit_now_ns() < until)
		;
}

static int64_t fake_answer(struct taio_step *step)
{
	int64_t n;

	if (fake.never)
		return -EOPNOTSUPP;
	/* what the descriptor holds is older */
	n = fake_read(step, step->from.fd, &fake.kernel_bytes);
	if (fake.taking > 0) {
		fake.taking--;
		step->claim = TAIO_CLAIM_TAKING;
	} else {
		step->claim = TAIO_CLAIM_HELD;
		fake.held++;
	}
	if (n != -EAGAIN)
		return n;
	if (step->claim == TAIO_CLAIM_HELD && fake.error)
		return fake.error;
	fake_spin();
	n = fake_read(step, fake.taken_fd, &fake.taken_bytes);
	if (n != -EAGAIN)
		return n;
	step->wait_fd = step->claim == TAIO_CLAIM_HELD ? fake.taken_fd : step->from.fd;
	step->wait_events = POLLIN;
	if (fake.leaving) {
		step->claim = TAIO_CLAIM_NONE;
		fake.done = true;
		step->wait_fd = step->from.fd;
	}
	return -EAGAIN;
}

static enum taio_submit fake_submit(struct taio_device *dev, struct taio_step *step)
{
	(void)dev;
	fake.submits++;
	step->result = fake_answer(step);
	return TAIO_DONE;
}

static int fake_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	(void)dev;
	(void)done;
	(void)max;
	return 0;
}

static void fake_release(struct taio_device *dev, const struct taio_end *from,
			 enum taio_release how)
{
	(void)dev;
	cr_assert_eq(from->kind, TAIO_KIND_DGRAM);
	cr_assert_eq(fcntl(fake.taken_fd, F_GETFD) >= 0, 1);
	if (how == TAIO_RELEASE_SOON) {
		fake.soon++;
		fake.leaving = true;
	} else {
		fake.now++;
		fake.leaving = fake.done = false;
	}
}

static const struct taio_capability fake_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .base_ns = 1,
	  .ps_per_byte = 1 },
	{ .op = TAIO_OP_NONE },
};

static const struct taio_driver fake_driver = {
	.abi = TAIO_DRIVER_ABI,
	.name = "gso",
	.text = "a fake that claims",
	.caps = fake_caps,
	.submit = fake_submit,
	.reap = fake_reap,
	.release = fake_release,
};

/* ---- the world ---- */

static int source, to_source, to_taken;
static uint8_t got[1 << 20];
static uint64_t gso_bit;

static int udp_pair(int *ret_sender)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t length = sizeof(at);
	const int bytes = 8 << 20;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*ret_sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &length), 0);
	cr_assert_eq(connect(*ret_sender, (struct sockaddr *)&at, length), 0);
	return fd;
}

static void setup(void)
{
	int number;

	kit_open_flags(0);
	memset(&fake, 0, sizeof(fake));
	number = device_number(kit, "gso");
	cr_assert_geq(number, 0);
	gso_bit = 1ULL << number;
	kit->device[number].driver = &fake_driver;
	kit->device[number].probed = 0;
	kit->async |= gso_bit;
	kit->claimers = gso_bit;
	source = udp_pair(&to_source);
	fake.taken_fd = udp_pair(&to_taken);
}

static void teardown(void)
{
	close(source);
	close(to_source);
	close(fake.taken_fd);
	close(to_taken);
	kit_close();
}

#define CLAIM_TEST(NAME) Test(claim, NAME, .init = setup, .fini = teardown)

static void say(int fd, char what)
{
	char unit[UNIT];

	memset(unit, what, sizeof(unit));
	cr_assert_eq(send(fd, unit, sizeof(unit), 0), UNIT);
}

static void start(bool pinned, uint64_t size, uint64_t cookie)
{
	struct taio_endpoint from = taio_descriptor(source), to = taio_memory(got, size);
	struct taio_options options = kit_options();

	if (pinned)
		options.pin = gso_bit;
	cr_assert_eq(taio_copy(kit, &from, &to, &options, cookie), 0);
}

/* Lets the engine work until it waits. */
static void settle(void)
{
	struct taio_event event;

	for (int i = 0; i < 20; i++)
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
}

static void expect_text(const char *letters)
{
	for (size_t i = 0; letters[i]; i++)
		for (size_t k = 0; k < UNIT; k++)
			cr_assert_eq(got[i * UNIT + k], letters[i], "byte %zu of %zu", k, i);
}

/* ---- cases ---- */

CLAIM_TEST(bytes_of_the_descriptor_come_before_those_that_were_taken)
{
	struct taio_event event;

	say(to_taken, 'c');
	say(to_source, 'a');
	say(to_source, 'b');
	say(to_taken, 'd');
	start(true, 4 * UNIT, 1);
	event = kit_wait_one();
	cr_expect_geq(event.result, 0);
	cr_expect_eq(event.bytes, 4 * UNIT);
	expect_text("abcd");
	cr_expect_eq(fake.kernel_bytes, 2 * UNIT);
	cr_expect_eq(fake.taken_bytes, 2 * UNIT);
}

CLAIM_TEST(the_engine_waits_for_the_device_without_turning)
{
	struct taio_event event;
	unsigned int submits;

	start(true, 3 * UNIT, 1);
	settle();
	submits = fake.submits;
	settle();
	cr_expect_eq(fake.submits, submits, "it turns though nothing came");
	say(to_source, 'x'); /* nobody waits for the descriptor any more */
	settle();
	cr_expect_eq(fake.submits, submits);
	say(to_taken, 'y');
	say(to_taken, 'z');
	event = kit_wait_one();
	cr_expect_geq(event.result, 0);
	expect_text("xyz");
}

CLAIM_TEST(the_device_is_told_once_that_the_request_is_over)
{
	say(to_source, 'a');
	start(true, UNIT, 1);
	cr_expect_geq(kit_wait_one().result, 0);
	cr_expect_eq(fake.now, 1);
	say(to_taken, 'b');
	start(true, UNIT, 2);
	cr_expect_geq(kit_wait_one().result, 0);
	cr_expect_eq(fake.now, 2);
	cr_expect_eq(fake.soon, 0);
	cr_expect_eq(send(to_taken, "", 0, 0), 0);
	start(true, UNIT, 3);
	cr_expect_eq(kit_wait_one().bytes, 0, "an end mark");
	cr_expect_eq(fake.now, 3);
}

CLAIM_TEST(a_cancelled_request_gives_its_claim_up)
{
	struct taio_event event;

	start(true, UNIT, 7);
	settle();
	cr_assert(fake.held);
	cr_expect_eq(taio_cancel(kit, 7), 1);
	event = kit_wait_one();
	cr_expect_eq(event.result, -ECANCELED);
	cr_expect_eq(fake.now, 1);
	say(to_taken, 'n');
	start(true, UNIT, 8);
	cr_expect_geq(kit_wait_one().result, 0, "and the next one gets it");
	expect_text("n");
}

CLAIM_TEST(a_request_that_fails_gives_its_claim_up)
{
	fake.error = -ENETDOWN;
	start(true, UNIT, 1);
	cr_expect_eq(kit_wait_one().result, -ENETDOWN);
	cr_expect_eq(fake.now, 1);
}

CLAIM_TEST(an_error_with_a_claim_is_no_reason_to_ask_somebody_else)
{
	const int dgram = device_number(kit, "dgram");

	fake.error = -EINVAL;
	start(true, UNIT, 1);
	cr_expect_eq(kit_wait_one().result, -EINVAL);
	cr_expect_eq(kit->count[dgram].steps, 0, "it would have read what is newer");
}

CLAIM_TEST(an_engine_that_closes_gives_its_claims_up)
{
	start(true, UNIT, 1);
	settle();
	cr_assert(fake.held);
	kit_reopen(NULL);
	cr_expect_eq(fake.now, 1);
}

CLAIM_TEST(a_device_that_refuses_leaves_the_source_to_others)
{
	struct taio_options options = kit_options();
	struct taio_endpoint from = taio_descriptor(source), to = taio_memory(got, UNIT);

	fake.never = true;
	options.pin = gso_bit | 1ULL << device_number(kit, "dgram");
	say(to_source, 'k');
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	cr_expect_geq(kit_wait_one().result, 0);
	expect_text("k");
	cr_expect_eq(fake.now, 0);
}

CLAIM_TEST(a_few_datagrams_are_no_reason_to_take_a_source)
{
	for (int i = 0; i < 20; i++)
		say(to_source, 'q');
	start(false, 20 * UNIT, 1);
	cr_expect_geq(kit_wait_one().result, 0);
	cr_expect_eq(fake.submits, 0, "though its published price is the lowest");
}

/* A sender that is only as fast as the receiver. */
static uint64_t fed, fed_taken;
static void feed(void *fd_of, uint64_t bytes)
{
	static const char unit[UNIT];

	for (uint64_t i = 0; i < bytes; i += UNIT)
		cr_assert_eq(send(*(int *)fd_of, unit, UNIT, 0), UNIT);
}

/* Runs an endless request until @stop; the fake's socket is fed while it has the source. */
static void stream(bool (*stop)(void))
{
	struct taio_endpoint from = taio_descriptor(source), to = taio_null();
	struct taio_options options = kit_options();
	const uint64_t limit = kit_now_ns() + KIT_TIMEOUT_NS;
	struct taio_event event;

	options.length = 1ULL << 40;
	fed = fed_taken = 0;
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	while (!stop() && kit_now_ns() < limit) {
		if (fake.held && !fake.now && !fake.leaving) {
			feed(&to_taken, 64 * UNIT);
			fed_taken += 64 * UNIT;
		} else {
			feed(&to_source, 64 * UNIT);
		}
		fed += 64 * UNIT;
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
	}
	cr_assert(stop(), "it never came to that: %u steps, %u held", fake.submits, fake.held);
}

static bool is_held(void)
{
	return fake.taken_bytes > 0;
}

static bool is_given_back(void)
{
	return fake.now > 0;
}

static struct taio_event finish(void)
{
	struct taio_event event;

	cr_assert_eq(taio_cancel(kit, 1), 1);
	event = kit_wait_one();
	cr_expect_eq(event.result, -ECANCELED);
	return event;
}

CLAIM_TEST(many_datagrams_are_a_reason_to_take_a_source)
{
	stream(is_held);
	cr_expect_gt(fake.taken_bytes, 0);
	cr_expect_eq(finish().bytes, fed);
	cr_expect_eq(fake.now, 1);
	cr_expect_eq(fake.soon, 0);
}

CLAIM_TEST(a_device_that_turns_out_to_be_slower_gives_the_source_back_for_good)
{
	const int dgram = device_number(kit, "dgram"), rw = device_number(kit, "rw");
	uint64_t others;
	unsigned int submits;

	fake.taking = 3;
	fake.spin_us = 3000;
	stream(is_given_back);
	cr_expect_eq(fake.soon, 1);
	cr_expect_eq(fake.now, 1);
	submits = fake.submits;
	others = kit->count[dgram].steps + kit->count[rw].steps;
	fake.held = 0;
	for (int i = 0; i < 2000; i++) {
		struct taio_event event;

		feed(&to_source, 64 * UNIT);
		fed += 64 * UNIT;
		cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
	}
	cr_expect_eq(fake.submits, submits, "it does not come back");
	cr_expect_gt(kit->count[dgram].steps + kit->count[rw].steps, others);
	cr_expect_eq(finish().bytes, fed, "nothing was lost at the changes");
	cr_expect_eq(fake.now, 1);
}
