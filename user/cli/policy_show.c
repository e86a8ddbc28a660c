/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* policy_show.c: `taio policy list` and `taio policy show`: tables for people, JSON for programs. */
#include "cli/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "policy/admin.h"

struct policy_screen {
	struct table table;
	struct cli_out out;
	unsigned int count; /* of JSON elements */
	int json;
};

static void screen_init(struct policy_screen *screen, const struct policy_args *args,
			unsigned int columns)
{
	memset(screen, 0, sizeof(*screen));
	screen->out.fd = STDOUT_FILENO;
	screen->json = args->json;
	table_init(&screen->table, columns, 0, term_width(STDOUT_FILENO, 100));
}

static int screen_done(struct policy_screen *screen)
{
	if (screen->json)
		out_text(&screen->out, "\n");
	else
		table_print(&screen->table, &screen->out, term_has_color(STDOUT_FILENO));
	return out_done(&screen->out, "policy");
}

/* ---- list ---- */

static void list_json(struct policy_screen *screen, const struct admin_policy *policy)
{
	unsigned int keys = 0, n = 0;

	out_text(&screen->out, screen->count++ ? ",{" : "{");
	json_text(&screen->out, &keys, "name", policy->name);
	json_text(&screen->out, &keys, "text", policy->text);
	json_u64(&screen->out, &keys, "abi", policy->abi);
	json_bool(&screen->out, &keys, "native", policy->native);
	if (policy->path[0])
		json_text(&screen->out, &keys, "object", policy->path);
	json_text(&screen->out, &keys, "hooks", policy->hooks);
	json_key(&screen->out, &keys, "tunables");
	out_text(&screen->out, "[");
	for (; n < TAIO_TUNABLES_MAX && policy->tunables[n].name[0]; n++) {
		const struct taio_tunable *tunable = &policy->tunables[n];

		keys = 0;
		out_text(&screen->out, n ? ",{" : "{");
		json_text(&screen->out, &keys, "name", tunable->name);
		json_u64(&screen->out, &keys, "default", tunable->initial);
		json_u64(&screen->out, &keys, "min", tunable->min);
		json_u64(&screen->out, &keys, "max", tunable->max);
		json_text(&screen->out, &keys, "unit", tunable->unit);
		json_text(&screen->out, &keys, "text", tunable->text);
		out_text(&screen->out, "}");
	}
	out_text(&screen->out, "]}");
}

static void list_each(void *arg, const struct admin_policy *policy)
{
	struct policy_screen *screen = arg;

	if (screen->json) {
		list_json(screen, policy);
		return;
	}
	table_cell(&screen->table, policy->name);
	table_cell(&screen->table, policy->native ? "yes" : "no");
	table_cell(&screen->table, policy->path[0] ? "yes" : "no");
	table_cell(&screen->table, policy->text);
}

int policy_cmd_list(const struct policy_args *args)
{
	struct policy_screen screen;
	int rc;

	screen_init(&screen, args, 4);
	screen.table.flags[0] = TABLE_BOLD;
	if (args->json) {
		out_text(&screen.out, "{\"policies\":[");
	} else {
		table_cell(&screen.table, "POLICY");
		table_cell(&screen.table, "NATIVE");
		table_cell(&screen.table, "OBJECT");
		table_cell(&screen.table, "WHAT IT GOES BY");
	}
	rc = admin_list(list_each, &screen);
	if (rc < 0) {
		cli_error("%s", strerror(-rc));
		return CLI_FAILED;
	}
	if (args->json)
		out_text(&screen.out, "]}");
	return screen_done(&screen);
}

/* ---- show ---- */

static void show_info_json(struct policy_screen *screen, unsigned int *keys,
			   const struct taio_policy_info *info)
{
	json_text(&screen->out, keys, "policy", info->name);
	json_text(&screen->out, keys, "where",
		  info->where == TAIO_POLICY_NATIVE ? "native"
		  : info->where == TAIO_POLICY_BPF  ? "bpf"
						    : "machine");
	json_u64(&screen->out, keys, "abi", info->abi);
	json_u64(&screen->out, keys, "swaps", info->swaps);
	json_u64(&screen->out, keys, "ticks", info->ticks);
	json_u64(&screen->out, keys, "samples", info->samples);
	json_u64(&screen->out, keys, "fallbacks", info->fallbacks);
	if (info->reason[0])
		json_text(&screen->out, keys, "reason", info->reason);
	json_bool(&screen->out, keys, "watched", (int)info->watched);
	if (info->watched) {
		json_u64(&screen->out, keys, "strikes", info->strikes);
		json_u64(&screen->out, keys, "regret_percent", info->regret_percent);
	}
	if (info->canary_permille) {
		json_text(&screen->out, keys, "canary", info->canary);
		json_u64(&screen->out, keys, "canary_permille", info->canary_permille);
	}
}

