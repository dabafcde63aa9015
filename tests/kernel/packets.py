# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packets that leave a cgroup or reach it, as a program on an ancestor of it sees them."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator
from glob import glob
from typing import NamedTuple

from tests.kernel.conftest import Group, program, shipped
from tests.kernel.seen import BPFFS
from tests.kernel.tasks import release

SYN, SYN_ACK, ACK, DATA, FIN = 0x02, 0x12, 0x10, 0x18, 0x11
"""A TCP packet's flags: the acknowledgement's own, and with it the data's and the end's."""


class Packet(NamedTuple):
    """skb->priority, 4 or 6, TOS or traffic class, the header's protocol, and TCP's flags."""

    priority: int
    version: int
    tos: int
    protocol: int
    flags: int = 0


def sees_syn_ack(address: str) -> bool:
    """Whether egress programs are run for a SYN-ACK: of IPv6 since 6.5 (223f5f79f2ce)."""
    return ":" not in address or release() >= (6, 5)


Taken = Callable[[], list[Packet]]
"""What gives the packets since it was last asked."""


@contextlib.contextmanager
def _recorded(name: str, ancestor: Group) -> Iterator[Taken]:
    program(name, [ancestor.path], obj=shipped(name))
    libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
    (pinned,) = glob(f"{BPFFS}/cgnet/{name}/*/map/packets")
    fd = libbpf.bpf_obj_get(pinned.encode())
    assert fd >= 0

    def taken() -> list[Packet]:
        value, found = (ctypes.c_uint32 * 5)(), []
        while libbpf.bpf_map_lookup_and_delete_elem(fd, None, value) == 0:
            found.append(Packet(*value))
        return found

    try:
        yield taken
    finally:
        os.close(fd)
        program(name, None, state="absent")


def leaving(ancestor: Group) -> contextlib.AbstractContextManager[Taken]:
    """The packets of the sockets of a cgroup and those below it, the refused ones too."""
    return _recorded("packets", ancestor)


def arriving(ancestor: Group) -> contextlib.AbstractContextManager[Taken]:
    """The packets for those sockets: what was refused did not come."""
    return _recorded("arrivals", ancestor)


def priorities(packets: list[Packet]) -> list[int]:
    """The priority of each."""
    return [packet.priority for packet in packets]
