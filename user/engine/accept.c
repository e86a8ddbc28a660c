/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * accept.c: from the public call to a request with its plan: checks arguments, finds out what the
 * ends are, copies strings, builds the FIFO. Whatever it refuses leaves nothing behind.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/fileops.h"
#include "plan/endpoint.h"
#include "plan/plan.h"
#include "util/clear.h"
#include "util/clock.h"

#define ACCEPT_DATAGRAM 1472

static int accept_refuse(struct taio *e, int error, const char *why)
{
	snprintf(e->refusal, sizeof(e->refusal), "%s", why);
	return error;
}

static char *accept_string(struct taio *e, const char *text, int *ret_error)
{
	size_t length = strnlen(text, PATH_MAX);
	char *copy;

	if (length == PATH_MAX) {
		*ret_error = -ENAMETOOLONG;
		return NULL;
	}
	copy = slab_get(&e->slab, length + 1);
	if (!copy) {
		*ret_error = -ENOBUFS;
		return NULL;
	}
	memcpy(copy, text, length + 1);
	return copy;
}

static void accept_string_put(struct taio *e, const char *text)
{
	if (text)
		slab_put(&e->slab, (void *)(uintptr_t)text, strlen(text) + 1);
}

static void accept_release_address(struct taio *e, struct taio_addr *addr)
{
	if (!addr)
		return;
	accept_string_put(e, addr->copy);
	slab_put(&e->slab, addr, sizeof(*addr));
}

void accept_release(struct taio *e, struct request *r)
{
	if (r->file) {
		mirror_release(e, r);
		accept_string_put(e, r->file->from_path);
		accept_string_put(e, r->file->to_path);
		slab_put(&e->slab, r->file, sizeof(*r->file));
	}
	accept_release_address(e, r->addr_from);
	accept_release_address(e, r->addr_to);
	if (r->dgram)
		slab_put(&e->slab, r->dgram, sizeof(*r->dgram));
	r->file = NULL;
	r->addr_from = r->addr_to = NULL;
	r->dgram = NULL;
}

static int accept_file_record(struct taio *e, struct request *r)
{
	if (r->file)
		return 0;
	r->file = slab_get(&e->slab, sizeof(*r->file));
	if (!r->file)
		return -ENOBUFS;
	clear(r->file, sizeof(*r->file));
	r->file->from_fd = r->file->to_fd = -1;
	r->file->umask = (mode_t)e->umask;
	r->file->flags = r->flags;
	r->file->length = TAIO_TO_END;
	return 0;
}

static int accept_path(struct taio *e, struct request *r, const struct taio_endpoint *ep,
		       unsigned int side)
{
	int rc = accept_file_record(e, r);
	char *copy;

	if (rc)
		return rc;
	if (!ep->ptr)
		return -EFAULT;
	if (!*(const char *)ep->ptr)
		return -ENOENT;
	copy = accept_string(e, ep->ptr, &rc);
	if (!copy)
		return rc;
	if (side) {
		r->file->to_path = copy;
		if (ep->offset && ep->offset != TAIO_CURRENT)
			r->file->flags |= TAIO_IN_PLACE;
	} else {
		r->file->from_path = copy;
		r->file->offset = ep->offset == TAIO_CURRENT ? 0 : ep->offset;
		r->file->length = ep->length;
	}
	return 0;
}

static int accept_mirror(struct taio *e, struct request *r, const struct taio_endpoint *ep)
{
	int rc = accept_path(e, r, ep, 0);

	if (rc)
		return rc;
	rc = mirror_make(e, r);
	if (rc == -EINVAL)
		return accept_refuse(e, rc, "a mirror has 2 to 4 names, with commas between");
	return rc;
}

static int accept_address(struct taio *e, struct request *r, const struct taio_endpoint *ep,
			  unsigned int side)
{
	struct taio_addr *addr;
	char *copy;
	int rc = 0;

	if (!ep->ptr)
		return -EFAULT;
	addr = slab_get(&e->slab, sizeof(*addr));
	if (!addr)
		return -ENOBUFS;
	copy = accept_string(e, ep->ptr, &rc);
	if (copy)
		rc = addr_parse(copy, addr);
	if (rc) {
		accept_string_put(e, copy);
		slab_put(&e->slab, addr, sizeof(*addr));
		return accept_refuse(e, rc, "not an address: host:port:tcp, unix:/path, ...");
	}
	/* addr_parse() may have stepped over "listen:": the record keeps the start of the copy. */
	addr->fd = addr->listen_fd = -1;
	addr->copy = copy;
	(void)addr_numeric(addr);
	if (side)
		r->addr_to = addr;
	else
		r->addr_from = addr;
	return 0;
}

