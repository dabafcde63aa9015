# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other ways: options by control messages, ports that a task lets the kernel pick, and IGMP."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks
from tests.kernel.conftest import Group, groups
from tests.kernel.flows import family_of
from tests.kernel.packets import Taken
from tests.kernel.raw import ETH_P_IP
from tests.kernel.sends import SENT, V4, V6, Control, by_every_way, sockaddr
from tests.kernel.tasks import PATIENCE, SO_MARK, outcome
from tests.kernel.test_netns import elsewhere

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

IP, SOL = socket.IPPROTO_IP, socket.SOL_SOCKET
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
SO_TXTIME, SO_RCVMARK, IP_RECVTTL = 61, 75, 12
CLOCK_MONOTONIC = 1
IP_LOCAL_PORT_RANGE, IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_TRANSPARENT = 51, 24, 15, 19
IPV6_TRANSPARENT, IPV6_FREEBIND = 75, 78
IP_ADD_MEMBERSHIP, IP_ADD_SOURCE_MEMBERSHIP = 35, 39
MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP = 42, 46
IGMP = 2
PORT, LOW, OTHER = 40404, 80, 8001
NOT_HERE = {V4: "192.0.2.1", V6: "2001:db8::1"}
NONE = {"tcp": [], "udp": [], "below": 65536}
BOTH = pytest.mark.parametrize("address", [V4, V6])
KINDS = pytest.mark.parametrize("kind", [TCP, UDP])


# Options by control message


@pytest.fixture(scope="module")
def denied(outside: Group) -> Iterator[Group]:
    names = ["SOL_SOCKET/SO_MARK", "SOL_IP/IP_TTL", "SOL_SOCKET/SO_TXTIME"]
    with groups() as make:
        yield make("outside/denied", sockopts={"deny": names})


def heard(there: socket.socket, count: int) -> list[int]:
    """What one control message of each of so many messages says."""
    there.settimeout(PATIENCE)
    found = []
    for _each in range(count):
        _data, (control,), _flags, _from = there.recvmsg(1, 64)
        found.append(struct.unpack("i", control[2])[0])
    return found


@pytest.mark.parametrize(
    ("level", "name", "tell"),
    [(SOL, SO_MARK, (SOL, SO_RCVMARK)), (IP, socket.IP_TTL, (IP, IP_RECVTTL))],
    ids=["SO_MARK", "IP_TTL"],
)  # fmt: skip
def test_a_control_message_sets_a_denied_option_for_one_message(
    denied: Group, level: int, name: int, tell: tuple[int, int]
) -> None:
    """No call of setsockopt() is made, which is what the control is about."""
    value, count = 9, sum(SENT.values())

    def work(to: Any) -> list[Any]:
        with socket.socket(socket.AF_INET, UDP) as sock:
            found = [outcome(sock.setsockopt, level, name, value), sock.getsockopt(level, name)]
            return [*found, by_every_way(sock, to, Control(level, name, value))]

    with socket.socket(socket.AF_INET, UDP) as there:
        fresh = there.getsockopt(level, name)
        there.bind((V4, 0))
        there.setsockopt(*tell, 1)
        to = there.getsockname()
        assert denied.run(lambda: work(to)) == ["EPERM", fresh, SENT]
        assert heard(there, count) == [value] * count
        assert work(to) == ["ok", value, SENT]


def test_a_time_to_send_needs_the_option_which_is_denied(denied: Group) -> None:
    """The kernel takes SCM_TXTIME, the control message, only where SO_TXTIME is set."""
    clock = struct.pack("iI", CLOCK_MONOTONIC, 0)
    at = (SOL, SO_TXTIME, struct.pack("Q", 1))

    def work() -> list[Any]:
        with socket.socket(socket.AF_INET, UDP) as sock:
            found = [outcome(sock.setsockopt, SOL, SO_TXTIME, clock)]
            return [*found, outcome(sock.sendmsg, [b"x"], [at], 0, (V4, 9))]

    assert work() == ["ok", 1]
    assert denied.run(work) == ["EPERM", "EINVAL"]


# Ports that the kernel picks


