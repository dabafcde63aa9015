// SPDX-License-Identifier: GPL-2.0-only
/*
 * What leaves a cgroup and those below it: attached to an ancestor, this runs
 * after the programs of the cgroups that are tested.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct packet {
	__u32 priority;
	__u32 version;	/* 4 or 6 */
	__u32 tos;	/* or traffic class */
	__u32 protocol;	/* as the IP header has it */
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1024);
	__type(value, struct packet);
} packets SEC(".maps");

SEC("cgroup_skb/egress")
int packets_egress(struct __sk_buff *skb)
{
	struct packet seen = { .priority = skb->priority };
	__u8 begin[10] = {};

	bpf_skb_load_bytes(skb, 0, begin, sizeof(begin));
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		seen.version = 4;
		seen.tos = begin[1];
		seen.protocol = begin[9];
	} else {
		seen.version = 6;
		seen.tos = (begin[0] << 4 | begin[1] >> 4) & 0xff;
		seen.protocol = begin[6];
	}
	bpf_map_push_elem(&packets, &seen, BPF_EXIST);	/* the oldest goes when it is full */
	return 1;
}
