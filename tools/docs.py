"""Documentation: what ansible-doc makes of the installed modules, and links that lead somewhere.

    python -m tools.docs

Run after tools.collection; needs the installed collection, not the tree.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tools._tree import ROOT, tracked
from tools.collection import INSTALLED

# [text](target), where the target is neither an address nor a place on the same page.
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def main() -> int:
    """Return 0; 1 if a module has no documentation or a link leads nowhere."""
    problems = undocumented() + broken_links()
    print("\n".join(problems) or "all modules render, all links lead somewhere")
    return 1 if problems else 0


def undocumented() -> list[str]:
    """A line for each module of the tree that ansible-doc does not render."""
    names = {
        f"linux.cgnet.{path.stem}"
        for path in tracked()
        if path.parent == Path("plugins/modules") and path.suffix == ".py"
    }
    if not names:
        return ["there are no modules in plugins/modules"]
    command = [Path(sys.executable).parent / "ansible-doc", "--type", "module"]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED)}
    rendered = subprocess.run(
        [*command, *sorted(names)], env=environment, check=False, text=True, stdout=subprocess.PIPE
    )
    if rendered.returncode:
        return [f"ansible-doc ended with status {rendered.returncode}"]
    listing = subprocess.run(
        [*command, "--json", *sorted(names)],
        env=environment, check=True, text=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    documented = {name for name, entry in json.loads(listing).items() if entry.get("doc")}
    return [f"{name}: ansible-doc has nothing to show" for name in sorted(names - documented)]


def broken_links() -> list[str]:
    """A line for each relative link in a Markdown file whose target is not in the tree."""
    problems = []
    for path in tracked():
        if path.suffix != ".md":
            continue
        for target in LINK.findall((ROOT / path).read_text(encoding="utf-8")):
            if not (ROOT / path.parent / target).exists():
                problems.append(f"{path}: the link to {target} leads nowhere")
    return problems


if __name__ == "__main__":
    sys.exit(main())
