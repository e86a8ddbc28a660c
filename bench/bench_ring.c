/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bench_ring.c: what the io_uring drivers add to io_uring: 4 KiB random reads at depth 1, 8 and 32
 * by a bare liburing loop and by the same loop over a driver's ops table, alternating; and the cost
 * of a step where the kernel does next to nothing (reads of /dev/null). Linked against the
 * library's insides.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib.h"
#include "drivers/drivers.h"

#define BLOCK      4096U
#define DEPTH_MAX  32
#define FILE_BYTES (64ULL << 20)

struct place {
	const char *name;
	int fd;      /* as the driver gets it */
	int bare_fd; /* as the bare loop uses it */
	const struct taio_driver *driver;
	uint32_t blocks, block;
	unsigned int ops; /* of one round at depth 1 */
};

struct work {
	const struct place *place;
	unsigned int depth, ops;
	uint64_t state;
};

struct cost {
	struct bench_series ns, cpu_ns;
};

static struct taio_host host;
static struct taio_device devices[TAIO_DRIVER_COUNT];
static struct io_uring bare;
static struct taio_step steps[DEPTH_MAX];
static uint8_t *memory; /* DEPTH_MAX blocks */

static uint64_t ring_random_offset(struct work *work)
{
	work->state ^= work->state << 13;
	work->state ^= work->state >> 7;
	work->state ^= work->state << 17;
	return work->state % work->place->blocks * work->place->block;
}

static uint64_t ring_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the bare loop ---- */

static void bare_open(void)
{
	const unsigned int flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;

	if (io_uring_queue_init(2 * DEPTH_MAX, &bare, flags) &&
	    io_uring_queue_init(2 * DEPTH_MAX, &bare, 0))
		bench_die("io_uring_queue_init");
}

static void bare_start(struct work *work, unsigned int slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&bare);

	io_uring_prep_read(sqe, work->place->bare_fd, memory + slot * BLOCK, work->place->block,
			   ring_random_offset(work));
	sqe->user_data = slot;
}

static void bare_run(struct work *work)
{
	unsigned int issued = 0, done = 0;

	while (issued < work->depth)
		bare_start(work, issued++);
	while (done < work->ops) {
		struct io_uring_cqe *cqe;
		unsigned int head, seen = 0;

		if (io_uring_submit_and_wait(&bare, 1) < 0)
			bench_die("io_uring_submit_and_wait");
		io_uring_for_each_cqe(&bare, head, cqe)
		{
			if (cqe->res != (int)work->place->block && work->place->blocks > 1)
				bench_die("a bare read came short");
			seen++;
			if (issued < work->ops) {
				bare_start(work, (unsigned int)cqe->user_data);
				issued++;
			}
		}
		io_uring_cq_advance(&bare, seen);
		done += seen;
	}
}

/* ---- the same through a driver ---- */

static struct taio_device *driver_device(const struct taio_driver *driver)
{
	for (int i = 0; i < TAIO_DRIVER_COUNT; i++)
		if (devices[i].driver == driver)
			return &devices[i];
	bench_die("no such device");
}

static void driver_open(const struct taio_driver *driver, int number)
{
	struct taio_device *device = &devices[number];

	device->driver = driver;
	device->host = &host;
	device->number = (uint8_t)number;
	if (driver->open(device)) {
		fprintf(stderr, "%s: %s\n", driver->name, device->reason);
		bench_die("open of a device");
	}
}

static void driver_start(struct work *work, struct taio_device *device, struct taio_step *step)
{
	step->from.offset = ring_random_offset(work);
	if (work->place->driver->submit(device, step) != TAIO_QUEUED)
		bench_die("a step was not queued");
}

static void driver_run(struct work *work)
{
	struct taio_device *device = driver_device(work->place->driver);
	const struct taio_driver *driver = work->place->driver;
	unsigned int issued = 0, done = 0;

	for (; issued < work->depth; issued++) {
		struct taio_step *step = &steps[issued];

		memset(step, 0, sizeof(*step));
		step->op = TAIO_OP_COPY;
		step->len = work->place->block;
		step->from.kind = TAIO_KIND_FILE;
		step->from.fs = TAIO_FS_EXT;
		step->from.fd = work->place->fd;
		step->to.kind = TAIO_KIND_MEM;
		step->to.fixed = step->from.fixed = -1;
		step->to.ptr = memory + issued * BLOCK;
		driver_start(work, device, step);
	}
	while (done < work->ops) {
		struct taio_step *finished[DEPTH_MAX];
		int n;

		if (driver->wait(device, 1000000000) < 0)
			bench_die("wait");
		n = driver->reap(device, finished, DEPTH_MAX);
		for (int i = 0; i < n; i++) {
			if (finished[i]->result != work->place->block && work->place->blocks > 1)
				bench_die("a read of the driver came short");
			if (issued < work->ops) {
				driver_start(work, device, finished[i]);
				issued++;
			}
		}
		done += (unsigned int)n;
	}
}

/* ---- rows ---- */

