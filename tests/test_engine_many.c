/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_engine_many.c: many requests at once: each gives exactly one event, streams keep order, the
 * policy is swapped meanwhile, memory and cost stay flat; and what an engine promises about
 * priority, rate, progress, traces, embedding in another loop, and running without its parts.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

#define MS 1000000ULL

/* A sanitizer of threads needs no crowd to see two of them meet. */
#ifdef __SANITIZE_THREAD__
#define MANY(n) ((n) / 10)
#else
#define MANY(n) (n)
#endif

TestSuite(engine_many, .init = kit_open, .fini = kit_close, .timeout = 250);

/* ---- a mixed crowd ---- */

#define FILES 8
#define SLOTS 2048 /* in flight at most */
#define PIECE 4096

enum fate {
	MOVES,    /* all its bytes */
	FAILS,    /* with .error */
	CANCELLED /* or moves, if it was faster */
};

struct slot {
	uint64_t cookie;
	enum fate fate;
	int error;
	uint64_t size;
	uint8_t *out; /* to be compared with data[offset] */
	uint64_t offset;
	int close_fd;
	int expect_fd; /* the other side of a stream, where the bytes must come out */
	bool busy;
};

struct crowd {
	unsigned int seed;
	uint64_t total, next, done;
	uint64_t fates[3];
	uint8_t *log; /* events by cookie */
	uint8_t *data;
	uint8_t *room; /* SLOTS * PIECE */
	struct slot slot[SLOTS];
	int free[SLOTS], free_count;
	int file[FILES], out_file;
};

static struct crowd *crowd;

static unsigned int dice(unsigned int sides)
{
	return (unsigned int)rand_r(&crowd->seed) % sides;
}

