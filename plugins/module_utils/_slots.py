# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which LSM hooks have lsm_cgroup programs, of whomever: one kernel has few slots."""

from __future__ import annotations

import os

from ansible_collections.linux.cgnet.plugins.module_utils import _attached, _libbpf, _vmlinux
from ansible_collections.linux.cgnet.plugins.module_utils._model import Slots


def slots(mount: str) -> Slots:
    """The hooks that are taken below a cgroup v2 mount, and how many there can be."""
    seen: set[int] = set()
    hooks: dict[str, list[str]] = {}
    with _vmlinux.types() as types:
        limits = types.enum("cgroup_bpf_attach_type")
        total = limits.get("CGROUP_LSM_END", -1) - limits.get("CGROUP_LSM_START", 0) + 1
        for _path, _directories, _files, directory in os.fwalk(mount) if total else ():
            seen.update(number for number, _flags in _attached.query(directory, _libbpf.LSM_CGROUP))
        for number in sorted(seen):
            found = _attached.program(number)
            if found is None:
                continue  # detached meanwhile
            hook = types.name(found.attach_btf_id)[len(_attached.HOOK) :]
            hooks.setdefault(hook, []).append(f"{number} ({found.name.decode(errors='replace')})")
    programs = {hook: tuple(each) for hook, each in sorted(hooks.items())}
    return Slots(total, tuple(programs), programs)
