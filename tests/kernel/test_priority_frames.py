# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: frames of AF_PACKET carry the socket's, past which nothing leads."""

from __future__ import annotations

import contextlib
import mmap
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import uring
from tests.kernel.conftest import Group, groups
from tests.kernel.packets import Taken, arriving, priorities
from tests.kernel.seen import NAME, attached
from tests.kernel.sends import (
    SENDMMSG,
    SENDMSG,
    SENT,
    V6,
    WAYS,
    Control,
    Receiver,
    receiver,
    set_by_32_bit,
    written,
)
from tests.kernel.tasks import outcome, priority
from tests.kernel.uring import Message, syscall

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

OURS, OTHER = 0x10010, 6
AF_XDP, SOCK_PACKET = 44, 10
SOL_PACKET, PACKET_TX_RING, PACKET_QDISC_BYPASS, PACKET_VERSION = 263, 13, 20, 10
BYPASS = Control(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
PRIORITY = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, OTHER)
MARK = Control(socket.SOL_SOCKET, 36, 1)
ETH_P_IPV6 = 0x86DD
LOOPBACK = bytes(12) + ETH_P_IPV6.to_bytes(2, "big")
"""The head of an Ethernet frame."""


@pytest.fixture(scope="module")
def ours(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/ours", priority="1:10")


@pytest.fixture(scope="module")
def free(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/free")


@pytest.fixture
def came(outside: Group) -> Iterator[Taken]:
    """A frame with a packet of IPv6 for a socket there arrives with the priority that it had."""
    with arriving(outside) as taken:
        yield taken


def on_lo() -> bytes:
    """A struct sockaddr_ll."""
    index = socket.if_nametoindex("lo")
    return struct.pack("=H2siHBB8x", 17, ETH_P_IPV6.to_bytes(2, "big"), index, 0, 0, 6)


@contextlib.contextmanager
def framing(kind: int = socket.SOCK_DGRAM) -> Iterator[tuple[socket.socket, Receiver, bytes]]:
    """A packet socket, who receives, and what to send there."""
    with receiver(socket.AF_INET6) as there, socket.socket(socket.AF_PACKET, kind, 0) as sock:
        packet = written(there.to, 0)
        yield sock, there, packet if kind == socket.SOCK_DGRAM else LOOPBACK + packet


def knows_priority(free: Group) -> bool:
    """Whether this kernel's control messages may hold SO_PRIORITY (since 6.14)."""

    def work() -> Any:
        with framing() as (sock, there, packet):
            message = Message(packet, on_lo(), PRIORITY.packed())
            found = outcome(syscall, SENDMSG, sock.fileno(), message.address, 0)
            there.got(found != "EINVAL")
            return found

    return bool(free.run(work) != "EINVAL")


def by_message(*controls: Control) -> list[Any]:
    """The outcome of sendmsg() with each, and how many packets came."""
    with framing() as (sock, there, packet):
        found = []
        for control in controls:
            message = Message(packet, on_lo(), control.packed())
            found.append(outcome(syscall, SENDMSG, sock.fileno(), message.address, 0))
        return [*found, len(there.got(sum(isinstance(each, int) for each in found)))]


def by_sendmmsg(count: int, name: bytes) -> list[Any]:
    with framing() as (sock, there, packet):
        sock.bind(("lo", ETH_P_IPV6))
        messages = [Message(packet, name) for _each in range(count)]
        heads = bytearray(b"".join(message.head.raw for message in messages))
        sent = outcome(syscall, SENDMMSG, sock.fileno(), heads, count, 0)
        return [sent, len(there.got(sent if isinstance(sent, int) else 0))]


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_RAW])
def test_a_frame_carries_it(ours: Group, came: Taken, kind: int) -> None:
    def work() -> list[int]:
        with framing(kind) as (sock, there, packet):
            sock.sendto(packet, ("lo", ETH_P_IPV6, 0, 0, bytes(6)))
            sock.bind(("lo", ETH_P_IPV6))
            sock.send(packet)
            return there.got(2)

    assert ours.run(work) == [0, 0]
    assert priorities(came()) == [OURS, OURS]


def test_a_socket_of_type_sock_packet_is_born_with_it(ours: Group) -> None:
    def work() -> list[Any]:
        with socket.socket(socket.AF_INET, SOCK_PACKET, 0) as sock:
            return [priority(sock), set_by_32_bit(sock, PRIORITY)]

    assert ours.run(work) == [OURS, "EPERM"]