static void crowd_open(uint64_t total)
{
	crowd = calloc(1, sizeof(*crowd));
	cr_assert_not_null(crowd);
	crowd->seed = kit_seed();
	crowd->total = total;
	crowd->log = calloc(1, total);
	crowd->data = kit_pattern(1 << 20, 1);
	crowd->room = calloc(SLOTS, PIECE);
	cr_assert(crowd->log && crowd->room);
	for (int i = 0; i < SLOTS; i++)
		crowd->free[i] = i;
	crowd->free_count = SLOTS;
	for (int i = 0; i < FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "in%d", i);
		kit_write(kit_path(name), crowd->data, 1 << 20);
		crowd->file[i] = open(kit_path(name), O_RDONLY | O_CLOEXEC);
		cr_assert_geq(crowd->file[i], 0);
	}
	crowd->out_file = open(kit_path("out"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(crowd->out_file, 0);
}

static void crowd_close(void)
{
	for (int i = 0; i < FILES; i++)
		close(crowd->file[i]);
	close(crowd->out_file);
	free(crowd->log);
	free(crowd->data);
	free(crowd->room);
	free(crowd);
}

/* Makes a request of a random kind for a slot. */
static int crowd_request(struct slot *s, uint8_t *room)
{
	struct taio_endpoint from = taio_zero(0), to = taio_null();
	struct taio_options options = kit_options();
	char name[32], path[KIT_PATH];
	int pair[2];

	s->size = 1 + dice(PIECE);
	s->offset = dice((1 << 20) - PIECE);
	s->fate = MOVES;
	s->out = NULL;
	s->close_fd = s->expect_fd = -1;
	options.priority = (uint8_t)dice(8);
	options.goal = (uint8_t)dice(3);
	switch (dice(14)) {
	case 0:
		s->out = room;
		return taio_schedule_pointer(kit, crowd->data + s->offset, room, s->size,
					     s->cookie);
	case 1:
		to = taio_memory(room, s->size);
		from = taio_memory(crowd->data + s->offset, s->size);
		s->out = room;
		break;
	case 2:
	case 3:
		from = taio_file(crowd->file[dice(FILES)], s->offset, s->size);
		to = taio_memory(room, s->size);
		s->out = room;
		break;
	case 4:
		from = taio_memory(crowd->data + s->offset, s->size);
		to = taio_file(crowd->out_file, dice(1 << 20), TAIO_TO_END);
		break;
	case 5:
		from = taio_zero(s->size);
		break;
	case 6:
		snprintf(path, sizeof(path), "%s/in%u", kit_dir, dice(FILES));
		from = taio_path_at(path, s->offset, s->size);
		to = taio_memory(room, s->size);
		s->out = room;
		break;
	case 7:
		snprintf(name, sizeof(name), "new%u", dice(50));
		snprintf(path, sizeof(path), "%s/%s", kit_dir, name);
		from = taio_memory(crowd->data + s->offset, s->size);
		to = taio_path(path);
		break;
	case 8: /* a stream with the bytes in it already */
	case 9:
		if (dice(2))
			cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
		else
			cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		cr_assert_eq(write(pair[1], crowd->data + s->offset, s->size), (ssize_t)s->size);
		close(pair[1]);
		s->close_fd = pair[0];
		from = taio_descriptor(pair[0]);
		to = taio_memory(room, s->size);
		s->out = room;
		break;
	case 10: /* into a stream */
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		s->close_fd = pair[0];
		s->expect_fd = pair[1];
		from = taio_file(crowd->file[dice(FILES)], s->offset, s->size);
		to = taio_descriptor(pair[0]);
		break;
	case 11:
		s->fate = FAILS;
		s->error = ENOENT;
		snprintf(path, sizeof(path), "%s/nothing/%u", kit_dir, dice(100));
		from = taio_path(path);
		to = taio_null();
		break;
	case 12:
		s->fate = FAILS;
		s->error = ETIMEDOUT;
		options.timeout_ns = 1 + dice(1000000);
		cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
		s->close_fd = pair[0];
		s->expect_fd = pair[1];
		s->size = 0;
		from = taio_descriptor(pair[0]);
		break;
	default:
		s->fate = CANCELLED;
		cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
		s->close_fd = pair[0];
		s->expect_fd = pair[1];
		s->size = 0;
		from = taio_descriptor(pair[0]);
		break;
	}
	return taio_copy(kit, &from, &to, &options, s->cookie);
}

static void crowd_add(void)
{
	int index = crowd->free[--crowd->free_count], rc;
	struct slot *s = &crowd->slot[index];

	cr_assert_not(s->busy);
	/* cookie: number of the request; slot: kept beside */
	s->cookie = crowd->next++ * SLOTS + (uint64_t)index;
	rc = crowd_request(s, crowd->room + (size_t)index * PIECE);
	cr_assert_eq(rc, 0, "%s: %s", strerror(-rc), taio_refusal(kit));
	s->busy = true;
	if (s->fate == CANCELLED)
		s->fate = dice(3) ? CANCELLED : MOVES; /* or its pipe is closed */
	if (s->fate == MOVES && s->size == 0) {
		close(s->expect_fd);
		s->expect_fd = -1;
	}
	if (s->fate == CANCELLED && dice(2)) {
		cr_assert_eq(taio_cancel(kit, s->cookie), 1);
	}
}

static void crowd_check_stream(const struct slot *s)
{
	uint8_t got[PIECE + 1];

	if (s->fate != MOVES || s->size == 0)
		return;
	cr_assert_eq(recv(s->expect_fd, got, sizeof(got), MSG_DONTWAIT), (ssize_t)s->size);
	cr_assert(memcmp(got, crowd->data + s->offset, s->size) == 0);
}

static void crowd_take(const struct taio_event *event)
{
	uint64_t number = event->cookie / SLOTS;
	struct slot *s = &crowd->slot[event->cookie % SLOTS];

	cr_assert_lt(number, crowd->total);
	cr_assert_eq(crowd->log[number]++, 0, "request %llu: a second event",
		     (unsigned long long)number);
	cr_assert(s->busy && s->cookie == event->cookie);
	if (s->fate == MOVES) {
		cr_assert_eq(event->result, (int64_t)s->size, "request %llu: %lld",
			     (unsigned long long)number, (long long)event->result);
		if (s->out)
			cr_assert(memcmp(s->out, crowd->data + s->offset, s->size) == 0);
	} else if (s->fate == FAILS) {
		cr_assert_eq(event->result, -s->error, "%lld", (long long)event->result);
	} else {
		cr_assert_eq(event->result, -ECANCELED, "%lld", (long long)event->result);
	}
	if (s->expect_fd >= 0) {
		crowd_check_stream(s);
		close(s->expect_fd);
	}
	if (s->close_fd >= 0)
		close(s->close_fd);
	s->busy = false;
	crowd->fates[s->fate]++;
	crowd->free[crowd->free_count++] = (int)(event->cookie % SLOTS);
	crowd->done++;
}

/* Cancels those that wait for it. */
static void crowd_cancel(void)
{
	for (unsigned int i = 0; i < 20; i++) {
		struct slot *s = &crowd->slot[dice(SLOTS)];

		if (s->busy && s->fate == CANCELLED)
			(void)taio_cancel(kit, s->cookie);
	}
}

static void crowd_cancel_all(void)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (crowd->slot[i].busy && crowd->slot[i].fate == CANCELLED)
			(void)taio_cancel(kit, crowd->slot[i].cookie);
}

static void crowd_run(uint64_t total, void (*meanwhile)(uint64_t round))
{
	struct taio_event event[64];
	uint64_t round = 0;

	crowd_open(total);
	while (crowd->done < total) {
		unsigned int add = dice(200);
		int n;

		while (add-- && crowd->free_count && crowd->next < total)
			crowd_add();
		crowd_cancel();
		if (crowd->next == total)
			crowd_cancel_all();
		if (meanwhile)
			meanwhile(round);
		round++;
		n = taio_get_events(kit, event, dice(3), 1 + dice(63) > 2 ? 64 : 3,
				    dice(2) ? 0 : (int64_t)dice(2000000));
		cr_assert_geq(n, 0, "%s", strerror(-n));
		for (int i = 0; i < n; i++)
			crowd_take(&event[i]);
	}
	cr_assert_eq(taio_pending(kit), 0);
	for (uint64_t i = 0; i < total; i++)
		cr_assert_eq(crowd->log[i], 1, "request %llu", (unsigned long long)i);
	cr_log_info("%llu moved, %llu failed, %llu cancelled; %llu rounds",
		    (unsigned long long)crowd->fates[MOVES],
		    (unsigned long long)crowd->fates[FAILS],
		    (unsigned long long)crowd->fates[CANCELLED], (unsigned long long)round);
	crowd_close();
}

