// SPDX-License-Identifier: GPL-2.0-only
/* An object of a user's own on an LSM hook: nobody listens. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("lsm_cgroup/socket_listen")
int listening_refused(void *ctx)
{
	return 0;
}
