# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of whomever that are attached to cgroups, and which of them forbid others."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _vmlinux
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Hindrance,
    Program,
)

HOOK = "bpf_lsm_"
"""Begins the name of the function that an lsm_cgroup program is attached to."""


def query(directory: int, kind: int) -> list[tuple[int, int]]:
    """Id and attach flags of the programs of an attach type on one cgroup, in their order."""
    call = _libbpf.library().call
    room = 64  # the kernel's limit for one hook
    while True:
        ids, flags = (ctypes.c_uint32 * room)(), (ctypes.c_uint32 * room)()
        asked = _libbpf.QueryOpts(ctypes.sizeof(_libbpf.QueryOpts), 0, 0, ids, room, flags)
        try:
            call("bpf_prog_query_opts", directory, kind, ctypes.byref(asked))
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []  # the cgroup was removed meanwhile
            if error.errno != errno.ENOSPC:
                raise
            room *= 2
        else:
            return list(zip(ids[: asked.prog_cnt], flags[: asked.prog_cnt]))


def program(number: int) -> _libbpf.ProgInfo | None:
    """What the kernel says of a program by its id; None where it was unloaded meanwhile."""
    try:
        fd = _libbpf.library().call("bpf_prog_get_fd_by_id", number)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    with _libbpf.closing(fd):
        found: _libbpf.ProgInfo = _libbpf.info(fd, _libbpf.ProgInfo())
        return found


def is_link_of(fd: int, cgroup: int, name: str) -> bool:
    """Whether it is a link of a program of this name to a cgroup; a detached one has none."""
    link = _libbpf.info(fd, _libbpf.LinkInfo())
    if link.type != _libbpf.LINK_TYPE_CGROUP or link.cgroup_id not in (cgroup, 0):
        return False
    found = program(link.prog_id)
    return found is not None and found.name == name[: _libbpf.NAME].encode()


def _line(cgroup: Cgroup, mount: str, opened: contextlib.ExitStack) -> list[tuple[str, int]]:
    """Path and descriptor of a cgroup and of each above it, as far as the mount."""
    path, fd, top = cgroup.path, cgroup.fd, os.stat(mount).st_ino
    found = [(path, fd)]
    while os.fstat(fd).st_ino != top:
        try:
            fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        except FileNotFoundError:
            break  # it was removed meanwhile, which attaching tells
        opened.callback(os.close, fd)
        path = os.path.dirname(path) or "."
        found.append((path, fd))
    return found


def _on_hook(attached: list[tuple[int, int]], section: str) -> list[tuple[int, int]]:
    """Those of some lsm_cgroup programs that are on the hook of a section."""
    name = HOOK + section.partition("/")[2]
    with _vmlinux.types() as types:
        return [
            (number, flags)
            for number, flags in attached
            if (found := program(number)) and types.name(found.attach_btf_id) == name
        ]


def _hindrance(line: list[tuple[str, int]], section: str) -> Hindrance | None:
    kind = _libbpf.attach_type(section)
    there = [(path, query(directory, kind)) for path, directory in line]
    if all(flags & _libbpf.F_ALLOW_MULTI for _path, each in there for _id, flags in each):
        return None
    if kind == _libbpf.LSM_CGROUP:
        there = [(path, _on_hook(each, section)) for path, each in there]
    own = there[0][1]
    own_forbids = any(not flags & _libbpf.F_ALLOW_MULTI for _id, flags in own)
    nearest = there[0] if own_forbids else next(filter(lambda each: each[1], there[1:]), None)
    for number, flags in nearest[1] if nearest else ():
        forbids = own_forbids or not flags  # else it has BPF_F_ALLOW_OVERRIDE
        if flags & _libbpf.F_ALLOW_MULTI or (own and not forbids):
            continue  # with one of the cgroup's own, what may be overridden is so already
        found = program(number)
        name = found.name.decode(errors="replace") if found else ""
        return Hindrance(nearest[0] if nearest else "", number, name, forbids)
    return None


def hindrances(cgroup: Cgroup, mount: str, programs: Iterable[Program]) -> dict[Program, Hindrance]:
    """What stands against attaching programs to a cgroup, of those where something does.

    It is one on the cgroup itself, or on the nearest above it that has any on the hook
    (hierarchy_allows_attach()); and one that BPF_F_ALLOW_OVERRIDE lets stand above, which
    the kernel would run for this cgroup no longer (compute_effective_progs()).
    """
    with contextlib.ExitStack() as opened:
        line = _line(cgroup, mount, opened)
        found = {program: _hindrance(line, program.section) for program in programs}
    return {program: each for program, each in found.items() if each}
