/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * conform.h: a world for one driver: both ends of a copy with the peers behind them, fed and drained
 * a little at a time by the same thread, so that every run of a seed is the same. It stands where
 * the engine stands (short results, EAGAIN, edge-triggered readiness, asynchronous steps), knows
 * which byte belongs where, and counts what goes out and what comes back.
 *
 * Nothing here asserts: the first thing that is wrong is written down in flow.wrong, so that it
 * works on any thread.
 */
#ifndef TESTS_CONFORM_H
#define TESTS_CONFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "drivers/drivers.h"
#include "drivers/fileops.h"
#include "taio.h"

#define CONFORM_POOL   (8u << 20) /* random bytes; a flow is a window of them */
#define CONFORM_GUARD  64         /* bytes around a destination that must not change */
#define CONFORM_UNIT   1000       /* payload of a datagram */
#define CONFORM_FLIGHT 40000      /* bytes of datagrams on their way */
#define CONFORM_LIMIT  10         /* seconds without progress */

extern uint8_t conform_pool[CONFORM_POOL];

static inline uint64_t conform_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t conform_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- a flow ------------------------------------------------------------------------------------- */

struct flow_end {
	uint8_t kind;
	bool tcp, tiny; /* a TCP socket; little room in pipe or socket */
	struct taio_end end;
	int peer; /* -1: none */
	uint8_t *memory, *block;
	bool polled; /* in the epoll set */
};

struct flow {
	uint64_t random;
	const char *dir;
	uint64_t total; /* bytes that the source has */
	uint64_t len;   /* bytes wanted */
	uint64_t from_offset, to_offset;
	unsigned int from_align, to_align;
	uint64_t segment;   /* largest step; 0: random ones */
	size_t feed, drain; /* at most, each time the peers get their turn */
	bool held;          /* the peers do nothing */

	struct flow_end from, to;
	const uint8_t *bytes;      /* what the source gives */
	uint64_t fed, taken, done; /* by the source's peer, the destination's, the devices */
	bool ended;                /* the source's peer has closed */
	int epoll;
	unsigned int out, back; /* steps that went to drivers and came back */
	unsigned int steps;     /* by the device under test */
	unsigned int refused;   /* of them: "not this way" */
	unsigned int waits;
	bool failed;
	char wrong[300];
};

__attribute__((format(printf, 2, 3))) static inline bool flow_wrong(struct flow *f,
								    const char *format, ...)
{
	va_list args;

	if (f->failed)
		return false;
	f->failed = true;
	va_start(args, format);
	vsnprintf(f->wrong, sizeof(f->wrong), format, args);
	va_end(args);
	return false;
}

static inline uint64_t flow_random(struct flow *f, uint64_t below)
{
	return below ? conform_next(&f->random) % below : 0;
}

/* ---- ends --------------------------------------------------------------------------------------- */

static inline bool flow_nonblocking(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}

/* The network namespace of host b of netns.h: peers of UDP sockets live there; -1: on loopback. */
static int conform_far = -1;

