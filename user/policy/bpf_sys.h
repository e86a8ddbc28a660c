/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_sys.h: the few calls of bpf(2) that an engine makes while it runs, without libbpf: it must
 * be able to use a machine-wide policy where libbpf is not installed. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_BPF_SYS_H
#define TAIO_USER_POLICY_BPF_SYS_H

#include <stdint.h>

/* All: 0 or a descriptor (close-on-exec), or negative errno. */
int bpf_sys_get(const char *path);
int bpf_sys_pin(int fd, const char *path);
int bpf_sys_freeze(int map_fd);
/* Runs a SEC("syscall") program. Return: what it returned, 0.. or negative errno. */
int bpf_sys_run(int prog_fd);
/* Instructions that the verifier looked at; 0: the kernel does not say. */
uint32_t bpf_sys_verified(int prog_fd);

/* The newest program called @name that uses the map @map_fd, other than @but. Needs CAP_SYS_ADMIN.
 * Return: its descriptor; -ENOENT, -EPERM. */
int bpf_sys_find_user(const char *name, int map_fd, int but);

struct bpf_sys_shape {
	uint32_t type, key_size, value_size, max_entries, flags, id;
	char name[16];
};
int bpf_sys_shape(int map_fd, struct bpf_sys_shape *ret_shape);

#endif /* TAIO_USER_POLICY_BPF_SYS_H */
