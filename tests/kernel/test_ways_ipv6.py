# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tos, priority: what only a socket of IPv6 has: flow labels, and IPv4 by mapped addresses."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.classes import AF21, ALL, CS1, ECN, EF, REFUSED, Came, delivered
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import MAPPED
from tests.kernel.packets import SYN_ACK, Packet, Taken, sees_syn_ack
from tests.kernel.sends import (
    IPV6_FLOWINFO_SEND,
    IPV6_RECVTCLASS,
    SENT,
    V4,
    V6,
    mark,
    receiver,
    set_by_32_bit,
    sockaddr,
)
from tests.kernel.tasks import outcome, priority
from tests.kernel.uring import syscall

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

SENDTO, CONNECT = 44, 42
IPV6_ADDRFORM, IPV6_2292PKTOPTIONS, IPV6_FLOWINFO, IPV6_FLOWLABEL_MGR = 1, 6, 11, 32
FL_GET, FL_CREATE, FL_SHARED = 0, 1, 255
LABEL = 0x12345
OURS, LOW_DELAY = 0x10010, 0x10


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", tos=["af21", CS1])


@pytest.fixture(scope="module")
def prior(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/prior", priority=OURS)


def test_pktoptions_of_rfc_2292_hold_no_class(ours: Group) -> None:
    """The kernel reads the control messages that they are made of, and keeps only headers."""
    option = mark(socket.AF_INET6, EF)
    values = (option.packed(), option.packed32())

    def work() -> list[Any]:
        with receiver(socket.AF_INET6) as there:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                found = [
                    outcome(sock.setsockopt, tasks.SOL_IPV6, IPV6_2292PKTOPTIONS, values[0]),
                    tasks.tclass(sock),
                    outcome(sock.sendto, b"x", there.to),
                ]
            return [*found, there.got(1)]

    assert ours.run(work) == work() == ["ok", 0, 1, [0]]


# Flow labels


def labelled(kind: int) -> socket.socket:
    """A socket that has a flow label for ::1, which it sends."""
    sock = socket.socket(socket.AF_INET6, kind)
    address = socket.inet_pton(socket.AF_INET6, V6)
    label = socket.htonl(LABEL)
    request = struct.pack("16sIBBHHHI", address, label, FL_GET, FL_SHARED, FL_CREATE, 0, 0, 0)
    sock.setsockopt(tasks.SOL_IPV6, IPV6_FLOWLABEL_MGR, request)
    sock.setsockopt(tasks.SOL_IPV6, IPV6_FLOWINFO_SEND, 1)
    return sock


def flow_info(there: socket.socket) -> tuple[int, int]:
    """The class and the label of the next message."""
    _data, (control,), _flags, _from = there.recvmsg(8, 64)
    (word,) = struct.unpack("!I", control[2])
    return word >> 20, word & 0xFFFFF


def test_a_class_beside_a_flow_label_reaches_no_packet(ours: Group) -> None:
    """In the address of sendto() and connect(), and as IPV6_FLOWINFO; one as IPV6_TCLASS does."""
    both = EF << 20 | LABEL
    info = (tasks.SOL_IPV6, IPV6_FLOWINFO, struct.pack("!I", both))

    def tclass(value: int) -> tuple[int, int, bytes]:
        return mark(socket.AF_INET6, value).carried()

    def work() -> list[Any]:
        with receiver(socket.AF_INET6) as receiving:
            there = receiving.sock
            there.settimeout(tasks.PATIENCE)
            there.setsockopt(tasks.SOL_IPV6, IPV6_RECVTCLASS, 0)
            there.setsockopt(tasks.SOL_IPV6, IPV6_FLOWINFO, 1)
            to = sockaddr(receiving.to, flowinfo=both)
            found: list[Any] = []
            with labelled(socket.SOCK_DGRAM) as sock:
                number = sock.fileno()
                for call in (
                    lambda: syscall(SENDTO, number, b"x", 1, 0, to, len(to)),
                    lambda: sock.sendmsg([b"x"], [info], 0, receiving.to),
                    lambda: sock.sendmsg([b"x"], [info, tclass(AF21)], 0, receiving.to),
                    lambda: syscall(CONNECT, number, to, len(to)) or sock.send(b"x"),
                ):
                    found += [outcome(call), flow_info(there)]
                for value in (EF, AF21):
                    found.append(outcome(sock.sendmsg, [b"x"], [tclass(value)]))
                return [*found, flow_info(there)]

    plain, marked = [1, (0, LABEL)], [1, (AF21, LABEL)]
    assert ours.run(work) == [*plain, *plain, *marked, *plain, "EPERM", *marked]


def test_a_class_beside_the_flow_label_of_a_connection_reaches_no_packet(
    ours: Group, left: Taken
) -> None:
    def work() -> set[int]:
        with socket.create_server((V6, 0), family=socket.AF_INET6) as listener:
            port = listener.getsockname()[1]
            with labelled(socket.SOCK_STREAM) as here:
                to = sockaddr((V6, port), flowinfo=EF << 20 | LABEL)
                assert syscall(CONNECT, here.fileno(), to, len(to)) == 0
                with listener.accept()[0] as there:
                    here.sendall(b"x")
                    assert there.recv(1) == b"x"
        return {packet.tos for packet in left()}

    assert ours.run(work) == {0}


# IPv4 on a socket of IPv6


@pytest.mark.parametrize("tos", [EF, EF | ECN])
def test_a_tos_of_ipv4_by_an_ipv6_socket_is_held(ours: Group, tos: int) -> None:
    def work(value: int, least: int = ALL) -> Came:
        return delivered(mark(socket.AF_INET, value), V4, least, MAPPED)

    assert work(tos) == (SENT, [tos] * ALL)
    assert ours.run(lambda: work(tos, 0)) == REFUSED
    for value in (AF21 | ECN, ECN, 0):
        assert ours.run(lambda value=value: work(value)) == (SENT, [value] * ALL)


def test_a_traffic_class_reaches_no_packet_of_ipv4(ours: Group) -> None:
    def work() -> Came:
        return delivered(mark(socket.AF_INET6, EF), V4, by=MAPPED)

    assert ours.run(work) == work() == (SENT, [0] * ALL)


def test_the_options_of_an_ipv6_socket_for_ipv4_are_held(ours: Group) -> None:
    def work() -> list[Any]:
        with receiver(socket.AF_INET) as there:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                to = (MAPPED, there.to[1])
                found = [outcome(tasks.set_tos, sock, EF), tasks.tos(sock)]
                for tos in (EF, AF21):
                    found.append(set_by_32_bit(sock, mark(socket.AF_INET, tos)))
                    found.append(outcome(sock.sendto, b"x", to))
            return [*found, there.got(1)]

    assert ours.run(work) == ["EPERM", 0, "ok", "EPERM", "ok", 1, [AF21]]


def test_a_tos_of_ipv4_by_an_ipv6_socket_moves_no_priority(
    prior: Group, outside: Group, left: Taken
) -> None:
    def work() -> Came:
        return delivered(mark(socket.AF_INET, LOW_DELAY), V4, by=MAPPED)

    for where, carried in ((outside, 6), (prior, OURS)):
        assert where.run(work) == (SENT, [LOW_DELAY] * ALL)
        assert left() == [Packet(carried, 4, LOW_DELAY, 17)] * ALL


@pytest.mark.parametrize("address", [V6, "::"])
def test_ip_tos_is_refused_once_an_address_made_the_socket_one_of_ipv6_only(
    prior: Group, ours: Group, address: str
) -> None:
    """bind() to an address of IPv6 does: only there the program can't put the priority back."""

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            found = [outcome(tasks.set_tos, sock, CS1), priority(sock)]
            sock.bind((address, 0))
            found.append(sock.getsockopt(tasks.SOL_IPV6, tasks.IPV6_V6ONLY))
            found += [outcome(tasks.set_tos, sock, AF21), tasks.tos(sock), priority(sock)]
            return [*found, outcome(tasks.set_tclass, sock, AF21), priority(sock)]

    only = int(address == V6)
    refused = ["EPERM", CS1] if only else ["ok", AF21]
    assert ours.run(work) == work() == ["ok", 0, only, "ok", AF21, 2, "ok", 2]
    assert prior.run(work) == ["ok", OURS, only, *refused, OURS, "ok", OURS]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_becomes_one_of_ipv4_is_held(group: Make, left: Taken, kind: int) -> None:
    """IPV6_ADDRFORM makes one of what is connected to a mapped address."""
    both = group("outside/both", tos=["af21"], priority=OURS)

    def work() -> list[Any]:
        with (
            socket.socket(socket.AF_INET, kind) as there,
            socket.socket(socket.AF_INET6, kind) as sock,
        ):
            there.bind((V4, 0))
            if kind == socket.SOCK_STREAM:
                there.listen()
            sock.connect((MAPPED, there.getsockname()[1]))
            sock.setsockopt(tasks.SOL_IPV6, IPV6_ADDRFORM, socket.AF_INET)
            found = [sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)]
            for tos in (EF, AF21):
                found += [outcome(tasks.set_tos, sock, tos), tasks.tos(sock), priority(sock)]
            left()
            found.append(outcome(sock.send, b"x"))
            return found

    assert both.run(work) == [
        socket.AF_INET, "EPERM", 0, OURS, "ok", AF21, OURS, 1,
    ]  # fmt: skip
    assert {(packet.priority, packet.tos) for packet in left() if packet.tos} == {(OURS, AF21)}


