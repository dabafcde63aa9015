# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy's diff: before and after as a user writes them, and what was read from where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _layout, _policy
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_ANY, IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]


def rename(host: FakeKernel, version: str) -> None:
    """Let what the host has be another version's."""
    (found,) = host.objects["policy"].values()
    host.objects["policy"] = {version: found}


def test_the_diff_is_in_the_users_terms(host: FakeKernel, a: Cgroup, b: Cgroup, run: Run) -> None:
    run(entry("b.slice", ipv4="hidden"))
    first = run(entry("a.slice", tos=["cs1"]), entry("b.slice", ipv4="hidden"))
    assert first["diff"] == {"before": {}, "after": {"a.slice": {"tos": ["cs1"], **IN_HOST}}}
    edited = run(entry("a.slice", tos=["cs1"], netns="any", priority=0x10010))
    assert edited["diff"] == {
        "before": {"a.slice": {"tos": ["cs1"], **IN_HOST}},
        "after": {"a.slice": {"priority": "1:10", "tos": ["cs1"], **IN_ANY}},
    }
    gone = run(entry("a.slice", state="absent"))
    assert gone["diff"] == {"before": edited["diff"]["after"], "after": {}}


def test_a_hook_that_was_lost_is_in_the_diff(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    del host.objects["policy"][manifest["version"]].cgroups[a.id].links["policy_bind6"]
    assert run(entry("a.slice", tos=[]))["diff"] == {
        "before": {"a.slice": {"tos": [], **IN_HOST, "detached": ["policy_bind6"]}},
        "after": {"a.slice": {"tos": [], **IN_HOST}},
    }


def test_a_hook_too_many_is_in_the_diff(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    host.objects["policy"][manifest["version"]].cgroups[a.id].links["policy_connect4"] = True
    assert run(entry("a.slice", tos=[]))["diff"] == {
        "before": {"a.slice": {"tos": [], **IN_HOST, "attached besides": ["policy_connect4"]}},
        "after": {"a.slice": {"tos": [], **IN_HOST}},
    }


def test_hooks_without_a_policy_are_in_the_diff_of_their_removal(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", ipv4="hidden"))
    held = host.objects["policy"][manifest["version"]].cgroups[a.id]
    held.links, held.value = {"policy_connect4": True}, bytes(_policy.SIZE)
    assert run(entry("a.slice", state="absent"))["diff"] == {
        "before": {"a.slice": {"attached besides": ["policy_connect4"]}},
        "after": {},
    }


def test_an_older_version_is_named_in_the_diff(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    older = _layout.version_name("f" * 64, manifest["layout"])
    run(entry("a.slice", tos=[]))
    rename(host, older)
    assert run(entry("a.slice", tos=[]))["diff"] == {
        "before": {"a.slice": {"version": older, "tos": [], **IN_HOST}},
        "after": {"a.slice": {"tos": [], **IN_HOST}},
    }
    assert list(host.objects["policy"]) == [manifest["version"]]


@pytest.mark.parametrize("digit", ["0", "f"])
def test_what_this_version_holds_is_shown_whatever_another_has_left(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any], digit: str
) -> None:
    run(entry("a.slice", tos=["cs1"]))
    left = host.state()["policy"][manifest["version"]]
    host.objects["policy"][_layout.version_name(digit * 64, manifest["layout"])] = left
    result = run(entry("a.slice", tos=["cs2"]))
    assert result["diff"]["before"] == {"a.slice": {"tos": ["cs1"], **IN_HOST}}
    assert list(host.objects["policy"]) == [manifest["version"]]


def test_another_layout_is_never_read(host: FakeKernel, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]))
    rename(host, "ffffffffffffffff-00000000")
    assert run(entry("a.slice", tos=[]))["diff"]["before"] == {
        "a.slice": {
            "version": "ffffffffffffffff-00000000", "unreadable": "stored in another layout",
        }
    }  # fmt: skip


def test_a_value_that_is_no_policy_is_shown_as_that_and_replaced(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    rubbish = b"\1" + bytes(_policy.SIZE - 1)
    host.objects["policy"][manifest["version"]].cgroups[a.id].value = rubbish
    result = run(entry("a.slice", tos=[]))
    assert result["diff"]["before"] == {"a.slice": {"unreadable": "not a policy"}}
    assert not run(entry("a.slice", tos=[]))["changed"]
