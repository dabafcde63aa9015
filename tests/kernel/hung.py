# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of bpf(2) that hang, since the kernel waits for a page of memory that never comes."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf

from tests.kernel import tasks
from tests.kernel.conftest import Group

_USERFAULTFD = 323  # on x86-64
_UFFDIO_API, _UFFDIO_REGISTER = 0xC018AA3F, 0xC020AA00
_API, _MODE_MISSING = 0xAA, 1
_CGROUP_INET4_BIND = 8  # enum bpf_attach_type
_pages: list[mmap.mmap] = []  # as long as they are here they are mapped


def state(pid: int) -> str:
    """A task's state, as D where nothing can end it; "" where it has ended."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter if it went after open()
        return ""
    return "" if found == "Z" else found


def waits_for_memory(pid: int) -> bool:
    """Whether a task hangs in a call of this file."""
    return Path(f"/proc/{pid}/wchan").read_text() == "handle_userfault"


def _page() -> int:
    """The address of a page that nobody fills in: whoever touches it waits, the kernel too."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_USERFAULTFD, os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    fcntl.ioctl(fd, _UFFDIO_API, struct.pack("=3Q", _API, 0, 0))
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _pages.append(page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    fcntl.ioctl(fd, _UFFDIO_REGISTER, struct.pack("=4Q", address, mmap.PAGESIZE, _MODE_MISSING, 0))
    return address


def get() -> None:
    """Hang in BPF_OBJ_GET, whose path is on such a page, until this task is killed."""
    path = ctypes.cast(_page(), ctypes.c_char_p)
    _libbpf.library().call("bpf_obj_get_opts", path, None)


def _query(where: Group) -> None:
    """Hang in BPF_PROG_QUERY, which answers while it holds cgroup_mutex, until killed.

    `where` has a program at bind4. What needs that mutex waits in the state D.
    """
    ids = ctypes.cast(_page(), ctypes.POINTER(ctypes.c_uint32))
    query = _libbpf.QueryOpts(ctypes.sizeof(_libbpf.QueryOpts), 0, 0, ids, 64, None)
    fd = os.open(where.directory, os.O_RDONLY)
    _libbpf.library().call("bpf_prog_query_opts", fd, _CGROUP_INET4_BIND, ctypes.byref(query))


class Stall:
    """A task that holds cgroup_mutex from begin() to end()."""

    def __init__(self, where: Group) -> None:
        self._begin, self._go = os.pipe()
        self._pid = tasks.start(lambda: (os.read(self._begin, 1), _query(where)))

    def begin(self) -> None:
        """Any process may call it; it holds the mutex then."""
        os.write(self._go, b"x")
        assert tasks.eventually(lambda: waits_for_memory(self._pid), True)

    def end(self) -> None:
        """The task is killed, which ends its hang."""
        os.kill(self._pid, signal.SIGKILL)
        assert tasks.ended(self._pid) == -signal.SIGKILL


@contextlib.contextmanager
def stalling(where: Group) -> Iterator[Stall]:
    """A task that can hold cgroup_mutex; it has ended after the block, however that ends."""
    stall = Stall(where)
    try:
        yield stall
    finally:
        with contextlib.suppress(ProcessLookupError):
            stall.end()
        os.close(stall._begin)
        os.close(stall._go)
