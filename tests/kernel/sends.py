# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to send a message with a control message, packets written by hand, and who receives."""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from tests.kernel import compat, tasks, uring
from tests.kernel.compat import Call, Low, SocketCall, int80
from tests.kernel.tasks import outcome
from tests.kernel.uring import SETUP_SQPOLL, Op, Sqe, syscall

if TYPE_CHECKING:
    from tests.kernel.conftest import Group

SENDMSG, SENDMMSG = 46, 307
MMSGHDR, MMSGHDR32 = 64, 32
IPV6_FLOWINFO_SEND, IPV6_HDRINCL, IPV6_RECVTCLASS = 33, 36, 66
V4, V6 = "127.0.0.1", "::1"
UDP = 17


class Control(NamedTuple):
    """A control message that holds an int."""

    level: int
    name: int
    value: int

    def carried(self) -> tuple[int, int, bytes]:
        """As Python's sendmsg() takes it."""
        return self.level, self.name, struct.pack("i", self.value)

    def packed(self) -> bytes:
        """A struct cmsghdr with its data."""
        return struct.pack("QIIi4x", 20, self.level, self.name, self.value)

    def packed32(self) -> bytes:
        """The same as a 32-bit task has it."""
        return struct.pack("IIIi", 16, self.level, self.name, self.value)


class Controls:
    """Several control messages together, each as Python's sendmsg() takes it."""

    def __init__(self, *parts: tuple[int, int, bytes]) -> None:
        self.parts = parts

    def packed(self) -> bytes:
        """One struct cmsghdr with its data after another."""
        return self._packed("QII", 8)

    def packed32(self) -> bytes:
        """The same as a 32-bit task has them."""
        return self._packed("III", 4)

    def _packed(self, header: str, align: int) -> bytes:
        size = struct.calcsize(header)
        return b"".join(
            struct.pack(header, size + len(data), level, name) + data + bytes(-len(data) % align)
            for level, name, data in self.parts
        )


def mark(family: int, value: int) -> Control:
    """The TOS or the traffic class."""
    if family == socket.AF_INET:
        return Control(socket.IPPROTO_IP, socket.IP_TOS, value)
    return Control(tasks.SOL_IPV6, tasks.IPV6_TCLASS, value)


def sockaddr(where: tuple[Any, ...], flowinfo: int = 0) -> bytes:
    """A struct sockaddr_in or sockaddr_in6."""
    host, port = where[:2]
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return struct.pack(
            "=H2sI16sI", socket.AF_INET6, port.to_bytes(2, "big"), socket.htonl(flowinfo), packed, 0
        )
    packed = socket.inet_aton(host)
    return struct.pack("=H2s4s8x", socket.AF_INET, port.to_bytes(2, "big"), packed)


# Ways: each sends messages of one byte with a control message, and returns how many.

Some = Union[Control, Controls]
Way = Callable[[int, bytes, Some], int]
TWO = 2


def _sendmsg(fd: int, to: bytes, control: Some) -> int:
    message = uring.Message(b"x", to, control.packed())
    return syscall(SENDMSG, fd, message.address, 0)


def sendmmsg(fd: int, to: bytes, *controls: Some) -> int:
    """A message for each control message, all of them to one address."""
    messages = [uring.Message(b"x", to, control.packed()) for control in controls]
    heads = bytearray(b"".join(message.head.raw for message in messages))
    return syscall(SENDMMSG, fd, heads, len(messages), 0)


def _uring(fd: int, to: bytes, control: Some, flags: Sqe = Sqe.NONE, setup: int = 0) -> int:
    message = uring.Message(b"x", to, control.packed())
    with uring.ring(setup) as made:
        made.register(fd)
        return made.do(Op.SENDMSG, fd, message.address, 1, flags=flags)


def _sendmsg32(fd: int, to: bytes, control: Some) -> int:
    message = compat.Message(b"x", to, control.packed32())
    return int80(Call.SENDMSG, fd, message.head, 0)


def _socketcall(fd: int, to: bytes, control: Some) -> int:
    message = compat.Message(b"x", to, control.packed32())
    return compat.socketcall(SocketCall.SENDMSG, fd, message.head, 0)


