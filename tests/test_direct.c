/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * test_direct.c: the device "direct": what is aligned and what is not, the part of the last block,
 * coherence with the page cache, and that the second descriptor of a file leaves no trace (locks,
 * executables, descriptor numbers, file flags).
 */
#include <sys/statfs.h>
#include <sys/wait.h>

#include "ring_rig.h"

#define KIB 1024UL
#define MIB (1UL << 20)

/* A directory on a file system with O_DIRECT? */
static bool has_direct(struct rig *rig)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/probe", rig->dir);
	fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	else
		fprintf(stderr, "skipped: no O_DIRECT below %s: %s\n", rig->dir, strerror(errno));
	return fd >= 0;
}

static bool direct_rig(struct rig *rig)
{
	rig_open(rig);
	if (has_direct(rig))
		return true;
	rig_close(rig);
	return false;
}

static int direct_fits(struct rig *rig, const struct taio_step *step)
{
	return rig->dev[1].driver->fits(&rig->dev[1], step);
}

Test(direct, reads_and_writes_aligned_memory_coherently)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 1), *got = bytes_new(MIB, 2);
	int fd;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "f", data, MIB); /* dirty in the cache */
	for (uint64_t len = 4096; len <= 256 * KIB; len *= 4) {
		struct taio_step step = step_copy(end_file(fd, len), end_memory(got), len);

		cr_assert(direct_fits(&rig, &step));
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), (int64_t)len);
		cr_assert_eq(memcmp(got, data + len, len), 0, "what was dirty is seen");
		bytes_fill(got, len, len);
		step = step_copy(end_memory(got), end_file(fd, len), len);
		cr_assert(direct_fits(&rig, &step));
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), (int64_t)len);
		cr_assert(file_has(fd, len, got, len), "what was cached is not read any more");
		memcpy(data + len, got, len);
	}
	cr_assert_eq(fcntl(fd, F_GETFL) & O_DIRECT, 0, "the descriptor is as it was");
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, what_is_not_aligned_does_not_fit_and_is_refused_with_nothing_moved)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 3), *got = bytes_new(64 * KIB, 4);
	struct taio_step step;
	int fd;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "f", data, 64 * KIB);
	step = step_copy(end_file(fd, 100), end_memory(got), 4096);
	cr_expect_not(direct_fits(&rig, &step));
	cr_expect_eq(rig_run(&rig, RING_DIRECT, &step), -EINVAL);
	step = step_copy(end_file(fd, 0), end_memory(got), 4097);
	cr_expect_not(direct_fits(&rig, &step));
	cr_expect_eq(rig_run(&rig, RING_DIRECT, &step), -EINVAL);
	step = step_copy(end_file(fd, 0), end_memory(got + 1), 4096);
	cr_expect_not(direct_fits(&rig, &step));
	cr_expect_eq(rig_run(&rig, RING_DIRECT, &step), -EINVAL);
	step = step_copy(end_memory(data + 1), end_file(fd, 0), 4096);
	cr_expect_not(direct_fits(&rig, &step));
	cr_expect_eq(rig_run(&rig, RING_DIRECT, &step), -EINVAL);
	cr_expect(file_has(fd, 0, data, 64 * KIB));
	step = step_copy(end_file(fd, 4096), end_file(fd, 8192 + 512), 64 * KIB);
	cr_expect_not(direct_fits(&rig, &step));
	step = step_copy(end_file(fd, 0), end_memory(got), 4096);
	step.from.flags = TAIO_END_STREAMED;
	cr_expect_not(direct_fits(&rig, &step));
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, end_of_the_file_shortens_an_aligned_read)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 5), *got = bytes_new(64 * KIB, 6);
	struct taio_step step;
	int fd;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "f", data, 10000);
	step = step_copy(end_file(fd, 4096), end_memory(got), 16384);
	cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 10000 - 4096);
	cr_assert_eq(memcmp(got, data + 4096, 10000 - 4096), 0);
	step = step_copy(end_file(fd, 16384), end_memory(got), 4096);
	cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 0);
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, copies_files_with_a_part_of_a_block_at_the_end, .timeout = 60)
{
	struct rig rig;
	const uint64_t lengths[] = { 65536,  65537,   66000,   524288,  524289,       528384,
				     524288, 1048575, 3000000, 4194304, 4194304 + 511 };
	uint8_t *data = bytes_new(5 * MIB, 7);
	int from;

	if (!direct_rig(&rig))
		return;
	from = file_new(&rig, "from", data, 5 * MIB);
	fsync(from);
	for (size_t i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
		const uint64_t len = lengths[i / 2], at = i * 4096;
		int to = file_new(&rig, "to", NULL, 0);
		struct taio_step step = step_copy(end_file(from, at), end_file(to, at), len);
		struct stat st;

		step.from.flags = i % 2 ? TAIO_END_COLD : 0;
		step.to.flags = TAIO_END_OWNED;
		cr_assert(direct_fits(&rig, &step));
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), (int64_t)len);
		cr_assert(file_has(to, at, data + at, len));
		fstat(to, &st);
		cr_assert_eq((uint64_t)st.st_size, at + len, "nothing beyond the step");
		close(to);
	}
	close(from);
	rig_close(&rig);
	free(data);
}

