// SPDX-License-Identifier: GPL-2.0-only
/*
 * classify: the class of a packet, by the cgroup of the socket that sends it. HTB asks a filter
 * about each packet whose priority names no class.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

enum {
	CGROUPS = 16384,
	DEPTH = 64,		/* levels below the root that are looked at */
};

/* Class id by cgroup id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CGROUPS);
	__type(key, __u64);
	__type(value, __u32);
} classes SEC(".maps");

/*
 * Returns a class id, as the filter is none with direct action. 0 is none, and HTB goes on with the
 * next filter.
 *
 * From the top, since there are as few steps as the cgroup is deep: the helper returns 0 for a
 * level that is deeper, and for a packet without a full socket. The nearest cgroup that has a class
 * decides.
 */
SEC("tc")
int cgnet_classify(struct __sk_buff *skb)
{
	__u32 class = 0;

	for (int level = 1; level <= DEPTH; level++) {
		__u64 cgroup = bpf_skb_ancestor_cgroup_id(skb, level);
		__u32 *found;

		if (!cgroup)
			break;
		found = bpf_map_lookup_elem(&classes, &cgroup);
		if (found)
			class = *found;
	}
	return class;
}
