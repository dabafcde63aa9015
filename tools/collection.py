"""Builds the collection's artifact, compares its files with what it is to hold, installs it.

    python -m tools.collection

The artifact holds what git tracks, and the built objects, which git ignores. It is built in
.build/ and installed to .build/collections, where plays, molecule and ansible-doc look.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import yaml

from tools._tree import BUILD, OBJECTS, ROOT, tracked

INSTALLED = BUILD / "collections"
# Made by ansible-galaxy from galaxy.yml.
GENERATED = {"FILES.json", "MANIFEST.json"}
# The front of the files that only the repository needs; galaxy.yml leaves them out.
REPOSITORY_ONLY = (".", "galaxy.yml")


def main() -> int:
    """Return 0; 1 if the artifact holds too much or too little. Raises CalledProcessError."""
    artifact = build()
    with tarfile.open(artifact) as archive:
        found = {member.name for member in archive if not member.isdir()} - GENERATED
    wanted = {str(path) for path in tracked()}
    wanted = {name for name in wanted if not name.startswith(REPOSITORY_ONLY)}
    wanted |= {str(path.relative_to(ROOT)) for path in (ROOT / OBJECTS).glob("*")}
    objects = [name for name in found if name.startswith(str(OBJECTS)) and name.endswith(".o")]
    for name in sorted(found - wanted):
        print(f"{artifact.name}: {name} should not be there (build_ignore in galaxy.yml)")
    for name in sorted(wanted - found):
        print(f"{artifact.name}: {name} is missing")
    if not objects:
        print(f"{artifact.name}: there is no object in {OBJECTS}: run `make object`")
    if found != wanted or not objects:
        return 1
    print(f"{artifact.name}: {len(found)} files, {len(objects)} objects")
    galaxy("install", str(artifact), "--force", "--no-deps", "-p", str(INSTALLED))
    return 0


def build() -> Path:
    """The path of the artifact, built anew."""
    output = BUILD / "artifact"
    shutil.rmtree(output, ignore_errors=True)
    galaxy("build", str(ROOT), "--force", "--output-path", str(output))
    meta = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    return output / f"{meta['namespace']}-{meta['name']}-{meta['version']}.tar.gz"


def galaxy(*arguments: str) -> None:
    program = Path(sys.executable).parent / "ansible-galaxy"
    subprocess.run(
        [program, "collection", *arguments],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(INSTALLED)},
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
