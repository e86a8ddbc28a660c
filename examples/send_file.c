/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * send_file.c: the three calls with which this began: memory to memory, a file into a connected
 * socket, a file to an address. All three are in flight at once; the events come as they end.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "taio.h"

enum {
	POINTER = 1,
	FILE_SOCKET,
	FILE_ADDRESS
};

static int connect_unix(const char *path)
{
	struct sockaddr_un peer = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(peer.sun_path, sizeof(peer.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int report(const struct taio_event *event)
{
	static const char *const name[] = { "?", "pointer", "file to socket", "file to address" };
	char text[200];

	taio_event_text(event, text, sizeof(text));
	printf("%s: %lld bytes (%s)\n", name[event->cookie <= FILE_ADDRESS ? event->cookie : 0],
	       (long long)event->bytes, text);
	return event->result < 0;
}

int main(int argc, char **argv)
{
	static char from[1 << 20], to[1 << 20];
	struct taio_event event[3];
	struct taio *engine;
	int failed = 0, count, fd;

	if (argc != 4) {
		fprintf(stderr, "usage: send_file FILE UNIX-SOCKET HOST:PORT:tcp\n");
		return 2;
	}
	memset(from, 'x', sizeof(from));
	fd = connect_unix(argv[2]);
	if (fd < 0 || taio_open(&engine, NULL) < 0) {
		perror("send_file");
		return 1;
	}
	failed |= taio_schedule_pointer(engine, from, to, sizeof(from), POINTER) < 0;
	failed |= taio_schedule_file_socket(engine, argv[1], fd, FILE_SOCKET) < 0;
	failed |= taio_schedule_file_addr(engine, argv[1], argv[3], FILE_ADDRESS) < 0;
	while (taio_pending(engine) > 0) {
		count = taio_get_events(engine, event, 1, 3, -1);
		for (int i = 0; i < count; i++)
			failed |= report(&event[i]);
	}
	failed |= memcmp(from, to, sizeof(from)) != 0;
	taio_close(engine);
	close(fd);
	return failed;
}
