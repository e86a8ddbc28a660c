/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * engine_kit.h: what the tests of the engine share: an engine in a temporary directory with a count
 * of descriptors, patterns, and ends of every kind with a peer at the other side. It goes through
 * the public interface only.
 */
#ifndef TAIO_TESTS_ENGINE_KIT_H
#define TAIO_TESTS_ENGINE_KIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "taio.h"

#define KIT_TIMEOUT_NS 20000000000LL
#define KIT_PATH       512

extern struct taio *kit;     /* the engine of the running case */
extern const char *kit_what; /* ... and what it is doing, for messages */
extern char kit_dir[KIT_PATH / 2];

/* Fixtures: temporary directory, engine; at the end: engine closed, no descriptor more than before,
 * no temporary of ours in the directory, directory removed. */
void kit_open(void);
void kit_open_flags(uint32_t engine_flags);
void kit_open_options(const struct taio_engine_options *options);
void kit_reopen(const struct taio_engine_options *options); /* another engine, same directory */
void kit_close(void);
void kit_directory(void); /* the directory alone */

/* Skips the rest of a case that has its fixture. */
#define kit_skip(...)                                      \
	do {                                               \
		char why_[160];                            \
		snprintf(why_, sizeof(why_), __VA_ARGS__); \
		kit_close();                               \
		cr_skip_test("%s", why_);                  \
	} while (0)

/* Zeroed, size set; flags so that no test writes to the user's cache or meets a machine's policy. */
struct taio_engine_options kit_engine_options(uint32_t flags);
struct taio_options kit_options(void);

int kit_count_fds(void);
uint64_t kit_now_ns(void);
int kit_port(void); /* a TCP port that nobody listens on */
unsigned int kit_seed(void);

/* "dir/name", a few of them at a time. */
const char *kit_path(const char *name);

uint8_t *kit_pattern(size_t size, unsigned int seed); /* to be freed; never NULL */
void kit_write(const char *path, const void *data, size_t size);
void kit_check(const char *path, const void *data, size_t size);
bool kit_exists(const char *path);

/* Schedules, waits, takes the one event. */
struct taio_event kit_copy(struct taio_endpoint from, struct taio_endpoint to,
			   const struct taio_options *options);
/* The same and demands all of @size bytes, or failure with @error in @step. */
void kit_moves(struct taio_endpoint from, struct taio_endpoint to, uint64_t size,
	       const struct taio_options *options);
struct taio_event kit_fails(struct taio_endpoint from, struct taio_endpoint to, int error,
			    enum taio_step_type step);
struct taio_event kit_wait_one(void);

/* ---- ends ------------------------------------------------------------------------------------ */

enum kit_kind {
	KIT_MEMORY,
	KIT_VECTOR, /* odd pieces, some of them empty */
	KIT_PATH_NEW,
	KIT_PATH_OLD,   /* destination: replaces a longer file */
	KIT_PATH_PART,  /* path with an offset: source from there on, destination in place */
	KIT_FD_PART,    /* descriptor with an offset */
	KIT_FD_CURRENT, /* descriptor at its position, which is not 0 */
	KIT_FD_APPEND,  /* destination: O_APPEND */
	KIT_PIPE,
	KIT_STREAM, /* Unix socketpair */
	KIT_DGRAM,  /* Unix datagram socketpair */
	KIT_CONNECT_TCP,
	KIT_CONNECT_UNIX,
	KIT_LISTEN_TCP,
	KIT_LISTEN_UNIX,
	KIT_NULL,
	KIT_ZERO,
	KIT_KINDS
};

const char *kit_kind_name(enum kit_kind kind);
bool kit_is_source(enum kit_kind kind);
bool kit_is_pair(enum kit_kind from, enum kit_kind to); /* all but datagrams to datagrams */

struct kit_end {
	enum kit_kind kind;
	bool is_sink;
	struct taio_endpoint ep;
	const uint8_t *data; /* source: what it gives */
	size_t size, taken;  /* taken: how much of a source */
	uint8_t *got;        /* sink: what came; size got_size */
	size_t got_size;
	uint8_t *memory;
	struct iovec *iov;
	char path[KIT_PATH];         /* file or Unix socket */
	char address[KIT_PATH + 16]; /* text of an address */
	int fd, peer;                /* fd: the engine's side, peer: ours; -1 */
	int flags;                   /* of fd before the copy */
	bool threaded;
	bool broken;  /* the engine's side went away early */
	bool dropped; /* ... and will not come any more; atomic */
	pthread_t thread;
};

/* A source that gives @data and then ends. */
void kit_source(struct kit_end *end, enum kit_kind kind, const uint8_t *data, size_t size);
/* A sink for @size bytes. */
void kit_sink(struct kit_end *end, enum kit_kind kind, size_t size);
/* After the event: waits for the peer and looks whether the end is as it must be. */
void kit_source_done(struct kit_end *end);
/* ... and whether the @data arrived. @what: for messages. */
void kit_sink_done(struct kit_end *end, const uint8_t *data, size_t size, const char *what);

/* After a request that failed: only cleans up. What a sink got is in got[0..got_size) until
 * kit_free(). */
void kit_drop(struct kit_end *end);
void kit_free(struct kit_end *end);

#endif /* TAIO_TESTS_ENGINE_KIT_H */
