# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process of its own for the work of a run, so that a call that hangs does not keep the run.

A thread that hangs in the kernel can't be ended, and keeps its process and what that has open.
So the module forks. The worker does the work, says in shared memory which call it is in and
since when, and gives back what came of it. The module waits until then, or until one call has
taken longer than it may. How long all of them take is not limited.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import pickle
import select
import signal
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple, NoReturn, TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    DeadlineError,
    KernelError,
    KilledError,
)

T = TypeVar("T")

CALL_SECONDS = 120.0
"""How long one call may take. The longest, to load an object, takes many on a slow machine."""

LOCK_SECONDS = 600.0
"""How long a run may wait for another one, and how long it may go without any call."""

_LOOK = 1.0
"""How often the module looks at what the worker does, and how long it waits for its end."""

_PR_SET_PDEATHSIG = 1
_FLAGS, _TEXT = 16, 18
"""Where in the shared memory is what a worker does, behind two doubles."""

_SINCE, _SECONDS = 0, 1  # CLOCK_MONOTONIC, and for how long it may
_LOCK, _ENDED = 0, 1  # whether it waits for a lock, and whether what is named has ended


class _Mark(NamedTuple):
    """What a worker does: since when (CLOCK_MONOTONIC), and how many seconds it may take.

    `lock` is whether it waits for the file `what` names, which others hold.
    """

    since: float
    seconds: float
    lock: bool
    what: str


class _Marks:
    """Where a worker says what it does, for the module to read. Made before the fork.

    It is the context of what was entered last. A run enters hundreds for a cgroup.
    """

    def __init__(self, module: int) -> None:
        self.module = module
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        view = memoryview(self._shared)
        self._times, self._flags, self._text = view[:_FLAGS].cast("d"), view[_FLAGS:], view[_TEXT:]
        self._calls: list[tuple[float, str]] = []  # what the worker is in, the outermost first
        self._named = ""  # what stands in the shared memory
        self._say(LOCK_SECONDS, "the beginning", False, False)

    def _say(self, seconds: float, what: str, lock: bool, ended: bool) -> None:
        if what is not self._named:  # else it has ended, and nothing was begun within it
            text = what.encode("utf-8", "surrogateescape")[: len(self._text) - 1] + b"\0"
            self._text[: len(text)] = text
            self._named = what
        self._times[_SECONDS] = seconds
        self._flags[_LOCK] = lock
        self._flags[_ENDED] = ended
        self._times[_SINCE] = time.monotonic()

    def enter(self, what: str, seconds: float, lock: bool) -> None:
        """The worker begins something, within what it is in already."""
        if self._calls and not lock:
            what = f"{what} in {self._calls[-1][1]}"
        self._calls.append((seconds, what))
        self._say(seconds, what, lock, False)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_error: object) -> None:
        """The worker has ended what it began last."""
        _seconds, what = self._calls.pop()
        self._say(self._calls[-1][0] if self._calls else LOCK_SECONDS, what, False, True)

    def read(self) -> _Mark:
        """What the worker does. It may write meanwhile: only what is read twice is so."""
        data = self._shared[:]
        since, seconds = memoryview(data)[:_FLAGS].cast("d")
        text = data[_TEXT:].partition(b"\0")[0].decode(errors="backslashreplace")
        told = f"what follows {text}" if data[_FLAGS + _ENDED] else text
        return _Mark(since, seconds, bool(data[_FLAGS + _LOCK]), told)


_marks: _Marks | None = None  # in a worker, its own

_NOTHING = contextlib.nullcontext()


def doing(
    what: str, seconds: float | None = None, lock: bool = False
) -> contextlib.AbstractContextManager[None]:
    """Say what is done in the block, if a module waits for it: a call that may hang, or on what.

    `seconds` is CALL_SECONDS where it is not given. With `lock` it waits for a file's lock, and
    `what` is the file's path.
    """
    if _marks is None:
        return _NOTHING
    _marks.enter(what, CALL_SECONDS if seconds is None else seconds, lock)
    return _marks


def own() -> set[int]:
    """The processes of this run: this one, and in a worker the module that waits for it."""
    return {os.getpid()} if _marks is None else {os.getpid(), _marks.module}


def run(work: Callable[[], T]) -> T:
    """What `work` returns, done in a process of its own that has no input and no output.

    Raises the CgnetError that the work raises, RuntimeError with the traceback of any other
    exception, DeadlineError where one call takes too long, KilledError where the worker ends
    without a word. No worker goes on after it: one that hangs ends with the call.
    """
    marks = _Marks(os.getpid())
    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        remedy = "The host lacks memory, or may have no more processes; end some"
        raise KernelError("fork", error.errno or 0, remedy) from error
    if pid == 0:
        os.close(reader)
        _work(work, marks, writer)
    os.close(writer)
    worker = _Worker(pid)
    try:
        data = _received(reader, marks)
        if data is None:
            mark = marks.read()
            worker.kill()
            raise _expired(mark, worker)
        worker.wait()
        if worker.killer() or not data:
            raise KilledError(pid, worker.killer() or "itself", marks.read().what)
    finally:
        worker.kill()
        worker.close()
        os.close(reader)
    kind, value = pickle.loads(data)
    if kind == "refused":
        raise value
    if kind == "crashed":
        raise RuntimeError(f"the process that did the work ended with\n{value}")
    result: T = value
    return result


