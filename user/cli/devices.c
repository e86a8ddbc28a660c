/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * devices.c: `taio devices`: what can carry bytes on this machine, how fast, and why not. Tables
 * for people, one JSON object for programs.
 */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "taio.h"

#define DEVICES_MAX    64 /* masks have as many bits */
#define OPERATIONS_MAX 64

static const char devices_help[] =
	"Usage: taio devices [OPTIONS]\n"
	"\n"
	"Shows the operations, the devices that serve them on this machine, their speed and\n"
	"where that figure comes from, and why a device is not available.\n"
	"\n"
	"  --calibrate    measure first (about a second) and remember\n"
	"  -a, --all      a row for each device on a worker thread too\n"
	"  --json         one JSON object\n"
	"  --no-uring, --no-bpf, --no-cache\n"
	"                 as if io_uring, BPF, the remembered speeds were not there\n"
	"  -h, --help     this text\n"
	"\n"
	"Speed is published (the author's word), calibrated (measured once here) or learnt\n"
	"(from copies made here).\n";

struct devices {
	struct taio *engine;
	struct taio_policy_info policy;
	int devices, operations; /* used elements */
	struct taio_device_info device[DEVICES_MAX];
	struct taio_operation_info operation[OPERATIONS_MAX];
	struct cli_out out;
	int color;
	int all; /* twins on workers are shown as devices of their own */
	unsigned int width;
};

static const char *devices_source(unsigned int source)
{
	static const char *const name[] = { "published", "calibrated", "learnt" };

	return source < 3 ? name[source] : "?";
}

static int devices_available(const struct taio_device_info *info)
{
	return (info->flags & TAIO_DEVICE_AVAILABLE) != 0;
}

/* Is it NAME@worker, the twin of another device? */
static int devices_is_twin(const struct taio_device_info *info)
{
	return strchr(info->name, '@') != NULL;
}

/* The available twin of a device; NULL: it has none. */
static const struct taio_device_info *devices_twin(const struct devices *d,
						   const struct taio_device_info *info)
{
	size_t length = strlen(info->name);

	for (int i = 0; i < d->devices; i++) {
		const struct taio_device_info *twin = &d->device[i];

		if (devices_available(twin) && strncmp(twin->name, info->name, length) == 0 &&
		    twin->name[length] == '@')
			return twin;
	}
	return NULL;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void devices_heading(struct devices *d, const char *text)
{
	out_format(&d->out, "\n%s%s%s\n", d->color ? "\033[1;36m" : "", text,
		   d->color ? "\033[0m" : "");
}

static void devices_print_policy(struct devices *d)
{
	static const char *const where[] = { "in this process", "BPF, of this process",
					     "BPF, machine-wide" };
	const struct taio_policy_info *policy = &d->policy;

	out_format(&d->out, "taio %s, policy %s (%s)\n", taio_version(), policy->name,
		   policy->where < 3 ? where[policy->where] : "?");
	if (policy->reason[0])
		out_format(&d->out, "  %s\n", policy->reason);
}

/* Names of the devices in @mask, with blanks between them; @twins: those on workers too. */
static void devices_names(const struct devices *d, uint64_t mask, int twins, char *text,
			  size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; i < d->devices; i++) {
		size_t length = strlen(d->device[i].name);

		if (!(mask >> d->device[i].number & 1) || used + length + 2 > size ||
		    (devices_is_twin(&d->device[i]) && !twins))
			continue;
		if (used)
			text[used++] = ' ';
		memcpy(text + used, d->device[i].name, length + 1);
		used += length;
	}
}

static void devices_print_operations(struct devices *d)
{
	struct table table;
	char names[DEVICES_MAX * 17];

	devices_heading(d, "Operations");
	table_init(&table, 3, 2, d->width);
	table.flags[2] = TABLE_WRAP;
	table_cell(&table, "OPERATION");
	table_cell(&table, "SUBOPTIONS");
	table_cell(&table, "DEVICES");
	for (int i = 0; i < d->operations; i++) {
		table_cell(&table, d->operation[i].name);
		table_cell(&table, d->operation[i].suboptions);
		devices_names(d, d->operation[i].devices, d->all, names, sizeof(names));
		table_cell(&table, names[0] ? names : "(none here)");
	}
	table_print(&table, &d->out, d->color);
}

