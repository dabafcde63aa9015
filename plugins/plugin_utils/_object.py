# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a compiled BPF object into a manifest: what a host must know to plan.

The same object gives the same manifest on any machine. A host that has never
seen the object can plan from it, which is what check mode needs.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils._errors import ObjectError
from ansible_collections.linux.cgnet.plugins.module_utils._layout import version_name
from ansible_collections.linux.cgnet.plugins.plugin_utils._btf import Btf

# enum bpf_map_type: CGROUP_STORAGE (now spelt _DEPRECATED in the UAPI).
CGROUP_STORAGE = 19

ATTACHABLE = re.compile(r"cgroup/|cgroup_skb/|cgroup-|sockops$|lsm_cgroup/")
NAME = re.compile(r"[A-Za-z0-9_]{1,32}")


def _read(name: str, data: bytes) -> tuple[list[list[str]], bytes | None]:
    """The programs, as [function, section] in the object's order, and the section .BTF."""
    try:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
    except ImportError as error:
        raise ObjectError(
            name,
            "reading it needs the Python package pyelftools on the controller",
            "Install pyelftools beside ansible-core",
        ) from error
    try:
        elf = ELFFile(io.BytesIO(data))
        if elf["e_machine"] != "EM_BPF":
            raise ObjectError(name, "it is an ELF file, but not for BPF", "Give a compiled .bpf.o")
        sections = list(elf.iter_sections())
        btf = _section(sections, ".BTF", "SHT_PROGBITS")
        return _programs(sections), btf.data() if btf else None
    except (ELFError, ValueError, IndexError, OverflowError) as error:
        raise ObjectError(
            name, f"it is no ELF file that can be read ({error})", "Give a compiled .bpf.o"
        ) from error


def _section(sections: Any, name: str, kind: str) -> Any:
    """The section of a name, if it is of the kind that belongs to it; else None."""
    return next((s for s in sections if s.name == name and s["sh_type"] == kind), None)


def _programs(sections: Any) -> list[list[str]]:
    symbols = _section(sections, ".symtab", "SHT_SYMTAB")
    found = []
    for symbol in symbols.iter_symbols() if symbols else ():
        index, kind = symbol["st_shndx"], (symbol["st_info"]["type"], symbol["st_info"]["bind"])
        if kind != ("STT_FUNC", "STB_GLOBAL") or not isinstance(index, int):
            continue  # a name for an index: it stands in no section, as what is elsewhere
        if sections[index].name != ".text":
            found.append((index, symbol["st_value"], symbol.name, sections[index].name))
    return [[name, section] for _index, _value, name, section in sorted(found)]


def read_manifest(name: str, data: bytes, sections: re.Pattern[str] = ATTACHABLE) -> dict[str, Any]:
    """The manifest of an object's bytes, as plain data that JSON can carry.

    Its programs are to be in one of the `sections`.

    Shape: {"name", "sha256", "version", "programs": [[name, section]...],
    "storage": map name or "", "layout": Btf.layout() or None}. Raises
    ObjectError for a file that is no BPF ELF, has no BTF or no program, or has
    a program that does not attach to a cgroup.
    """
    if not NAME.fullmatch(name):
        raise ObjectError(name, "its name can't be a pin's", "Use 1 to 32 of A-Z a-z 0-9 _")
    programs, raw = _read(name, data)
    if raw is None:
        raise ObjectError(name, "it has no BTF", "Compile it with clang -g and keep .BTF")
    try:
        btf = Btf.parse(raw)
        storage, layout = "", None
        for map_name, shape in btf.maps().items():
            if shape.get("type") == CGROUP_STORAGE and "value" in shape:
                struct_name = btf.struct_name(shape["value"])
                if struct_name:
                    storage, layout = map_name, btf.layout(struct_name)
    except (ValueError, IndexError) as error:
        raise ObjectError(name, f"its BTF can't be read: {error}", "Compile it anew") from error
    if not programs:
        raise ObjectError(name, "it has no program", 'Give a function a SEC("cgroup/...")')
    for program, section in programs:
        if not sections.match(section):
            raise ObjectError(
                name,
                f"program {program} has the section {section!r}, which attaches to no cgroup",
                "Use cgroup/*, cgroup_skb/*, sockops or lsm_cgroup/*",
            )
    sha256 = hashlib.sha256(data).hexdigest()
    return {
        "name": name,
        "sha256": sha256,
        "version": version_name(sha256, layout),
        "programs": programs,
        "storage": storage,
        "layout": layout,
    }


def check_layout(manifest: dict[str, Any], mirror: dict[str, Any]) -> None:
    """Refuse an object whose stored struct is not what the Python mirror describes."""
    if manifest["layout"] != mirror:
        raise ObjectError(
            manifest["name"],
            "the layout of what it stores is not the one that this collection writes",
            "Build the object and plugins/module_utils/_abi.py from the same bpf/policy.h "
            "(make object)",
        )
