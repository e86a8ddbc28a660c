/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * afxdp.c: the device "afxdp": datagrams past the kernel's stack. Receiving: xdp_recv.h.
 */
#include <errno.h>
#include <stdio.h>

#include "drivers/xdp_recv.h"
#include "taio.h"

static int afxdp_open(struct taio_device *dev)
{
	return xdp_recv_open(dev, (struct xdp_recv **)&dev->priv);
}

static void afxdp_close(struct taio_device *dev)
{
	xdp_recv_close(dev->priv);
	dev->priv = NULL;
}

static int afxdp_fits(struct taio_device *dev, const struct taio_step *step)
{
	return xdp_recv_fits(dev, step);
}

static enum taio_submit afxdp_submit(struct taio_device *dev, struct taio_step *step)
{
	step->result = xdp_recv_run(dev->priv, step);
	return TAIO_DONE;
}

/* Steps are over when submit() returns, or say what to wait for. */
static int afxdp_reap(struct taio_device *dev, struct taio_step **done, int max)
{
	(void)dev;
	(void)done;
	(void)max;
	return 0;
}

static void afxdp_release(struct taio_device *dev, const struct taio_end *from,
			  enum taio_release how)
{
	xdp_recv_release(dev->priv, from, how);
}

static const struct taio_capability afxdp_caps[] = {
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
	{ .op = TAIO_OP_NONE },
};

const struct taio_driver taio_driver_afxdp = {
	.abi = TAIO_DRIVER_ABI,
	.name = "afxdp",
	.text = "datagrams past the network stack (AF_XDP)",
	.caps = afxdp_caps,
	.open = afxdp_open,
	.close = afxdp_close,
	.fits = afxdp_fits,
	.submit = afxdp_submit,
	.reap = afxdp_reap,
	.release = afxdp_release,
};
