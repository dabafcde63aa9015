# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""raw_xmit: a task of the cgroup makes no raw socket that receives, nor turns one into such.

Whether a socket that came to it gives it anything is in test_raw_xmit_ways.py; what it
may do, in test_raw_xmit_kept.py; and where the control ends, in test_raw_xmit_limits.py.
"""

from __future__ import annotations

import fcntl
import functools
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.kernel import compat, tasks, uring
from tests.kernel.compat import Low, SocketCall
from tests.kernel.conftest import Group, groups, program, shipped
from tests.kernel.tasks import PATIENCE, outcome
from tests.kernel.uring import SETUP_SQPOLL, Sqe

Make = Callable[..., Group]
Pair = tuple[Group, Group]

AF_KEY, AF_CAN, AF_XDP, SOCK_PACKET = 15, 29, 44, 10
CLONE_NEWUSER = 0x10000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
SOL_PACKET = 263
RX_RING, VERSION, TX_RING = 5, 10, 13
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
OWN = 0x88B5  # an ethertype for experiments: only what a test sends has it
PAYLOAD = b"what a test sends"
RING_SIZE = 1 << 16
RING = struct.pack("7I", RING_SIZE, 1, 2048, 32, 0, 0, 0)
"""A struct tpacket_req3, which a tpacket_req is the beginning of: 32 frames in one block."""
RINGS = {version: RING if version == 2 else RING[:16] for version in (0, 1, 2)}
"""By TPACKET_V1, V2 and V3."""


def held(*paths: str) -> dict[str, Any]:
    """Hold cgroups."""
    return program("raw_xmit", list(paths), obj=shipped("raw_xmit"))


def freed(*paths: str) -> dict[str, Any]:
    """Hold cgroups no longer; none named is all."""
    return program("raw_xmit", list(paths) or None, state="absent")


def frame(payload: bytes = PAYLOAD) -> bytes:
    """A frame for loopback, whose addresses are zeros."""
    return bytes(12) + OWN.to_bytes(2, "big") + payload


def link_address(protocol: int, name: str = "lo") -> bytes:
    """A struct sockaddr_ll."""
    index = socket.if_nametoindex(name)
    return struct.pack("HHiHBB8s", socket.AF_PACKET, socket.htons(protocol), index, 0, 0, 0, b"")


def sniffer(protocol: int = OWN) -> socket.socket:
    """A packet socket that gets the frames of loopback."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    sock.bind(("lo", protocol))
    return sock


def emit(payload: bytes = PAYLOAD) -> None:
    """Send a frame on loopback."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.sendto(frame(payload), ("lo", OWN))


def heard(sock: socket.socket) -> bytes:
    """The next packet of a socket; nothing at the end of all patience."""
    return sock.recv(4096) if select.select([sock], [], [], PATIENCE)[0] else b""


def deliver(send: Callable[[], object]) -> None:
    """Send over loopback, and return once that has arrived: each CPU has one queue for it."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as behind:
        behind.bind(("127.0.0.1", 0))
        send()
        behind.sendto(b"x", behind.getsockname())
        assert heard(behind) == b"x"
    os.sched_setaffinity(0, cpus)


def queued(sock: socket.socket, send: Callable[[], object] = emit) -> bool:
    """Whether a socket has something to read once something is sent."""
    deliver(send)
    return bool(select.select([sock], [], [], 0)[0])


def rx_ring(sock: socket.socket) -> mmap.mmap:
    """The mapping of a ring that receives, of TPACKET_V2; a sniffer gets one."""
    sock.setsockopt(SOL_PACKET, VERSION, 1)
    sock.setsockopt(SOL_PACKET, RX_RING, RINGS[1])
    return mmap.mmap(sock.fileno(), RING_SIZE)


def born(call: Callable[..., int], *args: int) -> Any:
    """The outcome of a call that makes a socket."""
    return outcome(lambda: os.close(call(*args)))


def up() -> None:
    """Set loopback up."""
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def into_a_network_namespace() -> None:
    """One of the task's own, with loopback up."""
    tasks.unshare(tasks.CLONE_NEWNET)
    up()


def into_a_user_namespace() -> None:
    """As nobody, who is root in namespaces of their own."""
    os.setgid(tasks.NOBODY)
    os.setuid(tasks.NOBODY)
    tasks.unshare(CLONE_NEWUSER | tasks.CLONE_NEWNET)
    up()


def into_a_cgroup_below() -> None:
    """One that the task makes."""
    with open("/proc/self/cgroup", encoding="ascii") as file:
        below = Group(file.read().rstrip().split("::/")[1] + "/below")
    os.makedirs(below.directory, exist_ok=True)
    with open(below.procs, "w", encoding="ascii") as procs:
        procs.write("0")


PLACES: dict[str, Callable[[], None]] = {
    "here": lambda: None,
    "network namespace": into_a_network_namespace,
    "user namespace": into_a_user_namespace,
    "cgroup below": into_a_cgroup_below,
}


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """A cgroup that is held, and a sibling that is not."""
    with groups() as make:
        made = make("ours"), make("other")
        held("ours")
        yield made


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
        uring.need_bind()

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
