# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own runtime as one file: what modules run on a host, and the bundled objects.

It is a zip archive behind a line that names its interpreter, see Python's zipapp. The same
sources give the same bytes: entries have one date, stand in one order and are not compressed.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

from tools._tree import OBJECTS, ROOT

NAME = "cgnet.pyz"
UTILS = ROOT / "plugins/module_utils"
# It speaks Ansible, which a host has not got.
_LEFT_OUT = "_module.py"
_PACKAGE = "ansible_collections/linux/cgnet/plugins"
_FIRST_LINE = b"#!/usr/bin/python3 -I\n"
_MAIN = f"""\
import sys

from {_PACKAGE.replace("/", ".")}.module_utils import _runtime

sys.exit(_runtime.main(sys.argv[1:]))
"""


def archive(objects: Path = ROOT / OBJECTS) -> bytes:
    """The file's bytes, with every object that has its manifest beside it."""
    parts = _PACKAGE.split("/")
    packages = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    packages += [f"{_PACKAGE}/module_utils", f"{_PACKAGE}/objects"]
    content = {f"{package}/__init__.py": b"" for package in packages}
    content["__main__.py"] = _MAIN.encode()
    for path in UTILS.glob("*.py"):
        if path.name != _LEFT_OUT:
            content[f"{_PACKAGE}/module_utils/{path.name}"] = path.read_bytes()
    for described in objects.glob("*.json"):
        manifest = json.loads(described.read_text())
        manifest.pop("layout")  # the controller's alone
        content[f"{_PACKAGE}/objects/{described.name}"] = json.dumps(manifest).encode()
        code = described.with_suffix(".bpf.o")
        content[f"{_PACKAGE}/objects/{code.name}"] = code.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as whole:
        for name in sorted(content):
            whole.writestr(zipfile.ZipInfo(name), content[name])
    return _FIRST_LINE + packed.getvalue()
