# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that finds a packet's class by its cgroup: load it, and read what it says.

A filter has it, and nothing else: it is pinned nowhere, and goes with the filter.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _loader

OBJECT = "classify"
PROGRAM = "cgnet_classify"
MAP = "classes"
DEPTH = 64
"""So many levels of cgroups it looks at."""

_NAMED = "cgnet "


def name(version: str) -> str:
    """What the filter is named."""
    return _NAMED + version


def version(named: str | None) -> str:
    """The version of ours that a filter has by its name, or ""."""
    return named[len(_NAMED) :] if named and named.startswith(_NAMED) else ""


@contextlib.contextmanager
def loaded(data: bytes, cgroups: Mapping[int, int]) -> Iterator[int]:
    """A descriptor of the program, which knows the class id of each cgroup id."""
    library = _libbpf.library()
    with _loader.loaded(data, {PROGRAM}, "") as handle:
        classes = dict(_loader.maps(handle))[MAP]
        for cgroup, classid in cgroups.items():
            key, value = ctypes.c_uint64(cgroup), ctypes.c_uint32(classid)
            where = ctypes.byref(key), ctypes.byref(value)
            library.call("bpf_map_update_elem", classes, *where, 0)
        yield dict(_loader.programs(handle, {PROGRAM}))[PROGRAM]


def stored(program: int) -> dict[int, int]:
    """Class id by cgroup id, of the program with an id."""
    library = _libbpf.library()
    ids = (ctypes.c_uint32 * 1)()
    told = _libbpf.ProgInfo(nr_map_ids=1, map_ids=ids)
    with _libbpf.closing(library.call("bpf_prog_get_fd_by_id", program)) as fd:
        _libbpf.info(fd, told)
    found = {}
    with _libbpf.closing(library.call("bpf_map_get_fd_by_id", ids[0])) as fd:
        for cgroup in _libbpf.keys(fd):
            key, value = ctypes.c_uint64(cgroup), ctypes.c_uint32()
            where = ctypes.byref(key), ctypes.byref(value)
            library.call("bpf_map_lookup_elem", fd, *where)
            found[cgroup] = value.value
    return found
