/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_ring.c: what the three io_uring devices have in common: when and why they are not
 * available, control steps, and ten thousand random steps of all kinds with cancellations, each of
 * which must come back exactly once.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ring_rig.h"

/* ---- availability ---- */

static void forbid_io_uring(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* criterion runs each case in a process of its own: the filter ends with it */
static void all_are_refused(int error, const char *word)
{
	struct rig rig;

	rig_init(&rig);
	for (int i = 0; i < RIG_DEVICES; i++) {
		struct taio_device *dev = &rig.dev[i];

		cr_expect_eq(dev->driver->probe(dev), error);
		cr_expect(strstr(dev->reason, word), "%s: '%s'", dev->driver->name, dev->reason);
		dev->reason[0] = '\0';
		cr_expect_eq(dev->driver->open(dev), error);
		cr_expect(strstr(dev->reason, word), "%s: '%s'", dev->driver->name, dev->reason);
		cr_expect_null(dev->priv);
		dev->driver->close(dev); /* may be called all the same */
	}
	rig_remove_dir(&rig);
}

Test(ring, forbidden_by_seccomp_says_so)
{
	forbid_io_uring(EPERM);
	all_are_refused(-EPERM, "seccomp");
}

Test(ring, missing_system_call_says_so)
{
	forbid_io_uring(ENOSYS);
	all_are_refused(-ENOSYS, "no io_uring");
}

Test(ring, switched_off_by_the_engine_says_so)
{
	struct rig rig;

	rig_init(&rig);
	rig.host.engine_flags = TAIO_NO_URING;
	for (int i = 0; i < RIG_DEVICES; i++) {
		cr_expect_eq(rig.dev[i].driver->probe(&rig.dev[i]), -EPERM);
		cr_expect(strstr(rig.dev[i].reason, "TAIO_NO_URING"));
	}
	rig_remove_dir(&rig);
}

Test(ring, too_few_descriptors_are_another_reason)
{
	struct rig rig;
	int fd, last = -1;

	rig_init(&rig);
	while ((fd = dup(0)) >= 0)
		last = fd;
	cr_expect_eq(rig.dev[0].driver->open(&rig.dev[0]), -EMFILE);
	cr_expect(strstr(rig.dev[0].reason, "descriptor"), "%s", rig.dev[0].reason);
	for (fd = last; fd > last - 8; fd--)
		close(fd);
	cr_expect_eq(rig.dev[0].driver->open(&rig.dev[0]), 0, "and a failure left nothing behind");
	rig_close(&rig);
}

/* Since 6.14 the memory of a ring counts as locked. */
Test(ring, little_memory_to_lock_makes_a_smaller_ring)
{
	struct rig rig;
	uint8_t got[5];
	struct taio_step step;
	int fd;

	little_locked_memory(98304);
	rig_init(&rig);
	rig.host.requests = 4096;
	cr_assert_eq(rig.dev[0].driver->open(&rig.dev[0]), 0, "%s", rig.dev[0].reason);
	cr_expect_geq(rig_ring(&rig)->slots, 64);
	fprintf(stderr, "%u slots\n", rig_ring(&rig)->slots);
	fd = file_new(&rig, "f", "hello", 5);
	step = step_copy(end_file(fd, 0), end_memory(got), 5);
	cr_assert_eq(rig_run(&rig, RING_URING, &step), 5);
	close(fd);
	rig_close(&rig);
}

Test(ring, probe_makes_no_ring)
{
	struct rig rig;
	int before;

	rig_init(&rig);
	before = count_fds();
	for (int i = 0; i < RIG_DEVICES; i++)
		cr_assert_eq(rig.dev[i].driver->probe(&rig.dev[i]), 0, "%s", rig.dev[i].reason);
	cr_assert_eq(count_fds(), before);
	rig_remove_dir(&rig);
}

Test(ring, engines_have_rings_of_their_own_and_devices_share_one)
{
	struct rig one, two;
	int before = count_fds();

	rig_open(&one);
	rig_open(&two);
	cr_assert_neq(rig_ring(&one), rig_ring(&two));
	cr_assert_eq(count_fds(), before + 2);
	/* the last device of an engine takes the ring with it */
	one.dev[0].driver->close(&one.dev[0]);
	one.dev[1].driver->close(&one.dev[1]);
	cr_assert_eq(count_fds(), before + 2);
	one.dev[2].driver->close(&one.dev[2]);
	cr_assert_eq(count_fds(), before + 1);
	rig_close(&one);
	rig_close(&two);
	cr_assert_eq(count_fds(), before);
}

/* ---- control steps ---- */

static int64_t run_control(struct rig *rig, enum taio_op op, struct taio_file *file,
			   struct taio_addr *addr, int fd)
{
	struct taio_step step =
		step_copy(end_fd(TAIO_KIND_FILE, fd), end_fd(TAIO_KIND_FILE, fd), 0);

	step.op = (uint8_t)op;
	step.file = file;
	step.addr = addr;
	return rig_run(rig, RING_URING, &step);
}

Test(ring, control_steps_on_files)
{
	struct rig rig;
	struct taio_file file;
	char path[400];
	int fd;

	rig_open(&rig);
	memset(&file, 0, sizeof(file));
	fd = file_new(&rig, "f", "hello", 5);
	snprintf(path, sizeof(path), "%s/f", rig.dir);
	file.to_path = file.from_path = path;
	file.to_fd = fd;
	file.from_fd = -1;
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC, &file, NULL, fd), 0);
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC, NULL, NULL, fd), 0);
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC_DIR, &file, NULL, -1), 0);
	cr_expect_eq(run_control(&rig, TAIO_OP_OPEN, &file, NULL, -1), 0);
	cr_expect_geq(file.from_fd, 0);
	cr_expect_eq(file.size, 5);
	cr_expect_eq(file.from_kind, TAIO_KIND_FILE);
	cr_expect_eq(run_control(&rig, TAIO_OP_CLOSE, NULL, NULL, file.from_fd), 0);
	cr_expect_eq(fcntl(file.from_fd, F_GETFD), -1, "it is closed");
	cr_expect_eq(run_control(&rig, TAIO_OP_CLOSE, NULL, NULL, file.from_fd), -EBADF);
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC, NULL, NULL, file.from_fd), -EBADF);
	file.from_path = "/nonexistent/file";
	file.from_fd = -1;
	cr_expect_eq(run_control(&rig, TAIO_OP_OPEN, &file, NULL, -1), -ENOENT);
	cr_expect_eq(file.failed_step, TAIO_STEP_OPEN_FROM);
	file.from_path = rig.dir;
	cr_expect_eq(run_control(&rig, TAIO_OP_OPEN, &file, NULL, -1), -EISDIR);
	close(fd);
	rig_close(&rig);
}

