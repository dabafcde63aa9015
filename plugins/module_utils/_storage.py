# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the maps of a version hold for each cgroup. `folder` is where the maps are pinned."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Generator, Iterator, Mapping

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError

_GOVERNING = "governing"
"""The map of the policy object that has the ids of the cgroups that govern the priority."""

_NESTED = "nested"
"""The map of the policy object that has whether any of these is below another one."""

_GOVERNS = b"\1"
"""What the map has for each that governs."""

_KEY_SIZES = {
    _libbpf.MAP_TYPE_HASH: 8,
    _libbpf.MAP_TYPE_ARRAY: 4,
    _libbpf.MAP_TYPE_CGROUP_STORAGE: 8,
    _libbpf.MAP_TYPE_PERCPU_CGROUP_STORAGE: 8,
}

_MARKS = "marks"
"""The map of the policy object that has, for a socket, whose priority it carries."""


def _maps(
    folder: str, write: bool, only: str | None = None
) -> Generator[tuple[str, int], None, None]:
    """Each pinned map's name, or `only` that one's, and a descriptor that lives until the next.

    Who is not root sees the maps that are shared with it, while a run may remove them.
    """
    try:
        pinned = sorted(os.listdir(folder))
    except FileNotFoundError:
        pinned = []
    for name in pinned if only is None else {only}.intersection(pinned):
        with _worker.doing(f"{folder}/{name}"):
            try:
                fd = _libbpf.get(f"{folder}/{name}", write)
            except KernelError as error:
                if os.geteuid() != 0 and error.errno in (errno.EACCES, errno.ENOENT):
                    continue
                raise
            with _libbpf.closing(fd):
                yield name, fd


def pins(folder: str) -> list[str]:
    """The names of the maps that store something for each cgroup."""
    kinds = (_libbpf.MAP_TYPE_CGROUP_STORAGE, _libbpf.MAP_TYPE_PERCPU_CGROUP_STORAGE)
    return [
        name
        for name, fd in _maps(folder, write=False)
        if _libbpf.info(fd, _libbpf.MapInfo()).type in kinds
    ]


def _is(shape: _libbpf.MapInfo, kind: int) -> bool:
    """Whether a map is of a kind, and its keys are as ours are."""
    return bool(shape.type == kind and shape.key_size == _KEY_SIZES[kind])


@contextlib.contextmanager
def _opened(
    folder: str, kind: int, name: str | None = None, write: bool = False
) -> Iterator[tuple[int, int] | None]:
    """A descriptor of the first map that _is() of a kind, and its values' size."""
    with contextlib.closing(_maps(folder, write, name)) as maps:
        for _entry, fd in maps:
            shape = _libbpf.info(fd, _libbpf.MapInfo())
            if _is(shape, kind):
                yield fd, int(shape.value_size)
                return
    yield None


def _read(fd: int, size: int) -> dict[int, bytes]:
    """Cgroup id → the bytes of its value, for every cgroup that has one."""
    found: dict[int, bytes] = {}
    value = ctypes.create_string_buffer(size)
    for cgroup in _libbpf.keys(fd):
        key = ctypes.byref(ctypes.c_uint64(cgroup))
        try:
            _libbpf.library().call("bpf_map_lookup_elem", fd, key, value)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                break  # a cgroup that went meanwhile; the next run looks again
            raise
        found[cgroup] = value.raw
    return found


def values(folder: str, shapes: Mapping[str, _libbpf.MapInfo] | None = None) -> dict[int, bytes]:
    """Cgroup id → what is stored for it, for every cgroup that has storage.

    `shapes` are the maps by name, of whom has asked for them already.
    """
    kind, only = _libbpf.MAP_TYPE_CGROUP_STORAGE, None
    if shapes is not None:
        only = next((name for name in sorted(shapes) if _is(shapes[name], kind)), None)
        if only is None:
            return {}
    with _opened(folder, kind, only) as storage:
        return _read(*storage) if storage else {}


def _of_all_cpus(size: int) -> int:
    """How many bytes the kernel reads and writes of a per-CPU value: 8 and 8 for each CPU."""
    return (size + 7) // 8 * 8 * int(_libbpf.library().call("libbpf_num_possible_cpus"))


def counts(folder: str, size: int) -> dict[int, list[bytes]]:
    """Cgroup id → the `size` bytes that each CPU has counted in; none of another size."""
    with _opened(folder, _libbpf.MAP_TYPE_PERCPU_CGROUP_STORAGE) as opened:
        if opened is None or opened[1] != size:
            return {}
        found = _read(opened[0], _of_all_cpus(size))
    step = (size + 7) // 8 * 8
    return {
        cgroup: [value[at : at + size] for at in range(0, len(value), step)]
        for cgroup, value in found.items()
    }


