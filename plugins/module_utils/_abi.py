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


class Control(enum.IntEnum):
    """enum control."""

    PRIORITY = 0
    TOS = 1
    BIND_PORTS = 2
    IPV4 = 3
    SOCKOPTS = 4
    CONTROLS = 5


class Flag(enum.IntFlag):
    """enum flag."""

    TCP = 1
    UDP = 2
    UNPRIVILEGED = 4
    SOCKOPTS_ALLOW = 8
    AUDIT = 16
    TASKS = 32


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


class Call(enum.IntEnum):
    """enum call."""

    SOCKET = 0
    SETSOCKOPT = 1
    BIND = 2
    CONNECT = 3
    SEND = 4
    PACKET = 5
    CALLS = 6


class Size(enum.IntEnum):
    """enum size."""

    COMMAND = 16
    EVENTS = 65536


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


class Counts(ctypes.LittleEndianStructure):
    """struct counts: 120 bytes."""

    _fields_ = (
        ("refused", ctypes.c_uint64 * 5),
        ("audited", ctypes.c_uint64 * 5),
        ("told", ctypes.c_uint64 * 5),
    )


class Event(ctypes.LittleEndianStructure):
    """struct event: 64 bytes."""

    _fields_ = (
        ("time", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
        ("process", ctypes.c_uint32),
        ("thread", ctypes.c_uint32),
        ("control", ctypes.c_uint32),
        ("call", ctypes.c_uint32),
        ("level", ctypes.c_uint32),
        ("name", ctypes.c_uint32),
        ("value", ctypes.c_uint32),
        ("audited", ctypes.c_uint32),
        ("command", ctypes.c_uint8 * 16),
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
            "CONTROL_PRIORITY": 0,
            "CONTROL_TOS": 1,
            "CONTROL_BIND_PORTS": 2,
            "CONTROL_IPV4": 3,
            "CONTROL_SOCKOPTS": 4,
            "CONTROLS": 5,
        },
        "flag": {
            "FLAG_TCP": 1,
            "FLAG_UDP": 2,
            "FLAG_UNPRIVILEGED": 4,
            "FLAG_SOCKOPTS_ALLOW": 8,
            "FLAG_AUDIT": 16,
            "FLAG_TASKS": 32,
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
        "call": {
            "CALL_SOCKET": 0,
            "CALL_SETSOCKOPT": 1,
            "CALL_BIND": 2,
            "CALL_CONNECT": 3,
            "CALL_SEND": 4,
            "CALL_PACKET": 5,
            "CALLS": 6,
        },
        "size": {
            "SIZE_COMMAND": 16,
            "SIZE_EVENTS": 65536,
        },
    },
    "structs": {
        "counts": {
            "size": 120,
            "fields": [
                ["refused", 0, ["u64", 5]],
                ["audited", 40, ["u64", 5]],
                ["told", 80, ["u64", 5]],
            ],
        },
        "event": {
            "size": 64,
            "fields": [
                ["time", 0, "u64"],
                ["cgroup", 8, "u64"],
                ["process", 16, "u32"],
                ["thread", 20, "u32"],
                ["control", 24, "u32"],
                ["call", 28, "u32"],
                ["level", 32, "u32"],
                ["name", 36, "u32"],
                ["value", 40, "u32"],
                ["audited", 44, "u32"],
                ["command", 48, ["u8", 16]],
            ],
        },
    },
}
