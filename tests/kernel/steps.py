# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that a run makes, one by one, at the boundary to the kernel.

Their order is the modules' own and the same on each kernel. So a test that lets each of them fail,
or be the last, takes every third on a kernel, and each on one of the three.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf

from tests.kernel.tasks import release

STRIDE = 3
FIRST = {(6, 1): 0, (6, 12): 1}.get(release(), 2)
OF_FILES = ("mkdir", "rename", "unlink", "rmdir", "chmod", "chown")
OF_BPF = (
    "bpf_object__load", "bpf_obj_pin", "bpf_link_create", "bpf_link_detach",
    "bpf_map_update_elem", "bpf_map_delete_elem",
)  # fmt: skip


def before_changes(meet: Callable[[int, str], None]) -> None:
    """Call `meet` with the number, from 1, and the name of each change before it is made.

    For a task of a test's own, which ends with it.
    """
    count = itertools.count(1)

    def stepped(name: str, change: Callable[..., Any]) -> Callable[..., Any]:
        def changing(*args: Any, **named: Any) -> Any:
            meet(next(count), name)
            return change(*args, **named)

        return changing

    library = _libbpf.library()
    for where, names in ((os, OF_FILES), (library, OF_BPF)):
        for name in names:
            setattr(where, name, stepped(name, getattr(where, name)))
