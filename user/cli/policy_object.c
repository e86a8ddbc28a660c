/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* policy_object.c: `taio policy check`, `install` and `uninstall`. */
#include "cli/policy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/cli.h"
#include "policy/admin.h"

/* ---- check ---- */

static void check_tunables(struct cli_out *out, const struct admin_policy *policy)
{
	struct table table;

	if (!policy->tunables[0].name[0]) {
		out_text(out, "  tunables  none\n");
		return;
	}
	out_text(out, "  tunables\n");
	table_init(&table, 5, 4, term_width(STDOUT_FILENO, 100));
	table.flags[1] = TABLE_RIGHT;
	table.flags[4] = TABLE_WRAP;
	table_cell(&table, "NAME");
	table_cell(&table, "DEFAULT");
	table_cell(&table, "RANGE");
	table_cell(&table, "UNIT");
	table_cell(&table, "WHAT IT DOES");
	for (int i = 0; i < TAIO_TUNABLES_MAX && policy->tunables[i].name[0]; i++) {
		const struct taio_tunable *tunable = &policy->tunables[i];

		table_cell(&table, tunable->name);
		table_cellf(&table, "%u", tunable->initial);
		table_cellf(&table, "%u..%u", tunable->min, tunable->max);
		table_cell(&table, tunable->unit);
		table_cell(&table, tunable->text);
	}
	table_print(&table, out, term_has_color(STDOUT_FILENO));
}

static void check_print(struct cli_out *out, const struct admin_policy *policy, int verified)
{
	struct utsname kernel;

	out_format(out, "%s: policy '%s', ABI %u: %s\n", policy->path, policy->name, policy->abi,
		   policy->text);
	out_format(out, "  hooks     %s\n", policy->hooks[0] ? policy->hooks : "none named");
	out_text(out, "  programs ");
	for (int i = 0; i < ADMIN_PROGRAMS; i++) {
		out_format(out, "%s %s %u instructions", i ? "," : "", policy->program[i].name,
			   policy->program[i].insns);
		if (policy->program[i].verified)
			out_format(out, " (%u verified)", policy->program[i].verified);
	}
	out_text(out, "\n");
	check_tunables(out, policy);
	if (verified && uname(&kernel) == 0)
		out_format(out, "  loads on this kernel (%s)\n", kernel.release);
}

int policy_cmd_check(const struct policy_args *args)
{
	struct cli_out out = { .fd = STDOUT_FILENO };
	struct admin_policy policy;
	char why[600];
	int err = admin_check(args->word[0], &policy, why, sizeof(why));

	if (err && err != -EPERM) {
		cli_error("%s", why);
		return CLI_FAILED;
	}
	check_print(&out, &policy, err == 0);
	if (out_done(&out, "policy") != CLI_OK)
		return CLI_FAILED;
	if (err) {
		cli_error("not tried in the kernel: %s", why);
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* ---- install ---- */

static void install_say(const char *line)
{
	cli_error("%s", line);
}

int policy_cmd_install(const struct policy_args *args)
{
	struct cli_out out = { .fd = STDOUT_FILENO };
	char text[PATH_MAX], why[600];
	struct taio_policy_info info;
	unsigned int engines;
	size_t used = 0;

	for (int i = 0; i < args->count; i++) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
					 args->word[i]);
		if (used >= sizeof(text)) {
			cli_error("the command line is too long");
			return CLI_FAILED;
		}
	}
	if (admin_machine_install(text, install_say, why, sizeof(why))) {
		cli_error("%s", why);
		return CLI_FAILED;
	}
	if (admin_machine_show(&info, &engines)) {
		cli_error("the policy was installed but cannot be read back");
		return CLI_FAILED;
	}
	out_format(&out, "machine-wide: %s runs for %u engine%s; new engines take it\n", info.name,
		   engines, engines == 1 ? "" : "s");
	return out_done(&out, "policy");
}

int policy_cmd_uninstall(const struct policy_args *args)
{
	struct cli_out out = { .fd = STDOUT_FILENO };
	char why[600];

	(void)args;
	if (admin_machine_uninstall(why, sizeof(why))) {
		cli_error("%s", why);
		return CLI_FAILED;
	}
	out_text(&out, "the machine-wide policy is removed; engines go on with their own\n");
	return out_done(&out, "policy");
}
