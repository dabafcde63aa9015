# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: a task of the cgroup sends raw packets, and all its other sockets work as ever."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import compat, tasks
from tests.kernel.compat import Call, int80
from tests.kernel.conftest import Group
from tests.kernel.raw import (
    OWN,
    PAYLOAD,
    PLACES,
    RING_SIZE,
    RINGS,
    SOL_PACKET,
    TX_RING,
    VERSION,
    Pair,
    deliver,
    emit,
    frame,
    heard,
    held,
    link_address,
    rx_ring,
    sniffer,
)  # fmt: skip
from tests.kernel.tasks import outcome
from tests.kernel.uring import Message, Op, Sqe, ring, syscall

Make = Callable[..., Group]

SENDMMSG = 307
LO = ("lo", OWN)
V4, V6 = ("127.0.0.1", 0), ("::1", 0)


# Packet sockets


def own(kind: int = socket.SOCK_RAW, *, bound: bool = False) -> socket.socket:
    """A packet socket without a protocol, bound to loopback or not."""
    sock = socket.socket(socket.AF_PACKET, kind, 0)
    if bound:
        sock.bind(("lo", 0))
    return sock


def _sendto(payload: bytes) -> None:
    with own() as sock:
        sock.sendto(frame(payload), LO)


def _sendto_dgram(payload: bytes) -> None:
    """The kernel makes the header, with the address that it is told."""
    with own(socket.SOCK_DGRAM) as sock:
        sock.sendto(payload, (*LO, 0, 0, bytes(6)))


def _sendmsg(payload: bytes) -> None:
    with own() as sock:
        sock.sendmsg([frame(payload)], [], 0, LO)


def _sendmmsg(payload: bytes) -> None:
    message = Message(frame(payload), link_address(OWN))
    with own() as sock:
        syscall(SENDMMSG, sock.fileno(), message.address, 1, 0)


def _send(payload: bytes) -> None:
    with own(bound=True) as sock:
        sock.send(frame(payload))


def _write(payload: bytes) -> None:
    with own(bound=True) as sock:
        os.write(sock.fileno(), frame(payload))


def _uring_send(payload: bytes, flags: Sqe = Sqe.NONE) -> None:
    data = ctypes.create_string_buffer(frame(payload), len(frame(payload)))
    with own(bound=True) as sock, ring() as made:
        made.do(Op.SEND, sock.fileno(), ctypes.addressof(data), len(data), flags=flags)


def _uring_sendmsg(payload: bytes) -> None:
    message = Message(frame(payload), link_address(OWN))
    with own() as sock, ring() as made:
        made.do(Op.SENDMSG, sock.fileno(), message.address, 1)


def _sendto32(payload: bytes) -> None:
    with own() as sock:
        compat.sendto(sock.fileno(), frame(payload), link_address(OWN))


def _sendmsg32(payload: bytes) -> None:
    message = compat.Message(frame(payload), link_address(OWN))
    with own() as sock:
        int80(Call.SENDMSG, sock.fileno(), message.head, 0)


def _sendmmsg32(payload: bytes) -> None:
    message = compat.Message(frame(payload), link_address(OWN))
    with own() as sock:
        int80(Call.SENDMMSG, sock.fileno(), message.head, 1, 0)


TX_FRAMES = ((0, 8, 32), (0, 4, 32), (20, 16, 48))
"""By version, where a frame has tp_status, tp_len and the packet."""
SEND_REQUEST = 1


def _tx_ring(version: int, payload: bytes) -> None:
    status, length, start = TX_FRAMES[version]
    with own(bound=True) as sock:
        sock.setsockopt(SOL_PACKET, VERSION, version)
        sock.setsockopt(SOL_PACKET, TX_RING, RINGS[version])
        with mmap.mmap(sock.fileno(), RING_SIZE) as frames:
            data = frame(payload)
            frames[start : start + len(data)] = data
            struct.pack_into("I", frames, length, len(data))
            struct.pack_into("I", frames, status, SEND_REQUEST)
            # Waiting, it would return only once the receiver has read (seen on 7.3, not on 6.12).
            assert sock.send(b"", socket.MSG_DONTWAIT) == len(data)


SEND: dict[str, Callable[[bytes], None]] = {
    "sendto": _sendto,
    "sendto, SOCK_DGRAM": _sendto_dgram,
    "sendmsg": _sendmsg,
    "sendmmsg": _sendmmsg,
    "bind and send": _send,
    "bind and write": _write,
    "io_uring, SEND": _uring_send,
    "io_uring, SEND by a worker": lambda payload: _uring_send(payload, Sqe.ASYNC),
    "io_uring, SENDMSG": _uring_sendmsg,
    "32-bit sendto": _sendto32,
    "32-bit sendmsg": _sendmsg32,
    "32-bit sendmmsg": _sendmmsg32,
    "TX_RING of V1": lambda payload: _tx_ring(0, payload),
    "TX_RING of V2": lambda payload: _tx_ring(1, payload),
    "TX_RING of V3": lambda payload: _tx_ring(2, payload),
}


@pytest.mark.parametrize("place", ["here", "network namespace"])
def test_a_packet_socket_sends_in_every_way(pair: Pair, place: str) -> None:
    ours, other = pair

    def work() -> list[bytes]:
        PLACES[place]()
        with sniffer() as wire:
            ours.run(lambda: [SEND[way](way.encode()) for way in SEND])
            return [heard(wire) for _way in SEND]

    assert other.run(work) == [frame(way.encode()) for way in SEND]


