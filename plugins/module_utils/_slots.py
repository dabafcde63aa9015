# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which LSM hooks have lsm_cgroup programs, of whomever: one kernel has few slots."""

from __future__ import annotations

import ctypes
import errno
import os

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _vmlinux
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Slots

_LSM_CGROUP = 43  # enum bpf_attach_type: BPF_LSM_CGROUP
_PREFIX = "bpf_lsm_"


def _programs(directory: int) -> list[int]:
    """The ids of the lsm_cgroup programs that are attached to one cgroup."""
    call = _libbpf.library().call
    room = 64  # the kernel's limit for one hook
    while True:
        ids, flags = (ctypes.c_uint32 * room)(), (ctypes.c_uint32 * room)()
        query = _libbpf.QueryOpts(ctypes.sizeof(_libbpf.QueryOpts), 0, 0, ids, room, flags)
        try:
            call("bpf_prog_query_opts", directory, _LSM_CGROUP, ctypes.byref(query))
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []  # the cgroup was removed meanwhile
            if error.errno != errno.ENOSPC:
                raise
            room *= 2
        else:
            return list(ids[: query.prog_cnt])


def slots(mount: str) -> Slots:
    """The hooks that are taken below a cgroup v2 mount, and how many there can be."""
    seen: set[int] = set()
    hooks = set()
    with _vmlinux.types() as types:
        limits = types.enum("cgroup_bpf_attach_type")
        total = limits.get("CGROUP_LSM_END", -1) - limits.get("CGROUP_LSM_START", 0) + 1
        for _path, _directories, _files, directory in os.fwalk(mount) if total else ():
            seen.update(_programs(directory))
        for number in seen:
            try:
                fd = _libbpf.library().call("bpf_prog_get_fd_by_id", number)
            except KernelError as error:
                if error.errno == errno.ENOENT:
                    continue  # detached meanwhile
                raise
            with _libbpf.closing(fd):
                info = _libbpf.info(fd, _libbpf.ProgInfo())
            hooks.add(types.name(info.attach_btf_id))
    return Slots(total, tuple(sorted(hook[len(_PREFIX) :] for hook in hooks)))
