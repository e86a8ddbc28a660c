/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_deliver.c: datagrams that lie in frames to where a step wants them. The semantics are those of
 * netrecv.c. What a destination does not take stays in its frames, so that nothing is lost.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "drivers/netops.h"
#include "drivers/syncops.h"
#include "drivers/xdp_recv.h"

#define DELIVER_PIECES 256
#define DELIVER_MOST   (1U << 20) /* of one step: others want the thread, too */

struct delivery {
	struct taio_device *kernel;
	struct xdp_inflow *flow;
	struct taio_step *step;
	uint64_t taken;
	struct iovec iov[DELIVER_PIECES];
};

/* Memory that ends with this step gets whole datagrams only. */
static bool deliver_whole(const struct taio_step *step)
{
	return step->to.kind == TAIO_KIND_MEM && !(step->flags & TAIO_SF_MORE);
}

static void deliver_memory(struct delivery *d, unsigned int count)
{
	uint8_t *to = (uint8_t *)d->step->to.ptr + d->taken;

	for (unsigned int i = 0; i < count; i++) {
		memcpy(to, d->iov[i].iov_base, d->iov[i].iov_len);
		to += d->iov[i].iov_len;
	}
}

static ssize_t deliver_file(const struct delivery *d, unsigned int count)
{
	const struct taio_end *to = &d->step->to;

	if (to->flags & (TAIO_END_STREAMED | TAIO_END_APPEND))
		return writev(to->fd, d->iov, (int)count);
	return pwritev(to->fd, d->iov, (int)count, (off_t)(to->offset + d->taken));
}

static ssize_t deliver_stream(const struct delivery *d, unsigned int count)
{
	const struct msghdr msg = { .msg_iov = (struct iovec *)(uintptr_t)d->iov,
				    .msg_iovlen = count };

	return sendmsg(d->step->to.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t deliver_pipe(struct delivery *d, unsigned int count, uint64_t bytes)
{
	struct syncops_guard guard;
	ssize_t n;

	/* a terminal is left blocking: no more than it takes at once when it is writable */
	if (!(fcntl(d->step->to.fd, F_GETFL) & O_NONBLOCK)) {
		count = 1;
		if (d->iov[0].iov_len > PIPE_BUF)
			d->iov[0].iov_len = PIPE_BUF;
		bytes = d->iov[0].iov_len;
	}
	syncops_guard_start(d->kernel, &guard);
	n = writev(d->step->to.fd, d->iov, (int)count);
	syncops_guard_end(&guard, n != (ssize_t)bytes);
	return n;
}

/* Return: bytes of the first @count pieces that the destination took; negative errno. */
static int64_t deliver_pieces(struct delivery *d, unsigned int count, uint64_t bytes)
{
	ssize_t n;

	do {
		switch (d->step->to.kind) {
		case TAIO_KIND_MEM:
			deliver_memory(d, count);
			return (int64_t)bytes;
		case TAIO_KIND_NULL:
			return (int64_t)bytes;
		case TAIO_KIND_FILE:
			n = deliver_file(d, count);
			break;
		case TAIO_KIND_STREAM:
			n = deliver_stream(d, count);
			break;
		default:
			n = deliver_pipe(d, count, bytes);
			break;
		}
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -EIO; /* a file that takes nothing and does not say why */
	return n < 0 ? -errno : n;
}

/* Return: 0: go on; 1: enough; negative errno. */
static int deliver_some(struct delivery *d)
{
	const uint64_t left = d->step->len - d->taken;
	unsigned int count;
	uint64_t bytes;
	int64_t n;

	count = xdp_inflow_look(d->flow, d->iov, DELIVER_PIECES, left, deliver_whole(d->step),
				&bytes);
	if (count == 0)
		return d->taken ? 1 : -EMSGSIZE;
	n = deliver_pieces(d, count, bytes);
	if (n < 0) {
		d->step->failed_side = 2;
		return (int)n;
	}
	d->step->packets += xdp_inflow_took(d->flow, (uint64_t)n);
	d->taken += (uint64_t)n;
	return (uint64_t)n < bytes && d->step->to.kind != TAIO_KIND_FILE;
}

int64_t xdp_deliver(struct taio_device *kernel, struct xdp_inflow *flow, struct taio_step *step)
{
	struct delivery d = { .kernel = kernel, .flow = flow, .step = step };
	int error = 0;

	assert(step->len > 0);
	step->failed_side = 1;
	(void)xdp_inlet_poll(flow->inlet);
	while (!error && d.taken < step->len && d.taken < DELIVER_MOST) {
		if (xdp_inflow_is_empty(flow) && xdp_inlet_poll(flow->inlet) == 0)
			break;
		if (xdp_inflow_is_empty(flow))
			continue; /* packets of other flows */
		if (xdp_inflow_ends(flow)) {
			if (d.taken == 0)
				xdp_inflow_took_end(flow);
			xdp_inlet_refill(flow->inlet);
			return (int64_t)d.taken;
		}
		error = deliver_some(&d);
		xdp_inlet_refill(flow->inlet);
	}
	if (d.taken > 0)
		return (int64_t)d.taken;
	if (error == -EAGAIN && step->failed_side == 2)
		return netops_again(step, step->to.fd, POLLOUT);
	return error ? error : -EAGAIN;
}
