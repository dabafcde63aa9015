# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts and events: what their bytes mean in the user's terms."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policy, _refusals
from ansible_collections.linux.cgnet.plugins.module_utils._abi import Call, Control, Counts, Event
from hypothesis import given
from hypothesis import strategies as st

SIZE = ctypes.sizeof(Event)
ALL_ONES = (1 << 64) - 1
PATHS = {7: "a.slice"}


def told(**fields: Any) -> dict[str, Any]:
    """One event, of the cgroup a.slice and at the beginning of time."""
    command = fields.pop("command", b"")
    raw = Event(**{"cgroup": 7, **fields})
    raw.command[: len(command)] = command
    return _refusals.event(bytes(raw), PATHS, 0)


def test_no_counts_are_zeros_of_every_control() -> None:
    assert _refusals.summed([]) == {
        name: {"refused": 0, "audited": 0} for name in _policy.CONTROLS
    }  # fmt: skip


def test_the_counts_of_many_cpus_are_added_without_a_bound() -> None:
    full = bytes(Counts(*[(ctypes.c_uint64 * Control.CONTROLS)(*[ALL_ONES] * 5)] * 3))
    assert _refusals.summed([full] * 3) == {
        name: {"refused": 3 * ALL_ONES, "audited": 3 * ALL_ONES} for name in _policy.CONTROLS
    }


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"call": Call.SOCKET, "control": Control.IPV4, "value": 2}, {"family": "AF_INET"}),
        ({"call": Call.SOCKET, "control": Control.PRIORITY, "value": 44}, {"family": "AF_XDP"}),
        ({"call": Call.SOCKET, "control": Control.IPV4, "value": 99}, {"family": "99"}),
        (
            {"call": Call.SETSOCKOPT, "control": Control.TOS, "name": 1, "value": 0xB8},
            {"option": "SOL_IP/IP_TOS", "value": 0xB8},
        ),
        (
            {"call": Call.SETSOCKOPT, "control": Control.SOCKOPTS, "level": 9999, "name": 8888},
            {"option": "9999/8888", "value": 0},
        ),
        ({"call": Call.BIND, "control": Control.BIND_PORTS, "value": 82}, {"port": 82}),
        ({"call": Call.BIND, "control": Control.TOS, "value": 82}, {"port": 82}),
        ({"call": Call.CONNECT, "control": Control.IPV4}, {}),
        ({"call": Call.SEND, "control": Control.PRIORITY}, {}),
        ({"call": Call.PACKET, "control": Control.TOS, "value": 4}, {"tos": "0x04"}),
        ({"call": Call.PACKET, "control": Control.IPV4}, {}),
    ],
)
def test_an_event_tells_what_was_refused(fields: dict[str, Any], detail: dict[str, Any]) -> None:
    control = next(n for n, s in _policy.CONTROLS.items() if s.number == fields["control"])
    assert told(**fields) == {
        "time": "1970-01-01T00:00:00.000000+00:00",
        "cgroup": "a.slice",
        "control": control,
        "call": fields["call"].name.lower(),
        **detail,
        "verdict": "refused",
    }


def test_an_event_tells_who_called() -> None:
    found = told(process=12, thread=13, command=b"a\xff\n\0old", audited=1)
    assert [found[key] for key in ("process", "thread", "command", "verdict")] == [
        12, 13, "a\\xff\n", "audited",
    ]  # fmt: skip


def test_the_time_is_that_of_day() -> None:
    raw = bytes(Event(time=1_500))
    assert _refusals.event(raw, {}, 1_767_225_600_000_000_000)["time"] == (
        "2026-01-01T00:00:00.000001+00:00"
    )


def test_events_are_ordered_by_time_to_the_nanosecond() -> None:
    records = [bytes(Event(time=time, cgroup=time)) for time in (3, 1, 2)]
    assert [each["cgroup"] for each in _refusals.events(records, {}, 0)] == [
        "id 1 (gone)", "id 2 (gone)", "id 3 (gone)",
    ]  # fmt: skip


def test_records_of_another_layout_are_left() -> None:
    assert _refusals.events([bytes(SIZE - 8), bytes(SIZE), bytes(SIZE + 8)], {}, 0) == [
        _refusals.event(bytes(SIZE), {}, 0)
    ]


@given(st.binary(min_size=SIZE, max_size=SIZE), st.integers(0, 2 * 10**18))
def test_any_bytes_are_an_event(data: bytes, booted: int) -> None:
    assert set(_refusals.event(data, {}, booted)) >= {"time", "cgroup", "control", "call"}
