/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * machine.h: one policy for the whole machine, below /sys/fs/bpf/taio. Root installs it; engines of
 * any user read its prices, and write what they measure into a slot of their own. Prices, latencies
 * and the control block can only be written by the policy; the rest is treated as hints.
 */
#ifndef TAIO_USER_POLICY_MACHINE_H
#define TAIO_USER_POLICY_MACHINE_H

#include <stddef.h>

#include "policy/source.h"

#define MACHINE_BPFFS     "/sys/fs/bpf"
#define MACHINE_DIRECTORY MACHINE_BPFFS "/taio"

/* Joins it. Return: 0; -ENOENT: there is none (no sentence); -EPERM, -EACCES: not readable;
 * -EBADMSG: of another version; -EMFILE; -EUSERS: all slots are taken; each with a sentence. */
int machine_open(struct policy_source **ret_source, char *why, size_t why_size);

/* What stands there. Return: 0; -ENOENT, -EACCES, -EBADMSG. */
int machine_show(struct taio_policy_info *ret_info, unsigned int *ret_engines);

/* Installs @request, or changes the policy that is installed; what was learnt stays. @say: told
 * what was done besides. Return: 0; -EPERM, -ENOENT, -EBADMSG, -EINVAL, ... with a sentence. */
int machine_install(const struct policy_request *request, void (*say)(const char *line), char *why,
		    size_t why_size);

/* Return: 0; -ENOENT: there is none; -EPERM; with a sentence. */
int machine_uninstall(char *why, size_t why_size);

#endif /* TAIO_USER_POLICY_MACHINE_H */
