# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates, sizes and handles as tc writes them: tc(8), and iproute2's lib/utils.c and tc/tc_util.c.

A rate is in bytes a second here, as in the kernel, a size in bytes, and a handle or class id in
32 bits, major and minor in 16 each.
"""

from __future__ import annotations

import re
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", re.IGNORECASE)
_HANDLE = re.compile(r"(?:([0-9a-f]{1,4}):)?([0-9a-f]{0,4})", re.IGNORECASE)

_PREFIXES = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
# In bits a second; those of bytes end in bps. "ki" and the like count by 1024.
RATES: dict[str, int] = {
    **{f"{p}bit": 1000**n for p, n in _PREFIXES.items()},
    **{f"{p}ibit": 1024**n for p, n in _PREFIXES.items() if p},
    **{f"{p}bps": 8 * 1000**n for p, n in _PREFIXES.items()},
    **{f"{p}ibps": 8 * 1024**n for p, n in _PREFIXES.items() if p},
}
SIZES: dict[str, int] = {
    **{p: 1024**n for p, n in _PREFIXES.items() if p and p != "t"},
    **{f"{p}b": 1024**n for p, n in _PREFIXES.items() if p != "t"},
    "": 1,
}
RATE_MAX = 1 << 56
"""More bytes a second than any link has; what the kernel computes from it fits in 64 bits."""
SIZE_MAX = (1 << 32) - 1
HANDLE_MAX = 0xFFFE << 16
"""The next one stands for what has no parent: TC_H_ROOT, and TC_H_INGRESS beside it."""


def _number(value: Any, at: str, units: dict[str, int], allowed: str, remedy: str) -> float:
    """A number with a unit. YAML makes a number of one that has none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    match = _WRITTEN.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match.group(2).lower() not in units:
        raise InputError(at, value, allowed, remedy)
    return float(match.group(1)) * units[match.group(2).lower()]


def parse_rate(value: Any, at: str) -> int:
    """Bytes a second. A number without a unit is of bits a second, as with tc."""
    allowed = f"a number and one of {', '.join(RATES)}"
    rate = int(_number(value, at, {**RATES, "": 1}, allowed, "Write it as 20mbit") / 8)
    if not 1 <= rate <= RATE_MAX:
        raise InputError(at, value, f"from 8bit to {show_rate(RATE_MAX)}")
    return rate


def show_rate(rate: int) -> str:
    """As tc prints it: 20Mbit."""
    bits, prefixes = rate * 8, ["", "K", "M", "G", "T"]
    at = 0
    while at < 4 and bits >= 1000 and (bits % 1000 == 0 or bits >= 1000 * 1000):
        bits //= 1000
        at += 1
    return f"{bits}{prefixes[at]}bit"


def parse_size(value: Any, at: str) -> int:
    """Bytes."""
    allowed = f"a number of bytes, or with one of {', '.join(name for name in SIZES if name)}"
    size = int(_number(value, at, SIZES, allowed, "Write it as 15k"))
    if not 1 <= size <= SIZE_MAX:
        raise InputError(at, value, f"from 1b to {SIZE_MAX}b")
    return size


def show_size(size: int) -> str:
    """As tc prints it: 15Kb, where that is near enough."""
    for unit, near, name in ((1 << 20, 1 << 10, "Mb"), (1 << 10, 16, "Kb")):
        whole = (size + unit // 2) // unit
        if size >= unit and abs(whole * unit - size) < near:
            return f"{whole}{name}"
    return f"{size}b"


def parse_handle(value: Any, at: str) -> int:
    """The handle of a queueing discipline: its major number, in hexadecimal, and a colon."""
    match = _HANDLE.fullmatch(value.strip()) if isinstance(value, str) else None
    major = int(match.group(1), 16) if match and match.group(1) and not match.group(2) else 0
    if not 1 <= major <= HANDLE_MAX >> 16:
        raise InputError(at, value, "a hexadecimal number from 1 to fffe and a colon", 'Write "1:"')
    return major << 16


def parse_classid(value: Any, at: str, handle: int) -> int:
    """A class of the discipline with that handle: major:minor in hexadecimal, or :minor."""
    match = _HANDLE.fullmatch(value.strip().removeprefix(":")) if isinstance(value, str) else None
    allowed = f"major:minor in hexadecimal, of which the major is {handle >> 16:x}"
    if match is None or ":" not in value or not match.group(2):
        raise InputError(at, value, allowed, f'Write it as "{handle >> 16:x}:10"')
    major = int(match.group(1), 16) if match.group(1) else handle >> 16
    minor = int(match.group(2), 16)
    if major != handle >> 16 or minor == 0:
        raise InputError(at, value, allowed, f'Write it as "{handle >> 16:x}:10"')
    return handle | minor


def show_handle(handle: int) -> str:
    """As tc prints it: 1: for a discipline, 1:10 for a class."""
    return f"{handle >> 16:x}:{handle & 0xFFFF:x}" if handle & 0xFFFF else f"{handle >> 16:x}:"


TICK = 64
"""Nanoseconds in which the kernel takes and gives the bursts of HTB: PSCHED_SHIFT, since 2.6.31."""


def ticks(size: int, rate: int) -> int:
    """How long a burst of so many bytes takes at a rate; rounded up, so that none becomes 0."""
    return min(-(-size * 1_000_000_000 // (rate * TICK)), 0xFFFFFFFF)


def burst(lasting: int, rate: int) -> int:
    """The bytes of a burst that takes so many ticks, to the nearest."""
    return (lasting * TICK * rate + 500_000_000) // 1_000_000_000
