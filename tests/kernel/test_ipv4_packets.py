# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ipv4: hidden. No packet of IPv4 leaves by a socket that is there already or that IPv6 has."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.flows import FLOWS, MAPPED, converse, need
from tests.kernel.packets import SYN_ACK, Packet, Taken, arriving
from tests.kernel.sends import (
    IPV6_HDRINCL,
    V4,
    V6,
    WAYS,
    made_in,
    mark,
    receiver,
    written,
)
from tests.kernel.tasks import eventually, outcome

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
OF4 = [flow for flow, (_open, version, _protocol) in FLOWS.items() if version == 4]
OF6 = [flow for flow, (_open, version, _protocol) in FLOWS.items() if version == 6]
HIDE = [{"cgroup": "outside/late", "ipv4": "hidden"}]
SHOW = [{"cgroup": "outside/late", "state": "absent"}]


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", ipv4="hidden")


@pytest.mark.parametrize("flow", OF6)
def test_ipv6_is_untouched(ours: Group, left: Taken, flow: str) -> None:
    need(flow)
    ours.run(lambda: converse(flow))
    assert {packet.version for packet in left()} == {6}


@pytest.mark.parametrize("flow", OF6)
def test_ipv6_of_sockets_from_before_is_untouched(group: Make, flow: str) -> None:
    need(flow)

    def work() -> None:
        with FLOWS[flow][0]() as send:
            apply(HIDE)
            send()

    group("outside/late").run(work)


def connected(family: int, kind: int, address: str) -> list[socket.socket]:
    """One end and the other of what is connected over IPv4."""
    with socket.socket(family, kind) as there:
        there.bind((address, 0))
        here = socket.socket(family, kind)
        if kind == socket.SOCK_STREAM:
            there.listen()
            here.connect(there.getsockname())
            return [here, there.accept()[0]]
        here.connect(there.getsockname())
        return [here, socket.socket(fileno=there.detach())]


ENDS = pytest.mark.parametrize(
    ("family", "address"),
    [(socket.AF_INET, V4), (socket.AF_INET6, MAPPED)],
    ids=["IPv4", "mapped"],
)


@ENDS
def test_a_udp_socket_from_before_sends_nothing(group: Make, family: int, address: str) -> None:
    """sendmsg4 sees what has a control message or goes to a mapped address, the floor the rest."""
    late = group("outside/late")
    here, there = made_in(late, lambda: connected(family, socket.SOCK_DGRAM, address))
    with here, there:
        there.setblocking(False)
        apply(HIDE)
        ways = [outcome(way, here.fileno(), b"", mark(socket.AF_INET, 0)) for way in WAYS.values()]
        assert ways == ["EAFNOSUPPORT"] * len(WAYS)
        refused = "EPERM" if family == socket.AF_INET else "EAFNOSUPPORT"
        assert outcome(here.send, b"x") == refused
        assert outcome(there.recv, 1) == "EAGAIN"
        apply(SHOW)
        assert (here.send(b"y"), there.recv(1)) == (1, b"y")


@ENDS
def test_a_tcp_connection_from_before_stalls(
    group: Make, left: Taken, family: int, address: str
) -> None:
    """send() takes what goes into the buffer, and the kernel tries again for as long as it is."""
    late = group("outside/late")
    here, there = made_in(late, lambda: connected(family, socket.SOCK_STREAM, address))
    tried: list[Packet] = []

    def retried() -> bool:
        tried.extend(left())
        return len(tried) > 2

    with here, there:
        apply(HIDE)
        left()
        assert here.send(b"x") == 1
        assert eventually(retried, True)
        assert select.select([there], [], [], 0)[0] == []
        apply(SHOW)
        assert there.recv(1) == b"x"


def test_a_raw_socket_from_before_sends_nothing(group: Make) -> None:
    late = group("outside/late")

    def make() -> list[socket.socket]:
        return [socket.socket(socket.AF_INET, socket.SOCK_RAW, number) for number in (17, 255)]

    headless, whole = made_in(late, make)
    with headless, whole, receiver(socket.AF_INET) as there:
        packet = written(there.to, 0)
        assert (headless.sendto(packet[20:], (V4, 0)), there.got(1)) == (8, [0])
        assert (whole.sendto(packet, (V4, 0)), there.got(1)) == (28, [0])
        apply(HIDE)
        assert outcome(headless.sendto, packet[20:], (V4, 0)) == "EPERM"
        assert outcome(whole.sendto, packet, (V4, 0)) == "EPERM"
        assert there.got() == []


def test_a_raw_socket_of_ipv6_carries_no_ipv4(ours: Group, outside: Group) -> None:
    """A header of IPv4 on one is for the receiver no packet of IPv6, and of no other kind."""

    def work(to: Any) -> list[Any]:
        found = []
        for protocol, include in ((socket.IPPROTO_RAW, 0), (socket.IPPROTO_UDP, 1)):
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) as sock:
                if include:
                    sock.setsockopt(tasks.SOL_IPV6, IPV6_HDRINCL, 1)
                found += [outcome(sock.sendto, written(to, 0), (V6, 0))]
                found += [outcome(sock.sendto, written(to, 0), (MAPPED, 0))]
        return found

    with receiver(socket.AF_INET) as there, arriving(outside) as came:
        without = work(there.to)
        assert ours.run(lambda: work(there.to)) == without
        assert (there.got(), came()) == ([], [])


def test_a_dual_stack_listener_answers_no_ipv4(ours: Group, group: Make, left: Taken) -> None:
    client = group("outside/client")

    def serve() -> list[Any]:
        with socket.create_server(
            ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]

            def connect() -> list[Any]:
                with socket.socket() as sock, socket.socket(socket.AF_INET6) as six:
                    sock.setblocking(False)
                    six.connect((V6, port))
                    found = outcome(sock.connect, (V4, port))
                    answered = eventually(lambda: SYN_ACK in {p.flags for p in left()}, True)
                    return [found, answered, outcome(sock.getpeername)]

            found = client.run(connect)
            listener.accept()[0].close()
            return [*found, outcome(listener.accept)]

    assert ours.run(serve) == ["EINPROGRESS", True, "ENOTCONN", "EAGAIN"]


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_sctp_of_ipv6_reaches_no_mapped_address(ours: Group, left: Taken, kind: int) -> None:
    """No hook sees its connect() and sendto(); its INIT does not leave."""

    def reach(to: Any, wait: float) -> list[Any]:
        with socket.socket(socket.AF_INET6, kind, tasks.IPPROTO_SCTP) as sock:
            sock.setblocking(False)
            if kind == socket.SOCK_STREAM:
                found = outcome(sock.connect, to)
            else:
                found = outcome(sock.sendto, b"x", to)
            return [found, bool(select.select([listener], [], [], wait)[0])]

    begins = "EINPROGRESS" if kind == socket.SOCK_STREAM else 1
    with socket.socket(socket.AF_INET6, kind, tasks.IPPROTO_SCTP) as listener:
        listener.bind((MAPPED, 0))
        listener.listen()
        to = listener.getsockname()
        assert ours.run(lambda: reach(to, 0)) == [begins, False]
        assert {(packet.version, packet.protocol) for packet in left()} == {(4, 132)}
        assert reach(to, tasks.PATIENCE) == [begins, True]