/* Which kind of socket, if it is one: for TCP and UDP the protocol says it all. */
static bool accept_is_socket(struct taio *e, struct taio_end *end)
{
	socklen_t length = sizeof(int);
	int protocol, type = SOCK_STREAM;

	if (getsockopt(end->fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length))
		return false;
	if (protocol == IPPROTO_UDP) {
		end->flags |= TAIO_END_UDP;
		type = SOCK_DGRAM;
	} else if (protocol != IPPROTO_TCP &&
		   getsockopt(end->fd, SOL_SOCKET, SO_TYPE, &type, &length)) {
		return false;
	}
	end->kind = type == SOCK_DGRAM ? TAIO_KIND_DGRAM : TAIO_KIND_STREAM;
	e->fd_socket |= 1ULL << (end->fd & 63);
	return true;
}

/* What kind of thing an open descriptor is. */
static int accept_classify(struct taio *e, struct request *r, const struct taio_endpoint *ep,
			   struct taio_end *end, uint64_t *ret_size)
{
	const bool streamable = ep->offset == TAIO_CURRENT || ep->offset == 0;
	struct stat st;

	*ret_size = TAIO_TO_END;
	/* What was a socket by that number is one most of the time: one call instead of two. */
	if (streamable && (e->fd_socket >> (end->fd & 63) & 1) && accept_is_socket(e, end))
		return 0;
	e->fd_socket &= ~(1ULL << (end->fd & 63));
	if (fstat(end->fd, &st))
		return -errno;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		end->kind = TAIO_KIND_FILE;
		/* A block device lies on devtmpfs, but that is not what it is made of. */
		end->fs = S_ISBLK(st.st_mode)
				  ? (uint8_t)TAIO_FS_OTHER
				  : (uint8_t)fileops_fs_of(end->fd, (uint64_t)st.st_dev);
		e->fd_fs[end->fd & 63] = end->fs;
		if (S_ISREG(st.st_mode))
			*ret_size = (uint64_t)st.st_size;
		if (end == &r->from && S_ISREG(st.st_mode) && st.st_size == 0)
			r->traits |= REQUEST_ONLY_RW; /* it may lie: procfs */
		if (ep->offset == TAIO_CURRENT) {
			end->flags |= TAIO_END_STREAMED;
			r->traits |= REQUEST_POSITION;
		}
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!streamable)
		return -ESPIPE;
	if (!S_ISSOCK(st.st_mode)) {
		end->kind = TAIO_KIND_PIPE;
		return 0;
	}
	return accept_is_socket(e, end) ? 0 : -errno;
}

static int accept_fd(struct taio *e, struct request *r, const struct taio_endpoint *ep,
		     unsigned int side)
{
	struct taio_end *end = side ? &r->to : &r->from;
	uint64_t size;
	int rc;

	if (ep->fd < 0)
		return accept_refuse(e, -EINVAL, "a negative descriptor");
	end->fd = ep->fd;
	end->offset = ep->offset == TAIO_CURRENT ? 0 : ep->offset;
	if (request_is_messages(r) && messages_is_udp(end))
		return 0;
	/* A part of a file by position: taken at its word, so that it costs no system call. Only
	 * files have positions, but 0 is also said of sockets and pipes. */
	if (ep->offset != TAIO_CURRENT && ep->offset != 0 && (side || ep->length != TAIO_TO_END) &&
	    e->fd_fs[ep->fd & 63]) {
		end->kind = TAIO_KIND_FILE;
		end->fs = e->fd_fs[ep->fd & 63];
		return 0;
	}
	rc = accept_classify(e, r, ep, end, &size);
	if (rc)
		return rc;
	if (side == 0 && size != TAIO_TO_END && !(r->traits & REQUEST_ONLY_RW) &&
	    !(end->flags & TAIO_END_STREAMED)) {
		uint64_t rest = size > end->offset ? size - end->offset : 0;

		if (rest < r->length)
			r->length = rest;
	}
	return 0;
}

