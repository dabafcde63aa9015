# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror of bpf/policy.h.

Generated from the BTF of policy.bpf.o by `make object`. Do not edit.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any


class Control(enum.IntFlag):
    """enum control."""

    PRIORITY = 1
    TOS = 2
    BIND_PORTS = 4
    IPV4 = 8
    SOCKOPTS = 16


class Flag(enum.IntFlag):
    """enum flag."""

    TCP = 1
    UDP = 2
    UNPRIVILEGED = 4
    SOCKOPTS_ALLOW = 8


class Protocol(enum.IntEnum):
    """enum protocol."""

    TCP = 0
    UDP = 1
    PROTOCOLS = 2


class Limit(enum.IntEnum):
    """enum limit."""

    BLOCK_PORTS = 256
    BLOCKS = 78
    SOCKOPTS = 128


class Policy(ctypes.LittleEndianStructure):
    """struct policy: 4080 bytes."""

    _fields_ = (
        ("netns", ctypes.c_uint64),
        ("tos", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
        ("controls", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("priority", ctypes.c_uint32),
        ("below", ctypes.c_uint32),
        ("level", ctypes.c_uint32),
        ("_unused", ctypes.c_uint32),
        ("port_block", ctypes.c_uint8 * 256 * 2),
        ("block", ctypes.c_uint64 * 4 * 78),
        ("sockopts", ctypes.c_uint64 * 128),
    )


LAYOUT: dict[str, Any] = {
    "size": 4080,
    "fields": [
        ["netns", 0, "u64"],
        ["tos", 8, "u64"],
        ["cgroup", 16, "u64"],
        ["controls", 24, "u32"],
        ["flags", 28, "u32"],
        ["priority", 32, "u32"],
        ["below", 36, "u32"],
        ["level", 40, "u32"],
        ["_unused", 44, "u32"],
        ["port_block", 48, [["u8", 256], 2]],
        ["block", 560, [["u64", 4], 78]],
        ["sockopts", 3056, ["u64", 128]],
    ],
    "enums": {
        "control": {
            "CONTROL_PRIORITY": 1,
            "CONTROL_TOS": 2,
            "CONTROL_BIND_PORTS": 4,
            "CONTROL_IPV4": 8,
            "CONTROL_SOCKOPTS": 16,
        },
        "flag": {
            "FLAG_TCP": 1,
            "FLAG_UDP": 2,
            "FLAG_UNPRIVILEGED": 4,
            "FLAG_SOCKOPTS_ALLOW": 8,
        },
        "protocol": {
            "PROTOCOL_TCP": 0,
            "PROTOCOL_UDP": 1,
            "PROTOCOLS": 2,
        },
        "limit": {
            "LIMIT_BLOCK_PORTS": 256,
            "LIMIT_BLOCKS": 78,
            "LIMIT_SOCKOPTS": 128,
        },
    },
}
