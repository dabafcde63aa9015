/* SPDX-License-Identifier: GPL-2.0-only */
/* sockopts: which options setsockopt() takes, by level and name. */
#ifndef CGNET_SOCKOPTS_BPF_H
#define CGNET_SOCKOPTS_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"

/* An entry that holds none. setsockopt(-1, -1) has the same key, and is not listed. */
#define SOCKOPTS_UNUSED (~0ULL)

/* By halves: as many steps for one entry as for a full list. */
static __always_inline bool sockopts_listed(const struct policy *p, __u64 key)
{
	__u32 at = 0;

#pragma unroll
	for (__u32 step = LIMIT_SOCKOPTS / 2; step; step /= 2)
		if (p->sockopts[(at + step) % LIMIT_SOCKOPTS] <= key)
			at += step;
	return key != SOCKOPTS_UNUSED && p->sockopts[at % LIMIT_SOCKOPTS] == key;
}

static __always_inline bool sockopts_refuses(const struct policy *p, int level, int name)
{
	__u64 key = (__u64)(__u32)level << 32 | (__u32)name;
	bool allows = p->flags & FLAG_SOCKOPTS_ALLOW;

	return governs(p, CONTROL_SOCKOPTS) && sockopts_listed(p, key) != allows;
}

#endif
