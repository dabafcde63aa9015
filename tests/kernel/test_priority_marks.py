# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""priority: a socket carries whose it is where policies are nested, and costs no more elsewhere."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _storage
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel.conftest import Group, apply
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, V6, made_in
from tests.kernel.tasks import priority

Make = Callable[..., Group]
pytestmark = pytest.mark.usefixtures("outside")

A, B, C = "outside/a", "outside/a/b", "outside/a/b/c"


def owner(sock: socket.socket) -> int:
    """The id of the cgroup that a socket is marked with, or 0."""
    kernel = Kernel.open()
    (version,) = kernel.observe("policy").versions
    return _storage.owner(kernel.layout.maps("policy", version), sock.fileno())


def nested() -> bool:
    """Whether the programs are told that policies are nested."""
    (loaded,) = Kernel.open().observe("policy").versions.values()
    return loaded.nested


def sockets() -> list[socket.socket]:
    """Of IP, connected each to itself, and another."""
    made = [
        socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)
    ]
    for sock, address in zip(made, (V4, V6), strict=True):
        sock.bind((address, 0))
        sock.connect(sock.getsockname())
    return [*made, socket.socket(socket.AF_UNIX)]


def born(group: Group) -> set[tuple[int, int]]:
    """The priority and the mark of sockets that a task of a cgroup makes."""
    made = made_in(group, sockets)
    with contextlib.ExitStack() as stack:
        for sock in made:
            stack.enter_context(sock)
        return {(priority(sock), owner(sock)) for sock in made}


def test_a_socket_is_marked_where_policies_are_nested_and_only_there(group: Make) -> None:
    a, b, c = group(A, priority=5), group(B), group(C)
    assert [born(each) for each in (a, b, c)] == [{(5, 0)}] * 3
    assert apply([{"cgroup": C, "priority": 6}])["changed"]
    assert nested()
    assert [born(each) for each in (a, b, c)] == [{(5, a.id)}, {(5, a.id)}, {(6, c.id)}]
    assert apply([{"cgroup": A, "state": "absent"}])["changed"]
    assert not nested()
    assert [born(each) for each in (a, b, c)] == [{(0, 0)}, {(0, 0)}, {(6, 0)}]


def test_cgroups_beside_each_other_are_not_nested(group: Make) -> None:
    for path in (f"{A}x", "outside/other"):
        group(path, priority=5)
    assert born(group(A, priority=6)) == {(6, 0)}
    assert not nested()


def test_a_policy_under_audit_gives_none_and_so_does_not_count(group: Make) -> None:
    group(A, priority=5, mode="audit")
    assert born(group(B, priority=6)) == {(6, 0)}
    assert not nested()


@pytest.mark.parametrize("order", [(A, B, C), (C, B, A), (B, C, A)], ids=lambda order: order[0][-1])
def test_sockets_that_are_not_marked_follow_the_nearest_as_policies_come_and_go(
    group: Make, left: Taken, order: tuple[str, ...]
) -> None:
    """The sockets are of the lowest cgroup, and older than the second policy."""
    values = {A: 5, B: 6, C: 7}
    _a, _b, c = (group(path) for path in (A, B, C))
    declared: dict[str, int] = {}

    def expected() -> int:
        return declared[max(declared, key=len)]

    def sent(sock: socket.socket) -> set[Any]:
        left()
        sock.send(b"x")
        return set(priorities(left()))

    first = order[0]
    apply([{"cgroup": first, "priority": values[first]}])
    declared[first] = values[first]
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(sock) for sock in made_in(c, sockets)][:2]
        assert {owner(sock) for sock in made} == {0}
        for path in order[1:]:
            apply([{"cgroup": path, "priority": values[path]}])
            declared[path] = values[path]
            assert [sent(sock) for sock in made] == [{expected()}] * 2, declared
        for path in order[:-1]:
            apply([{"cgroup": path, "state": "absent"}])
            del declared[path]
            assert [sent(sock) for sock in made] == [{expected()}] * 2, declared
        assert not nested()


def test_who_is_asked_marks_a_socket_as_its_own(group: Make) -> None:
    """As retrofit asks: by setting nothing. It learns so whom a socket belongs to."""
    a = group(A, priority=5)
    with contextlib.ExitStack() as stack:
        for sock in made_in(a, sockets):
            stack.enter_context(sock)
            assert owner(sock) == 0
            with pytest.raises(OSError, match="Invalid argument"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, b"")
            assert owner(sock) == a.id
