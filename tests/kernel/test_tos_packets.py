# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tos: a packet whose DSCP is not listed does not leave, whoever wrote it into the packet."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.classes import AF21, ALL, CS1, ECN, EF, Came, delivered
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import FLOWS, converse, family_of, need
from tests.kernel.packets import DATA, SYN, SYN_ACK, Packet, arriving, leaving, sees_syn_ack
from tests.kernel.sends import (
    IPV6_FLOWINFO_SEND,
    IPV6_HDRINCL,
    SENT,
    V4,
    V6,
    mark,
    receiver,
    send_written,
    sendmmsg,
    set_by_32_bit,
    sockaddr,
    written,
)
from tests.kernel.tasks import eventually, outcome
from tests.kernel.uring import syscall

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

SENDTO = 44
TCP_INFO, SYN_SENT = 11, 2
BOTH = pytest.mark.parametrize("address", [V4, V6])


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", tos=["af21", CS1])


def size(address: str) -> int:
    """Of a packet that is written by hand."""
    return len(written((address, 9), 0))


def by_all(address: str, tos: int, least: int = ALL) -> Came:
    """The outcome of every way to send, and what came."""
    return delivered(mark(family_of(address), tos), address, least)


# Messages


@BOTH
@pytest.mark.parametrize("tos", [EF, EF | ECN, 0x04, 0xFC])
def test_no_way_to_send_takes_a_dscp_that_is_not_listed_out(
    ours: Group, address: str, tos: int
) -> None:
    assert by_all(address, tos) == (SENT, [tos] * sum(SENT.values()))
    assert ours.run(lambda: by_all(address, tos, 0)) == (dict.fromkeys(SENT, "EPERM"), [])


@BOTH
@pytest.mark.parametrize("tos", [AF21, AF21 | ECN, CS1 | 1, ECN, 0])
def test_every_way_takes_a_listed_one_out_with_any_ecn(ours: Group, address: str, tos: int) -> None:
    assert ours.run(lambda: by_all(address, tos)) == (SENT, [tos] * sum(SENT.values()))


@BOTH
def test_of_several_messages_those_before_the_refused_one_leave(ours: Group, address: str) -> None:
    family = family_of(address)

    def work() -> tuple[Any, list[int]]:
        marks = [mark(family, tos) for tos in (AF21, 0, EF, AF21)]
        with receiver(family) as there, socket.socket(family, socket.SOCK_DGRAM) as sock:
            sent = outcome(lambda: sendmmsg(sock.fileno(), sockaddr(there.to), *marks))
            return sent, there.got(2)

    assert ours.run(work) == (2, [AF21, 0])


@BOTH
def test_what_a_32_bit_call_sets_does_not_leave(ours: Group, address: str) -> None:
    family = family_of(address)

    def work() -> tuple[list[Any], list[int]]:
        found: list[Any] = []
        with receiver(family) as there, socket.socket(family, socket.SOCK_DGRAM) as sock:
            for tos in (EF, AF21, EF, 0):
                found += [set_by_32_bit(sock, mark(family, tos))]
                found += [outcome(sock.sendto, b"x", there.to)]
            return found, there.got(2)

    assert ours.run(work) == (["ok", "EPERM", "ok", 1] * 2, [AF21, 0])


@BOTH
def test_a_header_that_the_task_writes_is_held(ours: Group, address: str) -> None:
    """By a raw socket of IPPROTO_RAW, and by one that is told to include its header."""

    def work() -> tuple[list[Any], list[int]]:
        found = []
        with receiver(family_of(address)) as there:
            for tos in (EF, AF21, EF | ECN, AF21 | ECN, 0):
                found.append(send_written(there.to, tos))
            with socket.socket(family_of(address), socket.SOCK_RAW, socket.IPPROTO_UDP) as sock:
                if family_of(address) == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
                else:
                    sock.setsockopt(tasks.SOL_IPV6, IPV6_HDRINCL, 1)
                for tos in (EF, CS1):
                    found.append(outcome(sock.sendto, written(there.to, tos), (address, 0)))
            return found, there.got(4)

    fine, refused = size(address), "EPERM"
    assert ours.run(work) == (
        [refused, fine, refused, fine, fine, refused, fine],
        [AF21, AF21 | ECN, 0, CS1],
    )


