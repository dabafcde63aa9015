# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the layout of structs and enums from an object's .BTF section.

No library on the package index reads BTF. The format is the kernel's
Documentation/bpf/btf.rst; only what a map's value can be made of is resolved.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)

_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
# What follows a type's 12 bytes: a fixed size, and a size for each of its members.
_TAIL = {
    INT: (4, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8),
    FUNC_PROTO: (0, 8), VAR: (4, 0), DATASEC: (0, 12), DECL_TAG: (4, 0), ENUM64: (0, 12),
}  # fmt: skip
_ALIASES = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)


@dataclass(frozen=True)
class _Type:
    kind: int
    name: str
    size: int  # or the type it refers to
    members: tuple[tuple[int, ...], ...] = ()


def _with_bytes(found: dict[str, Any]) -> dict[str, Any]:
    """A struct without the arrays that have no elements."""
    return {
        **found,
        "fields": [each for each in found["fields"] if not isinstance(each[2], list) or each[2][1]],
    }


@dataclass
class Btf:
    """The types of one object, by their number."""

    types: list[_Type] = field(default_factory=lambda: [_Type(0, "void", 0)])
    strings: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> Btf:
        """Parse a little-endian .BTF section; ValueError where it is none."""
        try:
            return cls._parse(data)
        except struct.error as error:
            raise ValueError("the .BTF section is cut short") from error

    @classmethod
    def _parse(cls, data: bytes) -> Btf:
        magic, _version, _flags, header, at, size, strings, string_size = _HEADER.unpack_from(data)
        if magic != 0xEB9F:
            raise ValueError("the .BTF section has not BTF's magic number")
        btf = cls(strings=data[header + strings : header + strings + string_size])
        at += header
        end = at + size
        while at < end:
            name, info, ref = _TYPE.unpack_from(data, at)
            at += _TYPE.size
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            fixed, each = _TAIL.get(kind, (0, 0))
            words = [struct.unpack_from("<I", data, at + i)[0] for i in range(0, fixed, 4)]
            members = [tuple(words)] if words else []
            at += fixed
            if each:
                unpack = struct.Struct(f"<{each // 4}I").unpack_from
                members += [unpack(data, at + i * each) for i in range(count)]
                at += each * count
            btf.types.append(_Type(kind, btf.text(name), ref, tuple(members)))
        return btf

    def text(self, offset: int) -> str:
        """The string at an offset of the string section."""
        return self.strings[offset : self.strings.index(b"\0", offset)].decode()

    def _resolve(self, number: int) -> _Type:
        found = self.types[number]
        for _step in self.types:
            if found.kind not in _ALIASES:
                return found
            found = self.types[found.size]
        raise ValueError("a BTF type refers to itself")

    def _field(self, number: int, depth: int = 8) -> str | list[Any]:
        """A member's type: "u32", "struct x", "enum x", or [type, count] for an array.

        `depth` bounds the dimensions of an array.
        """
        if not depth:
            raise ValueError("a BTF array has too many dimensions, or is its own element")
        found = self._resolve(number)
        if found.kind == INT:
            signed = found.members[0][0] >> 24 & 1
            return f"{'s' if signed else 'u'}{found.size * 8}"
        if found.kind == ARRAY:
            element, _index, count = found.members[0]
            return [self._field(element, depth - 1), count]
        if found.kind == STRUCT:
            return f"struct {found.name}"
        if found.kind == ENUM:
            return f"enum {found.name}"
        raise ValueError(f"a stored value can't have a member of BTF kind {found.kind}")

    def layout(self, name: str) -> dict[str, Any]:
        """The struct `name`, the enums it mentions, and the structs that it has no bytes of.

        Shape: {"size": bytes, "fields": [[name, byte offset, type]...],
        "enums": {enum: {member: value}}}, and where an array of a struct has no elements
        "structs": {struct: {"size", "fields"}}. ValueError where there is no such struct.
        """
        found = self._struct(name)
        enums, structs = {}, {}
        for _name, _at, shape in found["fields"]:
            element, count = shape, 1
            while isinstance(element, list):
                element, count = element[0], count * element[1]
            kind, _space, named = str(element).partition(" ")
            if kind == "enum":
                enums[named] = self._enum(named)
            elif kind == "struct" and not count:
                structs[named] = _with_bytes(self._struct(named))
        return {**_with_bytes(found), "enums": enums, **({"structs": structs} if structs else {})}

    def _struct(self, name: str) -> dict[str, Any]:
        found = next((t for t in self.types if t.kind == STRUCT and t.name == name), None)
        if found is None:
            raise ValueError(f"BTF has no struct {name}")
        members = [[self.text(at), bits // 8, self._field(no)] for at, no, bits in found.members]
        return {"size": found.size, "fields": members}

    def _enum(self, name: str) -> dict[str, int]:
        found = next(t for t in self.types if t.kind == ENUM and t.name == name)
        return {self.text(offset): value for offset, value in found.members}

    def maps(self) -> dict[str, dict[str, int]]:
        """The maps declared in .maps: name → {"type", and where given "value" (a type number)}."""
        section = next((t for t in self.types if t.kind == DATASEC and t.name == ".maps"), None)
        found: dict[str, dict[str, int]] = {}
        for number, _offset, _size in section.members if section else ():
            variable = self.types[number]
            shape = {}
            for offset, member, _bits in self._resolve(variable.size).members:
                pointed = self._resolve(self._resolve(member).size)
                name = self.text(offset)
                if pointed.kind == ARRAY and name == "type":
                    shape["type"] = pointed.members[0][2]
                elif name == "value":
                    shape["value"] = self._resolve(member).size
            found[variable.name] = shape
        return found

    def struct_name(self, number: int) -> str:
        """The name of the struct that a type number stands for, or ""."""
        found = self._resolve(number)
        return found.name if found.kind == STRUCT else ""
