// SPDX-License-Identifier: GPL-2.0-only
/* Somebody else's programs, which let everything happen; one of them has a map. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} theirs_count SEC(".maps");

#define ALLOWING(name, section) \
	SEC(section) int theirs_##name(void *ctx) { return 1; }

SEC("cgroup/connect4")
int theirs_connect4(struct bpf_sock_addr *ctx)
{
	__u32 first = 0;
	__u64 *count = bpf_map_lookup_elem(&theirs_count, &first);

	if (count)
		__sync_fetch_and_add(count, 1);
	return 1;
}

ALLOWING(sysctl, "cgroup/sysctl")
ALLOWING(setsockopt, "cgroup/setsockopt")
ALLOWING(sockops, "sockops")
ALLOWING(egress, "cgroup_skb/egress")
ALLOWING(ingress, "cgroup_skb/ingress")
ALLOWING(bind4, "cgroup/bind4")
ALLOWING(lsm_set, "lsm_cgroup/socket_setsockopt")

/* More hooks than one kernel can have programs on. */
ALLOWING(accept, "lsm_cgroup/socket_accept")
ALLOWING(connect, "lsm_cgroup/socket_connect")
ALLOWING(peername, "lsm_cgroup/socket_getpeername")
ALLOWING(sockname, "lsm_cgroup/socket_getsockname")
ALLOWING(getsockopt, "lsm_cgroup/socket_getsockopt")
ALLOWING(listen, "lsm_cgroup/socket_listen")
ALLOWING(shutdown, "lsm_cgroup/socket_shutdown")
ALLOWING(socketpair, "lsm_cgroup/socket_socketpair")
ALLOWING(stream, "lsm_cgroup/unix_stream_connect")
ALLOWING(may_send, "lsm_cgroup/unix_may_send")
