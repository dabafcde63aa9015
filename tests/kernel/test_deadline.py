# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call that hangs in the kernel ends the task, and says which call; so does a lock."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import CgnetError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import LOCK, Kernel

from tests.kernel import hung, tasks
from tests.kernel.conftest import Group, apply, groups, info, shipped
from tests.kernel.test_info import waits_for_a_lock

Make = Callable[..., Group]

PORTS: dict[str, Any] = {"bind_ports": {"tcp": [1001]}}
OURS = [{"cgroup": "ours", **PORTS}]
VERSION = shipped().manifest["version"]
PINS = f"/sys/fs/bpf/cgnet/policy/{VERSION}"
LOCKED = rf"DeadlineError: flock\({LOCK}\) has not returned for \d+ s: it is held by "


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call may take longer than any does that does not hang, and no lock either."""
    monkeypatch.setattr(_worker, "CALL_SECONDS", 5.0)
    monkeypatch.setattr(_worker, "LOCK_SECONDS", 5.0)


@pytest.fixture
def keeper() -> Iterator[Group]:
    """A cgroup with a policy, so that the object is loaded and stays."""
    with groups() as make:
        yield make("keeper", **PORTS)
        apply([{"cgroup": "keeper", "state": "absent"}])


class Play:
    """A process that does what a module does, and tells on its output what came of that."""

    def __init__(self, work: Callable[[], Any]) -> None:
        reader, writer = os.pipe()

        def module() -> None:
            os.dup2(writer, 1)
            os.close(writer)
            os.close(reader)
            try:
                told = f"returned: {_worker.run(work)}"
            except CgnetError as error:
                told = f"{type(error).__name__}: {error}"
            os.write(1, told.encode())

        self.pid = tasks.start(module)
        self._output = reader
        os.close(writer)

    def told(self) -> str:
        """All of its output, which ends when no process has it any more, as Ansible waits."""
        with open(self._output) as output:
            text = output.read()
        self.status = tasks.ended(self.pid)
        return text


def play(work: Callable[[], Any]) -> str:
    """What a module tells that does `work`."""
    return Play(work).told()


def changed(*, check: bool = False) -> bool:
    """Whether the policy of these tests changes anything."""
    return bool(apply(OURS, check=check)["changed"])


def holding(operation: str = "lock") -> tuple[int, Callable[[], None]]:
    """A task that holds the lock, and what kills it."""
    reader, writer = os.pipe()

    def task() -> None:
        os.close(reader)
        with getattr(Kernel.open(), operation)():
            os.write(writer, b"x")
            signal.pause()

    pid = tasks.start(task)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)

    def kill() -> None:
        os.kill(pid, signal.SIGKILL)
        assert tasks.ended(pid) == -signal.SIGKILL

    return pid, kill


# A call that nothing ends


@pytest.mark.usefixtures("impatient")
def test_a_run_ends_without_its_call_and_the_next_is_told_who_holds_the_lock(
    keeper: Group, group: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    group("ours")
    attach = Kernel.attach
    with hung.stalling(keeper) as stall:

        def stalled(*args: Any) -> None:
            stall.begin()
            attach(*args)

        with monkeypatch.context() as patched:
            patched.setattr(Kernel, "attach", stalled)
            first = play(changed)
        found = re.fullmatch(
            r"DeadlineError: bpf_link_create in action attach, "
            rf"version {VERSION}, cgroup ours, program policy_bind4 has not returned for \d+ s: "
            r"process (\d+) still hangs in it and holds the lock of all runs\. Look for a stall "
            r"in the kernel's log \(dmesg\)\. Run the task again when that process has ended; if "
            r"it does not end, reboot the host\.",
            first,
        )
        assert found, first
        worker = int(found[1])
        assert hung.state(worker) == "D"
        monkeypatch.setattr(_worker, "LOCK_SECONDS", 2.0)
        told = [play(changed), play(lambda: changed(check=True)), play(info)]
        holds = rf"{LOCKED}process {worker} \(\S+\)\. Run the task again when that has ended\."
        assert [re.match(holds, each) is not None for each in told] == [True] * 3, told
        assert hung.state(worker) == "D"
        stall.end()
    assert tasks.eventually(lambda: hung.state(worker), "") == ""
    assert [play(changed), play(changed)] == ["returned: True", "returned: False"]
    apply([{"cgroup": "ours", "state": "absent"}])


@pytest.mark.usefixtures("impatient")
def test_to_look_at_what_is_there_may_hang_too(keeper: Group) -> None:
    with hung.stalling(keeper) as stall:
        stall.begin()
        told = play(info)
    link = f"{PINS}/link/{keeper.id}/policy_bind4"
    assert told.startswith(
        f"DeadlineError: bpf_obj_get_info_by_fd in {link} has not returned for "
    ), told


# A call that ends when its process is killed


@pytest.mark.usefixtures("impatient")
def test_a_call_that_can_be_ended_is() -> None:
    told = play(hung.get)
    found = re.match(
        r"DeadlineError: bpf_obj_get_opts has not returned for \d+ s: process (\d+), which was in "
        r"it, has been ended\.",
        told,
    )
    assert found, told
    assert hung.state(int(found[1])) == ""


def hanging_with_the_lock(told: int) -> Callable[[], None]:
    """Work that takes the lock, tells its pid and hangs."""

    def work() -> None:
        with Kernel.open().lock():
            os.write(told, str(os.getpid()).encode())
            hung.get()

    return work


def hangs() -> tuple[Play, int]:
    """A play whose call hangs, which may take long, and its worker's pid."""
    reader, writer = os.pipe()
    started = Play(hanging_with_the_lock(writer))
    worker = int(os.read(reader, 16))
    os.close(reader)
    os.close(writer)
    assert tasks.eventually(lambda: hung.waits_for_memory(worker), True)
    return started, worker