Test(ring, directory_of_a_plain_name_is_the_present_one)
{
	struct rig rig;
	struct taio_file file;
	int before;

	rig_open(&rig);
	cr_assert_eq(chdir(rig.dir), 0);
	before = count_fds();
	memset(&file, 0, sizeof(file));
	file.to_path = "f";
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC_DIR, &file, NULL, -1), 0);
	file.to_path = "/f";
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC_DIR, &file, NULL, -1), 0);
	file.to_path = "missing/f";
	cr_expect_eq(run_control(&rig, TAIO_OP_SYNC_DIR, &file, NULL, -1), -EOPNOTSUPP);
	cr_expect_eq(count_fds(), before);
	cr_assert_eq(chdir("/"), 0);
	rig_close(&rig);
}

static void addr_init(struct taio_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->type = SOCK_STREAM;
	addr->fd = addr->listen_fd = -1;
}

static void addr_add(struct taio_addr *addr, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };

	memcpy(&addr->peer[addr->count], &in, sizeof(in));
	addr->peer_len[addr->count++] = sizeof(in);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in in;
	socklen_t len = sizeof(in);

	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	return ntohs(in.sin_port);
}

Test(ring, connect_goes_on_to_the_address_that_answers, .timeout = 30)
{
	struct rig rig;
	struct taio_addr addr;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), peer, dead, before;
	uint16_t dead_port;

	rig_open(&rig);
	dead = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(dead, (struct sockaddr *)&in, sizeof(in)), 0); /* and never listens */
	dead_port = port_of(dead);
	cr_assert_eq(bind(listen_fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(listen_fd, 1), 0);
	before = count_fds();
	addr_init(&addr);
	cr_expect_eq(run_control(&rig, TAIO_OP_CONNECT, NULL, &addr, -1), -EDESTADDRREQ);
	addr_add(&addr, dead_port);
	cr_expect_eq(run_control(&rig, TAIO_OP_CONNECT, NULL, &addr, -1), -ECONNREFUSED);
	cr_expect_eq(addr.fd, -1);
	cr_expect_eq(count_fds(), before);
	addr_add(&addr, port_of(listen_fd));
	cr_expect_eq(run_control(&rig, TAIO_OP_CONNECT, NULL, &addr, -1), 0);
	cr_expect_eq(addr.current, 1);
	cr_assert_geq(addr.fd, 0);
	cr_expect(fcntl(addr.fd, F_GETFL) & O_NONBLOCK);
	peer = accept(listen_fd, NULL, NULL);
	cr_assert_geq(peer, 0);
	cr_expect_eq(send(addr.fd, "x", 1, 0), 1);
	close(peer);
	close(addr.fd);
	close(listen_fd);
	close(dead);
	rig_close(&rig);
}

