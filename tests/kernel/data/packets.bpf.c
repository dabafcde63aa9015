// SPDX-License-Identifier: GPL-2.0-only
/*
 * What leaves a cgroup and those below it: attached to an ancestor, this runs
 * after the programs of the cgroups that are tested, for what they refuse too.
 */
#include "packet.h"

SEC("cgroup_skb/egress")
int packets_egress(struct __sk_buff *skb)
{
	return record(skb);
}