static int accept_vector(struct taio *e, struct request *r, const struct taio_endpoint *ep,
			 unsigned int side)
{
	struct request_vector *vector = side ? &r->vector_to : &r->vector_from;
	const struct iovec *iov = ep->ptr;
	uint64_t total = 0;

	if (!iov)
		return -EFAULT;
	if (ep->length == 0 || ep->length > IOV_MAX)
		return accept_refuse(e, -EINVAL, "a vector has 1 to 1024 pieces");
	vector->iov = iov;
	vector->count = (uint32_t)ep->length;
	for (uint32_t i = 0; i < vector->count; i++) {
		if (!iov[i].iov_base && iov[i].iov_len)
			return -EFAULT;
		if (iov[i].iov_len > (uint64_t)INT64_MAX - total)
			return accept_refuse(e, -EINVAL, "a vector is too long");
		total += iov[i].iov_len;
	}
	if (total < r->length)
		r->length = total;
	return 0;
}

static int accept_dgram_record(struct taio *e, struct request *r)
{
	if (r->dgram)
		return 0;
	r->dgram = slab_get(&e->slab, sizeof(*r->dgram));
	if (!r->dgram)
		return -ENOBUFS;
	memset(r->dgram, 0, sizeof(*r->dgram));
	return 0;
}

static int accept_end(struct taio *e, struct request *r, const struct taio_endpoint *ep,
		      unsigned int side, enum plan_end *ret_plan)
{
	struct taio_end *end = side ? &r->to : &r->from;

	end->fd = end->fixed = -1;
	*ret_plan = PLAN_OPEN;
	switch ((enum taio_endpoint_type)ep->type) {
	case TAIO_EP_MEMORY:
		end->kind = TAIO_KIND_MEM;
		end->ptr = (void *)(uintptr_t)ep->ptr;
		if (!ep->ptr && ep->length)
			return -EFAULT;
		if (ep->length < r->length)
			r->length = ep->length;
		for (uint32_t i = 0; i < e->host.buffer_count; i++) {
			const char *base = e->host.buffers[i].iov_base;

			if ((char *)end->ptr >= base &&
			    (char *)end->ptr + ep->length <= base + e->host.buffers[i].iov_len)
				end->fixed = (int32_t)i;
		}
		return 0;
	case TAIO_EP_VECTOR:
		end->kind = TAIO_KIND_MEM;
		return accept_vector(e, r, ep, side);
	case TAIO_EP_PATH:
		*ret_plan = PLAN_PATH;
		end->offset = ep->offset == TAIO_CURRENT ? 0 : ep->offset;
		if (ep->length < r->length)
			r->length = ep->length;
		return accept_path(e, r, ep, side);
	case TAIO_EP_FD:
		if (ep->length < r->length)
			r->length = ep->length;
		return accept_fd(e, r, ep, side);
	case TAIO_EP_ADDRESS: {
		int rc = accept_address(e, r, ep, side);

		if (rc == 0)
			*ret_plan = (side ? r->addr_to : r->addr_from)->listen ? PLAN_LISTEN
									       : PLAN_CONNECT;
		return rc;
	}
	case TAIO_EP_NULL:
		end->kind = TAIO_KIND_NULL;
		return 0;
	case TAIO_EP_ZERO:
		end->kind = TAIO_KIND_ZERO;
		if (ep->length < r->length)
			r->length = ep->length;
		return 0;
	case TAIO_EP_MIRROR:
		*ret_plan = PLAN_MIRROR;
		if (ep->length < r->length)
			r->length = ep->length;
		return accept_mirror(e, r, ep);
	case TAIO_EP_MESSAGES: {
		int rc = accept_dgram_record(e, r);
		const char *why;

		if (rc)
			return rc;
		why = messages_accept(r, ep, side, &rc);
		return why ? accept_refuse(e, rc, why) : 0;
	}
	case TAIO_EP_NONE:
		break;
	}
	return -EINVAL;
}

static int accept_dgram_options(struct taio *e, struct request *r, const struct taio_options *o)
{
	int rc;

	if (!o || (!o->least && !o->limit_packets && !o->idle_ns && !o->counters && !o->datagrams &&
		   !o->framing && !(o->flags & TAIO_NO_SHUTDOWN)))
		return 0;
	rc = accept_dgram_record(e, r);
	if (rc)
		return rc;
	r->dgram->least = o->least;
	r->dgram->limit_packets = o->limit_packets;
	r->dgram->idle_ns = o->idle_ns;
	r->dgram->counters = o->counters;
	r->dgram->datagrams = o->datagrams;
	r->dgram->framing = (uint8_t)o->framing;
	return 0;
}

