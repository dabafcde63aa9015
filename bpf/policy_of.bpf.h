/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which policy governs a call.
 *
 * bpf_get_local_storage() is called once in a program: what it returns is one
 * whole policy, old or new, whatever user space writes meanwhile.
 */
#ifndef CGNET_POLICY_OF_BPF_H
#define CGNET_POLICY_OF_BPF_H

#include "kernel.bpf.h"
#include "policy.h"

/*
 * A u64 key makes this one value a cgroup for all programs attached to it
 * (since 5.9, 7d9c3427894f). It belongs to the cgroup that the program is
 * attached to, also when a task of a descendant triggers it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct policy);
} policies SEC(".maps");

/* Whether a policy is for the network namespace that has this cookie. */
static __always_inline bool policy_is_for(const struct policy *p, __u64 netns)
{
	return !p->netns || p->netns == netns;
}

static __always_inline const struct policy *policy_in(__u64 netns)
{
	const struct policy *p = bpf_get_local_storage(&policies, 0);

	return policy_is_for(p, netns) ? p : NULL;
}

static __always_inline bool governs(const struct policy *p, enum control control)
{
	return p->controls >> control & 1;
}

/* The policy that governs this call, or NULL. */
#define policy_of(ctx) policy_in(bpf_get_netns_cookie(ctx))

/* LSM programs have no helper for the cookie. */
#define policy_of_sock(sk) policy_in((sk)->__sk_common.skc_net.net->net_cookie)

#endif