def _work(work: Callable[[], object], marks: _Marks, writer: int) -> NoReturn:
    """Do the work in the new process, and end it."""
    global _marks
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == marks.module:  # else that ended before it could be asked for
            _marks = marks
            data = _answer(work)
            with open(writer, "wb") as pipe:
                pipe.write(data)
            status = 0
    finally:
        os._exit(status)


def _answer(work: Callable[[], object]) -> bytes:
    """What comes of the work, pickled: a kind and a value."""
    try:
        with open(os.devnull, "r+b", buffering=0) as null:
            for standard in (0, 1, 2):  # Ansible waits until nobody can write there any more
                os.dup2(null.fileno(), standard)
        try:
            return pickle.dumps(("returned", work()))
        except CgnetError as error:
            return pickle.dumps(("refused", error))
    except BaseException:  # noqa: BLE001  the module tells it
        return pickle.dumps(("crashed", traceback.format_exc()))


def _received(reader: int, marks: _Marks) -> bytes | None:
    """All that a worker writes until it ends, or None as soon as a call has taken too long.

    That is seen twice, since both may have been stopped together, as in a cgroup that is frozen.
    """
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    data, last = b"", None
    while True:
        if poll.poll(_LOOK * 1000):
            read = os.read(reader, 1 << 16)
            if not read:
                return data
            data += read
        mark = marks.read()
        if mark == last and time.monotonic() > mark.since + mark.seconds:
            return None
        last = mark


class _Worker:
    """The process that does the work, as the module knows it.

    `status` is None until it is known to have ended.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._handle = os.pidfd_open(pid)
        self._killed = False

    def wait(self) -> None:
        """See it end, if it does in a moment."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        if self.status is None and poll.poll(_LOOK * 1000):
            self.status = os.waitpid(self.pid, 0)[1]

    def killer(self) -> str:
        """The signal that ended it, or "" where none did."""
        status = self.status or 0
        if not os.WIFSIGNALED(status):
            return ""
        number = os.WTERMSIG(status)
        names = {each.value: each.name for each in signal.Signals}
        return names.get(number, f"signal {number}")

    def kill(self) -> None:
        """End it: at once, or with the call that it hangs in."""
        if self.status is None and not self._killed:
            self._killed = True
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            self.wait()

    def close(self) -> None:
        """Close what it is known by."""
        os.close(self._handle)


def _expired(mark: _Mark, worker: _Worker) -> DeadlineError:
    """The error of a call that took too long; the worker was killed."""
    seconds = time.monotonic() - mark.since
    if mark.lock:
        held = ", ".join(f"process {pid}{_name(pid)}" for pid in _holders(mark.what))
        return DeadlineError(
            f"flock({mark.what})", seconds,
            f"it is held by {held or 'a process that is not to be seen from here'}",
            "Run the task again when that has ended. If it does not end, look at the kernel's log "
            "(dmesg); a process that hangs in the kernel (state D) goes with a reboot alone",
        )  # fmt: skip
    if worker.status is not None:
        return DeadlineError(
            mark.what, seconds, f"process {worker.pid}, which was in it, has been ended",
            "Look for what it waited for, in the kernel's log (dmesg) too. Run the task again",
        )  # fmt: skip
    locks = " and holds the lock of all runs" if worker.pid in _holders() else ""
    return DeadlineError(
        mark.what, seconds, f"process {worker.pid} still hangs in it{locks}",
        "Look for a stall in the kernel's log (dmesg). Run the task again when that process has "
        "ended; if it does not end, reboot the host",
    )  # fmt: skip


def _holders(path: str | None = None) -> list[int]:
    """The processes that hold a lock of flock(2) on a file, or on any; see proc_locks(5)."""
    wanted = None
    if path is not None:
        try:
            found = os.stat(path)
        except FileNotFoundError:  # it was removed, and what is waited for has no name any more
            return []
        device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
        wanted = f"{device}:{found.st_ino}"
    with open("/proc/locks", encoding="ascii") as lines:
        # "1: FLOCK  ADVISORY  WRITE 4711 00:19:42 0 EOF"; one that waits has "->" for FLOCK.
        # Where the process is gone or not to be seen from here, its number is 0.
        fields = [line.split() for line in lines]
    return [
        int(each[4])
        for each in fields
        if each[1] == "FLOCK" and int(each[4]) > 0 and wanted in (None, each[5])
    ]


def _name(pid: int) -> str:
    """A process's command, in brackets; "" where it has just ended."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="backslashreplace") as comm:
            return f" ({comm.read().strip()})"
    except OSError:
        return ""
