/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy_args.c: the command line of `taio copy` and its help text. Reads and checks; moves nothing.
 */
#include "cli/copy.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char copy_help[] =
	"Usage: taio copy [OPTIONS] SOURCE... DESTINATION\n"
	"\n"
	"A source or destination is\n"
	"  /some/file           a file; several sources go into a directory\n"
	"  -                    standard input or output\n"
	"  HOST:PORT:tcp        a peer: tcp or udp; [::1]:PORT:tcp for IPv6\n"
	"  unix:/path           a Unix socket\n"
	"  listen:HOST:PORT:tcp the first peer that connects; also listen:unix:/path\n"
	"  null:                a destination that throws away\n"
	"  zero:SIZE            a source of zeros\n"
	"  mirror:FILE,FILE     a source with 2 to 4 equal copies, read where it is quickest\n"
	"\n"
	"What is copied\n"
	"  -r, --recursive      directories with all that is in them\n"
	"  -p, --preserve       keep mode, owner and times\n"
	"  -n, --no-clobber     an existing destination is an error\n"
	"      --length SIZE    at most so many bytes\n"
	"      --from-offset SIZE, --to-offset SIZE\n"
	"                       where to start in the source, in the destination\n"
	"      --no-sparse      write the holes of the source as zeros\n"
	"\n"
	"How it is written\n"
	"      --durable        on the disk before it counts as copied (fsync)\n"
	"      --in-place       into the old file, instead of replacing it at the end\n"
	"\n"
	"Datagrams\n"
	"      --datagram N     bytes of each one that is sent (1472)\n"
	"      --framing MODE   in a file or stream: raw (default); length: 4 bytes before each\n"
	"      --datagrams N    receiving ends after so many\n"
	"      --idle TIME      receiving ends when nothing came for so long\n"
	"      --no-end-mark    an empty datagram is no end, and none is sent\n"
	"      --limit-packets N  so many per second at most\n"
	"\n"
	"Which way it goes\n"
	"      --goal GOAL      keep small: latency, throughput (default) or cpu time\n"
	"      --pin LIST       only these of `taio devices` carry bytes: cfr,sendfile\n"
	"      --forbid LIST    these never do\n"
	"      --policy NAME    who chooses: tab, jsq, static or the file of a BPF object\n"
	"      --jobs N         requests at a time (64 in trees)\n"
	"      --no-uring, --no-bpf, --no-cache\n"
	"                       do without io_uring, BPF, the remembered speeds\n"
	"\n"
	"How long it takes\n"
	"      --limit-rate RATE  bytes per second at most: 500K, 10M, 1.5G\n"
	"      --timeout TIME   give a file up after this long: 30, 500ms, 2m\n"
	"      --deadline TIME  tell the policy by when all should be done\n"
	"      --priority N     0 (default) to 7, what goes first\n"
	"\n"
	"What is told\n"
	"  -v, --verbose        each file\n"
	"  -q, --quiet          errors only\n"
	"      --progress, --no-progress\n"
	"                       a progress line (default: on a terminal)\n"
	"      --explain        which device ran each step, how fast, and why\n"
	"      --json           one JSON object per file on standard output\n"
	"  -h, --help           this text\n"
	"\n"
	"Signals: USR1 prints a status line; INT leaves the old destination as it was.\n"
	"Exit status: 0 all was copied, 1 something was not, 2 the command line is wrong.\n";

enum copy_option {
	OPT_PRIORITY = 256,
	OPT_DURABLE,
	OPT_IN_PLACE,
	OPT_PIN,
	OPT_FORBID,
	OPT_GOAL,
	OPT_POLICY,
	OPT_LIMIT_RATE,
	OPT_TIMEOUT,
	OPT_DEADLINE,
	OPT_LENGTH,
	OPT_FROM_OFFSET,
	OPT_TO_OFFSET,
	OPT_DATAGRAM,
	OPT_FRAMING,
	OPT_DATAGRAMS,
	OPT_IDLE,
	OPT_NO_END_MARK,
	OPT_LIMIT_PACKETS,
	OPT_NO_SPARSE,
	OPT_JOBS,
	OPT_PROGRESS,
	OPT_NO_PROGRESS,
	OPT_EXPLAIN,
	OPT_JSON,
	OPT_NO_URING,
	OPT_NO_BPF,
	OPT_NO_CACHE
};

