# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan, carried out, leaves nothing to plan, and every moment on the way is safe."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _apply, _plan
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Attach,
    Detach,
    Govern,
    Hold,
    Load,
    Store,
    Unload,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Held,
    Loaded,
    Observed,
    Program,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.fake_kernel import FakeKernel
from tests.unit.plans import (
    ALIVE,
    DEAD,
    HOLDER,
    HOOKS,
    OBJECT,
    ONE,
    PLAIN,
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


def fits(want: Want, held: Held) -> bool:
    """Whether what a cgroup has is what is wanted for it."""
    needed = {program.name for program in want.programs}
    return (
        needed <= held.attached <= needed | want.keep
        and not held.broken
        and (held.value, held.governs) == (want.value, want.governs)
    )


@given(kernels(), wants)
def test_after_a_plan_is_carried_out_there_is_nothing_to_plan(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    carry_out(plan(wanted, kernel), kernel)
    assert plan(wanted, kernel) == ()


@given(kernels(), wants)
def test_what_is_wanted_is_there_and_what_is_not_is_gone(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    carry_out(plan(wanted, kernel), kernel)
    observed = kernel.observe("policy")
    for want in wanted:
        held = {
            name: v.cgroups.get(want.cgroup.id, Held()) for name, v in observed.versions.items()
        }
        if want.programs:
            assert fits(want, held.pop("new"))
        for left in held.values():
            assert left.attached | left.broken <= (frozenset() if want.programs else want.keep)
            assert not any(left.value or b"")
            assert not left.governs


@given(kernels(), wants)
def test_cgroups_and_objects_that_are_not_named_are_untouched(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    def others() -> dict[tuple[str, int], tuple[dict[str, bool], bytes, bool]]:
        ours = {want.cgroup.id for want in wanted}
        return {
            (version, cgroup): (dict(held.links), held.value or b"", held.governs)
            for version, found in kernel.objects.get("policy", {}).items()
            for cgroup, held in found.cgroups.items()
            if cgroup in kernel.alive and cgroup not in ours
            if held.links or any(held.value or b"")
        }

    before, theirs = others(), copy.deepcopy(kernel.objects["theirs"])
    actions = plan(wanted, kernel)
    kernel.after_each = lambda: _same(others(), before)
    carry_out(actions, kernel)
    assert others() == before
    assert kernel.objects["theirs"] == theirs


def _same(now: object, before: object) -> None:
    assert now == before


@given(kernels(), wants)
def test_no_moment_enforces_less_than_before_or_a_wrong_policy(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    def enforcing(cgroup: int, program: str) -> set[bytes]:
        return {
            held.value
            for version in kernel.objects.get("policy", {}).values()
            if (held := version.cgroups.get(cgroup)) and held.links.get(program)
            if held.value and any(held.value)
        }

    present = [want for want in wanted if want.programs]
    before = {(w.cgroup.id, p.name): enforcing(w.cgroup.id, p.name) for w in present
              for p in w.programs}  # fmt: skip
    new = {want.cgroup.id: want.value for want in present}

    def look() -> None:
        for (cgroup, program), old in before.items():
            now = enforcing(cgroup, program)
            assert bool(now) >= bool(old), "a hook that enforced does not"
            assert now <= old | {new[cgroup]}, "a value that nobody declared is enforced"

    kernel.after_each = look
    carry_out(plan(wanted, kernel), kernel)


@given(kernels(), wants)
def test_a_hook_is_attached_over_its_declared_value(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    new = {want.cgroup.id: want.value for want in wanted}
    for action in plan(wanted, kernel):
        carry_out([action], kernel)
        if isinstance(action, Attach):
            held = kernel.objects["policy"]["new"].cgroups[action.cgroup.id]
            assert held.value == new[action.cgroup.id]


@given(kernels())
def test_absent_everywhere_leaves_nothing(kernel: FakeKernel) -> None:
    wanted = [Want(Cgroup(path, number)) for number, path in ALIVE.items()]
    carry_out(plan(wanted, kernel), kernel)
    assert kernel.names() == ["theirs"]


@given(kernels())
def test_absent_needs_no_object(kernel: FakeKernel) -> None:
    wanted = [Want(Cgroup(path, number)) for number, path in ALIVE.items()]
    carry_out(plan(wanted, kernel, None), kernel, None)
    assert kernel.names() == ["theirs"]


@given(kernels(), wants)
def test_what_dead_cgroups_left_goes_with_any_run(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    carry_out(plan(wanted, kernel), kernel)
    for version in kernel.objects.get("policy", {}).values():
        left = [version.cgroups[dead] for dead in DEAD if dead in version.cgroups]
        assert not any(held.links or held.governs for held in left)


@given(kernels(), wants)
def test_a_plan_is_the_same_for_the_same_state_and_changes_nothing(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    before = kernel.state()
    assert plan(wanted, kernel) == plan(wanted, kernel)
    assert kernel.state() == before


@settings(max_examples=60)
@given(kernels(), wants, st.data())
def test_a_run_that_was_killed_is_finished_by_the_next(
    kernel: FakeKernel, wanted: tuple[Want, ...], data: st.DataObject
) -> None:
    actions = plan(wanted, kernel)
    carry_out(actions[: data.draw(st.integers(0, len(actions)))], kernel)
    carry_out(plan(wanted, kernel), kernel)
    assert plan(wanted, kernel) == ()


@settings(max_examples=60)
@given(kernels(), wants, wants)
def test_from_any_wants_to_any_others(
    kernel: FakeKernel, first: tuple[Want, ...], second: tuple[Want, ...]
) -> None:
    for wanted in (first, second):
        carry_out(plan(wanted, kernel), kernel)
    assert plan(second, kernel) == ()


@settings(max_examples=60)
@given(st.lists(st.sampled_from(HOOKS), unique=True), st.lists(st.sampled_from(HOOKS), unique=True))
def test_an_object_without_storage_is_only_attached(
    first: list[Program], second: list[Program]
) -> None:
    kernel = FakeKernel(dict(ALIVE))
    for programs in (first, second):
        wanted = [Want(A, tuple(programs))]
        actions = plan(wanted, kernel, PLAIN)
        assert not [a for a in actions if isinstance(a, (Hold, Store))]
        carry_out(actions, kernel, PLAIN)
        assert plan(wanted, kernel, PLAIN) == ()
    assert kernel.names() == (["mine"] if second else [])


# The order, in examples.


def test_the_first_policy_is_stored_before_its_hooks_are_attached() -> None:
    assert plan([Want(A, HOOKS[:2], ONE)], FakeKernel(dict(ALIVE))) == (
        Load("new", PROGRAMS),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Attach("new", A, HOOKS[1]),
    )


def test_the_same_policy_again_is_nothing() -> None:
    assert plan([Want(A, HOOKS[:1], ONE)], with_policy()) == ()


def test_another_value_is_one_store() -> None:
    assert plan([Want(A, HOOKS[:1], TWO)], with_policy()) == (Store("new", 10, TWO),)


def test_another_control_attaches_before_it_detaches() -> None:
    assert plan([Want(A, HOOKS[1:2], TWO)], with_policy()) == (
        Store("new", 10, TWO),
        Attach("new", A, HOOKS[1]),
        Detach("new", 10, HOOKS[0].name),
    )


def test_a_program_that_may_stay_stays() -> None:
    keep = frozenset({HOOKS[0].name})
    assert plan([Want(A, HOOKS[1:2], ONE, keep=keep)], with_policy()) == (
        Attach("new", A, HOOKS[1]),
    )


def test_a_new_version_stands_before_the_old_one_goes() -> None:
    assert plan([Want(A, HOOKS[:1], ONE)], with_policy("old")) == (
        Load("new", PROGRAMS),
        Hold("new", A, HOLDER),
        Store("new", 10, ONE),
        Attach("new", A, HOOKS[0]),
        Store("old", 10, ZERO),
        Detach("old", 10, HOOKS[0].name),
        Unload("old"),
    )


def test_a_version_that_another_cgroup_uses_stays() -> None:
    actions = plan([Want(A, HOOKS[:1], ONE)], with_policy("old", cgroup=30))
    assert not [action for action in actions if action.version == "old"]


def test_a_broken_link_is_made_anew() -> None:
    kernel = with_policy()
    kernel.objects["policy"]["new"].cgroups[10].links[HOOKS[0].name] = False
    assert plan([Want(A, HOOKS[:1], ONE)], kernel) == (
        Detach("new", 10, HOOKS[0].name),
        Attach("new", A, HOOKS[0]),
    )


def test_absent_clears_before_it_detaches() -> None:
    assert plan([Want(A)], with_policy()) == (
        Store("new", 10, ZERO),
        Detach("new", 10, HOOKS[0].name),
        Unload("new"),
    )


def test_what_absent_keeps_stays_with_its_version() -> None:
    keep = frozenset({HOOKS[0].name})
    assert plan([Want(A, keep=keep)], with_policy()) == (Store("new", 10, ZERO),)


def test_absent_where_nothing_is_is_nothing() -> None:
    assert plan([Want(A), Want(B)], FakeKernel(dict(ALIVE))) == ()


def test_a_program_that_is_missing_in_a_version_is_loaded_into_it() -> None:
    kernel = with_policy()
    kernel.objects["policy"]["new"].programs.remove(HOOKS[1].name)
    assert plan([Want(A, HOOKS[:1], ONE)], kernel) == (Load("new", (HOOKS[1],)),)


def test_only_what_this_kernel_can_load_is_loaded() -> None:
    actions = _plan.plan([Want(A, HOOKS[:1])], Observed({}, {}), OBJECT, HOOKS[:1])
    assert actions == (Load("new", HOOKS[:1]), Attach("new", A, HOOKS[0]))


@pytest.mark.parametrize(
    ("action", "shown"),
    [
        (Load("v", HOOKS[:1]), {"action": "load", "version": "v", "programs": [HOOKS[0].name]}),
        (Hold("v", A, HOLDER), {"action": "hold", "version": "v", "cgroup": "a.slice",
                                "program": "policy_holder"}),
        (Store("v", 10, ONE), {"action": "store", "version": "v", "cgroup": "a.slice",
                               "bytes": 8, "cleared": False}),
        (Store("v", 99, ZERO), {"action": "store", "version": "v", "cgroup": "id 99",
                                "bytes": 8, "cleared": True}),
        (Govern("v", 10, True), {"action": "govern", "version": "v", "cgroup": "a.slice",
                                 "governs": True}),
        (Govern("v", 99, False), {"action": "govern", "version": "v", "cgroup": "id 99",
                                  "governs": False}),
        (Attach("v", A, HOOKS[0]), {"action": "attach", "version": "v", "cgroup": "a.slice",
                                    "program": HOOKS[0].name}),
        (Detach("v", 10, "x"), {"action": "detach", "version": "v", "cgroup": "a.slice",
                                "program": "x"}),
        (Unload("v"), {"action": "unload", "version": "v"}),
    ],
)  # fmt: skip
def test_an_action_is_plain_data(action: Action, shown: dict[str, object]) -> None:
    assert action.describe({10: "a.slice"}) == shown


def test_the_value_is_not_in_an_actions_text() -> None:
    assert "11111111" not in repr(Store("v", 10, ONE))


# The executor.


def test_the_first_call_that_fails_ends_a_run() -> None:
    kernel = FakeKernel(dict(ALIVE))
    with pytest.raises(KernelError):
        carry_out([Store("new", 10, ONE), Load("new", PROGRAMS)], kernel)
    assert kernel.calls == []


def test_loading_needs_the_object() -> None:
    with pytest.raises(ValueError, match="a plan that loads needs the object"):
        _apply.apply([Load("new", PROGRAMS)], FakeKernel({}), "policy")


def test_each_action_is_one_verb_in_the_plans_order() -> None:
    kernel = with_policy("old")
    carry_out(plan([Want(A, HOOKS[:1], ONE)], kernel), kernel)
    assert kernel.calls == ["load", "hold", "store", "attach", "store", "detach", "unload"]


def test_a_version_that_nobody_uses_goes_with_any_run() -> None:
    observed = Observed({"new": Loaded(frozenset(), {})}, {})
    assert _plan.plan([], observed, OBJECT, PROGRAMS, HOLDER) == (Unload("new"),)
