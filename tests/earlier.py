# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An earlier release of the collection, to be upgraded: python3 -m tests.earlier FOLDER

It is this work tree, but for the versions of its objects.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools import runtime
from tools._tree import OBJECTS, copy_tree

NUMBER = "0" * 16


def main(folder: Path) -> None:
    """Make `folder` a place where Ansible finds it."""
    objects = copy_tree(folder, objects=True) / OBJECTS
    for path in objects.glob("*.json"):
        manifest = json.loads(path.read_text())
        _number, layout = manifest["version"].split("-")
        path.write_text(json.dumps({**manifest, "version": f"{NUMBER}-{layout}"}))
    (objects / runtime.NAME).write_bytes(runtime.archive(objects))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
