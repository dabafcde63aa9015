# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs have counted and told, from bytes to the user's terms. Pure."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _policy
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Call, Control, Counts, Event

COUNTS = ctypes.sizeof(Counts)
"""The bytes of one CPU's counts."""

_NAMES = {int(spec.number): name for name, spec in _policy.CONTROLS.items()}
_FAMILIES = {2: "AF_INET", 44: "AF_XDP"}
"""Those of which sockets are refused."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def summed(values: Iterable[bytes]) -> dict[str, dict[str, int]]:
    """Control → how many calls and packets were refused, and would have been under audit.

    `values` are COUNTS bytes each: those of every CPU, and of every version.
    """
    counts = [Counts.from_buffer_copy(value) for value in values]
    return {
        name: {
            "refused": sum(int(each.refused[number]) for each in counts),
            "audited": sum(int(each.audited[number]) for each in counts),
        }
        for number, name in _NAMES.items()
    }


def _named(names: Mapping[int, str], number: int) -> str:
    return names.get(number, str(number))


def _detail(event: Event) -> dict[str, Any]:
    """What was refused, in the terms of the call."""
    if event.call == Call.SOCKET:
        return {"family": _named(_FAMILIES, event.value)}
    if event.call == Call.SETSOCKOPT:
        return {"option": _policy.show_option((event.level, event.name)), "value": event.value}
    if event.call == Call.BIND:
        return {"port": event.value}
    if event.call == Call.PACKET and event.control == Control.TOS:
        return {"tos": f"0x{event.value:02x}"}
    return {}


def event(data: bytes, paths: Mapping[int, str], booted: int) -> dict[str, Any]:
    """One record of the ring buffer.

    `paths` is cgroup id → path; `booted` the time of day, in ns since 1970, of CLOCK_MONOTONIC's 0.
    """
    raw = Event.from_buffer_copy(data)
    moment = _EPOCH + timedelta(microseconds=(booted + raw.time) // 1000)
    calls = {int(call): call.name.lower() for call in Call}
    who = {}
    if raw.process:
        name = bytes(raw.command).split(b"\0")[0].decode(errors="backslashreplace")
        who = {"process": raw.process, "thread": raw.thread, "command": name}
    return {
        "time": moment.isoformat(timespec="microseconds"),
        "cgroup": paths.get(raw.cgroup, f"id {raw.cgroup} (gone)"),
        "control": _named(_NAMES, raw.control),
        "call": _named(calls, raw.call),
        **_detail(raw),
        **who,
        "verdict": "audited" if raw.audited else "refused",
    }


def events(records: Iterable[bytes], paths: Mapping[int, str], booted: int) -> list[dict[str, Any]]:
    """The records of all versions in the order of their times; those of another size are left."""
    whole = [record for record in records if len(record) == ctypes.sizeof(Event)]
    ordered = sorted(whole, key=lambda record: int(Event.from_buffer_copy(record).time))
    return [event(record, paths, booted) for record in ordered]
