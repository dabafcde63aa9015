# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that lets a name stand for one thing after another, as fast as it can."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

_PROGRAM = """
import os, sys
name, *others = sys.argv[1:]
print(flush=True)
while True:
    for other in others:  # each in turn takes the name, and what had it is other again
        os.rename(name, name + " aside")
        os.rename(other, name)
        os.rename(name + " aside", other)
"""


@contextlib.contextmanager
def swapping(name: str, *others: str) -> Iterator[None]:
    """While the block runs, `name` stands for what it is, for what another is, or for nothing."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROGRAM, name, *others], stdout=subprocess.PIPE
    ) as task:
        assert task.stdout is not None
        try:
            task.stdout.readline()
            yield
            assert task.poll() is None, "it ended by itself"
        finally:
            task.kill()
