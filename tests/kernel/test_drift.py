# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody changed by hand is found by check mode and repaired by a run."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, ObjectError
from ansible_collections.linux.cgnet.plugins.module_utils._policy import SIZE

from tests.kernel import foreign
from tests.kernel.conftest import Group, apply, break_link, info, program, raw_xmit, shipped
from tests.kernel.seen import BPFFS, NAME, attached, everything, pinned, pins
from tests.kernel.tasks import bind, eventually, outcome, priority, set_priority, watching
from tests.shown import IN_HOST

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

POLICY: dict[str, Any] = {"priority": 6, "bind_ports": {"tcp": [1001]}}
SHOWN = {
    "priority": 6, "bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False},
    **IN_HOST,
}  # fmt: skip
VERSION = shipped().manifest["version"]
PINS = f"{BPFFS}/cgnet/policy/{VERSION}"
OURS = {"cgroup": "ours", **POLICY}
HELD = ["ok", "EPERM", 6, "EPERM"]


def calls() -> list[Any]:
    """A port that is listed and one that is not, the priority of a socket, and setting it."""
    ports = [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1001, 1002)]
    with socket.socket() as sock:
        return [*ports, priority(sock), outcome(set_priority, sock, 3)]


def held() -> dict[str, Any]:
    """Every pin, and what it is of."""
    return {path: pinned(path) for path in pins()}


def _opened(path: str) -> int:
    fd = ctypes.CDLL("libbpf.so.1").bpf_obj_get(path.encode())
    assert fd >= 0, path
    return int(fd)


def _pin(fd: int, path: str) -> None:
    assert ctypes.CDLL("libbpf.so.1").bpf_obj_pin(fd, path.encode()) == 0
    os.close(fd)


def _store(cgroup: int, value: bytes) -> None:
    libbpf, fd = ctypes.CDLL("libbpf.so.1"), _opened(f"{PINS}/map/policies")
    key = ctypes.c_uint64(cgroup)
    assert libbpf.bpf_map_update_elem(fd, ctypes.byref(key), value, ctypes.c_uint64(0)) == 0
    os.close(fd)


def alter_the_value(ours: Group) -> None:
    """What is stored for another cgroup is written over it."""
    apply([{**OURS, "cgroup": "other", "bind_ports": {"tcp": [1002]}}])
    libbpf, fd = ctypes.CDLL("libbpf.so.1"), _opened(f"{PINS}/map/policies")
    key, value = ctypes.c_uint64(Group("other").id), ctypes.create_string_buffer(SIZE)
    assert libbpf.bpf_map_lookup_elem(fd, ctypes.byref(key), value) == 0
    os.close(fd)
    _store(ours.id, value.raw)
    apply([{"cgroup": "other", "state": "absent"}])
    assert ours.run(calls)[:2] == ["EPERM", "ok"]


def clear_the_value(ours: Group) -> None:
    """Zeros are no policy: every program lets everything happen."""
    _store(ours.id, bytes(SIZE))
    assert ours.run(calls)[:2] == ["ok", "ok"]


def govern_no_more(ours: Group) -> None:
    fd = _opened(f"{PINS}/map/governing")
    key = ctypes.c_uint64(ours.id)
    assert ctypes.CDLL("libbpf.so.1").bpf_map_delete_elem(fd, ctypes.byref(key)) == 0
    os.close(fd)


def tell_nested(_ours: Group) -> None:
    fd = _opened(f"{PINS}/map/nested")
    key, value = ctypes.c_uint32(), ctypes.c_uint32(1)
    arguments = (fd, ctypes.byref(key), ctypes.byref(value), 0)
    assert ctypes.CDLL("libbpf.so.1").bpf_map_update_elem(*arguments) == 0
    os.close(fd)


def replace_the_link(ours: Group) -> None:
    """A link of another of the version's programs is pinned in its place."""
    fd = _opened(f"{PINS}/link/{ours.id}/policy_bind6")
    os.unlink(f"{PINS}/link/{ours.id}/policy_bind4")
    _pin(fd, f"{PINS}/link/{ours.id}/policy_bind4")


def swap_programs(_ours: Group) -> None:
    """The pins of two programs change places."""
    for before, after in (("bind4", "x"), ("bind6", "bind4"), ("x", "bind6")):
        os.rename(f"{PINS}/prog/policy_{before}", f"{PINS}/prog/policy_{after}")


