# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror in Python is what the object's BTF says."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _abi

from tests.unit import stored
from tests.unit.conftest import has_clang
from tools import build_objects


def check(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["build_objects", "--check"])
    return build_objects.main()


def test_generating_the_mirror_anew_changes_nothing(
    manifest: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sources where there is a compiler, else from the object that was built."""
    if has_clang():
        assert check(monkeypatch) == 0
    text = build_objects.render_mirror(manifest["layout"])
    assert build_objects.MIRROR.read_text() == text


def test_a_mirror_that_was_edited_is_found(
    clang: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = tmp_path / "_abi.py"
    edited.write_text(build_objects.MIRROR.read_text().replace('"size": ', '"size": 1'))
    monkeypatch.setattr(build_objects, "MIRROR", edited)
    before = edited.read_text()
    assert check(monkeypatch) == 1
    assert "make object" in capsys.readouterr().out
    assert edited.read_text() == before


STRUCTS = [
    (_abi.Policy, _abi.LAYOUT),
    (_abi.Counts, _abi.LAYOUT["structs"]["counts"]),
    (_abi.Event, _abi.LAYOUT["structs"]["event"]),
]


@pytest.mark.parametrize(("mirror", "layout"), STRUCTS)
def test_a_ctypes_struct_has_the_layout(mirror: Any, layout: dict[str, Any]) -> None:
    assert ctypes.sizeof(mirror) == layout["size"]
    offsets = [[name, getattr(mirror, name).offset] for name, *_each in mirror._fields_]
    assert offsets == [[name, at] for name, at, _shape in layout["fields"]]


def size_of(shape: Any) -> int:
    if isinstance(shape, list):
        return size_of(shape[0]) * int(shape[1])
    return int(shape[1:]) // 8


@pytest.mark.parametrize(("mirror", "layout"), STRUCTS)
def test_the_fields_have_the_sizes_of_the_layout_and_leave_no_hole(
    mirror: Any, layout: dict[str, Any]
) -> None:
    end = 0
    for name, at, shape in layout["fields"]:
        assert at == end
        assert getattr(mirror, name).size == size_of(shape)
        end = at + size_of(shape)
    assert end == layout["size"]


def test_a_value_with_the_kernels_header_fits_in_one_page() -> None:
    assert _abi.LAYOUT["size"] + 16 <= 4096


@pytest.mark.parametrize(
    ("name", "mirror"),
    [("control", _abi.Control), ("flag", _abi.Flag), ("protocol", _abi.Protocol),
     ("limit", _abi.Limit), ("call", _abi.Call), ("size", _abi.Size)],
)  # fmt: skip
def test_an_enum_has_the_members_of_the_object(
    manifest: dict[str, Any], name: str, mirror: Any
) -> None:
    members = manifest["layout"]["enums"][name]
    short = {key.removeprefix(f"{name.upper()}_"): value for key, value in members.items()}
    assert {member.name: int(member) for member in mirror} == short


def test_the_model_of_the_programs_has_the_same_numbers() -> None:
    numbers = {member.name.lower(): int(member) for member in _abi.Control}
    assert numbers == {**stored.CONTROLS, "controls": len(stored.CONTROLS)}
    assert (stored.FLAG_AUDIT, stored.FLAG_TASKS) == (_abi.Flag.AUDIT, _abi.Flag.TASKS)
    assert (stored.TCP, stored.UDP) == (_abi.Protocol.TCP, _abi.Protocol.UDP)
    assert (stored.FLAG_TCP, stored.FLAG_UDP) == (_abi.Flag.TCP, _abi.Flag.UDP)
    assert stored.FLAG_UNPRIVILEGED == _abi.Flag.UNPRIVILEGED
    assert stored.FLAG_SOCKOPTS_ALLOW == _abi.Flag.SOCKOPTS_ALLOW
    assert (stored.BLOCK_PORTS, stored.BLOCKS) == (_abi.Limit.BLOCK_PORTS, _abi.Limit.BLOCKS)
    assert stored.SOCKOPTS == _abi.Limit.SOCKOPTS
