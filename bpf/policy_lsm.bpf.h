/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lsm_cgroup hooks of cgnet_policy: they run for the cgroup of the task that
 * calls, whichever cgroup the socket was made in.
 */
#ifndef CGNET_POLICY_LSM_BPF_H
#define CGNET_POLICY_LSM_BPF_H

#include "policy_of.bpf.h"
#include "refuse.bpf.h"
#include "priority.bpf.h"
#include "sockopts.bpf.h"

/*
 * The families that cgroup/sock_create does not see: AF_PACKET, AF_UNIX,
 * AF_NETLINK and the rest. AF_XDP sends past every queueing discipline.
 */
SEC("lsm_cgroup/socket_post_create")
int BPF_PROG(policy_post_create, struct socket *sock)
{
	struct sock *sk = sock->sk;
	const struct policy *p;

	if (!sk)
		return ALLOW;
	p = policy_of_sock(sk);
	if (!p)
		return ALLOW;
	if (governs(p, CONTROL_PRIORITY) && sk->__sk_common.skc_family == AF_XDP &&
	    refuse(p, CONTROL_PRIORITY, (struct event){ .call = CALL_SOCKET, .value = AF_XDP }))
		return REFUSE;
	priority_set(p, sk);
	return ALLOW;
}

/* 32-bit system calls do not run cgroup/setsockopt (do_sock_setsockopt()). */
SEC("lsm_cgroup/socket_setsockopt")
int BPF_PROG(policy_lsm_setsockopt, struct socket *sock, int level, int name)
{
	struct sock *sk = sock->sk;
	const struct policy *p;
	enum control by;

	if (!sk)
		return ALLOW;
	p = policy_of_sock(sk);
	if (!p)
		return ALLOW;
	by = priority_refuses(p, level, name) || priority_bypass(p, sk, level, name) ?
		     CONTROL_PRIORITY :
	     sockopts_refuses(p, level, name) ? CONTROL_SOCKOPTS : CONTROLS;
	if (by != CONTROLS && refuse(p, by, (struct event){ .call = CALL_SETSOCKOPT,
							    .level = level, .name = name }))
		return REFUSE;
	return ALLOW;
}

SEC("lsm_cgroup/socket_sendmsg")
int BPF_PROG(policy_sendmsg, struct socket *sock, struct msghdr *message)
{
	struct sock *sk = sock->sk;
	const struct policy *p;

	if (!sk)
		return ALLOW;
	p = policy_of_sock(sk);
	if (p && priority_message(p, sk, message) &&
	    refuse(p, CONTROL_PRIORITY, (struct event){ .call = CALL_SEND }))
		return REFUSE;
	return ALLOW;
}

/*
 * Accepted sockets of protocols that sockops does not see, in the context of
 * the task that accepts. It may be of another cgroup than the listener, and so
 * the new socket, is: packets of IP then follow the socket's policy, and this
 * one leaves it alone. A hook without a result must return 1.
 */
SEC("lsm_cgroup/sock_graft")
int BPF_PROG(policy_sock_graft, struct sock *sk)
{
	const struct policy *p;

	if (!sk)
		return ALLOW;
	if (sk->__sk_common.skc_family == AF_INET || sk->__sk_common.skc_family == AF_INET6)
		if (sk->sk_cgrp_data.cgroup->kn->id != bpf_get_current_cgroup_id())
			return ALLOW;
	p = policy_of_sock(sk);
	if (p)
		priority_set(p, sk);
	return ALLOW;
}

#endif
