// SPDX-License-Identifier: GPL-2.0-only
/* Two programs and a stored struct with a field of each kind that we read. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

char LICENSE[] SEC("license") = "GPL";

enum colour {
	COLOUR_RED = 1,
	COLOUR_BLUE = 2,
};

typedef __u16 port_t;

struct inner {
	__u32 a;
};

struct stored {
	__u64 first;
	const volatile __s32 second;
	port_t third;
	__u8 fourth[2][3];
	struct inner fifth;
	enum colour sixth;
	enum colour _none[0];
};

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct stored);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

SEC("cgroup/bind6")
int mine_bind6(struct bpf_sock_addr *ctx)
{
	return ANSWER;
}

SEC("cgroup/bind4")
int mine_bind4(struct bpf_sock_addr *ctx)
{
	struct stored *s = bpf_get_local_storage(&values, 0);

	return s->first != 1;
}