def replace_the_map(_ours: Group) -> None:
    """Another map of the same shape is pinned in the place of the one with the policies."""
    os.rename(f"{PINS}/map/policies", f"{BPFFS}/was")
    other = shipped(version=f"{'0' * 16}-{'0' * 8}")
    os.rename(f"{BPFFS}/cgnet", f"{BPFFS}/kept")
    program("policy", ["other"], obj=other)
    source = f"{BPFFS}/cgnet/policy/{other.manifest['version']}/map/policies"
    os.rename(source, f"{BPFFS}/kept/policy/{VERSION}/map/policies")
    program("policy", None, state="absent")
    os.rename(f"{BPFFS}/kept", f"{BPFFS}/cgnet")
    os.unlink(f"{BPFFS}/was")


def lost(what: str) -> Callable[[Group], None]:
    return lambda _ours: os.unlink(f"{PINS}/{what}")


@dataclass(frozen=True)
class Change:
    """What somebody does; whether that is what check mode then shows of the cgroup before the
    run, where None is nothing; and what it shows besides.
    """

    make: Callable[[Group], None]
    shown: Callable[[Any], bool]
    besides: dict[str, Any] = field(default_factory=dict)


def nothing(shown: Any) -> bool:
    return shown is None


def something_else(shown: Any) -> bool:
    return shown not in (None, SHOWN)


def policy_and(**more: Any) -> Callable[[Any], bool]:
    return lambda shown: shown == {**SHOWN, **more}


def damaged(*what: str) -> dict[str, Any]:
    return {f"version {VERSION}": {"damaged": list(what)}}


