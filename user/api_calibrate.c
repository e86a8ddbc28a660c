/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * api_calibrate.c: measures each device once on this machine, by ordinary requests pinned to it:
 * memory, a temporary file in $TMPDIR, a TCP connection over loopback that the same engine drains.
 * What the requests taught is fitted and remembered like anything else that is learnt.
 */
#include "engine/engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"

#define CALIBRATE_BYTES     (8u << 20)
#define CALIBRATE_BUDGET_NS (40ULL * 1000 * 1000) /* for one device and pair */

struct calibrate {
	struct taio *e;
	char *memory[2];
	int file[2], stream[2];
};

static int calibrate_socketpair(int ret_fd[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

	if (listener < 0)
		return -errno;
	ret_fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ret_fd[0] < 0 || bind(listener, (void *)&address, sizeof(address)) ||
	    getsockname(listener, (void *)&address, &length) || listen(listener, 1) ||
	    connect(ret_fd[0], (void *)&address, sizeof(address)) ||
	    (ret_fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		rc = -errno;
	close(listener);
	return rc;
}

static int calibrate_file(int *ret_fd)
{
	const char *directory = getenv("TMPDIR");
	char path[512];

	snprintf(path, sizeof(path), "%s/taio-XXXXXX",
		 directory && *directory ? directory : "/tmp");
	*ret_fd = mkostemp(path, O_CLOEXEC);
	if (*ret_fd < 0)
		return -errno;
	unlink(path);
	return 0;
}

static void calibrate_close(struct calibrate *c)
{
	for (unsigned int i = 0; i < 2; i++) {
		if (c->memory[i] && c->memory[i] != MAP_FAILED)
			munmap(c->memory[i], CALIBRATE_BYTES);
		if (c->file[i] >= 0)
			close(c->file[i]);
		if (c->stream[i] >= 0)
			close(c->stream[i]);
	}
}

static int calibrate_open(struct calibrate *c, struct taio *e)
{
	int rc = 0;

	c->e = e;
	c->file[0] = c->file[1] = c->stream[0] = c->stream[1] = -1;
	c->memory[0] = c->memory[1] = NULL;
	for (unsigned int i = 0; i < 2 && rc == 0; i++) {
		c->memory[i] = mmap(NULL, CALIBRATE_BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		if (c->memory[i] == MAP_FAILED)
			rc = -ENOMEM;
		else
			rc = calibrate_file(&c->file[i]);
	}
	if (rc == 0)
		rc = calibrate_socketpair(c->stream);
	for (unsigned int i = 0; i < 2 && rc == 0; i++)
		if (pwrite(c->file[i], c->memory[i], CALIBRATE_BYTES, 0) != CALIBRATE_BYTES)
			rc = errno ? -errno : -ENOSPC;
	if (rc)
		calibrate_close(c);
	return rc;
}

static struct taio_endpoint calibrate_end(const struct calibrate *c, unsigned int kind,
					  unsigned int side, uint64_t bytes)
{
	switch (kind) {
	case TAIO_KIND_MEM:
		return taio_memory(c->memory[side], bytes);
	case TAIO_KIND_FILE:
		return taio_file(c->file[side], 0, bytes);
	default:
		return taio_descriptor(c->stream[side ? 0 : 1]);
	}
}

/* Takes the events of a request (cookie 1) and, if there is one, of its drain (cookie 2). A request
 * that failed sends nothing, or not all: its drain would wait for ever. */
static int calibrate_events(struct calibrate *c, unsigned int want)
{
	int result = 0;

	while (want) {
		struct taio_event event;
		int rc = taio_get_events(c->e, &event, 1, 1, -1);

		if (rc == -EINTR)
			continue;
		if (rc < 0)
			return rc;
		want--;
		if (event.cookie == 1 && event.result < 0 && want)
			taio_cancel(c->e, 2);
		if (event.result < 0 && result == 0)
			result = (int)event.result;
	}
	return result;
}

/* One request on one device, and for a stream the one that drains it. */
static int calibrate_once(struct calibrate *c, unsigned int from_kind, unsigned int to_kind,
			  uint64_t mask, uint64_t bytes)
{
	struct taio_options o = { .size = sizeof(o), .length = bytes, .pin = mask };
	struct taio_options drain = { .size = sizeof(drain), .length = bytes };
	struct taio_endpoint from = calibrate_end(c, from_kind, 0, bytes);
	struct taio_endpoint to = calibrate_end(c, to_kind, 1, bytes);
	struct taio_endpoint rest = taio_descriptor(c->stream[1]), sink = taio_null();
	unsigned int want = 1;
	int rc = taio_copy(c->e, &from, &to, &o, 1);

	if (rc)
		return rc;
	if (to_kind == TAIO_KIND_STREAM && taio_copy(c->e, &rest, &sink, &drain, 2) == 0)
		want = 2;
	return calibrate_events(c, want);
}

static void calibrate_device(struct calibrate *c, unsigned int from_kind, unsigned int to_kind,
			     unsigned int number)
{
	static const uint64_t sizes[] = { 4096, 65536, 1u << 20, CALIBRATE_BYTES };
	uint64_t start = clock_ns();

	for (unsigned int round = 0; round < 16; round++)
		for (unsigned int i = 0; i < 4; i++) {
			if (i == 3 && round % 4)
				continue;
			if (calibrate_once(c, from_kind, to_kind, 1ULL << number, sizes[i]) < 0)
				continue; /* it cannot do this size */
			if (round > 2 && clock_ns() - start > CALIBRATE_BUDGET_NS)
				return;
		}
}

int taio_calibrate(struct taio *e)
{
	static const uint8_t pairs[][2] = {
		{ TAIO_KIND_MEM, TAIO_KIND_MEM },     { TAIO_KIND_FILE, TAIO_KIND_FILE },
		{ TAIO_KIND_FILE, TAIO_KIND_MEM },    { TAIO_KIND_MEM, TAIO_KIND_FILE },
		{ TAIO_KIND_FILE, TAIO_KIND_STREAM }, { TAIO_KIND_MEM, TAIO_KIND_STREAM },
	};
	struct calibrate c;
	int rc;

	if (e->pool.busy || e->event_count)
		return -EBUSY;
	rc = calibrate_open(&c, e);
	if (rc)
		return rc;
	for (unsigned int p = 0; p < sizeof(pairs) / sizeof(pairs[0]); p++) {
		uint64_t able = route_copy_devices(e, pairs[p][0], pairs[p][1]);

		for (uint8_t i = 0; i < e->device_count; i++)
			if ((able >> i & 1) && device_available(e, i))
				calibrate_device(&c, pairs[p][0], pairs[p][1], i);
	}
	calibrate_close(&c);
	learn_calibrated(e);
	return e->flags & TAIO_NO_CACHE ? 0 : speeds_save(&e->speeds);
}