Test(engine_many, a_hundred_thousand_mixed_requests_give_one_event_each)
{
	crowd_run(MANY(100000), NULL);
}

Test(engine_many, mixed_requests_without_io_uring)
{
	struct taio_engine_options options = kit_engine_options(TAIO_NO_URING);

	kit_reopen(&options);
	crowd_run(MANY(20000), NULL);
}

Test(engine_many, mixed_requests_without_threads)
{
	struct taio_engine_options options = kit_engine_options(TAIO_NO_WORKERS);

	kit_reopen(&options);
	crowd_run(MANY(20000), NULL);
}

Test(engine_many, mixed_requests_without_io_uring_and_threads)
{
	struct taio_engine_options options = kit_engine_options(TAIO_NO_URING | TAIO_NO_WORKERS);

	kit_reopen(&options);
	crowd_run(MANY(20000), NULL);
}

Test(engine_many, mixed_requests_in_an_engine_that_never_sleeps)
{
	struct taio_engine_options options = kit_engine_options(TAIO_BUSY_POLL);

	kit_reopen(&options);
	crowd_run(MANY(20000), NULL);
}

/* ---- swaps ---- */

static unsigned int swaps;

static void swap_names(uint64_t round)
{
	static const char *const name[] = { "tab", "static", "jsq" };
	struct taio_policy_info info;
	int rc;

	(void)round;
	for (int i = 0; i < 3 && swaps < 1000; i++) {
		const char *want = name[(swaps + 1) % 3];

		rc = taio_policy_swap(kit, want);
		cr_assert_eq(rc, 0, "%s: %s", want, taio_refusal(kit));
		swaps++;
		cr_assert_eq(taio_policy_show(kit, &info, sizeof(info)), 0);
		cr_assert_str_eq(info.name, want);
		cr_assert_eq(info.swaps, swaps);
	}
}

Test(engine_many, a_thousand_swaps_of_the_policy_under_load_lose_nothing)
{
	swaps = 0;
	crowd_run(60000, swap_names);
	cr_assert_eq(swaps, 1000);
}

static char object[3][KIT_PATH];
static unsigned int objects;

static void swap_objects(uint64_t round)
{
	int rc;

	if (round % 4)
		return;
	/* in turn: an object, a native twin, the next object */
	rc = round % 8 ? taio_policy_swap(kit, "tab")
		       : taio_policy_load(kit, object[round / 8 % objects]);
	cr_assert_eq(rc, 0, "%s", taio_refusal(kit));
	swaps++;
}

Test(engine_many, swaps_between_bpf_objects_and_native_twins_lose_nothing)
{
	static const char *const name[] = { "tab", "static", "jsq" };
	struct taio_engine_options options = kit_engine_options(0);
	const char *build = getenv("BUILD");

	options.flags &= ~(uint32_t)TAIO_NO_BPF;
	options.policy = "tab";
	kit_reopen(&options);
	objects = 0;
	for (int i = 0; i < 3; i++) {
		snprintf(object[objects], KIT_PATH, "%s/schedulers/%s.bpf.o",
			 build ? build : "build", name[i]);
		if (access(object[objects], R_OK) == 0)
			objects++;
	}
	if (!objects)
		kit_skip("no policy object was built");
	if (taio_policy_load(kit, object[0]) == -EPERM)
		kit_skip("BPF is not permitted: %s", taio_refusal(kit));
	swaps = 0;
	crowd_run(20000, swap_objects);
	cr_assert_gt(swaps, 50);
}

Test(engine_many, a_policy_that_cannot_be_had_leaves_the_running_one)
{
	struct taio_policy_info info;

	cr_assert_eq(taio_policy_swap(kit, "static"), 0);
	cr_assert_lt(taio_policy_swap(kit, "no-such-policy"), 0);
	cr_assert_gt(strlen(taio_refusal(kit)), 10);
	cr_assert_lt(taio_policy_swap(kit, "/dev/null"), 0);
	cr_assert_eq(taio_policy_swap(kit, ""), -EINVAL);
	cr_assert_eq(taio_policy_swap(kit, NULL), -EINVAL);
	cr_assert_eq(taio_policy_show(kit, &info, sizeof(info)), 0);
	cr_assert_str_eq(info.name, "static");
	cr_assert_eq(taio_policy_show(kit, &info, sizeof(info) - 1), -EINVAL);
	kit_moves(taio_zero(100000), taio_path(kit_path("new")), 100000, NULL);
}

/* ---- a hundred thousand at once ---- */

