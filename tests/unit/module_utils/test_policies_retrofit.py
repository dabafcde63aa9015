# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy: sockets from before get the priority where the entry says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError, VerifyError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry, older
from tests.unit.fake_kernel import FakeKernel, FakeSocket

Run = Callable[..., dict[str, Any]]
SHOWN = {"priority": 1, **IN_HOST}


def steps(result: dict[str, Any]) -> list[tuple[str, Any, int]]:
    """Cgroup, priority and number of sockets of each such step."""
    return [
        (step["cgroup"], step["priority"], step["sockets"])
        for step in result["actions"]
        if step["action"] == "retrofit"
    ]


def hold(host: FakeKernel, *held: FakeSocket) -> Callable[[], list[int]]:
    """Let tasks hold sockets; what gives their priorities."""
    host.sockets.extend(held)
    return lambda: [each.priority for each in held]


def test_what_lacks_the_priority_gets_it_as_the_last_step(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    found = hold(host, FakeSocket("a.slice", "a.slice"), FakeSocket("a.slice/x", "elsewhere", 3))
    result = run(entry("a.slice", priority=1, retrofit=True))
    assert (steps(result), host.calls[-1]) == ([("a.slice", 1, 2)], "retrofit")
    assert result["actions"][-1]["action"] == "retrofit"
    assert found() == [1, 1]
    assert result["diff"] == {
        "before": {"a.slice": {"sockets without the priority": 2}},
        "after": {"a.slice": SHOWN},
    }
    again = run(entry("a.slice", priority=1, retrofit=True))
    assert (again["changed"], again["diff"]) == (False, {"before": {}, "after": {}})


@pytest.mark.parametrize(
    "more", [{}, {"retrofit": False}, {"retrofit": None}, {"retrofit": True, "mode": "audit"}]
)
def test_without_it_and_under_audit_nobody_looks(
    host: FakeKernel, a: Cgroup, run: Run, more: dict[str, Any]
) -> None:
    found = hold(host, FakeSocket("a.slice", "a.slice"))
    assert (steps(run(entry("a.slice", priority=1, **more))), found()) == ([], [0])


def test_a_policy_that_stands_is_no_change_but_for_the_sockets(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", priority=1))
    found = hold(host, FakeSocket("a.slice", "a.slice"))
    checked = run(entry("a.slice", priority=1, retrofit=True), check=True)
    assert (checked["changed"], steps(checked), found()) == (True, [("a.slice", 1, 1)], [0])
    result = run(entry("a.slice", priority=1, retrofit=True))
    assert (result["actions"], result["diff"]) == (checked["actions"], checked["diff"])
    assert result["diff"] == {
        "before": {"a.slice": {**SHOWN, "sockets without the priority": 1}},
        "after": {"a.slice": SHOWN},
    }
    assert found() == [1]


def test_the_priority_of_a_step_is_written_as_the_user_writes_it(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    hold(host, FakeSocket("a.slice", "a.slice"))
    assert steps(run(entry("a.slice", priority="1:10", retrofit=True))) == [("a.slice", "1:10", 1)]


@pytest.mark.parametrize(("netns", "expected"), [("host", [1, 0]), ("any", [1, 1])])
def test_only_sockets_that_are_governed_are_looked_at(
    host: FakeKernel, a: Cgroup, run: Run, netns: str, expected: list[int]
) -> None:
    found = hold(host, FakeSocket("a.slice", "a.slice"), FakeSocket("a.slice", "a.slice", netns=99))
    run(entry("a.slice", priority=1, netns=netns, retrofit=True))
    assert found() == expected


@pytest.mark.parametrize("together", [False, True])
def test_below_a_nearer_priority_nothing_is_given(
    host: FakeKernel, a: Cgroup, run: Run, together: bool
) -> None:
    host.make("a.slice/near")
    outer, near = entry("a.slice", priority=1, retrofit=True), entry("a.slice/near", priority=2)
    found = hold(host, FakeSocket("a.slice/near/x", "a.slice/near/x"))
    if together:
        run(outer, near)
    else:
        run(near)
        run(outer)
    assert found() == [0]


@pytest.mark.parametrize("gone", [{"state": "absent"}, {"tos": []}, None])
def test_a_nearer_priority_that_goes_with_the_run_is_none(
    host: FakeKernel, a: Cgroup, run: Run, gone: dict[str, Any] | None
) -> None:
    host.make("a.slice/near")
    run(entry("a.slice/near", priority=2))
    found = hold(host, FakeSocket("a.slice/near", "a.slice/near", 2))
    near = [entry("a.slice/near", **gone)] if gone else []
    run(entry("a.slice", priority=1, retrofit=True), *near, purge=True)
    assert found() == [1]


def test_what_another_cgroup_governs_is_left_and_told_of_each_time(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("b.slice", priority=2))
    found = hold(host, FakeSocket("a.slice", "a.slice"), FakeSocket("a.slice", "b.slice", 2))
    told = [
        "a.slice: the socket at descriptor 1 of process 1 keeps its priority: a policy of the "
        "cgroup that it was made in refuses another"
    ]
    policy = entry("a.slice", priority=1, retrofit=True)
    for changed, check in ((True, False), (False, False), (False, True)):
        result = run(policy, check=check)
        assert (result["changed"], result["warnings"], found()) == (changed, told, [1, 2])


def test_an_upgrade_gives_it_when_the_old_version_has_gone(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", priority=1))
    older(host, manifest["layout"])
    hold(host, FakeSocket("a.slice", "a.slice"))
    run(entry("a.slice", priority=1, retrofit=True))
    assert host.calls[-2:] == ["unload", "retrofit"]


def test_a_task_that_is_handed_sockets_without_end_is_told(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host.after_each = lambda: host.sockets.append(FakeSocket("a.slice", "elsewhere"))
    with pytest.raises(VerifyError, match="'retrofit'"):
        run(entry("a.slice", priority=1, retrofit=True))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tos": [], "retrofit": True},
         "policies[0].retrofit: True is not possible: the policy has no priority to give. "
         "Declare priority, or leave retrofit out."),
        ({"priority": 1, "retrofit": "always"},
         "policies[0].retrofit: 'always' is not possible: it is true or false."),
        ({"retrofit": True}, "policies[0]: {} is not possible: it declares no control"),
    ],
)  # fmt: skip
def test_an_entry_that_can_not_be_is_refused(
    host: FakeKernel, a: Cgroup, run: Run, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        run(entry("a.slice", **fields))
    assert str(caught.value).startswith(message)
    assert host.calls == []


def test_absent_gives_nothing(host: FakeKernel, a: Cgroup, run: Run) -> None:
    found = hold(host, FakeSocket("a.slice", "a.slice"))
    result = run(entry("a.slice", state="absent", retrofit=True))
    assert (result["changed"], found()) == (False, [0])
