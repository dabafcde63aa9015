# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cgroups that are directories, and real processes that hold sockets: what _sockets looks at."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOBODY = 2**22 + 1  # more than a kernel's last pid
REMEDY = "It needs CAP_SYS_PTRACE, and kernel.yama.ptrace_scope below 3."


def tasks(folder: Path, procs: list[int], threads: list[int] | None = None) -> Path:
    """Let a directory be a cgroup with these tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.procs").write_text("".join(f"{task}\n" for task in procs))
    (folder / "cgroup.threads").write_text("".join(f"{task}\n" for task in threads or ()))
    return folder


@contextlib.contextmanager
def process(*fds: int) -> Iterator[int]:
    """The pid of a process that holds descriptors of this one, while the block runs."""
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=fds
    ) as started:
        yield started.pid


@dataclass(frozen=True)
class Child:
    """What a process of tests/unit/child.py holds: the socket of one of its threads."""

    pid: int
    thread: int
    descriptor: int
    inode: int
    running: subprocess.Popen[str]

    def close(self) -> None:
        """Let it close the descriptor."""
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        print(file=self.running.stdin, flush=True)
        assert self.running.stdout.readline() == "closed\n"


@contextlib.contextmanager
def child(shape: str) -> Iterator[Child]:
    """A process of one of child.py's shapes, while the block runs."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")), shape],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        pid, thread, descriptor, inode = json.loads(running.stdout.readline())
        yield Child(pid, thread, descriptor, inode, running)
    assert running.returncode == 0
