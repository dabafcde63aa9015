/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ipv4: hidden. Runtimes fall back to IPv6 on EAFNOSUPPORT and give up on
 * EPERM, so that is what every refusal here returns.
 *
 * An IPv6 socket reaches IPv4 too: by a v4-mapped address, and over UDP by an
 * AF_INET address, for which the kernel runs the *4 hooks.
 */
#ifndef CGNET_IPV4_BPF_H
#define CGNET_IPV4_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"
#include "refuse.bpf.h"

static __always_inline bool ipv4_hidden(const struct policy *p)
{
	return governs(p, CONTROL_IPV4);
}

static __always_inline bool ipv4_hides_mapped(const struct policy *p,
					      const struct bpf_sock_addr *ctx)
{
	return ipv4_hidden(p) && !ctx->user_ip6[0] && !ctx->user_ip6[1] &&
	       ctx->user_ip6[2] == bpf_htonl(0xffff);
}

/* The floor: a raw header, and a socket from before the policy. */
static __always_inline bool ipv4_refuses_packet(const struct policy *p,
						const struct __sk_buff *skb)
{
	return ipv4_hidden(p) && skb->protocol == bpf_htons(ETH_P_IP);
}

/* set_retval() in these hooks: since 6.1. A bare 0 would be EPERM. */
static __always_inline enum verdict ipv4_verdict(const struct policy *p, enum call call,
						 __u32 value)
{
	if (!refuse(p, CONTROL_IPV4, (struct event){ .call = call, .value = value }))
		return ALLOW;
	bpf_set_retval(-EAFNOSUPPORT);
	return REFUSE;
}

#endif
