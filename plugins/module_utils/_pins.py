# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what is pinned below our directory is what cgnet pins there.

A run takes apart what it finds there, so what is not ours or not understood stops it before
anything is changed. A program, a map and a link's program bear the name of their pin; where
they have that of another of the same version, ours were mixed up, which a run mends.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.linux.cgnet.plugins.module_utils import (
    _attached,
    _libbpf,
    _names,
    _readers,
)
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError
from ansible_collections.linux.cgnet.plugins.module_utils._layout import ROOT, Layout, is_name

_AGAIN = "and run the task again, which pins its own anew"
_KINDS = {"prog": "a program", "map": "a map", "link": "a link"}
_MAPS = 64
"""A program uses no more maps (MAX_USED_MAPS)."""


class Pinned(NamedTuple):
    """What is pinned of a version.

    Of programs and maps it is what the kernel tells, by the pin's name; of links cgroup id →
    the names of its pins. `found` is every path from the version's directory on, and who
    may do what with it.
    """

    programs: Mapping[str, _libbpf.ProgInfo]
    maps: Mapping[str, _libbpf.MapInfo]
    links: Mapping[int, Sequence[str]]
    found: Mapping[str, _readers.Access]


Known = dict[tuple[str, int], Any]
"""What the kernel told of a program ("prog") or a map, by its pin's inode: what is asked of it
never changes, and a number comes again after 2^32 inodes (get_next_ino), not in a run."""


def _strange(path: str, what: str, wanted: str, remedy: str = "") -> HostError:
    """The error of something that is not ours: `what` it is, and what is `wanted` there."""
    shown = _names.shown(os.fsencode(path))
    return HostError(
        f"{shown} is {what}, where cgnet has {wanted} and nothing else. Nothing was changed",
        remedy or f"Look whose it is, remove it (rm -r {shlex.quote(shown)}), {_AGAIN}",
    )


