# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The floors: what leaves a cgroup, whatever way the bytes took."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel.conftest import Group, apply
from tests.kernel.packets import Packet, leaving
from tests.kernel.tasks import ended, outcome, priority, start

Make = Callable[..., Group]
SOL_PACKET, PACKET_QDISC_BYPASS, AF_XDP = 263, 20, 44
HERE = ("127.0.0.1", 9)
AF21, EF = 0x48, 0xB8


@pytest.fixture
def outside(group: Make) -> Group:
    """The cgroup above those that are tested, from which packets are looked at."""
    return group("outside")


@pytest.fixture
def left(outside: Group) -> Iterator[Callable[[], list[Packet]]]:
    with leaving(outside) as taken:
        yield taken


def message(level: int, name: int, value: int, to: tuple[str, int] = HERE) -> Any:
    """What sending a UDP message with one control message returns."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return outcome(sock.sendmsg, [b"x"], [(level, name, struct.pack("i", value))], 0, to)


def sending(tos: int = 0) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if tos:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        return outcome(sock.sendto, b"x", HERE)


def test_a_packet_carries_the_priority_whatever_its_control_message_says(
    group: Make, left: Callable[[], list[Packet]]
) -> None:
    ours = group("outside/ours", priority=0x10010)
    assert ours.run(lambda: [sending(), message(0, socket.IP_TOS, 0x10)]) == [1, 1]
    assert left() == [Packet(0x10010, 4, 0, 17), Packet(0x10010, 4, 0x10, 17)]


def test_a_packet_with_a_tos_that_is_not_listed_is_refused(group: Make) -> None:
    ours = group("ours", tos=["af21"])

    def task() -> list[Any]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            to = receiver.getsockname()
            sent = [message(0, socket.IP_TOS, tos, to) for tos in (EF, AF21, AF21 | 1, 0)]
            receiver.setblocking(False)
            got = []
            while outcome(select.select, [receiver], [], [], 0)[0]:
                _data, (control,), _flags, _from = receiver.recvmsg(8, 64)
                got.append(control[2][0])
        return [sent, got]

    assert ours.run(task) == [["EPERM", 1, 1, 1], [AF21, AF21 | 1, 0]]


def test_hidden_ipv4_does_not_leave_by_a_socket_from_before(group: Make) -> None:
    ours = group("ours")
    (ready, told), (go, close) = os.pipe(), os.pipe()

    def task() -> None:
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write("0")
        os.close(close)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held,
        ):
            receiver.bind(("127.0.0.1", 0))
            held.connect(receiver.getsockname())
            outcomes = [outcome(held.send, b"x")]
            os.write(told, b"x")
            os.read(go, 1)  # until the policy is there
            outcomes.append(outcome(held.send, b"x"))
        assert outcomes == [1, "EPERM"]

    pid = start(task)
    os.read(ready, 1)
    apply([{"cgroup": "ours", "ipv4": "hidden"}])
    for fd in (ready, told, go, close):
        os.close(fd)
    assert ended(pid) == 0


def test_the_nearest_policy_wins_on_sockets_and_on_packets(
    group: Make, left: Callable[[], list[Packet]]
) -> None:
    parent = group("outside/ours", priority=5)
    child = group("outside/ours/child", priority=0)
    grandchild = group("outside/ours/child/own")

    def task() -> list[int]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", HERE)
            a = priority(sock)
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
            return [a, priority(sock)]

    assert [each.run(task) for each in (parent, child, grandchild)] == [[5, 5], [0, 0], [0, 0]]
    assert [p.priority for p in left()] == [5, 0, 0]
    apply([{"cgroup": "outside/ours/child", "state": "absent"}])
    assert [each.run(task) for each in (parent, child)] == [[5, 5], [5, 5]]
    assert [p.priority for p in left()] == [5, 5]
    assert not apply([{"cgroup": "outside/ours", "priority": 5}])["changed"]


def test_packet_sockets_keep_to_the_queueing_discipline(group: Make) -> None:
    ours = group("ours", priority=5)

    def task() -> list[Any]:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as sock:
            to = ("lo", 0x88B5)
            plain = outcome(sock.sendto, b"x" * 60, to)
            bypass = outcome(sock.setsockopt, SOL_PACKET, PACKET_QDISC_BYPASS, 1)
            cmsg = [(socket.SOL_SOCKET, socket.SO_PRIORITY, struct.pack("i", 1))]
            marked = outcome(sock.sendmsg, [b"x" * 60], cmsg, 0, to)
        return [plain, bypass, marked, outcome(socket.socket, AF_XDP, socket.SOCK_RAW, 0)]

    plain, bypass, marked, xdp = ours.run(task)
    assert (plain, bypass, xdp) == (60, "EPERM", "EPERM")
    assert marked in ("EPERM", "EINVAL")
