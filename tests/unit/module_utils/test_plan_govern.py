# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cgroup is among those that govern the priority only while its own programs stand.

An ancestor's program leaves a socket to a deeper cgroup that governs: one too few overrides
that one's priority, and one too many leaves its sockets to nobody.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _plan
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Retrofit,
    Store,
    Unload,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Target
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from hypothesis import given, settings

from tests.unit.fake_kernel import FakeCgroup, FakeKernel, FakeVersion
from tests.unit.plans import (
    ALIVE,
    DEAD,
    HOLDER,
    HOOKS,
    OBJECT,
    ONE,
    PROGRAMS,
    TWO,
    ZERO,
    A,
    B,
    carry_out,
    kernels,
    plan,
    wants,
    with_policy,
)

DIES = Cgroup("dies.slice", DEAD[0])


def governing(kernel: FakeKernel, version: str = "new") -> list[int]:
    """The cgroups that govern in a version."""
    found = kernel.observe("policy").versions[version].cgroups
    return sorted(cgroup for cgroup, held in found.items() if held.governs)


def everything(kernel: FakeKernel) -> dict[tuple[str, int], FakeCgroup]:
    """(Version, cgroup) → a copy of what is held there."""
    return {
        (name, cgroup): held
        for name, version in kernel.state().get("policy", {}).items()
        for cgroup, held in version.cgroups.items()
    }


def held_by(kernel: FakeKernel, version: str, cgroup: int) -> FakeCgroup:
    """A copy of what a version holds for a cgroup."""
    return everything(kernel).get((version, cgroup), FakeCgroup())


def lacking(want: Want, held: FakeCgroup) -> set[str]:
    """The wanted programs that are not attached, or whose links are broken."""
    return {program.name for program in want.programs if not held.links.get(program.name)}


# Every moment.


