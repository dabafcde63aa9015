# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the verbs do and refuse, over the fake kernel and over the real one."""

from __future__ import annotations

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held, Loaded, Observed

from tests.contract.conftest import (
    BIND4,
    BIND6,
    CONNECT4,
    HOLDER,
    NOTHING,
    OBJECT,
    ONE,
    PLAIN,
    PROGRAMS,
    TWO,
    ZERO,
    World,
    holding,
    names,
    refusal,
)

# Loading and unloading


def test_at_first_there_is_nothing(world: World) -> None:
    assert (world.kernel.names(), world.kernel.observe("policy")) == ([], NOTHING)


def test_what_is_loaded_is_there_and_holds_nothing(world: World) -> None:
    world.load()
    assert world.kernel.names() == ["policy"]
    assert world.kernel.observe("policy") == holding(world)


def test_programs_are_loaded_one_after_another_too(world: World) -> None:
    world.load(programs=(HOLDER,))
    assert world.kernel.observe("policy").versions["v1"].programs == names(HOLDER)
    world.load(programs=(BIND4, BIND6))
    assert world.kernel.observe("policy") == holding(world)


def test_a_program_that_is_loaded_later_has_the_same_storage(world: World) -> None:
    world.load(programs=(HOLDER,))
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.load(programs=(BIND4, BIND6))
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(names(BIND4), value=ONE)))


def test_loading_twice_is_refused_and_changes_nothing(world: World) -> None:
    world.load()
    assert refusal(world.load) == "EEXIST"
    assert world.kernel.observe("policy") == holding(world)


def test_what_the_object_has_not_got_is_not_loaded(world: World) -> None:
    assert refusal(world.load, OBJECT, "v1", (BIND4, CONNECT4)) == "EINVAL"
    assert (world.kernel.names(), world.kernel.observe("policy")) == ([], NOTHING)


def test_unloading_leaves_nothing(world: World) -> None:
    world.load()
    world.kernel.unload("policy", "v1")
    assert (world.kernel.names(), world.kernel.observe("policy")) == ([], NOTHING)


def test_unloading_what_is_not_there_is_nothing(world: World) -> None:
    world.kernel.unload("policy", "v1")
    world.load()
    world.kernel.unload("policy", "v2")
    world.kernel.unload("theirs", "v1")
    assert world.kernel.observe("policy") == holding(world)
    world.kernel.unload("policy", "v1")
    world.kernel.unload("policy", "v1")
    assert world.kernel.names() == []


def test_unloading_takes_links_and_values_along(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.kernel.unload("policy", "v1")
    assert world.kernel.observe("policy") == NOTHING
    world.load()
    assert world.kernel.observe("policy") == holding(world)


def test_objects_have_names_of_their_own(world: World) -> None:
    world.load(PLAIN)
    world.load(OBJECT)
    assert world.kernel.names() == ["mine", "policy"]
    assert world.kernel.observe("mine") == Observed({"v1": Loaded(names(CONNECT4), {})}, {})
    world.kernel.unload("policy", "v1")
    assert world.kernel.names() == ["mine"]


# Storage


def test_holding_makes_storage_of_zeroes_and_attaches_nothing(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=ZERO)))


def test_attaching_makes_storage_of_zeroes_too(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(names(BIND4), value=ZERO))
    )


def test_holding_again_keeps_the_value(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=ONE)))


def test_a_value_is_replaced_whole(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    for value in (ONE, TWO, ZERO):
        world.kernel.store("policy", "v1", cgroup.id, value)
        assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=value)))


def test_cgroups_have_values_of_their_own(world: World) -> None:
    world.load()
    one, two = world.make("one"), world.make("two")
    for cgroup, value in ((one, ONE), (two, TWO)):
        world.kernel.hold("policy", "v1", cgroup, HOLDER)
        world.kernel.store("policy", "v1", cgroup.id, value)
    assert world.kernel.observe("policy") == holding(
        world, (one, Held(value=ONE)), (two, Held(value=TWO))
    )


def test_nothing_is_stored_before_there_is_storage(world: World) -> None:
    cgroup = world.make("a")
    assert refusal(world.kernel.store, "policy", "v1", cgroup.id, ONE) == "ENOENT"
    world.load()
    assert refusal(world.kernel.store, "policy", "v1", cgroup.id, ONE) == "ENOENT"
    assert world.kernel.observe("policy") == holding(world)


@pytest.mark.parametrize("value", [b"", ONE[:-1], ONE + b"\1"], ids=["none", "short", "long"])
def test_a_value_of_another_size_is_not_stored(world: World, value: bytes) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    world.kernel.store("policy", "v1", cgroup.id, TWO)
    assert refusal(world.kernel.store, "policy", "v1", cgroup.id, value) == "EINVAL"
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=TWO)))


def test_an_object_without_storage_holds_no_value(world: World) -> None:
    world.load(PLAIN)
    cgroup = world.make("a")
    world.kernel.attach("mine", "v1", cgroup, CONNECT4)
    held = {cgroup.id: Held(names(CONNECT4))}
    expected = Observed({"v1": Loaded(names(CONNECT4), held)}, {cgroup.id: "a"})
    assert world.kernel.observe("mine") == expected
    assert refusal(world.kernel.store, "mine", "v1", cgroup.id, ONE) == "ENOENT"
    world.kernel.detach("mine", "v1", cgroup.id, CONNECT4.name)
    assert world.kernel.observe("mine") == Observed({"v1": Loaded(names(CONNECT4), {})}, {})


# Attaching and detaching


def test_a_value_survives_detaching_and_attaching(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=ONE)))
    world.kernel.attach("policy", "v1", cgroup, BIND6)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(names(BIND6), value=ONE)))


