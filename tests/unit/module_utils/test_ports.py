# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of ports: merging, blocks and their inverse, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _ports
from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError
from ansible_collections.linux.cgnet.plugins.module_utils._model import Range
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import canonical, expanded, port_lists

ranges_as_written = st.lists(
    st.tuples(st.integers(1, 16383), st.integers(0, 600)).map(
        lambda found: (found[0], min(16383, sum(found)))
    ),
    max_size=8,
)


@given(ranges_as_written, st.randoms())
def test_ports_are_merged_whatever_their_order(given_ranges: list[Range], random: Any) -> None:
    written: list[Any] = [f"{low}-{high}" if low != high else low for low, high in given_ranges]
    random.shuffle(written)
    assert _ports.parse(written, "tcp", 16384) == canonical(expanded(given_ranges))


@given(port_lists(65536))
def test_ranges_are_the_inverse_of_bitmaps(ranges: tuple[Range, ...]) -> None:
    assert _ports.ranges(_ports.bitmaps(ranges)) == ranges


@given(port_lists(65536))
def test_a_bitmap_holds_exactly_the_ports_of_its_block(ranges: tuple[Range, ...]) -> None:
    expected: dict[int, int] = {}
    for port in expanded(ranges):
        expected[port // 256] = expected.get(port // 256, 0) | 1 << port % 256
    assert _ports.bitmaps(ranges) == expected


@given(port_lists(65536))
def test_what_is_shown_parses_back(ranges: tuple[Range, ...]) -> None:
    assert _ports.parse(_ports.show(ranges), "tcp", 65536) == ranges


def test_equal_blocks_are_counted_once_and_the_empty_one_always() -> None:
    assert _ports.blocks(()) == {0}
    assert _ports.blocks([(256, 65535)]) == {0, 2**256 - 1}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], ()),
        ([443], ((443, 443),)),
        (["443"], ((443, 443),)),
        ([" 443 "], ((443, 443),)),
        (["0x1bb"], ((443, 443),)),
        (["8000-8099"], ((8000, 8099),)),
        (["8000 - 8099"], ((8000, 8099),)),
        (["80-80"], ((80, 80),)),
        ([81, 80], ((80, 81),)),
        ([80, 80], ((80, 80),)),
        ([1, 16383], ((1, 1), (16383, 16383))),
    ],
)
def test_ports_as_they_can_be_written(written: list[Any], expected: tuple[Range, ...]) -> None:
    assert _ports.parse(written, "tcp", 16384) == expected


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (0, "a port from 1 to 65535"),
        (65536, "a port from 1 to 65535"),
        (-1, "a port from 1 to 65535"),
        ("-1", "a port from 1 to 65535"),
        ("-", "a port from 1 to 65535"),
        ("80-", "a port from 1 to 65535"),
        ("-80", "a port from 1 to 65535"),
        ("1-2-3", "a port from 1 to 65535"),
        ("80,443", "a port from 1 to 65535"),
        ("http", "a port from 1 to 65535"),
        ("", "a port from 1 to 65535"),
        (True, "a port from 1 to 65535"),
        (1.5, "a port from 1 to 65535"),
        (80.0, "a port from 1 to 65535"),
        (None, "a port from 1 to 65535"),
        ([80], "a port from 1 to 65535"),
        ({"80": 90}, "a port from 1 to 65535"),
        ("\uff18\uff10", "a port from 1 to 65535"),
        ("0-90", "a port from 1 to 65535"),
        ("80-65536", "a port from 1 to 65535"),
        ("90-80", "90 is above 80. Write 80-90."),
        ("080", "a leading zero can mean octal or decimal. Leave it out."),
        ("080-90", "a leading zero can mean octal or decimal. Leave it out."),
    ],
)
def test_a_port_that_is_none_is_named_with_its_place(port: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        _ports.parse([443, port], "policies[0].bind_ports.tcp", 65536)
    assert caught.value.field == "policies[0].bind_ports.tcp[1]"
    assert caught.value.value == port
    assert message in str(caught.value)


@pytest.mark.parametrize("port", [16384, "16000-16384", 65535])
def test_a_port_that_is_not_governed_can_not_be_listed(port: Any) -> None:
    with pytest.raises(InputError, match="only ports below 16384 are governed") as caught:
        _ports.parse([port], "tcp", 16384)
    assert caught.value.value == port
    assert str(caught.value).endswith('Leave it out, or raise "below".')


@pytest.mark.parametrize("value", ["443", 443, {"443": None}, True, None])
def test_ports_are_a_list(value: Any) -> None:
    with pytest.raises(InputError, match="it is a list") as caught:
        _ports.parse(value, "tcp", 16384)
    assert (caught.value.field, caught.value.value) == ("tcp", value)
