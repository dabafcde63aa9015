/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tos: IP_TOS and IPV6_TCLASS take only a DSCP that is on the list, or 0, which
 * every socket starts with. The two ECN bits are the stack's own and are not
 * looked at.
 */
#ifndef CGNET_TOS_BPF_H
#define CGNET_TOS_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"

enum tos {
	TOS_DSCP_SHIFT = 2,
	TOS_BYTE = 0xff,
	TCLASS_SHIFT = 4,	/* of the header's first two bytes, behind the version */
	TCLASS_DEFAULT = -1,	/* IPV6_TCLASS: back to 0 */
	TCLASS_MAX = 0xff,
};

static __always_inline bool tos_listed(const struct policy *p, __u32 tos)
{
	__u32 dscp = (tos & TOS_BYTE) >> TOS_DSCP_SHIFT;

	return !dscp || (p->tos >> dscp & 1);
}

/* Which of the two options this is. */
enum tos_option {
	TOS_NEITHER,
	TOS_IP,
	TOS_IPV6,
};

/* A level's number means something else in another family: 0 is SOL_HCI too. */
static __always_inline enum tos_option tos_option(const struct bpf_sockopt *ctx)
{
	if (ctx->level == IPPROTO_IP && ctx->optname == IP_TOS &&
	    (ctx->sk->family == AF_INET || ctx->sk->family == AF_INET6))
		return TOS_IP;
	if (ctx->level == IPPROTO_IPV6 && ctx->optname == IPV6_TCLASS &&
	    ctx->sk->family == AF_INET6)
		return TOS_IPV6;
	return TOS_NEITHER;
}

/*
 * The value as the kernel will read it: an int, or for IP_TOS the one byte that
 * a shorter buffer holds. The kernel gives the program 16 bytes at the least,
 * zeroed behind what the task passed.
 */
static __always_inline bool sockopt_value(struct bpf_sockopt *ctx, __s32 *value)
{
	void *end = ctx->optval_end;
	void *val = ctx->optval;

	if (val + sizeof(*value) > end || !ctx->optlen)
		return false;
	*value = *(__s32 *)val;
	if (ctx->optlen > 0 && ctx->optlen < (int)sizeof(*value))
		*value = *(__u8 *)val;
	return true;
}

static __always_inline bool tos_refuses(const struct policy *p, struct bpf_sockopt *ctx,
					enum tos_option option)
{
	__s32 tos;

	if (!governs(p, CONTROL_TOS) || option == TOS_NEITHER)
		return false;
	if (!sockopt_value(ctx, &tos))
		return false;		/* too short: the kernel's own EINVAL */
	if (option == TOS_IPV6 && (tos <= TCLASS_DEFAULT || tos > TCLASS_MAX))
		return false;		/* the default, or the kernel's own EINVAL */
	return !tos_listed(p, tos);
}

/*
 * IP_TOS overwrites the priority with rt_tos2priority() (__ip_sock_set_tos()).
 * Set it here instead, put the priority back, and let the kernel skip its own
 * part. False where the kernel would not let us (an IPv6-only socket).
 */
static __always_inline bool tos_set_keeping_priority(struct bpf_sockopt *ctx, __s32 tos)
{
	void *end = ctx->optval_end;
	__s32 *val = ctx->optval;
	struct bpf_sock *sk = ctx->sk;
	__u32 priority = 0;

	if (!sk || (void *)(val + 1) > end)
		return false;
	if (bpf_getsockopt(sk, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)) ||
	    bpf_setsockopt(sk, IPPROTO_IP, IP_TOS, &tos, sizeof(tos)) ||
	    bpf_setsockopt(sk, SOL_SOCKET, SO_PRIORITY, &priority, sizeof(priority)))
		return false;
	*val = tos;	/* an ancestor's program reads an int */
	ctx->optlen = OPTLEN_HANDLED;
	return true;
}

/*
 * What the socket was given before it was governed is found at bind(). An
 * option that the socket does not have, such as IP_TOS on an IPv6-only one,
 * refuses nothing.
 */
static __always_inline bool tos_refuses_bind(const struct policy *p, struct bpf_sock_addr *ctx,
					     int level, int name)
{
	__s32 tos = 0;

	if (!governs(p, CONTROL_TOS) ||
	    bpf_getsockopt(ctx, level, name, &tos, sizeof(tos)))
		return false;
	return !tos_listed(p, tos);
}

/*
 * The floor: what the packet says, whether by a socket's option, a control
 * message, or a header that the task has written itself. A cgroup_skb program's
 * packet begins at the network header.
 */
static __always_inline bool tos_refuses_packet(const struct policy *p, struct __sk_buff *skb,
					       __u32 *tos)
{
	__be16 begin;

	if (!governs(p, CONTROL_TOS))
		return false;
	if (bpf_skb_load_bytes(skb, 0, &begin, sizeof(begin)))
		return true;
	*tos = bpf_ntohs(begin);	/* of IPv4 the second byte */
	if (skb->protocol != bpf_htons(ETH_P_IP))
		*tos >>= TCLASS_SHIFT;
	*tos &= TOS_BYTE;
	return !tos_listed(p, *tos);
}

#endif
