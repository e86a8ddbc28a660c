/* SPDX-License-Identifier: (LGPL-2.1-or-later OR MIT) */
/*
 * xdp_flow.bpf.c: takes the UDP flows that were asked for out of an interface and gives them to
 * AF_XDP sockets; everything else passes, untouched. Two programs with one body: "frags" can also
 * be attached where a packet has several buffers (jumbo frames, packets joined by GSO).
 *
 * Fragments and packets with IPv4 options pass: the stack puts them together, and the socket that
 * holds the port gets them. From the first one on all of the flow passes.
 */
#include "bpf_types.h"
#include "xdp_flow.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum {
	MAP_HASH = 1,
	MAP_ARRAY = 2,
	MAP_PERCPU_ARRAY = 6,
	MAP_XSKMAP = 17,
	ANY_PASS = 2,     /* XDP_PASS */
	ANY_REDIRECT = 4, /* XDP_REDIRECT */
	PROTOCOL_UDP = 17,
	NEXT_FRAGMENT = 44
};

struct xdp_md {
	__u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct head_vlan {
	__be16 tag, type;
};
struct head_ethernet {
	__u8 to[6], from[6];
	__be16 type;
};
struct head_ipv4 {
	__u8 version_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 checksum;
	__be32 from, to;
};
struct head_ipv6 {
	__be32 flow;
	__be16 length;
	__u8 next, hops;
	__be32 from[4], to[4];
};
struct head_fragment {
	__u8 next, reserved;
	__be16 offset;
	__be32 id;
};
struct head_udp {
	__be16 from_port, to_port, length, checksum;
};

struct {
	__uint(type, MAP_HASH);
	__uint(max_entries, TAIO_XDP_FLOWS);
	__type(key, struct taio_xdp_key);
	__type(value, __u32); /* index into taio_xdp_flow */
} taio_xdp_keys SEC(".maps");

struct {
	__uint(type, MAP_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, TAIO_XDP_FLOWS);
	__type(key, __u32);
	__type(value, struct taio_xdp_flow);
} taio_xdp_flow SEC(".maps");

struct {
	__uint(type, MAP_XSKMAP);
	__uint(max_entries, TAIO_XDP_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} taio_xdp_socks SEC(".maps");

struct {
	__uint(type, MAP_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct taio_xdp_count);
} taio_xdp_count SEC(".maps");

static __always_inline void mapped(__u8 *to, __be32 ipv4)
{
	__u32 *word = (__u32 *)to;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = ipv4;
}

static __always_inline void copied(__u8 *to, const __be32 *ipv6)
{
	__u32 *word = (__u32 *)to;

	word[0] = ipv6[0];
	word[1] = ipv6[1];
	word[2] = ipv6[2];
	word[3] = ipv6[3];
}

/* What find_udp() finds out besides. */
struct found {
	struct taio_xdp_key key;
	__u32 odd; /* the packet cannot be taken, but it is of the flow */
};

static __always_inline struct head_udp *find_udp4(void *at, void *end, struct found *found,
						  struct taio_xdp_count *count)
{
	struct head_ipv4 *ip = at;
	__u32 words;

	if ((void *)(ip + 1) > end || ip->protocol != PROTOCOL_UDP)
		return NULL;
	if (ip->fragment & bpf_htons(0x3fff)) {
		count->fragments++;
		found->odd = 1;
	}
	words = ip->version_ihl & 15;
	if (words > 5) {
		count->options++;
		found->odd = 1;
	}
	/* only the first fragment says whose it is */
	if (words < 5 || ip->fragment & bpf_htons(0x1fff))
		return NULL;
	mapped(found->key.to, ip->to);
	mapped(found->key.from, ip->from);
	return at + words * 4;
}

static __always_inline struct head_udp *find_udp6(void *at, void *end, struct found *found,
						  struct taio_xdp_count *count)
{
	struct head_ipv6 *ip = at;
	struct head_fragment *fragment = (void *)(ip + 1);

	if ((void *)(ip + 1) > end)
		return NULL;
	copied(found->key.to, ip->to);
	copied(found->key.from, ip->from);
	if (ip->next == PROTOCOL_UDP)
		return (void *)(ip + 1);
	if (ip->next != NEXT_FRAGMENT)
		return NULL;
	count->fragments++;
	found->odd = 1;
	if ((void *)(fragment + 1) > end || fragment->next != PROTOCOL_UDP ||
	    fragment->offset & bpf_htons(0xfff8))
		return NULL;
	return (void *)(fragment + 1);
}

/* The flow of a key, of its peer or of everybody. */
static __always_inline struct taio_xdp_flow *find_flow(struct taio_xdp_key *key)
{
	__u32 *slot = bpf_map_lookup_elem(&taio_xdp_keys, key);

	if (!slot) {
		__builtin_memset(key->from, 0, sizeof(key->from));
		key->from_port = 0;
		slot = bpf_map_lookup_elem(&taio_xdp_keys, key);
	}
	return slot ? bpf_map_lookup_elem(&taio_xdp_flow, slot) : NULL;
}

static __always_inline struct head_udp *find_udp(void *data, void *end, struct found *found,
						 struct taio_xdp_count *count)
{
	struct head_ethernet *ethernet = data;
	void *at = ethernet + 1;
	__be16 type;

	if (at > end)
		return NULL;
	type = ethernet->type;
	if (type == bpf_htons(0x8100)) {
		struct head_vlan *vlan = at;

		if ((void *)(vlan + 1) > end)
			return NULL;
		type = vlan->type;
		at = vlan + 1;
	}
	if (type == bpf_htons(0x0800))
		return find_udp4(at, end, found, count);
	if (type == bpf_htons(0x86dd))
		return find_udp6(at, end, found, count);
	return NULL;
}

static __always_inline int pass(struct taio_xdp_flow *flow, __u32 odd)
{
	__sync_fetch_and_add(&flow->passed, 1);
	if (odd) {
		*(volatile __u32 *)&flow->state = TAIO_XDP_PASS;
		__sync_fetch_and_add(&flow->odd, 1);
	}
	return ANY_PASS;
}

static __always_inline int take(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct taio_xdp_count *count;
	struct taio_xdp_flow *flow;
	struct found found = { .odd = 0 };
	struct head_udp *udp;
	__u32 zero = 0;
	int action;

	count = bpf_map_lookup_elem(&taio_xdp_count, &zero);
	if (!count)
		return ANY_PASS;
	count->packets++;
	udp = find_udp(data, end, &found, count);
	if (!udp || (void *)(udp + 1) > end)
		return ANY_PASS;
	count->udp++;
	found.key.to_port = udp->to_port;
	found.key.from_port = udp->from_port;
	flow = find_flow(&found.key);
	if (!flow)
		return ANY_PASS;
	if (found.odd || *(volatile __u32 *)&flow->state != TAIO_XDP_TAKE)
		return pass(flow, found.odd);
	action = (int)bpf_redirect_map(&taio_xdp_socks, ctx->rx_queue_index, ANY_PASS);
	if (action != ANY_REDIRECT) {
		count->orphans++;
		return pass(flow, 0);
	}
	__sync_fetch_and_add(&flow->taken, 1);
	__sync_fetch_and_add(&flow->bytes, (__u64)(end - data));
	return action;
}

SEC("xdp") int taio_xdp_plain(struct xdp_md *ctx)
{
	return take(ctx);
}

SEC("xdp.frags") int taio_xdp_frags(struct xdp_md *ctx)
{
	return take(ctx);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
