# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs are told that cgroups are nested before a second of a line governs, and only then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _drift, _plan
from ansible_collections.linux.cgnet.plugins.module_utils._actions import Govern, Load, Nest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fake_kernel import FakeKernel
from tests.unit.plans import HOOKS, ONE, carry_out, kernels, plan, want_for

UP, DOWN, BESIDE = Cgroup("a", 10), Cgroup("a/b/c", 20), Cgroup("a/bc", 30)
LINE = {each.id: each.path for each in (UP, DOWN, BESIDE)}

wants = st.sets(st.sampled_from([UP, DOWN, BESIDE])).flatmap(
    lambda chosen: st.tuples(*[want_for(c) for c in sorted(chosen, key=lambda c: c.id)])
)


@st.composite
def nested_kernels(draw: st.DrawFn) -> FakeKernel:
    """Any state of the three, each version told rightly whether they are nested, or wrongly."""
    kernel = draw(kernels())
    kernel.alive = dict(LINE)
    return kernel


def nesting(kernel: FakeKernel) -> dict[str, tuple[bool, bool]]:
    """Version → whether cgroups that govern there are nested, and whether it is told."""
    found = {}
    for name, version in kernel.objects.get("policy", {}).items():
        governing = {n for n, held in version.cgroups.items() if held.governs}
        found[name] = ({UP.id, DOWN.id} <= governing or {UP.id, BESIDE.id} <= governing,
                       version.nested)  # fmt: skip
    return found


def told(kernel: FakeKernel) -> dict[str, bool]:
    """Version → whether it is told that cgroups are nested."""
    return {name: is_told for name, (_are, is_told) in nesting(kernel).items()}


def moments(kernel: FakeKernel, wanted: tuple[Want, ...]) -> Iterator[dict[str, tuple[bool, bool]]]:
    """What holds before each step of a plan, and after the last."""
    actions = plan(wanted, kernel)
    yield nesting(kernel)
    for action in actions:
        carry_out([action], kernel)
        yield nesting(kernel)


@settings(max_examples=300)
@given(nested_kernels(), wants)
def test_none_governs_below_another_without_that_being_told_unless_it_did_before(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    before, *after = moments(kernel, wanted)
    wrong = {name for name, (are, told) in before.items() if are and not told}
    for now in after:
        assert {name for name, (are, told) in now.items() if are and not told} <= wrong


@settings(max_examples=300)
@given(nested_kernels(), wants)
def test_in_the_end_it_is_told_as_it_is(kernel: FakeKernel, wanted: tuple[Want, ...]) -> None:
    before, *after = moments(kernel, wanted)
    end = after[-1] if after else before
    assert {name: are == told for name, (are, told) in end.items()} == dict.fromkeys(end, True)


@settings(max_examples=300)
@given(nested_kernels(), wants)
def test_what_is_taken_back_is_told_too(kernel: FakeKernel, wanted: tuple[Want, ...]) -> None:
    before, versions = kernel.observe("policy"), nesting(kernel)
    actions = plan(wanted, kernel)
    carry_out(actions[: _plan.late(actions)], kernel)
    carry_out(_plan.back(before, kernel.observe("policy")), kernel)
    assert told(kernel) == {name: was for name, (_are, was) in versions.items()}


@given(nested_kernels(), wants)
def test_only_what_changes_is_told(kernel: FakeKernel, wanted: tuple[Want, ...]) -> None:
    known = told(kernel)
    for action in plan(wanted, kernel):
        if isinstance(action, Nest):
            assert known.get(action.version, False) != action.nested
            known[action.version] = action.nested


# In examples.


def governs(*cgroups: Cgroup) -> list[Want]:
    """A want for each, with a priority."""
    return [Want(each, HOOKS[:1], ONE, governs=True) for each in cgroups]


def steps(kernel: FakeKernel, wanted: list[Want]) -> list[object]:
    """The steps of a plan that load, nest and govern; it is carried out."""
    actions = plan(wanted, kernel)
    carry_out(actions, kernel)
    return [action for action in actions if isinstance(action, (Load, Nest, Govern))]


@pytest.mark.parametrize("pair", [(UP, DOWN), (UP, BESIDE)], ids=["far below", "below"])
def test_it_is_told_first_and_taken_back_last(pair: tuple[Cgroup, Cgroup]) -> None:
    kernel = FakeKernel(dict(LINE))
    load, *others = steps(kernel, governs(*pair))
    assert isinstance(load, Load)
    assert others == [Nest("new", True), *(Govern("new", each.id, True) for each in pair)]
    kept = Want(UP, HOOKS[:1], ONE)
    assert steps(kernel, [kept]) == [Govern("new", UP.id, False), Nest("new", False)]


def test_who_only_begins_with_the_same_letters_is_not_below() -> None:
    kernel = FakeKernel({**LINE, 40: "a/b"})
    wanted = governs(BESIDE, Cgroup("a/b", 40))
    assert [step for step in steps(kernel, wanted) if isinstance(step, Nest)] == []


def test_one_that_another_task_has_declared_counts_too() -> None:
    kernel = FakeKernel(dict(LINE))
    assert Nest("new", True) not in steps(kernel, governs(DOWN))
    assert steps(kernel, governs(UP)) == [Nest("new", True), Govern("new", UP.id, True)]


@pytest.mark.parametrize("nested", [True, False])
def test_what_somebody_else_has_told_is_mended_and_shown(nested: bool) -> None:
    kernel = FakeKernel(dict(LINE))
    wanted = governs(UP, DOWN) if nested else governs(DOWN)
    carry_out(plan(wanted, kernel), kernel)
    kernel.objects["policy"]["new"].nested = not nested
    observed, actions = kernel.observe("policy"), plan(wanted, kernel)
    assert actions == (Nest("new", nested),)
    assert _drift.shown(observed, actions) == {"version new": {"nested": not nested}}


def test_while_one_comes_and_one_below_it_goes_they_are_nested() -> None:
    kernel = FakeKernel(dict(LINE))
    steps(kernel, governs(DOWN))
    assert steps(kernel, [*governs(UP), Want(DOWN)]) == [
        Nest("new", True), Govern("new", UP.id, True), Govern("new", DOWN.id, False),
        Nest("new", False),
    ]  # fmt: skip