Test(direct, source_that_ends_early_shortens_the_copy)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 8);
	int from, to;

	if (!direct_rig(&rig))
		return;
	from = file_new(&rig, "from", data, 700001);
	fsync(from);
	to = file_new(&rig, "to", NULL, 0);
	for (int cold = 0; cold < 2; cold++) {
		struct taio_step step = step_copy(end_file(from, 0), end_file(to, 0), 4 * MIB);
		struct stat st;

		step.from.flags = cold ? TAIO_END_COLD : 0;
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 700001);
		cr_assert(file_has(to, 0, data, 700001));
		fstat(to, &st);
		cr_assert_eq(st.st_size, 700001);
	}
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(direct, memory_file_system_does_not_fit_and_loses_nothing_if_tried)
{
	struct rig rig;
	uint8_t *data = bytes_new(MIB, 9), *got = bytes_new(MIB, 10);
	struct taio_step step;
	struct statfs fs;
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || fstatfs(fd, &fs) < 0 || fs.f_type != 0x01021994) {
		fprintf(stderr, "skipped: /dev/shm is no tmpfs\n");
		return;
	}
	rig_open(&rig);
	cr_assert_eq(pwrite(fd, data, MIB, 0), (ssize_t)MIB);
	step = step_copy(end_file(fd, 0), end_memory(got), MIB);
	step.from.fs = TAIO_FS_TMPFS;
	cr_assert_not(direct_fits(&rig, &step));
	if (rig_run(&rig, RING_DIRECT, &step) < 0)
		cr_assert(step.result == -EOPNOTSUPP || step.result == -EINVAL);
	else
		cr_assert_eq(memcmp(got, data, (size_t)step.result), 0);
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, descriptor_that_has_o_direct_already_is_used_itself)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 11), *got = bytes_new(64 * KIB, 12);
	char path[400];
	struct taio_step step;
	int fd, direct, before;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "f", data, 64 * KIB);
	snprintf(path, sizeof(path), "%s/f", rig.dir);
	direct = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	before = count_fds();
	for (int i = 0; i < 20; i++) {
		step = step_copy(end_file(direct, (uint64_t)i % 8 * 4096), end_memory(got), 4096);
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 4096);
		cr_assert_eq(memcmp(got, data + i % 8 * 4096, 4096), 0);
	}
	cr_assert_eq(count_fds(), before);
	close(fd);
	close(direct);
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, number_of_a_closed_descriptor_means_the_new_file)
{
	struct rig rig;
	uint8_t *data = bytes_new(64 * KIB, 13), *got = bytes_new(64 * KIB, 14);
	struct taio_step step;

	if (!direct_rig(&rig))
		return;
	for (int i = 0; i < 2 * RING_FILES; i++) {
		char name[16];
		int fd;

		snprintf(name, sizeof(name), "f%d", i);
		bytes_fill(data, 8192, (uint64_t)i + 100);
		fd = file_new(&rig, name, data, 8192);
		step = step_copy(end_file(fd, 0), end_memory(got), 8192);
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 8192);
		cr_assert_eq(memcmp(got, data, 8192), 0, "file %d", i);
		close(fd);
	}
	rig_close(&rig);
	free(data);
	free(got);
}

