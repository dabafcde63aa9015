# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moments of a run: what a task sees meanwhile, two runs at once, a run that is killed."""

from __future__ import annotations

import functools
import itertools
import os
import random
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel import tasks
from tests.kernel.conftest import Group, apply, info, shipped, small
from tests.kernel.seen import attached, everything, pins
from tests.kernel.steps import FIRST, STRIDE, before_changes
from tests.kernel.tasks import Watch, bind, outcome, watching

pytestmark = pytest.mark.usefixtures("alone")
Make = Callable[..., Group]

ONE = {"cgroup": "ours", "bind_ports": {"tcp": [1000, 1001]}}
TWO = {"cgroup": "ours", "bind_ports": {"tcp": [1000, 1002]}}
NONE = {"cgroup": "ours", "state": "absent"}
LAYOUT = shipped().manifest["version"].split("-")[1]
LISTED, REFUSED, FREE = ["ok"] * 2, ["EPERM"] * 2, ["ok"] * 4
"""Under the first policy: what is listed, and what is not. Under none: all."""
NEXT = {"same layout": f"{'0' * 16}-{LAYOUT}", "another layout": f"{'0' * 16}-{'0' * 8}"}


def binding() -> list[Any]:
    """Ports that both policies list, only the first, only the second, and none."""
    return [bind(socket.AF_INET, socket.SOCK_STREAM, port) for port in (1000, 1001, 1002, 1003)]


def marking() -> list[Any]:
    """The priorities that sockets of three families are born with, and the outcome of setting."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        with socket.socket(family) as sock:
            found += [tasks.priority(sock), outcome(tasks.set_priority, sock, 1)]
    return found


def courses(watch: Watch) -> list[list[Any]]:
    """Of each value that a look returns, what it was in turn."""
    return [[value for value, _same in itertools.groupby(course)] for course in zip(*watch.seen)]


# What a task sees


def test_a_task_never_sees_another_policy_than_the_declared_ones(group: Make) -> None:
    ours = group("ours")
    with watching(ours.procs, binding) as watch:
        for policy in (ONE, TWO, NONE):
            apply([policy])
            watch.look()
    assert courses(watch) == [
        ["ok"], ["ok", "EPERM", "ok"], ["ok", "EPERM", "ok"], ["ok", "EPERM", "ok"],
    ]  # fmt: skip


def test_a_priority_is_there_from_one_moment_to_the_next(group: Make) -> None:
    ours = group("ours")
    with watching(ours.procs, marking) as watch:
        for policy in ({"priority": 5}, {"priority": "1:10"}, {"state": "absent"}):
            apply([{"cgroup": "ours", **policy}])
            watch.look()
    assert courses(watch) == [[0, 5, 0x10010, 0], ["ok", "EPERM", "ok"]] * 3


def test_a_policy_is_replaced_whole(group: Make) -> None:
    """A program asks for the value once, so each call sees all of one policy or of the other."""
    ours = group("ours", bind_ports={"tcp": [1000, 1001]})
    with watching(ours.procs, binding) as watch:
        for policy in [TWO, ONE] * 10:
            assert len(apply([policy])["actions"]) == 1
    assert (courses(watch)[0], courses(watch)[3]) == (["ok"], ["EPERM"])


def test_one_policy_comes_while_another_stays(group: Make) -> None:
    ours = group("ours", bind_ports={"tcp": [1000, 1001]})
    group("theirs")
    more = {"priority": 6, "sockopts": {"deny": []}, "tos": []}
    with watching(ours.procs, binding) as watch:
        for policy in (more, {}):
            apply([{**ONE, **policy}, {"cgroup": "theirs", "priority": 3}])
            apply([], purge=False)
            apply([ONE], purge=True)
    assert watch.seen == [LISTED + REFUSED]


# Versions


@pytest.mark.parametrize("version", NEXT.values(), ids=list(NEXT))
def test_another_version_enforces_throughout(group: Make, version: str) -> None:
    ours = group("ours")
    policy = {**ONE, "priority": 6}
    old, new = shipped(), shipped(version=version)
    apply([policy], obj=old)

    def look() -> list[Any]:
        return binding() + marking()

    with watching(ours.procs, look) as watch:
        for obj in (new, old, new):
            assert apply([policy], obj=obj)["changed"]
            assert list(info()["objects"]["policy"]) == [obj.manifest["version"]]
            assert not apply([policy], obj=obj)["changed"]
            watch.look()
    assert watch.seen == [LISTED + REFUSED + [6, "EPERM"] * 3]


def test_a_version_stays_for_the_cgroup_that_has_not_moved(group: Make) -> None:
    ours, theirs = group("ours"), group("theirs")
    new = small(version=NEXT["another layout"])
    apply([ONE, {**TWO, "cgroup": "theirs"}], obj=small())
    apply([ONE], obj=new)
    assert len(info()["objects"]["policy"]) == 2
    assert ours.run(binding) == LISTED + REFUSED
    assert theirs.run(binding) == ["ok", "EPERM", "ok", "EPERM"]
    apply([{"cgroup": "theirs", "state": "absent"}], obj=new)
    assert list(info()["objects"]["policy"]) == [new.manifest["version"]]
    assert theirs.run(binding) == FREE


# Two runs at once


def both(*policies: dict[str, Any]) -> None:
    """Apply the policies in as many tasks that begin at once."""
    reader, writer = os.pipe()

    def run(policy: dict[str, Any]) -> None:
        os.close(writer)
        os.read(reader, 1)
        apply([policy])

    pids = [tasks.start(lambda policy=policy: run(policy)) for policy in policies]
    os.close(writer)
    os.close(reader)
    assert [tasks.ended(pid) for pid in pids] == [0] * len(policies)


@pytest.mark.parametrize("second", [TWO, NONE], ids=["another", "absent"])
def test_of_two_runs_at_once_one_is_the_last(group: Make, second: dict[str, Any]) -> None:
    ours = group("ours")
    first = {**ONE, "priority": 6}
    last = {0: LISTED + REFUSED, 1: FREE if second is NONE else ["ok", "EPERM"] * 2}
    for _round in range(3):
        both(first, second)
        left = [apply([policy], check=True)["changed"] for policy in (first, second)]
        assert sorted(left) == [False, True]
        assert ours.run(binding) == last[left.index(False)]
        apply([NONE])


def test_two_runs_at_once_for_different_cgroups_are_both_held(group: Make) -> None:
    """The first to come loads the object, and the other finds it."""
    ours, theirs = group("ours"), group("theirs")
    both(ONE, {**TWO, "cgroup": "theirs"})
    assert (ours.run(binding), theirs.run(binding)) == (LISTED + REFUSED, ["ok", "EPERM"] * 2)
    assert len(info()["objects"]["policy"]) == 1
    both(NONE, {**ONE, "cgroup": "theirs"})
    assert (ours.run(binding), theirs.run(binding)) == (FREE, LISTED + REFUSED)


# A run that is killed


def dying(step: int, work: Callable[[], object]) -> bool:
    """Do `work` in a task that is killed before its step'th change; whether it came so far."""

    def task() -> None:
        before_changes(lambda n, _name: os.kill(os.getpid(), signal.SIGKILL) if n == step else None)
        work()

    status = tasks.ended(tasks.start(task))
    assert status in (0, -signal.SIGKILL)
    return status != 0


