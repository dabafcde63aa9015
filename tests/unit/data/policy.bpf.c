// SPDX-License-Identifier: GPL-2.0-only
/* The least that stores a struct policy, to be compiled beside an altered policy.h. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct policy);
} policies SEC(".maps");

SEC("cgroup/bind4")
int policy_bind4(struct bpf_sock_addr *ctx)
{
	struct policy *p = bpf_get_local_storage(&policies, 0);

	return !p->tos;
}
