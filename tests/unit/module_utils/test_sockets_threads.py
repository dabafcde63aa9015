# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets that only one thread of a process has, or that are mapped and no longer open.

The processes are real (tests/unit/child.py), and so are their threads and mappings. All sockets
receive into memory here: which do is told apart in test_rings.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _rings, _sockets
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Ring

from tests.unit.tasks import REMEDY, Child, child

pytestmark = pytest.mark.usefixtures("closed")

PIDFD_THREAD = os.O_EXCL
OPEN = os.pidfd_open


def knows_threads() -> bool:
    """Whether this kernel opens a thread: since 6.9."""
    try:
        os.close(OPEN(os.getpid(), PIDFD_THREAD))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise
    return True


def receives(held: Child) -> Ring:
    """The socket of a process, looked at."""
    return Ring(held.pid, f"descriptor {held.descriptor} receives there")


def unseen(held: Child) -> Ring:
    """The socket of a process's thread, which this kernel has no way to look at."""
    return Ring(held.pid, f"only its thread {held.thread} has descriptor {held.descriptor}")


def maps(held: Child) -> Ring:
    """The socket of a process that is mapped and no longer open."""
    return Ring(held.pid, f"it maps socket {held.inode}, whose descriptor is closed")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The tasks that are opened, with the flags."""
    asked: list[tuple[int, int]] = []

    def look(task: int, flags: int = 0) -> int:
        asked.append((task, flags))
        return OPEN(task, flags)

    monkeypatch.setattr(_sockets.os, "pidfd_open", look)
    return asked


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel before 6.9 knows no flag, and no threads."""

    def look(task: int, flags: int = 0) -> int:
        if flags:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return OPEN(task, flags)

    monkeypatch.setattr(_sockets.os, "pidfd_open", look)


class Newer:
    """A kernel since 6.9 opens threads, and duplicates what they have; or refuses to."""

    def __init__(self, has: int, refusal: int = 0) -> None:
        self.has, self.refusal = has, refusal
        self.calls: list[tuple[Any, ...]] = []

    def pidfd_open(self, task: int, flags: int = 0) -> int:
        self.calls.append(("pidfd_open", task, flags))
        return os.open("/dev/null", os.O_RDONLY)

    def syscall(self, call: int, handle: int, descriptor: int, flags: int) -> int:
        assert os.path.samestat(os.fstat(handle), os.stat("/dev/null"))
        self.calls.append((call, descriptor, flags))
        if self.refusal:
            ctypes.set_errno(self.refusal)
            return -1
        return os.dup(self.has)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Newer]:
    """A newer kernel, where the descriptor that is asked for is a socket of ours."""
    with socket.socket() as has:
        kernel = Newer(has.fileno())
        monkeypatch.setattr(_sockets.os, "pidfd_open", kernel.pidfd_open)
        monkeypatch.setattr(_sockets.ctypes, "CDLL", lambda *_args, **_how: kernel)
        yield kernel


# A thread with descriptors of its own.


def test_a_socket_that_only_a_thread_has_is_looked_at_or_told_of_whichever_kernel_this_is(
    receiving: list[int], opened: list[tuple[int, int]]
) -> None:
    knows = knows_threads()
    with child("alone") as held:
        assert held.thread != held.pid
        assert list(_rings._of(held.pid)) == [receives(held) if knows else unseen(held)]
        assert receiving == ([held.inode] if knows else [])
        assert opened == [(held.thread, PIDFD_THREAD)]


def test_a_kernel_that_can_not_open_a_thread_leaves_its_socket_in_doubt(
    receiving: list[int], older: None
) -> None:
    with child("alone") as held:
        assert (list(_rings._of(held.pid)), receiving) == ([unseen(held)], [])


def test_a_kernel_that_opens_a_thread_is_asked_for_its_socket(
    receiving: list[int], newer: Newer
) -> None:
    with child("alone") as held:
        assert list(_rings._of(held.pid)) == [receives(held)]
        assert newer.calls == [
            ("pidfd_open", held.thread, PIDFD_THREAD), (438, held.descriptor, 0),
        ]  # fmt: skip
        assert len(receiving) == 1


