# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: a raw socket gives a task of the cgroup nothing, however it came and is read."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import compat
from tests.kernel.compat import Call, Low, SocketCall, int80
from tests.kernel.conftest import Group
from tests.kernel.raw import OWN, PAYLOAD, Pair, deliver, frame, held, sniffer
from tests.kernel.tasks import enter, outcome
from tests.kernel.uring import RECV_MULTISHOT, SETUP_SQPOLL, Message, Op, Sqe, ring, syscall

Make = Callable[..., Group]
Way = Callable[[socket.socket], bytes]

SIZE = 4096
MSG_ERRQUEUE = 0x2000
SO_TIMESTAMPING, TX_SOFTWARE = 37, 1 << 1 | 1 << 4
PREADV2, IO_SETUP, IO_GETEVENTS, IO_SUBMIT, RECVMMSG, PIDFD_GETFD = 327, 206, 208, 209, 299, 438


# Sockets with something to read


def _packet() -> tuple[socket.socket, bytes, Any]:
    return sniffer(), frame(), ("lo", OWN)


def _ip(
    family: int, protocol: int, echo_reply: int, address: str
) -> tuple[socket.socket, bytes, Any]:
    sock = socket.socket(family, socket.SOCK_RAW, protocol)
    return sock, bytes([echo_reply, *bytes(7)]) + PAYLOAD, (address, 0)


part = functools.partial
KINDS: dict[str, Callable[[], tuple[socket.socket, bytes, Any]]] = {
    "packet": _packet,
    "IPv4": part(_ip, socket.AF_INET, socket.IPPROTO_ICMP, 0, "127.0.0.1"),
    "IPv6": part(_ip, socket.AF_INET6, socket.IPPROTO_ICMPV6, 129, "::1"),
}


@contextlib.contextmanager
def fed(kind: str, count: int = 1) -> Iterator[socket.socket]:
    """A raw socket with so many packets in its queue, and as many in its queue of errors."""
    sock, packet, address = KINDS[kind]()
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE)
        deliver(lambda: [sock.sendto(packet, address) for _index in range(count)])
        yield sock


# Ways to read


def _errors(sock: socket.socket) -> bytes:
    return sock.recvmsg(SIZE, 256, MSG_ERRQUEUE)[0]


def _recvmmsg(sock: socket.socket) -> bytes:
    message = Message(SIZE)
    syscall(RECVMMSG, sock.fileno(), message.address, 1, 0, 0)
    return message.data


def _readv(sock: socket.socket) -> bytes:
    data = bytearray(SIZE)
    os.readv(sock.fileno(), [data])
    return bytes(data)


def _preadv2(sock: socket.socket) -> bytes:
    """At the file's own position, which is the one way in which a socket takes it."""
    data = ctypes.create_string_buffer(SIZE)
    piece = struct.pack("2Q", ctypes.addressof(data), SIZE)
    syscall(PREADV2, sock.fileno(), piece, 1, -1, -1, 0)
    return data.raw


def _splice(sock: socket.socket) -> bytes:
    reader, writer = os.pipe()
    os.splice(sock.fileno(), writer, SIZE)
    return os.read(reader, SIZE)


def _aio(sock: socket.socket) -> bytes:
    data, context = ctypes.create_string_buffer(SIZE), bytearray(8)
    syscall(IO_SETUP, 1, context)
    control = struct.pack(
        "QIIHhIQQqQII", 0, 0, 0, 0, 0, sock.fileno(), ctypes.addressof(data), SIZE, 0, 0, 0, 0
    )
    held = ctypes.create_string_buffer(control, len(control))
    number = int.from_bytes(context, "little")
    syscall(IO_SUBMIT, number, 1, struct.pack("Q", ctypes.addressof(held)))
    event = bytearray(32)
    syscall(IO_GETEVENTS, number, 1, 1, event, 0)
    result = struct.unpack("QQqq", event)[2]
    if result < 0:
        raise OSError(-result, "aio")
    return data.raw


def _uring(sock: socket.socket, op: Op = Op.RECV, flags: Sqe = Sqe.NONE, setup: int = 0) -> bytes:
    with ring(setup) as made:
        message = Message(SIZE)
        data = ctypes.create_string_buffer(SIZE)
        where = (message.address, 1) if op is Op.RECVMSG else (ctypes.addressof(data), SIZE)
        made.register(sock.fileno())
        made.do(op, 0 if flags & Sqe.FIXED_FILE else sock.fileno(), *where, flags=flags)
        return message.data + data.raw


def _uring_multishot(sock: socket.socket) -> bytes:
    """Into a buffer that the kernel picks among those it was given."""
    data = ctypes.create_string_buffer(SIZE)
    with ring() as made:
        made.do(Op.PROVIDE_BUFFERS, 1, ctypes.addressof(data), SIZE, group=7)
        flags = Sqe.BUFFER_SELECT
        made.do(Op.RECV, sock.fileno(), flags=flags, ioprio=RECV_MULTISHOT, group=7)
    return data.raw


def _by32(number: Call, sock: socket.socket) -> bytes:
    message = compat.Message(SIZE)
    more = {Call.RECVMSG: [0]}.get(number, [1, 0, 0])
    int80(number, sock.fileno(), message.head, *more)
    return message.received(SIZE)


def _read32(sock: socket.socket) -> bytes:
    data = Low(SIZE)
    int80(Call.READ, sock.fileno(), data, SIZE)
    return data.bytes(SIZE)


