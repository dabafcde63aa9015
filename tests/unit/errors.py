# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An error of each class."""

from __future__ import annotations

from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    ConflictError,
    DeadlineError,
    HostError,
    InputError,
    KernelError,
    KilledError,
    ObjectError,
    UnsupportedError,
    VerifyError,
)

EXAMPLES = [
    InputError("policies[0].tos", "x", "a DSCP name"),
    HostError("bpffs is not mounted", "Mount it"),
    UnsupportedError("a.slice", "priority", "no bpf", "Boot another kernel"),
    ConflictError("policy_bind4", "program 7 (theirs) forbids it", "Detach that"),
    ObjectError("mine", "it has no BTF", "Compile it with -g"),
    KernelError("bpf_obj_get", 1, "Become root", "R0 invalid"),
    DeadlineError("bpf_link_create", 120.0, "process 7 still hangs in it", "Reboot the host"),
    KilledError(7, "SIGKILL", "bpf_object__load"),
    VerifyError("After applying, the kernel is not as declared"),
]
