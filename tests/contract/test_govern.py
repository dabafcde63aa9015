# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cgroups govern the priority: the verb, and what is observed of it."""

from __future__ import annotations

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held, Loaded, Observed

from tests.contract.conftest import (
    BIND4,
    BIND6,
    CONNECT4,
    HOLDER,
    NOTHING,
    ONE,
    PLAIN,
    PROGRAMS,
    ZERO,
    World,
    holding,
    names,
    refusal,
)


def test_what_governs_is_told_and_so_is_what_does_not_any_longer(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(governs=True)))
    world.kernel.govern("policy", "v1", cgroup.id, False)
    assert world.kernel.observe("policy") == holding(world)


def test_governing_and_what_is_attached_and_stored_leave_each_other_alone(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(names(BIND4), value=ONE, governs=True))
    )
    world.kernel.store("policy", "v1", cgroup.id, ZERO)
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(value=ZERO, governs=True))
    )
    world.kernel.govern("policy", "v1", cgroup.id, False)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=ZERO)))


def test_what_governs_can_be_told_to_again(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    for _time in range(2):
        world.kernel.govern("policy", "v1", cgroup.id, True)
        assert world.kernel.observe("policy") == holding(world, (cgroup, Held(governs=True)))
    world.kernel.govern("policy", "v1", cgroup.id, False)
    assert world.kernel.observe("policy") == holding(world)


def test_cgroups_govern_each_by_itself(world: World) -> None:
    world.load()
    one, two, three = (world.make(name) for name in ("one", "two", "three"))
    governs = Held(governs=True)
    for cgroup in (three, one, two):
        world.kernel.govern("policy", "v1", cgroup.id, True)
    assert world.kernel.observe("policy") == holding(
        world, (one, governs), (two, governs), (three, governs)
    )
    world.kernel.govern("policy", "v1", two.id, False)
    assert world.kernel.observe("policy") == holding(world, (one, governs), (three, governs))


def test_what_does_not_govern_is_not_taken_back(world: World) -> None:
    world.load()
    one, two = world.make("one"), world.make("two")
    world.kernel.govern("policy", "v1", one.id, True)
    assert refusal(world.kernel.govern, "policy", "v1", two.id, False) == "ENOENT"
    assert world.kernel.observe("policy") == holding(world, (one, Held(governs=True)))
    world.kernel.govern("policy", "v1", one.id, False)
    assert refusal(world.kernel.govern, "policy", "v1", one.id, False) == "ENOENT"
    assert world.kernel.observe("policy") == holding(world)


@pytest.mark.parametrize("governs", [True, False])
def test_nothing_governs_in_a_version_that_is_not_there(world: World, governs: bool) -> None:
    cgroup = world.make("a")
    assert refusal(world.kernel.govern, "policy", "v1", cgroup.id, governs) == "ENOENT"
    world.load()
    assert refusal(world.kernel.govern, "policy", "v2", cgroup.id, governs) == "ENOENT"
    assert world.kernel.observe("policy") == holding(world)


@pytest.mark.parametrize("governs", [True, False])
def test_nothing_governs_in_an_object_that_has_no_such_map(world: World, governs: bool) -> None:
    world.load(PLAIN)
    cgroup = world.make("a")
    assert refusal(world.kernel.govern, "mine", "v1", cgroup.id, governs) == "ENOENT"
    assert world.kernel.observe("mine") == Observed({"v1": Loaded(names(CONNECT4), {})}, {})


def test_a_program_that_is_loaded_later_has_the_same_cgroups_that_govern(world: World) -> None:
    world.load(programs=(HOLDER,))
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    world.load(programs=(BIND4, BIND6))
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(governs=True)))


def test_unloading_forgets_what_governs(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    world.kernel.unload("policy", "v1")
    assert world.kernel.observe("policy") == NOTHING
    world.load()
    assert world.kernel.observe("policy") == holding(world)


def test_a_cgroup_governs_in_each_version_by_itself(world: World) -> None:
    world.load(version="v1")
    world.load(version="v2")
    cgroup = world.make("a")
    world.kernel.govern("policy", "v2", cgroup.id, True)
    second = Loaded(PROGRAMS, {cgroup.id: Held(governs=True)})
    alive = {cgroup.id: "a"}
    assert world.kernel.observe("policy") == Observed(
        {"v1": Loaded(PROGRAMS, {}), "v2": second}, alive
    )
    world.kernel.unload("policy", "v1")
    assert world.kernel.observe("policy") == Observed({"v2": second}, alive)


def test_a_dead_cgroup_governs_until_that_is_taken_back(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    world.remove(cgroup)
    left = Loaded(PROGRAMS, {cgroup.id: Held(governs=True)})
    expected = Observed({"v1": left}, {})
    assert world.in_the_end("policy", expected) == expected
    world.kernel.govern("policy", "v1", cgroup.id, False)
    assert world.kernel.observe("policy") == holding(world)


def test_that_cgroups_are_nested_is_told_and_taken_back(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.govern("policy", "v1", cgroup.id, True)
    for nested in (True, True, False, False):
        world.kernel.nest("policy", "v1", nested)
        found = world.kernel.observe("policy").versions["v1"]
        assert (found.nested, found.cgroups) == (nested, {cgroup.id: Held(governs=True)})


@pytest.mark.parametrize("nested", [True, False])
def test_nothing_is_told_where_there_is_no_such_version_or_map(world: World, nested: bool) -> None:
    assert refusal(world.kernel.nest, "policy", "v1", nested) == "ENOENT"
    world.load(PLAIN)
    assert refusal(world.kernel.nest, "mine", "v1", nested) == "ENOENT"