static void ring_time(struct work *work, void (*run)(struct work *), struct cost *cost)
{
	uint64_t cpu = ring_cpu_ns(), start = bench_now_ns();

	run(work);
	bench_add(&cost->ns, (double)(bench_now_ns() - start) / work->ops);
	bench_add(&cost->cpu_ns, (double)(ring_cpu_ns() - cpu) / work->ops);
}

static void ring_compare(const struct place *place, unsigned int depth, unsigned int rounds)
{
	struct work work = { .place = place, .depth = depth, .state = 88172645463325252ULL };
	struct cost us, they;
	struct bench_series ratio, cpu_ratio;

	memset(&us, 0, sizeof(us));
	memset(&they, 0, sizeof(they));
	memset(&ratio, 0, sizeof(ratio));
	memset(&cpu_ratio, 0, sizeof(cpu_ratio));
	work.ops = place->ops * (depth > 1 && place->driver == &taio_driver_direct ? 4 : 1);
	for (unsigned int round = 0; round < rounds; round++) {
		/* each goes first as often as the other */
		ring_time(&work, round % 2 ? driver_run : bare_run, round % 2 ? &us : &they);
		ring_time(&work, round % 2 ? bare_run : driver_run, round % 2 ? &they : &us);
		bench_add(&ratio, they.ns.ns[round] / us.ns.ns[round]);
		bench_add(&cpu_ratio, us.cpu_ns.ns[round] / they.cpu_ns.ns[round]);
	}
	printf("{\"bench\":\"ring\",\"what\":\"%s\",\"depth\":%u,\"device\":\"%s\","
	       "\"bare_ns\":%.0f,\"taio_ns\":%.0f,\"iops_ratio\":%.3f,\"target\":0.97,"
	       "\"bare_cpu_ns\":%.0f,\"taio_cpu_ns\":%.0f,\"cpu_ratio\":%.3f}\n",
	       place->name, depth, place->driver->name, bench_median(&they.ns),
	       bench_median(&us.ns), bench_median(&ratio), bench_median(&they.cpu_ns),
	       bench_median(&us.cpu_ns), bench_median(&cpu_ratio));
	fflush(stdout);
}

static int ring_file(const char *directory, int flags, int *ret_direct)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/blocks", directory);
	if (access(path, R_OK))
		bench_make_file(path, FILE_BYTES);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		bench_die(path);
	if (ret_direct)
		*ret_direct = open(path, O_RDONLY | O_CLOEXEC | flags);
	return fd;
}

int main(int argc, char **argv)
{
	const bool quick = bench_is_quick(argc, argv);
	const unsigned int depths[] = { 1, 8, 32 }, rounds = quick ? 5 : 15;
	const char *tmp = getenv("TMPDIR");
	const char *disk = bench_directory(tmp ? tmp : "/var/tmp");
	const char *memory_fs = bench_directory("/dev/shm");
	int direct = -1, cached, shm, null, registered;
	struct place places[5];

	memory = aligned_alloc(BLOCK, DEPTH_MAX * BLOCK);
	if (!memory)
		bench_die("memory");
	memset(memory, 1, DEPTH_MAX * BLOCK);
	host.now_ns = bench_now_ns;
	host.cores = 2;
	host.requests = 256;
	bare_open();
	cached = ring_file(disk, O_DIRECT, &direct);
	registered = dup(cached); /* as taio_register_file() would */
	host.files = &registered;
	host.file_count = 1;
	driver_open(&taio_driver_uring, TAIO_DEVICE_uring);
	driver_open(&taio_driver_direct, TAIO_DEVICE_direct);
	shm = ring_file(memory_fs, 0, NULL);
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	places[0] = (struct place){ "/dev/null", null, null, &taio_driver_uring, 1, BLOCK, 40000 };
	places[1] = (struct place){ "4 KiB cached",     cached, cached, &taio_driver_uring,
				    FILE_BYTES / BLOCK, BLOCK,  16000 };
	places[2] = (struct place){ "4 KiB tmpfs",      shm,   shm, &taio_driver_uring,
				    FILE_BYTES / BLOCK, BLOCK, 5000 };
	places[3] = (struct place){ "4 KiB registered", registered, cached, &taio_driver_uring,
				    FILE_BYTES / BLOCK, BLOCK,      16000 };
	places[4] = (struct place){ "4 KiB O_DIRECT",   cached, direct, &taio_driver_direct,
				    FILE_BYTES / BLOCK, BLOCK,  500 };
	for (unsigned int p = 0; p < (direct >= 0 ? 5 : 4); p++)
		for (unsigned int d = 0; d < 3; d++)
			ring_compare(&places[p], depths[d], rounds);
	if (direct < 0)
		fprintf(stderr, "bench_ring: %s has no O_DIRECT, its rows are left out\n", disk);
	for (int i = 0; i < TAIO_DRIVER_COUNT; i++)
		if (devices[i].priv)
			devices[i].driver->close(&devices[i]);
	io_uring_queue_exit(&bare);
	close(cached);
	close(registered);
	close(direct);
	close(shm);
	close(null);
	free(memory);
	return 0;
}