ASIDE = {"version": f"{VERSION}_damaged"}
CHANGES: dict[str, Change] = {
    "a value": Change(alter_the_value, something_else),
    "a value of zeros": Change(clear_the_value, nothing),
    "a detached link": Change(
        lambda ours: break_link(ours, "policy_bind4"), policy_and(detached=["policy_bind4"])
    ),
    "a link's pin": Change(
        lambda ours: os.unlink(f"{PINS}/link/{ours.id}/policy_bind4"),
        policy_and(detached=["policy_bind4"]),
    ),
    "another link in its place": Change(replace_the_link, policy_and(detached=["policy_bind4"])),
    "a program's pin": Change(
        lost("prog/policy_bind4"), policy_and(**ASIDE),
        damaged("the program policy_bind4, which runs, is not pinned"),
    ),
    "the pin of a program that it does not use": Change(
        lost("prog/policy_holder"), nothing,
        {f"version {VERSION}": {"not pinned": ["policy_holder"]}},
    ),
    "pins of programs that change places": Change(
        swap_programs, policy_and(**ASIDE),
        damaged("the program policy_bind6 is pinned as policy_bind4",
                "the program policy_bind4 is pinned as policy_bind6"),
    ),
    "a map's pin": Change(
        lost("map/policies"), nothing,
        damaged("the map policies of its programs is not pinned"),
    ),
    "another map's pin": Change(
        lost("map/counts"), policy_and(**ASIDE),
        damaged("the map counts of its programs is not pinned"),
    ),
    "another map in its place": Change(
        replace_the_map, nothing, damaged("the map policies of its programs is not pinned")
    ),
    "what says that it governs": Change(
        govern_no_more, policy_and(**{"not governing": ["priority"]})
    ),
    "what says that policies are nested": Change(
        tell_nested, nothing, {f"version {VERSION}": {"nested": True}}
    ),
    "the whole version": Change(lambda _ours: shutil.rmtree(PINS), nothing),
    "everything": Change(lambda _ours: shutil.rmtree(f"{BPFFS}/cgnet"), nothing),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_found_and_repaired(group: Make, change: str) -> None:
    ours, made = group("ours", **POLICY), CHANGES[change]
    group("other")
    programs = attached(ours.id)
    assert ours.run(calls) == HELD
    made.make(ours)
    state = held()
    told = apply([OURS], check=True)
    assert held() == state
    assert told["changed"]
    before = dict(told["diff"]["before"])
    assert made.shown(before.pop("ours", None)), told["diff"]
    assert before == made.besides
    assert apply([OURS]) == told
    assert ours.run(calls) == HELD
    assert not apply([OURS])["changed"]
    assert eventually(lambda: attached(ours.id), programs) == programs
    assert list(info()["objects"]["policy"]) == [VERSION]
    apply([], purge=True)
    assert everything() == {}


@pytest.mark.parametrize("pin", ["map/policies", "prog/policy_bind4"])
def test_a_damaged_version_enforces_until_the_new_one_does(group: Make, pin: str) -> None:
    ours = group("ours", **POLICY)
    os.unlink(f"{PINS}/{pin}")
    with watching(ours.procs, calls) as watch:
        assert apply([OURS])["changed"]
    assert watch.seen == [HELD]


def test_a_cgroup_that_is_not_named_is_held_until_it_is(group: Make) -> None:
    ours, theirs = group("ours", **POLICY), group("theirs", **POLICY)
    os.unlink(f"{PINS}/map/policies")
    apply([OURS])
    assert (ours.run(calls), theirs.run(calls)) == (HELD, HELD)
    assert not apply([OURS])["changed"]
    both = [OURS, {**OURS, "cgroup": "theirs"}]
    assert apply(both)["changed"]
    assert (ours.run(calls), theirs.run(calls)) == (HELD, HELD)
    assert list(info()["objects"]["policy"]) == [VERSION]
    assert not apply(both)["changed"]


@pytest.mark.parametrize("purge", [False, True])
def test_a_damaged_version_is_removed_as_any_other(group: Make, purge: bool) -> None:
    group("ours", **POLICY)
    os.unlink(f"{PINS}/map/policies")
    absent = {"cgroup": "ours", "state": "absent"}
    assert apply([] if purge else [absent], purge=purge)["changed"]
    assert everything() == {}


def test_a_policy_that_can_not_be_read_is_not_lost_by_cgnet_program(group: Make) -> None:
    ours = group("ours", **POLICY)
    os.unlink(f"{PINS}/map/policies")
    before = held()
    with pytest.raises(ObjectError, match="can't be read"):
        program("policy", ["ours"], obj=shipped())
    assert (held(), ours.run(calls)) == (before, HELD)


def test_a_link_of_others_in_the_place_of_ours_is_named_and_left(group: Make) -> None:
    ours = group("ours", **POLICY)
    path = f"{PINS}/link/{ours.id}/policy_bind4"
    with foreign.theirs(["bind4"]) as theirs, theirs.linked(ours.directory, "bind4") as links:
        os.unlink(path)
        _pin(os.dup(links[0]), path)
        there = held()
        for declared, purge in (([OURS], False), ([], True)):
            with pytest.raises(HostError, match="is a link of the program theirs_bind4, where"):
                apply(declared, purge=purge)
        assert held() == there
        os.unlink(path)
        assert apply([OURS])["changed"]
        assert ours.run(calls) == HELD
        standing = foreign.standing(ours.directory, foreign.kind_of("bind4"))
        assert theirs.ids["bind4"] in standing
        assert not apply([OURS])["changed"]


def test_raw_xmit_is_repaired_too(group: Make) -> None:
    ours, two = group("ours"), group("two")
    raw_xmit("ours", "two")
    version = shipped("raw_xmit").manifest["version"]
    folder = f"{BPFFS}/cgnet/raw_xmit/{version}/prog"
    for before, after in (("create", "x"), ("bind", "create"), ("x", "bind")):
        os.rename(f"{folder}/raw_xmit_{before}", f"{folder}/raw_xmit_{after}")
    told = raw_xmit("ours", check=True)
    assert f"version {version}" in told["diff"]["before"]
    assert raw_xmit("ours") == told
    names = sorted(name[:NAME] for name, _section in shipped("raw_xmit").manifest["programs"])
    assert (attached(ours.id), attached(two.id)) == (names, names)
    assert not raw_xmit("ours", "two")["changed"]
    assert list(info()["objects"]["raw_xmit"]) == [version]


@pytest.mark.parametrize("name", ["marks", "governing", "nested", "policies"])
def test_a_map_that_retrofit_asks_may_be_gone(group: Make, name: str) -> None:
    ours, declared = group("ours", **POLICY), {**OURS, "retrofit": True}
    os.unlink(f"{PINS}/map/{name}")
    assert apply([declared])["changed"]
    assert ours.run(calls) == HELD
    assert not apply([declared])["changed"]