static uint64_t resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	cr_assert_not_null(file);
	cr_assert_eq(fscanf(file, "%lu %lu", &size, &pages), 2);
	fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void open_large(uint32_t requests)
{
	struct taio_engine_options options = kit_engine_options(0);

	options.requests = requests;
	kit_reopen(&options);
}

Test(engine_many, a_hundred_thousand_in_flight_cost_512_bytes_each)
{
	enum {
		COUNT = MANY(100000)
	};
	static struct taio_event event[1024];
	static uint8_t out[COUNT];
	uint8_t *seen = calloc(1, COUNT), *data = kit_pattern(COUNT, 1);
	struct taio_endpoint from, to;
	uint64_t before, used, start, scheduled, taken;
	unsigned int got = 0, next = 0;
	size_t sent = 0;
	int pair[2];

	memset(out, 1, sizeof(out)); /* touch what is ours */
	memset(event, 1, sizeof(event));
	memset(seen, 0, COUNT);
	open_large(COUNT);
	/* one request through everything, so that what is needed once is there */
	kit_moves(taio_zero(100), taio_null(), 100, NULL);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	from = taio_descriptor(pair[0]);
	before = resident();
	start = kit_now_ns();
	for (uint64_t i = 0; i < COUNT; i++) {
		to = taio_memory(&out[i], 1);
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	}
	scheduled = kit_now_ns() - start;
	for (int i = 0; i < 500; i++)
		cr_assert_eq(taio_get_events(kit, event, 0, 1024, 0), 0);
	used = resident() - before;
	cr_assert_eq(taio_pending(kit), COUNT);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, COUNT), -EAGAIN);
	start = kit_now_ns();
	while (got < COUNT) {
		ssize_t n = send(pair[1], data + sent, COUNT - sent, MSG_DONTWAIT);
		int taking;

		sent += n > 0 ? (size_t)n : 0;
		taking = taio_get_events(kit, event, 1, 1024, KIT_TIMEOUT_NS);
		cr_assert_gt(taking, 0, "%u came", got);
		for (int i = 0; i < taking; i++) {
			cr_assert_eq(event[i].result, 1);
			cr_assert_eq(event[i].cookie, next, "order on a stream");
			next++;
			seen[event[i].cookie]++;
		}
		got += (unsigned int)taking;
	}
	taken = kit_now_ns() - start;
	cr_assert(memcmp(out, data, COUNT) == 0);
	cr_log_info("%llu bytes, %llu ns to schedule, %llu ns to run each",
		    (unsigned long long)used / COUNT, (unsigned long long)scheduled / COUNT,
		    (unsigned long long)taken / COUNT);
#ifndef __SANITIZE_ADDRESS__
#ifndef __SANITIZE_THREAD__
	cr_assert_leq(used / COUNT, 512);
#endif
#endif
	close(pair[0]);
	close(pair[1]);
	free(seen);
	free(data);
}

/* Reads of files with 1 and with 100,000 in flight; figures for the log, no assertion on time. */
Test(engine_many, the_cost_of_a_request_does_not_grow_with_their_number)
{
	enum {
		COUNT = MANY(100000),
		BUFFERS = 4096 /* more than there are steps at a time */
	};
	static uint8_t out[BUFFERS][4096];
	static struct taio_event event[1024];
	uint8_t *data = kit_pattern(1 << 20, 1);
	uint64_t start, alone, together;
	unsigned int got = 0;
	int fd;

	open_large(COUNT);
	kit_write(kit_path("in"), data, 1 << 20);
	fd = open(kit_path("in"), O_RDONLY | O_CLOEXEC);
	for (int warm = 0; warm < 2; warm++) {
		start = kit_now_ns();
		for (int i = 0; i < 20000; i++) {
			struct taio_endpoint from = taio_file(fd, 4096, 4096);
			struct taio_endpoint to = taio_memory(out[0], 4096);

			cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
			cr_assert_eq(taio_get_events(kit, event, 1, 1, KIT_TIMEOUT_NS), 1);
			cr_assert_eq(event[0].result, 4096);
		}
		alone = (kit_now_ns() - start) / 20000;
	}
	start = kit_now_ns();
	for (uint64_t i = 0; i < COUNT; i++) {
		struct taio_endpoint from = taio_file(fd, (i % 256) * 4096, 4096);
		struct taio_endpoint to = taio_memory(out[i % BUFFERS], 4096);

		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	}
	while (got < COUNT) {
		int n = taio_get_events(kit, event, 1, 1024, KIT_TIMEOUT_NS);

		cr_assert_gt(n, 0, "%u came", got);
		for (int i = 0; i < n; i++)
			cr_assert_eq(event[i].result, 4096);
		got += (unsigned int)n;
	}
	together = (kit_now_ns() - start) / COUNT;
	cr_log_info("4 KiB reads: %llu ns alone, %llu ns each of 100,000",
		    (unsigned long long)alone, (unsigned long long)together);
	close(fd);
	free(data);
}