/* "4 KiB..1 GiB", "up to 64 KiB", "any" */
static void devices_cell_sizes(struct table *table, const struct taio_device_info *info)
{
	char min[CLI_TEXT], max[CLI_TEXT];
	int has_min = info->min_bytes > 1;
	int has_max = info->max_bytes != 0 && info->max_bytes != UINT64_MAX;

	cli_size_text(min, info->min_bytes);
	cli_size_text(max, info->max_bytes);
	if (has_min && has_max)
		table_cellf(table, "%s..%s", min, max);
	else if (has_max)
		table_cellf(table, "to %s", max);
	else if (has_min)
		table_cellf(table, "from %s", min);
	else
		table_cell(table, "any");
}

static void devices_print_available(struct devices *d)
{
	static const char *const heading[] = { "DEVICE", "BASE",  "SPEED",       "SOURCE",
					       "DEPTH",  "STEPS", "WHAT IT DOES" };
	/* the sentence only where it does not need three lines */
	unsigned int columns = d->width >= 110 ? 7 : 6;
	struct table table;
	char text[CLI_TEXT];
	int twins = 0;

	devices_heading(d, "Devices");
	table_init(&table, columns, 2, d->width);
	table.flags[1] = table.flags[2] = table.flags[4] = TABLE_RIGHT;
	table.flags[3] = TABLE_DIM;
	table.flags[6] = TABLE_DIM | TABLE_WRAP;
	for (unsigned int i = 0; i < columns; i++)
		table_cell(&table, heading[i]);
	for (int i = 0; i < d->devices; i++) {
		const struct taio_device_info *info = &d->device[i];

		if (!devices_available(info) || (devices_is_twin(info) && !d->all))
			continue;
		if (!d->all && devices_twin(d, info)) {
			table_cellf(&table, "%s +", info->name);
			twins = 1;
		} else {
			table_cell(&table, info->name);
		}
		table_cell(&table, cli_duration_text(text, info->base_ns));
		table_cell(&table, info->bytes_per_s ? cli_rate_text(text, info->bytes_per_s) : "");
		table_cell(&table, devices_source(info->source));
		table_cellf(&table, "%u", info->parallel);
		devices_cell_sizes(&table, info);
		if (columns == 7)
			table_cell(&table, info->text);
	}
	table_print(&table, &d->out, d->color);
	if (twins)
		out_text(&d->out, "  + also on a worker thread, as NAME@worker (--all)\n");
}

/* Does a comma-separated list hold this word? */
static int devices_has_pair(const char *pairs, const char *pair, size_t length)
{
	const char *found = pairs;

	while ((found = strstr(found, pair)) != NULL) {
		if ((found == pairs || found[-1] == ',') &&
		    (found[length] == ',' || found[length] == '\0'))
			return 1;
		found += length;
	}
	return 0;
}

/* The devices of one pair, in the order of their numbers. */
static uint64_t devices_of_pair(const struct devices *d, const char *pair)
{
	uint64_t mask = 0;

	for (int i = 0; i < d->devices; i++) {
		if (devices_available(&d->device[i]) &&
		    devices_has_pair(d->device[i].pairs, pair, strlen(pair)))
			mask |= UINT64_C(1) << d->device[i].number;
	}
	return mask;
}

static const char devices_kind[][8] = { "mem",  "file", "stream", "dgram",
					"pipe", "null", "zero",   "mirror" };

#define DEVICES_KINDS (sizeof(devices_kind) / sizeof(devices_kind[0]))

/* Destinations that the same devices serve share a row. */
static void devices_pairs_from(struct devices *d, const char *from, struct table *table)
{
	uint64_t mask[DEVICES_KINDS];
	char names[DEVICES_MAX * 17];
	char text[DEVICES_KINDS * 9];

	for (size_t to = 0; to < DEVICES_KINDS; to++) {
		snprintf(text, sizeof(text), "%s>%s", from, devices_kind[to]);
		mask[to] = devices_of_pair(d, text);
	}
	for (size_t to = 0; to < DEVICES_KINDS; to++) {
		uint64_t same = mask[to];
		size_t used = 0;

		if (same == 0)
			continue;
		for (size_t other = to; other < DEVICES_KINDS; other++) {
			if (mask[other] != same)
				continue;
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
						 used ? " " : "", devices_kind[other]);
			mask[other] = 0;
		}
		devices_names(d, same, d->all, names, sizeof(names));
		table_cell(table, from);
		table_cell(table, text);
		table_cell(table, names);
	}
}