def test_what_is_attached_is_not_attached_again(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    assert refusal(world.kernel.attach, "policy", "v1", cgroup, BIND4) == "EEXIST"
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    assert world.kernel.observe("policy") == holding(world, (cgroup, Held(value=ZERO)))


@pytest.mark.parametrize("verb", ["hold", "attach"])
def test_only_what_is_loaded_is_attached(world: World, verb: str) -> None:
    cgroup = world.make("a")
    attach = getattr(world.kernel, verb)
    assert refusal(attach, "policy", "v1", cgroup, BIND4) == "ENOENT"
    world.load(programs=(HOLDER,))
    assert refusal(attach, "policy", "v1", cgroup, BIND4) == "ENOENT"
    assert refusal(attach, "policy", "v2", cgroup, HOLDER) == "ENOENT"
    expected = Observed({"v1": Loaded(names(HOLDER), {})}, {})
    assert world.kernel.observe("policy") == expected


def test_what_is_not_attached_is_not_detached(world: World) -> None:
    cgroup = world.make("a")
    assert refusal(world.kernel.detach, "policy", "v1", cgroup.id, BIND4.name) == "ENOENT"
    world.load()
    assert refusal(world.kernel.detach, "policy", "v1", cgroup.id, BIND4.name) == "ENOENT"
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    for where, program in ((cgroup.id, BIND6), (cgroup.id + 1, BIND4)):
        refused = refusal(world.kernel.detach, "policy", "v1", where, program.name)
        assert refused == "ENOENT"
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    assert refusal(world.kernel.detach, "policy", "v1", cgroup.id, BIND4.name) == "ENOENT"


def test_a_link_that_was_detached_by_force_is_broken(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    for program in (BIND4, BIND6):
        world.kernel.attach("policy", "v1", cgroup, program)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.break_link("policy", "v1", cgroup, BIND4)
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(names(BIND6), names(BIND4), ONE))
    )
    assert refusal(world.kernel.attach, "policy", "v1", cgroup, BIND4) == "EEXIST"
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(names(BIND4, BIND6), value=ONE))
    )


# Cgroups that end


@pytest.mark.parametrize("verb", ["hold", "attach"])
def test_nothing_is_attached_to_a_dead_cgroup(world: World, verb: str) -> None:
    world.load()
    cgroup = world.make("a")
    world.remove(cgroup)
    assert refusal(getattr(world.kernel, verb), "policy", "v1", cgroup, BIND4) == "ENOENT"
    assert world.kernel.observe("policy") == holding(world)


def test_a_dead_cgroup_leaves_broken_links_and_no_value(world: World) -> None:
    world.load()
    cgroup, other = world.make("a"), world.make("b")
    for each in (cgroup, other):
        world.kernel.attach("policy", "v1", each, BIND4)
        world.kernel.store("policy", "v1", each.id, ONE)
    world.remove(cgroup)
    alive = Held(names(BIND4), value=ONE)
    left = {cgroup.id: Held(broken=names(BIND4)), other.id: alive}
    expected = Observed({"v1": Loaded(PROGRAMS, left)}, {other.id: "b"})
    assert world.in_the_end("policy", expected) == expected
    assert refusal(world.kernel.store, "policy", "v1", cgroup.id, TWO) == "ENOENT"
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    assert world.kernel.observe("policy") == holding(world, (other, alive))


def test_a_dead_cgroup_that_had_only_a_value_leaves_nothing(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.hold("policy", "v1", cgroup, HOLDER)
    world.remove(cgroup)
    assert world.in_the_end("policy", holding(world)) == holding(world)


def test_a_cgroup_of_the_same_path_is_another_one(world: World) -> None:
    world.load()
    before = world.make("a")
    world.kernel.attach("policy", "v1", before, BIND4)
    world.remove(before)
    after = world.make("a")
    assert after.id != before.id
    world.kernel.hold("policy", "v1", after, HOLDER)
    held = {before.id: Held(broken=names(BIND4)), after.id: Held(value=ZERO)}
    expected = Observed({"v1": Loaded(PROGRAMS, held)}, {after.id: "a"})
    assert world.in_the_end("policy", expected) == expected


# Versions


def test_versions_stand_side_by_side(world: World) -> None:
    world.load(version="v1")
    world.load(version="v2")
    cgroup = world.make("a")
    for version, value in (("v1", ONE), ("v2", TWO)):
        world.kernel.attach("policy", version, cgroup, BIND4)
        world.kernel.store("policy", version, cgroup.id, value)
    second = Loaded(PROGRAMS, {cgroup.id: Held(names(BIND4), value=TWO)})
    assert world.kernel.observe("policy") == holding(
        world, (cgroup, Held(names(BIND4), value=ONE)), v2=second
    )
    world.kernel.detach("policy", "v1", cgroup.id, BIND4.name)
    world.kernel.unload("policy", "v1")
    assert world.kernel.observe("policy") == Observed({"v2": second}, {cgroup.id: "a"})


def test_a_version_that_is_set_aside_keeps_what_it_has(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    world.kernel.set_aside("policy", "v1", "v1_damaged")
    aside = Loaded(PROGRAMS, {cgroup.id: Held(names(BIND4), value=ONE)})
    assert world.kernel.observe("policy") == Observed({"v1_damaged": aside}, {cgroup.id: "a"})
    world.load()
    assert refusal(world.kernel.set_aside, "policy", "v1", "v1_damaged") == "ENOTEMPTY"
    world.kernel.detach("policy", "v1_damaged", cgroup.id, BIND4.name)
    world.kernel.unload("policy", "v1_damaged")
    assert world.kernel.observe("policy") == holding(world)
    assert refusal(world.kernel.set_aside, "policy", "v2", "v3") == "ENOENT"
