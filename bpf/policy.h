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
	CONTROL_PRIORITY,
	CONTROL_TOS,
	CONTROL_BIND_PORTS,
	CONTROL_IPV4,
	CONTROL_SOCKOPTS,
	CONTROLS,			/* how many there are; as a verdict: none refuses */
};

enum flag {
	FLAG_TCP = 1 << 0,		/* bind_ports governs TCP */
	FLAG_UDP = 1 << 1,		/* bind_ports governs UDP and UDP-Lite */
	FLAG_UNPRIVILEGED = 1 << 2,	/* listed ports need no capability */
	FLAG_SOCKOPTS_ALLOW = 1 << 3,	/* the list allows; unset: it denies */
	FLAG_AUDIT = 1 << 4,		/* count and tell; refuse and set nothing */
	FLAG_TASKS = 1 << 5,		/* lsm_cgroup/socket_setsockopt is asked as well */
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

/* What was refused, or would have been. */
enum call {
	CALL_SOCKET,
	CALL_SETSOCKOPT,
	CALL_BIND,
	CALL_CONNECT,
	CALL_SEND,
	CALL_PACKET,			/* it does not leave, whichever call it comes from */
	CALLS,
};

enum size {
	SIZE_COMMAND = 16,		/* TASK_COMM_LEN */
	SIZE_EVENTS = 64 * 1024,	/* bytes of all events that nobody has taken yet */
};

/* For each cgroup and CPU; each array by enum control. */
struct counts {
	__u64 refused[CONTROLS];
	__u64 audited[CONTROLS];	/* would have been refused */
	__u64 told[CONTROLS];		/* the last event's time */
};

struct event {
	__u64 time;			/* CLOCK_MONOTONIC, ns */
	__u64 cgroup;			/* id of the cgroup whose policy it is */
	__u32 process;			/* that calls, in the first pid namespace; 0 for a
					 * packet, which may leave in whatever context */
	__u32 thread;
	__u32 control;			/* enum control */
	__u32 call;			/* enum call */
	__u32 level;			/* of the socket option */
	__u32 name;
	__u32 value;			/* SOCKET: family; SETSOCKOPT: the value, where the hook
					 * sees it; BIND: port; PACKET: TOS or traffic class */
	__u32 audited;			/* 1: it was let through */
	__u8 command[SIZE_COMMAND];	/* the thread's name; empty for a packet */
};

struct policy {
	__u64 netns;		/* cookie of the one network namespace that is
				 * governed; 0: every one */
	__u64 tos;		/* bit n: DSCP n may be used */
	__u64 cgroup;		/* id of the cgroup that this is stored for */
	__u32 controls;		/* bit n: enum control n governs */
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

	/* No bytes: they make BTF carry what else user space needs. */
	enum control _controls[0];
	enum flag _flags[0];
	enum protocol _protocols[0];
	enum limit _limits[0];
	enum call _calls[0];
	enum size _sizes[0];
	struct counts _counts[0];
	struct event _event[0];
};

#endif
