/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp.c: the device "afxdp": UDP datagrams as frames of our own through an AF_XDP socket, past the
 * kernel's stack. What is done is in the files that xdp.h names.
 *
 * What the stack would have done and nobody does now: netfilter, traffic control and BPF programs of
 * cgroups do not see these datagrams. Interfaces that shape their traffic are left to the kernel.
 */
#include "drivers/xdp.h"
#include "drivers/xdp_recv.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xdp/interface.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

/* A socket costs nothing and says whether one can be had; what a queue costs is paid when there is
 * a destination. */
static int xdp_probe(struct taio_device *dev)
{
	char missing[64];
	int fd, error, rc = ring_probe(dev);

	if (rc)
		return rc;
	fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	error = -errno;
	if (error == -EPERM)
		snprintf(dev->reason, sizeof(dev->reason), "%s missing: AF_XDP sockets need it",
			 xdp_missing(1ULL << CAP_NET_RAW, missing, sizeof(missing))
				 ? missing
				 : "CAP_NET_RAW");
	else if (error == -EAFNOSUPPORT)
		snprintf(dev->reason, sizeof(dev->reason),
			 "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)");
	else
		snprintf(dev->reason, sizeof(dev->reason), "AF_XDP: %s", strerror(-error));
	return error;
}

static int xdp_open(struct taio_device *dev)
{
	struct xdp *xdp = calloc(1, sizeof(*xdp));
	int rc;

	if (!xdp)
		return -ENOMEM;
	rc = ring_open(dev, RING_XDP);
	if (rc) {
		free(xdp);
		return rc;
	}
	xdp->ring = dev->priv;
	xdp->dev = dev;
	rc = xdp_peers_open(xdp);
	if (rc) {
		snprintf(dev->reason, sizeof(dev->reason), "rtnetlink: %s", strerror(-rc));
	} else {
		rc = xdp_recv_open(dev, &xdp->recv);
		if (rc)
			xdp_peers_close(xdp);
	}
	if (rc) {
		ring_close(dev, RING_XDP);
		free(xdp);
		return rc;
	}
	dev->priv = xdp;
	return 0;
}

static void xdp_close(struct taio_device *dev)
{
	struct xdp *xdp = dev->priv;
	struct taio_step *done[16];

	xdp_recv_close(xdp->recv);
	xdp_send_end(xdp);
	xdp_file_end(xdp);
	/* the timer and reads are over soon; the ring of a thread that is gone ends them by itself */
	for (int i = 0; i < 500 && xdp->ops; i++) {
		(void)ring_wait(xdp->ring, 10 * 1000 * 1000);
		while (ring_reap(xdp->ring, RING_XDP, done, 16) > 0)
			;
	}
	dev->priv = xdp->ring;
	if (xdp->ops)
		return; /* they name this memory, and the ring may yet hear of them */
	xdp_peers_close(xdp);
	ring_close(dev, RING_XDP);
	free(xdp->file);
	free(xdp);
}

static int xdp_fits(struct taio_device *dev, const struct taio_step *step)
{
	if (step->from.kind == TAIO_KIND_DGRAM)
		return xdp_recv_fits(dev, step);
	if (step->to.flags & TAIO_END_LOCAL)
		return 0;
	if (step->from.kind == TAIO_KIND_FILE && !xdp_file_fits(step))
		return 0;
	return xdp_peer_may(dev->priv, step, dev->host->now_ns());
}

static enum taio_submit xdp_submit(struct taio_device *dev, struct taio_step *step)
{
	assert(step->op == TAIO_OP_COPY);
	assert(step->len > 0);
	if (step->from.kind == TAIO_KIND_FILE)
		return xdp_file_submit(dev->priv, step);
	if (step->from.kind != TAIO_KIND_DGRAM)
		return xdp_send(dev->priv, step);
	step->result = xdp_recv_run(((struct xdp *)dev->priv)->recv, step);
	return TAIO_DONE;
}

static void xdp_release(struct taio_device *dev, const struct taio_end *from, enum taio_release how)
{
	xdp_recv_release(((struct xdp *)dev->priv)->recv, from, how);
}

static int xdp_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	return ring_reap(((struct xdp *)dev->priv)->ring, RING_XDP, done, max);
}

static void xdp_cancel(struct taio_device *dev, struct taio_step *step)
{
	if (!xdp_file_cancel(dev->priv, step))
		xdp_send_cancel(dev->priv, step);
}

static int xdp_fd(struct taio_device *dev)
{
	return ring_descriptor(((struct xdp *)dev->priv)->ring);
}

static int xdp_wait(struct taio_device *dev, int64_t timeout_ns)
{
	return ring_wait(((struct xdp *)dev->priv)->ring, timeout_ns);
}

/* Measured with bench_xdp on a veth pair; a datagram costs 0.6 to 0.7 us whatever its size. */
static const struct taio_capability xdp_caps[] = {
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MESSAGES),
	  .to = TAIO_K(DGRAM),
	  .parallel = 4,
	  .base_ns = 900,
	  .ps_per_byte = 600 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(MEM) | TAIO_K(ZERO),
	  .to = TAIO_K(DGRAM),
	  .parallel = 4,
	  .base_ns = 1500,
	  .ps_per_byte = 480 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(MEM) | TAIO_K(NULL),
	  .base_ns = 400,
	  .ps_per_byte = 120 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(DGRAM),
	  .to = TAIO_K(FILE) | TAIO_K(STREAM) | TAIO_K(PIPE),
	  .base_ns = 1000,
	  .ps_per_byte = 300 },
	{ .op = TAIO_OP_COPY,
	  .from = TAIO_K(FILE),
	  .to = TAIO_K(DGRAM),
	  .parallel = 4,
	  .base_ns = 4000,
	  .ps_per_byte = 600 },
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_afxdp = {
	.abi = TAIO_DRIVER_ABI,
	.name = "afxdp",
	.text = "UDP datagrams past the kernel's stack (AF_XDP)",
	.caps = xdp_caps,
	.probe = xdp_probe,
	.open = xdp_open,
	.close = xdp_close,
	.fits = xdp_fits,
	.submit = xdp_submit,
	.reap = xdp_reap,
	.cancel = xdp_cancel,
	.fd = xdp_fd,
	.wait = xdp_wait,
	.release = xdp_release,
};