static const struct option copy_options[] = {
	{ "recursive", no_argument, NULL, 'r' },
	{ "preserve", no_argument, NULL, 'p' },
	{ "no-clobber", no_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "help", no_argument, NULL, 'h' },
	{ "durable", no_argument, NULL, OPT_DURABLE },
	{ "in-place", no_argument, NULL, OPT_IN_PLACE },
	{ "pin", required_argument, NULL, OPT_PIN },
	{ "forbid", required_argument, NULL, OPT_FORBID },
	{ "goal", required_argument, NULL, OPT_GOAL },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "limit-rate", required_argument, NULL, OPT_LIMIT_RATE },
	{ "timeout", required_argument, NULL, OPT_TIMEOUT },
	{ "deadline", required_argument, NULL, OPT_DEADLINE },
	{ "priority", required_argument, NULL, OPT_PRIORITY },
	{ "length", required_argument, NULL, OPT_LENGTH },
	{ "from-offset", required_argument, NULL, OPT_FROM_OFFSET },
	{ "to-offset", required_argument, NULL, OPT_TO_OFFSET },
	{ "datagram", required_argument, NULL, OPT_DATAGRAM },
	{ "framing", required_argument, NULL, OPT_FRAMING },
	{ "datagrams", required_argument, NULL, OPT_DATAGRAMS },
	{ "idle", required_argument, NULL, OPT_IDLE },
	{ "no-end-mark", no_argument, NULL, OPT_NO_END_MARK },
	{ "limit-packets", required_argument, NULL, OPT_LIMIT_PACKETS },
	{ "no-sparse", no_argument, NULL, OPT_NO_SPARSE },
	{ "jobs", required_argument, NULL, OPT_JOBS },
	{ "progress", no_argument, NULL, OPT_PROGRESS },
	{ "no-progress", no_argument, NULL, OPT_NO_PROGRESS },
	{ "explain", no_argument, NULL, OPT_EXPLAIN },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "no-uring", no_argument, NULL, OPT_NO_URING },
	{ "no-bpf", no_argument, NULL, OPT_NO_BPF },
	{ "no-cache", no_argument, NULL, OPT_NO_CACHE },
	{ NULL, 0, NULL, 0 },
};

static const char *copy_option_name(int option)
{
	for (const struct option *o = copy_options; o->name; o++) {
		if (o->val == option)
			return o->name;
	}
	return "?";
}

/* Options that are only a bit. Return: 0: it was none. */
static int copy_args_switch(struct copy_args *args, int option)
{
	switch (option) {
	case 'r':
		args->recursive = 1;
		return 1;
	case 'p':
		args->flags |= TAIO_PRESERVE;
		return 1;
	case 'n':
		args->flags |= TAIO_NO_CLOBBER;
		return 1;
	case 'v':
		args->verbose = 1;
		return 1;
	case 'q':
		args->quiet = 1;
		return 1;
	case OPT_DURABLE:
		args->flags |= TAIO_DURABLE;
		return 1;
	case OPT_IN_PLACE:
		args->flags |= TAIO_IN_PLACE;
		return 1;
	case OPT_NO_SPARSE:
		args->flags |= TAIO_NO_SPARSE;
		return 1;
	case OPT_NO_END_MARK:
		args->flags |= TAIO_NO_SHUTDOWN;
		return 1;
	case OPT_PROGRESS:
		args->progress = 1;
		return 1;
	case OPT_NO_PROGRESS:
		args->progress = 0;
		return 1;
	case OPT_EXPLAIN:
		args->explain = 1;
		return 1;
	case OPT_JSON:
		args->json = 1;
		return 1;
	case OPT_NO_URING:
		args->engine_flags |= TAIO_NO_URING;
		return 1;
	case OPT_NO_BPF:
		args->engine_flags |= TAIO_NO_BPF;
		return 1;
	case OPT_NO_CACHE:
		args->engine_flags |= TAIO_NO_CACHE;
		return 1;
	default:
		return 0;
	}
}

static int copy_args_goal(struct copy_args *args, const char *text)
{
	static const char name[][12] = { "latency", "throughput", "cpu" };

	for (uint8_t i = 0; i < 3; i++) {
		if (strcmp(text, name[i]) == 0) {
			args->goal = i; /* the order of enum taio_goal */
			return 0;
		}
	}
	return -EINVAL;
}

_Static_assert(TAIO_GOAL_LATENCY == 0 && TAIO_GOAL_THROUGHPUT == 1 && TAIO_GOAL_CPU == 2,
	       "copy_args_goal() goes by this order");

static int copy_args_framing(struct copy_args *args, const char *text)
{
	static const char name[][8] = { "raw", "length" };

	for (uint8_t i = 0; i < 2; i++) {
		if (strcmp(text, name[i]) == 0) {
			args->framing = i; /* the order of enum taio_framing */
			return 0;
		}
	}
	return -EINVAL;
}

_Static_assert(TAIO_FRAMING_RAW == 0 && TAIO_FRAMING_LENGTH == 1,
	       "copy_args_framing() goes by this order");

/* Options of datagrams with a value, but the first. Return: 0, -EINVAL, -ERANGE. */
static int copy_args_datagrams(struct copy_args *args, int option, const char *text)
{
	int error;

	switch (option) {
	case OPT_FRAMING:
		return copy_args_framing(args, text);
	case OPT_DATAGRAMS:
		error = cli_parse_number(text, UINT32_MAX, &args->datagrams);
		return error == 0 && args->datagrams == 0 ? -ERANGE : error;
	case OPT_IDLE:
		error = cli_parse_duration(text, &args->idle_ns);
		return error == 0 && args->idle_ns == 0 ? -ERANGE : error;
	case OPT_LIMIT_PACKETS:
		error = cli_parse_number(text, UINT32_MAX, &args->limit_packets);
		return error == 0 && args->limit_packets == 0 ? -ERANGE : error;
	default:
		return -EINVAL;
	}
}

