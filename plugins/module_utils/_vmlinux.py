# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the running kernel says of its own types (/sys/kernel/btf/vmlinux), through libbpf."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from typing import TypeVar

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError

# BTF_KIND_STRUCT and BTF_KIND_ENUM (linux/btf.h)
_STRUCT, _ENUM = 4, 6

_Member = TypeVar("_Member", _libbpf.BtfEnum, _libbpf.BtfMember)


class Types:
    """The kernel's types; `btf` is None where it has none to tell."""

    def __init__(self, btf: int | None) -> None:
        self._btf = btf
        self._call = _libbpf.library().call

    def _text(self, offset: int) -> str:
        return str(self._call("btf__name_by_offset", self._btf, offset).decode())

    def name(self, number: int) -> str:
        """The name of a type by its id."""
        return self._text(self._call("btf__type_by_id", self._btf, number).contents.name_off)

    def _members(self, name: str, kind: int, shape: type[_Member]) -> list[_Member]:
        if self._btf is None:
            return []
        try:
            number = self._call("btf__find_by_name_kind", self._btf, name.encode(), kind)
        except KernelError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        found = self._call("btf__type_by_id", self._btf, number).contents
        return list(found.members(shape))

    def enum(self, name: str) -> dict[str, int]:
        """The members of an enum and their values; none where there is no such enum."""
        found = self._members(name, _ENUM, _libbpf.BtfEnum)
        return {self._text(member.name_off): int(member.value) for member in found}

    def struct(self, name: str) -> list[str]:
        """The names of a struct's members; none where there is no such struct."""
        found = self._members(name, _STRUCT, _libbpf.BtfMember)
        return [self._text(member.name_off) for member in found]


@contextlib.contextmanager
def types() -> Iterator[Types]:
    """The kernel's types, while the block runs."""
    call = _libbpf.library().call
    try:
        btf = call("btf__load_vmlinux_btf")
    except KernelError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):
            raise
        btf = None  # CONFIG_DEBUG_INFO_BTF is off
    try:
        yield Types(btf)
    finally:
        if btf is not None:
            call("btf__free", btf)
