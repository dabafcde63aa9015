/* SPDX-License-Identifier: GPL-2.0-only */
/* The hooks of cgnet_policy that see an address: bind(), connect(), and sends that have one. */
#ifndef CGNET_POLICY_ADDRESS_BPF_H
#define CGNET_POLICY_ADDRESS_BPF_H

#include "policy_of.bpf.h"
#include "refuse.bpf.h"
#include "tos.bpf.h"
#include "bind_ports.bpf.h"
#include "ipv4.bpf.h"

/* `ipv4` and `tos` say whether that control refuses. */
static __always_inline enum verdict bind_verdict(const struct policy *p,
						 const struct bpf_sock_addr *ctx, bool ipv4,
						 bool tos)
{
	enum bind_port port = bind_ports_port(p, ctx);
	__u32 number = bpf_ntohs((__u16)ctx->user_port);
	enum control by;

	if (ipv4)
		return ipv4_verdict(p, CALL_BIND, number);
	by = tos ? CONTROL_TOS : port == BIND_PORT_REFUSED ? CONTROL_BIND_PORTS : CONTROLS;
	if (by != CONTROLS)
		return refuse(p, by, (struct event){ .call = CALL_BIND, .value = number }) ? REFUSE :
											    ALLOW;
	return bind_ports_unprivileged(p, port) ? ALLOW_PRIVILEGED : ALLOW;
}

SEC("cgroup/bind4")
int policy_bind4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	if (!p)
		return ALLOW;
	return bind_verdict(p, ctx, ipv4_hidden(p), tos_refuses_bind(p, ctx, IPPROTO_IP, IP_TOS));
}

SEC("cgroup/bind6")
int policy_bind6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	if (!p)
		return ALLOW;
	return bind_verdict(p, ctx, ipv4_hides_mapped(p, ctx),
			    tos_refuses_bind(p, ctx, IPPROTO_IPV6, IPV6_TCLASS) ||
				    tos_refuses_bind(p, ctx, IPPROTO_IP, IP_TOS));
}

SEC("cgroup/connect4")
int policy_connect4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hidden(p) ? ipv4_verdict(p, CALL_CONNECT, 0) : ALLOW;
}

SEC("cgroup/connect6")
int policy_connect6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hides_mapped(p, ctx) ? ipv4_verdict(p, CALL_CONNECT, 0) : ALLOW;
}

SEC("cgroup/sendmsg4")
int policy_sendmsg4(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hidden(p) ? ipv4_verdict(p, CALL_SEND, 0) : ALLOW;
}

SEC("cgroup/sendmsg6")
int policy_sendmsg6(struct bpf_sock_addr *ctx)
{
	const struct policy *p = policy_of(ctx);

	return p && ipv4_hides_mapped(p, ctx) ? ipv4_verdict(p, CALL_SEND, 0) : ALLOW;
}

#endif
