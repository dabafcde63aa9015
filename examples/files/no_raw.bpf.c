// SPDX-License-Identifier: GPL-2.0-only
/* No raw IP sockets: socket() fails with EPERM. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

enum type {
	SOCK_RAW = 3,
};

SEC("cgroup/sock_create")
int no_raw(struct bpf_sock *ctx)
{
	return ctx->type != SOCK_RAW;
}
