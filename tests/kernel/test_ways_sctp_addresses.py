# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCTP's addresses under ipv4, bind_ports and sockopts, whose hooks see few of its calls."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import sctp, tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED
from tests.kernel.packets import Packet, Taken, arriving
from tests.kernel.sends import V4, V6, sockaddr
from tests.kernel.tasks import eventually, outcome
from tests.kernel.uring import syscall

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Reach = Callable[[socket.socket, int], Any]

CONNECT, SENDTO, BIND = 42, 44, 49
ONE, MANY = socket.SOCK_STREAM, socket.SOCK_SEQPACKET
KINDS = pytest.mark.parametrize("kind", [ONE, MANY], ids=["one-to-one", "one-to-many"])
PRIORITY = 5


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", ipv4="hidden", priority=PRIORITY)


REACHING: dict[str, Reach] = {
    "connect, AF_INET": lambda sock, port: syscall(
        CONNECT, sock.fileno(), sockaddr((V4, port)), 16
    ),
    "sendto, AF_INET": lambda sock, port: syscall(
        SENDTO, sock.fileno(), b"x", 1, 0, sockaddr((V4, port)), 16
    ),
    "connectx, mapped": lambda sock, port: sctp.connectx(sock, (MAPPED, port)),
    "connectx, AF_INET": lambda sock, port: sctp.connectx(sock, (V4, port)),
    "connectx, the old one": lambda sock, port: sctp.connectx(
        sock, (V4, port), name=sctp.Option.CONNECTX_OLD
    ),
    "connectx by getsockopt": lambda sock, port: sctp.connectx3(sock, (V4, port)),
}


@KINDS
@pytest.mark.parametrize("way", REACHING)
def test_no_call_reaches_an_address_of_ipv4(ours: Group, left: Taken, kind: int, way: str) -> None:
    """No hook sees it; its INIT does not leave."""

    def reach(to: int, wait: float) -> list[Any]:
        with sctp.opened(socket.AF_INET6, kind) as sock:
            sock.setblocking(False)
            found = outcome(REACHING[way], sock, to)
            return [found, bool(select.select([there], [], [], wait)[0])]

    begins = 1 if way.startswith("sendto") else "EINPROGRESS"
    with sctp.listening(socket.AF_INET6, ONE, (MAPPED, 0)) as there:
        port = there.getsockname()[1]
        assert ours.run(lambda: reach(port, 0)) == [begins, False]
        assert {(packet.version, packet.protocol) for packet in left()} == {(4, 132)}
        assert reach(port, tasks.PATIENCE) == [begins, True]


def bound(kind: int) -> list[Any]:
    """The outcome of every call that gives a socket an address of IPv4."""
    calls: list[Callable[[socket.socket], Any]] = [
        lambda sock: sock.bind((MAPPED, 0)),
        lambda sock: syscall(BIND, sock.fileno(), sockaddr((V4, 0)), 16),
        lambda sock: sctp.bindx(sock, (V4, 0)),
        lambda sock: sctp.bindx(sock, (MAPPED, 0)),
    ]
    found = []
    for call in calls:
        with sctp.opened(socket.AF_INET6, kind) as sock:
            found.append(outcome(call, sock))
    return found


@KINDS
def test_an_address_of_ipv4_is_bound_and_gives_nothing(
    ours: Group, group: Make, left: Taken, kind: int
) -> None:
    """No hook sees bind() or bindx(); what such a listener answers does not leave."""
    client = group("outside/client")
    assert ours.run(lambda: bound(kind)) == bound(kind) == ["ok", 0, "ok", "ok"]

    def serve() -> list[Any]:
        with sctp.listening(socket.AF_INET6, kind, (V6, 0)) as there:
            port = there.getsockname()[1]
            sctp.bindx(there, (V4, port))
            there.setblocking(False)

            def connect() -> Any:
                seen: list[Packet] = []

                def answered() -> set[tuple[int, int]]:
                    seen.extend(left())
                    return {(packet.version, packet.priority) for packet in seen}

                with sctp.opened(socket.AF_INET, kind) as sock:
                    sock.setblocking(False)
                    found = outcome(sock.connect, (V4, port))
                    both = {(4, 0), (4, PRIORITY)}
                    assert eventually(answered, both) == both
                    return found

            def connect6() -> Any:
                with sctp.opened(socket.AF_INET6, kind) as sock:
                    return outcome(sock.connect, (V6, port))

            found = client.run(connect)
            came = outcome(there.accept) if kind == ONE else sctp.associations(there)
            return [found, came, client.run(connect6)]

    assert ours.run(serve) == ["EINPROGRESS", "EAGAIN" if kind == ONE else [], "ok"]


