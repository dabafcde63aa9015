# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rates, sizes and handles: what tc writes is read, and written like tc does."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _tc
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("written", "rate", "shown"),
    [
        ("20mbit", 2_500_000, "20Mbit"),
        ("20Mbit", 2_500_000, "20Mbit"),
        ("1.5mbit", 187_500, "1500Kbit"),
        ("1mbps", 1_000_000, "8Mbit"),
        ("1kibit", 128, "1024bit"),
        ("1gibps", 1 << 30, "8589Mbit"),
        ("100gbit", 12_500_000_000, "100Gbit"),
        (1000, 125, "1Kbit"),
        ("8bit", 1, "8bit"),
        (" 9 kbit ", 1125, "9Kbit"),
    ],
)
def test_a_rate(written: Any, rate: int, shown: str) -> None:
    assert _tc.parse_rate(written, "rate") == rate
    assert _tc.show_rate(rate) == shown


@pytest.mark.parametrize(
    ("written", "size", "shown"),
    [
        ("15k", 15360, "15Kb"), ("15kb", 15360, "15Kb"), (1600, 1600, "1600b"),
        ("1600b", 1600, "1600b"), ("2m", 2 << 20, "2Mb"), ("15365", 15365, "15Kb"),
        ("1.5k", 1536, "1536b"),
    ],
)  # fmt: skip
def test_a_size(written: Any, size: int, shown: str) -> None:
    assert _tc.parse_size(written, "burst") == size
    assert _tc.show_size(size) == shown


@pytest.mark.parametrize(
    "value",
    ["", "fast", "20 meter", "-1mbit", "0bit", "1e3", True, None, 1.5, [], "99999tbps", "٣mbit"],
)
def test_what_is_no_rate_is_told(value: Any) -> None:
    with pytest.raises(InputError) as raised:
        _tc.parse_rate(value, "classes[0].rate")
    assert str(raised.value).startswith(f"classes[0].rate: {value!r} is not possible: ")


@pytest.mark.parametrize("value", ["", "15x", "-1", 0, True, None, "5g", "15kbit"])
def test_what_is_no_size_is_told(value: Any) -> None:
    with pytest.raises(InputError) as raised:
        _tc.parse_size(value, "classes[0].burst")
    assert str(raised.value).startswith(f"classes[0].burst: {value!r} is not possible: ")


@pytest.mark.parametrize(
    ("written", "handle"), [("1:", 0x10000), ("a:", 0xA0000), ("FFFE:", 0xFFFE0000)]
)
def test_a_handle(written: str, handle: int) -> None:
    assert _tc.parse_handle(written, "handle") == handle
    assert _tc.show_handle(handle) == written.lower()


@pytest.mark.parametrize(
    "value", ["", ":", "1", "1:1", "0:", "ffff:", "12345:", "g:", 1, None, "1: 2"]
)
def test_what_is_no_handle_is_told(value: Any) -> None:
    with pytest.raises(InputError, match="a hexadecimal number from 1 to fffe and a colon"):
        _tc.parse_handle(value, "handle")


@pytest.mark.parametrize("written", ["1:10", ":10", "01:0010"])
def test_a_classid(written: str) -> None:
    assert _tc.parse_classid(written, "classid", 0x10000) == 0x10010


@pytest.mark.parametrize(
    "value", ["", ":", "10", "1:", "2:10", "1:0", "1:12345", "1:g", 70, None, "::10"]
)
def test_what_is_no_classid_is_told(value: Any) -> None:
    """70 is what YAML makes of an unquoted 1:10."""
    with pytest.raises(InputError, match="of which the major is 1"):
        _tc.parse_classid(value, "classid", 0x10000)


@given(st.integers(1, _tc.SIZE_MAX), st.integers(1, 1 << 40))
def test_a_burst_lasts_as_long_as_it_takes(size: int, rate: int) -> None:
    lasting = _tc.ticks(size, rate)
    assert 1 <= lasting <= 0xFFFFFFFF
    if lasting < 0xFFFFFFFF:
        assert _tc.burst(lasting, rate) >= size
        assert (lasting - 1) * _tc.TICK * rate < size * 1_000_000_000


@given(st.integers(1, _tc.RATE_MAX))
def test_a_rate_that_is_shown_without_a_prefix_is_exact(rate: int) -> None:
    shown = _tc.show_rate(rate)
    again = _tc.parse_rate(shown.lower(), "rate")
    assert abs(again - rate) <= rate / 1000
