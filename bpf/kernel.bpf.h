/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The few kernel structs that we read. libbpf relocates each access by name
 * (CO-RE), so only the members that we use stand here, in any order.
 */
#ifndef CGNET_KERNEL_BPF_H
#define CGNET_KERNEL_BPF_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <asm-generic/errno.h>
#include <asm-generic/socket.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Families, types and levels are in no header that user space shares with us. */
enum family {
	AF_UNIX = 1,
	AF_INET = 2,
	AF_INET6 = 10,
	AF_KEY = 15,
	AF_NETLINK = 16,
	AF_PACKET = 17,
	AF_CAN = 29,
	AF_XDP = 44,
};

enum type {
	SOCK_RAW = 3,
	SOCK_PACKET = 10,
};

enum message {
	MSG_BATCH = 0x40000,	/* of sendmmsg(): another message comes after it */
};

enum level {
	SOL_PACKET = 263,
	SOL_XDP = 283,
};

/* What the kernel takes from a cgroup or lsm_cgroup program. */
enum verdict {
	REFUSE = 0,		/* -EPERM, unless bpf_set_retval() says otherwise */
	ALLOW = 1,
	ALLOW_PRIVILEGED = 3,	/* bind4 and bind6 only: skip CAP_NET_BIND_SERVICE
				 * (since 5.12, 772412176fb9) */
};

/* What ctx->optlen tells cgroup/setsockopt's caller, and what it means. */
enum optlen {
	OPTLEN_HANDLED = -1,	/* a program has done the kernel's work */
	OPTLEN_OWN = 0,		/* the kernel reads the task's own buffer (since 5.8,
				 * d8fe449a9c51) */
	OPTLEN_SHOWN = 4096,	/* a program sees one page. Of a longer value it must
				 * say OPTLEN_OWN: else older kernels fail with EFAULT,
				 * and the others log a line */
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net {
	__u64 net_cookie;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	__u16 skc_family;
	possible_net_t skc_net;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_common __sk_common;
	struct sock_cgroup_data sk_cgrp_data;
};

struct task_struct {
	__s32 pid;
	__s32 tgid;
	char comm[16];
};

struct socket {
	__s16 type;
	struct sock *sk;
};

struct sockaddr {
	char sa_data[14];
};

struct msghdr {
	void *msg_name;
	unsigned long msg_controllen;
	unsigned int msg_flags;
};

#pragma clang attribute pop

enum head {
	SOCK_HEAD = 128,	/* bytes of struct sock that hold skc_net */
};

/*
 * The cookie of a socket's network namespace, where bpf_get_netns_cookie() is
 * not to be had: cgroup_skb has it since 6.15 only. The verifier lets nobody
 * follow a pointer out of a bpf_sock, so the socket's beginning is copied. 0, which
 * no namespace has, where that can't be done.
 */
static __always_inline __u64 netns_of(const struct bpf_sock *sk)
{
	__u64 head[SOCK_HEAD / sizeof(__u64)];
	__u32 at = bpf_core_field_offset(struct sock_common, skc_net.net) / sizeof(__u64);

	if (at >= SOCK_HEAD / sizeof(__u64) || bpf_probe_read_kernel(head, sizeof(head), sk))
		return 0;
	return BPF_CORE_READ((struct net *)head[at], net_cookie);
}

#endif
