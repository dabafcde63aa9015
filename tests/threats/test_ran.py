# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the threat table and of the guarantees names tests that ran.

`make threats` runs this after the kernel tests. KERNELS names the guests whose
results are looked at, in .build/junit.
"""

from __future__ import annotations

import functools
import os
import xml.etree.ElementTree as ET

import pytest

from tests.threats.table import ROOT, ROWS, named

KERNELS = os.environ["KERNELS"].split()


@functools.cache
def outcomes(kernel: str) -> dict[tuple[str, str], set[str]]:
    """File and function → the outcomes of its cases on a kernel."""
    found: dict[tuple[str, str], set[str]] = {}
    tree = ET.parse(ROOT / f".build/junit/kernel-{kernel}/kernel.xml")
    for case in tree.iter("testcase"):
        file = case.get("classname", "").rpartition(".")[2] + ".py"
        function = case.get("name", "").partition("[")[0]
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "skipped" if case.find("skipped") is not None else "passed"
        found.setdefault((file, function), set()).add("failed" if failed else outcome)
    return found


def ran(file: str, function: str) -> dict[str, list[str]]:
    """Kernel → the outcomes there of a test's cases, none where it did not run."""
    return {each: sorted(outcomes(each).get((file, function), ())) for each in KERNELS}


def test_there_are_kernels() -> None:
    assert KERNELS


@pytest.mark.parametrize("row", ROWS)
def test_the_tests_of_a_row_ran(row: str) -> None:
    """On every kernel, and passed on one at least: a kernel may lack what a test needs."""
    for file, function in named(row):
        found = ran(file, function)
        assert [each for each in found.values() if not each or "failed" in each] == [], found
        assert any("passed" in each for each in found.values()), found