def _socketcall(call: SocketCall, sock: socket.socket) -> bytes:
    data, message = Low(SIZE), compat.Message(SIZE)
    args = (message.head, 0) if call is SocketCall.RECVMSG else (data, SIZE, 0)
    compat.socketcall(call, sock.fileno(), *args)
    return data.bytes(SIZE) + message.received(SIZE)


WAYS: dict[str, Way] = {
    "recv": lambda sock: sock.recv(SIZE),
    "recvfrom": lambda sock: sock.recvfrom(SIZE)[0],
    "recvmsg": lambda sock: sock.recvmsg(SIZE)[0],
    "recv, peeking": lambda sock: sock.recv(SIZE, socket.MSG_PEEK),
    "recv, truncating": lambda sock: sock.recv(SIZE, socket.MSG_TRUNC),
    "recv, not waiting": lambda sock: sock.recv(SIZE, socket.MSG_DONTWAIT),
    "recvmsg of errors": _errors,
    "recvmmsg": _recvmmsg,
    "read": lambda sock: os.read(sock.fileno(), SIZE),
    "readv": _readv,
    "preadv2": _preadv2,
    "splice": _splice,
    "aio": _aio,
    **{
        f"io_uring, {op.name}{by}": part(_uring, op=op, flags=flags, setup=setup)
        for op in (Op.RECV, Op.RECVMSG, Op.READ)
        for by, flags, setup in (
            ("", Sqe.NONE, 0),
            (" by a worker", Sqe.ASYNC, 0),
            (" by a poller", Sqe.NONE, SETUP_SQPOLL),
            (" of a registered file", Sqe.FIXED_FILE, 0),
        )
    },
    "io_uring, RECV of several": _uring_multishot,
    "32-bit recv": lambda sock: compat.recv(sock.fileno(), SIZE),
    "32-bit read": _read32,
    "32-bit recvmsg": part(_by32, Call.RECVMSG),
    "32-bit recvmmsg": part(_by32, Call.RECVMMSG),
    "32-bit recvmmsg_time64": part(_by32, Call.RECVMMSG_TIME64),
    "32-bit socketcall, recv": part(_socketcall, SocketCall.RECV),
    "32-bit socketcall, recvmsg": part(_socketcall, SocketCall.RECVMSG),
}


def reads(way: str, sock: socket.socket) -> Any:
    """Whether the data is what was sent, or the name of the errno."""
    return outcome(lambda: PAYLOAD in WAYS[way](sock))


@pytest.mark.parametrize("kind", KINDS)
def test_no_way_to_read_a_socket_that_came_along(pair: Pair, kind: str) -> None:
    ours, other = pair
    with fed(kind, count=len(WAYS)) as sock:

        def work() -> dict[str, Any]:
            return {way: reads(way, sock) for way in WAYS}

        assert ours.run(work) == dict.fromkeys(WAYS, "EPERM")
        assert other.run(work) == dict.fromkeys(WAYS, True)


# Ways that a socket comes


@contextlib.contextmanager
def _by_scm_rights(sock: socket.socket) -> Iterator[Callable[[], int]]:
    here, there = socket.socketpair()
    with here, there:
        socket.send_fds(here, [b"x"], [sock.fileno()])
        yield lambda: socket.recv_fds(there, 1, 1)[1][0]


@contextlib.contextmanager
def _by_pidfd(sock: socket.socket) -> Iterator[Callable[[], int]]:
    number, pid = sock.fileno(), os.getpid()
    yield lambda: syscall(PIDFD_GETFD, os.pidfd_open(pid), number, 0)


CARRIERS = {"SCM_RIGHTS": _by_scm_rights, "pidfd_getfd": _by_pidfd}
SOME = ("recv, peeking", "read", "recvmsg of errors")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_socket_that_is_handed_in_is_not_read(pair: Pair, carrier: str, kind: str) -> None:
    ours, other = pair

    def work() -> list[Any]:
        fd = take()
        sock.close()  # this task's copy of what is handed in
        with socket.socket(fileno=fd) as taken:
            return [reads(way, taken) for way in SOME]

    with fed(kind) as sock:
        with CARRIERS[carrier](sock) as take:
            assert ours.run(work) == ["EPERM"] * 3
        with CARRIERS[carrier](sock) as take:
            assert other.run(work) == [True] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_that_was_there_before_is_not_read(group: Make, kind: str) -> None:
    """Made and fed in the cgroup, by a task that is there still when it is held."""
    ours = group("before")

    def work() -> list[Any]:
        with fed(kind) as sock:
            before = reads("recv, peeking", sock)
            held("before")
            return [before, *(reads(way, sock) for way in SOME)]

    assert ours.run(work) == [True, "EPERM", "EPERM", "EPERM"]


@pytest.mark.parametrize("by", ["worker", "poller"])
def test_a_ring_that_comes_along_reads_nothing(pair: Pair, by: str) -> None:
    """The threads that io_uring made for a task move to the cgroup with it."""
    ours, other = pair
    setup, flags = {"worker": (0, Sqe.ASYNC), "poller": (SETUP_SQPOLL, Sqe.NONE)}[by]

    def work() -> list[Any]:
        data = ctypes.create_string_buffer(SIZE)
        with fed("packet") as sock, ring(setup) as made:

            def peek() -> bool:
                into = ctypes.addressof(data)
                made.do(Op.RECV, sock.fileno(), into, SIZE, flags=flags, op_flags=socket.MSG_PEEK)
                return PAYLOAD in data.raw

            found = [outcome(peek)]
            enter(ours.procs)
            return [*found, outcome(peek)]

    assert other.run(work) == [True, "EPERM"]
