# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""libbpf.so.1 through ctypes: the signatures, how each reports an error, nothing else.

The library is the distribution's (Debian: libbpf1, 1.0 or later) and is loaded
when it is first needed. Every call that fails raises KernelError with its name.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Callable, Iterator
from ctypes import POINTER, c_char_p, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils import _worker
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError, KernelError

# struct bpf_link_info's union: a struct of its own for links of type cgroup.
LINK_TYPE_CGROUP = 3
MAP_TYPE_HASH = 1
MAP_TYPE_ARRAY = 2
MAP_TYPE_CGROUP_STORAGE = 19
MAP_TYPE_PERCPU_CGROUP_STORAGE = 21
_F_RDONLY = 1 << 3
F_ALLOW_MULTI = 1 << 1
LSM_CGROUP = 43  # enum bpf_attach_type: BPF_LSM_CGROUP
NAME = 15

SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)
"""ring_buffer_sample_fn: called with its context, a record and the record's size."""


class LinkInfo(ctypes.Structure):
    """The part of struct bpf_link_info that a cgroup's link has (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("_pad", c_uint32),
        ("cgroup_id", c_uint64),
        ("attach_type", c_uint32),
        ("_tail", c_uint32 * 9),
    )


class ProgInfo(ctypes.Structure):
    """The parts of struct bpf_prog_info that we read (linux/bpf.h).

    The kernel keeps the first NAME characters of a name.
    """

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("_tag_to_uid", c_uint32 * 11),
        ("nr_map_ids", c_uint32),
        ("map_ids", POINTER(c_uint32)),
        ("name", ctypes.c_char * 16),
        ("_ifindex_to_verified", c_uint32 * 35),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
        ("_tail", c_uint32),
    )


class MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", ctypes.c_char * 16),
    )


class OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts as of libbpf 1.0; later ones only append to it."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", c_char_p),
        ("_removed", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class QueryOpts(ctypes.Structure):
    """struct bpf_prog_query_opts as of libbpf 1.0; later ones only append to it."""

    _fields_ = (
        ("sz", c_size_t),
        ("query_flags", c_uint32),
        ("attach_flags", c_uint32),
        ("prog_ids", POINTER(c_uint32)),
        ("prog_cnt", c_uint32),
        ("prog_attach_flags", POINTER(c_uint32)),
    )


class ObjGetOpts(ctypes.Structure):
    """struct bpf_obj_get_opts as of libbpf 1.0; later ones have a field in place of the padding."""

    _fields_ = (("sz", c_size_t), ("file_flags", c_uint32), ("_padding", c_uint32))


_FOR_CHANGING = ObjGetOpts(ctypes.sizeof(ObjGetOpts))
_FOR_READING = ObjGetOpts(ctypes.sizeof(ObjGetOpts), _F_RDONLY)


class BtfEnum(ctypes.Structure):
    """struct btf_enum (linux/btf.h): one member of an enum."""

    _fields_ = (("name_off", c_uint32), ("value", c_int32))


class BtfMember(ctypes.Structure):
    """struct btf_member (linux/btf.h): one member of a struct."""

    _fields_ = (("name_off", c_uint32), ("type", c_uint32), ("offset", c_uint32))


_Info = TypeVar("_Info", LinkInfo, ProgInfo, MapInfo)
_Member = TypeVar("_Member", BtfEnum, BtfMember)


class BtfType(ctypes.Structure):
    """struct btf_type (linux/btf.h)."""

    _fields_ = (("name_off", c_uint32), ("info", c_uint32), ("size", c_uint32))

    def members(self, shape: type[_Member]) -> list[_Member]:
        """The members of an enum or a struct, which stand behind it."""
        behind = ctypes.addressof(self) + ctypes.sizeof(self)
        return list((shape * (self.info & 0xFFFF)).from_address(behind))


def _negative(result: int, function: Any, _args: Any) -> int:
    """libbpf 1.x returns -errno."""
    if result < 0:
        raise KernelError(function.__name__, -result)
    return result


def _null(result: Any, function: Any, _args: Any) -> Any:
    """libbpf 1.x returns NULL and sets errno."""
    if not result:
        raise KernelError(function.__name__, ctypes.get_errno())
    return result


def _plain(result: Any, _function: Any, _args: Any) -> Any:
    return result


# Function → what it returns, what it takes, and its errcheck, which reports an error.
_TABLE: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "libbpf_set_print": (c_void_p, (c_void_p,), _plain),
    "libbpf_version_string": (c_char_p, (), _plain),
    "libbpf_num_possible_cpus": (c_int, (), _negative),
    "libbpf_prog_type_by_name": (c_int, (c_char_p, POINTER(c_int), POINTER(c_int)), _negative),
    "bpf_object__open_mem": (c_void_p, (c_char_p, c_size_t, POINTER(OpenOpts)), _null),
    "bpf_object__load": (c_int, (c_void_p,), _negative),
    "bpf_object__close": (None, (c_void_p,), _plain),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p), _plain),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p), _plain),
    "bpf_program__name": (c_char_p, (c_void_p,), _plain),
    "bpf_program__set_autoload": (c_int, (c_void_p, ctypes.c_bool), _negative),
    "bpf_program__fd": (c_int, (c_void_p,), _negative),
    "bpf_map__name": (c_char_p, (c_void_p,), _plain),
    "bpf_map__fd": (c_int, (c_void_p,), _negative),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int), _negative),
    "bpf_obj_pin": (c_int, (c_int, c_char_p), _negative),
    "bpf_obj_get_opts": (c_int, (c_char_p, POINTER(ObjGetOpts)), _negative),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32)), _negative),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,), _negative),
    "bpf_map_get_fd_by_id": (c_int, (c_uint32,), _negative),
    "bpf_prog_query_opts": (c_int, (c_int, c_int, POINTER(QueryOpts)), _negative),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p), _negative),
    "bpf_link_detach": (c_int, (c_int,), _negative),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p), _negative),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64), _negative),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p), _negative),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p), _negative),
    "ring_buffer__new": (c_void_p, (c_int, SAMPLE, c_void_p, c_void_p), _null),
    "ring_buffer__consume": (c_int, (c_void_p,), _negative),
    "ring_buffer__free": (None, (c_void_p,), _plain),
    "btf__load_vmlinux_btf": (c_void_p, (), _null),
    "btf__free": (None, (c_void_p,), _plain),
    "btf__find_by_name_kind": (c_int, (c_void_p, c_char_p, c_uint32), _negative),
    "btf__type_by_id": (POINTER(BtfType), (c_void_p, c_uint32), _null),
    "btf__name_by_offset": (c_char_p, (c_void_p, c_uint32), _null),
}


class Library:
    """The functions of the table, as attributes, each raising KernelError."""

    bpf_obj_get_opts: Callable[..., int]
    bpf_obj_get_info_by_fd: Callable[..., int]

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, (result, arguments, check) in _TABLE.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
            function.errcheck = check
            setattr(self, name, function)
        self.call("libbpf_set_print", None)

    def call(self, name: str, *args: Any) -> Any:
        """Call a function of the table by its name."""
        with _worker.doing(name):
            return getattr(self, name)(*args)


@functools.cache
def library() -> Library:
    """The host's libbpf, loaded once. HostError where it is missing or older than 1.0."""
    try:
        return Library(ctypes.CDLL("libbpf.so.1", use_errno=True))
    except OSError as error:
        raise HostError(
            f"libbpf.so.1 can't be loaded on this host ({error})",
            "Install the distribution's package (Debian: apt install libbpf1)",
        ) from error


