/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_conformance_faults.c: drivers when things do not go by the book: another device at each
 * step, steps on several threads, cancelled steps, peers that go away, a full disk, a source that
 * shrinks, file systems that share blocks. The world is that of conform.h.
 */
#include "conform_world.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define MANY 48

/* A flow between two kinds, with offsets and little rooms by @n. */
static struct flow flow_make(struct world *w, uint8_t from, uint8_t to, unsigned int n)
{
	struct flow f = { .random = w->seed + n * 7919u + from * 31u + to * 1013u };

	f.from.kind = from;
	f.to.kind = to;
	f.dir = w->dir[n % 2];
	f.len = f.total = 1 + conform_next(&f.random) % 1500000;
	f.from.tcp = n & 1;
	f.to.tcp = n & 2;
	f.from.tiny = f.to.tiny = n & 4;
	f.from_offset = n & 8 ? 0 : conform_next(&f.random) % 10000;
	f.to_offset = n & 8 ? 0 : conform_next(&f.random) % 10000;
	return f;
}

static void flow_must(const struct world *w, struct flow *f, const char *what)
{
	cr_assert(!f->failed, "seed %llu, %s, %s>%s, %llu bytes: %s", (unsigned long long)w->seed,
		  what, world_kinds[f->from.kind], world_kinds[f->to.kind],
		  (unsigned long long)f->len, f->wrong);
}

static unsigned int devices_for(struct world *w, uint8_t from, uint8_t to,
				struct taio_device *ret_devices[TAIO_DRIVER_COUNT])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct taio_device *dev = &w->device[i];

		if (flow_capability(dev, from, to) && (dev = world_device(w, dev->driver->name)))
			ret_devices[count++] = dev;
	}
	return count;
}

/* ---- changes of device ---------------------------------------------------------------------------- */

Test(conformance_faults, device_may_change_at_every_step, .timeout = 300)
{
	struct world w;
	unsigned int pairs = 0;

	world_open(&w);
	for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
		for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++) {
			struct taio_device *devices[TAIO_DRIVER_COUNT];
			unsigned int count = devices_for(&w, from, to, devices);

			if (count < 2 || from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM)
				continue;
			pairs++;
			for (unsigned int n = 0; n < MANY / 4; n++) {
				struct flow f = flow_make(&w, from, to, n);

				if (flow_open(&f))
					flow_judge(&f, flow_copy(&f, devices, count,
								 world_last(&w, from, to)));
				flow_close(&f);
				flow_must(&w, &f, "changing devices");
			}
		}
	cr_assert_geq(pairs, 10);
	world_close(&w);
}

/* ---- threads --------------------------------------------------------------------------------------- */

struct thread_job {
	struct world *w;
	struct taio_device *dev, *last;
	unsigned int first;
	char wrong[400];
};

static void *thread_run(void *arg)
{
	struct thread_job *job = arg;

	for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
		for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++)
			for (unsigned int n = 0; n < 3; n++) {
				struct flow f = flow_make(job->w, from, to, job->first + n);

				if (!flow_capability(job->dev, from, to) ||
				    from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM)
					continue;
				if (flow_open(&f))
					flow_judge(&f, flow_copy(&f, &job->dev, 1,
								 world_last(job->w, from, to)));
				flow_close(&f);
				if (f.failed && !job->wrong[0])
					snprintf(job->wrong, sizeof(job->wrong), "%s %s>%s: %s",
						 job->dev->name, world_kinds[from], world_kinds[to],
						 f.wrong);
			}
	return NULL;
}

Test(conformance_faults, threads_use_one_device_at_the_same_time, .timeout = 300)
{
	struct world w;

	world_open(&w);
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) { /* all open before the threads are */
		(void)world_device(&w, world_drivers[i]->name);
	}
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct thread_job jobs[3];
		pthread_t threads[3];

		if (!(world_drivers[i]->flags & TAIO_DRIVER_WORKER) || !w.device[i].opened ||
		    world_drivers[i]->replica > 1)
			continue;
		for (unsigned int t = 0; t < 3; t++) {
			jobs[t] = (struct thread_job){ &w, world_runs(&w, &w.device[i]), NULL,
						       t * 5, "" };
			cr_assert_eq(pthread_create(&threads[t], NULL, thread_run, &jobs[t]), 0);
		}
		for (unsigned int t = 0; t < 3; t++) {
			pthread_join(threads[t], NULL);
			cr_assert(!jobs[t].wrong[0], "seed %llu: %s", (unsigned long long)w.seed,
				  jobs[t].wrong);
		}
	}
	world_close(&w);
}

