// SPDX-License-Identifier: GPL-2.0-only
/* An object of a user's own, with maps of names and shapes that the bundled one has too. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u8);
} governing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} nested SEC(".maps");

SEC("cgroup/connect4")
int namesake_connect4(struct bpf_sock_addr *ctx)
{
	__u64 cgroup = bpf_get_current_cgroup_id();
	__u32 only = 0;
	__u32 *told = bpf_map_lookup_elem(&nested, &only);

	return !(told && *told && bpf_map_lookup_elem(&governing, &cgroup));
}
