# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_policy: what is declared is held, and what is not is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policy, _stored
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    ObjectError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_ANY, IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import HOST, FakeKernel

pytestmark = pytest.mark.usefixtures("closed")
Run = Callable[..., dict[str, Any]]
HOLDER = "policy_holder"
NO_LSM = HOST._replace(lsm=("lockdown", "capability"))
# Each control with a value, as a user writes it and as it is shown.
VALUES: dict[str, tuple[Any, Any]] = {
    "priority": ("1:10", "1:10"),
    "tos": ([0x48, "cs1"], ["cs1", "af21"]),
    "bind_ports": ({"tcp": [443, 80]}, {"tcp": [80, 443], "below": 16384, "unprivileged": False}),
    "ipv4": ("hidden", "hidden"),
    "sockopts": ({"deny": ["1/36"]}, {"deny": ["SOL_SOCKET/SO_MARK"]}),
}


def held(host: FakeKernel, cgroup: Cgroup) -> dict[str, Any] | None:
    """The policy that a cgroup is held to, as a user writes it."""
    observed = host.observe("policy")
    (version,) = observed.versions or ("",)
    return _stored.shown(observed, cgroup.id, version, HOST.netns_cookie)


# What is declared.


@pytest.mark.parametrize("control", _policy.CONTROLS)
def test_a_control_is_held_by_its_own_hooks_and_no_other(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, control: str
) -> None:
    written, shown = VALUES[control]
    result = run(entry("a.slice", **{control: written}))
    assert host.attached(a) == set(_policy.CONTROLS[control].hooks)
    assert host.attached(b) == set()
    assert held(host, a) == {control: shown, **IN_HOST}
    assert result["controls"] == {"a.slice": {control: "enforced"}}
    assert result["warnings"] == []


