/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_object.h: a policy object, from a file into the kernel. What does not fit (another ABI, maps
 * of another shape, no policy at all) is refused before the kernel sees it; what the verifier
 * refuses is told by the one line of its log that matters. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_BPF_OBJECT_H
#define TAIO_USER_POLICY_BPF_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include "policy/source.h"

/* The maps that all policies share. */
enum object_map {
	OBJECT_CTL,
	OBJECT_CTX,
	OBJECT_CAPS,
	OBJECT_DEV,
	OBJECT_LAT,
	OBJECT_PRICE,
	OBJECT_ENGINE,
	OBJECT_STATE,
	OBJECT_WORK,
	OBJECT_BATCH,
	OBJECT_TIMER,
	OBJECT_MAPS
};

struct object_shape {
	const char *name;
	uint32_t value_size, entries;
	enum object_use {
		OBJECT_KERNEL, /* only programs use it */
		OBJECT_SHARED, /* engines mmap it */
		OBJECT_OWN     /* the one engine that loaded it mmaps it, no other */
	} use;
};
extern const struct object_shape object_shapes[OBJECT_MAPS];

enum object_prog {
	OBJECT_START,
	OBJECT_TICK,
	OBJECT_PICK,
	OBJECT_STOP,
	OBJECT_PROGS
};
extern const char *const object_programs[OBJECT_PROGS];

struct policy_object {
	int map[OBJECT_MAPS];
	int prog[OBJECT_PROGS];
	uint32_t insns[OBJECT_PROGS];    /* in the object */
	uint32_t verified[OBJECT_PROGS]; /* looked at by the verifier; 0: unknown */
	uint32_t abi;
	char name[16];
	char text[96];
	char hooks[256];
	struct taio_tunable tunables[TAIO_TUNABLES_MAX];
};

/* The file of a policy: @name itself if it is a path, else NAME.bpf.o in $TAIO_BPF_PATH, beside the
 * command or library, or where it was installed. Return: 0; -ENOENT with a sentence in @why. */
int object_find(const char *name, char *ret_path, size_t path_size, char *why, size_t why_size);

/* Where the headers for writing policies are: of policy.bpf.h and of taio_policy.h.
 * Return: 0; -ENOENT: not found, and then names that could be. */
int object_headers(char *ret_bpf, char *ret_include, size_t size);

/* Loads @path with the tunables of @request (may be NULL). @reuse: the maps to run on, as object
 * numbers -> descriptors; NULL: new ones, with room for @engines engines. Nothing runs yet.
 * Return: 0; -EBADMSG: refused; -EPERM: BPF is not permitted; -ENOENT; -EINVAL: a tunable; -ENOSYS;
 * -ENOMEM; all with a sentence in @why. Any thread. */
int object_load(struct policy_object *ret_object, const char *path,
		const struct policy_request *request, const int *reuse, uint32_t engines, char *why,
		size_t why_size);

/* Reads what an object says of itself, without loading it; descriptors are -1. */
int object_read(struct policy_object *ret_object, const char *path, char *why, size_t why_size);

void object_init(struct policy_object *object);
void object_close(struct policy_object *object);

#endif /* TAIO_USER_POLICY_BPF_OBJECT_H */
