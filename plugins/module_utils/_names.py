# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
r"""How the path of a cgroup is written: bytes of any kind as text that everybody can read. Pure.

The kernel takes every byte in a cgroup's name but NUL, / and newline, while JSON, YAML and
terminals want text. So each byte of what can't be printed, or is no UTF-8, is written as a
backslash and three octal digits, as `ls -b` and /proc/mounts write it: \011 for a tab, \377
for 0xff. A backslash that stands before three such digits is \134; any other is itself, so
that the names that systemd escapes (a\x2db.slice) stay what they are.

raw(shown(path)) == path for every path; text that needs no escapes may be written as it is.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")


def shown(path: bytes) -> str:
    """A path as it is written in results, and may be in a task."""
    doubtless = _ESCAPE.sub(rb"\\134\1", path)
    text = doubtless.decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def raw(path: str) -> bytes:
    """The bytes that a path as written stands for.

    UnicodeEncodeError where it has a surrogate that stands for no byte; a NUL may be in it.
    """
    encoded = path.encode("utf-8", "surrogateescape")
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), encoded)
