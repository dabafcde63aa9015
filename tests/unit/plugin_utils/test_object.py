# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects: what is read out of a real one, and that no other is taken for one."""

from __future__ import annotations

import copy
import functools
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _abi
from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError
from ansible_collections.linux.cgnet.plugins.plugin_utils import _compile
from ansible_collections.linux.cgnet.plugins.plugin_utils._object import (
    check_layout,
    read_manifest,
)
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.conftest import DATA

Compiled = Callable[[str], Path]


def refused(data: bytes, name: str = "mine") -> str:
    """The message with which an object is refused."""
    with pytest.raises(ObjectError) as caught:
        read_manifest(name, data)
    assert str(caught.value).startswith(f"object {name}: ")
    return str(caught.value)


# What a manifest holds.


def test_a_manifest_of_a_small_object(compiled: Compiled) -> None:
    manifest = read_manifest("mine", compiled("bind").read_bytes())
    assert re.fullmatch(r"[0-9a-f]{64}", manifest.pop("sha256"))
    assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}", manifest.pop("version"))
    assert manifest == {
        "name": "mine",
        "programs": [["mine_bind6", "cgroup/bind6"], ["mine_bind4", "cgroup/bind4"]],
        "storage": "values",
        "layout": {
            "size": 32,
            "fields": [
                ["first", 0, "u64"],
                ["second", 8, "s32"],
                ["third", 12, "u16"],
                ["fourth", 14, [["u8", 3], 2]],
                ["fifth", 20, "struct inner"],
                ["sixth", 24, "enum colour"],
            ],
            "enums": {"colour": {"COLOUR_RED": 1, "COLOUR_BLUE": 2}},
        },
    }


def test_an_object_without_cgroup_storage_has_no_layout(
    tmp_path: Path, clang: str, compiled: Compiled
) -> None:
    source = tmp_path / "plain.bpf.c"
    source.write_text((DATA / "xdp.bpf.c").read_text().replace('"xdp"', '"cgroup/bind4"'))
    manifest = read_manifest("mine", _compile.compile_object(source, tmp_path).read_bytes())
    assert (manifest["storage"], manifest["layout"]) == ("", None)


def test_a_manifest_is_plain_data_and_the_same_again(object_bytes: bytes) -> None:
    manifest = read_manifest("policy", object_bytes)
    assert json.loads(json.dumps(manifest)) == manifest == read_manifest("policy", object_bytes)


def test_the_built_manifest_is_that_of_the_built_object(
    object_bytes: bytes, manifest: dict[str, Any]
) -> None:
    assert read_manifest("policy", object_bytes) == manifest


def test_the_policy_object_attaches_to_cgroups_only(manifest: dict[str, Any]) -> None:
    kinds = {section.split("/")[0] for _name, section in manifest["programs"]}
    assert kinds == {"cgroup", "cgroup_skb", "lsm_cgroup", "sockops"}


# What is refused.


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", b"\0" * 5000, b"\x7fELF" * 99])
def test_what_is_no_elf_file_is_refused(data: bytes) -> None:
    assert "it is no ELF file" in refused(data)


def test_this_machines_own_elf_is_refused() -> None:
    data = Path(os.path.realpath(sys.executable)).read_bytes()
    assert refused(data) == (
        "object mine: it is an ELF file, but not for BPF. Give a compiled .bpf.o."
    )


def test_an_object_without_btf_is_refused(object_bytes: bytes) -> None:
    # The name stands once, in the names of the sections.
    assert object_bytes.count(b".BTF\0") == 1
    assert refused(object_bytes.replace(b".BTF\0", b".XTF\0")) == (
        "object mine: it has no BTF. Compile it with clang -g and keep .BTF."
    )


def test_an_object_whose_btf_was_stripped_is_refused(compiled: Compiled, tmp_path: Path) -> None:
    objcopy = _compile.CLANG.replace("clang", "llvm-objcopy")
    stripped = tmp_path / "stripped.o"
    command = [objcopy, "--remove-section=.BTF", "--remove-section=.BTF.ext"]
    subprocess.run([*command, str(compiled("bind")), str(stripped)], check=True)
    assert "it has no BTF" in refused(stripped.read_bytes())


def test_an_object_without_a_program_is_refused(compiled: Compiled) -> None:
    assert refused(compiled("none").read_bytes()) == (
        'object mine: it has no program. Give a function a SEC("cgroup/...").'
    )


def test_a_program_that_attaches_to_no_cgroup_is_refused(compiled: Compiled) -> None:
    assert refused(compiled("xdp").read_bytes()) == (
        "object mine: program mine_xdp has the section 'xdp', which attaches to no cgroup. "
        "Use cgroup/*, cgroup_skb/*, sockops or lsm_cgroup/*."
    )


