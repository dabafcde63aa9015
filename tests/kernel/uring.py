# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As little of io_uring as a test needs: one request is submitted, and its completion awaited."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket as python
import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag

from tests.kernel import tasks

IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427
REGISTER_FILES, REGISTER_PROBE = 2, 8
ENTER_GETEVENTS, ENTER_SQ_WAKEUP = 1, 2
SETUP_SQPOLL = 2
OP_SUPPORTED = 1
OFFSET_SQES = 0x10000000
RECV_MULTISHOT = 2
SETSOCKOPT = 3
"""SOCKET_URING_OP_SETSOCKOPT, a command of Op.URING_CMD (since 6.7)."""


class Op(IntEnum):
    """enum io_uring_op."""

    SENDMSG = 9
    RECVMSG = 10
    ACCEPT = 13
    CONNECT = 16
    READ = 22
    SEND = 26
    RECV = 27
    PROVIDE_BUFFERS = 31
    SOCKET = 45  # since 5.19, as the next
    URING_CMD = 46
    SEND_ZC = 47  # since 6.0
    SENDMSG_ZC = 48  # since 6.1
    BIND = 56  # since 6.11, as the next
    LISTEN = 57


class Sqe(IntFlag):
    """IOSQE_*: `fd` is an index of registered files, a worker does it, a buffer is picked."""

    NONE = 0
    FIXED_FILE = 1
    ASYNC = 1 << 4
    BUFFER_SELECT = 1 << 5


