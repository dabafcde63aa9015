# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a removal the kernel and the files are what they were before, compared id by id."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import LOCK, Kernel

from tests.kernel import foreign, tasks
from tests.kernel.conftest import Group, Shipped, apply, info, program, raw_xmit, shipped
from tests.kernel.seen import ids, pinned, pins
from tests.kernel.tasks import eventually

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

POLICY: dict[str, Any] = {
    "cgroup": "ours", "priority": 6, "tos": [], "bind_ports": {"tcp": [1001]}, "ipv4": "hidden",
}  # fmt: skip
MINE = shipped("mine_one", name="mine")
LAYOUT = shipped().manifest["version"].split("-")[1]
NO_OBJECT = Shipped(None, None)
KINDS = ("prog", "map", "link", "btf")
HOOKS = ("bind4", "sysctl", "lsm_set")


def told() -> dict[str, Any]:
    """Every id, pin and file that a run could leave."""
    files = {path: pinned(path) for path in pins()}
    return {
        **{kind: ids(kind) for kind in KINDS},
        "pins": files,
        "/run": sorted(os.listdir("/run")),
    }


def uninstall(check: bool = False) -> bool:
    """What playbooks/uninstall.yml does: whether any of its tasks changed something."""
    names = list(info(check=check)["objects"])
    results = [program(name, None, state="absent", check=check) for name in names]
    return any(result["changed"] for result in results)


def absent(check: bool = False) -> bool:
    gone = [{"cgroup": "ours", "state": "absent"}]
    return bool(apply(gone, check=check, obj=NO_OBJECT)["changed"])


def purge(check: bool = False) -> bool:
    return bool(apply([], purge=True, check=check, obj=NO_OBJECT)["changed"])


def all_of_ours() -> None:
    """Two versions of the bundled object, an older one of the other, and a user's own."""
    apply([POLICY], obj=shipped(version=f"{'0' * 16}-{'0' * 8}"))
    apply([{**POLICY, "cgroup": "theirs"}])
    raw_xmit("ours", obj=shipped("raw_xmit", version=f"{'1' * 16}-{'1' * 8}"))
    program("mine", ["ours", "theirs"], obj=MINE)
    assert {name: len(found) for name, found in info()["objects"].items()} == {
        "mine": 1, "policy": 2, "raw_xmit": 1,
    }  # fmt: skip


REMOVALS: dict[str, tuple[Callable[[], Any], Callable[[bool], Any]]] = {
    "state: absent": (lambda: apply([POLICY]), absent),
    "purge: true": (lambda: apply([POLICY, {**POLICY, "cgroup": "theirs"}]), purge),
    "cgnet_program": (
        lambda: program("mine", ["ours", "theirs"], obj=MINE),
        lambda check: program("mine", None, state="absent", check=check)["changed"],
    ),
    "cgnet_program of the bundled object": (
        lambda: (apply([POLICY]), program("policy", ["theirs"], obj=shipped())),
        lambda check: program("policy", None, state="absent", check=check)["changed"],
    ),
    "cgnet_raw_xmit": (
        lambda: raw_xmit("ours"),
        lambda check: raw_xmit("ours", state="absent", check=check)["changed"],
    ),
    "uninstall": (all_of_ours, uninstall),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_nothing_is_left_and_nothing_lacks(group: Make, removal: str) -> None:
    """Nor does it need any object: none of these hands one over."""
    make, remove = REMOVALS[removal]
    ours, _theirs = group("ours"), group("theirs")
    with (
        foreign.theirs(HOOKS) as others,
        others.attached(ours.directory, *HOOKS),
        others.linked(ours.directory, *HOOKS),
    ):
        before = told()
        make()
        held = told()
        assert all(held[what] > before[what] for what in ("prog", "link", "btf"))
        assert remove(True)
        assert told() == held
        assert remove(False)
        assert eventually(told, before) == before
        assert not remove(True)
        assert not remove(False)
        assert told() == before


# The lock's file, which goes with the last of ours


def lock_file() -> bool:
    return os.path.lexists(LOCK)


def test_the_locks_file_stays_as_long_as_something_of_ours(group: Make) -> None:
    group("ours")
    assert not lock_file()
    program("mine", ["ours"], obj=MINE, check=True)
    assert not lock_file()
    program("mine", ["ours"], obj=MINE)
    info()
    assert lock_file()
    program("mine", None, state="absent")
    assert not lock_file()


def test_the_locks_file_stays_while_another_reads() -> None:
    with open(LOCK, "x", encoding="ascii") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        info()
        assert lock_file()
    info()
    assert not lock_file()


def waits_for(pid: int, number: int) -> bool:
    """Whether a task waits for the lock of a file, by its inode."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line and f":{number} " in line for line in lines)


def test_who_waits_while_the_file_goes_waits_for_the_next_one() -> None:
    """A lock on a file that is gone keeps nobody out, so it is no lock."""
    (begin, go), (done, told_by) = os.pipe(), os.pipe()

    def work() -> None:
        os.read(begin, 1)
        with Kernel.open().lock():
            os.write(told_by, os.stat(LOCK).st_ino.to_bytes(8, "little"))

    pid = tasks.start(work)
    with contextlib.ExitStack() as stack:
        with Kernel.open().lock():
            first = os.stat(LOCK).st_ino
            os.write(go, b"x")
            assert eventually(lambda: waits_for(pid, first), True)
            os.unlink(LOCK)
            second = stack.enter_context(open(LOCK, "x", encoding="ascii"))
            fcntl.flock(second, fcntl.LOCK_EX)
            number = os.fstat(second.fileno()).st_ino
        assert eventually(lambda: waits_for(pid, number), True)
        os.set_blocking(done, False)
        assert tasks.outcome(os.read, done, 8) == "EAGAIN"
    assert tasks.ended(pid) == 0
    assert int.from_bytes(os.read(done, 8), "little") == number
    assert not lock_file()
    for fd in (begin, go, done, told_by):
        os.close(fd)
