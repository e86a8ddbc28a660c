/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * native.h: policies as functions of this process. The maps are private anonymous memory that is
 * only touched where it is used, so opening costs two system calls whatever the maps' size.
 */
#ifndef TAIO_USER_POLICY_NATIVE_H
#define TAIO_USER_POLICY_NATIVE_H

#include <stdint.h>

#include "policy/source.h"
#include "taio_policy_native.h"

/* The twins in this library; @index counts up to a NULL. */
const struct taio_native_policy *native_at(unsigned int index);
/* Return: NULL: none of that name. */
const struct taio_native_policy *native_find(const char *name);

/* Runs @twin on maps of its own, or on those of @from (a native source, which @ret_source replaces
 * and which must not be used any more), or on a copy of those of @from (any other source).
 * Return: 0; -EINVAL: a tunable that it has not, or out of range, @why says which; -ENOMEM. */
int native_open(struct policy_source **ret_source, const struct taio_native_policy *twin,
		const struct policy_request *request, struct policy_source *from, char *why,
		size_t why_size);

#endif /* TAIO_USER_POLICY_NATIVE_H */
