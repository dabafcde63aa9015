# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy as a whole: what a run changes, tells and leaves behind."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policies
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._policy import CONTROLS, SIZE

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, Group, apply, info, shipped
from tests.kernel.seen import BPFFS, NAME, attached, everything, pins
from tests.kernel.tasks import bind, outcome
from tests.shown import IN_ANY, IN_HOST

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

CONTROL: dict[str, Any] = {
    "priority": "1:10",
    "tos": ["af21"],
    "bind_ports": {"tcp": [1001]},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}
SHOWN = {**CONTROL, "bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False}}
PORTS = {"bind_ports": {"tcp": [1001]}}
OTHER_PORTS = {"bind_ports": {"tcp": [1002]}}
VERSION = shipped().manifest["version"]


def entry(policy: dict[str, Any] | None, cgroup: str = "ours") -> dict[str, Any]:
    return {"cgroup": cgroup, **(policy or {"state": "absent"})}


def binding(*ports: int) -> list[Any]:
    return [bind(socket.AF_INET6, socket.SOCK_STREAM, port) for port in ports]


def marking() -> Any:
    with socket.socket(socket.AF_INET6) as sock:
        return outcome(sock.setsockopt, socket.SOL_SOCKET, tasks.SO_MARK, 1)


def verbs(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The kinds of the actions, each with its program where it has one."""
    return [(step["action"], step.get("program", "")) for step in result["actions"]]


def test_a_second_run_changes_nothing(group: Make) -> None:
    group("ours")
    assert apply([entry(CONTROL)])["changed"]
    state = everything()
    assert apply([entry(CONTROL)]) == {
        "changed": False,
        "actions": [],
        "controls": {"ours": dict.fromkeys(CONTROLS, "enforced")},
        "diff": {"before": {}, "after": {}},
        "warnings": [],
    }
    assert everything() == state


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, PORTS), (PORTS, OTHER_PORTS), (PORTS, {**PORTS, "ipv4": "hidden"}),
     ({**PORTS, "priority": 6}, PORTS), (CONTROL, None), (CONTROL, CONTROL)],
    ids=["first", "edit", "a control more", "a control less", "absent", "the same"],
)  # fmt: skip
def test_check_mode_changes_nothing_and_tells_what_the_run_will_do(
    group: Make, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    group("ours")
    apply([entry(before)])
    state, held = everything(), info()
    told = apply([entry(after)], check=True)
    assert (everything(), info()) == (state, held)
    assert apply([entry(after)]) == told


def test_the_diff_is_in_the_users_terms(group: Make) -> None:
    group("ours")
    first = apply([entry(CONTROL)])["diff"]
    assert first == {"before": {}, "after": {"ours": {**SHOWN, **IN_HOST}}}
    edited = {**CONTROL, "priority": 6, "netns": "any"}
    assert apply([entry(edited)])["diff"] == {
        "before": {"ours": {**SHOWN, **IN_HOST}},
        "after": {"ours": {**SHOWN, "priority": 6, **IN_ANY}},
    }
    assert apply([entry(None)])["diff"] == {
        "before": {"ours": {**SHOWN, "priority": 6, **IN_ANY}},
        "after": {},
    }


def needed(control: str) -> list[str]:
    """The programs that this kernel needs for a control."""
    return _policies.hooks_of(control, Kernel.open().facts())


@pytest.mark.parametrize("control", CONTROLS)
def test_only_the_hooks_that_a_control_needs_are_attached(group: Make, control: str) -> None:
    ours = group("ours", **{control: CONTROL[control]})
    assert attached(ours.id) == sorted(hook[:NAME] for hook in needed(control))


def test_a_hook_that_two_controls_need_is_attached_once(group: Make) -> None:
    ours = group("ours", **CONTROL)
    hooks = {hook[:NAME] for control in CONTROLS for hook in needed(control)}
    assert attached(ours.id) == sorted(hooks)


def test_the_first_run_stores_before_it_attaches(group: Make) -> None:
    group("ours")
    assert verbs(apply([entry(PORTS)])) == [
        ("load", ""), ("hold", "policy_holder"), ("store", ""),
        ("attach", "policy_bind4"), ("attach", "policy_bind6"),
    ]  # fmt: skip


def test_an_edit_is_one_store(group: Make) -> None:
    ours = group("ours", **PORTS)
    state = everything()
    assert ours.run(lambda: binding(1001, 1002)) == ["ok", "EPERM"]
    assert apply([entry(OTHER_PORTS)])["actions"] == [
        {"action": "store", "version": VERSION, "cgroup": "ours", "bytes": SIZE, "cleared": False}
    ]
    assert ours.run(lambda: binding(1001, 1002)) == ["EPERM", "ok"]
    assert everything() == state


def test_a_control_is_added_and_removed(group: Make) -> None:
    ours = group("ours", **PORTS)
    both = {**PORTS, "sockopts": CONTROL["sockopts"]}
    hooks = CONTROLS["sockopts"].hooks
    added, removed = (
        [("attach", hook) for hook in hooks],
        [("detach", hook) for hook in sorted(hooks)],
    )
    assert ours.run(lambda: [*binding(1002), marking()]) == ["EPERM", "ok"]
    assert verbs(apply([entry(both)])) == [("store", ""), *added]
    assert ours.run(lambda: [*binding(1002), marking()]) == ["EPERM", "EPERM"]
    assert verbs(apply([entry(PORTS)])) == [("store", ""), *removed]
    assert ours.run(lambda: [*binding(1002), marking()]) == ["EPERM", "ok"]


def test_absent_leaves_nothing_behind(group: Make) -> None:
    group("ours", **CONTROL)
    group("theirs", **PORTS)
    assert apply([entry(None), entry(None, "theirs")])["changed"]
    assert everything() == {}
    assert not apply([entry(None), entry(None, "nowhere")])["changed"]


def test_absent_lets_everything_happen_again(group: Make) -> None:
    ours = group("ours", **CONTROL)
    apply([entry(None)])
    assert ours.run(lambda: [*binding(1002), marking()]) == ["ok", "ok"]
    assert ours.run(lambda: outcome(socket.socket, socket.AF_INET)) == "ok"


def test_what_is_pinned_is_for_root_alone(group: Make) -> None:
    group("ours", **PORTS)
    files = [path for path in pins(f"{BPFFS}/cgnet") if os.path.isfile(path)]
    assert {os.stat(path).st_mode & 0o777 for path in files} == {0o600}


def test_only_with_purge_a_policy_that_is_not_declared_goes(group: Make) -> None:
    ours, theirs = group("ours", **PORTS), group("theirs", **PORTS)
    assert not apply([entry(PORTS)])["changed"]
    result = apply([entry(PORTS)], purge=True)
    assert result["diff"] == {
        "before": {"theirs": {"bind_ports": SHOWN["bind_ports"], **IN_HOST}}, "after": {},
    }  # fmt: skip
    assert (attached(theirs.id), len(attached(ours.id))) == ([], 2)
    assert ours.run(lambda: binding(1002)) == ["EPERM"]
    assert theirs.run(lambda: binding(1002)) == ["ok"]
    assert not apply([entry(PORTS)], purge=True)["changed"]
    assert apply([], purge=True)["changed"]
    assert attached(ours.id) == []


def test_two_policies_of_one_run_are_enforced_apart(group: Make) -> None:
    ours, theirs, free = group("ours"), group("theirs"), group("free")
    policies = [entry(PORTS), entry({**OTHER_PORTS, "sockopts": {"allow": []}}, "theirs")]
    assert apply(policies)["controls"] == {
        "ours": {"bind_ports": "enforced"},
        "theirs": {"bind_ports": "enforced", "sockopts": "enforced"},
    }

    def look() -> list[Any]:
        with socket.socket() as sock:
            bound = outcome(sock.bind, ("", 1001))
        with socket.socket() as sock:
            return [bound, outcome(sock.bind, ("", 1002)), marking()]

    assert ours.run(look) == ["ok", "EPERM", "ok"]
    assert theirs.run(look) == ["EPERM", "ok", "EPERM"]
    assert free.run(look) == look() == ["ok", "ok", "ok"]
    assert not apply(policies)["changed"]


def test_a_cgroup_that_a_task_makes_below_its_own_is_held(group: Make) -> None:
    ours = group("ours", **PORTS, ipv4="hidden")

    def work() -> list[Any]:
        os.makedirs(f"{ours.directory}/own/deeper")
        return tasks.inside(
            f"{ours.directory}/own/deeper/cgroup.procs",
            lambda: [*binding(1001, 1002), outcome(socket.socket, socket.AF_INET)],
        )

    assert ours.run(work) == ["ok", "EPERM", "EAFNOSUPPORT"]


def test_there_may_be_more_cgroups_than_a_process_may_open_at_first(group: Make) -> None:
    """Each is held open meanwhile; the run lets itself open as many as the host allows."""
    made = [group(f"ours {number}") for number in range(40)]

    def work() -> tuple[int, bool, int]:
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, hard))
        result = apply([{"cgroup": each.path, **PORTS} for each in made])
        soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return len(result["controls"]), result["changed"], soft

    assert tasks.inside(f"{MOUNT}/cgroup.procs", work) == (40, True, 32)
    assert {each.run(lambda: tuple(binding(1001, 1002))) for each in made} == {("ok", "EPERM")}
