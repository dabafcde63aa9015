# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit: which cgroups a task means, and what is refused before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    ObjectError,
    UnsupportedError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Facts, Ring

from tests.unit.fake_kernel import HOST, FakeKernel

Run = Callable[..., dict[str, Any]]
RING = Ring(17, "descriptor 5 receives there")


def refused(host: FakeKernel, hold: Run, *cgroups: str, **more: Any) -> str:
    """The message with which a task is refused; nothing is changed."""
    before, calls = host.state(), list(host.calls)
    with pytest.raises(InputError) as caught:
        hold(*cgroups, **more)
    assert (host.state(), host.calls, host.locked) == (before, calls, "all")
    return str(caught.value)


# Cgroups and units.


@pytest.mark.parametrize(
    ("cgroup", "unit", "shown"),
    [(None, None, "None"), ([], None, "[]"), (None, [], "None"), ([], [], "[]")],
)
@pytest.mark.parametrize("state", ["present", "absent"])
def test_at_least_one_cgroup_is_named(
    host: FakeKernel, a: Cgroup, hold: Run, cgroup: Any, unit: Any, shown: str, state: str
) -> None:
    hold("a.slice")
    assert refused(host, hold, cgroup=cgroup, unit=unit, state=state) == (
        f"cgroup: {shown} is not possible: it takes cgroup or unit. Name one."
    )


def test_units_and_cgroups_together(
    host: FakeKernel, a: Cgroup, hold: Run, units: dict[str, str]
) -> None:
    probe = host.make("system.slice/probe.service")
    units["probe.service"] = probe.path
    result = hold("a.slice", unit=["probe.service"])
    assert host.attached(a, "raw_xmit") == host.attached(probe, "raw_xmit") != set()
    assert list(result["controls"]) == ["a.slice", "system.slice/probe.service"]
    hold(unit=["probe.service"], state="absent")
    assert host.attached(probe, "raw_xmit") == set() != host.attached(a, "raw_xmit")
    assert not hold(cgroup=None, unit=["probe.service"], state="absent")["changed"]


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_cgroup_is_named_once_whatever_it_is_called(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, state: str
) -> None:
    path = f"{host.hierarchy.mount}/b.slice/../a.slice"
    assert refused(host, hold, "a.slice", "b.slice", path, state=state) == (
        f"cgroup[2]: {path!r} is not possible: it is the same cgroup as cgroup[0]. Name it once."
    )


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_unit_and_its_cgroup_are_the_same_cgroup(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, units: dict[str, str], state: str
) -> None:
    units["a.slice"] = "a.slice"
    assert refused(host, hold, "b.slice", "a.slice", unit=["a.slice"], state=state) == (
        "unit[0]: 'a.slice' is not possible: it is the same cgroup as cgroup[1]. Name it once."
    )


def test_a_unit_is_named_once(
    host: FakeKernel, a: Cgroup, hold: Run, units: dict[str, str]
) -> None:
    units["a.slice"] = "a.slice"
    assert refused(host, hold, unit=["a.slice", "a.slice"]) == (
        "unit[1]: 'a.slice' is not possible: it is the same cgroup as unit[0]. Name it once."
    )


def test_a_cgroup_that_does_not_exist_is_refused_where_it_is_present(
    host: FakeKernel, a: Cgroup, hold: Run
) -> None:
    assert refused(host, hold, "a.slice", "none.slice") == (
        f"cgroup[1]: 'none.slice' is not possible: there is no such cgroup below "
        f"{host.hierarchy.mount}. Start the service or make the cgroup first."
    )


@pytest.mark.parametrize("told", ["", "system.slice/gone.service"])
def test_a_unit_that_does_not_run_is_refused_where_it_is_present(
    host: FakeKernel, a: Cgroup, hold: Run, units: dict[str, str], told: str
) -> None:
    units["gone.service"] = told
    assert refused(host, hold, "a.slice", unit=["gone.service"]) == (
        "unit[0]: 'gone.service' is not possible: it does not run, so it has no cgroup. Start it."
    )
    assert not hold(unit=["gone.service"], state="absent")["changed"]


def test_the_root_cgroup_is_refused(host: FakeKernel, hold: Run) -> None:
    message = refused(host, hold, "/")
    assert message.startswith("cgroup[0]: '/' is not possible: ")


# What this kernel, or what a task holds, makes impossible.