static void devices_print_pairs(struct devices *d)
{
	struct table table;

	devices_heading(d, "Who can carry what");
	table_init(&table, 3, 2, d->width);
	table.flags[2] = TABLE_WRAP;
	table_cell(&table, "FROM");
	table_cell(&table, "TO");
	table_cell(&table, "DEVICES");
	for (size_t from = 0; from < DEVICES_KINDS; from++)
		devices_pairs_from(d, devices_kind[from], &table);
	table_print(&table, &d->out, d->color);
}

static void devices_print_missing(struct devices *d)
{
	struct table table;
	int missing = 0;

	table_init(&table, 2, 2, d->width);
	table.flags[1] = TABLE_WRAP;
	table_cell(&table, "DEVICE");
	table_cell(&table, "WHY NOT");
	for (int i = 0; i < d->devices; i++) {
		const struct taio_device_info *info = &d->device[i];

		if ((devices_available(info) && !(info->flags & TAIO_DEVICE_QUARANTINED)) ||
		    (devices_is_twin(info) && !d->all))
			continue;
		missing = 1;
		table_cell(&table, info->name);
		table_cell(&table, info->reason[0] ? info->reason
				   : info->flags & TAIO_DEVICE_QUARANTINED
					   ? "failed lately, is tried again later"
					   : "it does not say");
	}
	if (missing)
		devices_heading(d, "Not available here");
	else
		free(table.text);
	if (missing)
		table_print(&table, &d->out, d->color);
}

static void devices_print(struct devices *d)
{
	devices_print_policy(d);
	devices_print_operations(d);
	devices_print_available(d);
	devices_print_pairs(d);
	devices_print_missing(d);
}

/* ---- for programs --------------------------------------------------------------------------- */

/* A comma-separated text as an array. */
static void devices_json_list(struct cli_out *out, unsigned int *count, const char *key,
			      const char *list)
{
	unsigned int words = 0;
	char word[64];

	json_key(out, count, key);
	out_text(out, "[");
	while (*list) {
		size_t length = strcspn(list, ",");

		if (length > 0 && length < sizeof(word)) {
			memcpy(word, list, length);
			word[length] = '\0';
			if (words++)
				out_text(out, ",");
			json_string(out, word);
		}
		list += length;
		list += *list == ',';
	}
	out_text(out, "]");
}

static void devices_json_device(struct cli_out *out, const struct taio_device_info *info)
{
	unsigned int count = 0;

	out_text(out, "{");
	json_u64(out, &count, "number", info->number);
	json_text(out, &count, "name", info->name);
	json_text(out, &count, "text", info->text);
	json_bool(out, &count, "available", devices_available(info));
	json_text(out, &count, "reason", info->reason);
	devices_json_list(out, &count, "pairs", info->pairs);
	json_u64(out, &count, "base_ns", info->base_ns);
	json_u64(out, &count, "bytes_per_s", info->bytes_per_s);
	json_text(out, &count, "source", devices_source(info->source));
	json_u64(out, &count, "min_bytes", info->min_bytes);
	json_u64(out, &count, "max_bytes", info->max_bytes);
	json_u64(out, &count, "parallel", info->parallel);
	json_u64(out, &count, "align", info->align);
	json_bool(out, &count, "blocking", (info->flags & TAIO_DEVICE_BLOCKING) != 0);
	json_bool(out, &count, "async", (info->flags & TAIO_DEVICE_ASYNC) != 0);
	json_bool(out, &count, "zero_copy", (info->flags & TAIO_DEVICE_ZERO_COPY) != 0);
	json_bool(out, &count, "quarantined", (info->flags & TAIO_DEVICE_QUARANTINED) != 0);
	out_text(out, "}");
}

static void devices_json(struct devices *d)
{
	static const char *const where[] = { "native", "bpf", "machine" };
	struct cli_out *out = &d->out;
	char names[DEVICES_MAX * 17];
	unsigned int count = 0, inner = 0;

	out_text(out, "{");
	json_text(out, &count, "version", taio_version());
	json_key(out, &count, "policy");
	out_text(out, "{");
	json_text(out, &inner, "name", d->policy.name);
	json_text(out, &inner, "where", d->policy.where < 3 ? where[d->policy.where] : "?");
	json_text(out, &inner, "reason", d->policy.reason);
	out_text(out, "}");
	json_key(out, &count, "operations");
	out_text(out, "[");
	for (int i = 0; i < d->operations; i++) {
		inner = 0;
		out_text(out, i ? ",{" : "{");
		json_text(out, &inner, "name", d->operation[i].name);
		devices_json_list(out, &inner, "suboptions", d->operation[i].suboptions);
		devices_names(d, d->operation[i].devices, 1, names, sizeof(names));
		for (char *c = names; *c; c++)
			*c = *c == ' ' ? ',' : *c;
		devices_json_list(out, &inner, "devices", names);
		out_text(out, "}");
	}
	out_text(out, "]");
	json_key(out, &count, "devices");
	out_text(out, "[");
	for (int i = 0; i < d->devices; i++) {
		out_text(out, i ? "," : "");
		devices_json_device(out, &d->device[i]);
	}
	out_text(out, "]}\n");
}

