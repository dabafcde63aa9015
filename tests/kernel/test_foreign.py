# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others attached, pinned and stored stays as it was, in its order, in every operation."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.kernel import foreign
from tests.kernel.conftest import Group, apply, clear, groups, program, raw_xmit, shipped
from tests.kernel.foreign import EFFECTIVE, Theirs, kind_of, standing
from tests.kernel.seen import BPFFS, ids, pinned

HOOKS = ("sysctl", "setsockopt", "sockops", "egress", "ingress", "bind4", "connect4", "lsm_set")
FOLDER = f"{BPFFS}/theirs"
OURS = "above/ours"
LAYOUT = shipped().manifest["version"].split("-")[1]
SAME, OTHER = f"{'0' * 16}-{LAYOUT}", f"{'0' * 16}-{'0' * 8}"
CONTROL: dict[str, Any] = {
    "cgroup": OURS, "priority": "1:10", "tos": ["af21"], "bind_ports": {"tcp": [1001]},
    "ipv4": "hidden", "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}  # fmt: skip
EDITED = {**CONTROL, "priority": 6, "tos": [], "bind_ports": {"tcp": []}, "mode": "audit"}
LESS = {"cgroup": OURS, "tos": []}
ABSENT = {"cgroup": OURS, "state": "absent"}


@dataclass(frozen=True)
class World:
    """Three cgroups below each other, and whose programs come before and after ours there."""

    groups: tuple[Group, ...]
    programs: tuple[Theirs, ...]

    def kept(self) -> dict[str, Any]:
        """What is theirs: the order on each cgroup and hook, and what runs there; pins and maps."""
        known = {number for each in self.programs for number in each.ids.values()}
        found: dict[str, Any] = {
            f"{group.path} {hook} {flags}": [
                number
                for number in standing(group.directory, kind_of(hook), flags)
                if number in known
            ]
            for group in self.groups
            for hook in HOOKS
            for flags in (0, EFFECTIVE)
        }
        found.update({name: pinned(f"{FOLDER}/{name}") for name in sorted(os.listdir(FOLDER))})
        return {**found, "programs": known & ids("prog")}


def _pin(fd: int, name: str) -> None:
    assert ctypes.CDLL("libbpf.so.1").bpf_obj_pin(fd, f"{FOLDER}/{name}".encode()) == 0


def _pin_some(programs: Theirs, link: int) -> None:
    """A program, a link and a map of theirs are pinned beside what is ours."""
    os.mkdir(FOLDER)
    _pin(programs.fds["bind4"], "prog")
    _pin(link, "link")
    fd = ctypes.CDLL("libbpf.so.1").bpf_map_create(2, b"theirs", 4, 8, 1, None)
    assert fd >= 0
    _pin(fd, "map")
    os.close(fd)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """What stands before ours: on each cgroup and hook, one attached and one linked."""
    with groups() as make, contextlib.ExitStack() as stack:
        made = tuple(make(path) for path in ("above", OURS, f"{OURS}/below"))
        loaded = tuple(stack.enter_context(foreign.theirs(HOOKS)) for _each in range(4))
        for group in made:
            stack.enter_context(loaded[0].attached(group.directory, *HOOKS))
            links = stack.enter_context(loaded[1].linked(group.directory, *HOOKS))
        _pin_some(loaded[0], links[0])
        yield World(made, loaded)
        clear()
        for name in os.listdir(FOLDER):
            os.unlink(f"{FOLDER}/{name}")
        os.rmdir(FOLDER)


def mine(built: str, state: str = "present") -> Any:
    """A user's own object."""
    obj = shipped(built, name="mine") if state == "present" else None
    return program("mine", [OURS], obj=obj, state=state)


OPERATIONS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "edit": (lambda: apply([CONTROL]), lambda: apply([EDITED])),
    "some controls less": (lambda: apply([CONTROL]), lambda: apply([LESS])),
    "upgrade": (lambda: apply([CONTROL]), lambda: apply([CONTROL], obj=shipped(version=SAME))),
    "another layout": (
        lambda: apply([CONTROL]), lambda: apply([CONTROL], obj=shipped(version=OTHER))
    ),
    "retrofit": (lambda: apply([LESS]), lambda: apply([{**CONTROL, "retrofit": True}])),
    "absent": (lambda: apply([CONTROL]), lambda: apply([ABSENT])),
    "purge": (lambda: apply([CONTROL]), lambda: apply([], purge=True)),
    "the bundled object": (
        lambda: program("policy", [OURS], obj=shipped()),
        lambda: program("policy", None, state="absent"),
    ),
    "an object of one's own": (lambda: mine("mine_one"), lambda: mine("mine_two")),
    "without that object": (lambda: mine("mine_one"), lambda: mine("mine_one", "absent")),
    "raw_xmit": (lambda: apply([LESS]), lambda: raw_xmit(OURS)),
    "without raw_xmit": (lambda: raw_xmit(OURS), lambda: raw_xmit(OURS, state="absent")),
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_theirs_stays_in_its_order(world: World, operation: str) -> None:
    first, second = OPERATIONS[operation]
    before = world.kept()
    assert first()["changed"]
    assert world.kept() == before
    with contextlib.ExitStack() as stack:
        for group in world.groups:
            stack.enter_context(world.programs[2].attached(group.directory, *HOOKS))
            stack.enter_context(world.programs[3].linked(group.directory, *HOOKS))
        around = world.kept()
        assert len(around[f"{OURS} bind4 0"]) == 4
        assert len(around[f"{OURS}/below bind4 {EFFECTIVE}"]) == 12
        assert second()["changed"]
        assert world.kept() == around
        clear()
        assert world.kept() == around
    assert world.kept() == before
