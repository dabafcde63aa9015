# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: a task of the cgroup makes no raw socket that receives, nor turns one into such.

Whether a socket that came to it gives it anything is in test_raw_xmit_ways.py; what it
may do, in test_raw_xmit_kept.py; and where the control ends, in test_raw_xmit_limits.py.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.kernel import compat, uring
from tests.kernel.compat import Low, SocketCall
from tests.kernel.raw import (
    AF_CAN,
    AF_KEY,
    AF_XDP,
    ETH_P_ALL,
    ETH_P_IP,
    OWN,
    PLACES,
    SOCK_PACKET,
    Pair,
    born,
    link_address,
    queued,
)
from tests.kernel.tasks import outcome
from tests.kernel.uring import SETUP_SQPOLL, Sqe

# Creating

RECEIVING = {
    (family, kind, socket.htons(protocol))
    for family, kinds, protocols in (
        (socket.AF_PACKET, (socket.SOCK_RAW, socket.SOCK_DGRAM), (ETH_P_ALL, ETH_P_IP, OWN, 1)),
        (socket.AF_PACKET, (socket.SOCK_RAW | socket.SOCK_NONBLOCK,), (ETH_P_ALL, 0x0300)),
        (socket.AF_PACKET, (SOCK_PACKET,), (0, ETH_P_ALL)),
        (socket.AF_INET, (SOCK_PACKET,), (0, ETH_P_ALL)),
        (AF_XDP, (socket.SOCK_RAW,), (0,)),
    )
    for kind in kinds
    for protocol in protocols
}


def _create(*args: int) -> int:
    return socket.socket(*args).detach()


CREATE: dict[str, Callable[..., int]] = {
    "socket": _create,
    "32-bit socket": compat.socket,
    "32-bit socketcall": lambda *args: compat.socketcall(SocketCall.SOCKET, *args),
    "io_uring": uring.socket,
    "io_uring's worker": functools.partial(uring.socket, flags=Sqe.ASYNC),
    "io_uring's poller": functools.partial(uring.socket, setup=SETUP_SQPOLL),
}


@pytest.mark.parametrize("call", CREATE)
def test_a_socket_that_receives_packets_is_not_made(pair: Pair, call: str) -> None:
    ours, other = pair

    def births() -> dict[Any, Any]:
        return {each: born(CREATE[call], *each) for each in RECEIVING}

    assert ours.run(births) == dict.fromkeys(RECEIVING, "EPERM")
    assert other.run(births) == dict.fromkeys(RECEIVING, "ok")


@pytest.mark.parametrize("place", PLACES)
def test_a_task_takes_that_along(pair: Pair, place: str) -> None:
    ours, other = pair

    def work() -> list[Any]:
        PLACES[place]()
        births = {born(_create, *each) for each in RECEIVING}
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
            return [births, outcome(sock.bind, ("lo", OWN)), queued(sock)]

    assert ours.run(work) == [{"EPERM"}, "EPERM", False]
    assert other.run(work) == [{"ok"}, "ok", True]


OTHERS = set(range(1, 46)) - {socket.AF_INET, socket.AF_INET6, socket.AF_PACKET}
KEPT = {socket.AF_UNIX, AF_KEY, socket.AF_NETLINK, AF_CAN}
"""There SOCK_RAW is another word for SOCK_DGRAM, the only type, or needs no capability."""


def test_raw_sockets_of_other_families_are_not_made(pair: Pair) -> None:
    """The hook is asked before the family is looked for, so of those that the guest lacks too."""
    ours, other = pair

    def births() -> dict[int, Any]:
        return {family: born(_create, family, socket.SOCK_RAW, 0) for family in OTHERS}

    free = other.run(births)
    assert "EPERM" not in free.values()
    assert ours.run(births) == {each: free[each] if each in KEPT else "EPERM" for each in OTHERS}


# Binding


def _bind_by_socketcall(fd: int, address: bytes) -> None:
    compat.socketcall(SocketCall.BIND, fd, Low(address), len(address))


BIND: dict[str, Callable[[socket.socket, int], None]] = {
    "bind": lambda sock, protocol: sock.bind(("lo", protocol)),
    "32-bit bind": lambda sock, protocol: compat.bind(sock.fileno(), link_address(protocol)),
    "32-bit socketcall": lambda sock, protocol: _bind_by_socketcall(
        sock.fileno(), link_address(protocol)
    ),
    "io_uring": lambda sock, protocol: uring.bind(sock.fileno(), link_address(protocol)),
    "io_uring's worker": lambda sock, protocol: uring.bind(
        sock.fileno(), link_address(protocol), Sqe.ASYNC
    ),
}
PROTOCOLS = (ETH_P_ALL, 0x0300, 0x0001, 0x0100, ETH_P_IP, OWN)
BINDS = [
    (kind, before, protocol)
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM)
    for before in (False, True)
    for protocol in PROTOCOLS
]


@pytest.mark.parametrize("call", BIND)
def test_a_packet_socket_is_bound_to_no_protocol_early_or_late(pair: Pair, call: str) -> None:
    ours, other = pair
    if call.startswith("io_uring"):
        uring.need(uring.Op.BIND)

    def work() -> dict[Any, Any]:
        found = {}
        for kind, before, protocol in BINDS:
            with socket.socket(socket.AF_PACKET, kind, 0) as sock:
                if before:
                    sock.bind(("lo", 0))
                found[kind, before, protocol] = outcome(BIND[call], sock, protocol)
        return found

    assert ours.run(work) == dict.fromkeys(BINDS, "EPERM")
    assert other.run(work) == dict.fromkeys(BINDS, "ok")
