// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hooks of cgnet_policy: one program each, a short list of the controls
 * that it asks. A program's name, without what stands before the first "_", is
 * its hook's; user space attaches only those that the declared controls need.
 */
#include "policy_of.bpf.h"
#include "priority.bpf.h"
#include "tos.bpf.h"
#include "bind_ports.bpf.h"
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
	if (ctx->family == AF_INET && ipv4_hidden(p))
		return ipv4_refuse();
	priority_birth(p, ctx);
	return ALLOW;
}

SEC("cgroup/setsockopt")
int policy_setsockopt(struct bpf_sockopt *ctx)
{
	const struct policy *p = policy_of(ctx);
	__s32 tos;

	if (!p)
		return ALLOW;
	if (priority_refuses(p, ctx->level, ctx->optname) || tos_refuses(p, ctx) ||
	    sockopts_refuses(p, ctx->level, ctx->optname)) {
		/* A descendant's program has set it already: 0 is always allowed. */
		if (ctx->optlen == OPTLEN_HANDLED && tos_is_ip(ctx))
			tos_set_keeping_priority(ctx, 0);
		return REFUSE;
	}
	if (!tos_is_ip(ctx) && !tos_is_ipv6(ctx) && ctx->optlen > OPTLEN_SHOWN)
		ctx->optlen = OPTLEN_OWN;
	if (!priority_governs(p) || !tos_is_ip(ctx) || ctx->optlen == OPTLEN_HANDLED)
		return ALLOW;
	if (!tos_value(ctx, &tos))
		return ALLOW;
	return tos_set_keeping_priority(ctx, tos) ? ALLOW : REFUSE;
}

SEC("cgroup/bind4")
int policy_bind4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	if (!p)
		return ALLOW;
	if (ipv4_hidden(p))
		return ipv4_refuse();
	if (tos_refuses_bind(p, ctx, IPPROTO_IP, IP_TOS))
		return REFUSE;
	return bind_ports_verdict(p, ctx);
}

SEC("cgroup/bind6")
int policy_bind6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	if (!p)
		return ALLOW;
	if (ipv4_hides_mapped(p, ctx))
		return ipv4_refuse();
	if (tos_refuses_bind(p, ctx, IPPROTO_IPV6, IPV6_TCLASS) ||
	    tos_refuses_bind(p, ctx, IPPROTO_IP, IP_TOS))
		return REFUSE;
	return bind_ports_verdict(p, ctx);
}

SEC("cgroup/connect4")
int policy_connect4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hidden(p) ? ipv4_refuse() : ALLOW;
}

SEC("cgroup/connect6")
int policy_connect6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hides_mapped(p, ctx) ? ipv4_refuse() : ALLOW;
}

SEC("cgroup/sendmsg4")
int policy_sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hidden(p) ? ipv4_refuse() : ALLOW;
}

SEC("cgroup/sendmsg6")
int policy_sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hides_mapped(p, ctx) ? ipv4_refuse() : ALLOW;
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
	__u64 netns;

	if (!sk)
		return ALLOW;
	if (p->netns) {
		netns = netns_of(sk);
		if (netns && netns != p->netns)	/* one that is not known is governed */
			return ALLOW;
	}
	if (ipv4_refuses_packet(p, skb) || tos_refuses_packet(p, skb))
		return REFUSE;
	priority_packet(p, sk, skb);
	return ALLOW;
}

#include "policy_lsm.bpf.h"
