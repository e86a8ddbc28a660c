/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_find.c: where the object of a policy lies. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/bpf_object.h"

#ifndef TAIO_LIBDIR
#define TAIO_LIBDIR "/usr/local/lib/taio"
#endif

/* The directory of @file with @more behind it. */
static int find_beside(const char *file, const char *more, char *ret_directory, size_t size)
{
	const char *slash = strrchr(file, '/');
	int n;

	if (!slash)
		return -ENOENT;
	n = snprintf(ret_directory, size, "%.*s%s", (int)(slash - file), file, more);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int find_environment(unsigned int index, char *ret_directory, size_t size)
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

static unsigned int find_environment_count(void)
{
	const char *path = secure_getenv("TAIO_BPF_PATH");
	unsigned int count = path && *path;

	for (; path && *path; path++)
		count += *path == ':' && path[1];
	return count;
}

int object_place(unsigned int index, char *ret_directory, size_t size)
{
	unsigned int named = find_environment_count();
	char file[PATH_MAX];
	Dl_info info;
	ssize_t n;

	ret_directory[0] = '\0';
	if (index < named) {
		(void)find_environment(index, ret_directory, size);
		return 0;
	}
	switch (index - named) {
	case 0: /* beside the command */
	case 1: /* or above it, as for tests and examples in a build tree */
		n = readlink("/proc/self/exe", file, sizeof(file) - 1);
		if (n > 0) {
			file[n] = '\0';
			(void)find_beside(file, index == named ? "/schedulers" : "/../schedulers",
					  ret_directory, size);
		}
		return 0;
	case 2: /* beside the library */
		if (dladdr((void *)object_place, &info) && info.dli_fname)
			(void)find_beside(info.dli_fname, "/schedulers", ret_directory, size);
		return 0;
	case 3: /* where it was installed */
		snprintf(ret_directory, size, "%s/schedulers", TAIO_LIBDIR);
		return 0;
	default:
		return -ENOENT;
	}
}

int object_find(const char *name, char *ret_path, size_t path_size, char *why, size_t why_size)
{
	char directory[PATH_MAX];
	size_t length = strlen(name);

	if (strchr(name, '/') || (length > 2 && !strcmp(name + length - 2, ".o"))) {
		snprintf(ret_path, path_size, "%s", name);
		if (access(ret_path, R_OK) == 0)
			return 0;
		return policy_why(-errno, why, why_size, "%s: %s", name, strerror(errno));
	}
	for (unsigned int i = 0; object_place(i, directory, sizeof(directory)) == 0; i++) {
		int n;

		if (!directory[0])
			continue;
		n = snprintf(ret_path, path_size, "%s/%s.bpf.o", directory, name);
		if (n > 0 && (size_t)n < path_size && access(ret_path, R_OK) == 0)
			return 0;
	}
	return policy_why(-ENOENT, why, why_size,
			  "%s: no such policy (see `taio policy list`; TAIO_BPF_PATH says where "
			  "else to look)",
			  name);
}

int object_headers(char *ret_bpf, char *ret_include, size_t size)
{
	/* beside an installed command, above one in a build tree, where it was installed */
	static const char *const bpf[] = { "/../share/taio/bpf", "/../bpf", NULL };
	char self[PATH_MAX], found[PATH_MAX + 32];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	for (unsigned int i = 0; i < 3; i++) {
		int err = 0;

		if (bpf[i])
			err = find_beside(self, bpf[i], ret_bpf, size);
		else
			snprintf(ret_bpf, size, "%s/../../share/taio/bpf", TAIO_LIBDIR);
		if (err)
			continue;
		snprintf(found, sizeof(found), "%s/policy.bpf.h", ret_bpf);
		if (access(found, R_OK) < 0 || !realpath(ret_bpf, found))
			continue;
		snprintf(ret_bpf, size, "%s", found);
		/* PREFIX/share/taio/bpf and PREFIX/include, or bpf and include side by side */
		snprintf(found, sizeof(found), "%.*s%s", PATH_MAX - 1, ret_bpf,
			 i == 1 ? "/../include" : "/../../../include");
		if (realpath(found, self)) {
			snprintf(ret_include, size, "%s", self);
			return 0;
		}
	}
	snprintf(ret_bpf, size, "bpf");
	snprintf(ret_include, size, "include");
	return -ENOENT;
}
