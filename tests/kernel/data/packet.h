/* SPDX-License-Identifier: GPL-2.0-only */
/* What the objects that record packets store of each. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct packet {
	__u32 priority;
	__u32 version;	/* 4 or 6 */
	__u32 tos;	/* or traffic class */
	__u32 protocol;	/* as the IP header has it */
	__u32 flags;	/* of TCP */
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1 << 16);
	__type(value, struct packet);
} packets SEC(".maps");

enum header {
	HEADER_IPV6 = 40,
	HEADER_TCP_FLAGS = 13,
};

/* A cgroup_skb program's packet begins at the network header. */
static __always_inline int record(struct __sk_buff *skb)
{
	struct packet seen = { .priority = skb->priority };
	__u8 begin[10] = {}, flags = 0;
	__u32 length;

	bpf_skb_load_bytes(skb, 0, begin, sizeof(begin));
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		seen.version = 4;
		seen.tos = begin[1];
		seen.protocol = begin[9];
		length = (begin[0] & 0xf) * 4;
	} else {
		seen.version = 6;
		seen.tos = (begin[0] << 4 | begin[1] >> 4) & 0xff;
		seen.protocol = begin[6];
		length = HEADER_IPV6;
	}
	if (seen.protocol == IPPROTO_TCP)
		bpf_skb_load_bytes(skb, length + HEADER_TCP_FLAGS, &flags, sizeof(flags));
	seen.flags = flags;
	bpf_map_push_elem(&packets, &seen, BPF_EXIST);	/* the oldest goes when it is full */
	return 1;
}
