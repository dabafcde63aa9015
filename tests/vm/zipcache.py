"""For the guests: keep what Python compiles out of a zip.

Ansible sends a module as a zip of sources, which are compiled anew for each task. Where the
processor is emulated that is a third of a task. And twice each: a module's spec has the name of its
file, and zipimport finds that by compiling what it would load (zipimporter.get_filename).
"""

from __future__ import annotations

import _imp
import marshal
import os
import zipimport
from types import CodeType

FOLDER = "/var/cache/zipimport"
_compile = zipimport._compile_source  # type: ignore[attr-defined]
_whole = zipimport._get_module_code  # type: ignore[attr-defined]
_known: dict[tuple[str, str, str], tuple[CodeType, bool, str]] = {}


def _cached(path: str, source: bytes) -> CodeType:
    name = f"{FOLDER}/{_imp.source_hash(len(source), source).hex()}"
    try:
        with open(name, "rb") as file:
            code: CodeType = marshal.loads(file.read())
    except FileNotFoundError:
        code = _compile(path, source)
        with open(f"{name}.{os.getpid()}", "wb") as file:
            file.write(marshal.dumps(code))
        os.rename(file.name, name)
    return code


def _once(importer: zipimport.zipimporter, name: str) -> tuple[CodeType, bool, str]:
    key = importer.archive, importer.prefix, name
    if key not in _known:
        _known[key] = _whole(importer, name)
    return _known[key]


zipimport._get_module_code = _once  # type: ignore[attr-defined]
if os.geteuid() == 0:
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    zipimport._compile_source = _cached  # type: ignore[attr-defined]
