/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* interface.h: what a network interface is, as far as receiving through it is concerned. */
#ifndef TAIO_XDP_INTERFACE_H
#define TAIO_XDP_INTERFACE_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct xdp_interface {
	uint32_t ifindex;
	uint32_t mtu;
	uint32_t queues; /* receive queues in use */
	char name[IF_NAMESIZE];
	char driver[32]; /* "": it does not say */
};

/* Return: 0; -ENODEV: no such interface; other negative errno. */
int xdp_interface_get(uint32_t ifindex, struct xdp_interface *ret);

/* The interface that has this address; AF_INET or AF_INET6. Return: its index; -ENODEV. */
int xdp_interface_of(const struct sockaddr_storage *address);

/* Frames of kernel senders come over such an interface with checksums that are only begun, since
 * nothing on the way could damage them. */
bool xdp_interface_is_virtual(const struct xdp_interface *interface);

/* $TAIO_XDP, a list of interfaces with commas between them, names it: whoever set it agrees that
 * others feel what is done to it. */
bool xdp_interface_is_named(const struct xdp_interface *interface);

/* Taking a program does not reset the link. Others are left alone unless $TAIO_XDP names them. */
bool xdp_interface_is_harmless(const struct xdp_interface *interface);

/* Which capability is missing: "CAP_BPF and CAP_NET_ADMIN"; NULL: none of @wanted, which is a mask
 * of 1ULL << CAP_... */
const char *xdp_missing(uint64_t wanted, char *room, size_t size);

#endif /* TAIO_XDP_INTERFACE_H */
