# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy: a cgroup governs the priority where its policy declares one, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _abi, _policies, _policy
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry, older
from tests.unit.fake_kernel import HOST, FakeCgroup, FakeKernel
from tests.unit.stored import Stored

Run = Callable[..., dict[str, Any]]
SILENT = HOST._replace(priority_messages=False)
NO_LSM = HOST._replace(lsm=("lockdown", "capability"))


def governing(host: FakeKernel) -> set[int]:
    """The cgroups that govern the priority in any version."""
    return {
        cgroup
        for loaded in host.observe("policy").versions.values()
        for cgroup, held in loaded.cgroups.items()
        if held.governs
    }


def there(host: FakeKernel, cgroup: Cgroup) -> FakeCgroup:
    """What the one version that there is holds for a cgroup."""
    (version,) = host.objects["policy"].values()
    return version.cgroups[cgroup.id]


def govern_steps(result: dict[str, Any]) -> list[tuple[str, bool]]:
    """The cgroup of each such step, and what it is told."""
    return [(s["cgroup"], s["governs"]) for s in result["actions"] if s["action"] == "govern"]


# Who governs.


@pytest.mark.parametrize(
    ("fields", "governs"),
    [
        ({"priority": 1}, True),
        ({"priority": 0}, True),
        ({"priority": 6, "tos": []}, True),
        ({"tos": ["cs1"]}, False),
        ({"bind_ports": {"tcp": []}}, False),
        ({"ipv4": "hidden"}, False),
        ({"sockopts": {"deny": []}}, False),
    ],
)
def test_a_cgroup_governs_where_its_policy_has_a_priority(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, fields: dict[str, Any], governs: bool
) -> None:
    run(entry("a.slice", **fields))
    assert governing(host) == ({a.id} if governs else set())


