# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that move between cgroups and network namespaces, and cgroups that go.

A socket stays its maker's cgroup's and its namespace's, wherever its task goes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import ways
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, V6, made_in
from tests.kernel.tasks import enter, outcome, priority
from tests.kernel.test_netns import elsewhere
from tests.kernel.test_netns_packets import setns
from tests.kernel.ways import (
    FREE,
    HELD,
    MINE,
    OURS,
    POLICY,
    carried,
    expected,
    fresh,
    made,
    uses,
)

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]

NEAR = 5
REFUSED = {"cgroup": "outside/ours", **POLICY}
NONE = {"cgroup": "outside/ours", "state": "absent"}


@pytest.fixture
def ours(group: Make) -> Group:
    return group("outside/ours", **POLICY)


@pytest.fixture(scope="module")
def free(outside: Group) -> Iterator[Group]:
    with groups() as make:
        yield make("outside/free")


def own(above: Group) -> Group:
    """A cgroup that a task makes below its own, and enters."""
    below = Group(f"{above.path}/own")
    os.mkdir(below.directory)
    enter(below.procs)
    return below


# Cgroups of a task's own


def test_a_task_is_held_in_a_cgroup_of_its_own_and_back(ours: Group, left: Taken) -> None:
    """Also with a socket that it made on the other side."""

    def work() -> list[Any]:
        with made() as early, made() as late:
            below = own(ours)
            found = [fresh(), uses(early)]
            early.close()
            with made() as inner:
                enter(ours.procs)
                found.append(uses(inner))
            found.append(fresh())
            enter(below.procs)
            return [*found, uses(late)]

    held = expected(True, True)
    assert ours.run(work) == [HELD, held, held, HELD, held]
    assert ways.sent_with(left()) == {OURS}


def test_a_socket_from_a_cgroup_that_was_removed_is_held_by_the_one_above(
    ours: Group, left: Taken
) -> None:
    def work() -> dict[str, Any]:
        below = own(ours)
        with made() as sock:
            enter(ours.procs)
            os.rmdir(below.directory)
            return uses(sock)

    assert ours.run(work) == expected(True, True)
    assert ways.sent_with(left()) == {OURS}


def test_what_is_declared_later_holds_a_socket_from_a_cgroup_that_was_removed(
    group: Make, left: Taken
) -> None:
    """Programs are attached for it too, and detached."""
    ours = group("outside/ours")

    def work() -> list[dict[str, Any]]:
        below = own(ours)
        with made() as early, made() as sock, made() as late:
            enter(ours.procs)
            os.rmdir(below.directory)
            found = [uses(early)]
            early.close()
            apply([REFUSED])
            found.append(uses(sock))
            sock.close()
            apply([NONE])
            return [*found, uses(late)]

    free, held = expected(False, False), expected(True, True)
    assert ours.run(work) == [free, held, free]
    assert ways.sent_with(left()) == {MINE, OURS}


def test_a_cgroup_that_a_task_makes_beside_its_own_is_not_held(ours: Group, free: Group) -> None:
    """It takes the right to write there; see test_ways_tasks.py."""

    def work() -> dict[str, Any]:
        own(free)
        return fresh()

    try:
        assert ours.run(work) == FREE
    finally:
        os.rmdir(f"{free.directory}/own")


# Between governed cgroups


def test_a_task_that_moves_brings_its_sockets_and_finds_the_options_of_the_new_cgroup(
    ours: Group, group: Make, left: Taken
) -> None:
    """Of a socket that it brought, ports, class and priority stay those of the old one."""
    other = group("outside/other", **{**POLICY, "priority": NEAR, "sockopts": {"deny": []}})

    def work(first: Group, second: Group) -> list[Any]:
        enter(first.procs)
        with made() as sock:
            enter(second.procs)
            found = [priority(sock), uses(sock)]
        return [*found, fresh()]

    denied, allowed = (
        expected(True, True), {**expected(True, True), "a denied option, 32-bit": "ok"},
    )  # fmt: skip
    permitted = dict.fromkeys(("a denied option", "a denied option, 32-bit"), "ok")
    fresh_there = {**HELD, **permitted, "born with": NEAR}
    assert ours.run(lambda: work(ours, other)) == [OURS, allowed, fresh_there]
    assert [packet.priority for packet in left() if packet.tos != ways.EF] == [OURS, NEAR]
    assert ours.run(lambda: work(other, ours)) == [NEAR, denied, HELD]
    assert [packet.priority for packet in left() if packet.tos != ways.EF] == [NEAR, OURS]


