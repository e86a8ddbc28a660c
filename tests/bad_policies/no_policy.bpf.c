/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* no_policy: a good BPF object that is no policy. Must be refused. */
#include "bpf_types.h"
#include <bpf/bpf_helpers.h>

const volatile __u32 no_policy_number = 7;

SEC("syscall")
int no_policy(void *context)
{
	(void)context;
	return (int)no_policy_number;
}

char no_policy_license[] SEC("license") = "Dual MIT/GPL";
