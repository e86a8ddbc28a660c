/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* libbpf_dl.c: see libbpf_dl.h. */
#include "libbpf/libbpf_dl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t at; /* of its pointer in struct libbpf */
} functions[] = {
#define X(NAME) { #NAME, offsetof(struct libbpf, NAME) },
	LIBBPF_FUNCTIONS(X)
#undef X
};

int libbpf_dl_open(struct libbpf *ret_lib, char *why, size_t why_size)
{
	memset(ret_lib, 0, sizeof(*ret_lib));
	ret_lib->handle = dlopen("libbpf.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!ret_lib->handle) {
		snprintf(why, why_size,
			 "libbpf.so.1 is needed to load an object (package libbpf1)");
		return -ENOSYS;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *function = dlsym(ret_lib->handle, functions[i].name);

		if (!function) {
			dlclose(ret_lib->handle);
			snprintf(why, why_size, "libbpf.so.1 has no %s", functions[i].name);
			return -ENOSYS;
		}
		memcpy((char *)ret_lib + functions[i].at, &function, sizeof(function));
	}
	ret_lib->print = ret_lib->libbpf_set_print(NULL);
	return 0;
}

void libbpf_dl_close(struct libbpf *lib)
{
	if (!lib->handle)
		return;
	lib->libbpf_set_print(lib->print);
	dlclose(lib->handle);
	lib->handle = NULL;
}
