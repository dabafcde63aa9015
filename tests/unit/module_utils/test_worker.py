# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that does the work: what it gives back, and what ends it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    DeadlineError,
    KernelError,
    KilledError,
)

from tests.kernel.tasks import ended, start
from tests.unit.errors import EXAMPLES

pytestmark = pytest.mark.usefixtures("closed")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call may take long."""
    monkeypatch.setattr(_worker, "CALL_SECONDS", 0.1)
    monkeypatch.setattr(_worker, "_LOOK", 0.1)


def hang() -> None:
    """Wait for what never comes."""
    reader, _writer = os.pipe()
    os.read(reader, 1)


def refused(error: type[CgnetError], work: Callable[[], object]) -> str:
    """The words of the error that a run ends with."""
    with pytest.raises(error) as caught:
        _worker.run(work)
    return str(caught.value)


# What it gives back


@pytest.mark.parametrize("result", [None, {"changed": True, "warnings": ["ä"]}, b"x" * 10**6])
def test_what_the_work_returns_is_the_result(result: Any) -> None:
    assert _worker.run(lambda: result) == result


def test_the_work_is_done_in_a_process_that_has_ended_afterwards() -> None:
    pid, parent = _worker.run(lambda: (os.getpid(), os.getppid()))
    assert (parent, Path(f"/proc/{pid}").exists()) == (os.getpid(), False)


def test_it_has_no_input_and_no_output() -> None:
    standard = [f"/proc/self/fd/{number}" for number in range(3)]
    assert _worker.run(lambda: [os.readlink(path) for path in standard]) == ["/dev/null"] * 3


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_of_ours_is_raised_as_it_was(error: CgnetError) -> None:
    def work() -> None:
        raise error

    with pytest.raises(CgnetError) as caught:
        _worker.run(work)
    found = caught.value
    assert (type(found), found.args, vars(found)) == (type(error), error.args, vars(error))
    assert str(found) == str(error)


def test_any_other_exception_is_told_with_its_traceback() -> None:
    with pytest.raises(RuntimeError) as caught:
        _worker.run(lambda: 1 // 0)
    lines = str(caught.value).splitlines()
    assert (lines[1], lines[-1]) == (
        "Traceback (most recent call last):",
        "ZeroDivisionError: integer division or modulo by zero",
    )


def test_a_result_that_is_no_plain_data_is_such_an_exception() -> None:
    with pytest.raises(RuntimeError, match="pickle"):
        _worker.run(lambda: lambda: None)


def test_a_fork_that_is_refused_is_an_error_of_that_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise OSError(errno.EAGAIN, "")

    monkeypatch.setattr(_worker.os, "fork", fork)
    assert refused(KernelError, lambda: None).startswith("fork: EAGAIN (")


# What ends it


@pytest.mark.usefixtures("impatient")
def test_a_call_that_takes_too_long_is_named_and_ended() -> None:
    def work() -> None:
        with _worker.doing("attach, cgroup a"), _worker.doing("bpf_link_create"):
            hang()

    assert re.fullmatch(
        r"bpf_link_create in attach, cgroup a has not returned for \d+ s: process \d+, which was "
        r"in it, has been ended\. Look .*\. Run the task again\.",
        refused(DeadlineError, work),
    )


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("inside", "named"), [(True, "what follows second in first"), (False, "what follows first")]
)
def test_what_hangs_between_two_calls_is_named_by_the_one_before(
    monkeypatch: pytest.MonkeyPatch, inside: bool, named: str
) -> None:
    monkeypatch.setattr(_worker, "LOCK_SECONDS", 0.1)

    def work() -> None:
        with _worker.doing("first"):
            with _worker.doing("second"):
                pass
            if inside:
                hang()
        hang()

    assert refused(DeadlineError, work).startswith(f"{named} has not returned for ")


@pytest.mark.usefixtures("impatient")
def test_a_process_that_is_stopped_in_a_call_is_one_that_hangs() -> None:
    def work() -> None:
        with _worker.doing("bpf_obj_pin"):
            os.kill(os.getpid(), signal.SIGSTOP)

    assert refused(DeadlineError, work).startswith("bpf_obj_pin has not returned for ")


def test_many_calls_may_take_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_worker, "CALL_SECONDS", 2.0)
    monkeypatch.setattr(_worker, "_LOOK", 0.1)

    def work() -> str:
        for _time in range(5):
            with _worker.doing("a call"):
                select.select([], [], [], 0.5)
        return "done"

    assert _worker.run(work) == "done"


@pytest.mark.usefixtures("impatient")
def test_who_holds_a_lock_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def work() -> None:
        with open(path) as again, _worker.doing(str(path), 0.1, lock=True):
            fcntl.flock(again, fcntl.LOCK_SH)

    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message = refused(DeadlineError, work)
    comm = Path("/proc/self/comm").read_text().strip()
    assert message.startswith(f"flock({path}) has not returned for ")
    assert f" s: it is held by process {os.getpid()} ({comm}). Run the task again" in message


@pytest.mark.usefixtures("impatient")
def test_who_holds_a_lock_that_has_no_name_any_more_is_not_to_be_told(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "w") as file, open(path) as again:
        fcntl.flock(file, fcntl.LOCK_EX)
        path.unlink()

        def work() -> None:
            with _worker.doing(str(path), 0.1, lock=True):
                fcntl.flock(again, fcntl.LOCK_SH)

        assert "it is held by a process that is not to be seen" in refused(DeadlineError, work)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGRTMIN + 1])
def test_a_process_that_is_killed_is_told(number: int) -> None:
    killer = getattr(number, "name", f"signal {number:d}")

    def work() -> None:
        with _worker.doing("bpf_object__load"):
            os.kill(os.getpid(), number)

    assert re.fullmatch(
        rf"process \d+, which did the work, was ended by {killer} during bpf_object__load\. "
        r"The kernel's log \(dmesg\) tells whether memory was short\. Run the task again, .*",
        refused(KilledError, work),
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_module(number: signal.Signals) -> None:
    """The pipe is open for as long as one of both lives."""
    reader, writer = os.pipe()

    def work() -> None:
        os.write(writer, b"begun")
        hang()

    def module() -> None:
        os.close(reader)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        _worker.run(work)

    pid = start(module)
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe:
        assert pipe.read(5) == b"begun"
        os.kill(pid, number)
        assert pipe.read() == b""
    assert ended(pid) == (1 if number is signal.SIGINT else -number)


def test_it_does_nothing_where_the_module_has_ended_already(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is asked for after it is said that the worker ends with it; then init is its parent."""
    monkeypatch.setattr(_worker.os, "getppid", lambda: 1)
    assert " was ended by itself during the beginning." in refused(
        KilledError, (tmp_path / "made").touch
    )
    assert not (tmp_path / "made").exists()


# What it says


def test_the_processes_of_a_run_are_the_worker_and_the_module() -> None:
    assert _worker.own() == {os.getpid()}
    pid, own = _worker.run(lambda: (os.getpid(), _worker.own()))
    assert own == {pid, os.getpid()}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("path", "shown"), [("ä\udcff\n", "ä\\xff\n"), ("x" * 10**4, "x" * 4000)], ids=["bytes", "long"]
)
def test_a_name_of_any_bytes_and_length_is_shown(path: str, shown: str) -> None:
    def work() -> None:
        with _worker.doing(path):
            hang()

    assert refused(DeadlineError, work).startswith(shown)
