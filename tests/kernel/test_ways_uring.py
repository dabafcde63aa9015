# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""io_uring: the controls hold for its requests, at once, by a worker and by a poller."""

from __future__ import annotations

import ctypes
import functools
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import uring
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED, family_of
from tests.kernel.packets import Taken
from tests.kernel.sends import V4, V6, Controls, mark, receiver, sockaddr
from tests.kernel.tasks import outcome, priority
from tests.kernel.uring import SETUP_SQPOLL, Op, Sqe, ring
from tests.kernel.ways import AF21, EF, LISTED, OURS, POLICY, UNLISTED

pytestmark = pytest.mark.usefixtures("outside")

HIDDEN = "EAFNOSUPPORT"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
ACCEPT_MULTISHOT = 1
part = functools.partial
HOW = {"at once": (0, Sqe.NONE), "worker": (0, Sqe.ASYNC), "poller": (SETUP_SQPOLL, Sqe.NONE)}
BY = pytest.mark.parametrize("by", HOW)


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", **POLICY)


@pytest.fixture(scope="module")
def marking(outside: Group) -> Iterator[Group]:
    """One that has IPv4."""
    with groups() as make:
        yield make("outside/marking", tos=["af21"])


def do(by: str, op: Op, fd: int, *args: int, **more: int) -> int:
    """The result of a request to a ring of its own."""
    setup, flags = HOW[by]
    with ring(setup) as made:
        return made.do(op, fd, *args, flags=flags, **more)


class Held:
    """Bytes at an address."""

    def __init__(self, content: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(content, len(content))
        self.at, self.size = ctypes.addressof(self._buffer), len(content)


def addressed(by: str, op: Op, sock: socket.socket, where: tuple[str, int]) -> Any:
    """The outcome of BIND or CONNECT."""
    address = Held(sockaddr(where))
    return outcome(lambda: do(by, op, sock.fileno(), address.at, off=address.size))


def sent_to(by: str, op: Op, sock: socket.socket, where: tuple[str, int]) -> Any:
    """The outcome of SEND or SEND_ZC of one byte to an address."""
    data, to = Held(b"x"), Held(sockaddr(where))
    more = {"off": to.at, "index": to.size}
    return outcome(lambda: do(by, op, sock.fileno(), data.at, data.size, **more))


# Sockets


@BY
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_an_ipv4_socket_is_not_made(ours: Group, by: str, kind: int) -> None:
    def work() -> Any:
        return outcome(lambda: socket.socket(fileno=do(by, Op.SOCKET, socket.AF_INET, off=kind)))

    assert (work(), ours.run(work)) == ("ok", HIDDEN)


@BY
@pytest.mark.parametrize("family", [socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK])
def test_a_socket_is_born_with_the_priority(ours: Group, by: str, family: int) -> None:
    def work() -> int:
        with socket.socket(fileno=do(by, Op.SOCKET, family, off=UDP)) as sock:
            return priority(sock)

    assert (work(), ours.run(work)) == (0, OURS)


@BY
@pytest.mark.parametrize("family", [socket.AF_INET6, socket.AF_UNIX])
@pytest.mark.parametrize("more", [0, ACCEPT_MULTISHOT], ids=["one", "several"])
def test_an_accepted_socket_has_the_priority(ours: Group, by: str, family: int, more: int) -> None:
    def work() -> int:
        with socket.socket(family) as listener, socket.socket(family) as client:
            listener.bind((V6, 0) if family == socket.AF_INET6 else "\0accepting")
            listener.listen()
            client.connect(listener.getsockname())
            fd = do(by, Op.ACCEPT, listener.fileno(), ioprio=more)
            with socket.socket(fileno=fd) as accepted:
                return priority(accepted)

    assert (work(), ours.run(work)) == (0, OURS)


def test_a_socket_without_a_descriptor_is_held(ours: Group, left: Taken) -> None:
    """It has only an index in the ring's own table."""
    data, controls = Held(b"x"), mark(socket.AF_INET6, EF)

    def work(to: dict[str, int]) -> list[Any]:
        with ring() as made:
            made.register(-1)
            new = part(made.do, Op.SOCKET, off=UDP, index=1)
            fixed = part(made.do, flags=Sqe.FIXED_FILE)
            found = [outcome(part(new, socket.AF_INET))]
            for where in to.items():
                address = Held(sockaddr(where))
                message = uring.Message(b"x", sockaddr(where), controls.packed())
                found += [
                    outcome(part(new, socket.AF_INET6)),
                    outcome(part(fixed, Op.CONNECT, 0, address.at, off=address.size)),
                    outcome(part(fixed, Op.SENDMSG, 0, message.address, 1)),
                    outcome(part(fixed, Op.SEND, 0, data.at, data.size)),
                ]
        return found

    with receiver(socket.AF_INET) as four, receiver(socket.AF_INET6) as six:
        to = {MAPPED: four.to[1], V6: six.to[1]}
        assert work(to) == [0] + [0, 0, 1, 1] * 2
        assert (four.got(2), six.got(2)) == ([0, 0], [EF, 0])
        assert left() == []
        found = ours.run(lambda: work(to))
        assert found == [HIDDEN, 0, HIDDEN, HIDDEN, "EDESTADDRREQ", 0, 0, "EPERM", 1]
        assert (four.got(), six.got(1)) == ([], [0])
    tried = [(packet.priority, packet.version, packet.tos) for packet in left()]
    assert tried == [(OURS, 6, EF), (OURS, 6, 0)]


# Addresses


@BY
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_only_listed_ports_are_bound(ours: Group, by: str, kind: int) -> None:
    uring.need(Op.BIND)

    def work() -> list[Any]:
        found = []
        for where in ((V6, LISTED), (V6, UNLISTED), (V6, 0), (V6, 16384), (MAPPED, 0)):
            with socket.socket(socket.AF_INET6, kind) as sock:
                found.append(addressed(by, Op.BIND, sock, where))
        return found

    assert work() == [0] * 5
    assert ours.run(work) == [0, "EPERM", 0, 0, HIDDEN]


@BY
def test_a_port_that_listen_picks_is_untouched(ours: Group, by: str) -> None:
    uring.need(Op.LISTEN)

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6) as listener, socket.socket(socket.AF_INET6) as client:
            found = [do(by, Op.LISTEN, listener.fileno(), 0, 8)]
            client.connect((V6, listener.getsockname()[1]))
            with listener.accept()[0] as accepted:
                return [*found, priority(accepted)]

    assert (work(), ours.run(work)) == ([0, 0], [0, OURS])