/* ---- own positions ---------------------------------------------------------------------------------- */

Test(conformance_faults, file_at_its_own_position_moves_by_what_was_moved)
{
	static const char *const names[] = { "rw", "cfr", "sendfile", "splice" };
	struct world w;

	world_open(&w);
	for (unsigned int i = 0; i < 4; i++) {
		struct taio_device *dev = world_device(&w, names[i]);

		for (uint8_t to = TAIO_KIND_FILE; to <= TAIO_KIND_PIPE; to++)
			for (unsigned int n = 0;
			     flow_capability(dev, TAIO_KIND_FILE, to) && n < MANY; n++) {
				struct flow f = flow_make(&w, TAIO_KIND_FILE, to, n);
				int64_t moved = -1;

				f.segment = n % 3 ? 0 : UINT64_MAX;
				if (flow_open(&f)) {
					lseek(f.from.end.fd, (off_t)f.from_offset, SEEK_SET);
					f.from.end.flags |= TAIO_END_STREAMED;
					f.from.end.offset = 12345;
					if (to == TAIO_KIND_FILE) {
						lseek(f.to.end.fd, (off_t)f.to_offset, SEEK_SET);
						f.to.end.flags |= TAIO_END_STREAMED;
					}
					moved = flow_copy(&f, &dev, 1, world_device(&w, "rw"));
					flow_judge(&f, moved);
					if (lseek(f.from.end.fd, 0, SEEK_CUR) !=
					    (off_t)f.from_offset + moved)
						flow_wrong(&f, "the source stands elsewhere");
				}
				flow_close(&f);
				flow_must(&w, &f, names[i]);
			}
	}
	world_close(&w);
}

Test(conformance_faults, append_only_file_grows_at_its_end)
{
	struct world w;
	struct taio_device *dev;

	world_open(&w);
	dev = world_device(&w, "rw");
	for (unsigned int n = 0; n < MANY; n++) {
		static const uint8_t kinds[] = { TAIO_KIND_PIPE, TAIO_KIND_STREAM, TAIO_KIND_FILE };
		struct flow f = flow_make(&w, kinds[n % 3], TAIO_KIND_FILE, n);

		if (flow_open(&f)) {
			fcntl(f.to.end.fd, F_SETFL, O_APPEND);
			f.to.end.flags |= TAIO_END_APPEND;
			flow_judge(&f, flow_copy(&f, &dev, 1, dev));
		}
		flow_close(&f);
		flow_must(&w, &f, "append");
	}
	world_close(&w);
}

/* ---- cancelling -------------------------------------------------------------------------------------- */

static bool flow_is_serial(uint8_t kind)
{
	return kind == TAIO_KIND_STREAM || kind == TAIO_KIND_PIPE;
}

