// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reaches the sockets of a cgroup and those below it. A packet comes over
 * the loopback device with the priority that it had at the sender's.
 */
#include "packet.h"

SEC("cgroup_skb/ingress")
int arrivals_ingress(struct __sk_buff *skb)
{
	return record(skb);
}