static uint16_t told_port;

static void take_port(struct taio_host *host, const char *line)
{
	const char *at = strstr(line, "listening on 127.0.0.1:");

	(void)host;
	if (at)
		told_port = (uint16_t)atoi(at + strlen("listening on 127.0.0.1:"));
}

Test(ring, accept_listens_tells_the_port_and_takes_one_peer, .timeout = 30)
{
	struct rig rig;
	struct taio_addr addr;
	struct taio_step step =
		step_copy(end_fd(TAIO_KIND_FILE, -1), end_fd(TAIO_KIND_FILE, -1), 0);
	int peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), before;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };

	rig_open(&rig);
	rig.host.log = take_port;
	before = count_fds();
	addr_init(&addr);
	addr.listen = 1;
	addr_add(&addr, 0);
	step.op = TAIO_OP_ACCEPT;
	step.addr = &addr;
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20));
	cr_assert_neq(told_port, 0);
	in.sin_port = htons(told_port);
	cr_assert_eq(connect(peer, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, 0);
	cr_assert_geq(addr.fd, 0);
	cr_expect_eq(addr.listen_fd, -1);
	cr_expect(fcntl(addr.fd, F_GETFL) & O_NONBLOCK);
	cr_expect_eq(send(peer, "x", 1, 0), 1);
	close(addr.fd);
	/* nobody comes: cancelled, and nothing is left open */
	addr_init(&addr);
	addr_add(&addr, 0);
	cr_assert_eq(rig_submit(&rig, RING_URING, &step), TAIO_QUEUED);
	cr_assert_null(rig_wait(&rig, RING_URING, 20));
	rig.dev[0].driver->cancel(&rig.dev[0], &step);
	cr_assert_eq(rig_wait(&rig, RING_URING, 5000), &step);
	cr_assert_eq(step.result, -ECANCELED);
	cr_expect_eq(count_fds(), before);
	close(peer);
	rig_close(&rig);
}

Test(ring, addresses_that_need_more_are_left_to_others)
{
	struct rig rig;
	struct taio_addr addr;
	struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = "/nonexistent" };

	rig_open(&rig);
	addr_init(&addr);
	memcpy(&addr.peer[0], &sun, sizeof(sun));
	addr.peer_len[0] = sizeof(sun);
	addr.count = 1;
	cr_expect_eq(run_control(&rig, TAIO_OP_CONNECT, NULL, &addr, -1), -EOPNOTSUPP);
	cr_expect_eq(run_control(&rig, TAIO_OP_ACCEPT, NULL, &addr, -1), -EOPNOTSUPP);
	addr_init(&addr);
	addr.type = SOCK_DGRAM;
	addr_add(&addr, 9);
	cr_expect_eq(run_control(&rig, TAIO_OP_CONNECT, NULL, &addr, -1), -EOPNOTSUPP);
	cr_expect_eq(addr.fd, -1);
	rig_close(&rig);
}

/* ---- exactly once ---- */

#define STEPS  10000
#define FLIGHT 96
#define ROOM   65536U
#define SOURCE (4U << 20)

enum kind {
	READ_CACHED,
	READ_DIRECT,
	WRITE_CACHED,
	WRITE_DIRECT,
	COPY_CACHED,
	COPY_DIRECT,
	SEND,
	SEND_ZERO_COPY,
	RECEIVE,
	FILE_TO_STREAM,
	PIPE_IN,
	PIPE_OUT,
	SYNC,
	KINDS
};

struct flight {
	struct taio_step step;
	uint32_t id; /* + 1; 0: free */
	enum kind kind;
	enum ring_device device;
	bool cancelled;
	uint8_t *room;
	uint64_t at;
};