/* ---- the whole ------------------------------------------------------------------------------ */

struct devices_args {
	uint32_t flags; /* enum taio_engine_flag */
	int json, calibrate, all, help;
};

static int devices_args_parse(struct devices_args *args, int argc, char **argv)
{
	enum {
		OPT_JSON = 256,
		OPT_CALIBRATE,
		OPT_NO_URING,
		OPT_NO_BPF,
		OPT_NO_CACHE
	};
	static const struct option options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "calibrate", no_argument, NULL, OPT_CALIBRATE },
		{ "all", no_argument, NULL, 'a' },
		{ "no-uring", no_argument, NULL, OPT_NO_URING },
		{ "no-bpf", no_argument, NULL, OPT_NO_BPF },
		{ "no-cache", no_argument, NULL, OPT_NO_CACHE },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "ah", options, NULL)) != -1) {
		switch (option) {
		case OPT_JSON:
			args->json = 1;
			break;
		case 'a':
			args->all = 1;
			break;
		case OPT_CALIBRATE:
			args->calibrate = 1;
			break;
		case OPT_NO_URING:
			args->flags |= TAIO_NO_URING;
			break;
		case OPT_NO_BPF:
			args->flags |= TAIO_NO_BPF;
			break;
		case OPT_NO_CACHE:
			args->flags |= TAIO_NO_CACHE;
			break;
		case 'h':
			args->help = 1;
			return cli_print_help(devices_help);
		default:
			return cli_usage_error("devices", "devices: there is no option %s",
					       argv[optind - 1]);
		}
	}
	if (optind < argc)
		return cli_usage_error("devices", "devices: takes no arguments, '%s' is one",
				       argv[optind]);
	return 0;
}

/* Asks the engine. Return: an exit status. */
static int devices_ask(struct devices *d, const struct devices_args *args)
{
	struct taio_engine_options options = { .size = sizeof(options), .requests = 8 };
	int error;

	options.flags = args->flags | TAIO_NO_CONTROL;
	error = taio_open(&d->engine, &options);
	if (error) {
		cli_error("devices: cannot start: %s", strerror(-error));
		return CLI_FAILED;
	}
	error = args->calibrate ? taio_calibrate(d->engine) : 0;
	if (error) {
		cli_error("devices: calibration: %s", strerror(-error));
		return CLI_FAILED;
	}
	taio_policy_show(d->engine, &d->policy, sizeof(d->policy));
	d->devices = taio_devices(d->engine, d->device, sizeof(d->device[0]), DEVICES_MAX);
	d->operations =
		taio_operations(d->engine, d->operation, sizeof(d->operation[0]), OPERATIONS_MAX);
	if (d->devices < 0 || d->operations < 0) {
		cli_error("devices: %s", strerror(d->devices < 0 ? -d->devices : -d->operations));
		return CLI_FAILED;
	}
	if (d->devices > DEVICES_MAX)
		d->devices = DEVICES_MAX;
	if (d->operations > OPERATIONS_MAX)
		d->operations = OPERATIONS_MAX;
	return CLI_OK;
}

int cli_devices(int argc, char **argv)
{
	struct devices_args args = { .flags = 0 };
	struct devices *d;
	int status = devices_args_parse(&args, argc, argv);

	if (status != 0 || args.help)
		return status;
	d = calloc(1, sizeof(*d));
	if (d == NULL) {
		cli_error("devices: %s", strerror(ENOMEM));
		return CLI_FAILED;
	}
	d->out.fd = STDOUT_FILENO;
	d->color = term_has_color(STDOUT_FILENO);
	d->all = args.all;
	d->width = term_width(STDOUT_FILENO, 100);
	status = devices_ask(d, &args);
	if (status == CLI_OK) {
		if (args.json)
			devices_json(d);
		else
			devices_print(d);
		status = out_done(&d->out, "devices");
	}
	taio_close(d->engine);
	free(d);
	return status;
}
