# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compile a BPF source on the controller, once per content.

What comes out depends on the source, the headers beside it, the flags and the
compiler's version, and on nothing else: the cache is named by a hash of these.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError

CLANG = os.environ.get("CGNET_CLANG", "clang-16")
# The strip of the same LLVM stands beside it and is versioned like it.
STRIP = os.environ.get(
    "CGNET_LLVM_STRIP",
    os.path.join(os.path.dirname(CLANG), os.path.basename(CLANG).replace("clang", "llvm-strip")),
)

# v3: the 32-bit instructions and jumps that every kernel since 5.1 has.
# The compilation directory goes into BTF's line table, and the object's hash must not depend on it.
FLAGS = (
    "--target=bpf", "-mcpu=v3", "-std=gnu11", "-O2", "-g", "-fdebug-compilation-dir=.",
    "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror",
)  # fmt: skip


def include_flags() -> list[str]:
    """Where Debian keeps <asm/...> of this machine; a BPF target has no such path itself."""
    return [f"-idirafter{path}" for path in sorted(Path("/usr/include").glob("*-linux-gnu*"))]


def _run(source: Path, command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, cwd=source.parent, capture_output=True, text=True, check=False
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ObjectError(
            source.name,
            f"{command[0]} is not on this controller, or may not be run",
            "Install clang 16 or later and libbpf's headers (Debian: clang-16 llvm-16 libbpf-dev), "
            "name it in CGNET_CLANG, or give a compiled .bpf.o as the source",
        ) from error
    if done.returncode:
        raise ObjectError(
            source.name, f"it does not compile:\n{done.stderr.strip()}", "Mend the source"
        )
    return done.stdout


def _inputs(source: Path) -> list[Path]:
    """The source and every header that it includes, the system's too, in the compiler's order."""
    rule = _run(source, [CLANG, *FLAGS, *include_flags(), "-M", "-MT", "object", source.name])
    names = shlex.split(rule.replace("\\\n", " ").replace("$$", "$"))[1:]
    return [source.parent / name for name in names]


def key(source: Path) -> str:
    """The hash (hex sha256) of everything that the result depends on.

    BTF's line table quotes the source, so a comment counts too.
    """
    version = _run(source, [CLANG, "--version"])
    major = re.search(r"clang version (\d+)", version)
    if not major or int(major.group(1)) < 16:
        raise ObjectError(source.name, f"{CLANG} is no clang 16 or later", "Install clang-16")
    digest = hashlib.sha256("\0".join([source.name, version, *FLAGS]).encode())
    for path in _inputs(source):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def compile_object(source: Path, cache: Path) -> Path:
    """Compile `source` (a .bpf.c) unless `cache` has it; return the object's path.

    Raises ObjectError with the compiler's own words. Two runs at once are safe:
    the object is renamed into place.
    """
    if not source.is_file():
        raise ObjectError(source.name, f"{source} is no file", "Name an existing .bpf.c")
    target = cache / f"{key(source)}.bpf.o"
    if target.exists():
        return target
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        fresh = Path(scratch) / "fresh.o"
        _run(source, [CLANG, *FLAGS, *include_flags(), "-c", source.name, "-o", str(fresh)])
        # DWARF holds this machine's paths and is of no use to a kernel; BTF stays.
        _run(source, [STRIP, "-g", str(fresh)])
        fresh.rename(target)
    return target
