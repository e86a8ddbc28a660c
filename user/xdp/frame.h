/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * frame.h: Ethernet frames that hold one UDP datagram over IPv4 or IPv6: how they are built and how
 * they are read. Pure functions on bytes.
 *
 * Sending, what is the same for all datagrams of a flow is made once (struct frame_flow) and copied
 * before each payload. The UDP checksum is made in software, or only begun, for a kernel or card that
 * finishes it (struct xsk_metadata of xsk.h).
 */
#ifndef TAIO_XDP_FRAME_H
#define TAIO_XDP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define FRAME_ETHERNET_BYTES 14
#define FRAME_HEAD_MAX       62 /* Ethernet, IPv6, UDP */
#define FRAME_UDP_BYTES      8

/* What the headers say. Addresses and ports as in sockaddr_in and sockaddr_in6 (network order). */
struct frame_address {
	uint8_t mac[6];
	uint8_t ip[16]; /* IPv4: the first four bytes */
	uint16_t port;
};

struct frame_flow {
	uint8_t head[FRAME_HEAD_MAX]; /* lengths and checksums still 0 */
	uint8_t head_bytes;
	uint8_t family;  /* AF_INET or AF_INET6 */
	uint16_t ip_id;  /* IPv4: of the next datagram */
	uint64_t pseudo; /* sums, not folded: addresses and protocol; ports are added where it is */
	uint64_t ports;  /* finished; */
	uint64_t ipv4;   /* the IPv4 header without length and id */
};

/* How a socket would fill in the headers. */
struct frame_options {
	uint8_t ttl;           /* hop limit */
	uint8_t traffic_class; /* TOS */
	bool may_fragment;     /* IPv4: DF is not set */
};

/* @family: AF_INET or AF_INET6. */
void frame_flow_init(struct frame_flow *flow, int family, const struct frame_address *from,
		     const struct frame_address *to, const struct frame_options *options);

/* Other hardware addresses: a neighbour changed. */
void frame_flow_macs(struct frame_flow *flow, const uint8_t from[6], const uint8_t to[6]);

/* Bytes of IP and UDP headers: the largest payload is MTU minus that. */
static inline size_t frame_ip_bytes(const struct frame_flow *flow)
{
	return (size_t)flow->head_bytes - FRAME_ETHERNET_BYTES;
}

/* Where the kernel that finishes a checksum starts, and where it puts it, from the frame's start. */
static inline size_t frame_csum_start(const struct frame_flow *flow)
{
	return (size_t)flow->head_bytes - FRAME_UDP_BYTES;
}
#define FRAME_CSUM_OFFSET 6

/*
 * Writes headers to @head (flow->head_bytes) for @bytes of payload, whose sum is @payload_sum
 * (frame_sum(), frame_copy()). The checksum is complete; 0 is sent as 0xffff, as 0 means none.
 */
void frame_head(struct frame_flow *flow, uint8_t *head, size_t bytes, uint64_t payload_sum);

/* The same with a checksum that is only begun: the folded sum of the pseudo header. */
void frame_head_partial(struct frame_flow *flow, uint8_t *head, size_t bytes);

/* The ones' complement sum of @bytes, as if they stood at an even offset; not folded. */
uint64_t frame_sum(const void *data, size_t bytes);
/* The same while copying. */
uint64_t frame_copy(void *to, const void *from, size_t bytes);
/* To 16 bits, in the byte order of the wire when stored as a uint16_t. Not complemented. */
uint16_t frame_fold(uint64_t sum);

/* ---- reading --------------------------------------------------------------------------------- */

enum frame_csum {
	FRAME_CSUM_NONE, /* IPv4: 0, not given */
	FRAME_CSUM_GOOD,
	FRAME_CSUM_PARTIAL, /* only the pseudo header's: it came from this machine, or over a virtual
			     * cable that damages nothing */
	FRAME_CSUM_BAD
};

struct frame_datagram {
	int family; /* AF_INET or AF_INET6 */
	struct frame_address from, to;
	uint32_t payload_at; /* from the start of the frame */
	uint32_t payload;    /* bytes, as the UDP header says */
	uint16_t checksum;   /* as it stands there */
	uint64_t pseudo;     /* sum of what the checksum covers besides the payload */
};

/*
 * Takes the headers of a frame apart. @bytes: those that are there (the first piece of a packet must
 * hold all headers); @total: of the whole packet. One 802.1Q tag is stepped over. Padding behind the
 * datagram is ignored.
 * Return: 0; -ENOMSG: no plain UDP datagram (other protocol, fragment, IPv4 or IPv6 options);
 * -EBADMSG: lengths that contradict each other, a wrong IPv4 header checksum.
 */
int frame_parse(const uint8_t *frame, size_t bytes, size_t total, struct frame_datagram *ret);

/* @payload_sum: frame_sum() of the payload; pieces at even offsets may be added up. */
enum frame_csum frame_check(const struct frame_datagram *datagram, uint64_t payload_sum);

/* The other way round, for sockets' addresses. Return: bytes of it. */
socklen_t frame_sockaddr(int family, const struct frame_address *address,
			 struct sockaddr_storage *ret);
/* Return: the family; -EAFNOSUPPORT: neither IPv4 nor IPv6. IPv4 in IPv6 is AF_INET. */
int frame_from_sockaddr(const struct sockaddr_storage *address, struct frame_address *ret);

#endif /* TAIO_XDP_FRAME_H */
