# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task may do with a socket under every control at once, and how sockets are handed on.

A control is asked by programs that run for the cgroup of the task that made the
socket (cgroup/*), by ones that run for the cgroup of the task that calls (lsm_cgroup),
or by both. uses() does what each of them is asked about; expected() says what comes of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pickle
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from tests.kernel import tasks
from tests.kernel.flows import MAPPED
from tests.kernel.sends import V6, Control, mark, set_by_32_bit
from tests.kernel.tasks import outcome, priority, set_priority, set_tclass
from tests.kernel.uring import syscall

if TYPE_CHECKING:  # what executed() starts does without the collection's own code
    from tests.kernel.conftest import Group
    from tests.kernel.packets import Packet

T = TypeVar("T")

OURS, MINE = 0x10010, 3
AF21, EF = 0x48, 0xB8
LISTED, UNLISTED = 8000, 8080
POLICY: dict[str, Any] = {
    "priority": "1:10",
    "tos": ["af21"],
    "bind_ports": {"tcp": [LISTED], "udp": [LISTED]},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_KEEPALIVE"]},
}
"""Every control, with values that an unprivileged task could pass by without it."""

KEEPALIVE = Control(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
PRIORITY = Control(socket.SOL_SOCKET, socket.SO_PRIORITY, MINE)
PIDFD_GETFD = 438
FIRST = 3
"""The descriptor of the first socket that a service manager passes on (sd_listen_fds(3))."""

STREAM, DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
KINDS = (STREAM, DGRAM)


def made(kind: int = DGRAM) -> socket.socket:
    """A socket for uses()."""
    return socket.socket(socket.AF_INET6, kind)


def options(sock: socket.socket) -> dict[str, Any]:
    """The outcome of setting what is refused: by a 64-bit call and by a 32-bit one."""
    return {
        "SO_PRIORITY": outcome(set_priority, sock, MINE),
        "SO_PRIORITY, 32-bit": set_by_32_bit(sock, PRIORITY),
        "a denied option": outcome(sock.setsockopt, *KEEPALIVE),
        "a denied option, 32-bit": set_by_32_bit(sock, KEEPALIVE),
        "a class": outcome(set_tclass, sock, EF),
        "a listed class": outcome(set_tclass, sock, AF21),
    }


def uses(sock: socket.socket) -> dict[str, Any]:
    """The outcome of each use of an IPv6 socket of TCP or UDP that was only made so far."""

    def reach(address: str) -> Any:
        if sock.type == STREAM:
            return outcome(sock.connect, (address, 9))
        return outcome(sock.sendto, b"x", (address, 9))

    found = {
        "an unlisted port": outcome(sock.bind, ("::", UNLISTED)),
        "a listed port": outcome(sock.bind, ("::", LISTED)),
        **options(sock),
        "IPv6": reach(V6),
        "IPv4": reach(MAPPED),
    }
    if sock.type == DGRAM:
        control = [mark(socket.AF_INET6, EF).carried()]
        found["a message of a class"] = outcome(sock.sendmsg, [b"x"], control, 0, (V6, 9))
    return found


def expected_options(maker: bool, caller: bool) -> dict[str, Any]:
    """What options() returns: of POLICY for the cgroup of the socket's maker, of the caller."""
    return {
        "SO_PRIORITY": "EPERM" if maker or caller else "ok",
        "SO_PRIORITY, 32-bit": "EPERM" if caller else "ok",
        "a denied option": "EPERM" if maker or caller else "ok",
        "a denied option, 32-bit": "EPERM" if caller else "ok",
        "a class": "EPERM" if maker else "ok",
        "a listed class": "ok",
    }


def expected(maker: bool, caller: bool, kind: int = DGRAM) -> dict[str, Any]:
    """What uses() returns, likewise."""
    reached = 1 if kind == DGRAM else "ECONNREFUSED"
    found = {
        "an unlisted port": "EPERM" if maker else "ok",
        "a listed port": "ok" if maker else "EINVAL",  # it is bound to the other one
        **expected_options(maker, caller),
        "IPv6": reached,
        "IPv4": "EAFNOSUPPORT" if maker else reached,
    }
    if kind == DGRAM:
        found["a message of a class"] = "EPERM" if maker else 1
    return found


def carried(maker: bool, caller: bool) -> set[int]:
    """The priority of the packets that uses() sends: not what a 32-bit call has set."""
    if maker:
        return {OURS}
    return {0} if caller else {MINE}


def sent_with(packets: list[Packet]) -> set[int]:
    """The priorities of packets, but for those of the class that POLICY lets not leave."""
    return {packet.priority for packet in packets if packet.tos != EF}


def fresh(kind: int = DGRAM) -> dict[str, Any]:
    """The same for a socket of the task's own, and what it is made with."""
    with made(kind) as sock:
        return {
            "AF_INET": outcome(socket.socket, socket.AF_INET),
            "born with": priority(sock),
            **uses(sock),
        }


def expected_fresh(held: bool, kind: int = DGRAM) -> dict[str, Any]:
    """What fresh() returns."""
    return {
        "AF_INET": "EAFNOSUPPORT" if held else "ok",
        "born with": OURS if held else 0,
        **expected(held, held, kind),
    }


HELD, FREE = expected_fresh(True), expected_fresh(False)


# A socket on its way from one task to another


@contextlib.contextmanager
def offered(maker: Group, make: Callable[[], socket.socket]) -> Iterator[socket.socket]:
    """Where a task of `maker` offers a socket that it made, and holds while the block runs."""
    here, there = socket.socketpair()

    def work() -> None:
        with make() as sock:
            told = struct.pack("2i", os.getpid(), sock.fileno())
            socket.send_fds(there, [told], [sock.fileno()])
            there.recv(1)  # until the other end is closed

    def task() -> None:
        here.close()
        maker.run(work)

    with here:
        with there:
            pid = tasks.start(task)
        yield here
    assert tasks.ended(pid) == 0


def _by_scm_rights(here: socket.socket) -> socket.socket:
    _told, fds, _flags, _from = socket.recv_fds(here, 8, 1)
    return socket.socket(fileno=fds[0])


def _by_pidfd(here: socket.socket) -> socket.socket:
    pid, fd = struct.unpack("2i", here.recv(8))
    return socket.socket(fileno=syscall(PIDFD_GETFD, os.pidfd_open(pid), fd, 0))


CARRIERS: dict[str, Callable[[socket.socket], socket.socket]] = {
    "SCM_RIGHTS": _by_scm_rights,
    "pidfd_getfd": _by_pidfd,
}
"""Ways to take what is offered()."""


# A thread and a program of one's own


def by_thread(work: Callable[[], T]) -> T:
    """What `work` returns in a new thread of this task."""
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


_PROGRAM = "import pickle, sys; pickle.dump(pickle.load(sys.stdin.buffer)(), sys.stdout.buffer)"


def executed(work: Callable[[], T], passed: socket.socket | None = None) -> T:
    """What `work`, which is found by its name, returns in a program that this task executes.

    It is started by posix_spawn(3), which is vfork() and exec, with `passed` as the
    descriptor FIRST, which is how a service manager passes sockets on.
    """
    reader, stdin = os.pipe()
    out, stdout = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
    if passed:
        actions.append((os.POSIX_SPAWN_DUP2, passed.fileno(), FIRST))
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "LISTEN_FDS": "1"}
    command = [sys.executable, "-c", _PROGRAM]
    pid = os.posix_spawn(sys.executable, command, environment, file_actions=actions)
    os.close(reader)
    os.close(stdout)
    with open(stdin, "wb") as pipe:
        pickle.dump(work, pipe)
    with open(out, "rb") as pipe:
        data = pipe.read()
    assert tasks.ended(pid) == 0
    result: T = pickle.loads(data)
    return result


def use_passed() -> dict[str, Any]:
    """uses() of the socket that a service manager has passed on; for executed()."""
    with socket.socket(fileno=FIRST) as sock:
        return uses(sock)
