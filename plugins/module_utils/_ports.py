# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of ports: what the user writes, ranges, and bitmaps of a block of ports each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _values
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Limit
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Range

_BLOCK = int(Limit.BLOCK_PORTS)
_ALLOWED = "a port from 1 to 65535, or a range such as 8000-8099"


def _range(value: Any, at: str) -> Range:
    first, last = value, value
    if isinstance(value, str) and "-" in value.strip():
        first, _dash, last = value.partition("-")
    low = _values.integer(first, at, 1, 65535, shown=value, allowed=_ALLOWED)
    high = _values.integer(last, at, 1, 65535, shown=value, allowed=_ALLOWED)
    if low > high:
        raise InputError(at, value, f"{low} is above {high}", f"Write {high}-{low}")
    return low, high


def parse(value: Any, at: str, below: int) -> tuple[Range, ...]:
    """Merged, ascending ranges of a list of ports and ranges.

    A port that is not below the bound is not governed, so listing it is an error.
    """
    given = sorted(_range(v, f"{at}[{i}]") for i, v in enumerate(_values.sequence(value, at)))
    merged: list[Range] = []
    for low, high in given:
        if high >= below:
            raise InputError(
                at,
                low if low == high else f"{low}-{high}",
                f"only ports below {below} are governed; those from there on may always be bound",
                'Leave it out, or raise "below"',
            )
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def show(ranges: Sequence[Range]) -> list[int | str]:
    """The ranges in the user's terms."""
    return [low if low == high else f"{low}-{high}" for low, high in ranges]


def bitmaps(ranges: Sequence[Range]) -> dict[int, int]:
    """Block number → bitmap of the ports listed in it; empty blocks are left out."""
    found: dict[int, int] = {}
    for low, high in ranges:
        for number in range(low // _BLOCK, high // _BLOCK + 1):
            start = max(low, number * _BLOCK) % _BLOCK
            count = min(high, number * _BLOCK + _BLOCK - 1) % _BLOCK - start + 1
            found[number] = found.get(number, 0) | ((1 << count) - 1) << start
    return found


def blocks(ranges: Sequence[Range]) -> frozenset[int]:
    """The distinct bitmaps that these ranges need, with the empty one."""
    return frozenset(bitmaps(ranges).values()) | {0}


def ranges(found: Mapping[int, int]) -> tuple[Range, ...]:
    """The inverse of bitmaps()."""
    listed: list[Range] = []
    for number, bits in sorted(found.items()):
        start = number * _BLOCK
        while bits:
            skip = (bits & -bits).bit_length() - 1
            bits >>= skip
            count = (~bits & (bits + 1)).bit_length() - 1
            bits >>= count
            low, high = start + skip, start + skip + count - 1
            start = high + 1
            if listed and listed[-1][1] + 1 == low:
                listed[-1] = (listed[-1][0], high)
            else:
                listed.append((low, high))
    return tuple(listed)
