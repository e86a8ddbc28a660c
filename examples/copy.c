/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * copy.c: copies anything to anything that is named on the command line, in one request. The same
 * words as for `taio copy`: "/a/file", "-", "host:port:tcp", "unix:/path", "listen:...", "null:".
 */
#include <stdio.h>
#include <string.h>

#include "taio.h"

int main(int argc, char **argv)
{
	struct taio_endpoint from, to;
	struct taio_event event;
	struct taio *engine;
	char text[200];
	int error;

	if (argc != 3 || taio_endpoint_parse(argv[1], 0, &from) < 0 ||
	    taio_endpoint_parse(argv[2], 1, &to) < 0) {
		fprintf(stderr, "usage: copy FROM TO\n");
		return 2;
	}
	error = taio_open(&engine, NULL);
	if (error < 0) {
		fprintf(stderr, "taio_open: %s\n", strerror(-error));
		return 1;
	}
	error = taio_copy(engine, &from, &to, NULL, 1);
	if (error < 0) {
		fprintf(stderr, "refused: %s\n", taio_refusal(engine));
	} else if (taio_get_events(engine, &event, 1, 1, -1) == 1) {
		taio_event_text(&event, text, sizeof(text));
		fprintf(stderr, "%s -> %s: %s, by %s in %.3f ms\n", argv[1], argv[2], text,
			taio_device_name(engine, event.device), (double)event.ns / 1e6);
		error = event.result < 0;
	}
	taio_close(engine);
	return error != 0;
}
