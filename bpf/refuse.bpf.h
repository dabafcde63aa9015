/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a control forbids: counted, told at a bounded rate, and refused unless the
 * policy is only to be audited.
 */
#ifndef CGNET_REFUSE_BPF_H
#define CGNET_REFUSE_BPF_H

#include "kernel.bpf.h"
#include "policy_of.bpf.h"

/* Of the cgroup that the program is attached to, as `policies` is. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct counts);
} counts SEC(".maps");

/* What is not taken is lost once it is full: the newest is dropped, and counted all the same. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SIZE_EVENTS);
} events SEC(".maps");

#define TOLD_EVERY 100000000ULL	/* ns, for each cgroup, control and CPU */

/* An event is told at once if this CPU has told none of the kind for a while. */
static __always_inline void tell(struct counts *c, enum control by, struct event *event)
{
	const struct task_struct *task;

	event->time = bpf_ktime_get_ns();
	if (c->told[by] && event->time - c->told[by] < TOLD_EVERY)
		return;
	c->told[by] = event->time;
	if (event->call != CALL_PACKET) {
		task = bpf_get_current_task_btf();
		event->process = task->tgid;
		event->thread = task->pid;
		bpf_core_read(event->command, sizeof(event->command), &task->comm);
	}
	bpf_ringbuf_output(&events, event, sizeof(*event), BPF_RB_NO_WAKEUP);
}

/*
 * Whether a control that forbids a call, or a packet, refuses it. The counts are
 * this CPU's own, but a packet may be refused in an interrupt of a refusal.
 */
static __always_inline bool refuse(const struct policy *p, enum control by, struct event event)
{
	struct counts *c = bpf_get_local_storage(&counts, 0);
	bool audit = p->flags & FLAG_AUDIT;

	if (by >= CONTROLS)	/* none is: for the verifier */
		return true;
	__sync_fetch_and_add(audit ? &c->audited[by] : &c->refused[by], 1);
	event.cgroup = p->cgroup;
	event.control = by;
	event.audited = audit;
	tell(c, by, &event);
	return !audit;
}

/*
 * Under audit lsm_cgroup/socket_setsockopt has counted what cgroup/setsockopt is
 * then asked about too, if the task is one of the policy's.
 */
static __always_inline bool counted_before(const struct policy *p)
{
	return (p->flags & FLAG_AUDIT) && (p->flags & FLAG_TASKS) &&
	       bpf_get_current_ancestor_cgroup_id(p->level) == p->cgroup;
}

#endif