def test_a_task_that_comes_in_brings_sockets_that_only_options_are_held_of(
    ours: Group, free: Group, left: Taken
) -> None:
    for first, second in ((free, ours), (ours, free), (ours, ours)):

        def work(first: Group = first, second: Group = second) -> dict[str, Any]:
            enter(first.procs)
            with made() as sock:
                enter(second.procs)
                return uses(sock)

        held = first == ours, second == ours
        assert free.run(work) == expected(*held), held
        assert ways.sent_with(left()) == carried(*held), held


# Cgroups that are removed


def test_sockets_of_a_cgroup_that_was_removed_are_held_until_the_next_run(
    group: Make, ours: Group, free: Group, left: Taken
) -> None:
    """Which takes away what it finds of cgroups that are no more."""
    kept, late = made_in(ours, lambda: [made(), made()])
    with kept, late:
        os.rmdir(ours.directory)
        assert free.run(lambda: uses(kept)) == expected(True, False)
        assert ways.sent_with(left()) == carried(True, False)
        apply([])
        assert priority(late) == OURS
        kept.close()
        assert free.run(lambda: uses(late)) == expected(False, False)
        assert ways.sent_with(left()) == carried(False, False)
    os.mkdir(ours.directory)  # for the end of the test to remove


def test_of_a_nearer_policy_that_was_removed_the_one_above_takes_over_with_the_next_run(
    ours: Group, group: Make, left: Taken
) -> None:
    near = group("outside/ours/near", priority=NEAR)
    (sock,) = made_in(near, lambda: [made()])
    with sock:
        for change, found in (
            (lambda: None, NEAR),
            (lambda: os.rmdir(near.directory), NEAR),
            (lambda: apply([]), OURS),
        ):
            change()
            assert sock.sendto(b"x", (V6, 9)) == 1
            assert priorities(left()) == [found]
    os.mkdir(near.directory)  # for the end of the test to remove


# Network namespaces


def there_and_back() -> socket.socket:
    """A socket of a network namespace of the task's own, which it has left again."""
    with open("/proc/self/ns/net", "rb") as home:
        elsewhere()
        sock = made()
        setns(home.fileno())
    return sock


@pytest.mark.parametrize(("netns", "held"), [("host", False), ("any", True)])
def test_a_socket_from_another_namespace_stays_of_it(
    group: Make, left: Taken, netns: str, held: bool
) -> None:
    """It reaches nothing here: its packets are of the namespace that it was made in."""
    ours = group("outside/ours", **POLICY, netns=netns)

    def work() -> list[dict[str, Any]]:
        with there_and_back() as sock:
            return [uses(sock), fresh()]

    assert ours.run(work) == [expected(held, held), HELD]
    assert ways.sent_with(left()) == {*carried(held, held), OURS}


def test_a_socket_that_a_task_takes_to_another_namespace_stays_held(
    ours: Group, left: Taken
) -> None:
    def work() -> list[dict[str, Any]]:
        with made() as sock:
            elsewhere()
            return [uses(sock), fresh()]

    assert ours.run(work) == [expected(True, True), FREE]
    assert ways.sent_with(left()) == {OURS, MINE}


def test_a_socket_is_not_in_reach_of_the_host_from_a_namespace_of_its_own(ours: Group) -> None:
    """What `host` leaves alone there sends to nobody here."""

    def work(to: Any) -> Any:
        elsewhere()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            return outcome(sock.sendto, b"x", to)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.bind((V4, 0))
        there.setblocking(False)
        assert ours.run(lambda: work(there.getsockname())) == 1
        assert outcome(there.recv, 1) == "EAGAIN"
