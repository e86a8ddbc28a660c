/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* policy.h: the parts of `taio policy`; policy.c finds the right one. */
#ifndef TAIO_CLI_POLICY_H
#define TAIO_CLI_POLICY_H

#include <stdint.h>

struct policy_args {
	int json;
	unsigned int permille; /* --canary; 0: no canary */
	uint64_t for_ns;       /* --for */
	unsigned int pid;      /* --engine; 0: all */
	int count;             /* words behind the subcommand */
	char **word;
};

/* Each returns an exit status. */
int policy_cmd_list(const struct policy_args *args);
int policy_cmd_show(const struct policy_args *args);
int policy_cmd_swap(const struct policy_args *args);
int policy_cmd_load(const struct policy_args *args);
int policy_cmd_check(const struct policy_args *args);
int policy_cmd_install(const struct policy_args *args);
int policy_cmd_uninstall(const struct policy_args *args);
int policy_cmd_new(const struct policy_args *args);
int policy_cmd_compare(const struct policy_args *args);
int policy_cmd_promote(const struct policy_args *args);
int policy_cmd_abandon(const struct policy_args *args);

/* swap --canary: @text is the policy as engines are told */
int policy_canary_begin(const struct policy_args *args, const char *text);

/* "natively", "in the kernel", "machine-wide" */
const char *policy_where(unsigned int where);

#endif /* TAIO_CLI_POLICY_H */
