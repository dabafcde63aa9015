# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_program: an object's programs are where they are wanted, and policies move with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _layout,
    _policy,
    _stored,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    InputError,
    ObjectError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.shown import IN_HOST
from tests.unit.conftest import entry, older
from tests.unit.fake_kernel import HOST, FakeKernel

Run = Callable[..., dict[str, Any]]
HOLDER = "policy_holder"
COUNT, DROP = ["count", "cgroup_skb/egress"], ["drop", "cgroup_skb/ingress"]
WATCH = ["watch", "lsm_cgroup/socket_bind"]
NO_LSM = HOST._replace(lsm=("lockdown", "capability"))


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The arguments for an object of one's own, by its bytes and its programs."""

    def hand_over(data: bytes, *programs: list[str]) -> dict[str, Any]:
        sha256 = hashlib.sha256(data).hexdigest()
        path = tmp_path / f"{sha256}.bpf.o"
        path.write_bytes(data)
        version = _layout.version_name(sha256, None)
        manifest = {"name": "mine", "sha256": sha256, "version": version, "storage": ""}
        return {"_object": {**manifest, "programs": programs}, "_object_path": str(path)}

    return hand_over


def steps(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Kind, cgroup and program of each action, as far as it has them."""
    keys = ("action", "cgroup", "program")
    return [tuple(step[key] for key in keys if key in step) for step in result["actions"]]


# An object of one's own.


def test_every_program_is_attached_to_each_cgroup_in_the_objects_order(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    result = attach("mine", ["b.slice", "a.slice"], **own(b"1", DROP, COUNT))
    assert steps(result) == [
        ("load",),
        ("attach", "b.slice", "drop"), ("attach", "b.slice", "count"),
        ("attach", "a.slice", "drop"), ("attach", "a.slice", "count"),
    ]  # fmt: skip
    assert host.attached(a, "mine") == host.attached(b, "mine") == {"count", "drop"}
    assert "controls" not in result


def test_the_second_run_changes_nothing(host: FakeKernel, a: Cgroup, attach: Run, own: Run) -> None:
    attach("mine", ["a.slice"], **own(b"1", COUNT))
    again = attach("mine", ["a.slice"], **{**own(b"1", COUNT), "_object_path": None})
    assert (again["changed"], again["actions"]) == (False, [])
    assert again["diff"] == {"before": {}, "after": {}}


def test_a_changed_object_stands_on_every_cgroup_before_the_old_one_goes(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    attach("mine", ["a.slice", "b.slice"], **own(b"1", COUNT))
    result = attach("mine", ["b.slice"], **own(b"2", COUNT, DROP))
    assert steps(result) == [
        ("load",),
        ("attach", "b.slice", "count"), ("attach", "b.slice", "drop"),
        ("attach", "a.slice", "count"), ("attach", "a.slice", "drop"),
        ("detach", "a.slice", "count"), ("detach", "b.slice", "count"),
        ("unload",),
    ]  # fmt: skip
    assert host.attached(a, "mine") == host.attached(b, "mine") == {"count", "drop"}
    assert len(host.objects["mine"]) == 1


def test_other_cgroups_that_have_the_object_keep_it(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    attach("mine", ["a.slice"], **own(b"1", COUNT))
    attach("mine", ["b.slice"], **own(b"1", COUNT))
    assert host.attached(a, "mine") == host.attached(b, "mine") == {"count"}


def test_a_policy_is_another_object(
    host: FakeKernel, a: Cgroup, run: Run, attach: Run, own: Run
) -> None:
    run(entry("a.slice", tos=[]))
    before = host.state()["policy"]
    attach("mine", ["a.slice"], **own(b"1", COUNT))
    attach("mine", None)
    assert host.state() == {"policy": before}


# Absent.


def test_absent_without_cgroups_leaves_nothing(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    attach("mine", ["a.slice", "b.slice"], **own(b"1", COUNT))
    assert attach("mine", None)["changed"]
    assert host.objects == {}
    assert not attach("mine", None)["changed"]


def test_absent_leaves_the_cgroups_that_are_named(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    attach("mine", ["a.slice", "b.slice"], **own(b"1", COUNT))
    assert steps(attach("mine", ["a.slice"])) == [("detach", "a.slice", "count")]
    assert (host.attached(a, "mine"), host.attached(b, "mine")) == (set(), {"count"})


@pytest.mark.parametrize("cgroups", [[], ["none.slice"]])
def test_absent_of_no_cgroup_that_exists_is_no_change(
    host: FakeKernel, a: Cgroup, attach: Run, own: Run, cgroups: list[str]
) -> None:
    attach("mine", ["a.slice"], **own(b"1", COUNT))
    assert not attach("mine", cgroups)["changed"]


# What is refused.


@pytest.mark.parametrize(
    ("cgroups", "message"),
    [
        ([], "cgroups: [] is not possible: at least one cgroup. Name one."),
        (None, "cgroups: None is not possible: at least one cgroup. Name one."),
        (["a.slice", "b.slice/../a.slice"],
         "cgroups[1]: 'b.slice/../a.slice' is not possible: it is the same cgroup as cgroups[0]. "
         "Name it once."),
        (["a.slice", "none.slice"],
         "cgroups[1]: 'none.slice' is not possible: there is no such cgroup below {mount}. "
         "Start the service or make the cgroup first."),
    ],
)  # fmt: skip
def test_cgroups_that_are_not_possible(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run,
    cgroups: list[str] | None, message: str,
) -> None:  # fmt: skip
    with pytest.raises(InputError) as caught:
        attach("mine", cgroups, **own(b"1", COUNT))
    assert str(caught.value) == message.format(mount=host.hierarchy.mount)
    assert host.calls == []


def test_a_program_that_would_never_run_is_refused(
    host: FakeKernel, a: Cgroup, attach: Run, own: Run
) -> None:
    host._facts = NO_LSM
    with pytest.raises(UnsupportedError) as caught:
        attach("mine", ["a.slice"], **own(b"1", COUNT, WATCH))
    assert str(caught.value) == (
        "a.slice: program watch can't be enforced on this host: the hook socket_bind needs "
        '"bpf" in /sys/kernel/security/lsm, which reads "lockdown,capability": boot with '
        '"lsm=lockdown,capability,bpf" on the kernel\'s command line. Nothing was changed. '
        "Or leave that program out of the object."
    )
    assert host.calls == []


def test_what_is_present_without_the_controllers_object_is_refused_not_removed(
    host: FakeKernel, a: Cgroup, attach: Run, own: Run
) -> None:
    attach("mine", ["a.slice"], **own(b"1", COUNT))
    with pytest.raises(ObjectError, match="object mine: the controller has not handed it over"):
        attach("mine", ["a.slice"], _object=None, _object_path=None)
    assert host.attached(a, "mine") == {"count"}


# The bundled object.


def held(host: FakeKernel, cgroup: Cgroup, version: str) -> dict[str, Any] | None:
    """The policy that one version holds for a cgroup."""
    return _stored.shown(host.observe("policy"), cgroup.id, version, HOST.netns_cookie)


def test_the_bundled_object_stands_ready_and_enforces_nothing(
    host: FakeKernel, a: Cgroup, attach: Run, shipped: dict[str, Any], manifest: dict[str, Any]
) -> None:
    result = attach("policy", ["a.slice"], **shipped)
    assert steps(result) == [("load",), ("attach", "a.slice", HOLDER)]
    assert held(host, a, manifest["version"]) is None
    programs = {name for name, _section in manifest["programs"]}
    assert host.objects["policy"][manifest["version"]].programs == programs


def test_a_policy_then_needs_no_object(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any]
) -> None:
    attach("policy", ["a.slice"], **shipped)
    run(entry("a.slice", tos=[]), _object_path=None)
    assert host.attached(a) == {HOLDER, *_policy.CONTROLS["tos"].hooks}
    assert not attach("policy", ["a.slice"], **shipped)["changed"]


def test_policies_move_to_the_bundled_version_on_every_cgroup(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", tos=["cs1"]), entry("b.slice", ipv4="hidden"))
    older(host, manifest["layout"])
    attach("policy", ["a.slice"], **shipped)
    version = manifest["version"]
    assert list(host.objects["policy"]) == [version]
    assert held(host, a, version) == {"tos": ["cs1"], **IN_HOST}
    assert held(host, b, version) == {"ipv4": "hidden", **IN_HOST}
    assert host.attached(b) == {HOLDER, *_policy.CONTROLS["ipv4"].hooks}
    assert not run(entry("a.slice", tos=["cs1"]), entry("b.slice", ipv4="hidden"))["changed"]


def test_a_cgroup_that_an_older_version_only_knew_is_left_alone(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", tos=[]), entry("b.slice", tos=[]))
    run(entry("b.slice", state="absent"))
    older(host, manifest["layout"])
    attach("policy", ["a.slice"], **shipped)
    assert host.attached(b) == set()


def test_a_policy_of_another_layout_is_not_moved(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any]
) -> None:
    run(entry("a.slice", tos=[]))
    version = older(host, None)
    before = host.state()
    with pytest.raises(ObjectError) as caught:
        attach("policy", ["a.slice"], **shipped)
    assert str(caught.value) == (
        f"object policy: version {version} stores policies in another layout. "
        "Declare them with cgnet_policy, which writes them in the new one."
    )
    assert host.state() == before


def test_a_policy_that_a_killed_run_had_replaced_does_not_come_back(
    host: FakeKernel, a: Cgroup, attach: Run, run: Run, shipped: dict[str, Any],
    manifest: dict[str, Any],
) -> None:  # fmt: skip
    run(entry("a.slice", tos=["cs1"]))
    older(host, manifest["layout"])

    def killed() -> None:
        if host.calls[-1] == "detach":
            raise KeyboardInterrupt

    host.after_each = killed
    with pytest.raises(KeyboardInterrupt):
        run(entry("a.slice", tos=["cs2"]))
    host.after_each = lambda: None
    attach("policy", ["a.slice"], **shipped)
    assert list(host.objects["policy"]) == [manifest["version"]]
    assert held(host, a, manifest["version"]) == {"tos": ["cs2"], **IN_HOST}


def test_the_bundled_object_is_loaded_as_far_as_this_kernel_takes_it(
    host: FakeKernel, a: Cgroup, attach: Run, shipped: dict[str, Any], manifest: dict[str, Any]
) -> None:
    host._facts = NO_LSM
    attach("policy", ["a.slice"], **shipped)
    loaded = {name for name, section in manifest["programs"] if "lsm" not in section}
    assert host.objects["policy"][manifest["version"]].programs == loaded


# The diff.


def test_the_diff_is_programs_and_version_by_cgroup(
    host: FakeKernel, a: Cgroup, b: Cgroup, attach: Run, own: Run
) -> None:
    first, second = own(b"1", DROP, COUNT), own(b"2", COUNT)
    one = {"version": first["_object"]["version"], "programs": ["count", "drop"]}
    two = {"version": second["_object"]["version"], "programs": ["count"]}
    assert attach("mine", ["a.slice"], **first)["diff"] == {"before": {}, "after": {"a.slice": one}}
    assert attach("mine", ["b.slice"], **second)["diff"] == {
        "before": {"a.slice": one},
        "after": {"a.slice": two, "b.slice": two},
    }
    host.kill(b)
    left = {"gone": "its cgroup was removed", "left": ["count"]}
    assert attach("mine", ["a.slice"])["diff"] == {
        "before": {"a.slice": two, f"id {b.id} (gone)": left},
        "after": {},
    }
