# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: every path is below the root, and a name that could leave it is refused."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _layout
from ansible_collections.linux.cgnet.plugins.module_utils._abi import LAYOUT
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._layout import Layout
from hypothesis import given
from hypothesis import strategies as st

PINS = Layout("/sys/fs/bpf")
SHA = "0123456789abcdef" * 4

names = st.text(max_size=70) | st.text("aZ09_-./\n\0", max_size=70)

BY_NAMES: list[Callable[[str, str, str], str]] = [
    lambda name, version, program: PINS.object(name),
    lambda name, version, program: PINS.version(name, version),
    lambda name, version, program: PINS.staging(name, version),
    lambda name, version, program: PINS.programs(name, version),
    PINS.program,
    lambda name, version, program: PINS.maps(name, version),
    lambda name, version, program: PINS.links(name, version),
    lambda name, version, program: PINS.links(name, version, 7),
    lambda name, version, program: PINS.link(name, version, 7, program),
]


def test_the_paths_are_those_that_the_architecture_draws() -> None:
    assert [path("mine", "v-1", "prog_a") for path in BY_NAMES] == [
        "/sys/fs/bpf/cgnet/mine",
        "/sys/fs/bpf/cgnet/mine/v-1",
        "/sys/fs/bpf/cgnet/mine/v-1_new",
        "/sys/fs/bpf/cgnet/mine/v-1/prog",
        "/sys/fs/bpf/cgnet/mine/v-1/prog/prog_a",
        "/sys/fs/bpf/cgnet/mine/v-1/map",
        "/sys/fs/bpf/cgnet/mine/v-1/link",
        "/sys/fs/bpf/cgnet/mine/v-1/link/7",
        "/sys/fs/bpf/cgnet/mine/v-1/link/7/prog_a",
    ]


@given(names, names, names)
def test_no_name_leads_out_of_the_root(name: str, version: str, program: str) -> None:
    for path in BY_NAMES:
        try:
            found = path(name, version, program)
        except InputError:
            continue
        assert os.path.normpath(found) == found
        assert found.startswith("/sys/fs/bpf/cgnet/")
        assert "." not in found


@pytest.mark.parametrize("part", ["", ".", "..", "a.b", "a/b", "/", "a\n", "a b", "ä", "x" * 65])
def test_a_part_that_bpffs_would_refuse_or_that_leads_elsewhere_is_refused(part: str) -> None:
    with pytest.raises(InputError) as caught:
        _layout.checked(part)
    assert str(caught.value) == (f"pin name: {part!r} is not possible: 1 to 64 of A-Z a-z 0-9 _ -.")


@pytest.mark.parametrize("part", ["a", "_", "-", "Z9_-", "x" * 64])
def test_a_part_that_is_possible_is_taken_as_it_is(part: str) -> None:
    assert _layout.checked(part) == part


def test_a_version_is_named_by_its_content_and_its_layout() -> None:
    name = _layout.version_name(SHA, LAYOUT)
    assert name == f"0123456789abcdef-{_layout.layout_tag(LAYOUT)}"
    assert len(name) == 25
    assert _layout.checked(name) == name


def test_the_order_of_keys_is_no_other_layout() -> None:
    turned = dict(reversed(list(LAYOUT.items())))
    assert list(turned) != list(LAYOUT)
    assert _layout.layout_tag(turned) == _layout.layout_tag(LAYOUT)


@pytest.mark.parametrize("other", [None, {}, {**LAYOUT, "size": 8}, {**LAYOUT, "fields": []}])
def test_another_layout_is_another_version_of_the_same_content(other: object) -> None:
    mine, theirs = (_layout.version_name(SHA, layout) for layout in (LAYOUT, other))
    assert mine != theirs
    assert _layout.same_layout(mine, LAYOUT)
    assert not _layout.same_layout(theirs, LAYOUT)


def test_another_content_with_the_same_layout_can_be_read() -> None:
    other = _layout.version_name(SHA[::-1], LAYOUT)
    assert other != _layout.version_name(SHA, LAYOUT)
    assert _layout.same_layout(other, LAYOUT)


def test_a_version_that_is_being_made_is_never_the_name_of_one() -> None:
    made = os.path.basename(PINS.staging("mine", _layout.version_name(SHA, None)))
    assert made.endswith(_layout.STAGING)
    assert not _layout.same_layout(made, None)


def test_the_built_object_has_the_version_that_its_content_gives(manifest: dict[str, str]) -> None:
    expected = _layout.version_name(manifest["sha256"], manifest["layout"])
    assert manifest["version"] == expected