/* One step is cancelled at some moment; what it did not report is done by somebody else. */
static void cancel_one(struct world *w, struct flow *f, struct taio_device *dev, unsigned int turns)
{
	struct taio_step step = flow_step(f, 0, f->len);
	struct taio_device *last = world_last(w, f->from.kind, f->to.kind);
	int64_t first = 0, rest;
	uint64_t len = f->len;

	if (!flow_fits(dev, &step))
		return;
	if (!flow_submit(f, dev, &step)) {
		for (unsigned int i = 0; i < turns; i++) {
			flow_pump(f);
			dev->driver->wait(dev, 0);
		}
		if (f->failed)
			return;
		step.flags |= TAIO_SF_CANCELLED;
		dev->driver->cancel(dev, &step);
		f->held = true; /* it must come back without the peers' help */
		if (!flow_await(f, dev, &step))
			return;
		f->held = false;
	}
	if (step.result > 0)
		first = step.result;
	else if (step.result != 0 && step.result != -ECANCELED && step.result != -EAGAIN &&
		 !flow_other_way(step.result))
		flow_wrong(f, "cancelled, and it says %s", strerror((int)-step.result));
	if (step.result == 0 && f->total)
		flow_wrong(f, "cancelled, and it says end of source");
	if (f->failed)
		return;
	f->steps++;
	if (flow_is_serial(f->to.kind)) {
		/* Nobody can wait for a peer that takes nothing: the request ends here. What is
		 * said to have arrived has arrived; a zero-copy send that was cancelled while the
		 * kernel still used its memory may have sent more. */
		bool more = flow_capability(dev, f->from.kind, f->to.kind)->flags &
			    TAIO_CAP_ZERO_COPY;
		uint64_t until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;

		while (!f->failed && (flow_take(f, SIZE_MAX) || f->taken < (uint64_t)first))
			if (conform_ns() > until)
				break;
		if (!f->failed && f->taken != (uint64_t)first &&
		    !(more && step.result == -ECANCELED))
			flow_wrong(f, "cancelled: %llu bytes arrived, it says %lld",
				   (unsigned long long)f->taken, (long long)step.result);
		return;
	}
	/* Go on behind what was reported. */
	f->from.end = flow_step(f, (uint64_t)first, 1).from;
	f->to.end = flow_step(f, (uint64_t)first, 1).to;
	if (f->from.kind == TAIO_KIND_MEM)
		f->from.memory += first;
	if (f->to.kind == TAIO_KIND_MEM)
		f->to.memory += first;
	f->len = len - (uint64_t)first;
	rest = flow_copy(f, &last, 1, last);
	f->len = len;
	if (f->from.kind == TAIO_KIND_MEM)
		f->from.memory -= first;
	if (f->to.kind == TAIO_KIND_MEM)
		f->to.memory -= first;
	flow_judge(f, rest < 0 ? rest : first + rest);
}

Test(conformance_faults, cancelled_step_comes_back_once_and_loses_nothing, .timeout = 300)
{
	struct world w;
	unsigned int tried = 0;

	world_open(&w);
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct taio_device *dev;

		if (!world_drivers[i]->cancel || world_drivers[i]->replica > 1 ||
		    !(dev = world_device(&w, world_drivers[i]->name)))
			continue;
		for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
			for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++)
				for (unsigned int n = 0; flow_capability(dev, from, to) && n < MANY;
				     n++) {
					struct flow f = flow_make(&w, from, to, n);

					if (from == TAIO_KIND_DGRAM || to == TAIO_KIND_DGRAM)
						continue;
					if (flow_open(&f))
						cancel_one(&w, &f, dev,
							   n % 16 < 4 ? n % 16 : n * n);
					tried += f.steps;
					flow_close(&f);
					flow_must(&w, &f, dev->name);
				}
	}
	fprintf(stderr, "%u steps were cancelled\n", tried);
	world_close(&w);
	if (!tried)
		cr_skip_test("no device that can be cancelled is available");
}

/* ---- peers that go away ------------------------------------------------------------------------------- */

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/* The destination's peer closes; the driver says so, no signal comes, and the source still has what
 * was not delivered (the ring may have taken more, and must then fail for good). */
