# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others attached that leaves no room is told, and asked for only where it matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ConflictError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Hindrance

from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]

PORTS = {"bind_ports": {"tcp": [1]}}
LSM = {"sockopts": {"deny": []}}
TEN = tuple(f"hook_{number}" for number in range(10))


def refused(host: FakeKernel, run: Run, *entries: dict[str, Any]) -> str:
    """What check mode and a run say alike, before anything is changed."""
    before, told = host.state(), []
    for check in (True, False):
        with pytest.raises(ConflictError) as raised:
            run(*entries, check=check)
        told.append(str(raised.value))
    assert (host.state(), told[0]) == (before, told[1])
    return told[0]


@pytest.mark.parametrize(
    ("found", "where", "why"),
    [
        (Hindrance("a.slice", 7, "x", True), "a.slice", "which forbids others"),
        (Hindrance(".", 7, "x", True), "the root cgroup", "which forbids others"),
        (Hindrance("up", 7, "x", False), "up",
         "and with BPF_F_ALLOW_OVERRIDE, so that it would no longer run for this cgroup"),
    ],
)  # fmt: skip
def test_a_program_in_the_way_is_told_with_where_and_why(
    host: FakeKernel, a: Cgroup, run: Run, found: Hindrance, where: str, why: str
) -> None:
    host.others[a.id, "cgroup/bind6"] = found
    assert refused(host, run, entry("a.slice", **PORTS)) == (
        'a.slice: policy_bind6 (cgroup/bind6) can\'t be attached: program 7 "x" is attached to '
        f"{where} on this hook without BPF_F_ALLOW_MULTI, {why}. Nothing was changed. Let whoever "
        "attached it do so with BPF_F_ALLOW_MULTI (bpftool cgroup attach ... multi), or detach it "
        "(bpftool cgroup detach)."
    )


def test_one_cgroup_of_several_is_enough(host: FakeKernel, a: Cgroup, b: Cgroup, run: Run) -> None:
    host.others[b.id, "cgroup/bind4"] = Hindrance("b.slice", 7, "x", True)
    told = refused(host, run, entry("a.slice", **PORTS), entry("b.slice", **PORTS))
    assert told.startswith("b.slice: policy_bind4 ")
    assert run(entry("a.slice", **PORTS))["changed"]


def test_the_holder_is_asked_for_too(host: FakeKernel, a: Cgroup, run: Run) -> None:
    host.others[a.id, "cgroup/sysctl"] = Hindrance("a.slice", 7, "x", True)
    assert "policy_holder (cgroup/sysctl)" in refused(host, run, entry("a.slice", **PORTS))


def test_a_plan_that_attaches_nothing_asks_for_nothing(
    host: FakeKernel, a: Cgroup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(entry("a.slice", **PORTS, **LSM))

    def never(*_args: Any) -> Any:
        raise AssertionError("this is not to be asked")

    monkeypatch.setattr(FakeKernel, "hindrances", never)
    monkeypatch.setattr(FakeKernel, "slots", never)
    assert not run(entry("a.slice", **PORTS, **LSM))["changed"]
    assert run(entry("a.slice", **PORTS, sockopts={"allow": []}))["changed"]
    assert run(entry("a.slice", state="absent"))["changed"]


def test_slots_are_asked_for_only_where_an_lsm_hook_is_attached_to(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host.hooks = TEN
    assert run(entry("a.slice", **PORTS))["changed"]


def test_that_all_slots_are_taken_is_told_with_every_hook(
    host: FakeKernel, a: Cgroup, run: Run
) -> None:
    host.hooks = TEN
    taken = "; ".join(f"{hook} by 9 ({hook})" for hook in TEN)
    assert refused(host, run, entry("a.slice", **LSM)) == (
        "policy_lsm_setsockopt (lsm_cgroup/socket_setsockopt) can't be attached: one kernel can "
        f"have programs of lsm_cgroup on 10 hooks, of which 10 are taken ({taken}), and this "
        "needs 1 more. Nothing was changed. Remove the programs of as many hooks (bpftool link "
        "shows whose they are), or leave out what needs them: priority, sockopts or raw_xmit."
    )


@pytest.mark.parametrize("hooks", [TEN[:9], (*TEN[:9], "socket_setsockopt")])
def test_a_slot_that_is_left_or_has_the_same_hook_is_enough(
    host: FakeKernel, a: Cgroup, run: Run, hooks: tuple[str, ...]
) -> None:
    host.hooks = hooks
    assert run(entry("a.slice", **LSM))["changed"]


def test_other_modules_ask_too(
    host: FakeKernel, a: Cgroup, hold: Callable[..., dict[str, Any]]
) -> None:
    host.hooks = TEN[:7]
    with pytest.raises(ConflictError, match=r"10 hooks, of which 7 are taken .* needs 4 more"):
        hold("a.slice")
    host.hooks = TEN[:6]
    assert hold("a.slice")["changed"]
