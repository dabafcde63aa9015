# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SCTP has of its own: several addresses, one-to-many sockets, sockets that are peeled off.

The calls of libsctp are options: some that change a socket are read with getsockopt().
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from tests.kernel.sends import sockaddr
from tests.kernel.tasks import IPPROTO_SCTP
from tests.kernel.uring import syscall

GETSOCKOPT = 55
SPP_DSCP = 1 << 9

Address = tuple[Any, ...]


class Option(IntEnum):
    """Options of level IPPROTO_SCTP in linux/sctp.h, and the calls of libsctp."""

    RTOINFO = 0
    PEER_ADDR_PARAMS = 9
    GET_ASSOC_ID_LIST = 29
    BINDX_ADD = 100
    PEELOFF = 102
    CONNECTX_OLD = 107
    CONNECTX = 110
    CONNECTX3 = 111


DSTADDRV4 = 7
"""A control message of level IPPROTO_SCTP: one more address of the peer."""


def opened(family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket that sends again after 0.1 s, where the kernel alone would wait for 3 s."""
    sock = socket.socket(family, kind, IPPROTO_SCTP)
    sock.setsockopt(IPPROTO_SCTP, Option.RTOINFO, struct.pack("i3I", 0, 100, 100, 50))
    return sock


def _packed(where: tuple[Address, ...]) -> bytes:
    return b"".join(sockaddr(each) for each in where)


def bindx(sock: socket.socket, *where: Address) -> None:
    """sctp_bindx(3): further addresses, or the first ones."""
    sock.setsockopt(IPPROTO_SCTP, Option.BINDX_ADD, _packed(where))


def connectx(sock: socket.socket, *where: Address, name: Option = Option.CONNECTX) -> None:
    """sctp_connectx(3), by setsockopt()."""
    sock.setsockopt(IPPROTO_SCTP, name, _packed(where))


def asked(sock: socket.socket, name: Option, value: bytes) -> bytes:
    """getsockopt(2) with a value that goes in, which Python's has not."""
    data, length = bytearray(value), bytearray(struct.pack("I", len(value)))
    syscall(GETSOCKOPT, sock.fileno(), IPPROTO_SCTP, name, data, length)
    return bytes(data[: struct.unpack("I", length)[0]])


def connectx3(sock: socket.socket, *where: Address) -> None:
    """sctp_connectx(3) as libsctp does it, by getsockopt()."""
    packed = ctypes.create_string_buffer(_packed(where))
    size = len(packed) - 1
    asked(sock, Option.CONNECTX3, struct.pack("iiQ", 0, size, ctypes.addressof(packed)))


def associations(sock: socket.socket) -> list[int]:
    """The ids of a one-to-many socket's associations."""
    told = sock.getsockopt(IPPROTO_SCTP, Option.GET_ASSOC_ID_LIST, 256)
    (count,) = struct.unpack_from("I", told)
    return list(struct.unpack_from(f"{count}i", told, 4))


def peeled(sock: socket.socket) -> socket.socket:
    """sctp_peeloff(3) of the one association: a socket of its own."""
    (association,) = associations(sock)
    told = asked(sock, Option.PEELOFF, struct.pack("ii", association, 0))
    return socket.socket(fileno=struct.unpack("ii", told)[1])


def set_dscp(sock: socket.socket, tos: int) -> None:
    """The DSCP of every path, which goes before the socket's own."""
    packed = struct.pack("=i128sIHIIIIBx", 0, b"", 0, 0, 0, 0, SPP_DSCP, 0, tos)
    sock.setsockopt(IPPROTO_SCTP, Option.PEER_ADDR_PARAMS, packed)


@contextlib.contextmanager
def listening(family: int, kind: int, *where: Address) -> Iterator[socket.socket]:
    """A listener of either kind at one or several addresses."""
    with opened(family, kind) as sock:
        bindx(sock, *where)
        sock.listen()
        yield sock