static void peer_leaves(struct world *w, struct taio_device *dev, uint8_t from, uint8_t to,
			unsigned int n)
{
	struct flow f = flow_make(w, from, to, n);
	int64_t moved = 0, rc = 0;
	bool exact;

	f.held = true;
	f.segment = UINT64_MAX;
	if (!flow_open(&f))
		goto out;
	while (flow_feed(&f))
		;
	for (unsigned int i = 0; i < n % 3; i++)
		flow_take(&f, 1000);
	close(f.to.peer);
	f.to.peer = -1;
	f.held = false;
	for (unsigned int i = 0; rc >= 0 && i < 1000; i++) {
		struct taio_step step = flow_step(&f, (uint64_t)moved, f.len - (uint64_t)moved);

		if (moved == (int64_t)f.len || !flow_fits(dev, &step))
			goto out;
		if (!flow_submit(&f, dev, &step) && !flow_await(&f, dev, &step))
			goto out;
		rc = step.result;
		moved += rc > 0 ? rc : 0;
		/* TCP took all there was before it learnt of the reset. */
		if (rc == -EAGAIN && step.wait_fd == f.from.end.fd && flow_feed(&f))
			rc = 0;
		else if (rc == 0)
			break;
	}
	if (rc != -EPIPE && rc != -ECONNRESET && !flow_other_way(rc))
		flow_wrong(&f, "nobody reads, and it says %lld", (long long)rc);
	exact = strcmp(dev->name, "rw") == 0 || strcmp(dev->name, "splice") == 0;
	if (!f.failed && exact && flow_is_serial(from))
		flow_judge_source(&f, (uint64_t)moved);
out:
	flow_close(&f);
	flow_must(w, &f, dev->name);
}

Test(conformance_faults, peer_that_left_is_an_error_and_never_a_signal, .timeout = 120)
{
	struct sigaction action = { .sa_handler = count_signal };
	sigset_t none, pending;
	struct world w;

	sigemptyset(&none);
	sigaction(SIGPIPE, &action, NULL);
	world_open(&w);
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++)
		for (uint8_t from = TAIO_KIND_MEM; from < TAIO_KIND_MESSAGES; from++)
			for (uint8_t to = TAIO_KIND_STREAM; to <= TAIO_KIND_PIPE; to++) {
				struct taio_device *dev = &w.device[i];

				if (to == TAIO_KIND_DGRAM || from == TAIO_KIND_DGRAM ||
				    !flow_capability(dev, from, to) ||
				    !(dev = world_device(&w, dev->driver->name)))
					continue;
				for (unsigned int n = 0; n < 12; n++)
					peer_leaves(&w, dev, from, to, n);
				sigpending(&pending);
				cr_expect_eq(signals, 0, "%s raised SIGPIPE, %s>%s", dev->name,
					     world_kinds[from], world_kinds[to]);
				cr_expect(!sigismember(&pending, SIGPIPE),
					  "%s left SIGPIPE pending", dev->name);
				signals = 0;
			}
	/* One that the program blocked and that was pending before stays where it is. */
	sigaddset(&none, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &none, NULL);
	raise(SIGPIPE);
	peer_leaves(&w, world_device(&w, "rw"), TAIO_KIND_MEM, TAIO_KIND_PIPE, 0);
	sigpending(&pending);
	cr_assert(sigismember(&pending, SIGPIPE));
	world_close(&w);
}

/* A reset is an error, not an end: half a stream must not look like a whole one. */
Test(conformance_faults, reset_source_is_not_mistaken_for_its_end, .timeout = 60)
{
	const struct linger now = { 1, 0 };
	struct world w;

	world_open(&w);
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++)
		for (uint8_t to = TAIO_KIND_MEM; to < TAIO_KIND_MESSAGES; to++) {
			struct taio_device *dev = &w.device[i];
			struct flow f = flow_make(&w, TAIO_KIND_STREAM, to, 9);
			int64_t rc = 1, moved = 0;

			f.from.tcp = true;
			f.total = 150000;
			f.len = 200000;
			if (to == TAIO_KIND_DGRAM || !flow_capability(dev, TAIO_KIND_STREAM, to) ||
			    !(dev = world_device(&w, dev->driver->name)))
				continue;
			if (flow_open(&f)) {
				while (f.fed < 100000 && flow_feed(&f))
					;
				setsockopt(f.from.peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
				close(f.from.peer);
				f.from.peer = -1;
			}
			for (unsigned int k = 0; !f.failed && rc > 0 && moved < (int64_t)f.total;
			     k++) {
				struct taio_step step =
					flow_step(&f, (uint64_t)moved, f.len - (uint64_t)moved);

				if (!flow_submit(&f, dev, &step) && !flow_await(&f, dev, &step))
					break;
				rc = step.result;
				if (rc == -EAGAIN && flow_wait(&f, &step))
					rc = 1;
				else
					moved += rc > 0 ? rc : 0;
				flow_pump(&f);
			}
			if (!f.failed && rc != -ECONNRESET)
				flow_wrong(&f, "reset, and it says %lld after %lld bytes",
					   (long long)rc, (long long)moved);
			flow_close(&f);
			flow_must(&w, &f, dev->name);
		}
	world_close(&w);
}

