# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""32-bit calls: the controls hold for a 64-bit task that makes them by `int $0x80`."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import compat, tasks
from tests.kernel.compat import Call, Low, SocketCall, int80, socketcall
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED, family_of
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import (
    SENT,
    V4,
    V6,
    Control,
    by_every_way,
    mark,
    receiver,
    set_by_32_bit,
    sockaddr,
)
from tests.kernel.tasks import outcome, priority
from tests.kernel.uring import syscall
from tests.kernel.ways import AF21, EF, LISTED, OURS, POLICY, UNLISTED

pytestmark = pytest.mark.usefixtures("outside")

HIDDEN = "EAFNOSUPPORT"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
BULK = 2
"""The priority that the kernel gives a socket of AF21 (rt_tos2priority())."""
X32 = 0x40000000
"""The bit in a call's number that says that it is one of the x32 ABI."""

Do = Callable[..., int]
CALLS = pytest.mark.parametrize("by", ["int80", "socketcall"])


def do(by: str, name: str, *args: int | Low) -> int:
    """A call by its own number, or by the one that all of them went through."""
    if by == "int80":
        return int80(Call[name], *args)
    return socketcall(SocketCall[name], *args)


def made(by: str, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket that such a call makes."""
    return socket.socket(fileno=do(by, "SOCKET", family, kind, protocol))


def addressed(by: str, name: str, sock: socket.socket, where: tuple[str, int]) -> Any:
    """The outcome of BIND or CONNECT."""
    address = sockaddr(where)
    return outcome(do, by, name, sock.fileno(), Low(address), len(address))


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", **POLICY)


@pytest.fixture(scope="module")
def marking(outside: Group) -> Iterator[Group]:
    """One that has IPv4."""
    with groups() as make:
        yield make("outside/marking", tos=["af21"])


# Sockets


@CALLS
@pytest.mark.parametrize("kind", [TCP, UDP, socket.SOCK_RAW])
def test_an_ipv4_socket_is_not_made(ours: Group, by: str, kind: int) -> None:
    protocol = socket.IPPROTO_ICMP if kind == socket.SOCK_RAW else 0

    def work() -> Any:
        return outcome(made, by, socket.AF_INET, kind, protocol)

    assert (work(), ours.run(work)) == ("ok", HIDDEN)


@CALLS
@pytest.mark.parametrize("family", [socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK])
def test_a_socket_is_born_with_the_priority(ours: Group, by: str, family: int) -> None:
    def work() -> int:
        with made(by, family, UDP) as sock:
            return priority(sock)

    assert (work(), ours.run(work)) == (0, OURS)


@CALLS
def test_a_pair_is_born_with_the_priority(ours: Group, by: str) -> None:
    def work() -> list[int]:
        ends = Low(8)
        do(by, "SOCKETPAIR", socket.AF_UNIX, TCP, 0, ends)
        one, other = (socket.socket(fileno=fd) for fd in struct.unpack("2i", ends.bytes(8)))
        with one, other:
            return [priority(one), priority(other)]

    assert (work(), ours.run(work)) == ([0, 0], [OURS, OURS])


@CALLS
@pytest.mark.parametrize("family", [socket.AF_INET6, socket.AF_UNIX])
def test_an_accepted_socket_has_the_priority(ours: Group, by: str, family: int) -> None:
    def work() -> int:
        with socket.socket(family) as listener, socket.socket(family) as client:
            listener.bind((V6, 0) if family == socket.AF_INET6 else "\0accepting")
            listener.listen()
            client.connect(listener.getsockname())
            fd = do(by, "ACCEPT4", listener.fileno(), 0, 0, 0)
            with socket.socket(fileno=fd) as accepted:
                return priority(accepted)

    assert (work(), ours.run(work)) == (0, OURS)


# Addresses


@CALLS
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_only_listed_ports_are_bound(ours: Group, by: str, kind: int) -> None:
    def work() -> list[Any]:
        found = []
        for port in (LISTED, UNLISTED, 0, 16384):
            with made(by, socket.AF_INET6, kind) as sock:
                found.append(addressed(by, "BIND", sock, (V6, port)))
        return found

    assert work() == [0] * 4
    assert ours.run(work) == [0, "EPERM", 0, 0]


@CALLS
def test_unprivileged_holds(outside: Group, by: str) -> None:
    def work() -> list[Any]:
        tasks.become_nobody()
        found = []
        for port in (80, 81):
            with made(by, socket.AF_INET, TCP) as sock:
                found.append(addressed(by, "BIND", sock, (V4, port)))
        return found

    with groups() as make:
        low = make("outside/low", bind_ports={"tcp": [80], "unprivileged": True})
        assert outside.run(work) == ["EACCES", "EACCES"]
        assert low.run(work) == [0, "EPERM"]


@CALLS
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_mapped_address_is_hidden(ours: Group, by: str, kind: int) -> None:
    def work(address: str) -> list[Any]:
        found = []
        for name, port in (("BIND", 0), ("CONNECT", 9)):
            with made(by, socket.AF_INET6, kind) as sock:
                found.append(addressed(by, name, sock, (address, port)))
        return found

    closed = "ECONNREFUSED" if kind == TCP else 0
    assert work(MAPPED) == [0, closed]
    assert ours.run(lambda: work(MAPPED)) == [HIDDEN] * 2
    assert ours.run(lambda: work(V6)) == [0, closed]


@pytest.mark.parametrize("address", [V4, MAPPED])
def test_no_way_to_send_reaches_ipv4(ours: Group, address: str) -> None:
    """By a socket of IPv6: sendto(), and messages, of which some repeat the address before."""

    def work(to: tuple[str, int]) -> list[Any]:
        with socket.socket(socket.AF_INET6, UDP) as sock:
            data = (sock.fileno(), b"x", sockaddr(to))
            return [
                outcome(compat.sendto, *data),
                outcome(_socketcall_sendto, *data),
                by_every_way(sock, to, mark(socket.AF_INET, 0)),
            ]

    with receiver(socket.AF_INET) as there:
        to = (address, there.to[1])
        assert work(to) == [1, 1, SENT]
        assert there.got(2 + sum(SENT.values())) == [0] * (2 + sum(SENT.values()))
        assert ours.run(lambda: work(to)) == [HIDDEN, HIDDEN, dict.fromkeys(SENT, HIDDEN)]
        assert there.got() == []


def _socketcall_sendto(fd: int, data: bytes, address: bytes) -> int:
    size = len(address)
    return socketcall(SocketCall.SENDTO, fd, Low(data), len(data), 0, Low(address), size)


# Options


@CALLS
@pytest.mark.parametrize("address", [V4, V6])
@pytest.mark.parametrize("kind", [TCP, UDP])
def test_what_an_option_sets_can_not_be_bound(
    marking: Group, by: str, address: str, kind: int
) -> None:
    """cgroup/setsockopt does not run for these calls, so the option is set; bind() finds it."""
    family = family_of(address)

    def work() -> list[Any]:
        found = []
        for tos in (EF, AF21, 0):
            level, name, value = mark(family, tos).carried()
            with made(by, family, kind) as sock:
                words = (sock.fileno(), level, name, Low(value), len(value))
                found.append(outcome(do, by, "SETSOCKOPT", *words))
                found.append(addressed(by, "BIND", sock, (address, 0)))
        return found

    assert work() == [0] * 6
    assert marking.run(work) == [0, "EPERM", 0, 0, 0, 0]


def test_the_tos_of_a_socket_moves_its_priority_and_no_packets(ours: Group, left: Taken) -> None:
    """The kernel's own IP_TOS runs: what the socket says is wrong from then on."""

    def work() -> list[int]:
        with socket.socket(socket.AF_INET6, UDP) as sock:
            found = [priority(sock)]
            assert set_by_32_bit(sock, mark(socket.AF_INET, AF21)) == "ok"
            sock.sendto(b"x", (V6, 9))
            return [*found, tasks.tos(sock), priority(sock)]

    assert ours.run(work) == [OURS, AF21, BULK]
    assert priorities(left()) == [OURS]


def test_calls_of_x32_are_none(ours: Group) -> None:
    """Debian's kernels have that ABI switched off, or not at all."""
    option = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, 3).carried()

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6) as sock:
            call = (sock.fileno(), *option, 4)
            return [
                outcome(syscall, X32 | number, *call) for number in (54, 541)
            ] + [priority(sock)]  # fmt: skip

    assert ours.run(work) == ["ENOSYS", "ENOSYS", OURS]