Test(engine_many, closing_a_hundred_thousand_in_flight_is_quick)
{
	enum {
		COUNT = MANY(100000)
	};
	struct taio_endpoint from, to = taio_null();
	struct taio_event event;
	uint64_t start;
	int pair[2];

	open_large(COUNT);
	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	for (uint64_t i = 0; i < COUNT; i++)
		cr_assert_eq(taio_copy(kit, &from, &to, NULL, i), 0);
	cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
	start = kit_now_ns();
	open_large(10);
	cr_log_info("%llu ms", (unsigned long long)((kit_now_ns() - start) / MS));
	cr_assert_lt(kit_now_ns() - start, 20000 * MS);
	close(pair[0]);
	close(pair[1]);
}

/* ---- order ---- */

Test(engine_many, a_thousand_requests_on_four_streams_keep_their_order)
{
	enum {
		COUNT = 1000,
		TO = 4
	};
	unsigned int seed = kit_seed();
	uint8_t *data = kit_pattern(1 << 20, 2), *want[TO];
	size_t length[TO] = { 0 };
	struct kit_end sink[TO];
	struct taio_event event[64];
	unsigned int got = 0;
	int fd;

	kit_write(kit_path("in"), data, 1 << 20);
	fd = open(kit_path("in"), O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < TO; i++) {
		want[i] = malloc(COUNT * 9000);
		kit_sink(&sink[i], i % 2 ? KIT_PIPE : KIT_STREAM, 0);
	}
	for (uint64_t i = 0; i < COUNT; i++) {
		unsigned int to = (unsigned int)rand_r(&seed) % TO;
		size_t size = (size_t)rand_r(&seed) % 9000;
		size_t at = (size_t)rand_r(&seed) % ((1 << 20) - 9000);
		struct taio_endpoint from;
		struct taio_options options = kit_options();

		options.priority = (uint8_t)(rand_r(&seed) % 8);
		options.length = size + 1;
		switch (rand_r(&seed) % 4) {
		case 0:
			from = taio_memory(data + at, size);
			break;
		case 1:
			from = taio_file(fd, at, size);
			break;
		case 2:
			from = taio_path_at(kit_path("in"), at, size);
			break;
		default:
			from = taio_zero(size);
		}
		cr_assert_eq(taio_copy(kit, &from, &sink[to].ep, &options, i), 0);
		if (from.type == TAIO_EP_ZERO)
			memset(want[to] + length[to], 0, size);
		else
			memcpy(want[to] + length[to], data + at, size);
		length[to] += size;
	}
	while (got < COUNT) {
		int n = taio_get_events(kit, event, 1, 64, KIT_TIMEOUT_NS);

		cr_assert_gt(n, 0);
		for (int i = 0; i < n; i++)
			cr_assert_geq(event[i].result, 0, "%lld", (long long)event[i].result);
		got += (unsigned int)n;
	}
	for (int i = 0; i < TO; i++) {
		kit_drop(&sink[i]);
		cr_assert_eq(sink[i].got_size, length[i]);
		cr_assert(memcmp(sink[i].got, want[i], length[i]) == 0);
		kit_free(&sink[i]);
		free(want[i]);
	}
	close(fd);
	free(data);
}

Test(engine_many, a_higher_priority_goes_first)
{
	enum {
		COUNT = 80
	};
	struct taio_event event[COUNT];
	unsigned int last = 7;

	for (uint64_t i = 0; i < COUNT; i++) {
		struct taio_endpoint from = taio_zero(10), to = taio_null();
		struct taio_options options = kit_options();

		options.priority = (uint8_t)(i * 3 % 8);
		cr_assert_eq(taio_copy(kit, &from, &to, &options, options.priority), 0);
	}
	cr_assert_eq(taio_get_events(kit, event, COUNT, COUNT, KIT_TIMEOUT_NS), COUNT);
	for (int i = 0; i < COUNT; i++) {
		cr_assert_leq(event[i].cookie, last);
		last = (unsigned int)event[i].cookie;
	}
}

/* A large copy must not keep small ones waiting until it is over. */
Test(engine_many, small_requests_pass_a_large_one)
{
	struct taio_endpoint from = taio_zero(1ULL << 50), to = taio_null();
	struct taio_event event;

	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	/* and the call comes back, which the copy would not for days */
	cr_assert_eq(taio_get_events(kit, &event, 1, 1, 20 * MS), 0);
	for (uint64_t i = 2; i < 100; i++) {
		struct taio_endpoint a = taio_zero(1000), b = taio_path(kit_path("new"));

		cr_assert_eq(taio_copy(kit, &a, &b, NULL, i), 0);
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.cookie, i);
		cr_assert_eq(event.result, 1000);
	}
	cr_assert_eq(taio_cancel(kit, 1), 1);
	cr_assert_eq(kit_wait_one().result, -ECANCELED);
}

Test(engine_many, a_timeout_ends_a_long_copy_that_never_sleeps)
{
	struct taio_options options = kit_options();
	struct taio_event event;

	options.timeout_ns = 50 * MS;
	event = kit_copy(taio_zero(1ULL << 50), taio_null(), &options); /* would take days */
	cr_assert_eq(event.result, -ETIMEDOUT);
}