# A class that the peer chooses


@pytest.mark.parametrize("address", [V4, V6])
def test_a_class_that_a_client_chooses_is_not_answered_with(
    group: Make, ours: Group, left: Taken, address: str
) -> None:
    """net.ipv4.tcp_reflect_tos gives a connection its client's. A SYN-ACK that no program sees
    leaves (see sees_syn_ack()), and what follows does not."""
    client = group("outside/client")
    family = socket.AF_INET6 if address == V6 else socket.AF_INET

    def connect(to: Any, tos: int) -> list[Any]:
        with socket.socket(family) as sock:
            sock.setsockopt(*mark(family, tos))
            sock.setblocking(False)
            found = [outcome(sock.connect, to)]
            return [*found, outcome(lambda: sock.getpeername()[0])]

    def work() -> list[Any]:
        with socket.create_server((address, 0), family=family) as listener:
            to = listener.getsockname()
            return [client.run(lambda tos=tos: connect(to, tos)) for tos in (EF, AF21)]

    with tasks.sysctl("net/ipv4/tcp_reflect_tos", "1"):  # since 5.10
        refused = "ENOTCONN" if sees_syn_ack(address) else address
        assert ours.run(work) == [["EINPROGRESS", refused], ["EINPROGRESS", address]]
        answers = [packet.tos for packet in left() if packet.flags == SYN_ACK]
    assert answers == ([EF, AF21] if sees_syn_ack(address) else [])
