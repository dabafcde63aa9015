# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority and tos on MPTCP: the subflows that the kernel adds to a connection are held too."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply
from tests.kernel.packets import SYN, SYN_ACK, Packet, Taken
from tests.kernel.sends import V4, mark, set_by_32_bit
from tests.kernel.tasks import eventually

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

OURS, OTHER = 0x10010, 6
MORE = "127.0.0.2"
EF = 0xB8


@pytest.fixture(autouse=True)
def endpoint() -> Iterator[None]:
    """A second address that the kernel connects from, for each connection that there is."""
    limits = ["ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2"]
    subprocess.run(limits, check=True)
    subprocess.run(["ip", "mptcp", "endpoint", "add", MORE, "dev", "lo", "subflow"], check=True)
    yield
    subprocess.run(["ip", "mptcp", "endpoint", "flush"], check=True)


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    kind = (socket.AF_INET, socket.SOCK_STREAM, tasks.IPPROTO_MPTCP)
    with socket.socket(*kind) as listener, socket.socket(*kind) as here:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        here.connect((V4, listener.getsockname()[1]))
        there, _peer = listener.accept()
        with there:
            yield here, there


def talk(ends: tuple[socket.socket, socket.socket]) -> None:
    for one, other in (ends, ends[::-1]):
        one.sendall(b"x")
        assert other.recv(1) == b"x"


def joined(left: Taken, seen: list[Packet], flags: int = SYN_ACK) -> Callable[[], int]:
    """How many connections of TCP a listener has answered, or how many SYN there were.

    The accepted end has the second address too, and begins a subflow that nobody answers.
    """

    def count() -> int:
        seen.extend(left())
        return sum(packet.flags == flags for packet in seen)

    return count


def test_an_added_subflow_carries_it(group: Make, left: Taken) -> None:
    ours = group("outside/ours", priority="1:10")

    def work() -> tuple[int, list[Packet]]:
        seen: list[Packet] = []
        with connected() as ends:
            talk(ends)
            count = eventually(joined(left, seen), 2)
            talk(ends)
        return count, [*seen, *left()]

    count, seen = ours.run(work)
    assert (count, sum(packet.flags == SYN_ACK for packet in seen)) == (2, 2)
    assert {packet.priority for packet in seen} == {OURS}


def test_the_subflows_of_a_connection_from_before_carry_it(group: Make, left: Taken) -> None:
    late = group("outside/late")

    def work() -> tuple[int, set[int], set[int]]:
        seen: list[Packet] = []
        with connected() as ends:
            talk(ends)
            count = eventually(joined(left, seen), 2)
            apply([{"cgroup": "outside/late", "priority": OTHER}])
            left()
            talk(ends)
        return count, {p.priority for p in seen}, {p.priority for p in left()}

    assert late.run(work) == (2, {0}, {OTHER})


def test_an_added_subflow_has_a_listed_tos_or_sends_nothing(group: Make, left: Taken) -> None:
    """What a 32-bit call sets on the listener and the connection, its subflows have too."""
    ours = group("outside/ours", tos=[], priority=OTHER)

    def work() -> Any:
        kind = (socket.AF_INET, socket.SOCK_STREAM, tasks.IPPROTO_MPTCP)
        with socket.socket(*kind) as listener, socket.socket(*kind) as here:
            found = [set_by_32_bit(here, mark(socket.AF_INET, EF))]
            listener.bind((V4, 0))
            listener.listen()
            here.setblocking(False)
            found.append(tasks.outcome(here.connect, listener.getsockname()))
            seen: list[Packet] = []
            found.append(eventually(lambda: joined(left, seen, SYN)() > 1, True))
            found.append({(p.tos, p.flags) for p in seen})
        return found

    assert ours.run(work) == ["ok", "EINPROGRESS", True, {(EF, SYN)}]
