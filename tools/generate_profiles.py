# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of profiles in docs/profiles.md.

    python3 -m tools.generate_profiles

The profiles are data, in roles/container/vars/profiles.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/profiles.md"
PROFILES = ROOT / "roles/container/vars/profiles"
BEGIN = "<!-- profiles: written by tools/generate_profiles.py -->\n"
END = "<!-- end of profiles -->\n"


def profiles() -> dict[str, dict[str, Any]]:
    """Each profile by its name."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(PROFILES.glob("*.yml"))}


def render() -> str:
    """The document with its table made anew."""
    rows = ["| profile | for a container that | what it declares |\n", "|---|---|---|\n"]
    for name, profile in profiles().items():
        declared = {**profile.get("policy", {})}
        if "raw_xmit" in profile:
            declared["raw_xmit"] = profile["raw_xmit"]
        cells = [f"`{key}: {_flow(value)}`" for key, value in declared.items()]
        what = profile["description"][0].lower() + profile["description"][1:].rstrip(".")
        rows.append(f"| `{name}` | {what} | {'<br>'.join(cells)} |\n")
    before, _begin, rest = DOCUMENT.read_text().partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return "".join([before, BEGIN, *rows, END, after])


def _flow(value: object) -> str:
    """A value as YAML has it on one line."""
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


if __name__ == "__main__":
    DOCUMENT.write_text(render())
