/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* policy_canary.c: `taio policy swap --canary`, `compare`, `promote` and `abandon`: a policy on trial
 * beside the one that runs, in engines that are at work. */
#include "cli/policy.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "policy/admin.h"

#define CANARY_ENGINES 256  /* that are waited for */
#define CANARY_LATE_MS 3000 /* an engine that sleeps decides when it wakes up */

struct canary_work {
	const struct policy_args *args;
	const char *text; /* the policy, to begin a trial */
	int promote;      /* to end one */
	unsigned int found, failed, count;
	struct admin_engine engine[CANARY_ENGINES]; /* in which one was begun */
	struct cli_out out;
};

static const char *canary_name(char *quoted, size_t size, const struct admin_engine *engine)
{
	return cli_quote(quoted, size, engine->command[0] ? engine->command : "?");
}

static int canary_is_meant(struct canary_work *work, const struct admin_engine *engine)
{
	if (work->args->pid && engine->pid != work->args->pid)
		return 0;
	work->found++;
	return 1;
}

static void canary_complain(struct canary_work *work, const struct admin_engine *engine,
			    const char *sentence)
{
	char quoted[80];

	work->failed++;
	out_flush(&work->out);
	cli_error("engine %u/%u (%s): %s", engine->pid, engine->number,
		  canary_name(quoted, sizeof(quoted), engine), sentence);
}

static void canary_answer(struct canary_work *work, const struct admin_engine *engine,
			  const char *answer)
{
	char quoted[80];

	out_format(&work->out, "engine %u/%u (%s): %s\n", engine->pid, engine->number,
		   canary_name(quoted, sizeof(quoted), engine), answer);
}

static int canary_end(struct canary_work *work)
{
	if (out_done(&work->out, "policy") != CLI_OK)
		return CLI_FAILED;
	if (!work->found) {
		cli_error(work->args->pid ? "process %u has no engine that can be reached"
					  : "no engine runs",
			  work->args->pid);
		return CLI_FAILED;
	}
	return work->failed ? CLI_FAILED : CLI_OK;
}

/* ---- the comparison ---- */

static void canary_cells(struct table *table, const struct taio_policy_comparison *row, int side)
{
	char text[CLI_TEXT];

	table_cell(table, cli_count_text(text, row->requests[side]));
	if (!row->requests[side]) {
		table_cell(table, "-");
		table_cell(table, "-");
		return;
	}
	table_cell(table, cli_duration_text(text, row->mean_ns[side]));
	table_cell(table, cli_duration_text(text, row->p99_ns[side]));
}

static void canary_table(struct cli_out *out, const struct admin_comparison *comparison)
{
	struct table table;
	char text[CLI_TEXT];

	table_init(&table, 7, 2, term_width(STDOUT_FILENO, 100));
	for (int i = 1; i < 7; i++)
		table.flags[i] = TABLE_RIGHT;
	table_cell(&table, "FROM");
	for (int side = 0; side < 2; side++) {
		table_cell(&table, comparison->name[side]);
		table_cell(&table, "MEAN");
		table_cell(&table, "P99");
	}
	for (unsigned int i = 0; i < comparison->rows; i++) {
		table_cell(&table, cli_size_text(text, comparison->row[i].bytes));
		canary_cells(&table, &comparison->row[i], 0);
		canary_cells(&table, &comparison->row[i], 1);
	}
	table_print(&table, out, term_has_color(STDOUT_FILENO));
}

static void canary_print(struct canary_work *work, const struct admin_engine *engine,
			 const struct admin_comparison *comparison)
{
	char quoted[80];

	out_format(&work->out,
		   "engine %u/%u (%s): %s %s, with %u.%u %% of the requests beside %s: %s\n",
		   engine->pid, engine->number, canary_name(quoted, sizeof(quoted), engine),
		   comparison->name[1], comparison->runs ? "is on trial" : "was on trial",
		   comparison->permille / 10, comparison->permille % 10, comparison->name[0],
		   comparison->verdict);
	if (comparison->failed[0] + comparison->failed[1])
		out_format(&work->out, "  failed: %llu under %s, %llu under %s\n",
			   (unsigned long long)comparison->failed[0], comparison->name[0],
			   (unsigned long long)comparison->failed[1], comparison->name[1]);
	if (comparison->rows)
		canary_table(&work->out, comparison);
}

static void canary_json_side(struct cli_out *out, const struct admin_comparison *comparison,
			     int side)
{
	unsigned int keys = 0;

	out_text(out, side ? ",{" : "{");
	json_text(out, &keys, "policy", comparison->name[side]);
	json_u64(out, &keys, "failed", comparison->failed[side]);
	json_key(out, &keys, "classes");
	out_text(out, "[");
	for (unsigned int i = 0; i < comparison->rows; i++) {
		keys = 0;
		out_text(out, i ? ",{" : "{");
		json_u64(out, &keys, "from_bytes", comparison->row[i].bytes);
		json_u64(out, &keys, "requests", comparison->row[i].requests[side]);
		json_u64(out, &keys, "mean_ns", comparison->row[i].mean_ns[side]);
		json_u64(out, &keys, "p99_ns", comparison->row[i].p99_ns[side]);
		out_text(out, "}");
	}
	out_text(out, "]}");
}

