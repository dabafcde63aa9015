# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_info: what this kernel can do, and what of ours it holds; it changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _policies
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import LOCK, Kernel

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, break_link, info, program, shipped
from tests.kernel.seen import everything
from tests.shown import IN_ANY, IN_HOST

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

POLICY = shipped().manifest
VERSION = POLICY["version"]
PROGRAMS = sorted(name for name, _section in POLICY["programs"])
PORTS: dict[str, Any] = {"bind_ports": {"tcp": [1001]}}
SHOWN = {
    "version": VERSION,
    "bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False},
    **IN_HOST,
}


def entry(attached: list[str], broken: list[str] | None = None) -> dict[str, list[str]]:
    return {"attached": attached, "broken": broken or []}


def cgroups() -> Any:
    """What it tells of the cgroups of the bundled object."""
    return info()["objects"]["policy"][VERSION]["cgroups"]


def test_of_a_kernel_that_can_do_everything_it_says_so() -> None:
    free = {"total": 10, "used": 0, "hooks": []}
    assert tasks.eventually(lambda: info()["kernel"]["lsm_cgroup_slots"], free) == free
    found = info()
    libbpf = found["kernel"].pop("libbpf")
    assert found == {
        "changed": False,
        "kernel": {
            "release": os.uname().release,
            "lsm": Path("/sys/kernel/security/lsm").read_text().strip().split(","),
            "lsm_cgroup": "supported",
            "lsm_cgroup_slots": free,
            "cgroup_mount": "/sys/fs/cgroup",
            "pins": "/sys/fs/bpf/cgnet",
        },
        "objects": {},
        "altered": [],
        "policies": {},
        "counters": {},
        "raw_xmit": {},
        "permanent": {"policies": {}, "raw_xmit": []},
    }
    assert libbpf.startswith("v1.")


def test_a_policy_is_told_with_what_is_attached(group: Make) -> None:
    group("ours", **PORTS)
    group("theirs", priority="1:10", netns="any")
    found = info()
    assert found["policies"] == {
        "ours": SHOWN,
        "theirs": {"version": VERSION, "priority": "1:10", **IN_ANY},
    }
    assert found["objects"] == {
        "policy": {
            VERSION: {
                "programs": PROGRAMS,
                "cgroups": {
                    "ours": entry(["policy_bind4", "policy_bind6"]),
                    "theirs": entry(sorted(_policies.hooks_of("priority", Kernel.open().facts()))),
                },
            }
        }
    }


def test_what_it_tells_can_be_declared(group: Make) -> None:
    policy = {
        "priority": 6, "tos": ["ef", 4], "bind_ports": {"udp": ["1-5"], "below": 99},
        "ipv4": "hidden", "sockopts": {"allow": ["6/1"]}, **IN_ANY,
    }  # fmt: skip
    group("ours", **policy)
    told = {key: value for key, value in info()["policies"]["ours"].items() if key != "version"}
    assert not apply([{"cgroup": "ours", **told}])["changed"]


def test_a_broken_link_is_told(group: Make) -> None:
    ours = group("ours", **PORTS)
    break_link(ours, "policy_bind6")
    assert cgroups() == {"ours": entry(["policy_bind4"], ["policy_bind6"])}


def test_what_a_removed_cgroup_left_is_told_by_its_id(group: Make) -> None:
    ours = group("ours", **PORTS)
    number = ours.id
    os.rmdir(ours.directory)
    gone = {f"id {number} (gone)": entry([], ["policy_bind4", "policy_bind6"])}
    assert tasks.eventually(cgroups, gone) == gone
    assert info()["policies"] == {}


def test_of_what_was_removed_it_tells_nothing(group: Make) -> None:
    group("ours", **PORTS)
    program("mine", ["ours"], obj=shipped("mine_one", name="mine"))
    assert sorted(info()["objects"]) == ["mine", "policy"]
    apply([{"cgroup": "ours", "state": "absent"}])
    assert (sorted(info()["objects"]), info()["policies"]) == (["mine"], {})
    program("mine", None, state="absent")
    assert (info()["objects"], info()["policies"]) == ({}, {})


def test_an_object_that_holds_no_policy_is_told(group: Make) -> None:
    group("ours")
    program("policy", ["ours"], obj=shipped())
    assert info()["policies"] == {}
    assert cgroups() == {"ours": entry(["policy_holder"])}


def test_a_policy_of_another_version_is_told(group: Make) -> None:
    group("ours")
    name, layout = "0" * 16, VERSION.split("-")[1]
    apply([{"cgroup": "ours", **PORTS}], obj=shipped(version=f"{name}-{layout}"))
    assert info()["policies"] == {"ours": {**SHOWN, "version": f"{name}-{layout}"}}
    apply([{"cgroup": "ours", **PORTS}], obj=shipped(version=f"{name}-{name[:8]}"))
    assert info()["policies"] == {
        "ours": {"version": f"{name}-{name[:8]}", "unreadable": "stored in another layout"}
    }


def test_it_changes_nothing_at_all(group: Make) -> None:
    ours = group("ours", **PORTS)
    break_link(ours, "policy_bind6")
    before = everything(), sorted(os.listdir("/run")), info()
    for _each in range(3):
        info()
    assert (everything(), sorted(os.listdir("/run")), info()) == before


def test_it_tells_the_whole_of_what_another_run_changes(group: Make) -> None:
    """It and the run wait for each other, also where it is the first that ever looks."""
    Path(LOCK).unlink(missing_ok=True)
    ours = group("ours")
    whole = entry(["policy_bind4", "policy_bind6"])

    def look() -> Any:
        found = info()
        objects = found["objects"].get("policy", {}).get(VERSION, {}).get("cgroups", {})
        return objects.get("ours"), found["policies"].get("ours")

    with tasks.watching("/sys/fs/cgroup/cgroup.procs", look) as watch:
        for policy in (PORTS, {"state": "absent"}) * 3:
            apply([{"cgroup": ours.path, **policy}])
    assert {repr(each) for each in watch.seen} <= {repr((whole, SHOWN)), repr((None, None))}
    assert watch.seen[-1] == (None, None)


def waits_for_a_lock(pid: int) -> bool:
    """Whether /proc/locks has the task as one that waits."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in lines)


def test_it_waits_for_a_run_that_changes_something() -> None:
    """The task begins before the lock is taken: with a copy of it, it would hold it too."""
    (begin, go), (done, told) = os.pipe(), os.pipe()
    pid = tasks.start(lambda: (os.read(begin, 1), info(), os.write(told, b"told")))
    with Kernel.open().lock():
        os.write(go, b"x")
        assert tasks.eventually(lambda: waits_for_a_lock(pid), True)
        os.set_blocking(done, False)
        assert tasks.outcome(os.read, done, 4) == "EAGAIN"
    assert tasks.ended(pid) == 0
    assert os.read(done, 4) == b"told"
    for fd in (begin, go, done, told):
        os.close(fd)