def syscall(number: int, *args: int | bytearray | bytes) -> int:
    """What a system call returns; OSError with what it failed with. A bytearray is written to."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    passed = [
        (ctypes.c_char * len(arg)).from_buffer(arg) if isinstance(arg, bytearray)
        else arg if isinstance(arg, bytes) else ctypes.c_long(arg)
        for arg in args
    ]  # fmt: skip
    result = int(libc.syscall(ctypes.c_long(number), *passed))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())} (call {number})")
    return result


class Message:
    """A struct mmsghdr of one piece, which a struct msghdr is the beginning of."""

    def __init__(self, data: bytes | int, address: bytes = b"", control: bytes = b"") -> None:
        self._data = ctypes.create_string_buffer(bytes(data), len(bytes(data)))
        self._name = ctypes.create_string_buffer(address, len(address))
        self._control = ctypes.create_string_buffer(control, len(control))
        piece = struct.pack("2Q", ctypes.addressof(self._data), len(self._data))
        self._vector = ctypes.create_string_buffer(piece, len(piece))
        name = ctypes.addressof(self._name) if address else 0
        controls = ctypes.addressof(self._control) if control else 0
        packed = struct.pack(
            "QI4x4Qi4xI4x", name, len(address), ctypes.addressof(self._vector), 1,
            controls, len(control), 0, 0,
        )  # fmt: skip
        self.head = ctypes.create_string_buffer(packed, len(packed))
        self.address = ctypes.addressof(self.head)

    @property
    def data(self) -> bytes:
        """All its data."""
        return self._data.raw


class Ring:
    """An instance of io_uring, with one request at a time."""

    def __init__(self, setup: int = 0) -> None:
        params = bytearray(120)
        struct.pack_into("5I", params, 0, 0, 0, setup, 0, 1)  # a poller sleeps after 1 ms
        self.fd = syscall(IO_URING_SETUP, 4, params)
        told = struct.unpack("10I 20I", params)
        entries, ends = told[:2], told[10:]
        self._sq = dict(zip(("head", "tail", "mask", "entries", "flags", "dropped", "array"), ends))
        self._cq = dict(zip(("head", "tail", "mask", "entries", "overflow", "cqes"), ends[10:]))
        size = max(self._sq["array"] + 4 * entries[0], self._cq["cqes"] + 16 * entries[1])
        self._rings = mmap.mmap(self.fd, size)  # both, since 5.4
        self._sqes = mmap.mmap(self.fd, 64 * entries[0], offset=OFFSET_SQES)

    def close(self) -> None:
        """Give it back."""
        self._rings.close()
        self._sqes.close()
        os.close(self.fd)

    def _get(self, offset: int) -> int:
        return int(struct.unpack_from("I", self._rings, offset)[0])

    def _set(self, offset: int, value: int) -> None:
        struct.pack_into("I", self._rings, offset, value)

    def do(
        self, op: Op, fd: int, addr: int = 0, length: int = 0, *, flags: Sqe = Sqe.NONE,
        off: int = 0, op_flags: int = 0, ioprio: int = 0, group: int = 0, index: int = 0,
        addr3: int = 0,
    ) -> int:  # fmt: skip
        """The result of a request; OSError with what it failed with."""
        sqe = struct.pack(
            "BBHiQQIIQHHIQQ", op, flags, ioprio, fd, off, addr, length, op_flags, 0, group, 0,
            index, addr3, 0,
        )  # fmt: skip
        self._sqes[:64] = sqe
        tail = self._get(self._sq["tail"])
        self._set(self._sq["array"] + 4 * (tail & self._get(self._sq["mask"])), 0)
        self._set(self._sq["tail"], tail + 1)
        syscall(IO_URING_ENTER, self.fd, 1, 1, ENTER_GETEVENTS | ENTER_SQ_WAKEUP, 0, 0)
        head = self._get(self._cq["head"])
        place = self._cq["cqes"] + 16 * (head & self._get(self._cq["mask"]))
        result = int(struct.unpack_from("i", self._rings, place + 8)[0])
        self._set(self._cq["head"], head + 1)
        if result < 0:
            raise OSError(-result, f"{os.strerror(-result)} (io_uring {op.name})")
        return result

    def register(self, *fds: int) -> None:
        """Give it files, which Sqe.FIXED_FILE names by their index."""
        packed = bytearray(struct.pack(f"{len(fds)}i", *fds))
        syscall(IO_URING_REGISTER, self.fd, REGISTER_FILES, packed, len(fds))

    def knows(self, op: Op) -> bool:
        """Whether the kernel has an operation."""
        count = 64
        probe = bytearray(16 + 8 * count)
        syscall(IO_URING_REGISTER, self.fd, REGISTER_PROBE, probe, count)
        return bool(struct.unpack_from("BBH", probe, 16 + 8 * op)[2] & OP_SUPPORTED)


@contextlib.contextmanager
def ring(setup: int = 0) -> Iterator[Ring]:
    """An instance for a block."""
    made = Ring(setup)
    try:
        yield made
    finally:
        made.close()


SINCE = {Op.BIND: "6.11", Op.LISTEN: "6.11"}
"""The first release with an operation, for those that not every kernel under test has."""


def need(op: Op) -> None:
    """Skip where the kernel is too old for an operation of SINCE."""
    with ring() as asked:
        if op in SINCE and not asked.knows(op):
            tasks.skip(f"io_uring has no {op.name} before {SINCE[op]}")


def need_setsockopt(family: int) -> None:
    """Skip where the kernel is too old for SOCKET_URING_OP_SETSOCKOPT."""
    with python.socket(family, python.SOCK_RAW, 0) as sock:
        try:
            setsockopt(sock.fileno(), python.SOL_SOCKET, python.SO_SNDBUF, bytes(4))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            tasks.skip("io_uring has no SETSOCKOPT before 6.7")


def socket(family: int, kind: int, protocol: int, setup: int = 0, flags: Sqe = Sqe.NONE) -> int:
    """socket(2): a file descriptor."""
    with ring(setup) as made:
        return made.do(Op.SOCKET, family, 0, protocol, off=kind, flags=flags)


def bind(fd: int, address: bytes, flags: Sqe = Sqe.NONE) -> None:
    """bind(2) to a struct sockaddr."""
    held = ctypes.create_string_buffer(address, len(address))
    with ring() as made:
        made.do(Op.BIND, fd, ctypes.addressof(held), off=len(address), flags=flags)


def setsockopt(fd: int, level: int, name: int, value: bytes, flags: Sqe = Sqe.NONE) -> None:
    """setsockopt(2)."""
    held = ctypes.create_string_buffer(value, len(value))
    with ring() as made:
        made.do(
            Op.URING_CMD, fd, level | name << 32, off=SETSOCKOPT, index=len(value),
            addr3=ctypes.addressof(held), flags=flags,
        )  # fmt: skip
