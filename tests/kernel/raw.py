# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of raw_xmit share: to hold cgroups, packets on loopback, places for a task."""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.kernel import tasks
from tests.kernel.conftest import Group, program, shipped
from tests.kernel.tasks import PATIENCE, outcome

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
    """Set loopback up, by a socket that every policy lets be made."""
    with socket.socket(socket.AF_UNIX) as sock:
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
    tasks.enter(below.procs)


PLACES: dict[str, Callable[[], None]] = {
    "here": lambda: None,
    "network namespace": into_a_network_namespace,
    "user namespace": into_a_user_namespace,
    "cgroup below": into_a_cgroup_below,
}