/* Options with a value. Return: 0, -EINVAL, -ERANGE. */
static int copy_args_value(struct copy_args *args, int option, const char *text)
{
	uint64_t number = 0;
	int error = 0;

	switch (option) {
	case OPT_PIN:
		args->pin = text;
		return 0;
	case OPT_FORBID:
		args->forbid = text;
		return 0;
	case OPT_POLICY:
		args->policy = text;
		return 0;
	case OPT_GOAL:
		return copy_args_goal(args, text);
	case OPT_LIMIT_RATE:
		return cli_parse_rate(text, &args->limit_rate);
	case OPT_TIMEOUT:
		return cli_parse_duration(text, &args->timeout_ns);
	case OPT_DEADLINE:
		return cli_parse_duration(text, &args->deadline_ns);
	case OPT_LENGTH:
		return cli_parse_size(text, &args->length);
	case OPT_FROM_OFFSET:
		return cli_parse_size(text, &args->from_offset);
	case OPT_TO_OFFSET:
		return cli_parse_size(text, &args->to_offset);
	case OPT_PRIORITY:
		error = cli_parse_number(text, 7, &number);
		args->priority = (uint8_t)number;
		return error;
	case OPT_DATAGRAM:
		error = cli_parse_number(text, 65507, &number);
		args->datagram = (uint32_t)number;
		return error == 0 && number == 0 ? -ERANGE : error;
	case OPT_JOBS:
		error = cli_parse_number(text, 65536, &number);
		args->jobs = (uint32_t)number;
		return error == 0 && number == 0 ? -ERANGE : error;
	default:
		return copy_args_datagrams(args, option, text);
	}
}

/* What getopt_long() did not like, in a sentence with a hint. */
static int copy_args_unknown(int option, char **argv)
{
	/* optopt: the short option or the value of the long one; 0: an unknown long option */
	if (option == ':') {
		if (optopt >= 256)
			return cli_usage_error("copy", "copy: --%s needs a value",
					       copy_option_name(optopt));
		return cli_usage_error("copy", "copy: -%c needs a value", optopt);
	}
	if (optopt >= 256 || (optopt && strncmp(argv[optind - 1], "--", 2) == 0))
		return cli_usage_error("copy", "copy: --%s takes no value",
				       copy_option_name(optopt));
	if (optopt)
		return cli_usage_error("copy", "copy: there is no option -%c", optopt);
	return cli_usage_error("copy", "copy: there is no option %s", argv[optind - 1]);
}

/* Things that are right alone and wrong together. */
static int copy_args_check(const struct copy_args *args)
{
	int part = args->length != TAIO_TO_END || args->from_offset || args->to_offset;

	if (part && (args->sources > 1 || args->recursive))
		return cli_usage_error("copy", "copy: --length and offsets are for one source");
	if (args->json && strcmp(args->target, "-") == 0)
		return cli_usage_error("copy", "copy: --json and the data both want standard "
					       "output");
	if (args->verbose && args->quiet)
		return cli_usage_error("copy", "copy: --verbose or --quiet, not both");
	for (unsigned int i = 0; i < args->sources; i++) {
		if (args->source[i][0] == '\0')
			return cli_usage_error("copy", "copy: an empty name is no source");
	}
	if (args->target[0] == '\0')
		return cli_usage_error("copy", "copy: an empty name is no destination");
	return 0;
}

int copy_args_parse(struct copy_args *args, int argc, char **argv)
{
	int option;

	memset(args, 0, sizeof(*args));
	args->progress = -1;
	args->length = TAIO_TO_END;
	args->goal = TAIO_GOAL_THROUGHPUT;
	opterr = 0;
	while ((option = getopt_long(argc, argv, ":rRpnvqh", copy_options, NULL)) != -1) {
		if (option == 'h') {
			args->help = 1;
			return cli_print_help(copy_help);
		}
		if (option == 'R')
			option = 'r';
		if (option == '?' || option == ':')
			return copy_args_unknown(option, argv);
		if (copy_args_switch(args, option))
			continue;
		if (copy_args_value(args, option, optarg) < 0)
			return cli_usage_error("copy", "copy: '%s' is no value for --%s", optarg,
					       copy_option_name(option));
	}
	if (argc - optind < 1)
		return cli_usage_error("copy", "copy: source and destination are missing");
	if (argc - optind < 2)
		return cli_usage_error("copy", "copy: no destination behind %s", argv[optind]);
	args->source = argv + optind;
	args->sources = (unsigned int)(argc - optind - 1);
	args->target = argv[argc - 1];
	return copy_args_check(args);
}