/* dir[1] becomes a directory on which something can be mounted. */
static void world_mount_point(struct world *w)
{
	int n = snprintf(w->dir[1], sizeof(w->dir[1]), "%.57s/mount", w->dir[0]);

	cr_assert(n > 0 && (size_t)n < sizeof(w->dir[1]) && mkdir(w->dir[1], 0755) == 0);
}

/* ---- a full disk --------------------------------------------------------------------------------------- */

static void full_disk(struct world *w, const char *name, uint8_t from, bool exact)
{
	struct taio_device *dev = world_device(w, name);
	struct flow f = flow_make(w, from, TAIO_KIND_FILE, 9);
	int64_t rc = 1, moved = 0;

	f.dir = w->dir[1];
	f.len = f.total = 1400000;
	f.feed = 1 << 20;
	if (!flow_open(&f))
		goto out;
	for (unsigned int i = 0; rc > 0 && i < 10000; i++) {
		struct taio_step step = flow_step(&f, (uint64_t)moved, f.len - (uint64_t)moved);

		if (!flow_submit(&f, dev, &step) && !flow_await(&f, dev, &step))
			goto out;
		rc = step.result;
		if (rc == -EAGAIN && flow_wait(&f, &step))
			rc = 1;
		else
			moved += rc > 0 ? rc : 0;
	}
	if (rc != -ENOSPC)
		flow_wrong(&f, "the disk is full, and it says %lld", (long long)rc);
	if (exact && !f.failed)
		flow_judge_source(&f, (uint64_t)moved);
out:
	flow_close(&f);
	flow_must(w, &f, name);
}

Test(conformance_faults, full_disk_is_an_error_and_rw_takes_no_byte_too_many)
{
	struct world w;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		cr_skip_test("no file system can be mounted here: %s", strerror(errno));
	world_open(&w);
	world_mount_point(&w);
	cr_assert_eq(mount("none", w.dir[1], "tmpfs", 0, "size=1m"), 0);
	full_disk(&w, "rw", TAIO_KIND_STREAM, true);
	full_disk(&w, "rw", TAIO_KIND_PIPE, true);
	full_disk(&w, "rw", TAIO_KIND_MEM, true);
	full_disk(&w, "rw", TAIO_KIND_ZERO, true);
	full_disk(&w, "splice", TAIO_KIND_PIPE, true);
	full_disk(&w, "splice", TAIO_KIND_STREAM, false);
	cr_assert_eq(umount(w.dir[1]), 0);
	rmdir(w.dir[1]);
	world_close(&w);
}

/* ---- sources that shrink -------------------------------------------------------------------------------- */

Test(conformance_faults, pages_behind_the_end_are_efault_and_no_signal_for_system_calls)
{
	struct world w;
	struct flow f;
	uint8_t *map;
	int pipes[2];

	world_open(&w);
	f = flow_make(&w, TAIO_KIND_FILE, TAIO_KIND_STREAM, 8);
	f.total = f.len = 65536;
	cr_assert(flow_open(&f), "%s", f.wrong);
	cr_assert_eq(pipe(pipes), 0);
	map = mmap(NULL, 65536, PROT_READ, MAP_SHARED | MAP_POPULATE, f.from.end.fd, 0);
	cr_assert(map != MAP_FAILED);
	cr_assert_eq(ftruncate(f.from.end.fd, 4096), 0);
	cr_assert_eq(send(f.to.end.fd, map + 8192, 4096, MSG_DONTWAIT | MSG_NOSIGNAL), -1);
	cr_assert_eq(errno, EFAULT);
	cr_assert_eq(write(pipes[1], map + 8192, 4096), -1);
	cr_assert_eq(errno, EFAULT);
	cr_assert_eq(pwrite(f.from.end.fd, map + 8192, 4096, 0), -1);
	cr_assert_eq(errno, EFAULT);
	munmap(map, 65536);
	close(pipes[0]);
	close(pipes[1]);
	flow_close(&f);
	world_close(&w);
}

