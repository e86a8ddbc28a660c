/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * program.h: the program bpf/xdp_flow.bpf.c on an interface: loaded through libbpf, attached by a
 * bpf_link that lives as long as its descriptor, so that nothing stays behind whatever becomes of
 * the process. It is attached in native mode only: in generic ("skb") mode a packet that a sender's
 * GSO or a receiver's GRO joined comes as one frame whose boundaries nobody can find again.
 */
#ifndef TAIO_XDP_PROGRAM_H
#define TAIO_XDP_PROGRAM_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "xdp/interface.h"
#include "xdp_flow.h"

struct xdp_program;

/*
 * Loads it. @frags: it can be attached to an interface whose packets take more than one buffer.
 * Return: 0; -ENOENT: the object is not installed; -ENOSYS: no libbpf; -EPERM: CAP_BPF,
 * CAP_NET_ADMIN; -EINVAL, -ENOMEM, ...: the kernel refuses it. @why: a sentence.
 */
int xdp_program_load(struct xdp_program **ret, bool frags, char *why, size_t size);

/* Puts it onto the interface. Return: 0; -EBUSY: another program is there; -EOPNOTSUPP: the driver
 * has no native XDP, or not for this MTU; -EPERM: CAP_NET_ADMIN; -ENODEV. @why: a sentence. */
int xdp_program_attach(struct xdp_program *program, const struct xdp_interface *interface,
		       char *why, size_t size);

/* Takes it off and frees everything. NULL: nothing. */
void xdp_program_close(struct xdp_program *program);

/* Is it still on its interface? An interface that is deleted takes its programs with it. */
bool xdp_program_is_attached(const struct xdp_program *program);

/* The socket that gets the packets of @queue; -1: none. Return: 0, negative errno. */
int xdp_program_socket(struct xdp_program *program, uint32_t queue, int fd);

/* A flow that passes for the moment. Return: its number; -EEXIST: there is one with this key;
 * -ENOSPC: TAIO_XDP_FLOWS are there. */
int xdp_program_add(struct xdp_program *program, const struct taio_xdp_key *key);
void xdp_program_remove(struct xdp_program *program, unsigned int flow,
			const struct taio_xdp_key *key);

/* From now on, and at once: packets that a processor is handling just now may still go the other
 * way, see xdp_grace(). */
void xdp_program_set(struct xdp_program *program, unsigned int flow, enum taio_xdp_state state);

/* The program's own record of a flow; state and counters change while packets come. */
const volatile struct taio_xdp_flow *xdp_program_flow(const struct xdp_program *program,
						      unsigned int flow);

int xdp_program_fd(const struct xdp_program *program);

#endif /* TAIO_XDP_PROGRAM_H */
