/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * policy.c: `taio policy`: its arguments, and the subcommands that change the policy of running
 * engines. Lists and screens are in policy_show.c, objects and installation in policy_object.c.
 */
#include "cli/policy.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "policy/admin.h"

static const char policy_help[] =
	"Usage: taio policy SUBCOMMAND [ARGUMENTS]\n"
	"\n"
	"A policy prices the devices; the engine takes the cheapest. It can be changed while\n"
	"copies run: what was learnt stays.\n"
	"\n"
	"  list                      the policies that there are\n"
	"  show                      which engines run, and under which policy\n"
	"  swap NAME [KEY=VALUE...]  change the policy of running engines\n"
	"  swap NAME --canary SHARE  try it: it gets a share of the requests (5%), and when the time\n"
	"                            is over the better policy stays\n"
	"  compare                   how a policy on trial does beside the running one\n"
	"  promote, abandon          end a trial now: the new policy stays, or goes\n"
	"  load FILE [KEY=VALUE...]  the same, with a policy object in the kernel\n"
	"  check FILE                try whether an object loads, and say what it is\n"
	"  new NAME                  write NAME.bpf.c, a policy to begin with\n"
	"  install NAME [KEY=VALUE...]\n"
	"                            one policy in the kernel for all engines of the machine (root)\n"
	"  uninstall                 remove it (root)\n"
	"\n"
	"      --engine PID          only the engines of this process\n"
	"      --canary SHARE        swap: share of the requests on trial, 0.1% to 50%\n"
	"      --for TIME            swap --canary: how long (default 10s)\n"
	"      --json                list, show, compare: one JSON object\n"
	"  -h, --help                this text\n"
	"\n"
	"swap and load act on all engines that you may control: your own, all of them as root.\n"
	"KEY=VALUE sets a tunable of the policy; `taio policy check NAME` lists them.\n"
	"New engines take --policy, else $TAIO_POLICY, else the machine-wide policy, else `tab`.\n";

const char *policy_where(unsigned int where)
{
	static const char *const name[] = { "natively", "in the kernel", "machine-wide" };

	return where < 3 ? name[where] : "?";
}

/* ---- swap and load ---- */

struct policy_change {
	const struct policy_args *args;
	char text[PATH_MAX + 512];
	int force_bpf;
	int machine_changed; /* the machine-wide policy is the new one already */
	int machine;         /* there is one */
	unsigned int found, failed;
	struct cli_out out;
};

static void policy_change_engine(void *arg, const struct admin_engine *engine)
{
	struct policy_change *change = arg;
	char answer[600], quoted[80];
	const char *command = engine->command[0] ? engine->command : "?";

	if (change->args->pid && engine->pid != change->args->pid)
		return;
	change->found++;
	command = cli_quote(quoted, sizeof(quoted), command);
	if (!change->args->pid && engine->info.where == TAIO_POLICY_MACHINE && !engine->error[0]) {
		out_format(&change->out, "engine %u/%u (%s): follows the machine-wide policy\n",
			   engine->pid, engine->number, command);
		return;
	}
	if (engine->error[0]) {
		snprintf(answer, sizeof(answer), "%s", engine->error);
	} else if (admin_swap(engine, change->text, change->force_bpf, answer, sizeof(answer)) ==
		   0) {
		out_format(&change->out, "engine %u/%u (%s): %s\n", engine->pid, engine->number,
			   command, answer);
		return;
	}
	change->failed++;
	out_flush(&change->out);
	cli_error("engine %u/%u (%s): %s", engine->pid, engine->number, command, answer);
}

static void policy_say(const char *line)
{
	cli_error("%s", line);
}

static void policy_change_machine(struct policy_change *change)
{
	struct taio_policy_info info;
	unsigned int engines;
	char why[600];

	if (change->args->pid || admin_machine_show(&info, &engines))
		return;
	change->machine = 1;
	change->found++;
	if (admin_machine_install(change->text, policy_say, why, sizeof(why))) {
		change->failed++;
		out_flush(&change->out);
		cli_error("machine-wide: %s", why);
	} else if (admin_machine_show(&info, &engines) == 0) {
		out_format(&change->out, "machine-wide: %s runs for %u engine%s\n", info.name,
			   engines, engines == 1 ? "" : "s");
	}
}

/* The words as one line; a file by its full name, since engines live in other directories. */
static int policy_line(const struct policy_args *args, int force_bpf, char *ret_text, size_t size)
{
	const char *name = args->word[0];
	char found[PATH_MAX], path[PATH_MAX], why[600];
	size_t used, length = strlen(name);

	if (force_bpf || strchr(name, '/') || (length > 2 && !strcmp(name + length - 2, ".o"))) {
		if (admin_find(name, found, sizeof(found), why, sizeof(why))) {
			cli_error("%s", why);
			return -1;
		}
		if (realpath(found, path) == NULL) {
			cli_error("%s: %s", found, strerror(errno));
			return -1;
		}
		name = path;
	}
	used = (size_t)snprintf(ret_text, size, "%s", name);
	for (int i = 1; i < args->count && used < size; i++) {
		if (strchr(args->word[i], '=') == NULL || strchr(args->word[i], ' ')) {
			cli_error("'%s' is not KEY=VALUE", args->word[i]);
			return -1;
		}
		used += (size_t)snprintf(ret_text + used, size - used, " %s", args->word[i]);
	}
	if (used >= size) {
		cli_error("the command line is too long");
		return -1;
	}
	return 0;
}