@pytest.mark.parametrize("number", [errno.ESRCH, errno.ENOENT, errno.EBADF])
def test_a_thread_that_ended_meanwhile_holds_nothing(
    receiving: list[int], newer: Newer, number: int
) -> None:
    newer.refusal = number
    with child("alone") as held:
        assert (list(_rings._of(held.pid)), receiving) == ([], [])


def test_a_thread_that_may_not_be_looked_at_is_told_with_the_remedy(newer: Newer) -> None:
    newer.refusal = errno.EPERM
    with child("alone") as held:
        with pytest.raises(KernelError) as caught:
            list(_rings._of(held.pid))
        assert str(caught.value) == (
            f"pidfd_getfd(task {held.thread}, descriptor {held.descriptor}): "
            f"EPERM (Operation not permitted). {REMEDY}"
        )


# Threads that share their descriptors.


def test_descriptors_that_all_threads_share_are_looked_at_once(
    receiving: list[int], opened: list[tuple[int, int]]
) -> None:
    with child("together") as held:
        assert len(_sockets._names(f"/proc/{held.pid}/task")) == 2
        assert list(_rings._of(held.pid)) == [receives(held)]
        assert (receiving, opened) == ([held.inode], [(held.pid, 0)])


def test_a_descriptor_that_appears_after_its_first_thread_was_listed_is_the_processes(
    receiving: list[int], older: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second thread lists it, and any kernel gives it out."""
    listed = os.listdir

    def look(path: str) -> list[str]:
        names = listed(path)
        if path == f"/proc/{held.pid}/task/{held.pid}/fd":
            names.remove(str(held.descriptor))
        return names

    with child("together") as held, monkeypatch.context() as patched:
        patched.setattr(_sockets.os, "listdir", look)
        assert (list(_rings._of(held.pid)), receiving) == ([receives(held)], [held.inode])


# The first thread has ended. It has neither descriptors nor mappings then.


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but root may ask for what a thread held that has ended, which is nothing."""

    def nothing(look: Callable[[str], Any]) -> Callable[[str], Any]:
        def ask(path: str) -> Any:
            try:
                return look(path)
            except PermissionError:
                raise FileNotFoundError(errno.ENOENT, path) from None

        return ask

    for name in ("listdir", "readlink"):
        monkeypatch.setattr(_sockets.os, name, nothing(getattr(os, name)))


def test_what_a_process_holds_whose_first_thread_has_ended_is_looked_at_through_another(
    receiving: list[int], newer: Newer, as_root: None
) -> None:
    with child("ended") as held:
        assert list(_rings._of(held.pid)) == [receives(held)]
        assert newer.calls == [
            ("pidfd_open", held.thread, PIDFD_THREAD), (438, held.descriptor, 0),
        ]  # fmt: skip


def test_what_a_process_holds_whose_first_thread_has_ended_is_in_doubt_on_older_kernels(
    receiving: list[int], older: None, as_root: None
) -> None:
    with child("ended") as held:
        assert (list(_rings._of(held.pid)), receiving) == ([unseen(held)], [])


def test_what_a_process_maps_whose_first_thread_has_ended_is_told_by_another(as_root: None) -> None:
    with child("ended_remains") as held:
        held.close()
        assert list(_rings._of(held.pid)) == [maps(held)]


# A mapping whose descriptor is closed.


def test_a_socket_that_is_mapped_is_told_once_while_it_is_open(receiving: list[int]) -> None:
    with child("remains") as held:
        assert (list(_rings._of(held.pid)), receiving) == ([receives(held)], [held.inode])


def test_a_socket_that_is_mapped_and_receives_nothing_there_is_none_while_it_is_open() -> None:
    with child("remains") as held:
        assert list(_rings._of(held.pid)) == []


def test_a_socket_that_is_mapped_is_in_doubt_once_its_descriptor_is_closed(
    receiving: list[int],
) -> None:
    with child("remains") as held:
        held.close()
        assert (list(_rings._of(held.pid)), receiving) == ([maps(held)], [])


def test_a_mapped_socket_that_is_closed_while_it_is_looked_at_is_in_doubt(
    receiving: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was listed, and is gone by the time that a duplicate is asked for."""

    def look(task: int, flags: int = 0) -> int:
        held.close()
        return OPEN(task, flags)

    with child("remains") as held, monkeypatch.context() as patched:
        patched.setattr(_sockets.os, "pidfd_open", look)
        assert (list(_rings._of(held.pid)), receiving) == ([maps(held)], [])