static int accept_options(struct taio *e, struct request *r, const struct taio_options *o)
{
	r->length = TAIO_TO_END;
	r->allowed = UINT64_MAX;
	r->to.unit = r->from.unit = ACCEPT_DATAGRAM;
	if (e->pin)
		r->allowed = e->pin;
	if (!o)
		return 0;
	if (o->size != sizeof(*o))
		return accept_refuse(e, -EINVAL, "options.size is not that of this library");
	if (o->goal > TAIO_GOAL_CPU || o->priority >= ENGINE_PRIORITIES || o->datagram > 65507 ||
	    o->least > TAIO_MESSAGES_MAX || o->framing > TAIO_FRAMING_LENGTH || o->reserved ||
	    o->flags >= TAIO_PRESERVE << 1)
		return accept_refuse(e, -EINVAL, "an option is out of range");
	r->flags = o->flags;
	r->goal = o->goal;
	r->priority = o->priority;
	r->tag = o->tag;
	r->length = o->length ? o->length : TAIO_TO_END;
	r->user_length = o->length != 0;
	r->deadline_ns = o->deadline_ns;
	r->limit_rate = o->limit_rate;
	r->forbidden = o->forbid;
	r->progress = o->progress;
	r->trace = o->trace;
	if (o->pin)
		r->allowed = o->pin;
	if (o->datagram)
		r->to.unit = r->from.unit = o->datagram;
	if (o->timeout_ns)
		r->expires_ns = e->now_ns + o->timeout_ns;
	return 0;
}

static bool accept_is_memory(const struct taio_endpoint *ep)
{
	return ep->type == TAIO_EP_MEMORY || ep->type == TAIO_EP_VECTOR;
}

static uint64_t accept_memory_size(const struct taio_endpoint *ep)
{
	const struct iovec *iov = ep->ptr;
	uint64_t total = 0;

	if (ep->type == TAIO_EP_MEMORY)
		return ep->length;
	for (uint64_t i = 0; i < ep->length; i++)
		total += iov[i].iov_len;
	return total;
}

/* Memory to memory of unequal size is a mistake of the caller, not a short transfer. */
static const char *accept_check_sizes(const struct request *r, const struct taio_endpoint *from,
				      const struct taio_endpoint *to)
{
	if (accept_is_memory(from) && accept_is_memory(to) &&
	    accept_memory_size(from) != accept_memory_size(to))
		return "source and destination memory differ in size";
	if (r->length == TAIO_TO_END && from->type == TAIO_EP_ZERO)
		return "a source of zeros needs a length: its end never comes";
	return NULL;
}

static bool accept_is_bounded(const struct taio_endpoint *ep)
{
	return accept_is_memory(ep) || ep->length != TAIO_TO_END;
}

static void accept_drop(struct taio *e, struct request *r)
{
	accept_release(e, r);
	request_put(&e->pool, r);
}

/* May the device "file" have it, if it is small? Not where devices are chosen whose calls it makes. */
static bool accept_is_whole(const struct taio *e, const struct request *r, enum plan_end from,
			    enum plan_end to)
{
	if (from != PLAN_PATH || r->limit_rate || r->allowed != UINT64_MAX ||
	    ((e->forbid | r->forbidden) & e->file_calls))
		return false;
	return to == PLAN_PATH ? r->to.offset == 0
			       : to == PLAN_OPEN && r->to.kind == TAIO_KIND_STREAM;
}

static int accept_fill(struct taio *e, struct request *r, const struct taio_endpoint *from,
		       const struct taio_endpoint *to, const struct taio_options *options)
{
	enum plan_end plan_from, plan_to;
	const char *why;
	bool whole;
	int rc = accept_options(e, r, options);

	if (to->type == TAIO_EP_MESSAGES)
		r->to.kind = TAIO_KIND_MESSAGES; /* what a descriptor is asked depends on it */
	if (rc == 0)
		rc = accept_dgram_options(e, r, options);
	if (rc == 0)
		rc = accept_end(e, r, from, 0, &plan_from);
	if (rc == 0)
		rc = accept_end(e, r, to, 1, &plan_to);
	if (rc)
		return rc;
	/* What grows while it is read is followed only as far as the other end goes. */
	if (accept_is_bounded(from) || accept_is_bounded(to))
		r->user_length = 1;
	why = accept_check_sizes(r, from, to);
	if (why)
		return accept_refuse(e, -EINVAL, why);
	if (r->dgram) {
		why = request_is_messages(r) ? messages_accept_pair(r, &rc)
					     : messages_accept_copy(r, &rc);
		if (why)
			return accept_refuse(e, rc, why);
	}
	if (r->from.kind && r->to.kind && !route_copy_devices(e, r->from.kind, r->to.kind))
		return accept_refuse(e, -EOPNOTSUPP, "no device can copy between these two");
	if (r->file)
		r->file->flags |= r->flags;
	whole = accept_is_whole(e, r, plan_from, plan_to);
	if (whole)
		r->file->length = r->length < r->file->length ? r->length : r->file->length;
	plan_build(r, plan_from, plan_to, whole);
	rc = lane_enter(e, r, 0, r->from.fd);
	if (rc == 0) {
		rc = lane_enter(e, r, 1, r->to.fd);
		if (rc)
			lane_leave(e, r);
	}
	return rc;
}

