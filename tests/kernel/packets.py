# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packets that leave a cgroup, as a program on an ancestor of it sees them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import glob

from tests.kernel.conftest import Group, program, shipped
from tests.kernel.seen import BPFFS


@dataclass(frozen=True)
class Packet:
    """skb->priority, 4 or 6, TOS or traffic class, and the header's protocol."""

    priority: int
    version: int
    tos: int
    protocol: int


@contextlib.contextmanager
def leaving(ancestor: Group) -> Iterator[Callable[[], list[Packet]]]:
    """What gives the packets that left a cgroup or one below it since it was last asked."""
    program("packets", [ancestor.path], obj=shipped("packets"))
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    (pinned,) = glob(f"{BPFFS}/cgnet/packets/*/map/packets")
    fd = libbpf.bpf_obj_get(pinned.encode())
    assert fd >= 0

    def taken() -> list[Packet]:
        value, found = (ctypes.c_uint32 * 4)(), []
        while libbpf.bpf_map_lookup_and_delete_elem(fd, None, value) == 0:
            found.append(Packet(*value))
        return found

    try:
        yield taken
    finally:
        os.close(fd)
        program("packets", None, state="absent")