struct shrinker {
	int fd;
	_Atomic int stop;
	const uint8_t *bytes;
};

static void *shrink(void *arg)
{
	struct shrinker *s = arg;

	for (unsigned int i = 0; !s->stop; i++) {
		(void)!ftruncate(s->fd, (off_t)(i * 104729u % 2000000u));
		(void)!pwrite(s->fd, s->bytes, 2000000, 0);
	}
	return NULL;
}

/* The first byte that is neither the file's nor a zero; pages that are the file's are not looked at
 * byte by byte, which takes minutes under a sanitizer. */
static size_t never_there(const uint8_t *have, const uint8_t *file, size_t size)
{
	const size_t page = 4096;

	for (size_t from = 0; from < size; from += page) {
		size_t end = size - from < page ? size : from + page;

		if (memcmp(have + from, file + from, end - from) == 0)
			continue;
		for (size_t at = from; at < end; at++)
			if (have[at] != file[at] && have[at] != 0)
				return at;
	}
	return size;
}

Test(conformance_faults, source_may_shrink_while_any_driver_reads_it, .timeout = 120)
{
	static uint8_t have[2000000];
	struct shrinker s = { 0 };
	pthread_t thread;
	struct world w;
	struct flow f;

	world_open(&w);
	f = flow_make(&w, TAIO_KIND_FILE, TAIO_KIND_FILE, 8);
	f.total = f.len = 2000000;
	cr_assert(flow_open(&f), "%s", f.wrong);
	f.from.end.fs = f.to.end.fs = TAIO_FS_OTHER; /* let everybody try */
	s.fd = f.from.end.fd;
	s.bytes = f.bytes;
	cr_assert_eq(pthread_create(&thread, NULL, shrink, &s), 0);
	for (unsigned int i = 0; i < TAIO_DRIVER_COUNT; i++) {
		struct taio_device *dev = &w.device[i];

		if (!flow_capability(dev, TAIO_KIND_FILE, TAIO_KIND_FILE) ||
		    !(dev = world_device(&w, dev->driver->name)))
			continue;
		for (unsigned int n = 0; n < 60; n++) {
			struct taio_step step = flow_step(&f, 0, f.len);
			size_t at;

			if (!flow_submit(&f, dev, &step) && !flow_await(&f, dev, &step))
				break;
			if (step.result < 0 && !flow_other_way(step.result) &&
			    step.result != -EFAULT)
				flow_wrong(&f, "it says %lld", (long long)step.result);
			if (step.result <= 0)
				continue;
			cr_assert_leq(step.result, 2000000);
			cr_assert_eq(pread(f.to.end.fd, have, (size_t)step.result, 0), step.result,
				     "%s reported what it did not write", dev->name);
			at = never_there(have, f.bytes, (size_t)step.result);
			if (at < (size_t)step.result)
				flow_wrong(&f, "byte %zu was never there", at);
		}
		flow_must(&w, &f, dev->name);
	}
	s.stop = 1;
	pthread_join(thread, NULL);
	flow_close(&f);
	world_close(&w);
}

/* ---- files that lie ---------------------------------------------------------------------------------------- */

Test(conformance_faults, files_that_do_not_know_their_size_are_refused_or_read_never_cut)
{
	static const char *const names[] = { "cfr", "reflink", "mmap" };
	struct world w;

	world_open(&w);
	for (unsigned int i = 0; i < 3; i++) {
		struct taio_device *dev = world_device(&w, names[i]);
		struct flow f = flow_make(&w, TAIO_KIND_ZERO, TAIO_KIND_FILE, 8);
		struct taio_step step;

		cr_assert(flow_open(&f), "%s", f.wrong);
		step = flow_step(&f, 0, 1 << 20);
		step.from.kind = TAIO_KIND_FILE;
		step.from.fd = open("/proc/filesystems", O_RDONLY);
		cr_assert(step.from.fd >= 0);
		cr_assert(flow_other_way(dev->driver->run(dev, &step)), "%s says %lld", names[i],
			  (long long)step.result);
		close(step.from.fd);
		flow_close(&f);
	}
	world_close(&w);
}

