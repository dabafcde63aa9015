# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock on a host, by a file that goes when nothing is left that it is for."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError


def _stands_at(path: str, fd: int) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _remove(path: str, fd: int) -> None:
    """Remove the file, unless somebody else holds it too, who reads."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if _stands_at(path, fd):  # while a shared lock becomes another, somebody may come between
        os.unlink(path)


def _end(path: str, fd: int, spent: Callable[[], bool]) -> None:
    """Remove the file if nothing is left that it is for. KernelError where that is refused."""
    try:
        if spent():
            _remove(path, fd)
    except OSError as error:
        raise KernelError(f"removing {error.filename}", error.errno or 0) from error


@contextlib.contextmanager
def held(path: str, operation: int, spent: Callable[[], bool]) -> Iterator[None]:
    """Hold a file's lock: LOCK_EX alone, LOCK_SH with others who read.

    Who comes first makes the file: else one who reads could not keep the first run from
    changing that. It is removed in the end where `spent()`, by one who holds it alone. Who
    waited for it meanwhile waits again, for the file that is in its place: no two hold
    different ones.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with _libbpf.closing(fd):
            with _worker.doing(path, _worker.LOCK_SECONDS, lock=True):
                fcntl.flock(fd, operation)
            if not _stands_at(path, fd):
                continue
            try:
                yield
            finally:
                _end(path, fd, spent)
            return
