# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""netns: a packet is held or left alone by the network namespace of its socket."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel.conftest import Group, apply
from tests.kernel.flows import converse
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, Control, by_every_way, mark, receiver, set_by_32_bit
from tests.kernel.tasks import SO_MARK, outcome
from tests.kernel.test_netns import elsewhere

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

EF, LOW_DELAY = 0xB8, 0x10
OURS, OTHER, MINE = 5, 6, 3
OF_EF = 4
"""The priority that the kernel gives a packet of this TOS."""


def datagram(*controls: Control) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return outcome(sock.sendmsg, [b"x"], [each.carried() for each in controls], 0, (V4, 9))


def moved(work: Callable[[], Any]) -> Callable[[], Any]:
    """The same in a namespace of the task's own."""

    def there() -> Any:
        elsewhere()
        return work()

    return there


@pytest.mark.parametrize(("netns", "there"), [("host", [0, OTHER]), ("any", [OURS, OURS])])
def test_the_priority(group: Make, left: Taken, netns: str, there: list[int]) -> None:
    ours = group("outside/ours", priority=OURS, netns=netns)

    def work() -> list[Any]:
        return [datagram(), datagram(mark(socket.AF_INET, LOW_DELAY))]

    assert ours.run(work) == [1, 1]
    assert priorities(left()) == [OURS, OURS]
    assert ours.run(moved(work)) == [1, 1]
    assert priorities(left()) == there


@pytest.mark.parametrize(("netns", "there"), [("host", 1), ("any", "EPERM")])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_tos(group: Make, netns: str, there: Any, family: int) -> None:
    ours = group("outside/ours", tos=[], netns=netns)

    def work() -> Any:
        with receiver(family) as to, socket.socket(family, socket.SOCK_DGRAM) as sock:
            return by_every_way(sock, to.to, mark(family, EF))["sendmsg"]

    assert (ours.run(work), ours.run(moved(work))) == ("EPERM", there)


@pytest.mark.parametrize(("netns", "there"), [("host", 1), ("any", "EPERM")])
def test_hidden_ipv4(group: Make, netns: str, there: Any) -> None:
    """By sockets that are connected when the policy comes: no other hook sees what they send."""
    ours = group("outside/ours")

    def work() -> Any:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        ):
            to.bind((V4, 0))
            here.connect(to.getsockname())
            assert here.send(b"x") == 1
            applying()
            return outcome(here.send, b"x")

    def applying() -> None:
        """In the host's namespace, wherever this task is."""
        with open("/proc/self/ns/net", "rb") as here, open("/proc/1/ns/net", "rb") as host:
            setns(host.fileno())
            apply([{"cgroup": "outside/ours", "ipv4": "hidden", "netns": netns}])
            setns(here.fileno())

    found = []
    for look in (work, moved(work)):
        found.append(ours.run(look))
        apply([{"cgroup": "outside/ours", "state": "absent"}])
    assert found == ["EPERM", there]


def setns(fd: int) -> None:
    """setns(2): Python has it from 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, 0):
        raise OSError(ctypes.get_errno(), "setns")


@pytest.mark.parametrize(("netns", "there"), [("host", "ok"), ("any", "EPERM")])
def test_the_options_of_32_bit_calls(group: Make, netns: str, there: str) -> None:
    ours = group(
        "outside/ours", sockopts={"deny": ["SOL_SOCKET/SO_MARK"]}, priority=OURS, netns=netns
    )
    options = [Control(socket.SOL_SOCKET, name, MINE) for name in (SO_MARK, socket.SO_PRIORITY)]

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [set_by_32_bit(sock, option) for option in options]

    assert (ours.run(work), ours.run(moved(work))) == (["EPERM"] * 2, [there] * 2)


def test_a_socket_stays_in_the_namespace_it_was_made_in(group: Make, left: Taken) -> None:
    ours = group("outside/ours", priority=OURS, tos=[])

    def work() -> list[Any]:
        control = [mark(socket.AF_INET, EF).carried()]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as before:
            elsewhere()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as after:
                return [
                    found
                    for sock in (before, after)
                    for found in (
                        outcome(sock.sendto, b"x", (V4, 9)),
                        outcome(sock.sendmsg, [b"x"], control, 0, (V4, 9)),
                    )
                ]

    assert ours.run(work) == [1, "EPERM", 1, 1]
    assert [(packet.priority, packet.tos) for packet in left()] == [
        (OURS, 0), (OF_EF, EF), (0, 0), (OF_EF, EF),
    ]  # fmt: skip


@pytest.mark.parametrize("flow", ["TCP, IPv4", "TCP, IPv6", "SCTP, IPv6", "ping, IPv6"])
def test_a_parent_of_the_host_and_a_child_of_any(group: Make, left: Taken, flow: str) -> None:
    """In another namespace only the child's policy governs, and here the nearest."""
    group("outside/ours", priority=OURS)
    child = group("outside/ours/child", priority=OTHER, netns="any")
    own = group("outside/ours/own")
    for where, expected in ((child, [OTHER, OTHER]), (own, [OURS, 0])):
        found = []
        for work in (lambda: converse(flow), moved(lambda: converse(flow))):
            where.run(work)
            (one,) = set(priorities(left()))
            found.append(one)
        assert found == expected, where.path
