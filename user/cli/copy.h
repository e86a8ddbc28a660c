/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy.h: what the files of `taio copy` share: the command line as read, the state of a run.
 */
#ifndef TAIO_CLI_COPY_H
#define TAIO_CLI_COPY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/walk.h"
#include "taio.h"

/* The command line (copy_args.c). Strings are those of argv. */
struct copy_args {
	char **source;
	unsigned int sources;
	const char *target;
	const char *policy, *pin, *forbid;
	uint64_t from_offset, to_offset;
	uint64_t length;                            /* TAIO_TO_END: all */
	uint64_t timeout_ns;                        /* of each request; 0: none */
	uint64_t deadline_ns;                       /* from the start; 0: none */
	uint64_t limit_rate;                        /* bytes per second of all together; 0: none */
	uint64_t limit_packets, datagrams, idle_ns; /* as in struct taio_options */
	uint32_t flags;                             /* enum taio_flag */
	uint32_t engine_flags;
	uint32_t datagram;
	uint32_t jobs; /* requests in flight; 0: what fits the sources */
	uint8_t goal;
	uint8_t priority;
	uint8_t framing; /* enum taio_framing */
	uint8_t recursive, verbose, quiet, explain, json;
	uint8_t help;    /* --help was printed */
	int8_t progress; /* 1: wanted, 0: not, -1: when stderr is a terminal */
};

/* Return: 0, or CLI_USAGE with a message printed; with args->help also 0. */
int copy_args_parse(struct copy_args *args, int argc, char **argv);

/* A directory that was made or met on the way; lives until all below it has ended. */
struct copy_dir {
	struct copy_dir *parent;
	uint32_t pending; /* requests and directories below, and the walk while it is inside */
	uint8_t made;     /* by us */
	uint8_t failed;   /* something below could not be copied */
	mode_t made_mode; /* that it has now */
	struct stat from; /* of its source */
	char path[];      /* of the destination */
};

/* A request in flight. */
struct copy_job {
	char *names; /* "from\0to\0" */
	size_t names_size;
	const char *from, *to;
	struct copy_dir *dir; /* NULL: none */
	uint64_t moved;       /* the engine counts here */
	struct taio_trace trace;
	struct taio_message_counters counters;
	uint32_t next_free;
	uint8_t busy;
};

#define COPY_TRACE_ROWS 64
#define COPY_NO_JOB     UINT32_MAX

struct explain; /* explain.c */

/* Counts what there is to copy, a little at a time, so that the progress line knows the end. */
struct scan {
	struct walk walk;
	unsigned int source; /* the next one */
	uint8_t walking;
	uint8_t unknown; /* a source without an end that can be known */
	uint8_t done;
	uint64_t files, bytes;
};

struct copy {
	const struct copy_args *args;
	struct taio *engine; /* opened when the first request needs it */
	struct copy_job *job;
	uint32_t jobs, in_flight, first_free;
	struct taio_trace_step *rows; /* traces of all jobs, with --explain or --json */
	struct explain *explain;
	struct progress progress;
	struct scan scan;
	struct taio_endpoint target;
	uint8_t target_is_dir;
	mode_t umask;                          /* with --recursive */
	int status;                            /* enum cli_status so far */
	int stop;                              /* the signal that ended the run; 0: none */
	uint64_t start_ns;                     /* of the run */
	uint64_t files;                        /* requests that ended well */
	uint64_t bytes;                        /* of requests that have ended */
	struct taio_message_counters counters; /* likewise */
	char log[160];                         /* the last line of the engine */
	struct cli_out out; /* standard output; the last, for its buffer need not be zeroed */
};

uint64_t copy_now_ns(void);
/* Bytes that have reached their destinations. */
uint64_t copy_moved(const struct copy *copy);

/* copy_jobs.c: requests and events. One source to one destination; waits until there is room for the request. @dir: whose end waits
 * for it, or NULL. Failures are reported and counted here. Return: 0; 1: stop, a signal came. */
int copy_request(struct copy *copy, const struct taio_endpoint *from,
		 const struct taio_endpoint *to, const char *from_text, const char *to_text,
		 struct copy_dir *dir);
/* The same for two paths. */
int copy_paths(struct copy *copy, const char *from, const char *to, struct copy_dir *dir);
/* Takes events. @min: wait for as many. Return: 0; 1: stop, a signal came. */
int copy_turn(struct copy *copy, unsigned int min);
/* Waits for everything in flight. */
void copy_drain(struct copy *copy);
void copy_jobs_close(struct copy *copy);

/* copy_tree.c: the directory @from becomes @to. Return: 0; 1: stop. */
int copy_tree(struct copy *copy, const char *from, const char *to);
/* A symbolic link becomes a link at @to. Return: 0 or negative errno. */
int copy_link(struct copy *copy, const char *from, const char *to);
const char *copy_link_cause(int error); /* NULL: strerror() says it */
/* One thing less is pending below; ends the directory, and those above, with the last. */
void copy_dir_put(struct copy *copy, struct copy_dir *dir, int failed);

/* copy_datagrams.c: what became of datagrams, in words ("3 sent, 1 refused") and as a member of a
 * JSON object; nothing where there were none. */
void datagrams_add(struct taio_message_counters *to, const struct taio_message_counters *add);
const char *datagrams_text(char *text, size_t size, const struct taio_message_counters *counters);
void datagrams_json(struct cli_out *out, unsigned int *count,
		    const struct taio_message_counters *counters);

/* copy_report.c: what is told. A message that takes the progress line out of its way: */
void copy_say(struct copy *copy, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What failed without a request: "FROM -> TO: CAUSE". @to may be NULL; @cause NULL: that of
 * @error, a negative errno. */
void copy_failed(struct copy *copy, const char *from, const char *to, int error, const char *cause);
/* What has ended, well or not. */
void copy_report_event(struct copy *copy, const struct copy_job *job,
		       const struct taio_event *event);
/* One line on how far it is. */
void copy_report_status(struct copy *copy);
/* Summary and explanation, at the end of all. */
void copy_report_end(struct copy *copy);

/* scan.c: goes on for about @budget_ns. */
void scan_run(struct scan *scan, const struct copy_args *args, uint64_t budget_ns);
void scan_close(struct scan *scan);

/* explain.c: the story of all requests together. */
struct explain *explain_open(void);
void explain_close(struct explain *explain);
void explain_add(struct explain *explain, const struct taio_trace *trace);
void explain_print(const struct explain *explain, struct taio *engine, struct cli_out *out,
		   unsigned int width, int color);

/* signals.c: what the user asks a running copy. */
void signals_catch(void);
/* Return: the signal that wants an end, 0: none. */
int signals_stop(void);
/* Was SIGUSR1 or SIGWINCH seen since the last call? */
int signals_status(void);
int signals_resized(void);
/* Ends the process by @signal, as if it had not been caught. Return: only if it is ignored. */
void signals_die(int signal);

#endif /* TAIO_CLI_COPY_H */