/* A request with its plan; neither ready nor counted yet. Return: NULL: *ret_error says why. */
static struct request *accept_make(struct taio *e, const struct taio_endpoint *from,
				   const struct taio_endpoint *to,
				   const struct taio_options *options, int *ret_error)
{
	struct request *r = request_get(&e->pool);

	*ret_error = -EAGAIN;
	if (!r)
		return NULL;
	request_set_state(r, REQUEST_READY);
	*ret_error = accept_fill(e, r, from, to, options);
	if (*ret_error) {
		accept_drop(e, r);
		return NULL;
	}
	return r;
}

static void accept_end_of(struct taio *e, struct request *r, uint64_t cookie, bool canary)
{
	r->cookie = cookie;
	if (canary)
		r->traits |= REQUEST_CANARY;
	if (r->expires_ns)
		timer_set(e, r, UINT64_MAX);
	if (messages_may_start(e, r))
		engine_start(e, r);
	else
		engine_make_ready(e, r);
}

int accept_whole(struct taio *e, struct request *r, const struct taio_endpoint *from,
		 const struct taio_endpoint *to, const struct taio_options *options)
{
	int rc = accept_options(e, r, options);

	if (rc == 0 && strnlen(from->ptr, PATH_MAX) == PATH_MAX)
		rc = -ENAMETOOLONG;
	if (from->length < r->length)
		r->length = from->length;
	r->to.fd = r->from.fd = -1;
	if (rc || to->type == TAIO_EP_PATH)
		return rc ? rc : strnlen(to->ptr, PATH_MAX) == PATH_MAX ? -ENAMETOOLONG : 0;
	rc = accept_fd(e, r, to, 1);
	if (to->length < r->length)
		r->length = to->length;
	return rc ? rc : r->to.kind == TAIO_KIND_STREAM ? 0 : ACCEPT_LATER;
}

int accept_opened(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		  const struct taio_options *options)
{
	const struct request *begun = &e->whole.request;
	struct taio_file *record = &e->whole.file;
	struct request *r;
	int rc;

	r = accept_make(e, from, to, options, &rc);
	if (!r) {
		fileops_abort(record);
		return rc;
	}
	record->from_path = r->file->from_path;
	record->to_path = r->file->to_path;
	*r->file = *record;
	r->accepted_ns = begun->accepted_ns;
	if (control_opened(e, r, &e->whole.step) == ENGINE_NEXT)
		request_fifo_pop(r);
	accept_end_of(e, r, begun->cookie, begun->traits & REQUEST_CANARY);
	return 0;
}

int accept_request(struct taio *e, const struct taio_endpoint *from, const struct taio_endpoint *to,
		   const struct taio_options *options, uint64_t cookie)
{
	const char *why = plan_refuse(from, to);
	bool begun = false;
	struct request *r;
	int rc;

	if (why)
		return accept_refuse(e, -EOPNOTSUPP, why);
	if (e->pool.busy + e->event_count >= e->pool.capacity)
		return -EAGAIN;
	if (whole_may(e, from, to, options)) {
		rc = whole_now(e, from, to, options, cookie);
		if (rc != ACCEPT_LATER)
			return rc;
		begun = true;
	}
	e->now_ns = clock_ns();
	r = accept_make(e, from, to, options, &rc);
	if (!r)
		return rc;
	r->accepted_ns = e->now_ns;
	accept_end_of(e, r, cookie,
		      begun ? e->whole.request.traits & REQUEST_CANARY
			    : policy_next_is_canary(e->policy));
	return 0;
}