def test_all_controls_together(host: FakeKernel, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", netns="any", **{name: pair[0] for name, pair in VALUES.items()}))
    assert host.attached(a) == {hook for spec in _policy.CONTROLS.values() for hook in spec.hooks}
    assert held(host, a) == {**{name: pair[1] for name, pair in VALUES.items()}, **IN_ANY}


def test_hooks_are_attached_in_the_objects_order(host: FakeKernel, a: Cgroup, run: Run) -> None:
    result = run(entry("a.slice", priority=1, bind_ports={"tcp": []}))
    steps = [step["program"] for step in result["actions"] if step["action"] == "attach"]
    assert steps == [
        "policy_sock_create", "policy_setsockopt", "policy_sockops", "policy_egress",
        "policy_bind4", "policy_bind6", "policy_post_create", "policy_lsm_setsockopt",
        "policy_sendmsg", "policy_sock_graft",
    ]  # fmt: skip


def test_every_program_that_can_be_loaded_is_loaded_once(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", ipv4="hidden"), entry("b.slice", tos=[]))
    run(entry("a.slice", priority=1), entry("b.slice", sockopts={"deny": []}))
    assert host.calls.count("load") == 1
    programs = {name for name, _section in manifest["programs"]}
    assert host.objects["policy"][manifest["version"]].programs == programs


def test_the_second_run_changes_nothing(host: FakeKernel, a: Cgroup, b: Cgroup, run: Run) -> None:
    entries = [entry("a.slice", priority="1:10"), entry("b.slice", state="absent")]
    run(*entries)
    result = run(*entries, _object_path=None)
    assert (result["changed"], result["actions"]) == (False, [])
    assert result["diff"] == {"before": {}, "after": {}}
    assert result["controls"] == {"a.slice": {"priority": "enforced"}}


def test_a_key_without_a_value_was_not_given(host: FakeKernel, a: Cgroup, run: Run) -> None:
    ports = {"tcp": [443], "udp": None, "below": None, "unprivileged": None}
    unset = dict.fromkeys(["unit", "priority", "tos", "ipv4", "sockopts", "netns"])
    run({**unset, "cgroup": "a.slice", "state": "present", "bind_ports": ports})
    expected = {"tcp": [443], "below": 16384, "unprivileged": False}
    assert held(host, a) == {"bind_ports": expected, **IN_HOST}


def test_absent_leaves_nothing(host: FakeKernel, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", ipv4="hidden"))
    assert run(entry("a.slice", state="absent"))["changed"]
    assert host.objects == {}


def test_absent_keeps_the_holder_that_cgnet_program_has_pinned(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", ipv4="hidden"))
    host.objects["policy"][manifest["version"]].cgroups[a.id].links[HOLDER] = True
    run(entry("a.slice", state="absent"))
    assert (host.attached(a), held(host, a)) == ({HOLDER}, None)
    run(entry("a.slice", ipv4="hidden"), _object_path=None)
    assert HOLDER in host.attached(a)


@pytest.mark.parametrize("name", ["none.slice", "a.slice/none.service"])
def test_absent_of_a_cgroup_that_does_not_exist_is_no_change(
    host: FakeKernel, a: Cgroup, run: Run, name: str
) -> None:
    run(entry("a.slice", ipv4="hidden"))
    before = host.state()
    assert not run(entry(name, state="absent"))["changed"]
    assert host.state() == before


def test_what_is_present_without_the_controllers_object_is_refused_not_removed(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    run(entry("a.slice", ipv4="hidden"))
    before = host.state()
    with pytest.raises(ObjectError, match="the controller has not handed it over"):
        run(entry("a.slice", ipv4="hidden"), _object=None)
    assert host.state() == before


# What this kernel can't enforce.


LACKS = (
    'the hook {} needs "bpf" in /sys/kernel/security/lsm, which reads "lockdown,capability": '
    'boot with "lsm=lockdown,capability,bpf" on the kernel\'s command line'
)


def lacks(*hooks: str) -> str:
    return "; ".join(LACKS.format(hook) for hook in hooks)


def test_a_control_that_cannot_be_enforced_in_full_fails_before_anything_is_changed(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    host._facts = NO_LSM
    with pytest.raises(UnsupportedError) as caught:
        run(entry("a.slice", tos=[]), entry("b.slice", priority=1))
    reason = lacks("socket_post_create", "sock_graft", "socket_setsockopt", "socket_sendmsg")
    assert str(caught.value) == (
        f"b.slice: priority can't be enforced on this host: {reason}. Nothing was changed. "
        'To apply what is possible all the same: "on_unsupported: warn".'
    )
    assert host.calls == []


def test_a_control_that_needs_no_lsm_is_enforced_without_one(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    host._facts = NO_LSM
    result = run(entry("a.slice", ipv4="hidden", bind_ports={"udp": []}))
    assert result["controls"] == {"a.slice": {"bind_ports": "enforced", "ipv4": "enforced"}}
    loaded = {name for name, section in manifest["programs"] if "lsm" not in section}
    assert host.objects["policy"][manifest["version"]].programs == loaded


def test_socket_options_can_be_set_past_the_cgroups_own_hook_where_there_is_no_lsm(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host._facts = NO_LSM
    result = run(entry("a.slice", sockopts={"deny": []}), on_unsupported="warn")
    assert result["controls"] == {"a.slice": {"sockopts": lacks("socket_setsockopt")}}
    assert host.attached(a) == {"policy_setsockopt"}


def test_with_warn_what_is_possible_is_held_and_the_rest_is_told(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host._facts = NO_LSM
    reason = lacks("socket_post_create", "sock_graft", "socket_setsockopt", "socket_sendmsg")
    for changed in (True, False):
        result = run(entry("a.slice", priority=1, tos=[]), on_unsupported="warn")
        assert result["changed"] == changed
        assert result["controls"] == {"a.slice": {"priority": reason, "tos": "enforced"}}
        assert result["warnings"] == [f"a.slice: priority is not enforced in full: {reason}"]
    assert host.attached(a) == {
        "policy_sock_create", "policy_setsockopt", "policy_sockops", "policy_egress",
        "policy_bind4", "policy_bind6",
    }  # fmt: skip
    assert held(host, a) == {"priority": 1, "tos": [], **IN_HOST}


# What is not declared.


def test_a_cgroup_that_is_not_declared_is_left_alone(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", ipv4="hidden"))
    run(entry("a.slice", tos=["cs1"]))
    assert held(host, b) == {"ipv4": "hidden", **IN_HOST}
    run(entry("a.slice", state="absent"))
    assert (held(host, a), held(host, b)) == (None, {"ipv4": "hidden", **IN_HOST})


def test_purge_removes_what_is_not_declared(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", ipv4="hidden"))
    result = run(entry("a.slice", tos=[]), purge=True)
    assert (held(host, a), held(host, b)) == ({"tos": [], **IN_HOST}, None)
    assert host.attached(b) == set()
    shown = {"before": {"b.slice": {"ipv4": "hidden", **IN_HOST}}, "after": {}}
    assert result["diff"] == shown
    assert not run(entry("a.slice", tos=[]), purge=True)["changed"]


def test_purge_with_nothing_declared_leaves_nothing(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", ipv4="hidden"))
    run(purge=True)
    assert host.objects == {}


def test_nothing_declared_and_no_purge_is_nothing(host: FakeKernel, a: Cgroup, run: Run) -> None:
    run(entry("a.slice", tos=[]))
    assert not run()["changed"]


def test_purge_keeps_the_holder_that_cgnet_program_has_pinned(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    host.objects["policy"][manifest["version"]].cgroups[a.id].links[HOLDER] = True
    run(purge=True)
    assert host.attached(a) == {HOLDER}
    assert not run(purge=True)["changed"]


def test_what_dead_cgroups_left_goes_with_any_run(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", tos=[]), entry("b.slice", tos=[]))
    host.kill(b)
    result = run(entry("a.slice", tos=[]))
    assert host.attached(b) == set()
    assert {step["cgroup"] for step in result["actions"]} == {f"id {b.id}"}
    left = [step["program"] for step in result["actions"]]
    gone = {f"id {b.id} (gone)": {"gone": "its cgroup was removed", "left": left}}
    assert result["diff"] == {"before": gone, "after": {}}