static int policy_change(const struct policy_args *args, int force_bpf)
{
	struct policy_change change = { .args = args, .force_bpf = force_bpf };
	int rc;

	change.out.fd = STDOUT_FILENO;
	if (policy_line(args, force_bpf, change.text, sizeof(change.text)))
		return CLI_FAILED;
	policy_change_machine(&change);
	rc = admin_engines(policy_change_engine, &change);
	if (rc < 0) {
		cli_error("engines cannot be found: %s", strerror(-rc));
		return CLI_FAILED;
	}
	if (out_done(&change.out, "policy") != CLI_OK)
		return CLI_FAILED;
	if (!change.found) {
		if (args->pid)
			cli_error("process %u has no engine that can be reached", args->pid);
		else
			cli_error("no engine runs, and no machine-wide policy is installed");
		return CLI_FAILED;
	}
	return change.failed ? CLI_FAILED : CLI_OK;
}

static int policy_canary(const struct policy_args *args)
{
	char text[PATH_MAX + 512];

	if (policy_line(args, 0, text, sizeof(text)))
		return CLI_FAILED;
	return policy_canary_begin(args, text);
}

int policy_cmd_swap(const struct policy_args *args)
{
	return args->permille ? policy_canary(args) : policy_change(args, 0);
}

int policy_cmd_load(const struct policy_args *args)
{
	return policy_change(args, 1);
}

/* ---- arguments ---- */

static const struct policy_command {
	char name[12];
	int (*run)(const struct policy_args *args);
	int min, max; /* words behind it */
	const char *missing;
} policy_command[] = {
	{ "list", policy_cmd_list, 0, 0, NULL },
	{ "show", policy_cmd_show, 0, 0, NULL },
	{ "swap", policy_cmd_swap, 1, 17, "the name of a policy" },
	{ "load", policy_cmd_load, 1, 17, "the file of a policy" },
	{ "check", policy_cmd_check, 1, 1, "the file of a policy" },
	{ "install", policy_cmd_install, 1, 17, "the name of a policy" },
	{ "uninstall", policy_cmd_uninstall, 0, 0, NULL },
	{ "new", policy_cmd_new, 1, 1, "the name of the new policy" },
	{ "compare", policy_cmd_compare, 0, 0, NULL },
	{ "promote", policy_cmd_promote, 0, 0, NULL },
	{ "abandon", policy_cmd_abandon, 0, 0, NULL },
};

#define POLICY_FOR_NS 10000000000ULL

/* "5%", "0.5%", "5": percent. Return: 0, -EINVAL. */
static int policy_read_share(const char *text, unsigned int *ret_permille)
{
	unsigned int whole = 0, tenth = 0;
	char end = '\0';

	if (sscanf(text, "%3u.%1u%c", &whole, &tenth, &end) < 2 &&
	    sscanf(text, "%3u%c", &whole, &end) < 1)
		return -EINVAL;
	if ((end != '\0' && end != '%') || text[strspn(text, "0123456789.%")] ||
	    10 * whole + tenth < 1 || 10 * whole + tenth > 500)
		return -EINVAL;
	*ret_permille = 10 * whole + tenth;
	return 0;
}

static int policy_dispatch(const char *name, const struct policy_args *args)
{
	for (size_t i = 0; i < sizeof(policy_command) / sizeof(policy_command[0]); i++) {
		const struct policy_command *command = &policy_command[i];

		if (strcmp(command->name, name) != 0)
			continue;
		if (args->count < command->min)
			return cli_usage_error("policy", "%s: %s is missing", name,
					       command->missing);
		if (args->count > command->max)
			return cli_usage_error("policy", "%s: '%s' is too much", name,
					       args->word[command->max]);
		if (args->permille && command->run != policy_cmd_swap)
			return cli_usage_error("policy", "%s: --canary belongs to swap", name);
		return command->run(args);
	}
	return cli_usage_error("policy", "there is no subcommand '%s'", name);
}

int cli_policy(int argc, char **argv)
{
	static const struct option options[] = { { "help", no_argument, NULL, 'h' },
						 { "json", no_argument, NULL, 'j' },
						 { "engine", required_argument, NULL, 'e' },
						 { "canary", required_argument, NULL, 'c' },
						 { "for", required_argument, NULL, 'f' },
						 { NULL, 0, NULL, 0 } };
	struct policy_args args = { .for_ns = POLICY_FOR_NS };
	uint64_t pid;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			return cli_print_help(policy_help);
		case 'j':
			args.json = 1;
			break;
		case 'e':
			if (cli_parse_number(optarg, INT_MAX, &pid) || pid == 0)
				return cli_usage_error("policy", "'%s' is not a process number",
						       optarg);
			args.pid = (unsigned int)pid;
			break;
		case 'c':
			if (policy_read_share(optarg, &args.permille))
				return cli_usage_error("policy", "'%s' is no share: 0.1%% to 50%%",
						       optarg);
			break;
		case 'f':
			if (cli_parse_duration(optarg, &args.for_ns) || args.for_ns < 1000000)
				return cli_usage_error("policy", "'%s' is not a time", optarg);
			break;
		default:
			return cli_usage_error("policy", "option '%s' is unknown or incomplete",
					       argv[optind - 1]);
		}
	}
	if (optind == argc)
		return cli_usage_error("policy", "a subcommand is missing");
	args.count = argc - optind - 1;
	args.word = argv + optind + 1;
	return policy_dispatch(argv[optind], &args);
}