def test_a_worker_that_is_killed_is_told_by_its_call(keeper: Group, group: Make) -> None:
    group("ours")
    started, worker = hangs()
    os.kill(worker, signal.SIGKILL)
    assert started.told().startswith(
        f"KilledError: process {worker}, which did the work, was ended by SIGKILL during "
        "bpf_obj_get_opts."
    )
    assert play(changed) == "returned: True"
    apply([{"cgroup": "ours", "state": "absent"}])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_module_that_is_killed_leaves_no_worker_and_no_lock(
    keeper: Group, group: Make, number: signal.Signals
) -> None:
    group("ours")
    started, worker = hangs()
    os.kill(started.pid, number)
    assert started.told() == ""
    assert started.status == (1 if number is signal.SIGINT else -number)
    assert tasks.eventually(lambda: hung.state(worker), "") == ""
    assert play(changed) == "returned: True"
    apply([{"cgroup": "ours", "state": "absent"}])


# A lock


def test_a_run_goes_on_when_who_holds_the_lock_is_killed(keeper: Group, group: Make) -> None:
    group("ours")
    _holder, kill = holding()
    reader, writer = os.pipe()
    started = Play(lambda: (os.write(writer, str(os.getpid()).encode()), changed())[1])
    worker = int(os.read(reader, 16))
    os.close(reader)
    os.close(writer)
    assert tasks.eventually(lambda: waits_for_a_lock(worker), True)
    kill()
    assert started.told() == "returned: True"
    apply([{"cgroup": "ours", "state": "absent"}])


@pytest.mark.usefixtures("impatient")
def test_all_who_share_the_lock_are_named(keeper: Group, group: Make) -> None:
    group("ours")
    holders = [holding("reading"), holding("reading")]
    told = play(changed)
    for _pid, kill in holders:
        kill()
    found = re.match(rf"{LOCKED}process (\d+) \(\S+\), process (\d+) \(\S+\)\.", told)
    assert found, told
    assert {int(found[1]), int(found[2])} == {pid for pid, _kill in holders}
