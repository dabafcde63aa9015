# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The LSM hooks that are taken: every cgroup is asked, and a hook counts once."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _slots
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Slots

BTF, ENUM = 4096, 7  # the handle, and the id of the enum
# Type ids of the hooks that programs attach to.
FUNCTIONS = {30: b"bpf_lsm_socket_bind", 31: b"bpf_lsm_socket_create", 32: b"bpf_lsm_bpf_lsm_x"}


class Library:
    """libbpf over cgroups that are directories, as far as _slots asks it.

    `attached` is directory → ids of its programs; `programs` id → the hook's type id, or an
    errno where it can't be had.
    """

    def __init__(self, attached: dict[Path, list[int]], programs: dict[int, int]) -> None:
        self.attached = {str(folder): ids for folder, ids in attached.items()}
        self.programs = programs
        self.members = {b"CGROUP_INET_INGRESS": 0, b"CGROUP_LSM_START": 23, b"CGROUP_LSM_END": 32}
        self.refusals: dict[str, int] = {}
        self.calls: list[str] = []
        self.rooms: list[int] = []
        self.asked: list[str] = []
        self.got: list[int] = []
        self.names: dict[int, bytes] = {}
        # Members are read at their address: as in libbpf, types stay until all are freed.
        self.kept: list[bytearray] = []
        self.open: dict[int, int] = {}

    def call(self, name: str, *args: Any) -> Any:
        self.calls.append(name)
        return getattr(self, name.replace("__", "_"))(*args)

    def offset(self, name: bytes) -> int:
        """Where a name is in the strings of the kernel's types."""
        self.names[len(self.names) + 1] = name
        return len(self.names)

    def btf_load_vmlinux_btf(self) -> int:
        return BTF

    def btf_free(self, btf: int) -> None:
        assert btf == BTF

    def btf_find_by_name_kind(self, btf: int, name: bytes, kind: int) -> int:
        assert (btf, name, kind) == (BTF, b"cgroup_bpf_attach_type", 6)
        return ENUM

    def btf_type_by_id(self, btf: int, number: int) -> Any:
        assert btf == BTF
        members = self.members if number == ENUM else {}
        data = struct.pack("3I", self.offset(FUNCTIONS.get(number, b"")), len(members), 4)
        for name, value in members.items():
            data += struct.pack("Ii", self.offset(name), value)
        self.kept.append(bytearray(data))
        return ctypes.pointer(_libbpf.BtfType.from_buffer(self.kept[-1]))

    def btf_name_by_offset(self, btf: int, offset: int) -> bytes:
        assert btf == BTF
        return self.names[offset]

    def bpf_prog_query_opts(self, directory: int, kind: int, pointer: Any) -> None:
        """ENOSPC where there is no room, after as many ids as there is room for."""
        query = pointer._obj
        assert (kind, query.query_flags, query.sz) == (43, 0, ctypes.sizeof(query))
        self.asked.append(os.readlink(f"/proc/self/fd/{directory}"))
        self.rooms.append(query.prog_cnt)
        if self.asked[-1] in self.refusals:
            raise KernelError("bpf_prog_query_opts", self.refusals[self.asked[-1]])
        ids = self.attached.get(self.asked[-1], [])
        room, query.prog_cnt = query.prog_cnt, len(ids)
        for index, number in enumerate(ids[:room]):
            query.prog_ids[index], query.prog_attach_flags[index] = number, 1
        if len(ids) > room:
            raise KernelError("bpf_prog_query_opts", errno.ENOSPC)

    def bpf_prog_get_fd_by_id(self, number: int) -> int:
        self.got.append(number)
        if self.programs[number] not in FUNCTIONS:
            raise KernelError("bpf_prog_get_fd_by_id", self.programs[number])
        fd = os.open("/dev/null", os.O_RDONLY)
        self.open[fd] = number
        return fd

    def bpf_obj_get_info_by_fd(self, fd: int, into: Any, size: Any) -> None:
        assert size._obj.value == ctypes.sizeof(_libbpf.ProgInfo)
        into._obj.attach_btf_id = self.programs[self.open[fd]]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """A library for the cgroups below `tmp_path`: types and descriptors are given back."""
    fake = Library({}, {})
    monkeypatch.setattr(_libbpf, "library", lambda: fake)
    before = set(os.listdir("/proc/self/fd"))
    yield fake
    assert set(os.listdir("/proc/self/fd")) <= before
    ends = [call for call in fake.calls if call in ("btf__load_vmlinux_btf", "btf__free")]
    assert (ends, fake.calls[-1]) == (["btf__load_vmlinux_btf", "btf__free"], "btf__free")


def place(library: Library, folder: Path, ids: list[int]) -> None:
    """Let a directory be a cgroup with programs."""
    folder.mkdir(parents=True, exist_ok=True)
    library.attached[str(folder)] = ids


