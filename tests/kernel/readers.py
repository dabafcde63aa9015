# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody who is not root, as a member of a group; and who may open what is ours."""

from __future__ import annotations

import errno
import grp
import os
import stat
from collections.abc import Callable
from typing import Any, TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _storage
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    CgnetError,
    KernelError,
)

from tests.kernel import tasks
from tests.kernel.conftest import MOUNT, shipped
from tests.kernel.seen import BPFFS
from tests.shown import IN_HOST

T = TypeVar("T")

PINS = f"{BPFFS}/cgnet"
ADM, TTY = grp.getgrnam("adm").gr_gid, grp.getgrnam("tty").gr_gid
VERSION = shipped().manifest["version"]
LAYOUT = VERSION.split("-")[1]
NEWER = f"{'0' * 16}-{LAYOUT}"
"""A version that stores what the bundled one does."""
PORTS: dict[str, Any] = {"bind_ports": {"tcp": [1001]}}
SHOWN = {
    "version": VERSION,
    "bind_ports": {"tcp": [1001], "below": 16384, "unprivileged": False},
    **IN_HOST,
}
MAY = "Set become: true on the task, or let a group of the user's read it, "
MAY += "by the option readers of cgnet_policy."


def become(*groups: int) -> None:
    """Be nobody, as a member of these groups."""
    if os.geteuid() == 0:
        os.setgroups(groups)
        os.setresgid(tasks.NOBODY, tasks.NOBODY, tasks.NOBODY)
        os.setresuid(tasks.NOBODY, tasks.NOBODY, tasks.NOBODY)


def member(work: Callable[[], T], *groups: int) -> T:
    """What `work` returns to nobody as a member of these groups, or of adm."""

    def dropped() -> T:
        become(*(groups or (ADM,)))
        return work()

    return tasks.inside(f"{MOUNT}/cgroup.procs", dropped)


def refused(call: Callable[..., object], *args: Any) -> str:
    """The errno or the words with which a call is refused, or "ok"."""
    try:
        call(*args)
    except KernelError as error:
        return errno.errorcode[error.errno]
    except CgnetError as error:
        return str(error)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def pins(part: str, version: str = VERSION) -> list[str]:
    """The pins below a part of a version."""
    top = f"{PINS}/policy/{version}/{part}"
    return sorted(f"{base}/{name}" for base, _dirs, files in os.walk(top) for name in files)


def modes() -> dict[str, tuple[int, int]]:
    """Every directory and pin of ours that is not just as it is when root alone may: mode, gid."""
    found = {}
    for base, directories, files in os.walk(PINS):
        for path in [base, *(f"{base}/{name}" for name in files)]:
            status = os.lstat(path)
            seen = stat.S_IMODE(status.st_mode), status.st_gid
            if seen != (0o600 if path != base else 0o700, 0):
                found[os.path.relpath(path, PINS)] = seen
        assert not any(os.path.islink(f"{base}/{name}") for name in directories)
    return found


def storages() -> list[str]:
    return [f"{PINS}/policy/{VERSION}/map/{name}" for name in _storage.pins(folder())]


def folder(version: str = VERSION) -> str:
    return f"{PINS}/policy/{version}/map"


def open_to(gid: int, version: str = VERSION) -> dict[str, tuple[int, int]]:
    """modes() where a group may read a version."""
    stored = {f"policy/{version}/map/{name}": (0o640, gid) for name in _storage.pins(folder())}
    return {
        ".": (0o711, 0),
        "policy": (0o750, gid),
        f"policy/{version}": (0o710, gid),
        f"policy/{version}/map": (0o750, gid),
        **stored,
    }


def opened(path: str, write: bool) -> None:
    os.close(_libbpf.get(path, write))
