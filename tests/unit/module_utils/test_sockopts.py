# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of socket options is what the kernel's headers say."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils import _sockopts


def test_python_knows_the_same_numbers() -> None:
    checked = 0
    for level, options in _sockopts.OPTIONS.items():
        prefixes = {1: "SO_", 0: "IP_", 6: "TCP_", 41: "IPV6_"}
        for name, number in options.items():
            if level in prefixes and name.startswith(prefixes[level]):
                if getattr(socket, name, number) != number:
                    pytest.fail(f"{name} is {getattr(socket, name)} in Python, not {number}")
                checked += hasattr(socket, name)
    assert checked > 50


@pytest.mark.parametrize(
    ("level", "name", "number"),
    [("SOL_SOCKET", "SO_MARK", 36), ("SOL_SOCKET", "SO_PRIORITY", 12), ("SOL_IP", "IP_TOS", 1),
     ("SOL_IPV6", "IPV6_TCLASS", 67), ("SOL_TCP", "TCP_CONGESTION", 13)],
)  # fmt: skip
def test_options_that_the_documentation_names(level: str, name: str, number: int) -> None:
    assert _sockopts.OPTIONS[_sockopts.LEVELS[level]][name] == number


def test_a_level_has_one_name() -> None:
    assert len(set(_sockopts.LEVELS.values())) == len(_sockopts.LEVELS)
    assert set(_sockopts.OPTIONS) == set(_sockopts.LEVELS.values())