@BOTH
def test_a_packet_that_is_too_short_to_say_is_the_kernels_to_refuse(
    ours: Group, address: str
) -> None:
    """So none comes to the program."""

    def work() -> Any:
        with socket.socket(family_of(address), socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            return outcome(sock.sendto, b"\x60", (address, 0))

    assert (work(), ours.run(work)) == ("EINVAL", "EINVAL")


def test_the_class_in_a_flow_label_reaches_no_packet(ours: Group) -> None:
    """sin6_flowinfo has room for one; the kernel takes only the label out of it."""

    def work() -> tuple[list[Any], list[int]]:
        with receiver(socket.AF_INET6) as there:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
                found = [outcome(sock.setsockopt, tasks.SOL_IPV6, IPV6_FLOWINFO_SEND, 1)]
                to = sockaddr(there.to, flowinfo=EF << 20)
                found.append(outcome(syscall, SENDTO, sock.fileno(), b"x", 1, 0, to, len(to)))
            return found, there.got(1)

    assert ours.run(work) == work() == (["ok", 1], [0])


PINGS = [flow for flow in FLOWS if flow.startswith(("ping", "raw,"))]


@pytest.mark.parametrize("flow", PINGS)
def test_an_echo_request_is_held(ours: Group, flow: str) -> None:
    """The kernel answers those that left. A ping socket of IPv6 does not say that one did not."""
    family, kind = (
        socket.AF_INET6 if "IPv6" in flow else socket.AF_INET,
        socket.SOCK_DGRAM if "ping" in flow else socket.SOCK_RAW,
    )
    six = family == socket.AF_INET6
    request, reply = (128, 129) if six else (8, 0)
    tasks.let_everyone_ping()

    def work() -> tuple[list[Any], list[int]]:
        sent, answered = [], []
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        with socket.socket(family, kind, protocol) as sock:
            for number, tos in enumerate((EF, AF21, 0)):
                sum_ = 0 if six else 0xFFFF - (request << 8) - number
                packet = struct.pack("!BBHHH", request, 0, sum_, 0, number)
                controls = [mark(family, tos).carried()]
                to = (V6 if six else V4, 0)
                sent.append(outcome(sock.sendmsg, [packet], controls, 0, to))
            while not answered or answered[-1] != 2:  # the last one is answered
                packet = sock.recv(128)[-8:]
                answered += [packet[7]] if packet[0] == reply else []
        return sent, answered

    refused = 8 if flow == "ping, IPv6" else "EPERM"
    assert work() == ([8, 8, 8], [0, 1, 2])
    assert ours.run(work) == ([refused, 8, 8], [1, 2])


@pytest.mark.parametrize("flow", FLOWS)
def test_every_protocol_leaves_without_a_tos(ours: Group, flow: str) -> None:
    need(flow)
    ours.run(lambda: converse(flow))


# Connections


@BOTH
def test_a_connection_with_another_dscp_does_not_come_about(
    ours: Group, outside: Group, address: str
) -> None:
    """connect() waits as for a peer that does not answer: its SYN does not leave."""
    family = family_of(address)

    def work() -> list[Any]:
        tried: list[Packet] = []
        with (
            leaving(outside) as left,
            socket.create_server((address, 0), family=family) as listener,
            socket.socket(family) as sock,
        ):
            listener.setblocking(False)
            sock.setblocking(False)
            found = [set_by_32_bit(sock, mark(family, EF))]
            found.append(outcome(sock.connect, listener.getsockname()))

            def syns() -> bool:
                tried.extend(left())
                return len([packet for packet in tried if packet.flags == SYN]) > 1

            found.append(eventually(syns, True))
            found.append(sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0])
            found.append(outcome(listener.accept))
            found.append(set_by_32_bit(sock, mark(family, AF21)))
            assert select.select([listener], [], [], tasks.PATIENCE)[0] == [listener]
        return found

    assert ours.run(work) == ["ok", "EINPROGRESS", True, SYN_SENT, "EAGAIN", "ok"]


@BOTH
def test_a_listener_with_another_dscp_answers_nobody(
    group: Make, outside: Group, ours: Group, address: str
) -> None:
    """Its SYN-ACK does not leave, where an egress program sees that."""
    family, client = family_of(address), group("outside/client")

    def connect(to: Any) -> Any:
        with socket.socket(family) as sock:
            sock.setblocking(False)
            return outcome(sock.connect, to), outcome(lambda: sock.getpeername()[0])

    def work() -> Any:
        with socket.create_server((address, 0), family=family) as listener:
            assert set_by_32_bit(listener, mark(family, EF)) == "ok"
            to = listener.getsockname()
            return client.run(lambda: connect(to))

    with leaving(outside) as left:
        found = ours.run(work)
        seen = {packet.tos for packet in left() if packet.flags == SYN_ACK}
    if sees_syn_ack(address):
        assert (found, seen) == (("EINPROGRESS", "ENOTCONN"), {EF})
    else:
        assert (found, seen) == (("EINPROGRESS", V6), set())


@BOTH
def test_a_connection_that_gets_another_dscp_stalls_until_it_has_a_listed_one(
    ours: Group, outside: Group, address: str
) -> None:
    family = family_of(address)

    def work() -> list[Any]:
        tried: list[Packet] = []
        with (
            leaving(outside) as left,
            arriving(outside) as came,
            socket.create_server((address, 0), family=family) as listener,
            socket.create_connection(listener.getsockname()[:2]) as here,
            listener.accept()[0] as there,
        ):
            found = [set_by_32_bit(here, mark(family, EF)), outcome(here.send, b"x")]

            def retried() -> bool:
                tried.extend(packet for packet in left() if packet.tos == EF)
                return len(tried) > 1

            found.append(eventually(retried, True))
            found.append(select.select([there], [], [], 0)[0])
            found.append(set_by_32_bit(here, mark(family, AF21)))
            found.append(there.recv(1))
            arrived = {packet.tos for packet in came() if packet.flags == DATA}
            return [*found, arrived]

    assert ours.run(work) == ["ok", 1, True, [], "ok", b"x", {AF21}]
