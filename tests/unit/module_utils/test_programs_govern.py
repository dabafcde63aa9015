# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_program: with the bundled object's policies goes whether they govern the priority."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.conftest import entry, older
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]


def governing(host: FakeKernel) -> dict[str, list[int]]:
    """Version → the cgroups that govern in it."""
    return {
        version: sorted(cgroup for cgroup, held in loaded.cgroups.items() if held.governs)
        for version, loaded in host.observe("policy").versions.items()
    }


def kill_after(host: FakeKernel, call: str, run: Run, *entries: dict[str, Any]) -> None:
    """Let a cgnet_policy task end behind the first call of a kind."""

    def killed() -> None:
        if host.calls[-1] == call:
            raise KeyboardInterrupt

    host.after_each = killed
    with pytest.raises(KeyboardInterrupt):
        run(*entries)
    host.after_each = lambda: None


def test_the_object_that_only_stands_ready_governs_nothing(
    host: FakeKernel, a: Cgroup, attach: Run, shipped: dict[str, Any], manifest: dict[str, Any]
) -> None:
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: []}


def test_what_governs_goes_on_to_govern_when_the_object_is_attached_again(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", priority=1), entry("b.slice", priority=1))
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: sorted([a.id, b.id])}
    assert not attach("policy", ["a.slice"], **shipped)["changed"]


def test_what_moves_to_the_bundled_version_governs_there_as_it_did(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", tos=["cs1"]), entry("b.slice", priority=6))
    older(host, manifest["layout"])
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: [b.id]}
    again = run(entry("a.slice", tos=["cs1"]), entry("b.slice", priority=6))
    assert (again["changed"], again["actions"]) == (False, [])


def test_what_moves_governs_in_the_new_version_once_it_stands_and_before_the_old_one_lets_go(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", priority=6))
    old = older(host, manifest["layout"])
    result = attach("policy", ["a.slice"], **shipped)
    steps = [(each["action"], each["version"]) for each in result["actions"]]
    assert [step for step, same in itertools.groupby(steps)] == [
        ("load", manifest["version"]),
        ("hold", manifest["version"]),
        ("store", manifest["version"]),
        ("attach", manifest["version"]),
        ("govern", manifest["version"]),
        ("govern", old),
        ("store", old),
        ("detach", old),
        ("unload", old),
    ]


def test_without_the_object_nothing_governs(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", priority=1), entry("b.slice", priority=1))
    attach("policy", ["a.slice"])
    assert governing(host) == {manifest["version"]: [b.id]}
    attach("policy", None)
    assert host.objects == {}


@pytest.mark.parametrize("call", ["store", "attach", "govern", "detach"])
def test_a_policy_that_a_killed_run_had_replaced_governs_no_more_than_the_new_one_does(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any], call: str,
) -> None:  # fmt: skip
    run(entry("a.slice", priority=1))
    older(host, manifest["layout"])
    kill_after(host, call, run, entry("a.slice", tos=["cs2"]))
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: []}


@pytest.mark.parametrize("call", ["govern", "detach"])
def test_a_policy_that_a_killed_run_had_replaced_governs_as_the_new_one_does(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any], call: str,
) -> None:  # fmt: skip
    run(entry("a.slice", tos=["cs1"]))
    older(host, manifest["layout"])
    kill_after(host, call, run, entry("a.slice", priority=1))
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: [a.id]}


@pytest.mark.parametrize("call", ["load", "hold"])
@pytest.mark.parametrize(
    ("old", "new", "governs"),
    [({"tos": ["cs1"]}, {"priority": 1}, False), ({"priority": 1}, {"tos": ["cs1"]}, True)],
)
def test_a_policy_that_a_killed_run_had_not_replaced_governs_as_the_old_one_does(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any], old: dict[str, Any], new: dict[str, Any], governs: bool, call: str,
) -> None:  # fmt: skip
    run(entry("a.slice", **old))
    older(host, manifest["layout"])
    kill_after(host, call, run, entry("a.slice", **new))
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: [a.id] if governs else []}


def test_what_governs_in_the_new_version_without_a_policy_there_governs_as_the_old_one_does(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", tos=["cs1"]))
    older(host, manifest["layout"])
    kill_after(host, "hold", run, entry("a.slice", priority=1))
    host.govern("policy", manifest["version"], a.id, True)
    attach("policy", ["a.slice"], **shipped)
    assert governing(host) == {manifest["version"]: []}
