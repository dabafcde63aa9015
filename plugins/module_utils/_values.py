# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single values as users write them: numbers, names, priorities, DSCPs.

YAML has made something of a value before it comes here: `yes` is a boolean
and 010 is 8, while "0x20" and "010" are text. A boolean is never a number
here, and text with a leading zero is refused, since it can mean two things.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._errors import InputError, shown

_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}|0[xX][0-9a-fA-F]{1,16}")
_CLASSID = re.compile(r"([0-9a-fA-F]{1,4}):([0-9a-fA-F]{1,4})")
_U32 = 0xFFFFFFFF
_S32_MAX = 0x7FFFFFFF

# DSCP names and values: RFC 2474 (CS), 2597 (AF), 3246 (EF), 5865 (voice-admit), 8622 (LE).
DSCP: dict[str, int] = {
    **{f"cs{n}": n << 3 for n in range(8)},
    **{f"af{c}{d}": c << 3 | d << 1 for c in (1, 2, 3, 4) for d in (1, 2, 3)},
    "ef": 46,
    "voice-admit": 44,
    "le": 1,
}


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]}?" if close else ""


def mapping(value: Any, at: str, known: Sequence[str]) -> dict[str, Any]:
    """A mapping with only known keys. A key whose value is None was not given."""
    if not isinstance(value, Mapping):
        raise InputError(at, value, f"it is a mapping with some of {', '.join(known)}")
    for key in value:
        if key not in known:
            plain = isinstance(key, str) and key.isprintable() and len(key) <= 100
            name = key if plain else shown(key)
            remedy = _near(name, known)
            raise InputError(f"{at}.{name}", value[key], f"known are {', '.join(known)}", remedy)
    return {key: inner for key, inner in value.items() if inner is not None}


def sequence(value: Any, at: str) -> list[Any]:
    """A list; text is not one."""
    if not isinstance(value, (list, tuple)):
        raise InputError(at, value, "it is a list", "Write it in brackets: []")
    return list(value)


def boolean(value: Any, at: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise InputError(at, value, "it is true or false")
    return value


def integer(
    value: Any, at: str, low: int, high: int, shown: Any = None, allowed: str | None = None
) -> int:
    """A whole number in a range, as a number or as decimal or 0x text."""
    allowed = allowed or f"a whole number from {low} to {high}"
    shown = value if shown is None else shown
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"0[0-9]+", text):
            raise InputError(at, shown, "a leading zero can mean octal or decimal", "Leave it out")
        if _NUMBER.fullmatch(text):
            number = int(text, 0)
    if number is None or not low <= number <= high:
        raise InputError(at, shown, allowed)
    return number


def number_or_name(value: str, at: str, names: Mapping[str, int], what: str) -> int:
    """A number that setsockopt()'s int can hold, or a name from a table."""
    if value in names:
        return names[value]
    if re.match(r"[0-9]", value):
        return integer(value, at, 0, _S32_MAX)
    remedy = _near(value, list(names)) or "Write its number"
    raise InputError(at, value, f"no known {what}", remedy)


def parse_priority(value: Any, at: str) -> int:
    """SO_PRIORITY: a number of 32 bits, or major:minor in hexadecimal as tc writes it."""
    allowed = "a number from 0 to 4294967295, or major:minor of four hexadecimal digits each"
    if isinstance(value, str) and ":" in value:
        match = _CLASSID.fullmatch(value.strip())
        if not match:
            raise InputError(at, value, allowed, 'Write it as tc does: "1:10"')
        return int(match.group(1), 16) << 16 | int(match.group(2), 16)
    return integer(value, at, 0, _U32, allowed=allowed)


def show_priority(value: int) -> int | str:
    """A number where it has no major part."""
    return f"{value >> 16:x}:{value & 0xFFFF:x}" if value >> 16 else value


def _dscp(value: Any, at: str) -> int:
    if isinstance(value, str) and value.strip().lower() in DSCP:
        return DSCP[value.strip().lower()]
    allowed = f"a DSCP name ({', '.join(DSCP)}) or a byte from 0 to 255"
    if isinstance(value, str) and not re.match(r"\s*[0-9]", value):
        raise InputError(at, value, allowed, _near(value, list(DSCP)))
    byte = integer(value, at, 0, 255, allowed=allowed)
    if byte & 3:
        raise InputError(
            at,
            value,
            "its two low bits are ECN, which is the network stack's own",
            f"Write 0x{byte & 0xFC:02x}",
        )
    return byte >> 2


def parse_tos(value: Any, at: str) -> tuple[int, ...]:
    """The DSCPs of a list of names and bytes, ascending."""
    items = sequence(value, at)
    return tuple(sorted({_dscp(item, f"{at}[{i}]") for i, item in enumerate(items)}))


def show_tos(value: tuple[int, ...]) -> list[str]:
    """Names where there is one, bytes in hexadecimal elsewhere."""
    names = {dscp: name for name, dscp in DSCP.items()}
    return [names.get(dscp, f"0x{dscp << 2:02x}") for dscp in value]
