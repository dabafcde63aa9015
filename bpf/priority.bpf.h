/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * priority: every socket and every packet of the cgroup carries the declared
 * SO_PRIORITY, and its tasks can't change it.
 *
 * The most specific policy wins. A cgroup's programs run before those of its
 * ancestors, so where there are such each marks the socket as its own, and an
 * ancestor leaves what a deeper one has marked, for as long as that one governs.
 */
#ifndef CGNET_PRIORITY_BPF_H
#define CGNET_PRIORITY_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"

/* Whose priority a socket carries. */
struct mark {
	__u64 cgroup;
	__u32 level;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks SEC(".maps");

enum governing {
	GOVERNING_MAX = 1 << 16,	/* 16 bytes are taken for each at once */
};

/* The ids of the cgroups whose policy governs the priority; written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GOVERNING_MAX);
	__type(key, __u64);
	__type(value, __u8);
} governing SEC(".maps");

/*
 * Whether any of these cgroups is below another one; written by user space, before
 * it writes to governing. Elsewhere no policy needs to know whose a socket is.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} nested SEC(".maps");

static __always_inline bool priority_nested(void)
{
	__u32 only = 0;
	const __u32 *told = bpf_map_lookup_elem(&nested, &only);

	return told && *told;
}

/* Whether sockets and packets get it: under audit nothing is changed. */
static __always_inline bool priority_gives(const struct policy *p)
{
	return governs(p, CONTROL_PRIORITY) && !(p->flags & FLAG_AUDIT);
}

enum claim {
	CLAIM_FRESH,	/* the socket has just been made */
	CLAIM_PACKET,
	CLAIM_ASKED,	/* user space reads the mark next, as retrofit does */
};

/*
 * Whether a socket, in any of the verifier's forms of one, takes this policy's
 * priority: not if a policy that is nearer to it has it. A fresh one is left to
 * whichever policy came first. A mark costs an allocation for each socket.
 */
static __always_inline bool priority_claims(const struct policy *p, void *sk, enum claim claim)
{
	bool fresh = claim == CLAIM_FRESH;
	struct mark *m;

	if (claim != CLAIM_ASKED && !priority_nested())
		return true;
	m = bpf_sk_storage_get(&marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!m)
		return true;
	if (m->cgroup != p->cgroup && (fresh || m->level > p->level) &&
	    bpf_map_lookup_elem(&governing, &m->cgroup))
		return false;
	if (m->cgroup != p->cgroup) {
		m->cgroup = p->cgroup;
		m->level = p->level;
	}
	return true;
}

static __always_inline bool priority_refuses(const struct policy *p, int level, int name)
{
	return governs(p, CONTROL_PRIORITY) && level == SOL_SOCKET && name == SO_PRIORITY;
}

/*
 * Setting what is declared changes nothing of the policy: so sockets from before
 * are given it. The task's own cgroup refuses any value, in lsm_cgroup. Where a
 * nearer policy has the priority, its program has judged already. A longer buffer
 * is refused: the kernel may read it again, when the task has changed it.
 */
static __always_inline bool priority_refuses_value(const struct policy *p, struct bpf_sockopt *ctx)
{
	void *end = ctx->optval_end;
	__u32 *value = ctx->optval;

	if (!ctx->sk || !priority_claims(p, ctx->sk, CLAIM_ASKED))
		return false;
	if ((void *)(value + 1) > end)
		return true;
	if (ctx->optlen >= 0 && ctx->optlen < (int)sizeof(*value))
		return false;		/* too short: the kernel's own EINVAL */
	return ctx->optlen != sizeof(*value) || *value != p->priority;
}

/* A socket at its creation, from cgroup/sock_create. */
static __always_inline void priority_birth(const struct policy *p, struct bpf_sock *sk)
{
	if (priority_gives(p) && priority_claims(p, sk, CLAIM_FRESH))
		sk->priority = p->priority;
}

/* A socket at its creation or acceptance, from the LSM hooks. */
static __always_inline void priority_set(const struct policy *p, struct sock *sk)
{
	__u32 priority = p->priority;

	if (priority_gives(p) && priority_claims(p, sk, CLAIM_FRESH))
		bpf_setsockopt(sk, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

/*
 * A TCP socket that a listener has just made: sk_clone_lock() has zeroed its
 * priority. This program follows the listener's cgroup, while lsm_cgroup would
 * follow whichever task the softirq interrupted.
 */
static __always_inline void priority_accepted(const struct policy *p, struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	__u32 priority = p->priority;

	if (priority_gives(p) && sk && priority_claims(p, sk, CLAIM_FRESH))
		bpf_setsockopt(ctx, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority));
}

/*
 * Whether priority_packet() would change nothing: as a socket is born with the priority, most
 * packets have it. Where policies are nested, the socket may have to be marked all the same.
 */
static __always_inline bool priority_has(const struct policy *p, const struct __sk_buff *skb)
{
	return !priority_gives(p) || (skb->priority == p->priority && !priority_nested());
}

/* The floor: whatever the socket or a control message says, the packet carries it. */
static __always_inline void priority_packet(const struct policy *p, struct bpf_sock *sk,
					    struct __sk_buff *skb)
{
	if (priority_gives(p) && priority_claims(p, sk, CLAIM_PACKET))
		skb->priority = p->priority;
}

/*
 * No egress program sees the frames of AF_PACKET, which carry the socket's
 * priority. What would give them another, or take them past the queueing
 * discipline, is refused.
 */
static __always_inline bool priority_bypass(const struct policy *p, const struct sock *sk,
					    int level, int name)
{
	return governs(p, CONTROL_PRIORITY) && sk->__sk_common.skc_family == AF_PACKET &&
	       level == SOL_PACKET && name == PACKET_QDISC_BYPASS;
}

/*
 * Control messages may hold SO_PRIORITY (since 6.14, a32f3e9d1ed1). The hook is
 * not asked about a later message of sendmmsg() that has the address of the one
 * before, so a first one that more are to follow is refused too.
 */
static __always_inline bool priority_message(const struct policy *p, const struct sock *sk,
					     const struct msghdr *message)
{
	return governs(p, CONTROL_PRIORITY) && sk->__sk_common.skc_family == AF_PACKET &&
	       (message->msg_controllen ||
		(message->msg_name && (message->msg_flags & MSG_BATCH)));
}

#endif
