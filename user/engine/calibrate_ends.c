/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* calibrate_ends.c: see calibrate_ends.h. */
#include "engine/calibrate_ends.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "taio_driver.h"

#define CALIBRATE_DATAGRAM 1472U /* as the engine cuts them */

/* ---- opening ---- */

static int ends_loopback(int type, struct sockaddr_in *ret_address)
{
	socklen_t length = sizeof(*ret_address);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), rc;

	*ret_address = (struct sockaddr_in){ .sin_family = AF_INET,
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0)
		return -errno;
	if (bind(fd, (void *)ret_address, sizeof(*ret_address)) ||
	    getsockname(fd, (void *)ret_address, &length)) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int ends_stream(int ret_fd[2])
{
	struct sockaddr_in address;
	int listener = ends_loopback(SOCK_STREAM, &address), rc = 0;

	if (listener < 0)
		return listener;
	ret_fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ret_fd[1] < 0 || listen(listener, 1) ||
	    connect(ret_fd[1], (void *)&address, sizeof(address)) ||
	    (ret_fd[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		rc = -errno;
	close(listener);
	return rc;
}

static int ends_dgram(int ret_fd[2])
{
	struct sockaddr_in address[2];
	const int room = 1 << 20;

	for (unsigned int i = 0; i < 2; i++) {
		ret_fd[i] = ends_loopback(SOCK_DGRAM, &address[i]);
		if (ret_fd[i] < 0)
			return ret_fd[i];
		(void)setsockopt(ret_fd[i], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	}
	for (unsigned int i = 0; i < 2; i++)
		if (connect(ret_fd[i], (void *)&address[!i], sizeof(address[0])))
			return -errno;
	return 0;
}

static const char *ends_temporary(void)
{
	const char *directory = getenv("TMPDIR");

	return directory && *directory ? directory : "/tmp";
}

static int ends_file(const char *memory, int *ret_fd)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/taio-XXXXXX", ends_temporary());
	*ret_fd = mkostemp(path, O_CLOEXEC);
	if (*ret_fd < 0)
		return -errno;
	unlink(path);
	if (pwrite(*ret_fd, memory, CALIBRATE_BYTES, 0) == CALIBRATE_BYTES)
		return 0;
	return errno ? -errno : -ENOSPC;
}

static int ends_memory(char **ret_memory)
{
	*ret_memory = mmap(NULL, CALIBRATE_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (*ret_memory != MAP_FAILED)
		return 0;
	*ret_memory = NULL;
	return -ENOMEM;
}

static int ends_directory(struct calibrate_ends *ends)
{
	snprintf(ends->directory, sizeof(ends->directory), "%s/taio-XXXXXX", ends_temporary());
	if (!mkdtemp(ends->directory)) {
		ends->directory[0] = '\0';
		return -errno;
	}
	for (unsigned int i = 0; i < 2; i++)
		snprintf(ends->whole[i], sizeof(ends->whole[i]), "%s/%s", ends->directory,
			 i ? "to" : "from");
	return 0;
}

int calibrate_ends_open(struct calibrate_ends *ends)
{
	int rc = 0;

	memset(ends, 0, sizeof(*ends));
	for (unsigned int i = 0; i < 2; i++)
		ends->file[i] = ends->stream[i] = ends->dgram[i] = ends->pipe[i] = -1;
	for (unsigned int i = 0; i < 2 && rc == 0; i++)
		rc = ends_memory(&ends->memory[i]);
	for (unsigned int i = 0; i < 2 && rc == 0; i++)
		rc = ends_file(ends->memory[0], &ends->file[i]);
	if (rc == 0)
		rc = ends_directory(ends);
	if (rc == 0)
		rc = ends_stream(ends->stream);
	if (rc == 0)
		rc = ends_dgram(ends->dgram);
	if (rc == 0 && pipe2(ends->pipe, O_CLOEXEC | O_NONBLOCK))
		rc = -errno;
	if (rc)
		calibrate_ends_close(ends);
	return rc;
}

int calibrate_whole(struct calibrate_ends *ends, uint64_t bytes)
{
	int fd = open(ends->whole[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, ends->memory[0], bytes) != (ssize_t)bytes)
		rc = errno ? -errno : -ENOSPC;
	close(fd);
	return rc;
}

/* ---- closing ---- */

static void ends_close_two(const int fd[2])
{
	for (unsigned int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

void calibrate_ends_close(struct calibrate_ends *ends)
{
	for (unsigned int i = 0; i < 2; i++)
		if (ends->memory[i])
			munmap(ends->memory[i], CALIBRATE_BYTES);
	ends_close_two(ends->file);
	ends_close_two(ends->stream);
	ends_close_two(ends->dgram);
	ends_close_two(ends->pipe);
	if (!ends->directory[0])
		return;
	unlink(ends->whole[0]);
	unlink(ends->whole[1]);
	rmdir(ends->directory);
}

/* ---- queues ---- */

static const int *ends_queue(const struct calibrate_ends *ends, unsigned int kind)
{
	switch (kind) {
	case TAIO_KIND_STREAM:
		return ends->stream;
	case TAIO_KIND_DGRAM:
		return ends->dgram;
	case TAIO_KIND_PIPE:
		return ends->pipe;
	default:
		return NULL;
	}
}

struct taio_endpoint calibrate_end(const struct calibrate_ends *ends, unsigned int kind,
				   unsigned int side, uint64_t bytes)
{
	switch (kind) {
	case TAIO_KIND_MEM:
		return taio_memory(ends->memory[side], bytes);
	case TAIO_KIND_FILE:
		return taio_file(ends->file[side], 0, bytes);
	default:
		return taio_descriptor(ends_queue(ends, kind)[side]);
	}
}

static ssize_t ends_put(const struct calibrate_ends *ends, unsigned int kind, uint64_t bytes)
{
	int fd = ends_queue(ends, kind)[1];

	if (kind == TAIO_KIND_PIPE)
		return write(fd, ends->memory[0], bytes);
	if (kind == TAIO_KIND_DGRAM && bytes > CALIBRATE_DATAGRAM)
		bytes = CALIBRATE_DATAGRAM;
	return send(fd, ends->memory[0], bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int calibrate_feed(struct calibrate_ends *ends, unsigned int kind, uint64_t bytes)
{
	if (!ends_queue(ends, kind))
		return 0;
	while (bytes) {
		ssize_t n = ends_put(ends, kind, bytes);

		if (n <= 0) {
			int rc = errno ? -errno : -EIO;

			calibrate_drain(ends, kind);
			return rc;
		}
		bytes -= (uint64_t)n;
	}
	return 0;
}

void calibrate_drain(struct calibrate_ends *ends, unsigned int kind)
{
	const int *queue = ends_queue(ends, kind);
	ssize_t n;

	if (!queue)
		return;
	do
		n = kind == TAIO_KIND_PIPE
			    ? read(queue[0], ends->memory[1], CALIBRATE_QUEUE)
			    : recv(queue[0], ends->memory[1], CALIBRATE_QUEUE, MSG_DONTWAIT);
	while (n > 0 || (n < 0 && errno == EINTR));
}
