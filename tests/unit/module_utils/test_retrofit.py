# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sockets of real processes get a priority, through duplicates of them."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _retrofit, _sockets, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Left, Target

from tests.unit.tasks import process, tasks

pytestmark = pytest.mark.usefixtures("closed")

VALUE = 5
ANY = 0


def priority(sock: socket.socket) -> int:
    """SO_PRIORITY of a socket."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)


def cookie(sock: socket.socket) -> int:
    """The cookie of a socket's network namespace."""
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 71, 8), "little")


def test_sockets_that_differ_are_counted_and_given_it(group: Cgroup, tmp_path: Path) -> None:
    one, two = socket.socketpair()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    target = Target(group, VALUE, ANY)
    with one, two, udp, process(one.fileno(), udp.fileno()) as pid:
        tasks(tmp_path, [pid, os.getpid()])
        one.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, VALUE)
        assert (_retrofit.look(target, None), priority(udp)) == ((1, ()), 0)
        _retrofit.give(target)
        assert _retrofit.look(target, None) == (0, ())
        assert [priority(sock) for sock in (one, two, udp)] == [VALUE, 0, VALUE]


def test_the_sockets_of_a_run_are_left_out(group: Cgroup, tmp_path: Path) -> None:
    """The worker's, and those of the module that waits for it."""
    target = Target(group, VALUE, ANY)
    tasks(tmp_path, [os.getpid()])
    with socket.socket():
        assert _worker.run(lambda: _retrofit.look(target, None)) == (0, ())


def test_a_socket_of_several_processes_counts_once(group: Cgroup, tmp_path: Path) -> None:
    with socket.socket() as sock, process(sock.fileno()) as one, process(sock.fileno()) as two:
        tasks(tmp_path, [one])
        tasks(tmp_path / "below", [two])
        assert _retrofit.look(Target(group, VALUE, ANY), None) == (1, ())


def test_a_cgroup_that_has_its_own_is_left_out(group: Cgroup, tmp_path: Path) -> None:
    with socket.socket() as sock, process(sock.fileno()) as pid:
        below = tasks(tmp_path / "below", [pid]).stat().st_ino
        target = Target(group, VALUE, ANY, frozenset({below}))
        assert _retrofit.look(target, None) == (0, ())
        _retrofit.give(target)
        assert priority(sock) == 0


@pytest.mark.parametrize(("other", "found"), [(0, 1), (1, 0)])
def test_a_socket_of_another_network_namespace_is_left_out(
    group: Cgroup, tmp_path: Path, other: int, found: int
) -> None:
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        assert _retrofit.look(Target(group, VALUE, cookie(sock) + other), None) == (found, ())


@pytest.mark.parametrize(("owner", "left"), [(0, False), (7, False), (8, True)])
def test_what_another_cgroup_governs_is_left(
    group: Cgroup, tmp_path: Path, owner: int, left: bool
) -> None:
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        told = (Left("ours", pid, sock.fileno()),)
        found = _retrofit.look(Target(group, VALUE, ANY), lambda _fd: owner)
        assert (found, priority(sock)) == ((0, told) if left else (1, ()), 0)


def refusing(monkeypatch: pytest.MonkeyPatch, number: int) -> list[bytes]:
    """Let every setsockopt() fail; what was asked for."""
    asked: list[bytes] = []

    def refuse(_held: socket.socket, value: bytes) -> int:
        asked.append(value)
        return number

    monkeypatch.setattr(_retrofit, "_set", refuse)
    return asked


def test_what_is_refused_is_left(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refusing(monkeypatch, errno.EPERM)
    target = Target(group, VALUE, ANY)
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        assert _retrofit.look(target, lambda _fd: 0) == (0, (Left("ours", pid, sock.fileno()),))
        _retrofit.give(target)
        assert asked == [b"", VALUE.to_bytes(4, "little")]


def test_another_error_is_told(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, errno.ENOMEM)
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        with pytest.raises(KernelError, match=r"setsockopt\(SO_PRIORITY\): ENOMEM"):
            _retrofit.give(Target(group, VALUE, ANY))


def test_a_task_that_is_handed_sockets_without_end_does_not_hold_the_run_up(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = refusing(monkeypatch, 0)  # set, and yet there is another one that differs
    with socket.socket() as sock, process(sock.fileno()) as pid:
        tasks(tmp_path, [pid])
        _retrofit.give(Target(group, VALUE, ANY))
        assert len(asked) == 10


def test_a_socket_that_can_not_be_duplicated_is_an_error_with_the_remedy(
    group: Cgroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks(tmp_path, [3])
    monkeypatch.setattr(
        _sockets, "held", lambda process: iter([_sockets.Holding(process, 4, 5, 6, None)])
    )
    with pytest.raises(HostError) as caught:
        _retrofit.look(Target(group, VALUE, ANY), None)
    assert str(caught.value) == (
        "ours: only thread 4 of process 3 has the socket at descriptor 5, which needs "
        "Linux >= 6.9. Restart that process under the policy, or leave out retrofit."
    )


# Where the module itself is held.


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cgroups that the module enters."""
    found: list[str] = []
    monkeypatch.setattr(_retrofit, "_enter", found.append)
    return found


def test_a_module_that_is_not_held_stays_where_it_is(entered: list[str]) -> None:
    with _retrofit.unheld("/mount"):
        pass
    assert entered == []


def test_a_module_that_is_held_enters_the_root_cgroup_and_comes_back(
    entered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(_retrofit, "_refused", lambda _held: next(answers))
    with _retrofit.unheld("/mount"):
        assert entered == ["/mount"]
    assert (len(entered), entered[1].startswith("/mount/")) == (2, True)


def test_a_module_that_is_held_in_the_root_cgroup_too_says_so(
    entered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_retrofit, "_refused", lambda _held: True)
    raised = pytest.raises(KernelError, match="A policy on this cgroup refuses it")
    with raised, _retrofit.unheld("/mount"):
        pytest.fail("it went on")
    assert len(entered) == 2
