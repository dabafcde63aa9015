# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets that a cgroup's tasks hold already, looked at through pidfd_getfd(2).

No hook sees what a task reads from memory that it shares with the kernel. Such
rings are made by system calls that are refused to a task that is held, so only
those can be there that came from before, or with a task that was moved in.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._libbpf import closing
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Ring

T = TypeVar("T")

_PIDFD_GETFD = 438  # the same on every architecture; since 5.6 (8649c322f75c)
_PIDFD_THREAD = os.O_EXCL  # since 6.9 (64bef697d33b)
_AF_XDP, _SOCK_PACKET = 44, 10  # the latter has no rings
_SOL_PACKET, _PACKET_VERSION = 263, 10
_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EBADF)
"""What a task, a descriptor or a cgroup that went meanwhile gives."""
_ENDED = -1
_REMEDY = "It needs CAP_SYS_PTRACE, and kernel.yama.ptrace_scope below 3"
_INODE = re.compile(r"socket:\[(\d+)\]")


def _looking(call: str, look: Callable[[], T], gone: T, remedy: str = _REMEDY) -> T:
    """What a look at another process or a cgroup returns, or `gone` where that went."""
    try:
        return look()
    except OSError as error:
        if error.errno in _GONE:
            return gone
        raise KernelError(call, error.errno or 0, remedy) from error


def _read(name: str, directory: int) -> list[int]:
    """The numbers in a file of a cgroup; none where the cgroup was removed meanwhile."""

    def look() -> list[int]:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)) as file:
            return [int(line) for line in file]

    return _looking(f"reading {name}", look, [], remedy="")


def _processes(cgroup: Cgroup) -> set[int]:
    """The processes that have a task in a cgroup or below it."""
    found: set[int] = set()
    for _path, _directories, _files, directory in os.fwalk(".", dir_fd=cgroup.fd):
        try:
            members = _read("cgroup.procs", directory)
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            # It holds threads, of processes that are listed above it.
            threads = _read("cgroup.threads", directory)
            members = [_process(thread) if thread else 0 for thread in threads]
        if 0 in members:
            raise HostError(
                f"{cgroup.path} has a process of another pid namespace, which can't be looked at",
                "Run the module in the host's pid namespace",
            )
        found.update(members)
    return found - {_ENDED}


def _process(thread: int) -> int:
    """The process of a thread; _ENDED where that has ended."""
    path = f"/proc/{thread}/status"

    def look() -> int:
        with open(path, encoding="utf-8", errors="replace") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))

    return _looking(f"reading {path}", look, _ENDED)


def _names(folder: str) -> list[int]:
    """The numbers in a directory of /proc."""
    names: list[str] = _looking(f"listing {folder}", lambda: os.listdir(folder), [])
    return sorted(map(int, names))


def _inode(descriptor: str) -> int | None:
    """The inode of the socket at a path such as /proc/1/fd/3; None for what is no socket."""
    found = _looking(f"reading {descriptor}", lambda: os.readlink(descriptor), "")
    match = _INODE.fullmatch(found)
    return int(match[1]) if match else None


def _mapped(process: int, threads: list[int]) -> set[int]:
    """The inodes of the sockets that a process has mapped: any thread that lives tells."""
    for thread in threads:
        path = f"/proc/{process}/task/{thread}/maps"

        def look(path: str = path) -> str:
            with open(path, encoding="utf-8", errors="replace") as mappings:
                return mappings.read()

        text = _looking(f"reading {path}", look, "")
        if text:
            # The name is the sixth column; a file's begins with "/".
            names = (line.split(maxsplit=5)[5:] for line in text.splitlines())
            found = (_INODE.fullmatch(name[0]) for name in names if name)
            return {int(match[1]) for match in found if match}
    return set()


def _fetch(process: int, thread: int, descriptor: int, inode: int) -> socket.socket | None:
    """A duplicate of a socket, to be closed; None where it is gone.

    Raises KernelError with EINVAL where only a thread has it, and the kernel is older than 6.9.
    """
    shared = _inode(f"/proc/{process}/fd/{descriptor}") == inode

    def look() -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        task, flags = (process, 0) if shared else (thread, _PIDFD_THREAD)
        with closing(os.pidfd_open(task, flags)) as handle:
            fd = libc.syscall(_PIDFD_GETFD, handle, descriptor, 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
        # Of whatever family: to find it out, Python would ask for a name, which AF_XDP has not.
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, fd)

    return _looking(f"pidfd_getfd(task {thread}, descriptor {descriptor})", look, None)


def _receives_into_memory(held: socket.socket) -> bool:
    """Whether a socket fills a ring, or may: AF_XDP does nothing else."""
    try:
        family = held.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
        if family == _AF_XDP:
            return True
        kind = held.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        if family != socket.AF_PACKET or kind == _SOCK_PACKET:
            return False
        if not held.getsockname()[1]:  # with protocol 0 nothing comes
            return False
        # Setting the version that it has changes nothing, and fails where there is a ring.
        version = held.getsockopt(_SOL_PACKET, _PACKET_VERSION)
        held.setsockopt(_SOL_PACKET, _PACKET_VERSION, version)
    except OSError:
        return True  # EBUSY; or EPERM of a policy on the socket's cgroup, which hides the answer
    return False


def _of(process: int) -> Iterator[Ring]:
    """The rings of one process."""
    threads = _names(f"/proc/{process}/task")
    seen: set[int] = set()
    for thread in threads:  # each may have descriptors of its own (CLONE_FILES)
        folder = f"/proc/{process}/task/{thread}/fd"
        for descriptor in _names(folder):
            inode = _inode(f"{folder}/{descriptor}")
            if inode is None or inode in seen:
                continue
            try:
                held = _fetch(process, thread, descriptor, inode)
            except KernelError as error:
                if error.errno != errno.EINVAL:
                    raise
                seen.add(inode)
                yield Ring(process, f"only its thread {thread} has descriptor {descriptor}")
                continue
            if held is not None:
                with held:
                    # Another one, where the descriptor was reused meanwhile.
                    seen.add(os.fstat(held.fileno()).st_ino)
                    if _receives_into_memory(held):
                        yield Ring(process, f"descriptor {descriptor} receives there")
    for inode in sorted(_mapped(process, threads) - seen):
        yield Ring(process, f"it maps socket {inode}, whose descriptor is closed")


def rings(cgroup: Cgroup) -> tuple[Ring, ...]:
    """The sockets of a cgroup's tasks that receive into memory, or may, by process.

    Raises KernelError or HostError where they can't be looked at.
    """
    return tuple(ring for process in sorted(_processes(cgroup)) for ring in _of(process))