@BY
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_mapped_address_is_not_connected_to(ours: Group, by: str, kind: int) -> None:
    def work(address: str) -> Any:
        with socket.socket(socket.AF_INET6, kind) as sock:
            return addressed(by, Op.CONNECT, sock, (address, 9))

    closed = "ECONNREFUSED" if kind == TCP else 0
    assert (work(MAPPED), work(V6)) == (closed, closed)
    assert ours.run(lambda: [work(MAPPED), work(V6)]) == [HIDDEN, closed]


@BY
@pytest.mark.parametrize("op", [Op.SEND, Op.SEND_ZC], ids=lambda op: op.name)
def test_what_goes_to_an_address_is_held(ours: Group, left: Taken, by: str, op: Op) -> None:
    uring.need(op)

    def work(address: str, port: int) -> Any:
        with socket.socket(socket.AF_INET6, UDP) as sock:
            return sent_to(by, op, sock, (address, port))

    with receiver(socket.AF_INET) as four, receiver(socket.AF_INET6) as six:
        for address, there in ((MAPPED, four), (V4, four), (V6, six)):
            assert (work(address, there.to[1]), there.got(1)) == (1, [0])
        for address in (MAPPED, V4):
            assert ours.run(lambda address=address: work(address, four.to[1])) == HIDDEN
        assert ours.run(lambda: work(V6, six.to[1])) == 1
        assert (four.got(), six.got(1)) == ([], [0])
    assert [packet.priority for packet in left()] == [OURS]


# Control messages and options


@BY
@pytest.mark.parametrize("address", [V4, V6, MAPPED])
def test_a_control_message_of_a_message_without_copy_is_held(
    marking: Group, by: str, address: str
) -> None:
    uring.need(Op.SENDMSG_ZC)
    by_address = V6 if address == V6 else V4

    def work(tos: int, least: int) -> list[Any]:
        with receiver(family_of(by_address)) as there:
            with socket.socket(family_of(address), UDP) as sock:
                control = Controls(mark(family_of(by_address), tos).carried())
                to = sockaddr((address, there.to[1]))
                message = uring.Message(b"x", to, control.packed())
                sent = outcome(lambda: do(by, Op.SENDMSG_ZC, sock.fileno(), message.address, 1))
            return [sent, there.got(least)]

    assert work(EF, 1) == [1, [EF]]
    assert marking.run(lambda: work(EF, 0)) == ["EPERM", []]
    assert marking.run(lambda: work(AF21, 1)) == [1, [AF21]]


@BY
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_the_options_of_a_tos_are_held(ours: Group, by: str, family: int) -> None:
    """IP_TOS, on a socket that both may have, keeps the priority."""
    uring.need_setsockopt(socket.AF_PACKET)

    def work() -> list[Any]:
        found: list[Any] = []
        with socket.socket(socket.AF_INET6) as sock:
            for tos in (EF, AF21):
                level, name, packed = mark(family, tos).carried()
                value = Held(packed)
                more = {"off": uring.SETSOCKOPT, "index": value.size, "addr3": value.at}
                request = (Op.URING_CMD, sock.fileno(), level | name << 32)
                found.append(outcome(part(do, by, *request, **more)))
                found.append((sock.getsockopt(level, name), priority(sock)))
        return found

    moved = 2 if family == socket.AF_INET else 0
    assert work() == [0, (EF, 4 if moved else 0), 0, (AF21, moved)]
    assert ours.run(work) == ["EPERM", (0, OURS), 0, (AF21, OURS)]


# A ring from outside


@pytest.mark.parametrize(
    ("setup", "expected"), [(0, [HIDDEN] + ["EBADF"] * 2), (SETUP_SQPOLL, [0, 0, 1])],
    ids=["own thread", "poller"],
)  # fmt: skip
def test_the_poller_of_a_ring_from_outside_is_free(
    ours: Group, setup: int, expected: list[Any]
) -> None:
    """It is a thread of the task that made the ring; without one, who submits is asked."""
    with receiver(socket.AF_INET) as there, ring(setup) as made:
        made.register(-1)
        data, to = Held(b"x"), Held(sockaddr(there.to))

        def work() -> list[Any]:
            fixed = Sqe.FIXED_FILE
            return [
                outcome(lambda: made.do(Op.SOCKET, socket.AF_INET, off=UDP, index=1)),
                outcome(lambda: made.do(Op.CONNECT, 0, to.at, off=to.size, flags=fixed)),
                outcome(lambda: made.do(Op.SEND, 0, data.at, data.size, flags=fixed)),
            ]

        assert ours.run(work) == expected
        assert there.got(1 if setup else 0) == ([0] if setup else [])
