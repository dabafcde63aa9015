# Copyright (c) 2026, the cgnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgnet_raw_xmit claims nothing where a task of the cgroup receives into its memory."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.linux.cgnet.plugins.module_utils._errors import HostError
from ansible_collections.linux.cgnet.plugins.module_utils._kernel import Kernel

from tests.kernel.conftest import Group, apply, info, raw_xmit
from tests.kernel.raw import (
    AF_XDP,
    ETH_P_ALL,
    RING_SIZE,
    RINGS,
    RX_RING,
    SOL_PACKET,
    TX_RING,
)
from tests.kernel.seen import attached, everything
from tests.kernel.tasks import ended, enter, start, unshare

pytestmark = pytest.mark.usefixtures("alone")

Make = Callable[..., Group]

CLONE_FILES = 0x400


@contextlib.contextmanager
def holding(where: Group, make: Callable[[], object]) -> Iterator[int]:
    """The pid of a task of a cgroup that holds what `make` returns, while the block runs."""
    ready, go = os.pipe(), os.pipe()

    def task() -> None:
        enter(where.procs)
        held = make()
        os.close(go[1])
        os.write(ready[1], b"x")
        os.read(go[0], 1)  # until the other end is closed
        del held

    pid = start(task)
    os.close(go[0])
    os.read(ready[0], 1)
    try:
        yield pid
    finally:
        os.close(go[1])
        assert ended(pid) == 0
        for fd in ready:
            os.close(fd)


def packet(protocol: int, ring: int = 0) -> socket.socket:
    """An AF_PACKET socket, with a ring if one is named."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    if ring:
        sock.setsockopt(SOL_PACKET, ring, RINGS[0])
    return sock


@pytest.mark.parametrize("ring", [RX_RING, TX_RING])
def test_a_ring_on_a_socket_that_receives_is_not_claimed_to_be_stopped(
    group: Make, ring: int
) -> None:
    """A ring to send from may share its mapping with one to receive into."""
    ours = group("ours")
    with holding(ours, lambda: packet(ETH_P_ALL, ring)) as pid:
        with pytest.raises(
            HostError, match=f"ours: process {pid} may read .*descriptor [0-9]+ receives"
        ):
            raw_xmit("ours")
        assert everything() == {}
        raw_xmit("ours", state="absent")
    assert raw_xmit("ours")["changed"]


def test_what_a_task_of_a_cgroup_below_holds_counts(group: Make) -> None:
    group("ours")
    below = group("ours/below")
    held = holding(below, lambda: packet(ETH_P_ALL, RX_RING))
    with held, pytest.raises(HostError, match="ours: process"):
        raw_xmit("ours", check=True)
    assert everything() == {}


def test_what_a_thread_of_a_threaded_cgroup_holds_counts(group: Make) -> None:
    ours = group("ours")
    threads = group("ours/threads")
    with open(f"{threads.directory}/cgroup.type", "w", encoding="ascii") as kind:
        kind.write("threaded")
    with holding(ours, lambda: packet(ETH_P_ALL, RX_RING)) as pid:
        with open(f"{threads.directory}/cgroup.threads", "w", encoding="ascii") as tasks:
            tasks.write(str(pid))
        for path in ("ours", "ours/threads"):
            with pytest.raises(HostError, match=f"process {pid} may read"):
                raw_xmit(path)
    assert everything() == {}


def test_a_ring_whose_descriptor_is_closed_counts(group: Make) -> None:
    ours = group("ours")

    def mapped() -> None:  # by libc: Python's mmap keeps a descriptor of its own
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        with packet(ETH_P_ALL, RX_RING) as sock:
            size, flags = RING_SIZE, (mmap.PROT_READ, mmap.MAP_SHARED)
            assert libc.mmap(None, size, *flags, sock.fileno(), 0) != ctypes.c_void_p(-1).value

    held = holding(ours, mapped)
    with held, pytest.raises(HostError, match=r"maps socket \d+, whose descriptor is closed"):
        raw_xmit("ours")
    assert everything() == {}


def test_a_ring_that_only_a_thread_has_counts(group: Make) -> None:
    """Its descriptors are its own, and the first thread has ended."""
    ours = group("ours")

    def threads() -> threading.Thread:
        opened = threading.Event()

        def work() -> None:
            unshare(CLONE_FILES)
            os.closerange(3, 1024)  # among them, the pipes that the first thread waits on
            with packet(ETH_P_ALL, RX_RING):
                opened.set()
                closing.wait()

        closing = threading.Event()
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        opened.wait()
        return thread

    held = holding(ours, threads)
    with held, pytest.raises(HostError, match=r"may read .*descriptor"):
        raw_xmit("ours")
    assert everything() == {}


def test_a_ring_is_told_by_cgnet_info(group: Make) -> None:
    ours, other = group("ours"), group("other")
    raw_xmit("ours")
    with holding(other, lambda: packet(ETH_P_ALL, RX_RING)) as pid:
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write(str(pid))
        assert info()["raw_xmit"]["ours"].startswith(f"process {pid} may read")
    assert info()["raw_xmit"] == {"ours": "enforced"}


def test_an_xdp_socket_is_not_claimed_to_be_stopped(group: Make) -> None:
    ours = group("ours")
    held = holding(ours, lambda: socket.socket(AF_XDP, socket.SOCK_RAW))
    with held, pytest.raises(HostError, match="AF_XDP"):
        raw_xmit("ours")
    assert everything() == {}


def test_sockets_that_no_ring_feeds_are_no_obstacle(group: Make) -> None:
    ours = group("ours")

    def sockets() -> list[socket.socket]:
        return [
            packet(ETH_P_ALL), packet(0, TX_RING), packet(0),
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
            *socket.socketpair(),
        ]  # fmt: skip

    with holding(ours, sockets):
        assert raw_xmit("ours")["changed"]


def test_a_ring_that_was_moved_in_later_fails_the_next_run(group: Make) -> None:
    ours, other = group("ours"), group("other")
    raw_xmit("ours")
    with holding(other, lambda: packet(ETH_P_ALL, RX_RING)) as pid:
        assert not raw_xmit("ours")["changed"]
        with open(ours.procs, "w", encoding="ascii") as procs:
            procs.write(str(pid))
        with pytest.raises(HostError, match=f"process {pid} may read"):
            raw_xmit("ours")
    assert not raw_xmit("ours")["changed"]


def test_a_policy_that_hides_the_answer_leaves_the_doubt(group: Make) -> None:
    """Whether there is a ring is asked by setsockopt(), which a policy may refuse."""
    ours = group("ours")
    with holding(ours, lambda: packet(ETH_P_ALL)):
        apply([{"cgroup": "ours", "sockopts": {"allow": []}}])
        with pytest.raises(HostError, match="AF_PACKET"):
            raw_xmit("ours")
    assert "raw_xmit_create" not in attached(ours.id)


def test_a_cgroup_that_is_removed_before_it_is_looked_at_holds_nothing(group: Make) -> None:
    ours, kernel = group("ours"), Kernel.open()
    cgroup = kernel.hierarchy.require("ours", "cgroup")
    os.rmdir(ours.directory)
    assert kernel.rings(cgroup) == ()
    kernel.hierarchy.close()
