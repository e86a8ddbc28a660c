/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_types.h: the few kernel types and numbers that policies need. It stands in for a generated
 * vmlinux.h, so that an object builds on a machine whose kernel has no BTF and comes out the same
 * everywhere. It is only seen by `clang -target bpf`.
 */
#ifndef TAIO_BPF_TYPES_H
#define TAIO_BPF_TYPES_H

#ifndef __VMLINUX_H__ /* a file that needs more of the kernel may include vmlinux.h first */

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

enum {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_F_MMAPABLE = 1 << 10
};

struct bpf_timer {
	__u64 opaque[2];
} __attribute__((aligned(8)));

#endif
#endif /* TAIO_BPF_TYPES_H */
