# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give the sockets that a cgroup's tasks hold already the declared SO_PRIORITY.

It is set on a duplicate of each. The programs of the cgroup that a socket was made in
let pass what they declare themselves, and refuse anything else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator

from ansible_collections.linux.cgnet.plugins.module_utils import _sockets, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Left, Target

Owner = Callable[[int], int]
"""The id of the cgroup whose policy governs a socket's priority, by descriptor; 0: none does."""

_SO_NETNS_COOKIE = 71  # since 5.14 (e8b9eab99232)
_PASSES = 10
_OPTION = (socket.SOL_SOCKET, socket.SO_PRIORITY)


def _set(held: socket.socket, value: bytes) -> int:
    """The errno of setting SO_PRIORITY, 0 where it was set. Nothing is changed by no bytes."""
    try:
        held.setsockopt(*_OPTION, value)
    except OSError as error:
        return error.errno or 0
    return 0


def _refused(held: socket.socket) -> bool:
    """Whether a program refuses the option whatever its value: the kernel says EINVAL itself."""
    return _set(held, b"") == errno.EPERM


@contextlib.contextmanager
def unheld(mount: str) -> Iterator[None]:
    """Be no task of a cgroup whose policy refuses SO_PRIORITY, which lsm_cgroup would do.

    The root cgroup, which has no policy, is entered for that long where it is needed.
    Raises KernelError where that does not help.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        if not _refused(probe):
            yield
            return
        ours = f"{mount}{_path()}"
        _enter(mount)
        try:
            with socket.socket(socket.AF_UNIX) as other:  # of the root cgroup
                refused = _refused(other)
            if refused:
                raise KernelError(
                    "setsockopt(SO_PRIORITY)", errno.EPERM, "A policy on this cgroup refuses it"
                )
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):  # it went when its last task left it
                _enter(ours)


def _path() -> str:
    """This process's cgroup: its path below the mount, beginning with "/"."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
        return "".join(line[3:].rstrip("\n") for line in lines if line.startswith("0::"))


def _enter(cgroup: str) -> None:
    path = f"{cgroup}/cgroup.procs"
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, b"0")
    except OSError as error:
        remedy = "Run the module in a cgroup without a policy"
        raise KernelError(f"writing {path}", error.errno or 0, remedy) from error
    finally:
        os.close(fd)


def _differing(target: Target) -> Iterator[tuple[_sockets.Holding, socket.socket]]:
    """The sockets of a target that have another priority, each once, but for this run's own."""
    seen: set[int] = set()
    for process in sorted(_sockets.processes(target.cgroup, target.nearer) - _worker.own()):
        for each in _sockets.held(process):
            if each.inode in seen:
                continue
            seen.add(each.inode)
            if each.socket is None:
                raise HostError(
                    f"{target.cgroup.path}: only thread {each.thread} of process {process} has "
                    f"the socket at descriptor {each.descriptor}, which needs Linux >= 6.9",
                    "Restart that process under the policy, or leave out retrofit",
                )
            if target.netns and _netns(each.socket) != target.netns:
                continue
            if each.socket.getsockopt(*_OPTION) & 0xFFFFFFFF != target.priority:
                yield each, each.socket


def _netns(held: socket.socket) -> int:
    return int.from_bytes(held.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


def look(target: Target, owner: Owner | None) -> tuple[int, tuple[Left, ...]]:
    """How many sockets lack the priority and can be given it, and which can't.

    Without `owner`, as long as the cgroup's own policy does not govern, which of them can't
    is not to be told: all are counted. Changes nothing.
    Raises KernelError or HostError where the sockets can't be looked at.
    """
    lacking, left = 0, []
    for each, held in _differing(target):
        # The programs that are asked mark the socket as theirs.
        if owner and (_refused(held) or owner(held.fileno()) not in (target.cgroup.id, 0)):
            left.append(Left(target.cgroup.path, each.process, each.descriptor))
        else:
            lacking += 1
    return lacking, tuple(left)


def give(target: Target) -> None:
    """Set the priority of each that can be given it, until none is left or some passes are over.

    A task may be handed another one meanwhile. Raises as look() does.
    """
    value = target.priority.to_bytes(4, sys.byteorder)
    for _time in range(_PASSES):
        errors = [_set(held, value) for _each, held in _differing(target)]
        for error in errors:
            if error not in (0, errno.EPERM):
                raise KernelError("setsockopt(SO_PRIORITY)", error)
        if 0 not in errors:
            break
