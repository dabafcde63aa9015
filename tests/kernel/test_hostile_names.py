# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cgroups whose names nobody expects, and links that are swapped while a module looks at them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _names
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, Group, apply, groups, info, program, raw_xmit, shipped
from tests.kernel.seen import attached
from tests.kernel.tasks import bind
from tests.shown import IN_HOST
from tests.swapping import swapping

PORTS = {"bind_ports": {"tcp": [1001]}}
SHOWN = {"bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False}, **IN_HOST}
VERSION = shipped().manifest["version"]
NAMES = [
    b"with a blank", b"a\tb\rc", b"'\"`$(id)", b"-rf", b"n" * 255, b"\xff" * 255, b"gr\xfc\xdfe",
    "日本".encode(), rb"by\x2dlabel", rb"a\377", b"\x1b[31m", b"*", b"x (gone)", b"x (deleted)",
]  # fmt: skip
LOOKS = 200


@dataclass(frozen=True)
class Named(Group):
    """A cgroup whose `path` is as _names has it."""

    @property
    def directory(self) -> str:
        return os.fsdecode(os.fsencode(MOUNT) + b"/" + _names.raw(self.path))


@pytest.fixture(scope="module")
def named(nothing_left: None) -> Iterator[list[Named]]:
    """A cgroup of each name."""
    made = [Named(_names.shown(name)) for name in NAMES]
    for each in made:
        os.mkdir(each.directory)
    yield made
    for each in made:
        os.rmdir(each.directory)


def binding() -> list[object]:
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1001, 1002)]


def test_a_policy_is_declared_for_every_name_held_and_shown(named: list[Named]) -> None:
    policies = [{"cgroup": each.path, **PORTS} for each in named]
    result = apply(policies)
    expected = {each.path: SHOWN for each in named}
    assert result["diff"] == {"before": {}, "after": expected}
    for each in named:
        assert each.run(binding) == ["ok", "EPERM"]
        assert len(attached(each.id)) == 2
    told = info()["policies"]
    assert told == {path: {"version": VERSION, **shown} for path, shown in expected.items()}
    assert not apply([{"cgroup": path, **PORTS} for path in told])["changed"]
    assert not apply([{"cgroup": f"{MOUNT}/{path}", **PORTS} for path in told])["changed"]
    result = apply([{"cgroup": path, "state": "absent"} for path in told])
    assert sorted(result["diff"]["before"]) == sorted(told)
    assert [attached(each.id) for each in named] == [[]] * len(named)
    assert info()["policies"] == {}


def test_they_are_purged_by_what_is_stored_for_them(named: list[Named]) -> None:
    apply([{"cgroup": each.path, **PORTS} for each in named])
    result = apply([], purge=True)
    assert sorted(result["diff"]["before"]) == sorted(each.path for each in named)
    assert [attached(each.id) for each in named] == [[]] * len(named)


def test_programs_and_raw_xmit_take_and_show_them(named: list[Named]) -> None:
    paths = [each.path for each in named]
    mine = shipped("mine_one", name="mine")
    assert sorted(program("mine", paths, obj=mine)["diff"]["after"]) == sorted(paths)
    assert sorted(raw_xmit(*paths)["controls"]) == sorted(paths)
    told = info()
    assert told["raw_xmit"] == dict.fromkeys(paths, "enforced")
    (version,) = told["objects"]["mine"].values()
    assert sorted(version["cgroups"]) == sorted(paths)
    assert not program("mine", paths, obj=mine)["changed"]
    assert not raw_xmit(*paths)["changed"]
    program("mine", paths[1:], state="absent")
    raw_xmit(*paths, state="absent")
    assert [len(attached(each.id)) for each in named] == [1] + [0] * (len(named) - 1)
    program("mine", None, state="absent")


def test_a_name_with_a_newline_there_never_is() -> None:
    """cgroup_mkdir() refuses one, so that /proc/PID/cgroup can be read; it may be asked for."""
    with pytest.raises(OSError, match="Invalid argument"):
        os.mkdir(f"{MOUNT}/a\nb")
    for path in ("a\nb", r"a\012b"):
        with pytest.raises(InputError, match="there is no such cgroup"):
            apply([{"cgroup": path, **PORTS}])