/* @pair[0] here on 10.99.0.1, @pair[1] there on 10.99.0.2. */
static inline bool flow_far_pair(struct flow *f, int pair[2])
{
	struct sockaddr_in at[2] = {
		{ .sin_family = AF_INET, .sin_addr = { htonl(0x0a630001) } },
		{ .sin_family = AF_INET, .sin_addr = { htonl(0x0a630002) } },
	};
	const int room = 32 << 20;
	int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	for (int i = 0; i < 2; i++) {
		socklen_t len = sizeof(at[i]);

		if (setns(i ? conform_far : here, CLONE_NEWNET))
			return flow_wrong(f, "setns: %s", strerror(errno));
		pair[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)setsockopt(pair[i], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
		if (bind(pair[i], (struct sockaddr *)&at[i], len) ||
		    getsockname(pair[i], (struct sockaddr *)&at[i], &len))
			return flow_wrong(f, "bind: %s", strerror(errno));
	}
	if (setns(here, CLONE_NEWNET) ||
	    connect(pair[0], (struct sockaddr *)&at[1], sizeof(at[1])) ||
	    connect(pair[1], (struct sockaddr *)&at[0], sizeof(at[0])))
		return flow_wrong(f, "far pair: %s", strerror(errno));
	close(here);
	return true;
}

static inline bool flow_socket_pair(struct flow *f, bool tcp, int type, int pair[2])
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(in);
	int listening;

	if (!tcp)
		return socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) == 0 ||
		       flow_wrong(f, "socketpair: %s", strerror(errno));
	if (type == SOCK_DGRAM && conform_far >= 0)
		return flow_far_pair(f, pair);
	listening = socket(AF_INET, type, 0);
	pair[0] = socket(AF_INET, type, 0);
	if (listening < 0 || pair[0] < 0 || bind(listening, (struct sockaddr *)&in, len) ||
	    getsockname(listening, (struct sockaddr *)&in, &len))
		return flow_wrong(f, "socket: %s", strerror(errno));
	if (type == SOCK_STREAM && listen(listening, 1))
		return flow_wrong(f, "listen: %s", strerror(errno));
	if (connect(pair[0], (struct sockaddr *)&in, sizeof(in)))
		return flow_wrong(f, "connect: %s", strerror(errno));
	if (type == SOCK_STREAM) {
		pair[1] = accept(listening, NULL, NULL);
		close(listening);
	} else {
		pair[1] = listening;
		if (getsockname(pair[0], (struct sockaddr *)&in, &len) ||
		    connect(pair[1], (struct sockaddr *)&in, sizeof(in)))
			return flow_wrong(f, "connect back: %s", strerror(errno));
	}
	return (pair[1] >= 0 && flow_nonblocking(pair[0]) && flow_nonblocking(pair[1])) ||
	       flow_wrong(f, "accept: %s", strerror(errno));
}

