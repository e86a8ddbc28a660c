/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_source.h: prices from an object that this process loaded, and what the machine-wide source
 * has in common with it. Private to user/policy.
 */
#ifndef TAIO_USER_POLICY_BPF_SOURCE_H
#define TAIO_USER_POLICY_BPF_SOURCE_H

#include "policy/bpf_object.h"
#include "policy/source.h"

/* The maps of an object, mapped. */
struct bpf_view {
	void *at[OBJECT_MAPS];
	size_t length[OBJECT_MAPS];
};

/* Maps those maps that engines need and that there are (descriptor not -1). @engines: elements of taio_engine. @readonly: by object
 * number, a mask of those that are frozen. Return: 0 or negative errno, nothing left behind. */
int bpf_view_open(struct bpf_view *ret_view, const int *map, uint32_t engines, uint32_t readonly);
void bpf_view_close(struct bpf_view *view);
void bpf_view_maps(const struct bpf_view *view, struct taio_maps *ret_maps);

/* Runs taio_start, which may have to wait for a tick to end. Return: 0 or negative errno. */
int bpf_start(int prog_fd);

/* Has an engine something for the program taio_tick? */
int bpf_tick_is_due(const struct taio_maps *maps, int urgent);

/* Makes @object (taken over, also on failure) the one that prices. @from: the running source: if it
 * is of this kind and @object was loaded on its maps, it goes on under the new policy and comes back
 * as @ret_source; any other source is only copied from. */
int bpf_source_open(struct policy_source **ret_source, struct policy_object *object,
		    struct policy_source *from, char *why, size_t why_size);

/* The maps of a source of this kind, for object_load(); NULL: it is of another kind. */
const int *bpf_source_reuse(const struct policy_source *source);

#endif /* TAIO_USER_POLICY_BPF_SOURCE_H */
