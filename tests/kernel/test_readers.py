# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A group may read what is stored, with all else of BPF closed to who is not root."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _storage

from tests.kernel import tasks
from tests.kernel.conftest import SYSCTL, Group, apply, info, program, raw_xmit, shipped
from tests.kernel.readers import (
    MAY,
    PINS,
    PORTS,
    SHOWN,
    TTY,
    VERSION,
    folder,
    member,
    opened,
    pins,
    refused,
    storages,
)
from tests.kernel.seen import everything
from tests.shown import IN_ANY

pytestmark = pytest.mark.usefixtures("locked_down", "alone")
Make = Callable[..., Group]


# What a member can


def test_a_member_is_told_what_is_declared_and_nothing_else(group: Make) -> None:
    group("ours", **PORTS)
    group("ours/below", priority="1:10", netns="any")
    apply([], readers="adm")
    told = member(info)
    assert told["policies"] == {
        "ours": SHOWN,
        "ours/below": {"version": VERSION, "priority": "1:10", **IN_ANY},
    }
    whole = info()
    assert (sorted(told), told["policies"]) == (
        ["changed", "counters", "kernel", "policies"],
        whole["policies"],
    )
    del whole["kernel"]["lsm_cgroup_slots"]
    assert told["kernel"] == whole["kernel"]


def test_a_member_by_its_own_group_reads_too(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers=str(tasks.NOBODY))
    assert member(info, TTY)["policies"] == {"ours": SHOWN}


def test_a_member_reads_the_bytes_that_root_stored(group: Make) -> None:
    ours = group("ours", **PORTS)
    apply([], readers="adm")
    values = _storage.values(folder())
    assert list(values) == [ours.id]
    assert member(lambda: _storage.values(folder())) == values


def test_a_policy_that_is_declared_later_is_read_too(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    group("later", tos=[])
    assert sorted(member(info)["policies"]) == ["later", "ours"]
    apply([{"cgroup": "ours", "state": "absent"}])
    assert sorted(member(info)["policies"]) == ["later"]


def test_a_member_of_a_host_without_policies_is_told_so() -> None:
    assert member(info)["policies"] == {}


# What a member can't


def change(path: str) -> tuple[str, str]:
    """How updating and deleting are refused by a descriptor that is for reading."""
    with _libbpf.closing(_libbpf.get(path, write=False)) as fd:
        size = _libbpf.info(fd, _libbpf.MapInfo()).value_size
        value = ctypes.create_string_buffer(size * (os.cpu_count() or 1) + 4096)
        (first, *_others) = _libbpf.keys(fd)
        key = ctypes.byref(ctypes.c_uint64(first))
        call = _libbpf.library().call
        call("bpf_map_lookup_elem", fd, key, value)
        return (
            refused(call, "bpf_map_update_elem", fd, key, value, 0),
            refused(call, "bpf_map_delete_elem", fd, key),
        )


def test_a_member_changes_nothing(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    stored = storages()
    assert stored != []
    before = everything()
    assert member(lambda: {path: change(path) for path in stored}) == dict.fromkeys(
        stored, ("EPERM", "EPERM")
    )
    assert member(lambda: [refused(opened, path, True) for path in stored]) == ["EACCES"] * len(
        stored
    )
    assert everything() == before


def test_a_member_opens_no_program_no_link_and_no_other_map(group: Make) -> None:
    group("ours", priority=6, **PORTS)
    apply([], readers="adm")
    others = sorted({*pins("map")} - {*storages()})
    closed = [*pins("prog"), *pins("link"), *others]
    assert min(len(pins("prog")), len(pins("link")), len(others)) > 0
    for write in (True, False):
        seen = member(lambda: {path: refused(opened, path, write) for path in closed})  # noqa: B023
        assert seen == dict.fromkeys(closed, "EACCES")
        assert {path: refused(opened, path, True) for path in closed} == dict.fromkeys(closed, "ok")


def test_a_member_lists_versions_and_maps_and_no_other_directory(group: Make) -> None:
    group("ours", **PORTS)
    program("mine", ["ours"], obj=shipped("mine_one", name="mine"))
    apply([], readers="adm")
    top = f"policy/{VERSION}"
    places = (".", "policy", top, f"{top}/map", f"{top}/prog", f"{top}/link", "mine")
    seen = member(lambda: {each: refused(os.listdir, f"{PINS}/{each}") for each in places})
    assert seen == {**dict.fromkeys(places, "EACCES"), "policy": "ok", f"{top}/map": "ok"}


def make_map() -> int:
    """bpf_map_create() of an array: 0, or the negative errno."""
    library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    result: int = library.bpf_map_create(2, None, 4, 4, 1, None)
    if result >= 0:
        os.close(result)
    return min(result, 0)


def test_the_rest_of_bpf_is_closed_to_a_member() -> None:
    assert SYSCTL.read_text().strip() in ("1", "2")
    assert (member(make_map), make_map()) == (-errno.EPERM, 0)


def test_a_member_runs_no_other_task_and_does_not_wait_for_one(group: Make) -> None:
    group("ours", **PORTS)
    apply([], readers="adm")
    words = f"this needs root, and runs as uid {tasks.NOBODY}. Set become: true on the task."
    assert member(lambda: refused(apply, [])) == words
    assert member(lambda: refused(raw_xmit, "ours")) == words


# Who is no member


def test_a_stranger_opens_nothing_and_is_told_who_may(group: Make) -> None:
    group("ours", **PORTS)
    words = f"uid {tasks.NOBODY} may not read what is stored here: "
    assert member(lambda: refused(info)) == f"{words}root alone may. {MAY}"
    apply([], readers="adm")
    everywhere = [*pins("map"), *pins("prog"), *pins("link")]
    for write in (True, False):
        seen = member(lambda: {refused(opened, path, write) for path in everywhere}, TTY)  # noqa: B023
        assert seen == {"EACCES"}
    assert member(lambda: refused(info), TTY) == f"{words}root and the group adm may. {MAY}"
