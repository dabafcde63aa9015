# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_program: an object of a user's own on cgroups, and the bundled one."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _storage
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError, ObjectError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel.conftest import Group, apply, info, program, shipped
from tests.kernel.seen import BPFFS, attached, everything, pins
from tests.kernel.tasks import bind, outcome, watching

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

ONE, TWO = shipped("mine_one", name="mine"), shipped("mine_two", name="mine")
"""Nobody connects to port 1001; nor, with the second, to port 1002."""
LISTENING = shipped("listening")
POLICY = shipped()
LAYOUT = POLICY.manifest["version"].split("-")[1]
FREE = ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"]
FIRST, SECOND = ["EPERM", *FREE[1:]], ["EPERM", "EPERM", FREE[2]]


def connecting() -> list[Any]:
    found = []
    for port in (1001, 1002, 1003):
        with socket.socket() as sock:
            found.append(outcome(sock.connect, ("127.0.0.1", port)))
    return found


def listening() -> Any:
    with socket.socket() as sock:
        return outcome(sock.listen)


def binding() -> list[Any]:
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1001, 1002)]


def verbs(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The kinds of the actions, each with its program and cgroup where it has them."""
    keys = ("action", "program", "cgroup")
    return [tuple(step[key] for key in keys if key in step) for step in result["actions"]]


def test_an_object_is_loaded_and_attached_to_each_cgroup(group: Make) -> None:
    one, two, other = group("one"), group("two"), group("other")
    result = program("mine", ["one", "two"], obj=ONE)
    assert verbs(result) == [
        ("load",), ("attach", "mine_connect4", "one"), ("attach", "mine_connect4", "two"),
    ]  # fmt: skip
    for each, expected in ((one, FIRST), (two, FIRST), (other, FREE)):
        assert each.run(connecting) == expected, each.path
    assert connecting() == FREE


def test_a_second_run_changes_nothing(group: Make) -> None:
    group("ours")
    program("mine", ["ours"], obj=ONE)
    before = everything()
    assert program("mine", ["ours"], obj=ONE) == {
        "changed": False, "actions": [], "diff": {"before": {}, "after": {}}, "warnings": [],
    }  # fmt: skip
    assert everything() == before


def test_check_mode_changes_nothing_and_tells_what_the_run_will_do(group: Make) -> None:
    group("ours")
    for state, obj in (("present", ONE), ("present", TWO), ("absent", None)):
        before = everything()
        told = program("mine", ["ours"], obj=obj, state=state, check=True)
        assert (everything(), told["changed"]) == (before, True)
        assert program("mine", ["ours"], obj=obj, state=state) == told


def test_its_maps_are_pinned_and_can_be_read(group: Make) -> None:
    ours = group("ours")
    program("mine", ["ours"], obj=ONE)
    ours.run(connecting)
    ours.run(connecting)
    path = f"{BPFFS}/cgnet/mine/{ONE.manifest['version']}/map/refusals"
    fd = _libbpf.get(path)
    key, count = ctypes.c_uint32(), ctypes.c_uint64()
    Kernel.open().libbpf.call("bpf_map_lookup_elem", fd, ctypes.byref(key), ctypes.byref(count))
    os.close(fd)
    assert count.value == 2


def test_its_maps_are_its_own_whatever_their_names(group: Make) -> None:
    ours, namesake = group("ours"), shipped("namesake")
    program("namesake", ["ours"], obj=namesake)
    folder = f"{BPFFS}/cgnet/namesake/{namesake.manifest['version']}/map"
    with _storage.Writer(folder) as writer:
        writer.govern(ours.id, True)
        writer.nest(True)
    assert ours.run(connecting) == ["EPERM"] * 3
    assert not program("namesake", ["ours"], obj=namesake)["changed"]
    group("more")
    assert program("namesake", ["more"], obj=namesake)["changed"]
    program("namesake", ["more"], state="absent")
    assert ours.run(connecting) == ["EPERM"] * 3


def test_a_changed_object_replaces_the_old_one_without_a_gap(group: Make) -> None:
    ours = group("ours")
    program("mine", ["ours"], obj=ONE)
    old, new = ({"version": obj.manifest["version"], "programs": ["mine_connect4"]}
                for obj in (ONE, TWO))  # fmt: skip
    with watching(ours.procs, connecting) as watch:
        result = program("mine", ["ours"], obj=TWO)
    assert verbs(result) == [
        ("load",), ("attach", "mine_connect4", "ours"), ("detach", "mine_connect4", "ours"),
        ("unload",),
    ]  # fmt: skip
    assert result["diff"] == {"before": {"ours": old}, "after": {"ours": new}}
    assert watch.seen == [FIRST, SECOND]
    assert list(info()["objects"]["mine"]) == [TWO.manifest["version"]]
    assert attached(ours.id) == ["mine_connect4"]


def test_a_changed_object_replaces_the_old_one_on_cgroups_that_are_not_named(group: Make) -> None:
    """An object has one version on a host, so that what it was before is nowhere left."""
    one, two = group("one"), group("two")
    program("mine", ["one", "two"], obj=ONE)
    program("mine", ["one"], obj=TWO)
    assert (one.run(connecting), two.run(connecting)) == (SECOND, SECOND)
    assert list(info()["objects"]["mine"]) == [TWO.manifest["version"]]


def test_a_cgroup_that_is_no_longer_named_keeps_it(group: Make) -> None:
    one, two = group("one"), group("two")
    program("mine", ["one", "two"], obj=ONE)
    assert not program("mine", ["two"], obj=ONE)["changed"]
    assert (one.run(connecting), two.run(connecting)) == (FIRST, FIRST)


def test_absent_from_some_cgroups_leaves_the_others(group: Make) -> None:
    one, two = group("one"), group("two")
    program("mine", ["one", "two"], obj=ONE)
    result = program("mine", ["one", "nowhere"], state="absent")
    assert verbs(result) == [("detach", "mine_connect4", "one")]
    assert (one.run(connecting), two.run(connecting)) == (FREE, FIRST)
    assert not program("mine", ["one"], state="absent")["changed"]
    program("mine", ["two"], state="absent")
    assert (two.run(connecting), everything()) == (FREE, {})


def test_absent_from_no_named_cgroup_is_absent_from_all(group: Make) -> None:
    one, two = group("one"), group("two")
    program("mine", ["one", "two"], obj=ONE)
    program("listening", ["one"], obj=LISTENING)
    assert program("mine", None, state="absent")["changed"]
    assert (one.run(connecting), two.run(connecting)) == (FREE, FREE)
    assert {path.split("/")[5] for path in pins(f"{BPFFS}/cgnet") if path.count("/") > 4} == {
        "listening"
    }
    program("listening", None, state="absent")
    assert everything() == {}
    assert not program("mine", None, state="absent")["changed"]


def test_what_a_removed_cgroup_left_goes_with_the_next_run(group: Make) -> None:
    ours, other = group("ours"), group("other")
    program("mine", ["ours", "other"], obj=ONE)
    number = ours.id
    os.rmdir(ours.directory)
    result = program("mine", ["other"], obj=ONE)
    assert verbs(result) == [("detach", "mine_connect4", f"id {number}")]
    assert other.run(connecting) == FIRST
    assert not program("mine", ["other"], obj=ONE)["changed"]


def test_an_lsm_program_of_ones_own_is_enforced(group: Make) -> None:
    ours, other = group("ours"), group("other")
    assert listening() == "ok"
    program("listening", ["ours"], obj=LISTENING)
    assert (ours.run(listening), other.run(listening)) == ("EPERM", "ok")
    program("listening", ["ours"], state="absent")
    assert ours.run(listening) == "ok"


def test_objects_of_several_names_stand_side_by_side(group: Make) -> None:
    ours = group("ours", bind_ports={"tcp": [1001]})
    program("mine", ["ours"], obj=ONE)
    program("listening", ["ours"], obj=LISTENING)
    assert ours.run(lambda: [connecting(), listening(), binding()]) == [
        FIRST, "EPERM", ["ok", "EPERM"],
    ]  # fmt: skip
    apply([], purge=True)
    assert ours.run(lambda: [connecting(), listening(), binding()]) == [
        FIRST, "EPERM", ["ok", "ok"],
    ]  # fmt: skip


def test_at_least_one_cgroup_is_named() -> None:
    for cgroups in (None, []):
        with pytest.raises(InputError, match="at least one cgroup"):
            program("mine", cgroups, obj=ONE)
    assert everything() == {}


# The bundled object


def test_the_bundled_object_is_held_by_its_holder_and_enforces_nothing(group: Make) -> None:
    ours = group("ours")
    result = program("policy", ["ours"], obj=POLICY)
    assert verbs(result) == [("load",), ("attach", "policy_holder", "ours")]
    assert (attached(ours.id), ours.run(binding)) == (["policy_holder"], ["ok", "ok"])
    assert not program("policy", ["ours"], obj=POLICY)["changed"]


def test_a_policy_for_a_held_cgroup_loads_nothing_and_leaves_the_holder(group: Make) -> None:
    ours = group("ours")
    program("policy", ["ours"], obj=POLICY)
    result = apply([{"cgroup": "ours", "bind_ports": {"tcp": [1001]}}])
    assert verbs(result) == [
        ("store", "ours"), ("attach", "policy_bind4", "ours"), ("attach", "policy_bind6", "ours"),
    ]  # fmt: skip
    assert ours.run(binding) == ["ok", "EPERM"]
    assert not program("policy", ["ours"], obj=POLICY)["changed"]
    apply([{"cgroup": "ours", "state": "absent"}])
    assert (attached(ours.id), ours.run(binding)) == (["policy_holder"], ["ok", "ok"])


def test_the_bundled_object_takes_its_policies_along(group: Make) -> None:
    ours, other = group("ours"), group("other")
    for each, port in ((ours, 1001), (other, 1002)):
        apply([{"cgroup": each.path, "bind_ports": {"tcp": [port]}}])
    new = shipped(version=f"{'0' * 16}-{LAYOUT}")
    with watching(ours.procs, binding) as watch:
        assert program("policy", ["ours"], obj=new)["changed"]
    assert watch.seen == [["ok", "EPERM"]]
    assert other.run(binding) == ["EPERM", "ok"]
    assert list(info()["objects"]["policy"]) == [new.manifest["version"]]
    assert not program("policy", ["ours"], obj=new)["changed"]


def test_policies_of_another_layout_are_not_taken_along(group: Make) -> None:
    ours = group("ours", bind_ports={"tcp": [1001]})
    old = shipped(version=f"{'0' * 16}-{'0' * 8}")
    apply([{"cgroup": "ours", "bind_ports": {"tcp": [1001]}}], obj=old)
    before = everything()
    with pytest.raises(ObjectError, match="stores policies in another layout"):
        program("policy", ["ours"], obj=POLICY)
    assert (everything(), ours.run(binding)) == (before, ["ok", "EPERM"])


def test_absent_takes_a_policy_along(group: Make) -> None:
    ours = group("ours", bind_ports={"tcp": [1001]})
    program("policy", ["ours"], obj=POLICY)
    program("policy", ["ours"], state="absent")
    assert (ours.run(binding), everything()) == (["ok", "ok"], {})
