# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: of several policies the nearest wins. The other controls refuse what any refuses."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, Group, apply, groups
from tests.kernel.flows import FLOWS, converse, need
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import (
    V4,
    Control,
    by_every_way,
    made_in,
    mark,
    receiver,
    send_written,
    set_by_32_bit,
    written,
)
from tests.kernel.tasks import bind, outcome, priority, set_priority, set_tos
from tests.kernel.test_priority import ACCEPTING, accepted, born, connector, supported

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

A, B, C = "outside/a", "outside/a/b", "outside/a/b/c"
LEVELS = {A: 5, B: 0x10010, C: 7}
MINE = 3
AF11, AF21, EF = 0x28, 0x48, 0xB8


@pytest.fixture(scope="module")
def levels(outside: Group) -> Iterator[dict[Group, int]]:
    """Cgroups in each other, and what holds in each; the last has none of its own."""
    with groups() as make:
        made = {make(path): value for path, value in LEVELS.items()}
        own = make(f"{C}/own")
        apply([{"cgroup": path, "priority": value} for path, value in LEVELS.items()])
        yield {**made, own: LEVELS[C]}


# Sockets


def test_a_socket_of_every_family_is_born_with_the_nearest(levels: dict[Group, int]) -> None:
    families = supported()
    for where, expected in levels.items():
        found = where.run(lambda: [born(*each) for each in families])
        assert found == [expected] * len(families), where.path


@ACCEPTING
def test_an_accepted_socket_has_the_nearest(
    levels: dict[Group, int], family: int, protocol: int
) -> None:
    """Whoever connects: from the root cgroup, and from the cgroup above all of them."""
    for client in ("cgroup.procs", f"{A}/cgroup.procs"):
        connect = connector(family, protocol, f"{MOUNT}/{client}")
        for where, expected in levels.items():
            found = where.run(lambda connect=connect: accepted(family, protocol, connect))
            assert found == expected, where.path


def test_a_cgroup_that_a_task_makes_has_the_nearest(levels: dict[Group, int]) -> None:
    families = supported()
    for where, expected in levels.items():

        def work(where: Group = where) -> list[Any]:
            os.mkdir(f"{where.directory}/made")
            try:
                procs = f"{where.directory}/made/cgroup.procs"
                return tasks.inside(procs, lambda: [born(*each) for each in families])
            finally:
                os.rmdir(f"{where.directory}/made")

        assert where.run(work) == [expected] * len(families), where.path


def test_the_nearest_of_0_is_one(levels: dict[Group, int], group: Make, left: Taken) -> None:
    zero = group(f"{C}/zero", priority=0)
    families = supported()
    assert zero.run(lambda: [born(*each) for each in families]) == [0] * len(families)
    for flow in ("UDP, IPv4", "TCP, IPv6"):
        zero.run(lambda flow=flow: converse(flow))
    assert set(priorities(left())) == {0}


def test_no_level_lets_a_task_set_it(levels: dict[Group, int]) -> None:
    for where, expected in levels.items():
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):

            def work(family: int = family) -> list[Any]:
                with socket.socket(family) as sock:
                    found = [outcome(set_priority, sock, MINE)]
                    if family != socket.AF_UNIX:
                        found.append(outcome(set_tos, sock, 0x10))
                    return [*found, priority(sock)]

            expecting = ["EPERM", *["ok"] * (family != socket.AF_UNIX), expected]
            assert where.run(work) == expecting, where.path


# Packets


@pytest.mark.parametrize("flow", FLOWS)
def test_every_protocols_packets_carry_the_nearest(
    levels: dict[Group, int], left: Taken, flow: str
) -> None:
    need(flow)
    for where, expected in levels.items():
        where.run(lambda: converse(flow))
        assert set(priorities(left())) == {expected}, where.path


def test_no_way_to_send_gives_a_packet_another_than_the_nearest(
    levels: dict[Group, int], left: Taken
) -> None:
    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            by_every_way(sock, (V4, 9), mark(socket.AF_INET, 0x10))

    for where, expected in levels.items():
        where.run(work)
        assert set(priorities(left())) == {expected}, where.path


def test_a_socket_that_is_handed_on_keeps_its_own_cgroups(
    levels: dict[Group, int], left: Taken
) -> None:
    def make() -> list[socket.socket]:
        return [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]

    for maker, expected in levels.items():
        (sock,) = made_in(maker, make)
        with sock:
            for sender in levels:
                sender.run(lambda sock=sock: sock.sendto(b"x", (V4, 9)))
        assert priorities(left()) == [expected] * len(levels), maker.path


# The controls that refuse: what any level refuses


def test_a_tos_is_listed_by_every_level(group: Make) -> None:
    group("ours", tos=["af11", "af21"])
    child = group("ours/child", tos=["af21", "ef"], priority=6)

    def work() -> list[Any]:
        with receiver(socket.AF_INET) as there:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                found = [outcome(set_tos, sock, tos) for tos in (AF11, AF21, EF)]
                sent = [
                    by_every_way(sock, there.to, mark(socket.AF_INET, tos))["sendmsg"]
                    for tos in (AF11, EF)
                ]
            sent += [send_written(there.to, tos) for tos in (AF11, AF21, EF, 0)]
            return [found, sent, there.got(2)]

    size = len(written((V4, 9), 0))
    assert child.run(work) == [
        ["EPERM", "ok", "EPERM"],
        ["EPERM", "EPERM", "EPERM", size, "EPERM", size],
        [AF21, 0],
    ]


def test_a_port_is_listed_by_every_level(group: Make) -> None:
    group("ours", bind_ports={"tcp": [443, 1000]})
    child = group("ours/child", bind_ports={"tcp": [443, 2000]})
    kinds = [(socket.AF_INET, socket.SOCK_STREAM, port) for port in (443, 1000, 2000)]
    assert child.run(lambda: [bind(*each) for each in kinds]) == ["ok", "EPERM", "EPERM"]


@pytest.mark.parametrize("hides", ["ours", "ours/child"])
def test_ipv4_is_hidden_by_any_level(group: Make, hides: str) -> None:
    group("ours", priority=6)
    child = group("ours/child", priority=7)
    own = group("ours/child/own")
    apply([{"cgroup": hides, "priority": 5, "ipv4": "hidden"}])
    for where in (child, own):
        assert where.run(lambda: outcome(socket.socket, socket.AF_INET)) == "EAFNOSUPPORT"
        assert where.run(lambda: outcome(converse, "TCP, IPv6")) == "ok"


def test_an_option_passes_every_level(group: Make) -> None:
    group("ours", sockopts={"allow": ["SOL_SOCKET/SO_KEEPALIVE", "6/1"]})
    child = group("ours/child", sockopts={"deny": ["6/1"]}, priority=6)
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE), (6, 1), (socket.SOL_SOCKET, 2)]

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [outcome(sock.setsockopt, level, name, 1) for level, name in options] + [
                set_by_32_bit(sock, Control(level, name, 1)) for level, name in options
            ]

    assert child.run(work) == ["ok", "EPERM", "EPERM"] * 2
