# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets that a cgroup's tasks hold already, duplicated through pidfd_getfd(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._libbpf import closing
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._worker import doing

T = TypeVar("T")

_PIDFD_GETFD = 438  # the same on every architecture; since 5.6 (8649c322f75c)
_PIDFD_THREAD = os.O_EXCL  # since 6.9 (64bef697d33b)
_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EBADF)
"""What a task, a descriptor or a cgroup that went meanwhile gives."""
_ENDED = -1
_REMEDY = "It needs CAP_SYS_PTRACE, and kernel.yama.ptrace_scope below 3"
_INODE = re.compile(r"socket:\[(\d+)\]")


class Holding(NamedTuple):
    """A socket that a process holds: by which thread and descriptor, and its inode.

    `socket` is a duplicate that is open until the next one is asked for, or None where
    only a thread has it, and the kernel is older than 6.9.
    """

    process: int
    thread: int
    descriptor: int
    inode: int
    socket: socket.socket | None


def _looking(call: str, look: Callable[[], T], gone: T, remedy: str = _REMEDY) -> T:
    """What a look at another process or a cgroup returns, or `gone` where that went."""
    try:
        with doing(call):
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


def processes(cgroup: Cgroup, without: frozenset[int] = frozenset()) -> set[int]:
    """The processes that have a task in a cgroup or below it; `without` are cgroups to pass over.

    Raises KernelError or HostError where they can't be told.
    """
    found: set[int] = set()
    for _path, directories, _files, directory in os.fwalk(".", dir_fd=cgroup.fd):
        if os.fstat(directory).st_ino in without:
            directories.clear()  # what is below it too
            continue
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


def mapped(process: int) -> set[int]:
    """The inodes of the sockets that a process has mapped: any thread that lives tells."""
    for thread in _names(f"/proc/{process}/task"):
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


def held(process: int) -> Iterator[Holding]:
    """The sockets of one process, each once. Raises KernelError where they can't be looked at."""
    seen: set[int] = set()
    for thread in _names(f"/proc/{process}/task"):  # each may have its own (CLONE_FILES)
        folder = f"/proc/{process}/task/{thread}/fd"
        for descriptor in _names(folder):
            inode = _inode(f"{folder}/{descriptor}")
            if inode is None or inode in seen:
                continue
            try:
                duplicate = _fetch(process, thread, descriptor, inode)
            except KernelError as error:
                if error.errno != errno.EINVAL:
                    raise
                seen.add(inode)
                yield Holding(process, thread, descriptor, inode, None)
                continue
            if duplicate is not None:
                with duplicate:
                    # Another one, where the descriptor was reused meanwhile.
                    inode = os.fstat(duplicate.fileno()).st_ino
                    seen.add(inode)
                    yield Holding(process, thread, descriptor, inode, duplicate)
