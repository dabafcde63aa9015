"""Copies of this tree for tools that must not see what is built in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
OBJECTS = Path("plugins/objects")


def tracked() -> list[Path]:
    """The files here that git tracks or, being neither added nor ignored yet, would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE,
    ).stdout  # fmt: skip
    paths = [Path(name) for name in listing.split("\0") if name]
    # What is deleted in the work tree may still be in the index.
    return [path for path in paths if (ROOT / path).is_file()]


def copy_tree(collections: Path, objects: bool = False) -> Path:
    """Copy what git tracks or would track to `collections`/ansible_collections/linux/cgnet.

    `objects` takes the built objects along, which git ignores. Returns the copy's path;
    what stood there before is gone.
    """
    copy = collections / "ansible_collections" / "linux" / "cgnet"
    shutil.rmtree(copy, ignore_errors=True)
    paths = tracked()
    if objects:
        paths += [path.relative_to(ROOT) for path in sorted((ROOT / OBJECTS).glob("*"))]
    for path in paths:
        source, target = ROOT / path, copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target, follow_symlinks=False)
    return copy
