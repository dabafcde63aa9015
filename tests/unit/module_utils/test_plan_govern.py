# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cgroup is among those that govern the priority for as long as its hooks say so, and no longer.

An ancestor's program leaves a socket to a deeper cgroup that governs: one too few overrides
that one's priority, and one too many leaves its sockets to nobody.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._plan import (
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Store,
    Unload,
    Want,
)
from hypothesis import given

from tests.unit.fake_kernel import FakeCgroup, FakeKernel, FakeVersion
from tests.unit.plans import (
    ALIVE,
    DEAD,
    HOLDER,
    HOOKS,
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


# Every moment.


@given(kernels(), wants)
def test_nothing_is_stored_or_attached_for_what_shall_govern_and_does_not(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    shall = {want.cgroup.id for want in wanted if want.governs}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        if isinstance(action, (Store, Attach)) and action.version == "new":
            number = action.cgroup.id if isinstance(action, Attach) else action.cgroup
            assert number not in shall or number in governing(kernel)


@given(kernels(), wants)
def test_what_governs_no_longer_has_only_hooks_and_a_value_that_are_declared(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    declared = {want.cgroup.id: want for want in wanted}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        if not isinstance(action, Govern) or action.governs or action.cgroup in DEAD:
            continue
        want = declared[action.cgroup]
        held = kernel.objects["policy"][action.version].cgroups[action.cgroup]
        here = want if action.version == "new" else Want(want.cgroup)
        keep = want.keep if here.programs or not want.programs else frozenset()
        assert set(held.links) <= {program.name for program in here.programs} | keep
        assert (held.value or ZERO) == (here.value or ZERO)


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


def test_a_first_policy_governs_before_it_is_stored_and_attached() -> None:
    assert plan([Want(A, HOOKS[:2], ONE, True)], FakeKernel(dict(ALIVE))) == (
        Load("new", PROGRAMS),
        Govern("new", 10, True),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Attach("new", A, HOOKS[1]),
    )


def test_a_policy_that_governs_already_is_not_told_again() -> None:
    kernel = with_policy(governs=True)
    assert plan([Want(A, HOOKS[:1], ONE, True)], kernel) == ()
    assert plan([Want(A, HOOKS[:1], TWO, True)], kernel) == (Store("new", 10, TWO),)


def test_a_policy_that_gets_the_priority_governs_before_that_is_stored() -> None:
    assert plan([Want(A, HOOKS[:2], TWO, True)], with_policy()) == (
        Govern("new", 10, True),
        Store("new", 10, TWO),
        Attach("new", A, HOOKS[1]),
    )


def test_a_policy_that_loses_the_priority_governs_until_its_hooks_are_gone() -> None:
    assert plan([Want(A, HOOKS[1:2], TWO)], with_policy(governs=True)) == (
        Store("new", 10, TWO),
        Attach("new", A, HOOKS[1]),
        Detach("new", 10, HOOKS[0].name),
        Govern("new", 10, False),
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


def test_a_new_version_governs_before_the_old_one_does_not() -> None:
    assert plan([Want(A, HOOKS[:1], ONE, True)], with_policy("old", governs=True)) == (
        Load("new", PROGRAMS),
        Govern("new", 10, True),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Detach("old", 10, HOOKS[0].name),
        Store("old", 10, ZERO),
        Govern("old", 10, False),
        Unload("old"),
    )


def test_an_old_version_forgets_a_policy_that_has_no_priority_in_the_new_one() -> None:
    actions = plan([Want(A, HOOKS[:1], ONE)], with_policy("old", governs=True))
    assert [action for action in actions if isinstance(action, Govern)] == [
        Govern("old", 10, False)
    ]


def test_absent_governs_until_its_policy_is_gone() -> None:
    assert plan([Want(A)], with_policy(governs=True)) == (
        Detach("new", 10, HOOKS[0].name),
        Store("new", 10, ZERO),
        Govern("new", 10, False),
        Unload("new"),
    )


def test_absent_that_keeps_a_program_governs_no_longer() -> None:
    keep = frozenset({HOOKS[0].name})
    assert plan([Want(A, keep=keep)], with_policy(governs=True)) == (
        Store("new", 10, ZERO),
        Govern("new", 10, False),
    )


def test_absent_of_what_does_nothing_but_govern_takes_that_back() -> None:
    kernel = with_policy()
    kernel.objects["policy"]["new"].cgroups[20] = FakeCgroup(governs=True)
    assert plan([Want(B)], kernel) == (Govern("new", 20, False),)


def test_a_dead_cgroup_governs_no_longer_with_any_run() -> None:
    kernel = with_policy()
    dead = FakeCgroup({HOOKS[0].name: False}, governs=True)
    kernel.objects["policy"]["new"].cgroups[DIES.id] = dead
    assert plan([], kernel) == (
        Detach("new", DIES.id, HOOKS[0].name),
        Govern("new", DIES.id, False),
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
        "load", "govern", "hold", "store", "attach", "detach", "store", "govern", "unload",
    ]  # fmt: skip
