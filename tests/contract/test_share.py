# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which group may read what is stored: the verb, and what is observed of it."""

from __future__ import annotations

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held

from tests.contract.conftest import BIND4, BIND6, HOLDER, ONE, PLAIN, World, names, refusal


def readers(world: World) -> dict[str, int | None]:
    """Version → the gid that is observed."""
    return {name: each.readers for name, each in world.kernel.observe("policy").versions.items()}


def test_what_is_loaded_is_roots_until_it_is_shared_and_after_it_was(world: World) -> None:
    world.load()
    assert readers(world) == {"v1": 0}
    for gid in (4, 5, 5, 0, 0, 4):
        world.kernel.share("policy", "v1", gid)
        assert readers(world) == {"v1": gid}


def test_sharing_leaves_what_is_held_alone(world: World) -> None:
    world.load()
    cgroup = world.make("a")
    world.kernel.attach("policy", "v1", cgroup, BIND4)
    world.kernel.share("policy", "v1", 4)
    world.kernel.store("policy", "v1", cgroup.id, ONE)
    held = {cgroup.id: Held(names(BIND4), value=ONE)}
    assert world.kernel.observe("policy").versions["v1"].cgroups == held


def test_programs_that_are_loaded_later_leave_it_shared(world: World) -> None:
    world.load(programs=(HOLDER,))
    world.kernel.share("policy", "v1", 4)
    world.load(programs=(BIND4, BIND6))
    assert readers(world) == {"v1": 4}


def test_versions_have_a_directory_in_common_which_is_of_one_group(world: World) -> None:
    world.load(version="v1")
    world.kernel.share("policy", "v1", 4)
    world.load(version="v2")
    assert readers(world) == {"v1": 4, "v2": None}
    world.kernel.share("policy", "v2", 5)
    assert readers(world) == {"v1": None, "v2": 5}
    world.kernel.share("policy", "v1", 5)
    assert readers(world) == {"v1": 5, "v2": 5}
    world.kernel.share("policy", "v1", 0)
    assert readers(world) == {"v1": 0, "v2": None}
    world.kernel.share("policy", "v2", 0)
    assert readers(world) == {"v1": 0, "v2": 0}


def test_unloading_forgets_the_group_with_the_last_version(world: World) -> None:
    world.load(version="v1")
    world.load(version="v2")
    world.kernel.share("policy", "v1", 4)
    world.kernel.unload("policy", "v1")
    assert readers(world) == {"v2": None}
    world.kernel.unload("policy", "v2")
    world.load()
    assert readers(world) == {"v1": 0}


@pytest.mark.parametrize("gid", [0, 4])
def test_only_what_is_there_is_shared(world: World, gid: int) -> None:
    assert refusal(world.kernel.share, "policy", "v1", gid) == "ENOENT"
    world.load()
    assert refusal(world.kernel.share, "policy", "v2", gid) == "ENOENT"
    assert readers(world) == {"v1": 0}


def test_only_what_stores_something_is_shared_with_a_group(world: World) -> None:
    world.load(PLAIN)
    assert refusal(world.kernel.share, "mine", "v1", 4) == "ENOENT"
    world.kernel.share("mine", "v1", 0)
    assert world.kernel.observe("mine").versions["v1"].readers == 0
