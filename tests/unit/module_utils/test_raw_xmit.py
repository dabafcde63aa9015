# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit: the whole object is on every cgroup that is named, and nothing else moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]
OLDER = f"{'0' * 16}-{'0' * 8}"
# In the object's order.
PROGRAMS = [
    "raw_xmit_create", "raw_xmit_bind", "raw_xmit_setsockopt", "raw_xmit_recvmsg",
    "raw_xmit_ingress",
]  # fmt: skip


def attached(host: FakeKernel, *cgroups: Cgroup) -> list[set[str]]:
    """The control's programs on each of some cgroups."""
    return [host.attached(cgroup, "raw_xmit") for cgroup in cgroups]


def steps(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Kind, cgroup and program of each action, as far as it has them."""
    keys = ("action", "cgroup", "program")
    return [tuple(step[key] for key in keys if key in step) for step in result["actions"]]


def attaching(cgroup: str) -> list[tuple[str, ...]]:
    """The steps that hold a cgroup."""
    return [("attach", cgroup, program) for program in PROGRAMS]


def detaching(cgroup: str) -> list[tuple[str, ...]]:
    """The steps that let a cgroup go."""
    return [("detach", cgroup, program) for program in sorted(PROGRAMS)]


def older(host: FakeKernel) -> None:
    """Let what the host has of the object be an older version's."""
    (found,) = host.objects["raw_xmit"].values()
    host.objects["raw_xmit"] = {OLDER: found}


# Present.


def test_every_program_is_attached_to_each_cgroup_that_is_named_in_the_objects_order(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    other = host.make("c.slice")
    result = hold("b.slice", "a.slice")
    assert steps(result) == [("load",), *attaching("b.slice"), *attaching("a.slice")]
    assert attached(host, a, b, other) == [set(PROGRAMS), set(PROGRAMS), set()]
    assert (result["changed"], result["warnings"]) == (True, [])
    assert result["controls"] == {
        "b.slice": {"raw_xmit": "enforced"}, "a.slice": {"raw_xmit": "enforced"},
    }  # fmt: skip


def test_the_second_run_changes_nothing_and_needs_no_object(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    hold("a.slice", "b.slice")
    before = host.state()
    again = hold("b.slice", "a.slice", _object_path=None)
    assert again == {
        "changed": False,
        "actions": [],
        "controls": {"b.slice": {"raw_xmit": "enforced"}, "a.slice": {"raw_xmit": "enforced"}},
        "diff": {"before": {}, "after": {}},
        "warnings": [],
    }
    assert host.state() == before


def test_another_cgroup_is_held_besides(host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run) -> None:
    hold("a.slice")
    assert steps(hold("b.slice", _object_path=None)) == attaching("b.slice")
    assert attached(host, a, b) == [set(PROGRAMS)] * 2


def test_a_plan_that_loads_asks_for_the_object(host: FakeKernel, a: Cgroup, hold: Run) -> None:
    asked = hold("a.slice", _object_path=None)
    assert (asked, host.calls) == ({"changed": False, "object_needed": True}, [])


@pytest.mark.parametrize("state", ["present", "absent"])
def test_check_mode_changes_nothing_and_tells_what_the_run_that_follows_does(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, state: str
) -> None:
    if state == "absent":
        hold("a.slice", "b.slice")
    before, calls = host.state(), list(host.calls)
    told = hold("a.slice", "b.slice", state=state, check=True)
    assert (host.state(), host.calls) == (before, calls)
    assert (told["changed"], told) == (True, hold("a.slice", "b.slice", state=state))


@pytest.mark.parametrize("alive", [False, None])
def test_a_program_whose_link_is_broken_or_missing_is_attached_again(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any], alive: bool | None
) -> None:
    hold("a.slice")
    links = host.objects["raw_xmit"][sender["version"]].cgroups[a.id].links
    del links["raw_xmit_bind"]
    if alive is not None:
        links["raw_xmit_bind"] = alive
    again = [("attach", "a.slice", "raw_xmit_bind")]
    broken = [("detach", "a.slice", "raw_xmit_bind")] if alive is False else []
    assert steps(hold("a.slice", _object_path=None)) == broken + again
    assert links == dict.fromkeys(PROGRAMS, True)


def test_a_new_version_stands_on_every_cgroup_before_the_older_one_goes(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    """Whether the task names a cgroup or not: the older version ends, and b.slice stays held."""
    hold("a.slice", "b.slice")
    older(host)
    at_each: list[list[set[str]]] = []
    host.after_each = lambda: at_each.append(attached(host, a, b))
    result = hold("a.slice")
    assert steps(result)[0] == ("load",)
    assert steps(result)[1:11] == [*attaching("a.slice"), *attaching("b.slice")]
    assert sorted(steps(result)[11:-1]) == [*detaching("a.slice"), *detaching("b.slice")]
    assert steps(result)[-1] == ("unload",)
    assert at_each == [[set(PROGRAMS)] * 2] * 22
    assert list(host.objects["raw_xmit"]) == [sender["version"]]
    assert not hold("a.slice", "b.slice")["changed"]


def test_an_older_version_beside_the_new_one_goes_alone(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    hold("a.slice")
    host.objects["raw_xmit"][OLDER] = host.state()["raw_xmit"][sender["version"]]
    result = hold("a.slice", _object_path=None)
    assert steps(result) == [*detaching("a.slice"), ("unload",)]
    assert {step["version"] for step in result["actions"]} == {OLDER}
    assert attached(host, a) == [set(PROGRAMS)]


def test_what_dead_cgroups_left_goes_with_any_run(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    hold("a.slice", "b.slice")
    host.kill(b)
    result = hold("a.slice")
    assert steps(result) == detaching(f"id {b.id}")
    left = {"gone": "its cgroup was removed", "left": sorted(PROGRAMS)}
    gone = {f"id {b.id} (gone)": left}
    assert result["diff"] == {"before": gone, "after": {}}
    assert attached(host, a, b) == [set(PROGRAMS), set()]


# Absent.


def test_absent_lets_the_cgroups_go_that_are_named_and_no_other(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    hold("a.slice", "b.slice")
    result = hold("a.slice", state="absent", _object=None, _object_path=None)
    assert (steps(result), result["controls"]) == (detaching("a.slice"), {})
    assert attached(host, a, b) == [set(), set(PROGRAMS)]


def test_absent_of_the_last_cgroup_leaves_nothing(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    hold("a.slice", "b.slice")
    hold("b.slice", "a.slice", state="absent")
    assert host.objects == {}
    assert not hold("b.slice", "a.slice", state="absent")["changed"]


def test_absent_takes_every_version(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    hold("a.slice")
    host.objects["raw_xmit"][OLDER] = host.state()["raw_xmit"][sender["version"]]
    hold("a.slice", state="absent")
    assert host.objects == {}


@pytest.mark.parametrize("name", ["none.slice", "a.slice/none.service"])
def test_absent_of_a_cgroup_that_does_not_exist_is_no_change(
    host: FakeKernel, a: Cgroup, hold: Run, name: str
) -> None:
    hold("a.slice")
    before = host.state()
    assert not hold(name, state="absent")["changed"]
    assert host.state() == before


# A policy on the same cgroup.


@pytest.mark.parametrize("order", list(itertools.permutations(["policy", "raw_xmit"])))
def test_a_policy_beside_it_is_undisturbed_in_either_order(
    host: FakeKernel, a: Cgroup, run: Run, hold: Run, order: tuple[str, str]
) -> None:

    def task(name: str, **absent: Any) -> bool:
        controls = absent or {"ipv4": "hidden"}
        made = run(entry("a.slice", **controls)) if name == "policy" else hold("a.slice", **absent)
        return bool(made["changed"])

    first, second = order
    task(first)
    alone = host.state()
    task(second)
    both = host.state()
    assert (sorted(both), {first: both[first]}) == (["policy", "raw_xmit"], alone)
    assert (task(first), task(second)) == (False, False)
    task(second, state="absent")
    assert host.state() == alone
    task(second)
    assert host.state() == both
    task(first, state="absent")
    assert host.state() == {second: both[second]}


def test_purging_policies_leaves_it(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, hold: Run
) -> None:
    run(entry("a.slice", tos=[]))
    hold("a.slice")
    run(entry("b.slice", tos=[]), purge=True)
    assert attached(host, a, b) == [set(PROGRAMS), set()]
