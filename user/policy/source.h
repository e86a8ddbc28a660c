/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * source.h: what native twins, loaded objects and the machine-wide policy have in common for
 * policy.c: a set of mapped maps, a tick and an end. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_SOURCE_H
#define TAIO_USER_POLICY_SOURCE_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"
#include "taio.h"

struct policy_source;

struct policy_source_ops {
	uint32_t where; /* enum taio_policy_where */
	/* See policy_tick(). Return: 0; 1: policy_poll() must be called, the source has ended. */
	int (*tick)(struct policy_source *source, uint64_t now_ns, int urgent);
	void (*close)(struct policy_source *source);
};

struct policy_source {
	const struct policy_source_ops *ops;
	struct taio_maps maps;
	char name[16];
	char text[96];
};

/* A policy as it is asked for: "NAME key=value ..." or "/path/to/object.bpf.o key=value ...". */
struct policy_request {
	char name[PATH_MAX];
	uint32_t tunes;
	struct {
		char key[24];
		uint32_t value;
	} tune[TAIO_TUNABLES_MAX];
};

/* Takes @text apart. Return: 0; -EINVAL, -ENAMETOOLONG, -E2BIG with a sentence in @why. */
int policy_request_parse(struct policy_request *ret_request, const char *text, char *why,
			 size_t why_size);

/* Writes the values that @request sets into @values, which is as long as @table (which ends with
 * an empty name or after TAIO_TUNABLES_MAX). Return: 0; -EINVAL with a sentence in @why. */
int policy_request_tune(const struct policy_request *request, const char *policy,
			const struct taio_tunable *table, uint32_t *values, char *why,
			size_t why_size);

/* What a new policy must find as the old one left it: contexts, devices, capabilities, latencies.
 * @lat: the new map, writable. */
void policy_copy_maps(const struct taio_maps *to, struct taio_lat *lat,
		      const struct taio_maps *from);

/* Does it look like what the core writes? Others may have written to it. */
int policy_ctl_is_sane(const struct taio_ctl *ctl);

/* snprintf() into @why. Return: @err, so that it can end a function. */
__attribute__((format(printf, 4, 5))) int policy_why(int err, char *why, size_t why_size,
						     const char *format, ...);

uint64_t policy_now_ns(void);

#endif /* TAIO_USER_POLICY_SOURCE_H */
