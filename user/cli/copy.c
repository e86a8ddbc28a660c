/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy.c: `taio copy`: which source goes to which destination. How requests run is in copy_jobs.c,
 * how trees are walked in copy_tree.c.
 */
#include "cli/copy.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The last part of a name and its length, as cp understands it: "a/b/" is "b". Names that say no
 * name of their own ("..", ".", "/") give length 0: what they hold goes into the target itself. */
static const char *copy_base(const char *path, size_t *ret_length)
{
	size_t end = strlen(path);
	size_t start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	*ret_length = end - start;
	if (*ret_length <= 2 && strncmp(path + start, "..", *ret_length) == 0)
		*ret_length = 0;
	return path + start;
}

/* Where @source goes: the target, or the target directory and the last part of its name.
 * Return: a string for free(), NULL: no memory. */
static char *copy_destination(const struct copy *copy, const char *source)
{
	const char *target = copy->args->target;
	size_t length = strlen(target);
	size_t base_length;
	const char *base = copy_base(source, &base_length);
	char *path = malloc(length + 1 + base_length + 1);

	if (path == NULL)
		return NULL;
	memcpy(path, target, length + 1);
	if (!copy->target_is_dir || base_length == 0)
		return path;
	if (path[length - 1] != '/')
		path[length++] = '/';
	memcpy(path + length, base, base_length);
	path[length + base_length] = '\0';
	return path;
}