def _scanned(directory: str) -> list[os.DirEntry[str]]:
    """What is in a directory, by name; nothing where it does not exist."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _entries(directory: str) -> list[tuple[str, str]]:
    """Name and path of what is in a directory; none where it does not exist."""
    return [(entry.name, entry.path) for entry in _scanned(directory)]


def _require_directory(path: str, wanted: str) -> dict[str, _readers.Access]:
    """A path and what is there, if it is there. HostError where that is no directory."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return {}
    if not stat.S_ISDIR(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no directory"
        raise _strange(path, what, wanted)
    return {path: _readers.access(found)}


def require_objects(layout: Layout) -> None:
    """HostError where our directory has anything but directories that an object may have."""
    _require_directory(layout.root, f"the directory {ROOT}")
    for name, path in _entries(layout.root):
        if not is_name(name):
            raise _strange(path, "of a name that cgnet gives to none", "its objects' directories")
        _require_directory(path, "an object's directory")


def require_ours(layout: Layout, name: str, known: Known) -> dict[str, Pinned]:
    """What is pinned of each version of an object.

    HostError where its directory has anything that cgnet does not pin there. What is told of
    programs and maps is added to `known`, and not asked for again.
    """
    versions = {}
    _require_directory(layout.root, f"the directory {ROOT}")
    _require_directory(layout.object(name), "an object's directory")
    for version, path in _entries(layout.object(name)):
        if not is_name(version):
            raise _strange(path, "of a name that cgnet gives to none", "an object's versions")
        found = _require_directory(path, "a version's directory")
        pinned = Pinned({}, {}, {}, found)
        for part, below in _entries(path):
            if part not in _KINDS:
                raise _strange(below, "of a name that cgnet gives to none", "prog, map and link")
            found.update(_require_directory(below, f"the directory {part}"))
            if part == "link":
                pinned = pinned._replace(links=_links(below, found))
            elif part == "prog":
                pinned = pinned._replace(programs=_named(below, part, found, known))
            else:
                pinned = pinned._replace(maps=_named(below, part, found, known))
        versions[version] = pinned
    return versions


def _is_id(name: str) -> bool:
    """Whether a directory can be that of a cgroup's links."""
    return bool(re.fullmatch(r"0|[1-9][0-9]{0,19}", name)) and int(name) < 1 << 64


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def tidy(layout: Layout) -> bool:
    """Remove those of our directories that are empty, as a run that was killed may leave them.

    Returns whether nothing of ours is left.
    """
    root = layout.root
    if not _is_directory(root):
        return not os.path.lexists(root)
    objects = [path for name, path in _entries(root) if is_name(name)]
    links = [
        f"{path}/link"
        for each in filter(_is_directory, objects)
        for _version, path in _entries(each)
        if _is_directory(path)
    ]
    cgroups = [
        entry.path
        for each in filter(_is_directory, links)
        for entry in _scanned(each)
        if _is_id(entry.name) and entry.is_dir(follow_symlinks=False)
    ]
    for directory in (*cgroups, *filter(_is_directory, objects), root):
        if not os.listdir(directory):
            os.rmdir(directory)
    return not os.path.lexists(root)


def _links(directory: str, found: dict[str, _readers.Access]) -> dict[int, list[str]]:
    """Cgroup id → the names of its links' pins, each of which link() reads.

    HostError where a directory has anything but directories of pins. What stands at each path
    is added to `found`.
    """
    links = {}
    for cgroup, path in _entries(directory):
        if not _is_id(cgroup):
            raise _strange(path, "of a name that is no cgroup's id", "a directory for each cgroup")
        found.update(_require_directory(path, "the directory of a cgroup's links"))
        links[int(cgroup)] = list(_pins(path, "link", found))
    return links


def _pins(
    directory: str, kind: str, found: dict[str, _readers.Access]
) -> dict[str, os.DirEntry[str]]:
    """What is in a directory, by name; HostError where that is no pin.

    What stands at each path is added to `found`.
    """
    pins = {}
    for entry in _scanned(directory):
        path, regular = entry.path, entry.is_file(follow_symlinks=False)
        if not regular or not is_name(entry.name):
            what = "of a name that cgnet gives to none" if regular else "no pin"
            raise _strange(path, what, f"pins of {kind}s")
        found[path] = _readers.access(entry.stat(follow_symlinks=False))
        pins[entry.name] = entry
    return pins


def _require_kind(fd: int, path: str, kind: str) -> None:
    found = _libbpf.kind(fd)
    if found != kind:
        raise _strange(path, _KINDS.get(found, found), _KINDS[kind])


def _named(
    directory: str, kind: str, found: dict[str, _readers.Access], known: Known
) -> dict[str, Any]:
    """What the kernel tells of each pin of a directory, by the pin's name.

    HostError where there is anything but pins of a kind that bear their own name, or that of
    another one. What stands at each path is added to `found`.
    """
    pins = _pins(directory, kind, found)
    told = {}
    for pin, entry in pins.items():
        path, inode = entry.path, entry.inode()
        if (kind, inode) not in known:
            with _libbpf.pinned(path) as fd:
                _require_kind(fd, path, kind)
                known[kind, inode] = _libbpf.info(fd, _shape(kind))
        told[pin] = known[kind, inode]
        named = told[pin].name.decode(errors="replace")
        if named not in {name[: _libbpf.NAME] for name in pins}:
            what = _KINDS[kind]
            raise _strange(path, f"{what} of the name {named}", f"{what} of its own")
    return told


def _shape(kind: str) -> _libbpf.ProgInfo | _libbpf.MapInfo:
    """What the kernel is to fill, with room for the ids of a program's maps."""
    if kind == "map":
        return _libbpf.MapInfo()
    return _libbpf.ProgInfo(nr_map_ids=_MAPS, map_ids=(ctypes.c_uint32 * _MAPS)())


def link(path: str, cgroup: int, name: str, programs: Mapping[str, int]) -> _libbpf.LinkInfo:
    """What the kernel tells of a link that is pinned by a name in the directory of a cgroup.

    HostError where it is none to this cgroup of one of the version's programs (name → id),
    or of the one that it is named for.
    """
    wanted = "links to that cgroup, each named for its program"
    found = _libbpf.told(path, _libbpf.LinkInfo())
    if not _libbpf.surely_link(found):
        with _libbpf.pinned(path) as fd:
            _require_kind(fd, path, "link")
    # 0: it is detached, or the cgroup is gone
    if found.type != _libbpf.LINK_TYPE_CGROUP or found.cgroup_id not in (0, cgroup):
        raise _strange(path, "a link to something else", wanted)
    if found.prog_id != programs.get(name) and (
        name not in programs or found.prog_id not in programs.values()
    ):
        named = _attached.name(found.prog_id).decode(errors="replace")
        if named != name[: _libbpf.NAME]:
            raise _strange(path, f"a link of the program {named}", wanted)
    return found