/* Streams that became ready are served although pointer copies and files never end. */
Test(engine_many, a_busy_engine_still_looks_at_its_streams)
{
	struct taio_endpoint from, to;
	struct taio_event event;
	uint64_t start;
	char byte = 0, a[2000], b[2000] = { 0 };
	bool came = false;
	int pair[2];

	cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
	from = taio_descriptor(pair[0]);
	to = taio_memory(&byte, 1);
	cr_assert_eq(taio_copy(kit, &from, &to, NULL, 1), 0);
	cr_assert_eq(taio_get_events(kit, &event, 0, 1, 0), 0);
	cr_assert_eq(write(pair[1], "x", 1), 1);
	start = kit_now_ns();
	while (!came && kit_now_ns() - start < KIT_TIMEOUT_NS) {
		cr_assert_eq(taio_schedule_pointer(kit, b, a, sizeof(a), 2), 0);
		cr_assert_eq(taio_schedule_pointer(kit, b, a, 10, 2), 0);
		for (int i = 0; i < 2; i++) {
			int n = taio_get_events(kit, &event, 1, 1, -1);

			cr_assert_eq(n, 1);
			came |= event.cookie == 1;
		}
	}
	cr_assert(came, "starved for 20 s");
	while (taio_pending(kit))
		cr_assert_eq(taio_get_events(kit, &event, 1, 1, KIT_TIMEOUT_NS), 1);
	cr_assert_eq(byte, 'x');
	close(pair[0]);
	close(pair[1]);
}

/* ---- rate, progress, trace ---- */

/* One copy of 2 MiB at 4 MiB/s. Return: how long it took. */
static uint64_t limited(void)
{
	struct taio_options options = kit_options();
	struct taio_endpoint from = taio_zero(2 << 20), to = taio_path(kit_path("new"));
	uint64_t rate = 4 << 20, progress = 0, start, elapsed;
	struct taio_event event;
	int n = 0;

	options.limit_rate = rate;
	options.progress = &progress;
	start = kit_now_ns();
	cr_assert_eq(taio_copy(kit, &from, &to, &options, 1), 0);
	while (n == 0) {
		uint64_t moved;

		n = taio_get_events(kit, &event, 1, 1, 3 * MS);
		moved = __atomic_load_n(&progress, __ATOMIC_RELAXED);
		elapsed = kit_now_ns() - start;
		/* a slice of 50 ms may go ahead */
		cr_assert_leq(moved, rate / 1000 * elapsed / MS + rate / 20 + 4096,
			      "%llu bytes in %llu ms", (unsigned long long)moved,
			      (unsigned long long)(elapsed / MS));
	}
	cr_assert_eq(event.result, 2 << 20);
	elapsed = kit_now_ns() - start;
	cr_assert_gt(elapsed, 400 * MS);
	return elapsed;
}

Test(engine_many, a_rate_limit_holds_at_every_moment_and_is_reached)
{
	uint64_t took = limited();

	for (int i = 0; i < 10 && took > 700 * MS; i++) /* others may have the core once */
		took = limited();
	cr_assert_leq(took, 700 * MS, "it takes %llu ms", (unsigned long long)(took / MS));
}

/* It ran whenever a byte was due: a million system calls for two megabytes. */
Test(engine_many, a_rate_limit_lets_pieces_pass_and_not_single_bytes)
{
	struct taio_endpoint ends[][2] = {
		{ taio_zero(2 << 20), taio_path(kit_path("new")) },
		{ taio_path(kit_path("from")), taio_path(kit_path("to")) },
		{ taio_path(kit_path("from")), taio_null() },
	};
	uint8_t *data = kit_pattern(2 << 20, 1);

	kit_write(kit_path("from"), data, 2 << 20);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct taio_trace_step rows[16];
		struct taio_trace trace = { .capacity = 16, .step = rows };
		struct taio_options options = kit_options();
		uint32_t count = 0;

		options.limit_rate = 4 << 20;
		options.trace = &trace;
		kit_moves(ends[i][0], ends[i][1], 2 << 20, &options);
		for (uint32_t k = 0; k < trace.used; k++)
			if (rows[k].step == TAIO_STEP_TRANSFER)
				count += rows[k].count;
		/* half a second in halves of 50 ms, and what a second piece of a vector may add */
		cr_assert(count >= 5 && count <= 40, "%u steps", count);
	}
	free(data);
}

/* "cannot do this one" was said of threads that nobody needed. */
Test(engine_many, a_trace_says_of_threads_that_nobody_else_waits)
{
	struct taio_trace_step rows[16];
	struct taio_trace trace = { .capacity = 16, .step = rows };
	struct taio_options options = kit_options();
	uint8_t *data = kit_pattern(3 << 20, 1);
	unsigned int told = 0;

	options.trace = &trace;
	kit_write(kit_path("from"), data, 3 << 20);
	kit_moves(taio_path(kit_path("from")), taio_path(kit_path("to")), 3 << 20, &options);
	for (uint32_t i = 0; i < trace.used; i++)
		for (uint32_t k = 0; k < rows[i].candidates; k++) {
			const char *name = taio_device_name(kit, rows[i].candidate[k].device);

			if (rows[i].step != TAIO_STEP_TRANSFER || strcmp(name, "rw@worker") != 0)
				continue;
			cr_assert_eq(rows[i].candidate[k].why_not, TAIO_WHY_DETOUR, "%s",
				     taio_why_name(rows[i].candidate[k].why_not));
			told++;
		}
	cr_assert_gt(told, 0);
	free(data);
}

