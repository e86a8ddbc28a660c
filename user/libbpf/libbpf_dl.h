/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libbpf_dl.h: libbpf.so.1, opened when an object is to be loaded and not before: a program that
 * never loads one does not need the library and pays nothing for it. For the two rooms that load
 * objects: policy (policies) and xdp (the program that takes flows).
 */
#ifndef TAIO_LIBBPF_DL_H
#define TAIO_LIBBPF_DL_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#define LIBBPF_FUNCTIONS(X)                 \
	X(libbpf_set_print)                 \
	X(bpf_object__open_file)            \
	X(bpf_object__load)                 \
	X(bpf_object__close)                \
	X(bpf_object__btf)                  \
	X(bpf_object__next_map)             \
	X(bpf_object__next_program)         \
	X(bpf_object__find_map_by_name)     \
	X(bpf_object__find_program_by_name) \
	X(bpf_map__name)                    \
	X(bpf_map__type)                    \
	X(bpf_map__key_size)                \
	X(bpf_map__value_size)              \
	X(bpf_map__max_entries)             \
	X(bpf_map__set_max_entries)         \
	X(bpf_map__map_flags)               \
	X(bpf_map__initial_value)           \
	X(bpf_map__set_initial_value)       \
	X(bpf_map__reuse_fd)                \
	X(bpf_map__fd)                      \
	X(bpf_program__name)                \
	X(bpf_program__type)                \
	X(bpf_program__insn_cnt)            \
	X(bpf_program__set_autoload)        \
	X(bpf_program__set_log_buf)         \
	X(bpf_program__fd)                  \
	X(bpf_link_create)                  \
	X(bpf_map_update_elem)              \
	X(bpf_map_delete_elem)              \
	X(bpf_xdp_query)                    \
	X(bpf_prog_get_fd_by_id)            \
	X(bpf_obj_get_info_by_fd)           \
	X(btf__find_by_name_kind)           \
	X(btf__type_by_id)                  \
	X(btf__name_by_offset)

struct libbpf {
	void *handle;
	libbpf_print_fn_t print; /* what the process had set before us */
#define X(NAME) __typeof__(NAME) *NAME;
	LIBBPF_FUNCTIONS(X)
#undef X
};

/* Opens the library, silent until libbpf_dl_close(): what it has to say is said by us, in one
 * sentence. Return: 0; -ENOSYS with a sentence in @why. */
int libbpf_dl_open(struct libbpf *ret_lib, char *why, size_t why_size);
void libbpf_dl_close(struct libbpf *lib);

#endif /* TAIO_LIBBPF_DL_H */