struct storm {
	struct rig rig;
	struct flight flight[FLIGHT];
	uint8_t came[STEPS];
	uint64_t state;
	uint8_t *source;
	int from, to, streams[2], pipes[2];
	bool no_direct;
	uint32_t issued, done, busy, moved, cancelled, errors;
};

static void storm_fill(struct storm *s, struct flight *f)
{
	const uint64_t place = (uint64_t)(f - s->flight) * ROOM;
	uint64_t len = rng_next(&s->state) % ROOM + 1;

	f->kind = (enum kind)(rng_next(&s->state) % KINDS);
	f->at = rng_next(&s->state) % (SOURCE - ROOM);
	if (f->kind == READ_DIRECT || f->kind == WRITE_DIRECT || f->kind == COPY_DIRECT) {
		f->at &= ~4095ULL;
		if (f->kind != COPY_DIRECT)
			len = (len + 4095) & ~4095ULL;
		if (s->no_direct)
			f->kind = READ_CACHED;
	}
	f->device = RING_URING;
	switch (f->kind) {
	case READ_DIRECT:
		f->device = RING_DIRECT;
		__attribute__((fallthrough));
	case READ_CACHED:
		f->step = step_copy(end_file(s->from, f->at), end_memory(f->room), len);
		break;
	case WRITE_DIRECT:
		f->device = RING_DIRECT;
		__attribute__((fallthrough));
	case WRITE_CACHED:
		memcpy(f->room, s->source + f->at, len);
		f->step = step_copy(end_memory(f->room), end_file(s->to, place), len);
		break;
	case COPY_DIRECT:
		f->device = RING_DIRECT;
		__attribute__((fallthrough));
	case COPY_CACHED:
		f->step = step_copy(end_file(s->from, f->at), end_file(s->to, place), len);
		f->step.from.flags = rng_next(&s->state) % 2 ? TAIO_END_COLD : 0;
		break;
	case SEND_ZERO_COPY:
		f->device = RING_ZC;
		__attribute__((fallthrough));
	case SEND:
		f->step = step_copy(end_memory(f->room), end_fd(TAIO_KIND_STREAM, s->streams[0]),
				    len);
		break;
	case FILE_TO_STREAM:
		f->device = rng_next(&s->state) % 2 ? RING_ZC : RING_URING;
		f->step = step_copy(end_file(s->from, f->at),
				    end_fd(TAIO_KIND_STREAM, s->streams[0]), len);
		break;
	case RECEIVE:
		f->step = step_copy(end_fd(TAIO_KIND_STREAM, s->streams[1]), end_memory(f->room),
				    len);
		break;
	case PIPE_IN:
		f->step = step_copy(end_memory(f->room), end_fd(TAIO_KIND_PIPE, s->pipes[1]), len);
		break;
	case PIPE_OUT:
		f->step = step_copy(end_fd(TAIO_KIND_PIPE, s->pipes[0]), end_memory(f->room), len);
		break;
	default:
		f->step =
			step_copy(end_fd(TAIO_KIND_FILE, s->to), end_fd(TAIO_KIND_FILE, s->to), 0);
		f->step.op = TAIO_OP_SYNC;
	}
}

static void storm_check(struct storm *s, struct flight *f)
{
	const struct taio_step *step = &f->step;
	const int64_t n = step->result;

	cr_assert_gt(f->id, 0, "a step that is not in flight");
	s->came[f->id - 1]++;
	if (n < 0) {
		cr_assert_eq(n, -ECANCELED, "kind %d: %s", f->kind, strerror((int)-n));
		cr_assert(f->cancelled);
		s->errors++;
		return;
	}
	cr_assert_leq((uint64_t)n, step->len);
	s->moved++;
	switch (f->kind) {
	case READ_CACHED:
	case READ_DIRECT:
		cr_assert_eq(memcmp(f->room, s->source + f->at, (size_t)n), 0);
		__attribute__((fallthrough));
	case WRITE_CACHED:
	case WRITE_DIRECT:
		cr_assert_eq((uint64_t)n, step->len);
		break;
	case COPY_CACHED:
	case COPY_DIRECT:
		cr_assert(f->cancelled || (uint64_t)n == step->len,
			  "kind %d moved %ld of %lu at %lu cold %d", f->kind, (long)n,
			  (unsigned long)step->len, (unsigned long)f->at, step->from.flags);
		break;
	default:
		break;
	}
	if (n > 0 && step->to.kind == TAIO_KIND_FILE && step->op == TAIO_OP_COPY)
		cr_assert(file_has(s->to, step->to.offset, s->source + f->at, (size_t)n));
}

