# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets that a real process holds, each looked at through a duplicate of it.

All of them receive into memory here: which do is told apart in test_rings.py.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _rings, _sockets
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Ring

from tests.descriptors import descriptors
from tests.unit.tasks import NOBODY, REMEDY, process, tasks

pytestmark = pytest.mark.usefixtures("closed")


def receives(pid: int, *sockets: int) -> list[Ring]:
    """The rings of a process, by their descriptors."""
    return [Ring(pid, f"descriptor {number} receives there") for number in sockets]


def inodes(*sockets: int) -> list[int]:
    """The inodes of descriptors of this process."""
    return [os.fstat(number).st_ino for number in sockets]


def unanswered(monkeypatch: pytest.MonkeyPatch, number: int) -> list[tuple[int, ...]]:
    """Let pidfd_getfd() fail with an errno; the calls, without the handle."""
    asked: list[tuple[int, ...]] = []

    class Libc:
        def syscall(self, call: int, _handle: int, *args: int) -> int:
            asked.append((call, *args))
            ctypes.set_errno(number)
            return -1

    monkeypatch.setattr(_sockets.ctypes, "CDLL", lambda *_args, **_how: Libc())
    return asked


def test_each_socket_of_a_process_is_looked_at_once_by_its_own_descriptor(
    tmp_path: Path, receiving: list[int]
) -> None:
    one, two = socket.socketpair()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with one, two, udp, open(tmp_path / "file", "wb") as file:
        # Of `one` the process has a duplicate too; `two` it has not got.
        also = os.dup(one.fileno())
        with process(one.fileno(), udp.fileno(), also, file.fileno()) as pid:
            found = list(_rings._of(pid))
        held = sorted([one.fileno(), udp.fileno()])
        assert (found, receiving) == (receives(pid, *held), inodes(*held))
        os.close(also)


def test_a_socket_is_open_for_no_longer_than_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = socket.socketpair()
    kept: list[socket.socket] = []

    def looked(held: socket.socket) -> bool:
        kept.append(held)
        return held.fileno() < 0

    monkeypatch.setattr(_rings, "_receives_into_memory", looked)
    with one, two, process(one.fileno(), two.fileno()) as pid:
        before = descriptors()
        assert list(_rings._of(pid)) == []
        assert [held.fileno() for held in kept] == [-1, -1]
        assert descriptors() <= before


def test_the_kernel_is_asked_for_sockets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = unanswered(monkeypatch, errno.EBADF)
    with socket.socket() as sock, open(tmp_path / "file", "wb") as file:
        with process(sock.fileno(), file.fileno()) as pid:
            assert list(_rings._of(pid)) == []
        assert asked == [(438, sock.fileno(), 0)]


@pytest.mark.parametrize("number", [errno.ESRCH, errno.ENOENT, errno.EBADF])
def test_a_descriptor_that_was_closed_meanwhile_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    asked = unanswered(monkeypatch, number)
    one, two = socket.socketpair()
    with one, two, process(one.fileno(), two.fileno()) as pid:
        assert list(_rings._of(pid)) == []
        assert {call[1] for call in asked} == {one.fileno(), two.fileno()}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.EPERM, "EPERM (Operation not permitted)"),
        (errno.EMFILE, "EMFILE (Too many open files)"),
    ],
)
def test_a_kernel_that_lets_nobody_look_is_told_with_the_remedy(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    unanswered(monkeypatch, number)
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        before = descriptors()
        with pytest.raises(KernelError) as caught:
            _rings.rings(group)
        assert descriptors() <= before
        assert caught.value.errno == number
        assert str(caught.value) == (
            f"pidfd_getfd(task {pid}, descriptor {sock.fileno()}): {name}. {REMEDY}"
        )


# A process that ends, or that may not be looked at.


def failing(error: OSError, path: str, look: Callable[..., Any]) -> Callable[..., Any]:
    """A call that fails for one path."""

    def fail(asked: Any, *args: Any, **how: Any) -> Any:
        if asked == path:
            raise error
        return look(asked, *args, **how)

    return fail


def test_a_process_that_has_ended_holds_nothing() -> None:
    assert list(_rings._of(NOBODY)) == []


LOOKS = [
    ("listdir", "listing", "/proc/{pid}/task"),
    ("listdir", "listing", "/proc/{pid}/task/{pid}/fd"),
    ("readlink", "reading", "/proc/{pid}/task/{pid}/fd/{fd}"),
]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
@pytest.mark.parametrize(("call", "verb", "path"), LOOKS)
def test_a_process_that_ends_while_it_is_looked_at_holds_nothing(
    monkeypatch: pytest.MonkeyPatch, receiving: list[int],
    call: str, verb: str, path: str, number: int,
) -> None:  # fmt: skip
    with socket.socket() as sock, process(sock.fileno()) as pid, monkeypatch.context() as patched:
        error = OSError(number, verb)
        at = path.format(pid=pid, fd=sock.fileno())
        patched.setattr(_sockets.os, call, failing(error, at, getattr(os, call)))
        assert (list(_rings._of(pid)), receiving) == ([], [])


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (errno.EACCES, "EACCES (Permission denied)"),
        (errno.EPERM, "EPERM (Operation not permitted)"),
    ],
)
@pytest.mark.parametrize(
    ("call", "verb", "path"), [*LOOKS, ("readlink", "reading", "/proc/{pid}/fd/{fd}")]
)
def test_a_process_that_may_not_be_looked_at_is_told_with_the_remedy(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    call: str, verb: str, path: str, number: int, name: str,
) -> None:  # fmt: skip
    with socket.socket() as sock, process(sock.fileno()) as pid, monkeypatch.context() as patched:
        tasks(tmp_path, [pid])
        at = path.format(pid=pid, fd=sock.fileno())
        patched.setattr(_sockets.os, call, failing(OSError(number, ""), at, getattr(os, call)))
        with pytest.raises(KernelError) as caught:
            _rings.rings(group)
        assert caught.value.errno == number
        assert str(caught.value) == f"{verb} {at}: {name}. {REMEDY}"


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
def test_a_process_that_ends_before_its_mappings_are_read_has_none(
    monkeypatch: pytest.MonkeyPatch, receiving: list[int], number: int
) -> None:
    with socket.socket() as sock, process(sock.fileno()) as pid:
        at = f"/proc/{pid}/task/{pid}/maps"
        fails = failing(OSError(number, ""), at, open)
        monkeypatch.setattr(_sockets, "open", fails, raising=False)
        assert list(_rings._of(pid)) == receives(pid, sock.fileno())
        assert receiving == inodes(sock.fileno())


def test_mappings_that_may_not_be_read_are_not_taken_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with process() as pid:
        at = f"/proc/{pid}/task/{pid}/maps"
        fails = failing(PermissionError(errno.EACCES, ""), at, open)
        monkeypatch.setattr(_sockets, "open", fails, raising=False)
        with pytest.raises(KernelError) as caught:
            list(_rings._of(pid))
        assert str(caught.value) == f"reading {at}: EACCES (Permission denied). {REMEDY}"