Test(direct, written_program_can_be_executed_at_once)
{
	struct rig rig;
	struct stat st;
	struct taio_step step;
	char path[400];
	int from = open("/bin/true", O_RDONLY | O_CLOEXEC), to, before, status;
	pid_t pid;

	cr_assert(from >= 0);
	cr_assert_eq(fstat(from, &st), 0);
	if (!direct_rig(&rig))
		return;
	before = count_fds();
	to = file_new(&rig, "true", NULL, 0);
	step = step_copy(end_file(from, 0), end_file(to, 0), (uint64_t)st.st_size);
	cr_assert_eq(rig_run_all(&rig, RING_DIRECT, &step), (int64_t)st.st_size);
	close(to);
	cr_assert_eq(count_fds(), before, "no descriptor lingers after a write");
	snprintf(path, sizeof(path), "%s/true", rig.dir);
	/* a kernel worker that wrote a part lets go of the file a moment after its completion */
	for (int i = 0; i < 50; i++) {
		pid = fork();
		if (pid == 0) {
			execl(path, path, (char *)NULL);
			_exit(errno == ETXTBSY ? 26 : 1);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (WEXITSTATUS(status) != 26)
			break;
		usleep(10000);
	}
	cr_assert_eq(status, 0, "26 is text file busy: %d", WEXITSTATUS(status));
	close(from);
	rig_close(&rig);
}

/* Is the file locked, as another process sees it? */
static bool others_see_lock(int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

		_exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? 1 : 0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status) == 1;
}

Test(direct, record_locks_of_the_program_survive)
{
	struct rig rig;
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };
	uint8_t *data = bytes_new(64 * KIB, 15), *got = bytes_new(64 * KIB, 16);
	struct taio_step step;
	int fd, other;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "locked", data, 64 * KIB);
	cr_assert_eq(fcntl(fd, F_SETLK, &lock), 0);
	step = step_copy(end_memory(data), end_file(fd, 0), 8192);
	cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), -EOPNOTSUPP, "not opened again");
	cr_assert(others_see_lock(fd));
	/* locked while a second descriptor lingers */
	other = file_new(&rig, "later", data, 64 * KIB);
	step = step_copy(end_file(other, 0), end_memory(got), 8192);
	cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), 8192);
	cr_assert_eq(fcntl(other, F_SETLK, &lock), 0);
	rig_close(&rig);
	cr_assert(others_see_lock(other), "closing the device must not drop it");
	close(fd);
	close(other);
	free(data);
	free(got);
}

Test(direct, memory_that_may_not_be_locked_is_used_unregistered)
{
	struct rig rig;
	uint8_t *data = bytes_new(2 * MIB, 19);
	struct taio_step step;
	int from, to;

	little_locked_memory(1900000); /* enough for a ring, not for a slab */
	if (!direct_rig(&rig))
		return;
	from = file_new(&rig, "from", data, 2 * MIB);
	fsync(from);
	to = file_new(&rig, "to", NULL, 0);
	for (int cold = 0; cold < 2; cold++) {
		step = step_copy(end_file(from, 0), end_file(to, 0), 2 * MIB - 77);
		step.from.flags = cold ? TAIO_END_COLD : 0;
		cr_assert_eq(rig_run(&rig, RING_DIRECT, &step), (int64_t)(2 * MIB - 77));
		cr_assert(file_has(to, 0, data, 2 * MIB - 77));
	}
	cr_assert(rig_ring(&rig)->slab[0].refused);
	close(from);
	close(to);
	rig_close(&rig);
	free(data);
}

Test(direct, many_reads_at_a_time_come_back_each_with_its_own_bytes, .timeout = 60)
{
	struct rig rig;
	uint8_t *data = bytes_new(4 * MIB, 17), *got = bytes_new(4 * MIB, 18);
	struct taio_step step[64];
	uint64_t at[64], state = 5;
	uint32_t busy = 0;
	int fd;

	if (!direct_rig(&rig))
		return;
	fd = file_new(&rig, "f", data, 4 * MIB);
	fsync(fd);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 64; i++) {
			at[i] = rng_next(&state) % 1024 * 4096;
			step[i] = step_copy(end_file(fd, at[i]), end_memory(got + i * 4096), 4096);
			cr_assert_eq(rig_submit(&rig, RING_DIRECT, &step[i]), TAIO_QUEUED);
			busy++;
		}
		while (busy > 0) {
			const struct taio_step *done = rig_wait(&rig, RING_DIRECT, 5000);

			cr_assert(done);
			cr_assert_eq(done->result, 4096);
			busy--;
		}
		for (int i = 0; i < 64; i++)
			cr_assert_eq(memcmp(got + i * 4096, data + at[i], 4096), 0);
	}
	close(fd);
	rig_close(&rig);
	free(data);
	free(got);
}
