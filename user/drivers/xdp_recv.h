/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_recv.h: the receiving half of the device "afxdp".
 *
 *   xdp_recv.c     flows: taking one over from its socket, and back (claims, see taio_driver.h)
 *   xdp_gate.c     interfaces: opened and closed aside, shared by their flows
 *   xdp_deliver.c  datagrams in frames to memory, files, streams, pipes, nowhere
 *
 * The kernel's socket keeps the port and goes on receiving what the program passes. A flow goes
 * through the states of enum recv_state. At both changes what is older comes first: when it is
 * taken, the socket is emptied before a frame is looked at; when it is given back, the frames before
 * the socket. A packet that the kernel is working on at that moment can arrive on the old side after
 * the first one on the new side: xdp_grace() waits until there is no such packet.
 */
#ifndef TAIO_DRIVERS_XDP_RECV_H
#define TAIO_DRIVERS_XDP_RECV_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "taio_driver.h"
#include "xdp/aside.h"
#include "xdp/inlet.h"

#define XDP_GATES      4
#define XDP_RECV_FLOWS 64

/* ---- xdp_gate.c ------------------------------------------------------------------------------ */

enum gate_state {
	GATE_UNUSED,
	GATE_OPENING, /* a thread is at it */
	GATE_READY,
	GATE_FAILED, /* gate->why says why */
	GATE_CLOSING /* a thread is at it */
};

/* An interface as the flows of an engine share it. */
struct xdp_gate {
	uint32_t ifindex;
	uint32_t users;
	uint8_t state;        /* enum gate_state, the engine's thread's */
	atomic_int abandoned; /* nobody wants it any more: the thread that opens it closes it */
	int error;
	struct xdp_inlet *inlet;
	struct xdp_aside aside;
	char why[160];
};

/* A user more; it is opened if need be. Return: NULL: no thread, or too many interfaces. */
struct xdp_gate *xdp_gate_get(struct xdp_gate gates[XDP_GATES], uint32_t ifindex);
/* A user less; the last one closes it, without waiting. */
void xdp_gate_put(struct xdp_gate *gate);
/* Looks whether a thread is done. */
void xdp_gate_look(struct xdp_gate *gate);
/* Closes all, and waits for it. */
void xdp_gates_close(struct xdp_gate gates[XDP_GATES]);

/* ---- xdp_deliver.c --------------------------------------------------------------------------- */

/* Moves what has come of a flow to the step's destination. @kernel: a device with a pool of rooms
 * (syncops_open()). Return: as netops_receive(); -EAGAIN with wait_fd -1: no datagram is there. */
int64_t xdp_deliver(struct taio_device *kernel, struct xdp_inflow *flow, struct taio_step *step);

/* ---- xdp_recv.c ------------------------------------------------------------------------------ */

struct xdp_recv;

/* The hooks of the device for steps from datagram sockets; @dev for its host. */
int xdp_recv_open(struct taio_device *dev, struct xdp_recv **ret);
void xdp_recv_close(struct xdp_recv *recv);
int xdp_recv_fits(const struct taio_device *dev, const struct taio_step *step);
int64_t xdp_recv_run(struct xdp_recv *recv, struct taio_step *step);
void xdp_recv_release(struct xdp_recv *recv, const struct taio_end *from, enum taio_release how);

#endif /* TAIO_DRIVERS_XDP_RECV_H */
