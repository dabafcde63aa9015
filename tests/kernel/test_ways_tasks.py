# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever a task becomes or starts, it is held as its cgroup is, until it leaves that."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.kernel import tasks, ways
from tests.kernel.conftest import MOUNT, Group, groups
from tests.kernel.packets import Taken
from tests.kernel.raw import CLONE_NEWUSER, into_a_user_namespace
from tests.kernel.tasks import enter, outcome
from tests.kernel.uring import syscall
from tests.kernel.ways import (
    FREE,
    HELD,
    MINE,
    OURS,
    POLICY,
    expected,
    fresh,
    uses,
)

pytestmark = pytest.mark.usefixtures("outside")

Make = Callable[..., Group]
Two = tuple[Group, Group]
T = TypeVar("T")

CAPSET, CLONE3 = 126, 435
CAPABILITIES = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
MS_REC, MS_PRIVATE, MNT_DETACH = 1 << 14, 1 << 18, 2
CLONE_INTO_CGROUP, CLONE_NEWCGROUP, CLONE_NEWPID = 0x200000000, 0x02000000, 0x20000000


@pytest.fixture(scope="module")
def two(outside: Group) -> Iterator[Two]:
    """One under every control, and one under none."""
    with groups() as make:
        yield make("outside/ours", **POLICY), make("outside/free")


# What a task becomes


def _nobody() -> None:
    os.setgroups([])
    os.setresgid(*[tasks.NOBODY] * 3)
    os.setresuid(*[tasks.NOBODY] * 3)


def _without_capabilities() -> None:
    syscall(CAPSET, struct.pack("Ii", CAPABILITIES, 0), bytes(24))


def _in_a_user_namespace() -> None:
    _nobody()
    tasks.unshare(CLONE_NEWUSER)


def _in_other_namespaces() -> None:
    """All that leave a socket where it is: of cgroups, mounts and processes."""
    tasks.unshare(CLONE_NEWCGROUP | tasks.CLONE_NEWNS | CLONE_NEWPID)


BECOMING: dict[str, Callable[[], object]] = {
    "root": lambda: None,
    "nobody": _nobody,
    "root without capabilities": _without_capabilities,
    "leader of a session": os.setsid,
    "root of a user namespace": _in_a_user_namespace,
    "in other namespaces": _in_other_namespaces,
}


@pytest.mark.parametrize("who", BECOMING)
def test_whatever_a_task_becomes_it_is_held(two: Two, left: Taken, who: str) -> None:
    def work() -> dict[str, Any]:
        BECOMING[who]()
        return fresh()

    ours, free = two
    assert free.run(work) == FREE
    assert ways.sent_with(left()) == {MINE}
    assert ours.run(work) == HELD
    assert ways.sent_with(left()) == {OURS}


@pytest.mark.parametrize("who", BECOMING)
def test_a_socket_is_held_that_was_made_before(two: Two, left: Taken, who: str) -> None:
    ours, _free = two

    def work() -> dict[str, Any]:
        with ways.made() as sock:
            BECOMING[who]()
            return uses(sock)

    assert ours.run(work) == expected(True, True)
    assert ways.sent_with(left()) == {OURS}


def test_the_root_of_a_network_and_user_namespace_is_held_by_any(group: Make, left: Taken) -> None:
    """By `host` it is left alone, as every network namespace of a task's own is."""
    host = group("outside/host", **POLICY)
    every = group("outside/every", **POLICY, netns="any")

    def work() -> dict[str, Any]:
        into_a_user_namespace()
        return fresh()

    assert host.run(work) == FREE
    assert ways.sent_with(left()) == {MINE}
    assert every.run(work) == HELD
    assert ways.sent_with(left()) == {OURS}


# What a task starts


def _by_fork(work: Callable[[], T]) -> T:
    return tasks.inside("/dev/null", work)


STARTING: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "a thread": ways.by_thread,
    "fork": _by_fork,
    "fork and fork": lambda work: _by_fork(lambda: _by_fork(work)),
    "vfork and exec": ways.executed,
}


