/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy_report.c: what `taio copy` tells: messages, --verbose, --json, the summary.
 */
#include "cli/copy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* a name of PATH_MAX bytes with some of them quoted; longer ones are cut */
#define REPORT_NAME (PATH_MAX + 512)
/* all that can be said about datagrams */
#define REPORT_DATAGRAMS ((TAIO_DROP_COUNT + 3) * 2 * CLI_TEXT)

void copy_say(struct copy *copy, const char *format, ...)
{
	va_list args;

	progress_hide(&copy->progress);
	va_start(args, format);
	cli_verror(format, args);
	va_end(args);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void report_json_steps(struct copy *copy, const struct taio_trace *trace)
{
	struct cli_out *out = &copy->out;

	out_text(out, "[");
	for (uint32_t i = 0; i < trace->used; i++) {
		const struct taio_trace_step *step = &trace->step[i];
		unsigned int count = 0;

		out_text(out, i ? ",{" : "{");
		json_text(out, &count, "step", taio_step_name(step->step));
		json_text(out, &count, "device", taio_device_name(copy->engine, step->device));
		json_text(out, &count, "why", taio_why_name(step->why));
		json_u64(out, &count, "count", step->count);
		json_u64(out, &count, "bytes", step->bytes);
		json_u64(out, &count, "ns", step->ns);
		json_u64(out, &count, "predicted_ns", step->predicted_ns);
		out_text(out, "}");
	}
	out_text(out, "]");
}

/* @event: NULL for what never became a request. */
static void report_json(struct copy *copy, const char *from, const char *to,
			const struct taio_event *event, const struct copy_job *job, int error,
			const char *cause)
{
	const struct taio_trace *trace = job && job->trace.step ? &job->trace : NULL;
	struct cli_out *out = &copy->out;
	struct taio_policy_info policy;
	unsigned int count = 0;

	out_text(out, "{");
	json_text(out, &count, "from", from);
	json_text(out, &count, "to", to ? to : "");
	json_u64(out, &count, "bytes", event ? event->bytes : 0);
	json_u64(out, &count, "ns", event ? event->ns : 0);
	json_i64(out, &count, "result", event ? event->result : error);
	if (cause) {
		json_text(out, &count, "error", cause);
		json_text(out, &count, "failed_step", taio_step_name(event ? event->step : 0));
	}
	if (event && taio_policy_show(copy->engine, &policy, sizeof(policy)) == 0)
		json_text(out, &count, "policy", policy.name);
	if (event)
		json_u64(out, &count, "retries", event->retries);
	if (job)
		datagrams_json(out, &count, &job->counters);
	json_key(out, &count, "steps");
	if (trace)
		report_json_steps(copy, trace);
	else
		out_text(out, "[]");
	out_text(out, "}\n");
	/* whoever reads it wants to see it when it happens */
	out_flush(out);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void report_failure(struct copy *copy, const char *from, const char *to, const char *cause)
{
	char from_name[REPORT_NAME], to_name[REPORT_NAME];

	copy->status = CLI_FAILED;
	if (to)
		copy_say(copy, "copy: %s -> %s: %s", cli_quote(from_name, sizeof(from_name), from),
			 cli_quote(to_name, sizeof(to_name), to), cause);
	else
		copy_say(copy, "copy: %s: %s", cli_quote(from_name, sizeof(from_name), from),
			 cause);
}

void copy_failed(struct copy *copy, const char *from, const char *to, int error, const char *cause)
{
	if (cause == NULL || *cause == '\0')
		cause = strerror(-error);
	report_failure(copy, from, to, cause);
	if (copy->args->json)
		report_json(copy, from, to, NULL, NULL, error, cause);
}

static int report_is_itself(const char *from, const char *to)
{
	struct stat a, b;

	return stat(from, &a) == 0 && stat(to, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int report_is_no_file(const char *name)
{
	struct stat st;

	return stat(name, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

static const char *report_cause(const struct copy_job *job, const struct taio_event *event,
				char *text, size_t size)
{
	const char *more = "";
	size_t used;

	taio_event_text(event, text, size);
	if (event->result == -EISDIR && event->step == TAIO_STEP_OPEN_FROM)
		more = " (-r copies directories)";
	else if (event->result == -EINVAL && event->step == TAIO_STEP_OPEN_TO &&
		 report_is_itself(job->from, job->to))
		more = " (a file is not copied onto itself)";
	else if (event->result == -EBADMSG)
		more = " (not a file of datagrams with their lengths)";
	else if (event->result == -EMSGSIZE && event->step == TAIO_STEP_WRITE)
		more = " (the next datagram is larger than what is left of --length)";
	else if (event->result == -EOPNOTSUPP && event->step == TAIO_STEP_OPEN_FROM &&
		 report_is_no_file(job->from))
		more = " (no file; `taio copy - ... < NAME` reads a FIFO)";
	else if (event->result == -EOPNOTSUPP && event->step == TAIO_STEP_OPEN_TO &&
		 report_is_no_file(job->to))
		more = " (no file; `taio copy ... - > NAME` writes to a FIFO)";
	used = strlen(text);
	snprintf(text + used, size - used, "%s", more);
	return text;
}

static void report_verbose(struct copy *copy, const struct copy_job *job,
			   const struct taio_event *event)
{
	char from_name[REPORT_NAME], to_name[REPORT_NAME];
	char bytes[CLI_TEXT], took[CLI_TEXT], rate[CLI_TEXT], datagrams[REPORT_DATAGRAMS];

	datagrams_text(datagrams, sizeof(datagrams), &job->counters);
	copy_say(copy, "%s -> %s: %s in %s, %s, %s%s%s",
		 cli_quote(from_name, sizeof(from_name), job->from),
		 cli_quote(to_name, sizeof(to_name), job->to), cli_bytes_text(bytes, event->bytes),
		 cli_duration_text(took, event->ns),
		 cli_rate_text(rate, cli_rate(event->bytes, event->ns)),
		 taio_device_name(copy->engine, event->device), datagrams[0] ? "; datagrams: " : "",
		 datagrams);
}

static void report_changed(struct copy *copy, const struct copy_job *job,
			   const struct taio_event *event)
{
	char name[REPORT_NAME];

	if (copy->args->quiet || !(event->flags & (TAIO_EVENT_SHRANK | TAIO_EVENT_GREW)))
		return;
	copy_say(copy, "copy: %s: %s while it was copied", cli_quote(name, sizeof(name), job->from),
		 event->flags & TAIO_EVENT_SHRANK ? "became shorter" : "grew");
}

void copy_report_event(struct copy *copy, const struct copy_job *job,
		       const struct taio_event *event)
{
	const struct taio_trace *trace = job->trace.step ? &job->trace : NULL;
	const char *cause = NULL;
	char text[256];

	if (event->result < 0)
		cause = report_cause(job, event, text, sizeof(text));
	if (cause == NULL) {
		if (copy->args->verbose)
			report_verbose(copy, job, event);
		report_changed(copy, job, event);
	} else if (copy->stop && event->result == -ECANCELED) {
		copy->status = CLI_FAILED;
	} else if (event->result == -EPIPE && copy->target.type == TAIO_EP_FD) {
		/* as any filter: whoever read from us has had enough */
		copy->status = CLI_FAILED;
	} else {
		report_failure(copy, job->from, job->to, cause);
	}
	if (trace)
		explain_add(copy->explain, trace);
	if (copy->args->json)
		report_json(copy, job->from, job->to, event, job, 0, cause);
}

/* ---- summaries ------------------------------------------------------------------------------ */

/* "3 files, 1.20 GiB in 2.50 s (491 MiB/s)" */
static void report_sum(const struct copy *copy, char *text, size_t size)
{
	char files[CLI_TEXT], bytes[CLI_TEXT], took[CLI_TEXT], rate[CLI_TEXT];
	uint64_t ns = copy_now_ns() - copy->start_ns;
	uint64_t moved = copy_moved(copy);

	snprintf(text, size, "%s file%s, %s in %s (%s)", cli_count_text(files, copy->files),
		 copy->files == 1 ? "" : "s", cli_bytes_text(bytes, moved),
		 cli_duration_text(took, ns), cli_rate_text(rate, cli_rate(moved, ns)));
}

void copy_report_status(struct copy *copy)
{
	char sum[4 * CLI_TEXT + 32];

	report_sum(copy, sum, sizeof(sum));
	copy_say(copy, "copy: so far %s", sum);
}

static void report_explain(struct copy *copy)
{
	static const char *const where[] = { "in this process", "BPF, of this process",
					     "BPF, machine-wide" };
	struct cli_out error_out = { .fd = STDERR_FILENO };
	struct cli_out *out = &copy->out;
	struct taio_policy_info policy;
	char sum[4 * CLI_TEXT + 32], datagrams[REPORT_DATAGRAMS];

	if (copy->args->json || copy->target.type == TAIO_EP_FD)
		out = &error_out;
	report_sum(copy, sum, sizeof(sum));
	out_text(out, sum);
	if (taio_policy_show(copy->engine, &policy, sizeof(policy)) == 0) {
		out_format(out, "; policy %s (%s)", policy.name,
			   policy.where < 3 ? where[policy.where] : "?");
		if (policy.swaps)
			out_format(out, ", swapped %llu time%s", (unsigned long long)policy.swaps,
				   policy.swaps == 1 ? "" : "s");
	}
	out_text(out, "\n");
	if (datagrams_text(datagrams, sizeof(datagrams), &copy->counters)[0])
		out_format(out, "datagrams: %s\n", datagrams);
	/* 100 columns at most: lines that the eye can follow */
	explain_print(copy->explain, copy->engine, out,
		      term_width(out->fd, 100) < 100 ? term_width(out->fd, 100) : 100,
		      term_has_color(out->fd));
	out_flush(out);
}

void copy_report_end(struct copy *copy)
{
	const struct copy_args *args = copy->args;
	char sum[4 * CLI_TEXT + 32];

	progress_hide(&copy->progress);
	if (copy->stop) {
		report_sum(copy, sum, sizeof(sum));
		copy_say(copy, "copy: interrupted after %s", sum);
	} else if (!args->quiet && !args->explain && copy->engine &&
		   (args->verbose || copy->progress.drawn)) {
		report_sum(copy, sum, sizeof(sum));
		copy_say(copy, "copied %s", sum);
	}
	if (args->explain && copy->engine)
		report_explain(copy);
}