def test_a_refused_call_is_told_with_the_cgroups_name(named: list[Named]) -> None:
    strange = named[1]
    apply([{"cgroup": strange.path, **PORTS}])
    info(events=True)
    strange.run(binding)
    told = info(events=True)
    assert {event["cgroup"] for event in told["events"]} == {r"a\011b\015c"}
    assert told["counters"][strange.path]["bind_ports"]["refused"] == 1
    apply([{"cgroup": strange.path, "state": "absent"}])


def test_a_cgroup_that_looks_like_the_escape_of_another_is_itself(named: list[Named]) -> None:
    """A name that has a backslash and three digits, and the byte that these would stand for."""
    with groups() as make:
        byte = Named(r"a\377")
        os.mkdir(byte.directory)
        try:
            apply([{"cgroup": byte.path, **PORTS}])
            assert byte.run(binding) == ["ok", "EPERM"]
            other = next(each for each in named if each.path == r"a\134377")
            assert other.run(binding) == ["ok", "ok"]
            assert list(info()["policies"]) == [byte.path]
            apply([], purge=True)
        finally:
            os.rmdir(byte.directory)
        make("after")


# Links


def test_a_link_that_is_swapped_meanwhile_leads_to_one_of_its_targets(tmp_path: Path) -> None:
    with groups() as make, contextlib.closing(Hierarchy()) as hierarchy:
        ids = {group.path: group.id for group in (make("one"), make("two"))}
        for name, target in (("link", "one"), ("aside", "two"), ("out", "../bpf")):
            (tmp_path / name).symlink_to(f"{MOUNT}/{target}")
        seen: set[str] = set()
        looks, end = 0, time.monotonic() + tasks.PATIENCE
        with swapping(*(str(tmp_path / name) for name in ("link", "aside", "out"))):
            while (looks < LOOKS or len(seen) < 3) and time.monotonic() < end:
                looks += 1
                try:
                    found = hierarchy.require(str(tmp_path / "link"), "cgroup")
                except InputError as error:
                    known = ("outside the cgroup v2 mount", "was changed while")
                    seen.add("refused" if any(each in str(error) for each in known) else str(error))
                    continue
                assert (found.id, os.fstat(found.fd).st_ino) == (ids[found.path],) * 2
                seen.add(found.path)
                hierarchy.close()
        assert seen == {"one", "two", "refused"}


def test_a_policy_through_a_link_that_is_swapped_is_one_cgroups(tmp_path: Path) -> None:
    with groups() as make:
        one, two = make("one"), make("two")
        (tmp_path / "link").symlink_to(one.directory)
        (tmp_path / "aside").symlink_to(two.directory)
        entry = {"cgroup": str(tmp_path / "link"), **PORTS}
        governed, end = 0, time.monotonic() + tasks.PATIENCE
        with swapping(str(tmp_path / "link"), str(tmp_path / "aside")):
            while governed < 3 and time.monotonic() < end:
                try:
                    (path,) = apply([entry])["controls"]
                except InputError:
                    continue
                assert {"one": one, "two": two}[path].run(binding) == ["ok", "EPERM"]
                assert list(info()["policies"]) == [path]
                apply([], purge=True)
                governed += 1
        assert governed == 3


def test_another_mount_below_the_hierarchy_is_no_cgroup(tmp_path: Path) -> None:
    """As it was: what is mounted over a cgroup hides it."""
    with groups() as make:
        make("ours"), make("ours/below")
        os.makedirs(f"{tmp_path}/below")

        def refusal() -> str:
            tasks.unshare(tasks.CLONE_NEWNS)
            libc = tasks.ctypes.CDLL(None, use_errno=True)
            assert libc.mount(None, b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
            place, bind_mount = f"{MOUNT}/ours".encode(), 0x1000
            assert libc.mount(os.fsencode(tmp_path), place, None, bind_mount, None) == 0
            try:
                Hierarchy().resolve("ours/below", "cgroup")
            except InputError as error:
                return str(error)
            return "it was found"

        assert tasks.inside(f"{MOUNT}/cgroup.procs", refusal) == (
            "cgroup: 'ours/below' is not possible: it is no cgroup directory. "
            "Name the cgroup itself."
        )
