# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""UDP-Lite and ping sockets: protocols of their own beside UDP and raw sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group
from tests.kernel.flows import MAPPED, family_of
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import (
    SENT,
    V4,
    V6,
    Control,
    by_every_way,
    mark,
    set_by_32_bit,
    sockaddr,
)
from tests.kernel.tasks import IPPROTO_UDPLITE, outcome, priority, set_priority
from tests.kernel.uring import syscall

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

OURS, OTHER, MINE = 0x10010, 6, 3
AF21, EF, LOW_DELAY = 0x48, 0xB8, 0x10
CONNECT, SENDTO = 42, 44
HIDDEN = "EAFNOSUPPORT"
BOTH = pytest.mark.parametrize("address", [V4, V6])


def lite(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_DGRAM, IPPROTO_UDPLITE)


def gone() -> bool:
    """Whether the kernel has no UDP-Lite, and then that it says so."""
    if tasks.release() < (7, 1):
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        assert outcome(lite, family) == "EPROTONOSUPPORT"
    return True


def test_udp_lite_is_gone_since_7_1(group: Make) -> None:
    ours = group("outside/ours", priority="1:10")
    found = ours.run(lambda: [outcome(lite, each) for each in (socket.AF_INET, socket.AF_INET6)])
    assert found == ["EPROTONOSUPPORT" if gone() else "ok"] * 2


@BOTH
def test_no_way_to_send_gives_a_packet_of_udp_lite_another_priority(
    group: Make, left: Taken, address: str
) -> None:
    if gone():
        return
    ours, free = group("outside/ours", priority="1:10"), group("outside/free")
    control = mark(family_of(address), LOW_DELAY)

    def work() -> list[Any]:
        with lite(family_of(address)) as there, lite(family_of(address)) as here:
            there.bind((address, 0))
            found = [priority(here), outcome(set_priority, here, MINE)]
            return [*found, by_every_way(here, there.getsockname(), control)]

    assert ours.run(work) == [OURS, "EPERM", SENT]
    assert priorities(left()) == [OURS] * sum(SENT.values())
    assert free.run(work) == [0, "ok", SENT]
    theirs = OTHER if address == V4 else MINE
    assert priorities(left()) == [theirs] * sum(SENT.values())


@BOTH
def test_udp_lite_takes_no_other_dscp_out(group: Make, left: Taken, address: str) -> None:
    if gone():
        return
    ours = group("outside/ours", tos=["af21"])
    family = family_of(address)

    def work() -> list[Any]:
        with lite(family) as there, lite(family) as here:
            there.bind((address, 0))
            to = there.getsockname()
            found: list[Any] = [by_every_way(here, to, mark(family, tos)) for tos in (EF, AF21)]
            if family == socket.AF_INET:
                found.append(outcome(tasks.set_tos, here, EF))
            else:
                found.append(outcome(tasks.set_tclass, here, EF))
            found += [set_by_32_bit(here, mark(family, EF)), outcome(here.sendto, b"x", to)]
            there.setblocking(False)
            return [*found, [outcome(there.recv, 1) for _each in range(sum(SENT.values()) + 1)]]

    refused = dict.fromkeys(SENT, "EPERM")
    came = [b"x"] * sum(SENT.values()) + ["EAGAIN"]
    assert ours.run(work) == [refused, SENT, "EPERM", "ok", "EPERM", came]


def test_udp_lite_reaches_no_ipv4(group: Make, left: Taken) -> None:
    """No hook runs for its connect(); what is sent then is refused."""
    if gone():
        return
    ours = group("outside/ours", ipv4="hidden")

    def reach() -> list[Any]:
        found = []
        with lite(socket.AF_INET6) as here:
            found += [outcome(here.connect, (MAPPED, 9)), outcome(here.send, b"x")]
        with lite(socket.AF_INET6) as here:
            found.append(outcome(syscall, CONNECT, here.fileno(), sockaddr((V4, 9)), 16))
            found.append(outcome(here.send, b"x"))
        with lite(socket.AF_INET6) as here:
            found.append(outcome(here.sendto, b"x", (MAPPED, 9)))
            to = sockaddr((V4, 9))
            found.append(outcome(syscall, SENDTO, here.fileno(), b"x", 1, 0, to, len(to)))
        with lite(socket.AF_INET6) as here:
            found.append(outcome(here.bind, (MAPPED, 0)))
        return found

    assert reach()[::2] == ["ok", 0, 1, "ok"]
    assert ours.run(reach) == ["ok", HIDDEN, 0, *[HIDDEN] * 4]
    assert left() == []
    assert ours.run(lambda: outcome(lite, socket.AF_INET)) == HIDDEN


