# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls of a 32-bit task, made by a 64-bit one: `int $0x80` enters the kernel's i386 table.

The kernel cuts every argument to 32 bits, so what one points to lies below 4 GiB.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from enum import IntEnum

MAP_32BIT = 0x40
FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_32BIT

# eax, ebx, ecx, edx, esi, edi and ebp from the seven words that rdi points to.
CODE = bytes.fromhex("5355 8b07 8b5f04 8b4f08 8b570c 8b7710 8b6f18 8b7f14 cd80 5d5bc3")


class Call(IntEnum):
    """Numbers in arch/x86/entry/syscalls/syscall_32.tbl."""

    READ = 3
    SOCKETCALL = 102
    RECVMMSG = 337
    SENDMMSG = 345
    SOCKET = 359
    SOCKETPAIR = 360
    BIND = 361
    CONNECT = 362
    LISTEN = 363
    ACCEPT4 = 364
    GETSOCKOPT = 365
    SETSOCKOPT = 366
    SENDTO = 369
    SENDMSG = 370
    RECVFROM = 371
    RECVMSG = 372
    RECVMMSG_TIME64 = 417


class SocketCall(IntEnum):
    """The first argument of socketcall(2)."""

    SOCKET = 1
    BIND = 2
    CONNECT = 3
    SOCKETPAIR = 8
    RECV = 10
    SENDTO = 11
    SETSOCKOPT = 14
    SENDMSG = 16
    RECVMSG = 17
    ACCEPT4 = 18


class Low:
    """Memory below 4 GiB, with `content` in it or so many bytes of zero."""

    def __init__(self, content: bytes | int, prot: int = mmap.PROT_READ | mmap.PROT_WRITE) -> None:
        data = bytes(content)
        self._map = mmap.mmap(-1, max(len(data), 1), FLAGS, prot)
        self._map[: len(data)] = data
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def bytes(self, count: int) -> bytes:
        """The first bytes of it."""
        return self._map[:count]


_code = Low(CODE, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
_enter = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)(_code.address)


def int80(number: int, *args: int | Low) -> int:
    """What a system call returns; OSError with what it failed with."""
    words = [arg.address if isinstance(arg, Low) else arg & 0xFFFFFFFF for arg in args]
    registers = (ctypes.c_uint32 * 7)(number, *words)
    result = int(_enter(ctypes.addressof(registers)))
    if result < 0:
        raise OSError(-result, f"{os.strerror(-result)} (i386 call {number})")
    return result


def socketcall(call: SocketCall, *args: int | Low) -> int:
    """The one call that all of them went through before Linux 4.3."""
    words = [arg.address if isinstance(arg, Low) else arg & 0xFFFFFFFF for arg in args]
    return int80(Call.SOCKETCALL, call, Low(struct.pack(f"{len(words)}I", *words)))


def socket(family: int, kind: int, protocol: int) -> int:
    """socket(2): a file descriptor."""
    return int80(Call.SOCKET, family, kind, protocol)


def bind(fd: int, address: bytes) -> None:
    """bind(2) to a struct sockaddr."""
    int80(Call.BIND, fd, Low(address), len(address))


def setsockopt(fd: int, level: int, name: int, value: bytes) -> None:
    """setsockopt(2)."""
    int80(Call.SETSOCKOPT, fd, level, name, Low(value), len(value))


def getsockopt(fd: int, level: int, name: int, size: int) -> bytes:
    """getsockopt(2): the bytes of the value."""
    value, length = Low(size), Low(struct.pack("I", size))
    int80(Call.GETSOCKOPT, fd, level, name, value, length)
    return value.bytes(*struct.unpack("I", length.bytes(4)))


def recv(fd: int, size: int, flags: int = 0) -> bytes:
    """recvfrom(2) that does not ask who sent it."""
    data = Low(size)
    return data.bytes(int80(Call.RECVFROM, fd, data, size, flags, 0, 0))


def sendto(fd: int, data: bytes, address: bytes = b"") -> int:
    """sendto(2): how many bytes were sent."""
    where = Low(address) if address else 0
    return int80(Call.SENDTO, fd, Low(data), len(data), 0, where, len(address))


class Message:
    """A struct mmsghdr of one piece, which a struct msghdr is the beginning of."""

    def __init__(self, data: bytes | int, address: bytes = b"", control: bytes = b"") -> None:
        self._data, self._name, self._control = Low(data), Low(address), Low(control)
        size = data if isinstance(data, int) else len(data)
        self._vector = Low(struct.pack("2I", self._data.address, size))
        name = self._name.address if address else 0
        controls = self._control.address if control else 0
        head = struct.pack(
            "8I", name, len(address), self._vector.address, 1, controls, len(control), 0, 0
        )
        self.head = Low(head)

    def received(self, count: int) -> bytes:
        """The first bytes of the data."""
        return self._data.bytes(count)

    @property
    def length(self) -> int:
        """What recvmmsg(2) and sendmmsg(2) tell of this message."""
        return int(struct.unpack("8I", self.head.bytes(32))[7])
