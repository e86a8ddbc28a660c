/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * out.c: output of the command: a buffer and write(2). Not stdio: the command must start as fast
 * as cp, and a message must reach stderr in one piece.
 */
#include "cli/cli.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Writes all of it, also to a descriptor that somebody made non-blocking. */
static int out_write(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t done = write(fd, data, size);

		if (done >= 0) {
			data += done;
			size -= (size_t)done;
		} else if (errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };

			if (poll(&wait, 1, -1) < 0 && errno != EINTR)
				return -errno;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

int out_flush(struct cli_out *out)
{
	if (out->used > 0 && out->error == 0)
		out->error = out_write(out->fd, out->buffer, out->used);
	out->used = 0;
	return out->error;
}

void out_bytes(struct cli_out *out, const char *data, size_t size)
{
	while (size > 0) {
		size_t room = sizeof(out->buffer) - out->used;
		size_t part = size < room ? size : room;

		memcpy(out->buffer + out->used, data, part);
		out->used += part;
		data += part;
		size -= part;
		if (out->used == sizeof(out->buffer))
			out_flush(out);
	}
}

void out_text(struct cli_out *out, const char *text)
{
	out_bytes(out, text, strlen(text));
}

void out_format(struct cli_out *out, const char *format, ...)
{
	char line[2048];
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (length < 0)
		return;
	out_bytes(out, line, (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1);
}

int out_done(struct cli_out *out, const char *command)
{
	int error = out_flush(out);

	if (error == 0)
		return CLI_OK;
	if (error != -EPIPE)
		cli_error("%s: standard output: %s", command, strerror(-error));
	return CLI_FAILED;
}

void cli_verror(const char *format, va_list args)
{
	/* two quoted names of PATH_MAX bytes and a cause */
	char line[20480];
	size_t used = strlen("taio: ");
	int length;

	memcpy(line, "taio: ", used);
	length = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	if (length > 0)
		used += (size_t)length;
	if (used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	/* nowhere to complain about a closed stderr */
	(void)out_write(STDERR_FILENO, line, used);
}

void cli_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_verror(format, args);
	va_end(args);
}

int cli_usage_error(const char *command, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	cli_verror(format, args);
	va_end(args);
	cli_error("`taio %s%s--help` tells more", command, *command ? " " : "");
	return CLI_USAGE;
}

int cli_print_help(const char *text)
{
	struct cli_out out = { .fd = STDOUT_FILENO };

	out_text(&out, text);
	return out_done(&out, "help");
}
