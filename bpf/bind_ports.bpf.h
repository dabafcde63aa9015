/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * bind_ports: a task binds only the listed ports below a bound, TCP and UDP
 * apart. Port 0, and with it every port that the kernel picks, is untouched.
 */
#ifndef CGNET_BIND_PORTS_BPF_H
#define CGNET_BIND_PORTS_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"

static __always_inline bool bind_ports_listed(const struct policy *p, enum protocol protocol,
					      __u16 port)
{
	__u32 number = port / LIMIT_BLOCK_PORTS;
	__u32 bit = port % LIMIT_BLOCK_PORTS;
	__u32 block;

	/*
	 * The compiler knows that a port has 16 bits and drops the mask; the
	 * 6.1 verifier does not know what a byte swap leaves, and wants it.
	 */
	barrier_var(number);
	block = p->port_block[protocol][number % LIMIT_BLOCK_PORTS];
	return block < LIMIT_BLOCKS && (p->block[block][bit / 64] >> bit % 64 & 1);
}

enum bind_port {
	BIND_PORT_FREE,		/* not governed */
	BIND_PORT_LISTED,
	BIND_PORT_REFUSED,
};

static __always_inline enum bind_port bind_ports_port(const struct policy *p,
						      const struct bpf_sock_addr *ctx)
{
	__u16 port = bpf_ntohs((__u16)ctx->user_port);
	enum protocol protocol;
	__u32 governed;

	switch (ctx->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_MPTCP:
		protocol = PROTOCOL_TCP;
		governed = FLAG_TCP;
		break;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		protocol = PROTOCOL_UDP;
		governed = FLAG_UDP;
		break;
	default:
		return BIND_PORT_FREE;
	}
	if (!governs(p, CONTROL_BIND_PORTS) || !(p->flags & governed))
		return BIND_PORT_FREE;
	if (!port || port >= p->below)
		return BIND_PORT_FREE;
	return bind_ports_listed(p, protocol, port) ? BIND_PORT_LISTED : BIND_PORT_REFUSED;
}

/* Whether a port that may be bound needs no capability: not under audit, which gives nothing. */
static __always_inline bool bind_ports_unprivileged(const struct policy *p, enum bind_port port)
{
	return port == BIND_PORT_LISTED &&
	       (p->flags & (FLAG_UNPRIVILEGED | FLAG_AUDIT)) == FLAG_UNPRIVILEGED;
}

#endif
