# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build bpf/*.bpf.c and the runtime into plugins/objects/, each object with its manifest beside it.

    python3 -m tools.build_objects [--check | --tests]

Also writes plugins/module_utils/_abi.py, the mirror of the struct that
policy.bpf.o stores, from that object's BTF; with --check it says instead
whether the file is what the object gives, and changes nothing. With --tests it
builds what the kernel tests load besides, into .build/test-objects/.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.plugin_utils._compile import compile_object
from ansible_collections.linux.cgnet.plugins.plugin_utils._object import (
    ATTACHABLE,
    read_manifest,
)

from tools import runtime

ROOT = Path(__file__).parents[1]
OBJECTS = ROOT / "plugins/objects"
CACHE = ROOT / ".build/objects"
TEST_SOURCES = ROOT / "tests/kernel/data"
TEST_OBJECTS = ROOT / ".build/test-objects"
MIRROR = ROOT / "plugins/module_utils/_abi.py"

# Of an object that no cgroup takes; a user's is for cgroups.
SECTIONS = {"classify": re.compile("tc$")}

HEAD = '''\
# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror of bpf/policy.h.

Generated from the BTF of policy.bpf.o by `make object`. Do not edit.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any
'''


def _ctype(shape: Any) -> str:
    if isinstance(shape, list):
        return f"{_ctype(shape[0])} * {shape[1]}"
    return f"ctypes.c_{shape.replace('u', 'uint').replace('s', 'int')}"


def _literal(value: Any, depth: int = 0) -> list[str]:
    """A dict of dicts as source, a line an entry: what changed is what a diff shows."""
    pad = "    " * depth
    lines = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += [f'{pad}"{key}": {{', *_literal(inner, depth + 1), f"{pad}}},"]
        elif key == "fields":
            rows = [f"{pad}    {json.dumps(row)}," for row in inner]
            lines += [f'{pad}"{key}": [', *rows, f"{pad}],"]
        else:
            lines.append(f'{pad}"{key}": {json.dumps(inner)},')
    return lines


def _class(name: str, shape: dict[str, Any]) -> list[str]:
    fields = [f'        ("{field}", {_ctype(kind)}),' for field, _at, kind in shape["fields"]]
    head = f"class {name.capitalize()}(ctypes.LittleEndianStructure):"
    told = f'    """struct {name}: {shape["size"]} bytes."""'
    return ["", "", head, told, "", "    _fields_ = (", *fields, "    )"]


def render_mirror(layout: dict[str, Any]) -> str:
    """_abi.py: an enum class each, the ctypes structs, and the layout as data."""
    lines = [HEAD]
    for name, members in layout["enums"].items():
        prefix = name.upper() + "_"
        base = "IntFlag" if name == "flag" else "IntEnum"
        lines += ["", f"class {name.capitalize()}(enum.{base}):", f'    """enum {name}."""', ""]
        lines += [f"    {k.replace(prefix, '', 1)} = {v}" for k, v in members.items()] + [""]
    lines.pop()
    for name, shape in {"policy": layout, **layout["structs"]}.items():
        lines += _class(name, shape)
    lines += ["", "", "LAYOUT: dict[str, Any] = {", *_literal(layout, 1), "}", ""]
    return "\n".join(lines)


def compiled(sources: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Name, object and manifest of each source in a directory."""
    for source in sorted(sources.glob("*.bpf.c")):
        name = source.name[: -len(".bpf.c")]
        built = compile_object(source, CACHE)
        sections = SECTIONS.get(name, ATTACHABLE)
        yield name, built, read_manifest(name, built.read_bytes(), sections)


def install(name: str, built: Path, manifest: dict[str, Any], folder: Path) -> set[Path]:
    """Put an object and its manifest into a directory, whole for who reads meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        folder / f"{name}.bpf.o": built.read_bytes(),
        folder / f"{name}.json": (json.dumps(manifest, indent=1) + "\n").encode(),
    }
    for path, content in contents.items():
        put(path, content)
    return set(contents)


def put(path: Path, content: bytes) -> None:
    """Let a file hold something, whole for who reads meanwhile."""
    if not path.exists() or path.read_bytes() != content:
        fresh = CACHE / f"{path.name}.{os.getpid()}"  # beside, not among them
        fresh.write_bytes(content)
        fresh.rename(path)


def main() -> int:
    """Build everything; 1 if --check finds the mirror out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--tests", action="store_true")
    options = parser.parse_args()
    check = options.check
    if options.tests:
        found = [install(*each, TEST_OBJECTS) for each in compiled(TEST_SOURCES)]
        for stale in set(TEST_OBJECTS.iterdir()).difference(*found):
            stale.unlink()
        return 0
    for name, built, manifest in compiled(ROOT / "bpf"):
        if name == "policy":
            text = render_mirror(manifest["layout"])
            if check and MIRROR.read_text() != text:
                print("plugins/module_utils/_abi.py is not what bpf/policy.h gives: make object")
                return 1
            if not check and (not MIRROR.exists() or MIRROR.read_text() != text):
                MIRROR.write_text(text)
        if not check:
            install(name, built, manifest, OBJECTS)
    if not check:
        put(OBJECTS / runtime.NAME, runtime.archive())
    return 0


if __name__ == "__main__":
    sys.exit(main())
