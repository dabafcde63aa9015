// SPDX-License-Identifier: GPL-2.0-only
/* It compiles, and no kernel loads its second program. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

SEC("cgroup/connect4")
int refused_not(struct bpf_sock_addr *ctx)
{
	__u32 first = 0;

	return bpf_map_lookup_elem(&numbers, &first) ? 1 : 0;
}

SEC("cgroup/connect6")
int refused_connect6(struct bpf_sock_addr *ctx)
{
	return 7;	/* a verdict is 0 or 1 */
}
