# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of controls and hooks in docs/controls.md.

    python3 -m tools.generate_hooks [--check]

The controls name their programs, and the built objects name each one's hook.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils import _policies, _raw_xmit
from ansible_collections.linux.cgnet.plugins.module_utils._policy import CONTROLS

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/controls.md"
OBJECTS = ROOT / "plugins/objects"
BEGIN = "<!-- hooks: written by tools/generate_hooks.py -->\n"
END = "<!-- end of hooks -->\n"


def sections(name: str) -> dict[str, str]:
    """A built object's programs, and the section of each."""
    return dict(json.loads((OBJECTS / f"{name}.json").read_text())["programs"])


def render() -> str:
    """The document with its table made anew."""
    policy = sections(_policies.OBJECT)
    hooks = {name: [policy[hook] for hook in control.hooks] for name, control in CONTROLS.items()}
    hooks[_raw_xmit.OBJECT] = list(sections(_raw_xmit.OBJECT).values())
    rows = ["| control | hooks |\n", "|---|---|\n"]
    rows += [f"| `{name}` | {', '.join(f'`{each}`' for each in hooks[name])} |\n" for name in hooks]
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
