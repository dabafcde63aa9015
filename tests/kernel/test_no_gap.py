# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upgrades and edits by the hundred: not one forbidden call gets through, no allowed one fails.

By the hundred on the newest kernel, and by the twenty on the others.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.conftest import Group, Shipped, apply, shipped
from tests.kernel.flows import MAPPED
from tests.kernel.sends import V6, mark
from tests.kernel.tasks import bind, outcome, release, set_tclass, watching

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

AF21, EF = 0x48, 0xB8
LAYOUT = shipped().manifest["version"].split("-")[1]
ONE = {"tos": ["af21"], "bind_ports": {"tcp": [1000], "udp": [1000]}, "ipv4": "hidden"}
TWO = {"tos": ["af21", "cs1"], "bind_ports": {"tcp": [1000, 1001], "udp": [1000]}, "ipv4": "hidden"}
"""Policies that agree about what is tried."""
PROGRAMS = [
    each for each in shipped().manifest["programs"]
    if each[1].startswith(("cgroup/", "cgroup_skb/")) or each[0] == "policy_holder"
]  # fmt: skip


MANY, FEW = (100, 20) if release() >= (7, 0) else (20, 5)


def version(number: int, layout: str = LAYOUT) -> Shipped:
    return shipped(programs=PROGRAMS, version=f"{number:016x}-{layout}")


def tried() -> list[Any]:
    """What both policies forbid, and what both allow: options, ports, sockets and messages."""
    found = [outcome(socket.socket, socket.AF_INET)]
    found += [bind(socket.AF_INET6, socket.SOCK_STREAM, port) for port in (1000, 1002)]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        found += [outcome(set_tclass, sock, tos) for tos in (EF, AF21)]
        found += [outcome(sock.sendto, b"x", (where, 9)) for where in (MAPPED, V6)]
        for tos in (EF, AF21):
            control = [mark(socket.AF_INET6, tos).carried()]
            found.append(outcome(sock.sendmsg, [b"x"], control, 0, (V6, 9)))
    return found


HELD = ["EAFNOSUPPORT", "ok", "EPERM", "EPERM", "ok", "EAFNOSUPPORT", 1, "EPERM", 1]


def held_throughout(ours: Group, changes: Callable[[], object]) -> None:
    with watching(ours.procs, tried) as watch:
        watch.look()
        changes()
        watch.look()
    assert watch.seen == [HELD]


def test_without_a_policy_all_of_it_works(group: Make) -> None:
    assert group("ours").run(tried) == ["ok"] * 5 + [1] * 4


def test_upgrades_by_the_hundred(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **ONE}], obj=version(0))

    def upgrades() -> None:
        for number in range(1, MANY + 1):
            assert apply([{"cgroup": "ours", **ONE}], obj=version(number))["changed"]

    held_throughout(ours, upgrades)


def test_changes_of_the_layout_by_the_dozen(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **ONE}], obj=version(0))

    def upgrades() -> None:
        for number in range(1, FEW + 1):
            obj = version(0, f"{number:08x}")
            assert apply([{"cgroup": "ours", **ONE}], obj=obj)["changed"]

    held_throughout(ours, upgrades)


def test_edits_by_the_hundred(group: Make) -> None:
    ours = group("ours")
    apply([{"cgroup": "ours", **ONE}], obj=version(0))

    def edits() -> None:
        for policy in [TWO, ONE] * (MANY // 2):
            assert apply([{"cgroup": "ours", **policy}], obj=version(0))["changed"]

    held_throughout(ours, edits)