def test_a_section_is_refused_by_its_name_without_a_compiler(object_bytes: bytes) -> None:
    # Names of sections may end in one another (.relsockops), so the end is what is replaced.
    message = refused(object_bytes.replace(b"sockops\0", b"sk_skbs\0"))
    assert "has the section 'sk_skbs', which attaches to no cgroup" in message


def test_a_stored_struct_with_a_pointer_is_refused(compiled: Compiled) -> None:
    message = refused(compiled("pointer").read_bytes())
    assert "its BTF can't be read: a stored value can't have a member of BTF kind 2" in message


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "..", "a b", "x" * 33, "a-b", "n\n"])
def test_a_name_that_no_pin_can_have_is_refused(name: str, object_bytes: bytes) -> None:
    assert "its name can't be a pin's. Use 1 to 32 of A-Z a-z 0-9 _." in refused(object_bytes, name)


def mutated(data: bytes, edits: list[tuple[int, int]], end: int) -> bytes:
    """Some bytes changed and the rest from `end` on cut away; both wrap around."""
    changed = bytearray(data)
    for at, byte in edits:
        changed[at % len(data)] = byte
    return bytes(changed[: end % (len(data) + 1)])


edits = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=8)


@functools.cache
def section(data: bytes, name: str) -> tuple[int, int]:
    """Offset and size of a section of a BPF object."""
    found = ELFFile(io.BytesIO(data)).get_section_by_name(name)
    return int(found["sh_offset"]), int(found["sh_size"])


def garble(data: bytes, at: int, size: int, edits: list[tuple[int, int]]) -> bytes:
    """A stretch of the data with some bytes changed; the places wrap around."""
    changed = bytearray(data)
    for offset, byte in edits:
        changed[at + offset % size] = byte
    return bytes(changed)


@settings(max_examples=100)
@given(edits, st.integers(0, 2**20))
def test_a_file_that_is_cut_or_garbled_is_read_or_refused(
    object_bytes: bytes, edits: list[tuple[int, int]], end: int
) -> None:
    read_or_refuse(mutated(object_bytes, edits, end))


# Where one byte changes what all the others mean.


@settings(max_examples=100)
@given(edits)
def test_a_file_with_a_garbled_header_is_read_or_refused(
    object_bytes: bytes, edits: list[tuple[int, int]]
) -> None:
    read_or_refuse(garble(object_bytes, 0, 64, edits))


@settings(max_examples=150)
@given(edits)
def test_a_garbled_table_of_sections_is_read_or_refused(
    object_bytes: bytes, edits: list[tuple[int, int]]
) -> None:
    (at,) = struct.unpack_from("<Q", object_bytes, 40)
    size, count = struct.unpack_from("<HH", object_bytes, 58)
    read_or_refuse(garble(object_bytes, at, size * count, edits))


@settings(max_examples=100)
@given(st.sampled_from([".BTF", ".symtab", ".strtab"]), edits)
def test_a_garbled_section_is_read_or_refused(
    object_bytes: bytes, name: str, edits: list[tuple[int, int]]
) -> None:
    read_or_refuse(garble(object_bytes, *section(object_bytes, name), edits))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 23), st.integers(0, 255)), min_size=1, max_size=4))
def test_btf_with_a_garbled_header_is_read_or_refused(
    object_bytes: bytes, edits: list[tuple[int, int]]
) -> None:
    at, _size = section(object_bytes, ".BTF")
    read_or_refuse(garble(object_bytes, at, 24, edits))


@pytest.mark.parametrize("index", [200, 0xFEFF])
def test_a_program_in_a_section_that_is_not_there_is_refused(
    object_bytes: bytes, index: int
) -> None:
    at, size = section(object_bytes, ".symtab")
    changed = bytearray(object_bytes)
    for symbol in range(at, at + size, 24):
        struct.pack_into("<H", changed, symbol + 6, index)
    read_or_refuse(bytes(changed))


@pytest.mark.parametrize("name", [".BTF", ".symtab"])
def test_a_section_that_says_it_is_compressed_is_refused(object_bytes: bytes, name: str) -> None:
    read_or_refuse(with_header(object_bytes, name, 8, "<Q", 0x800))  # SHF_COMPRESSED


