# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the threat table and of the guarantees names tests that ran.

`make threats` runs this after the unit and the kernel tests, whose results are in
.build/junit. KERNELS names the guests that are looked at.
"""

from __future__ import annotations

import functools
import os
import xml.etree.ElementTree as ET

import pytest

from tests.threats.table import ROOT, ROWS, named

KERNELS = os.environ["KERNELS"].split()


@functools.cache
def outcomes(results: str) -> dict[tuple[str, str], set[str]]:
    """File and function → the outcomes of its cases, of a file of results."""
    found: dict[tuple[str, str], set[str]] = {}
    tree = ET.parse(ROOT / ".build/junit" / results)
    for case in tree.iter("testcase"):
        path = case.get("classname", "").replace(".", "/").removeprefix("tests/")
        file = path.removeprefix("kernel/") + ".py"
        function = case.get("name", "").partition("[")[0]
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "skipped" if case.find("skipped") is not None else "passed"
        found.setdefault((file, function), set()).add("failed" if failed else outcome)
    return found


def ran(file: str, function: str) -> dict[str, list[str]]:
    """Results → the outcomes there of a test's cases, none where it did not run."""
    kernels = [f"kernel-{each}/kernel.xml" for each in KERNELS]
    results = ["unit/unit.xml"] if file.startswith("unit/") else kernels
    return {each: sorted(outcomes(each).get((file, function), ())) for each in results}


def test_there_are_kernels() -> None:
    assert KERNELS


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_ran(row: str) -> None:
    """On every kernel, and passed on one at least: a kernel may lack what a test needs."""
    for file, function in named(row):
        found = ran(file, function)
        assert [each for each in found.values() if not each or "failed" in each] == [], found
        assert any("passed" in each for each in found.values()), found