/* A source that is a name, with --recursive: what it is decides. */
static int copy_recursive(struct copy *copy, const char *source, const char *to)
{
	struct stat st;
	int error;

	if (lstat(source, &st) < 0) {
		copy_failed(copy, source, to, -errno, NULL);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return copy_tree(copy, source, to);
	if (S_ISREG(st.st_mode))
		return copy_paths(copy, source, to, NULL);
	if (!S_ISLNK(st.st_mode)) {
		copy_failed(copy, source, to, -EOPNOTSUPP, "not a file, directory or link");
		return 0;
	}
	error = copy_link(copy, source, to);
	if (error)
		copy_failed(copy, source, to, error, copy_link_cause(error));
	return 0;
}

/* A source that is a name. */
static int copy_named(struct copy *copy, const char *source)
{
	const struct copy_args *args = copy->args;
	struct taio_endpoint from;
	char *to;
	int stop;

	if (copy->target.type == TAIO_EP_PATH) {
		to = copy_destination(copy, source);
		if (to == NULL) {
			copy_failed(copy, source, NULL, -ENOMEM, NULL);
			return 0;
		}
		if (args->recursive)
			stop = copy_recursive(copy, source, to);
		else
			stop = copy_paths(copy, source, to, NULL);
		free(to);
		return stop;
	}
	from = taio_path_at(source, args->from_offset, args->length);
	return copy_request(copy, &from, &copy->target, source, args->target, NULL);
}

/* Why a text is no endpoint, where strerror() does not say enough. */
static const char *copy_no_endpoint(const char *text, int error, const char *not_here)
{
	switch (error) {
	case -EOPNOTSUPP:
		return not_here;
	case -EPROTONOSUPPORT:
		return "taio knows the protocols tcp and udp";
	case -EINVAL:
		if (strncmp(text, "zero:", 5) == 0)
			return "zero:SIZE wants a size, as in zero:10M";
		if (strncmp(text, "mirror:", 7) == 0)
			return "mirror: wants 2 to 4 names with commas between";
		return "no address: HOST:PORT:tcp, and the port is 0 to 65535";
	default:
		return NULL;
	}
}

static int copy_source(struct copy *copy, const char *source)
{
	const struct copy_args *args = copy->args;
	struct taio_endpoint from;
	int error = taio_endpoint_parse(source, 0, &from);

	if (error) {
		copy_failed(copy, source, NULL, error,
			    copy_no_endpoint(source, error, "this can be no source"));
		return 0;
	}
	if (from.type == TAIO_EP_PATH)
		return copy_named(copy, source);
	if (copy->target_is_dir) {
		copy_failed(copy, source, args->target, -EISDIR,
			    "a directory, and the source has no name to go by");
		return 0;
	}
	if (args->from_offset)
		from.offset = args->from_offset;
	if (args->length < from.length)
		from.length = args->length;
	return copy_request(copy, &from, &copy->target, source, args->target, NULL);
}

/* ---- sources of the same name --------------------------------------------------------------- */

struct copy_twin {
	const char *base;
	size_t length;
	unsigned int index;
};

static int copy_twin_compare(const void *a, const void *b)
{
	const struct copy_twin *one = a, *two = b;
	size_t length = one->length < two->length ? one->length : two->length;
	int order = memcmp(one->base, two->base, length);

	if (order == 0)
		order = (one->length > two->length) - (one->length < two->length);
	if (order == 0)
		order = one->index > two->index ? 1 : -1;
	return order;
}

/* Marks the sources that would land where an earlier one does: "a/x b/x DIR".
 * Return: an array for free(), NULL: there are none (or no memory to find out). */
static char *copy_twins(const struct copy_args *args)
{
	struct copy_twin *twin = malloc(args->sources * sizeof(*twin));
	char *mark = calloc(args->sources, 1);
	unsigned int found = 0;

	if (twin == NULL || mark == NULL)
		goto out;
	for (unsigned int i = 0; i < args->sources; i++) {
		twin[i].index = i;
		twin[i].base = copy_base(args->source[i], &twin[i].length);
	}
	qsort(twin, args->sources, sizeof(*twin), copy_twin_compare);
	for (unsigned int i = 1; i < args->sources; i++) {
		if (twin[i].length > 0 && twin[i].length == twin[i - 1].length &&
		    memcmp(twin[i].base, twin[i - 1].base, twin[i].length) == 0) {
			mark[twin[i].index] = 1;
			found++;
		}
	}
out:
	free(twin);
	if (found == 0) {
		free(mark);
		return NULL;
	}
	return mark;
}

/* Directories of one name are merged, one after the other; a file would be lost. */
static int copy_twin_refused(struct copy *copy, const char *source)
{
	struct stat st;

	if (copy->args->recursive && lstat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
		copy_drain(copy);
		return 0;
	}
	copy_failed(copy, source, copy->args->target, -EEXIST,
		    "another source of this name was copied just now");
	return 1;
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Looks at the destination. Return: an exit status. */
static int copy_target(struct copy *copy)
{
	const struct copy_args *args = copy->args;
	size_t length = strlen(args->target);
	struct stat st;
	int error = taio_endpoint_parse(args->target, 1, &copy->target);

	if (error) {
		copy_failed(copy, args->target, NULL, error,
			    copy_no_endpoint(args->target, error, "this can be no destination"));
		return CLI_FAILED;
	}
	if (copy->target.type == TAIO_EP_PATH && stat(args->target, &st) == 0)
		copy->target_is_dir = S_ISDIR(st.st_mode);
	else if (copy->target.type == TAIO_EP_PATH && args->target[length - 1] == '/' &&
		 !args->recursive)
		error = -ENOENT;
	if (error || (args->sources > 1 && !copy->target_is_dir)) {
		copy_failed(copy, args->target, NULL, error ? error : -ENOTDIR,
			    error ? "there is no such directory"
				  : "not a directory, and there "
				    "are several sources");
		return CLI_FAILED;
	}
	if (copy->target.type != TAIO_EP_PATH && args->recursive) {
		copy_failed(copy, args->target, NULL, -ENOTDIR, "a tree goes into a directory");
		return CLI_FAILED;
	}
	if (args->to_offset)
		copy->target.offset = args->to_offset;
	return CLI_OK;
}

static void copy_sources(struct copy *copy)
{
	const struct copy_args *args = copy->args;
	char *twins = args->sources > 1 ? copy_twins(args) : NULL;

	for (unsigned int i = 0; i < args->sources; i++) {
		if (twins && twins[i] && copy_twin_refused(copy, args->source[i]))
			continue;
		if (copy_source(copy, args->source[i]))
			break;
	}
	free(twins);
}

int cli_copy(int argc, char **argv)
{
	struct copy_args args;
	struct copy copy;
	int status = copy_args_parse(&args, argc, argv);

	if (status != 0 || args.help)
		return status;
	/* not the buffer: three pages that a copy without output need not touch */
	memset(&copy, 0, offsetof(struct copy, out.buffer));
	copy.args = &args;
	copy.out.fd = STDOUT_FILENO;
	copy.start_ns = copy_now_ns();
	progress_init(&copy.progress, args.quiet ? 0 : args.progress, copy.start_ns);
	if (args.recursive) {
		copy.umask = umask(0);
		umask(copy.umask);
	}
	signals_catch();
	if (copy_target(&copy) == CLI_OK) {
		copy_sources(&copy);
		copy_drain(&copy);
		copy_report_end(&copy);
	}
	copy_jobs_close(&copy);
	if (out_done(&copy.out, "copy") != CLI_OK)
		copy.status = CLI_FAILED;
	if (copy.stop)
		signals_die(copy.stop);
	return copy.status;
}