def killed_everywhere(work: Callable[[], object]) -> Iterator[int]:
    """Steps before which `work` can be killed, after it was; the last one is beyond its end."""
    for step in itertools.count(1 + FIRST, STRIDE):
        came = dying(step, work)
        yield step
        if not came:
            return


def test_a_run_that_is_killed_is_finished_by_the_same(group: Make) -> None:
    ours = group("ours")
    for step in killed_everywhere(lambda: apply([ONE], obj=small())):
        assert ours.run(binding)[:2] == LISTED, step
        apply([ONE], obj=small())
        assert ours.run(binding) == LISTED + REFUSED, step
        dying(step, lambda: apply([NONE], obj=small()))
        apply([NONE], obj=small())
        assert (attached(ours.id), ours.run(binding)) == ([], FREE), step
    assert step > 15


@pytest.mark.parametrize(
    ("before", "killed"), [(NONE, ONE), (ONE, NONE)], ids=["the first", "absent"]
)
def test_a_run_that_is_killed_is_undone_by_the_opposite(
    group: Make, before: dict[str, Any], killed: dict[str, Any]
) -> None:
    ours = group("ours")
    apply([before], obj=small())
    for step in killed_everywhere(lambda: apply([killed], obj=small())):
        apply([before], obj=small())
        if before is ONE:
            assert ours.run(binding) == LISTED + REFUSED, step
        else:
            assert ours.run(binding) == FREE, step
            assert [path for path in pins() if os.path.isfile(path)] == [], step
    assert step > 10


def test_a_move_to_another_version_that_is_killed_enforces_and_is_finished(group: Make) -> None:
    ours = group("ours")
    objects = [small(), small(version=NEXT["another layout"])]
    apply([ONE], obj=objects[0])
    for step in killed_everywhere(lambda: apply([ONE], obj=objects[-1])):
        assert ours.run(binding) == LISTED + REFUSED, step
        apply([ONE], obj=objects[-1])
        assert ours.run(binding) == LISTED + REFUSED, step
        assert list(Kernel.open().observe("policy").versions) == [objects[-1].manifest["version"]]
        objects.reverse()
    assert step > 25


def killed_after(seconds: float, work: Callable[[], object]) -> bool:
    """Whether a task that does `work` was killed after so many seconds, or had ended before."""
    pid = tasks.start(work)
    with os.fdopen(os.pidfd_open(pid)) as handle:
        if not select.select([handle], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
    status = tasks.ended(pid)
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_runs_that_are_killed_at_random_moments_leave_nothing(group: Make) -> None:
    """Applies, edits, upgrades and removals of two cgroups; one run more and all is declared."""
    ours, theirs = group("ours"), group("theirs")
    objects = [small(), small(version=NEXT["same layout"]), small(version=NEXT["another layout"])]
    lists = [[ONE, {**TWO, "cgroup": "theirs"}], [TWO], [NONE], [ONE, {**NONE, "cgroup": "theirs"}]]
    choose = random.Random(5)
    begin = time.monotonic()
    apply(lists[0], obj=objects[0])
    long, killed = time.monotonic() - begin, 0
    for _round in range(60):
        policies, obj = choose.choice(lists), choose.choice(objects)
        work = functools.partial(apply, policies, obj=obj)
        killed += killed_after(choose.uniform(0, long), work)
    assert 10 < killed < 60
    apply(lists[0], obj=objects[0])
    assert list(info()["objects"]["policy"]) == [objects[0].manifest["version"]]
    assert (ours.run(binding), theirs.run(binding)) == (LISTED + REFUSED, ["ok", "EPERM"] * 2)
    apply([NONE, {**NONE, "cgroup": "theirs"}], obj=objects[1])
    assert everything() == {}
    assert attached(ours.id) == attached(theirs.id) == []
