/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy_jobs.c: the requests of `taio copy`: the engine, room for those in flight, events, and what
 * has to be looked at meanwhile (signals, the progress line, the rate).
 */
#include "cli/copy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define COPY_EVENTS    64
#define COPY_TREE_JOBS 64
#define COPY_BATCH     16 /* requests that are prepared before the engine runs */
/* descriptors of a request: source, destination, directory */
#define COPY_JOB_FDS   3
#define COPY_OTHER_FDS 64
/* the longest sleep: a signal that comes just before it is seen after it */
#define COPY_NAP_NS 200000000ull
/* part of the time that may go into counting what there is to copy */
#define COPY_SCAN_NS (PROGRESS_REDRAW_NS / 10)

uint64_t copy_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t copy_moved(const struct copy *copy)
{
	uint64_t moved = copy->bytes;

	for (uint32_t i = 0; i < copy->jobs && copy->in_flight; i++) {
		if (copy->job[i].busy)
			moved += __atomic_load_n(&copy->job[i].moved, __ATOMIC_RELAXED);
	}
	return moved;
}

/* ---- the engine ----------------------------------------------------------------------------- */

static uint32_t copy_job_count(const struct copy_args *args)
{
	struct rlimit limit;
	uint64_t jobs = COPY_TREE_JOBS;

	if (args->jobs)
		return args->jobs;
	/* with a rate for all together they go one by one */
	if ((args->sources == 1 && !args->recursive) || args->limit_rate || args->limit_packets)
		return 1;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		uint64_t free_fds =
			limit.rlim_cur > COPY_OTHER_FDS ? limit.rlim_cur - COPY_OTHER_FDS : 0;

		if (jobs > free_fds / COPY_JOB_FDS)
			jobs = free_fds / COPY_JOB_FDS;
	}
	if (!args->recursive && jobs > args->sources)
		jobs = args->sources;
	return jobs ? (uint32_t)jobs : 1;
}

static void copy_log(void *arg, const char *line)
{
	struct copy *copy = arg;

	if (copy->args->verbose || copy->args->explain)
		copy_say(copy, "%s", line);
	snprintf(copy->log, sizeof(copy->log), "%s", line);
}

/* Says which name of --pin or --forbid no device has. Return: 1: it was that. */
static int copy_unknown_device(struct copy *copy, const char *option, const char *names)
{
	struct taio_engine_options options = { .size = sizeof(options), .requests = 1 };
	struct taio *engine;
	uint64_t mask;
	int error;

	options.flags = TAIO_NO_URING | TAIO_NO_BPF | TAIO_NO_CACHE | TAIO_NO_CONTROL;
	if (names == NULL || taio_open(&engine, &options) < 0)
		return 0;
	error = taio_device_mask(engine, names, &mask);
	taio_close(engine);
	if (error == 0)
		return 0;
	copy_say(copy, "copy: --%s %s: there is no device of this name (`taio devices` lists them)",
		 option, names);
	return 1;
}

static int copy_open_failed(struct copy *copy, int error)
{
	const struct copy_args *args = copy->args;

	copy->status = CLI_FAILED;
	if (error == -EINVAL && (copy_unknown_device(copy, "pin", args->pin) ||
				 copy_unknown_device(copy, "forbid", args->forbid)))
		copy->status = CLI_USAGE;
	else if (args->policy && copy->log[0])
		copy_say(copy, "copy: --policy %s: %s", args->policy, copy->log);
	else if (args->policy && error == -ENOENT)
		copy_say(copy, "copy: --policy %s: there is no such policy", args->policy);
	else if (copy->log[0])
		copy_say(copy, "copy: %s", copy->log);
	else
		copy_say(copy, "copy: cannot start: %s", strerror(-error));
	return 1;
}

static int copy_jobs_open(struct copy *copy)
{
	uint32_t jobs = copy_job_count(copy->args);
	int traced = copy->args->explain || copy->args->json;

	copy->job = calloc(jobs, sizeof(*copy->job));
	if (copy->job == NULL)
		return -ENOMEM;
	copy->jobs = jobs;
	if (traced) {
		copy->rows = calloc((size_t)jobs * COPY_TRACE_ROWS, sizeof(*copy->rows));
		copy->explain = explain_open();
		if (copy->rows == NULL || copy->explain == NULL)
			return -ENOMEM;
	}
	for (uint32_t i = 0; i < jobs; i++) {
		copy->job[i].next_free = i + 1 < jobs ? i + 1 : COPY_NO_JOB;
		if (traced)
			copy->job[i].trace.step = copy->rows + (size_t)i * COPY_TRACE_ROWS;
	}
	copy->first_free = 0;
	return 0;
}

/* A policy that was asked for and is not the one that runs is worth a line. */
static void copy_check_policy(struct copy *copy)
{
	struct taio_policy_info info;

	if (taio_policy_show(copy->engine, &info, sizeof(info)) == 0 && info.reason[0])
		copy_say(copy, "copy: --policy %s: %s", copy->args->policy, info.reason);
}

