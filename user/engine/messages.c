/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * messages.c: what is special about batches of datagrams: checking the array, counting what became
 * of each, rates in bytes and packets, and when a batch that is received is complete. Cutting into
 * steps, choosing devices and waiting are those of every transfer (transfer.c), which counts
 * messages where it otherwise counts bytes.
 */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>

#ifndef UDP_GRO /* glibc has it since 2.35 */
#define UDP_GRO 104
#endif

#define MESSAGES_SHARE    256 /* in a step while other requests want the thread */
#define MESSAGES_STEP     1024
#define MESSAGES_RETRY_NS (1000ULL * 1000) /* a queue without an event that tells of room */

struct taio_message *messages_of(const struct taio_step *step)
{
	return step->from.kind == TAIO_KIND_MESSAGES ? step->from.ptr : step->to.ptr;
}

/* ---- acceptance ---- */

static int messages_check(const struct request *r, struct taio_message *m, uint32_t count,
			  uint64_t *ret_bytes)
{
	const bool sends = r->from.kind == TAIO_KIND_MESSAGES;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (m[i].length > INT32_MAX)
			return -EINVAL;
		if ((!m[i].data && m[i].length) ||
		    (!m[i].address && (sends ? m[i].address_length : m[i].address_room)))
			return -EFAULT;
		m[i].result = -ECANCELED;
		bytes += m[i].length;
	}
	*ret_bytes = bytes;
	return 0;
}

/* One call tells that it is a UDP socket, and whether the kernel was told to join datagrams: then one
 * recvmsg() gives many of them. */
bool messages_is_udp(struct taio_end *end)
{
	socklen_t length = sizeof(int);
	int on = 0;

	if (getsockopt(end->fd, IPPROTO_UDP, UDP_GRO, &on, &length))
		return false;
	end->kind = TAIO_KIND_DGRAM;
	end->flags |= TAIO_END_UDP | (on ? TAIO_END_JOINED : 0);
	return true;
}

static void messages_look_for_joined(struct taio_end *end)
{
	socklen_t length = sizeof(int);
	int on = 0;

	if ((end->flags & TAIO_END_UDP) &&
	    getsockopt(end->fd, IPPROTO_UDP, UDP_GRO, &on, &length) == 0 && on)
		end->flags |= TAIO_END_JOINED;
}

const char *messages_accept(struct request *r, const struct taio_endpoint *ep, unsigned int side,
			    int *ret_error)
{
	struct taio_end *end = side ? &r->to : &r->from;
	uint64_t bytes;

	*ret_error = -EINVAL;
	if (ep->length == 0 || ep->length > TAIO_MESSAGES_MAX)
		return "a batch has 1 to 65536 messages";
	*ret_error = -EFAULT;
	if (!ep->ptr)
		return "messages are missing";
	end->kind = TAIO_KIND_MESSAGES;
	end->ptr = (void *)(uintptr_t)ep->ptr;
	*ret_error = messages_check(r, end->ptr, (uint32_t)ep->length, &bytes);
	if (*ret_error)
		return *ret_error == -EINVAL ? "a message is longer than 2 GiB"
					     : "data or an address of a message is missing";
	r->length = ep->length;
	r->user_length = 1;
	r->flags |= TAIO_NO_SHUTDOWN; /* an end mark would be one message more */
	r->from.unit = r->to.unit = (uint32_t)(bytes / ep->length);
	return NULL;
}

const char *messages_accept_pair(struct request *r, int *ret_error)
{
	const bool receives = request_receives_messages(r);
	const struct taio_end *peer = receives ? &r->from : &r->to;
	struct taio_addr *addr = receives ? r->addr_from : r->addr_to;

	*ret_error = -EOPNOTSUPP;
	if (r->dgram->framing || r->dgram->datagrams)
		return "framing and a number of datagrams are for copies of bytes";
	if (addr ? addr->type != SOCK_DGRAM : peer->kind != TAIO_KIND_DGRAM)
		return "messages need a datagram socket at the other end";
	*ret_error = -EINVAL;
	if (r->dgram->least > (receives ? r->length : 0))
		return receives ? "more messages are demanded than there is room for"
				: "only a batch that is received has a least number";
	*ret_error = 0;
	if (receives && addr && addr->listen)
		addr->listen = 2;
	return NULL;
}

/* A small batch is started within the call that accepts it, if nobody else waits: the detour over the
 * queue of ready requests and a turn costs as much as sending a datagram. */
