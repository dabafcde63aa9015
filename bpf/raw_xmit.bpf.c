// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw_xmit: the tasks of a cgroup may send raw packets, and no raw socket gives
 * them any. Nothing is stored: a cgroup is held by what is attached to it.
 *
 * What a hook follows decides which door it can close. cgroup_skb/ingress
 * follows the cgroup that the socket was made in. An lsm_cgroup program follows
 * the task that calls, and so holds sockets that it was handed, or brought along.
 */
#include "kernel.bpf.h"
#include "raw_xmit.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * A packet socket receives from its creation on: packet_create() registers it
 * before socket_post_create runs.
 */
SEC("lsm_cgroup/socket_create")
int BPF_PROG(raw_xmit_create, int family, int type, int protocol, int kern)
{
	return kern || raw_xmit_may_create(family, type, protocol) ? ALLOW : REFUSE;
}

/* A protocol that is bound later makes a packet socket receive too. */
SEC("lsm_cgroup/socket_bind")
int BPF_PROG(raw_xmit_bind, struct socket *sock, struct sockaddr *address, int length)
{
	return raw_xmit_may_bind(sock, address, length) ? ALLOW : REFUSE;
}

SEC("lsm_cgroup/socket_setsockopt")
int BPF_PROG(raw_xmit_setsockopt, struct socket *sock, int level, int name)
{
	return raw_xmit_may_set(sock, level, name) ? ALLOW : REFUSE;
}

/* The queue of errors too: it has what others' packets met with. */
SEC("lsm_cgroup/socket_recvmsg")
int BPF_PROG(raw_xmit_recvmsg, struct socket *sock)
{
	return raw_xmit_is_raw(sock) ? REFUSE : ALLOW;
}

/*
 * A raw socket of IP gets a copy of each packet of its protocol. Refused here
 * it is not even queued, also for a call that waits since before the policy.
 */
SEC("cgroup_skb/ingress")
int raw_xmit_ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;

	return sk && sk->type == SOCK_RAW ? REFUSE : ALLOW;
}
