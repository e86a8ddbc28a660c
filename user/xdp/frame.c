/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * frame.c: building and reading UDP datagrams in Ethernet frames, see frame.h. Formats: RFC 791
 * (IPv4), 8200 (IPv6), 768 (UDP); sums: RFC 1071, which shows that they may be made of machine words
 * of any size and byte order.
 */
#include "xdp/frame.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define IPV4_BYTES 20
#define IPV6_BYTES 40

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERTYPE_VLAN 0x8100

#define FRAGMENT_DF    0x4000
#define FRAGMENT_BITS  0x3fff /* more fragments, and the offset */
#define TTL_DEFAULT    64
#define PROTOCOL_AT    9 /* in an IPv4 header */
#define ADDRESSES_AT_4 12
#define ADDRESSES_AT_6 8

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, size_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* 64 bits with the carry taken back in */
static inline uint64_t sum_add(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

/* The last bytes, fewer than eight, as if zeros followed. */
static inline uint64_t load_tail(const uint8_t *at, size_t bytes)
{
	uint64_t word = 0;

	memcpy(&word, at, bytes);
	return word;
}

/*
 * Words of 32 bits in four lanes of 64: no carry can get lost in less than 2^32 of them, and the
 * compiler makes vector instructions of it.
 */
uint64_t frame_sum(const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint64_t a = 0, b = 0, c = 0, d = 0;

	for (; bytes >= 16; at += 16, bytes -= 16) {
		const uint64_t x = load64(at), y = load64(at + 8);

		a += (uint32_t)x;
		b += x >> 32;
		c += (uint32_t)y;
		d += y >> 32;
	}
	if (bytes >= 8) {
		a = sum_add(a, load64(at));
		at += 8;
		bytes -= 8;
	}
	b = sum_add(b, load_tail(at, bytes));
	return sum_add(sum_add(a, b), sum_add(c, d));
}

uint64_t frame_copy(void *to, const void *from, size_t bytes)
{
	/* what was read for the sum is in the first cache then */
	memcpy(to, from, bytes);
	return frame_sum(to, bytes);
}

uint16_t frame_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* A 16-bit number as it counts in a sum. */
static inline uint64_t sum_of16(size_t value)
{
	return htobe16((uint16_t)value);
}

static inline void put_sum(uint8_t *at, uint16_t sum)
{
	memcpy(at, &sum, sizeof(sum));
}

/* ---- building -------------------------------------------------------------------------------- */

static void flow_ipv4(struct frame_flow *flow, const struct frame_address *from,
		      const struct frame_address *to, const struct frame_options *options)
{
	uint8_t *ip = flow->head + FRAME_ETHERNET_BYTES;

	put16(flow->head + 12, ETHERTYPE_IPV4);
	ip[0] = 0x45;
	ip[1] = options->traffic_class;
	put16(ip + 6, options->may_fragment ? 0 : FRAGMENT_DF);
	ip[8] = options->ttl ? options->ttl : TTL_DEFAULT;
	ip[PROTOCOL_AT] = IPPROTO_UDP;
	memcpy(ip + ADDRESSES_AT_4, from->ip, 4);
	memcpy(ip + ADDRESSES_AT_4 + 4, to->ip, 4);
	flow->ipv4 = frame_sum(ip, IPV4_BYTES);
	flow->pseudo = frame_sum(ip + ADDRESSES_AT_4, 8);
	flow->head_bytes = FRAME_ETHERNET_BYTES + IPV4_BYTES + FRAME_UDP_BYTES;
}

static void flow_ipv6(struct frame_flow *flow, const struct frame_address *from,
		      const struct frame_address *to, const struct frame_options *options)
{
	uint8_t *ip = flow->head + FRAME_ETHERNET_BYTES;

	put16(flow->head + 12, ETHERTYPE_IPV6);
	ip[0] = (uint8_t)(0x60 | options->traffic_class >> 4);
	ip[1] = (uint8_t)(options->traffic_class << 4);
	ip[6] = IPPROTO_UDP;
	ip[7] = options->ttl ? options->ttl : TTL_DEFAULT;
	memcpy(ip + ADDRESSES_AT_6, from->ip, 16);
	memcpy(ip + ADDRESSES_AT_6 + 16, to->ip, 16);
	flow->pseudo = frame_sum(ip + ADDRESSES_AT_6, 32);
	flow->head_bytes = FRAME_ETHERNET_BYTES + IPV6_BYTES + FRAME_UDP_BYTES;
}

void frame_flow_init(struct frame_flow *flow, int family, const struct frame_address *from,
		     const struct frame_address *to, const struct frame_options *options)
{
	uint8_t *udp;

	assert(family == AF_INET || family == AF_INET6);
	memset(flow, 0, sizeof(*flow));
	flow->family = (uint8_t)family;
	frame_flow_macs(flow, from->mac, to->mac);
	if (family == AF_INET)
		flow_ipv4(flow, from, to, options);
	else
		flow_ipv6(flow, from, to, options);
	flow->pseudo = sum_add(flow->pseudo, sum_of16(IPPROTO_UDP));
	udp = flow->head + frame_csum_start(flow);
	memcpy(udp, &from->port, 2);
	memcpy(udp + 2, &to->port, 2);
	flow->ports = frame_sum(udp, 4);
}

void frame_flow_macs(struct frame_flow *flow, const uint8_t from[6], const uint8_t to[6])
{
	memcpy(flow->head, to, 6);
	memcpy(flow->head + 6, from, 6);
}

/* Everything but the checksum of UDP. Return: where UDP starts. */
static inline uint8_t *head_start(struct frame_flow *flow, uint8_t *head, size_t bytes)
{
	const size_t udp_bytes = bytes + FRAME_UDP_BYTES;
	uint8_t *ip = head + FRAME_ETHERNET_BYTES, *udp;

	assert(udp_bytes <= UINT16_MAX - IPV4_BYTES);
	if (flow->family == AF_INET) {
		const size_t total = udp_bytes + IPV4_BYTES;
		uint64_t sum = flow->ipv4 + sum_of16(total) + sum_of16(flow->ip_id);

		memcpy(head, flow->head, FRAME_ETHERNET_BYTES + IPV4_BYTES + FRAME_UDP_BYTES);
		put16(ip + 2, total);
		put16(ip + 4, flow->ip_id++);
		put_sum(ip + 10, (uint16_t)~frame_fold(sum));
		udp = ip + IPV4_BYTES;
	} else {
		memcpy(head, flow->head, FRAME_HEAD_MAX);
		put16(ip + 4, udp_bytes);
		udp = ip + IPV6_BYTES;
	}
	put16(udp + 4, udp_bytes);
	return udp;
}

void frame_head(struct frame_flow *flow, uint8_t *head, size_t bytes, uint64_t payload_sum)
{
	uint8_t *udp = head_start(flow, head, bytes);
	uint64_t sum = sum_add(flow->pseudo, payload_sum);
	uint16_t checksum;

	/* the length counts twice: in the pseudo header and in that of UDP */
	sum = sum_add(sum, flow->ports + 2 * sum_of16(bytes + FRAME_UDP_BYTES));
	checksum = (uint16_t)~frame_fold(sum);
	put_sum(udp + 6, checksum ? checksum : 0xffff);
}

void frame_head_partial(struct frame_flow *flow, uint8_t *head, size_t bytes)
{
	uint8_t *udp = head_start(flow, head, bytes);

	put_sum(udp + 6, frame_fold(sum_add(flow->pseudo, sum_of16(bytes + FRAME_UDP_BYTES))));
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Return: offset of UDP; negative errno. @ret_end: of the IP packet. */
static int parse_ipv4(const uint8_t *frame, size_t at, size_t bytes, struct frame_datagram *ret,
		      size_t *ret_end)
{
	const uint8_t *ip = frame + at;

	if (bytes < at + IPV4_BYTES)
		return -EBADMSG;
	if (ip[0] != 0x45 || ip[PROTOCOL_AT] != IPPROTO_UDP || (get16(ip + 6) & FRAGMENT_BITS))
		return -ENOMSG;
	if (frame_fold(frame_sum(ip, IPV4_BYTES)) != 0xffff)
		return -EBADMSG;
	ret->family = AF_INET;
	memcpy(ret->from.ip, ip + ADDRESSES_AT_4, 4);
	memcpy(ret->to.ip, ip + ADDRESSES_AT_4 + 4, 4);
	ret->pseudo = frame_sum(ip + ADDRESSES_AT_4, 8);
	*ret_end = at + get16(ip + 2);
	return (int)(at + IPV4_BYTES);
}

static int parse_ipv6(const uint8_t *frame, size_t at, size_t bytes, struct frame_datagram *ret,
		      size_t *ret_end)
{
	const uint8_t *ip = frame + at;

	if (bytes < at + IPV6_BYTES)
		return -EBADMSG;
	if (ip[0] >> 4 != 6 || ip[6] != IPPROTO_UDP)
		return -ENOMSG;
	ret->family = AF_INET6;
	memcpy(ret->from.ip, ip + ADDRESSES_AT_6, 16);
	memcpy(ret->to.ip, ip + ADDRESSES_AT_6 + 16, 16);
	ret->pseudo = frame_sum(ip + ADDRESSES_AT_6, 32);
	*ret_end = at + IPV6_BYTES + get16(ip + 4);
	return (int)(at + IPV6_BYTES);
}

int frame_parse(const uint8_t *frame, size_t bytes, size_t total, struct frame_datagram *ret)
{
	size_t at = FRAME_ETHERNET_BYTES, end = 0, length;
	const uint8_t *udp;
	uint16_t type;
	int rc;

	assert(bytes <= total);
	memset(ret, 0, sizeof(*ret));
	if (bytes < at)
		return -EBADMSG;
	type = get16(frame + 12);
	if (type == ETHERTYPE_VLAN && bytes >= at + 4) {
		type = get16(frame + 16);
		at += 4;
	}
	if (type == ETHERTYPE_IPV4)
		rc = parse_ipv4(frame, at, bytes, ret, &end);
	else if (type == ETHERTYPE_IPV6)
		rc = parse_ipv6(frame, at, bytes, ret, &end);
	else
		rc = -ENOMSG;
	if (rc < 0)
		return rc;
	at = (size_t)rc;
	if (end > total || bytes < at + FRAME_UDP_BYTES || end < at + FRAME_UDP_BYTES)
		return -EBADMSG;
	udp = frame + at;
	length = get16(udp + 4);
	if (length < FRAME_UDP_BYTES || at + length > end)
		return -EBADMSG;
	memcpy(ret->to.mac, frame, 6);
	memcpy(ret->from.mac, frame + 6, 6);
	memcpy(&ret->from.port, udp, 2);
	memcpy(&ret->to.port, udp + 2, 2);
	memcpy(&ret->checksum, udp + 6, 2);
	ret->payload_at = (uint32_t)(at + FRAME_UDP_BYTES);
	ret->payload = (uint32_t)(length - FRAME_UDP_BYTES);
	ret->pseudo = sum_add(ret->pseudo, sum_of16(IPPROTO_UDP) + sum_of16(length));
	return 0;
}

enum frame_csum frame_check(const struct frame_datagram *datagram, uint64_t payload_sum)
{
	const size_t length = datagram->payload + FRAME_UDP_BYTES;
	uint64_t sum = sum_add(datagram->pseudo, payload_sum);

	if (datagram->checksum == 0)
		return datagram->family == AF_INET ? FRAME_CSUM_NONE : FRAME_CSUM_BAD;
	sum = sum_add(sum, datagram->checksum);
	sum = sum_add(sum, (uint64_t)datagram->from.port + datagram->to.port + sum_of16(length));
	if (frame_fold(sum) == 0xffff)
		return FRAME_CSUM_GOOD;
	return datagram->checksum == frame_fold(datagram->pseudo) ? FRAME_CSUM_PARTIAL
								  : FRAME_CSUM_BAD;
}

/* ---- addresses ------------------------------------------------------------------------------- */

socklen_t frame_sockaddr(int family, const struct frame_address *address,
			 struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *sin = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	ret->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&sin->sin_addr, address->ip, 4);
		sin->sin_port = address->port;
		return sizeof(*sin);
	}
	memcpy(&sin6->sin6_addr, address->ip, 16);
	sin6->sin6_port = address->port;
	return sizeof(*sin6);
}

int frame_from_sockaddr(const struct sockaddr_storage *address, struct frame_address *ret)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)address;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)address;

	memset(ret->ip, 0, sizeof(ret->ip));
	if (address->ss_family == AF_INET) {
		memcpy(ret->ip, &sin->sin_addr, 4);
		ret->port = sin->sin_port;
		return AF_INET;
	}
	if (address->ss_family != AF_INET6)
		return -EAFNOSUPPORT;
	ret->port = sin6->sin6_port;
	if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
		memcpy(ret->ip, sin6->sin6_addr.s6_addr + 12, 4);
		return AF_INET;
	}
	memcpy(ret->ip, &sin6->sin6_addr, 16);
	return AF_INET6;
}