def test_a_priority_that_is_added_and_taken_away_is_one_step_each(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    seen = []
    for fields in ({"tos": []}, {"tos": [], "priority": 1}, {"priority": 2}, {"tos": []}):
        seen.append((govern_steps(run(entry("a.slice", **fields))), governing(host)))
    assert seen == [
        ([], set()),
        ([("a.slice", True)], {a.id}),
        ([], {a.id}),
        ([("a.slice", False)], set()),
    ]


def test_a_policy_that_is_taken_back_governs_no_longer(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", priority=1), entry("b.slice", priority=1))
    assert govern_steps(run(entry("a.slice", state="absent"))) == [("a.slice", False)]
    assert governing(host) == {b.id}
    run(purge=True)
    assert host.objects == {}


def test_purge_takes_from_those_that_govern_what_is_not_declared(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", priority=1), entry("b.slice", priority=1))
    run(entry("a.slice", priority=1), purge=True)
    assert governing(host) == {a.id}


def test_a_dead_cgroup_governs_no_longer_with_any_run(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", priority=1), entry("b.slice", priority=1))
    host.kill(b)
    result = run(entry("a.slice", priority=1))
    assert (govern_steps(result), governing(host)) == ([(f"id {b.id}", False)], {a.id})
    assert not run(entry("a.slice", priority=1))["changed"]


def test_a_priority_that_is_enforced_in_part_governs_too(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host._facts = NO_LSM
    run(entry("a.slice", priority=1), on_unsupported="warn")
    assert governing(host) == {a.id}


def test_check_mode_tells_who_would_govern_and_changes_nothing(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    told = run(entry("a.slice", priority=1), check=True)
    assert (govern_steps(told), host.calls) == ([("a.slice", True)], [])


def test_a_policy_moves_to_this_version_and_governs_there_only(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", priority=1))
    older(host, manifest["layout"])
    run(entry("a.slice", priority=1))
    assert list(host.objects["policy"]) == [manifest["version"]]
    assert there(host, a).governs
    assert not run(entry("a.slice", priority=1))["changed"]


def test_at_no_moment_of_a_move_does_nobody_govern(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", priority=1))
    older(host, manifest["layout"])
    seen: list[set[int]] = []
    host.after_each = lambda: seen.append(governing(host))
    run(entry("a.slice", priority=2))
    assert seen == [{a.id}] * len(seen)
    assert host.calls[-1] == "unload"


def test_a_nested_cgroup_is_stored_with_how_deep_it_is(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    nested = host.make("a.slice/b.service")
    run(entry("a.slice", priority=1), entry("a.slice/b.service", priority=2))
    stored = [Stored(there(host, group).value or b"", _abi.LAYOUT) for group in (a, nested)]
    assert [(raw.u64("cgroup"), raw.u32("level")) for raw in stored] == [(a.id, 1), (nested.id, 2)]
    assert governing(host) == {a.id, nested.id}


# What only a kernel needs whose control messages set a priority.


@pytest.mark.parametrize("control", _policy.CONTROLS)
def test_a_kernel_without_such_messages_needs_no_program_for_them(control: str) -> None:
    every = list(_policy.CONTROLS[control].hooks)
    assert _policies.hooks_of(control, HOST) == every
    fewer = [hook for hook in every if hook != "policy_sendmsg"]
    assert _policies.hooks_of(control, SILENT) == fewer


def test_the_priority_alone_is_set_by_messages() -> None:
    using = [name for name, spec in _policy.CONTROLS.items() if _policy.ON_MESSAGES in spec.hooks]
    assert using == ["priority"]


def test_what_is_not_needed_is_not_attached_and_the_control_is_enforced(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    host._facts = SILENT
    result = run(entry("a.slice", priority=1))
    assert host.attached(a) == {*_policy.CONTROLS["priority"].hooks} - {"policy_sendmsg"}
    assert (result["controls"], result["warnings"]) == ({"a.slice": {"priority": "enforced"}}, [])
    assert not run(entry("a.slice", priority=1))["changed"]


def test_what_is_not_needed_is_not_told_to_lack(host: FakeKernel, a: Cgroup, run: Run) -> None:
    host._facts = NO_LSM._replace(priority_messages=False)
    result = run(entry("a.slice", priority=1), on_unsupported="warn")
    lacking = result["controls"]["a.slice"]["priority"]
    hooks = [part.split(" ")[2] for part in lacking.split("; ")]
    assert hooks == ["socket_post_create", "sock_graft", "socket_setsockopt"]


def test_after_an_update_of_the_kernel_the_program_is_attached(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host._facts = SILENT
    run(entry("a.slice", priority=1))
    host._facts = HOST
    assert [step["program"] for step in run(entry("a.slice", priority=1))["actions"]] == [
        "policy_sendmsg"
    ]


# The diff.


def test_governing_does_not_show_in_the_diff_of_a_policy(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    first = run(entry("a.slice", priority=1))
    gone = run(entry("a.slice", state="absent"))
    shown = {"a.slice": {"priority": 1, **IN_HOST}}
    assert (first["diff"], gone["diff"]) == (
        {"before": {}, "after": shown},
        {"before": shown, "after": {}},
    )


def test_a_cgroup_that_somebody_took_from_those_that_govern_is_in_the_diff(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", priority=1))
    there(host, a).governs = False
    result = run(entry("a.slice", priority=1))
    assert (govern_steps(result), governing(host)) == ([("a.slice", True)], {a.id})
    before, after = result["diff"]["before"]["a.slice"], result["diff"]["after"]["a.slice"]
    assert after == {"priority": 1, **IN_HOST}
    assert before.items() > after.items(), "the diff says nothing of what was changed"


def test_a_cgroup_that_somebody_made_govern_is_in_the_diff(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]))
    there(host, a).governs = True
    result = run(entry("a.slice", tos=[]))
    assert (govern_steps(result), governing(host)) == ([("a.slice", False)], set())
    before, after = result["diff"]["before"]["a.slice"], result["diff"]["after"]["a.slice"]
    assert after == {"tos": [], **IN_HOST}
    assert before.items() > after.items(), "the diff says nothing of what was changed"


def test_what_governs_without_a_policy_is_in_the_diff_of_its_removal(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", priority=1))
    left = there(host, b)
    left.links, left.value = {}, bytes(_policy.SIZE)
    result = run(entry("b.slice", state="absent"))
    assert (govern_steps(result), governing(host)) == ([("b.slice", False)], set())
    assert result["diff"]["after"] == {}
    assert result["diff"]["before"]["b.slice"] != {}, "the diff says nothing of what was changed"
