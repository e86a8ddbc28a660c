/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * pointer.c: reads a file into memory, copies memory to memory in many requests with one engine,
 * and writes the copy to standard output, so that it can be compared with the file. On stderr it
 * says which devices carried the bytes, and how fast, beside memcpy(3) on the same memory.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "taio.h"

#define PIECE (64u << 20)

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The file, or fresh memory (@fd -1), of which each page is there already. */
static char *map(int fd, size_t size)
{
	int flags = MAP_POPULATE | MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t copy(struct taio *engine, const char *from, char *to, size_t size)
{
	struct taio_event event[16];
	uint64_t devices = 0;

	for (size_t done = 0; done < size || taio_pending(engine);) {
		size_t piece = size - done < PIECE ? size - done : PIECE;
		int count = 0;

		if (piece && taio_schedule_pointer(engine, from + done, to + done, piece, 0) == 0)
			done += piece;
		else
			count = taio_get_events(engine, event, 1, 16, -1);
		for (int i = 0; i < count; i++) {
			if (event[i].result < 0)
				exit(1);
			devices |= event[i].devices;
		}
	}
	return devices;
}

int main(int argc, char **argv)
{
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;
	double start, taio_s, libc_s;
	struct taio *engine;
	uint64_t devices;
	char *from, *to;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0 || taio_open(&engine, NULL) < 0) {
		fprintf(stderr, "usage: pointer FILE > COPY\n");
		return 2;
	}
	from = map(fd, (size_t)st.st_size);
	to = map(-1, (size_t)st.st_size);
	if (from == NULL || to == NULL)
		return 1;
	start = seconds();
	memcpy(to, from, (size_t)st.st_size);
	libc_s = seconds() - start;
	memset(to, 0, (size_t)st.st_size);
	start = seconds();
	devices = copy(engine, from, to, (size_t)st.st_size);
	taio_s = seconds() - start;
	fprintf(stderr, "%.2f GiB/s by", (double)st.st_size / taio_s / (1 << 30));
	for (unsigned int i = 0; i < 64; i++) {
		if (devices >> i & 1)
			fprintf(stderr, " %s", taio_device_name(engine, i));
	}
	fprintf(stderr, "; memcpy %.2f GiB/s\n", (double)st.st_size / libc_s / (1 << 30));
	taio_close(engine);
	for (off_t done = 0; done < st.st_size;) {
		ssize_t part = write(STDOUT_FILENO, to + done, (size_t)(st.st_size - done));

		if (part < 0)
			return 1;
		done += part;
	}
	return 0;
}
