// SPDX-License-Identifier: GPL-2.0-only
/* A program that attaches to a device, not to a cgroup. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int mine_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}