/* What there is to say of it in a few words: why it runs, what the watchdog thinks, who is on
 * trial. */
static void show_remark(char *text, size_t size, const struct taio_policy_info *info)
{
	size_t used = (size_t)snprintf(text, size, "%s", info->reason);

	if (info->canary_permille && used < size)
		used += (size_t)snprintf(text + used, size - used, "%s%u.%u %% on trial: %s",
					 used ? "; " : "", info->canary_permille / 10,
					 info->canary_permille % 10, info->canary);
	if (info->strikes && used < size)
		used += (size_t)snprintf(text + used, size - used, "%swatchdog: strike %u of 4",
					 used ? "; " : "", info->strikes);
	if (info->regret_percent >= 150 && used < size)
		snprintf(text + used, size - used, "%scosts %u.%u times the built-in's",
			 used ? "; " : "", info->regret_percent / 100,
			 info->regret_percent / 10 % 10);
}

static void show_engine_json(struct policy_screen *screen, const struct admin_engine *engine)
{
	unsigned int keys = 0;

	out_text(&screen->out, screen->count++ ? ",{" : "{");
	json_u64(&screen->out, &keys, "pid", engine->pid);
	json_u64(&screen->out, &keys, "engine", engine->number);
	json_text(&screen->out, &keys, "command", engine->command);
	if (engine->error[0])
		json_text(&screen->out, &keys, "error", engine->error);
	else
		show_info_json(screen, &keys, &engine->info);
	out_text(&screen->out, "}");
}

static void show_each(void *arg, const struct admin_engine *engine)
{
	struct policy_screen *screen = arg;
	const struct taio_policy_info *info = &engine->info;
	char quoted[80], text[CLI_TEXT], remark[320];

	if (screen->json) {
		show_engine_json(screen, engine);
		return;
	}
	screen->count++;
	table_cellf(&screen->table, "%u/%u", engine->pid, engine->number);
	table_cell(&screen->table, cli_quote(quoted, sizeof(quoted), engine->command));
	if (engine->error[0]) {
		for (int i = 0; i < 4; i++)
			table_cell(&screen->table, "-");
		table_cell(&screen->table, engine->error);
		return;
	}
	table_cell(&screen->table, info->name);
	table_cell(&screen->table, policy_where(info->where));
	table_cell(&screen->table, cli_count_text(text, info->swaps));
	table_cell(&screen->table, cli_count_text(text, info->samples));
	show_remark(remark, sizeof(remark), info);
	table_cell(&screen->table, remark);
}

static void show_heading(struct table *table)
{
	static const char *const heading[] = { "ENGINE", "COMMAND", "POLICY", "RUNS",
					       "SWAPS",  "SAMPLES", "REMARK" };

	for (size_t i = 0; i < sizeof(heading) / sizeof(heading[0]); i++)
		table_cell(table, heading[i]);
	table->flags[2] = TABLE_BOLD;
	table->flags[4] = table->flags[5] = TABLE_RIGHT;
	table->flags[6] = TABLE_WRAP | TABLE_DIM;
}

static void show_machine(struct policy_screen *screen)
{
	struct taio_policy_info info;
	unsigned int engines, keys = 0;
	char text[CLI_TEXT];

	if (admin_machine_show(&info, &engines)) {
		if (!screen->json)
			out_text(&screen->out, "machine-wide: none\n");
		return;
	}
	if (screen->json) {
		out_text(&screen->out, "\"machine\":{");
		show_info_json(screen, &keys, &info);
		json_u64(&screen->out, &keys, "engines", engines);
		out_text(&screen->out, "},");
		return;
	}
	out_format(&screen->out, "machine-wide: %s, %u engine%s", info.name, engines,
		   engines == 1 ? "" : "s");
	out_format(&screen->out, ", %s samples", cli_count_text(text, info.samples));
	out_format(&screen->out, ", %s swaps\n", cli_count_text(text, info.swaps));
}

int policy_cmd_show(const struct policy_args *args)
{
	struct policy_screen screen;
	int rc;

	screen_init(&screen, args, 7);
	if (args->json)
		out_text(&screen.out, "{");
	else
		show_heading(&screen.table);
	show_machine(&screen);
	if (args->json)
		out_text(&screen.out, "\"engines\":[");
	rc = admin_engines(show_each, &screen);
	if (rc < 0) {
		cli_error("engines cannot be found: %s", strerror(-rc));
		return CLI_FAILED;
	}
	if (args->json) {
		out_text(&screen.out, "]}");
	} else if (!screen.count) {
		out_text(&screen.out, "engines: none runs\n");
		screen.table.cells = 0;
		screen.table.used = 0;
	}
	return screen_done(&screen);
}