def by_connectx(sock: socket.socket, port: int) -> None:
    sctp.connectx(sock, (V6, port), (V4, port))


def by_control_message(sock: socket.socket, port: int) -> None:
    more = (tasks.IPPROTO_SCTP, sctp.DSTADDRV4, socket.inet_aton(V4))
    assert sock.sendmsg([b"w"], [more], 0, (V6, port)) == 1


@pytest.mark.parametrize("way", [by_connectx, by_control_message])
def test_a_second_path_over_ipv4_carries_nothing(
    ours: Group, group: Make, outside: Group, left: Taken, way: Callable[[socket.socket, int], None]
) -> None:
    """The association lives on its IPv6 path; the kernel tries the other one again and again."""
    free = group("outside/free")

    def work() -> tuple[bytes, set[int], set[int]]:
        tried: list[Packet] = []

        def versions() -> set[int]:
            tried.extend(left())
            return {packet.version for packet in tried}

        with arriving(outside) as came, sctp.listening(socket.AF_INET6, ONE, (V6, 0)) as there:
            port = there.getsockname()[1]
            sctp.bindx(there, (V4, port))
            with sctp.opened(socket.AF_INET6) as here:
                way(here, port)
                here.send(b"x")
                with there.accept()[0] as peer:
                    got = peer.recv(1) if way is by_connectx else peer.recv(1) + peer.recv(1)
                    both = eventually(versions, {4, 6})
            return got[-1:], both, {packet.version for packet in came()}

    assert free.run(work) == (b"x", {4, 6}, {4, 6})
    assert ours.run(work) == (b"x", {4, 6}, {6})


@KINDS
@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, V4), (socket.AF_INET6, V6)], ids=["IPv4", "IPv6"]
)
def test_bind_ports_does_not_hold_it(group: Make, kind: int, family: int, address: str) -> None:
    ports = group("outside/ports", bind_ports={"tcp": [], "udp": [], "below": 65536})

    def work() -> list[Any]:
        found = []
        for bind in (
            lambda sock: sock.bind((address, 80)),
            lambda sock: sctp.bindx(sock, (address, 80)),
        ):
            with sctp.opened(family, kind) as sock:
                found.append(outcome(bind, sock))
        return found

    assert ports.run(work) == ["ok", "ok"]


@KINDS
def test_sockopts_holds_the_calls_that_are_set(group: Make, kind: int) -> None:
    names = [sctp.Option.BINDX_ADD, sctp.Option.CONNECTX, sctp.Option.CONNECTX_OLD]
    made = group("outside/options", sockopts={"deny": [f"SOL_SCTP/{name}" for name in names]})

    def work() -> list[Any]:
        with sctp.opened(socket.AF_INET6, kind) as sock:
            sock.setblocking(False)
            return [
                outcome(lambda: sctp.connectx(sock, (V6, 9))),
                outcome(lambda: sctp.connectx(sock, (V6, 9), name=sctp.Option.CONNECTX_OLD)),
                outcome(sctp.bindx, sock, (V6, 0)),
            ]

    assert work()[0] == "EINPROGRESS"
    assert made.run(work) == ["EPERM"] * 3


def test_sockopts_does_not_hold_the_calls_that_are_read(group: Make) -> None:
    """libsctp's connectx() and peeloff() are getsockopt()."""
    made = group("outside/options", sockopts={"allow": [f"SOL_SCTP/{sctp.Option.RTOINFO}"]})

    def work() -> bytes:
        with (
            sctp.opened(socket.AF_INET6, MANY) as there,
            sctp.opened(socket.AF_INET6, MANY) as here,
        ):
            there.bind((V6, 0))
            there.listen()
            sctp.connectx3(here, there.getsockname())
            with sctp.peeled(here) as one, sctp.peeled(there) as other:
                one.send(b"x")
                return other.recv(1)

    assert made.run(work) == b"x"
