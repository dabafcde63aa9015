# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit's diff: before and after of each cgroup that a step concerns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]
PRESENT = {"state": "present"}
# One that is sorted before every hash, and one behind.
OLDER = [f"{digit * 16}-{digit * 8}" for digit in "0f"]


def shown(result: dict[str, Any]) -> tuple[Any, Any]:
    """What was before, and what is after."""
    return result["diff"]["before"], result["diff"]["after"]


def copied(host: FakeKernel, sender: dict[str, Any], version: str) -> None:
    """Let another version have what the host has of this one."""
    host.objects["raw_xmit"][version] = host.state()["raw_xmit"][sender["version"]]


def test_a_cgroup_that_is_held_now(host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run) -> None:
    assert shown(hold("a.slice")) == ({}, {"a.slice": PRESENT})
    assert shown(hold("a.slice", "b.slice")) == ({}, {"b.slice": PRESENT})
    assert shown(hold("a.slice", "b.slice")) == ({}, {})


def test_a_cgroup_that_is_let_go(host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run) -> None:
    hold("a.slice", "b.slice")
    assert shown(hold("a.slice", state="absent")) == ({"a.slice": PRESENT}, {})
    assert shown(hold("a.slice", "b.slice", state="absent")) == ({"b.slice": PRESENT}, {})
    assert shown(hold("a.slice", "b.slice", state="absent")) == ({}, {})


@pytest.mark.parametrize("alive", [False, None])
def test_a_program_whose_link_is_broken_or_missing(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any], alive: bool | None
) -> None:
    hold("a.slice", "b.slice")
    links = host.objects["raw_xmit"][sender["version"]].cgroups[a.id].links
    del links["raw_xmit_recvmsg"], links["raw_xmit_bind"]
    if alive is not None:
        links["raw_xmit_bind"] = alive
    lost = {"state": "present", "detached": ["raw_xmit_bind", "raw_xmit_recvmsg"]}
    assert shown(hold("a.slice", "b.slice")) == ({"a.slice": lost}, {"a.slice": PRESENT})


def test_a_cgroup_without_a_link_that_works_is_still_shown_as_held(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    """Its pins are there, which the task replaces, or removes."""
    hold("a.slice")
    names = sorted(name for name, _section in sender["programs"])
    host.objects["raw_xmit"][sender["version"]].cgroups[a.id].links = dict.fromkeys(names, False)
    lost = {"state": "present", "detached": names}
    told = hold("a.slice", check=True)
    assert shown(told) == ({"a.slice": lost}, {"a.slice": PRESENT})
    assert shown(hold("a.slice", state="absent")) == ({"a.slice": lost}, {})


@pytest.mark.parametrize("older", OLDER)
def test_another_version_is_named_on_every_cgroup_that_moves(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any], older: str
) -> None:
    hold("a.slice", "b.slice")
    copied(host, sender, older)
    del host.objects["raw_xmit"][sender["version"]]
    before = {"state": "present", "versions": [older]}
    after = {"state": "present", "versions": [sender["version"]]}
    assert shown(hold("a.slice")) == (
        {"a.slice": before, "b.slice": before}, {"a.slice": after, "b.slice": after},
    )  # fmt: skip


@pytest.mark.parametrize("older", OLDER)
def test_both_versions_are_named_where_both_are_attached(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any], older: str
) -> None:
    hold("a.slice")
    copied(host, sender, older)
    before = {"state": "present", "versions": sorted([older, sender["version"]])}
    after = {"state": "present", "versions": [sender["version"]]}
    assert shown(hold("a.slice")) == ({"a.slice": before}, {"a.slice": after})


@pytest.mark.parametrize("older", OLDER)
def test_what_lacks_is_told_of_the_version_that_is_wanted_where_it_is_there(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any], older: str
) -> None:
    """A run that was killed on its way to this version left both."""
    hold("a.slice")
    copied(host, sender, older)
    del host.objects["raw_xmit"][sender["version"]].cgroups[a.id].links["raw_xmit_bind"]
    versions = sorted([older, sender["version"]])
    before = {"state": "present", "versions": versions, "detached": ["raw_xmit_bind"]}
    after = {"state": "present", "versions": [sender["version"]]}
    assert shown(hold("a.slice")) == ({"a.slice": before}, {"a.slice": after})


def test_versions_are_not_told_where_all_of_them_go(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    hold("a.slice")
    copied(host, sender, OLDER[0])
    assert shown(hold("a.slice", state="absent")) == ({"a.slice": PRESENT}, {})
