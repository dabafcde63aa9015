/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is stored for one cgroup. User space reads this layout from the
 * object's BTF (plugins/module_utils/_abi.py is generated from it).
 *
 * All-zero means "not configured": the kernel hands out zeroed storage at the
 * first attachment, so every control must leave everything alone then.
 *
 * An update replaces a value whole, in an allocation of its own that may not
 * wait (cgroup_storage_update_elem(), GFP_NOWAIT). The struct therefore stays
 * below one page with the kernel's 16-byte header: an allocation of order 0
 * does not fail because memory is fragmented.
 */
#ifndef CGNET_POLICY_H
#define CGNET_POLICY_H

#include <linux/types.h>

enum control {
	CONTROL_PRIORITY = 1 << 0,
	CONTROL_TOS = 1 << 1,
	CONTROL_BIND_PORTS = 1 << 2,
	CONTROL_IPV4 = 1 << 3,
	CONTROL_SOCKOPTS = 1 << 4,
};

enum flag {
	FLAG_TCP = 1 << 0,		/* bind_ports governs TCP */
	FLAG_UDP = 1 << 1,		/* bind_ports governs UDP and UDP-Lite */
	FLAG_UNPRIVILEGED = 1 << 2,	/* listed ports need no capability */
	FLAG_SOCKOPTS_ALLOW = 1 << 3,	/* the list allows; unset: it denies */
};

enum protocol {
	PROTOCOL_TCP,
	PROTOCOL_UDP,
	PROTOCOLS,
};

enum limit {
	LIMIT_BLOCK_PORTS = 256,	/* ports in one block */
	LIMIT_BLOCKS = 78,		/* distinct blocks; block 0 is the empty one */
	LIMIT_SOCKOPTS = 128,		/* a power of two: it is searched by halves */
};

struct policy {
	__u64 netns;		/* cookie of the one network namespace that is
				 * governed; 0: every one */
	__u64 tos;		/* bit n: DSCP n may be used */
	__u64 cgroup;		/* id of the cgroup that this is stored for */
	__u32 controls;		/* enum control: what is governed */
	__u32 flags;		/* enum flag */
	__u32 priority;		/* SO_PRIORITY, host byte order */
	__u32 below;		/* ports from 1 to below - 1 are governed */
	__u32 level;		/* depth of the cgroup: 1 is a child of the root */
	__u32 _unused;

	/*
	 * port_block[protocol][port / 256] is an index into block[], and a bit
	 * there stands for a port that may be bound. Any list of ports costs
	 * the same three loads; equal blocks are stored once.
	 */
	__u8 port_block[PROTOCOLS][LIMIT_BLOCK_PORTS];
	__u64 block[LIMIT_BLOCKS][LIMIT_BLOCK_PORTS / 64];

	/* level << 32 | name, ascending; unused entries are all ones */
	__u64 sockopts[LIMIT_SOCKOPTS];

	/* No bytes: they make BTF carry the enums that user space needs. */
	enum control _controls[0];
	enum flag _flags[0];
	enum protocol _protocols[0];
	enum limit _limits[0];
};

#endif
