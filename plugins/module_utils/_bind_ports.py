# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""bind_ports between its three forms: the user's data, BindPorts, and fields of struct policy."""

from __future__ import annotations

from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _ports, _values
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Flag, Limit, Protocol
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Policy as Struct
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import BindPorts


def parse(value: Any, at: str) -> BindPorts:
    """What may be bound, from the user's data; InputError says what is wrong with it."""
    given = _values.mapping(value, at, ("tcp", "udp", "below", "unprivileged"))
    below = 16384
    if "below" in given:
        below = _values.integer(given["below"], f"{at}.below", 2, 65536)
    lists = {p: _ports.parse(given[p], f"{at}.{p}", below) for p in ("tcp", "udp") if p in given}
    if not lists:
        raise InputError(
            at, value, "it names neither tcp nor udp", "Name one; [] allows none of its ports"
        )
    parsed = BindPorts(
        tcp=lists.get("tcp"),
        udp=lists.get("udp"),
        below=below,
        unprivileged=_values.boolean(given.get("unprivileged", False), f"{at}.unprivileged"),
    )
    needed = len(_ports.blocks(parsed.tcp or ()) | _ports.blocks(parsed.udp or ()))
    if needed > Limit.BLOCKS:
        raise InputError(
            at,
            f"{len(parsed.tcp or ()) + len(parsed.udp or ())} ranges",
            f"the ports are spread over {needed} different blocks of {Limit.BLOCK_PORTS}, "
            f"and {Limit.BLOCKS} fit",
            "Use ranges, or ports that lie closer together",
        )
    return parsed


def show(value: BindPorts) -> dict[str, Any]:
    """In the user's terms."""
    shown: dict[str, Any] = {}
    for protocol, ranges in (("tcp", value.tcp), ("udp", value.udp)):
        if ranges is not None:
            shown[protocol] = _ports.show(ranges)
    return {**shown, "below": value.below, "unprivileged": value.unprivileged}


def put(value: BindPorts, raw: Struct) -> None:
    """Into the struct, whose other fields stay."""
    raw.below = value.below
    raw.flags |= Flag.UNPRIVILEGED if value.unprivileged else 0
    known: dict[int, int] = {0: 0}
    for protocol, flag, ranges in (
        (Protocol.TCP, Flag.TCP, value.tcp),
        (Protocol.UDP, Flag.UDP, value.udp),
    ):
        if ranges is None:
            continue
        raw.flags |= flag
        for number, bits in _ports.bitmaps(ranges).items():
            index = known.setdefault(bits, len(known))
            raw.port_block[protocol][number] = index
            for word in range(Limit.BLOCK_PORTS // 64):
                raw.block[index][word] = bits >> (64 * word) & 0xFFFFFFFFFFFFFFFF


def get(raw: Struct) -> BindPorts:
    """Out of the struct."""

    def listed(protocol: Protocol, flag: Flag) -> tuple[tuple[int, int], ...] | None:
        if not raw.flags & flag:
            return None
        indices = list(raw.port_block[protocol])
        blocks = {
            index: sum(word << (64 * at) for at, word in enumerate(raw.block[index]))
            for index in set(indices)
            if any(raw.block[index])
        }
        used = [(number, index) for number, index in enumerate(indices) if index in blocks]
        return _ports.ranges({number: blocks[index] for number, index in used})

    return BindPorts(
        tcp=listed(Protocol.TCP, Flag.TCP),
        udp=listed(Protocol.UDP, Flag.UDP),
        below=raw.below,
        unprivileged=bool(raw.flags & Flag.UNPRIVILEGED),
    )
