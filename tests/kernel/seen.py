# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel itself says is there, asked without the collection's code."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_uint32, c_uint64
from typing import Any

from tests.kernel.tasks import eventually

BPFFS = "/sys/fs/bpf"
KINDS = ("prog", "map", "link")
NAME = 15
"""The kernel keeps so many characters of a program's name."""


class _ProgInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info (linux/bpf.h)."""

    _fields_ = (
        ("type", c_uint32), ("id", c_uint32), ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", c_uint32), ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64), ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64), ("created_by_uid", c_uint32), ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64), ("name", ctypes.c_char * 16),
    )  # fmt: skip


class _LinkInfo(ctypes.Structure):
    """The beginning of struct bpf_link_info, as a link to a cgroup has it."""

    _fields_ = (
        ("type", c_uint32), ("id", c_uint32), ("prog_id", c_uint32), ("_pad", c_uint32),
        ("cgroup_id", c_uint64), ("_tail", c_uint32 * 10),
    )  # fmt: skip


def ids(kind: str) -> set[int]:
    """The ids of all programs, maps or links that the kernel has ("prog", "map", "link")."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    found, number = set(), c_uint32()
    while getattr(libbpf, f"bpf_{kind}_get_next_id")(number, ctypes.byref(number)) == 0:
        found.add(number.value)
    return found


def _fill(kind: str, number: int, into: ctypes.Structure) -> bool:
    """Whether there is one of this id; what the kernel says of it."""
    libbpf = ctypes.CDLL("libbpf.so.1")
    fd = getattr(libbpf, f"bpf_{kind}_get_fd_by_id")(number)
    if fd < 0:
        return False  # it went meanwhile
    size = c_uint32(ctypes.sizeof(into))
    failed = libbpf.bpf_obj_get_info_by_fd(fd, ctypes.byref(into), ctypes.byref(size))
    os.close(fd)
    assert not failed, f"{kind} {number} says nothing of itself"
    return True


def attached(cgroup: int) -> list[str]:
    """The programs that links attach to a cgroup, by the first NAME characters of their names."""
    found = []
    for number in ids("link"):
        link, program = _LinkInfo(), _ProgInfo()
        if _fill("link", number, link) and link.cgroup_id == cgroup:
            assert _fill("prog", link.prog_id, program)
            found.append(program.name.decode())
    return sorted(found)


def pins(below: str = BPFFS) -> list[str]:
    """Every file and directory below one."""
    return sorted(
        os.path.join(base, entry)
        for base, directories, files in os.walk(below)
        for entry in directories + files
    )


def pinned(path: str) -> tuple[str, int] | None:
    """Kind and id of what is pinned at a path; None for a directory."""
    if os.path.isdir(path):
        return None
    fd = ctypes.CDLL("libbpf.so.1").bpf_obj_get(path.encode())
    assert fd >= 0, f"nothing is pinned at {path}"
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        told = dict(line.split(":", 1) for line in lines)
    os.close(fd)
    # A link tells its program's id too.
    kind = next(kind for kind in ("link", "map", "prog") if f"{kind}_id" in told)
    return kind, int(told[f"{kind}_id"])


def everything() -> dict[str, Any]:
    """All pins, with the kind and id of each: no more than that is in the kernel.

    What was closed goes a moment later, so that is waited for.
    """
    found = {path: pinned(path) for path in pins()}
    held = {each for each in found.values() if each}
    left = eventually(lambda: {(kind, n) for kind in KINDS for n in ids(kind)}, held)
    assert left == held, "something is in the kernel that has no pin"
    return found
