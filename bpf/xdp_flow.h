/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * xdp_flow.h: what the program xdp_flow and user space (user/xdp/flow.c) share: the maps and what
 * is in them. Addresses and ports in network order, IPv4 addresses as ::ffff:a.b.c.d.
 */
#ifndef TAIO_XDP_FLOW_H
#define TAIO_XDP_FLOW_H

#define TAIO_XDP_FLOWS  64  /* flows of an interface at a time */
#define TAIO_XDP_QUEUES 256 /* receive queues that can have a socket */

/* A flow by where its datagrams go, and where they come from; @from all zero: from anybody. */
struct taio_xdp_key {
	__u8 to[16];
	__u8 from[16];
	__u16 to_port;
	__u16 from_port;
};

/* What becomes of the datagrams of a flow. */
enum taio_xdp_state {
	TAIO_XDP_PASS, /* up the stack, to the socket that holds the port. The program itself sets it
			* when an odd packet of the flow comes: that one can only go there, and so
			* all behind it must, or the order would be lost */
	TAIO_XDP_TAKE  /* to the AF_XDP socket of the queue they came on */
};

struct taio_xdp_flow {
	__u32 state; /* enum taio_xdp_state, written by user space while packets come */
	__u32 users;
	__u64 taken, passed; /* packets of the flow */
	__u64 odd;           /* of those passed: fragments and packets with IPv4 options */
	__u64 bytes;         /* of frames taken, linear part */
};

/* Of all packets that the program sees, by processor. */
struct taio_xdp_count {
	__u64 packets;
	__u64 udp;
	__u64 fragments; /* of IPv4 or IPv6: passed */
	__u64 options;   /* IPv4 with options: passed */
	__u64 orphans;   /* of a flow that is taken, but on a queue without a socket: passed */
};

#endif /* TAIO_XDP_FLOW_H */
