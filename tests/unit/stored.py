# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs in bpf/ compute from a stored policy, in Python.

It reads the bytes at the offsets of the layout, as the C code does, and shares
nothing with _policy: where both agree, the encoding means what the kernel reads.
"""

from __future__ import annotations

import struct
from typing import Any

CONTROLS = {"priority": 0, "tos": 1, "bind_ports": 2, "ipv4": 3, "sockopts": 4}
TCP, UDP = 0, 1
FLAG_TCP, FLAG_UDP, FLAG_UNPRIVILEGED, FLAG_SOCKOPTS_ALLOW = 1, 2, 4, 8
FLAG_AUDIT, FLAG_TASKS = 16, 32
BLOCK_PORTS, BLOCKS, SOCKOPTS, SOCKOPTS_UNUSED = 256, 78, 128, 0xFFFFFFFFFFFFFFFF


class Stored:
    """One stored struct policy."""

    def __init__(self, value: bytes, layout: dict[str, Any]) -> None:
        self.value = value
        self.at = {name: offset for name, offset, _shape in layout["fields"]}
        self.controls = self.u32("controls")
        self.flags = self.u32("flags")

    def u8(self, name: str, index: int) -> int:
        return self.value[self.at[name] + index]

    def u32(self, name: str) -> int:
        (found,) = struct.unpack_from("<I", self.value, self.at[name])
        return int(found)

    def u64(self, name: str, index: int = 0) -> int:
        (found,) = struct.unpack_from("<Q", self.value, self.at[name] + 8 * index)
        return int(found)

    def governs(self, control: str) -> bool:
        return bool(self.controls >> CONTROLS[control] & 1)

    def governs_netns(self, cookie: int) -> bool:
        """policy_in()"""
        return self.u64("netns") in (0, cookie)

    def tos_listed(self, tos: int) -> bool:
        """tos_listed()"""
        dscp = (tos & 0xFF) >> 2
        return not dscp or bool(self.u64("tos") >> dscp & 1)

    def port_listed(self, protocol: int, port: int) -> bool:
        """bind_ports_listed()"""
        block = self.u8("port_block", protocol * 256 + port // BLOCK_PORTS)
        bit = port % BLOCK_PORTS
        if block >= BLOCKS:
            return False
        return bool(self.u64("block", block * (BLOCK_PORTS // 64) + bit // 64) >> bit % 64 & 1)

    def bind_verdict(self, protocol: int, port: int) -> str:
        """bind_ports_port() and bind_ports_unprivileged(): "allow", "refuse" or "privileged"."""
        governed = FLAG_TCP if protocol == TCP else FLAG_UDP
        if not self.governs("bind_ports") or not self.flags & governed:
            return "allow"
        if not port or port >= self.u32("below"):
            return "allow"
        if not self.port_listed(protocol, port):
            return "refuse"
        flags = self.flags & (FLAG_UNPRIVILEGED | FLAG_AUDIT)
        return "privileged" if flags == FLAG_UNPRIVILEGED else "allow"

    def sockopt_listed(self, level: int, name: int) -> bool:
        """sockopts_listed()"""
        key = level << 32 | name
        at, step = 0, SOCKOPTS // 2
        while step:
            if self.u64("sockopts", (at + step) % SOCKOPTS) <= key:
                at += step
            step //= 2
        return key != SOCKOPTS_UNUSED and self.u64("sockopts", at % SOCKOPTS) == key

    def sockopt_refused(self, level: int, name: int) -> bool:
        """sockopts_refuses()"""
        allows = bool(self.flags & FLAG_SOCKOPTS_ALLOW)
        return self.governs("sockopts") and self.sockopt_listed(level, name) != allows