bool messages_may_start(const struct taio *e, const struct request *r)
{
	return request_is_messages(r) && r->length <= MESSAGES_SHARE && !e->ready_mask &&
	       request_fifo_head(r) == TAIO_STEP_TRANSFER;
}

static bool messages_is_dgram(const struct taio_end *end, const struct taio_addr *addr)
{
	return addr ? addr->type == SOCK_DGRAM : end->kind == TAIO_KIND_DGRAM;
}

const char *messages_accept_copy(struct request *r, int *ret_error)
{
	struct request_dgram *d = r->dgram;
	const bool from = messages_is_dgram(&r->from, r->addr_from);
	const bool to = messages_is_dgram(&r->to, r->addr_to);

	*ret_error = -EINVAL;
	if (d->least)
		return "a least number is for batches of messages";
	if (d->framing && from == to)
		return "framing is for copies between datagrams and bytes";
	if ((d->datagrams || d->idle_ns) && (!from || to))
		return "a number of datagrams and an idle time are for what is received";
	if (d->limit_packets && from == to)
		return "a limit in packets is for datagrams";
	*ret_error = 0;
	d->counted = d->framing || (from && !to &&
				    (d->datagrams || d->idle_ns || d->limit_packets ||
				     r->flags & TAIO_NO_SHUTDOWN));
	if (from && d->counted && !r->addr_from)
		messages_look_for_joined(&r->from);
	return NULL;
}

/* ---- counting ---- */

static enum taio_drop messages_drop_of(int error)
{
	switch (-error) {
	case ECONNREFUSED:
	case ENOPROTOOPT:
		return TAIO_DROP_REFUSED;
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EHOSTDOWN:
	case ENONET:
	case ENETDOWN:
		return TAIO_DROP_UNREACHABLE;
	case EMSGSIZE:
		return TAIO_DROP_TOO_LONG;
	case EPERM:
	case EACCES:
		return TAIO_DROP_FORBIDDEN;
	case EINVAL:
	case EAFNOSUPPORT:
	case EDESTADDRREQ:
	case ENOTCONN:
	case ENOENT:
	case EPROTOTYPE:
	case EISCONN:
	case EADDRNOTAVAIL:
		return TAIO_DROP_ADDRESS;
	case ENOBUFS:
	case EAGAIN:
	case ENOMEM:
		return TAIO_DROP_FULL;
	case ECANCELED:
		return TAIO_DROP_CANCELLED;
	default:
		return TAIO_DROP_OTHER;
	}
}

void messages_add(struct taio_message_counters *to, const struct taio_message_counters *add)
{
	to->sent += add->sent;
	to->completed += add->completed;
	to->received += add->received;
	to->bytes += add->bytes;
	for (unsigned int i = 0; i < TAIO_DROP_COUNT; i++)
		to->dropped[i] += add->dropped[i];
}

static void messages_count(struct taio *e, struct request *r, const struct taio_step *step,
			   const struct taio_message_counters *sums)
{
	messages_add(&e->count[step->device].messages, sums);
	if (r->dgram && r->dgram->counters)
		messages_add(r->dgram->counters, sums);
}

static void messages_reports(struct request *r, const struct taio_step *step,
			     struct taio_message_counters *sums)
{
	if (!step->reports)
		return;
	sums->dropped[messages_drop_of(step->report)] += step->reports;
	r->event_flags |= TAIO_EVENT_REFUSED;
}

static void messages_look_at(struct request *r, const struct taio_step *step,
			     struct taio_message_counters *sums)
{
	const struct taio_message *m = messages_of(step);

	for (int64_t i = 0; i < step->result; i++) {
		if (m[i].result >= 0) {
			sums->bytes += (uint32_t)m[i].result;
			sums->sent++;
			if (m[i].flags & TAIO_MESSAGE_TRUNCATED)
				sums->dropped[TAIO_DROP_TRUNCATED]++;
			continue;
		}
		sums->dropped[messages_drop_of(m[i].result)]++;
		r->event_flags |= TAIO_EVENT_PARTIAL;
		if (!r->dgram->first_error) {
			r->dgram->first_error = m[i].result;
			r->dgram->first_device = step->device;
		}
	}
}

void messages_end_mark(struct taio *e, struct request *r, const struct taio_step *step)
{
	e->count[step->device].messages.received--;
	if (r->dgram->counters)
		r->dgram->counters->received--;
}

