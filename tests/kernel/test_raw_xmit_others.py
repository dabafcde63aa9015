# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: sockets that are not raw send and receive in the cgroup as they do outside."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.kernel import tasks
from tests.kernel.raw import PAYLOAD, Pair, heard
from tests.kernel.tasks import outcome

V4, V6 = ("127.0.0.1", 0), ("::1", 0)


def stream(family: int, address: Any) -> bytes:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.connect(listener.getsockname())
            connection, _peer = listener.accept()
            with connection:
                connection.sendall(PAYLOAD)
                return heard(client)


def datagram(family: int, address: Any) -> bytes:
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.sendto(PAYLOAD, sock.getsockname())
        return heard(sock)


def ping(family: int, protocol: int, request: int, address: Any) -> bytes:
    """The payload of the reply."""
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as sock:
        sock.sendto(bytes([request, *bytes(7)]) + PAYLOAD, address)
        return heard(sock)[8:]


def local(kind: int) -> bytes:
    one, two = socket.socketpair(socket.AF_UNIX, kind)
    with one, two:
        one.send(PAYLOAD)
        return heard(two)


def netlink(kind: int) -> Any:
    """The type of the first answer to RTM_GETLINK."""
    request = struct.pack("IHHII", 32, 18, 0x301, 1, 0) + bytes(16)
    with socket.socket(socket.AF_NETLINK, kind, 0) as sock:
        sock.send(request)
        return struct.unpack_from("IH", heard(sock))[1]


def vsock() -> bytes:
    return stream(socket.AF_VSOCK, (1, 5000))  # VMADDR_CID_LOCAL


WORKS: dict[str, tuple[Callable[[], Any], Any]] = {
    "TCP": (lambda: stream(socket.AF_INET, V4), PAYLOAD),
    "TCP over IPv6": (lambda: stream(socket.AF_INET6, V6), PAYLOAD),
    "UDP": (lambda: datagram(socket.AF_INET, V4), PAYLOAD),
    "UDP over IPv6": (lambda: datagram(socket.AF_INET6, V6), PAYLOAD),
    "ping": (lambda: ping(socket.AF_INET, socket.IPPROTO_ICMP, 8, V4), PAYLOAD),
    "ping over IPv6": (lambda: ping(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, V6), PAYLOAD),
    "UNIX stream": (lambda: local(socket.SOCK_STREAM), PAYLOAD),
    "UNIX datagram": (lambda: local(socket.SOCK_DGRAM), PAYLOAD),
    "UNIX raw": (lambda: local(socket.SOCK_RAW), PAYLOAD),
    "netlink raw": (lambda: netlink(socket.SOCK_RAW), 16),  # RTM_NEWLINK
    "netlink datagram": (lambda: netlink(socket.SOCK_DGRAM), 16),
    "vsock": (vsock, PAYLOAD),
}


def test_sockets_that_are_not_raw_send_and_receive(pair: Pair) -> None:
    ours, other = pair
    tasks.let_everyone_ping()

    def work() -> dict[str, Any]:
        return {name: outcome(call) for name, (call, _expected) in WORKS.items()}

    expected = {name: expected for name, (_call, expected) in WORKS.items()}
    assert ours.run(work) == expected
    assert other.run(work) == expected


FAMILIES = (
    socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_ALG,
    socket.AF_VSOCK,
)  # fmt: skip
TYPES = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)


def test_of_other_types_each_family_has_what_it_has_outside(pair: Pair) -> None:
    ours, other = pair

    def births() -> dict[Any, Any]:
        return {
            (family, kind): outcome(socket.socket, family, kind)
            for family in FAMILIES
            for kind in TYPES
        }

    free = other.run(births)
    assert "EPERM" not in free.values()
    assert ours.run(births) == free
