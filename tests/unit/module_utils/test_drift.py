# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A version that is not what was loaded is set aside, and what is mended shows in the diff."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _layout
from ansible_collections.linux.cgnet.plugins.module_utils._abi import LAYOUT
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry
from tests.unit.fake_kernel import FakeKernel

Run = Callable[..., dict[str, Any]]

DAMAGE = ("the map policies of its programs is not pinned",)
TOS: dict[str, Any] = {"tos": []}


def damaged(host: FakeKernel, name: str = "policy") -> str:
    """Damage the one version of an object; what its name becomes when it is set aside."""
    ((version, found),) = host.objects[name].items()
    found.damage = DAMAGE
    return f"{version}_damaged"


def test_its_cgroup_moves_to_one_that_is_made_anew_before_it_goes(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", **TOS))
    aside = damaged(host)
    attached = host.attached(a)
    told = run(entry("a.slice", **TOS), check=True)
    host.after_each = lambda: assert_held(host, a, attached)
    result = run(entry("a.slice", **TOS))
    assert result == told
    steps = [step["action"] for step in result["actions"]]
    assert steps[:4] == ["aside", "load", "hold", "store"]
    assert result["actions"][0] == {
        "action": "aside", "version": manifest["version"], "to": aside, "damage": list(DAMAGE),
    }  # fmt: skip
    assert result["diff"]["before"] == {
        f"version {manifest['version']}": {"damaged": list(DAMAGE)},
        "a.slice": {"version": aside, **TOS, **IN_HOST},
    }
    assert list(host.objects["policy"]) == [manifest["version"]]
    host.after_each = lambda: None
    assert not run(entry("a.slice", **TOS))["changed"]


def assert_held(host: FakeKernel, cgroup: Cgroup, programs: set[str]) -> None:
    """Every program is attached in one version or the other."""
    assert host.attached(cgroup) >= programs


def test_a_cgroup_that_is_not_named_stays_on_it_until_it_is(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", **TOS), entry("b.slice", **TOS))
    aside = damaged(host)
    run(entry("a.slice", **TOS))
    assert list(host.objects["policy"]) == [aside, manifest["version"]]
    assert host.attached(b)
    assert not run(entry("a.slice", **TOS))["changed"]
    (second,) = [each for each in host.objects["policy"] if each == manifest["version"]]
    host.objects["policy"][second].damage = DAMAGE
    run(entry("a.slice", **TOS))  # damaged once more, while one stands aside
    assert list(host.objects["policy"]) == [aside, manifest["version"]]
    run(entry("a.slice", **TOS), entry("b.slice", **TOS))
    assert list(host.objects["policy"]) == [manifest["version"]]


@pytest.mark.parametrize("purge", [False, True])
def test_absent_takes_it_away(host: FakeKernel, a: Cgroup, run: Run, purge: bool) -> None:
    run(entry("a.slice", **TOS))
    damaged(host)
    assert run(*([] if purge else [entry("a.slice", state="absent")]), purge=purge)["changed"]
    assert host.objects == {}


def test_nothing_is_set_aside_for_a_run_that_has_nothing_to_do(
    host: FakeKernel, a: Cgroup, b: Cgroup, run: Run
) -> None:
    run(entry("a.slice", **TOS))
    damaged(host)
    assert not run(entry("b.slice", state="absent"))["changed"]


def test_an_object_without_policies_is_replaced_on_all_its_cgroups(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    hold("a.slice", "b.slice")
    damaged(host, "raw_xmit")
    assert hold("a.slice")["changed"]
    assert list(host.objects["raw_xmit"]) == [sender["version"]]
    assert host.attached(b, "raw_xmit") == {name for name, _section in sender["programs"]}


def test_a_policy_that_can_not_be_read_is_not_moved_by_cgnet_program(
    host: FakeKernel, a: Cgroup, run: Run, attach: Run, shipped: dict[str, Any]
) -> None:
    run(entry("a.slice", **TOS))
    damaged(host)
    (found,) = host.objects["policy"].values()
    found.cgroups[a.id].value = None
    before = host.state()
    with pytest.raises(ObjectError, match="can't be read: the map policies of its programs is not"):
        attach("policy", ["a.slice"], **shipped)
    assert host.state() == before


def test_a_program_that_is_not_pinned_is_told(
    host: FakeKernel, a: Cgroup, run: Run, manifest: dict[str, Any]
) -> None:
    run(entry("a.slice", **TOS))
    host.objects["policy"][manifest["version"]].programs.remove("policy_connect4")
    result = run(entry("a.slice", **TOS))
    assert [step["action"] for step in result["actions"]] == ["load"]
    lost = {f"version {manifest['version']}": {"not pinned": ["policy_connect4"]}}
    assert result["diff"] == {"before": lost, "after": {}}


def test_a_version_that_stands_aside_is_read_as_it_was_written() -> None:
    version = _layout.version_name("f" * 64, LAYOUT)
    for aside in (f"{version}_damaged", f"{version}_damaged12"):
        assert _layout.same_layout(_layout.checked(aside), LAYOUT)
    assert not _layout.same_layout(version + _layout.STAGING, LAYOUT)
    assert _layout.aside("v", ["v_damaged", "v_damaged1"]) == "v_damaged2"
