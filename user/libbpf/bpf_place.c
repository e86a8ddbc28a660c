/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_place.c: see bpf_place.h. */
#include "libbpf/bpf_place.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TAIO_LIBDIR
#define TAIO_LIBDIR "/usr/local/lib/taio"
#endif

int bpf_place_beside(const char *file, const char *more, char *ret_directory, size_t size)
{
	const char *slash = strrchr(file, '/');
	int n;

	if (!slash)
		return -ENOENT;
	n = snprintf(ret_directory, size, "%.*s%s", (int)(slash - file), file, more);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int place_environment(unsigned int index, char *ret_directory, size_t size)
{
	const char *path = secure_getenv("TAIO_BPF_PATH");

	for (; path && *path; index--) {
		size_t length = strcspn(path, ":");

		if (index == 0) {
			if (!length || length >= size)
				return -EINVAL;
			memcpy(ret_directory, path, length);
			ret_directory[length] = '\0';
			return 0;
		}
		path += length + (path[length] == ':');
	}
	return -ENOENT;
}

static unsigned int place_environment_count(void)
{
	const char *path = secure_getenv("TAIO_BPF_PATH");
	unsigned int count = path && *path;

	for (; path && *path; path++)
		count += *path == ':' && path[1];
	return count;
}

int bpf_place(unsigned int index, const char *kind, char *ret_directory, size_t size)
{
	unsigned int named = place_environment_count();
	char file[PATH_MAX], more[32];
	Dl_info info;
	ssize_t n;

	ret_directory[0] = '\0';
	if (index < named) {
		(void)place_environment(index, ret_directory, size);
		return 0;
	}
	switch (index - named) {
	case 0: /* beside the command */
	case 1: /* or above it, as for tests and examples in a build tree */
		n = readlink("/proc/self/exe", file, sizeof(file) - 1);
		if (n <= 0)
			return 0;
		file[n] = '\0';
		snprintf(more, sizeof(more), "%s/%s", index == named ? "" : "/..", kind);
		(void)bpf_place_beside(file, more, ret_directory, size);
		return 0;
	case 2: /* beside the library */
		snprintf(more, sizeof(more), "/%s", kind);
		if (dladdr((void *)bpf_place, &info) && info.dli_fname)
			(void)bpf_place_beside(info.dli_fname, more, ret_directory, size);
		return 0;
	case 3: /* where it was installed */
		snprintf(ret_directory, size, "%s/%s", TAIO_LIBDIR, kind);
		return 0;
	default:
		return -ENOENT;
	}
}

int bpf_place_find(const char *kind, const char *name, char *ret_path, size_t path_size)
{
	char directory[PATH_MAX];

	for (unsigned int i = 0; bpf_place(i, kind, directory, sizeof(directory)) == 0; i++) {
		int n;

		if (!directory[0])
			continue;
		n = snprintf(ret_path, path_size, "%s/%s.bpf.o", directory, name);
		if (n > 0 && (size_t)n < path_size && access(ret_path, R_OK) == 0)
			return 0;
	}
	return -ENOENT;
}
