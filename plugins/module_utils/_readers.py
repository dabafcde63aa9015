# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who but root may read what is stored: the members of one group, by the modes of the pins.

Whoever may read a map's pin gets a descriptor (BPF_F_RDONLY) that looks up and can't change.
Reading a program's pin is enough to attach the program, so those stay closed, and so does
every map but the cgroup storages.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import grp
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _storage
from ansible_collections.linux.cgnet.plugins.module_utils._cgroup import Hierarchy
from ansible_collections.linux.cgnet.plugins.module_utils._errors import (
    HostError,
    InputError,
    KernelError,
)
from ansible_collections.linux.cgnet.plugins.module_utils._layout import STAGING, Layout
from ansible_collections.linux.cgnet.plugins.module_utils._model import Held, Loaded, Observed

ROOT = 0
"""The gid that stands for: root alone."""

_OTHERS = 0o077


class Access(NamedTuple):
    """Who may do what with a directory, a `folder`, or a pin. `mode` is the permissions alone."""

    uid: int
    gid: int
    mode: int
    folder: bool

    def __str__(self) -> str:
        return f"owner {self.uid}, group {self.gid}, mode {self.mode:04o}"


@functools.cache
def _access(uid: int, gid: int, mode: int) -> Access:
    """One for all that are alike, of which there are thousands."""
    return Access(uid, gid, stat.S_IMODE(mode), stat.S_ISDIR(mode))


def access(found: os.stat_result) -> Access:
    """What a directory or a pin has."""
    return _access(found.st_uid, found.st_gid, found.st_mode)


def group_id(value: object, at: str) -> int:
    """The gid of a group of this host, by its name or number. InputError where there is none."""
    if not isinstance(value, str) or not value:
        raise InputError(at, value, "the name or the number of a group", "As adm, or root for none")
    with contextlib.suppress(KeyError, ValueError):  # a NUL in it
        return grp.getgrnam(value).gr_gid
    if re.fullmatch(r"[0-9]{1,10}", value):
        with contextlib.suppress(KeyError, OverflowError):  # more than 32 bits
            return grp.getgrgid(int(value)).gr_gid
    raise InputError(at, value, "this host has no such group", "Make the group first")


def group_name(gid: int | None) -> str:
    """A group's name, or its number where it has none any more; None: what shared() means by it."""
    if gid is None:
        return "altered"
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _passable(directory: str, gid: int) -> bool:
    """Whether a group's members may go through a directory."""
    found = os.stat(directory)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH))


def require_way(bpffs: str, gid: int) -> None:
    """HostError where a group's members can't go as far as into bpffs, which is not ours."""
    parts = os.path.realpath(bpffs).split("/")
    for end in range(1, len(parts) + 1):
        directory = "/".join(parts[:end]) or "/"
        if gid != ROOT and not _passable(directory, gid):
            raise HostError(
                f"readers: the group {group_name(gid)} can't go through {directory}, below which "
                "the policies are, and nothing was changed",
                f"Run chmod o+x {directory}, and keep that over boots by a line in "
                f'/etc/tmpfiles.d/, such as "z {directory} 0711 root root -"',
            )


def _parts(layout: Layout, name: str, version: str) -> list[tuple[str, int]]:
    """What readers go through and what they read, from the outside in, and the modes for that.

    The object's directory, which its versions have in common, can be listed: a reader does
    not know the version.
    """
    maps = layout.maps(name, version)
    return [
        (layout.object(name), 0o750),
        (layout.version(name, version), 0o710),
        (maps, 0o750),
        *((f"{maps}/{pin}", 0o640) for pin in _storage.pins(maps)),
    ]


def _above(layout: Layout, name: str) -> dict[str, Access]:
    """What stands above an object's versions."""
    return {path: access(os.lstat(path)) for path in (layout.root, layout.object(name))}


def _below(directory: str) -> dict[str, Access]:
    """What stands at a version's directory and below, from the outside in."""
    found = {}
    for base, _directories, files in os.walk(directory):
        paths = (base, *(f"{base}/{file}" for file in files))
        found.update({path: access(os.lstat(path)) for path in paths})
    return found