class closing:  # noqa: N801  as contextlib.closing, which closes objects
    """A descriptor that is closed in the end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)


def info(fd: int, into: ctypes.Structure) -> Any:
    """Fill a structure with what the kernel says of a program, map or link."""
    size = c_uint32(ctypes.sizeof(into))
    library().call("bpf_obj_get_info_by_fd", fd, ctypes.byref(into), ctypes.byref(size))
    return into


def get(path: str, write: bool = True) -> int:
    """A descriptor of what is pinned at a path. Close it with os.close().

    Without `write` it is of a map, and can't change it; the pin needs to be readable only.
    """
    options = _FOR_CHANGING if write else _FOR_READING
    with _worker.doing("bpf_obj_get_opts"):
        return _got(path, options)


def _got(path: str, options: ObjGetOpts) -> int:
    try:
        return int(library().bpf_obj_get_opts(os.fsencode(path), ctypes.byref(options)))
    except KernelError as error:
        raise KernelError(f"bpf_obj_get({path})", error.errno) from error


def told(path: str, into: _Info) -> _Info:
    """What the kernel says of what is pinned at a path, in a structure that it fills.

    It is get() and info(), for what is asked of each of thousands.
    """
    size = c_uint32(ctypes.sizeof(into))
    with _worker.doing(f"bpf_obj_get_opts in {path}"):
        fd = _got(path, _FOR_CHANGING)
    with _worker.doing(f"bpf_obj_get_info_by_fd in {path}"), closing(fd):
        library().bpf_obj_get_info_by_fd(fd, ctypes.byref(into), ctypes.byref(size))
    return into


def surely_link(told: LinkInfo) -> bool:
    """Whether what info() told can be of nothing but a cgroup's link, so that kind() need not be
    asked, which takes longer than all else.

    Where a link has its attach type, there would be 0 of a program, since no instructions are
    asked for, and of a map the first four bytes of its name, of which "." is the least.
    """
    return bool(told.type == LINK_TYPE_CGROUP and 0 < told.attach_type < ord("."))


def kind(fd: int) -> str:
    """What a descriptor is of: "prog", "map" or "link"."""
    name = os.readlink(f"/proc/self/fd/{fd}")  # anon_inode:bpf-prog, bpf-map, bpf_link
    return name.rpartition(":bpf")[2][1:]


def opened(path: str) -> closing:
    """A descriptor, as of get(), that is closed in the end."""
    return closing(get(path))


@contextlib.contextmanager
def pinned(path: str) -> Iterator[int]:
    """A descriptor, as of get(), that is closed in the end. What is called on it is named so."""
    with _worker.doing(path), opened(path) as fd:
        yield fd


def keys(fd: int) -> Iterator[int]:
    """The keys of a map, each a u64."""
    key, last = c_uint64(), None
    while True:
        try:
            library().call("bpf_map_get_next_key", fd, last, ctypes.byref(key))
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return
            raise
        yield key.value
        last = ctypes.byref(c_uint64(key.value))


@functools.cache
def attach_type(section: str) -> int:
    """The attach type of a section such as cgroup/bind4, as libbpf knows it.

    libbpf_attach_type_by_name() would be the one to ask, but has no lsm_cgroup.
    """
    kind, found = c_int(), c_int()
    arguments = (section.encode(), ctypes.byref(kind), ctypes.byref(found))
    library().call("libbpf_prog_type_by_name", *arguments)
    return found.value
