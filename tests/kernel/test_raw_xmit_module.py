# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit against the kernel: what it changes and reports."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel
from ansible_collections.linux.cgnet.plugins.module_utils._policies import hooks_of

from tests.kernel.conftest import Group, info, program, raw_xmit, shipped
from tests.kernel.raw import ETH_P_ALL
from tests.kernel.seen import everything
from tests.kernel.tasks import outcome

pytestmark = pytest.mark.usefixtures("alone")

Make = Callable[..., Group]

HOOKS = ["socket_bind", "socket_create", "socket_recvmsg", "socket_setsockopt"]


def sniffing() -> object:
    """The outcome of making a socket that receives everything."""
    return outcome(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))


def test_it_is_attached_told_and_taken_back(group: Make) -> None:
    ours = group("ours")
    result = raw_xmit("ours")
    assert (result["changed"], result["controls"]) == (True, {"ours": {"raw_xmit": "enforced"}})
    assert result["diff"] == {"before": {}, "after": {"ours": {"state": "present"}}}
    assert (ours.run(sniffing), sniffing()) == ("EPERM", "ok")
    assert not raw_xmit("ours")["changed"]
    told = info()
    assert told["raw_xmit"] == {"ours": "enforced"}
    assert told["kernel"]["lsm_cgroup_slots"] == {"total": 10, "used": 4, "hooks": HOOKS}
    result = raw_xmit("ours", state="absent")
    assert result["diff"] == {"before": {"ours": {"state": "present"}}, "after": {}}
    assert (ours.run(sniffing), everything()) == ("ok", {})
    assert not raw_xmit("ours", state="absent")["changed"]


def test_check_mode_says_the_same_and_changes_nothing(group: Make) -> None:
    ours = group("ours")
    checked = raw_xmit("ours", check=True)
    assert (checked["changed"], everything()) == (True, {})
    assert checked["actions"] == raw_xmit("ours")["actions"]
    before = everything()
    assert raw_xmit("ours", check=True, state="absent")["changed"]
    assert (everything(), ours.run(sniffing)) == (before, "EPERM")


def test_several_cgroups_in_one_task(group: Make) -> None:
    one, two, other = group("one"), group("two"), group("other")
    raw_xmit("one", "two")
    assert [each.run(sniffing) for each in (one, two, other)] == ["EPERM", "EPERM", "ok"]
    raw_xmit("two", state="absent")
    assert [each.run(sniffing) for each in (one, two, other)] == ["EPERM", "ok", "ok"]


def test_the_slots_that_a_policy_takes_are_told_too(group: Make) -> None:
    """One hook serves both, and is counted once."""
    sections = dict(shipped().manifest["programs"])
    needed = [sections[each] for each in hooks_of("priority", Kernel.open().facts())]
    hooks = {each.split("/")[1] for each in needed if each.startswith("lsm_cgroup/")}
    group("ours", priority=6)
    raw_xmit("ours")
    slots = info()["kernel"]["lsm_cgroup_slots"]
    assert hooks & {*HOOKS} == {"socket_setsockopt"}
    assert (slots["used"], slots["hooks"]) == (len(hooks) + 3, sorted(hooks | {*HOOKS}))


def test_a_program_that_was_detached_by_hand_is_told_and_attached_again(group: Make) -> None:
    ours = group("ours")
    raw_xmit("ours")
    (version,) = info()["objects"]["raw_xmit"]
    os.unlink(f"/sys/fs/bpf/cgnet/raw_xmit/{version}/link/{ours.id}/raw_xmit_create")
    assert info()["raw_xmit"] == {"ours": "not attached: raw_xmit_create"}
    result = raw_xmit("ours")
    assert result["diff"] == {
        "before": {"ours": {"state": "present", "detached": ["raw_xmit_create"]}},
        "after": {"ours": {"state": "present"}},
    }
    assert (ours.run(sniffing), info()["raw_xmit"]) == ("EPERM", {"ours": "enforced"})


def test_another_version_takes_every_cgroup_along(group: Make) -> None:
    one, two = group("one"), group("two")
    old = shipped("raw_xmit", version=f"{'0' * 16}-{'0' * 8}")
    raw_xmit("one", "two", obj=old)
    result = raw_xmit("one")
    new = shipped("raw_xmit").manifest["version"]
    versions = {"state": "present", "versions": [old.manifest["version"]]}
    assert result["diff"]["before"] == {"one": versions, "two": versions}
    assert list(info()["objects"]["raw_xmit"]) == [new]
    assert [each.run(sniffing) for each in (one, two)] == ["EPERM", "EPERM"]
    assert not raw_xmit("one", "two")["changed"]


def test_cgnet_program_loads_the_same_object(group: Make) -> None:
    ours = group("ours")
    program("raw_xmit", ["ours"], obj=shipped("raw_xmit"))
    assert not raw_xmit("ours")["changed"]
    assert ours.run(sniffing) == "EPERM"


def test_at_least_one_cgroup_is_named() -> None:
    for state in ("present", "absent"):
        with pytest.raises(InputError, match="it takes cgroup or unit"):
            raw_xmit(state=state)


def test_a_cgroup_is_named_once(group: Make) -> None:
    group("ours")
    with pytest.raises(InputError, match=r"cgroup\[1\]: .*the same cgroup as cgroup\[0\]"):
        raw_xmit("ours", "/sys/fs/cgroup/ours")
    assert everything() == {}
