# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what calls of a container return, as JSON."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable

ETH_P_ALL, IPV6_TCLASS, EF = 3, 67, 0xB8


def outcome(work: Callable[[], object]) -> object:
    """What `work` returns, "ok" for None, or the name of its errno."""
    try:
        found = work()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok" if found is None else found


def priority() -> int:
    with socket.socket(socket.AF_INET6) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY)


def mark() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, EF)


def bind(port: int) -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", port))


def packets(protocol: int) -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, protocol).close()


CALLS: dict[str, Callable[[], object]] = {
    "priority": priority,
    "ef": mark,
    "tcp 443": lambda: bind(443),
    "tcp 9090": lambda: bind(9090),
    "sniff": lambda: packets(ETH_P_ALL),
    "send raw": lambda: packets(0),
}
print(json.dumps({call: outcome(work) for call, work in CALLS.items()}))