@pytest.fixture(scope="module")
def none(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/none", bind_ports=NONE)


def ranged(address: str, kind: int, port: int) -> list[Any]:
    """The outcome of narrowing the range to a port, and whether bind(), then connect() picks it."""
    found: list[Any] = []
    for call, to in (("bind", (address, 0)), ("connect", None)):
        with (
            socket.socket(family_of(address), kind) as there,
            socket.socket(family_of(address), kind) as sock,
        ):
            if not to:
                there.bind((address, 0))
                if kind == TCP:
                    there.listen()
                to = there.getsockname()
            option = struct.pack("I", port | port << 16)
            found.append(outcome(sock.setsockopt, IP, IP_LOCAL_PORT_RANGE, option))
            found.append(outcome(getattr(sock, call), to))
            found.append(sock.getsockname()[1] == port)
    return found


@BOTH
@KINDS
def test_a_range_of_one_lets_a_task_choose_a_port_that_is_not_listed(
    none: Group, address: str, kind: int
) -> None:
    """Out of the namespace's own range, which is above `below` unless that is set high.

    The option is of 6.3, and Debian's 6.1 has it too.
    """

    def bind() -> Any:
        with socket.socket(family_of(address), kind) as sock:
            return outcome(sock.bind, (address, PORT))

    assert none.run(bind) == "EPERM"
    chosen, other = none.run(lambda: [ranged(address, kind, port) for port in (PORT, LOW)])
    assert (chosen, other) == (["ok", "ok", True] * 2, ["ok", "ok", False] * 2)


@BOTH
@KINDS
def test_denied_by_sockopts_the_range_is_not_narrowed(group: Make, address: str, kind: int) -> None:
    ours = group("outside/ours", bind_ports=NONE, sockopts={"deny": [f"0/{IP_LOCAL_PORT_RANGE}"]})
    assert ours.run(lambda: ranged(address, kind, PORT)) == ["EPERM", "ok", False] * 2


@BOTH
@KINDS
def test_the_range_of_a_namespace_of_its_own_lets_a_task_choose(
    group: Make, address: str, kind: int
) -> None:
    """With `netns: any`. Where the range of a namespace is written by whoever is root in it."""
    ours = group("outside/ours", bind_ports={"tcp": [], "udp": []}, netns="any")

    def work() -> list[Any]:
        elsewhere()
        found: list[Any] = []
        with tasks.sysctl("net/ipv4/ip_local_port_range", f"{OTHER} {OTHER}"):
            for port in (OTHER, 0):
                with socket.socket(family_of(address), kind) as sock:
                    found += [outcome(sock.bind, (address, port)), sock.getsockname()[1]]
        return found

    assert ours.run(work) == ["EPERM", 0, "ok", OTHER]


@BOTH
@KINDS
def test_no_option_of_an_address_lets_a_task_bind_another_port(
    none: Group, address: str, kind: int
) -> None:
    """With those for addresses that are not the host's, and the one that puts off the port."""
    six = address == V6
    level = tasks.SOL_IPV6 if six else IP
    options = (
        (level, IPV6_FREEBIND if six else IP_FREEBIND),
        (level, IPV6_TRANSPARENT if six else IP_TRANSPARENT),
        (IP, IP_BIND_ADDRESS_NO_PORT),
    )

    def work() -> list[Any]:
        found = []
        for option in options:
            where = address if option[1] == IP_BIND_ADDRESS_NO_PORT else NOT_HERE[address]
            for port in (OTHER, 0):
                with socket.socket(family_of(address), kind) as sock:
                    sock.setsockopt(*option, 1)
                    found.append(outcome(sock.bind, (where, port)))
        return found

    assert work() == ["ok"] * 6
    assert none.run(work) == ["EPERM", "ok"] * 3


# IPv4 that no socket sends


def _storage(address: str) -> bytes:
    """A struct sockaddr_storage."""
    return sockaddr((address, 0)).ljust(128, b"\0")


def _joins(group: str) -> dict[int, bytes]:
    """Each option that joins a group on the loopback device, and its value."""
    here, there = socket.inet_aton(V4), socket.inet_aton(group)
    interface = struct.pack("Q", socket.if_nametoindex("lo"))
    return {
        IP_ADD_MEMBERSHIP: there + here,
        IP_ADD_SOURCE_MEMBERSHIP: there + here + here,
        MCAST_JOIN_GROUP: interface + _storage(group),
        MCAST_JOIN_SOURCE_GROUP: interface + _storage(group) + _storage(V4),
    }


@pytest.mark.parametrize("name", _joins(V4))
def test_joining_a_group_sends_igmp_from_where_ipv4_is_hidden(
    group: Make, left: Taken, name: int
) -> None:
    """By a socket of IPv6. The report is the kernel's own: no egress program sees it."""
    ours = group("outside/ours", ipv4="hidden")
    address = f"239.1.1.{name}"

    def work() -> Any:
        with socket.socket(socket.AF_INET6, UDP) as sock:
            found = outcome(sock.setsockopt, IP, name, _joins(address)[name])
            return [found, reported()] if found == "ok" else [found]

    def reported() -> bool:
        while True:
            packet = sniffer.recv(4096)
            if packet[9] == IGMP and socket.inet_aton(address) in packet:
                return True

    with socket.socket(socket.AF_PACKET, UDP, socket.htons(ETH_P_IP)) as sniffer:
        sniffer.settimeout(PATIENCE)
        sniffer.bind(("lo", ETH_P_IP))
        assert ours.run(work) == ["ok", True]
        assert left() == []
        denies = group("outside/denies", ipv4="hidden", sockopts={"deny": [f"0/{name}"]})
        assert denies.run(work) == ["EPERM"]
