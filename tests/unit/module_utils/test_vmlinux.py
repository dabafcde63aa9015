# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's own types: libbpf itself reads them here, from the bytes of a few types."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _vmlinux
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError

INT, STRUCT, ENUM, FUNC, FUNC_PROTO = 1, 4, 6, 12, 13
# Ids are counted from 1.
NUMBER, HOOK = 1, 7


class Bytes:
    """BTF as the kernel has it: linux/btf.h."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"

    def text(self, name: str) -> int:
        """The offset of a name that is new."""
        self.strings += name.encode() + b"\0"
        return len(self.strings) - len(name) - 1

    def add(self, kind: int, name: str, count: int, size: int, *behind: int) -> None:
        """A type, and the numbers that stand behind it."""
        at = self.text(name) if name else 0
        self.types += struct.pack("3I", at, kind << 24 | count, size)
        self.types += b"".join(struct.pack("I", number % 2**32) for number in behind)

    def enum(self, name: str, members: dict[str, int]) -> None:
        """An enum with its values."""
        pairs = [(self.text(member), value) for member, value in members.items()]
        self.add(ENUM, name, len(pairs), 4, *(part for pair in pairs for part in pair))

    def struct(self, name: str, members: list[str]) -> None:
        """A struct of numbers."""
        shapes = [(self.text(each), NUMBER, 32 * at) for at, each in enumerate(members)]
        behind = [part for shape in shapes for part in shape]
        self.add(STRUCT, name, len(members), 4 * len(members), *behind)

    def whole(self) -> bytes:
        """With its header."""
        size = len(self.types)
        header = struct.pack("HBBIIIII", 0xEB9F, 1, 0, 24, 0, size, size, len(self.strings))
        return header + self.types + self.strings


def described() -> bytes:
    """The types of these tests."""
    btf = Bytes()
    btf.add(INT, "int", 0, 4, 32)
    btf.enum("places", {"FIRST": 0, "BEFORE": -1, "LAST": 2**31 - 1, "AGAIN": 0})
    btf.enum("nothing", {})
    btf.struct("pair", ["one", "two", "three"])
    btf.struct("places_too", ["FIRST"])
    btf.add(FUNC_PROTO, "", 0, 0)
    btf.add(FUNC, "bpf_lsm_socket_bind", 0, HOOK - 1)
    return btf.whole()


class Library:
    """libbpf, where the running kernel has the types of these tests, or refuses to tell."""

    def __init__(self) -> None:
        self.refusals: dict[str, int] = {}
        self.loaded: list[int] = []
        self.freed: list[int] = []
        self.real = _libbpf.library()
        self.new = ctypes.CDLL("libbpf.so.1").btf__new
        self.new.restype, self.new.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_uint32)

    def call(self, name: str, *args: Any) -> Any:
        if name in self.refusals:
            raise KernelError(name, self.refusals[name])
        if name == "btf__load_vmlinux_btf":
            data = described()
            self.loaded.append(self.new(data, len(data)))
            assert self.loaded[-1], "libbpf takes the bytes for no BTF"
            return self.loaded[-1]
        if name == "btf__free":
            self.freed.extend(args)
        return self.real.call(name, *args)


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """The host's library. What is loaded is freed, once."""
    fake = Library()
    monkeypatch.setattr(_libbpf, "library", lambda: fake)
    yield fake
    assert fake.freed == fake.loaded


def test_the_members_of_an_enum_with_their_values(library: Library) -> None:
    with _vmlinux.types() as types:
        assert types.enum("places") == {
            "FIRST": 0, "BEFORE": -1, "LAST": 2**31 - 1, "AGAIN": 0,
        }  # fmt: skip
        assert library.freed == []
    assert len(library.freed) == 1


def test_an_enum_without_members_has_none() -> None:
    with _vmlinux.types() as types:
        assert types.enum("nothing") == {}


def test_the_members_of_a_struct_in_their_order() -> None:
    with _vmlinux.types() as types:
        assert types.struct("pair") == ["one", "two", "three"]


@pytest.mark.parametrize("name", ["elsewhere", "places", "nothing", "int"])
def test_a_type_that_is_not_there_or_no_struct_has_no_members(name: str) -> None:
    with _vmlinux.types() as types:
        assert types.struct(name) == []


@pytest.mark.parametrize("name", ["elsewhere", "pair", "places_too", "place", "int"])
def test_a_type_that_is_not_there_or_no_enum_has_no_members(name: str) -> None:
    with _vmlinux.types() as types:
        assert types.enum(name) == {}


def test_a_type_is_named_by_its_id() -> None:
    with _vmlinux.types() as types:
        assert (types.name(NUMBER), types.name(HOOK)) == ("int", "bpf_lsm_socket_bind")


def test_an_id_that_no_type_has_is_an_error_of_that_call() -> None:
    with _vmlinux.types() as types, pytest.raises(KernelError, match=r"^btf__type_by_id: EINVAL "):
        types.name(HOOK + 1)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESRCH])
def test_a_kernel_without_types_of_its_own_has_no_members_and_nothing_to_free(
    library: Library, number: int
) -> None:
    library.refusals = {"btf__load_vmlinux_btf": number, "btf__find_by_name_kind": errno.EFAULT}
    with _vmlinux.types() as types:
        assert types.enum("places") == {}
    assert library.loaded == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOMEM, errno.EINVAL])
def test_types_that_can_not_be_read_are_not_taken_for_none(library: Library, number: int) -> None:
    library.refusals = {"btf__load_vmlinux_btf": number}
    with pytest.raises(KernelError) as caught, _vmlinux.types():
        pytest.fail("there are no types")
    assert caught.value.errno == number


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOMEM, errno.ESRCH])
def test_a_search_that_fails_is_not_taken_for_no_members(library: Library, number: int) -> None:
    library.refusals = {"btf__find_by_name_kind": number}
    with pytest.raises(KernelError) as caught, _vmlinux.types() as types:
        types.enum("places")
    assert caught.value.errno == number
    assert len(library.freed) == 1


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_types_are_freed_whatever_ends_the_block(
    library: Library, error: type[BaseException]
) -> None:
    with pytest.raises(error), _vmlinux.types():
        raise error
    assert len(library.freed) == 1
