# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call for each way in which a control refuses, and what is counted and told of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.kernel import raw, tasks
from tests.kernel.sends import Control, mark, receiver, sendmmsg, set_by_32_bit, sockaddr
from tests.kernel.tasks import SO_MARK, outcome, set_priority, set_tclass

POLICY: dict[str, Any] = {
    "priority": 5,
    "tos": ["af21"],
    "bind_ports": {"tcp": [81], "udp": [], "unprivileged": True},
    "ipv4": "hidden",
    "sockopts": {"deny": ["SOL_SOCKET/SO_MARK"]},
}
EF, MAPPED, PORT = 0xB8, "::ffff:127.0.0.1", 82
QDISC_BYPASS = 20
_SOL = socket.SOL_SOCKET
_PRIORITY, _MARK = Control(_SOL, socket.SO_PRIORITY, 3), Control(_SOL, SO_MARK, 1)


def _on(kind: int, call: Callable[[socket.socket], Any], family: int = socket.AF_INET6) -> Any:
    with socket.socket(family, kind, 0) as sock:
        return outcome(call, sock)


def _send(control: Control) -> Any:
    """The outcome of a message to a receiver, which gets it where it is sent."""
    with receiver(socket.AF_INET6) as there:

        def call(sock: socket.socket) -> int:
            return sendmmsg(sock.fileno(), sockaddr(there.to), control)

        return _on(socket.SOCK_DGRAM, call)


@dataclass(frozen=True)
class Act:
    """A call, what it gives where it is refused and where not, and what is told of it.

    `packets` is how many are counted besides where the call is let through.
    """

    control: str
    work: Callable[[], Any]
    refused: str
    free: Any
    told: dict[str, Any] = field(default_factory=dict)
    packets: int = 0


def _option(name: str, value: int) -> dict[str, Any]:
    return {"call": "setsockopt", "option": name, "value": value}


_STREAM, _DGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM

ACTS: dict[str, Act] = {
    "socket": Act(
        "ipv4", lambda: outcome(socket.socket, socket.AF_INET, _DGRAM), "EAFNOSUPPORT", "ok",
        {"call": "socket", "family": "AF_INET"},
    ),
    "connect": Act(
        "ipv4", lambda: _on(_DGRAM, lambda s: s.connect((MAPPED, 9))), "EAFNOSUPPORT", "ok",
        {"call": "connect"},
    ),
    "send": Act(
        "ipv4", lambda: _on(_DGRAM, lambda s: s.sendto(b"x", (MAPPED, 9))), "EAFNOSUPPORT", 1,
        {"call": "send"}, packets=1,
    ),
    "bind to IPv4": Act(
        "ipv4", lambda: _on(_DGRAM, lambda s: s.bind((MAPPED, PORT))), "EAFNOSUPPORT", "ok",
        {"call": "bind", "port": PORT},
    ),
    "bind": Act(
        "bind_ports", lambda: _on(_STREAM, lambda s: s.bind(("::1", PORT))), "EPERM", "ok",
        {"call": "bind", "port": PORT},
    ),
    "priority": Act(
        "priority", lambda: _on(_STREAM, lambda s: set_priority(s, 3)), "EPERM", "ok",
        _option("SOL_SOCKET/SO_PRIORITY", 0),
    ),
    "priority, 32-bit": Act(
        "priority", lambda: _on(_STREAM, lambda s: set_by_32_bit(s, _PRIORITY)), "EPERM", "ok",
        _option("SOL_SOCKET/SO_PRIORITY", 0),
    ),
    "qdisc bypass": Act(
        "priority",
        lambda: _on(
            socket.SOCK_RAW, lambda s: s.setsockopt(raw.SOL_PACKET, QDISC_BYPASS, 1),
            socket.AF_PACKET,
        ),
        "EPERM", "ok", _option("SOL_PACKET/PACKET_QDISC_BYPASS", 0),
    ),
    "AF_XDP": Act(
        "priority", lambda: outcome(socket.socket, raw.AF_XDP, socket.SOCK_RAW), "EPERM", "ok",
        {"call": "socket", "family": "AF_XDP"},
    ),
    "class": Act(
        "tos", lambda: _on(_DGRAM, lambda s: set_tclass(s, EF)), "EPERM", "ok",
        _option("SOL_IPV6/IPV6_TCLASS", EF),
    ),
    "message": Act(
        "tos", lambda: _send(mark(socket.AF_INET6, EF)), "EPERM", 1,
        {"call": "packet", "tos": f"0x{EF:02x}"},
    ),
    "mark": Act(
        "sockopts", lambda: _on(_STREAM, lambda s: s.setsockopt(_SOL, SO_MARK, 1)), "EPERM", "ok",
        _option("SOL_SOCKET/SO_MARK", 0),
    ),
    "mark, 32-bit": Act(
        "sockopts", lambda: _on(_STREAM, lambda s: set_by_32_bit(s, _MARK)), "EPERM", "ok",
        _option("SOL_SOCKET/SO_MARK", 0),
    ),
}  # fmt: skip
EACH = tuple(ACTS)


def counted(verdict: str, times: dict[str, int]) -> dict[str, dict[str, int]]:
    """What is counted of a policy of every control: so often, all by one verdict."""
    zero = {"refused": 0, "audited": 0}
    return {control: {**zero, verdict: times.get(control, 0)} for control in POLICY}


def as_nobody(work: Callable[[], Any]) -> Any:
    """What a call gives to a task without any capability."""
    os.setgid(tasks.NOBODY)
    os.setuid(tasks.NOBODY)
    return work()