def test_the_queueing_discipline_is_not_passed_by(ours: Group, free: Group) -> None:
    def work() -> list[Any]:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            found = [outcome(sock.setsockopt, *BYPASS), set_by_32_bit(sock, BYPASS)]
            return [*found, sock.getsockopt(SOL_PACKET, PACKET_QDISC_BYPASS)]

    assert ours.run(work) == ["EPERM", "EPERM", 0]
    assert free.run(work) == ["ok", "ok", 1]


def test_the_queueing_discipline_is_not_passed_by_with_io_uring(ours: Group) -> None:
    uring.need_setsockopt(socket.AF_PACKET)

    def work() -> list[Any]:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            option = (sock.fileno(), SOL_PACKET, PACKET_QDISC_BYPASS, b"\1\0\0\0")
            return [
                outcome(uring.setsockopt, *option, flags)
                for flags in (uring.Sqe.NONE, uring.Sqe.ASYNC)
            ]

    assert ours.run(work) == ["EPERM", "EPERM"]


def test_the_number_of_another_family_is_another_option(ours: Group) -> None:
    """Of the option's number only, and of the level's: the kernel's own errno."""

    def work() -> list[Any]:
        with socket.socket() as sock:
            return [
                outcome(sock.setsockopt, *BYPASS),
                outcome(sock.setsockopt, socket.SOL_SOCKET, PACKET_QDISC_BYPASS, 1),
            ]

    assert ours.run(work) == work()


def test_af_xdp_is_refused(ours: Group, free: Group) -> None:
    def work() -> Any:
        return outcome(socket.socket, AF_XDP, socket.SOCK_RAW, 0)

    assert (ours.run(work), free.run(work)) == ("EPERM", "ok")


def test_a_control_message_is_refused_where_it_could_hold_one(
    ours: Group, free: Group, came: Taken
) -> None:
    size = len(written((V6, 9), 0))
    hook = "policy_sendmsg"[:NAME]
    if knows_priority(free):
        came()
        assert hook in attached(ours.id)
        assert free.run(lambda: by_message(PRIORITY, MARK)) == [size, size, 2]
        assert priorities(came()) == [OTHER, 0]
        assert ours.run(lambda: by_message(PRIORITY, MARK)) == ["EPERM", "EPERM", 0]
    else:
        assert hook not in attached(ours.id)
        assert ours.run(lambda: by_message(PRIORITY, MARK)) == ["EINVAL", size, 1]
        assert priorities(came()) == [OURS]


def test_several_messages_at_once_are_refused_where_a_later_one_could_hold_one(
    ours: Group, free: Group, came: Taken
) -> None:
    """The hook is not asked about a later one that has the same address."""
    several: Any = ["EPERM", 0] if knows_priority(free) else [3, 3]
    came()
    assert ours.run(lambda: by_sendmmsg(3, on_lo())) == several
    assert ours.run(lambda: by_sendmmsg(1, on_lo())) == [1, 1]
    assert ours.run(lambda: by_sendmmsg(3, b"")) == [3, 3]
    assert set(priorities(came())) == {OURS}


def test_no_way_to_send_gives_a_frame_another(ours: Group, free: Group, came: Taken) -> None:
    knows = knows_priority(free)
    came()

    def work() -> dict[str, Any]:
        with framing() as (sock, _there, _packet):
            return {
                way: outcome(send, sock.fileno(), on_lo(), PRIORITY) for way, send in WAYS.items()
            }

    assert free.run(work) == (SENT if knows else dict.fromkeys(SENT, "EINVAL"))
    assert ours.run(work) == dict.fromkeys(SENT, "EPERM" if knows else "EINVAL")


def test_a_transmit_ring_carries_it(ours: Group, came: Taken) -> None:
    """TPACKET_V1: the status before the packet is 1 for one to send, and 0 when that is done."""

    def work() -> list[Any]:
        with framing() as (sock, there, packet):
            sock.bind(("lo", ETH_P_IPV6))
            sock.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("4I", 4096, 1, 2048, 2))
            with mmap.mmap(sock.fileno(), 4096) as ring:
                head = 32  # TPACKET_HDRLEN - sizeof(struct sockaddr_ll)
                ring[head : head + len(packet)] = packet
                ring[:12] = struct.pack("QI", 1, len(packet))
                sent = outcome(sock.send, b"")
                return [sent, there.got(1), ring[0]]

    size = len(written((V6, 9), 0))
    assert ours.run(work) == [size, [0], 0]
    assert priorities(came()) == [OURS]
