# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of docs/threat-table.md and docs/guarantees.md, and the tests that each names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("threat-table", "guarantees")
ROWS = [
    line
    for name in TABLES
    for line in (ROOT / f"docs/{name}.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| (?!the (way|promise) \|)", line)
]


def named(row: str) -> list[tuple[str, str]]:
    """File, below tests/kernel unless it says unit/, and function of each test of a row's end."""
    return re.findall(r"`((?:unit/[\w/]+/)?test_\w+\.py)::(test_\w+)`", row.rsplit(" | ", 1)[1])