static void storm_submit(struct storm *s, struct flight *f)
{
	enum taio_submit submitted;

	storm_fill(s, f);
	f->cancelled = false;
	submitted = rig_submit(&s->rig, f->device, &f->step);
	if (submitted == TAIO_BUSY) {
		s->busy++;
		return;
	}
	f->id = ++s->issued;
	if (submitted == TAIO_DONE) {
		storm_check(s, f);
		f->id = 0;
		s->done++;
	}
}

static void storm_reap(struct storm *s, bool wait)
{
	s->rig.dev[0].driver->wait(&s->rig.dev[0], wait ? 2000000 : 0);
	for (int d = 0; d < RIG_DEVICES; d++) {
		struct taio_step *done[8];
		int n = s->rig.dev[d].driver->reap(&s->rig.dev[d], done, 8);

		for (int i = 0; i < n; i++) {
			struct flight *f = (struct flight *)(void *)done[i];

			cr_assert_eq((int)f->device, d, "a step of another device");
			storm_check(s, f);
			f->id = 0;
			s->done++;
		}
	}
}

static void storm_cancel(struct storm *s, struct flight *f)
{
	if (!f->id || f->cancelled)
		return;
	f->cancelled = true;
	s->cancelled++;
	s->rig.dev[f->device].driver->cancel(&s->rig.dev[f->device], &f->step);
}

static void storm_open(struct storm *s)
{
	char path[400];

	rig_open(&s->rig);
	s->source = bytes_new(SOURCE, 42);
	s->from = file_new(&s->rig, "from", s->source, SOURCE);
	s->to = file_new(&s->rig, "to", NULL, 0);
	fsync(s->from);
	snprintf(path, sizeof(path), "%s/to", s->rig.dir);
	s->no_direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) < 0;
	inet_pair(s->streams, SOCK_STREAM, 0);
	cr_assert_eq(pipe2(s->pipes, O_NONBLOCK | O_CLOEXEC), 0);
	for (int i = 0; i < FLIGHT; i++)
		s->flight[i].room = bytes_new(ROOM, (uint64_t)i);
}

Test(ring, ten_thousand_random_steps_come_back_exactly_once, .timeout = 120)
{
	struct storm *s = calloc(1, sizeof(*s));
	const char *again = getenv("TAIO_SEED");
	const uint64_t seed = (again ? strtoull(again, NULL, 0) : rig_now()) | 1;
	uint32_t idle = 0;

	fprintf(stderr, "TAIO_SEED=%llu\n", (unsigned long long)seed);
	cr_assert(s);
	storm_open(s);
	s->state = seed;
	while (s->issued < STEPS) {
		struct flight *f = &s->flight[rng_next(&s->state) % FLIGHT];

		if (!f->id)
			storm_submit(s, f);
		else if (rng_next(&s->state) % 16 == 0)
			storm_cancel(s, f);
		if (rng_next(&s->state) % 8 == 0)
			storm_reap(s, rng_next(&s->state) % 8 == 0);
	}
	while (s->done < s->issued && idle++ < 5000) {
		for (int i = 0; i < FLIGHT; i++)
			storm_cancel(s, &s->flight[i]);
		storm_reap(s, true);
	}
	cr_assert_eq(s->done, STEPS);
	for (int i = 0; i < STEPS; i++)
		cr_assert_eq(s->came[i], 1, "step %d came %d times", i, s->came[i]);
	fprintf(stderr, "%u moved, %u cancelled in time of %u asked, %u busy\n", s->moved,
		s->errors, s->cancelled, s->busy);
	/* notifications of zero-copy sends whose bytes nobody read end with the connection */
	close(s->streams[1]);
	close(s->streams[0]);
	for (int i = 0; i < 500 && rig_ring(&s->rig)->room < rig_ring(&s->rig)->slots; i++)
		storm_reap(s, true);
	close(s->from);
	close(s->to);
	close(s->pipes[0]);
	close(s->pipes[1]);
	rig_close(&s->rig);
	for (int i = 0; i < FLIGHT; i++)
		free(s->flight[i].room);
	free(s->source);
	free(s);
}
