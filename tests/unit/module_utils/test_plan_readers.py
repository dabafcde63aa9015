# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One group reads all versions that stay, and a newer version is read by the same."""

from __future__ import annotations

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _plan
from ansible_collections.linux.cgnet.plugins.module_utils._actions import (
    Action,
    Load,
    Share,
    Unload,
)
from ansible_collections.linux.cgnet.plugins.module_utils._plan import Want
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fake_kernel import FakeKernel
from tests.unit.plans import (
    ALIVE,
    HOLDER,
    HOOKS,
    OBJECT,
    ONE,
    PROGRAMS,
    A,
    B,
    carry_out,
    kernels,
    wants,
    with_policy,
)

groups = st.sampled_from([0, 4, 5])
WANT = Want(A, HOOKS[:1], ONE)


def plan(kernel: FakeKernel, readers: int | None, *wanted: Want) -> tuple[Action, ...]:
    return _plan.plan(wanted, kernel.observe("policy"), OBJECT, PROGRAMS, HOLDER, readers)


def observed(kernel: FakeKernel) -> dict[str, int | None]:
    """Version → the gid that is observed."""
    return {name: each.readers for name, each in kernel.observe("policy").versions.items()}


def shares(actions: tuple[Action, ...]) -> list[Action]:
    return [action for action in actions if isinstance(action, Share)]


@st.composite
def shared(draw: st.DrawFn) -> FakeKernel:
    """Any state, with any groups."""
    kernel = draw(kernels())
    for version in kernel.objects.get("policy", {}).values():
        version.readers = draw(groups)
    kernel.readers = {"policy": draw(groups)}
    return kernel


@given(shared(), wants, groups)
def test_a_group_that_is_named_reads_all_that_is_left_and_is_then_not_named_again(
    kernel: FakeKernel, wanted: tuple[Want, ...], gid: int
) -> None:
    if "policy" not in kernel.objects:
        kernel.readers = {}  # the directory goes with the last version
    carry_out(plan(kernel, gid, *wanted), kernel)
    assert set(observed(kernel).values()) <= {gid}
    assert plan(kernel, gid, *wanted) == ()


@given(shared(), wants)
def test_with_none_named_a_group_that_reads_any_version_reads_all_that_is_left(
    kernel: FakeKernel, wanted: tuple[Want, ...]
) -> None:
    if "policy" not in kernel.objects:
        kernel.readers = {}
    before = observed(kernel)
    reading = {gid for gid in before.values() if gid}
    actions = plan(kernel, None, *wanted)
    carry_out(actions, kernel)
    if reading:
        assert set(observed(kernel).values()) <= reading
    else:
        assert set(observed(kernel).values()) <= {0}
        assert None in before.values() or shares(actions) == []
    assert plan(kernel, None, *wanted) == ()


def test_at_first_root_alone_reads_unless_a_group_is_named() -> None:
    assert shares(plan(FakeKernel(dict(ALIVE)), None, WANT)) == []
    assert shares(plan(FakeKernel(dict(ALIVE)), 0, WANT)) == []
    assert plan(FakeKernel(dict(ALIVE)), 4, WANT)[:2] == (Load("new", PROGRAMS), Share("new", 4))


def test_a_newer_version_is_shared_before_anything_is_stored_there() -> None:
    kernel = with_policy("old")
    kernel.share("policy", "old", 4)
    for readers in (None, 4):
        actions = plan(kernel, readers, WANT)
        assert actions[:2] == (Load("new", PROGRAMS), Share("new", 4))
        assert (shares(actions), actions[-1]) == ([Share("new", 4)], Unload("old"))


def test_a_newer_version_is_roots_alone_where_the_older_was_not() -> None:
    kernel = with_policy("old")
    kernel.share("policy", "old", 4)
    assert shares(plan(kernel, 0, WANT)) == [Share("new", 0)]


def test_an_older_version_that_stays_is_shared_too() -> None:
    kernel = with_policy("old", B.id)
    assert shares(plan(kernel, 4, WANT)) == [Share("old", 4), Share("new", 4)]
    assert plan(kernel, 4) == (Share("old", 4),)


@pytest.mark.parametrize("readers", [None, 0, 4])
def test_where_nothing_is_left_nobody_is_told_to_read(readers: int | None) -> None:
    assert plan(FakeKernel(dict(ALIVE)), readers, Want(A)) == ()
    assert shares(plan(with_policy(), readers, Want(A))) == []


def test_what_a_killed_run_has_loaded_and_not_shared_is_shared_by_the_next() -> None:
    kernel = with_policy("old")
    kernel.share("policy", "old", 4)
    carry_out(plan(kernel, None, WANT)[:1], kernel)
    assert observed(kernel) == {"old": 4, "new": None}
    assert plan(kernel, None, WANT)[0] == Share("new", 4)


def test_it_is_described_by_its_version_and_number() -> None:
    assert Share("new", 4).describe({}) == {"action": "share", "version": "new", "gid": 4}
