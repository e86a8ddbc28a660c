/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* api_register.c: memory and files that will be used often, made known to devices. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/ring.h"

#define API_BUFFERS_MAX 1024

int taio_register_buffers(struct taio *e, const struct iovec *buffers, unsigned int count)
{
	struct iovec *copy = NULL;

	if (count > API_BUFFERS_MAX || (count && !buffers))
		return -EINVAL;
	for (unsigned int i = 0; i < count; i++)
		if (!buffers[i].iov_base || !buffers[i].iov_len)
			return -EINVAL;
	if (e->pool.busy)
		return -EBUSY;
	if (count) {
		copy = malloc(count * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, buffers, count * sizeof(*copy));
	}
	free((void *)(uintptr_t)e->host.buffers);
	e->host.buffers = copy;
	e->host.buffer_count = count;
	return ring_register_buffers(&e->host);
}

/* ---- registered files ---- */

static bool api_is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

static void api_files_changed(struct taio *e)
{
	int rc = ring_register_files(&e->host);

	if (rc)
		engine_log(e, "files cannot be registered with io_uring here: %s", strerror(-rc));
}

int taio_register_file(struct taio *e, int fd)
{
	uint32_t at = 0;
	int own;

	if (e->pool.busy)
		return -EBUSY;
	while (at < e->host.file_count && e->files[at] >= 0)
		at++;
	if (at == TAIO_FILES_MAX)
		return -ENOSPC;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	if (!api_is_file(own)) {
		close(own);
		return -EINVAL;
	}
	e->files[at] = own;
	e->host.files = e->files;
	if (at == e->host.file_count)
		e->host.file_count++;
	api_files_changed(e);
	return own;
}

int taio_unregister_file(struct taio *e, int fd)
{
	uint32_t at = 0;

	while (at < e->host.file_count && (fd < 0 || e->files[at] != fd))
		at++;
	if (at == e->host.file_count)
		return -EINVAL;
	if (e->pool.busy)
		return -EBUSY;
	e->files[at] = -1;
	api_files_changed(e);
	close(fd);
	return 0;
}
