/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * main.c: the command `taio`: finds the subcommand. What a subcommand does is in its own file.
 */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

#include "taio.h"

static const char main_help[] =
	"taio copies anything to anything and chooses the fastest way by measurement.\n"
	"\n"
	"Usage: taio COMMAND [ARGUMENTS]\n"
	"\n"
	"  copy      copy files, trees, sockets, pipes\n"
	"  devices   show what can carry bytes on this machine, how fast, and why not\n"
	"  policy    show, load and swap the policy that chooses between devices\n"
	"  help      show the help of a command\n"
	"\n"
	"Examples:\n"
	"  taio copy disk.img /backup/              a file into a directory\n"
	"  taio copy -r photos /backup/             a tree\n"
	"  taio copy disk.img 192.168.0.1:9000:tcp  a file to whatever listens there\n"
	"  taio copy --explain disk.img /backup/    and say which way was taken, and why\n"
	"  taio devices                             what works here\n"
	"\n"
	"Exit status: 0 all was done, 1 something failed, 2 the command line is wrong.\n"
	"`taio COMMAND --help` tells more; so do taio(1) and taio(7).\n";

static const struct main_command {
	char name[8];
	int (*run)(int argc, char **argv);
} main_command[] = {
	{ "copy", cli_copy },
	{ "devices", cli_devices },
	{ "policy", cli_policy },
};

static const struct main_command *main_find(const char *name)
{
	for (size_t i = 0; i < sizeof(main_command) / sizeof(main_command[0]); i++) {
		if (strcmp(main_command[i].name, name) == 0)
			return &main_command[i];
	}
	return NULL;
}

/* `taio help`, `taio help COMMAND` */
static int main_show_help(int argc, char **argv)
{
	static char option[] = "--help";
	char *args[] = { argc > 1 ? argv[1] : NULL, option, NULL };
	const struct main_command *command;

	if (argc < 2)
		return cli_print_help(main_help);
	command = main_find(argv[1]);
	if (command == NULL)
		return cli_usage_error("", "help: there is no command '%s'", argv[1]);
	return command->run(2, args);
}

static int main_show_version(void)
{
	struct cli_out out = { .fd = STDOUT_FILENO };

	out_format(&out, "taio %s\n", taio_version());
	return out_done(&out, "version");
}

int main(int argc, char **argv)
{
	const struct main_command *command;
	const char *name = argc > 1 ? argv[1] : "";

	command = main_find(name);
	if (command != NULL)
		return command->run(argc - 1, argv + 1);
	if (strcmp(name, "help") == 0)
		return main_show_help(argc - 1, argv + 1);
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return cli_print_help(main_help);
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
		return main_show_version();
	if (*name == '\0')
		return cli_usage_error("", "a command is missing");
	return cli_usage_error("", "there is no command or option '%s'", name);
}
