# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets from before that lack a priority: counted by one verb, given it by another."""

from __future__ import annotations

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Target

from tests.contract.conftest import World

VALUE, ANY = 5, 0


@pytest.mark.parametrize("state", ["nothing is loaded", "loaded", "governing"])
def test_what_lacks_the_priority_is_counted_and_given_it(world: World, state: str) -> None:
    cgroup = world.make("a")
    if state != "nothing is loaded":
        world.load()
    if state == "governing":
        world.kernel.govern("policy", "v1", cgroup.id, True)
    target = Target(cgroup, VALUE, ANY)
    with world.hold(cgroup) as priority:
        assert (world.kernel.lacking("policy", "v1", target), priority()) == ((1, ()), 0)
        world.kernel.retrofit(target)
        assert (world.kernel.lacking("policy", "v1", target), priority()) == ((0, ()), VALUE)


def test_what_a_task_below_holds_counts_but_not_below_a_nearer_priority(world: World) -> None:
    cgroup = world.make("a")
    below = world.make("a/below")
    with world.hold(below) as priority:
        nearer = Target(cgroup, VALUE, ANY, frozenset({below.id}))
        assert world.kernel.lacking("policy", "v1", nearer) == (0, ())
        world.kernel.retrofit(nearer)
        assert priority() == 0
        assert world.kernel.lacking("policy", "v1", Target(cgroup, VALUE, ANY)) == (1, ())
    world.remove(below)


def test_a_cgroup_without_tasks_has_none(world: World) -> None:
    target = Target(world.make("a"), VALUE, ANY)
    assert world.kernel.lacking("policy", "v1", target) == (0, ())
    world.kernel.retrofit(target)
