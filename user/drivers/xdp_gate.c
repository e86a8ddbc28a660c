/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* xdp_gate.c: see xdp_recv.h. */
#include "drivers/xdp_recv.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static int gate_open(void *arg)
{
	struct xdp_gate *gate = arg;
	int error = xdp_inlet_open(&gate->inlet, gate->ifindex, gate->why, sizeof(gate->why));

	if (!error && atomic_load(&gate->abandoned)) {
		xdp_inlet_close(gate->inlet);
		gate->inlet = NULL;
		error = -ECANCELED;
	}
	return error;
}

static int gate_close(void *arg)
{
	struct xdp_gate *gate = arg;

	xdp_inlet_close(gate->inlet);
	gate->inlet = NULL;
	return 0;
}

static void gate_start(struct xdp_gate *gate)
{
	atomic_store(&gate->abandoned, 0);
	gate->why[0] = '\0';
	gate->error = xdp_aside_start(&gate->aside, gate_open, gate);
	gate->state = gate->error ? GATE_FAILED : GATE_OPENING;
}

/* Nobody uses it: what is open is closed. */
static void gate_leave(struct xdp_gate *gate)
{
	if (!gate->inlet) {
		gate->state = GATE_UNUSED;
		return;
	}
	if (xdp_aside_start(&gate->aside, gate_close, gate) == 0) {
		gate->state = GATE_CLOSING;
		return;
	}
	(void)gate_close(gate); /* no thread: better late than never */
	gate->state = GATE_UNUSED;
}

void xdp_gate_look(struct xdp_gate *gate)
{
	if ((gate->state != GATE_OPENING && gate->state != GATE_CLOSING) ||
	    !xdp_aside_done(&gate->aside))
		return;
	if (gate->state == GATE_CLOSING) {
		gate->state = GATE_UNUSED;
		if (gate->users)
			gate_start(gate);
		return;
	}
	gate->error = gate->aside.result;
	gate->state = gate->error ? GATE_FAILED : GATE_READY;
	if (gate->users == 0)
		gate_leave(gate);
	else if (gate->error == -ECANCELED)
		gate_start(gate); /* wanted again while it was given up */
}

struct xdp_gate *xdp_gate_get(struct xdp_gate gates[XDP_GATES], uint32_t ifindex)
{
	struct xdp_gate *gate = NULL;

	for (unsigned int i = 0; i < XDP_GATES; i++) {
		xdp_gate_look(&gates[i]);
		if (gates[i].state == GATE_UNUSED) {
			gate = gate ? gate : &gates[i];
		} else if (gates[i].ifindex == ifindex) {
			gate = &gates[i];
			break;
		}
	}
	if (!gate)
		return NULL;
	gate->users++;
	atomic_store(&gate->abandoned, 0);
	if (gate->state == GATE_UNUSED) {
		gate->ifindex = ifindex;
		gate_start(gate);
	}
	return gate;
}

void xdp_gate_put(struct xdp_gate *gate)
{
	assert(gate->users > 0);
	if (--gate->users > 0)
		return;
	switch ((enum gate_state)gate->state) {
	case GATE_OPENING:
		atomic_store(&gate->abandoned, 1);
		break;
	case GATE_READY:
	case GATE_FAILED:
		gate_leave(gate);
		break;
	case GATE_UNUSED:
	case GATE_CLOSING:
		break;
	}
}

void xdp_gates_close(struct xdp_gate gates[XDP_GATES])
{
	for (unsigned int i = 0; i < XDP_GATES; i++) {
		assert(gates[i].users == 0);
		xdp_aside_wait(&gates[i].aside);
		xdp_inlet_close(gates[i].inlet);
		gates[i].inlet = NULL;
		gates[i].state = GATE_UNUSED;
	}
}
