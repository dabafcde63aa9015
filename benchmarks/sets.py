# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies that are measured. Each lets through what benchmarks/calls.c does."""

from __future__ import annotations

from typing import Any

# A kernel without the BPF LSM can enforce these.
CGROUP: dict[str, Any] = {
    "tos": ["af11"],
    "bind_ports": {"tcp": [8080], "udp": [8080]},
    "ipv4": "hidden",
}
LSM: dict[str, Any] = {
    "priority": "1:10",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}
SETS: dict[str, dict[str, Any]] = {
    **{name: {name: value} for name, value in {**CGROUP, **LSM}.items()},
    "cgroup": CGROUP,
    "all": {**CGROUP, **LSM},
    # Of a control in LSM, what a kernel without the BPF LSM has of it all the same.
    "priority_in_part": {"priority": "1:10"},
}


def lists(control: str) -> dict[str, dict[str, Any]]:
    """Policies of one control whose list is long, by a name that ends in how many entries it has.

    The one with a single entry is in SETS. There are 64 DSCPs, and 128 options fit into a policy.
    """
    made = {
        "bind_ports": {n: {"udp": [8080 + 2 * k for k in range(n)]} for n in (16, 1000)},
        "tos": {n: [(0x28 + 4 * k) % 256 for k in range(n)] for n in (16, 64)},
        "sockopts": {n: {"deny": [f"SOL_SOCKET/{1000 + k}" for k in range(n)]} for n in (16, 128)},
    }[control]
    return {f"{control}_{number}": {control: value} for number, value in made.items()}


LISTS = {"bind_ports": "bind", "tos": "setsockopt", "sockopts": "setsockopt"}
"""The call that looks into a control's list."""
