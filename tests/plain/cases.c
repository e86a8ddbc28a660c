/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * cases.c: runs the cases that plain/criterion/criterion.h gathered, one child for each, one after
 * the other, and writes the same lines as criterion does for --tap=FILE.
 */
#include <criterion/criterion.h>

#include <errno.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_SKIP    77
#define EXIT_FAILED  1
#define TEXT_SIZE    256
#define TIMEOUT_S    240
#define SIGNAL_SHELL 128

static struct plain_case *cases;
static struct plain_suite *suites;
static int failed_expectations;
static int skip_fd = -1; /* the child tells here why it skips */

void plain_add_case(struct plain_case *new_case)
{
	struct plain_case **at = &cases;

	while (*at)
		at = &(*at)->next;
	*at = new_case;
}

void plain_add_suite(struct plain_suite *suite)
{
	suite->next = suites;
	suites = suite;
}

void plain_fail(int fatal, const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: failed: %s", file, line, what);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	if (fatal)
		_exit(EXIT_FAILED);
	failed_expectations++;
}

void plain_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vdprintf(skip_fd, format, args);
	va_end(args);
	_exit(EXIT_SKIP);
}

void plain_log(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static const struct plain_suite *case_suite(const struct plain_case *c)
{
	static const struct plain_suite none;

	for (const struct plain_suite *s = suites; s; s = s->next)
		if (strcmp(s->name, c->suite) == 0)
			return s;
	return &none;
}

/* The child: like criterion, the suite's init and fini stand in for those the case does not have. */
static void case_run(const struct plain_case *c, const struct plain_suite *suite)
{
	void (*init)(void) = c->options.init ? c->options.init : suite->options.init;
	void (*fini)(void) = c->options.fini ? c->options.fini : suite->options.fini;
	double timeout = c->options.timeout > 0 ? c->options.timeout : suite->options.timeout;

	/* a sanitizer makes everything slower: the limit is only against a hang */
	alarm(timeout * 20 > TIMEOUT_S || timeout <= 0 ? TIMEOUT_S : (unsigned int)(timeout * 20));
	if (init)
		init();
	c->run();
	if (fini)
		fini();
	exit(failed_expectations ? EXIT_FAILED : 0);
}

/* Return: exit status as a shell would give it, or negative errno. */
static int case_fork(const struct plain_case *c, char *ret_reason)
{
	int status, pipe_fd[2];
	ssize_t len;
	pid_t child;

	if (pipe(pipe_fd) < 0)
		return -errno;
	fflush(NULL);
	child = fork();
	if (child == 0) {
		close(pipe_fd[0]);
		skip_fd = pipe_fd[1];
		case_run(c, case_suite(c));
	}
	close(pipe_fd[1]);
	if (child < 0) {
		close(pipe_fd[0]);
		return -errno;
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	len = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP
		      ? read(pipe_fd[0], ret_reason, TEXT_SIZE - 1)
		      : 0;
	ret_reason[len > 0 ? len : 0] = '\0';
	close(pipe_fd[0]);
	return WIFSIGNALED(status) ? SIGNAL_SHELL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Return: 1: it failed. */
static int case_report(const struct plain_case *c, FILE *tap)
{
	const struct plain_suite *suite = case_suite(c);
	char reason[TEXT_SIZE] = "";
	int status, want = c->options.exit_code;

	if (c->options.signal)
		want = SIGNAL_SHELL + c->options.signal;
	if (c->options.disabled || suite->options.disabled) {
		fprintf(tap, "ok - %s::%s  # SKIP disabled\n", c->suite, c->name);
		return 0;
	}
	status = case_fork(c, reason);
	if (status == want)
		fprintf(tap, "ok - %s::%s\n", c->suite, c->name);
	else if (status == EXIT_SKIP)
		fprintf(tap, "ok - %s::%s  # SKIP %s\n", c->suite, c->name, reason);
	else
		fprintf(tap, "not ok - %s::%s exit status %d\n", c->suite, c->name, status);
	return status != want && status != EXIT_SKIP;
}

int main(int argc, char **argv)
{
	const char *pattern = NULL;
	FILE *tap = stdout;
	int count = 0, failed = 0;

	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--tap=", 6) == 0)
			tap = fopen(argv[i] + 6, "we");
		else if (argv[i][0] != '-')
			pattern = argv[i];
	}
	if (!tap) {
		perror("--tap");
		return 2;
	}
	setvbuf(tap, NULL, _IOLBF, 0);
	for (const struct plain_case *c = cases; c; c = c->next)
		count += !pattern || strstr(c->name, pattern);
	fprintf(tap, "1..%d\n", count);
	for (const struct plain_case *c = cases; c; c = c->next)
		if (!pattern || strstr(c->name, pattern))
			failed += case_report(c, tap);
	fclose(tap);
	return failed ? EXIT_FAILED : 0;
}
