# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of docs/threat-table.md and of docs/guarantees.md names tests that exist."""

from __future__ import annotations

import ast
import functools

import pytest

from tests.threats.table import ROOT, ROWS, named


@functools.cache
def found_in(name: str) -> frozenset[str]:
    """The names of the tests in a file, below tests/kernel unless it says unit/."""
    folder = ROOT / ("tests" if name.startswith("unit/") else "tests/kernel")
    tree = ast.parse((folder / name).read_text(encoding="utf-8"))
    functions = (node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    return frozenset(name for name in functions if name.startswith("test_"))


def test_there_are_rows() -> None:
    assert len(ROWS) > 10


@pytest.mark.parametrize("row", ROWS)
def test_a_row_ends_with_tests_that_exist(row: str) -> None:
    tests = named(row)
    assert tests, "it names no test"
    assert [(file, test) for file, test in tests if test not in found_in(file)] == []