def _sendmmsg32(fd: int, to: bytes, control: Some) -> int:
    messages = [compat.Message(b"x", to, control.packed32()) for _each in range(TWO)]
    heads = Low(b"".join(message.head.bytes(MMSGHDR32) for message in messages))
    return int80(Call.SENDMMSG, fd, heads, len(messages), 0)


WAYS: dict[str, Way] = {
    "sendmsg": _sendmsg,
    "sendmmsg": lambda fd, to, control: sendmmsg(fd, to, *[control] * TWO),
    "io_uring": _uring,
    "io_uring by a worker": functools.partial(_uring, flags=Sqe.ASYNC),
    "io_uring by a poller": functools.partial(_uring, setup=SETUP_SQPOLL),
    "32-bit sendmsg": _sendmsg32,
    "32-bit sendmmsg": _sendmmsg32,
    "32-bit socketcall": _socketcall,
}
SENT = {way: TWO if "mmsg" in way else 1 for way in WAYS}
"""How many messages each way sends."""


def by_every_way(sock: socket.socket, to: tuple[Any, ...], control: Some) -> dict[str, Any]:
    """The outcome of each way."""
    return {way: outcome(send, sock.fileno(), sockaddr(to), control) for way, send in WAYS.items()}


def set_by_32_bit(sock: socket.socket, option: Control) -> Any:
    """The outcome of setsockopt() as a 32-bit task does it."""
    value = struct.pack("i", option.value)
    return outcome(compat.setsockopt, sock.fileno(), option.level, option.name, value)


# Packets written by hand


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def written(to: tuple[Any, ...], tos: int) -> bytes:
    """An IP packet of 28 or 48 bytes that carries an empty UDP message to an address."""
    head = struct.pack("!4H", 9, to[1], 8, 0)
    if ":" not in to[0]:  # the kernel fills in the checksum
        address = socket.inet_aton(to[0])
        return struct.pack("!BBHIBBH4s4s", 0x45, tos, 28, 0, 64, UDP, 0, address, address) + head
    address = socket.inet_pton(socket.AF_INET6, to[0])
    sum_ = _checksum(address + address + struct.pack("!II", 8, UDP) + head)
    packet = struct.pack("!IHBB16s16s", 6 << 28 | tos << 20, 8, UDP, 64, address, address)
    return packet + head[:6] + sum_.to_bytes(2, "big")


def send_written(to: tuple[Any, ...], tos: int) -> Any:
    """The outcome of sending one by a raw socket."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        return outcome(sock.sendto, written(to, tos), (to[0], 0))


# Receiving


class Receiver:
    """A UDP socket that tells each message's TOS or traffic class."""

    def __init__(self, family: int) -> None:
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((V4 if family == socket.AF_INET else V6, 0))
        self.sock.setblocking(False)
        if family == socket.AF_INET:
            self.sock.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        else:
            self.sock.setsockopt(tasks.SOL_IPV6, IPV6_RECVTCLASS, 1)
        self.to = self.sock.getsockname()[:2]

    def got(self, least: int = 0) -> list[int]:
        """Of each message that came since it was last asked; so many are waited for."""
        found: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                if len(found) < least:
                    select.select([self.sock], [], [], tasks.PATIENCE)
                _data, (control,), _flags, _from = self.sock.recvmsg(8, 64)
                found.append(control[2][0])
        return found


@contextlib.contextmanager
def receiver(family: int) -> Iterator[Receiver]:
    """A receiver for a block."""
    made = Receiver(family)
    with made.sock:
        yield made


def made_in(group: Group, make: Callable[[], list[socket.socket]]) -> list[socket.socket]:
    """Sockets that a task of a cgroup has made and handed out: they stay that cgroup's."""
    here, there = socket.socketpair()
    with here, there:

        def work() -> list[tuple[int, int, int]]:
            made = make()
            socket.send_fds(there, [b"x"], [sock.fileno() for sock in made])
            return [(sock.family, sock.type, sock.proto) for sock in made]

        shapes = group.run(work)  # AF_ALG does not tell it by its descriptor
        _data, fds, _flags, _from = socket.recv_fds(here, 1, 8)
    return [socket.socket(*shape, fd) for shape, fd in zip(shapes, fds, strict=True)]