@pytest.mark.parametrize("how", STARTING)
def test_whatever_a_task_starts_is_held(two: Two, left: Taken, how: str) -> None:
    ours, free = two
    assert free.run(lambda: STARTING[how](fresh)) == FREE
    assert ways.sent_with(left()) == {MINE}
    assert ours.run(lambda: STARTING[how](fresh)) == HELD
    assert ways.sent_with(left()) == {OURS}


def test_what_outlives_the_task_that_started_it_is_held(two: Two, left: Taken) -> None:
    """It waits for the end of a pipe that its parent holds."""
    ours, _free = two
    reader, writer = os.pipe()
    gone, lives = os.pipe()

    def begin() -> None:
        enter(ours.procs)
        if os.fork() == 0:
            os.close(lives)
            os.read(gone, 1)
            os.write(writer, repr(fresh()).encode())
            os._exit(0)

    assert tasks.ended(tasks.start(begin)) == 0
    for fd in (writer, lives, gone):
        os.close(fd)
    with open(reader, encoding="ascii") as pipe:
        assert pipe.read() == repr(HELD)
    assert ways.sent_with(left()) == {OURS}


# Where a task is


def cloned_into(where: Group) -> int:
    """As fork(), with a child that is born in a cgroup (clone3(2), since 5.7)."""
    libc = ctypes.PyDLL(None, use_errno=True)
    directory = os.open(where.directory, os.O_RDONLY | os.O_DIRECTORY)
    arguments = struct.pack(
        "11Q", CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, directory
    )
    pid = int(libc.syscall(CLONE3, arguments, len(arguments)))
    os.close(directory)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone3")
    return pid


def born_in(where: Group, work: Callable[[], T]) -> T:
    """What `work` returns in a task that is born in a cgroup."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", lambda: cloned_into(where))
        return tasks.inside("/dev/null", work)


def test_a_task_that_is_born_in_a_cgroup_is_held_from_its_first_call(two: Two, left: Taken) -> None:
    ours, free = two
    assert born_in(ours, fresh) == HELD
    assert ways.sent_with(left()) == {OURS}
    assert free.run(lambda: born_in(ours, fresh)) == HELD
    assert ways.sent_with(left()) == {OURS}


def leaving(to: Group) -> list[Any]:
    """The outcome of each way into another cgroup."""
    return [outcome(enter, to.procs), outcome(lambda: born_in(to, lambda: "born"))]


def test_a_task_leaves_its_cgroup_where_it_may_write_to_another(two: Two, left: Taken) -> None:
    """As root with the cgroups at hand: then it is held no more."""
    ours, free = two
    assert ours.run(lambda: born_in(free, fresh)) == FREE
    assert ways.sent_with(left()) == {MINE}

    def work() -> dict[str, Any]:
        enter(free.procs)
        return fresh()

    assert ours.run(work) == FREE
    assert ways.sent_with(left()) == {MINE}


def test_nobody_leaves_the_cgroup(two: Two) -> None:
    """And nobody goes to the root, or to a cgroup that the task could make elsewhere."""
    ours, free = two
    root = Group("")

    def work() -> list[Any]:
        _nobody()
        made = outcome(os.mkdir, f"{MOUNT}/outside/nobodys")
        return [made, *leaving(free), *leaving(root), fresh() == HELD]

    assert ours.run(work) == ["EACCES"] * 5 + [True]


def test_a_cgroup_namespace_hides_the_way_out(two: Two) -> None:
    """A mount of the cgroups that is made there begins with the cgroup of the task."""
    ours, _free = two

    def work() -> list[Any]:
        _in_other_namespaces()
        libc = ctypes.CDLL(None, use_errno=True)
        none = ctypes.c_void_p()
        private = ctypes.c_ulong(MS_REC | MS_PRIVATE)
        assert libc.mount(b"none", b"/", none, private, none) == 0
        assert libc.umount2(MOUNT.encode(), MNT_DETACH) == 0
        flags = ctypes.c_ulong(0)
        assert libc.mount(b"cgroup2", MOUNT.encode(), b"cgroup2", flags, none) == 0
        with open("/proc/self/cgroup", encoding="ascii") as file:
            seen = file.read()
        return [seen, os.path.exists(f"{MOUNT}/outside"), outcome(enter, Group("").procs), fresh()]

    assert ours.run(work) == ["0::/\n", False, "ok", HELD]
