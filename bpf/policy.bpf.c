// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hooks of cgnet_policy: one program each, a short list of the controls
 * that it asks. A program's name, without what stands before the first "_", is
 * its hook's; user space attaches only those that the declared controls need.
 *
 * bpf_get_local_storage() is called once in a program: what it returns is one
 * whole policy, old or new, whatever user space writes meanwhile.
 */
#include "kernel.bpf.h"
#include "policy.h"
#include "priority.bpf.h"
#include "tos.bpf.h"
#include "bind_ports.bpf.h"
#include "ipv4.bpf.h"
#include "sockopts.bpf.h"

char LICENSE[] SEC("license") = "GPL";

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

static __always_inline const struct policy *policy_in(__u64 netns)
{
	const struct policy *p = bpf_get_local_storage(&policies, 0);

	return !p->netns || p->netns == netns ? p : NULL;
}

/* The policy that governs this call, or NULL. */
#define policy_of(ctx) policy_in(bpf_get_netns_cookie(ctx))

/* LSM programs have no helper for the cookie. */
#define policy_of_sock(sk) policy_in((sk)->__sk_common.skc_net.net->net_cookie)

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
	if (priority_refuses(p, ctx) || tos_refuses(p, ctx) || sockopts_refuses(p, ctx)) {
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
 * The families that cgroup/sock_create does not see: AF_PACKET, AF_UNIX,
 * AF_NETLINK and the rest.
 */
SEC("lsm_cgroup/socket_post_create")
int BPF_PROG(policy_post_create, struct socket *sock)
{
	struct sock *sk = sock->sk;
	const struct policy *p;

	if (!sk)
		return ALLOW;
	p = policy_of_sock(sk);
	if (p)
		priority_set(p, sk);
	return ALLOW;
}

/*
 * Accepted sockets of protocols that sockops does not see, in the context of
 * the task that accepts. A hook without a result must return 1.
 */
SEC("lsm_cgroup/sock_graft")
int BPF_PROG(policy_sock_graft, struct sock *sk)
{
	const struct policy *p;

	if (!sk)
		return ALLOW;
	p = policy_of_sock(sk);
	if (p)
		priority_set(p, sk);
	return ALLOW;
}