def _differing(
    layout: Layout, name: str, version: str, gid: int, found: Mapping[str, Access]
) -> dict[str, Access]:
    """Path → how it is made where a group may read that, of what is found to be otherwise."""
    shared: dict[str, tuple[int, int]] = {}
    if gid != ROOT:
        shared = {path: (gid, mode) for path, mode in _parts(layout, name, version)}
    if gid != ROOT or found[layout.root].mode & stat.S_IXOTH:
        shared[layout.root] = ROOT, 0o711
    alone = {True: (ROOT, 0o700), False: (ROOT, 0o600)}
    differing = {}
    for path, there in found.items():
        made = Access(0, *shared.get(path, alone[there.folder]), there.folder)
        if made != there:
            differing[path] = made
    return differing


def _nearest(
    layout: Layout, name: str, version: str, found: Mapping[str, Access]
) -> tuple[int, dict[str, Access]]:
    """The group that a version is the most likely shared with, and what differs from that."""
    groups = sorted({ROOT, found[layout.object(name)].gid})
    differing = [(gid, _differing(layout, name, version, gid, found)) for gid in groups]
    return min(differing, key=lambda each: len(each[1]))


def shared(
    layout: Layout, name: str, version: str, below: Mapping[str, Access]
) -> tuple[int | None, dict[str, str]]:
    """The gid of the group that may read what a version stores, ROOT where none may.

    None where it is neither the one nor the other: a run was killed, or somebody changed it.
    What is otherwise than it was made comes with it: path → how it is and was. `below` is what
    stands at the version's directory and below.
    """
    found = {**_above(layout, name), **below}
    gid, differing = _nearest(layout, name, version, found)
    told = {
        path: f"{path} has {found[path]}, and not {wanted}; a run mends it"
        for path, wanted in differing.items()
    }
    return (None if told else gid), told


@contextlib.contextmanager
def _itself(path: str) -> Iterator[str]:
    """A path to what stands at a path now and no link; a pin can be opened by O_PATH only."""
    with _libbpf.closing(os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
        yield f"/proc/self/fd/{fd}"


def share(layout: Layout, name: str, version: str, gid: int) -> None:
    """Let a group read what a version stores, and nobody else but root; ROOT: root alone.

    Whatever else is not as it was made becomes so. KernelError (ENOENT) where there is no such
    version, or for a group no storage. All that changes is closed, from the outside in, before
    any of it is opened.
    """
    maps = layout.maps(name, version)
    if not os.path.isdir(maps) or (gid != ROOT and not _storage.pins(maps)):
        raise KernelError(f"{maps} has no storage", errno.ENOENT)
    found = {**_above(layout, name), **_below(layout.version(name, version))}
    differing = _differing(layout, name, version, gid, found)
    for path, made in differing.items():
        with _itself(path) as itself:
            os.chmod(itself, made.mode & ~_OTHERS)
            os.chown(itself, 0, made.gid)
    for path, made in reversed(differing.items()):
        with _itself(path) as itself:
            os.chmod(itself, made.mode)


def observe(layout: Layout, hierarchy: Hierarchy, name: str) -> Observed:
    """What a reader sees of an object: what its versions store for the cgroups that live.

    HostError where it may not. A run may move policies from one version to another meanwhile,
    and a reader can't keep it from that: it looks until it has seen the same twice.
    """
    found = _look(layout, hierarchy, name)
    while (again := _look(layout, hierarchy, name)) != found:
        found = again
    return found


def _look(layout: Layout, hierarchy: Hierarchy, name: str) -> Observed:
    versions, refused = {}, False
    try:
        listed = sorted(os.listdir(layout.object(name)))
    except FileNotFoundError:
        listed = []
    except PermissionError:
        raise _stranger(layout, name) from None
    for version in [each for each in listed if not each.endswith(STAGING)]:
        try:
            values = _storage.values(layout.maps(name, version))
        except PermissionError:  # it was made just now, or is not shared
            refused = True
            continue
        held = {cgroup: Held(value=value) for cgroup, value in values.items()}
        versions[version] = Loaded(frozenset(), held)
    if refused and not versions:
        raise _stranger(layout, name)
    ids = {cgroup for loaded in versions.values() for cgroup in loaded.cgroups}
    return Observed(versions, hierarchy.walked(ids))


def _stranger(layout: Layout, name: str) -> HostError:
    """The error of a process that is neither root's nor a reader's."""
    may = "root alone may"
    with contextlib.suppress(OSError):
        gid = os.stat(layout.object(name)).st_gid
        if gid != ROOT:
            may = f"root and the group {group_name(gid)} may"
    return HostError(
        f"uid {os.geteuid()} may not read what is stored here: {may}",
        "Set become: true on the task, or let a group of the user's read it, "
        "by the option readers of cgnet_policy",
    )