@pytest.mark.parametrize(
    ("facts", "lacks"),
    [
        (HOST._replace(lsm=("lockdown", "capability")),
         'the hook socket_create needs "bpf" in /sys/kernel/security/lsm, which reads '
         '"lockdown,capability": boot with "lsm=lockdown,capability,bpf" on the kernel\'s '
         "command line"),
        (HOST._replace(lsm=None),
         "the hook socket_create needs the BPF LSM, and whether it is on can't be told: "
         "mount -t securityfs securityfs /sys/kernel/security"),
        (HOST._replace(lsm_cgroup=False),
         "the hook socket_create needs lsm_cgroup: Linux >= 6.0 with CONFIG_BPF_LSM and "
         "CONFIG_DEBUG_INFO_BTF; this host runs 6.1.0-fake"),
    ],
    ids=["lsm", "securityfs", "lsm_cgroup"],
)  # fmt: skip
@pytest.mark.parametrize("check", [False, True])
def test_a_kernel_that_can_not_enforce_it_is_refused_before_anything_is_changed(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, facts: Facts, lacks: str, check: bool
) -> None:
    host._facts = facts
    with pytest.raises(UnsupportedError) as caught:
        hold("b.slice", "a.slice", check=check)
    assert str(caught.value) == (
        f"b.slice: raw_xmit can't be enforced on this host: {lacks}. Nothing was changed. "
        "There is no way without it."
    )
    assert (host.calls, host.locked) == ([], "all")


def test_absent_needs_nothing_of_the_kernel(host: FakeKernel, a: Cgroup, hold: Run) -> None:
    hold("a.slice")
    host._facts = HOST._replace(lsm=None, lsm_cgroup=False)
    hold("a.slice", state="absent")
    assert host.objects == {}


@pytest.mark.parametrize("check", [False, True])
def test_a_ring_is_refused_with_its_process_before_anything_is_changed(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run, check: bool
) -> None:
    host.held = {b.id: (RING, Ring(18, "it maps socket 9"))}
    with pytest.raises(HostError) as caught:
        hold("a.slice", "b.slice", check=check)
    assert str(caught.value) == (
        "b.slice: process 17 may read what it receives from memory (descriptor 5 receives there), "
        "where no hook can refuse it. Let it close and unmap that AF_PACKET or AF_XDP socket, or "
        "end it."
    )
    assert (host.objects, host.calls, host.locked) == ({}, [], "all")


def test_a_ring_fails_a_run_that_has_nothing_to_do_too(
    host: FakeKernel, a: Cgroup, hold: Run
) -> None:
    hold("a.slice")
    before, calls = host.state(), list(host.calls)
    host.held = {a.id: (RING,)}
    with pytest.raises(HostError, match=r"^a\.slice: process 17 "):
        hold("a.slice")
    assert (host.state(), host.calls) == (before, calls)


def test_a_ring_that_was_made_while_the_programs_were_attached_fails_the_task(
    host: FakeKernel, a: Cgroup, hold: Run, sender: dict[str, Any]
) -> None:
    host.after_each = lambda: host.held.update({a.id: (RING,)})
    with pytest.raises(
        HostError, match=r"^a\.slice: process 17 .* \(descriptor 5 receives there\)"
    ):
        hold("a.slice")
    assert host.attached(a, "raw_xmit") == {name for name, _section in sender["programs"]}
    assert host.locked == "all"


def test_rings_of_other_cgroups_are_not_looked_at(
    host: FakeKernel, a: Cgroup, b: Cgroup, hold: Run
) -> None:
    host.held = {b.id: (RING,)}
    assert hold("a.slice")["changed"]


def test_absent_does_not_mind_a_ring(host: FakeKernel, a: Cgroup, hold: Run) -> None:
    hold("a.slice")
    host.held = {a.id: (RING,)}
    assert hold("a.slice", state="absent")["changed"]
    assert host.objects == {}


def test_what_is_present_without_the_controllers_object_is_refused_not_removed(
    host: FakeKernel, a: Cgroup, hold: Run
) -> None:
    hold("a.slice")
    before = host.state()
    with pytest.raises(ObjectError) as caught:
        hold("a.slice", _object=None, _object_path=None)
    assert str(caught.value) == (
        "object raw_xmit: the controller has not handed it over. "
        "Let the action plugin run the module."
    )
    assert host.state() == before