PROMISCUOUS = struct.pack("iHH8s", 1, 1, 0, b"")
ONE = struct.pack("i", 1)
OPTIONS = [
    (SOL_PACKET, 1, PROMISCUOUS),  # PACKET_ADD_MEMBERSHIP
    (SOL_PACKET, 2, PROMISCUOUS),  # PACKET_DROP_MEMBERSHIP
    (SOL_PACKET, 8, ONE),  # PACKET_AUXDATA
    (SOL_PACKET, 14, ONE),  # PACKET_LOSS
    (SOL_PACKET, VERSION, ONE),
    (SOL_PACKET, TX_RING, RINGS[1]),
    (socket.SOL_SOCKET, 5, ONE),  # SO_DONTROUTE, SO_RCVLOWAT, SO_RCVTIMEO: numbers that are
    (socket.SOL_SOCKET, 18, ONE),  # refused at the level of packets
    (socket.SOL_SOCKET, 20, bytes(16)),
    (socket.SOL_SOCKET, socket.SO_SNDBUF, struct.pack("i", 1 << 16)),
    (socket.SOL_SOCKET, socket.SO_PRIORITY, ONE),
]


def test_other_options_of_a_packet_socket_are_set(pair: Pair) -> None:
    ours, other = pair

    def work() -> list[Any]:
        with own() as sock:
            statistics = len(sock.getsockopt(SOL_PACKET, 6, 12))
            return [statistics, *(outcome(sock.setsockopt, *each) for each in OPTIONS)]

    assert ours.run(work) == [8] + ["ok"] * len(OPTIONS)
    assert other.run(work) == [8] + ["ok"] * len(OPTIONS)


# Raw sockets of IP

IPPROTO_OF_TESTS, IPPROTO_RAW = 253, 255
IP_HDRINCL, IPV6_CHECKSUM, IPV6_HDRINCL = 3, 7, 36
HEADER4 = struct.pack(
    "!BBHHHBBH8s", 0x45, 0, 20 + len(PAYLOAD), 0, 0, 64, IPPROTO_OF_TESTS, 0,
    socket.inet_aton("127.0.0.1") * 2,
)  # fmt: skip
HEADER6 = struct.pack(
    "!IHBB32s", 6 << 28, len(PAYLOAD), IPPROTO_OF_TESTS, 64,
    socket.inet_pton(socket.AF_INET6, "::1") * 2,
)  # fmt: skip
RAW: list[tuple[int, int, tuple[int, int] | None, bytes]] = [
    (socket.AF_INET, IPPROTO_OF_TESTS, None, PAYLOAD),
    (socket.AF_INET, IPPROTO_OF_TESTS, (socket.IPPROTO_IP, IP_HDRINCL), HEADER4 + PAYLOAD),
    (socket.AF_INET, IPPROTO_RAW, None, HEADER4 + PAYLOAD),
    (socket.AF_INET6, IPPROTO_OF_TESTS, None, PAYLOAD),
    (socket.AF_INET6, IPPROTO_OF_TESTS, (tasks.SOL_IPV6, IPV6_HDRINCL), HEADER6 + PAYLOAD),
    (socket.AF_INET6, IPPROTO_RAW, None, HEADER6 + PAYLOAD),
]
"""Family, protocol, an option to set to 1, and what is sent."""


@pytest.mark.parametrize(("family", "protocol", "option", "packet"), RAW)
def test_a_raw_socket_of_ip_sends(
    pair: Pair, family: int, protocol: int, option: tuple[int, int] | None, packet: bytes
) -> None:
    ours, _other = pair

    def work() -> int:
        with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
            if option:
                sock.setsockopt(*option, 1)
            return sock.sendto(packet, V4 if family == socket.AF_INET else V6)

    with socket.socket(family, socket.SOCK_RAW, IPPROTO_OF_TESTS) as witness:
        assert ours.run(work) == len(packet)
        assert heard(witness)[-len(PAYLOAD) :] == PAYLOAD


def test_the_kernel_fills_in_a_checksum(pair: Pair) -> None:
    ours, other = pair

    def work() -> None:
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_OF_TESTS) as sock:
            sock.setsockopt(tasks.SOL_IPV6, IPV6_CHECKSUM, 0)
            sock.sendto(bytes(2) + PAYLOAD, V6)

    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_OF_TESTS) as witness:
        ours.run(work)
        mine = heard(witness)
        other.run(work)
        assert (mine[2:], mine) == (PAYLOAD, heard(witness))
        assert mine[:2] != bytes(2)


# Tasks outside


def sniffs() -> list[bool]:
    """Whether a socket and a ring receive what is sent."""
    with sniffer() as sock, sniffer() as ringed, rx_ring(ringed) as frames:
        deliver(emit)
        return [heard(sock) == frame(), frame() in frames[:2048]]


def test_tasks_outside_receive_in_full(group: Make) -> None:
    parent, ours, sibling = group("parent"), group("parent/ours"), group("parent/sibling")
    held("parent/ours")
    assert [each.run(sniffs) for each in (parent, sibling)] == [[True, True]] * 2
    assert sniffs() == [True, True]
    with pytest.raises(PermissionError):
        ours.run(sniffs)