/* @fd is the driver's, peer ours. */
static inline bool flow_open_stream(struct flow *f, struct flow_end *end, bool source)
{
	int pair[2], small = 4096;

	if (!flow_socket_pair(f, end->tcp, end->kind == TAIO_KIND_DGRAM ? SOCK_DGRAM : SOCK_STREAM,
			      pair))
		return false;
	end->end.fd = pair[0];
	end->peer = pair[1];
	end->end.unit = CONFORM_UNIT;
	end->end.flags = TAIO_END_OWNED | (conform_far < 0 ? TAIO_END_LOCAL : 0);
	/* Not so small for TCP: a window below its segments is only opened by a timer. */
	if (end->tcp)
		small = 128 * 1024;
	if (end->tiny && end->kind == TAIO_KIND_STREAM)
		setsockopt(pair[source ? 1 : 0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	return true;
}

static inline bool flow_open_pipe(struct flow *f, struct flow_end *end, bool source)
{
	int pair[2];

	if (pipe2(pair, O_NONBLOCK | O_CLOEXEC))
		return flow_wrong(f, "pipe: %s", strerror(errno));
	if (end->tiny)
		(void)fcntl(pair[0], F_SETPIPE_SZ, 4096);
	end->end.fd = pair[source ? 0 : 1];
	end->peer = pair[source ? 1 : 0];
	return true;
}

static inline bool flow_write_all(int fd, const void *data, size_t len, uint64_t at)
{
	for (size_t done = 0; done < len;) {
		ssize_t n =
			pwrite(fd, (const uint8_t *)data + done, len - done, (off_t)(at + done));

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static inline bool flow_open_file(struct flow *f, struct flow_end *end, bool source)
{
	uint8_t guard[CONFORM_GUARD];
	char path[256];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/conform-%s-XXXXXX", f->dir, source ? "from" : "to");
	fd = mkstemp(path);
	if (fd < 0 || fstat(fd, &st))
		return flow_wrong(f, "mkstemp: %s", strerror(errno));
	unlink(path);
	end->end.fd = fd;
	end->end.fs = (uint8_t)fileops_fs_of(fd, st.st_dev);
	end->end.flags = TAIO_END_OWNED;
	end->end.offset = source ? f->from_offset : f->to_offset;
	if (source)
		return flow_write_all(fd, f->bytes, f->total, f->from_offset) ||
		       flow_wrong(f, "no room for the source: %s", strerror(errno));
	memset(guard, 0x5a, sizeof(guard));
	return (!f->to_offset ||
		flow_write_all(fd, guard,
			       f->to_offset < sizeof(guard) ? f->to_offset : sizeof(guard),
			       f->to_offset < sizeof(guard) ? 0 : f->to_offset - sizeof(guard))) ||
	       flow_wrong(f, "no room for the guard: %s", strerror(errno));
}

static inline bool flow_open_memory(struct flow *f, struct flow_end *end, bool source)
{
	unsigned int align = source ? f->from_align : f->to_align;
	size_t size = (source ? f->total : f->len) + 4096 + 2 * 4096;

	end->block = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
	if (!end->block)
		return flow_wrong(f, "no memory");
	end->memory = end->block + 4096 + align;
	memset(end->block, 0x5a, (size + 4095) & ~(size_t)4095);
	if (source)
		memcpy(end->memory, f->bytes, f->total);
	end->end.ptr = end->memory;
	return true;
}

static inline bool flow_open_end(struct flow *f, struct flow_end *end, bool source)
{
	end->end = (struct taio_end){ .kind = end->kind, .fd = -1, .fixed = -1 };
	end->peer = -1;
	switch (end->kind) {
	case TAIO_KIND_STREAM:
	case TAIO_KIND_DGRAM:
		return flow_open_stream(f, end, source);
	case TAIO_KIND_PIPE:
		return flow_open_pipe(f, end, source);
	case TAIO_KIND_FILE:
		return flow_open_file(f, end, source);
	case TAIO_KIND_MEM:
		return flow_open_memory(f, end, source);
	default:
		return true;
	}
}

static inline bool flow_open(struct flow *f)
{
	static const uint8_t zeros[4u << 20];

	f->epoll = -1;
	f->from.end.fd = f->to.end.fd = f->from.peer = f->to.peer = -1;
	f->bytes = f->from.kind == TAIO_KIND_ZERO
			   ? zeros
			   : conform_pool + flow_random(f, CONFORM_POOL - f->total);
	if (!f->feed)
		f->feed = 1 + flow_random(f, 200000);
	if (!f->drain)
		f->drain = 1 + flow_random(f, 100000);
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	return flow_open_end(f, &f->from, true) && flow_open_end(f, &f->to, false);
}

static inline void flow_close(struct flow *f)
{
	struct flow_end *ends[2] = { &f->from, &f->to };

	for (unsigned int i = 0; i < 2; i++) {
		if (ends[i]->end.fd >= 0)
			close(ends[i]->end.fd);
		if (ends[i]->peer >= 0)
			close(ends[i]->peer);
		free(ends[i]->block);
	}
	if (f->epoll >= 0)
		close(f->epoll);
}

/* ---- the peers ---------------------------------------------------------------------------------- */

static inline bool flow_feed(struct flow *f)
{
	struct flow_end *end = &f->from;
	uint64_t left = f->total - f->fed;
	bool dgram = end->kind == TAIO_KIND_DGRAM;
	size_t want = dgram ? CONFORM_UNIT : 1 + flow_random(f, f->feed);
	ssize_t n;

	if (end->peer < 0 || f->ended)
		return false;
	/* Nobody tells us when a socket throws datagrams away. */
	if (dgram && f->fed - f->done >= CONFORM_FLIGHT)
		return false;
	if (left == 0) {
		if (dgram && send(end->peer, "", 0, MSG_DONTWAIT) < 0)
			return false;
		if (end->kind == TAIO_KIND_STREAM)
			shutdown(end->peer, SHUT_WR);
		if (end->kind == TAIO_KIND_PIPE) {
			close(end->peer);
			end->peer = -1;
		}
		f->ended = true;
		return true;
	}
	if (want > left)
		want = left;
	if (end->kind == TAIO_KIND_PIPE)
		n = write(end->peer, f->bytes + f->fed, want);
	else
		n = send(end->peer, f->bytes + f->fed, want, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0)
		f->fed += (uint64_t)n;
	return n > 0;
}

/* Takes up to @want bytes from the destination's peer and looks whether they are the next ones. */
static inline bool flow_take(struct flow *f, size_t want)
{
	static _Thread_local uint8_t room[256 * 1024];
	struct flow_end *end = &f->to;
	ssize_t n;

	if (end->peer < 0)
		return false;
	if (want > sizeof(room) || end->kind == TAIO_KIND_DGRAM)
		want = sizeof(room);
	n = end->kind == TAIO_KIND_PIPE ? read(end->peer, room, want)
					: recv(end->peer, room, want, MSG_DONTWAIT);
	if (n <= 0)
		return false;
	if (f->taken + (uint64_t)n > f->total)
		return flow_wrong(f, "%llu bytes arrived, more than there are",
				  (unsigned long long)(f->taken + (uint64_t)n));
	if (memcmp(room, f->bytes + f->taken, (size_t)n))
		return flow_wrong(f, "wrong bytes arrived after %llu",
				  (unsigned long long)f->taken);
	if (end->kind == TAIO_KIND_DGRAM && n > CONFORM_UNIT)
		return flow_wrong(f, "a datagram of %zd bytes", n);
	f->taken += (uint64_t)n;
	return true;
}

/* The peers get their turn. Return: whether anything happened. */
static inline bool flow_pump(struct flow *f)
{
	bool fed, took = false;

	if (f->held)
		return false;
	fed = flow_feed(f);
	if (f->to.kind == TAIO_KIND_DGRAM)
		while (flow_take(f, 0))
			took = true;
	else
		took = flow_take(f, 1 + flow_random(f, f->drain));
	return fed || took;
}

/* ---- where the engine stands --------------------------------------------------------------------- */

/* A device that has the source lets the engine wait for a descriptor of its own. */
static inline bool flow_wait_device(struct flow *f, const struct taio_step *step, uint64_t until)
{
	struct pollfd ready = { .fd = step->wait_fd, .events = POLLIN };

	while (poll(&ready, 1, 0) == 0) {
		(void)flow_pump(f);
		if (f->failed)
			return false;
		if (conform_ns() > until)
			return flow_wrong(f, "EAGAIN of a device that has the source");
	}
	return (ready.revents & POLLIN) || flow_wrong(f, "the device's descriptor is closed");
}

/* Waits as the engine does: an edge after the EAGAIN, or one that came before and was not seen. */
static inline bool flow_wait(struct flow *f, const struct taio_step *step)
{
	uint64_t until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;
	bool reads = step->wait_fd == f->from.end.fd;
	struct flow_end *end = reads ? &f->from : &f->to;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };

	f->waits++;
	if (step->claim != TAIO_CLAIM_NONE && !reads && step->wait_fd != f->to.end.fd)
		return flow_wait_device(f, step, until);
	if (step->wait_fd < 0 || (!reads && step->wait_fd != f->to.end.fd))
		return flow_wrong(f, "EAGAIN for descriptor %d, which is no end", step->wait_fd);
	if (step->wait_events != (reads ? POLLIN : POLLOUT))
		return flow_wrong(f, "EAGAIN for events %#x", step->wait_events);
	if (end->kind == TAIO_KIND_FILE)
		return flow_wrong(f, "EAGAIN for a file");
	event.data.u32 = reads;
	if (!end->polled && epoll_ctl(f->epoll, EPOLL_CTL_ADD, step->wait_fd, &event))
		return flow_wrong(f, "epoll_ctl: %s", strerror(errno));
	end->polled = true;
	for (;;) {
		uint32_t want = reads ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
		struct epoll_event got;
		bool moved;

		while (epoll_wait(f->epoll, &got, 1, 0) == 1)
			if (got.data.u32 == reads && (got.events & (want | EPOLLHUP | EPOLLERR)))
				return true;
		moved = flow_pump(f);
		if (f->failed)
			return false;
		if (!moved && conform_ns() > until)
			return flow_wrong(f, "EAGAIN (%s), and no edge came",
					  reads ? "source" : "destination");
	}
}

static inline bool flow_is_async(const struct taio_device *dev)
{
	return dev->driver->submit && !dev->worker;
}

/* Hands in a step. Return: whether it came back at once (and then f->back counts it). */
static inline bool flow_submit(struct flow *f, struct taio_device *dev, struct taio_step *step)
{
	uint64_t until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;
	enum taio_submit said;

	memset(step->priv, 0xa5, sizeof(step->priv));
	step->wait_fd = -1;
	step->result = 0;
	f->out++;
	if (!flow_is_async(dev)) {
		step->result = dev->driver->run(dev, step);
		f->back++;
		return true;
	}
	while ((said = dev->driver->submit(dev, step)) == TAIO_BUSY)
		if (conform_ns() > until)
			return flow_wrong(f, "busy for ever");
	if (said == TAIO_DONE)
		f->back++;
	return said == TAIO_DONE;
}

/* Collects one step of an asynchronous device, if there is one. */
static inline struct taio_step *flow_reap(struct flow *f, struct taio_device *dev)
{
	struct taio_step *done[4] = { NULL };
	int n;

	if (dev->driver->wait)
		dev->driver->wait(dev, 0);
	n = dev->driver->reap(dev, done, 4);
	if (n > 1)
		flow_wrong(f, "%d steps came back instead of one", n);
	f->back += n > 0 ? (unsigned int)n : 0;
	return n > 0 ? done[0] : NULL;
}

/* Waits for a step that was handed in. */
static inline bool flow_await(struct flow *f, struct taio_device *dev, struct taio_step *step)
{
	uint64_t until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;

	for (;;) {
		struct taio_step *done = flow_reap(f, dev);

		if (done)
			return done == step || flow_wrong(f, "another step came back");
		if (flow_pump(f))
			until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;
		else if (dev->driver->wait)
			dev->driver->wait(dev, 200000);
		if (f->failed)
			return false;
		if (conform_ns() > until)
			return flow_wrong(f, "the step did not come back");
	}
}

static inline const struct taio_capability *flow_capability(const struct taio_device *dev,
							    uint8_t from, uint8_t to)
{
	for (const struct taio_capability *cap = dev->driver->caps; cap->op; cap++)
		if ((dev->worker || !(cap->flags & TAIO_CAP_ON_WORKER)) &&
		    cap->op == TAIO_OP_COPY && (cap->from & 1u << from) && (cap->to & 1u << to))
			return cap;
	return NULL;
}

/* May the engine give this step to the device? */
static inline bool flow_fits(struct taio_device *dev, const struct taio_step *step)
{
	const struct taio_capability *cap = flow_capability(dev, step->from.kind, step->to.kind);

	if (!cap || step->len < cap->min || (cap->max && step->len > cap->max))
		return false;
	if (cap->align > 1 && ((step->from.offset | step->to.offset) & (cap->align - 1)))
		return false;
	return !dev->driver->fits || dev->driver->fits(dev, step);
}

/* The step that continues after @done bytes, @len long. */
static inline struct taio_step flow_step(const struct flow *f, uint64_t done, uint64_t len)
{
	struct taio_step step = { .op = TAIO_OP_COPY, .from = f->from.end, .to = f->to.end };

	step.len = len;
	step.wait_fd = -1;
	if (step.from.kind == TAIO_KIND_MEM)
		step.from.ptr = f->from.memory + done;
	else if (!(step.from.flags & TAIO_END_STREAMED))
		step.from.offset += done;
	if (step.to.kind == TAIO_KIND_MEM)
		step.to.ptr = f->to.memory + done;
	else if (!(step.to.flags & TAIO_END_STREAMED))
		step.to.offset += done;
	if (done + len < f->len)
		step.flags |= TAIO_SF_MORE;
	else if (step.to.kind == TAIO_KIND_DGRAM)
		step.flags |= 0;
	return step;
}

/* Errors that mean: not this way, nothing was moved, ask another device. */
static inline bool flow_other_way(int64_t error)
{
	return error == -EOPNOTSUPP || error == -EINVAL || error == -EXDEV || error == -ENOSYS;
}

/*
 * Copies as the engine does, each step on a device of the list that is willing, at random; @last is
 * asked when no other is. Steps on devices[0] are counted in f->steps.
 * Return: bytes moved, -1 if something is wrong.
 */
static inline int64_t flow_copy(struct flow *f, struct taio_device **devices, unsigned int count,
				struct taio_device *last)
{
	uint64_t done = 0, banned = 0;
	struct taio_device *claimer = NULL;
	uint8_t claim = TAIO_CLAIM_NONE;

	while (done < f->len && !f->failed) {
		uint64_t most = f->segment ? f->segment : 1 + flow_random(f, 2 * f->len);
		struct taio_step step =
			flow_step(f, done, f->len - done < most ? f->len - done : most);
		struct taio_device *dev = last;
		unsigned int at = (unsigned int)flow_random(f, count);

		for (unsigned int i = 0; i < count; i++, at = (at + 1) % count)
			if (!(banned >> at & 1) && flow_fits(devices[at], &step)) {
				dev = devices[at];
				break;
			}
		dev = claimer ? claimer : dev;
		step.claim = claim;
		if (dev == last && !flow_fits(last, &step))
			return flow_wrong(f, "no device fits %llu bytes",
					  (unsigned long long)step.len),
			       -1;
		if (!flow_submit(f, dev, &step) && !flow_await(f, dev, &step))
			break;
		f->steps += dev == devices[0];
		claim = step.claim;
		if (claimer && claim == TAIO_CLAIM_NONE)
			claimer->driver->release(claimer, &f->from.end, TAIO_RELEASE_NOW);
		claimer = claim == TAIO_CLAIM_NONE ? NULL : dev;
		if (step.result > 0 && (uint64_t)step.result > step.len)
			flow_wrong(f, "%lld bytes of %llu", (long long)step.result,
				   (unsigned long long)step.len);
		else if (step.result > 0)
			f->done = done += (uint64_t)step.result;
		else if (step.result == 0)
			break;
		else if (step.result == -EAGAIN)
			flow_wait(f, &step);
		else if (flow_other_way(step.result) && dev != last) {
			f->refused += dev == devices[0];
			banned |= 1ULL << at;
		} else
			flow_wrong(f, "%s after %llu bytes: %s", dev->driver->name,
				   (unsigned long long)done, strerror((int)-step.result));
		if (flow_random(f, 3) == 0)
			flow_pump(f);
	}
	if (claimer)
		claimer->driver->release(claimer, &f->from.end, TAIO_RELEASE_NOW);
	return f->failed ? -1 : (int64_t)done;
}

/* ---- what arrived -------------------------------------------------------------------------------- */

static inline bool flow_same(struct flow *f, const uint8_t *have, const uint8_t *want, uint64_t len)
{
	if (memcmp(have, want, len) == 0)
		return true;
	for (uint64_t i = 0; i < len; i++)
		if (have[i] != want[i])
			return flow_wrong(f, "byte %llu of %llu differs", (unsigned long long)i,
					  (unsigned long long)len);
	return true;
}

static inline bool flow_judge_file(struct flow *f, uint64_t moved)
{
	uint64_t guard = f->to_offset < CONFORM_GUARD ? f->to_offset : CONFORM_GUARD;
	uint8_t *have = malloc(moved + guard + 1);
	struct stat st;
	bool good;

	if (!have || fstat(f->to.end.fd, &st))
		return flow_wrong(f, "no memory");
	good = (uint64_t)st.st_size == f->to_offset + moved ||
	       flow_wrong(f, "the file is %llu bytes long", (unsigned long long)st.st_size);
	good = good && (pread(f->to.end.fd, have, moved + guard, (off_t)(f->to_offset - guard)) ==
				(ssize_t)(moved + guard) ||
			flow_wrong(f, "the file cannot be read back"));
	for (uint64_t i = 0; good && i < guard; i++)
		good = have[i] == 0x5a || flow_wrong(f, "written before the destination");
	good = good && flow_same(f, have + guard, f->bytes, moved);
	free(have);
	return good;
}

static inline bool flow_judge_memory(struct flow *f, uint64_t moved)
{
	for (unsigned int i = 1; i <= CONFORM_GUARD; i++)
		if (f->to.memory[-(int)i] != 0x5a || f->to.memory[moved + i - 1] != 0x5a)
			return flow_wrong(f, "written beside the destination");
	return flow_same(f, f->to.memory, f->bytes, moved);
}

/* What the driver did not report as moved must still be in the source, beginning just there. */
static inline bool flow_judge_source(struct flow *f, uint64_t moved)
{
	uint64_t at = moved, until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;
	static _Thread_local uint8_t room[65536];

	if (f->from.kind != TAIO_KIND_STREAM && f->from.kind != TAIO_KIND_PIPE)
		return true;
	while (at < f->total) {
		ssize_t n = read(f->from.end.fd, room, sizeof(room));

		if (n > 0 &&
		    (at + (uint64_t)n > f->total || memcmp(room, f->bytes + at, (size_t)n)))
			return flow_wrong(f, "the source goes on with other bytes after %llu",
					  (unsigned long long)at);
		if (n > 0)
			at += (uint64_t)n;
		else if (n == 0 || errno != EAGAIN || (!flow_feed(f) && conform_ns() > until))
			return flow_wrong(f, "%llu bytes are lost: %s",
					  (unsigned long long)(f->total - at),
					  n ? strerror(errno) : "end of source");
	}
	return true;
}

/* Is everything where it belongs, and did every step come back once? @moved: as reported. */
static inline bool flow_judge(struct flow *f, int64_t moved)
{
	uint64_t until = conform_ns() + CONFORM_LIMIT * 1000000000ULL;
	uint64_t want = f->len < f->total ? f->len : f->total;

	if (f->failed)
		return false;
	if ((uint64_t)moved != want)
		return flow_wrong(f, "%lld bytes were reported instead of %llu", (long long)moved,
				  (unsigned long long)want);
	if (f->out != f->back)
		return flow_wrong(f, "%u steps went out, %u came back", f->out, f->back);
	if (f->to.peer >= 0) {
		while (f->taken < want && !f->failed)
			if (!flow_take(f, SIZE_MAX) && conform_ns() > until)
				return flow_wrong(f, "only %llu bytes arrived",
						  (unsigned long long)f->taken);
		if (flow_take(f, SIZE_MAX) || f->failed)
			return flow_wrong(f, "bytes arrived twice");
	}
	if (f->to.kind == TAIO_KIND_FILE && !flow_judge_file(f, want))
		return false;
	if (f->to.kind == TAIO_KIND_MEM && !flow_judge_memory(f, want))
		return false;
	return flow_judge_source(f, want);
}

#endif /* TESTS_CONFORM_H */
