# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that were open when the policy came.

They are held as those that are made later: each call and each packet from then on.
What a task did before stays done: the value of an option, a port that is bound, a
connection, and the SO_PRIORITY that a socket shows. Only packets are looked at all the same.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import ways
from tests.kernel.conftest import Group, apply
from tests.kernel.packets import Taken, arriving, priorities
from tests.kernel.sends import V6, receiver, written
from tests.kernel.tasks import outcome, priority, set_priority, set_tclass
from tests.kernel.test_priority import ACCEPTING
from tests.kernel.test_priority_frames import BYPASS, LOOPBACK
from tests.kernel.ways import AF21, EF, KEEPALIVE, LISTED, MINE, OURS, POLICY, UNLISTED, made, uses

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
AF_XDP, SOL_XDP, XDP_TX_RING = 44, 283, 3
BROADCAST = (socket.SOL_SOCKET, socket.SO_BROADCAST)


@pytest.fixture
def late(group: Make) -> Group:
    """A cgroup that gets its policy when a test says come()."""
    return group("outside/late")


def come() -> None:
    apply([{"cgroup": "outside/late", **POLICY}])


@pytest.mark.parametrize("kind", ways.KINDS, ids=["TCP", "UDP"])
def test_every_use_of_a_socket_from_before_is_held(late: Group, left: Taken, kind: int) -> None:
    def work() -> list[dict[str, Any]]:
        with made(kind) as first, made(kind) as second:
            free = uses(first)
            first.close()
            come()
            return [free, uses(second)]

    assert late.run(work) == [ways.expected(held, held, kind) for held in (False, True)]
    assert ways.sent_with(left()) == {MINE, OURS}


def test_its_packets_carry_the_priority_while_it_shows_what_it_had(
    late: Group, left: Taken
) -> None:
    """And nothing sets it any more, to the declared one neither."""

    def work() -> list[Any]:
        with made() as plain, made() as set_before:
            set_priority(set_before, MINE)
            come()
            found = []
            for sock in (plain, set_before):
                found += [outcome(set_priority, sock, OURS), outcome(sock.sendto, b"x", (V6, 9))]
            return [*found, priority(plain), priority(set_before)]

    assert late.run(work) == ["EPERM", 1, "EPERM", 1, 0, MINE]
    assert priorities(left()) == [OURS, OURS]


def test_a_class_from_before_does_not_leave_until_a_listed_one_is_set(late: Group) -> None:
    def work() -> list[Any]:
        with receiver(socket.AF_INET6) as there, made() as sock:
            set_tclass(sock, EF)
            found = [outcome(sock.sendto, b"x", there.to)]
            come()
            found.append(outcome(sock.sendto, b"x", there.to))
            set_tclass(sock, AF21)
            return [*found, outcome(sock.sendto, b"x", there.to), there.got(2)]

    assert late.run(work) == [1, "EPERM", 1, [EF, AF21]]


@pytest.mark.parametrize("kind", ways.KINDS, ids=["TCP", "UDP"])
def test_a_port_that_is_bound_stays_bound_and_works(late: Group, kind: int) -> None:
    """Until it is closed: then it can't be bound again."""

    def work() -> list[Any]:
        with made(kind) as sock, made(kind) as client:
            sock.bind((V6, UNLISTED))
            come()
            found = [outcome(client.bind, (V6, UNLISTED))]
            if kind == socket.SOCK_STREAM:
                found.append(outcome(sock.listen))
            client.connect((V6, UNLISTED))
            client.sendall(b"x")
            there = sock.accept()[0] if kind == socket.SOCK_STREAM else sock
            found.append(there.recv(1))
            client.close()  # before the other end, whose port is free then
            there.close()
        with made(kind) as again:
            return [*found, *(outcome(again.bind, (V6, port)) for port in (UNLISTED, LISTED))]

    listened = ["ok"] if kind == socket.SOCK_STREAM else []
    assert late.run(work) == ["EPERM", *listened, b"x", "EPERM", "ok"]


def test_the_value_of_an_option_stays_and_is_not_set_again(late: Group) -> None:
    """Not back to what it was either."""

    def work() -> list[Any]:
        with made() as sock:
            sock.setsockopt(*KEEPALIVE)
            come()
            found = [sock.getsockopt(*KEEPALIVE[:2])]
            found += [outcome(sock.setsockopt, *KEEPALIVE[:2], value) for value in (0, 1)]
            found.append(outcome(sock.setsockopt, *BROADCAST, 1))
            return [*found, sock.getsockopt(*KEEPALIVE[:2])]

    assert late.run(work) == [1, "EPERM", "EPERM", "ok", 1]


@ACCEPTING
def test_what_a_listener_from_before_accepts_has_the_priority(
    late: Group, family: int, protocol: int
) -> None:
    """A connection that waited for accept() when the policy came has it too."""
    address = {socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: (V6, 0)}.get(family, "\0late")
    both = {"cgroup": "outside/late", "priority": OURS}

    def work() -> list[int]:
        def connected() -> socket.socket:
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
            sock.connect(listener.getsockname())
            return sock

        with socket.socket(family, socket.SOCK_STREAM, protocol) as listener:
            listener.bind(address)
            listener.listen()
            with connected():
                apply([both])
                with connected():
                    found = []
                    for _each in range(2):
                        with listener.accept()[0] as there:
                            found.append(priority(there))
                    return [*found, priority(listener)]

    assert late.run(work) == [OURS, OURS, 0]


def test_a_packet_socket_from_before_keeps_its_priority_and_its_bypass(
    late: Group, outside: Group
) -> None:
    """No egress program sees its frames. What was not done before is refused."""

    def work() -> list[Any]:
        with receiver(socket.AF_INET6) as there:
            frame = LOOPBACK + written(there.to, 0)
            with (
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as plain,
                socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as other,
            ):
                set_priority(other, MINE)
                other.setsockopt(*BYPASS)
                come()
                found = [outcome(sock.sendto, frame, ("lo", 0x86DD)) for sock in (plain, other)]
                found += [outcome(plain.setsockopt, *BYPASS), outcome(set_priority, plain, OURS)]
                return [*found, other.getsockopt(*BYPASS[:2]), len(there.got(2))]

    size = len(LOOPBACK + written((V6, 9), 0))
    with arriving(outside) as came:
        assert late.run(work) == [size, size, "EPERM", "EPERM", 1, 2]
        assert priorities(came()) == [0, MINE]


def test_an_xdp_socket_from_before_is_set_up_all_the_same(late: Group) -> None:
    """Only to make one is refused."""

    def work() -> list[Any]:
        with socket.socket(AF_XDP, socket.SOCK_RAW, 0) as sock:
            come()
            ring = (2).to_bytes(4, "little")
            found = [outcome(sock.setsockopt, SOL_XDP, XDP_TX_RING, ring)]
            return [*found, outcome(socket.socket, AF_XDP, socket.SOCK_RAW, 0)]

    assert late.run(work) == ["ok", "EPERM"]
