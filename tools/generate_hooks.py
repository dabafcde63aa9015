# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of controls and hooks in docs/controls.md.

    python3 -m tools.generate_hooks [--check]

The controls name their programs, and the built object names each one's hook.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils._policy import CONTROLS

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/controls.md"
MANIFEST = ROOT / "plugins/objects/policy.json"
BEGIN = "<!-- hooks: written by tools/generate_hooks.py -->\n"
END = "<!-- end of hooks -->\n"


def render() -> str:
    """The document with its table made anew."""
    sections = dict(json.loads(MANIFEST.read_text())["programs"])
    rows = ["| control | hooks |\n", "|---|---|\n"]
    for name, control in CONTROLS.items():
        hooks = ", ".join(f"`{sections[hook]}`" for hook in control.hooks)
        rows.append(f"| `{name}` | {hooks} |\n")
    before, _begin, rest = DOCUMENT.read_text().partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return "".join([before, BEGIN, *rows, END, after])


def main() -> int:
    """Write the document, or with --check say whether it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    text = render()
    if not parser.parse_args().check:
        DOCUMENT.write_text(text)
        return 0
    if DOCUMENT.read_text() == text:
        return 0
    print("docs/controls.md names other hooks than the code: python3 -m tools.generate_hooks")
    return 1


if __name__ == "__main__":
    sys.exit(main())
