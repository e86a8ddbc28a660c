/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* bpf_place.h: where compiled BPF objects lie: in a build tree, beside an installed command or
 * library, or where TAIO_BPF_PATH says. */
#ifndef TAIO_LIBBPF_BPF_PLACE_H
#define TAIO_LIBBPF_BPF_PLACE_H

#include <stddef.h>

#ifndef TAIO_LIBDIR
#define TAIO_LIBDIR "/usr/local/lib/taio"
#endif

/* The directories in which to look for objects of @kind ("schedulers": policies, "bpf": programs of
 * the library itself), one by one; an empty string: this place does not exist here.
 * Return: 0; -ENOENT: no more. */
int bpf_place(unsigned int index, const char *kind, char *ret_directory, size_t size);

/* NAME.bpf.o in the first of them that has it. Return: 0; -ENOENT. */
int bpf_place_find(const char *kind, const char *name, char *ret_path, size_t path_size);

/* The directory of @file with @more behind it. Return: 0; -ENOENT: @file has none; -ENAMETOOLONG. */
int bpf_place_beside(const char *file, const char *more, char *ret_directory, size_t size);

#endif /* TAIO_LIBBPF_BPF_PLACE_H */
