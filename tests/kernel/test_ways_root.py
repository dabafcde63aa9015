# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy on one cgroup changes nothing for a task elsewhere: beside it, above it, in the root."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import tasks, ways
from tests.kernel.conftest import Group, apply, groups
from tests.kernel.packets import Taken, priorities
from tests.kernel.sends import V4, V6, Control, by_every_way, mark
from tests.kernel.tasks import watching
from tests.kernel.test_priority import ACCEPTING, accepted, born, connector, supported
from tests.kernel.ways import FREE, HELD, MINE, OURS, POLICY, expected_fresh, fresh

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Held = tuple[Group, dict[str, Group]]

ROOT = Group("")
PLACES = {
    "beside it": "outside/beside",
    "below one beside it": "outside/beside/below",
    "in one with a like name": "outside/ours2",
    "above it": "outside",
    "in the root": "",
}
PLACED = pytest.mark.parametrize("place", PLACES)


@pytest.fixture(scope="module")
def held(outside: Group) -> Iterator[Held]:
    """A cgroup under every control in every namespace, and the cgroups of PLACES."""
    with groups() as make:
        ours = make("outside/ours", **POLICY, netns="any")
        there = {"outside": outside, "": ROOT}
        yield ours, {place: there.get(path) or make(path) for place, path in PLACES.items()}


@PLACED
@pytest.mark.parametrize("kind", ways.KINDS, ids=["TCP", "UDP"])
def test_a_task_elsewhere_is_free(held: Held, left: Taken, place: str, kind: int) -> None:
    ours, places = held
    assert places[place].run(lambda: fresh(kind)) == expected_fresh(False, kind)
    seen = set() if place == "in the root" else {MINE}
    assert ways.sent_with(left()) == seen
    assert ours.run(lambda: fresh(kind)) == expected_fresh(True, kind)
    assert ways.sent_with(left()) == {OURS}


@PLACED
def test_its_sockets_of_every_family_are_born_as_ever(held: Held, place: str) -> None:
    _ours, places = held
    families = supported()
    assert places[place].run(lambda: [born(*each) for each in families]) == [0] * len(families)


@PLACED
@ACCEPTING
def test_what_it_accepts_from_the_cgroup_is_accepted_as_ever(
    held: Held, place: str, family: int, protocol: int
) -> None:
    """Over IPv6 at least: the cgroup has no IPv4."""
    ours, places = held
    client = ROOT if family == socket.AF_INET else ours
    connect = connector(family, protocol, client.procs)
    assert places[place].run(lambda: accepted(family, protocol, connect)) == 0


@PLACED
def test_its_control_messages_and_raw_headers_are_as_ever(
    held: Held, left: Taken, place: str
) -> None:
    _ours, places = held

    def work() -> list[dict[str, Any]]:
        found = []
        for family, address in ((socket.AF_INET, V4), (socket.AF_INET6, V6)):
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                found.append(by_every_way(sock, (address, 9), mark(family, ways.EF)))
        return found

    before = tasks.inside("/dev/null", work)  # in this process's cgroup, the root
    assert places[place].run(work) == before
    classes = {packet.tos for packet in left()}
    assert classes == (set() if place == "in the root" else {ways.EF})


def test_a_task_elsewhere_sees_nothing_of_a_policy_that_comes_and_goes(
    group: Make, left: Taken
) -> None:
    """At no moment of a run: beside it, above it and in the root."""
    group("outside/late")
    beside = group("outside/watched")
    for where in (beside, Group("outside"), ROOT):
        with watching(where.procs, fresh) as watch:
            for policy in (POLICY, {"priority": 5}, {"state": "absent"}):
                apply([{"cgroup": "outside/late", **policy}])
                watch.look()
        assert watch.seen == [FREE], where.path or "the root"
        assert ways.sent_with(left()) == ({MINE} if where.path else set())


def test_two_containers_have_each_their_own(held: Held, group: Make, left: Taken) -> None:
    ours, _places = held
    port, option = ways.UNLISTED, Control(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    other = group(
        "outside/other", priority=5, tos=["ef"], bind_ports={"udp": [port]},
        sockopts={"deny": ["SOL_SOCKET/SO_BROADCAST"]},
    )  # fmt: skip

    def work() -> Any:
        with ways.made() as sock:
            return tasks.outcome(sock.setsockopt, *option)

    assert (ours.run(work), other.run(work)) == ("ok", "EPERM")
    found = other.run(fresh)
    refused = ("SO_PRIORITY", "SO_PRIORITY, 32-bit", "a listed class", "a listed port")
    assert found == {**FREE, **dict.fromkeys(refused, "EPERM"), "born with": 5}
    assert set(priorities(left())) == {5}
    assert ours.run(fresh) == HELD
    assert ways.sent_with(left()) == {OURS}