def governing(folder: str) -> set[int]:
    """The ids of the cgroups whose policy governs the priority."""
    with _opened(folder, _libbpf.MAP_TYPE_HASH, _GOVERNING) as opened:
        return set(_libbpf.keys(opened[0])) if opened else set()


def nested(folder: str) -> bool:
    """Whether it is told that any of the cgroups that govern the priority is below another."""
    with _opened(folder, _libbpf.MAP_TYPE_ARRAY, _NESTED) as opened:
        if opened is None or opened[1] != ctypes.sizeof(ctypes.c_uint32):
            return False
        told = ctypes.c_uint32()
        key = ctypes.byref(ctypes.c_uint32())
        _libbpf.library().call("bpf_map_lookup_elem", opened[0], key, ctypes.byref(told))
        return bool(told.value)


def owner(folder: str, socket: int) -> int:
    """The id of the cgroup whose priority a socket carries, by its descriptor; 0 where none has.

    Nor has any where somebody removed the map's pin: the version is set aside then.
    """
    key = ctypes.byref(ctypes.c_int(socket))
    if not os.path.exists(f"{folder}/{_MARKS}"):
        return 0
    with _libbpf.pinned(f"{folder}/{_MARKS}") as fd:
        mark = (ctypes.c_uint64 * 2)()  # struct mark of priority.bpf.h: the cgroup comes first
        if _libbpf.info(fd, _libbpf.MapInfo()).value_size != ctypes.sizeof(mark):
            raise KernelError(f"{folder}/{_MARKS} has marks of another size", errno.EINVAL)
        try:
            _libbpf.library().call("bpf_map_lookup_elem", fd, key, mark)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return 0
            raise
    return int(mark[0])


class Writer:
    """What changes the maps of a version; each stays open until the `with` statement ends."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._open: dict[int, tuple[int, int] | None] = {}

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_error: object) -> None:
        for fd, _size in filter(None, self._open.values()):
            os.close(fd)
        self._open.clear()

    def _map(self, kind: int, name: str | None = None) -> tuple[int, int] | None:
        """As _opened() gives it."""
        if kind not in self._open:
            with _opened(self._folder, kind, name, write=True) as found:
                self._open[kind] = (os.dup(found[0]), found[1]) if found else None
        return self._open[kind]

    def _update(self, fd: int, cgroup: int, value: bytes) -> None:
        key = ctypes.byref(ctypes.c_uint64(cgroup))
        with _worker.doing(self._folder):
            _libbpf.library().call("bpf_map_update_elem", fd, key, value, 0)

    def forget(self, cgroup: int) -> None:
        """Let a cgroup's counts begin again from zero, if it has any."""
        opened = self._map(_libbpf.MAP_TYPE_PERCPU_CGROUP_STORAGE)
        if opened is None:
            return
        try:
            self._update(opened[0], cgroup, bytes(_of_all_cpus(opened[1])))
        except KernelError as error:
            if error.errno != errno.ENOENT:  # nothing of it was ever attached
                raise

    def store(self, cgroup: int, value: bytes) -> None:
        """Replace what is stored for a cgroup."""
        storage = self._map(_libbpf.MAP_TYPE_CGROUP_STORAGE)
        if storage is None:
            raise KernelError(f"{self._folder} has no storage", errno.ENOENT)
        fd, size = storage
        if len(value) != size:  # the kernel would read as much as the map's values have
            raise KernelError(f"storing {len(value)} bytes where {size} are", errno.EINVAL)
        self._update(fd, cgroup, value)

    def govern(self, cgroup: int, governs: bool) -> None:
        """Say whether a cgroup's policy governs the priority."""
        opened = self._map(_libbpf.MAP_TYPE_HASH, _GOVERNING)
        if opened is None or opened[1] != len(_GOVERNS):
            raise KernelError(f"{self._folder} has no map {_GOVERNING}", errno.ENOENT)
        if governs:
            self._update(opened[0], cgroup, _GOVERNS)
            return
        with _worker.doing(self._folder):
            key = ctypes.byref(ctypes.c_uint64(cgroup))
            _libbpf.library().call("bpf_map_delete_elem", opened[0], key)

    def nest(self, nested: bool) -> None:
        """Say whether any of the cgroups that govern the priority is below another one."""
        opened = self._map(_libbpf.MAP_TYPE_ARRAY, _NESTED)
        value = ctypes.c_uint32(nested)
        if opened is None or opened[1] != ctypes.sizeof(value):
            raise KernelError(f"{self._folder} has no map {_NESTED}", errno.ENOENT)
        with _worker.doing(self._folder):
            key = ctypes.byref(ctypes.c_uint32())
            _libbpf.library().call("bpf_map_update_elem", opened[0], key, ctypes.byref(value), 0)