/* Return: 0; 1: it cannot be, a message was printed. */
static int copy_open(struct copy *copy)
{
	const struct copy_args *args = copy->args;
	struct taio_engine_options options = { .size = sizeof(options) };
	int error = copy_jobs_open(copy);

	if (error)
		return copy_open_failed(copy, error);
	options.requests = copy->jobs;
	options.flags = TAIO_MAY_BLOCK | args->engine_flags;
	options.policy = args->policy;
	options.pin = args->pin;
	options.forbid = args->forbid;
	options.log = copy_log;
	options.arg = copy;
	error = taio_open(&copy->engine, &options);
	if (error) {
		copy->engine = NULL;
		return copy_open_failed(copy, error);
	}
	if (args->policy && !args->quiet)
		copy_check_policy(copy);
	return 0;
}

void copy_jobs_close(struct copy *copy)
{
	taio_close(copy->engine);
	copy->engine = NULL;
	for (uint32_t i = 0; i < copy->jobs; i++)
		free(copy->job[i].names);
	free(copy->job);
	free(copy->rows);
	explain_close(copy->explain);
	scan_close(&copy->scan);
	copy->job = NULL;
	copy->jobs = 0;
}

/* ---- events --------------------------------------------------------------------------------- */

static void copy_job_put(struct copy *copy, struct copy_job *job)
{
	job->busy = 0;
	job->next_free = copy->first_free;
	copy->first_free = (uint32_t)(job - copy->job);
}

static void copy_complete(struct copy *copy, const struct taio_event *event)
{
	struct copy_job *job = &copy->job[event->cookie];
	struct copy_dir *dir = job->dir;

	copy->in_flight--;
	copy->bytes += event->bytes;
	datagrams_add(&copy->counters, &job->counters);
	if (event->result >= 0)
		copy->files++;
	copy_report_event(copy, job, event);
	copy_job_put(copy, job);
	if (dir)
		copy_dir_put(copy, dir, event->result < 0);
}

/* A signal wants an end: whatever is in flight gives its event soon. */
static void copy_cancel(struct copy *copy, int signal)
{
	copy->stop = signal;
	copy->status = CLI_FAILED;
	for (uint32_t i = 0; i < copy->jobs; i++) {
		if (copy->job[i].busy)
			taio_cancel(copy->engine, i);
	}
}

static void copy_progress(struct copy *copy, uint64_t now_ns)
{
	struct progress_view *view = &copy->progress.view;

	if (!progress_due(&copy->progress, now_ns))
		return;
	if (!copy->scan.done)
		scan_run(&copy->scan, copy->args, COPY_SCAN_NS);
	view->bytes = copy_moved(copy);
	view->files = copy->files;
	if (copy->scan.done && !copy->scan.unknown) {
		view->bytes_total = copy->scan.bytes;
		view->files_total = copy->scan.files;
	}
	progress_draw(&copy->progress, copy_now_ns());
}

/* Signals and the progress line. Return: 1: stop. */
static int copy_look(struct copy *copy, uint64_t now_ns)
{
	int signal = signals_stop();

	if (signal && !copy->stop)
		copy_cancel(copy, signal);
	if (signals_status())
		copy_report_status(copy);
	if (signals_resized())
		progress_resized(&copy->progress);
	copy_progress(copy, now_ns);
	return copy->stop != 0;
}

/* How long may be slept now. */
static uint64_t copy_nap_ns(const struct copy *copy, uint64_t now_ns)
{
	uint64_t next_ns = progress_next_ns(&copy->progress);

	if (next_ns <= now_ns)
		return 0;
	return next_ns - now_ns < COPY_NAP_NS ? next_ns - now_ns : COPY_NAP_NS;
}

int copy_turn(struct copy *copy, unsigned int min)
{
	struct taio_event event[COPY_EVENTS];
	uint64_t nap_ns = min ? copy_nap_ns(copy, copy_now_ns()) : 0;
	int taken = taio_get_events(copy->engine, event, min, COPY_EVENTS, (int64_t)nap_ns);

	for (int i = 0; i < taken; i++)
		copy_complete(copy, &event[i]);
	return copy_look(copy, copy_now_ns());
}

void copy_drain(struct copy *copy)
{
	while (copy->in_flight > 0)
		(void)copy_turn(copy, 1);
}

/* ---- requests ------------------------------------------------------------------------------- */

/* Waits until all together are not faster than --limit-rate. Return: 1: stop. */
static int copy_pace(struct copy *copy)
{
	uint64_t rate = copy->args->limit_rate;
	uint64_t due_ns;

	if (rate == 0)
		return 0;
	due_ns = (uint64_t)((unsigned __int128)copy->bytes * 1000000000u / rate);
	for (;;) {
		uint64_t now_ns = copy_now_ns();
		uint64_t nap_ns = copy_nap_ns(copy, now_ns);
		struct timespec nap = { .tv_nsec = 0 };

		if (copy_look(copy, now_ns))
			return 1;
		if (now_ns - copy->start_ns >= due_ns)
			return 0;
		if (nap_ns > due_ns - (now_ns - copy->start_ns))
			nap_ns = due_ns - (now_ns - copy->start_ns);
		nap.tv_nsec = (long)nap_ns;
		nanosleep(&nap, NULL);
	}
}

