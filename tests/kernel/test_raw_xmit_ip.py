# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: of what a raw socket of IP would receive, nothing is even queued."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
from typing import Any

import pytest

from tests.kernel.raw import PAYLOAD, PLACES, Pair, deliver
from tests.kernel.tasks import outcome

SIZE = 4096
FIONREAD = 0x541B
V4, V6 = "127.0.0.1", "::1"


IPPROTO_OF_TESTS = 253


def _v4_header(protocol: int) -> bytes:
    size, addresses = 20 + len(PAYLOAD), socket.inet_aton(V4) * 2
    return struct.pack("!BBHHHBBH8s", 0x45, 0, size, 0, 0, 64, protocol, 0, addresses)


def _v6_header(protocol: int) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, V6) * 2
    return struct.pack("!IHBB32s", 6 << 28, len(PAYLOAD), protocol, 64, addresses)


RAW: dict[tuple[int, int], bytes] = {
    (family, protocol): before + PAYLOAD
    for family, protocol, before in (
        (socket.AF_INET, socket.IPPROTO_ICMP, bytes(8)),
        (socket.AF_INET, socket.IPPROTO_TCP, bytes(20)),
        (socket.AF_INET, socket.IPPROTO_UDP, bytes(8)),
        (socket.AF_INET, IPPROTO_OF_TESTS, b""),
        (socket.AF_INET, socket.IPPROTO_RAW, _v4_header(socket.IPPROTO_RAW)),
        (socket.AF_INET6, socket.IPPROTO_ICMPV6, bytes([129, *bytes(7)])),
        (socket.AF_INET6, socket.IPPROTO_TCP, bytes(20)),
        (socket.AF_INET6, socket.IPPROTO_UDP, bytes(8)),
        (socket.AF_INET6, IPPROTO_OF_TESTS, b""),
        (socket.AF_INET6, socket.IPPROTO_RAW, _v6_header(socket.IPPROTO_RAW)),
    )
}
"""By family and protocol, a packet for such a socket to send to itself."""


def queues(family: int, protocol: int) -> tuple[bool, bool, Any]:
    """Whether poll() and FIONREAD tell of a packet, and the outcome of recv()."""
    address = V4 if family == socket.AF_INET else V6
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        deliver(lambda: sock.sendto(RAW[family, protocol], (address, 0)))
        ready = bool(select.select([sock], [], [], 0)[0])
        size = bytearray(4)
        fcntl.ioctl(sock, FIONREAD, size)
        received = outcome(lambda: PAYLOAD in sock.recv(SIZE, socket.MSG_DONTWAIT))
        return ready, any(size), received


@pytest.mark.parametrize("place", PLACES)
def test_a_raw_socket_of_ip_gets_nothing(pair: Pair, place: str) -> None:
    ours, other = pair

    def work() -> dict[Any, Any]:
        PLACES[place]()
        return {each: queues(*each) for each in RAW}

    assert ours.run(work) == dict.fromkeys(RAW, (False, False, "EPERM"))
    assert other.run(work) == dict.fromkeys(RAW, (True, True, True))
