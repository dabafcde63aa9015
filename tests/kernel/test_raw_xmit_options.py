# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: options that make a packet socket receive, or pass the queues, are refused."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import compat, uring
from tests.kernel.compat import Low, SocketCall
from tests.kernel.raw import (
    AF_XDP,
    RINGS,
    RX_RING,
    SOL_PACKET,
    VERSION,
    Pair,
    sniffer,
)
from tests.kernel.tasks import outcome
from tests.kernel.uring import Sqe

SYS_BIND = 49
FANOUT, QDISC_BYPASS = 18, 20
SOL_XDP, XDP_RX_RING = 283, 2


def _set_by_socketcall(fd: int, level: int, name: int, value: bytes) -> None:
    compat.socketcall(SocketCall.SETSOCKOPT, fd, level, name, Low(value), len(value))


SET: dict[str, Callable[[int, int, int, bytes], Any]] = {
    "setsockopt": lambda fd, *args: socket.socket(fileno=os.dup(fd)).setsockopt(*args),
    "32-bit setsockopt": compat.setsockopt,
    "32-bit socketcall": _set_by_socketcall,
    "io_uring": uring.setsockopt,
    "io_uring's worker": functools.partial(uring.setsockopt, flags=Sqe.ASYNC),
}
OPTIONS = {
    **{f"RX_RING of V{version + 1}": (version, RX_RING, RINGS[version]) for version in RINGS},
    "FANOUT": (0, FANOUT, struct.pack("i", 7)),
    "QDISC_BYPASS": (0, QDISC_BYPASS, struct.pack("i", 1)),
}


@pytest.mark.parametrize("call", SET)
def test_options_that_receive_are_refused(pair: Pair, call: str) -> None:
    """On a socket of the task's own, and on one that came along with a protocol."""
    ours, other = pair
    if call.startswith("io_uring"):
        uring.need_setsockopt(socket.AF_PACKET)

    def work() -> dict[str, Any]:
        found = {}
        for option, (version, *asked) in OPTIONS.items():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as own:
                own.setsockopt(SOL_PACKET, VERSION, version)
                found[option] = [
                    outcome(SET[call], sock.fileno(), SOL_PACKET, *asked)
                    for sock in (own, came[option])
                ]
        return found

    with contextlib.ExitStack() as stack:
        came = {option: stack.enter_context(sniffer()) for option in OPTIONS}
        for option, sock in came.items():
            sock.setsockopt(SOL_PACKET, VERSION, OPTIONS[option][0])
        assert ours.run(work) == {option: ["EPERM", "EPERM"] for option in OPTIONS}
        free = {option: ["ok", "ok"] for option in OPTIONS}
        # What has no protocol can join no group anyway.
        assert other.run(work) == {**free, "FANOUT": ["EINVAL", "ok"]}


def test_an_xdp_socket_that_came_along_is_of_no_use(pair: Pair) -> None:
    ours, other = pair

    def work() -> list[Any]:
        address = struct.pack("HHIII", AF_XDP, 0, socket.if_nametoindex("lo"), 0, 0)
        return [
            outcome(sock.setsockopt, SOL_XDP, XDP_RX_RING, 64),
            outcome(uring.syscall, SYS_BIND, sock.fileno(), address, len(address)),
            outcome(sock.recv, 1),
        ]

    with socket.socket(AF_XDP, socket.SOCK_RAW) as sock:
        assert ours.run(work) == ["EPERM", "EPERM", "EPERM"]
        assert other.run(work) == ["ok", "EINVAL", "ENXIO"]  # it has no memory yet