/* Return: a job, NULL: no memory. There is a free one. */
static struct copy_job *copy_job_get(struct copy *copy, const char *from, const char *to,
				     struct copy_dir *dir)
{
	struct copy_job *job = &copy->job[copy->first_free];
	size_t from_size = strlen(from) + 1;
	size_t to_size = strlen(to) + 1;

	if (from_size + to_size > job->names_size) {
		char *bigger = realloc(job->names, from_size + to_size + 64);

		if (bigger == NULL)
			return NULL;
		job->names = bigger;
		job->names_size = from_size + to_size + 64;
	}
	job->from = memcpy(job->names, from, from_size);
	job->to = memcpy(job->names + from_size, to, to_size);
	job->dir = dir;
	job->moved = 0;
	memset(&job->counters, 0, sizeof(job->counters));
	if (job->trace.step) {
		memset(job->trace.step, 0, COPY_TRACE_ROWS * sizeof(*job->trace.step));
		job->trace.capacity = COPY_TRACE_ROWS;
		job->trace.used = job->trace.lost = 0;
	}
	copy->first_free = job->next_free;
	job->busy = 1;
	return job;
}

static void copy_options_fill(const struct copy *copy, struct copy_job *job,
			      struct taio_options *options)
{
	const struct copy_args *args = copy->args;

	memset(options, 0, sizeof(*options));
	options->size = sizeof(*options);
	options->flags = args->flags;
	options->goal = args->goal;
	options->priority = args->priority;
	options->timeout_ns = args->timeout_ns;
	options->limit_rate = args->limit_rate;
	options->datagram = args->datagram;
	options->progress = &job->moved;
	if (args->limit_rate && copy->jobs > 1)
		options->limit_rate = args->limit_rate / copy->jobs + 1;
	if (args->deadline_ns)
		options->deadline_ns = copy->start_ns + args->deadline_ns;
	/* sources that have no length of their own: pipes, peers */
	if (args->length != TAIO_TO_END)
		options->length = args->length;
	if (job->trace.step)
		options->trace = &job->trace;
	options->framing = args->framing;
	options->datagrams = args->datagrams;
	options->idle_ns = args->idle_ns;
	options->limit_packets = args->limit_packets;
}

/* Can there be datagrams? A file needs no counters for them. */
static int copy_has_peer(const struct taio_endpoint *from, const struct taio_endpoint *to)
{
	return from->type == TAIO_EP_ADDRESS || to->type == TAIO_EP_ADDRESS ||
	       from->type == TAIO_EP_FD || to->type == TAIO_EP_FD;
}

static int copy_submit(struct copy *copy, const struct taio_endpoint *from,
		       const struct taio_endpoint *to, struct copy_job *job)
{
	struct taio_options options;
	int error;

	copy_options_fill(copy, job, &options);
	if (copy_has_peer(from, to))
		options.counters = &job->counters;
	for (;;) {
		error = taio_copy(copy->engine, from, to, &options, (uint64_t)(job - copy->job));
		if ((error != -EAGAIN && error != -ENOBUFS) || copy->in_flight == 0)
			return error;
		if (copy_turn(copy, 1))
			return -ECANCELED;
	}
}

int copy_request(struct copy *copy, const struct taio_endpoint *from,
		 const struct taio_endpoint *to, const char *from_text, const char *to_text,
		 struct copy_dir *dir)
{
	struct copy_job *job;
	int error;

	if (copy->engine == NULL && copy_open(copy))
		return 1;
	if (copy_pace(copy))
		return 1;
	/* a quarter at a time: waking up for each small file would cost as much as the file */
	while (copy->in_flight == copy->jobs) {
		if (copy_turn(copy, copy->jobs / 4 ? copy->jobs / 4 : 1))
			return 1;
	}
	job = copy_job_get(copy, from_text, to_text, dir);
	if (job == NULL) {
		copy_failed(copy, from_text, to_text, -ENOMEM, NULL);
		return 0;
	}
	error = copy_submit(copy, from, to, job);
	if (error) {
		copy_job_put(copy, job);
		if (copy->stop)
			return 1;
		copy_failed(copy, from_text, to_text, error,
			    error == -EOPNOTSUPP || error == -EINVAL ? taio_refusal(copy->engine)
								     : NULL);
		return 0;
	}
	if (dir)
		dir->pending++;
	/* the first requests run while the next ones are prepared */
	if (++copy->in_flight % COPY_BATCH == 0)
		return copy_turn(copy, 0);
	return 0;
}

int copy_paths(struct copy *copy, const char *from, const char *to, struct copy_dir *dir)
{
	const struct copy_args *args = copy->args;
	struct taio_endpoint source = taio_path_at(from, args->from_offset, args->length);
	struct taio_endpoint target = taio_path_at(to, args->to_offset, TAIO_TO_END);

	return copy_request(copy, &source, &target, from, to, dir);
}