/* ---- shared blocks -------------------------------------------------------------------------------------------- */

/* A file system of that type in a file of its own, mounted on @at. */
static bool mount_image(const char *type, const char *options, const char *image, const char *at)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "command -v mkfs.%s >/dev/null && truncate -s 600M %s && "
		 "mkfs.%s -q %s %s >/dev/null 2>&1 && mount -o loop %s %s 2>/dev/null",
		 type, image, type, options, image, image, at);
	return system(command) == 0;
}

static bool extents_are_shared(int fd)
{
	char command[128];

	snprintf(command, sizeof(command), "filefrag -v /proc/%d/fd/%d | grep -q shared", getpid(),
		 fd);
	return system(command) == 0;
}

static void share_blocks(struct world *w, struct taio_device *dev, uint64_t len, uint64_t from_at,
			 uint64_t to_at, int64_t want)
{
	struct taio_device *rw = world_device(w, "rw");
	struct flow f = flow_make(w, TAIO_KIND_FILE, TAIO_KIND_FILE, 8);
	struct taio_step step;
	int64_t rest;

	f.dir = w->dir[1];
	f.len = f.total = len;
	f.from_offset = from_at;
	f.to_offset = to_at;
	f.segment = UINT64_MAX;
	cr_assert(flow_open(&f), "%s", f.wrong);
	fsync(f.from.end.fd);
	step = flow_step(&f, 0, want > 0 && (uint64_t)want < len ? (uint64_t)want + 77 : len);
	cr_assert(flow_fits(dev, &step));
	cr_assert_eq(dev->driver->run(dev, &step), want, "%lld instead of %lld",
		     (long long)step.result, (long long)want);
	cr_assert(extents_are_shared(f.to.end.fd));
	f.from.end.offset += (uint64_t)want;
	f.to.end.offset += (uint64_t)want;
	f.len -= (uint64_t)want;
	rest = flow_copy(&f, &rw, 1, rw);
	f.len += (uint64_t)want;
	flow_judge(&f, rest + want);
	flow_close(&f);
	flow_must(w, &f, dev->name);
}

static bool reflink_on(struct world *w, const char *type, const char *options)
{
	struct taio_device *dev = world_device(w, "reflink");
	char image[128];
	bool mounted;

	snprintf(image, sizeof(image), "%s/image", w->dir[0]);
	mounted = mount_image(type, options, image, w->dir[1]);
	if (mounted) {
		share_blocks(w, dev, 1 << 20, 0, 0, 1 << 20);
		share_blocks(w, dev, (1 << 20) + 77, 0, 0, (1 << 20) + 77); /* to the end */
		share_blocks(w, dev, 1 << 20, 4096, 65536, 1 << 20);        /* elsewhere */
		share_blocks(w, dev, (1 << 20) + 5000, 0, 0, 1 << 20);      /* whole blocks only */
		share_blocks(w, dev, 8192 + 1, 8192, 1 << 30, 8192 + 1);
		cr_assert_eq(umount(w->dir[1]), 0);
	}
	unlink(image);
	return mounted;
}

Test(conformance_faults, reflink_shares_blocks_where_the_file_system_can, .timeout = 60)
{
	struct world w;
	bool xfs, btrfs;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		cr_skip_test("no file system can be mounted here: %s", strerror(errno));
	world_open(&w);
	world_mount_point(&w);
	xfs = reflink_on(&w, "xfs", "-m reflink=1");
	btrfs = reflink_on(&w, "btrfs", "");
	rmdir(w.dir[1]);
	world_close(&w);
	fprintf(stderr, "reflink was tried on xfs: %s, btrfs: %s\n", xfs ? "yes" : "no",
		btrfs ? "yes" : "no");
	if (!xfs && !btrfs)
		cr_skip_test("neither XFS nor Btrfs can be made here (xfsprogs, btrfs-progs)");
}