def test_a_kernel_without_programs_has_all_slots_free(library: Library, tmp_path: Path) -> None:
    place(library, tmp_path / "a.slice", [])
    assert _slots.slots(str(tmp_path)) == Slots(10, ())


@pytest.mark.parametrize(
    "members",
    [
        {b"CGROUP_INET_INGRESS": 0, b"MAX_CGROUP_BPF_ATTACH_TYPE": 23},
        # Without CONFIG_BPF_LSM: none between the first and the last.
        {b"CGROUP_INET_INGRESS": 0, b"CGROUP_LSM_START": 23, b"CGROUP_LSM_END": 22},
    ],
)
def test_a_kernel_that_has_no_such_programs_has_no_slots_and_is_asked_for_none(
    library: Library, tmp_path: Path, members: dict[bytes, int]
) -> None:
    library.members = members
    place(library, tmp_path, [1])
    assert _slots.slots(str(tmp_path)) == Slots(0, ())
    assert library.asked == []


def test_a_kernel_with_another_number_of_slots_is_believed(
    library: Library, tmp_path: Path
) -> None:
    library.members[b"CGROUP_LSM_END"] = 43
    assert _slots.slots(str(tmp_path)).total == 21


def test_hooks_are_told_once_and_sorted_whatever_cgroup_they_are_on(
    library: Library, tmp_path: Path
) -> None:
    """Programs are attached many times, and several programs to one hook."""
    library.programs = {1: 31, 2: 30, 3: 30, 4: 32}
    place(library, tmp_path, [1])
    place(library, tmp_path / "a.slice", [2, 1, 3])
    place(library, tmp_path / "a.slice/deep/deeper", [4, 2])
    assert _slots.slots(str(tmp_path)) == Slots(10, ("bpf_lsm_x", "socket_bind", "socket_create"))
    assert sorted(library.got) == [1, 2, 3, 4]
    below = ("", "/a.slice", "/a.slice/deep", "/a.slice/deep/deeper")
    assert sorted(library.asked) == [f"{tmp_path}{path}" for path in below]


def test_the_room_for_programs_grows_until_it_is_enough(library: Library, tmp_path: Path) -> None:
    ids = list(range(1, 201))
    library.programs = dict.fromkeys(ids, 30) | {200: 31}
    place(library, tmp_path, ids)
    place(library, tmp_path / "a.slice", ids[:64])
    assert _slots.slots(str(tmp_path)) == Slots(10, ("socket_bind", "socket_create"))
    assert library.rooms == [64, 128, 256, 64]
    assert sorted(library.got) == ids


def test_a_program_that_went_meanwhile_is_passed_over(library: Library, tmp_path: Path) -> None:
    library.programs = {1: errno.ENOENT, 2: 30}
    place(library, tmp_path, [1, 2])
    assert _slots.slots(str(tmp_path)) == Slots(10, ("socket_bind",))


def test_a_program_that_can_not_be_had_is_not_passed_over(library: Library, tmp_path: Path) -> None:
    library.programs = {1: errno.EPERM}
    place(library, tmp_path, [1])
    with pytest.raises(KernelError, match=r"^bpf_prog_get_fd_by_id: EPERM "):
        _slots.slots(str(tmp_path))


def test_a_cgroup_that_was_removed_meanwhile_has_no_programs(
    library: Library, tmp_path: Path
) -> None:
    library.programs = {1: 30, 2: 31, 3: 32}
    for name, ids in (("", [1]), ("gone", [3]), ("gone/below", [2]), ("other", [1])):
        place(library, tmp_path / name, ids)
    library.refusals = {str(tmp_path / "gone"): errno.ENOENT}
    assert _slots.slots(str(tmp_path)) == Slots(10, ("socket_bind", "socket_create"))
    assert sorted(library.got) == [1, 2]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.EBADF])
def test_a_cgroup_that_can_not_be_asked_is_not_taken_for_free(
    library: Library, tmp_path: Path, number: int
) -> None:
    library.refusals = {str(tmp_path): number}
    with pytest.raises(KernelError) as caught:
        _slots.slots(str(tmp_path))
    assert caught.value.errno == number
    assert str(caught.value).startswith("bpf_prog_query_opts: ")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
def test_a_kernel_without_types_of_its_own_has_no_slots_and_nothing_to_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    calls = []

    def call(name: str, *_args: Any) -> None:
        calls.append(name)
        raise KernelError(name, number)

    fake = Library({}, {})
    monkeypatch.setattr(fake, "call", call)
    monkeypatch.setattr(_libbpf, "library", lambda: fake)
    assert _slots.slots(str(tmp_path)) == Slots(0, ())
    assert calls == ["btf__load_vmlinux_btf"]
