/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * priority: every socket of the cgroup carries the declared SO_PRIORITY, and
 * its tasks can't change it.
 *
 * The programs of a cgroup run before those of its ancestors. So that the most
 * specific default wins, one that finds a priority set leaves it.
 */
#ifndef CGNET_PRIORITY_BPF_H
#define CGNET_PRIORITY_BPF_H

#include "kernel.bpf.h"
#include "policy.h"

static __always_inline bool priority_governs(const struct policy *p)
{
	return p->controls & CONTROL_PRIORITY;
}

static __always_inline bool priority_refuses(const struct policy *p,
					     const struct bpf_sockopt *ctx)
{
	return priority_governs(p) &&
	       ctx->level == SOL_SOCKET && ctx->optname == SO_PRIORITY;
}

/* A socket at its creation, from cgroup/sock_create. */
static __always_inline void priority_birth(const struct policy *p, struct bpf_sock *sk)
{
	if (priority_governs(p) && !sk->priority)
		sk->priority = p->priority;
}

/* A socket at its creation or acceptance, from the LSM hooks. */
static __always_inline void priority_set(const struct policy *p, struct sock *sk)
{
	__u32 priority = p->priority;

	if (priority_governs(p) && !sk->sk_priority)
		bpf_setsockopt(sk, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

/*
 * A TCP socket that a listener has just made: sk_clone_lock() has zeroed its
 * priority. This program follows the listener's cgroup, while lsm_cgroup would
 * follow whichever task the softirq interrupted.
 */
static __always_inline void priority_accepted(const struct policy *p, struct bpf_sock_ops *ctx)
{
	__u32 priority = 0;

	if (!priority_governs(p))
		return;
	bpf_getsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
	if (priority)
		return;
	priority = p->priority;
	bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

#endif