void messages_stranger(struct taio *e, struct request *r)
{
	e->messages.dropped[TAIO_DROP_STRANGER]++;
	if (r->dgram->counters)
		r->dgram->counters->dropped[TAIO_DROP_STRANGER]++;
}

/* The rate is the socket's: see lane_rate.h. What was sent is owed in time. */
static uint64_t messages_limit(const struct request *r)
{
	return r->dgram ? r->dgram->limit_packets : 0;
}

static void messages_pay(struct taio *e, struct request *r, uint64_t count, uint64_t bytes)
{
	const uint64_t packets = messages_limit(r);
	struct lane_rate *rate;

	if (!r->limit_rate && !packets)
		return;
	rate = lane_rate(e, r, r->from.kind == TAIO_KIND_DGRAM ? 0 : 1);
	if (packets)
		lane_rate_pay(&rate->packets_ns, e->now_ns, count, packets);
	if (r->limit_rate)
		lane_rate_pay(&rate->bytes_ns, e->now_ns, bytes, r->limit_rate);
}

void messages_took(struct taio *e, struct request *r, struct taio_step *step)
{
	const bool receives = step->to.kind == TAIO_KIND_MESSAGES;
	struct taio_message_counters sums = { 0 };

	assert(step->result <= (int64_t)step->len);
	messages_reports(r, step, &sums);
	if (step->result > 0)
		messages_look_at(r, step, &sums);
	step->payload = sums.bytes;
	if (receives) {
		r->from.flags |= step->from.flags & TAIO_END_JOINED;
		sums.received = sums.sent;
		sums.sent = 0;
	}
	sums.completed = sums.sent;
	messages_count(e, r, step, &sums);
	if (step->result <= 0)
		return;
	r->dgram->good += sums.sent + sums.received;
	r->dgram->bytes += sums.bytes;
	if (r->progress && request_is_messages(r))
		__atomic_fetch_add(r->progress, sums.bytes, __ATOMIC_RELAXED);
	messages_pay(e, r, sums.sent + sums.received, sums.bytes);
	if (r->dgram->idle_ns)
		r->dgram->idle_at_ns = e->now_ns + r->dgram->idle_ns;
}

/* Steps that move bytes to or from a datagram socket: the driver has counted, or it is plain. */
void messages_took_bytes(struct taio *e, struct request *r, struct taio_step *step)
{
	const uint32_t unit = step->to.unit ? step->to.unit : 1;
	struct taio_message_counters sums = { 0 };

	if (step->to.kind == TAIO_KIND_DGRAM && !step->packets && step->result > 0)
		step->packets = (uint32_t)(((uint64_t)step->result + unit - 1) / unit);

	messages_reports(r, step, &sums);
	sums.bytes = step->result > 0 ? (uint64_t)step->result : 0;
	sums.dropped[TAIO_DROP_STRANGER] = step->strangers;
	r->from.flags |= step->from.flags & TAIO_END_JOINED;
	if (step->to.kind == TAIO_KIND_DGRAM)
		sums.sent = sums.completed = step->packets;
	else
		sums.received = step->packets;
	messages_count(e, r, step, &sums);
	if (r->dgram) {
		r->dgram->good += step->packets;
		r->dgram->bytes += sums.bytes;
	}
	if (step->to.kind == TAIO_KIND_DGRAM)
		messages_pay(e, r, step->packets, sums.bytes);
}

/* ---- how much now ---- */

/* How many of @count messages, @mean bytes each if they are still to come, have room in @bytes. */
static uint64_t messages_by_bytes(const struct request *r, uint64_t count, uint64_t bytes)
{
	const struct taio_message *m = r->from.ptr;
	uint64_t n = 0;

	if (r->from.kind != TAIO_KIND_MESSAGES) { /* known as a mean only */
		uint64_t mean = r->dgram && r->dgram->good ? r->dgram->bytes / r->dgram->good + 1
							   : r->to.unit + 1;

		n = bytes / mean;
		return n < count ? n : count;
	}
	for (m += r->issued; n < count && m[n].length <= bytes; n++)
		bytes -= m[n].length;
	return n;
}

