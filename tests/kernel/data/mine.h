/* SPDX-License-Identifier: GPL-2.0-only */
/* An object of a user's own: ports that nobody connects to, counted. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} refusals SEC(".maps");

SEC("cgroup/connect4")
int mine_connect4(struct bpf_sock_addr *ctx)
{
	__u16 port = bpf_ntohs(ctx->user_port);
	__u32 first = 0;
	__u64 *count = bpf_map_lookup_elem(&refusals, &first);

	if (port < FIRST_REFUSED || port > LAST_REFUSED)
		return 1;
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
