/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * mirror.h: a second policy beside the one that runs. It has maps of its own, with contexts and
 * devices in the same places, and is told of every completion that the running one is told of, so
 * that it knows as much. A canary is one that gets a share of the requests; the watchdog has one of
 * the built-in policy to compare by. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_MIRROR_H
#define TAIO_USER_POLICY_MIRROR_H

#include "policy/bpf_object.h"
#include "policy/native.h"
#include "policy/source.h"

struct policy_mirror {
	struct policy_source *source;     /* NULL: there is none */
	const struct taio_engine *engine; /* whose samples are read ... */
	uint32_t read;                    /* ... up to here */
};

/* Begins with a copy of what @maps hold. Return: 0; -EINVAL: a tunable; -ENOMEM; with a sentence. */
int mirror_open_native(struct policy_mirror *ret_mirror, const struct taio_native_policy *twin,
		       const struct policy_request *request, const struct taio_maps *maps,
		       char *why, size_t why_size);
/* The same with an object that was loaded on maps of its own; @object is taken over. */
int mirror_open_object(struct policy_mirror *ret_mirror, struct policy_object *object,
		       const struct taio_maps *maps, char *why, size_t why_size);

/* Tells the mirror what happened since the last call: new contexts and devices, load, and up to
 * @limit completions (of more the oldest are left out, but no probes); then lets it make prices. @each, which may
 * be NULL, sees every sample, also those that are left out. */
void mirror_feed(struct policy_mirror *mirror, const struct taio_maps *maps, uint64_t now_ns,
		 uint32_t limit, void (*each)(void *arg, const struct taio_sample *sample),
		 void *arg);

/* The mirror becomes the running policy. @maps: of the one that ran, which is still there. Return:
 * its source, the caller's now. */
struct policy_source *mirror_promote(struct policy_mirror *mirror, const struct taio_maps *maps);

void mirror_close(struct policy_mirror *mirror);

#endif /* TAIO_USER_POLICY_MIRROR_H */