static void canary_json(struct canary_work *work, const struct admin_engine *engine,
			const struct admin_comparison *comparison)
{
	unsigned int keys = 0;

	out_text(&work->out, work->count++ ? ",{" : "{");
	json_u64(&work->out, &keys, "pid", engine->pid);
	json_u64(&work->out, &keys, "engine", engine->number);
	json_text(&work->out, &keys, "command", engine->command);
	json_bool(&work->out, &keys, "runs", comparison->runs);
	json_u64(&work->out, &keys, "permille", comparison->permille);
	json_u64(&work->out, &keys, "left_ms", comparison->left_ms);
	json_text(&work->out, &keys, "verdict", comparison->verdict);
	json_key(&work->out, &keys, "sides");
	out_text(&work->out, "[");
	canary_json_side(&work->out, comparison, 0);
	canary_json_side(&work->out, comparison, 1);
	out_text(&work->out, "]}");
}

static void canary_compare_engine(void *arg, const struct admin_engine *engine)
{
	struct admin_comparison comparison;
	struct canary_work *work = arg;
	char why[600] = "";

	if (!canary_is_meant(work, engine))
		return;
	if (engine->error[0] || admin_compare(engine, &comparison, why, sizeof(why)))
		canary_complain(work, engine, engine->error[0] ? engine->error : why);
	else if (work->args->json)
		canary_json(work, engine, &comparison);
	else
		canary_print(work, engine, &comparison);
}

int policy_cmd_compare(const struct policy_args *args)
{
	static struct canary_work work;

	work.args = args;
	work.out.fd = STDOUT_FILENO;
	if (args->json)
		out_text(&work.out, "{\"engines\":[");
	(void)admin_engines(canary_compare_engine, &work);
	if (args->json)
		out_text(&work.out, "]}\n");
	return canary_end(&work);
}

/* ---- the end of a trial ---- */

static void canary_decide_engine(void *arg, const struct admin_engine *engine)
{
	struct admin_comparison comparison;
	struct canary_work *work = arg;
	char answer[600] = "";

	if (work->args->pid && engine->pid != work->args->pid)
		return;
	/* Without a process number all engines are meant that try something. */
	if (!work->args->pid && !engine->info.canary_permille)
		return;
	work->found++;
	if (engine->error[0] || admin_decide(engine, work->promote, answer, sizeof(answer))) {
		canary_complain(work, engine, engine->error[0] ? engine->error : answer);
		return;
	}
	canary_answer(work, engine, answer);
	if (admin_compare(engine, &comparison, answer, sizeof(answer)) == 0)
		canary_print(work, engine, &comparison);
}

static int canary_decide(const struct policy_args *args, int promote)
{
	static struct canary_work work;

	work.args = args;
	work.promote = promote;
	work.out.fd = STDOUT_FILENO;
	(void)admin_engines(canary_decide_engine, &work);
	if (!work.found && !args->pid) {
		cli_error("no policy is on trial in an engine that you may control");
		return CLI_FAILED;
	}
	return canary_end(&work);
}

int policy_cmd_promote(const struct policy_args *args)
{
	return canary_decide(args, 1);
}

int policy_cmd_abandon(const struct policy_args *args)
{
	return canary_decide(args, 0);
}

/* ---- swap --canary ---- */

static void canary_begin_engine(void *arg, const struct admin_engine *engine)
{
	struct canary_work *work = arg;
	char answer[600];

	if (!canary_is_meant(work, engine))
		return;
	if (engine->error[0]) {
		canary_complain(work, engine, engine->error);
		return;
	}
	if (!work->args->pid && engine->info.where == TAIO_POLICY_MACHINE) {
		canary_answer(work, engine,
			      "follows the machine-wide policy; --engine tries it in one process");
		return;
	}
	if (admin_canary(engine, work->text, work->args->permille, work->args->for_ns / 1000000,
			 answer, sizeof(answer))) {
		canary_complain(work, engine, answer);
		return;
	}
	canary_answer(work, engine, answer);
	if (work->count < CANARY_ENGINES)
		work->engine[work->count++] = *engine;
}

static void canary_sleep(uint64_t ns)
{
	struct timespec time = { .tv_sec = (time_t)(ns / 1000000000),
				 .tv_nsec = (long)(ns % 1000000000) };

	while (nanosleep(&time, &time) && errno == EINTR)
		;
}

/* Waits until one has been decided on, and prints how it went. */
static void canary_result(struct canary_work *work, const struct admin_engine *engine)
{
	struct admin_comparison comparison;
	char why[600] = "";
	int rc;

	for (unsigned int ms = 0; ms < CANARY_LATE_MS; ms += 100) {
		rc = admin_compare(engine, &comparison, why, sizeof(why));
		if (rc || !comparison.runs)
			break;
		canary_sleep(100000000);
	}
	if (rc)
		canary_complain(work, engine, why);
	else
		canary_print(work, engine, &comparison);
}

int policy_canary_begin(const struct policy_args *args, const char *text)
{
	static struct canary_work work;

	work.args = args;
	work.text = text;
	work.out.fd = STDOUT_FILENO;
	(void)admin_engines(canary_begin_engine, &work);
	if (work.count) {
		out_flush(&work.out);
		canary_sleep(args->for_ns);
	}
	for (unsigned int i = 0; i < work.count; i++)
		canary_result(&work, &work.engine[i]);
	return canary_end(&work);
}
