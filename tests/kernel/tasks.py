# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks in cgroups: run a function inside one, and say what its calls returned."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import pickle
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
IPPROTO_SCTP, IPPROTO_UDPLITE, IPPROTO_MPTCP = 132, 136, 262
SOL_IPV6, IPV6_V6ONLY, IPV6_TCLASS = 41, 26, 67
SO_MARK = 36
NOBODY = 65534
PATIENCE = 30.0
"""Seconds after which a condition that is waited for is taken for one that never comes."""
PACE = 0.0005
"""Seconds between looks. Emulated CPUs take turns: one that rests gives its turn to the other,
which is stopped after a tenth of a second by one that looks again."""


def enter(procs: str) -> None:
    """Take this task into a cgroup. Opened as text, the file takes 12 ms in an emulated guest."""
    fd = os.open(procs, os.O_WRONLY)
    os.write(fd, b"0")
    os.close(fd)


def inside(procs: str, work: Callable[[], T]) -> T:
    """What `work` returns in a new task of the cgroup whose cgroup.procs is `procs`.

    What the task raises is raised here, with the traceback that it had there.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reader)
            enter(procs)
            result: tuple[Any, ...]
            try:
                result = ("returned", work())
            except (AssertionError, OSError) as raised:
                result = ("raised", raised, traceback.format_exc())
            with open(writer, "wb") as pipe:
                pickle.dump(result, pipe)
            status = 0
        finally:
            if status:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    _pid, status = os.waitpid(pid, 0)
    assert (status, bool(data)) == (0, True), f"the task ended with {status}"
    kind, value, *trace = pickle.loads(data)
    if kind == "raised":
        raise value from RuntimeError(trace[0])
    return value


def eventually(look: Callable[[], T], expected: T) -> T:
    """What `look` returns once it is what is expected, or at the end of all patience."""
    deadline = time.monotonic() + PATIENCE
    while (found := look()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def start(work: Callable[[], object]) -> int:
    """The pid of a new task that does `work` and exits with 0, or with 1 if it raises."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid


def ended(pid: int) -> int:
    """A task's end: its exit status, or the negative number of the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Watch:
    """What a task that looks again and again has seen; see watching()."""

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared
        self.seen: list[Any] = []

    def looks(self) -> int:
        """How often the task has looked."""
        return int.from_bytes(self._shared[:8], "little")

    def look(self) -> None:
        """Wait until the task has looked once more from beginning to end."""
        enough = self.looks() + 2
        assert eventually(lambda: self.looks() >= enough, True), "the task does not look"


@contextlib.contextmanager
def watching(procs: str, work: Callable[[], Any]) -> Iterator[Watch]:
    """A task that does `work` over and over in the cgroup of `procs` while the block runs.

    After it, `seen` has what the work returned, one entry for each change.
    """
    shared = mmap.mmap(-1, 9)  # how often it has looked, and whether it shall end
    watch = Watch(shared)

    def loop() -> list[Any]:
        seen: list[Any] = []
        while not shared[8]:
            now = work()
            if not seen or seen[-1] != now:
                seen.append(now)
            shared[:8] = (watch.looks() + 1).to_bytes(8, "little")
            time.sleep(PACE)
        return seen

    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:

        def task() -> None:
            os.close(reader)
            found = inside(procs, loop)
            with open(writer, "wb") as out:
                pickle.dump(found, out)

        pid = start(task)
        os.close(writer)
        try:
            watch.look()
            yield watch
            watch.look()
        finally:
            shared[8] = 1
            data = pipe.read()
            status = ended(pid)
        assert status == 0
        watch.seen = pickle.loads(data)


def release() -> tuple[int, int]:
    """The first two numbers of the kernel's release."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int(minor)


def skip(why: str) -> None:
    """pytest.skip(); what executed() starts has no need of pytest, whose import takes seconds."""
    import pytest

    pytest.skip(why)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """ "ok" for a call that returned None or a socket, its value, or the name of its errno."""
    try:
        value = call(*args)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if isinstance(value, socket.socket):
        value.close()
        return "ok"
    return "ok" if value is None else value


def unshare(flags: int) -> None:
    """unshare(2): Python has it from 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def become_nobody() -> None:
    """Give up root and its capabilities."""
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def let_everyone_ping() -> None:
    """Allow SOCK_DGRAM of ICMP; a kernel starts with a range that is empty."""
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as file:
        file.write("0 2147483647")


@contextlib.contextmanager
def sysctl(name: str, value: str) -> Iterator[None]:
    """A file of /proc/sys has another value for the block."""

    def write(content: str) -> None:
        with open(f"/proc/sys/{name}", "w", encoding="ascii") as file:
            file.write(content)

    with open(f"/proc/sys/{name}", encoding="ascii") as file:
        before = file.read()
    write(value)
    try:
        yield
    finally:
        write(before)


def priority(sock: socket.socket) -> int:
    """SO_PRIORITY of a socket."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)


def set_priority(sock: socket.socket, value: int) -> None:
    """setsockopt(SO_PRIORITY)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, value)


def tos(sock: socket.socket) -> int:
    """IP_TOS of a socket."""
    return sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)


def set_tos(sock: socket.socket, value: int | bytes) -> None:
    """setsockopt(IP_TOS)."""
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, value)


def tclass(sock: socket.socket) -> int:
    """IPV6_TCLASS of a socket."""
    return sock.getsockopt(SOL_IPV6, IPV6_TCLASS)


def set_tclass(sock: socket.socket, value: int) -> None:
    """setsockopt(IPV6_TCLASS)."""
    sock.setsockopt(SOL_IPV6, IPV6_TCLASS, value)


def bind(family: int, kind: int, port: int, protocol: int = 0) -> Any:
    """The outcome of binding a fresh socket to a port of every address."""
    with socket.socket(family, kind, protocol) as sock:
        if family == socket.AF_INET6:
            sock.setsockopt(SOL_IPV6, IPV6_V6ONLY, 1)
        return outcome(sock.bind, ("", port))


class _SockaddrIn(ctypes.Structure):
    _fields_ = (
        ("family", ctypes.c_uint16),
        ("port", ctypes.c_uint8 * 2),
        ("address", ctypes.c_uint8 * 4),
        ("zero", ctypes.c_uint8 * 8),
    )


def _ipv4_on_ipv6(call: str, *before: Any) -> int:
    """A call of libc with an AF_INET address on an IPv6 UDP socket; Python would not take it."""
    libc = ctypes.CDLL(None, use_errno=True)
    address = _SockaddrIn(socket.AF_INET, (0, 9), (127, 0, 0, 1))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        size = ctypes.sizeof(address)
        result = getattr(libc, call)(sock.fileno(), *before, ctypes.byref(address), size)
    if result < 0:
        raise OSError(ctypes.get_errno(), call)
    return int(result)


def sendto_ipv4_on_ipv6() -> int:
    """sendto(2) of one byte: the number of bytes sent."""
    return _ipv4_on_ipv6("sendto", b"x", ctypes.c_size_t(1), 0)


def connect_ipv4_on_ipv6() -> int:
    """connect(2): 0."""
    return _ipv4_on_ipv6("connect")
