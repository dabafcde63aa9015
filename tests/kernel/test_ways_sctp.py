# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCTP, one-to-one, one-to-many and peeled off, under priority and tos."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import sctp, tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import family_of
from tests.kernel.packets import Packet, Taken, arriving
from tests.kernel.sends import (
    SENT,
    V4,
    V6,
    Control,
    by_every_way,
    made_in,
    mark,
    set_by_32_bit,
)
from tests.kernel.tasks import eventually, outcome, priority, set_priority

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Two = tuple[Group, Group]

OURS, OTHER, MINE = 0x10010, 6, 3
AF21, EF, DSCP = 0x48, 0xB8, 0xFC
ONE, MANY = socket.SOCK_STREAM, socket.SOCK_SEQPACKET
KINDS = pytest.mark.parametrize("kind", [ONE, MANY], ids=["one-to-one", "one-to-many"])
BOTH = pytest.mark.parametrize("address", [V4, V6])


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[Two]:
    with groups() as make:
        yield make("outside/ours", priority="1:10"), make("outside/other", priority=OTHER)


def end(sock: socket.socket, kind: int, listens: bool = False) -> socket.socket:
    """The socket of the one association that there is: accepted, or peeled off."""
    if kind == MANY:
        return sctp.peeled(sock)
    return sock.accept()[0] if listens else sock.dup()


def listener(kind: int, address: str) -> list[socket.socket]:
    with sctp.listening(family_of(address), kind, (address, 0)) as made:
        return [made.dup()]


def told(sock: socket.socket) -> tuple[int, Any]:
    return priority(sock), outcome(set_priority, sock, MINE)


@KINDS
@BOTH
def test_each_end_has_its_own_in_every_packet(
    two: Two, outside: Group, address: str, kind: int
) -> None:
    """The answer to an INIT too, for which there is no association yet."""
    ours, other = two
    family = family_of(address)

    def serve() -> tuple[int, Any]:
        with sctp.listening(family, kind, (address, 0)) as there:
            to = there.getsockname()

            def connect() -> None:
                with sctp.opened(family, kind) as sock:
                    sock.connect(to)
                    with end(sock, kind) as here:
                        here.send(b"x")
                        assert (here.recv(1), told(here)) == (b"y", (OTHER, "EPERM"))

            pid = tasks.start(lambda: other.run(connect))
            if kind == MANY:
                assert select.select([there], [], [], tasks.PATIENCE)[0] == [there]
            with end(there, kind, listens=True) as peer:
                assert peer.recv(1) == b"x"
                peer.send(b"y")
                found = told(peer)
                assert tasks.ended(pid) == 0
        return found

    with arriving(outside) as came:
        assert ours.run(serve) == (OURS, "EPERM")
        assert {packet.priority for packet in came()} == {OURS, OTHER}


@KINDS
@BOTH
def test_a_socket_that_another_cgroups_task_accepts_or_peels_off(
    two: Two, group: Make, left: Taken, address: str, kind: int
) -> None:
    """It is that task's cgroup's, since 6.19 the listener's one."""
    ours, other = two
    free = group("outside/free")
    found = []
    for who in (ours, other, free):
        (there,) = made_in(ours, lambda: listener(kind, address))
        with there, sctp.opened(family_of(address), kind) as here:
            here.connect(there.getsockname())
            left()

            def take(there: socket.socket = there) -> tuple[int, Any, set[int]]:
                with end(there, kind, listens=True) as peer:
                    peer.send(b"x")
                    packets = {packet.priority for packet in left()}
                    return *told(peer), packets

            found.append(who.run(take))
            assert here.recv(1) == b"x"
    if tasks.release() < (6, 19):
        expected = [(OURS, "EPERM", {OURS}), (OTHER, "EPERM", {OTHER}), (0, "ok", {0})]
    else:
        expected = [(OURS, "EPERM", {OURS}), (0, "EPERM", {OURS}), (0, "EPERM", {OURS})]
    assert found == expected


@KINDS
@BOTH
@pytest.mark.parametrize("name", ["tos", "priority"])
def test_a_control_message_gives_a_packet_no_other(
    group: Make, left: Taken, address: str, kind: int, name: str
) -> None:
    """Without a policy neither: SCTP looks at its own level's control messages only."""
    ours, free = group("outside/both", priority="1:10", tos=[]), group("outside/free")
    family = family_of(address)
    control = mark(family, EF)
    if name == "priority":
        control = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, OTHER)

    def work() -> tuple[Any, bytes]:
        with (
            sctp.listening(family, kind, (address, 0)) as there,
            sctp.opened(family, kind) as here,
        ):
            to = there.getsockname()
            here.connect(to)
            sent = by_every_way(here, to, control)
            with end(there, kind, listens=True) as peer:
                return sent, b"".join(peer.recv(1) for _each in range(sum(SENT.values())))

    for who, expected in ((free, 0), (ours, OURS)):
        assert who.run(work) == (SENT, b"x" * sum(SENT.values()))
        assert {(packet.priority, packet.tos & DSCP) for packet in left()} == {(expected, 0)}


def by_option(sock: socket.socket, tos: int) -> Any:
    return set_by_32_bit(sock, mark(sock.family, tos))


def by_path(sock: socket.socket, tos: int) -> Any:
    return outcome(sctp.set_dscp, sock, tos)


SETTING = pytest.mark.parametrize("way", [by_option, by_path], ids=["32-bit", "of the paths"])


def tried(left: Taken, times: int = 2) -> tuple[bool, set[int]]:
    """Whether packets were seen to be sent again, and the DSCPs of those that were refused."""
    seen: list[Packet] = []

    def enough() -> bool:
        seen.extend(packet for packet in left() if packet.tos & DSCP == EF)
        return len(seen) >= times

    return eventually(enough, True), {packet.tos & DSCP for packet in seen}


@SETTING
@BOTH
def test_an_association_with_another_dscp_does_not_come_about(
    group: Make, left: Taken, address: str, way: Callable[[socket.socket, int], Any]
) -> None:
    """SCTP_PEER_ADDR_PARAMS gives every path a DSCP, past IP_TOS and IPV6_TCLASS."""
    ours = group("outside/tos", tos=["af21"])
    family = family_of(address)

    def work() -> list[Any]:
        with (
            sctp.listening(family, ONE, (address, 0)) as there,
            sctp.opened(family) as marked,
            sctp.opened(family) as fine,
        ):
            there.setblocking(False)
            marked.setblocking(False)
            found = [way(marked, EF), outcome(marked.connect, there.getsockname())]
            found += [tried(left), outcome(there.accept)]
            found += [way(fine, AF21), outcome(fine.connect, there.getsockname())]
            with there.accept()[0]:
                return found

    assert ours.run(work) == ["ok", "EINPROGRESS", (True, {EF}), "EAGAIN", "ok", "ok"]


@SETTING
@BOTH
def test_an_association_that_gets_another_dscp_stalls_until_it_has_a_listed_one(
    group: Make, left: Taken, address: str, way: Callable[[socket.socket, int], Any]
) -> None:
    ours = group("outside/tos", tos=["af21"])
    family = family_of(address)

    def work() -> list[Any]:
        with (
            sctp.listening(family, ONE, (address, 0)) as listens,
            sctp.opened(family) as here,
        ):
            here.connect(listens.getsockname())
            with listens.accept()[0] as there:
                found = [way(here, EF), here.send(b"x"), tried(left)]
                found.append(select.select([there], [], [], 0)[0])
                found += [way(here, AF21), there.recv(1)]
        return found

    assert ours.run(work) == ["ok", 1, (True, {EF}), [], "ok", b"x"]