/* The rates: how many of @count datagrams, @mean bytes each, may go now; 0: @ret_later_ns from now. */
static uint64_t messages_allowed(struct taio *e, struct request *r, uint64_t count, uint64_t mean,
				 uint64_t *ret_later_ns)
{
	const struct lane_rate *rate = lane_rate(e, r, r->from.kind == TAIO_KIND_DGRAM ? 0 : 1);
	const uint64_t packets = messages_limit(r);
	uint64_t wait_ns = 0, bytes, room;

	*ret_later_ns = 0;
	if (packets) {
		room = lane_rate_room(rate->packets_ns, e->now_ns, packets, count, ret_later_ns);
		count = room < count ? room : count;
	}
	if (!r->limit_rate)
		return count;
	bytes = lane_rate_room(rate->bytes_ns, e->now_ns, r->limit_rate, count * (mean + 1),
			       &wait_ns);
	room = bytes ? messages_by_bytes(r, count, bytes) : 0;
	/* one that is larger than all that may ever go at once goes when nothing is owed */
	if (!room && rate->bytes_ns <= e->now_ns)
		room = 1;
	if (!room && !wait_ns)
		wait_ns = rate->bytes_ns - e->now_ns;
	*ret_later_ns = wait_ns > *ret_later_ns ? wait_ns : *ret_later_ns;
	return room < count ? room : count;
}

static uint64_t messages_rated(struct taio *e, struct request *r, uint64_t count, uint64_t mean)
{
	uint64_t later_ns;

	if (!r->limit_rate && !messages_limit(r))
		return count;
	count = messages_allowed(e, r, count, mean, &later_ns);
	/* the microsecond that divisions cut off is given, not missed */
	if (count == 0)
		timer_set(e, r, e->now_ns + later_ns + 1000);
	return count;
}

uint64_t messages_room(struct taio *e, struct request *r, uint64_t count)
{
	const uint64_t share = engine_others(e) ? MESSAGES_SHARE : MESSAGES_STEP;

	return messages_rated(e, r, count < share ? count : share, r->from.unit);
}

uint64_t messages_room_bytes(struct taio *e, struct request *r, uint64_t bytes)
{
	const uint64_t unit = r->to.unit;
	uint64_t count;

	if (!r->limit_rate && !messages_limit(r))
		return bytes;
	count = messages_rated(e, r, (bytes + unit - 1) / unit, unit);
	return count * unit < bytes ? count * unit : bytes;
}

/* ---- waiting, and the end ---- */

bool messages_are_enough(const struct request *r)
{
	const struct request_dgram *d = r->dgram;

	return request_receives_messages(r) && r->moved > 0 && r->moved >= d->least;
}

void messages_watch_idle(struct taio *e, struct request *r)
{
	if (!r->dgram || !r->dgram->idle_ns)
		return;
	if (!r->dgram->idle_at_ns)
		r->dgram->idle_at_ns = e->now_ns + r->dgram->idle_ns;
	timer_set(e, r, r->dgram->idle_at_ns);
}

bool messages_idle_is_over(const struct taio *e, const struct request *r)
{
	return r->dgram && r->dgram->idle_at_ns && r->dgram->idle_at_ns <= e->now_ns &&
	       (r->state == REQUEST_WAIT_FD || r->state == REQUEST_RUNNING) &&
	       !(r->traits & REQUEST_ENDED) && !r->error;
}

void messages_pause(struct taio *e, struct request *r)
{
	timer_set(e, r, e->now_ns + MESSAGES_RETRY_NS);
	request_set_state(r, REQUEST_WAIT_TIME);
}

void messages_detour(struct taio_step *step)
{
	step->excluded |= 1ULL << step->device;
	step->first_error = -EXDEV;
	step->len = 1;
}

/* No device takes this one message: that is its result, and the next has its turn. */
void messages_give_up(struct taio *e, struct request *r, struct taio_step *step)
{
	struct taio_message *m = messages_of(step);

	m[0].result = -EOPNOTSUPP;
	step->result = 1;
	messages_took(e, r, step);
}

/* Nothing was sent at all: then the first message's error is the request's. */
int messages_outcome(const struct request *r)
{
	return r->dgram->good == 0 ? r->dgram->first_error : 0;
}

uint64_t messages_total(const struct request *r)
{
	if (!r->dgram)
		return 0;
	return r->dgram->counted && r->from.kind == TAIO_KIND_DGRAM ? r->dgram->taken
								    : r->dgram->good;
}

void messages_finish(struct taio *e, struct request *r)
{
	uint64_t left = r->length > r->moved ? r->length - r->moved : 0;

	if (request_receives_messages(r) || left == 0)
		return;
	r->event_flags |= TAIO_EVENT_PARTIAL;
	e->messages.dropped[TAIO_DROP_CANCELLED] += left;
	if (r->dgram->counters)
		r->dgram->counters->dropped[TAIO_DROP_CANCELLED] += left;
}
