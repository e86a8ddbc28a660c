/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * bpf_verdict.h: the one line of a verifier log that says why a program was refused. Private to
 * user/policy.
 */
#ifndef TAIO_USER_POLICY_BPF_VERDICT_H
#define TAIO_USER_POLICY_BPF_VERDICT_H

#include <stddef.h>

/* Writes the verdict, with the place in the source where the kernel names it, or "" if the log has
 * none. */
void bpf_verdict(const char *log, char *ret_line, size_t size);

#endif /* TAIO_USER_POLICY_BPF_VERDICT_H */
