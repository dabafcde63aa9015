# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads of one process in several threaded cgroups: each is held as its own is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tests.kernel import ways
from tests.kernel.conftest import Group
from tests.kernel.packets import Taken
from tests.kernel.tasks import priority
from tests.kernel.ways import (
    FREE,
    HELD,
    MINE,
    OURS,
    POLICY,
    expected,
    expected_options,
    fresh,
    options,
    uses,
)

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
T = TypeVar("T")


def threaded(where: Group) -> Group:
    """Make a cgroup threaded: it takes single threads of a process of the one above."""
    with open(f"{where.directory}/cgroup.type", "w", encoding="ascii") as file:
        file.write("threaded")
    return where


def in_thread(where: Group, work: Callable[[], T]) -> T:
    """What `work` returns in a thread of this task that is in a threaded cgroup."""

    def thread() -> T:
        with open(f"{where.directory}/cgroup.threads", "w", encoding="ascii") as file:
            file.write("0")
        return work()

    return ways.by_thread(thread)


def test_threads_in_threaded_cgroups_are_held_each_by_its_own(group: Make, left: Taken) -> None:
    ours = group("outside/domain")
    held = threaded(group("outside/domain/held", **POLICY))
    free = threaded(group("outside/domain/free"))

    def work() -> list[Any]:
        return [in_thread(held, fresh), in_thread(free, fresh), fresh()]

    assert ours.run(work) == [HELD, FREE, FREE]
    assert ways.sent_with(left()) == {OURS, MINE}


def test_a_policy_above_holds_the_threads_in_threaded_cgroups(group: Make, left: Taken) -> None:
    """Of priorities the nearest wins there too."""
    ours = group("outside/domain", **POLICY)
    one = threaded(group("outside/domain/one"))
    two = threaded(group("outside/domain/two", priority=MINE))

    def work() -> list[Any]:
        return [in_thread(one, fresh), in_thread(two, fresh), fresh()]

    assert ours.run(work) == [HELD, {**HELD, "born with": MINE}, HELD]
    assert ways.sent_with(left()) == {OURS, MINE}


def test_a_socket_of_one_thread_is_used_by_another_as_if_it_were_passed_out(
    group: Make, left: Taken
) -> None:
    """Of threads of one process: the maker's cgroup and the caller's are what counts."""
    ours = group("outside/domain")
    where = {
        True: threaded(group("outside/domain/held", **POLICY)),
        False: threaded(group("outside/domain/free")),
    }

    def work(maker: bool, caller: bool) -> dict[str, Any]:
        with in_thread(where[maker], ways.made) as sock:
            return in_thread(where[caller], lambda: uses(sock))

    for maker, caller in ((True, True), (True, False), (False, True), (False, False)):
        held = maker, caller
        assert ours.run(lambda held=held: work(*held)) == expected(*held), held
        assert ways.sent_with(left()) == ways.carried(*held), held


def test_a_connection_that_a_thread_accepts_is_the_listeners(group: Make) -> None:
    """Whichever thread accepts it. Where that is not held, setting options is free."""
    ours = group("outside/domain")
    held = threaded(group("outside/domain/held", **POLICY))
    free = threaded(group("outside/domain/free"))

    def work(maker: Group, acceptor: Group) -> tuple[int, dict[str, Any]]:
        with (
            in_thread(
                maker, lambda: socket.create_server(("::1", 0), family=socket.AF_INET6)
            ) as listener,
            socket.create_connection(listener.getsockname()[:2]),
        ):

            def accept() -> tuple[int, dict[str, Any]]:
                with listener.accept()[0] as there:
                    return priority(there), options(there)

            return in_thread(acceptor, accept)

    for maker, acceptor in ((held, free), (free, held), (held, held)):
        found = ours.run(lambda maker=maker, acceptor=acceptor: work(maker, acceptor))
        expecting = OURS if maker is held else 0, expected_options(maker is held, acceptor is held)
        assert found == expecting, (maker, acceptor)
