# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tos: a class is found beside whatever else a message or a socket says."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.classes import AF21, ALL, CS1, ECN, EF, REFUSED, Came, delivered
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import family_of
from tests.kernel.packets import DATA, Taken
from tests.kernel.sends import SENT, V4, V6, Controls, mark, receiver, set_by_32_bit
from tests.kernel.tasks import outcome

pytestmark = pytest.mark.usefixtures("outside")

IP_OPTIONS, IP_RETOPTS, IP_PKTINFO = 4, 7, 8
IPV6_PKTINFO, IPV6_DSTOPTS = 50, 59
BOTH = pytest.mark.parametrize("address", [V4, V6])

BESIDE = {
    # What else a message says, as Python's sendmsg() takes it: by address.
    "the address to send from": {
        V4: (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("I4s4x", 0, socket.inet_aton(V4))),
        V6: (
            tasks.SOL_IPV6,
            IPV6_PKTINFO,
            struct.pack("16sI", socket.inet_pton(socket.AF_INET6, V6), 0),
        ),
    },
    "options": {  # of padding
        V4: (socket.IPPROTO_IP, IP_RETOPTS, b"\1\1\1\0"),
        V6: (tasks.SOL_IPV6, IPV6_DSTOPTS, b"\0\0\1\4\0\0\0\0"),
    },
}


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", tos=["af21", CS1])


# Control messages beside others


@BOTH
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("order", [1, -1], ids=["class first", "class last"])
def test_a_class_beside_something_else_is_found(
    ours: Group, address: str, beside: str, order: int
) -> None:
    def work(tos: int, least: int = ALL) -> Came:
        parts = [mark(family_of(address), tos).carried(), BESIDE[beside][address]]
        return delivered(Controls(*parts[::order]), address, least)

    for tos in (EF, AF21 | ECN):
        assert work(tos) == (SENT, [tos] * ALL)
    assert ours.run(lambda: work(EF, 0)) == REFUSED
    assert ours.run(lambda: work(AF21 | ECN)) == (SENT, [AF21 | ECN] * ALL)


@BOTH
def test_of_two_classes_in_a_message_the_last_is_in_the_packet(ours: Group, address: str) -> None:
    def work(*values: int, least: int = ALL) -> Came:
        marks = [mark(family_of(address), tos).carried() for tos in values]
        return delivered(Controls(*marks), address, least)

    assert work(AF21, EF) == (SENT, [EF] * ALL)
    assert ours.run(lambda: work(AF21, EF, least=0)) == REFUSED
    assert ours.run(lambda: work(EF, AF21)) == (SENT, [AF21] * ALL)


@BOTH
def test_a_message_in_pieces_has_the_class_of_its_first(ours: Group, address: str) -> None:
    """Its one packet leaves with the last of them, if at all."""
    family = family_of(address)

    def work(first: int, last: int, least: int) -> tuple[list[Any], list[int]]:
        with receiver(family) as there, socket.socket(family, socket.SOCK_DGRAM) as sock:
            sent = [
                outcome(sock.sendmsg, [b"x"], [mark(family, tos).carried()], flags, there.to)
                for tos, flags in ((first, socket.MSG_MORE), (last, 0))
            ]
            return sent, there.got(least)

    assert work(EF, AF21, 1) == ([1, 1], [EF])
    assert ours.run(lambda: work(EF, AF21, 0)) == ([1, "EPERM"], [])
    assert ours.run(lambda: work(AF21, EF, 1)) == ([1, 1], [AF21])


# Options that stay


def ends(address: str) -> tuple[list[socket.socket], socket.socket]:
    """The ends of a connection, the accepted one last, and their listener."""
    listener = socket.create_server((address, 0), family=family_of(address))
    here = socket.create_connection(listener.getsockname()[:2])
    return [here, listener.accept()[0]], listener


@BOTH
def test_the_option_of_a_connected_and_of_an_accepted_socket_is_held(
    ours: Group, left: Taken, address: str
) -> None:
    level, name, _value = mark(family_of(address), 0)

    def work() -> list[Any]:
        found: list[Any] = []
        pair, listener = ends(address)
        with listener, pair[0], pair[1]:
            left()
            for sock, other in (pair, pair[::-1]):
                for tos in (EF, AF21 | ECN, EF):
                    found.append(outcome(sock.setsockopt, level, name, tos))
                found.append(sock.getsockopt(level, name) & ~ECN)
                sock.sendall(b"x")
                found.append(other.recv(1))
                found.append({packet.tos & ~ECN for packet in left() if packet.flags == DATA})
        return found

    assert ours.run(work) == ["EPERM", "ok", "EPERM", AF21, b"x", {AF21}] * 2


@BOTH
def test_an_accepted_socket_has_its_listeners(
    ours: Group, outside: Group, left: Taken, address: str
) -> None:
    option = mark(family_of(address), CS1)

    def work() -> list[Any]:
        with socket.create_server((address, 0), family=family_of(address)) as listener:
            listener.setsockopt(*option)
            with socket.create_connection(listener.getsockname()[:2]) as here:
                left()
                with listener.accept()[0] as there:
                    there.sendall(b"x")
                    found = [there.getsockopt(*option[:2]), here.recv(1)]
                    return [*found, {p.tos for p in left() if p.flags == DATA}]

    assert ours.run(work) == outside.run(work) == [CS1, b"x", {CS1}]


@BOTH
def test_an_accepted_socket_that_gets_another_by_a_32_bit_call_stalls(
    ours: Group, left: Taken, address: str
) -> None:
    family = family_of(address)

    def work() -> list[Any]:
        pair, listener = ends(address)
        here, there = pair
        tried: list[int] = []

        def retried() -> bool:
            tried.extend(packet.tos for packet in left() if packet.tos == EF)
            return len(tried) > 1

        with listener, here, there:
            here.setblocking(False)
            found = [set_by_32_bit(there, mark(family, EF)), outcome(there.send, b"x")]
            found += [tasks.eventually(retried, True), outcome(here.recv, 1)]
            found.append(set_by_32_bit(there, mark(family, AF21)))
            here.settimeout(tasks.PATIENCE)
            return [*found, here.recv(1)]

    assert ours.run(work) == ["ok", 1, True, "EAGAIN", "ok", b"x"]


@BOTH
def test_options_of_a_header_do_not_hide_its_class(ours: Group, address: str) -> None:
    """Those that a socket has: they come behind the class, or make a header of their own."""
    family = family_of(address)
    level, name, data = BESIDE["options"][address]

    def work() -> list[Any]:
        with receiver(family) as there, socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(level, IP_OPTIONS if name == IP_RETOPTS else name, data)
            found: list[Any] = []
            for tos in (EF, AF21):
                found.append(set_by_32_bit(sock, mark(family, tos)))
                found.append(outcome(sock.sendto, b"x", there.to))
            return [*found, there.got(1)]

    assert ours.run(work) == ["ok", "EPERM", "ok", 1, [AF21]]