def with_header(data: bytes, name: str, offset: int, form: str, value: int) -> bytes:
    """An object with one field changed in the header of a section."""
    found = section(data, name)
    (at,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    changed = bytearray(data)
    for header in range(at, at + size * count, size):
        if struct.unpack_from("<QQ", data, header + 24) == found:
            struct.pack_into(form, changed, header + offset, value)
    assert changed != data
    return bytes(changed)


# Sections of no kind, bytes, names, relocations, dynamic linking, no bytes, and an unknown one.
@pytest.mark.parametrize("kind", [0, 1, 3, 4, 6, 8, 99])
def test_a_table_of_symbols_that_is_none_has_no_program(object_bytes: bytes, kind: int) -> None:
    changed = with_header(object_bytes, ".symtab", 4, "<I", kind)
    assert "it has no program" in refused(changed)


def test_btf_that_is_not_in_the_file_is_none(object_bytes: bytes) -> None:
    # SHT_NOBITS: as many zeros as its header says.
    assert "it has no BTF" in refused(with_header(object_bytes, ".BTF", 4, "<I", 8))


@pytest.mark.parametrize("name", [".BTF", ".symtab"])
@pytest.mark.parametrize(("field", "offset"), [("sh_offset", 24), ("sh_size", 32)])
@pytest.mark.parametrize("value", [2**62, 2**63, 2**64 - 1])
def test_a_section_beyond_any_file_is_read_or_refused(
    object_bytes: bytes, name: str, field: str, offset: int, value: int
) -> None:
    read_or_refuse(with_header(object_bytes, name, offset, "<Q", value))


def read_or_refuse(data: bytes) -> None:
    try:
        manifest = read_manifest("mine", data)
    except ObjectError:
        return
    assert manifest["programs"]
    assert json.loads(json.dumps(manifest)) == manifest


# The layout against the mirror.


def test_the_policy_objects_layout_is_the_mirrors(manifest: dict[str, Any]) -> None:
    check_layout(manifest, _abi.LAYOUT)


@st.composite
def other_layouts(draw: st.DrawFn) -> dict[str, Any]:
    """The mirror's layout with one thing changed."""
    layout = copy.deepcopy(_abi.LAYOUT)
    fields = layout["fields"]
    at = draw(st.integers(0, len(fields) - 1))
    change = draw(
        st.sampled_from(["drop", "rename", "resize", "move", "swap", "grow", "enum", "member"])
    )
    if change == "drop":
        del fields[at]
    elif change == "rename":
        fields[at][0] += "x"
    elif change == "resize":
        fields[at][2] = "u8" if fields[at][2] != "u8" else "u16"
    elif change == "move":
        fields[at][1] += draw(st.integers(1, 64))
    elif change == "swap":
        other = draw(st.integers(0, len(fields) - 1).filter(lambda n: n != at))
        fields[at], fields[other] = fields[other], fields[at]
    elif change == "grow":
        layout["size"] += 8
    else:
        name = draw(st.sampled_from(sorted(layout["enums"])))
        member = draw(st.sampled_from(sorted(layout["enums"][name])))
        if change == "enum":
            layout["enums"][name][member] += 1
        else:
            del layout["enums"][name][member]
    return layout


@given(other_layouts())
def test_another_layout_is_refused(manifest: dict[str, Any], layout: dict[str, Any]) -> None:
    with pytest.raises(ObjectError, match="the layout of what it stores is not the one that this"):
        check_layout({**manifest, "layout": layout}, _abi.LAYOUT)


def test_an_object_that_stores_nothing_is_refused_as_the_policy_object(
    manifest: dict[str, Any],
) -> None:
    with pytest.raises(ObjectError, match="Build the object and plugins/module_utils/"):
        check_layout({**manifest, "layout": None}, _abi.LAYOUT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("__u32 below;", "__u64 below;"),
        ("__u32 priority;", "__u32 prio;"),
        ("__u64 tos;", "__u64 tos, more;"),
        ("LIMIT_SOCKOPTS = 128", "LIMIT_SOCKOPTS = 64"),
        ("FLAG_UDP = 1 << 1", "FLAG_UDP = 1 << 5"),
    ],
)
def test_an_object_of_another_policy_h_is_refused(
    clang: str, tmp_path: Path, old: str, new: str
) -> None:
    header = DATA.parents[2] / "bpf/policy.h"
    text = header.read_text()
    assert old in text
    (tmp_path / "policy.h").write_text(text.replace(old, new))
    shutil.copy(DATA / "policy.bpf.c", tmp_path)
    built = _compile.compile_object(tmp_path / "policy.bpf.c", tmp_path / "cache")
    with pytest.raises(ObjectError, match="the layout of what it stores is not the one"):
        check_layout(read_manifest("policy", built.read_bytes()), _abi.LAYOUT)
