# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values as users write them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _values
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import strategies


@given(strategies.priorities)
def test_a_priority_can_be_written_as_a_number_as_text_and_as_a_class(value: int) -> None:
    for written in (value, str(value), hex(value), f"{value >> 16:x}:{value & 0xFFFF:X}"):
        assert _values.parse_priority(written, "priority") == value
    assert _values.parse_priority(_values.show_priority(value), "priority") == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, 0), (7, 7), (0xFFFF, 0xFFFF), (0x10000, "1:0"), (0x10010, "1:10"),
     (2**32 - 1, "ffff:ffff")],
)  # fmt: skip
def test_a_priority_is_shown_as_tc_writes_it(value: int, shown: Any) -> None:
    assert _values.show_priority(value) == shown


@pytest.mark.parametrize(
    "value",
    ["1:99999", "1:10:0", ":", "1:", ":1", "1:g", "0x1:10", "-1:10", "1 : 10", "1:-1", "10000:0",
     -1, "-1", 2**32, str(2**32), "0x100000000", True, False, None, 1.0, "1.0", "high", "", " ",
     [1], {"1": 10}, "1e3", "1_0", b"1:10", "1:\uff11"],
)  # fmt: skip
def test_a_priority_beyond_32_bits_or_unreadable_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        _values.parse_priority(value, "policies[0].priority")
    assert caught.value.field == "policies[0].priority"
    assert caught.value.value == value
    assert "a number from 0 to 4294967295, or major:minor of four hexadecimal" in str(caught.value)


def test_a_class_that_tc_would_not_write_gives_an_example() -> None:
    with pytest.raises(InputError) as caught:
        _values.parse_priority("1:99999", "priority")
    assert str(caught.value) == (
        "priority: '1:99999' is not possible: a number from 0 to 4294967295, or major:minor of "
        'four hexadecimal digits each. Write it as tc does: "1:10".'
    )


@given(strategies.dscps)
def test_dscps_can_be_written_as_bytes_and_names(dscps: tuple[int, ...]) -> None:
    for written in ([d << 2 for d in dscps], [hex(d << 2) for d in reversed(dscps)]):
        assert _values.parse_tos(written, "tos") == dscps
    assert _values.parse_tos(_values.show_tos(dscps), "tos") == dscps


@pytest.mark.parametrize(
    ("name", "dscp"),
    [("cs0", 0), ("CS1", 8), ("cs7", 56), ("af11", 10), ("af21", 18), ("AF43", 38), ("ef", 46),
     (" ef ", 46), ("voice-admit", 44), ("le", 1)],
)  # fmt: skip
def test_names_of_dscps_are_those_of_the_rfcs(name: str, dscp: int) -> None:
    assert _values.parse_tos([name], "tos") == (dscp,)


def test_a_dscp_that_is_listed_twice_counts_once() -> None:
    assert _values.parse_tos(["cs1", 0x20, "0x20"], "tos") == (8,)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (256, "a byte from 0 to 255"),
        (-4, "a byte from 0 to 255"),
        ("-4", "a byte from 0 to 255"),
        ("0x100", "a byte from 0 to 255"),
        (True, "a byte from 0 to 255"),
        (32.0, "a byte from 0 to 255"),
        (None, "a byte from 0 to 255"),
        ("", "a byte from 0 to 255"),
        ("af14", "a DSCP name (cs0, cs1, "),
        ("voice-admi", "Did you mean voice-admit?"),
        ("cs8", "Did you mean cs7?"),
        ("best effort", "a DSCP name"),
        (46, "its two low bits are ECN, which is the network stack's own. Write 0x2c."),
        ("0x21", "its two low bits are ECN, which is the network stack's own. Write 0x20."),
        (255, "Write 0xfc."),
        ("010", "a leading zero can mean octal or decimal. Leave it out."),
        ([8], "a byte from 0 to 255"),
    ],
)
def test_a_tos_that_is_none_is_named_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _values.parse_tos(["cs1", value], "policies[0].tos")
    assert caught.value.field == "policies[0].tos[1]"
    assert caught.value.value == value
    assert message in str(caught.value)


@given(st.integers(0, 255))
def test_a_byte_with_ecn_bits_is_refused_and_none_other(byte: int) -> None:
    if byte & 3:
        with pytest.raises(InputError, match="ECN"):
            _values.parse_tos([byte], "tos")
    else:
        assert _values.parse_tos([byte], "tos") == (byte >> 2,)


@pytest.mark.parametrize("value", ["ef", 32, {"ef": True}, True, None])
def test_tos_is_a_list(value: Any) -> None:
    with pytest.raises(InputError, match="it is a list") as caught:
        _values.parse_tos(value, "tos")
    assert (caught.value.field, caught.value.value) == ("tos", value)


@pytest.mark.parametrize("value", [0, 1, "yes", "true", None, [], "on"])
def test_only_a_boolean_is_a_boolean(value: Any) -> None:
    with pytest.raises(InputError, match="it is true or false") as caught:
        _values.boolean(value, "unprivileged")
    assert (caught.value.field, caught.value.value) == ("unprivileged", value)


@given(st.text(alphabet="0123456789abcxX-+_ .", max_size=8))
def test_a_whole_number_is_decimal_or_hexadecimal_and_never_octal(text: str) -> None:
    written = text.strip().lower()
    decimal = re.fullmatch(r"0|[1-9][0-9]*", written)
    expected = int(written) if decimal else None
    if re.fullmatch(r"0x[0-9a-f]+", written):
        expected = int(written[2:], 16)
    try:
        got: int | None = _values.integer(text, "x", 0, 10**8)
    except InputError:
        got = None
    assert got == expected


@pytest.mark.parametrize(
    "value",
    ["9" * 5000, "0x" + "f" * 5000, 2**20000],
    ids=["decimal text", "hexadecimal text", "number"],
)
def test_a_number_of_any_length_is_refused_in_words(value: Any) -> None:
    with pytest.raises(InputError):
        _values.parse_priority(value, "priority")


def test_a_mapping_suggests_the_key_that_was_meant() -> None:
    with pytest.raises(InputError) as caught:
        _values.mapping({"priorty": 1}, "policies[0]", ("priority", "tos"))
    assert caught.value.field == "policies[0].priorty"
    assert str(caught.value) == (
        "policies[0].priorty: 1 is not possible: known are priority, tos. Did you mean priority?"
    )


def test_a_key_without_a_value_was_not_given() -> None:
    assert _values.mapping({"priority": None, "tos": []}, "x", ("priority", "tos")) == {"tos": []}


@pytest.mark.parametrize("value", [[], "priority", None, 1, True])
def test_a_mapping_is_one(value: Any) -> None:
    with pytest.raises(InputError, match="it is a mapping with some of a, b") as caught:
        _values.mapping(value, "x", ("a", "b"))
    assert (caught.value.field, caught.value.value) == ("x", value)
