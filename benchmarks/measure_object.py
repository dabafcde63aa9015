# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bundled objects are to this kernel: instructions, and what verifying them takes.

python3 -m benchmarks.measure_object

Prints JSON: object -> program -> instructions after the verifier (`xlated`), bytes of machine code
(`jited`), instructions that the verifier went through (`verified`, since 5.16: aba64c7da983), and
the seconds of loading it alone, the least of five. What this kernel does not load has none.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
import time
from ctypes import c_uint8, c_uint32, c_uint64
from pathlib import Path
from typing import Any

from ansible_collections.linux.cgnet.plugins.module_utils import _libbpf, _loader, _policies
from ansible_collections.linux.cgnet.plugins.module_utils._errors import KernelError

OBJECTS = Path(_policies.__file__).parents[1] / "objects"
TIMES = 5


class ProgInfo(ctypes.Structure):
    """struct bpf_prog_info (linux/bpf.h) as of 5.16."""

    _fields_ = (
        ("type", c_uint32), ("id", c_uint32), ("tag", c_uint8 * 8), ("jited", c_uint32),
        ("xlated", c_uint32), ("_insns", c_uint64 * 2), ("load_time", c_uint64),
        ("uid", c_uint32), ("nr_map_ids", c_uint32), ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16), ("ifindex", c_uint32), ("_flags", c_uint32),
        ("_netns", c_uint64 * 2), ("_syms", c_uint32 * 2), ("_syms_at", c_uint64 * 2),
        ("btf_id", c_uint32), ("func_info_rec_size", c_uint32), ("_func_info", c_uint64),
        ("_nr", c_uint32 * 2), ("_line_info", c_uint64 * 2), ("_lines", c_uint32 * 4),
        ("_tags", c_uint64), ("run_time_ns", c_uint64), ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64), ("verified", c_uint32), ("_btf", c_uint32 * 2),
    )  # fmt: skip


def measured(data: bytes, program: str) -> dict[str, Any] | None:
    """One program, loaded alone."""
    took = []
    for _time in range(TIMES):
        told = ProgInfo()  # what it holds already, the kernel takes for what is asked
        begin = time.monotonic()
        try:
            with _loader.loaded(data, {program}, "") as handle:
                took.append(time.monotonic() - begin)
                ((_name, fd),) = _loader.programs(handle, {program})
                _libbpf.info(fd, told)
        except KernelError as error:
            if error.errno != errno.EPERM:  # the LSM's programs, where that is not active
                raise
            return None
    return {
        "xlated": told.xlated // 8,
        "jited": told.jited,
        "verified": told.verified,
        "seconds": min(took),
    }


def main() -> None:
    """Measure, and print it."""
    found: dict[str, Any] = {}
    for described in sorted(OBJECTS.glob("*.json")):
        manifest = json.loads(described.read_text())
        data = described.with_suffix(".bpf.o").read_bytes()
        found[manifest["name"]] = {
            name: measured(data, name) for name, _section in manifest["programs"]
        }
    json.dump({"release": os.uname().release, "objects": found}, sys.stdout)


if __name__ == "__main__":
    main()
