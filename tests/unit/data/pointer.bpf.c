// SPDX-License-Identifier: GPL-2.0-only
/* A stored struct with a pointer, which user space can neither read nor write. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct stored {
	void *pointer;
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct stored);
} values SEC(".maps");

SEC("cgroup/bind4")
int mine_bind4(struct bpf_sock_addr *ctx)
{
	return 1;
}
