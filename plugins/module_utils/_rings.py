# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sockets of a cgroup's tasks that receive into memory.

No hook sees what a task reads from memory that it shares with the kernel. Such
rings are made by system calls that are refused to a task that is held, so only
those can be there that came from before, or with a task that was moved in.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from ansible_collections.linux.cgnet.plugins.module_utils import _sockets
from ansible_collections.linux.cgnet.plugins.module_utils._model import Cgroup, Ring

_AF_XDP, _SOCK_PACKET = 44, 10  # the latter has no rings
_SOL_PACKET, _PACKET_VERSION = 263, 10


def _receives_into_memory(held: socket.socket) -> bool:
    """Whether a socket fills a ring, or may: AF_XDP does nothing else."""
    try:
        family = held.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
        if family == _AF_XDP:
            return True
        kind = held.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
        if family != socket.AF_PACKET or kind == _SOCK_PACKET:
            return False
        if not held.getsockname()[1]:  # with protocol 0 nothing comes
            return False
        # Setting the version that it has changes nothing, and fails where there is a ring.
        version = held.getsockopt(_SOL_PACKET, _PACKET_VERSION)
        held.setsockopt(_SOL_PACKET, _PACKET_VERSION, version)
    except OSError:
        return True  # EBUSY; or EPERM of a policy on the socket's cgroup, which hides the answer
    return False


def _of(process: int) -> Iterator[Ring]:
    """The rings of one process."""
    seen: set[int] = set()
    for each in _sockets.held(process):
        seen.add(each.inode)
        if each.socket is None:
            reason = f"only its thread {each.thread} has descriptor {each.descriptor}"
            yield Ring(process, reason)
        elif _receives_into_memory(each.socket):
            yield Ring(process, f"descriptor {each.descriptor} receives there")
    for inode in sorted(_sockets.mapped(process) - seen):
        yield Ring(process, f"it maps socket {inode}, whose descriptor is closed")


def rings(cgroup: Cgroup) -> tuple[Ring, ...]:
    """The sockets of a cgroup's tasks that receive into memory, or may, by process.

    Raises KernelError or HostError where they can't be looked at.
    """
    return tuple(ring for process in sorted(_sockets.processes(cgroup)) for ring in _of(process))
