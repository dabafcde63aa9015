# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs of whomever that are attached to cgroups, and which of them forbid others."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _vmlinux
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import (
    Cgroup,
    Hindrance,
    Program,
)

HOOK = "bpf_lsm_"
"""Begins the name of the function that an lsm_cgroup program is attached to."""


@functools.cache
def _asking(room: int) -> tuple[_libbpf.QueryOpts, Any, Any]:
    """What is asked with, and where the kernel puts ids and flags of so many programs."""
    ids, flags = (ctypes.c_uint32 * room)(), (ctypes.c_uint32 * room)()
    asked = _libbpf.QueryOpts(ctypes.sizeof(_libbpf.QueryOpts), 0, 0, ids, room, flags)
    return asked, ids, flags


def query(directory: int, kind: int) -> list[tuple[int, int]]:
    """Id and attach flags of the programs of an attach type on one cgroup, in their order."""
    call = _libbpf.library().call
    room = 64  # the kernel's limit for one hook
    while True:
        asked, ids, flags = _asking(room)
        asked.prog_cnt = room
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


@functools.cache
def name(number: int) -> bytes:
    """The first NAME characters of a program's name by its id, which none other gets again.

    None has any where it was unloaded meanwhile.
    """
    found = program(number)
    return bytes(found.name) if found else b""


def is_link_of(fd: int, cgroup: int, program_name: str) -> bool:
    """Whether it is a link of a program of this name to a cgroup; a detached one has none."""
    link = _libbpf.info(fd, _libbpf.LinkInfo())
    if link.type != _libbpf.LINK_TYPE_CGROUP or link.cgroup_id not in (cgroup, 0):
        return False
    return name(link.prog_id) == program_name[: _libbpf.NAME].encode()


class _Line(NamedTuple):
    """A cgroup and what is above it: its path, its descriptor, and what that has attached.

    `attached` is attach type → the programs there, each its id and its flags, as far as asked.
    """

    path: str
    fd: int
    attached: dict[int, list[tuple[int, int]]]
    above: _Line | None

    def on(self, kind: int) -> list[tuple[int, int]]:
        """The programs of an attach type on this cgroup."""
        if kind not in self.attached:
            self.attached[kind] = query(self.fd, kind)
        return self.attached[kind]


class _Lines:
    """The lines of several cgroups, which have those above them in common."""

    def __init__(self, mount: str, opened: contextlib.ExitStack) -> None:
        self._top = os.stat(mount).st_ino
        self._opened = opened
        self._known: dict[int, _Line] = {}  # by inode number

    def of(self, path: str, number: int, fd: int) -> _Line:
        """The line of a cgroup, as far as the mount."""
        above = None
        with contextlib.suppress(FileNotFoundError):  # it was removed, which attaching tells
            above = None if number == self._top else self._above(os.path.dirname(path) or ".", fd)
        return _Line(path, fd, {}, above)

    def _above(self, path: str, below: int) -> _Line:
        number = os.stat("..", dir_fd=below).st_ino
        if number not in self._known:
            fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=below)
            self._opened.callback(os.close, fd)
            self._known[number] = self.of(path, number, fd)
        return self._known[number]


def _on_hook(attached: list[tuple[int, int]], section: str) -> list[tuple[int, int]]:
    """Those of some lsm_cgroup programs that are on the hook of a section."""
    function = HOOK + section.partition("/")[2]
    with _vmlinux.types() as types:
        return [
            (number, flags)
            for number, flags in attached
            if (found := program(number)) and types.name(found.attach_btf_id) == function
        ]


def _hindrance(line: _Line | None, section: str) -> Hindrance | None:
    kind = _libbpf.attach_type(section)
    there = []
    while line:
        there.append((line.path, line.on(kind)))
        line = line.above
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
        told = name(number).decode(errors="replace")
        return Hindrance(nearest[0] if nearest else "", number, told, forbids)
    return None


def hindrances(
    wanted: Iterable[tuple[Cgroup, Iterable[Program]]], mount: str
) -> list[tuple[Cgroup, Program, Hindrance]]:
    """What stands against attaching programs to cgroups, of those where something does.

    It is one on the cgroup itself, or on the nearest above it that has any on the hook
    (hierarchy_allows_attach()); and one that BPF_F_ALLOW_OVERRIDE lets stand above, which
    the kernel would run for this cgroup no longer (compute_effective_progs()).
    """
    found = []
    with contextlib.ExitStack() as opened:
        lines = _Lines(mount, opened)
        for cgroup, programs in wanted:
            line = lines.of(cgroup.path, cgroup.id, cgroup.fd)
            judged = ((each, _hindrance(line, each.section)) for each in programs)
            found += [(cgroup, each, hindrance) for each, hindrance in judged if hindrance]
    return found
