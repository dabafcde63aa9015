# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BTF: what a struct's layout is read from, and that nothing else than ValueError comes of junk."""

from __future__ import annotations

import contextlib
import signal
import struct
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.plugin_utils import _btf
from ansible_collections.linux.cgnet.plugins.plugin_utils._btf import Btf
from hypothesis import given, settings
from hypothesis import strategies as st


class Builder:
    """Writes a .BTF section; types are numbered from 1 in the order of the calls."""

    def __init__(self) -> None:
        self.types = b""
        self.strings = b"\0"

    def name(self, text: str) -> int:
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at if text else 0

    def add(
        self, kind: int, name: str, ref: int, tail: tuple[int, ...] = (), count: int = 0
    ) -> None:
        """One type: `ref` is its size or what it refers to, `tail` the words behind it."""
        head = struct.pack("<III", self.name(name), kind << 24 | count, ref)
        self.types += head + struct.pack(f"<{len(tail)}I", *tail)

    def struct(self, name: str, size: int, *members: tuple[str, int, int]) -> None:
        """Members are name, type number and byte offset."""
        words = [(self.name(text), number, at * 8) for text, number, at in members]
        tail = tuple(word for member in words for word in member)
        self.add(_btf.STRUCT, name, size, tail, len(members))

    def build(self) -> bytes:
        sizes = (len(self.types), len(self.types), len(self.strings))
        head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, sizes[0], sizes[1], sizes[2])
        return head + self.types + self.strings


@contextlib.contextmanager
def ends() -> Iterator[None]:
    """Fail where the body goes round in circles: 2 seconds of this process's own time."""

    def late(_number: int, _frame: FrameType | None) -> None:
        pytest.fail("reading this BTF does not end")

    before = signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_every_kind_of_member() -> None:
    b = Builder()
    b.add(_btf.INT, "unsigned int", 4, (32,))  # 1
    b.add(_btf.INT, "long", 8, (1 << 24 | 64,))  # 2
    b.add(_btf.TYPEDEF, "word", 1)  # 3
    b.add(_btf.CONST, "", 3)  # 4
    b.add(_btf.ARRAY, "", 0, (4, 1, 5))  # 5
    b.add(_btf.ENUM, "colour", 4, (b.name("RED"), 7), count=1)  # 6
    b.add(_btf.ARRAY, "", 0, (6, 1, 0))  # 7
    b.struct("value", 32, ("a", 2, 0), ("b", 4, 8), ("c", 5, 12), ("_d", 7, 32))
    assert Btf.parse(b.build()).layout("value") == {
        "size": 32,
        "fields": [["a", 0, "s64"], ["b", 8, "u32"], ["c", 12, ["u32", 5]]],
        "enums": {"colour": {"RED": 7}},
    }


def test_a_struct_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="BTF has no struct value"):
        Btf.parse(Builder().build()).layout("value")


@pytest.mark.parametrize("magic", [b"\x9e\xeb", b"\xeb\x9f", b"\0\0"])
def test_another_magic_number_is_refused(magic: bytes) -> None:
    with pytest.raises(ValueError, match="BTF's magic number"):
        Btf.parse(magic + Builder().build()[2:])


@given(st.integers(0, 23))
def test_a_header_that_is_cut_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=r"the \.BTF section is cut short"):
        Btf.parse(Builder().build()[:length])


@given(st.binary(max_size=300))
def test_bytes_are_no_btf(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"the \.BTF section"):
        Btf.parse(data)


def everything(data: bytes) -> None:
    """Read all that read_manifest() reads; it takes ValueError and IndexError for bad BTF."""
    with ends(), contextlib.suppress(ValueError, IndexError):
        btf = Btf.parse(data)
        for shape in btf.maps().values():
            if "value" in shape:
                btf.layout(btf.struct_name(shape["value"]))
        btf.layout("value")


def with_map(b: Builder, variable: int) -> bytes:
    b.add(_btf.DATASEC, ".maps", 0, (variable, 0, 32), count=1)
    return b.build()


def refers_to_itself(kind: int) -> bytes:
    b = Builder()
    b.add(kind, "loop", 1, (1, 1, 2) if kind == _btf.ARRAY else ())
    b.struct("value", 8, ("a", 1, 0))
    return b.build()


@pytest.mark.parametrize("kind", [_btf.TYPEDEF, _btf.CONST, _btf.TYPE_TAG, _btf.ARRAY])
def test_a_type_that_refers_to_itself_is_refused(kind: int) -> None:
    everything(refers_to_itself(kind))


def test_types_that_refer_to_each_other_are_refused() -> None:
    b = Builder()
    b.add(_btf.TYPEDEF, "a", 2)
    b.add(_btf.VOLATILE, "", 1)
    b.struct("value", 8, ("a", 1, 0))
    everything(b.build())


def test_a_member_of_a_type_that_is_not_there_is_refused() -> None:
    b = Builder()
    b.struct("value", 8, ("a", 99, 0))
    with pytest.raises((ValueError, IndexError)):
        Btf.parse(b.build()).layout("value")


@pytest.mark.parametrize(
    "kind", [_btf.PTR, _btf.UNION, _btf.FWD, _btf.FUNC, _btf.FLOAT, _btf.ENUM64, 0, 31]
)
def test_a_member_that_no_value_can_have_is_refused(kind: int) -> None:
    b = Builder()
    b.add(kind, "odd", 0)
    b.struct("value", 8, ("a", 1, 0))
    with pytest.raises(ValueError, match=f"a stored value can't have a member of BTF kind {kind}"):
        Btf.parse(b.build()).layout("value")


@pytest.mark.parametrize("variable", [0, 1, 2, 99])
def test_a_section_of_maps_that_lists_anything_is_read_or_refused(variable: int) -> None:
    b = Builder()
    b.add(_btf.INT, "int", 4, (32,))
    b.add(_btf.VAR, "m", 1, (1,))
    everything(with_map(b, variable))


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20),
            st.sampled_from(["", "value", ".maps", "type"]),
            st.integers(0, 6),
            st.lists(st.integers(0, 8), max_size=6),
            st.integers(0, 3),
        ),
        max_size=6,
    )
)
def test_any_types_are_read_or_refused(types: list[Any]) -> None:
    b = Builder()
    for kind, name, ref, tail, count in types:
        b.add(kind, name, ref, tuple(tail), count)
    everything(b.build())
