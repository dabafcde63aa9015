# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object's bytes as programs and maps in the kernel, for as long as it is open."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError

_LOG_SIZE = 1 << 20


@contextlib.contextmanager
def loaded(data: bytes, wanted: set[str], pinned: str) -> Iterator[int]:
    """A handle of an object with the wanted programs loaded, and no others.

    `pinned` is a directory whose maps are taken instead of new ones of the same name, or "".
    KernelError with the verifier's log where the kernel refuses, EINVAL where the object
    has no program of a wanted name.
    """
    libbpf = _libbpf.library()
    log = ctypes.create_string_buffer(_LOG_SIZE)
    options = _libbpf.OpenOpts(
        sz=ctypes.sizeof(_libbpf.OpenOpts),
        object_name=b"cgnet",
        kernel_log_buf=ctypes.cast(log, ctypes.c_void_p),
        kernel_log_size=_LOG_SIZE,
    )
    handle = libbpf.call("bpf_object__open_mem", data, len(data), ctypes.byref(options))
    try:
        found = dict(_each(handle, "program"))
        lost = ", ".join(sorted(wanted - found.keys()))
        if lost:
            raise KernelError(f"loading {lost}", errno.EINVAL, "The object has none of the name")
        for name, pointer in found.items():
            libbpf.call("bpf_program__set_autoload", pointer, name in wanted)
        for name, pointer in _each(handle, "map"):
            if pinned and os.path.exists(f"{pinned}/{name}"):
                with _libbpf.pinned(f"{pinned}/{name}") as fd:
                    libbpf.call("bpf_map__reuse_fd", pointer, fd)
        try:
            libbpf.call("bpf_object__load", handle)
        except KernelError as error:
            raise KernelError(
                f"loading {', '.join(sorted(wanted))}",
                error.errno,
                "This kernel does not take the object (docs/controls.md says what each needs)",
                log.value.decode(errors="replace"),
            ) from error
        yield handle
    finally:
        libbpf.call("bpf_object__close", handle)


def programs(handle: int, wanted: set[str]) -> Iterator[tuple[str, int]]:
    """Name and descriptor of each wanted program; the others have none."""
    for name, pointer in _each(handle, "program"):
        if name in wanted:
            yield name, _libbpf.library().call("bpf_program__fd", pointer)


def maps(handle: int) -> Iterator[tuple[str, int]]:
    """The maps that can be pinned; libbpf's own (.rodata, .bss) live with the programs."""
    for name, pointer in _each(handle, "map"):
        if "." not in name:
            yield name, _libbpf.library().call("bpf_map__fd", pointer)


def _each(handle: int, kind: str) -> Iterator[tuple[str, int]]:
    """The programs or maps of an open object: name and pointer."""
    libbpf = _libbpf.library()
    pointer = libbpf.call(f"bpf_object__next_{kind}", handle, None)
    while pointer:
        yield libbpf.call(f"bpf_{kind}__name", pointer).decode(), pointer
        pointer = libbpf.call(f"bpf_object__next_{kind}", handle, pointer)
