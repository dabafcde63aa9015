# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every path of bytes is text that can be read, and that text is the path again."""

from __future__ import annotations

import json

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _names
from hypothesis import example, given
from hypothesis import strategies as st

PATHS = [
    (b"system.slice/web.service", "system.slice/web.service"),
    (b"with a blank", "with a blank"),
    (b"-rf", "-rf"),
    (b"'\"`$*?", "'\"`$*?"),
    (b"a\nb\tc", r"a\012b\011c"),
    (b"\x1b[31mred", r"\033[31mred"),
    ("grüße/日本".encode(), "grüße/日本"),
    (b"\xff\xfe/\x80", r"\377\376/\200"),
    (b"gr\xfc\xdfe", r"gr\374\337e"),
    ("no\u202ebreak".encode(), r"no\342\200\256break"),
    (b"\xed\xb3\xbf", r"\355\263\277"),  # a surrogate, which is no UTF-8
    (rb"dev-disk-by\x2dlabel-a.swap", r"dev-disk-by\x2dlabel-a.swap"),
    (rb"\xff", r"\xff"),
    (rb"a\b", r"a\b"),
    (rb"\\", r"\\"),
    (rb"a\377", r"a\134377"),
    (rb"\134", r"\134134"),
    (b"\\\xff", r"\\377"),
    (rb"\400 \38 \12", r"\400 \38 \12"),
]


@pytest.mark.parametrize(("path", "written"), PATHS)
def test_a_path_is_written_so_and_read_again(path: bytes, written: str) -> None:
    assert (_names.shown(path), _names.raw(written)) == (written, path)


@pytest.mark.parametrize(
    ("written", "path"),
    [("a\nb", b"a\nb"), (r"\141", b"a"), ("\udcff", b"\xff"), (r"a\057b", b"a/b"), ("\0", b"\0")],
)
def test_what_needs_no_escapes_or_has_them_elsewhere_is_taken_too(
    written: str, path: bytes
) -> None:
    assert _names.raw(written) == path


def test_half_a_surrogate_pair_stands_for_no_byte() -> None:
    with pytest.raises(UnicodeEncodeError):
        _names.raw("a\ud800")


bits = st.sampled_from([b"\\", b"3", b"7", b"377", b"134", b"x2d", b"/", b"\n", b"\xff", b"\xc3"])
paths = st.binary(max_size=12) | st.lists(bits, max_size=8).map(b"".join)


@given(paths)
@example(b"\\\xc3\\377")
def test_any_path_is_printable_and_comes_back(path: bytes) -> None:
    written = _names.shown(path)
    assert (_names.raw(written), written.isprintable()) == (path, True)
    assert json.loads(json.dumps(written, ensure_ascii=False).encode()) == written
    assert written.count("/") == path.count(b"/")


@given(paths, paths)
def test_no_two_paths_are_written_alike(one: bytes, other: bytes) -> None:
    assert (_names.shown(one) == _names.shown(other)) == (one == other)
