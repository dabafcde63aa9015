# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run modules as the programs that they are, one after the other over one fake kernel.

    python -m tests.unit.run_modules MOUNT

Standard input has a line for each: its name, a blank, and its arguments as JSON.
The cgroups are the directories below MOUNT. What the modules print is printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys

from ansible.module_utils.testing import patch_module_args
from ansible_collections.linux.cgnet.plugins.module_utils import (
    _kept,
    _kernel,
    _names,
    _policy,
    _worker,
)

from tests.unit.fake_kernel import FakeKernel

MODULES = "ansible_collections.linux.cgnet.plugins.modules"


def alive(mount: str) -> dict[int, str]:
    """Cgroup id → path of all directories below one."""
    top = os.fsencode(mount)
    found = [base for base, _directories, _files in os.walk(top) if base != top]
    return {os.stat(base).st_ino: _names.shown(os.path.relpath(base, top)) for base in found}


def main(mount: str) -> None:
    """Let the modules find the fake kernel."""
    kernel = FakeKernel(alive(mount), size=_policy.SIZE, mount=mount)
    setattr(_kernel.Kernel, "open", lambda reader=False: kernel)  # noqa: B010
    setattr(_kept, "ROOT", f"{mount}.kept")  # noqa: B010
    setattr(_worker, "run", lambda work: work())  # noqa: B010  a worker would keep its changes
    tasks = sys.stdin.buffer.readlines()
    sys.argv[1:] = []
    for task in tasks:
        name, _blank, args = task.partition(b" ")
        with patch_module_args(json.loads(args)), contextlib.suppress(SystemExit):
            runpy.run_module(f"{MODULES}.{name.decode()}", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1])
