/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_find.c: where the object of a policy lies. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libbpf/bpf_place.h"
#include "policy/bpf_object.h"

int object_find(const char *name, char *ret_path, size_t path_size, char *why, size_t why_size)
{
	size_t length = strlen(name);

	if (strchr(name, '/') || (length > 2 && !strcmp(name + length - 2, ".o"))) {
		snprintf(ret_path, path_size, "%s", name);
		if (access(ret_path, R_OK) == 0)
			return 0;
		return policy_why(-errno, why, why_size, "%s: %s", name, strerror(errno));
	}
	if (bpf_place_find("schedulers", name, ret_path, path_size) == 0)
		return 0;
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
			err = bpf_place_beside(self, bpf[i], ret_bpf, size);
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