static void check_trace(const struct taio_trace *trace, const struct taio_event *event,
			uint64_t size)
{
	uint64_t bytes = 0, devices = 0;

	cr_assert_eq(event->result, (int64_t)size);
	cr_assert_eq(trace->lost, 0);
	cr_assert_gt(trace->used, 0);
	for (uint32_t i = 0; i < trace->used; i++) {
		const struct taio_trace_step *row = &trace->step[i];

		cr_assert_lt(row->step, TAIO_STEP_COUNT);
		cr_assert_lt(row->why, TAIO_WHY_COUNT);
		cr_assert_leq(row->candidates, 12);
		if (row->step != TAIO_STEP_TRANSFER && row->step != TAIO_STEP_FILE)
			continue;
		bytes += row->bytes;
		if (row->bytes)
			devices |= 1ULL << row->device;
		cr_assert(row->count > 0 && (row->ns > 0 || row->bytes == 0));
	}
	cr_assert_eq(bytes, size, "the trace tells of %llu bytes", (unsigned long long)bytes);
	cr_assert_eq(devices, event->devices);
	cr_assert(size == 0 || event->devices >> event->device & 1);
}

Test(engine_many, the_rows_of_a_trace_add_up_to_the_bytes)
{
	static const size_t sizes[] = { 1, 5000, 100000, 3 << 20, 40 << 20 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (enum kit_kind from = 0; from < KIT_KINDS; from++)
			for (enum kit_kind to = 0; to < KIT_KINDS; to++) {
				struct taio_trace_step rows[64];
				struct taio_trace trace = { .capacity = 64, .step = rows };
				struct taio_options options = kit_options();
				struct kit_end source, sink;
				struct taio_event event;
				uint8_t *data;

				if (!kit_is_pair(from, to) ||
				    (sizes[i] > 100000 &&
				     (from != KIT_PATH_NEW ||
				      (to != KIT_PATH_NEW && to != KIT_STREAM))))
					continue;
				data = from == KIT_ZERO ? calloc(1, sizes[i])
							: kit_pattern(sizes[i], 7);
				options.trace = &trace;
				options.datagram = 1000;
				kit_source(&source, from, data, sizes[i]);
				kit_sink(&sink, to, sizes[i]);
				event = kit_copy(source.ep, sink.ep, &options);
				check_trace(&trace, &event, sizes[i]);
				kit_source_done(&source);
				kit_sink_done(&sink, data, sizes[i], kit_kind_name(to));
				free(data);
			}
}

Test(engine_many, a_trace_without_room_counts_what_it_lost)
{
	struct taio_trace_step row;
	struct taio_trace trace = { .capacity = 1, .step = &row };
	struct taio_options options = kit_options();

	uint8_t *data = kit_pattern(700000, 4); /* not in one step */

	options.trace = &trace;
	kit_write(kit_path("in"), data, 700000);
	kit_moves(taio_path(kit_path("in")), taio_path(kit_path("new")), 700000, &options);
	free(data);
	cr_assert_eq(trace.used, 1);
	cr_assert_gt(trace.lost, 0);
}

Test(engine_many, pinned_devices_carry_all_bytes_and_forbidden_ones_none)
{
	uint8_t *data = kit_pattern(3 << 20, 1);
	uint64_t rw, others;

	kit_write(kit_path("in"), data, 3 << 20);
	cr_assert_eq(taio_device_mask(kit, "rw", &rw), 0);
	cr_assert_eq(taio_device_mask(kit, "cfr,sendfile,reflink,splice,mmap", &others), 0);
	for (int i = 0; i < 20; i++) {
		struct taio_options options = kit_options();
		struct taio_event event;

		options.pin = rw;
		event = kit_copy(taio_path(kit_path("in")), taio_path(kit_path("to")), &options);
		cr_assert_eq(event.result, 3 << 20);
		cr_assert_eq(event.devices & ~rw, 0);
		cr_assert_neq(event.devices, 0);
		options.pin = 0;
		options.forbid = others;
		event = kit_copy(taio_path(kit_path("in")), taio_path(kit_path("to")), &options);
		cr_assert_eq(event.result, 3 << 20);
		cr_assert_eq(event.devices & others, 0);
		kit_check(kit_path("to"), data, 3 << 20);
	}
	free(data);
}

/* ---- in somebody else's loop ---- */

/* Sleeps in poll() only, and only after the engine said that there is nothing to do. */
static void embed(uint32_t flags)
{
	enum {
		COUNT = 300
	};
	struct taio_engine_options engine_options = kit_engine_options(flags);
	uint8_t *data = kit_pattern(200000, 1), seen[COUNT] = { 0 };
	struct kit_end source[COUNT], sink[COUNT];
	struct taio_event event[16];
	struct pollfd fd = { .events = POLLIN };
	unsigned int got = 0, next = 0, idle = 0;

	kit_reopen(&engine_options);
	fd.fd = taio_fd(kit);
	cr_assert_geq(fd.fd, 0, "%s", strerror(-fd.fd));
	cr_assert_eq(taio_fd(kit), fd.fd, "the same each time");
	while (got < COUNT) {
		int n;

		while (next < COUNT && next - got < 20) {
			struct taio_options options = kit_options();
			enum kit_kind from, to;

			do {
				from = (enum kit_kind)((next * 7 + idle) % KIT_KINDS);
				to = (enum kit_kind)((next * 11 + idle++ / 3) % KIT_KINDS);
			} while (!kit_is_pair(from, to) || from == KIT_ZERO);
			options.datagram = 1000;
			if (next % 10 == 0)
				options.limit_rate = 2000000;
			kit_source(&source[next], from, data, 200000);
			kit_sink(&sink[next], to, 200000);
			cr_assert_eq(
				taio_copy(kit, &source[next].ep, &sink[next].ep, &options, next),
				0);
			next++;
		}
		n = taio_get_events(kit, event, 0, 16, 0);
		cr_assert_geq(n, 0);
		for (int i = 0; i < n; i++) {
			cr_assert_eq(event[i].result, 200000, "%s to %s: %s: %s",
				     kit_kind_name(source[event[i].cookie].kind),
				     kit_kind_name(sink[event[i].cookie].kind),
				     taio_step_name(event[i].step),
				     strerror((int)-event[i].result));
			cr_assert_eq(seen[event[i].cookie]++, 0);
			kit_source_done(&source[event[i].cookie]);
			kit_sink_done(&sink[event[i].cookie], data, 200000, "embedded");
		}
		got += (unsigned int)n;
		if (n == 0 && got < COUNT)
			cr_assert_gt(poll(&fd, 1, 20000), 0, "nothing came, %u of %u done", got,
				     next);
	}
	/* when nothing is in flight it does not say otherwise */
	for (int i = 0; i < 5 && poll(&fd, 1, 0) > 0; i++)
		cr_assert_eq(taio_get_events(kit, event, 0, 16, 0), 0);
	cr_assert_eq(poll(&fd, 1, 20), 0, "it cries wolf");
	free(data);
}

Test(engine_many, an_engine_can_be_embedded_in_another_loop)
{
	embed(0);
}

Test(engine_many, an_engine_without_io_uring_can_be_embedded)
{
	embed(TAIO_NO_URING);
}

Test(engine_many, an_engine_without_threads_can_be_embedded)
{
	embed(TAIO_NO_WORKERS);
}

/* A program that only ever looks, and never waits. */
Test(engine_many, everything_completes_without_ever_waiting)
{
	uint8_t *data = kit_pattern(300000, 1);

	for (enum kit_kind from = 0; from < KIT_KINDS; from++)
		for (enum kit_kind to = 0; to < KIT_KINDS; to++) {
			struct taio_options options = kit_options();
			struct kit_end source, sink;
			struct taio_event event;
			uint64_t start = kit_now_ns();
			int n = 0;

			if (!kit_is_pair(from, to) || from == KIT_ZERO)
				continue;
			options.datagram = 1000;
			kit_source(&source, from, data, 300000);
			kit_sink(&sink, to, 300000);
			cr_assert_eq(taio_copy(kit, &source.ep, &sink.ep, &options, 1), 0);
			while (n == 0) {
				n = taio_get_events(kit, &event, 0, 1, 0);
				cr_assert_lt(kit_now_ns() - start, 20000 * MS, "%s to %s",
					     kit_kind_name(from), kit_kind_name(to));
			}
			cr_assert_eq(event.result, 300000);
			kit_source_done(&source);
			kit_sink_done(&sink, data, 300000, kit_kind_name(to));
		}
	free(data);
}

Test(engine_many, engines_of_one_process_do_not_know_each_other)
{
	struct taio_engine_options options = kit_engine_options(0);
	struct taio_endpoint from = taio_zero(100000), to;
	struct taio *other[10];
	struct taio_event event;

	for (int i = 0; i < 10; i++)
		cr_assert_eq(taio_open(&other[i], &options), 0);
	for (int i = 0; i < 10; i++) {
		char name[16];

		snprintf(name, sizeof(name), "new%d", i);
		to = taio_path(kit_path(name));
		cr_assert_eq(taio_copy(other[i], &from, &to, NULL, (uint64_t)i), 0);
	}
	for (int i = 9; i >= 0; i--) {
		cr_assert_eq(taio_get_events(other[i], &event, 1, 1, KIT_TIMEOUT_NS), 1);
		cr_assert_eq(event.cookie, (uint64_t)i);
		cr_assert_eq(event.result, 100000);
		taio_close(other[i]);
	}
}