@settings(max_examples=300)
@given(kernels(), wants)
def test_none_governs_without_its_policy_and_all_its_programs_unless_it_did_before(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    shall = [want for want in wanted if want.governs]
    before = {want.cgroup.id: held_by(kernel, "new", want.cgroup.id) for want in shall}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        for want in shall:
            was, held = before[want.cgroup.id], held_by(kernel, "new", want.cgroup.id)
            if not held.governs:
                assert not was.governs, "what governs and shall govern stopped"
            elif was.governs:
                assert lacking(want, held) <= lacking(want, was)
                assert (held.value or ZERO) in (was.value or ZERO, want.value)
            else:
                assert (lacking(want, held), held.value) == (set(), want.value)


@settings(max_examples=300)
@given(kernels(), wants)
def test_what_shall_not_govern_is_changed_only_when_it_governs_no_longer(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    before = everything(kernel)
    shall = {("new", want.cgroup.id) for want in wanted if want.governs}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        for place, held in everything(kernel).items():
            if held.governs and place not in shall:
                assert held == before.get(place)


@settings(max_examples=300)
@given(kernels(), wants)
def test_what_governs_in_any_version_and_shall_govern_does_at_every_moment(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    governed = {cgroup for (_version, cgroup), held in everything(kernel).items() if held.governs}
    shall = governed & {want.cgroup.id for want in wanted if want.governs}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        now = {cgroup for (_version, cgroup), held in everything(kernel).items() if held.governs}
        assert shall <= now


@given(kernels(), wants)
def test_a_cgroup_is_told_to_govern_or_not_at_most_once_a_version(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    told = [(a.version, a.cgroup) for a in plan(wanted, kernel) if isinstance(a, Govern)]
    assert len(told) == len(set(told))


@given(kernels(), wants)
def test_only_what_changes_is_told(kernel: FakeKernel, wanted: tuple[Want, ...]) -> None:
    seen: list[tuple[Any, ...]] = []
    for action in plan(wanted, kernel):
        if isinstance(action, Govern):
            versions = kernel.objects["policy"]
            held = versions[action.version].cgroups.get(action.cgroup, FakeCgroup())
            seen.append((held.governs, action.governs))
        carry_out([action], kernel)
    assert [pair for pair in seen if pair[0] == pair[1]] == []


# The order, in examples.


def test_a_first_policy_governs_once_it_is_stored_and_attached() -> None:
    assert plan([Want(A, HOOKS[:2], ONE, True)], FakeKernel(dict(ALIVE))) == (
        Load("new", PROGRAMS),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Attach("new", A, HOOKS[1]),
        Govern("new", 10, True),
    )


def test_a_policy_that_governs_already_is_not_told_again() -> None:
    kernel = with_policy(governs=True)
    assert plan([Want(A, HOOKS[:1], ONE, True)], kernel) == ()
    assert plan([Want(A, HOOKS[:1], TWO, True)], kernel) == (Store("new", 10, TWO),)


def test_a_policy_that_gets_the_priority_governs_once_that_is_stored_and_its_hooks_stand() -> None:
    assert plan([Want(A, HOOKS[1:], TWO, True)], with_policy()) == (
        Store("new", 10, TWO),
        Attach("new", A, HOOKS[1]),
        Attach("new", A, HOOKS[2]),
        Govern("new", 10, True),
        Detach("new", 10, HOOKS[0].name),
    )


def test_a_policy_that_loses_the_priority_governs_no_longer_before_anything_changes() -> None:
    assert plan([Want(A, HOOKS[1:2], TWO)], with_policy(governs=True)) == (
        Govern("new", 10, False),
        Store("new", 10, TWO),
        Attach("new", A, HOOKS[1]),
        Detach("new", 10, HOOKS[0].name),
    )


def test_a_cgroup_that_somebody_took_from_those_that_govern_is_one_again() -> None:
    kernel = with_policy()
    assert plan([Want(A, HOOKS[:1], ONE, True)], kernel) == (Govern("new", 10, True),)


def test_a_cgroup_that_somebody_made_govern_does_not_any_longer() -> None:
    kernel = with_policy(governs=True)
    assert plan([Want(A, HOOKS[:1], ONE)], kernel) == (Govern("new", 10, False),)


def test_a_broken_link_is_made_anew_while_the_cgroup_governs() -> None:
    kernel = with_policy(governs=True)
    kernel.objects["policy"]["new"].cgroups[10].links[HOOKS[0].name] = False
    assert plan([Want(A, HOOKS[:1], ONE, True)], kernel) == (
        Detach("new", 10, HOOKS[0].name),
        Attach("new", A, HOOKS[0]),
    )


def test_a_new_version_governs_once_it_stands_and_before_the_old_one_does_not() -> None:
    assert plan([Want(A, HOOKS[:1], ONE, True)], with_policy("old", governs=True)) == (
        Load("new", PROGRAMS),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Govern("new", 10, True),
        Govern("old", 10, False),
        Store("old", 10, ZERO),
        Detach("old", 10, HOOKS[0].name),
        Unload("old"),
    )


def test_an_old_version_forgets_a_policy_that_has_no_priority_in_the_new_one() -> None:
    actions = plan([Want(A, HOOKS[:1], ONE)], with_policy("old", governs=True))
    assert [action for action in actions if isinstance(action, Govern)] == [
        Govern("old", 10, False)
    ]


def test_absent_governs_no_longer_before_its_policy_goes() -> None:
    assert plan([Want(A)], with_policy(governs=True)) == (
        Govern("new", 10, False),
        Store("new", 10, ZERO),
        Detach("new", 10, HOOKS[0].name),
        Unload("new"),
    )


def test_absent_that_keeps_a_program_governs_no_longer() -> None:
    keep = frozenset({HOOKS[0].name})
    assert plan([Want(A, keep=keep)], with_policy(governs=True)) == (
        Govern("new", 10, False),
        Store("new", 10, ZERO),
    )


def test_absent_of_what_does_nothing_but_govern_takes_that_back() -> None:
    kernel = with_policy()
    kernel.objects["policy"]["new"].cgroups[20] = FakeCgroup(governs=True)
    assert plan([Want(B)], kernel) == (Govern("new", 20, False),)


def test_a_dead_cgroup_governs_no_longer_with_any_run_before_its_links_go() -> None:
    kernel = with_policy()
    dead = FakeCgroup({HOOKS[0].name: False}, governs=True)
    kernel.objects["policy"]["new"].cgroups[DIES.id] = dead
    assert plan([], kernel) == (
        Govern("new", DIES.id, False),
        Detach("new", DIES.id, HOOKS[0].name),
    )


def test_a_dead_cgroup_that_did_nothing_but_govern_is_forgotten_with_any_run() -> None:
    kernel = with_policy()
    kernel.objects["policy"]["new"].cgroups[DIES.id] = FakeCgroup(governs=True)
    steps = plan([Want(A, HOOKS[:1], ONE)], kernel)
    assert steps == (Govern("new", DIES.id, False),)
    carry_out(steps, kernel)
    assert (governing(kernel), plan([], kernel)) == ([], ())


def test_a_version_in_which_only_dead_cgroups_govern_goes() -> None:
    kernel = FakeKernel(dict(ALIVE))
    left = {DIES.id: FakeCgroup(governs=True)}
    kernel.objects["policy"] = {"old": FakeVersion({HOLDER.name}, 8, left)}
    assert plan([], kernel) == (Govern("old", DIES.id, False), Unload("old"))


def test_a_cgroup_that_no_want_names_goes_on_to_govern() -> None:
    kernel = with_policy(governs=True)
    carry_out(plan([Want(B, HOOKS[:1], ONE)], kernel), kernel)
    carry_out(plan([Want(B)], kernel), kernel)
    assert governing(kernel) == [10]


def test_each_cgroup_governs_by_itself() -> None:
    kernel = FakeKernel(dict(ALIVE))
    carry_out(plan([Want(A, HOOKS[:1], ONE), Want(B, HOOKS[:1], ONE, True)], kernel), kernel)
    assert governing(kernel) == [20]


def test_governing_is_one_verb() -> None:
    kernel = with_policy("old", governs=True)
    carry_out(plan([Want(A, HOOKS[:1], ONE, True)], kernel), kernel)
    assert kernel.calls == [
        "load", "hold", "store", "attach", "govern", "govern", "store", "detach", "unload",
    ]  # fmt: skip


# Sockets from before.


def test_sockets_from_before_get_it_last_and_only_where_some_lack_it() -> None:
    target = Target(A, 0x10010, 0)
    want = Want(A, HOOKS[:1], ONE, True, retrofit=target)
    kernel = with_policy("old", governs=True)
    observed = kernel.observe("policy")
    for lacking, steps in (({}, ()), ({10: 0}, ()), ({10: 3}, (Retrofit("new", target, 3),))):
        seen = observed._replace(lacking=lacking)
        found = _plan.plan([want], seen, OBJECT, OBJECT.programs, HOLDER)
        assert found == (*plan([want], kernel), *steps)


def test_what_is_done_for_sockets_from_before_is_shown_in_the_users_terms() -> None:
    assert Retrofit("new", Target(A, 0x10010, 0), 3).describe({}) == {
        "action": "retrofit", "version": "new", "cgroup": "a.slice", "priority": "1:10",
        "sockets": 3,
    }  # fmt: skip
