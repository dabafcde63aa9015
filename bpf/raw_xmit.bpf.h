/* SPDX-License-Identifier: GPL-2.0-only */
/* raw_xmit: which sockets are raw, and what would make one receive. */
#ifndef CGNET_RAW_XMIT_BPF_H
#define CGNET_RAW_XMIT_BPF_H

#include <stddef.h>
#include <linux/if_packet.h>
#include "kernel.bpf.h"

static __always_inline bool raw_xmit_may_create(int family, int type, int protocol)
{
	switch (family) {
	case AF_PACKET:
		return type != SOCK_PACKET && !protocol;
	case AF_XDP:		/* what it receives is read from memory, past every hook */
		return false;
	case AF_UNIX:		/* there SOCK_RAW is another word for SOCK_DGRAM */
	case AF_INET:		/* held by cgroup_skb/ingress */
	case AF_INET6:
	case AF_KEY:		/* these two are made with it, and are not of packets */
	case AF_NETLINK:
	case AF_CAN:		/* needs no capability */
		return true;
	}
	return type != SOCK_RAW;
}

static __always_inline bool raw_xmit_is_raw(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	if (!sk)
		return false;
	switch (sk->__sk_common.skc_family) {
	case AF_PACKET:
	case AF_XDP:
		return true;
	case AF_INET:
	case AF_INET6:
		return sock->type == SOCK_RAW;
	}
	return false;
}

static __always_inline bool raw_xmit_may_bind(const struct socket *sock,
					      const struct sockaddr *address, int length)
{
	const struct sock *sk = sock->sk;

	if (!sk)
		return true;
	switch (sk->__sk_common.skc_family) {
	case AF_XDP:
		return false;
	case AF_PACKET:
		/* sll_protocol. An address too short to have one fails with EINVAL. */
		return length < (int)offsetof(struct sockaddr_ll, sll_ifindex) ||
		       (!address->sa_data[0] && !address->sa_data[1]);
	}
	return true;
}

static __always_inline bool raw_xmit_may_set(const struct socket *sock, int level, int name)
{
	const struct sock *sk = sock->sk;

	if (!sk)
		return true;
	switch (sk->__sk_common.skc_family) {
	case AF_XDP:
		return level != SOL_XDP;
	case AF_PACKET:
		return level != SOL_PACKET ||
		       (name != PACKET_RX_RING && name != PACKET_FANOUT &&
			name != PACKET_QDISC_BYPASS);
	}
	return true;
}

#endif