# Ping sockets


def ping(family: int) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    return socket.socket(family, socket.SOCK_DGRAM, protocol)


def request(family: int) -> bytes:
    """An echo request; the kernel fills in the checksum and the identifier."""
    return struct.pack("!BBHHH", 8 if family == socket.AF_INET else 128, 0, 0, 0, 0)


@pytest.fixture(autouse=True)
def allowed() -> None:
    tasks.let_everyone_ping()


@BOTH
def test_an_echo_request_carries_the_priority_whatever_is_set(
    group: Make, left: Taken, address: str
) -> None:
    ours, free = group("outside/ours", priority="1:10"), group("outside/free")
    family = family_of(address)
    by_message = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, OTHER)
    known = tasks.release() >= (6, 14)

    def work() -> list[Any]:
        with ping(family) as sock:
            found = [priority(sock), outcome(set_priority, sock, MINE)]
            found.append(set_by_32_bit(sock, Control(*by_message[:2], MINE)))
            for control in (mark(family, LOW_DELAY), by_message):
                carried = [control.carried()]
                found.append(outcome(sock.sendmsg, [request(family)], carried, 0, (address, 0)))
            return found

    sent = [8, 8 if known else "EINVAL"]
    assert ours.run(work) == [OURS, "EPERM", "EPERM", *sent]
    assert priorities(left()) == [OURS] * (1 + known)
    assert free.run(work) == [0, "ok", "ok", *sent]
    marked = OTHER if family == socket.AF_INET else MINE
    assert priorities(left()) == [marked, OTHER][: 1 + known]


@BOTH
def test_an_echo_request_has_a_listed_dscp_or_does_not_leave(
    group: Make, outside: Group, address: str
) -> None:
    """A ping socket of IPv6 does not say that a packet did not leave; nothing answers it."""
    ours = group("outside/ours", tos=["af21"])
    family = family_of(address)

    def work() -> list[Any]:
        found = []
        with ping(family) as sock:
            sock.setblocking(False)
            for tos in (EF, AF21):
                if family == socket.AF_INET:
                    found.append(outcome(tasks.set_tos, sock, tos))
                else:
                    found.append(outcome(tasks.set_tclass, sock, tos))
                found.append(set_by_32_bit(sock, mark(family, tos)))
                found.append(outcome(sock.sendto, request(family), (address, 0)))
                found.append(outcome(lambda: sock.recv(128)[0]))
        return found

    reply = 0 if family == socket.AF_INET else 129
    refused = "EPERM" if family == socket.AF_INET else 8
    assert work() == ["ok", "ok", 8, reply] * 2
    assert ours.run(work) == ["EPERM", "ok", refused, "EAGAIN", "ok", "ok", 8, reply]


def test_a_ping_socket_of_ipv6_reaches_no_ipv4(group: Make, left: Taken) -> None:
    """Without a policy it does not either; connect() then says so by another errno."""
    ours = group("outside/ours", ipv4="hidden")

    def reach() -> list[Any]:
        found = []
        for call in ("connect", "bind"):
            with ping(socket.AF_INET6) as sock:
                found.append(outcome(getattr(sock, call), (MAPPED, 0)))
                if call == "connect":
                    found.append(outcome(sock.send, request(socket.AF_INET6)))
        with ping(socket.AF_INET6) as sock:
            found.append(outcome(sock.sendto, request(socket.AF_INET6), (MAPPED, 0)))
            to = sockaddr((V4, 0))
            packet = request(socket.AF_INET6)
            found.append(outcome(syscall, SENDTO, sock.fileno(), packet, 8, 0, to, len(to)))
            found.append(outcome(sock.sendto, packet, (V6, 0)))
        return found

    without = ["ENETUNREACH", "EDESTADDRREQ", *["EINVAL"] * 3, 8]
    assert reach() == without
    assert ours.run(reach) == [HIDDEN, *without[1:]]
    assert {packet.version for packet in left()} == {6}
    assert ours.run(lambda: outcome(ping, socket.AF_INET)) == HIDDEN


@BOTH
def test_the_identifier_of_a_ping_socket_is_no_port(group: Make, address: str) -> None:
    ports = group("outside/ports", bind_ports={"tcp": [], "udp": [], "below": 65536})

    def work() -> Any:
        with ping(family_of(address)) as sock:
            return outcome(sock.bind, (address, 80))

    assert ports.run(work) == "ok"
