# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cgroup's processes. A directory stands for a cgroup; the processes are real."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _sockets
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup

from tests.unit.tasks import NOBODY, tasks

pytestmark = pytest.mark.usefixtures("closed")

Refusing = Callable[[Path, dict[str, int]], None]


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    """Let the kernel refuse to read some files of a directory, each with an errno."""
    errors: dict[tuple[str, int], int] = {}
    opened = os.open

    def look(path: Any, flags: int, *args: Any, dir_fd: int | None = None, **more: Any) -> int:
        if dir_fd is not None:
            number = errors.get((path, os.fstat(dir_fd).st_ino))
            if number:
                raise OSError(number, os.strerror(number))
        return opened(path, flags, *args, dir_fd=dir_fd, **more)

    def refuse(folder: Path, numbers: dict[str, int]) -> None:
        inode = os.stat(folder).st_ino
        errors.update({(name, inode): number for name, number in numbers.items()})

    monkeypatch.setattr(_sockets.os, "open", look)
    return refuse


def test_the_processes_of_a_cgroup_and_of_all_below_it(group: Cgroup, tmp_path: Path) -> None:
    for path, pids in (("", [3]), ("one", [5, 4]), ("one/deep", [6]), ("two", [4]), ("none", [])):
        tasks(tmp_path / path, pids)
    assert _sockets.processes(group) == {3, 4, 5, 6}


def test_cgroups_to_pass_over_are_passed_over_with_all_below_them(
    group: Cgroup, tmp_path: Path
) -> None:
    made = {
        path: tasks(tmp_path / path, pids).stat().st_ino
        for path, pids in (
            ("", [3]),
            ("one", [4]),
            ("one/deep", [5]),
            ("two", [4, 6]),
            ("two/a", [7]),
        )
    }
    for without, expected in (
        (["one"], {3, 4, 6, 7}),
        (["one/deep"], {3, 4, 6, 7}),
        (["one", "two"], {3}),
        (["two/a", "one/deep"], {3, 4, 6}),
    ):
        assert _sockets.processes(group, frozenset(made[path] for path in without)) == expected


@pytest.fixture
def thread() -> Iterator[int]:
    """A thread of this process, which is not its first."""
    ready, done = threading.Event(), threading.Event()

    def wait() -> None:
        ready.set()
        done.wait()

    waiting = threading.Thread(target=wait)
    waiting.start()
    ready.wait()
    yield waiting.native_id or 0
    done.set()
    waiting.join()


def test_the_tasks_of_a_threaded_cgroup_count_by_their_process(
    group: Cgroup, tmp_path: Path, refusing: Refusing, thread: int
) -> None:
    """There cgroup.procs can't be read, and lists a thread's process above it."""
    assert thread not in (0, os.getpid())
    tasks(tmp_path, [3])
    threaded = tasks(tmp_path / "threaded", [4], [thread, NOBODY])
    refusing(threaded, {"cgroup.procs": errno.EOPNOTSUPP})
    assert _sockets.processes(group) == {3, os.getpid()}


def test_threads_that_have_all_ended_are_of_no_process(
    group: Cgroup, tmp_path: Path, refusing: Refusing
) -> None:
    threaded = tasks(tmp_path / "threaded", [4], [NOBODY, NOBODY + 1])
    refusing(threaded, {"cgroup.procs": errno.EOPNOTSUPP})
    assert _sockets.processes(group) == set()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
def test_a_thread_that_ends_while_its_process_is_looked_up_is_of_none(
    group: Cgroup, tmp_path: Path, refusing: Refusing, monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:  # fmt: skip
    def look(path: Any, *args: Any, **how: Any) -> Any:
        if path == f"/proc/{os.getpid()}/status":
            raise OSError(number, "")
        return open(path, *args, **how)

    refusing(tasks(tmp_path, [], [os.getpid()]), {"cgroup.procs": errno.EOPNOTSUPP})
    assert _sockets.processes(group) == {os.getpid()}
    monkeypatch.setattr(_sockets, "open", look, raising=False)
    assert _sockets.processes(group) == set()


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("others", [[], [3]])
def test_a_task_of_another_pid_namespace_is_refused_with_the_remedy(
    group: Cgroup, tmp_path: Path, refusing: Refusing, threaded: bool, others: list[int]
) -> None:
    """The kernel lists it as 0."""
    below = tasks(tmp_path / "below", [*others, 0], [os.getpid(), 0])
    refusing(below, {"cgroup.procs": errno.EOPNOTSUPP} if threaded else {})
    with pytest.raises(HostError) as caught:
        _sockets.processes(group)
    assert str(caught.value) == (
        "ours has a process of another pid namespace, which can't be looked at. "
        "Run the module in the host's pid namespace."
    )


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT])
def test_a_cgroup_that_was_removed_meanwhile_has_no_processes(
    group: Cgroup, tmp_path: Path, refusing: Refusing, number: int
) -> None:
    tasks(tmp_path, [3])
    refusing(tasks(tmp_path / "gone", [4], [5]), {"cgroup.procs": number})
    (tmp_path / "empty").mkdir()
    assert _sockets.processes(group) == {3}


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENOENT])
def test_a_cgroup_that_is_removed_between_its_processes_and_its_threads_has_none(
    group: Cgroup, tmp_path: Path, refusing: Refusing, number: int
) -> None:
    tasks(tmp_path, [3])
    gone = tasks(tmp_path / "gone", [4], [os.getpid()])
    refusing(gone, {"cgroup.procs": errno.EOPNOTSUPP, "cgroup.threads": number})
    assert _sockets.processes(group) == {3}


def test_a_cgroup_that_was_removed_itself_has_no_processes(group: Cgroup, tmp_path: Path) -> None:
    tasks(tmp_path, [os.getpid()])
    shutil.rmtree(tmp_path)
    assert _sockets.processes(group) == set()


@pytest.mark.parametrize(
    "numbers",
    [
        {"cgroup.procs": errno.EACCES},
        {"cgroup.procs": errno.EOPNOTSUPP, "cgroup.threads": errno.EACCES},
    ],
    ids=["processes", "threads"],
)
def test_a_cgroup_that_can_not_be_read_is_not_taken_for_empty(
    group: Cgroup, tmp_path: Path, refusing: Refusing, numbers: dict[str, int]
) -> None:
    refusing(tasks(tmp_path / "secret", [4]), numbers)
    with pytest.raises(KernelError) as caught:
        _sockets.processes(group)
    assert str(caught.value) == f"reading {[*numbers][-1]}: EACCES (Permission denied)."
