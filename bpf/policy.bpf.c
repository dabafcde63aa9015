// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hooks of cgnet_policy: one program each, a short list of the controls
 * that it asks. A program's name, without what stands before the first "_", is
 * its hook's; user space attaches only those that the declared controls need.
 */
#include "policy_of.bpf.h"
#include "refuse.bpf.h"
#include "priority.bpf.h"
#include "tos.bpf.h"
#include "ipv4.bpf.h"
#include "sockopts.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * Attached for a moment, so that the kernel makes the cgroup's storage and the
 * policy can be written before anything enforces it.
 */
SEC("cgroup/sysctl")
int policy_holder(struct bpf_sysctl *ctx)
{
	bpf_get_local_storage(&policies, 0);
	return ALLOW;
}

SEC("cgroup/sock_create")
int policy_sock_create(struct bpf_sock *ctx)
{
	const struct policy *p = policy_of(ctx);

	if (!p)
		return ALLOW;
	if (ctx->family == AF_INET && ipv4_hidden(p) &&
	    ipv4_verdict(p, CALL_SOCKET, AF_INET) == REFUSE)
		return REFUSE;
	priority_birth(p, ctx);
	return ALLOW;
}

/* The control that refuses an option, if any does that has not yet. */
static __always_inline enum control setsockopt_refused(const struct policy *p,
						       struct bpf_sockopt *ctx,
						       enum tos_option option, bool sockopts)
{
	bool priority = priority_refuses(p, ctx->level, ctx->optname);

	if ((priority || sockopts) && counted_before(p))
		return CONTROLS;
	return priority ? CONTROL_PRIORITY :
	       tos_refuses(p, ctx, option) ? CONTROL_TOS : sockopts ? CONTROL_SOCKOPTS : CONTROLS;
}

static __always_inline bool setsockopt_refuse(const struct policy *p, struct bpf_sockopt *ctx,
					      enum control by)
{
	__u32 level = ctx->level, name;
	__s32 value = 0;

	/*
	 * Else the compiler reads level and name at once, or keeps a pointer to one of
	 * them, which the verifier refuses.
	 */
	barrier_var(level);
	barrier_var(ctx);
	name = ctx->optname;
	sockopt_value(ctx, &value);
	return refuse(p, by, (struct event){ .call = CALL_SETSOCKOPT, .level = level,
					     .name = name, .value = value });
}

SEC("cgroup/setsockopt")
int policy_setsockopt(struct bpf_sockopt *ctx)
{
	const struct policy *p = bpf_get_local_storage(&policies, 0);
	/* First, since the verifier goes through the list once for each way to come there. */
	bool sockopts = sockopts_refuses(p, ctx->level, ctx->optname);
	enum tos_option option = tos_option(ctx);
	enum control by = setsockopt_refused(p, ctx, option, sockopts);
	bool keeps = option == TOS_IP && priority_gives(p) && ctx->optlen != OPTLEN_HANDLED;
	__s32 tos;

	/* Most options need nothing, in whichever namespace. */
	if ((by != CONTROLS || keeps) && policy_is_for(p, bpf_get_netns_cookie(ctx))) {
		if (by == CONTROL_PRIORITY && priority_gives(p) && !priority_refuses_value(p, ctx))
			return ALLOW;
		if (by != CONTROLS && setsockopt_refuse(p, ctx, by)) {
			/* A descendant's program has set it already: 0 is always allowed. */
			if (ctx->optlen == OPTLEN_HANDLED && option == TOS_IP)
				tos_set_keeping_priority(ctx, 0);
			return REFUSE;
		}
		if (keeps && sockopt_value(ctx, &tos) && !tos_set_keeping_priority(ctx, tos)) {
			setsockopt_refuse(p, ctx, CONTROL_PRIORITY);
			return REFUSE;
		}
	}
	/* A class that is governed must be the one that has been looked at. */
	if (ctx->optlen > OPTLEN_SHOWN &&
	    (option == TOS_NEITHER || !policy_is_for(p, bpf_get_netns_cookie(ctx))))
		ctx->optlen = OPTLEN_OWN;
	return ALLOW;
}

SEC("sockops")
int policy_sockops(struct bpf_sock_ops *ctx)
{
	const struct policy *p;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return ALLOW;
	p = policy_of(ctx);
	if (p)
		priority_accepted(p, ctx);
	return ALLOW;
}

/*
 * The floors. Every packet of IP that a socket of the cgroup sends comes here,
 * whichever task holds the socket and whichever system call it used.
 */
SEC("cgroup_skb/egress")
int policy_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	const struct policy *p = bpf_get_local_storage(&policies, 0);
	enum control by;
	__u32 tos = 0;
	__u64 netns;

	if (!sk)
		return ALLOW;
	by = ipv4_refuses_packet(p, skb) ? CONTROL_IPV4 :
	     tos_refuses_packet(p, skb, &tos) ? CONTROL_TOS : CONTROLS;
	/* Most packets need nothing, in whichever namespace: to ask for that takes longest. */
	if (by == CONTROLS && priority_has(p, skb))
		return ALLOW;
	if (p->netns) {
		netns = netns_of(sk);
		if (netns && netns != p->netns)	/* one that is not known is governed */
			return ALLOW;
	}
	if (by != CONTROLS && refuse(p, by, (struct event){ .call = CALL_PACKET, .value = tos }))
		return REFUSE;
	priority_packet(p, sk, skb);
	return ALLOW;
}

#include "policy_address.bpf.h"
#include "policy_lsm.bpf.h"
