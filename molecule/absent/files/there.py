# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What BPF objects, pins and files a host has.

there.py FILE           writes it to FILE; where FILE is there, prints what differs from it
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import sys
from pathlib import Path

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
# enum bpf_cmd of <linux/bpf.h>: BPF_PROG_GET_NEXT_ID and so on.
NEXT_ID = {"program": 11, "map": 12, "link": 31}
FOLDERS = (
    "/sys/fs/bpf", "/etc", "/usr/local", "/usr/share/containers", "/var/lib",
    "/run/systemd/system", "/run/systemd/system.control", "/run/systemd/transient",
)  # fmt: skip
syscall = ctypes.CDLL(None, use_errno=True).syscall


def ids(command: int) -> list[int]:
    """The ids of all objects of a kind."""
    found = []
    asked = (ctypes.c_uint32 * 4)()  # start_id, next_id, open_flags
    while syscall(BPF, command, ctypes.byref(asked), ctypes.sizeof(asked)) == 0:
        asked[0] = asked[1]
        found.append(asked[0])
    if ctypes.get_errno() != 2:  # ENOENT: that was the last
        raise OSError(ctypes.get_errno(), "bpf")
    return found


def there() -> list[str]:
    """Every object and path, and a file's size and time."""
    found = [f"{kind} {number}" for kind in NEXT_ID for number in ids(NEXT_ID[kind])]
    found += [f"/run/{name}" for name in os.listdir("/run")]
    for folder in FOLDERS:
        for parent, _folders, names in os.walk(folder):
            found.append(parent)
            for name in names:
                stat = os.lstat(f"{parent}/{name}")
                found.append(f"{parent}/{name} {stat.st_size} {stat.st_mtime_ns}")
    return found


def main(file: Path) -> None:
    """Write, or compare."""
    assert ids(NEXT_ID["program"]), "there is no program of others"
    if not file.exists():
        file.write_text(json.dumps(there()), encoding="utf-8")
        return
    before, after = set(json.loads(file.read_text(encoding="utf-8"))), set(there())
    print(json.dumps({"lacks": sorted(before - after), "more": sorted(after - before)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
