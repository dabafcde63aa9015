# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody else's programs on cgroups, attached and looked at without the collection's code."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable, Iterator
from ctypes import POINTER, byref, c_size_t, c_uint32
from dataclasses import dataclass

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _loader

from tests.kernel.conftest import shipped

OVERRIDE, MULTI = 1, 2
EFFECTIVE = 1
KINDS = {
    "ingress": 0, "egress": 1, "sockops": 3, "bind4": 8, "connect4": 10, "sysctl": 18,
    "setsockopt": 22,
}  # fmt: skip
"""Program → enum bpf_attach_type; the others are BPF_LSM_CGROUP."""
LSM_CGROUP = 43


def kind_of(name: str) -> int:
    """The attach type of one of their programs."""
    return KINDS.get(name, LSM_CGROUP)


class _Query(ctypes.Structure):
    """struct bpf_prog_query_opts."""

    _fields_ = (
        ("sz", c_size_t), ("query_flags", c_uint32), ("attach_flags", c_uint32),
        ("prog_ids", POINTER(c_uint32)), ("prog_cnt", c_uint32),
        ("prog_attach_flags", POINTER(c_uint32)),
    )  # fmt: skip


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL("libbpf.so.1")


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def standing(directory: str, kind: int, flags: int = 0) -> list[int]:
    """The ids of a cgroup's programs of a type, in their order; by EFFECTIVE, those that run."""
    ids, each = (c_uint32 * 256)(), (c_uint32 * 256)()
    asked = _Query(ctypes.sizeof(_Query), flags, 0, ids, 256, None if flags else each)
    with _opened(directory) as fd:
        assert _libc().bpf_prog_query_opts(fd, kind, byref(asked)) == 0, (directory, kind)
    return list(ids[: asked.prog_cnt])


@dataclass(frozen=True)
class Theirs:
    """Programs of somebody else, loaded: name → descriptor and id."""

    fds: dict[str, int]
    ids: dict[str, int]

    def attach(self, directory: str, name: str, flags: int = MULTI) -> None:
        """BPF_PROG_ATTACH, without a link."""
        with _opened(directory) as fd:
            failed = _libc().bpf_prog_attach(self.fds[name], fd, kind_of(name), flags)
        if failed:
            raise OSError(-failed, f"attaching {name} to {directory}")

    def detach(self, directory: str, name: str) -> None:
        """BPF_PROG_DETACH."""
        with _opened(directory) as fd:
            assert _libc().bpf_prog_detach2(self.fds[name], fd, kind_of(name)) == 0

    @contextlib.contextmanager
    def attached(self, directory: str, *names: str, flags: int = MULTI) -> Iterator[None]:
        """Attached for the block."""
        with contextlib.ExitStack() as stack:
            for name in names:
                self.attach(directory, name, flags)
                stack.callback(self.detach, directory, name)
            yield

    @contextlib.contextmanager
    def linked(self, directory: str, *names: str) -> Iterator[list[int]]:
        """Linked for the block: the links' descriptors."""
        found: list[int] = []
        with _opened(directory) as fd:
            for name in names:
                found.append(_libc().bpf_link_create(self.fds[name], fd, kind_of(name), None))
                assert found[-1] >= 0, (directory, name)
        try:
            yield found
        finally:
            for link in found:
                assert _libc().bpf_link_detach(link) == 0
                os.close(link)


@contextlib.contextmanager
def theirs(names: Iterable[str]) -> Iterator[Theirs]:
    """Some of their programs, loaded for the block."""
    wanted = {f"theirs_{name}" for name in names}
    with open(shipped("theirs").path, "rb") as file:
        data = file.read()
    with _loader.loaded(data, wanted, "") as handle:
        fds = {name[len("theirs_") :]: fd for name, fd in _loader.programs(handle, wanted)}
        ids = {name: _libbpf.info(fd, _libbpf.ProgInfo()).id for name, fd in fds.items()}
        yield Theirs(fds, ids)
